package run

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// DefaultMemory is what tables read beside others may hold in memory, all together; the rest lies in encrypted temporary
// files.
const DefaultMemory = 512 << 20

// Names of what became of the rows of a table that no mapping reads by itself.
const (
	skippedLookup = "looked-up" // a dictionary: lookup() found in it what it was asked for
	skippedOrphan = "never-joined"
)

// Beside is a table that mappings read beside their own: with all its indexes, and what reading it came to.
type Beside struct {
	Table   *extract.Table
	Indexes []*mapping.Index
	Read    int64 // records, refused ones included
	refused map[string]int64
	faults  []extract.Fault
}

// Joined is all tables beside, ready to be searched by any number of workers.
type Joined struct {
	Tables []*Beside
	maps   map[*mapping.Index]*stage.Multimap
	of     map[*mapping.Index]*extract.Table
}

// ReadShard reads one shard of a table.
type ReadShard func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error]

// besides lists the tables of the indexes, sorted as plan.UsedTables sorts.
func besides(tables []*extract.Table, indexes []*mapping.Index) []*Beside {
	var out []*Beside
	for _, t := range tables {
		b := &Beside{Table: t, refused: map[string]int64{}}
		for _, x := range indexes {
			if !x.Absent() && x.Source == t.Source && x.Table == t.Name {
				b.Indexes = append(b.Indexes, x)
			}
		}
		if len(b.Indexes) > 0 {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *Beside) int { return plan.CompareTables(a.Table, b.Table) })
	return out
}

// Join reads the tables of the indexes and sorts them by their keys, in budget bytes of memory all together and
// on scratch beyond that. Close it.
func Join(ctx context.Context, tables []*extract.Table, indexes []*mapping.Index, scratch *stage.Scratch, budget int64, workers int,
	shards func(*Beside) ([]extract.Shard, ReadShard, error)) (j *Joined, err error) {
	j = &Joined{Tables: besides(tables, indexes), maps: map[*mapping.Index]*stage.Multimap{}, of: map[*mapping.Index]*extract.Table{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
			j = nil // nobody is to close it again
		}
	}()
	n := 0
	for _, b := range j.Tables {
		n += len(b.Indexes)
	}
	for _, b := range j.Tables {
		pieces, read, err := shards(b)
		if err != nil {
			return j, err
		}
		if err := j.add(ctx, b, pieces, read, scratch, budget/int64(n), workers); err != nil {
			return j, fmt.Errorf("table %s: %w", b.Table.Name, err)
		}
	}
	return j, nil
}

// add reads one table into its indexes.
func (j *Joined) add(ctx context.Context, b *Beside, shards []extract.Shard, read ReadShard, scratch *stage.Scratch, budget int64, workers int) (err error) {
	sorters := make([]*stage.Sorter, len(b.Indexes))
	for i := range sorters {
		sorters[i] = stage.NewSorter(scratch, budget)
	}
	defer func() {
		for _, s := range sorters {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	var mu sync.Mutex
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(workers)
	for _, shard := range shards {
		p.Go(func(ctx context.Context) error {
			var key, row []byte
			for rec, err := range read(ctx, shard) {
				var fault *extract.Fault
				if errors.As(err, &fault) {
					mu.Lock()
					b.Read++
					b.refused[fault.Rule]++
					b.faults = append(b.faults, *fault)
					mu.Unlock()
					continue
				}
				if err != nil {
					return err
				}
				row = mapping.AppendRow(row[:0], rec)
				mu.Lock()
				b.Read++
				for i, x := range b.Indexes {
					var ok bool
					if key, ok = x.Key(key[:0], rec); ok {
						if err = sorters[i].Add(key, row); err != nil {
							break
						}
					}
				}
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	slices.SortFunc(b.faults, func(a, b extract.Fault) int { return int(a.Ordinal - b.Ordinal) })
	for i, x := range b.Indexes {
		m, err := sorters[i].Multimap()
		if err != nil {
			return err
		}
		sorters[i] = nil
		j.maps[x], j.of[x] = m, b.Table
	}
	return nil
}

// Close frees the memory and removes the temporary files.
func (j *Joined) Close() error {
	var errs []error
	for _, m := range j.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// finder searches for one worker.
type finder struct {
	j       *Joined
	readers map[*mapping.Index]*stage.MultimapReader
}

// Finder searches for one goroutine.
func (j *Joined) Finder() mapping.Finder {
	return &finder{j, map[*mapping.Index]*stage.MultimapReader{}}
}

// Find answers the records under a key, in source order.
func (f *finder) Find(x *mapping.Index, key []byte) (rows []mapping.Row, err error) {
	r := f.readers[x]
	if r == nil {
		m := f.j.maps[x]
		if m == nil {
			return nil, fmt.Errorf("the table %s was not read", x.Table)
		}
		r = m.NewReader()
		f.readers[x] = r
	}
	for value, err := range r.Find(key) {
		if err != nil {
			return nil, err
		}
		row, err := mapping.ReadRow(value, f.j.of[x])
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// OpenBeside reads the tables that mappings read beside their own, if there are any.
func (r *Reading) OpenBeside(ctx context.Context) error {
	tables := besides(r.source.UsedTables(), r.program.Indexes)
	if len(tables) == 0 {
		return nil
	}
	cuts, err := r.source.Cuts(ctx)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, b := range tables {
		for _, shard := range cuts[b.Table].Shards {
			total += shard.Bytes
		}
	}
	memory := r.options.Memory
	if memory <= 0 {
		memory = DefaultMemory
	}
	r.options.Progress.Stage("join", "bytes", total)
	r.Beside, err = Join(ctx, r.source.UsedTables(), r.program.Indexes, r.options.Scratch, memory, r.options.Workers, func(b *Beside) ([]extract.Shard, ReadShard, error) {
		w := r.table(b.Table, cuts)
		return w.Shards, func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
			return func(yield func(*extract.Record, error) bool) {
				for rec, err := range w.Read(ctx, shard) {
					if !yield(rec, err) {
						return
					}
				}
				r.options.Progress.Add(shard.Bytes)
			}
		}, nil
	})
	return err
}

// TableBeside is a table that is read beside others, ready to be read once more.
func (r *Reading) TableBeside(ctx context.Context, b *Beside) (*Table, error) {
	cuts, err := r.source.Cuts(ctx)
	if err != nil {
		return nil, err
	}
	return r.table(b.Table, cuts), nil
}

// Own tells whether some mapping reads the table as its own.
func (r *Reading) Own(b *Beside) bool { return len(r.source.MappingsOf(b.Table)) > 0 }
