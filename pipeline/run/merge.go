package run

import (
	"context"
	"errors"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// states is what merging needs of the ledger.
type states interface {
	batchList
	SetStateOf(ctx context.Context, run, target string, generation int64, digest string, entries int64) error
}

// merging brings what a run has loaded into the state of its target.
type merging struct {
	ledger states
	run    ledger.Run
	staged plan.Staged
	names  []string // of the target's stores, in order
}

// into brings the state of the target up to date with the outcomes of this run. It may be done again: the same outcomes
// give the same state.
//
// It returns the new state, and the old one where nothing changed or on an error; one of the two is open.
func (m *merging) into(ctx context.Context, old *state.State) (_ *state.State, err error) {
	out, err := ReadExclusions(ctx, m.ledger, m.staged)
	if errors.Is(err, ErrUnchecked) {
		return old, nil // nothing was loaded yet
	}
	if err != nil {
		return old, err
	}
	batches, err := m.ledger.Batches(ctx, m.run.ID, ledger.BatchFilter{})
	if err != nil {
		return old, err
	}
	changes := state.NewChanges(m.staged.Scratch, SortBudget)
	defer func() { err = errors.Join(err, changes.Close()) }()
	refused := map[stage.ID]bool{}
	for _, b := range batches {
		if err := m.batch(ctx, b, out[b.ID], refused, changes); err != nil {
			return old, err
		}
	}
	return m.apply(ctx, old, changes)
}

// apply merges changes and tells the ledger of the new generation.
func (m *merging) apply(ctx context.Context, old *state.State, changes *state.Changes) (*state.State, error) {
	merged, err := old.Merge(ctx, m.run.ID, m.staged.Scratch, changes.All())
	if err != nil {
		return old, err
	}
	crash.At(crash.RunState)
	known := merged.Known()
	if err := m.ledger.SetStateOf(ctx, m.run.ID, m.run.Target, known.Generation, known.Digest, merged.Len()); err != nil {
		return merged, errors.Join(err, old.Close())
	}
	return merged, old.Close()
}

// batch adds what the outcomes of a batch say about each of its resources.
// Refused gathers the ids of what was taken out for a reference to nothing: several records may have one.
func (m *merging) batch(ctx context.Context, b ledger.Batch, excluded map[int]uint8, refused map[stage.ID]bool, changes *state.Changes) error {
	info := infoOf(m.run.ID, b)
	known, err := outcomesOf(ctx, m.staged, b)
	if err != nil {
		return err
	}
	for e, err := range stage.IndexOf(ctx, m.staged.Place, m.staged.Keys, info) {
		if err != nil {
			return err
		}
		reason, out := excluded[e.Position]
		if out && (reason != ExcludedMissing || refused[e.ID]) {
			continue // another record has the id
		}
		if out {
			refused[e.ID] = true
		}
		for n, name := range m.names {
			p := state.Placement{
				Store: name, Type: info.Type, ID: e.ID, Patient: e.Patient, Seen: m.run.ID, Status: state.Kept,
				Wave: info.Wave, Table: info.Table, Line: e.Line,
			}
			o, tried := known[spot{e.Position, n}]
			if !out && tried {
				m.tell(&p, o, formDigest(m.run.Pins, e.Digest), info.ID, e.Position)
			}
			if err := changes.Add(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell says in a change what an outcome says of a resource.
func (m *merging) tell(p *state.Placement, o outcome, digest [16]byte, batch string, position int) {
	p.Batch, p.Position, p.Digest, p.Server, p.Version, p.Replaced = batch, int64(position), digest, o.id, o.version, o.replaced
	switch o.kind {
	case load.Created, load.Updated:
		p.Written, p.Status = m.run.ID, state.Stored
	case load.InDoubt:
		p.Written, p.Status = m.run.ID, state.InDoubt
	case load.Unchanged: // written only if something else was there by what we knew
		p.Status = state.Stored
	case load.Rejected:
		p.Written, p.Status = m.run.ID, state.Rejected
	}
}
