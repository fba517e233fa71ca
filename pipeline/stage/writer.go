package stage

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/chartlift/chartlift/pipeline/phi"
)

const (
	batchMagic  = "CLBATCH1"
	batchSuffix = ".batch"
)

// keyring is what this package needs of [phi.Keyring].
type keyring interface {
	BatchKey(file string) (cipher.AEAD, error)
	Sync() error
}

// errZero: the order of the pipeline is in the types, but a zero value can always be made.
var errZero = errors.New("a resource that was never sealed")

var errClosed = errors.New("the file was ended already")

// Writer writes one batch: sealed resources and their index. It is not for concurrent use. Its first error stays.
type Writer struct {
	disk disk
	dir  string
	keys keyring
	info Info
	err  error
	done bool

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

// NewWriter makes a writer. Files are made by the first Add, and dir too if it is not there (mode 0700). Count, Bytes
// and SHA256 of info are set by Close. Faults of its arguments are errors of Add and Close.
func NewWriter(dir string, k *phi.Keyring, info Info) *Writer {
	return newWriter(osDisk{}, dir, k, info)
}

func newWriter(d disk, dir string, k keyring, info Info) *Writer {
	info.Count, info.Bytes, info.SHA256 = 0, 0, ""
	return &Writer{disk: d, dir: dir, keys: k, info: info}
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

func (w *Writer) open() error {
	if err := CheckName(w.info.ID); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	meta, err := json.Marshal(batchMeta{w.info, newSalt()})
	if err != nil {
		return err
	}
	if len(meta) > maxMeta {
		return fmt.Errorf("batch %s: its description has more than %d bytes", w.info.ID, maxMeta)
	}
	name := w.info.ID + batchSuffix
	aead, err := w.keys.BatchKey(name)
	if err != nil {
		return fmt.Errorf("batch %s: %w", w.info.ID, err)
	}
	if err := makeFolder(w.disk, w.dir); err != nil {
		return fmt.Errorf("batch %s: %w", w.info.ID, err)
	}
	w.out, err = newChunkWriter(w.disk, filepath.Join(w.dir, name), batchMagic, meta, aead)
	if err != nil {
		return fmt.Errorf("batch %s: %w", w.info.ID, err)
	}
	w.buffers = newBuffers()
	return nil
}

// Add appends a resource. Its position in the batch is its number from 0. What it needs of s and key is copied. It
// refuses the zero Sealed.
func (w *Writer) Add(s phi.Sealed, key Key) error {
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
		if w.err = w.open(); w.err != nil {
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
		w.out.p.Discard()
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

// Close makes the batch durable: the keyring is synced first, for a batch whose keys are lost is lost; then both files
// are synced, renamed, and their folder is synced. A writer without a resource writes nothing and returns an Info with
// Count 0. Called again it answers the same.
func (w *Writer) Close() (Info, error) {
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
	if err := w.close(); err != nil {
		w.out.p.Discard()
		w.err = fmt.Errorf("batch %s: %w", w.info.ID, err)
		return Info{}, w.err
	}
	w.release()
	return w.info, nil
}

func (w *Writer) close() error {
	if err := w.flush(true); err != nil {
		return err
	}
	if err := w.keys.Sync(); err != nil {
		return fmt.Errorf("make the keys durable: %w", err)
	}
	info := w.info
	info.Count, info.Bytes, info.SHA256 = w.count, w.out.size, hex.EncodeToString(w.out.sum.Sum(nil))
	index, err := newPending(w.disk, filepath.Join(w.dir, info.ID+indexSuffix))
	if err != nil {
		return err
	}
	if err := w.index.write(index, info); err != nil {
		index.Discard()
		return err
	}
	if err := publish(w.disk, w.out.p, index); err != nil {
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
		w.out.p.Discard()
	}
	w.release()
	return nil
}
