package state

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sort"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// A table is a block file of records sorted by a key. Texts that many records have in common stand once in a table of
// names, in the order in which the records need them, so one content has one form. The last block holds the names and,
// for each block before it, the key of its first record and its length:
//
//	uvarint names, each text  uvarint blocks, each text key, uvarint length
//
// The end holds the number of records, and where the last block stands.

// tableBlock is about how much goes into a block, in bytes: what one lookup reads.
const tableBlock = 8 << 10

// file is a file of the state, as the manifest names it.
type file struct {
	Name  string `json:"name"` // "": there is none, and nothing in it
	Bytes int64  `json:"bytes,omitempty"`
	Seal  string `json:"seal,omitempty"` // hex; another file of this name has another
}

// tableWriter writes a table.
type tableWriter struct {
	w       *blockfile.Writer
	sum     hash.Hash // of all blocks but the last, and of the names: of the content
	block   []byte
	numbers map[string]uint64
	names   []byte
	dir     []byte
	first   []byte // key of the first record of the block
	blocks  uint64
	count   uint64
}

func newTableWriter(out io.Writer, magic string, key cipher.AEAD) (*tableWriter, error) {
	w, err := blockfile.NewWriter(out, magic, nil, key)
	return &tableWriter{w: w, sum: sha256.New(), numbers: map[string]uint64{}}, err
}

// begin begins a record, which the caller appends to block; if fresh it is the first of its block, and the caller sets
// first to its key. Records come in order, and the caller sees to it.
func (t *tableWriter) begin() (fresh bool, err error) {
	if len(t.block) > tableBlock {
		if err := t.flush(); err != nil {
			return false, err
		}
	}
	t.count++
	return len(t.block) == 0, nil
}

// number is the number of a name.
func (t *tableWriter) number(name string) uint64 {
	n, ok := t.numbers[name]
	if !ok {
		n = uint64(len(t.numbers))
		t.numbers[name] = n
		t.names = blockfile.AppendText(t.names, name)
	}
	return n
}

func (t *tableWriter) flush() error {
	t.dir = blockfile.AppendText(t.dir, string(t.first))
	t.dir = binary.AppendUvarint(t.dir, uint64(len(t.block)))
	t.blocks++
	t.sum.Write(t.block)
	err := t.w.Block(t.block)
	t.block = t.block[:0]
	return err
}

// close ends the table and returns the digest of its content, hex.
func (t *tableWriter) close() (digest string, err error) {
	if len(t.block) > 0 {
		if err := t.flush(); err != nil {
			return "", err
		}
	}
	mark := t.w.Offset()
	last := binary.AppendUvarint(nil, uint64(len(t.numbers)))
	last = append(last, t.names...)
	t.sum.Write(last)
	last = binary.AppendUvarint(last, t.blocks)
	if err := t.w.Block(append(last, t.dir...)); err != nil {
		return "", err
	}
	if err := t.w.End(t.count, uint64(mark)); err != nil {
		return "", err
	}
	return hex.EncodeToString(t.sum.Sum(nil)), nil
}

// emptyDigest is the digest of a table without records: of no block, and no name.
func emptyDigest() string {
	sum := sha256.Sum256([]byte{0})
	return hex.EncodeToString(sum[:])
}

// file is what the manifest says of the table, once it is closed.
func (t *tableWriter) file(name string) file {
	seal := t.w.Seal()
	return file{Name: name, Bytes: t.w.Offset(), Seal: hex.EncodeToString(seal[:])}
}

// table is an open table. It may be used concurrently.
type table struct {
	f     stage.File
	key   cipher.AEAD
	name  string
	magic string
	r     *blockfile.Reader
	names []string
	refs  []blockRef
	sum   []byte // of the names, as the digest of the content takes them
}

// blockRef is a block of a table.
type blockRef struct {
	first  []byte
	off    int64
	length uint32
}

// openTable opens a table. What is wrong with its ends, and another file than the manifest names, is damage now; what is
// wrong in between is when it is read. A file that is not there is fs.ErrNotExist.
func openTable(ctx context.Context, place stage.Place, m file, magic string, key cipher.AEAD) (*table, error) {
	f, err := place.Open(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	t := &table{f: f, key: key, name: m.Name, magic: magic}
	if err := t.open(m); err != nil {
		_ = f.Close()
		return nil, err
	}
	return t, nil
}

func (t *table) open(m file) error {
	var err error
	if t.r, err = blockfile.Open(t.f, t.f.Size(), t.name, t.magic, t.key); err != nil {
		return err
	}
	if seal := t.r.Seal(); hex.EncodeToString(seal[:]) != m.Seal || t.r.Size() != m.Bytes {
		return t.r.Damage(0, "it is not the file that the manifest names")
	}
	if err := t.r.ReadEnd(); err != nil {
		return err
	}
	first, off := t.r.Offset(), int64(t.r.Mark())
	length := t.r.Size() - blockfile.EndBytes - blockfile.Overhead - off
	if off < first || length < 0 || t.r.Blocks() == 0 {
		return t.r.Damage(t.r.Size()-blockfile.EndBytes, "the place of the directory is wrong")
	}
	last, err := t.r.Block(t.r.Blocks()-1, off, uint32(length))
	if err != nil {
		return err
	}
	c := blockfile.Cursor{B: last}
	t.names = make([]string, c.Length(1))
	for i := range t.names {
		t.names[i] = string(c.Text())
	}
	t.sum = last[:c.Off]
	t.refs = make([]blockRef, c.Length(2))
	at := first
	for i := range t.refs {
		ref := blockRef{first: c.Text(), off: at, length: uint32(c.Uvarint())}
		at += blockfile.Overhead + int64(ref.length)
		c.Bad = c.Bad || i > 0 && bytes.Compare(t.refs[i-1].first, ref.first) >= 0
		t.refs[i] = ref
	}
	if !c.Done() || at != off || uint64(len(t.refs)) != t.r.Blocks()-1 {
		return t.r.Damage(off, "the directory does not fit the file")
	}
	return nil
}

func (t *table) close() error { return t.f.Close() }

// find is the number of the last block that begins at or before a key; -1 if there is none.
func (t *table) find(key []byte) int {
	return sort.Search(len(t.refs), func(i int) bool { return bytes.Compare(t.refs[i].first, key) > 0 }) - 1
}

// block reads a block. The payload belongs to the caller.
func (t *table) block(number int) ([]byte, error) {
	ref := &t.refs[number]
	return t.r.Block(uint64(number), ref.off, ref.length)
}

// unfit is the damage of a block whose content does not fit together.
func (t *table) unfit(number int) error {
	return t.r.Damage(t.refs[number].off, "what is in a block does not fit together")
}

// scan reads all blocks in order. A payload is valid until the next. An error of do ends it. After the last block the
// content is held against a digest, unless that is "".
func (t *table) scan(digest string, do func(number int, payload []byte) error) error {
	r, err := blockfile.Open(t.f, t.r.Size(), t.name, t.magic, t.key)
	if err != nil {
		return err
	}
	sum := sha256.New()
	for number := 0; ; number++ {
		payload, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if number == len(t.refs) {
			continue // the names and the directory
		}
		sum.Write(payload)
		if err := do(number, payload); err != nil {
			return err
		}
	}
	sum.Write(t.sum)
	if digest != "" && hex.EncodeToString(sum.Sum(nil)) != digest {
		return r.Damage(r.Size(), fmt.Sprintf("its content is not that of digest %s", digest))
	}
	return nil
}
