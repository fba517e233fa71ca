package pipeline

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
	"github.com/chartlift/chartlift/pipeline/reconcile"
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
	if run.Target != target.Identity() {
		return nil, usagef("%s loaded into %s, the plan names %s: outcomes belong to one target", run.ID, run.Target, target.Identity())
	}
	state, err := stage.OpenState(s.stateDir(run.Target))
	if err != nil {
		return nil, err
	}
	r := &runner{Session: s, run: run, dir: s.stageDir(run.ID), types: madeTypes(run.Pins), target: target, state: state, watch: s.options.Now()}
	err = r.Ledger.Reopen(ctx, run.ID)
	if err == nil {
		err = r.verify(ctx)
	}
	if err == nil {
		err = r.account(ctx)
	}
	s.options.Progress.Done()
	summary, e := s.Ledger.Summary(context.WithoutCancel(ctx), run.ID)
	return summary, errors.Join(err, e, state.Close())
}

// runOf finds a run by id, or the latest one of a kind (any kind if empty).
func (s *Session) runOf(ctx context.Context, id string, kind ledger.RunKind) (ledger.Run, error) {
	if s.Ledger == nil {
		return ledger.Run{}, usagef("nothing has run yet: there is no ledger at %s", relative(s.Plan.Dir, s.Plan.Ledger))
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
	out, err := loadExclusions(r.dir)
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
	known, err := readOutcomes(r.dir, b.ID)
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
			c.note(ledger.Rejected, sealed, "", o.code)
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

// compare reads back what is gathered and judges each.
func (c *checking) compare(ctx context.Context) error {
	if len(c.sent) == 0 {
		return nil
	}
	ids := make([]string, len(c.sent))
	for i, s := range c.sent {
		ids[i] = s.ID()
	}
	found, err := c.target.Read(ctx, c.info.Type, ids)
	if err != nil {
		return err
	}
	for i, f := range found {
		if err := c.judge(c.sent[i], c.states[i], f); err != nil {
			return err
		}
	}
	c.count.NotCompared += int64(len(c.sent) - len(found))
	c.sent, c.states = c.sent[:0], c.states[:0]
	return nil
}

func (c *checking) judge(sealed phi.Sealed, o outcome, f load.Found) error {
	switch f.Status {
	case load.Missing, load.Gone:
		c.count.Missing++
		c.note(ledger.Missing, sealed, "", f.Status.String())
		return nil
	case load.Present:
	default:
		c.count.NotCompared++
		return nil
	}
	whole, err := c.keys.Whole(sealed, nil)
	if err != nil {
		return err
	}
	sent, err := fhir.Parse(whole)
	if err != nil {
		return fmt.Errorf("%s: a staged resource is not JSON: %w", sealed.Place(), err)
	}
	got, err := fhir.Parse(f.Body)
	if err != nil {
		c.count.NotCompared++
		return nil
	}
	result := reconcile.Compare(sent, got, c.target.Identity())
	switch {
	case result.Verdict == reconcile.Equal, result.Verdict == reconcile.EqualAfter:
		c.count.Matched++
	case c.editedSince(o, f, got):
		c.count.EditedSince++
		c.note(ledger.EditedSince, sealed, "", "version "+safeVersion(f.Version))
	case result.Verdict == reconcile.Different:
		c.count.Different++
		for _, d := range result.Differences[:min(len(result.Differences), mostDifferences)] {
			c.note(ledger.Different, sealed, d.Path, d.Kind)
		}
	default:
		c.count.NotCompared++
	}
	return nil
}

// editedSince tells a clinician's edit from damage: another version than ours, made after the moment from which the
// plan says that people work in the target. Before it nobody should have changed anything, so a change is a difference.
func (c *checking) editedSince(o outcome, f load.Found, got *fhir.Node) bool {
	if c.Plan.Live.IsZero() || o.version == "" || f.Version == o.version {
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
