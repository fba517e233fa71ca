package run

import (
	"context"
	"errors"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// Find finds a run by id, or the latest one of a kind (any kind if empty).
func Find(ctx context.Context, s *plan.Session, id string, kind ledger.RunKind) (ledger.Run, error) {
	if s.Ledger == nil {
		return ledger.Run{}, plan.Usagef("nothing has run yet: there is no ledger at %s", s.Plan.LedgerPlace())
	}
	if id == "" {
		run, ok, err := s.Ledger.Latest(ctx, kind)
		if err != nil {
			return run, err
		}
		if !ok {
			return run, plan.Usagef("nothing has run yet: `chartlift run`, or `chartlift dry-run`")
		}
		return run, nil
	}
	run, err := s.Ledger.Run(ctx, id)
	if errors.Is(err, ledger.ErrNoRun) {
		return run, plan.Usagef("the ledger has no run %q", id)
	}
	if err == nil && kind != "" && run.Kind != kind {
		return run, plan.Usagef("%s was a dry run: it loaded nothing", id)
	}
	return run, err
}
