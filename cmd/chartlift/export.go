package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) exportCommand() *cobra.Command {
	var o workbench.ExportOptions
	cmd := &cobra.Command{
		Use:   "export -o DIR",
		Short: "Write the staged resources as NDJSON, one file per type",
		Long: `Writes <Type>.ndjson for each type, and places.ndjson: for each record what became of it, as {"table", "line",
"type", "id", "outcome"} with outcome made, merged, refused or skipped.
"chartlift validate DIR/[A-Z]*.ndjson" judges the first, and leaves the second alone.

Without --identified each resource is its clinical part alone, as the PHI policy left it. With --identified both
parts are joined: the files then hold patient data in plain text, and the act is written into the audit log.`,
		Example: "  chartlift export -o out\n  chartlift export -o out --identified --run dry-1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Dir == "" {
				return usagef("export: -o names the folder to write to")
			}
			access := plan.Tables | plan.Keys | plan.View
			if o.Identified {
				access = plan.Tables | plan.Keys | plan.Write
			}
			s, err := a.open(cmd.Context(), access)
			if err != nil {
				return err
			}
			defer s.Close()
			counts, err := workbench.Export(cmd.Context(), s, o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"resources": counts})
			}
			for _, typ := range slices.Sorted(maps.Keys(counts)) {
				fmt.Fprintf(a.stdout, "%9d  %s.ndjson\n", counts[typ], typ)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&o.Dir, "output", "o", "", "folder to write to; it is made if absent")
	cmd.Flags().BoolVar(&o.Identified, "identified", false, "join both parts: plain patient data, audited")
	cmd.Flags().StringVar(&o.Run, "run", "", "another run than the latest")
	return cmd
}
