package run

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/reconcile"
)

// summaries reads the account of a run.
type summaries interface {
	Summary(ctx context.Context, run string) (*ledger.Summary, error)
}

// accounts is what closing an account needs of the ledger.
type accounts interface {
	summaries
	Refusals(ctx context.Context, run string) iter.Seq2[ledger.Refusal, error]
	Record(ctx context.Context, run string, report ledger.Report) error
	SetGates(ctx context.Context, run string, gates []ledger.Gate) error
	CloseVerification(ctx context.Context, run string, gates []ledger.Gate) error
}

// accounting is the station that closes the account of a run.
type accounting struct {
	ledger accounts
	run    ledger.Run
	types  map[string]string // by mapping
	limits []plan.Limit
}

// do evaluates the gates of a run and closes its verification. What was refused becomes a discrepancy that someone decides
// on.
func (a *accounting) do(ctx context.Context) error {
	refused := map[string]int64{}
	var report ledger.Report
	for f, err := range a.ledger.Refusals(ctx, a.run.ID) {
		if err != nil {
			return err
		}
		refused[a.types[f.Mapping]]++
		report.Discrepancies = append(report.Discrepancies, ledger.Discrepancy{
			Kind: ledger.Refused, Type: a.types[f.Mapping], Table: f.Table, Line: f.Line, Path: f.Column, Code: f.Rule,
		})
		if len(report.Discrepancies) >= 10_000 {
			if err := a.ledger.Record(ctx, a.run.ID, report); err != nil {
				return err
			}
			report.Discrepancies = report.Discrepancies[:0]
		}
	}
	if err := a.ledger.Record(ctx, a.run.ID, report); err != nil {
		return err
	}
	summary, err := a.ledger.Summary(ctx, a.run.ID)
	if err != nil {
		return err
	}
	gates := reconcile.Evaluate(summary, refused, a.gates(), a.run.Kind == ledger.Dry)
	if a.run.Kind == ledger.Dry {
		return a.ledger.SetGates(ctx, a.run.ID, gates)
	}
	if err := a.ledger.CloseVerification(ctx, a.run.ID, gates); err != nil {
		return err
	}
	crash.At(crash.RunAccount)
	return nil
}

// gates are the plan's own.
func (a *accounting) gates() []reconcile.Limit {
	var out []reconcile.Limit
	for _, l := range a.limits {
		out = append(out, reconcile.Limit(l))
	}
	return out
}

// balance checks the sums of a run's account. One that does not balance is an error of this program.
func balance(ctx context.Context, l summaries, run string) error {
	summary, err := l.Summary(ctx, run)
	if err != nil {
		return err
	}
	if faults := ledger.Balance(summary); len(faults) > 0 {
		return fmt.Errorf("the account of %s does not balance; this is an error of chartlift, please report it:\n  %s", run, strings.Join(faults, "\n  "))
	}
	return nil
}

// NeedsReview tells whether a person has to look at something: exit code 3. Notices do not count.
func NeedsReview(s *ledger.Summary) bool {
	if s.Refusals > 0 || s.Findings > 0 || len(s.Unmapped) > 0 || s.State != ledger.Finished {
		return true
	}
	for _, bySeverity := range s.Discrepancies {
		for _, n := range bySeverity {
			if n > 0 {
				return true
			}
		}
	}
	return len(reconcile.Unmet(s.Gates)) > 0
}
