package sqldb

import (
	"context"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// read yields the records of a shard. It returns nil if the consumer broke off.
func (s *Source) read(ctx context.Context, shard extract.Shard, done *extract.Digest,
	yield func(*extract.Record, error) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if shard.Table == nil {
		return fmt.Errorf("source %s: a shard without a table", s.options.Name)
	}
	p, err := s.plan(ctx, shard.Table)
	if err != nil {
		return err
	}
	fail := func(err error) error { return s.fail(ctx, fmt.Sprintf("read table %q", p.table.Name), err) }
	c, err := s.session.open(ctx, p, shard.Position)
	if err != nil {
		return fail(err)
	}
	defer c.close()
	r := newRow(len(p.columns), s.options)
	var digest *sum
	if done != nil {
		digest = newSum()
	}
	record := extract.Record{Table: p.table, Cells: r.cells}
	for ordinal := shard.FirstOrdinal; ; ordinal++ {
		if ctx.Err() != nil {
			return fail(ctx.Err())
		}
		r.begin()
		more, err := c.next(r)
		if err != nil {
			return fail(err)
		}
		if !more {
			break
		}
		if digest != nil {
			digest.add(r)
		}
		if r.rule != "" {
			fault := &extract.Fault{Place: extract.Place{Table: p.table.Name, Line: ordinal}, Ordinal: ordinal, Rule: r.rule,
				Column: p.columns[r.column].name}
			if !yield(nil, fault) {
				return nil
			}
			continue
		}
		record.Line, record.Ordinal, record.Bytes = ordinal, ordinal, r.size
		if !yield(&record, nil) {
			return nil
		}
	}
	if digest != nil {
		*done = digest.digest()
	}
	return nil
}
