package stage

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

const (
	indexMagic  = "CLINDEX2"
	indexSuffix = ".index"
	// indexBlock is about how much goes into a block of an index. A merge holds one block of each.
	indexBlock = 16 << 10
)

// Entry is an entry of an index: where a resource comes from and what it refers to.
type Entry struct {
	ID, Patient   ID
	Digest        [16]byte
	Batch         int // which of the batches given
	Position      int // in the batch, from 0
	Line, Ordinal int64
	Refs          []Ref // valid until the next entry
}

// An entry is, little-endian:
//
//	ID[20] patient[20] digest[16] u32 position u64 line u64 ordinal u32 references, each: ID[20] u16 type u8 drop
const (
	entryFixed = 20 + 20 + 16 + 4 + 8 + 8 + 4
	refBytes   = 20 + 2 + 1
)

// The flags of a reference on disk.
const (
	refDrop = 1 << iota
	refLate
)

func appendEntry(dst []byte, e *Entry) []byte {
	dst = append(dst, e.ID[:]...)
	dst = append(dst, e.Patient[:]...)
	dst = append(dst, e.Digest[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Position))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Line))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Ordinal))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.Refs)))
	for i := range e.Refs {
		r := &e.Refs[i]
		dst = append(dst, r.ID[:]...)
		dst = binary.LittleEndian.AppendUint16(dst, r.Type)
		flags := byte(0)
		if r.Drop {
			flags |= refDrop
		}
		if r.Late {
			flags |= refLate
		}
		dst = append(dst, flags)
	}
	return dst
}

// readEntry reads an entry into e, all but its Batch, and uses the memory of its references again.
func readEntry(c *blockfile.Cursor, e *Entry) bool {
	b := c.Take(entryFixed)
	if b == nil {
		return false
	}
	copy(e.ID[:], b)
	copy(e.Patient[:], b[20:])
	copy(e.Digest[:], b[40:])
	e.Position = int(binary.LittleEndian.Uint32(b[56:]))
	e.Line = int64(binary.LittleEndian.Uint64(b[60:]))
	e.Ordinal = int64(binary.LittleEndian.Uint64(b[68:]))
	refs := uint64(binary.LittleEndian.Uint32(b[76:]))
	e.Refs = e.Refs[:0]
	if refs == 0 {
		return true
	}
	if refs > uint64(len(c.B)-c.Off)/refBytes {
		c.Bad = true
		return false
	}
	b = c.Take(int(refs) * refBytes)
	for ; len(b) > 0; b = b[refBytes:] {
		e.Refs = append(e.Refs, Ref{ID: ID(b[:20]), Type: binary.LittleEndian.Uint16(b[20:]), Drop: b[22]&refDrop != 0, Late: b[22]&refLate != 0})
	}
	return true
}

// compareEntries is the order of a merge. It is total: no two entries have batch and position in common.
func compareEntries(a, b *Entry) int {
	if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Ordinal, b.Ordinal); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Batch, b.Batch); c != 0 {
		return c
	}
	return cmp.Compare(a.Position, b.Position)
}

// indexBuffer holds the index of a batch that is being written: entries in slabs, which never move.
type indexBuffer struct {
	slabs [][]byte
	used  int // slabs; those behind wait for the next batch
	order []indexPlace
}

type indexPlace struct {
	prefix       uint64 // of the id: nearly always decides
	slab, offset uint32
}

const indexSlab = 1 << 20

func (b *indexBuffer) reset() {
	b.used, b.order = 0, b.order[:0]
}

func (b *indexBuffer) add(k *Key, digest [16]byte, position int, line int64) {
	size := entryFixed + refBytes*len(k.Refs)
	if b.used == 0 || cap(b.slabs[b.used-1])-len(b.slabs[b.used-1]) < size {
		if b.used == len(b.slabs) || cap(b.slabs[b.used]) < size {
			b.slabs = append(b.slabs[:b.used], make([]byte, 0, max(size, indexSlab)))
		}
		b.slabs[b.used] = b.slabs[b.used][:0]
		b.used++
	}
	slab := &b.slabs[b.used-1]
	b.order = append(b.order, indexPlace{binary.BigEndian.Uint64(k.ID[:]), uint32(b.used - 1), uint32(len(*slab))})
	e := Entry{ID: k.ID, Patient: k.Patient, Digest: digest, Position: position, Line: line, Ordinal: k.Ordinal, Refs: k.Refs}
	*slab = appendEntry(*slab, &e)
}

// at is the entry at a place, and what is behind it.
func (b *indexBuffer) at(p indexPlace) []byte { return b.slabs[p.slab][p.offset:] }

// indexMeta is the head of an index. The sum binds it to its batch: an index of another try is found.
type indexMeta struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

