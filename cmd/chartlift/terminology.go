package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) terminologyCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "terminology",
		Short: "See which codes no concept map knows",
		Long: `Codes of a legacy system become codes of a standard by the concept maps of a mapping pack;
"chartlift help concept-maps" explains how to write them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(a.unmappedCommand())
	return group
}

func (a *app) unmappedCommand() *cobra.Command {
	var o workbench.UnmappedOptions
	cmd := &cobra.Command{
		Use:   "unmapped",
		Short: "List the codes that no concept map knows, by frequency",
		Long: `Lists the codes of the latest run (or of --run) that no concept map knows: the map, how often, in how many
patients, and the code itself where it may be shown: if five patients or more have it, and the policy keeps what its
column feeds. Patients are counted up to 64.

-o writes a CSV file for each map, ready to be filled in: a concept map with the map's own settings and a line for each
code that is shown. A line that is not filled in is refused with its place when the file is read.

--show-values shows every code, also those of few patients. The source is read again for that, and the act is written
into the audit log.

Exit: 0 there are none · 2 a file that would be written is there already · 3 there are some.`,
		Example: "  chartlift terminology unmapped\n  chartlift terminology unmapped -o to-fill-in\n  chartlift terminology unmapped --run dry-1 --show-values --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			access := plan.View
			if o.ShowValues {
				access = plan.Tables | plan.Keys | plan.Write
			}
			s, err := a.open(cmd.Context(), access)
			if err != nil {
				return err
			}
			defer s.Close()
			found, err := workbench.Unmapped(cmd.Context(), s, o)
			if err != nil {
				return err
			}
			return a.printUnmapped(found)
		},
	}
	cmd.Flags().StringVarP(&o.Dir, "output", "o", "", "folder to write concept maps to; it is made if absent")
	cmd.Flags().StringVar(&o.Run, "run", "", "another run than the latest, such as run-3 or dry-1")
	cmd.Flags().BoolVar(&o.ShowValues, "show-values", false, "every code, whoever has it: audited")
	return cmd
}

func (a *app) printUnmapped(found *workbench.UnmappedCodes) error {
	hidden, unfit := 0, 0
	for _, n := range found.Hidden {
		hidden += n
	}
	for _, n := range found.Unfit {
		unfit += n
	}
	if a.json {
		type row struct {
			Map      string `json:"map"`
			Code     string `json:"code"` // a keyed digest
			Value    string `json:"value"`
			Count    int64  `json:"count"`
			Patients int64  `json:"patients"`
		}
		rows, files := []row{}, []string{}
		for _, u := range found.Codes {
			rows = append(rows, row{u.Map, u.Code, u.Value, u.Count, u.Patients})
		}
		if err := a.printJSON(map[string]any{"run": found.Run, "unmapped": rows, "hidden": hidden, "files": append(files, found.Files...)}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
		if len(found.Codes) > 0 {
			fmt.Fprintln(w, "MAP\tCOUNT\tPATIENTS\tCODE")
		}
		for _, u := range found.Codes {
			value := "(not shown)"
			if u.Value != "" {
				value = inert(u.Value)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", u.Map, u.Count, workbench.Patients(u.Patients), value)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, f := range found.Files {
			fmt.Fprintln(a.stdout, f)
		}
		fmt.Fprintf(a.stdout, "%s: %s that no concept map knows", found.Run, plural(len(found.Codes), "code"))
		if hidden > 0 {
			fmt.Fprintf(a.stdout, ", %d of them not shown", hidden)
		}
		fmt.Fprintln(a.stdout)
		if unfit > 0 {
			fmt.Fprintf(a.stdout, "%s with white space around them can stand in no concept map (%s): use .trim() in the mapping\n",
				plural(unfit, "code"), strings.Join(slices.Sorted(maps.Keys(found.Unfit)), ", "))
		}
	}
	if len(found.Codes) > 0 {
		return errReview
	}
	return nil
}

// inert is a text of the source as a terminal may show it: control and format characters are made visible.
func inert(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
