package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline"
)

func (a *app) keysCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "keys",
		Short: "Make the keys that seal patient data",
		Long: `Patient data is encrypted under a key of each patient; those are wrapped by a root key, and that by the
key-encryption key (KEK) that the plan names under phi.keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(&cobra.Command{
		Use:   "init",
		Short: "Make the KEK (if it is a file), the root key and the id key",
		Long: `Makes the keys of the plan's migration, once. Nothing that exists is ever overwritten. Keys must lie apart
from data: a path inside the stage's or the ledger's folder is refused.

Whoever loses these files loses the patient data that is sealed with them: keep a copy in another place.`,
		Example: "  chartlift keys init",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			uri, err := pipeline.InitKeys(a.plan)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"keys": uri})
			}
			fmt.Fprintf(a.stdout, "made the keys of this migration at %s\nkeep a copy of that folder in another place; next: `chartlift dry-run`\n", uri)
			return nil
		},
	})
	return group
}
