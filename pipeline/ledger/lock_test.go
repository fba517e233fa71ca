package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// holderEnv makes the test binary hold the ledger at its value until it is killed.
const holderEnv = "CHARTLIFT_TEST_HOLD_LEDGER"

func TestMain(m *testing.M) {
	if source := os.Getenv(holderEnv); source != "" {
		os.Exit(hold(source))
	}
	if source := os.Getenv(workEnv); source != "" {
		os.Exit(work(source))
	}
	os.Exit(m.Run())
}

// hold opens the ledger, begins work that it never ends, says so, and waits to be killed.
func hold(source string) int {
	ctx := context.Background()
	l, err := Open(ctx, source, Options{Migration: "riverside", Operator: "kim", Lease: time.Hour})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	run, err := l.BeginRun(ctx, RunSpec{Kind: Real, Pins: map[string]string{"plan": "aa"}})
	if err == nil {
		err = l.AddTasks(ctx, run.ID, []Task{{Kind: Extract, Subject: "a"}, {Kind: Extract, Subject: "b"}})
	}
	if err == nil {
		_, _, err = l.Claim(ctx, run.ID, TaskFilter{})
	}
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("holding")
	// Ends with the test: its standard input is a pipe of the parent's.
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

func TestLockOfAnotherProcessEndsWithIt(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		holder := exec.Command(os.Args[0])
		holder.Env = append(os.Environ(), holderEnv+"="+at.source)
		holder.Stderr = os.Stderr
		stdin, err := holder.StdinPipe()
		must(t, err)
		defer stdin.Close()
		stdout, err := holder.StdoutPipe()
		must(t, err)
		must(t, holder.Start())
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || line != "holding\n" {
			t.Fatalf("the holder said %q, %v", line, err)
		}
		locked := func() {
			t.Helper()
			_, err := Open(t.Context(), at.source, at.options())
			var locked *LockedError
			if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
				t.Fatalf("got %v, want ErrLocked", err)
			}
			if want := fmt.Sprintf("operator kim, process %d", holder.Process.Pid); !strings.HasPrefix(locked.Holder, want) {
				t.Errorf("the holder is %q, want %q", locked.Holder, want)
			}
		}
		locked()
		at.view(t) // a reader is not locked out

		must(t, holder.Process.Kill()) // SIGKILL: nothing of it runs any more
		if err := holder.Wait(); err == nil {
			t.Error("the holder ended by itself")
		}
		if at.path == "" { // the server cannot know that it is dead before its lease has ended
			locked()
			at.statements(t, "UPDATE sessions SET expires = 1")
		}
		l := at.open(t)
		run, ok, err := l.Resumable(t.Context(), Real, "")
		if err != nil || !ok || run.State != Running {
			t.Fatal(run, ok, err)
		}
		if _, err := l.Resume(t.Context(), run.ID, run.Pins); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"a", "b"} { // the dead process's lease is free again
			task, ok, err := l.Claim(t.Context(), run.ID, TaskFilter{})
			if err != nil || !ok || task.Subject != subject {
				t.Errorf("claimed %+v, %v, %v; want %s", task, ok, err, subject)
			}
		}
		if _, err := l.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLockWithinAProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		if _, err := l.Summary(t.Context(), run.ID); err != nil { // a snapshot that ends frees nothing
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), at.source, Options{Migration: "riverside", Operator: "kim"}); !errors.Is(err, ErrLocked) {
			t.Fatalf("got %v, want ErrLocked", err)
		}
		must(t, l.Append(t.Context(), "note", "still ours"))
		must(t, l.Close())
		must(t, l.Close()) // a second time does nothing
		if _, err := os.Stat(at.path + sealSuffix); at.path != "" && err != nil {
			t.Errorf("a ledger closed in good order has no sum: %v", err)
		}
		at.open(t)
	})
}

func TestLockNoteCannotReachATerminal(t *testing.T) {
	dir := t.TempDir()
	file, err := lockFile(filepath.Join(dir, "l.lock"), "kim\x1b[2J\nroot")
	must(t, err)
	defer file.free()
	_, err = lockFile(filepath.Join(dir, "l.lock"), "jo")
	var locked *LockedError
	if !errors.As(err, &locked) || strings.ContainsAny(locked.Error(), "\x1b\n") {
		t.Errorf("got %q", err)
	}
}

// A writer waits for a reader's long look at the ledger, and does not fail.
func TestWriterBesideALongReader(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{Refusals: make3Refusals()}))
		// A write that waits for the reader fails: it gives up before the stream ends.
		for range l.Refusals(t.Context(), run.ID) { // the stream stays open while the ledger is written
			must(t, l.Append(t.Context(), "note", "while reading"))
		}
	})
}

func make3Refusals() []Refusal {
	return []Refusal{{Table: "b", Line: 9, Rule: "r"}, {Table: "a", Line: 10, Column: "C", Rule: "r", Mapping: "m"}, {Table: "a", Line: 9, Rule: "r"}}
}
