package run

import (
	"context"
	"errors"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Reconcile reads back everything that a run loaded, compares it, and closes the account anew. run "" is the latest
// that loaded anything.
func Reconcile(ctx context.Context, s *plan.Session, id string) (*ledger.Summary, error) {
	run, err := Find(ctx, s, id, ledger.Real)
	if err != nil {
		return nil, err
	}
	target, err := s.OpenTarget(ctx)
	if err != nil {
		return nil, err
	}
	if sent := run.Pins["delivery"]; sent != s.Plan.PHI.Delivery {
		return nil, plan.Usagef("%s was sent by delivery %s, the plan says %s: put it back to compare with what was sent", run.ID, sent, s.Plan.PHI.Delivery)
	}
	if run.Target != target.Identity() {
		return nil, plan.Usagef("%s loaded into %s, the plan names %s: outcomes belong to one target", run.ID, run.Target, target.Identity())
	}
	if err := marking(s).check(ctx, target); err != nil {
		return nil, err
	}
	state, err := stage.OpenState(StateDir(s.Plan, run.Target))
	if err != nil {
		return nil, err
	}
	e := &execution{session: s, run: run, place: s.Stage.Sub(run.ID), scratch: s.Scratch(run.ID), types: plan.MadeTypes(run.Pins), target: target, state: state, watch: s.Now()}
	if err := checkKeys(state, s.Keys); err != nil {
		return nil, errors.Join(err, state.Close())
	}
	err = s.Ledger.Reopen(ctx, run.ID)
	if err == nil && !run.State.Ended() {
		// What a stopped run has loaded is ours, although it has not come as far as saying so.
		err = e.merge(ctx)
	}
	if err == nil {
		err = e.verification(&once{ledger: s.Ledger, run: run.ID}).do(ctx)
	}
	if err == nil {
		err = (&accounting{ledger: s.Ledger, run: run, types: e.types, limits: s.Plan.Gates}).do(ctx)
	}
	if err == nil {
		err = balance(ctx, s.Ledger, run.ID)
	}
	s.Progress.Done()
	summary, e2 := s.Ledger.Summary(context.WithoutCancel(ctx), run.ID)
	return summary, errors.Join(err, e2, e.state.Close())
}
