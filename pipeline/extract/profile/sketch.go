package profile

import (
	"maps"
	"math"
	"slices"
)

// sketch is a sample of the distinct values of a column, by hash, with the number of rows of each. It holds every value
// until there are more than limit; then only those whose hash begins with level zero bits, level being the least with
// which they fit. Which values those are depends on the values alone, not on their order, and two sketches hold the same
// part of the space of hashes down to the higher of their levels. (Adaptive sampling: P. Flajolet, Computing 43, 1990.)
type sketch struct {
	counts map[uint64]uint32
	level  int
	limit  int
}

func newSketch(limit int) sketch { return sketch{counts: map[uint64]uint32{}, limit: limit} }

// holds says whether a hash belongs to the sample at that level.
func holds(h uint64, level int) bool { return h>>(64-level) == 0 }

// add says that a value was seen in so many more rows.
func (s *sketch) add(h uint64, rows int64) {
	if !holds(h, s.level) {
		return
	}
	s.counts[h] = uint32(min(int64(s.counts[h])+rows, math.MaxUint32))
	for len(s.counts) > s.limit {
		s.rise(s.level + 1)
	}
}

func (s *sketch) rise(level int) {
	s.level = level
	maps.DeleteFunc(s.counts, func(h uint64, _ uint32) bool { return !holds(h, level) })
}

// merge adds what another sketch of the same limit has seen.
func (s *sketch) merge(o *sketch) {
	if o.level > s.level {
		s.rise(o.level)
	}
	for h, n := range o.counts {
		s.add(h, int64(n))
	}
}

// exact says whether every value is in the sample.
func (s *sketch) exact() bool { return s.level == 0 }

// distinct is the number of distinct values, estimated unless the sketch is exact.
func (s *sketch) distinct() int64 { return int64(len(s.counts)) << s.level }

// deviation is the relative standard error of distinct: 0 if exact.
func (s *sketch) deviation() float64 {
	if s.exact() {
		return 0
	}
	return 1 / math.Sqrt(float64(max(len(s.counts), 1)))
}

// repeated is the number of rows beyond the first of each value: 0 if every value is unique.
func (s *sketch) repeated() (n int64) {
	for _, rows := range s.counts {
		n += int64(rows) - 1
	}
	return n << s.level
}

// hashes lists the sample in order.
func (s *sketch) hashes() []uint64 { return slices.Sorted(maps.Keys(s.counts)) }
