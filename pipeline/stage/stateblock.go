package stage

import (
	"bufio"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// The state writes its files in a form of its own, with bare sums, until it moves to a package of its own and to package
// blockfile. Nothing else uses what is in this file.

type (
	disk   = durable.FS
	osDisk = durable.OS
)

func writeFile(d disk, path string, write func(io.Writer) error) error {
	return durable.WriteFile(d, path, write)
}

func missing(path string, err error) error { return blockfile.Missing(filepath.Base(path), err) }

func short(name string, off int64, err error) error { return blockfile.Short(name, off, err) }

// A block file is a head, blocks, and an end. Everything in it is covered by CRC-32C (which finds accidents; secrets
// and forgery are the business of chunk files). All numbers are little-endian.
//
//	head   magic[8]  u32 length  meta  u32 crc of all before
//	block  u32 length  u32 crc  payload
//	end    u32 0xffffffff  u32 crc  u64 blocks  u64 records  u64 mark
//
// The sum of a block covers its number and the sum of the head, so a block at the wrong place, or of another file, is
// found.

const (
	magicBytes = 8
	blockHead  = 8
	endMark    = 0xffffffff
	endBytes   = 8 + 24
	maxMeta    = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHead appends the head of a block or chunk file.
func appendHead(dst []byte, magic string, meta []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(meta)))
	dst = append(dst, meta...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// headSum is the sum that a head ends with. (The sum of a head as a whole, its own sum included, is the same for all.)
func headSum(head []byte) uint32 { return binary.LittleEndian.Uint32(head[len(head)-4:]) }

// readHead reads a head from the start of a file. It returns all of its bytes and the meta part of them.
func readHead(name, magic string, r io.Reader, size int64) (head, meta []byte, err error) {
	head = make([]byte, magicBytes+4, 256)
	if n, err := io.ReadFull(r, head); err != nil {
		return nil, nil, short(name, int64(n), err)
	}
	if got := string(head[:magicBytes]); got != magic {
		if got[:magicBytes-1] == magic[:magicBytes-1] {
			return nil, nil, &Damage{File: name, Offset: magicBytes - 1, What: "a version of the format that this program does not know"}
		}
		return nil, nil, &Damage{File: name, What: "not a file of this kind"}
	}
	n := int64(binary.LittleEndian.Uint32(head[magicBytes:]))
	if n > maxMeta || int64(len(head))+n+4 > size {
		return nil, nil, &Damage{File: name, Offset: magicBytes, What: "the length of the head is wrong"}
	}
	head = append(head, make([]byte, n+4)...)
	if k, err := io.ReadFull(r, head[magicBytes+4:]); err != nil {
		return nil, nil, short(name, int64(magicBytes+4+k), err)
	}
	end := len(head) - 4
	if crc32.Checksum(head[:end], castagnoli) != binary.LittleEndian.Uint32(head[end:]) {
		return nil, nil, &Damage{File: name, Offset: magicBytes, What: "the sum of the head is wrong"}
	}
	return head, head[magicBytes+4 : end], nil
}

// blockSum is the CRC of a block.
func blockSum(seed uint32, number uint64, payload []byte) uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint32(b[:], seed)
	binary.LittleEndian.PutUint64(b[4:], number)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(payload)))
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, payload)
}

// blockWriter writes a block file.
type blockWriter struct {
	w      io.Writer
	seed   uint32
	blocks uint64
	off    int64
}

func newBlockWriter(w io.Writer, magic string, meta []byte) (*blockWriter, error) {
	head := appendHead(nil, magic, meta)
	n, err := w.Write(head)
	return &blockWriter{w: w, seed: headSum(head), off: int64(n)}, err
}

