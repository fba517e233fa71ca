package run

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// joining accounts for the tables that mappings read beside their own: which rows joined something, which never did.
// The tables are read anew by each process, the account is made once.
type joining struct {
	once    *once
	reading *Reading
	program *mapping.Program
	workers int
}

func (s *joining) do(ctx context.Context) error {
	if err := s.reading.OpenBeside(ctx); err != nil || s.reading.Beside == nil {
		return err
	}
	for _, b := range s.reading.Beside.Tables {
		err := s.once.do(ctx, ledger.Check, "join "+b.Table.Source+"/"+b.Table.Name, func(ctx context.Context) (ledger.Report, error) {
			return s.account(ctx, b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// account finds the rows of a table that joined nothing. A table that no mapping reads by itself gets its account
// here.
func (s *joining) account(ctx context.Context, b *Beside) (report ledger.Report, err error) {
	own := s.reading.Own(b)
	count := ledger.RecordCount{Table: b.Table.Name, Read: b.Read, Skipped: map[string]int64{}, Refused: b.refused}
	good := b.Read - int64(len(b.faults))
	orphans, severity, by, joins, err := s.orphans(ctx, b)
	if err != nil {
		return report, err
	}
	if !joins {
		count.Skipped[skippedLookup] = good
	} else {
		count.Mapped = good
		for _, line := range orphans {
			report.Findings = append(report.Findings, ledger.Finding{Table: b.Table.Name, Line: line, Rule: skippedOrphan, Mapping: by, Severity: severity})
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
		report.Refusals = append(report.Refusals, ledger.Refusal{Table: f.Table, Line: f.Line, Column: f.Column, Rule: f.Rule, Mapping: b.Indexes[0].Mappings[0]})
	}
	return report, nil
}

// orphans lists the lines of the rows that no record of any mapping with `with:` over the table is joined to. joins is
// false if the table is only looked up.
func (s *joining) orphans(ctx context.Context, b *Beside) (lines []int64, severity ledger.FindingSeverity, by string, joins bool, err error) {
	marks := make([]uint64, b.Read/64+1)
	severity = ledger.NoticeSeverity
	for _, m := range s.program.Mappings {
		for i := range m.With {
			x := &m.With[i]
			if !slices.Contains(b.Indexes, x.Index) {
				continue
			}
			if by == "" {
				by = m.Name
			}
			joins = true
			if x.Orphans == "" {
				severity, by = ledger.FindingNeedsEye, m.Name
			}
			if err := s.mark(ctx, m, x, marks); err != nil {
				return nil, "", "", true, err
			}
		}
	}
	if !joins {
		return nil, "", "", false, nil
	}
	w, err := s.reading.TableBeside(ctx, b)
	if err != nil {
		return nil, "", "", true, err
	}
	left := b.Read - int64(len(b.faults))
	for _, word := range marks {
		for ; word != 0; word &= word - 1 {
			left--
		}
	}
	if left == 0 {
		return nil, severity, by, true, nil
	}
	for _, shard := range w.Shards {
		for rec, err := range w.Read(ctx, shard) {
			if err != nil {
				if plan.IsFault(err) {
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
func (s *joining) mark(ctx context.Context, m *mapping.Mapping, x *mapping.With, marks []uint64) error {
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(s.workers)
	for _, w := range s.reading.Tables {
		if w.Name != m.Table || w.Source != m.Source {
			continue
		}
		for _, shard := range w.Shards {
			p.Go(func(ctx context.Context) error {
				found := s.reading.Beside.Finder()
				var key []byte
				for rec, err := range w.Read(ctx, shard) {
					if err != nil {
						if plan.IsFault(err) {
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
