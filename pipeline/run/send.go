package run

import (
	"context"
	"errors"
	"slices"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// sending is the loading of one batch.
type sending struct {
	loading *loading
	info    stage.Info
	resume  bool // something may have been sent already: look first
	begins  bool // what has late references is only introduced
	known   outcomes
	lost    []stage.ID // of what was introduced
	ids     map[int]stage.ID
	begin   introduction

	gathered int
	parcels  [mostStores]parcel
	settled  []spot
}

// parcel is what one store is sent at once.
type parcel struct {
	fresh []load.Item // to be sent
	doubt []load.Item // may have arrived: to be looked for first
	at    []int       // positions of fresh, then of doubt
	late  []int
}

func (p *parcel) add(position int, it load.Item, doubt bool) {
	if doubt {
		p.doubt, p.late = append(p.doubt, it), append(p.late, position)
		return
	}
	p.fresh, p.at = append(p.fresh, it), append(p.at, position)
}

// one decides about one resource: known already, held, unchanged, or to be sent; for each store that is to hold it.
func (s *sending) one(ctx context.Context, position int, sealed phi.Sealed, held bool) error {
	first := s.begin.first(position)
	waits := false
	for n, store := range s.loading.stores {
		if !store.Holds(sealed) {
			continue
		}
		at := spot{position, n}
		before, tried := s.known[at]
		if tried && (before.kind.Stored() || before.kind == load.Edited || before.kind == load.Rejected && !s.loading.rejected) {
			continue
		}
		p, there, err := s.loading.placed.Lookup(sealed.Type(), s.ids[position], store.Name())
		if err != nil {
			return err
		}
		there = there && p.Status.There()
		if !tried && there && p.Status == state.Stored && p.Digest == formDigest(s.loading.run.Pins, sealed.Digest()) {
			s.settle(at, outcome{kind: load.Unchanged, id: p.Server, version: p.Version})
			continue
		}
		if held {
			s.settle(at, outcome{kind: load.Held})
			continue
		}
		it := load.Item{Sealed: sealed, First: first}
		if there {
			it.ID, it.Version = p.Server, p.Version
		}
		if s.begins && first != nil {
			s.begin.add(n, position, it)
			delete(s.known, at) // what an earlier process knew of it says nothing about its first form
			waits = true
			continue
		}
		s.parcels[n].add(position, it, s.resume || there && p.Status == state.InDoubt)
	}
	if waits && s.begin.full() {
		if err := s.introduce(ctx); err != nil {
			return err
		}
	}
	if s.gathered++; s.gathered < sendResources {
		return nil
	}
	return s.flush(ctx)
}

// settle says what became of a resource that is not sent. It is recorded with the next flush.
func (s *sending) settle(at spot, o outcome) {
	s.known[at] = o
	s.settled = append(s.settled, at)
}

// flush sends what is gathered, to one store after the other, and makes the outcomes durable before it goes on. A store
// is not sent what the one before it did not take: a whole resource is never left without its clinical part.
func (s *sending) flush(ctx context.Context) error {
	s.gathered = 0
	spots := s.settled
	s.settled = nil
	var failure error
	refused := map[int]bool{} // by position
	for n := range s.loading.stores {
		p := s.parcels[n]
		s.parcels[n] = parcel{}
		p.without(refused)
		for _, part := range []struct {
			items   []load.Item
			at      []int
			deliver func(context.Context, []load.Item) ([]load.Outcome, error)
		}{{p.fresh, p.at, s.loading.stores[n].Send}, {p.doubt, p.late, s.loading.stores[n].Resume}} {
			if len(part.items) == 0 {
				continue
			}
			var outcomes []load.Outcome
			if failure == nil {
				outcomes, failure = part.deliver(ctx, part.items)
			}
			for i, position := range part.at {
				at := spot{position, n}
				if i < len(outcomes) && outcomes[i].Kind != load.Pending {
					s.known[at] = outcomeOf(outcomes[i])
				} else if n > 0 {
					// What the store before took, and this one was not asked for, is in doubt as a whole.
					s.known[at] = outcome{kind: load.InDoubt, code: load.CodeLost}
				} else {
					delete(s.known, at)
				}
				if o, ok := s.known[at]; ok {
					spots = append(spots, at)
					if ok && !o.kind.Stored() && o.kind != load.Edited {
						refused[position] = true
					}
				} else {
					refused[position] = true
				}
			}
		}
	}
	crash.At(crash.RunOutcomes)
	// What is recorded now must be recorded also when the operator has interrupted.
	if err := s.record(context.WithoutCancel(ctx), spots); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// without takes out what is at some positions.
func (p *parcel) without(positions map[int]bool) {
	if len(positions) == 0 {
		return
	}
	drop := func(items []load.Item, at []int) ([]load.Item, []int) {
		n := 0
		for i := range items {
			if !positions[at[i]] {
				items[n], at[n] = items[i], at[i]
				n++
			}
		}
		return items[:n], at[:n]
	}
	p.fresh, p.at = drop(p.fresh, p.at)
	p.doubt, p.late = drop(p.doubt, p.late)
}

// outcomeOf is what is kept of an outcome. Ids are kept only where they are not ours.
func outcomeOf(o load.Outcome) outcome {
	kept := outcome{kind: o.Kind, version: o.Version, replaced: o.Replaced, code: o.Code}
	if o.ID != o.Ours {
		kept.id = o.ID
	}
	return kept
}

// record writes a segment with what is known of some resources, each with all its stores.
func (s *sending) record(ctx context.Context, spots []spot) error {
	return appendOutcomes(ctx, s.loading.staged, s.info.ID, s.known, spots)
}

// appendOutcomes makes durable what is known of some resources of a batch.
func appendOutcomes(ctx context.Context, at plan.Staged, batch string, known outcomes, spots []spot) error {
	slices.SortFunc(spots, func(a, b spot) int {
		if a.position != b.position {
			return a.position - b.position
		}
		return a.store - b.store
	})
	var payload [][]byte
	for _, at := range spots {
		if o, ok := known[at]; ok {
			payload = append(payload, appendOutcome(nil, at, o))
		}
	}
	if len(payload) == 0 {
		return nil
	}
	if err := stage.AppendSegment(ctx, at.Place, at.Keys, batch, payload); err != nil {
		return err
	}
	crash.At(crash.RunSegment)
	return nil
}
