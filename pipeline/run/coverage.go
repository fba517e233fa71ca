package run

import (
	"context"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// coverage is the station that brings into the account what the compiler remarked.
type coverage struct {
	once    *once
	notices []mapping.Notice
}

// do puts what `check` found into the run's account, once.
func (c *coverage) do(ctx context.Context) error {
	return c.once.do(ctx, ledger.Check, "coverage", func(context.Context) (ledger.Report, error) {
		var report ledger.Report
		for _, n := range c.notices {
			severity := ledger.NoticeSeverity
			if n.Severity == mapping.IsFinding {
				severity = ledger.FindingNeedsEye
			}
			report.Findings = append(report.Findings, ledger.Finding{Table: n.File, Column: n.Subject, Rule: n.Rule, Severity: severity})
		}
		return report, nil
	})
}
