package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) demoCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "demo [-o DIR]",
		Short: "A made-up hospital from export to report, in one go",
		Long: `Runs everything on a small made-up hospital, with a FHIR server inside this program: reads its export, maps and
seals it, loads it, then damages three resources in the server, reads everything back and writes the report. Faults
are planted in the export, too. It needs nothing, and everything it makes is in DIR.

Exit: 0 if everything that was planted was found · 1 if not.`,
		Example: "  chartlift demo\n  chartlift demo -o /tmp/look",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{app: a, dir: dir}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "chartlift-demo", "folder for the hospital and the report")
	return cmd
}

// demo is one demonstration: the made-up hospital in a folder, and a server inside this process.
type demo struct {
	*app
	dir      string
	expected expected
	found    []finding
}

// expected is what the fixture says was planted.
type expected struct {
	Refused  []planted       `json:"refused"`
	Skipped  []planted       `json:"skipped"`
	Findings []planted       `json:"findings"`
	Target   []plantedTarget `json:"target"`
}

type planted struct {
	Table string `json:"table"`
	Line  int64  `json:"line"`
	Rule  string `json:"rule"`
	What  string `json:"what"`
}

// finding is a planted fault and whether it was found.
type finding struct {
	What  string `json:"what"`
	Where string `json:"where"`
	Found bool   `json:"found"`
}

func (d *demo) say(format string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.stdout, format+"\n", args...)
	}
}

func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	hospital := filepath.Join(d.dir, "hospital")
	server, err := sandbox.New(sandbox.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String() + "/fhir"
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() { served <- serve(serving, l, server, 100*time.Millisecond) }()
	err = d.story(ctx, hospital, base)
	stop()
	if err = errors.Join(err, <-served); err != nil {
		return err
	}
	return d.verdict(time.Since(began))
}

// story is what happens, in order.
func (d *demo) story(ctx context.Context, hospital, base string) error {
	if err := d.lay(hospital, base); err != nil {
		return err
	}
	d.plan = filepath.Join(hospital, "migration.yaml")
	if _, err := plan.InitKeys(ctx, d.plan); err != nil {
		return err
	}
	d.say("Riverside General, a made-up hospital, moves to a FHIR server.\n\n1. Run: read, map, seal, load, read back.")
	s, err := d.open(ctx, plan.Tables|plan.Keys|plan.Write)
	if err != nil {
		return err
	}
	defer s.Close()
	summary, err := run.Run(ctx, s, run.Options{})
	if err != nil {
		return err
	}
	var read, refused, made, matched int64
	for _, t := range summary.Tables {
		read += t.Read
		refused += t.RefusedSum()
	}
	for typ, r := range summary.Resources {
		made += r.Made
		matched += summary.Verified[typ].Matched
	}
	d.say("   %d records read, %d refused, each with a place and a reason; %d resources made, %d read back equal.", read, refused, made, matched)
	if matched != made {
		return fmt.Errorf("demo: of %d resources %d came back equal before anything was damaged", made, matched)
	}
	d.say("2. Now somebody damages three resources in the server, and says nothing.")
	client := &targetEditor{base: base}
	for i := range d.expected.Target {
		if err := d.expected.Target[i].plant(ctx, client); err != nil {
			return fmt.Errorf("demo: %s: %w", d.expected.Target[i].What, err)
		}
	}
	d.say("3. Reconcile: read everything back once more, and compare.")
	if summary, err = run.Reconcile(ctx, s, ""); err != nil {
		return err
	}
	if _, err := workbench.Report(ctx, s, "", d.dir, []string{"html", "json"}); err != nil {
		return err
	}
	return d.compare(summary)
}

// lay writes the hospital into a fresh folder. Only what an earlier demo made is taken away.
func (d *demo) lay(hospital, base string) error {
	if _, err := os.Stat(hospital); err == nil {
		if _, err := os.Stat(filepath.Join(hospital, "expected.json")); err != nil {
			return usagef("demo: %s is there and was not made by the demo; name another folder with -o", hospital)
		}
		if err := os.RemoveAll(hospital); err != nil {
			return err
		}
	}
	source := fixtures.Riverside()
	if err := os.CopyFS(hospital, source); err != nil {
		return err
	}
	// The plan names a fixed address; this server listens on a free one.
	data, err := fs.ReadFile(source, "migration.yaml")
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "clinical:") {
			lines[i] = fmt.Sprintf("  clinical: {sandbox: %q}", base)
		}
	}
	if err := os.WriteFile(filepath.Join(hospital, "migration.yaml"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return err
	}
	expectations, err := fs.ReadFile(source, "expected.json")
	if err != nil {
		return err
	}
	return json.Unmarshal(expectations, &d.expected)
}

// compare holds the report that was written against what was planted.
func (d *demo) compare(summary *ledger.Summary) error {
	data, err := os.ReadFile(filepath.Join(d.dir, "report.json"))
	if err != nil {
		return err
	}
	var report struct {
		Refusals, Findings []planted
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return err
	}
	check := func(p planted, in []planted) {
		found := false
		for _, f := range in {
			found = found || f.Table == p.Table && f.Line == p.Line && f.Rule == p.Rule
		}
		d.found = append(d.found, finding{p.What, fmt.Sprintf("%s:%d", p.Table, p.Line), found})
	}
	for _, p := range d.expected.Refused {
		check(p, report.Refusals)
	}
	for _, p := range d.expected.Findings {
		check(p, report.Findings)
	}
	for _, p := range d.expected.Skipped {
		d.found = append(d.found, finding{p.What, p.Table, summary.Tables[p.Table].Skipped[p.Rule] > 0})
	}
	for _, p := range d.expected.Target {
		v := summary.Verified[p.Type]
		count := map[string]int64{"different": v.Different, "missing": v.Missing, "unexpected": v.Unexpected}[p.Verdict]
		d.found = append(d.found, finding{p.What, p.Type + " in the target: " + p.Verdict, count == 1})
	}
	return nil
}

// verdict says whether the demonstration held.
func (d *demo) verdict(took time.Duration) error {
	missed := 0
	d.say("\nWhat was planted, and whether it was found:")
	for _, f := range d.found {
		mark := "found "
		if !f.Found {
			mark, missed = "MISSED", missed+1
		}
		d.say("   %s  %s (%s)", mark, f.What, f.Where)
	}
	page := filepath.Join(d.dir, "report.html")
	if d.json {
		if err := d.printJSON(map[string]any{"planted": d.found, "missed": missed, "report": page}); err != nil {
			return err
		}
	}
	if missed > 0 {
		d.say("\n%d of %d were missed.", missed, len(d.found))
		return errSilent
	}
	d.say("\nAll %d found, in %.1f seconds. Open %s: that is what a clinical lead sees.\nNext, with your own export: chartlift help start", len(d.found), took.Seconds(), page)
	return nil
}
