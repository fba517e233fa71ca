package run

import (
	"context"
	"errors"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// merging brings what a run has loaded into the state of its target.
type merging struct {
	ledger  batchList
	run     ledger.Run
	place   stage.Place // of the run's batches
	scratch *stage.Scratch
	keys    *phi.Keyring
}

// Statuses of resources in the state of a target. The numbers are written to disk; 0 is for removal.
const (
	statusLoaded   uint8 = 1
	statusRejected uint8 = 2
	statusInDoubt  uint8 = 3
)

// into brings the state of the target up to date with the outcomes of this run. It may be done again: the same
// outcomes give the same state.
//
// It returns the new state, and the old one where nothing changed or on an error; one of the two is open.
func (m *merging) into(ctx context.Context, state *stage.State) (_ *stage.State, err error) {
	out, err := ReadExclusions(ctx, m.ledger, m.run.ID, m.place, m.keys)
	if errors.Is(err, ErrUnchecked) {
		return state, nil // nothing was loaded yet
	}
	if err != nil {
		return state, err
	}
	batches, err := m.ledger.Batches(ctx, m.run.ID, ledger.BatchFilter{})
	if err != nil {
		return state, err
	}
	sorter := stage.NewSorter(m.scratch, SortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	for _, b := range batches {
		info := infoOf(m.run.ID, b)
		known, err := outcomesOf(ctx, m.place, m.keys, b)
		if err != nil {
			return state, err
		}
		for e, err := range stage.IndexOf(ctx, m.place, m.keys, info) {
			if err != nil {
				return state, err
			}
			o, ok := known[e.Position]
			if _, excluded := out[info.ID][e.Position]; excluded || !ok || o.kind == load.Held {
				continue
			}
			status := statusInDoubt
			switch {
			case o.kind.Stored():
				status = statusLoaded
			case o.kind == load.Rejected:
				status = statusRejected
			}
			entry := stage.StateEntry{
				Type: info.Type, ID: e.ID, Patient: e.Patient, Digest: formDigest(m.run.Pins, e.Digest), Version: o.version,
				Batch: info.ID, Table: info.Table, Line: e.Line, Status: status,
			}
			if err := sorter.Add(append([]byte(info.Type+"\x00"), e.ID[:]...), entry.Append(nil)); err != nil {
				return state, err
			}
		}
	}
	merged, err := state.Merge(func(yield func(stage.StateEntry, error) bool) {
		for pair, err := range sorter.Sorted() {
			var entry stage.StateEntry
			if err == nil {
				entry, err = stage.ParseStateEntry(pair.Value)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	})
	if err != nil {
		return state, err
	}
	crash.At(crash.RunState)
	return merged, state.Close()
}
