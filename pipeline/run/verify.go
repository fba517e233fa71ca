package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/reconcile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const (
	verifiers     = 4
	readBackWave  = "batches" // of the tasks of reading batches back, as opposed to other tasks of verifying
	readResources = 200       // resources asked for at once
)

// verifications is what verification needs of the ledger.
type verifications interface {
	batchList
	claims
}

// verification is the station that reads everything back.
type verification struct {
	once      *once
	ledger    verifications
	run       ledger.Run
	staged    plan.Staged
	stores    []plan.Store
	placed    placed
	types     map[string]string // by mapping
	migration string
	live      time.Time // from when on people work in the target
	progress  plan.Progress
}

// do reads back every batch, the gravest domain first, and then looks for what should not be there.
func (s *verification) do(ctx context.Context) error {
	if err := inspect(ctx, s.staged); err != nil {
		return err
	}
	out, err := ReadExclusions(ctx, s.ledger, s.staged)
	if errors.Is(err, ErrUnchecked) {
		return nil // nothing was loaded yet
	}
	if err != nil {
		return err
	}
	batches, err := s.ledger.Batches(ctx, s.run.ID, ledger.BatchFilter{State: ledger.Loaded})
	if err != nil {
		return err
	}
	slices.SortStableFunc(batches, func(a, b ledger.Batch) int {
		return int(ledger.DomainOf(a.Type)) - int(ledger.DomainOf(b.Type))
	})
	var total int64
	for _, b := range batches {
		total += b.Outcome.Loaded + b.Outcome.Unchanged
	}
	s.progress.Stage("verify", "resources", total)
	byID := map[string]ledger.Batch{}
	var tasks []ledger.Task
	for _, b := range batches {
		byID[b.ID] = b
		tasks = append(tasks, ledger.Task{Kind: ledger.Verify, Subject: b.ID, Wave: readBackWave})
	}
	if err := s.ledger.AddTasks(ctx, s.run.ID, tasks); err != nil {
		return err
	}
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	wave := readBackWave
	for range min(verifiers, len(tasks)) {
		p.Go(func(ctx context.Context) error {
			return claimAll(ctx, s.ledger, s.run.ID, ledger.TaskFilter{Kind: ledger.Verify, Wave: &wave}, func(ctx context.Context, t ledger.Task) (ledger.Report, error) {
				b, ok := byID[t.Subject]
				if !ok {
					return ledger.Report{}, fmt.Errorf("%s is a task of this run, but not a batch that is loaded", t.Subject)
				}
				return s.batch(ctx, b, out[b.ID])
			})
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	return s.once.do(ctx, ledger.Verify, "unexpected", s.unexpected)
}

// reader reads back from the stores of the target.
func (s *verification) reader() *reconcile.Reader {
	var stores []reconcile.Store
	for _, store := range s.stores {
		stores = append(stores, store)
	}
	return reconcile.NewReader(stores, s.staged.Keys, s.live)
}

// batch reads back what the outcomes of a batch say is there, some hundred resources at a time, and returns what the ledger
// is to record.
func (s *verification) batch(ctx context.Context, b ledger.Batch, excluded map[int]uint8) (report ledger.Report, err error) {
	known, err := outcomesOf(ctx, s.staged, b)
	if err != nil {
		return report, err
	}
	reader := s.reader()
	count := ledger.VerifiedCount{Type: b.Type}
	report.Normalised = map[string]int64{}
	var sent []reconcile.Sent
	compare := func() error {
		found, err := reader.Compare(ctx, b.Type, sent)
		if err != nil {
			return err
		}
		for _, v := range found.Verdicts {
			v.Count(&count)
		}
		for rule, n := range found.Normalised {
			report.Normalised[rule] += n
		}
		report.Discrepancies = append(report.Discrepancies, found.Discrepancies...)
		sent = sent[:0]
		return nil
	}
	position := -1
	for sealed, err := range stage.Read(ctx, s.staged.Place, s.staged.Keys, infoOf(s.run.ID, b)) {
		if err != nil {
			return report, err
		}
		position++
		if _, out := excluded[position]; out {
			continue
		}
		switch o, _ := known.of(position); {
		case o.kind.Stored() || o.kind == load.Edited:
			sent = append(sent, s.written(sealed, known, position))
		case o.kind == load.Rejected:
			for n, store := range s.stores {
				if o := known[spot{position, n}]; o.kind == load.Rejected {
					d, err := reader.Rejected(sealed, store.Name(), o.code)
					if err != nil {
						return report, err
					}
					report.Discrepancies = append(report.Discrepancies, d)
				}
			}
		}
		if len(sent) == readResources {
			if err := compare(); err != nil {
				return report, err
			}
		}
	}
	if err := compare(); err != nil {
		return report, err
	}
	report.Verified = []ledger.VerifiedCount{count}
	report.Outcomes = []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Verified, Outcomes: b.Outcome}}
	s.progress.Add(b.Outcome.Loaded + b.Outcome.Unchanged)
	return report, nil
}

// written is a resource with what its outcomes say of each store.
func (s *verification) written(sealed phi.Sealed, known outcomes, position int) reconcile.Sent {
	sent := reconcile.Sent{Sealed: sealed}
	for n, store := range s.stores {
		o := known[spot{position, n}]
		w := reconcile.Written{
			Version: o.version, ID: o.id, Edited: o.kind == load.Edited,
			// What an earlier run sent has the ciphertext of that run; the same content was sealed anew for this one.
			Exact: o.kind == load.Created || o.kind == load.Updated,
		}
		if o.id != "" {
			it := load.Item{Sealed: sealed, ID: o.id}
			w.Ours = func(got *fhir.Node) (*fhir.Node, error) { return store.Ours(it, got) }
		}
		sent.In = append(sent.In, w)
	}
	return sent
}

// unexpected lists what carries this migration's mark in a store and is not in the state of the target.
func (s *verification) unexpected(ctx context.Context) (ledger.Report, error) {
	var report ledger.Report
	types := map[string]bool{}
	for _, typ := range s.types {
		types[typ] = true
	}
	for _, typ := range fhir.Resources() {
		if !types[typ] {
			continue
		}
		count := ledger.VerifiedCount{Type: typ}
		for _, store := range s.stores {
			for x, err := range store.List(ctx, typ, s.migration) {
				if err != nil {
					return report, fmt.Errorf("list %s: %w", typ, err)
				}
				ours, err := s.ours(typ, store.Name(), x)
				if err != nil {
					return report, err
				}
				if !ours {
					count.Unexpected++
					report.Discrepancies = append(report.Discrepancies, ledger.Discrepancy{Kind: ledger.Unexpected, Type: typ, ID: x.ID, Path: store.Name(), Code: "not-in-state"})
				}
			}
		}
		report.Verified = append(report.Verified, count)
	}
	return report, nil
}

// ours tells whether a resource that a store lists is one that we know of, under the id by which we know it.
func (s *verification) ours(typ, store string, x load.Listed) (bool, error) {
	id, ok := mapping.ParseID(x.Ours)
	if !ok {
		return false, nil
	}
	p, there, err := s.placed.Lookup(typ, stage.ID(id), store)
	if err != nil || !there {
		return false, err
	}
	return p.Server == x.ID || p.Server == "" && x.ID == x.Ours, nil
}
