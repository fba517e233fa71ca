package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) statusCommand() *cobra.Command {
	var run string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Where the run stands",
		Long: "Shows the account of the latest run (or of --run), also while another process works on it.\n\n" +
			"Exit, as the run stands: 0 finished with nothing to review, or still running · 1 failed · 3 finished with something to\n" +
			"review, or partial: something is left to do · 130 interrupted.",
		Example: "  chartlift status\n  chartlift status --watch\n  chartlift status --run dry-2 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := a.open(ctx, plan.View)
			if err != nil {
				return err
			}
			defer s.Close()
			for {
				summary, err := workbench.Summary(ctx, s, run)
				if err != nil {
					return err
				}
				if watch && isTerminal(a.stdout) {
					fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
				}
				err = a.printSummary(summary, summary.State == ledger.Finished || summary.State == ledger.Partial)
				switch {
				case err != nil:
					return err
				case summary.State == ledger.Interrupted:
					return errInterrupted
				case summary.State == ledger.Failed:
					return errSilent
				case !watch || summary.State != ledger.Running:
					return nil
				}
				if err := pause(ctx, 2*time.Second); err != nil {
					return err
				}
			}
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "another run than the latest, such as run-3 or dry-1")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every two seconds until the run ends")
	return cmd
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
