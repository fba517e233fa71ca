// Package blockfile is the form of files that hold pseudonyms in the clear and that nobody without the keys may change:
// indexes, outcomes, lists, states. A file is a head, blocks, and an end, each with a tag of its own:
//
//	head   magic[8]  u32 length  meta  tag[28]
//	block  u32 length  payload  tag[28]
//	end    u32 0xffffffff  u64 blocks  u64 records  u64 mark  tag[28]
//
// All numbers are little-endian. A tag is AES-256-GMAC: GCM over nothing, with what stands before it as additional
// data; its first twelve bytes are the random nonce. The key is derived from the name of the file, so one file cannot
// stand in for another. The tag of a block also covers its number and the tag of the head, and that of the end covers
// how many blocks there are: a block at the wrong place, of another file, or of an earlier file with this name is found,
// and so is a file that was cut between two blocks. Who does not have the keys cannot make a tag, however many sums he
// computes anew; what only accident changed is found the same way.
//
// GMAC and not HMAC-SHA-256, because every merge reads the indexes of all batches: it costs a quarter of the
// time where the processor computes SHA-256 by itself, and a tenth or less where it does not. Its one danger, a nonce that comes
// twice, is met by a key for each name, under which some thousands of the 2^32 messages are made that random nonces
// allow (NIST SP 800-38D, 8.3), and by [cipher.NewGCMWithRandomNonce], which draws them itself and which is what a FIPS
// 140-3 build permits.
package blockfile

import (
	"bufio"
	"crypto/cipher"
	"encoding/binary"
	"io"
)

const (
	// MagicBytes is the length of a magic, whose last byte is the version of the format.
	MagicBytes = 8
	// Overhead is what a block takes beside its payload, in bytes.
	Overhead = lengthBytes + tagBytes
	// EndBytes is the length of the end.
	EndBytes = lengthBytes + 24 + tagBytes
	// MaxMeta bounds the meta part of a head, in bytes.
	MaxMeta = 1 << 20

	lengthBytes = 4
	tagBytes    = 12 + 16
	endMark     = 0xffffffff
	// boundBytes stand before a block in memory, and are covered by its tag: the tag of the head, the number of the block.
	boundBytes = tagBytes + 8
	maxPayload = 1 << 30
)

// AppendHead appends magic, length and meta: the head of a file, but for the tag. Files that bind it in another way use
// it too.
func AppendHead(dst []byte, magic string, meta []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(meta)))
	return append(dst, meta...)
}

// ReadHead reads what AppendHead wrote from the start of a file of the given size. It returns all of its bytes, and the
// meta part of them. Another kind of file, and another version of its format, are a [*Damage].
func ReadHead(r io.Reader, size int64, name, magic string) (head, meta []byte, err error) {
	head = make([]byte, MagicBytes+lengthBytes, 256)
	if n, err := io.ReadFull(r, head); err != nil {
		return nil, nil, Short(name, int64(n), err)
	}
	if got := string(head[:MagicBytes]); got != magic {
		if got[:MagicBytes-1] == magic[:MagicBytes-1] {
			return nil, nil, &Damage{File: name, Offset: MagicBytes - 1, What: "a version of the format that this program does not know"}
		}
		return nil, nil, &Damage{File: name, What: "not a file of this kind"}
	}
	n := int64(binary.LittleEndian.Uint32(head[MagicBytes:]))
	if n > MaxMeta || int64(len(head))+n > size {
		return nil, nil, &Damage{File: name, Offset: MagicBytes, What: "the length of the head is wrong"}
	}
	head = append(head, make([]byte, n)...)
	if k, err := io.ReadFull(r, head[MagicBytes+lengthBytes:]); err != nil {
		return nil, nil, Short(name, int64(MagicBytes+lengthBytes+k), err)
	}
	return head, head[MagicBytes+lengthBytes:], nil
}

// Writer writes a block file. It is not for concurrent use. Each block is one Write.
type Writer struct {
	w      io.Writer
	key    cipher.AEAD
	buf    []byte // begins with the tag of the head
	blocks uint64
	off    int64
}