func (b *indexBuffer) write(out io.Writer, info Info, key cipher.AEAD) error {
	var x, y Entry
	slices.SortFunc(b.order, func(p, q indexPlace) int {
		if p.prefix != q.prefix {
			return cmp.Compare(p.prefix, q.prefix)
		}
		readEntry(&blockfile.Cursor{B: b.at(p)}, &x)
		readEntry(&blockfile.Cursor{B: b.at(q)}, &y)
		return compareEntries(&x, &y)
	})
	meta, err := json.Marshal(indexMeta{info.ID, info.SHA256})
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 256<<10)
	w, err := blockfile.NewWriter(buffered, indexMagic, meta, key)
	if err != nil {
		return err
	}
	block := make([]byte, 0, indexBlock)
	for _, p := range b.order {
		entry := b.at(p)
		entry = entry[:entryFixed+refBytes*int(binary.LittleEndian.Uint32(entry[entryFixed-4:]))]
		if len(block) > 0 && len(block)+len(entry) > indexBlock {
			if err := w.Block(block); err != nil {
				return err
			}
			block = block[:0]
		}
		block = append(block, entry...)
	}
	if err := w.Block(block); err != nil {
		return err
	}
	if err := w.End(uint64(len(b.order)), 0); err != nil {
		return err
	}
	return buffered.Flush()
}

// indexReader reads the index of one batch in its own order: (ID, Ordinal, Position).
type indexReader struct {
	r     *blocks
	batch int
	count uint64
	want  int
	block blockfile.Cursor
	e     [2]Entry // the one read last, and the one before, to check the order
}

func openIndex(ctx context.Context, p Place, k Keys, info Info, batch int) (*indexReader, error) {
	if err := CheckName(info.ID); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	name := info.ID + indexSuffix
	r, err := openBlocks(ctx, p, k, name, indexMagic)
	if err != nil {
		return nil, blockfile.Missing(name, err)
	}
	var meta indexMeta
	if err := json.Unmarshal(r.Meta(), &meta); err != nil || meta.ID != info.ID || meta.SHA256 != info.SHA256 {
		r.close()
		return nil, r.Damage(blockfile.MagicBytes, "the head is that of another batch")
	}
	return &indexReader{r: r, batch: batch, want: info.Count}, nil
}

func (x *indexReader) close() { x.r.close() }

// next returns the next entry, valid until the call after the next; io.EOF at the end.
func (x *indexReader) next() (*Entry, error) {
	for x.block.Off == len(x.block.B) {
		start := x.r.Offset()
		payload, err := x.r.Next()
		if err == io.EOF && (x.count != uint64(x.want) || x.r.Records() != x.count) {
			err = x.r.Damage(start, fmt.Sprintf("%d entries, not %d", x.count, x.want))
		}
		if err != nil {
			return nil, err
		}
		x.block = blockfile.Cursor{B: payload}
	}
	e, before := &x.e[x.count%2], &x.e[(x.count+1)%2]
	if !readEntry(&x.block, e) {
		return nil, x.r.Damage(x.r.Offset(), "an entry is longer than its block")
	}
	e.Batch = x.batch
	if e.Position >= x.want || x.count > 0 && compareEntries(before, e) >= 0 {
		return nil, x.r.Damage(x.r.Offset(), "the entries are out of order")
	}
	x.count++
	return e, nil
}

// IndexOf reads the index of one batch in order of Position. It holds the whole index in memory: 80 bytes for each
// resource and 23 for each reference.
func IndexOf(ctx context.Context, p Place, k Keys, info Info) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if info.empty() {
			return
		}
		all, offsets, err := loadIndex(ctx, p, k, info)
		if err != nil {
			yield(nil, err)
			return
		}
		var e Entry
		for _, off := range offsets {
			readEntry(&blockfile.Cursor{B: all, Off: off}, &e)
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// loadIndex returns the bytes of all entries, and where the entry of each position is.
func loadIndex(ctx context.Context, p Place, k Keys, info Info) (all []byte, offsets []int, err error) {
	x, err := openIndex(ctx, p, k, info, 0)
	if err != nil {
		return nil, nil, err
	}
	defer x.close()
	// The count is the ledger's, not the file's, but a wrong one must not cost memory either.
	count := min(int64(info.Count), x.r.Size()/entryFixed)
	offsets = make([]int, count)
	for {
		e, err := x.next()
		if err == io.EOF {
			return all, offsets, nil
		}
		if err != nil {
			return nil, nil, err
		}
		// Offset 0 is that of one entry only, so 0 says "not yet" for all but it.
		if int64(e.Position) >= count || offsets[e.Position] != 0 {
			return nil, nil, x.r.Damage(x.r.Offset(), "two entries have one position")
		}
		offsets[e.Position] = len(all) + 1
		all = appendEntry(all, e)
		if x.count == uint64(count) {
			for i := range offsets {
				offsets[i]--
			}
		}
	}
}
