package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const (
	verifiers     = 4
	readResources = 200 // resources asked for at once
	// mostDifferences bounds how many elements of one resource are listed: beyond it the resource is simply another.
	mostDifferences = 20
)

// Reconcile reads back everything that a run loaded, compares it, and closes the account anew. run "" is the latest
// that loaded anything.
func (s *Session) Reconcile(ctx context.Context, id string) (*ledger.Summary, error) {
	run, err := s.runOf(ctx, id, ledger.Real)
	if err != nil {
		return nil, err
	}
	target, err := s.openTarget(ctx)
	if err != nil {
		return nil, err
	}
	if sent := run.Pins["delivery"]; sent != s.Plan.PHI.Delivery {
		return nil, usagef("%s was sent by delivery %s, the plan says %s: put it back to compare with what was sent", run.ID, sent, s.Plan.PHI.Delivery)
	}
	if run.Target != target.Identity() {
		return nil, usagef("%s loaded into %s, the plan names %s: outcomes belong to one target", run.ID, run.Target, target.Identity())
	}
	if err := s.checkMarkers(ctx, target); err != nil {
		return nil, err
	}
	state, err := stage.OpenState(s.stateDir(run.Target))
	if err != nil {
		return nil, err
	}
	r := &runner{Session: s, run: run, dir: s.stageDir(run.ID), types: madeTypes(run.Pins), target: target, state: state, watch: s.options.Now()}
	if err := r.checkKeys(); err != nil {
		return nil, errors.Join(err, state.Close())
	}
	err = r.Ledger.Reopen(ctx, run.ID)
	if err == nil && !run.State.Ended() {
		// What a stopped run has loaded is ours, although it has not come as far as saying so.
		err = r.mergeState(ctx)
	}
	if err == nil {
		err = r.verify(ctx)
	}
	if err == nil {
		err = r.account(ctx)
	}
	if err == nil {
		err = r.balance(ctx)
	}
	s.options.Progress.Done()
	summary, e := s.Ledger.Summary(context.WithoutCancel(ctx), run.ID)
	return summary, errors.Join(err, e, r.state.Close())
}

// runOf finds a run by id, or the latest one of a kind (any kind if empty).
func (s *Session) runOf(ctx context.Context, id string, kind ledger.RunKind) (ledger.Run, error) {
	if s.Ledger == nil {
		return ledger.Run{}, usagef("nothing has run yet: there is no ledger at %s", s.Plan.ledgerPlace())
	}
	if id == "" {
		run, ok, err := s.Ledger.Latest(ctx, kind)
		if err != nil {
			return run, err
		}
		if !ok {
			return run, usagef("nothing has run yet: `chartlift run`, or `chartlift dry-run`")
		}
		return run, nil
	}
	run, err := s.Ledger.Run(ctx, id)
	if errors.Is(err, ledger.ErrNoRun) {
		return run, usagef("the ledger has no run %q", id)
	}
	if err == nil && kind != "" && run.Kind != kind {
		return run, usagef("%s was a dry run: it loaded nothing", id)
	}
	return run, err
}

// verify reads back every batch, the gravest domain first, and then looks for what should not be there.
func (r *runner) verify(ctx context.Context) error {
	if err := r.inspect(); err != nil {
		return err
	}
	out, err := r.exclusions(ctx, r.run.ID)
	if errors.Is(err, errUnchecked) {
		return nil // nothing was loaded yet
	}
	if err != nil {
		return err
	}
	batches, err := r.Ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{State: ledger.Loaded})
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
	r.Session.options.Progress.Stage("verify", "resources", total)
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(verifiers)
	for _, b := range batches {
		p.Go(func(ctx context.Context) error { return r.verifyBatch(ctx, b, out[b.ID]) })
	}
	if err := p.Wait(); err != nil {
		return err
	}
	return r.once(ctx, ledger.Verify, "unexpected", r.unexpected)
}

// checking is the verification of one batch.
type checking struct {
	*runner
	info   stage.Info
	count  ledger.VerifiedCount
	report ledger.Report
	sent   []phi.Sealed
	states []outcome
}

