package run

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// riverside lays the demo's hospital into a folder, with keys and a server, and answers the plan.
func riverside(t *testing.T) string {
	t.Helper()
	server, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		web.Close()
		_ = server.Close()
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, fixtures.Riverside()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "migration.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "http://127.0.0.1:8410/fhir", web.URL+"/fhir", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.InitKeys(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return file
}

func openSession(t *testing.T, file string, progress plan.Progress) *plan.Session {
	t.Helper()
	s, err := plan.Open(t.Context(), file, plan.Options{Access: plan.Tables | plan.Keys | plan.Write, Operator: "jo", Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A file that changes under the run, and keeps its size and time, is found by what was read of it.
func TestASourceThatChangesUnderTheRun(t *testing.T) {
	migration := riverside(t)
	s := openSession(t, migration, nil)
	if _, err := s.Cuts(t.Context()); err != nil { // what a run is pinned to
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(migration), "export", "visits.csv")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := len(text) / 2
	for text[at] < '1' || text[at] > '8' {
		at++
	}
	text[at]++
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	summary, err := Run(t.Context(), s, Options{})
	var changed *SourceChanged
	if !errors.As(err, &changed) || changed.File != "export/visits.csv" || errors.Is(err, plan.ErrUsage) {
		t.Fatalf("the run ended with %v", err)
	}
	if summary == nil || summary.State != ledger.Partial {
		t.Errorf("the run says %+v", summary)
	}
	for typ, r := range summary.Resources {
		if r.Loaded+r.Unchanged > 0 {
			t.Errorf("%d %s were loaded of a source that is two", r.Loaded, typ)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), openSession(t, migration, nil), Options{})
	if !errors.Is(err, plan.ErrUsage) || !strings.Contains(err.Error(), "table ehr/visits") {
		t.Errorf("going on with the changed file: %v", err)
	}
}

// stopAfter interrupts a run when a stage has done all of its work.
type stopAfter struct {
	plan.Silent
	stage  string
	cancel context.CancelFunc
	left   atomic.Int64
	on     atomic.Bool
}

func (s *stopAfter) Stage(name, _ string, total int64) {
	s.on.Store(name == s.stage)
	s.left.Store(total)
}

func (s *stopAfter) Add(n int64) {
	if s.left.Add(-n) <= 0 && s.on.Load() {
		s.cancel()
	}
}

// A batch that was read back and has something left to send is read back again as a whole, and counts once.
func TestWhatIsLoadedAfterAVerificationCountsOnce(t *testing.T) {
	migration := riverside(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := openSession(t, migration, &stopAfter{stage: "verify", cancel: cancel})
	first, err := Run(ctx, s, Options{})
	if err == nil || first == nil || first.State != ledger.Interrupted {
		t.Fatalf("not interrupted: %v", err)
	}
	batches, err := s.Ledger.Batches(t.Context(), first.Run, ledger.BatchFilter{State: ledger.Verified})
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for _, b := range batches {
		if b.Excluded > 0 || b.Type != "Patient" && b.Type != "Observation" {
			continue
		}
		// As if the answer about the first resource had been lost, and nobody could look.
		if err := appendOutcomes(t.Context(), s.Staged(first.Run), b.ID, outcomes{{}: {kind: load.InDoubt}}, []spot{{}}); err != nil {
			t.Fatal(err)
		}
		b.Outcome.Loaded--
		b.Outcome.InDoubt++
		if err := s.Ledger.Record(t.Context(), first.Run, ledger.Report{Outcomes: []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Verified, Outcomes: b.Outcome}}}); err != nil {
			t.Fatal(err)
		}
		planted++
	}
	if planted == 0 {
		t.Fatal("no batch was verified")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	last, err := Run(t.Context(), openSession(t, migration, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if last.Run != first.Run || last.State != ledger.Finished {
		t.Errorf("%s is %s", last.Run, last.State)
	}
	for typ, r := range last.Resources {
		if v := last.Verified[typ]; r.InDoubt != 0 || v.Matched != r.Loaded || r.Loaded != r.Made {
			t.Errorf("%s: made %d, loaded %d, in doubt %d, matched %d", typ, r.Made, r.Loaded, r.InDoubt, v.Matched)
		}
	}
}

// Reconciling a run that was stopped in the middle takes what it loaded for ours.
func TestReconcileOfAStoppedRun(t *testing.T) {
	migration := riverside(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := openSession(t, migration, &stopAfter{stage: "load", cancel: cancel})
	first, err := Run(ctx, s, Options{})
	if err == nil || first == nil || first.State != ledger.Interrupted {
		t.Fatalf("not interrupted: %v", err)
	}
	between, err := Reconcile(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	for typ, v := range between.Verified {
		if v.Unexpected != 0 || v.Matched != between.Resources[typ].Loaded {
			t.Errorf("between, %s: loaded %d, matched %d, unexpected %d", typ, between.Resources[typ].Loaded, v.Matched, v.Unexpected)
		}
	}
	last, err := Run(t.Context(), s, Options{})
	if err != nil || last.State != ledger.Finished {
		t.Fatalf("%v", err)
	}
	for typ, r := range last.Resources {
		if v := last.Verified[typ]; v.Matched != r.Made || v.Unexpected != 0 {
			t.Errorf("at the end, %s: made %d, matched %d, unexpected %d", typ, r.Made, v.Matched, v.Unexpected)
		}
	}
}

func TestNamesOfFilesStayApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"run-1.a b.0", "run-1.a_b.0", "run-1.a/b.0", "http://a/b", "http://a_b", strings.Repeat("x", 300), strings.Repeat("x", 301)} {
		file := plan.FileName(name)
		if other, taken := seen[file]; taken {
			t.Errorf("%q and %q are one file", name, other)
		}
		if len(file) > 140 || strings.ContainsAny(file, "/ :") {
			t.Errorf("%q becomes %q", name, file)
		}
		seen[file] = name
	}
}
