package workbook

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/digest"
)

// position says which bytes the shard is: a part with its size and checksum. If the file holds another part by then, it
// has changed.
func (st *sheetTable) position() string {
	return fmt.Sprintf("%s %d %08x", st.part, st.size, st.crc)
}

// open opens the file of a table anew and sees that it is still the one that Tables read.
func (s *Source) open(st *sheetTable, shard extract.Shard) (*pack, *zip.File, error) {
	if shard.Position != st.position() || !slices.Equal(shard.Table.Columns, st.names) {
		return nil, nil, fmt.Errorf("%w since it was cut into shards", extract.ErrChanged)
	}
	p, err := openPack(st.file.Path, s.options.MaxUnpacked)
	if err != nil {
		return nil, nil, err
	}
	part := p.parts[strings.ToLower(st.part)]
	if part == nil || part.CRC32 != st.crc || int64(part.UncompressedSize64) != st.size || !st.structure.same(p) {
		p.close()
		return nil, nil, extract.ErrChanged
	}
	return p, part, nil
}

// newHash starts a digest. It covers all that decides the records: the sheet, and what the workbook says about styles
// and shared strings.
func (st *sheetTable) newHash() hash.Hash {
	h := sha256.New()
	h.Write(st.structure.sum[:])
	return h
}

// Sum is the digest that Read would fill for the shard, its number of records aside, without the cost of making
// records. An error if the file is not the one that was split into shards.
func (s *Source) Sum(ctx context.Context, shard extract.Shard) (extract.Digest, error) {
	st, err := s.table(ctx, shard.Table)
	if err != nil {
		return extract.Digest{}, err
	}
	fail := func(err error) (extract.Digest, error) {
		return extract.Digest{}, fmt.Errorf("read %s: sheet %q: %w", st.file.Shown, st.sheet.name, err)
	}
	p, part, err := s.open(st, shard)
	if err != nil {
		return fail(err)
	}
	defer p.close()
	r, err := p.open(ctx, part)
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	h := st.newHash()
	n, err := io.Copy(h, r)
	if err != nil {
		return fail(err)
	}
	d := extract.Digest{Bytes: n, Complete: true}
	h.Sum(d.Sum[:0])
	return d, nil
}

// read yields the records of a sheet. It returns nil if the consumer broke off.
func (s *Source) read(ctx context.Context, st *sheetTable, shard extract.Shard, done *extract.Digest,
	yield func(*extract.Record, error) bool) error {
	fail := func(err error) error { return fmt.Errorf("read %s: sheet %q: %w", st.file.Shown, st.sheet.name, err) }
	p, part, err := s.open(st, shard)
	if err != nil {
		return fail(err)
	}
	defer p.close()
	r, err := p.open(ctx, part)
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	var sum hash.Hash
	if done != nil {
		sum = st.newHash()
	}
	in := digest.NewReader(ctx, r, sum)
	rows := newSheetReader(in, st.maxField)
	w := newWriter(st, shard.Table, yield)
	for {
		more, err := rows.next()
		if err != nil {
			return fail(err)
		}
		if !more {
			break
		}
		w.decoder.out = w.decoder.out[:0]
		if kind, _ := w.classify(&rows.row); kind != recordRow {
			continue
		}
		if !w.row(&rows.row) {
			return nil
		}
	}
	if done != nil {
		done.Bytes, done.Records, done.Complete = in.Bytes(), w.record.Ordinal, true
		sum.Sum(done.Sum[:0])
	}
	return nil
}

// writer makes records of rows.
type writer struct {
	cursor
	yield  func(*extract.Record, error) bool
	record extract.Record
	cells  []string // by field
	rules  []string // by field: why the cell cannot be read
	above  []string // by field that is filled down: the last value, or, if that cannot be read, its rule
	broken []bool   // by field: above is a rule
	fill   bool
}

func newWriter(st *sheetTable, t *extract.Table, yield func(*extract.Record, error) bool) *writer {
	n := len(st.fields)
	w := &writer{
		cursor: cursor{sheetTable: st, decoder: &decoder{structure: st.structure}},
		yield:  yield,
		record: extract.Record{Table: t, Cells: make([]string, len(st.names))},
		cells:  make([]string, n), rules: make([]string, n), above: make([]string, n), broken: make([]bool, n),
	}
	for _, f := range st.fields {
		w.fill = w.fill || f.fill
	}
	return w
}

// row yields the records of a row. It returns false if the consumer broke off.
func (w *writer) row(r *row) bool {
	clear(w.cells)
	clear(w.rules)
	ragged := false
	for i := range r.cells {
		c := &r.cells[i]
		switch slot := w.slot(c.column); {
		case slot == notRead:
		case slot == unnamed:
			ragged = ragged || w.decoder.filled(r, c)
		default:
			text, rule := w.decoder.value(r, c)
			if w.rules[slot] == "" {
				w.cells[slot], w.rules[slot] = text, rule
			}
		}
	}
	if w.fill {
		w.fillDown()
	}
	w.record.Line, w.record.Bytes = r.number, r.bytes
	if w.plan.Unpivot != nil {
		return w.unpivot(ragged)
	}
	w.record.Ordinal++
	for i, f := range w.fields {
		if f.output < 0 {
			continue
		}
		if w.rules[i] != "" {
			return w.fault(w.rules[i], f.name)
		}
		w.record.Cells[f.output] = w.cells[i]
	}
	if ragged {
		return w.fault(extract.RuleRaggedRow, "")
	}
	return w.yield(&w.record, nil)
}

func (w *writer) fault(rule, column string) bool {
	return w.yield(nil, &extract.Fault{Place: w.record.Place(), Ordinal: w.record.Ordinal, Column: column, Rule: rule})
}

// fillDown gives blank cells the value above. Below a cell that cannot be read the value is not known either.
func (w *writer) fillDown() {
	for i, f := range w.fields {
		switch {
		case !f.fill || f.output == notRead:
		case w.rules[i] != "":
			w.above[i], w.broken[i] = w.rules[i], true
		case w.cells[i] != "":
			if w.broken[i] || w.above[i] != w.cells[i] {
				w.above[i], w.broken[i] = strings.Clone(w.cells[i]), false
			}
		case w.broken[i]:
			w.rules[i] = w.above[i]
		default:
			w.cells[i] = w.above[i]
		}
	}
}

// unpivot yields a record for each cell of a row outside the kept columns.
func (w *writer) unpivot(ragged bool) bool {
	rule, column := "", ""
	kept := 0
	for i, f := range w.fields {
		if f.output < 0 {
			continue
		}
		kept++
		w.record.Cells[f.output] = w.cells[i]
		if w.rules[i] != "" && rule == "" {
			rule, column = w.rules[i], f.name
		}
	}
	last := len(w.record.Cells) - 1
	for i, f := range w.fields {
		if f.output != unpivoted || w.cells[i] == "" && w.rules[i] == "" {
			continue
		}
		w.record.Ordinal++
		ok := true
		switch {
		case rule != "":
			ok = w.fault(rule, column)
		case w.rules[i] != "":
			ok = w.fault(w.rules[i], w.names[last])
		default:
			copy(w.record.Cells[kept:], f.labels)
			w.record.Cells[last] = w.cells[i]
			ok = w.yield(&w.record, nil)
		}
		if !ok {
			return false
		}
	}
	if ragged {
		w.record.Ordinal++
		return w.fault(extract.RuleRaggedRow, "")
	}
	return true
}
