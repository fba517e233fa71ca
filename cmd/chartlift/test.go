package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline"
)

func (a *app) testCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [PACK…]",
		Short: "Run the cases beside the mappings",
		Long: `Runs every case (NAME.cases.yaml beside a mapping: records, wanted resources, wanted refusals) of the plan's
mappings, or of the packs named: a pack inside the program by its name, a folder by a path with a slash. Naming packs
needs no plan.

Exit: 0 all passed · 1 a case failed · 2 a mapping or a case cannot be read.`,
		Example: "  chartlift test\n  chartlift test synthea\n  chartlift test ./mappings",
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := pipeline.RunCases(a.plan, args)
			if err != nil {
				return err
			}
			failed := 0
			type result struct {
				Mapping    string `json:"mapping"`
				Case       string `json:"case"`
				Passed     bool   `json:"passed"`
				Place      string `json:"place"`
				Difference string `json:"difference,omitempty"`
			}
			list := []result{}
			for _, r := range results {
				passed := r.Difference == ""
				if !passed {
					failed++
					if !a.json {
						fmt.Fprintf(a.stdout, "FAIL %s: %s: %s\n%s\n", r.Place, r.Mapping, r.Case, r.Difference)
					}
				}
				list = append(list, result{r.Mapping, r.Case, passed, r.Place, r.Difference})
			}
			if a.json {
				if err := a.printJSON(map[string]any{"cases": list, "failed": failed}); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(a.stdout, "%s, %d failed\n", plural(len(results), "case"), failed)
			}
			if failed > 0 {
				return errSilent
			}
			return nil
		},
	}
}
