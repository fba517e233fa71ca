package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The exit codes of design.md, section 10, command by command, in the order of a migration; an interrupted one last.
func TestExitCodes(t *testing.T) {
	server := newHospital(t)
	t.Setenv("SANDBOX", server.server.URL+"/fhir")
	dir := t.TempDir()
	if err := copyMissing(dir, os.DirFS(filepath.Join("testdata", "clinic"))); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(dir, "migration.yaml")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		ctx  context.Context
		want int
		args []string
	}{
		{t.Context(), exitUsage, []string{"nonsense"}},
		{t.Context(), exitUsage, []string{"check", "--nonsense"}},
		{t.Context(), exitUsage, []string{"check", "too", "many"}},
		{t.Context(), exitUsage, []string{"check", "-f", filepath.Join(dir, "none.yaml")}},
		{t.Context(), exitUsage, []string{"check", "--log-level", "loud"}},
		{t.Context(), exitDone, []string{"check"}},
		{t.Context(), exitDone, []string{"test"}},
		{t.Context(), exitDone, []string{"help", "exit-codes"}},
		{t.Context(), exitUsage, []string{"run"}}, // no keys yet
		{t.Context(), exitUsage, []string{"status"}},
		{t.Context(), exitUsage, []string{"eval", "1 +"}},
		{t.Context(), exitDone, []string{"eval", "1 + 1"}},
		{t.Context(), exitDone, []string{"keys", "init"}},
		{stopped, exitInterrupted, []string{"dry-run"}},
		{t.Context(), exitDone, []string{"dry-run"}},
		{stopped, exitInterrupted, []string{"run"}},
		{t.Context(), exitDone, []string{"run"}},
		{stopped, exitInterrupted, []string{"reconcile"}},
		{t.Context(), exitDone, []string{"reconcile"}},
		{t.Context(), exitUsage, []string{"report"}},
		{t.Context(), exitDone, []string{"report", "-o", out}},
		{t.Context(), exitUsage, []string{"export"}},
		{t.Context(), exitDone, []string{"export", "-o", out}},
		{t.Context(), exitDone, []string{"status"}},
		{t.Context(), exitUsage, []string{"sandbox", "--faults", "nonsense"}},
	} {
		var stdout, stderr bytes.Buffer
		args := c.args
		if !strings.Contains(strings.Join(args, " "), "-f ") {
			args = append([]string{"-f", plan}, args...)
		}
		if got := chartlift(c.ctx, args, strings.NewReader(""), &stdout, &stderr); got != c.want {
			t.Errorf("chartlift %s: exit %d, wanted %d\n%s%s", strings.Join(c.args, " "), got, c.want, stdout.String(), stderr.String())
		}
	}
}
