package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// A profile with values is recorded once, by whoever asked for it; one without leaves the ledger alone. One that cannot
// be recorded is not made.
func TestProfileWithValuesIsAudited(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "clinic"))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CHARTLIFT_OPERATOR", "Dr. Ask")
	plan := filepath.Join(dir, "migration.yaml")
	t.Setenv("SANDBOX", "http://127.0.0.1:1/fhir")
	for _, args := range [][]string{{"keys", "init"}, {"dry-run"}, {"profile"}, {"profile", "--show-values"}} {
		if code, _, faults := command(append(args, "-f", plan)...); code != exitDone {
			t.Fatalf("%v: exit %d\n%s", args, code, faults)
		}
	}
	path := filepath.Join(dir, ".chartlift", "ledger.db")
	migration := "clinic"
	l, err := ledger.View(context.Background(), "sqlite:"+path, migration)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range l.Audit(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.Action, "profile") {
			n++
			if r.Operator != "Dr. Ask" {
				t.Errorf("recorded is %q", r.Operator)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n != 1 {
		t.Errorf("%d entries of one profile with values", n)
	}
	held, err := ledger.Open(context.Background(), "sqlite:"+path, ledger.Options{Migration: migration, Operator: "another"})
	if err != nil {
		t.Fatal(err)
	}
	code, out, faults := command("profile", "--show-values", "-f", plan)
	if code != exitFailed || out != "" || !strings.Contains(faults, "profile with values is audited") {
		t.Errorf("with the ledger held by another: exit %d\n%s%s", code, out, faults)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
}
