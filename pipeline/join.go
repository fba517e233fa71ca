package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
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

// beside is a table that mappings read beside their own: with all its indexes, and what reading it came to.
type beside struct {
	table   *extract.Table
	indexes []*mapping.Index
	read    int64 // records, refused ones included
	refused map[string]int64
	faults  []extract.Fault
}

// joined is all tables beside, ready to be searched by any number of workers.
type joined struct {
	tables []*beside
	maps   map[*mapping.Index]*stage.Multimap
	of     map[*mapping.Index]*extract.Table
}

// reading reads one shard of a table.
type reading func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error]

// besides lists the tables of the indexes, sorted as usedTables sorts.
func (s *Session) besides(indexes []*mapping.Index) []*beside {
	var out []*beside
	for _, t := range s.tables {
		b := &beside{table: t, refused: map[string]int64{}}
		for _, x := range indexes {
			if !x.Absent() && x.Source == t.Source && x.Table == t.Name {
				b.indexes = append(b.indexes, x)
			}
		}
		if len(b.indexes) > 0 {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *beside) int { return compareTables(a.table, b.table) })
	return out
}

// openJoined reads the tables of the indexes and sorts them by their keys, in budget bytes of memory all together and
// temporary files in dir beyond that. Close it.
func (s *Session) openJoined(ctx context.Context, indexes []*mapping.Index, dir string, budget int64, workers int,
	shards func(*beside) ([]extract.Shard, reading, error)) (j *joined, err error) {
	j = &joined{tables: s.besides(indexes), maps: map[*mapping.Index]*stage.Multimap{}, of: map[*mapping.Index]*extract.Table{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
			j = nil // nobody is to close it again
		}
	}()
	n := 0
	for _, b := range j.tables {
		n += len(b.indexes)
	}
	for _, b := range j.tables {
		pieces, read, err := shards(b)
		if err != nil {
			return j, err
		}
		if err := j.add(ctx, b, pieces, read, dir, budget/int64(n), workers); err != nil {
			return j, fmt.Errorf("table %s: %w", b.table.Name, err)
		}
	}
	return j, nil
}

