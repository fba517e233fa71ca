package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// TestStatusBesideARun asks for status and report a hundred times each while another process runs: it is always answered,
// and the sums of every answer balance.
func TestStatusBesideARun(t *testing.T) {
	times := 100
	if testing.Short() {
		times = 10
	}
	h := newRiversideWith(t, sandbox.Options{Faults: "slow=5ms"})
	h.mustRun(exitDone, exitDone, "keys", "init")
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan end, 1)
	results := filepath.Join(h.dir, "export", "results.csv")
	export := readFile(t, results)
	if err := os.Chmod(results, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { // one run after the other, each with something to load
		var e end
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- e
				return
			default:
			}
			if err := os.WriteFile(results, []byte(strings.ReplaceAll(export, ",Sodium,", fmt.Sprintf(",Sodium %d,", i))), 0o600); err != nil {
				ended <- end{code: exitFailed, stderr: err.Error()}
				return
			}
			e = h.start(t.Context(), "", "run", "--json")
			if e.code != exitDone && e.code != exitReview {
				ended <- e
				return
			}
		}
	}()
	for waits := true; waits; { // nothing has run yet
		select {
		case e := <-ended:
			t.Fatal(e)
		default:
			code, _, faults := h.command("status", "--json")
			waits = code != exitDone && code != exitReview
			if waits && !strings.Contains(faults, "nothing has run yet") {
				t.Fatalf("status before the first run: exit %d: %s", code, faults)
			}
		}
	}
	states := map[string]int{}
	out := filepath.Join(t.TempDir(), "report")
	for range times {
		code, text, faults := h.command("status", "--json")
		if code != exitDone && code != exitReview {
			t.Fatalf("status: exit %d\n%s\n%s", code, text, faults)
		}
		states[decode[account](t, text).State]++
		code, _, faults = h.command("report", "-o", out, "--format", "json")
		if code != exitDone {
			t.Fatalf("report: exit %d\n%s", code, faults)
		}
		states[decode[account](t, readFile(t, filepath.Join(out, "report.json"))).State]++
		if wrong := h.balance(); len(wrong) > 0 {
			t.Fatalf("the sums do not balance: %q", wrong)
		}
	}
	close(stop)
	if e := <-ended; e.code != exitDone && e.code != exitReview {
		t.Error(e)
	}
	t.Logf("states that were seen: %v", states)
	if states["running"] == 0 {
		t.Error("no run was seen running")
	}
}

// balance is what is wrong with the sums of the latest run, as another process sees it.
func (h *hospital) balance() []string {
	h.t.Helper()
	l, err := ledger.View(h.t.Context(), "sqlite:"+filepath.Join(h.dir, ".chartlift", "ledger.db"), "riverside-demo")
	if err != nil {
		h.t.Fatal(err)
	}
	latest, ok, err := l.Latest(h.t.Context(), ledger.Real)
	if err != nil || !ok {
		h.t.Fatal(ok, err)
	}
	s, err := l.Summary(h.t.Context(), latest.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		h.t.Fatal(err)
	}
	return ledger.Balance(s)
}
