package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/run"
)

const exitHelp = `
Exit: 0 done, every gate met, nothing to review · 1 failed · 2 wrong usage, plan or mapping ·
3 finished, with something to review · 130 interrupted. The same command again goes on where it stopped.`

func (a *app) runCommand() *cobra.Command {
	var o run.Options
	var repair repairKinds
	var rebuild bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Extract, map, seal, load, and read everything back",
		Long: `Runs the plan: every record is read, mapped, sealed and staged; duplicates and references are checked
over all of them; what passed is loaded in order of reference; then everything is read back and compared.

A run that was stopped, by Ctrl-C or by a crash, is resumed by the same command. After a finished run it
starts a new one, which sends only what has changed. What somebody has changed in the target since is never
overwritten: it is named as edited. What the source no longer has is named as vanished; the plan says what becomes
of it ("vanished:").

With --repair nothing is read from the source. What reading back found missing in the latest run is sent again, with
--repair=missing,different also what is different. Then everything is read back anew. What somebody has changed is
left as it is. "chartlift dry-run --repair" counts what would be sent.

With --rebuild-state nothing is read and nothing is sent. Where the state of the target is lost, it is made anew out
of what all runs have left. "chartlift help second-runs" says more of all this.` + "\n" + exitHelp,
		Example: "  chartlift run\n  chartlift run --wave pilot\n  chartlift run --repair\n  chartlift run --rebuild-state\n  chartlift run --json > run.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rebuild {
				return a.rebuild(cmd)
			}
			if len(repair) > 0 {
				return a.repair(cmd, repair, false)
			}
			return a.execute(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.Wave, "wave", "", "only the patients of this wave, and what belongs to no patient")
	cmd.Flags().BoolVar(&o.Rejected, "rejected", false, "also try again what the target rejected")
	repairFlag(cmd, &repair)
	cmd.Flags().BoolVar(&rebuild, "rebuild-state", false, "make the state of the target anew, where it is lost, out of what all runs have left")
	deepFlag(cmd, &o.Deep)
	cmd.Flags().BoolVar(&o.AcceptChange, "accept-change", false, "end an unfinished run that a change has cut off, and start a new one")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "concurrent extractors (default: one per core)")
	cmd.Flags().Var((*byteSize)(&o.Memory), "memory", "what tables read beside others may hold in memory, such as 2GB (default 512MB); the rest goes to encrypted temporary files")
	return cmd
}

func (a *app) dryRunCommand() *cobra.Command {
	o := run.Options{Dry: true}
	var repair repairKinds
	cmd := &cobra.Command{
		Use:   "dry-run",
		Short: "Everything but sending: read, map, validate, seal, check",
		Long: `Does exactly what a run does up to the point of sending, and sends nothing: it needs no target. The
staged resources can be looked at with "chartlift export".

With --repair it counts what "chartlift run --repair" would send again. For that it looks at the target, and
changes nothing there.` + "\n" + exitHelp,
		Example: "  chartlift dry-run\n  chartlift dry-run --sample 1000\n  chartlift dry-run --repair=missing,different",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(repair) > 0 {
				return a.repair(cmd, repair, true)
			}
			return a.execute(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.Wave, "wave", "", "only the patients of this wave, and what belongs to no patient")
	repairFlag(cmd, &repair)
	cmd.Flags().Int64Var(&o.Sample, "sample", 0, "only the first N records of each table; references into the rest are then not judged")
	deepFlag(cmd, &o.Deep)
	cmd.Flags().BoolVar(&o.AcceptChange, "accept-change", false, "end an unfinished dry run that a change has cut off, and start a new one")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "concurrent extractors (default: one per core)")
	cmd.Flags().Var((*byteSize)(&o.Memory), "memory", "what tables read beside others may hold in memory, such as 2GB (default 512MB); the rest goes to encrypted temporary files")
	return cmd
}

// repairKinds is a flag such as missing,different.
type repairKinds []ledger.Kind

func repairFlag(cmd *cobra.Command, into *repairKinds) {
	cmd.Flags().Var(into, "repair", "send again what reading back found missing; --repair=missing,different also what is different. Edits are left alone")
	cmd.Flags().Lookup("repair").NoOptDefVal = string(ledger.Missing)
}

func (r *repairKinds) String() string {
	var names []string
	for _, k := range *r {
		names = append(names, string(k))
	}
	return strings.Join(names, ",")
}

func (r *repairKinds) Set(text string) error {
	*r = nil
	for name := range strings.SplitSeq(text, ",") {
		kind := ledger.Kind(strings.TrimSpace(name))
		if !slices.Contains(run.Repairable, kind) {
			return errors.New("must be missing, different, or both with a comma between them")
		}
		*r = append(*r, kind)
	}
	return nil
}