func (r *runner) verifyBatch(ctx context.Context, b ledger.Batch, excluded map[int]uint8) error {
	known, err := outcomesOf(r.dir, b)
	if err != nil {
		return err
	}
	c := &checking{runner: r, info: infoOf(r.run.ID, b), count: ledger.VerifiedCount{Type: b.Type}}
	position := -1
	for sealed, err := range stage.Read(r.dir, r.keys, c.info) {
		if err != nil {
			return err
		}
		position++
		if _, out := excluded[position]; out {
			continue
		}
		o := known[position]
		switch {
		case o.kind.Stored():
			c.sent, c.states = append(c.sent, sealed), append(c.states, o)
		case o.kind == load.Rejected:
			store, code, both := strings.Cut(o.code, "/")
			if !both {
				store, code = "", o.code
			}
			c.note(ledger.Rejected, sealed, store, code)
		}
		if len(c.sent) == readResources {
			if err := c.compare(ctx); err != nil {
				return err
			}
		}
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	c.report.Verified = []ledger.VerifiedCount{c.count}
	c.report.Outcomes = []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Verified, Outcomes: b.Outcome}}
	r.Session.options.Progress.Add(b.Outcome.Loaded + b.Outcome.Unchanged)
	return r.Ledger.Record(ctx, r.run.ID, c.report)
}

// note records a discrepancy about a resource of ours.
func (c *checking) note(kind ledger.Kind, sealed phi.Sealed, path, code string) {
	place := sealed.Place()
	c.report.Discrepancies = append(c.report.Discrepancies, ledger.Discrepancy{
		Kind: kind, Type: sealed.Type(), ID: sealed.ID(), Path: path, Table: place.Table, Line: place.Line, Code: code,
	})
}

// compare reads back what is gathered, from every store that holds it, and judges each resource.
func (c *checking) compare(ctx context.Context) error {
	if len(c.sent) == 0 {
		return nil
	}
	verdicts := make([]verdict, len(c.sent))
	for _, store := range c.target.Stores() {
		var ids []string
		var at []int
		for i, s := range c.sent {
			if store.Holds(s) {
				ids, at = append(ids, s.ID()), append(at, i)
			}
		}
		if len(ids) == 0 {
			continue
		}
		found, err := store.Read(ctx, c.info.Type, ids)
		if err != nil {
			return err
		}
		for n, i := range at {
			v := notCompared
			if n < len(found) {
				if v, err = c.judge(store, c.sent[i], c.states[i], found[n]); err != nil {
					return err
				}
			}
			verdicts[i] = max(verdicts[i], v)
		}
	}
	for _, v := range verdicts {
		v.count(&c.count)
	}
	c.sent, c.states = c.sent[:0], c.states[:0]
	return nil
}

// editedSince tells a clinician's edit from damage: another version than ours, made after the moment from which the
// plan says that people work in the target. Before it nobody should have changed anything, so a change is a difference.
func (c *checking) editedSince(store load.Store, o outcome, f load.Found, got *fhir.Node) bool {
	version := load.VersionAt(o.version, store)
	if c.Plan.Live.IsZero() || version == "" || f.Version == version {
		return false
	}
	updated, err := time.Parse(time.RFC3339Nano, got.At("meta", "lastUpdated").Str())
	return err == nil && !updated.Before(c.Plan.Live)
}

// safeVersion keeps a server's version id only in the form that FHIR gives it.
func safeVersion(v string) string {
	if fhir.ValidID(v) {
		return v
	}
	return "unknown"
}

// unexpected lists what carries this migration's mark in the target and is not in its state.
func (r *runner) unexpected(ctx context.Context) (ledger.Report, error) {
	var report ledger.Report
	types := map[string]bool{}
	for _, typ := range r.types {
		types[typ] = true
	}
	for _, typ := range fhir.Resources() {
		if !types[typ] {
			continue
		}
		count := ledger.VerifiedCount{Type: typ}
		for id, err := range r.target.List(ctx, typ, r.Plan.Migration) {
			if err != nil {
				return report, fmt.Errorf("list %s: %w", typ, err)
			}
			ours := false
			if parsed, ok := mapping.ParseID(id); ok {
				if _, ours, err = r.state.Lookup(typ, stage.ID(parsed)); err != nil {
					return report, err
				}
			}
			if !ours {
				count.Unexpected++
				report.Discrepancies = append(report.Discrepancies, ledger.Discrepancy{Kind: ledger.Unexpected, Type: typ, ID: id, Code: "not-in-state"})
			}
		}
		report.Verified = append(report.Verified, count)
	}
	return report, nil
}
