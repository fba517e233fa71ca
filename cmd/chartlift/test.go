package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) testCommand() *cobra.Command {
	var o mapping.CaseOptions
	var coverage bool
	cmd := &cobra.Command{
		Use:   "test [PACK…]",
		Short: "Run the cases beside the mappings",
		Long: `Runs every case (NAME.cases.yaml beside a mapping: records, wanted resources, wanted refusals) of the plan's
mappings, or of the packs named: a pack inside the program by its name, a folder by a path with a slash. Naming packs
needs no plan. --mapping and --case run those of one mapping, or one by its name.

A case that fails shows each element that differs, what the case wants and what the mapping makes. Then come, for each
mapping, how many formulas of its template some case makes write something and how many of its rules act in some case;
those that none does are listed.

--update writes the wanted resources of cases that fail anew, and shows the change: review it like code. It touches
nothing else in the file and no case that passes, and only files in the folders of mappings. A case with a record and no
outcome gets one. A case that wants a refusal, or is refused, is left to you.

Exit: 0 all passed, or brought up to date · 1 a case failed · 2 a mapping or a case cannot be read · 3 with --coverage: a
formula or rule that no case exercises.`,
		Example: "  chartlift test\n  chartlift test synthea\n  chartlift test ./mappings --mapping condition --case resolved\n  chartlift test --update",
		RunE: func(cmd *cobra.Command, args []string) error {
			ran, err := workbench.RunCases(a.plan, args, o)
			if err != nil {
				return err
			}
			failed, updated := 0, 0
			for _, r := range ran.Results {
				switch {
				case r.Updated:
					updated++
				case r.Difference != "":
					failed++
				}
			}
			if a.json {
				err = a.printJSON(casesJSON(ran, failed, updated))
			} else {
				err = a.printCases(ran, failed, updated)
			}
			if err != nil {
				return err
			}
			if failed > 0 {
				return errSilent
			}
			for _, c := range ran.Coverage {
				if coverage && len(c.Missing) > 0 {
					return errReview
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Mapping, "mapping", "", "only the cases of this mapping")
	cmd.Flags().StringVar(&o.Case, "case", "", "only the case of this name")
	cmd.Flags().BoolVar(&o.Update, "update", false, "write the wanted resources of failing cases anew")
	cmd.Flags().BoolVar(&coverage, "coverage", false, "exit 3 if a formula or rule is exercised by no case")
	return cmd
}

// casesJSON is the document of `test --json`.
func casesJSON(ran *mapping.CaseReport, failed, updated int) map[string]any {
	type difference struct {
		Path string `json:"path"`
		Line int    `json:"line"`
		Want string `json:"want"`
		Got  string `json:"got"`
	}
	type result struct {
		Mapping     string       `json:"mapping"`
		Case        string       `json:"case"`
		Passed      bool         `json:"passed"`
		Updated     bool         `json:"updated"`
		Place       string       `json:"place"`
		Difference  string       `json:"difference,omitempty"`
		Differences []difference `json:"differences"`
		Kept        string       `json:"kept,omitempty"` // why --update left it
	}
	type uncovered struct {
		Kind  string `json:"kind"`
		Name  string `json:"name"`
		Place string `json:"place"`
		Text  string `json:"formula"`
	}
	type covered struct {
		Pack     string      `json:"pack"`
		Mapping  string      `json:"mapping"`
		Cases    int         `json:"cases"`
		Formulas int         `json:"formulas"`
		Written  int         `json:"written"`
		Rules    int         `json:"rules"`
		Acted    int         `json:"acted"`
		Missing  []uncovered `json:"missing"`
	}
	cases, coverage := []result{}, []covered{}
	for _, r := range ran.Results {
		x := result{r.Mapping, r.Case, r.Difference == "", r.Updated, r.Place, r.Difference, []difference{}, r.Kept}
		for _, d := range r.Differences {
			x.Differences = append(x.Differences, difference(d))
		}
		cases = append(cases, x)
	}
	for _, c := range ran.Coverage {
		x := covered{c.Pack, c.Mapping, c.Cases, c.Formulas, c.Written, c.Rules, c.Acted, []uncovered{}}
		for _, m := range c.Missing {
			x.Missing = append(x.Missing, uncovered(m))
		}
		coverage = append(coverage, x)
	}
	return map[string]any{"cases": cases, "failed": failed, "updated": updated, "coverage": coverage}
}

// printCases shows what failed, what was changed, and what the cases exercise.
func (a *app) printCases(ran *mapping.CaseReport, failed, updated int) error {
	out := a.stdout
	for _, r := range ran.Results {
		if r.Difference == "" || r.Updated {
			continue
		}
		fmt.Fprintf(out, "FAIL %s: %s: %s\n", r.Place, r.Mapping, r.Case)
		for _, d := range r.Differences {
			indent := "  "
			if d.Path != "" {
				fmt.Fprintf(out, "  %s (line %d)\n", d.Path, d.Line)
				indent = "    "
			}
			fmt.Fprintf(out, "%swant %s\n%sgot  %s\n", indent, d.Want, indent, d.Got)
		}
		if len(r.Differences) == 0 {
			fmt.Fprintf(out, "  %s\n", r.Difference)
		}
		if r.Kept != "" {
			fmt.Fprintf(out, "  not updated: %s\n", r.Kept)
		}
	}
	for _, u := range ran.Updates {
		fmt.Fprintf(out, "UPDATED %s\n", u.Path)
		for _, line := range lineDiff(string(u.Old), string(u.New)) {
			fmt.Fprintf(out, "  %s\n", line)
		}
	}
	if len(ran.Coverage) > 0 {
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "MAPPING\tCASES\tFORMULAS\tRULES")
		for _, c := range ran.Coverage {
			fmt.Fprintf(w, "%s\t%d\t%d of %d\t%d of %d\n", c.Mapping, c.Cases, c.Written, c.Formulas, c.Acted, c.Rules)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, c := range ran.Coverage {
			for _, m := range c.Missing {
				fmt.Fprintf(out, "no case: %s: %s %s: = %s\n", m.Place, m.Kind, m.Name, m.Text)
			}
		}
	}
	fmt.Fprintf(out, "%s, %d failed", plural(len(ran.Results), "case"), failed)
	if updated > 0 {
		fmt.Fprintf(out, ", %d updated", updated)
	}
	_, err := fmt.Fprintln(out)
	return err
}

// lineDiff lists the lines that went and came, each with the number it has in the file it is in.
func lineDiff(old, new string) (out []string) {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	a, b = a[start:len(a)-end], b[start:len(b)-end]
	// The longest common subsequence, by the table of its lengths.
	size := make([][]int, len(a)+1)
	for i := range size {
		size[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				size[i][j] = size[i+1][j+1] + 1
			} else {
				size[i][j] = max(size[i+1][j], size[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && size[i+1][j] >= size[i][j+1]:
			out = append(out, fmt.Sprintf("%5d - %s", start+i+1, strings.TrimSuffix(a[i], "\r")))
			i++
		default:
			out = append(out, fmt.Sprintf("%5d + %s", start+j+1, strings.TrimSuffix(b[j], "\r")))
			j++
		}
	}
	return out
}
