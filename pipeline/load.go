package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const (
	// loaders is how many batches are loaded at once; the target itself decides how many requests it bears.
	loaders = 4
	// sendResources is how many resources are handed to the target at once. Their outcomes become durable together, so
	// after a crash at most this many per loader are in doubt.
	sendResources = 1_000
)

// load sends the batches, level by level, so that what a resource refers to is there before it. What refers to a
// resource that the target did not take is held back. At the end the outcomes are merged into the state of the target.
func (r *runner) load(ctx context.Context) error {
	out, err := r.exclusions(ctx, r.run.ID)
	if err != nil {
		return err
	}
	filter := ledger.BatchFilter{Open: true, Rejected: r.options.Rejected}
	open, err := r.Ledger.Batches(ctx, r.run.ID, filter)
	if err != nil {
		return err
	}
	if open, err = r.reopen(ctx, open, filter); err != nil {
		return err
	}
	var total int64
	begun, whole, ended := map[int][]ledger.Batch{}, map[int][]ledger.Batch{}, map[int][]ledger.Batch{} // by level
	deepest := 0
	for _, b := range open {
		total += b.Count
		m := r.mapping(b.Mapping)
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
	r.Session.options.Progress.Stage("load", "resources", total)
	if len(open) > 0 {
		if err := r.checkMarkers(ctx, r.target); err != nil {
			return err
		}
	}
	failed, err := r.failedBefore(ctx, out)
	if err != nil {
		return err
	}
	for level := 0; level <= deepest; level++ {
		for _, step := range []struct {
			batches []ledger.Batch
			begins  bool
		}{{begun[level], true}, {whole[level], false}, {ended[level], false}} {
			if err := r.loadStep(ctx, step.batches, step.begins, out, failed); err != nil {
				return err
			}
		}
	}
	return r.mergeState(ctx)
}

// loadStep loads some batches side by side, and adds to failed what is not in the target.
func (r *runner) loadStep(ctx context.Context, batches []ledger.Batch, begins bool, out exclusions, failed map[stage.ID]bool) error {
	p := pool.NewWithResults[[]stage.ID]().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(loaders)
	for _, b := range batches {
		p.Go(func(ctx context.Context) ([]stage.ID, error) { return r.loadBatch(ctx, b, begins, out[b.ID], failed) })
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
func (r *runner) reopen(ctx context.Context, open []ledger.Batch, filter ledger.BatchFilter) ([]ledger.Batch, error) {
	if len(open) == 0 {
		return open, nil
	}
	verified, err := r.Ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{State: ledger.Verified})
	if err != nil || len(verified) == 0 && !r.run.Reconciled {
		return open, err
	}
	if err := r.Ledger.Reopen(ctx, r.run.ID); err != nil {
		return nil, err
	}
	return r.Ledger.Batches(ctx, r.run.ID, filter)
}

// failedBefore lists what an earlier process of this run saw rejected, in doubt or held.
func (r *runner) failedBefore(ctx context.Context, out exclusions) (map[stage.ID]bool, error) {
	failed := map[stage.ID]bool{}
	batches, err := r.Ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{State: ledger.Loaded})
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		// A batch that is tried again answers for itself, before what refers to it is sent.
		if b.Outcome.Rejected+b.Outcome.InDoubt+b.Outcome.Held == 0 || r.retries(b) {
			continue
		}
		info := infoOf(r.run.ID, b)
		known, err := outcomesOf(r.dir, b)
		if err != nil {
			return nil, err
		}
		for e, err := range stage.IndexOf(r.dir, info) {
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
func (r *runner) retries(b ledger.Batch) bool {
	return b.Outcome.InDoubt+b.Outcome.Held > 0 || r.options.Rejected && b.Outcome.Rejected > 0
}

// outcome is what is known of one resource of a batch, as kept in its segments.
type outcome struct {
	kind    load.Kind
	version string
	code    string
}

// appendOutcome writes position, kind, version and code.
func appendOutcome(dst []byte, position int, o outcome) []byte {
	dst = binary.AppendUvarint(dst, uint64(position))
	dst = append(dst, byte(o.kind))
	dst = binary.AppendUvarint(dst, uint64(len(o.version)))
	dst = append(dst, o.version...)
	return append(dst, o.code...)
}

var errSegment = errors.New("an outcome segment cannot be read")

// outcomesOf reads what is known of a batch and holds it against the ledger: a segment that is gone from the end leaves
// no gap by itself.
func outcomesOf(dir string, b ledger.Batch) (map[int]outcome, error) {
	known, err := readOutcomes(dir, b.ID)
	if err != nil || b.State != ledger.Loaded && b.State != ledger.Verified {
		return known, err
	}
	var s sending
	for _, o := range known {
		s.tally(o)
	}
	if s.counts != b.Outcome {
		return nil, &stage.Damage{File: b.ID + ".out", What: "the outcomes in its segments are not those that the ledger counts"}
	}
	return known, nil
}

// readOutcomes reads what is known of a batch, by position; a later segment replaces an earlier one.
func readOutcomes(dir, batch string) (map[int]outcome, error) {
	known := map[int]outcome{}
	for b, err := range stage.Segments(dir, batch) {
		if err != nil {
			return nil, err
		}
		position, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+2 {
			return nil, fmt.Errorf("batch %s: %w", batch, errSegment)
		}
		kind := load.Kind(b[n])
		b = b[n+1:]
		size, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < size {
			return nil, fmt.Errorf("batch %s: %w", batch, errSegment)
		}
		known[int(position)] = outcome{kind, string(b[n : n+int(size)]), string(b[n+int(size):])}
	}
	return known, nil
}

// sending is the loading of one batch.
type sending struct {
	*runner
	info    stage.Info
	resume  bool // something may have been sent already: look first
	known   map[int]outcome
	counts  ledger.Outcomes
	lost    []stage.ID
	pending []load.Item
	places  []int // positions of pending
	ids     map[int]stage.ID
	begins  bool // what has late references is only introduced
	begin   introduction
}

// loadBatch sends what is left of a batch and answers the ids that are not in the target. begins: what has late references
// is only introduced, and the batch is not done with it.
func (r *runner) loadBatch(ctx context.Context, b ledger.Batch, begins bool, excluded map[int]uint8, failed map[stage.ID]bool) ([]stage.ID, error) {
	known, err := outcomesOf(r.dir, b)
	if err != nil {
		return nil, err
	}
	s := &sending{runner: r, info: infoOf(r.run.ID, b), known: known, resume: b.State != ledger.Staged, begins: begins, ids: map[int]stage.ID{}}
	if m := r.mapping(b.Mapping); m != nil && m.Late && !begins {
		s.resume = true // what was introduced is there, and is looked at before it is written over
	}
	held := map[int]bool{}
	for e, err := range stage.IndexOf(r.dir, s.info) {
		if err != nil {
			return nil, err
		}
		s.ids[e.Position] = e.ID
		s.begin.note(e)
		if len(failed) > 0 && slices.ContainsFunc(e.Refs, func(ref stage.Ref) bool { return failed[ref.ID] }) {
			held[e.Position] = true
		}
	}
	if err := r.Ledger.StartBatch(ctx, b.ID); err != nil {
		return nil, err
	}
	position := -1
	for sealed, err := range stage.Read(r.dir, r.keys, s.info) {
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
	r.Session.options.Progress.Add(b.Count)
	if err := r.Ledger.Record(ctx, r.run.ID, report); err != nil {
		return nil, err
	}
	crash.At(crash.RunBatch)
	return s.lost, nil
}

func (s *sending) count(position int, o outcome) {
	s.tally(o)
	if !o.kind.Stored() {
		s.lost = append(s.lost, s.ids[position])
	}
}

func (s *sending) tally(o outcome) {
	switch o.kind {
	case load.Created, load.Updated:
		s.counts.Loaded++
	case load.Unchanged:
		s.counts.Unchanged++
	case load.Rejected:
		s.counts.Rejected++
	case load.Held:
		s.counts.Held++
	default:
		s.counts.InDoubt++
	}
}

// one decides about one resource: known already, held, unchanged, or to be sent.
func (s *sending) one(ctx context.Context, position int, sealed phi.Sealed, held bool) error {
	before, tried := s.known[position]
	if tried && (before.kind.Stored() || before.kind == load.Rejected && !s.options.Rejected) {
		return nil
	}
	if held {
		return s.settle(ctx, position, outcome{kind: load.Held})
	}
	item := load.Item{Sealed: sealed}
	known, there, err := s.state.Lookup(sealed.Type(), s.ids[position])
	if err != nil {
		return err
	}
	if there && known.Status == statusLoaded {
		item.Version = known.Version
	}
	if !tried {
		if there && known.Digest == formDigest(s.run.Pins, sealed.Digest()) && known.Status == statusLoaded {
			return s.settle(ctx, position, outcome{kind: load.Unchanged, version: known.Version})
		}
	}
	item.First = s.begin.first(position)
	if s.begins && item.First != nil {
		return s.postpone(ctx, position, item)
	}
	s.pending = append(s.pending, item)
	s.places = append(s.places, position)
	return s.flushIfFull(ctx)
}

// settle says what became of a resource that is not sent. It is recorded with the next flush.
func (s *sending) settle(ctx context.Context, position int, o outcome) error {
	s.known[position] = o
	s.places = append(s.places, position)
	s.pending = append(s.pending, load.Item{})
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
	var send []load.Item
	var places []int
	for i, item := range s.pending {
		if !item.Sealed.IsZero() {
			send, places = append(send, item), append(places, s.places[i])
		}
	}
	var failure error
	if len(send) > 0 {
		deliver := s.target.Send
		if s.resume {
			deliver = s.target.Resume
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
	if err := s.record(all); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// record writes a segment with what is known of the positions.
func (s *sending) record(positions []int) error {
	var payload [][]byte
	for _, p := range positions {
		if o, ok := s.known[p]; ok {
			payload = append(payload, appendOutcome(nil, p, o))
		}
	}
	if len(payload) == 0 {
		return nil
	}
	if err := stage.AppendSegment(s.dir, s.info.ID, payload); err != nil {
		return err
	}
	crash.At(crash.RunSegment)
	return nil
}

// Statuses of resources in the state of a target. The numbers are written to disk; 0 is for removal.
const (
	statusLoaded   uint8 = 1
	statusRejected uint8 = 2
	statusInDoubt  uint8 = 3
)

// mergeState brings the state of the target up to date with the outcomes of this run. It may be done again: the same
// outcomes give the same state.
func (r *runner) mergeState(ctx context.Context) (err error) {
	out, err := r.exclusions(ctx, r.run.ID)
	if errors.Is(err, errUnchecked) {
		return nil // nothing was loaded yet
	}
	if err != nil {
		return err
	}
	batches, err := r.Ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{})
	if err != nil {
		return err
	}
	sorter := stage.NewSorter(r.dir, sortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	for _, b := range batches {
		info := infoOf(r.run.ID, b)
		known, err := outcomesOf(r.dir, b)
		if err != nil {
			return err
		}
		for e, err := range stage.IndexOf(r.dir, info) {
			if err != nil {
				return err
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
				Type: info.Type, ID: e.ID, Patient: e.Patient, Digest: formDigest(r.run.Pins, e.Digest), Version: o.version,
				Batch: info.ID, Table: info.Table, Line: e.Line, Status: status,
			}
			if err := sorter.Add(append([]byte(info.Type+"\x00"), e.ID[:]...), entry.Append(nil)); err != nil {
				return err
			}
		}
	}
	state, err := r.state.Merge(func(yield func(stage.StateEntry, error) bool) {
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
		return err
	}
	crash.At(crash.RunState)
	before := r.state
	r.state = state
	return before.Close()
}
