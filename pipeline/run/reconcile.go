package run

import (
	"context"
	"errors"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// Reconcile reads back everything that a run loaded, compares it, and closes the account anew. id "" is the latest run
// that loaded anything.
func Reconcile(ctx context.Context, s *plan.Session, id string) (*ledger.Summary, error) {
	e, err := reopen(ctx, s, id)
	if err != nil {
		return nil, err
	}
	return e.readBack(ctx)
}

// reopen takes up a run that has loaded something, to look at what is there of it.
func reopen(ctx context.Context, s *plan.Session, id string) (*execution, error) {
	run, err := Find(ctx, s, id, ledger.Real)
	if err != nil {
		return nil, err
	}
	e := &execution{session: s, run: run, staged: s.Staged(run.ID), types: plan.MadeTypes(run.Pins), watch: s.Now()}
	if e.target, err = s.OpenTarget(ctx, e.resolver.of); err != nil {
		return nil, err
	}
	if sent := run.Pins["delivery"]; sent != s.Plan.PHI.Delivery {
		return nil, plan.Usagef("%s was sent by delivery %s, the plan says %s: put it back to compare with what was sent", run.ID, sent, s.Plan.PHI.Delivery)
	}
	if run.Target != e.target.Identity() {
		return nil, plan.Usagef("%s loaded into %s, the plan names %s: outcomes belong to one target", run.ID, run.Target, e.target.Identity())
	}
	if err := marking(s).check(ctx, e.target.Stores); err != nil {
		return nil, err
	}
	if err := e.openState(ctx, run.Target); err != nil {
		return nil, err
	}
	return e, nil
}

// readBack reads everything back, closes the account anew, and the state.
func (e *execution) readBack(ctx context.Context) (*ledger.Summary, error) {
	s := e.session
	err := s.Ledger.Reopen(ctx, e.run.ID)
	if err == nil && !e.run.State.Ended() {
		// What a stopped run has loaded is ours, although it has not come as far as saying so.
		err = e.merge(ctx)
	}
	if err == nil {
		err = e.verification(&once{ledger: s.Ledger, run: e.run.ID}).do(ctx)
	}
	if err == nil {
		err = (&accounting{ledger: s.Ledger, run: e.run, types: e.types, limits: s.Plan.Gates}).do(ctx)
	}
	if err == nil {
		err = balance(ctx, s.Ledger, e.run.ID)
	}
	s.Progress.Done()
	summary, failed := s.Ledger.Summary(context.WithoutCancel(ctx), e.run.ID)
	return summary, errors.Join(err, failed, e.state.Close())
}
