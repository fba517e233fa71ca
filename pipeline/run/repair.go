package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/reconcile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Repairable are the kinds of discrepancies that a repair can send again.
var Repairable = []ledger.Kind{ledger.Missing, ledger.Different}

// Repaired says what a repair has done, or would do, by type.
type Repaired struct {
	Run string `json:"run"`
	// Sent are the resources that were sent again; of a dry repair those that would be.
	Sent map[string]int64 `json:"sent"`
	// Edited were changed in the target by somebody since our last write: they are left as they are.
	Edited map[string]int64 `json:"edited"`
	// There are in the target as they were sent, by now.
	There map[string]int64 `json:"there"`
	// Refused are those that the target would not take, or about which nothing is known. They stay discrepancies.
	Refused map[string]int64 `json:"refused"`
}

// Repair sends again, out of the batches of the latest run that loaded anything, what reading back found to be of the
// given kinds: missing, or different although nobody has changed it. What somebody has changed is never touched; whether
// that is so is looked up again before anything is sent. Then everything is read back anew. A dry repair sends nothing,
// changes nothing, and returns no account. The session is opened with Keys and Write.
func Repair(ctx context.Context, s *plan.Session, kinds []ledger.Kind, dry bool) (*Repaired, *ledger.Summary, error) {
	for _, k := range kinds {
		if !slices.Contains(Repairable, k) {
			return nil, nil, plan.Usagef("a repair sends again what is missing or different, not what is %s", k)
		}
	}
	e, err := reopen(ctx, s, "")
	if err != nil {
		return nil, nil, err
	}
	// A partial run that has read everything back may wait for nothing but what is lost.
	if !e.run.State.Ended() && !(e.run.State == ledger.Partial && e.run.Reconciled) {
		return nil, nil, errors.Join(plan.Usagef("%s has not ended: `chartlift run` goes on with it", e.run.ID), e.state.Close())
	}
	r := &repairing{ledger: s.Ledger, run: e.run, staged: e.staged, stores: e.target.Stores, placed: e, kinds: kinds, dry: dry, progress: s.Progress,
		done: Repaired{Run: e.run.ID, Sent: map[string]int64{}, Edited: map[string]int64{}, There: map[string]int64{}, Refused: map[string]int64{}}}
	err = r.do(ctx)
	if dry {
		s.Progress.Done()
		return &r.done, nil, errors.Join(err, e.state.Close())
	}
	// What was sent must be known, also when the target failed on the way.
	if merged := e.merge(context.WithoutCancel(ctx)); merged != nil || err != nil {
		s.Progress.Done()
		return &r.done, nil, errors.Join(err, merged, e.state.Close())
	}
	if err := s.Ledger.Append(ctx, "repair", fmt.Sprintf("%s, %s: %d resources sent again", e.run.ID, joinKinds(kinds), total(r.done.Sent))); err != nil {
		return &r.done, nil, errors.Join(err, e.state.Close())
	}
	summary, err := e.readBack(ctx)
	return &r.done, summary, err
}

func joinKinds(kinds []ledger.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, " and ")
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// repairs is what repairing needs of the ledger.
type repairs interface {
	batchList
	StartBatch(ctx context.Context, batch string) error
	Record(ctx context.Context, run string, report ledger.Report) error
	Discrepancies(ctx context.Context, run string) iter.Seq2[ledger.Discrepancy, error]
}

// repairing sends again what was found missing or different.
type repairing struct {
	ledger   repairs
	run      ledger.Run
	staged   plan.Staged
	stores   []plan.Store
	placed   placed
	kinds    []ledger.Kind
	dry      bool
	done     Repaired
	progress plan.Progress
}

type resourceID struct {
	typ string
	id  stage.ID
}

func (r *repairing) do(ctx context.Context) error {
	wanted := map[resourceID]bool{} // grows with the discrepancies
	for d, err := range r.ledger.Discrepancies(ctx, r.run.ID) {
		if err != nil {
			return err
		}
		id, ok := mapping.ParseID(d.ID)
		if ok && slices.Contains(r.kinds, d.Kind) && !strings.HasSuffix(d.Code, reconcile.ByOther) {
			wanted[resourceID{d.Type, stage.ID(id)}] = true
		}
	}
	list, err := r.ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{})
	if err != nil {
		return err
	}
	out, err := ReadExclusions(ctx, r.ledger, r.staged)
	if err != nil {
		return err
	}
	// What others refer to goes first.
	slices.SortStableFunc(list, func(a, b ledger.Batch) int { return cmp.Compare(a.Level, b.Level) })
	r.progress.Stage("repair", "resources", int64(len(wanted)))
	for _, b := range list {
		var at []int
		if len(wanted) > 0 {
			for e, err := range stage.IndexOf(ctx, r.staged.Place, r.staged.Keys, infoOf(r.run.ID, b)) {
				if err != nil {
					return err
				}
				if _, excluded := out[b.ID][e.Position]; !excluded && wanted[resourceID{b.Type, e.ID}] {
					at = append(at, e.Position)
				}
			}
		}
		// A batch that is loading is one that an earlier repair was killed over.
		if len(at) == 0 && (b.State != ledger.Loading || r.dry) {
			continue
		}
		if err := r.batch(ctx, b, at); err != nil {
			return err
		}
	}
	return nil
}

