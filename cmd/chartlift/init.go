package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
	"github.com/chartlift/chartlift/pipeline/extract/profile/draft"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) initCommand() *cobra.Command {
	var from []string
	var zone string
	cmd := &cobra.Command{
		Use:   "init DIR [--from SOURCE…]",
		Short: "Write a plan and first mappings, from what is in the source",
		Long: `Looks into the source (files, globs, folders, or env:NAME for the environment variable that holds a database's DSN)
as "chartlift profile" does, and writes DIR/migration.yaml and DIR/mappings: for each table whose name and columns tell
what it holds a mapping whose guesses are marked as such, with every other column under "unused:". The other tables stand
under "unused-tables:". Nothing that exists is overwritten.

The draft checks without a fault, and sends nothing anywhere but to the sandbox. It holds no value of the source but
codes that many patients share. Without --from the plan reads DIR/export/*.csv.

Exit: 0 written · 1 the source cannot be read · 2 wrong usage, or a file is there already.`,
		Example: "  chartlift init riverside --from export/*.csv\n  chartlift init riverside --from export --timezone America/Chicago",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			from = append(from, args[1:]...) // a shell puts the rest of a glob there
			if len(args) > 1 && len(from) == len(args)-1 {
				return usagef("init takes one folder; the source stands behind --from")
			}
			if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
				return usagef("--timezone: there is no time zone %q; a name such as America/Chicago", zone)
			}
			for _, name := range []string{"migration.yaml", "mappings"} {
				if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
					return usagef("%s is there already; init overwrites nothing", filepath.Join(dir, name))
				}
			}
			absolute, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			sources := []draft.Source{{Name: "legacy", Kind: "csv", Paths: []string{"export/*.csv"}}}
			found := &profile.Profile{}
			if len(from) > 0 {
				if sources, err = workbench.Guess(from, dir); err != nil {
					return err
				}
				if found, err = workbench.ProfileGuessed(cmd.Context(), sources, dir, profile.Options{Progress: a.progress()}); err != nil {
					return err
				}
			}
			files, tables := draft.Write(sources, found, draft.Options{Migration: filepath.Base(absolute), Zone: zone})
			if err := writeDraft(dir, files); err != nil {
				return err
			}
			return a.printDraft(dir, found.Notices, sources, files, tables)
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "file, glob, folder or env:NAME; may be given more than once")
	cmd.Flags().StringVar(&zone, "timezone", "", "of times that carry none, such as America/Chicago")
	return cmd
}

// writeDraft writes the files, each of which must be new. The plan comes last: what was cut off has none.
func writeDraft(dir string, files []draft.File) error {
	if err := os.MkdirAll(filepath.Join(dir, "mappings", "maps"), 0o755); err != nil {
		return err
	}
	for i := range files {
		f := files[len(files)-1-i]
		out, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(f.Path)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = out.WriteString(f.Text)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printDraft(dir string, notices []profile.Notice, sources []draft.Source, files []draft.File, tables []draft.Table) error {
	if a.json {
		type table struct {
			Name string `json:"name"`
			Type string `json:"type,omitempty"`
		}
		names, list := []string{}, []table{}
		for _, f := range files {
			names = append(names, f.Path)
		}
		for _, t := range tables {
			list = append(list, table{t.Name, t.Type})
		}
		return a.printJSON(map[string]any{"dir": dir, "files": names, "tables": list, "notices": notices})
	}
	for _, n := range notices {
		fmt.Fprintf(a.stdout, "notice: %s: %s\n", n.Source, n.Message)
	}
	for _, s := range sources {
		if form := s.Form(); form != "" {
			fmt.Fprintf(a.stdout, "guess: source %s: %s\n", s.Name, form)
		}
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	for _, t := range tables {
		kind := t.Type
		if kind == "" {
			kind = "not mapped: it stands under unused-tables"
		}
		fmt.Fprintf(w, "%s\t%s\n", t.Name, kind)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	plan := filepath.Join(dir, "migration.yaml")
	fmt.Fprintf(a.stdout, "written: %s and %s; look at every line marked as a guess\nnext: `chartlift check -f %s`, then `chartlift keys init -f %s` and `chartlift dry-run -f %s`\n",
		plan, plural(len(files)-1, "file")+" below "+filepath.Join(dir, "mappings"), plan, plan, plan)
	return nil
}
