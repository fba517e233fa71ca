package stage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/phi"
)

const (
	batchMagic  = "CLBATCH2"
	batchSuffix = ".batch"
)

// errZero: the order of the pipeline is in the types, but a zero value can always be made.
var errZero = errors.New("a resource that was never sealed")

var errClosed = errors.New("the file was ended already")

// Writer writes one batch: sealed resources and their index. It is not for concurrent use. Its first error stays.
type Writer struct {
	place Place
	keys  Keys
	info  Info
	err   error
	done  bool

	out         *chunkWriter
	count, held int // resources in all, and in the chunk that is being filled
	*buffers
}

// buffers are what a writer fills. They go from one writer to the next, for batches come by the thousand.
type buffers struct {
	header   headerWriter
	clinical []byte
	loose    []byte
	index    indexBuffer
}

var buffersPool sync.Pool

func newBuffers() *buffers {
	b, _ := buffersPool.Get().(*buffers)
	if b == nil {
		b = &buffers{clinical: make([]byte, 0, chunkBytes), loose: make([]byte, plainHead, chunkBytes)}
	}
	b.reset()
	return b
}

// reset empties what a chunk filled.
func (b *buffers) reset() {
	b.header.reset()
	b.clinical, b.loose = b.clinical[:0], b.loose[:plainHead]
}

// release gives the buffers back, unless something unusually large has made them so.
func (w *Writer) release() {
	if b := w.buffers; b != nil && cap(b.clinical) <= 4*chunkBytes && cap(b.loose) <= 4*chunkBytes {
		b.index.reset()
		buffersPool.Put(b)
	}
	w.buffers = nil
}

// NewWriter makes a writer. Its file is begun by the first Add. Count, Bytes and SHA256 of info are set by Close. Faults
// of its arguments are errors of Add and Close.
func NewWriter(p Place, k Keys, info Info) *Writer {
	info.Count, info.Bytes, info.SHA256 = 0, 0, ""
	return &Writer{place: p, keys: k, info: info}
}

// batchMeta is the head of a batch file.
type batchMeta struct {
	Info
	// Salt makes two files with the same name different: chunks of one do not pass in the other.
	Salt string `json:"salt"`
}

func newSalt() string {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(salt[:])
}

func (w *Writer) open(ctx context.Context) error {
	if err := CheckName(w.info.ID); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	meta, err := json.Marshal(batchMeta{w.info, newSalt()})
	if err != nil {
		return err
	}
	if len(meta) > blockfile.MaxMeta {
		return fmt.Errorf("batch %s: its description has more than %d bytes", w.info.ID, blockfile.MaxMeta)
	}
	name := w.info.ID + batchSuffix
	aead, err := w.keys.BatchKey(name)
	if err != nil {
		return fmt.Errorf("batch %s: %w", w.info.ID, err)
	}
	w.out, err = newChunkWriter(ctx, w.place, name, batchMagic, meta, aead)
	if err != nil {
		return fmt.Errorf("batch %s: %w", w.info.ID, err)
	}
	w.buffers = newBuffers()
	return nil
}

// Add appends a resource. Its position in the batch is its number from 0. What it needs of s and key is copied. It
// refuses the zero Sealed. The context of the first Add bounds the writing of the file.
func (w *Writer) Add(ctx context.Context, s phi.Sealed, key Key) error {
	switch {
	case w.err != nil:
		return w.err
	case w.done:
		return fmt.Errorf("batch %s: %w", w.info.ID, errClosed)
	case s.IsZero():
		return fmt.Errorf("batch %s: %w", w.info.ID, errZero)
	case s.Size() > maxPart:
		return fmt.Errorf("batch %s: a resource of more than %d bytes", w.info.ID, maxPart)
	}
	if w.out == nil {
		if w.err = w.open(ctx); w.err != nil {
			return w.err
		}
	}
	// Before, not after: the last chunk must know that it is the last, and never be empty.
	if w.held > 0 && len(w.clinical)+len(w.loose)+s.Size() > chunkBytes {
		if err := w.flush(false); err != nil {
			return err
		}
	}
	clinical, cipher := s.Clinical(), s.Ciphertext()
	w.loose = w.header.append(w.loose, s)
	w.loose = binary.AppendUvarint(w.loose, uint64(len(clinical)))
	w.loose = binary.AppendUvarint(w.loose, uint64(len(cipher)))
	w.clinical = append(w.clinical, clinical...)
	w.loose = append(w.loose, cipher...)
	w.index.add(&key, s.Digest(), w.count, s.Place().Line)
	w.held++
	w.count++
	return nil
}

func (w *Writer) flush(last bool) error {
	var err error
	w.loose, err = w.out.chunk(w.held, last, w.loose, w.clinical)
	if err != nil {
		w.err = fmt.Errorf("batch %s: %w", w.info.ID, err)
		w.out.draft.Discard()
		return w.err
	}
	w.reset()
	w.held = 0
	return nil
}

// Count is the number of resources added.
func (w *Writer) Count() int { return w.count }

// Size is about how many bytes the batch has now: what is written, and what waits to be compressed.
func (w *Writer) Size() int64 {
	if w.out == nil {
		return 0
	}
	if w.buffers == nil {
		return w.out.size
	}
	return w.out.size + int64(len(w.clinical)+len(w.loose))
}

// Close makes the batch durable: the keyring is synced first, for a batch whose keys are lost is lost; then the batch and
// its index are published, in this order. A writer without a resource writes nothing and returns an Info with Count 0.
// Called again it returns the same.
func (w *Writer) Close(ctx context.Context) (Info, error) {
	if w.err != nil {
		return Info{}, w.err
	}
	if w.done {
		return w.info, nil
	}
	w.done = true
	if w.count == 0 {
		return w.info, nil
	}
	if err := w.close(ctx); err != nil {
		w.out.draft.Discard()
		w.err = fmt.Errorf("batch %s: %w", w.info.ID, err)
		return Info{}, w.err
	}
	w.release()
	return w.info, nil
}

func (w *Writer) close(ctx context.Context) error {
	if err := w.flush(true); err != nil {
		return err
	}
	if err := w.keys.Sync(); err != nil {
		return fmt.Errorf("make the keys durable: %w", err)
	}
	info := w.info
	info.Count, info.Bytes, info.SHA256 = w.count, w.out.size, hex.EncodeToString(w.out.sum.Sum(nil))
	name := info.ID + indexSuffix
	key, err := w.keys.BatchKey(name)
	if err != nil {
		return err
	}
	index, err := w.place.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := w.index.write(index, info, key); err != nil {
		index.Discard()
		return err
	}
	if err := w.place.Publish(ctx, w.out.draft, index); err != nil {
		return err
	}
	w.info = info
	return nil
}

// Abort removes what was written. After Close it does nothing.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.err == nil {
		w.err = fmt.Errorf("batch %s: %w", w.info.ID, errClosed)
	}
	if w.out != nil {
		w.out.draft.Discard()
	}
	w.release()
	return nil
}
