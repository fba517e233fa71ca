package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
)

func (a *app) reconcileCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Read back everything that was loaded, and compare",
		Long: `Reads every resource of the latest run (or of --run) back from the target, compares it element by element
with what was sent, and looks for resources that carry this migration's mark and should not be there. It sends
nothing: "chartlift run --repair" sends again what is missing.

What a server may change without changing the meaning (time zone, decimal form, its own meta) is equal under a
named rule. Everything else is different, missing or unexpected; what somebody has changed there since
"live:" in the plan is edited. What could not be compared is never a match.` + "\n" + exitHelp,
		Example: "  chartlift reconcile\n  chartlift reconcile --run run-3 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), plan.Keys|plan.Write)
			if err != nil {
				return err
			}
			defer s.Close()
			summary, err := run.Reconcile(cmd.Context(), s, id)
			if summary == nil {
				return err
			}
			return errors.Join(err, a.printSummary(summary, err == nil))
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "another run than the latest, such as run-3")
	return cmd
}
