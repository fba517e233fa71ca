package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// group makes the resources of the mappings with `group by`: the records of a table are sorted by the key of their
// group, in memory while they fit, else through encrypted files, and each group is mapped as one. The order is that of
// the keys, the same either way.
func (r *runner) group(ctx context.Context) error {
	for _, w := range r.tables {
		for _, m := range w.groups {
			err := r.once(ctx, ledger.Check, "group "+m.Name, func(ctx context.Context) (ledger.Report, error) {
				r.Session.options.Progress.Stage("group", "bytes", tableBytes(w))
				return r.newExtractor().groups(ctx, w, m)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// groups maps the groups of one table and mapping.
func (x *extractor) groups(ctx context.Context, w *tableWork, m *mapping.Mapping) (report ledger.Report, err error) {
	// The mapping is part of the name: a table may be grouped by several, and each keeps what it refused.
	x.start(w.table.Source + "." + w.table.Name + ".group." + m.Name)
	sorter := stage.NewSorter(x.dir, sortBudget)
	defer func() {
		err = errors.Join(err, sorter.Close())
		if err != nil {
			err = errors.Join(err, x.abort())
		}
	}()
	count := x.count(m.Name, w.table.Name)
	if err := x.gather(ctx, w, m, sorter, count); err != nil {
		return ledger.Report{}, err
	}
	table := x.count("", w.table.Name)
	if err := eachGroup(sorter, w, func(rows []mapping.Row) error { return x.oneGroup(ctx, w, m, rows, count, table) }); err != nil {
		return ledger.Report{}, err
	}
	return x.finish()
}

// eachGroup answers the records of one group after the other, in the order of their keys. The slice is used again.
func eachGroup(sorter *stage.Sorter, w *tableWork, each func([]mapping.Row) error) error {
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
		row, err := mapping.ReadRow(entry.Value, w.table)
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
func (x *extractor) gather(ctx context.Context, w *tableWork, m *mapping.Mapping, sorter *stage.Sorter, count *ledger.RecordCount) error {
	var key, value []byte
	for _, shard := range w.shards {
		for rec, err := range w.read(ctx, shard) {
			var fault *extract.Fault
			switch {
			case errors.As(err, &fault):
				if !x.beyondSample(fault.Ordinal) {
					count.Read++
					count.Refused[fault.Rule]++
				}
				continue
			case err != nil:
				return err
			case x.beyondSample(rec.Ordinal):
				continue
			}
			count.Read++
			id, res, err := x.worker.GroupKey(m, rec)
			if err != nil {
				return fmt.Errorf("%s: %w", rec.Place(), err)
			}
			switch res.Outcome {
			case mapping.Skipped:
				count.Skipped[res.Rule]++
			case mapping.Refused:
				count.Refused[res.Rule]++
				x.refuse(ledger.Refusal{Table: w.table.Name, Line: rec.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
				if err := x.keep(rec, res.Rule); err != nil {
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
		x.Session.options.Progress.Add(shard.Bytes)
	}
	return nil
}

// oneGroup maps one group. Where it is refused all of its records are, and the table's account, which had them as
// mapped, is put right.
func (x *extractor) oneGroup(ctx context.Context, w *tableWork, m *mapping.Mapping, rows []mapping.Row, count, table *ledger.RecordCount) error {
	x.ordinal, x.here, x.elsewhere = rows[0].Ordinal, 0, 0
	res, err := x.worker.MapGroup(m, rows, 1, func(res *mapping.Resource) error { return x.add(m, res) })
	if err != nil {
		return fmt.Errorf("%s: %w", rows[0].Place, err)
	}
	n := int64(len(rows))
	switch {
	case res.Outcome == mapping.Refused:
		count.Refused[res.Rule] += n
		fresh, err := x.freshLines(ctx, w.table.Name, rows)
		if err != nil {
			return err
		}
		table.Mapped -= fresh
		table.Refused[res.Rule] += fresh
		for _, row := range rows {
			x.refuse(ledger.Refusal{Table: w.table.Name, Line: row.Place.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
			x.row = appendRow(x.row[:0], w.table.Columns, row.Cells)
			if err := x.refused.Add(row.Place, res.Rule, x.row); err != nil {
				return err
			}
		}
	case x.elsewhere > 0 && x.here == 0:
		count.OtherWave += n
		table.Mapped -= n
		table.OtherWave += n
	default:
		count.Mapped += n
		x.find(w.table.Name, rows[0].Place.Line, m.Name, res.Findings)
	}
	return nil
}

// freshLines counts the records that no mapping has refused yet, so that the table counts each once.
func (x *extractor) freshLines(ctx context.Context, table string, rows []mapping.Row) (int64, error) {
	lines := make([]int64, len(rows))
	for i, row := range rows {
		lines[i] = row.Place.Line
	}
	known, err := x.Ledger.Refused(ctx, x.run.ID, table, lines)
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
