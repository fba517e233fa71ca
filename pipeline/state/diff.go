package state

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// Kind says how a run changed what of ours is in a target.
type Kind uint8

// Kinds of differences.
const (
	New     Kind = iota + 1 // the run made it
	Changed                 // the run wrote it, and an earlier one had made it
	Gone                    // it is, or may be, there, and the run had no record for it
)

// String returns the name of the kind.
func (k Kind) String() string {
	switch k {
	case New:
		return "new"
	case Changed:
		return "changed"
	case Gone:
		return "vanished"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Change is a placement that a run changed, as the state has it after the run.
type Change struct {
	Kind      Kind
	Placement Placement
}

// change is what a run did to a placement; ok is false if it left it as it was.
func (p *Placement) change(run string) (k Kind, ok bool) {
	switch {
	case p.Status != Stored && p.Status != InDoubt:
		return 0, false
	case p.Made == run:
		return New, true
	case p.Written == run:
		return Changed, true
	case p.Seen != run:
		return Gone, true
	}
	return 0, false
}

// Diff iterates over what a run changed, in order of type, id and store. scope says which placements the run would have
// had a record for if the source still had one: a run over one wave says nothing about another. It does not limit what is
// new and changed. A placement that is marked as vanished already is not named again. An error ends the sequence.
func (s *State) Diff(run string, scope func(Placement) bool) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for p, err := range s.All("") {
			if err != nil {
				yield(Change{}, err)
				return
			}
			k, ok := p.change(run)
			if !ok || k == Gone && !scope(p) {
				continue
			}
			if !yield(Change{k, p}, nil) {
				return
			}
		}
	}
}

// maxCandidates bounds how many placements are offered on each side of a group.
const maxCandidates = 256

// Candidates are placements of one patient (zero: shared resources), type and store, of which some may be the same things
// under new keys: what vanished in a run, and what it made. Each list is sorted by id.
type Candidates struct {
	Patient   stage.ID
	Type      string
	Store     string
	Gone, New []Placement
	Left      int // placements of the group that are in neither list, since there were too many to compare
}

// Candidates iterates over the groups of what a run changed (see [State.Diff]) in which something vanished and something
// is new, in order of patient, type and store. The state holds no content: the caller compares what the placements stand
// for, and [Pair] makes pairs of them. Memory is bounded; scratch is on this machine. An error ends the sequence.
func (s *State) Candidates(run string, scratch *stage.Scratch, scope func(Placement) bool) iter.Seq2[Candidates, error] {
	return func(yield func(Candidates, error) bool) {
		sorter := stage.NewSorter(scratch, sortBudget)
		err := s.sortCandidates(sorter, run, scope)
		if err == nil {
			err = groups(sorter, run, func(c Candidates) bool { return yield(c, nil) })
		}
		stopped := err == errStopped
		if stopped {
			err = nil
		}
		if err = errors.Join(err, sorter.Close()); err != nil && !stopped {
			yield(Candidates{}, err)
		}
	}
}

func (s *State) sortCandidates(sorter *stage.Sorter, run string, scope func(Placement) bool) error {
	var key, value []byte
	for c, err := range s.Diff(run, scope) {
		if err != nil {
			return err
		}
		if c.Kind == Changed {
			continue
		}
		p := &c.Placement
		key = append(append(append(key[:0], p.Patient[:]...), p.Type...), 0)
		key = append(append(append(key, p.Store...), 0), p.ID[:]...)
		value = p.append(value[:0])
		if err := sorter.Add(key, value); err != nil {
			return err
		}
	}
	return nil
}

// groups makes groups of what is sorted, and calls yield with those that have both sides.
func groups(sorter *stage.Sorter, run string, yield func(Candidates) bool) error {
	var group []byte // what the keys of the group have in common
	var c Candidates
	end := func() error {
		if len(c.Gone) > 0 && len(c.New) > 0 && !yield(c) {
			return errStopped
		}
		return nil
	}
	for pair, err := range sorter.Sorted() {
		if err != nil {
			return err
		}
		var p Placement
		if err := p.parse(pair.Value); err != nil {
			return err
		}
		if of := pair.Key[:len(pair.Key)-len(p.ID)]; !bytes.Equal(of, group) {
			if err := end(); err != nil {
				return err
			}
			group, c = append(group[:0], of...), Candidates{Patient: p.Patient, Type: p.Type, Store: p.Store}
		}
		list := &c.New
		if k, _ := p.change(run); k == Gone {
			list = &c.Gone
		}
		if len(*list) == maxCandidates {
			c.Left++
			continue
		}
		*list = append(*list, p)
	}
	return end()
}
