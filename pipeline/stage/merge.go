package stage

import "io"

// source is a sorted sequence: next returns io.EOF at its end. What it returned stays valid until the next call.
type source[T any] interface {
	next() (T, error)
	close()
}

// merger merges sorted sources: a heap of their first values.
type merger[T any] struct {
	compare func(a, b T) int
	heap    []mergeHead[T]
	started bool
}

type mergeHead[T any] struct {
	value T
	from  source[T]
}

// newMerger takes the sources over.
func newMerger[T any](compare func(a, b T) int, sources []source[T]) *merger[T] {
	m := &merger[T]{compare: compare}
	for _, s := range sources {
		m.heap = append(m.heap, mergeHead[T]{from: s})
	}
	return m
}

func (m *merger[T]) next() (T, error) {
	var none T
	if !m.started {
		m.started = true
		for i := 0; i < len(m.heap); {
			ok, err := m.fill(i)
			if err != nil {
				return none, err
			}
			if ok {
				i++
			}
		}
		for i := len(m.heap)/2 - 1; i >= 0; i-- {
			m.sink(i)
		}
	} else if len(m.heap) > 0 {
		// Only now: filling the first source ends the life of the value returned before.
		if _, err := m.fill(0); err != nil {
			return none, err
		}
		m.sink(0)
	}
	if len(m.heap) == 0 {
		return none, io.EOF
	}
	return m.heap[0].value, nil
}

// fill reads the next value of entry i, or replaces the entry by the last one if its source has ended.
func (m *merger[T]) fill(i int) (bool, error) {
	v, err := m.heap[i].from.next()
	if err == nil {
		m.heap[i].value = v
		return true, nil
	}
	if err != io.EOF {
		return false, err
	}
	m.heap[i].from.close()
	last := len(m.heap) - 1
	m.heap[i] = m.heap[last]
	m.heap[last] = mergeHead[T]{}
	m.heap = m.heap[:last]
	return false, nil
}

func (m *merger[T]) sink(i int) {
	h := m.heap
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && m.compare(h[child+1].value, h[child].value) < 0 {
			child++
		}
		if m.compare(h[i].value, h[child].value) <= 0 {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

func (m *merger[T]) close() {
	for _, h := range m.heap {
		h.from.close()
	}
	m.heap = nil
}
