package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check plan, mappings, concept maps and coverage, before a row is read",
		Long: `Checks the plan and every mapping against the tables that are there: paths, types, cardinalities,
columns, functions, references, concept maps and coverage. All faults are shown at once, each as
file:line:column: message (what to do).

Exit: 0 all right · 2 a fault · 3 a finding (such as a column that nothing reads).`,
		Example: "  chartlift check\n  chartlift check -f rehearsal/migration.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), pipeline.Tables)
			if err != nil {
				return err
			}
			defer s.Close()
			return a.printCheck(s)
		},
	}
}

// printCheck shows what check found, findings before notices.
func (a *app) printCheck(s *pipeline.Session) error {
	findings := 0
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
		}
		list := []notice{}
		for _, n := range s.Notices {
			list = append(list, notice{n.Severity.String(), n.Rule, n.File, n.Line, n.Column, n.Message, n.Hint})
		}
		if err := a.printJSON(map[string]any{"notices": list, "findings": findings}); err != nil {
			return err
		}
	} else {
		a.printNotices(s.Notices)
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

// printNotices shows every finding, and of each kind of notice the first: the tenth like it teaches nobody anything.
// --json has them all.
func (a *app) printNotices(notices []mapping.Notice) {
	more := map[string]int{}
	for _, n := range notices {
		more[n.Rule]++
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
		shown[n.Rule] = true
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