// NewWriter writes the head of a file. key makes the tags and draws its own nonces; it must belong to the name of the
// file alone (see [phi.Keyring.BatchKey]).
func NewWriter(w io.Writer, magic string, meta []byte, key cipher.AEAD) (*Writer, error) {
	head := AppendHead(nil, magic, meta)
	head = key.Seal(head, nil, nil, head)
	b := &Writer{w: w, key: key, off: int64(len(head))}
	b.buf = append(b.buf, head[len(head)-tagBytes:]...)
	_, err := w.Write(head)
	return b, err
}

// Block writes a block; payload is copied.
func (b *Writer) Block(payload []byte) error {
	err := b.write(uint32(len(payload)), payload)
	b.blocks++
	return err
}

// End ends the file. records and mark are free for the kind of file.
func (b *Writer) End(records, mark uint64) error {
	var h [24]byte
	binary.LittleEndian.PutUint64(h[:], b.blocks)
	binary.LittleEndian.PutUint64(h[8:], records)
	binary.LittleEndian.PutUint64(h[16:], mark)
	return b.write(endMark, h[:])
}

func (b *Writer) write(length uint32, payload []byte) error {
	b.buf = binary.LittleEndian.AppendUint64(b.buf[:tagBytes], b.blocks)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, length)
	b.buf = append(b.buf, payload...)
	b.buf = b.key.Seal(b.buf, nil, nil, b.buf)
	n, err := b.w.Write(b.buf[boundBytes:])
	b.off += int64(n)
	return err
}

// Blocks is how many blocks were written.
func (b *Writer) Blocks() uint64 { return b.blocks }

// Offset is how many bytes were written: where the next block begins.
func (b *Writer) Offset() int64 { return b.off }

// Seal is the tag of the head: no other file has it, even under the same name. Recorded elsewhere it pins this file.
func (b *Writer) Seal() [tagBytes]byte { return [tagBytes]byte(b.buf) }

// Reader reads a block file: in sequence (Next), or at random (ReadEnd, Block). Only Block may be called concurrently.
type Reader struct {
	name string
	f    io.ReaderAt
	r    *bufio.Reader
	size int64
	off  int64
	key  cipher.AEAD
	seal [tagBytes]byte
	meta []byte
	buf  []byte

	blocks, records, mark uint64
}

// Open reads the head of a file of the given size. name is what its damage is reported under. What was changed, or was
// not written with key, is a [*Damage]. The caller closes the file.
func Open(f io.ReaderAt, size int64, name, magic string, key cipher.AEAD) (*Reader, error) {
	b := &Reader{name: name, f: f, size: size, key: key}
	b.r = bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 4<<10)
	head, meta, err := ReadHead(b.r, size, name, magic)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(b.r, b.seal[:]); err != nil {
		return nil, Short(name, int64(len(head)), err)
	}
	if _, err := key.Open(nil, nil, b.seal[:], head); err != nil {
		return nil, b.Damage(MagicBytes, "the head was changed, or was written with other keys")
	}
	b.off, b.meta = int64(len(head)+tagBytes), meta
	return b, nil
}

// Meta is the meta part of the head.
func (b *Reader) Meta() []byte { return b.meta }

// Size is the size of the file in bytes.
func (b *Reader) Size() int64 { return b.size }

// Offset is where the next block begins.
func (b *Reader) Offset() int64 { return b.off }

// Blocks is how many blocks Next has returned; after its io.EOF, or after ReadEnd, how many there are.
func (b *Reader) Blocks() uint64 { return b.blocks }

// Records is what the writer gave to End; known after the io.EOF of Next, or after ReadEnd.
func (b *Reader) Records() uint64 { return b.records }

// Mark is what the writer gave to End; known after the io.EOF of Next, or after ReadEnd.
func (b *Reader) Mark() uint64 { return b.mark }

// Seal is the tag of the head (see [Writer.Seal]).
func (b *Reader) Seal() [tagBytes]byte { return b.seal }

