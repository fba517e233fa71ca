package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) reportCommand() *cobra.Command {
	var run, dir, formats string
	cmd := &cobra.Command{
		Use:   "report -o DIR",
		Short: "Write the findings as a page for clinical leads, and as JSON",
		Long: `Writes report.html (one file, opens anywhere, names records by pseudonym and place, never by value) and
report.json. The default is both.

Exit: 0, also if the report has something to review; status and reconcile tell that.`,
		Example: "  chartlift report -o report\n  chartlift report -o report --format json --run dry-1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("report: -o names the folder to write to")
			}
			s, err := a.open(cmd.Context(), plan.View)
			if err != nil {
				return err
			}
			defer s.Close()
			files, err := workbench.Report(cmd.Context(), s, run, dir, strings.Split(formats, ","))
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"files": files})
			}
			for _, f := range files {
				fmt.Fprintln(a.stdout, f)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "folder to write to; it is made if absent")
	cmd.Flags().StringVar(&formats, "format", "html,json", "html, json, or both with a comma")
	cmd.Flags().StringVar(&run, "run", "", "another run than the latest")
	return cmd
}