func (b *blockWriter) block(payload []byte) error {
	var h [blockHead]byte
	binary.LittleEndian.PutUint32(h[:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(h[4:], blockSum(b.seed, b.blocks, payload))
	b.blocks++
	b.off += int64(len(h) + len(payload))
	if _, err := b.w.Write(h[:]); err != nil {
		return err
	}
	_, err := b.w.Write(payload)
	return err
}

// end ends the file. mark is free for the kind of file.
func (b *blockWriter) end(records, mark uint64) error {
	var h [endBytes]byte
	binary.LittleEndian.PutUint32(h[:], endMark)
	binary.LittleEndian.PutUint64(h[8:], b.blocks)
	binary.LittleEndian.PutUint64(h[16:], records)
	binary.LittleEndian.PutUint64(h[24:], mark)
	binary.LittleEndian.PutUint32(h[4:], blockSum(b.seed, b.blocks, h[8:]))
	b.off += endBytes
	_, err := b.w.Write(h[:])
	return err
}

// blockReader reads a block file.
type blockReader struct {
	name string
	f    *os.File
	r    *bufio.Reader
	sum  hash.Hash // of all bytes read by next, if not nil
	size int64
	off  int64
	seed uint32
	meta []byte
	buf  []byte

	blocks, records, mark uint64
}

// openBlocks opens a block file and reads its head. A missing file is fs.ErrNotExist. sum may be nil.
func openBlocksIn(path, magic string, sum hash.Hash) (*blockReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := readBlocks(f, filepath.Base(path), magic, sum)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func readBlocks(f *os.File, name, magic string, sum hash.Hash) (*blockReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := &blockReader{name: name, f: f, size: info.Size(), sum: sum}
	b.r = bufio.NewReaderSize(io.NewSectionReader(f, 0, b.size), 4<<10)
	head, meta, err := readHead(name, magic, b.r, b.size)
	if err != nil {
		return nil, err
	}
	if sum != nil {
		sum.Write(head)
	}
	b.off, b.seed, b.meta = int64(len(head)), headSum(head), meta
	return b, nil
}

func (b *blockReader) close() { _ = b.f.Close() }

func (b *blockReader) damage(off int64, what string) error {
	return &Damage{File: b.name, Offset: off, What: what}
}

// next returns the next block, valid until the next call; io.EOF after a whole file. After io.EOF records and mark are
// set.
func (b *blockReader) next() ([]byte, error) {
	var h [endBytes]byte
	start := b.off
	if _, err := io.ReadFull(b.r, h[:blockHead]); err != nil {
		return nil, short(b.name, start, err)
	}
	b.off += blockHead
	n := int64(binary.LittleEndian.Uint32(h[:]))
	want := binary.LittleEndian.Uint32(h[4:])
	if n == endMark {
		if _, err := io.ReadFull(b.r, h[blockHead:]); err != nil {
			return nil, short(b.name, start, err)
		}
		b.off += endBytes - blockHead
		if err := b.readEnd(start, h[:]); err != nil {
			return nil, err
		}
		if b.sum != nil {
			b.sum.Write(h[:])
		}
		return nil, io.EOF
	}
	if n > b.size-b.off {
		return nil, b.damage(start, "a block is longer than the file")
	}
	if int64(cap(b.buf)) < n {
		b.buf = make([]byte, n)
	}
	payload := b.buf[:n]
	if _, err := io.ReadFull(b.r, payload); err != nil {
		return nil, short(b.name, start, err)
	}
	if blockSum(b.seed, b.blocks, payload) != want {
		return nil, b.damage(start, "the sum of a block is wrong")
	}
	if b.sum != nil {
		b.sum.Write(h[:blockHead])
		b.sum.Write(payload)
	}
	b.blocks++
	b.off += n
	return payload, nil
}

// readEnd checks the end record, which stands at off.
func (b *blockReader) readEnd(off int64, h []byte) error {
	blocks := binary.LittleEndian.Uint64(h[8:])
	if binary.LittleEndian.Uint32(h) != endMark || binary.LittleEndian.Uint32(h[4:]) != blockSum(b.seed, blocks, h[8:]) {
		return b.damage(off, "the sum of the end is wrong")
	}
	if off+endBytes != b.size {
		return b.damage(off+endBytes, "the file goes on behind its end")
	}
	if b.off == b.size && blocks != b.blocks { // read in sequence
		return b.damage(off, "the number of blocks is wrong")
	}
	b.blocks, b.records, b.mark = blocks, binary.LittleEndian.Uint64(h[16:]), binary.LittleEndian.Uint64(h[24:])
	return nil
}

// readTail reads the end record without what stands before it, for files that are read at random.
func (b *blockReader) readTail() error {
	off := b.size - endBytes
	if off < b.off {
		return b.damage(b.size, "the file ends too early")
	}
	var h [endBytes]byte
	if _, err := b.f.ReadAt(h[:], off); err != nil {
		return short(b.name, off, err)
	}
	return b.readEnd(off, h[:])
}

// readAt reads block number n with a payload of length bytes at an offset. It may be called concurrently.
func (b *blockReader) readAt(off int64, length uint32, number uint64) ([]byte, error) {
	if off < 0 || off+blockHead+int64(length) > b.size {
		return nil, b.damage(off, "a block is longer than the file")
	}
	buf := make([]byte, blockHead+int(length))
	if _, err := b.f.ReadAt(buf, off); err != nil {
		return nil, short(b.name, off, err)
	}
	if binary.LittleEndian.Uint32(buf) != length || blockSum(b.seed, number, buf[blockHead:]) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, b.damage(off, "the sum of a block is wrong")
	}
	return buf[blockHead:], nil
}

// cursor reads numbers and bytes from a payload. What is not there sets bad and reads as zero.
type cursor struct {
	b   []byte
	off int
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b)-c.off {
		c.bad = true
		c.off = len(c.b)
		return nil
	}
	c.off += n
	return c.b[c.off-n : c.off]
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b[c.off:])
	if n <= 0 {
		c.bad = true
		c.off = len(c.b)
		return 0
	}
	c.off += n
	return v
}

// length is a number that counts things of at least min bytes that follow.
func (c *cursor) length(min int) int {
	v := c.uvarint()
	if v > uint64((len(c.b)-c.off)/min) {
		c.bad = true
		return 0
	}
	return int(v)
}

func (c *cursor) varint() int64 {
	v := c.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

// done tells whether nothing is left and nothing was missing.
func (c *cursor) done() bool { return !c.bad && c.off == len(c.b) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
