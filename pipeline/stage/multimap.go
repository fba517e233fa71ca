package stage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

// Multimap finds records by key: what a Sorter held, for reading at random. Records that fit the sorter's budget stay in
// memory; else they lie in one encrypted temporary file, of which the memory holds the first key of each 64 KiB. What is
// found, and its order (by value), is the same either way. It may be read by many goroutines, each with its own
// [MultimapReader].
type Multimap struct {
	pairs []heldPair

	spill  *spill
	run    spillRun
	f      *os.File
	frames []multimapFrame
	n      int64
}

// multimapFrame is where a frame of the file begins, and with which key.
type multimapFrame struct {
	key []byte
	off int64
}

// Multimap ends the sorting and takes the records over. The sorter cannot be used after it; Close of the multimap
// removes the temporary files.
func (s *Sorter) Multimap() (m *Multimap, err error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.sorted:
		return nil, errors.New("sort: the records were read already")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if len(s.runs) == 0 {
		s.sort()
		m = &Multimap{pairs: s.pairs, n: int64(len(s.pairs))}
		s.err = errors.New("sort: the records were handed over")
		return m, nil
	}
	m = &Multimap{spill: s.spill}
	w, err := s.spill.newRun()
	if err != nil {
		return nil, fmt.Errorf("sort: %w", err)
	}
	for p, err := range s.Sorted() {
		if err == nil {
			frame, empty := w.frame, len(w.raw) == 0
			err = w.add(p.Key, p.Value)
			if empty || w.frame != frame {
				m.frames = append(m.frames, multimapFrame{slices.Clone(p.Key), w.size})
			}
			m.n++
		}
		if err != nil {
			w.abort()
			return nil, err
		}
	}
	if m.run, err = w.close(); err != nil {
		return nil, fmt.Errorf("sort: %w", err)
	}
	for _, old := range s.runs {
		if err := s.spill.remove(old); err != nil {
			return nil, fmt.Errorf("sort: %w", err)
		}
	}
	if m.f, err = os.Open(m.run.path); err != nil {
		return nil, blockfile.Missing(filepath.Base(m.run.path), err)
	}
	s.err = errors.New("sort: the records were handed over")
	s.slabs, s.pairs, s.runs = nil, nil, nil
	return m, nil
}

// Len is the number of records.
func (m *Multimap) Len() int64 { return m.n }

// Close removes the temporary file and frees the memory. No reader may be used after it.
func (m *Multimap) Close() error {
	m.pairs = nil
	if m.spill == nil {
		return nil
	}
	var err error
	if m.f != nil {
		err = m.f.Close()
	}
	return errors.Join(err, m.spill.close())
}

// MultimapReader reads a Multimap. It belongs to one goroutine and keeps the frames read last.
type MultimapReader struct {
	m    *Multimap
	kept [16]keptFrame
	turn int
	body []byte
}

// keptFrame is a frame unpacked, with the places of its records.
type keptFrame struct {
	number int // from 1; 0 is none
	raw    []byte
	pairs  []Pair
}

// NewReader makes a reader.
func (m *Multimap) NewReader() *MultimapReader { return &MultimapReader{m: m} }

// Find iterates over the values of a key, in their order. A value is valid until the next call of Find. Damage of the
// temporary file ends the sequence with an error.
func (r *MultimapReader) Find(key []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if r.m.spill != nil {
			r.findStored(key, yield)
			return
		}
		var head [8]byte
		copy(head[:], key)
		prefix := binary.BigEndian.Uint64(head[:])
		at, _ := slices.BinarySearchFunc(r.m.pairs, key, func(p heldPair, key []byte) int {
			if p.prefix != prefix {
				return cmp.Compare(p.prefix, prefix)
			}
			return bytes.Compare(p.data[:p.key], key)
		})
		for ; at < len(r.m.pairs); at++ {
			p := r.m.pairs[at].pair()
			if !bytes.Equal(p.Key, key) || !yield(p.Value, nil) {
				return
			}
		}
	}
}

func (r *MultimapReader) findStored(key []byte, yield func([]byte, error) bool) {
	// The first record with the key may stand at the end of the frame before the first one that begins with it.
	first := sort.Search(len(r.m.frames), func(i int) bool { return bytes.Compare(r.m.frames[i].key, key) >= 0 })
	for i := max(first-1, 0); i < len(r.m.frames) && bytes.Compare(r.m.frames[i].key, key) <= 0; i++ {
		pairs, err := r.frame(i)
		if err != nil {
			yield(nil, err)
			return
		}
		at := sort.Search(len(pairs), func(j int) bool { return bytes.Compare(pairs[j].Key, key) >= 0 })
		for ; at < len(pairs) && bytes.Equal(pairs[at].Key, key); at++ {
			if !yield(pairs[at].Value, nil) {
				return
			}
		}
		if at < len(pairs) {
			return
		}
	}
}

// frame is a frame unpacked. The one that was read longest ago makes room.
func (r *MultimapReader) frame(i int) ([]Pair, error) {
	for k := range r.kept {
		if r.kept[k].number == i+1 {
			return r.kept[k].pairs, nil
		}
	}
	slot := &r.kept[r.turn]
	r.turn = (r.turn + 1) % len(r.kept)
	slot.number = 0
	if err := r.read(i, slot); err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	slot.number = i + 1
	return slot.pairs, nil
}

func (r *MultimapReader) read(i int, slot *keptFrame) error {
	m := r.m
	reader := runReader{spill: m.spill, run: m.run, off: m.frames[i].off}
	var head [spillHead]byte
	if _, err := m.f.ReadAt(head[:], reader.off); err != nil {
		return err
	}
	n, rawLen := int(binary.LittleEndian.Uint32(head[:])), int(binary.LittleEndian.Uint32(head[4:]))
	if n > maxPart || rawLen > maxPart {
		return reader.damage(errSpill.Error())
	}
	if cap(r.body) < n {
		r.body = make([]byte, n)
	}
	if _, err := m.f.ReadAt(r.body[:n], reader.off+spillHead); err != nil {
		return err
	}
	plain, err := m.spill.aead.Open(nil, nil, r.body[:n], spillData(m.run.number, uint64(i), head[:]))
	if err != nil {
		return reader.damage(errSpill.Error())
	}
	if slot.raw, err = decompress(slot.raw[:0], plain, rawLen); err != nil {
		return reader.damage(fmt.Sprintf("a frame %v", err))
	}
	slot.pairs = slot.pairs[:0]
	for c := (blockfile.Cursor{B: slot.raw}); c.Off < len(c.B); {
		k, v := c.Uvarint(), c.Uvarint()
		key, value := c.Take(int(min(k, maxPart))), c.Take(int(min(v, maxPart)))
		if c.Bad {
			return reader.damage(errSpill.Error())
		}
		slot.pairs = append(slot.pairs, Pair{key, value})
	}
	return nil
}
