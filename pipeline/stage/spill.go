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
)

const (
	spillPrefix = "spill-"
	// spillFrame is how much goes into a frame of a run. A merge holds one frame of each run, twice.
	spillFrame = 64 << 10
	spillHead  = 12
)

// spillFolder makes runs: temporary files of sorted pairs. They are compressed, and encrypted under a key that exists
// in memory alone, so what a killed process leaves behind cannot be read by anyone. They are never synced.
//
// A run is frames: u32 length, u32 length of raw, u32 last, AES-256-GCM(zstd(raw)); raw is pairs, each uvarint length
// of key, uvarint length of value, key, value. The additional data is the run's number and the frame's, and its head.
type spillFolder struct {
	disk disk
	dir  string
	aead cipher.AEAD
	runs uint64
	made []string // paths that are to be removed
}

func newSpillFolder(d disk, dir string) (*spillFolder, error) {
	if err := makeFolder(d, dir); err != nil {
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
	return &spillFolder{disk: d, dir: dir, aead: aead}, nil
}

// remove removes a run.
func (s *spillFolder) remove(run spillRun) error {
	for i, path := range s.made {
		if path == run.path {
			s.made = append(s.made[:i], s.made[i+1:]...)
			break
		}
	}
	return s.disk.remove(run.path)
}

// close removes all runs.
func (s *spillFolder) close() error {
	var first error
	for _, path := range s.made {
		if err := s.disk.remove(path); err != nil && first == nil {
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
	folder *spillFolder
	run    spillRun
	f      file
	raw    []byte
	zip    []byte
	out    []byte
	frame  uint64
	size   int64 // of the frames written
}

func (s *spillFolder) newRun() (*runWriter, error) {
	var r [8]byte
	_, _ = rand.Read(r[:])
	path := filepath.Join(s.dir, spillPrefix+hex.EncodeToString(r[:])+tmpSuffix)
	f, err := s.disk.create(path)
	if err != nil {
		return nil, err
	}
	s.made = append(s.made, path)
	s.runs++
	return &runWriter{folder: s, run: spillRun{path, s.runs}, f: f}, nil
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
	w.out = binary.LittleEndian.AppendUint32(w.out[:0], uint32(len(w.zip)+w.folder.aead.Overhead()))
	w.out = binary.LittleEndian.AppendUint32(w.out, uint32(len(w.raw)))
	mark := uint32(0)
	if last {
		mark = 1
	}
	w.out = binary.LittleEndian.AppendUint32(w.out, mark)
	w.out = w.folder.aead.Seal(w.out, nil, w.zip, spillData(w.run.number, w.frame, w.out))
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

// abort gives the run up; its file is removed with the folder's others.
func (w *runWriter) abort() { _ = w.f.Close() }

// runReader reads a run. Its pairs are valid until the next call.
type runReader struct {
	folder *spillFolder
	run    spillRun
	f      *os.File
	r      *bufio.Reader
	size   int64
	off    int64
	frame  uint64
	last   bool
	body   []byte
	plain  []byte
	raw    []byte
	pairs  cursor
}

func (s *spillFolder) open(run spillRun) (*runReader, error) {
	f, err := os.Open(run.path)
	if err != nil {
		return nil, missing(run.path, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &runReader{folder: s, run: run, f: f, r: bufio.NewReaderSize(f, 4<<10), size: info.Size()}, nil
}

func (r *runReader) close() { _ = r.f.Close() }

func (r *runReader) damage(what string) error {
	return &Damage{File: filepath.Base(r.run.path), Offset: r.off, What: what}
}

var errSpill = errors.New("a frame is not what was written there")

func (r *runReader) next() (Pair, error) {
	for r.pairs.off == len(r.pairs.b) {
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
	k, v := r.pairs.uvarint(), r.pairs.uvarint()
	key, value := r.pairs.take(int(min(k, maxPart))), r.pairs.take(int(min(v, maxPart)))
	if r.pairs.bad {
		return Pair{}, r.damage(errSpill.Error())
	}
	return Pair{key, value}, nil
}

func (r *runReader) readFrame() error {
	name := filepath.Base(r.run.path)
	var head [spillHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return short(name, r.off, err)
	}
	n, rawLen := int64(binary.LittleEndian.Uint32(head[:])), int(binary.LittleEndian.Uint32(head[4:]))
	if n > r.size-r.off-spillHead {
		return r.damage("a frame is longer than the file")
	}
	if int64(cap(r.body)) < n {
		r.body = make([]byte, n)
	}
	if _, err := io.ReadFull(r.r, r.body[:n]); err != nil {
		return short(name, r.off, err)
	}
	var err error
	r.plain, err = r.folder.aead.Open(r.plain[:0], nil, r.body[:n], spillData(r.run.number, r.frame, head[:]))
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
	r.pairs = cursor{b: r.raw}
	r.off += spillHead + n
	r.frame++
	r.last = head[8] != 0
	return nil
}
