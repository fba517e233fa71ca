package stage

import (
	"bufio"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/klauspost/compress/zstd"
)

// A chunk file is a head as of a block file but for the tag, and encrypted chunks. All numbers are little-endian.
//
//	chunk  u32 length  u32 records, highest bit: last  body[length]
//	body   AES-256-GCM, nonce first, of: u32 length of loose  u32 length of raw  loose  zstd(raw)
//
// The additional data binds a chunk to the head (which holds a random salt), to its number, and to the eight bytes
// before it: chunks that are swapped, left out, or of another file are found, and so is a file that ends after a chunk
// which is not its last. "Loose" is what zstd could not make smaller.
//
// The sum of a chunk file is SHA-256 over its head and, of each chunk, its head, nonce and tag. The tag vouches for
// the bytes between, so hashing those too (a twentieth of the time of a run) would say the same thing twice.

const (
	chunkHead = 8
	lastBit   = 1 << 31
	// plainHead is reserved at the start of a loose buffer.
	plainHead = 8
	// chunkBytes is about how much plaintext goes into a chunk: enough for zstd to find what repeats, and little enough
	// to hold many open files' chunks in memory.
	chunkBytes = 256 << 10
	// maxPart bounds one record; the lengths of a chunk are 32 bits.
	maxPart            = 1 << 30
	nonceSize, tagSize = 12, 16
	// maxSealed is what encryption adds to a chunk: a nonce and a tag.
	maxSealed = nonceSize + tagSize
)

// codecs are kept for the next chunk: making one costs more than using it.
var encoders, decoders sync.Pool

func compress(dst, src []byte) ([]byte, error) {
	e, _ := encoders.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		// The chunk is authenticated, so a checksum of zstd's own would be checked twice.
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(chunkBytes), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
	}
	dst = e.EncodeAll(src, dst)
	encoders.Put(e)
	return dst, nil
}

var errRaw = errors.New("does not decompress to what it should")

func decompress(dst, src []byte, size int) ([]byte, error) {
	d, _ := decoders.Get().(*zstd.Decoder)
	if d == nil {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
	}
	start := len(dst)
	dst, err := d.DecodeAll(src, dst)
	decoders.Put(d)
	if err != nil || len(dst)-start != size {
		return nil, errRaw
	}
	return dst, nil
}

// chunkWriter writes a chunk file.
type chunkWriter struct {
	draft  Draft
	aead   cipher.AEAD
	aad    [sha256.Size + 16]byte
	number uint64
	sum    hash.Hash
	size   int64
	frame  []byte
}

func newChunkWriter(ctx context.Context, p Place, name, magic string, meta []byte, aead cipher.AEAD) (*chunkWriter, error) {
	draft, err := p.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	w := &chunkWriter{draft: draft, aead: aead, sum: sha256.New()}
	head := blockfile.AppendHead(nil, magic, meta)
	h := sha256.Sum256(head)
	copy(w.aad[:], h[:])
	w.sum.Write(head)
	if err := w.write(head); err != nil {
		draft.Discard()
		return nil, err
	}
	return w, nil
}

func (w *chunkWriter) write(b []byte) error {
	w.size += int64(len(b))
	_, err := w.draft.Write(b)
	return err
}

// chunk writes a chunk. loose begins with plainHead bytes that are free; it is appended to, and returned for its
// memory.
func (w *chunkWriter) chunk(records int, last bool, loose, raw []byte) ([]byte, error) {
	binary.LittleEndian.PutUint32(loose, uint32(len(loose)-plainHead))
	binary.LittleEndian.PutUint32(loose[4:], uint32(len(raw)))
	plain, err := compress(loose, raw)
	if err != nil {
		return loose, err
	}
	count := uint32(records)
	if last {
		count |= lastBit
	}
	w.frame = binary.LittleEndian.AppendUint32(w.frame[:0], uint32(len(plain)+w.aead.Overhead()))
	w.frame = binary.LittleEndian.AppendUint32(w.frame, count)
	bindChunk(&w.aad, w.number, w.frame)
	w.frame = w.aead.Seal(w.frame, nil, plain, w.aad[:])
	w.number++
	sumChunk(w.sum, w.frame[:chunkHead], w.frame[chunkHead:])
	return plain, w.write(w.frame)
}

// sumChunk adds a chunk to the sum of its file.
func sumChunk(sum hash.Hash, head, body []byte) {
	sum.Write(head)
	sum.Write(body[:nonceSize])
	sum.Write(body[len(body)-tagSize:])
}

