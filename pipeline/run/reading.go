package run

import (
	"context"
	"fmt"
	"iter"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// source is what reading needs of an opened plan.
type source interface {
	Cuts(context.Context) (map[*extract.Table]*plan.Cut, error)
	UsedTables() []*extract.Table
	MappingsOf(*extract.Table) []*mapping.Mapping
	SourceOf(*extract.Table) extract.Source
}

// ReadingOptions says how a source is read.
type ReadingOptions struct {
	Waves    []plan.Wave
	Wave     string // only this wave; "": all
	Sample   int64  // only the first records of each table; 0: all
	Workers  int    // concurrent readers
	Memory   int64  // bytes that tables read beside others may hold in memory; 0: DefaultMemory
	Scratch  *stage.Scratch
	PlanFile string // as the user named it, for faults
	Progress plan.Progress
}

// Reading is the source as one run reads it: the tables that mappings read, cut into shards and held against the digests
// that the run is pinned to; the rows of other tables, sorted by their keys; the number of each record among those of
// its key; and who belongs to which wave. It is the same for any number of workers. Close it.
type Reading struct {
	Tables  []*Table
	Waves   *Waves  // set by AssignWaves
	Beside  *Joined // set by OpenBeside; nil if no mapping reads a table beside its own
	program *mapping.Program
	source  source
	options ReadingOptions
}

// NewReading lists the tables that mappings read, with their shards.
func NewReading(ctx context.Context, source source, program *mapping.Program, o ReadingOptions) (*Reading, error) {
	r := &Reading{program: program, source: source, options: o}
	cuts, err := source.Cuts(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range source.UsedTables() {
		list := source.MappingsOf(t)
		if len(list) == 0 {
			continue // read beside others only
		}
		w := r.table(t, cuts)
		for _, m := range list {
			if m.Grouped {
				w.Groups = append(w.Groups, m)
			} else {
				w.Rows = append(w.Rows, m)
			}
		}
		r.Tables = append(r.Tables, w)
	}
	return r, r.number(ctx)
}

// Close frees the memory and removes the temporary files.
func (r *Reading) Close() error {
	if r.Beside == nil {
		return nil
	}
	return r.Beside.Close()
}

// table is a table that has been cut, before it is known which mappings read it.
func (r *Reading) table(t *extract.Table, cuts map[*extract.Table]*plan.Cut) *Table {
	return &Table{Table: t, source: r.source.SourceOf(t), Cut: cuts[t], numbers: map[*mapping.Mapping]ordinals{}}
}

// NewWorker makes a mapping worker that finds the rows of other tables.
func (r *Reading) NewWorker() *mapping.Worker {
	w := r.program.NewWorker()
	if r.Beside != nil {
		w.SetFinder(r.Beside.Finder())
	}
	return w
}

// BeyondSample tells whether a record is not one of the sample that was asked for.
func (r *Reading) BeyondSample(ordinal int64) bool {
	return r.options.Sample > 0 && ordinal > r.options.Sample
}

// Records calls each for the good records of a shard that belong to the run.
func (r *Reading) Records(ctx context.Context, w *Table, shard extract.Shard, each func(*extract.Record) error) error {
	for rec, err := range w.Read(ctx, shard) {
		switch {
		case err != nil && plan.IsFault(err):
		case err != nil:
			return err
		case !r.BeyondSample(rec.Ordinal):
			if err := each(rec); err != nil {
				return fmt.Errorf("%s: %w", rec.Place(), err)
			}
		}
	}
	return nil
}

// Table is one table of a run: its shards, and the mappings that read it.
type Table struct {
	*extract.Table
	*plan.Cut
	Rows   []*mapping.Mapping // a resource (or several) from each record
	Groups []*mapping.Mapping // a resource from several records

	source  extract.Source
	numbers map[*mapping.Mapping]ordinals
}

// SourceChanged says that a file of the source is no longer what it was when the run began, whatever its size and time
// say. The run stops: a delivery must not mix two states of a source.
type SourceChanged struct {
	File  string // as the plan names it
	Table string
	Shard int
}

// Error names the file.
func (e *SourceChanged) Error() string {
	return fmt.Sprintf("%s (table %s, piece %d) changed while the run was reading it; it is not what the run began with", e.File, e.Table, e.Shard+1)
}

// Read reads a shard and holds what was read against the digest that the run is pinned to. All stations read the
// source through it. A difference is the last thing it yields, as a *SourceChanged.
func (w *Table) Read(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		var got extract.Digest
		for rec, err := range w.source.Read(ctx, shard, &got) {
			if !yield(rec, err) {
				return
			}
		}
		if got.Complete && got.Sum != w.Sums[shard.Index] {
			yield(nil, &SourceChanged{File: w.File, Table: w.Name, Shard: shard.Index})
		}
	}
}

// Ordinal is the number of a record among those that have its key, in source order, from 1.
func (w *Table) Ordinal(m *mapping.Mapping, rec *extract.Record) int {
	return w.numbers[m].of(rec.Ordinal)
}

// Bytes is the size of the tables' shards.
func Bytes(tables ...*Table) (n int64) {
	for _, w := range tables {
		for _, s := range w.Shards {
			n += s.Bytes
		}
	}
	return n
}
