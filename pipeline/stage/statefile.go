package stage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
)

// A state file is a block file. A block is: uvarint strings, each text; uvarint entries, each
//
//	uvarint type  ID[20] patient[20] digest[16]  u8 status  uvarint version  uvarint batch  uvarint table  varint line
//
// where type, version, batch and table are numbers of strings of the block. The last block is the directory: for each
// block before it type and id of its first entry, its length, and its entries. The mark of the end is where the
// directory stands.

const (
	stateMagic = "CLSTATE1"
	// stateBlock is about how much goes into a block: what one Lookup reads at most.
	stateBlock = 32 << 10
	// stateEntryMin is the least an entry takes.
	stateEntryMin = 20 + 20 + 16 + 1 + 5
)

func compareKeys(aType string, a *ID, bType string, b *ID) int {
	if c := cmp.Compare(aType, bType); c != 0 {
		return c
	}
	return bytes.Compare(a[:], b[:])
}

// stateBlockRef is an entry of the directory.
type stateBlockRef struct {
	typ    string
	id     ID
	off    int64
	length uint32
}

// stateWriter writes a state file.
type stateWriter struct {
	w       *blockWriter
	numbers map[string]uint64
	strings []byte
	entries []byte
	held    uint64 // entries in the block
	count   uint64
	dir     []byte
	blocks  uint64
	block   []byte
	lastTyp string
	lastID  ID
}

func newStateWriter(out io.Writer) (*stateWriter, error) {
	w, err := newBlockWriter(out, stateMagic, nil)
	return &stateWriter{w: w, numbers: map[string]uint64{}}, err
}

func (w *stateWriter) number(s string) uint64 {
	n, ok := w.numbers[s]
	if !ok {
		n = uint64(len(w.numbers))
		w.numbers[s] = n
		w.strings = appendText(w.strings, s)
	}
	return n
}

// add appends an entry. Entries come in order, and the caller sees to it.
func (w *stateWriter) add(e *StateEntry) error {
	if w.held > 0 && len(w.strings)+len(w.entries) > stateBlock {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.held == 0 {
		w.lastTyp, w.lastID = e.Type, e.ID
	}
	b := binary.AppendUvarint(w.entries, w.number(e.Type))
	b = append(b, e.ID[:]...)
	b = append(b, e.Patient[:]...)
	b = append(b, e.Digest[:]...)
	b = append(b, e.Status)
	b = binary.AppendUvarint(b, w.number(e.Version))
	b = binary.AppendUvarint(b, w.number(e.Batch))
	b = binary.AppendUvarint(b, w.number(e.Table))
	w.entries = binary.AppendVarint(b, e.Line)
	w.held++
	w.count++
	return nil
}

func (w *stateWriter) flush() error {
	w.block = binary.AppendUvarint(w.block[:0], uint64(len(w.numbers)))
	w.block = append(w.block, w.strings...)
	w.block = binary.AppendUvarint(w.block, w.held)
	w.block = append(w.block, w.entries...)
	w.dir = appendText(w.dir, w.lastTyp)
	w.dir = append(w.dir, w.lastID[:]...)
	w.dir = binary.AppendUvarint(w.dir, uint64(len(w.block)))
	w.blocks++
	clear(w.numbers)
	w.strings, w.entries, w.held = w.strings[:0], w.entries[:0], 0
	return w.w.block(w.block)
}

// close writes the directory and the end.
func (w *stateWriter) close() error {
	if w.held > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	mark := w.w.off
	dir := append(binary.AppendUvarint(nil, w.blocks), w.dir...)
	if err := w.w.block(dir); err != nil {
		return err
	}
	return w.w.end(w.count, uint64(mark))
}

// readDirectory reads the directory of an open state file.
func readDirectory(r *blockReader) ([]stateBlockRef, error) {
	first := r.off // of the first block
	if err := r.readTail(); err != nil {
		return nil, err
	}
	if r.blocks == 0 || r.mark < uint64(first) || r.mark > uint64(r.size-endBytes-blockHead) {
		return nil, r.damage(r.size-endBytes, "the place of the directory is wrong")
	}
	off := int64(r.mark)
	payload, err := r.readAt(off, uint32(r.size-endBytes-blockHead-off), r.blocks-1)
	if err != nil {
		return nil, err
	}
	c := cursor{b: payload}
	n := c.length(len(ID{}) + 2)
	refs := make([]stateBlockRef, 0, n)
	at, last := first, ""
	for range n {
		ref := stateBlockRef{off: at}
		if typ := c.take(c.length(1)); string(typ) != last {
			last = string(typ)
		}
		ref.typ = last
		copy(ref.id[:], c.take(len(ref.id)))
		ref.length = uint32(min(c.uvarint(), maxPart))
		at += blockHead + int64(ref.length)
		refs = append(refs, ref)
	}
	if !c.done() || at != off || uint64(n) != r.blocks-1 {
		return nil, r.damage(off, "the directory does not fit the file")
	}
	return refs, nil
}

// readStateBlock takes a block apart. The strings are copies: an entry that is kept must not keep its block.
func readStateBlock(payload []byte) ([]StateEntry, bool) {
	c := cursor{b: payload}
	texts := make([]string, c.length(1))
	for i := range texts {
		texts[i] = string(c.take(c.length(1)))
	}
	text := func() string {
		n := c.uvarint()
		if n >= uint64(len(texts)) {
			c.bad = true
			return ""
		}
		return texts[n]
	}
	entries := make([]StateEntry, c.length(stateEntryMin))
	for i := range entries {
		e := &entries[i]
		e.Type = text()
		copy(e.ID[:], c.take(len(e.ID)))
		copy(e.Patient[:], c.take(len(e.Patient)))
		copy(e.Digest[:], c.take(len(e.Digest)))
		e.Status = c.byte()
		e.Version = text()
		e.Batch = text()
		e.Table = text()
		e.Line = c.varint()
		if c.bad || i > 0 && compareKeys(entries[i-1].Type, &entries[i-1].ID, e.Type, &e.ID) >= 0 {
			return nil, false
		}
	}
	return entries, c.done()
}
