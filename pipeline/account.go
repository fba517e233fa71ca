package pipeline

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// Summary is the account of a run; "" is the latest of any kind.
func (s *Session) Summary(ctx context.Context, run string) (*ledger.Summary, error) {
	found, err := s.runOf(ctx, run, "")
	if err != nil {
		return nil, err
	}
	return s.Ledger.Summary(ctx, found.ID)
}

// Report writes the findings of a run into dir, and answers the files.
func (s *Session) Report(ctx context.Context, run, dir string, formats []string) ([]string, error) {
	found, err := s.runOf(ctx, run, "")
	if err != nil {
		return nil, err
	}
	snapshot, err := s.Ledger.Snapshot(ctx) // sums and lists of one moment, while a run goes on
	if err != nil {
		return nil, err
	}
	defer func() { _ = snapshot.Close() }() // it only read
	data, err := report.Load(ctx, snapshot, found.ID)
	if err != nil {
		return nil, err
	}
	data.Migration = s.Plan.Migration
	data.Generated = s.options.Now().UTC().Format("2006-01-02 15:04 UTC")
	data.Facts = []report.Fact{
		{Name: "Chartlift", Value: s.options.Version},
		{Name: "Policy", Value: s.Plan.PHI.Policy},
		{Name: "Delivery", Value: s.Plan.PHI.Delivery},
		{Name: "Target", Value: found.Target},
		{Name: "Mappings", Value: found.Pins["mappings"]},
	}
	for i, f := range formats {
		formats[i] = strings.TrimSpace(f)
	}
	if err := report.Write(dir, formats, data); err != nil {
		return nil, usageError{err}
	}
	var files []string
	for _, f := range formats {
		files = append(files, filepath.Join(dir, "report."+f))
	}
	return files, nil
}

// InitKeys makes the keys of a plan's migration and answers where they are.
func InitKeys(planFile string) (string, error) {
	plan, err := ReadPlan(planFile)
	if err != nil {
		return "", err
	}
	if err := phi.InitKeys(plan.PHI.Keys, plan.Migration, plan.Stage, plan.ledgerDir()); err != nil {
		return "", usageError{err}
	}
	return plan.PHI.Keys, nil
}

// takeCounters moves what the worker counted into the report. Of unmapped values these are the numbers only: which may be
// shown is known when the whole run is counted.
func (x *extractor) takeCounters() {
	for _, t := range x.worker.TakeTranslations() {
		x.report.Translations = append(x.report.Translations, ledger.Translation(t))
	}
	formulas, unmapped := x.worker.TakeCounters()
	for _, f := range formulas {
		x.report.Formulas = append(x.report.Formulas, ledger.Formula(f))
	}
	for _, u := range unmapped {
		u.Value = ""
		x.report.Unmapped = append(x.report.Unmapped, ledger.Unmapped(u))
	}
	for _, i := range x.worker.TakeIssues() {
		x.report.Issues = append(x.report.Issues, ledger.Issue{Mapping: i.Mapping, Severity: i.Severity.String(), Rule: i.Rule, Path: i.Path,
			Profile: i.Profile, Table: i.First.Table, Line: i.First.Line, Count: i.Count})
	}
	x.report.Issues = append(x.report.Issues, x.takeUnchecked()...)
}

// recordFormulas makes a finding of each formula that read something and wrote nothing without a reason given, and of each
// rule of a profile that resources break, and completes the account of unmapped values.
func (r *runner) recordFormulas(ctx context.Context) error {
	return r.once(ctx, ledger.Check, "formulas", func(ctx context.Context) (ledger.Report, error) {
		out := ledger.Report{UnmappedOfRun: r.unmappedOfRun()}
		formulas, err := r.Ledger.Formulas(ctx, r.run.ID)
		if err != nil {
			return out, err
		}
		for _, f := range formulas {
			if f.Empties > 0 && f.Reason == "" {
				out.Findings = append(out.Findings, ledger.Finding{
					Table: r.mapping(f.Mapping).Table, Column: f.Path, Rule: mapping.FindWroteNothing, Mapping: f.Mapping, Severity: ledger.FindingNeedsEye,
				})
			}
		}
		issues, err := r.Ledger.Issues(ctx, r.run.ID)
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

// takeUnchecked is what could not be judged since the last call, by any worker.
func (r *runner) takeUnchecked() (out []ledger.Issue) {
	r.uncheckedMu.Lock()
	defer r.uncheckedMu.Unlock()
	if r.unchecked == nil {
		r.unchecked = map[string]int64{}
	}
	for _, u := range r.Program.NotChecked() {
		key := u.Kind + " " + u.Name
		if n := u.Count - r.unchecked[key]; n > 0 {
			r.unchecked[key] = u.Count
			out = append(out, ledger.Issue{Mapping: u.Kind, Severity: ledger.Unchecked, Rule: "not-checked", Path: u.Name, Profile: u.Why, Count: n})
		}
	}
	return out
}

// findWarning is the notice of a warning of validation.
const findWarning = "validation-warning"
