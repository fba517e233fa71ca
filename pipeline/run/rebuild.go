package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/state"
)

// Rebuild makes the state of the plan's target anew, where it is lost: out of the batches and outcomes of all runs that
// loaded into it, in their order. It returns how many placements that makes. Only what was taken back of vanished
// resources is not among outcomes: the next run names these again. A batch or outcome that is missing is a
// *stage.Damage: then what is in the target cannot be known.
func Rebuild(ctx context.Context, s *plan.Session) (int64, error) {
	e := &execution{session: s}
	target, err := s.OpenTarget(ctx, e.resolver.of)
	if err != nil {
		return 0, err
	}
	if err := marking(s).check(ctx, target.Stores); err != nil {
		return 0, err
	}
	identity := target.Identity()
	opened, err := openState(ctx, s, identity)
	var lost *state.Lost
	if err == nil {
		return 0, errors.Join(plan.Usagef("the state of %s is as the ledger knows it: there is nothing to rebuild", identity), opened.Close())
	} else if !errors.As(err, &lost) {
		return 0, err
	}
	runs, err := s.Ledger.Runs(ctx)
	if err != nil {
		return 0, err
	}
	if e.state, err = s.StateOf(identity).Renew(ctx, lost.Wanted); err != nil {
		return 0, err
	}
	for _, r := range runs {
		if r.Kind != ledger.Real || r.Target != identity {
			continue
		}
		run, err := s.Ledger.Run(ctx, r.ID)
		if err == nil {
			e.state, err = e.merging(run).into(ctx, e.state)
		}
		if err != nil {
			return 0, errors.Join(fmt.Errorf("%s: %w", r.ID, err), e.state.Close())
		}
	}
	n := e.state.Len()
	err = s.Ledger.Append(ctx, "state rebuilt", fmt.Sprintf("%s, %d placements", identity, n))
	return n, errors.Join(err, e.state.Close())
}
