package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

func TestASecondOperatorIsRefused(t *testing.T) {
	h := newRiverside(t)
	h.mustRun(exitDone, exitDone, "keys", "init")
	l, err := ledger.Open(t.Context(), "sqlite:"+filepath.Join(h.dir, ".chartlift", "ledger.db"), ledger.Options{Migration: "riverside-demo", Operator: "jo"})
	if err != nil {
		t.Fatal(err)
	}
	code, _, stderr := h.command("run")
	if code != exitFailed || !strings.Contains(stderr, "another process works on this plan") || !strings.Contains(stderr, "jo") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.mustRun(exitDone, exitReview, "run") // the lock is free the moment its holder is gone
}

// The marker in the target names the ledger: another one is refused before it sends anything, and the marker itself is
// neither unexpected nor made.
func TestASecondLedgerIsRefused(t *testing.T) {
	h := newRiverside(t)
	h.mustRun(exitDone, exitDone, "keys", "init")
	first := h.summary(exitDone, exitReview, "run", "--json")
	if _, ok := first.Resources["Basic"]; ok || first.Verified["Basic"].Unexpected != 0 {
		t.Errorf("the marker is in the account: %+v", first)
	}
	before, _ := h.content([]string{"Basic", "Patient"})
	other := h.copied(t)
	if err := os.RemoveAll(filepath.Join(other.dir, ".chartlift")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also the second time
		code, _, stderr := other.command("run")
		if code != exitUsage || !strings.Contains(stderr, "loaded from another ledger") || !strings.Contains(stderr, "riverside-demo") {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
	after, highest := h.content([]string{"Basic", "Patient"})
	if len(before) != len(after) || highest != 1 {
		t.Error("the refused run wrote into the target")
	}
	// The same seen from the first ledger: somebody else has taken the target over.
	editor := &targetEditor{base: h.server.URL + "/fhir"}
	page, err := editor.do(t.Context(), http.MethodGet, "Basic", nil)
	if err != nil || len(entries(page)) != 1 {
		t.Fatal("no marker", err)
	}
	marker := entries(page)[0].Get("resource").Clone()
	marker.Get("identifier").Item(1).Set("value", fhir.NewString(strings.Repeat("0", 32)))
	if _, err := editor.do(t.Context(), http.MethodPut, "Basic/"+marker.ID(), marker.AppendCanonical(nil)); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "reconcile"} {
		if code, _, stderr := h.command(command); code != exitUsage || !strings.Contains(stderr, strings.Repeat("0", 32)) {
			t.Errorf("%s: exit %d: %s", command, code, stderr)
		}
	}
	h.mustRun(exitDone, exitReview, "dry-run") // needs no target
}

// What an abandoned run has loaded is known to the next.
func TestAnAcceptedChangeForgetsNothing(t *testing.T) {
	h := newRiverside(t)
	h.finishes("keys", "init")
	if e := h.start(t.Context(), "state: written, not switched to", "run"); !e.killed {
		t.Fatal(e)
	}
	file := filepath.Join(h.dir, "export", "immunizations.csv")
	text := strings.TrimRight(readFile(t, file), "\r\n")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text[:strings.LastIndexByte(text, '\n')+1]), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := h.command("run"); code != exitUsage || !strings.Contains(stderr, "table ehr/immunizations") {
		t.Errorf("a changed source: exit %d: %s", code, stderr)
	}
	last := h.summary(exitDone, exitReview, "run", "--accept-change", "--json")
	for typ, r := range last.Resources {
		if r.Loaded != 0 || r.Unchanged != r.Made {
			t.Errorf("%s: of %d made %d are loaded again", typ, r.Made, r.Loaded)
		}
		if n := last.Verified[typ].Unexpected; n != 0 {
			t.Errorf("%s: %d are taken for strangers", typ, n)
		}
	}
}

// A disk without room stops the run; with room it goes on. The limit on the size of a file stands for the disk.
func TestAFullDisk(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell to set a limit with")
	}
	reference := runUnbroken(t, newRiverside(t))
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for _, limit := range []string{"8", "24", "64", "160", "320"} { // of 512 bytes
		h := newRiverside(t)
		h.finishes("keys", "init")
		h.sameKeys(reference.keys)
		cmd := exec.Command(shell, "-c", `ulimit -f "$0" && exec "$@"`, limit, path, "-f", filepath.Join(h.dir, "migration.yaml"), "run")
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code == exitFailed {
			stopped++
		} else if code != exitDone && code != exitReview {
			t.Errorf("limit %s: %v\n%s", limit, err, out)
		}
		reference.compare(t, h, parseAccount(t, h.finishes("run", "--json")))
		h.leavesNoHalves()
	}
	if stopped < 2 {
		t.Errorf("only %d limits were felt", stopped)
	}
}

// What was sent and never recorded is looked for before it is sent again: the target holds one version of everything.
// One request at a time, so that nothing is on its way when the process dies.
func TestALostAnswerIsLookedForFirst(t *testing.T) {
	for _, point := range []string{"run: outcomes known, no segment yet", "target: after send bundle:3", "segment: written:2"} {
		h := newRiverside(t)
		plan := readFile(t, filepath.Join(h.dir, "migration.yaml"))
		h.plan(strings.Replace(plan, `/fhir"}`, `/fhir", parallel: 1}`, 1))
		h.finishes("keys", "init")
		if e := h.start(t.Context(), point, "run"); !e.killed {
			t.Fatal(e)
		}
		a := parseAccount(t, h.finishes("run", "--json"))
		types := []string{"Basic"}
		for typ := range a.Resources {
			types = append(types, typ)
		}
		if _, highest := h.content(types); highest != 1 {
			t.Errorf("%s: the target counts up to version %d", point, highest)
		}
	}
}

// A list of exclusions that is whole, and not the one that the ledger counted, is damage too.
func TestAnotherListOfExclusionsIsRefused(t *testing.T) {
	h := newRiverside(t)
	h.mustRun(exitDone, exitDone, "keys", "init")
	h.mustRun(exitDone, exitReview, "run")
	s, err := plan.Open(t.Context(), filepath.Join(h.dir, "migration.yaml"), plan.Options{Access: plan.Keys})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stage.ReadExclusions(t.Context(), s.Stage.Sub("run-1"), s.Keys, "run-1")
	if err != nil || len(list) == 0 {
		t.Fatal("the check took nothing out", err)
	}
	err = stage.WriteExclusions(t.Context(), s.Stage.Sub("run-1"), s.Keys, "run-1", list[1:])
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := h.command("reconcile"); code != exitFailed || !strings.Contains(stderr, "run-1.excluded is damaged") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
