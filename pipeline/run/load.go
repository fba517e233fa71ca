package run

import (
	"context"
	"errors"
	"slices"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
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
	StartBatch(ctx context.Context, batch string) error
	Record(ctx context.Context, run string, report ledger.Report) error
	Reopen(ctx context.Context, run string) error
}

// loading is the station that sends the batches.
type loading struct {
	ledger   batches
	run      ledger.Run
	place    stage.Place // of the run's batches
	keys     *phi.Keyring
	program  *mapping.Program
	target   load.Target
	state    *stage.State
	rejected bool // also try again what the target rejected
	markers  *markers
	progress plan.Progress
}

// do sends the batches, level by level, so that what a resource refers to is there before it. What refers to a
// resource that the target did not take is held back.
func (l *loading) do(ctx context.Context) error {
	out, err := ReadExclusions(ctx, l.ledger, l.run.ID, l.place, l.keys)
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
		if err := l.markers.check(ctx, l.target); err != nil {
			return err
		}
	}
	failed, err := l.failedBefore(ctx, out)
	if err != nil {
		return err
	}
	for level := 0; level <= deepest; level++ {
		for _, step := range []struct {
			batches []ledger.Batch
			begins  bool
		}{{begun[level], true}, {whole[level], false}, {ended[level], false}} {
			if err := l.loadStep(ctx, step.batches, step.begins, out, failed); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadStep loads some batches side by side, and adds to failed what is not in the target.
func (l *loading) loadStep(ctx context.Context, batches []ledger.Batch, begins bool, out Exclusions, failed map[stage.ID]bool) error {
	p := pool.NewWithResults[[]stage.ID]().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(loaders)
	for _, b := range batches {
		p.Go(func(ctx context.Context) ([]stage.ID, error) { return l.loadBatch(ctx, b, begins, out[b.ID], failed) })
	}
	lost, err := p.Wait()
	if err != nil {
		return err
	}
	for _, ids := range lost {
		for _, id := range ids {
			failed[id] = true
		}
	}
	return nil
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

// failedBefore lists what an earlier process of this run saw rejected, in doubt or held.
func (l *loading) failedBefore(ctx context.Context, out Exclusions) (map[stage.ID]bool, error) {
	failed := map[stage.ID]bool{}
	batches, err := l.ledger.Batches(ctx, l.run.ID, ledger.BatchFilter{State: ledger.Loaded})
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		// A batch that is tried again answers for itself, before what refers to it is sent.
		if b.Outcome.Rejected+b.Outcome.InDoubt+b.Outcome.Held == 0 || l.retries(b) {
			continue
		}
		info := infoOf(l.run.ID, b)
		known, err := outcomesOf(ctx, l.place, l.keys, b)
		if err != nil {
			return nil, err
		}
		for e, err := range stage.IndexOf(ctx, l.place, l.keys, info) {
			if err != nil {
				return nil, err
			}
			if _, excluded := out[b.ID][e.Position]; !excluded && !known[e.Position].kind.Stored() {
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

// sending is the loading of one batch.
type sending struct {
	loading *loading
	info    stage.Info
	resume  bool // something may have been sent already: look first
	known   map[int]outcome
	counts  ledger.Outcomes
	lost    []stage.ID
	pending []phi.Sealed
	places  []int // positions of pending
	ids     map[int]stage.ID
	begin   introduction
}

// loadBatch sends what is left of a batch and answers the ids that are not in the target. begins: what has late references
// is only introduced, and the batch is not done with it.
func (l *loading) loadBatch(ctx context.Context, b ledger.Batch, begins bool, excluded map[int]uint8, failed map[stage.ID]bool) ([]stage.ID, error) {
	known, err := outcomesOf(ctx, l.place, l.keys, b)
	if err != nil {
		return nil, err
	}
	s := &sending{loading: l, info: infoOf(l.run.ID, b), known: known, resume: b.State != ledger.Staged, ids: map[int]stage.ID{}}
	held := map[int]bool{}
	for e, err := range stage.IndexOf(ctx, l.place, l.keys, s.info) {
		if err != nil {
			return nil, err
		}
		s.ids[e.Position] = e.ID
		if begins {
			s.begin.note(e)
		}
		if len(failed) > 0 && slices.ContainsFunc(e.Refs, func(ref stage.Ref) bool { return failed[ref.ID] }) {
			held[e.Position] = true
		}
	}
	if err := l.ledger.StartBatch(ctx, b.ID); err != nil {
		return nil, err
	}
	position := -1
	for sealed, err := range stage.Read(ctx, l.place, l.keys, s.info) {
		if err != nil {
			return nil, err
		}
		position++
		if _, out := excluded[position]; out {
			continue
		}
		if err := s.one(ctx, position, sealed, held[position]); err != nil {
			return nil, err
		}
	}
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	if err := s.introduce(ctx); err != nil {
		return nil, err
	}
	for position, o := range s.known {
		s.count(position, o)
	}
	if begins {
		return s.lost, nil
	}
	report := ledger.Report{Outcomes: []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Loaded, Outcomes: s.counts}}}
	l.progress.Add(b.Count)
	if err := l.ledger.Record(ctx, l.run.ID, report); err != nil {
		return nil, err
	}
	crash.At(crash.RunBatch)
	return s.lost, nil
}

func (s *sending) count(position int, o outcome) {
	tally(&s.counts, o)
	if !o.kind.Stored() {
		s.lost = append(s.lost, s.ids[position])
	}
}

// one decides about one resource: known already, held, unchanged, or to be sent.
func (s *sending) one(ctx context.Context, position int, sealed phi.Sealed, held bool) error {
	before, tried := s.known[position]
	if tried && (before.kind.Stored() || before.kind == load.Rejected && !s.loading.rejected) {
		return nil
	}
	if held {
		return s.settle(ctx, position, outcome{kind: load.Held})
	}
	if !tried {
		known, there, err := s.loading.state.Lookup(sealed.Type(), s.ids[position])
		if err != nil {
			return err
		}
		if there && known.Digest == formDigest(s.loading.run.Pins, sealed.Digest()) && known.Status == statusLoaded {
			return s.settle(ctx, position, outcome{kind: load.Unchanged, version: known.Version})
		}
	}
	if s.begin.late[position] != nil {
		return s.postpone(ctx, position, sealed)
	}
	s.pending = append(s.pending, sealed)
	s.places = append(s.places, position)
	return s.flushIfFull(ctx)
}

// settle says what became of a resource that is not sent. It is recorded with the next flush.
func (s *sending) settle(ctx context.Context, position int, o outcome) error {
	s.known[position] = o
	s.places = append(s.places, position)
	s.pending = append(s.pending, phi.Sealed{})
	return s.flushIfFull(ctx)
}

func (s *sending) flushIfFull(ctx context.Context) error {
	if len(s.pending) < sendResources {
		return nil
	}
	return s.flush(ctx)
}

// flush sends what is gathered and makes the outcomes durable before it goes on.
func (s *sending) flush(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	var send []phi.Sealed
	var places []int
	for i, sealed := range s.pending {
		if !sealed.IsZero() {
			send, places = append(send, sealed), append(places, s.places[i])
		}
	}
	var failure error
	if len(send) > 0 {
		deliver := s.loading.target.Send
		if s.resume {
			deliver = s.loading.target.Resume
		}
		outcomes, err := deliver(ctx, send)
		failure = err
		for i, o := range outcomes {
			if o.Kind != load.Pending {
				s.known[places[i]] = outcome{o.Kind, o.Version, o.Code}
			}
		}
	}
	crash.At(crash.RunOutcomes)
	all := s.places
	s.pending, s.places = s.pending[:0], nil
	// Also when the run was interrupted meanwhile: what is known must not be lost.
	if err := s.record(context.WithoutCancel(ctx), all); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// record writes a segment with what is known of the positions.
func (s *sending) record(ctx context.Context, positions []int) error {
	var payload [][]byte
	for _, p := range positions {
		if o, ok := s.known[p]; ok {
			payload = append(payload, appendOutcome(nil, p, o))
		}
	}
	if len(payload) == 0 {
		return nil
	}
	if err := stage.AppendSegment(ctx, s.loading.place, s.loading.keys, s.info.ID, payload); err != nil {
		return err
	}
	crash.At(crash.RunSegment)
	return nil
}
