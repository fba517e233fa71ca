package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ledgerVariable is where the plans of these tests find the ledger.
const ledgerVariable = "CHARTLIFT_TEST_LEDGER"

// serverLedger makes the plan of a hospital keep its ledger in a schema of its own on a real server. It returns what runs
// a statement there.
func serverLedger(t *testing.T, h *hospital) func(statement string) {
	t.Helper()
	at := legacyService(t, "CHARTLIFT_POSTGRES")
	schema := fmt.Sprintf("ledger_%d_%d", os.Getpid(), legacyDatabases.Add(1))
	t.Setenv(ledgerVariable, at+"&search_path="+schema)
	h.plan(readFile(t, filepath.Join(h.dir, "migration.yaml")) + "\nledger: \"${" + ledgerVariable + "}\"\n")
	statement := func(text string) {
		t.Helper()
		if err := feed(exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", at), text); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { statement("DROP SCHEMA IF EXISTS " + schema + " CASCADE") })
	return func(text string) { statement("SET search_path = " + schema + ";" + text) }
}

// What differs between two hospitals that do the same: the time it took, and where the target is.
var measured = regexp.MustCompile(`"(seconds|rate)": ?[0-9.]+|"generated": ?"[^"]*"|http://127\.0\.0\.1:[0-9]+`)

// The same plan gives the same account, byte for byte, whichever database keeps the ledger.
func TestLedgersAgree(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	said := func(h *hospital) (texts []string) {
		h.mustRun(exitDone, exitDone, "keys", "init")
		h.sameKeys(keys)
		for _, args := range [][]string{
			{"dry-run", "--json"}, {"run", "--json"}, {"status", "--json"}, {"run", "--json"}, {"reconcile", "--json"}, {"report", "-o", "out", "--format", "json"},
		} {
			if args[0] == "report" {
				args[2] = filepath.Join(h.dir, "out")
			}
			texts = append(texts, h.mustRun(exitDone, exitReview, args...))
		}
		texts[len(texts)-1] = readFile(t, filepath.Join(h.dir, "out", "report.json"))
		for i := range texts {
			texts[i] = measured.ReplaceAllString(texts[i], "_")
		}
		return texts
	}
	server := newRiverside(t)
	serverLedger(t, server)
	there := said(server)
	if files, err := filepath.Glob(filepath.Join(server.dir, ".chartlift", "*.db*")); err != nil || len(files) > 0 {
		t.Errorf("there is a file of a ledger too: %v, %v", files, err)
	}
	here := said(newRiverside(t))
	for i := range here {
		if diff := cmp.Diff(here[i], there[i]); diff != "" {
			t.Errorf("output %d (-sqlite +postgres):\n%s", i, diff)
		}
	}
	if len(here[len(here)-1]) < 1000 || !strings.Contains(here[1], `"loaded"`) {
		t.Errorf("too little was compared: %q", here)
	}
}

// A run whose ledger is on a server is killed. Another one waits for the end of its lease, reading does not, and after it
// the same command goes on. Nothing on the way tells the secret.
func TestRunOnAServersLedgerResumes(t *testing.T) {
	h := newRiverside(t)
	statement := serverLedger(t, h)
	h.mustRun(exitDone, exitDone, "keys", "init")
	if e := h.start(t.Context(), "target: before send bundle", "run"); !e.killed {
		t.Fatal(e)
	}
	if a := h.summary(exitDone, exitReview, "status", "--json"); a.State != "running" {
		t.Errorf("the killed run is %s", a.State)
	}
	code, out, faults := h.command("run")
	if code != exitFailed || !strings.Contains(faults, "its lease ends in") {
		t.Errorf("a second run: exit %d\n%s\n%s", code, out, faults)
	}
	password, _, _ := strings.Cut(strings.SplitN(os.Getenv(ledgerVariable), ":", 3)[2], "@")
	if strings.Contains(out+faults, password) || strings.Contains(out+faults, "postgres://") {
		t.Error("the address of the ledger is shown")
	}
	statement("UPDATE sessions SET expires = 1")
	h.mustRun(exitReview, exitReview, "run")
	h.mustRun(exitReview, exitReview, "reconcile")
	a := h.summary(exitReview, exitReview, "status", "--json")
	if a.Run != "run-1" || a.State != "finished" {
		t.Errorf("got %s, %s", a.Run, a.State)
	}
	for _, typ := range []string{"Patient", "Condition"} {
		if v, r := a.Verified[typ], a.Resources[typ]; v.Matched == 0 || v.Matched != r.Loaded+r.Unchanged {
			t.Errorf("%s: %+v, %+v", typ, r, v)
		}
	}
}
