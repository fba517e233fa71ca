package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) checkCommand() *cobra.Command {
	var drift bool
	var against string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check plan, mappings, concept maps and coverage, before a row is read",
		Long: `Checks the plan and every mapping against the tables that are there: paths, types, cardinalities,
columns, functions, references, concept maps and coverage. All faults are shown at once, each as
file:line:column: message (what to do).

--drift also reads the sources and compares them with the baseline of an earlier export, which "chartlift profile --save"
has kept: tables and columns that came, went or changed their name, type or date form, codes that were not there before,
keys that are unique no more, and blanks, sizes and distributions that moved. --against FILE names another baseline.
"chartlift help profiles" says when each is told.

Exit: 0 all right · 2 a fault · 3 a finding (such as a column that nothing reads, or drift).`,
		Example: "  chartlift check\n  chartlift check -f rehearsal/migration.yaml\n  chartlift check --drift",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			access := plan.Tables
			if drift = drift || against != ""; drift {
				access |= plan.Keys
			}
			s, err := a.open(cmd.Context(), access)
			var faults plan.Faults
			if drift && errors.As(err, &faults) {
				return errors.Join(err, a.driftAlone(cmd.Context(), against))
			}
			if err != nil {
				return err
			}
			defer s.Close()
			var moved []profile.Drift
			if drift {
				if moved, err = workbench.Drift(cmd.Context(), s, against); err != nil {
					return err
				}
			}
			return a.printCheck(s, moved, drift)
		},
	}
	cmd.Flags().BoolVar(&drift, "drift", false, "compare the sources with the baseline that profile --save has kept")
	cmd.Flags().StringVar(&against, "against", "", "compare with the baseline in this file")
	return cmd
}

// driftAlone shows how the export differs where the mappings do not fit it any more: that is likely why.
func (a *app) driftAlone(ctx context.Context, against string) error {
	s, err := a.open(ctx, plan.Keys)
	if err != nil {
		return nil // of the plan itself, and told
	}
	defer s.Close()
	moved, err := workbench.Drift(ctx, s, against)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"drift": append([]profile.Drift{}, moved...), "findings": len(moved), "notices": []string{}})
	}
	a.printDrift(moved)
	return nil
}

func (a *app) printDrift(moved []profile.Drift) {
	for _, d := range moved {
		name := d.Table
		if d.Column != "" {
			name += "." + d.Column
		}
		fmt.Fprintf(a.stdout, "drift: %s: %s: %s\n", name, d.Rule, d.Message)
	}
}

// printCheck shows what check found, findings before notices.
func (a *app) printCheck(s *plan.Session, moved []profile.Drift, drift bool) error {
	findings := len(moved)
	for _, n := range s.Notices {
		if n.Severity.String() == "finding" {
			findings++
		}
	}
	if a.json {
		type notice struct {
			Severity string `json:"severity"`
			Rule     string `json:"rule"`
			File     string `json:"file"`
			Line     int    `json:"line"`
			Column   int    `json:"column"`
			Message  string `json:"message"`
			Hint     string `json:"hint,omitempty"`
			Included string `json:"included,omitempty"` // from where the file was included, if it is a fragment
		}
		list := []notice{}
		for _, n := range s.Notices {
			list = append(list, notice{n.Severity.String(), n.Rule, n.File, n.Line, n.Column, n.Message, n.Hint, n.From})
		}
		doc := map[string]any{"notices": list, "findings": findings}
		if drift {
			doc["drift"] = append([]profile.Drift{}, moved...)
		}
		if err := a.printJSON(doc); err != nil {
			return err
		}
	} else {
		a.printNotices(s.Notices)
		a.printDrift(moved)
		w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "LEVEL\tTABLE\tMAPPING\tMAKES\tREFERS TO")
		for _, m := range s.Program.Mappings {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", m.Level, m.Table, m.Name, m.Type, list(m.Refers))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s checked: no fault, %s\n", plural(len(s.Program.Mappings), "mapping"), plural(findings, "finding"))
	}
	if findings > 0 {
		return errReview
	}
	return nil
}

// printNotices shows every finding, and of each kind of notice the first: the tenth like it teaches nobody anything. Only
// circles are all shown, since each says how its resources are loaded. --json has everything.
func (a *app) printNotices(notices []mapping.Notice) {
	more := map[string]int{}
	for _, n := range notices {
		if n.Rule != mapping.RuleCircle {
			more[n.Rule]++
		}
	}
	shown := map[string]bool{}
	for _, n := range notices {
		if n.Severity == mapping.IsFinding {
			fmt.Fprintf(a.stdout, "%s: %s\n", n.Severity, n.Fault)
		}
	}
	for _, n := range notices {
		if n.Severity == mapping.IsFinding || shown[n.Rule] {
			continue
		}
		shown[n.Rule] = n.Rule != mapping.RuleCircle
		fmt.Fprintf(a.stdout, "%s: %s", n.Severity, n.Fault)
		if others := more[n.Rule] - 1; others > 0 {
			fmt.Fprintf(a.stdout, "; and %d more like it", others)
		}
		fmt.Fprintln(a.stdout)
	}
}

func list(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += n
	}
	if out == "" {
		return "–"
	}
	return out
}