// Damage is damage of this file.
func (b *Reader) Damage(off int64, what string) error {
	return &Damage{File: b.name, Offset: off, What: what}
}

const (
	blockChanged = "a block is not what was written there, or was written with other keys"
	endChanged   = "the end is not what was written there, or was written with other keys"
)

// authentic checks a block, which stands in buf behind room for what it is bound to. The payload ends before the tag.
func (b *Reader) authentic(buf []byte, number uint64) bool {
	copy(buf, b.seal[:])
	binary.LittleEndian.PutUint64(buf[tagBytes:], number)
	end := len(buf) - tagBytes
	_, err := b.key.Open(nil, nil, buf[end:], buf[:end])
	return err == nil
}

// Next returns the next block, valid until the next call; io.EOF after a whole file.
func (b *Reader) Next() ([]byte, error) {
	start := b.off
	var length [lengthBytes]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return nil, Short(b.name, start, err)
	}
	n := int64(binary.LittleEndian.Uint32(length[:]))
	last := n == endMark
	if last {
		n = EndBytes - Overhead
	}
	if n > maxPayload || start+n+Overhead > b.size {
		return nil, b.Damage(start, "a block is longer than the file")
	}
	if need := boundBytes + int(n) + Overhead; cap(b.buf) < need {
		b.buf = make([]byte, need)
	} else {
		b.buf = b.buf[:need]
	}
	block := b.buf[boundBytes:]
	copy(block, length[:])
	if _, err := io.ReadFull(b.r, block[lengthBytes:]); err != nil {
		return nil, Short(b.name, start, err)
	}
	if last {
		read := b.blocks
		if err := b.setEnd(start, b.buf); err != nil {
			return nil, err
		}
		if read != b.blocks {
			return nil, b.Damage(start, "the number of blocks is wrong")
		}
		b.off = b.size
		return nil, io.EOF
	}
	if !b.authentic(b.buf, b.blocks) {
		return nil, b.Damage(start, blockChanged)
	}
	b.blocks++
	b.off += n + Overhead
	return block[lengthBytes : lengthBytes+n], nil
}

// setEnd checks the end, which stands at off, and takes over what it says.
func (b *Reader) setEnd(off int64, buf []byte) error {
	h := buf[boundBytes:]
	blocks := binary.LittleEndian.Uint64(h[lengthBytes:])
	if binary.LittleEndian.Uint32(h) != endMark || !b.authentic(buf, blocks) {
		return b.Damage(off, endChanged)
	}
	if off+EndBytes != b.size {
		return b.Damage(off+EndBytes, "the file goes on behind its end")
	}
	b.blocks = blocks
	b.records, b.mark = binary.LittleEndian.Uint64(h[lengthBytes+8:]), binary.LittleEndian.Uint64(h[lengthBytes+16:])
	return nil
}

// ReadEnd reads the end without what stands before it, for files that are read at random.
func (b *Reader) ReadEnd() error {
	off := b.size - EndBytes
	if off < b.off {
		return b.Damage(b.size, "the file ends too early")
	}
	buf := make([]byte, boundBytes+EndBytes)
	if _, err := b.f.ReadAt(buf[boundBytes:], off); err != nil {
		return Short(b.name, off, err)
	}
	return b.setEnd(off, buf)
}

// Block reads block number n, which has a payload of length bytes and begins at an offset. It may be called
// concurrently, and the payload belongs to the caller.
func (b *Reader) Block(number uint64, off int64, length uint32) ([]byte, error) {
	if off < 0 || length > maxPayload || off+int64(length)+Overhead > b.size {
		return nil, b.Damage(off, "a block is longer than the file")
	}
	buf := make([]byte, boundBytes+int(length)+Overhead)
	block := buf[boundBytes:]
	if _, err := b.f.ReadAt(block, off); err != nil {
		return nil, Short(b.name, off, err)
	}
	if binary.LittleEndian.Uint32(block) != length || !b.authentic(buf, number) {
		return nil, b.Damage(off, blockChanged)
	}
	return block[lengthBytes : lengthBytes+int(length)], nil
}