// bindChunk completes the additional data: hash of the head, number of the chunk, its head.
func bindChunk(aad *[sha256.Size + 16]byte, number uint64, head []byte) {
	binary.LittleEndian.PutUint64(aad[sha256.Size:], number)
	copy(aad[sha256.Size+8:], head[:chunkHead])
}

// chunkReader reads a chunk file.
type chunkReader struct {
	name   string
	f      File
	from   *io.SectionReader // all of f, in sequence
	r      *bufio.Reader     // of from
	aead   cipher.AEAD
	aad    [sha256.Size + 16]byte
	meta   []byte
	size   int64
	off    int64
	number uint64
	last   bool
	sum    hash.Hash // nil after a skip

	body, plain, raw []byte
}

// openChunks opens a chunk file and reads its head. A missing file is fs.ErrNotExist. A size other than wanted is
// damage; -1 wants any.
func openChunks(ctx context.Context, p Place, name, magic string, aead cipher.AEAD, wanted int64) (*chunkReader, error) {
	f, err := p.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := readChunks(f, name, magic, aead, wanted)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func readChunks(f File, name, magic string, aead cipher.AEAD, wanted int64) (*chunkReader, error) {
	r := &chunkReader{name: name, f: f, aead: aead, size: f.Size(), sum: sha256.New()}
	if wanted >= 0 && r.size != wanted {
		return nil, r.damage(min(r.size, wanted), "the file is longer or shorter than it was")
	}
	r.from = io.NewSectionReader(f, 0, r.size)
	r.r = bufio.NewReaderSize(r.from, 64<<10)
	head, meta, err := blockfile.ReadHead(r.r, r.size, name, magic)
	if err != nil {
		return nil, err
	}
	r.meta, r.off = meta, int64(len(head))
	h := sha256.Sum256(head)
	copy(r.aad[:], h[:])
	r.sum.Write(head)
	return r, nil
}

func (r *chunkReader) close() { _ = r.f.Close() }

func (r *chunkReader) damage(off int64, what string) error {
	return &Damage{File: r.name, Offset: off, What: what}
}

// next returns the next chunk, valid until the call after; io.EOF after the last one, behind which nothing may stand. If wanted
// is not nil and returns false for the number of records, the chunk is skipped unread, and loose and raw are nil.
func (r *chunkReader) next(wanted func(records int) bool) (records int, loose, raw []byte, err error) {
	if r.last {
		if r.off != r.size {
			return 0, nil, nil, r.damage(r.off, "the file goes on behind its end")
		}
		return 0, nil, nil, io.EOF
	}
	start := r.off
	var head [chunkHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, nil, blockfile.Short(r.name, start, err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	count := binary.LittleEndian.Uint32(head[4:])
	records = int(count &^ lastBit)
	r.off += chunkHead
	if n > r.size-r.off {
		return 0, nil, nil, r.damage(start, "a chunk is longer than the file")
	}
	if n < plainHead+maxSealed {
		return 0, nil, nil, r.damage(start, "the length of a chunk is wrong")
	}
	number := r.number
	r.off += n
	r.number++
	r.last = count&lastBit != 0
	if wanted != nil && !wanted(records) {
		r.sum = nil
		if _, err := r.from.Seek(r.off, io.SeekStart); err != nil {
			return 0, nil, nil, err
		}
		r.r.Reset(r.from)
		return records, nil, nil, nil
	}
	if int64(cap(r.body)) < n {
		r.body = make([]byte, n)
	}
	body := r.body[:n]
	if _, err := io.ReadFull(r.r, body); err != nil {
		return 0, nil, nil, blockfile.Short(r.name, start, err)
	}
	if r.sum != nil {
		sumChunk(r.sum, head[:], body)
	}
	bindChunk(&r.aad, number, head[:])
	plain, err := r.aead.Open(r.plain[:0], nil, body, r.aad[:])
	if err != nil || len(plain) < plainHead {
		return 0, nil, nil, r.damage(start, "a chunk is not what was written there, or was written with other keys")
	}
	r.plain = plain
	looseLen, rawLen := binary.LittleEndian.Uint32(plain), binary.LittleEndian.Uint32(plain[4:])
	plain = plain[plainHead:]
	if uint64(looseLen) > uint64(len(plain)) {
		return 0, nil, nil, r.damage(start, "the parts of a chunk are longer than it")
	}
	// Authentic from here on, so the length is what was written.
	if uint64(cap(r.raw)) < uint64(rawLen) {
		r.raw = make([]byte, 0, rawLen)
	}
	raw, err = decompress(r.raw[:0], plain[looseLen:], int(rawLen))
	if err != nil {
		return 0, nil, nil, r.damage(start, "a chunk "+err.Error())
	}
	return records, plain[:looseLen:looseLen], raw, nil
}