func (r *repairKinds) Type() string { return "KINDS" }

// rebuild makes the state of the target anew.
func (a *app) rebuild(cmd *cobra.Command) error {
	if err := alone(cmd, "rebuild-state"); err != nil {
		return err
	}
	s, err := a.open(cmd.Context(), plan.Keys|plan.Write)
	if err != nil {
		return err
	}
	defer s.Close()
	n, err := run.Rebuild(cmd.Context(), s)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "the state of the target is there again: %d resources. `chartlift run` goes on from it\n", n)
	return nil
}

// alone refuses other flags beside one that reads no source.
func alone(cmd *cobra.Command, name string) error {
	var other []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != name && cmd.LocalNonPersistentFlags().Lookup(f.Name) != nil {
			other = append(other, "--"+f.Name)
		}
	})
	if len(other) > 0 {
		return usagef("--%s goes by itself: it reads no source, so %s has no meaning beside it", name, strings.Join(other, ", "))
	}
	return nil
}

// repair sends again what is missing or different, or says what it would send.
func (a *app) repair(cmd *cobra.Command, kinds repairKinds, dry bool) error {
	if err := alone(cmd, "repair"); err != nil {
		return err
	}
	s, err := a.open(cmd.Context(), plan.Keys|plan.Write)
	if err != nil {
		return err
	}
	defer s.Close()
	done, summary, err := run.Repair(cmd.Context(), s, kinds, dry)
	if done == nil {
		return err
	}
	if a.json && summary == nil {
		if err == nil {
			err = a.printJSON(done)
		}
		return err
	}
	w := a.stderr
	if dry {
		w = a.stdout
	}
	printRepaired(w, done, dry)
	if summary == nil {
		return err
	}
	return errors.Join(err, a.printSummary(summary, err == nil))
}

// printRepaired says what became of each resource.
func printRepaired(w io.Writer, done *run.Repaired, dry bool) {
	sent := "sent again"
	if dry {
		sent = "would be sent again"
	}
	none := true
	for _, part := range []struct {
		counts map[string]int64
		what   string
	}{{done.Sent, sent}, {done.Edited, "left as somebody has changed them"}, {done.There, "need nothing any more"}, {done.Refused, "not taken by the target, or not known"}} {
		for _, typ := range slices.Sorted(maps.Keys(part.counts)) {
			fmt.Fprintf(w, "%s: %d %s %s\n", done.Run, part.counts[typ], typ, part.what)
			none = false
		}
	}
	if none {
		fmt.Fprintf(w, "%s: there is nothing to repair\n", done.Run)
	}
}

// deepFlag adds --deep, of all resources or a share of them.
func deepFlag(cmd *cobra.Command, into *float64) {
	cmd.Flags().Var((*share)(into), "deep", "validate once more, from the written bytes alone, all resources or a share of them (--deep=1%); a check of this program on itself")
	cmd.Flags().Lookup("deep").NoOptDefVal = "100%"
}

// share is a flag such as 1% or 0.01.
type share float64

func (s *share) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*s)*100, 'g', -1, 64) + "%"
}

func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= 1) {
		return errors.New("must be a share of the resources, such as 1% or 0.01")
	}
	*s = share(v)
	return nil
}

func (s *share) Type() string { return "SHARE" }

// byteSize is a flag such as 512MB.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*b))
}

func (b *byteSize) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n < 1_000_000 || n > 1<<50 {
		return errors.New("must be a size of at least 1MB, such as 512MB or 2GB")
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) Type() string { return "SIZE" }

func (a *app) execute(ctx context.Context, o run.Options) error {
	s, err := a.open(ctx, plan.Tables|plan.Keys|plan.Write)
	if err != nil {
		return err
	}
	defer s.Close()
	summary, err := run.Run(ctx, s, o)
	if summary == nil {
		return err
	}
	return errors.Join(err, a.printSummary(summary, err == nil))
}

// printSummary shows a run's account, and answers errReview if somebody has to look at it.
func (a *app) printSummary(s *ledger.Summary, ended bool) error {
	if a.json {
		if err := a.printJSON(s); err != nil {
			return err
		}
	} else if err := report.Text(a.stdout, report.Data{Summary: s}); err != nil {
		return err
	}
	if ended && run.NeedsReview(s) {
		if !a.json {
			fmt.Fprintln(a.stderr, "there is something to review: `chartlift report -o report` shows it")
		}
		return errReview
	}
	return nil
}
