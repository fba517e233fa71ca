package state

import (
	"iter"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// Changes sorts the changes of a run for [State.Merge], on disk if need be. It is not for concurrent use.
type Changes struct {
	sorter *stage.Sorter
	buf    []byte
}

// NewChanges makes an empty list. scratch is on this machine for what does not fit into budget bytes.
func NewChanges(scratch *stage.Scratch, budget int64) *Changes {
	return &Changes{sorter: stage.NewSorter(scratch, budget)}
}

// Add adds a change; they may come in any order, each key once.
func (c *Changes) Add(p Placement) error {
	c.buf = p.append(c.buf[:0])
	return c.sorter.Add(appendKey(nil, p.Type, &p.ID, p.Store), c.buf)
}

// All iterates over the changes in the order that [State.Merge] wants. An error ends the sequence.
func (c *Changes) All() iter.Seq2[Placement, error] {
	return func(yield func(Placement, error) bool) {
		for pair, err := range c.sorter.Sorted() {
			var p Placement
			if err == nil {
				err = p.parse(pair.Value)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Close removes what lies on disk.
func (c *Changes) Close() error { return c.sorter.Close() }
