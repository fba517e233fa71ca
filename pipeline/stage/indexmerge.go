package stage

import (
	"context"
	"encoding/binary"
	"io"
	"iter"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

// fanIn is how many files a merge reads at once: as many as ten million resources fill, since a pass through temporary
// files costs as much as the merge itself, and few enough that more batches than that exhaust neither file handles
// (4096 for a process, where they are few) nor memory (about 24 KiB each).
const fanIn = 1024

// Index merges the indexes of many batches: in order of (ID, Ordinal, Batch, Position), where Batch is the place in
// infos. Entries and their Refs are valid until the next one. More than 1024 batches are merged in passes, through the
// scratch. Damage anywhere is a [*Damage] and ends the sequence.
func Index(ctx context.Context, p Place, scratch *Scratch, k Keys, infos []Info) iter.Seq2[*Entry, error] {
	return mergeIndexes(ctx, p, scratch, k, infos, fanIn)
}

func mergeIndexes(ctx context.Context, p Place, scratch *Scratch, k Keys, infos []Info, fanIn int) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		m := &indexMerge{place: p, scratch: scratch, keys: k, fanIn: fanIn}
		defer m.close()
		final, err := m.open(ctx, infos)
		if err != nil {
			yield(nil, err)
			return
		}
		defer final.close()
		for {
			e, err := final.next()
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

type indexMerge struct {
	place   Place
	scratch *Scratch
	keys    Keys
	fanIn   int
	spill   *spill
}

// open returns the merge of all indexes.
func (m *indexMerge) open(ctx context.Context, infos []Info) (source[*Entry], error) {
	var level []func() (source[*Entry], error) // opens one sorted source each
	for i, info := range infos {
		if !info.empty() {
			level = append(level, func() (source[*Entry], error) { return openIndex(ctx, m.place, m.keys, info, i) })
		}
	}
	for len(level) > m.fanIn {
		var above []func() (source[*Entry], error)
		for len(level) > 0 {
			n := min(m.fanIn, len(level))
			run, err := m.pass(level[:n])
			if err != nil {
				return nil, err
			}
			level = level[n:]
			above = append(above, func() (source[*Entry], error) {
				r, err := m.spill.open(run)
				if err != nil {
					return nil, err
				}
				return &spilledEntries{r: r}, nil
			})
		}
		level = above
	}
	return m.merge(level)
}

func (m *indexMerge) merge(level []func() (source[*Entry], error)) (source[*Entry], error) {
	var sources []source[*Entry]
	for _, open := range level {
		s, err := open()
		if err != nil {
			for _, s := range sources {
				s.close()
			}
			return nil, err
		}
		sources = append(sources, s)
	}
	return newMerger(compareEntries, sources), nil
}

// pass merges some sources into a run.
func (m *indexMerge) pass(level []func() (source[*Entry], error)) (run spillRun, err error) {
	if m.spill == nil {
		if m.spill, err = newSpill(m.scratch); err != nil {
			return run, err
		}
	}
	merged, err := m.merge(level)
	if err != nil {
		return run, err
	}
	defer merged.close()
	w, err := m.spill.newRun()
	if err != nil {
		return run, err
	}
	var key, value []byte
	for {
		e, err := merged.next()
		if err == io.EOF {
			return w.close()
		}
		if err == nil {
			key = binary.LittleEndian.AppendUint32(key[:0], uint32(e.Batch))
			value = appendEntry(value[:0], e)
			err = w.add(key, value)
		}
		if err != nil {
			w.abort()
			return run, err
		}
	}
}

func (m *indexMerge) close() {
	if m.spill != nil {
		_ = m.spill.close()
	}
}

// spilledEntries reads entries from a run.
type spilledEntries struct {
	r *runReader
	e Entry
}

func (s *spilledEntries) close() { s.r.close() }

func (s *spilledEntries) next() (*Entry, error) {
	p, err := s.r.next()
	if err != nil {
		return nil, err
	}
	c := blockfile.Cursor{B: p.Value}
	if len(p.Key) != 4 || !readEntry(&c, &s.e) {
		return nil, s.r.damage(errSpill.Error())
	}
	s.e.Batch = int(binary.LittleEndian.Uint32(p.Key))
	return &s.e, nil
}
