package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// refusedLines is what grouping needs of the ledger.
type refusedLines interface {
	Refused(ctx context.Context, run, table string, lines []int64) (map[int64]bool, error)
}

// grouping is the station of the mappings with `group by`.
type grouping struct {
	once     *once
	ledger   refusedLines
	reading  *Reading
	making   *making
	progress plan.Progress
}

// do makes the resources of the mappings with `group by`: the records of a table are sorted by the key of their
// group, in memory while they fit, else through encrypted files, and each group is mapped as one. The order is that of
// the keys, the same either way.
func (s *grouping) do(ctx context.Context) error {
	for _, w := range s.reading.Tables {
		for _, m := range w.Groups {
			err := s.once.do(ctx, ledger.Check, "group "+m.Name, func(ctx context.Context) (ledger.Report, error) {
				s.progress.Stage("group", "bytes", Bytes(w))
				return (&groupMaker{maker: s.making.maker(), ledger: s.ledger, progress: s.progress}).groups(ctx, w, m)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// groupMaker makes the resources of groups.
type groupMaker struct {
	maker    *maker
	ledger   refusedLines
	progress plan.Progress
}

// groups maps the groups of one table and mapping.
func (g *groupMaker) groups(ctx context.Context, w *Table, m *mapping.Mapping) (report ledger.Report, err error) {
	// The mapping is part of the name: a table may be grouped by several, and each keeps what it refused.
	g.maker.start(w.Source + "." + w.Name + ".group." + m.Name)
	sorter := stage.NewSorter(g.maker.making.staged.Scratch, SortBudget)
	defer func() {
		err = errors.Join(err, sorter.Close())
		if err != nil {
			err = errors.Join(err, g.maker.abort())
		}
	}()
	count := g.maker.count(m.Name, w.Name)
	if err := g.gather(ctx, w, m, sorter, count); err != nil {
		return ledger.Report{}, err
	}
	table := g.maker.count("", w.Name)
	if err := EachGroup(sorter, w, func(rows []mapping.Row) error { return g.oneGroup(ctx, w, m, rows, count, table) }); err != nil {
		return ledger.Report{}, err
	}
	return g.maker.finish(ctx)
}

// EachGroup calls each with the records of one group after the other, in the order of their keys. The slice is used again.
func EachGroup(sorter *stage.Sorter, w *Table, each func([]mapping.Row) error) error {
	var rows []mapping.Row
	var last mapping.ID
	for entry, err := range sorter.Sorted() {
		if err != nil {
			return err
		}
		id := mapping.ID(entry.Key[:len(last)])
		if len(rows) > 0 && id != last {
			if err := each(rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
		last = id
		row, err := mapping.ReadRow(entry.Value, w.Table)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	return each(rows)
}

// gather sorts the records that belong to a group by its key.
func (g *groupMaker) gather(ctx context.Context, w *Table, m *mapping.Mapping, sorter *stage.Sorter, count *ledger.RecordCount) error {
	var key, value []byte
	for _, shard := range w.Shards {
		for rec, err := range w.Read(ctx, shard) {
			var fault *extract.Fault
			switch {
			case errors.As(err, &fault):
				if !g.maker.making.reading.BeyondSample(fault.Ordinal) {
					count.Read++
					count.Refused[fault.Rule]++
				}
				continue
			case err != nil:
				return err
			case g.maker.making.reading.BeyondSample(rec.Ordinal):
				continue
			}
			count.Read++
			id, res, err := g.maker.worker.GroupKey(m, rec)
			if err != nil {
				return fmt.Errorf("%s: %w", rec.Place(), err)
			}
			switch res.Outcome {
			case mapping.Skipped:
				count.Skipped[res.Rule]++
			case mapping.Refused:
				count.Refused[res.Rule]++
				g.maker.refuse(ledger.Refusal{Table: w.Name, Line: rec.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
				if err := g.maker.keep(ctx, rec, res); err != nil {
					return err
				}
			default:
				key = append(key[:0], id[:]...)
				key = binary.BigEndian.AppendUint64(key, uint64(rec.Ordinal))
				value = mapping.AppendRow(value[:0], rec)
				if err := sorter.Add(key, value); err != nil {
					return err
				}
			}
		}
		g.progress.Add(shard.Bytes)
	}
	return nil
}

// oneGroup maps one group. Where it is refused all of its records are, and the table's account, which had them as
// mapped, is put right.
func (g *groupMaker) oneGroup(ctx context.Context, w *Table, m *mapping.Mapping, rows []mapping.Row, count, table *ledger.RecordCount) error {
	g.maker.ordinal, g.maker.here, g.maker.elsewhere = rows[0].Ordinal, 0, 0
	res, err := g.maker.worker.MapGroup(m, rows, 1, func(res *mapping.Resource) error { return g.maker.add(ctx, m, res) })
	if err != nil {
		return fmt.Errorf("%s: %w", rows[0].Place, err)
	}
	n := int64(len(rows))
	switch {
	case res.Outcome == mapping.Refused:
		count.Refused[res.Rule] += n
		fresh, err := g.freshLines(ctx, w.Name, rows)
		if err != nil {
			return err
		}
		table.Mapped -= fresh
		table.Refused[res.Rule] += fresh
		for _, row := range rows {
			g.maker.refuse(ledger.Refusal{Table: w.Name, Line: row.Place.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
			g.maker.row = appendRow(g.maker.row[:0], w.Table.Columns, row.Cells)
			if err := g.maker.refused.Add(ctx, row.Place, patientOf(res), res.Rule, g.maker.row); err != nil {
				return err
			}
		}
	case g.maker.elsewhere > 0 && g.maker.here == 0:
		count.OtherWave += n
		table.Mapped -= n
		table.OtherWave += n
	default:
		count.Mapped += n
		g.maker.find(w.Name, rows[0].Place.Line, m.Name, res.Findings)
	}
	return nil
}

// freshLines counts the records that no mapping has refused yet, so that the table counts each once.
func (g *groupMaker) freshLines(ctx context.Context, table string, rows []mapping.Row) (int64, error) {
	lines := make([]int64, len(rows))
	for i, row := range rows {
		lines[i] = row.Place.Line
	}
	known, err := g.ledger.Refused(ctx, g.maker.making.staged.Run, table, lines)
	if err != nil {
		return 0, err
	}
	fresh := int64(0)
	for _, line := range lines {
		if !known[line] {
			fresh++
		}
	}
	return fresh, nil
}
