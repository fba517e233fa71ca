package run

import (
	"context"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// counters is what the station of formulas needs of the ledger.
type counters interface {
	Formulas(ctx context.Context, run string) ([]ledger.Formula, error)
	Issues(ctx context.Context, run string) ([]ledger.Issue, error)
}

// formulas is the station that looks over what the workers counted.
type formulas struct {
	once    *once
	ledger  counters
	run     string
	program *mapping.Program
}

// do makes a finding of each formula that read something and wrote nothing without a reason given, and of each
// rule of a profile that resources break, and completes the account of unmapped values.
func (s *formulas) do(ctx context.Context) error {
	return s.once.do(ctx, ledger.Check, "formulas", func(ctx context.Context) (ledger.Report, error) {
		out := ledger.Report{UnmappedOfRun: unmappedOfRun(s.program)}
		formulas, err := s.ledger.Formulas(ctx, s.run)
		if err != nil {
			return out, err
		}
		for _, f := range formulas {
			if f.Empties > 0 && f.Reason == "" {
				out.Findings = append(out.Findings, ledger.Finding{
					Table: s.program.Mapping(f.Mapping).Table, Column: f.Path, Rule: mapping.FindWroteNothing, Mapping: f.Mapping, Severity: ledger.FindingNeedsEye,
				})
			}
		}
		issues, err := s.ledger.Issues(ctx, s.run)
		if err != nil {
			return out, err
		}
		for _, x := range issues {
			if x.Severity == ledger.Unchecked || x.Profile == "" && x.Severity == validate.Error.String() {
				continue // the records of such an error are refused
			}
			f := ledger.Finding{Table: x.Table, Line: x.Line, Column: x.Path, Rule: mapping.FindProfile, Mapping: x.Mapping, Severity: ledger.FindingNeedsEye}
			if x.Severity == validate.Warning.String() {
				f.Rule, f.Severity = findWarning, ledger.NoticeSeverity
			}
			out.Findings = append(out.Findings, f)
		}
		return out, nil
	})
}

// findWarning is the notice of a warning of validation.
const findWarning = "validation-warning"
