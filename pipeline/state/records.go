package state

import (
	"encoding/binary"
	"sort"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// A record of the file of placements is:
//
//	id[20] patient[20] digest[16] u8 status
//	uvarint type, store, made, written, seen, batch, wave, table   (numbers of names)
//	text server, version, replaced   varint position   varint line

const (
	placementsMagic = "CLSTATE2"
	fixedBytes      = 20 + 20 + 16 + 1
)

// record is a placement as it lies in a block.
type record struct {
	start   int // in its block
	fixed   []byte
	numbers [named]uint64
	rest    []byte // what stands behind the numbers
}

// readRecord reads a record. Its numbers are those of names that there are.
func (t *table) readRecord(c *blockfile.Cursor) record {
	r := record{start: c.Off}
	r.fixed = c.Take(fixedBytes)
	for i := range r.numbers {
		n := c.Uvarint()
		if n >= uint64(len(t.names)) {
			c.Bad = true
			n = 0
		}
		r.numbers[i] = n
	}
	start := c.Off
	c.Text()
	c.Text()
	c.Text()
	c.Varint()
	c.Varint()
	r.rest = c.B[start:c.Off]
	return r
}

// placement copies a record.
func (t *table) placement(r *record) (p Placement) {
	p.fixed(&blockfile.Cursor{B: r.fixed})
	texts := p.texts()
	for i, n := range r.numbers {
		*texts[i] = t.names[n]
	}
	c := blockfile.Cursor{B: r.rest}
	for _, text := range texts[named:] {
		*text = string(c.Text())
	}
	p.Position, p.Line = c.Varint(), c.Varint()
	return p
}

// compareTo orders a record and a key.
func (t *table) compareTo(r *record, typ string, id *stage.ID, store string) int {
	return compareKeys(t.names[r.numbers[0]], (*stage.ID)(r.fixed), t.names[r.numbers[1]], typ, id, store)
}

// readRecords calls do with the records of a block until it returns false, and tells whether what it read was well formed
// and in order.
func (t *table) readRecords(payload []byte, do func(*record) bool) bool {
	c := blockfile.Cursor{B: payload}
	var r, last record
	for first := true; c.Off < len(c.B); first = false {
		r = t.readRecord(&c)
		if c.Bad || !Status(r.fixed[fixedBytes-1]).onDisk() ||
			!first && t.compareTo(&last, t.names[r.numbers[0]], (*stage.ID)(r.fixed), t.names[r.numbers[1]]) >= 0 {
			return false
		}
		last = r
		if !do(&r) {
			return true
		}
	}
	return true
}

// heldBlock is a block of placements that is held for lookups.
type heldBlock struct {
	number  int
	payload []byte
	starts  []int // of its records
}

// held reads a block for lookups.
func (t *table) held(number int) (*heldBlock, error) {
	payload, err := t.block(number)
	if err != nil {
		return nil, err
	}
	b := &heldBlock{number: number, payload: payload}
	ok := t.readRecords(payload, func(r *record) bool {
		b.starts = append(b.starts, r.start)
		return true
	})
	if !ok || len(b.starts) == 0 {
		return nil, t.unfit(number)
	}
	return b, nil
}

// lookup finds a placement in a block.
func (t *table) lookup(b *heldBlock, typ string, id *stage.ID, store string) (Placement, bool) {
	at := func(i int) record { return t.readRecord(&blockfile.Cursor{B: b.payload, Off: b.starts[i]}) }
	i := sort.Search(len(b.starts), func(i int) bool {
		r := at(i)
		return t.compareTo(&r, typ, id, store) >= 0
	})
	if i == len(b.starts) {
		return Placement{}, false
	}
	r := at(i)
	if t.compareTo(&r, typ, id, store) != 0 {
		return Placement{}, false
	}
	return t.placement(&r), true
}

// placementsWriter writes a file of placements.
type placementsWriter struct {
	out   *tableWriter
	of    *table   // the table that again is about
	again []uint64 // by number of a name in of: its number here, and 1; 0: it has none yet
}

func (w *placementsWriter) add(p *Placement) error {
	fresh, err := w.out.begin()
	if err != nil {
		return err
	}
	if fresh {
		w.out.first = appendKey(w.out.first[:0], p.Type, &p.ID, p.Store)
	}
	b := append(w.out.block, p.ID[:]...)
	b = append(b, p.Patient[:]...)
	b = append(b, p.Digest[:]...)
	b = append(b, byte(p.Status))
	texts := p.texts()
	for _, text := range texts[:named] {
		b = binary.AppendUvarint(b, w.out.number(*text))
	}
	for _, text := range texts[named:] {
		b = blockfile.AppendText(b, *text)
	}
	b = binary.AppendVarint(b, p.Position)
	w.out.block = binary.AppendVarint(b, p.Line)
	return nil
}

// copy appends a record of another table as it is, but for the numbers of its names.
func (w *placementsWriter) copy(t *table, r *record) error {
	if w.of != t {
		w.of, w.again = t, make([]uint64, len(t.names))
	}
	fresh, err := w.out.begin()
	if err != nil {
		return err
	}
	if fresh {
		w.out.first = appendKey(w.out.first[:0], t.names[r.numbers[0]], (*stage.ID)(r.fixed), t.names[r.numbers[1]])
	}
	b := append(w.out.block, r.fixed...)
	for _, n := range r.numbers {
		if w.again[n] == 0 {
			w.again[n] = w.out.number(t.names[n]) + 1
		}
		b = binary.AppendUvarint(b, w.again[n]-1)
	}
	w.out.block = append(b, r.rest...)
	return nil
}
