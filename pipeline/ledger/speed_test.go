package ledger

import (
	"fmt"
	"testing"
)

// BenchmarkRefusals measures the bulk insert of refusals: one report of 10,000.
func BenchmarkRefusals(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { refusals(b, inFile(b)) })
	b.Run("postgres", func(b *testing.B) { refusals(b, onServer(b)) })
}

func refusals(b *testing.B, at place) {
	l, err := Open(b.Context(), at.source, Options{Migration: "m", Operator: "jo"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	run, err := l.BeginRun(b.Context(), RunSpec{Kind: Dry})
	if err != nil {
		b.Fatal(err)
	}
	const n = 10_000
	list := make([]Refusal, n)
	for i := range list {
		list[i] = Refusal{Table: "observations", Line: int64(i), Column: "VALUE", Rule: "bad-number", Mapping: "observation"}
	}
	for b.Loop() {
		if err := l.Record(b.Context(), run.ID, Report{Refusals: list}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "refusals/s")
}

// BenchmarkShard measures what one shard costs: claim, and finish with a batch and its counts.
func BenchmarkShard(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { shard(b, inFile(b)) })
	b.Run("postgres", func(b *testing.B) { shard(b, onServer(b)) })
}

func shard(b *testing.B, at place) {
	l, err := Open(b.Context(), at.source, Options{Migration: "m", Operator: "jo"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	run, err := l.BeginRun(b.Context(), RunSpec{Kind: Dry})
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		if err := l.AddTasks(b.Context(), run.ID, []Task{{Kind: Extract, Subject: fmt.Sprint(i)}}); err != nil {
			b.Fatal(err)
		}
		task, _, err := l.Claim(b.Context(), run.ID, TaskFilter{Kind: Extract})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Finish(b.Context(), task, Report{
			Batches: []Batch{batch(fmt.Sprint(i), "Patient", 10)}, Tables: []RecordCount{{Table: "t", Read: 10, Mapped: 10}}, Resources: []ResourceCount{{Type: "Patient", Made: 10}},
		}); err != nil {
			b.Fatal(err)
		}
	}
}
