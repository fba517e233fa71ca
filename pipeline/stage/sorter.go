package stage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Pair is a record of a Sorter. Both slices are valid until the next one, and must not be changed.
type Pair struct{ Key, Value []byte }

func comparePairs(a, b Pair) int {
	if c := bytes.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	return bytes.Compare(a.Value, b.Value)
}

const (
	slabBytes = 1 << 20
	// sortFanIn is how many runs a merge of a sorter reads at once; each takes about 200 KiB.
	sortFanIn = 64
	// pairCost is what a record costs beside its bytes.
	pairCost = 48
)

// Sorter sorts records that may not fit into memory: by key, then by value, byte by byte; the order is the same whether
// they fit or not. It is not for concurrent use. Its first error stays.
type Sorter struct {
	scratch *Scratch
	budget  int64
	fanIn   int
	err     error
	sorted  bool

	slabs [][]byte // filled one after the other; a record lies in one
	pairs []heldPair
	held  int64
	spill *spill
	runs  []spillRun
}

type heldPair struct {
	prefix uint64 // of the key: decides most comparisons
	data   []byte // key, then value
	key    int
}

func (p *heldPair) pair() Pair { return Pair{p.data[:p.key:p.key], p.data[p.key:]} }

// NewSorter makes a sorter that writes to a scratch when about budget bytes are held in memory (at least 1 MiB). Close
// removes what it wrote.
func NewSorter(scratch *Scratch, budget int64) *Sorter {
	return newSorter(scratch, max(budget, slabBytes), sortFanIn)
}

func newSorter(scratch *Scratch, budget int64, fanIn int) *Sorter {
	return &Sorter{scratch: scratch, budget: budget, fanIn: fanIn}
}

// Add copies a record. None can be added after Sorted.
func (s *Sorter) Add(key, value []byte) error {
	switch {
	case s.err != nil:
		return s.err
	case s.sorted:
		return errors.New("sort: a record after the sorting began")
	case len(key) > maxPart || len(value) > maxPart:
		return fmt.Errorf("sort: a record of more than %d bytes", maxPart)
	}
	n := len(key) + len(value)
	if cost := int64(n + pairCost); len(s.pairs) > 0 && s.held+cost > s.budget {
		if s.err = s.flush(); s.err != nil {
			return s.err
		}
	}
	s.held += int64(n + pairCost)
	last := len(s.slabs) - 1
	if last < 0 || cap(s.slabs[last])-len(s.slabs[last]) < n {
		size := max(n, int(min(slabBytes, s.budget)))
		s.slabs = append(s.slabs, make([]byte, 0, size))
		last++
	}
	slab := s.slabs[last]
	start := len(slab)
	slab = append(append(slab, key...), value...)
	s.slabs[last] = slab
	var prefix [8]byte
	copy(prefix[:], key)
	s.pairs = append(s.pairs, heldPair{binary.BigEndian.Uint64(prefix[:]), slab[start:len(slab):len(slab)], len(key)})
	return nil
}

func (s *Sorter) sort() {
	slices.SortFunc(s.pairs, func(a, b heldPair) int {
		// Shorter keys are filled with zeros; where that makes two prefixes equal the keys themselves decide.
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return comparePairs(a.pair(), b.pair())
	})
}

// flush writes what is held to a run.
func (s *Sorter) flush() error {
	s.sort()
	if s.spill == nil {
		var err error
		if s.spill, err = newSpill(s.scratch); err != nil {
			return fmt.Errorf("sort: %w", err)
		}
	}
	w, err := s.spill.newRun()
	if err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	for i := range s.pairs {
		p := s.pairs[i].pair()
		if err := w.add(p.Key, p.Value); err != nil {
			w.abort()
			return fmt.Errorf("sort: %w", err)
		}
	}
	run, err := w.close()
	if err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	s.runs = append(s.runs, run)
	clear(s.pairs)
	s.pairs, s.held = s.pairs[:0], 0
	// The first slab is used again; the others may be of any size.
	s.slabs = s.slabs[:1]
	s.slabs[0] = s.slabs[0][:0]
	return nil
}

// heldPairs is what was never spilled, as a source.
type heldPairs struct {
	pairs []heldPair
	at    int
}

func (h *heldPairs) close() {}

func (h *heldPairs) next() (Pair, error) {
	if h.at == len(h.pairs) {
		return Pair{}, io.EOF
	}
	h.at++
	return h.pairs[h.at-1].pair(), nil
}

// Sorted iterates over the records in order. It may be called again, after the sequence before has ended. An error, of
// Add or of the disk, ends the sequence; there is no other way to learn of it.
func (s *Sorter) Sorted() iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		if s.err == nil && !s.sorted {
			s.sorted = true
			s.sort()
		}
		if s.err == nil && len(s.runs) >= s.fanIn {
			s.err = s.reduce()
		}
		if s.err != nil {
			yield(Pair{}, s.err)
			return
		}
		m, err := s.merge(s.runs)
		if err != nil {
			yield(Pair{}, fmt.Errorf("sort: %w", err))
			return
		}
		if len(s.pairs) > 0 {
			m.heap = append(m.heap, mergeHead[Pair]{from: &heldPairs{pairs: s.pairs}})
		}
		defer m.close()
		for {
			p, err := m.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Pair{}, fmt.Errorf("sort: %w", err))
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *Sorter) merge(runs []spillRun) (*merger[Pair], error) {
	var sources []source[Pair]
	for _, run := range runs {
		r, err := s.spill.open(run)
		if err != nil {
			for _, s := range sources {
				s.close()
			}
			return nil, err
		}
		sources = append(sources, r)
	}
	return newMerger(comparePairs, sources), nil
}

// reduce merges runs until one merge can read them all.
func (s *Sorter) reduce() error {
	for len(s.runs) >= s.fanIn {
		n := min(s.fanIn, len(s.runs))
		run, err := s.mergeRuns(s.runs[:n])
		if err != nil {
			return fmt.Errorf("sort: %w", err)
		}
		for _, old := range s.runs[:n] {
			if err := s.spill.remove(old); err != nil {
				return fmt.Errorf("sort: %w", err)
			}
		}
		// At the end, so that runs of one size are merged with each other.
		s.runs = append(slices.Clone(s.runs[n:]), run)
	}
	return nil
}

func (s *Sorter) mergeRuns(runs []spillRun) (run spillRun, err error) {
	m, err := s.merge(runs)
	if err != nil {
		return run, err
	}
	defer m.close()
	w, err := s.spill.newRun()
	if err != nil {
		return run, err
	}
	for {
		p, err := m.next()
		if err == io.EOF {
			return w.close()
		}
		if err == nil {
			err = w.add(p.Key, p.Value)
		}
		if err != nil {
			w.abort()
			return run, err
		}
	}
}

// Close removes the temporary files and frees the memory. Nothing can be done with the sorter after it.
func (s *Sorter) Close() error {
	if s.err == nil {
		s.err = errors.New("sort: the sorter was closed")
	}
	s.slabs, s.pairs, s.runs = nil, nil, nil
	if s.spill == nil {
		return nil
	}
	if err := s.spill.close(); err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	return nil
}
