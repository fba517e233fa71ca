package run

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

const (
	// loaders is how many batches are loaded at once; the target itself decides how many requests it bears.
	loaders = 4
	// sendResources is how many resources are handed to the target at once. Their outcomes become durable together, so
	// after a crash at most this many per loader are in doubt.
	sendResources = 1_000
)

// batches is what loading needs of the ledger.
type batches interface {
	batchList
	claims
	StartBatch(ctx context.Context, batch string) error
	Reopen(ctx context.Context, run string) error
}

// loading is the station that sends the batches.
type loading struct {
	ledger   batches
	run      ledger.Run
	staged   plan.Staged
	program  *mapping.Program
	stores   []plan.Store
	placed   placed
	resolver *resolver
	levels   func(context.Context) error // what is done when a level is loaded, before the next; nil: nothing
	rejected bool                        // also try again what the target rejected
	markers  *markers
	progress plan.Progress
}

// placed tells what of ours is where.
type placed interface {
	Lookup(typ string, id stage.ID, store string) (state.Placement, bool, error)
}

// do sends the batches, level by level, so that what a resource refers to is there before it. What refers to a
// resource that the target did not take is held back.
func (l *loading) do(ctx context.Context) error {
	out, err := ReadExclusions(ctx, l.ledger, l.staged)
	if err != nil {
		return err
	}
	filter := ledger.BatchFilter{Open: true, Rejected: l.rejected}
	open, err := l.ledger.Batches(ctx, l.run.ID, filter)
	if err != nil {
		return err
	}
	if open, err = l.reopen(ctx, open, filter); err != nil {
		return err
	}
	var total int64
	begun, whole, ended := map[int][]ledger.Batch{}, map[int][]ledger.Batch{}, map[int][]ledger.Batch{} // by level
	deepest := 0
	for _, b := range open {
		total += b.Count
		m := l.program.Mapping(b.Mapping)
		if m == nil || !m.Late {
			whole[b.Level] = append(whole[b.Level], b)
			deepest = max(deepest, b.Level)
			continue
		}
		// A batch with late references begins at its own level, and ends when that of their targets is loaded.
		begun[b.Level] = append(begun[b.Level], b)
		if b.State != ledger.Staged {
			b.State = ledger.Loading // what the ledger counts of it is out of date once it has begun
		}
		ended[m.Completes] = append(ended[m.Completes], b)
		deepest = max(deepest, m.Completes)
	}
	l.progress.Stage("load", "resources", total)
	if len(open) > 0 {
		if err := l.markers.check(ctx, l.stores); err != nil {
			return err
		}
	}
	failed, err := l.failedBefore(ctx, out)
	if err != nil {
		return err
	}
	for level := 0; level <= deepest; level++ {
		for _, step := range []struct {
			name    string
			batches []ledger.Batch
			begins  bool
		}{{"begin", begun[level], true}, {"whole", whole[level], false}, {"end", ended[level], false}} {
			if err := l.loadStep(ctx, fmt.Sprintf("%s %d", step.name, level), step.batches, step.begins, out, failed); err != nil {
				return err
			}
		}
		if l.levels != nil && level < deepest {
			if err := l.levels(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadStep loads some batches side by side, and adds to failed what is not in the target. A batch is a task that somebody
// claims: this process's loaders today, those of several machines one day.
func (l *loading) loadStep(ctx context.Context, step string, batches []ledger.Batch, begins bool, out Exclusions, failed map[stage.ID]bool) error {
	byTask := map[string]ledger.Batch{}
	var tasks []ledger.Task
	for _, b := range batches {
		subject := l.subject(step, b)
		byTask[subject] = b
		tasks = append(tasks, ledger.Task{Kind: ledger.Load, Subject: subject, Wave: step})
	}
	if err := l.ledger.AddTasks(ctx, l.run.ID, tasks); err != nil {
		return err
	}
	var mu sync.Mutex
	var lost []stage.ID
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range min(loaders, len(tasks)) {
		p.Go(func(ctx context.Context) error {
			return claimAll(ctx, l.ledger, l.run.ID, ledger.TaskFilter{Kind: ledger.Load, Wave: &step}, func(ctx context.Context, t ledger.Task) (ledger.Report, error) {
				b, ok := byTask[t.Subject]
				if !ok { // of an earlier attempt, whose batches this one has for its own
					return ledger.Report{}, nil
				}
				report, ids, err := l.loadBatch(ctx, b, begins, out[b.ID], failed)
				mu.Lock()
				defer mu.Unlock()
				lost = append(lost, ids...)
				return report, err
			})
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	for _, id := range lost {
		failed[id] = true
	}
	return nil
}

// subject names the task of loading a batch in this attempt: what was in doubt is loaded again by the next.
func (l *loading) subject(step string, b ledger.Batch) string {
	return fmt.Sprintf("%s %s %d", step, b.ID, l.run.Resumes)
}

// reopen forgets what an earlier process of this run has verified, if something is left to load: a batch that is loaded
// further is read back as a whole again, and would count twice.
func (l *loading) reopen(ctx context.Context, open []ledger.Batch, filter ledger.BatchFilter) ([]ledger.Batch, error) {
	if len(open) == 0 {
		return open, nil
	}
	verified, err := l.ledger.Batches(ctx, l.run.ID, ledger.BatchFilter{State: ledger.Verified})
	if err != nil || len(verified) == 0 && !l.run.Reconciled {
		return open, err
	}
	if err := l.ledger.Reopen(ctx, l.run.ID); err != nil {
		return nil, err
	}
	return l.ledger.Batches(ctx, l.run.ID, filter)
}

// failedBefore lists what an earlier process of this run saw rejected, in doubt, held or deleted.
func (l *loading) failedBefore(ctx context.Context, out Exclusions) (map[stage.ID]bool, error) {
	failed := map[stage.ID]bool{}
	batches, err := l.ledger.Batches(ctx, l.run.ID, ledger.BatchFilter{State: ledger.Loaded})
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		// A batch that is tried again answers for itself, before what refers to it is sent.
		// What somebody has deleted counts among the changes that were not applied.
		if b.Outcome.Rejected+b.Outcome.InDoubt+b.Outcome.Held+b.Outcome.NotApplied == 0 || l.retries(b) {
			continue
		}
		info := infoOf(l.run.ID, b)
		known, err := outcomesOf(ctx, l.staged, b)
		if err != nil {
			return nil, err
		}
		for e, err := range stage.IndexOf(ctx, l.staged.Place, l.staged.Keys, info) {
			if err != nil {
				return nil, err
			}
			if _, excluded := out[b.ID][e.Position]; excluded {
				continue
			}
			there, err := l.there(info.Type, e.ID, known, e.Position)
			if err != nil {
				return nil, err
			}
			if !there {
				failed[e.ID] = true
			}
		}
	}
	return failed, nil
}

// retries tells whether a batch is tried again by this process.
func (l *loading) retries(b ledger.Batch) bool {
	return b.Outcome.InDoubt+b.Outcome.Held > 0 || l.rejected && b.Outcome.Rejected > 0
}

// there tells whether something lies in every store under the id of a resource that has been tried, so that what refers
// to it does not dangle: what was sent, what somebody made of it, or what an earlier run has put there.
func (l *loading) there(typ string, id stage.ID, known outcomes, position int) (bool, error) {
	some := false
	for n, store := range l.stores {
		o, ok := known[spot{position, n}]
		if !ok {
			continue
		}
		some = true
		if o.kind.Stored() || o.kind == load.Edited && o.version != "" {
			continue
		}
		if o.kind == load.Edited {
			return false, nil // it was deleted
		}
		if p, before, err := l.placed.Lookup(typ, id, store.Name()); err != nil || !before || !surely(p) {
			return false, err
		}
	}
	return some, nil
}

// loadBatch sends what is left of a batch and returns what the ledger is to record, and the ids that are not in the target. begins: what has late references
// is only introduced, and the batch is not done with it.
func (l *loading) loadBatch(ctx context.Context, b ledger.Batch, begins bool, excluded map[int]uint8, failed map[stage.ID]bool) (ledger.Report, []stage.ID, error) {
	known, err := outcomesOf(ctx, l.staged, b)
	if err != nil {
		return ledger.Report{}, nil, err
	}
	m := l.program.Mapping(b.Mapping)
	s := &sending{loading: l, info: infoOf(l.run.ID, b), known: known, begins: begins, ids: map[int]stage.ID{},
		// What was introduced is there, and is looked at before it is written over.
		resume: b.State != ledger.Staged || m != nil && m.Late && !begins}
	held := map[int]bool{}
	for e, err := range stage.IndexOf(ctx, l.staged.Place, l.staged.Keys, s.info) {
		if err != nil {
			return ledger.Report{}, nil, err
		}
		s.ids[e.Position] = e.ID
		s.begin.note(e)
		if len(failed) > 0 && slices.ContainsFunc(e.Refs, func(ref stage.Ref) bool { return failed[ref.ID] }) {
			held[e.Position] = true
		}
	}
	if err := l.ledger.StartBatch(ctx, b.ID); err != nil {
		return ledger.Report{}, nil, err
	}
	position := -1
	for sealed, err := range stage.Read(ctx, l.staged.Place, l.staged.Keys, s.info) {
		if err != nil {
			return ledger.Report{}, nil, err
		}
		position++
		if _, out := excluded[position]; out {
			continue
		}
		if err := s.one(ctx, position, sealed, held[position]); err != nil {
			return ledger.Report{}, nil, err
		}
	}
	if err := s.flush(ctx); err != nil {
		return ledger.Report{}, nil, err
	}
	if err := s.introduce(ctx); err != nil {
		return ledger.Report{}, nil, err
	}
	lost := s.lost
	for at := range s.known {
		if at.store != s.known.first(at.position) {
			continue
		}
		there, err := l.there(s.info.Type, s.ids[at.position], s.known, at.position)
		if err != nil {
			return ledger.Report{}, nil, err
		}
		if !there {
			lost = append(lost, s.ids[at.position])
		}
	}
	if begins {
		return ledger.Report{}, lost, nil
	}
	if err := stage.CompactSegments(ctx, l.staged.Place, l.staged.Keys, b.ID); err != nil {
		return ledger.Report{}, nil, err
	}
	l.progress.Add(b.Count)
	return ledger.Report{Outcomes: []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Loaded, Outcomes: s.known.counts()}}}, lost, nil
}