// batch repairs some resources of a batch.
func (r *repairing) batch(ctx context.Context, b ledger.Batch, at []int) error {
	known, err := outcomesOf(ctx, r.staged, b)
	if err != nil {
		return err
	}
	var sealed []phi.Sealed
	for s, err := range stage.Pick(ctx, r.staged.Place, r.staged.Keys, infoOf(r.run.ID, b), at) {
		if err != nil {
			return err
		}
		sealed = append(sealed, s)
	}
	if !r.dry {
		if err := r.ledger.StartBatch(ctx, b.ID); err != nil {
			return err
		}
	}
	var spots []spot
	var failure error
	fates := make([]fate, len(at))
	for n := range r.stores {
		if failure == nil {
			var more []spot
			more, failure = r.store(ctx, n, b.Type, at, sealed, known, fates)
			spots = append(spots, more...)
		}
	}
	for _, f := range fates {
		switch f {
		case sentAgain:
			r.done.Sent[b.Type]++
		case leftEdited:
			r.done.Edited[b.Type]++
		case refusedAgain:
			r.done.Refused[b.Type]++
		case foundThere:
			r.done.There[b.Type]++
		}
	}
	r.progress.Add(int64(len(at)))
	if r.dry {
		return failure
	}
	durable := context.WithoutCancel(ctx)
	if err := appendOutcomes(durable, r.staged, b.ID, known, spots); err != nil {
		return errors.Join(failure, err)
	}
	return errors.Join(failure, r.ledger.Record(durable, r.run.ID, ledger.Report{
		Outcomes: []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Loaded, Outcomes: known.counts()}}}))
}

// fate is what became of one resource over all stores; the heavier outweighs.
type fate uint8

const (
	foundThere fate = iota + 1
	sentAgain
	leftEdited
	refusedAgain
)

// store looks at what one store holds of some resources, and sends it those that are missing or not as they were sent.
func (r *repairing) store(ctx context.Context, n int, typ string, at []int, sealed []phi.Sealed, known outcomes, fates []fate) ([]spot, error) {
	store := r.stores[n]
	var ids []string
	var of []int // places in sealed
	for i, s := range sealed {
		if store.Holds(s) {
			ids, of = append(ids, cmp.Or(known[spot{at[i], n}].id, s.ID())), append(of, i)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := store.Read(ctx, typ, ids)
	if err != nil {
		return nil, err
	}
	var items []load.Item
	var to []int
	for k, i := range of {
		o := known[spot{at[i], n}]
		it := load.Item{Sealed: sealed[i], ID: o.id}
		f := refusedAgain // nobody knows what is there
		if k < len(found) {
			if f, err = r.decide(store, &it, o, found[k]); err != nil {
				return nil, err
			}
		}
		if f == sentAgain && !r.dry {
			items, to = append(items, it), append(to, i)
			continue
		}
		fates[i] = max(fates[i], f)
	}
	if len(items) == 0 {
		return nil, nil
	}
	outcomes, err := store.Send(ctx, items)
	var spots []spot
	for k, o := range outcomes {
		i := to[k]
		where := spot{at[i], n}
		switch {
		case o.Kind.Stored():
			known[where] = outcomeOf(o)
			spots = append(spots, where)
			fates[i] = max(fates[i], sentAgain)
		case o.Kind == load.Edited:
			fates[i] = max(fates[i], leftEdited)
		default:
			fates[i] = max(fates[i], refusedAgain)
		}
	}
	return spots, err
}

// decide says what to do about a resource by what a store holds of it now, and completes what is sent: over nothing, or
// over the very version that we wrote last.
func (r *repairing) decide(store plan.Store, it *load.Item, o outcome, f load.Found) (fate, error) {
	switch f.Status {
	case load.Missing, load.Gone:
		if slices.Contains(r.kinds, ledger.Missing) {
			return sentAgain, nil
		}
		return foundThere, nil
	case load.Present:
	default:
		return refusedAgain, nil
	}
	same, err := r.same(store, *it, f)
	switch {
	case err != nil:
		return 0, err
	case same:
		return foundThere, nil
	case o.version == "" || f.Version != o.version:
		return leftEdited, nil
	case !slices.Contains(r.kinds, ledger.Different):
		return foundThere, nil
	}
	it.Version = o.version
	return sentAgain, nil
}

// same tells whether a store holds exactly what it would be sent.
func (r *repairing) same(store plan.Store, it load.Item, f load.Found) (bool, error) {
	form, err := store.Form(it, nil)
	if err != nil {
		return false, nil // a reference of it leads nowhere any more, so it is not what is there
	}
	sent, err := fhir.Parse(form)
	if err != nil {
		return false, fmt.Errorf("%s: a staged resource is not JSON: %w", it.Sealed.Place(), err)
	}
	got, err := fhir.Parse(f.Body)
	return err == nil && load.SameAsSent(sent, got), nil
}
