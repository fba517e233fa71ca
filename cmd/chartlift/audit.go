package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The log of who did what: verify it, or write it out",
		Long: `Who started runs, exported patient data, backed keys up, repaired: the ledger keeps a record of each, under the
name in $CHARTLIFT_OPERATOR or of the user of the machine, and hashes each together with all before it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.auditVerifyCommand(), a.auditExportCommand())
	return cmd
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that no record was changed, and print a checkpoint",
		Long: `Computes the hashes of the audit log anew, and prints a checkpoint of it as it stands now. Keep checkpoints where
nobody can reach both them and the ledger: with --against one shows later that nothing before it was changed or cut off.

Exit: 0 the log is whole · 1 it was tampered with, or cannot be read · 2 wrong usage.`,
		Example: "  chartlift audit verify > checkpoint.txt\n  chartlift audit verify --against checkpoint.txt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var checkpoints []ledger.Checkpoint
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return usagef("%w", err)
				}
				c, err := ledger.ParseCheckpoint(string(text))
				if err != nil {
					return usagef("%s: %w", file, err)
				}
				checkpoints = append(checkpoints, c)
			}
			s, err := a.openLedger(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			now, err := s.Ledger.VerifyAudit(cmd.Context(), checkpoints...)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"records": now.Size, "checkpoint": now.String()})
			}
			_, err = fmt.Fprint(a.stdout, now)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "against", "", "a checkpoint that was kept")
	return cmd
}

func (a *app) auditExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the log, one JSON object a line",
		Long: `Writes every record of the audit log, the oldest first: number, time, operator, action, detail. It holds no patient
data.

Exit: 0 done · 1 it cannot be read · 2 wrong usage.`,
		Example: "  chartlift audit export > audit.ndjson",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.openLedger(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			for r, err := range s.Ledger.Audit(cmd.Context()) {
				if err != nil {
					return err
				}
				if err := a.printLine(r); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// openLedger opens a plan's ledger for reading; one that is not there yet is a usage error.
func (a *app) openLedger(cmd *cobra.Command) (*plan.Session, error) {
	s, err := a.open(cmd.Context(), plan.View)
	if err != nil {
		return nil, err
	}
	if s.Ledger == nil {
		return nil, errors.Join(usagef("nothing has run yet: there is no ledger at %s", s.Plan.LedgerPlace()), s.Close())
	}
	return s, nil
}
