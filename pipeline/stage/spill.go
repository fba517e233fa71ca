package stage

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

const (
	spillPrefix = "spill-"
	// spillFrame is how much goes into a frame of a run. A merge holds one frame of each run, twice.
	spillFrame = 64 << 10
	spillHead  = 12
)

// spill makes runs: files of sorted pairs in a scratch, under one key.
//
// A run is frames: u32 length, u32 length of raw, u32 last, AES-256-GCM(zstd(raw)); raw is pairs, each uvarint length
// of key, uvarint length of value, key, value. The additional data is the run's number and the frame's, and its head.
type spill struct {
	*Scratch
	aead cipher.AEAD
	runs uint64
	made []string // paths that are to be removed
}

func newSpill(s *Scratch) (*spill, error) {
	if err := durable.MakeFolder(s.fs, s.dir); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &spill{Scratch: s, aead: aead}, nil
}

// remove removes a run.
func (s *spill) remove(run spillRun) error {
	for i, path := range s.made {
		if path == run.path {
			s.made = append(s.made[:i], s.made[i+1:]...)
			break
		}
	}
	return s.fs.Remove(run.path)
}

// close removes all runs.
func (s *spill) close() error {
	var first error
	for _, path := range s.made {
		if err := s.fs.Remove(path); err != nil && first == nil {
			first = err
		}
	}
	s.made = nil
	return first
}

// spillRun is a finished run.
type spillRun struct {
	path   string
	number uint64
}

// runWriter writes a run.
type runWriter struct {
	spill *spill
	run   spillRun
	f     durable.File
	raw   []byte
	zip   []byte
	out   []byte
	frame uint64
	size  int64 // of the frames written
}

func (s *spill) newRun() (*runWriter, error) {
	var r [8]byte
	_, _ = rand.Read(r[:])
	path := filepath.Join(s.dir, spillPrefix+hex.EncodeToString(r[:])+durable.TempSuffix)
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, err
	}
	s.made = append(s.made, path)
	s.runs++
	return &runWriter{spill: s, run: spillRun{path, s.runs}, f: f}, nil
}

func spillData(run, frame uint64, head []byte) []byte {
	var b [16 + spillHead]byte
	binary.LittleEndian.PutUint64(b[:], run)
	binary.LittleEndian.PutUint64(b[8:], frame)
	copy(b[16:], head[:spillHead])
	return b[:]
}

func (w *runWriter) add(key, value []byte) error {
	if len(w.raw) > 0 && len(w.raw)+len(key)+len(value) > spillFrame {
		if err := w.flush(false); err != nil {
			return err
		}
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(len(key)))
	w.raw = binary.AppendUvarint(w.raw, uint64(len(value)))
	w.raw = append(w.raw, key...)
	w.raw = append(w.raw, value...)
	return nil
}

func (w *runWriter) flush(last bool) error {
	var err error
	w.zip, err = compress(w.zip[:0], w.raw)
	if err != nil {
		return err
	}
	w.out = binary.LittleEndian.AppendUint32(w.out[:0], uint32(len(w.zip)+w.spill.aead.Overhead()))
	w.out = binary.LittleEndian.AppendUint32(w.out, uint32(len(w.raw)))
	mark := uint32(0)
	if last {
		mark = 1
	}
	w.out = binary.LittleEndian.AppendUint32(w.out, mark)
	w.out = w.spill.aead.Seal(w.out, nil, w.zip, spillData(w.run.number, w.frame, w.out))
	w.frame++
	w.size += int64(len(w.out))
	w.raw = w.raw[:0]
	n, err := w.f.Write(w.out)
	if err == nil && n < len(w.out) {
		err = io.ErrShortWrite
	}
	return err
}

// close ends the run, which cannot be read before.
func (w *runWriter) close() (spillRun, error) {
	err := w.flush(true)
	if e := w.f.Close(); err == nil {
		err = e
	}
	return w.run, err
}

// abort gives the run up; its file is removed with the others of its spill.
func (w *runWriter) abort() { _ = w.f.Close() }

// runReader reads a run. Its pairs are valid until the next call.
type runReader struct {
	spill *spill
	run   spillRun
	f     *os.File
	r     *bufio.Reader
	size  int64
	off   int64
	frame uint64
	last  bool
	body  []byte
	plain []byte
	raw   []byte
	pairs blockfile.Cursor
}

func (s *spill) open(run spillRun) (*runReader, error) {
	f, err := os.Open(run.path)
	if err != nil {
		return nil, blockfile.Missing(filepath.Base(run.path), err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &runReader{spill: s, run: run, f: f, r: bufio.NewReaderSize(f, 4<<10), size: info.Size()}, nil
}

func (r *runReader) close() { _ = r.f.Close() }

func (r *runReader) damage(what string) error {
	return &Damage{File: filepath.Base(r.run.path), Offset: r.off, What: what}
}

var errSpill = errors.New("a frame is not what was written there")

func (r *runReader) next() (Pair, error) {
	for r.pairs.Off == len(r.pairs.B) {
		if r.last {
			if r.off != r.size {
				return Pair{}, r.damage("the file goes on behind its end")
			}
			return Pair{}, io.EOF
		}
		if err := r.readFrame(); err != nil {
			return Pair{}, err
		}
	}
	k, v := r.pairs.Uvarint(), r.pairs.Uvarint()
	key, value := r.pairs.Take(int(min(k, maxPart))), r.pairs.Take(int(min(v, maxPart)))
	if r.pairs.Bad {
		return Pair{}, r.damage(errSpill.Error())
	}
	return Pair{key, value}, nil
}

func (r *runReader) readFrame() error {
	name := filepath.Base(r.run.path)
	var head [spillHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return blockfile.Short(name, r.off, err)
	}
	n, rawLen := int64(binary.LittleEndian.Uint32(head[:])), int(binary.LittleEndian.Uint32(head[4:]))
	if n > r.size-r.off-spillHead {
		return r.damage("a frame is longer than the file")
	}
	if int64(cap(r.body)) < n {
		r.body = make([]byte, n)
	}
	if _, err := io.ReadFull(r.r, r.body[:n]); err != nil {
		return blockfile.Short(name, r.off, err)
	}
	var err error
	r.plain, err = r.spill.aead.Open(r.plain[:0], nil, r.body[:n], spillData(r.run.number, r.frame, head[:]))
	if err != nil {
		return r.damage(errSpill.Error())
	}
	// Authentic from here on, so the length is what was written.
	if cap(r.raw) < rawLen {
		r.raw = make([]byte, 0, rawLen)
	}
	r.raw, err = decompress(r.raw[:0], r.plain, rawLen)
	if err != nil {
		return r.damage(fmt.Sprintf("a frame %v", err))
	}
	r.pairs = blockfile.Cursor{B: r.raw}
	r.off += spillHead + n
	r.frame++
	r.last = head[8] != 0
	return nil
}
