package ledger

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a time that every call moves on by a second, and that a test may set back.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func begin(t *testing.T, l *Ledger) Run {
	t.Helper()
	run, err := l.BeginRun(t.Context(), RunSpec{Kind: Real, Target: "http://127.0.0.1/fhir", Pins: map[string]string{"plan": "aa", "source patients": "bb"}})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func batch(id, typ string, n int64) Batch {
	return Batch{ID: id, Mapping: strings.ToLower(typ), Type: typ, Table: "t", Wave: "main", Count: n, Bytes: n * 100, SHA256: strings.Repeat("0", 64)}
}

func TestOpenRefusesForeignLedgers(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		id := l.ID()
		must(t, l.Close())
		refused := func(t *testing.T, at place, migration string, want error) {
			t.Helper()
			for name, f := range map[string]func() (*Ledger, error){
				"open": func() (*Ledger, error) {
					return Open(t.Context(), at.source, Options{Migration: migration, Operator: "jo"})
				},
				"view": func() (*Ledger, error) { return View(t.Context(), at.source, migration) },
			} {
				if l, err := f(); !errors.Is(err, want) || l != nil {
					t.Errorf("%s: got %v, %v; want %v", name, l, err, want)
				}
			}
		}
		t.Run("another migration", func(t *testing.T) { refused(t, at, "lakeside", ErrForeign) })
		t.Run("a newer schema", func(t *testing.T) {
			newer := at.another(t)
			must(t, newer.open(t).Close())
			newer.statements(t, "PRAGMA user_version = 99|||UPDATE ledger_schema SET number = 99")
			refused(t, newer, "riverside", ErrNewer)
		})
		t.Run("a database of something else", func(t *testing.T) {
			other := at.another(t)
			if other.path != "" {
				must(t, os.WriteFile(other.path, nil, 0o600))
				other.statements(t, "CREATE TABLE patients (name TEXT)")
			} else {
				_, schema, _ := strings.Cut(other.source, "search_path=")
				other.statements(t, "CREATE SCHEMA "+schema, "CREATE TABLE patients (name TEXT)")
			}
			refused(t, other, "riverside", ErrForeign)
		})
		t.Run("view of what is not there", func(t *testing.T) {
			if _, err := View(t.Context(), at.another(t).source, "riverside"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("no operator", func(t *testing.T) {
			if _, err := Open(t.Context(), at.source, Options{Migration: "riverside"}); err == nil {
				t.Error("an unnamed operator was let in")
			}
		})
		t.Run("again", func(t *testing.T) {
			if again := at.open(t); again.ID() != id || len(id) != 32 {
				t.Errorf("the ledger's id is %q, was %q", again.ID(), id)
			}
		})
	})
}

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	at := inFile(t)
	must(t, os.WriteFile(at.path, []byte(strings.Repeat("ZZPLANTED is no database. ", 100)), 0o600))
	_, err := Open(t.Context(), at.source, at.options())
	var broken *SQLError
	if !errors.As(err, &broken) || !broken.Damaged || strings.Contains(err.Error(), "ZZPLANTED") {
		t.Errorf("got %v, want a damaged file", err)
	}
}

func TestFilesAreClosedToOthers(t *testing.T) {
	at := inFile(t)
	begin(t, at.open(t))
	entries, err := os.ReadDir(filepath.Dir(at.path))
	must(t, err)
	if len(entries) < 3 { // the file, the write-ahead log, the lock
		t.Errorf("only %d files", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder? with 100% #odd & names", "ledger.db")
	begin(t, place{"sqlite:" + path, path}.open(t))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestViewReadsBesideTheWriter(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		v, err := View(t.Context(), at.source, "riverside")
		must(t, err)
		defer v.Close()
		must(t, l.Record(t.Context(), run.ID, Report{Resources: []ResourceCount{{Type: "Patient", Made: 3, Merged: 3}}}))
		s, err := v.Summary(t.Context(), run.ID)
		must(t, err)
		if s.Resources["Patient"].Made != 3 {
			t.Errorf("the view sees %+v", s.Resources)
		}
		if err := v.Record(t.Context(), run.ID, Report{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a view wrote: %v", err)
		}
		if err := v.Append(t.Context(), "x", "y"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a view wrote: %v", err)
		}
		if _, err := v.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRunResumesUnlessItChanged(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		if run.ID != "run-1" || run.State != Running {
			t.Fatalf("got %+v", run)
		}
		if _, err := l.BeginRun(t.Context(), RunSpec{Kind: Real}); !errors.Is(err, ErrUnfinished) {
			t.Errorf("a second run began: %v", err)
		}
		if dry, err := l.BeginRun(t.Context(), RunSpec{Kind: Dry}); err != nil || dry.ID != "dry-2" {
			t.Errorf("a rehearsal beside it: %+v, %v", dry, err)
		}
		must(t, l.AddTasks(t.Context(), run.ID, []Task{{Kind: Extract, Subject: "a", Wave: "main"}}))
		task, ok, err := l.Claim(t.Context(), run.ID, TaskFilter{Kind: Extract})
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		must(t, l.AddElapsed(t.Context(), run.ID, 2*time.Second))
		must(t, l.Close()) // without a word about the run: as if killed

		l = at.open(t)
		found, ok, err := l.Resumable(t.Context(), Real, "")
		if err != nil || !ok || found.ID != run.ID {
			t.Fatal(found, ok, err)
		}
		if diff := cmp.Diff(map[string]string{"plan": "aa", "source patients": "bb"}, found.Pins); diff != "" {
			t.Error(diff)
		}
		if _, ok, err := l.Resumable(t.Context(), Real, "pilot"); ok || err != nil {
			t.Error("a run of another wave was found", err)
		}
		_, err = l.Resume(t.Context(), run.ID, map[string]string{"plan": "ab", "source visits": "cc"})
		var changed *ChangedError
		if !errors.As(err, &changed) {
			t.Fatalf("got %v, want a ChangedError", err)
		}
		want := []string{"plan: was aa, is ab", "source patients: was bb, is gone", "source visits: is new (cc)"}
		if diff := cmp.Diff(want, changed.Differences); diff != "" {
			t.Errorf("differences (-want +got):\n%s", diff)
		}
		resumed, err := l.Resume(t.Context(), run.ID, run.Pins)
		must(t, err)
		if resumed.Resumes != 1 || resumed.State != Running || resumed.Elapsed != 2*time.Second {
			t.Errorf("got %+v", resumed)
		}
		if err := l.Finish(t.Context(), task, Report{}); !errors.Is(err, ErrFenced) {
			t.Errorf("the dead worker finished: %v", err)
		}
		again, ok, err := l.Claim(t.Context(), run.ID, TaskFilter{Kind: Extract})
		if err != nil || !ok || again.ID != task.ID || again.Fence != task.Fence+1 {
			t.Errorf("claimed %+v, %v, %v", again, ok, err)
		}
		must(t, l.SetState(t.Context(), run.ID, Partial, time.Second, "disk full"))
		must(t, l.SetState(t.Context(), run.ID, Finished, time.Second, ""))
		if err := l.SetState(t.Context(), run.ID, Running, 0, ""); err == nil {
			t.Error("a finished run was set running")
		}
		if _, err := l.Resume(t.Context(), run.ID, run.Pins); err == nil {
			t.Error("a finished run was resumed")
		}
		ended, err := l.Run(t.Context(), run.ID)
		must(t, err)
		if ended.Elapsed != 4*time.Second || ended.State != Finished || ended.Ended == "" || ended.Reason != "" {
			t.Errorf("got %+v", ended)
		}
		if _, ok, _ := l.Resumable(t.Context(), Real, ""); ok {
			t.Error("a finished run can be resumed")
		}
		if third := begin(t, l); third.ID != "run-3" {
			t.Errorf("got %s", third.ID)
		}
		if latest, ok, err := l.Latest(t.Context()); err != nil || !ok || latest.ID != "run-3" {
			t.Error(latest, ok, err)
		}
		if latest, ok, err := l.Latest(t.Context(), ""); err != nil || !ok || latest.ID != "run-3" {
			t.Error(latest, ok, err)
		}
		if latest, ok, err := l.Latest(t.Context(), Dry); err != nil || !ok || latest.ID != "dry-2" {
			t.Error(latest, ok, err)
		}
		if runs, err := l.Runs(t.Context()); err != nil || len(runs) != 3 {
			t.Error(runs, err)
		}
		if _, err := l.Run(t.Context(), "run-9"); !errors.Is(err, ErrNoRun) {
			t.Error(err)
		}
		if _, err := l.Summary(t.Context(), "run-9"); !errors.Is(err, ErrNoRun) {
			t.Error(err)
		}
	})
}

func TestFailedNeedsAReason(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		err := l.SetState(t.Context(), run.ID, Failed, 0, "")
		var broken *SQLError
		if !errors.As(err, &broken) || broken.Constraint != "run_failed_has_reason" {
			t.Errorf("got %v", err)
		}
		must(t, l.SetState(t.Context(), run.ID, Failed, 0, "the target lost its data"))
	})
}

// The clock goes back an hour between two runs; the order stays.
func TestClockDecidesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		c := newClock()
		l, err := Open(t.Context(), at.source, Options{Migration: "riverside", Operator: "jo", Now: c.Now})
		must(t, err)
		defer l.Close()
		first := begin(t, l)
		must(t, l.SetState(t.Context(), first.ID, Finished, 0, ""))
		c.now = c.now.Add(-time.Hour)
		second := begin(t, l)
		latest, _, err := l.Latest(t.Context())
		must(t, err)
		if latest.ID != second.ID {
			t.Errorf("the latest is %s", latest.ID)
		}
		if _, err := l.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// No value that was handed in stands in an error of the database.
func TestErrorsQuoteNoValue(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		const planted = "ZZPLANTED"
		bad := batch(planted, "Patient", 1)
		bad.SHA256 = planted
		for name, err := range map[string]error{
			"check":      l.Record(t.Context(), run.ID, Report{Batches: []Batch{bad}}),
			"unique":     l.Record(t.Context(), run.ID, Report{Batches: []Batch{batch(planted, "Patient", 1), batch(planted, "Patient", 1)}}),
			"severity":   l.Record(t.Context(), run.ID, Report{Findings: []Finding{{Rule: planted, Severity: planted}}}),
			"below zero": l.Record(t.Context(), run.ID, Report{Tables: []RecordCount{{Table: planted, Read: -1}}}),
		} {
			if err == nil || strings.Contains(err.Error(), planted) {
				t.Errorf("%s: %v", name, err)
			}
			var broken *SQLError
			if !errors.As(err, &broken) || broken.Constraint == "" {
				t.Errorf("%s: the constraint is not named: %v", name, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Record(ctx, run.ID, Report{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// A repair is resumed by the same repair only, and does not run beside another run of its wave.
func TestRepairIsARunOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run, err := l.BeginRun(t.Context(), RunSpec{Kind: Real, Repair: []Kind{Missing, Different, Missing}})
		must(t, err)
		if diff := cmp.Diff([]Kind{Different, Missing}, run.Repair); diff != "" {
			t.Error(diff)
		}
		for name, test := range map[string]struct {
			kinds []Kind
			found bool
		}{"the same": {[]Kind{Different, Missing}, true}, "one of them": {[]Kind{Missing}, false}, "a usual run": {nil, false}} {
			if _, ok, err := l.Resumable(t.Context(), Real, "", test.kinds...); ok != test.found || err != nil {
				t.Errorf("%s: %v, %v", name, ok, err)
			}
		}
		if _, err := l.BeginRun(t.Context(), RunSpec{Kind: Real}); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "a repair of different,missing") {
			t.Errorf("a usual run beside it: %v", err)
		}
		must(t, l.SetState(t.Context(), run.ID, Finished, 0, ""))
		if usual := begin(t, l); usual.Repair != nil {
			t.Errorf("a usual run repairs %v", usual.Repair)
		}
		if _, ok, err := l.Resumable(t.Context(), Real, ""); !ok || err != nil {
			t.Errorf("the usual run is not found: %v", err)
		}
		if _, err := l.BeginRun(t.Context(), RunSpec{Kind: Dry, Repair: []Kind{EditedSince}}); err == nil {
			t.Error("a repair of edits began")
		}
	})
}
