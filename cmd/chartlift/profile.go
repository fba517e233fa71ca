package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) profileCommand() *cobra.Command {
	o := workbench.ProfileOptions{Operator: operator(), Now: time.Now}
	var dir string
	var save bool
	cmd := &cobra.Command{
		Use:   "profile [SOURCE…]",
		Short: "Find out what is in the sources",
		Long: `Reads the sources of the plan, or what is named without one (files, globs, folders; CSV, workbooks, dumps, SQLite; or
env:NAME, the environment variable that holds a database's DSN), and says what is in each table and column: rows, refused records, blanks, distinct values, types, date forms, keys, references and orphans, damaged characters,
sentinels, and what is likely to be protected health information. Of the plan only "sources:" need be right.

Patient data does not show: values appear only where a column has few, each seen for at least five patients, and nothing
about the column looks like PHI. --show-values lifts that, and is recorded in the audit log if the plan has a ledger.
What is guessed about files named without a plan is said with the table. "chartlift help profiles" explains the
output and its JSON form.

--save keeps a baseline beside the ledger, which "chartlift check --drift" compares a later export with. It needs the
migration's keys, since it names codes by a digest under them.

Exit: 0 done · 1 a source cannot be read · 2 wrong usage or sources · 130 interrupted.`,
		Example: "  chartlift profile\n  chartlift profile export/*.csv labs.xlsx\n  chartlift profile -o profile --json > profile.json\n  chartlift profile --save",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Progress = a.progress()
			if save {
				return a.saveBaseline(cmd, args)
			}
			p, err := a.profileOf(cmd, args, o)
			if err != nil {
				return err
			}
			var files []string
			if dir != "" {
				if files, err = profile.Write(dir, p); err != nil {
					return err
				}
			}
			switch {
			case a.json:
				return profile.JSON(a.stdout, p)
			case dir == "":
				return profile.Text(a.stdout, p)
			}
			for _, f := range files {
				fmt.Fprintln(a.stdout, f)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "write profile.html, profile.xlsx and profile.json to this folder")
	cmd.Flags().BoolVar(&save, "save", false, "keep a baseline beside the ledger, for check --drift")
	cmd.Flags().BoolVar(&o.ShowValues, "show-values", false, "also values that may be patient data; audited")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "shards read at once (default: one per core)")
	return cmd
}

// profileOf makes the profile of the files, or without any of the plan's sources.
func (a *app) profileOf(cmd *cobra.Command, files []string, o workbench.ProfileOptions) (*profile.Profile, error) {
	if len(files) > 0 {
		found, err := workbench.Guess(files, ".")
		if err != nil {
			return nil, err
		}
		if o.ShowValues {
			fmt.Fprintln(a.stderr, "values are shown that may be patient data; without a plan there is no audit log to record it in")
		}
		return workbench.ProfileGuessed(cmd.Context(), found, ".", o.Options)
	}
	p, audited, err := workbench.Profile(cmd.Context(), a.plan, o)
	if err == nil && o.ShowValues {
		if audited {
			fmt.Fprintln(a.stderr, "values are shown that may be patient data; the audit log has an entry of it")
		} else {
			fmt.Fprintln(a.stderr, "values are shown that may be patient data; the plan has no ledger yet, so it is not recorded")
		}
	}
	return p, err
}

// saveBaseline keeps what a later export is compared with.
func (a *app) saveBaseline(cmd *cobra.Command, args []string) error {
	if len(args) > 0 || a.json || cmd.Flags().Changed("show-values") || cmd.Flags().Changed("output") {
		return usagef("profile: --save keeps a baseline of the plan's sources and prints nothing; SOURCE, -o, --json and --show-values are for another call")
	}
	s, err := a.open(cmd.Context(), plan.Keys)
	if err != nil {
		return err
	}
	defer s.Close()
	path, err := workbench.SaveBaseline(cmd.Context(), s)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, path)
	return err
}
