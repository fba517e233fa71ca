package sqldump

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// piece finds what a shard is in the plan.
func (s *Source) piece(ctx context.Context, shard extract.Shard) (p *plan, t *table, g segment, err error) {
	if p, err = s.plan(ctx); err != nil {
		return nil, nil, g, err
	}
	if t, err = s.table(p, shard.Table); err != nil {
		return nil, nil, g, err
	}
	pieces := t.pieces()
	if shard.Index < 0 || shard.Index >= len(pieces) {
		return nil, nil, g, fmt.Errorf("read table %s of %s: %w: it has no piece %d", shard.Table.Name, s.options.Name, extract.ErrChanged, shard.Index)
	}
	g = pieces[shard.Index]
	if known := p.shard(shard.Table, shard.Index, g); known.Position != shard.Position {
		return nil, nil, g, fmt.Errorf("read %s: %w", s.files[g.file].Shown, extract.ErrChanged)
	}
	return p, t, g, nil
}

// openPiece opens the bytes of a piece.
func (s *Source) openPiece(ctx context.Context, p *plan, g segment, h hash.Hash) (*input, error) {
	f := s.files[g.file]
	in, err := s.open(ctx, f, g.start, g.end, p.files[g.file].kept, h)
	if err != nil {
		return nil, err
	}
	if in.stamp != p.files[g.file].stamp {
		in.close()
		return nil, fmt.Errorf("read %s: %w", f.Shown, extract.ErrChanged)
	}
	return in, nil
}

// read yields the records of a shard. It returns nil if the consumer broke off.
func (s *Source) read(ctx context.Context, shard extract.Shard, done *extract.Digest, yield func(*extract.Record, error) bool) error {
	p, t, g, err := s.piece(ctx, shard)
	if err != nil {
		return err
	}
	f := s.files[g.file]
	fail := func(err error) error { return fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(err)) }
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	if !slices.Equal(names, shard.Table.Columns) {
		return fail(fmt.Errorf("%w: table %s has other columns", extract.ErrChanged, shard.Table.Name))
	}
	var sum hash.Hash
	if done != nil {
		*done = extract.Digest{}
		sum = sha256.New()
	}
	in, err := s.openPiece(ctx, p, g, sum)
	if err != nil {
		return err
	}
	defer in.close()
	planned := p.files[g.file]
	w := newWalker(s.dialect, planned.text.Reader(in.bytes), s.declared, s.options)
	w.session = g.session
	w.wide, w.offset, w.line, w.whole = planned.text.Wide(), g.start, g.line, g.end == planned.size
	w.crossed = g.in.where == inFile
	w.catalog, w.file, w.shown = p.catalog, g.file, f.Shown
	cells := newRenderer(s.dialect, s.options.Zone, s.options.MaxField, t.columns)
	record := extract.Record{Table: shard.Table, Cells: cells.cells}
	ordinal := g.ordinal - 1
	w.rows = func(r *row) bool {
		if r.table != t {
			return true
		}
		ordinal++
		rule, column := r.rule, -1
		if rule == "" {
			rule, column = cells.row(&w.values, w.layout(r.in), &w.session)
		} else if at := w.layout(r.in); r.column >= 0 && r.column < len(at) {
			column = at[r.column]
		}
		if rule == "" {
			record.Line, record.Ordinal, record.Bytes = r.start.line, ordinal, int(r.end-r.start.offset)
			return yield(&record, nil)
		}
		fault := &extract.Fault{Place: extract.Place{Table: shard.Table.Name, Line: r.start.line, File: f.Shown}, Ordinal: ordinal, Rule: rule}
		if column >= 0 {
			fault.Column = names[column]
		}
		return yield(nil, fault)
	}
	if g.end > g.start {
		w.walk(g.in)
	}
	switch {
	case w.err != nil:
		return fail(w.err)
	case w.stopped:
		return nil
	case in.bytes.Bytes() != g.end-g.start:
		return fail(extract.ErrChanged)
	}
	if done != nil {
		done.Bytes, done.Records, done.Complete = in.bytes.Bytes(), ordinal-g.ordinal+1, true
		sum.Sum(done.Sum[:0])
	}
	return nil
}

// Sum is the digest that Read would fill for the shard, its number of records aside, without the cost of making
// records. An error if the file is not the one that was split into shards.
func (s *Source) Sum(ctx context.Context, shard extract.Shard) (extract.Digest, error) {
	p, _, g, err := s.piece(ctx, shard)
	if err != nil {
		return extract.Digest{}, err
	}
	sum := sha256.New()
	in, err := s.openPiece(ctx, p, g, sum)
	if err != nil {
		return extract.Digest{}, err
	}
	defer in.close()
	_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{in.bytes}, make([]byte, window))
	if err == nil && in.bytes.Bytes() != g.end-g.start {
		err = extract.ErrChanged
	}
	if err != nil {
		return extract.Digest{}, fmt.Errorf("read %s: %w", s.files[g.file].Shown, extract.Pathless(err))
	}
	d := extract.Digest{Bytes: in.bytes.Bytes(), Complete: true}
	sum.Sum(d.Sum[:0])
	return d, nil
}