// add reads one table into its indexes.
func (j *joined) add(ctx context.Context, b *beside, shards []extract.Shard, read reading, dir string, budget int64, workers int) (err error) {
	sorters := make([]*stage.Sorter, len(b.indexes))
	for i := range sorters {
		sorters[i] = stage.NewSorter(dir, budget)
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
					b.read++
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
				b.read++
				for i, x := range b.indexes {
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
	for i, x := range b.indexes {
		m, err := sorters[i].Multimap()
		if err != nil {
			return err
		}
		sorters[i] = nil
		j.maps[x], j.of[x] = m, b.table
	}
	return nil
}

// Close frees the memory and removes the temporary files.
func (j *joined) Close() error {
	var errs []error
	for _, m := range j.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// finder searches for one worker.
type finder struct {
	j       *joined
	readers map[*mapping.Index]*stage.MultimapReader
}

func (j *joined) finder() mapping.Finder {
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

// newWorker makes a mapping worker that finds the rows of other tables.
func (r *runner) newWorker() *mapping.Worker {
	w := r.Program.NewWorker()
	if r.joined != nil {
		w.SetFinder(r.joined.finder())
	}
	return w
}

// join reads the tables that mappings read beside their own, and accounts for them: which rows joined something, which
// never did. The reading is done again by each process, the account once.
func (r *runner) join(ctx context.Context) error {
	if err := r.readBeside(ctx); err != nil || r.joined == nil {
		return err
	}
	for _, b := range r.joined.tables {
		err := r.once(ctx, ledger.Check, "join "+b.table.Source+"/"+b.table.Name, func(ctx context.Context) (ledger.Report, error) {
			return r.accountBeside(ctx, b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) readBeside(ctx context.Context) error {
	tables := r.besides(r.Program.Indexes)
	if len(tables) == 0 {
		return nil
	}
	cuts, err := r.cut(ctx)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, b := range tables {
		for _, shard := range cuts[b.table].shards {
			total += shard.Bytes
		}
	}
	r.Session.options.Progress.Stage("join", "bytes", total)
	r.joined, err = r.openJoined(ctx, r.Program.Indexes, r.dir, r.memory(), r.workers, func(b *beside) ([]extract.Shard, reading, error) {
		w := r.work(b.table)
		return w.shards, func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
			return func(yield func(*extract.Record, error) bool) {
				for rec, err := range w.read(ctx, shard) {
					if !yield(rec, err) {
						return
					}
				}
				r.Session.options.Progress.Add(shard.Bytes)
			}
		}, nil
	})
	return err
}

func (r *runner) memory() int64 {
	if r.options.Memory > 0 {
		return r.options.Memory
	}
	return DefaultMemory
}

// accountBeside finds the rows of a table that joined nothing. A table that no mapping reads by itself gets its account
// here.
func (r *runner) accountBeside(ctx context.Context, b *beside) (report ledger.Report, err error) {
	own := len(r.mappingsOf(b.table)) > 0
	count := ledger.RecordCount{Table: b.table.Name, Read: b.read, Skipped: map[string]int64{}, Refused: b.refused}
	good := b.read - int64(len(b.faults))
	orphans, severity, by, joins, err := r.orphans(ctx, b)
	if err != nil {
		return report, err
	}
	if !joins {
		count.Skipped[skippedLookup] = good
	} else {
		count.Mapped = good
		for _, line := range orphans {
			report.Findings = append(report.Findings, ledger.Finding{Table: b.table.Name, Line: line, Rule: skippedOrphan, Mapping: by, Severity: severity})
		}
		if n := int64(len(orphans)); n > 0 {
			count.Mapped -= n
			count.Skipped[skippedOrphan] = n
		}
	}
	if own {
		return report, nil
	}
	report.Tables = append(report.Tables, count)
	for _, f := range b.faults {
		report.Refusals = append(report.Refusals, ledger.Refusal{Table: f.Table, Line: f.Line, Column: f.Column, Rule: f.Rule, Mapping: b.indexes[0].Mappings[0]})
	}
	return report, nil
}

// orphans lists the lines of the rows that no record of any mapping with `with:` over the table is joined to. joins is
// false if the table is only looked up.
func (r *runner) orphans(ctx context.Context, b *beside) (lines []int64, severity ledger.FindingSeverity, by string, joins bool, err error) {
	marks := make([]uint64, b.read/64+1)
	severity = ledger.NoticeSeverity
	for _, m := range r.Program.Mappings {
		for i := range m.With {
			x := &m.With[i]
			if !slices.Contains(b.indexes, x.Index) {
				continue
			}
			if by == "" {
				by = m.Name
			}
			joins = true
			if x.Orphans == "" {
				severity, by = ledger.FindingNeedsEye, m.Name
			}
			if err := r.mark(ctx, m, x, marks); err != nil {
				return nil, "", "", true, err
			}
		}
	}
	if !joins {
		return nil, "", "", false, nil
	}
	w := r.work(b.table)
	left := b.read - int64(len(b.faults))
	for _, word := range marks {
		for ; word != 0; word &= word - 1 {
			left--
		}
	}
	if left == 0 {
		return nil, severity, by, true, nil
	}
	for _, shard := range w.shards {
		for rec, err := range w.read(ctx, shard) {
			if err != nil {
				if isFault(err) {
					continue
				}
				return nil, "", "", true, err
			}
			if marks[rec.Ordinal/64]&(1<<(rec.Ordinal%64)) == 0 {
				lines = append(lines, rec.Line)
			}
		}
	}
	return lines, severity, by, true, nil
}

// mark marks the rows, by ordinal, that a record of the mapping's table is joined to.
func (r *runner) mark(ctx context.Context, m *mapping.Mapping, x *mapping.With, marks []uint64) error {
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(r.workers)
	for _, w := range r.tables {
		if w.table.Name != m.Table || w.table.Source != m.Source {
			continue
		}
		for _, shard := range w.shards {
			p.Go(func(ctx context.Context) error {
				found := r.joined.finder()
				var key []byte
				for rec, err := range w.read(ctx, shard) {
					if err != nil {
						if isFault(err) {
							continue
						}
						return err
					}
					var ok bool
					if key, ok = x.Key(key[:0], m, rec); !ok {
						continue
					}
					rows, err := found.Find(x.Index, key)
					if err != nil {
						return err
					}
					for _, row := range rows {
						atomic.OrUint64(&marks[row.Ordinal/64], 1<<(row.Ordinal%64))
					}
				}
				return nil
			})
		}
	}
	return p.Wait()
}
