// Package extracttest is the contract of extract.Source as a suite of tests. Every kind of source passes it.
package extracttest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// Row is a copy of what Read yielded: a record, or a refused one.
type Row struct {
	Table   string
	Cells   []string // nil if refused
	Line    int64
	Ordinal int64
	Column  string // of the fault
	Rule    string // of the fault; "" if accepted
}

// Rows reads a whole table, shard by shard, and copies what comes.
func Rows(ctx context.Context, s extract.Source, t *extract.Table) ([]Row, error) {
	shards, err := s.Shards(ctx, t)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, shard := range shards {
		some, err := ShardRows(ctx, s, shard, nil)
		rows = append(rows, some...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// Shards lists those of the first table. If there is an error the test ends; t is one of testing or of rapid.
func Shards(t interface {
	Context() context.Context
	Fatal(...any)
}, s extract.Source) []extract.Shard {
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.Shards(t.Context(), tables[0])
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// ShardRows reads one shard and copies what comes.
func ShardRows(ctx context.Context, s extract.Source, shard extract.Shard, done *extract.Digest) ([]Row, error) {
	var rows []Row
	for r, err := range s.Read(ctx, shard, done) {
		var fault *extract.Fault
		switch {
		case errors.As(err, &fault):
			rows = append(rows, Row{Table: fault.Table, Line: fault.Line, Ordinal: fault.Ordinal, Column: fault.Column,
				Rule: fault.Rule})
		case err != nil:
			return rows, err
		default:
			cells := make([]string, len(r.Cells))
			for i, c := range r.Cells {
				cells[i] = strings.Clone(c)
			}
			rows = append(rows, Row{Table: r.Table.Name, Cells: cells, Line: r.Line, Ordinal: r.Ordinal})
		}
	}
	return rows, nil
}

// Run checks a source against the contract of extract.Source. open is called several times and must each time open the
// same unchanging data: at least one table with at least two records, and at least one malformed record somewhere, if
// the kind of source can have one.
func Run(t *testing.T, open func(t testing.TB) extract.Source) {
	t.Helper()
	ctx := t.Context()
	s := open(t)
	tables, err := s.Tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("tables", func(t *testing.T) { checkTables(t, s, open(t), tables) })
	some := false
	for _, table := range tables {
		t.Run(table.Name, func(t *testing.T) {
			shards, err := s.Shards(ctx, table)
			if err != nil {
				t.Fatal(err)
			}
			rows := checkTable(t, s, open(t), table, shards)
			some = some || len(rows) >= 2
			checkConcurrent(t, s, shards, rows)
			checkBreak(t, s, shards)
			checkCancel(t, s, table, shards)
		})
	}
	if !some {
		t.Error("no table has two records, so the suite shows nothing")
	}
	t.Run("unknown table", func(t *testing.T) {
		if _, err := s.Shards(ctx, &extract.Table{Name: "no such table"}); err == nil {
			t.Error("Shards of an unknown table succeeded")
		}
	})
}

func checkTables(t *testing.T, s, again extract.Source, tables []*extract.Table) {
	other, err := again.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tables, other); diff != "" {
		t.Errorf("a second source lists other tables (-first +second):\n%s", diff)
	}
	if !slices.IsSortedFunc(tables, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("tables are not sorted by name")
	}
	for i, table := range tables {
		if i > 0 && table.Name == tables[i-1].Name {
			t.Errorf("table %s is listed twice", table.Name)
		}
		seen := map[string]bool{}
		for j, c := range table.Columns {
			if strings.TrimSpace(c) == "" || seen[c] {
				t.Errorf("%s: column %d has a blank or doubled name", table.Name, j+1)
			}
			if table.Column(c) != j && !seen[c] {
				t.Errorf("%s: Column finds column %d elsewhere", table.Name, j+1)
			}
			seen[c] = true
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Tables(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Tables under a cancelled context: %v", err)
	}
}

// checkTable reads a table in one go and returns its rows.
func checkTable(t *testing.T, s, again extract.Source, table *extract.Table, shards []extract.Shard) []Row {
	if len(shards) == 0 {
		t.Fatal("a table has at least one shard")
	}
	other, err := again.Shards(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shards, other); diff != "" {
		t.Errorf("a second source cuts other shards (-first +second):\n%s", diff)
	}
	var rows []Row
	for i, shard := range shards {
		if shard.Index != i {
			t.Errorf("shard %d has index %d", i, shard.Index)
		}
		if want := int64(len(rows)) + 1; shard.FirstOrdinal != want {
			t.Errorf("shard %d begins with ordinal %d, want %d", i, shard.FirstOrdinal, want)
		}
		var done, second extract.Digest
		some, err := ShardRows(t.Context(), s, shard, &done)
		if err != nil {
			t.Fatalf("shard %d: %v", i, err)
		}
		if len(some) > 0 && i > 0 && some[0].Line < shard.FirstLine {
			t.Errorf("shard %d begins on line %d, its first record is on %d", i, shard.FirstLine, some[0].Line)
		}
		if !done.Complete || done.Records != int64(len(some)) || done.Sum == [32]byte{} {
			t.Errorf("shard %d: digest of %d rows is %+v", i, len(some), done)
		}
		checkCopy(t, s, shard, some, &second)
		if done != second {
			t.Errorf("shard %d: read twice, the digests differ", i)
		}
		rows = append(rows, some...)
	}
	for i, r := range rows {
		if r.Table != table.Name || r.Ordinal != int64(i)+1 || r.Line < 1 || i > 0 && r.Line < rows[i-1].Line {
			t.Errorf("record %d: table %s, ordinal %d, line %d", i+1, r.Table, r.Ordinal, r.Line)
		}
		if r.Rule == "" && len(r.Cells) != len(table.Columns) {
			t.Errorf("record %d has %d cells, the table has %d columns", i+1, len(r.Cells), len(table.Columns))
		}
		if r.Column != "" && table.Column(r.Column) < 0 {
			t.Errorf("record %d: the fault names a column that the table does not have", i+1)
		}
	}
	return rows
}

// checkCopy reads a shard that went through JSON.
func checkCopy(t *testing.T, s extract.Source, shard extract.Shard, want []Row, done *extract.Digest) {
	text, err := json.Marshal(shard)
	if err != nil {
		t.Fatal(err)
	}
	var back extract.Shard
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	rows, err := ShardRows(t.Context(), s, back, done)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("shard %d reads otherwise after JSON (-before +after):\n%s", shard.Index, diff)
	}
}

// checkConcurrent reads all shards at once, each twice.
func checkConcurrent(t *testing.T, s extract.Source, shards []extract.Shard, want []Row) {
	got := make([][]Row, 2*len(shards))
	errs := make([]error, len(got))
	var wait sync.WaitGroup
	for i := range got {
		wait.Go(func() { got[i], errs[i] = ShardRows(t.Context(), s, shards[i%len(shards)], nil) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for half := range 2 {
		rows := slices.Concat(got[half*len(shards) : (half+1)*len(shards)]...)
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("read concurrently, the rows differ (-alone +concurrent):\n%s", diff)
		}
	}
}

// checkBreak leaves the loop after the first pair.
func checkBreak(t *testing.T, s extract.Source, shards []extract.Shard) {
	for _, shard := range shards {
		var done extract.Digest
		n := 0
		for range s.Read(t.Context(), shard, &done) {
			n++
			break
		}
		if n > 0 && done != (extract.Digest{}) {
			t.Errorf("shard %d: broken off, but its digest is %+v", shard.Index, done)
		}
	}
}

// checkCancel reads under a context that is cancelled before, or after the first pair.
func checkCancel(t *testing.T, s extract.Source, table *extract.Table, shards []extract.Shard) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Shards(ctx, table); !errors.Is(err, context.Canceled) {
		t.Errorf("Shards under a cancelled context: %v", err)
	}
	var done extract.Digest
	rows, err := ShardRows(ctx, s, shards[0], &done)
	if len(rows) > 0 || !errors.Is(err, context.Canceled) || done.Complete {
		t.Errorf("Read under a cancelled context: %d rows, %v", len(rows), err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	ended := false
	for _, err := range s.Read(ctx, shards[0], &done) {
		if ended {
			t.Error("the stream went on after an error that is not a Fault")
		}
		var fault *extract.Fault
		if err != nil && !errors.As(err, &fault) {
			ended = true
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled while reading: %v", err)
			}
		}
		cancel()
	}
	if ended && done.Complete {
		t.Error("a cancelled Read has a complete digest")
	}
}
