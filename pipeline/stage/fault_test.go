package stage

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
	"github.com/chartlift/chartlift/pipeline/internal/durable/faulty"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// Any step of any writer fails, once or for good: under the final names there is the whole old content or the whole new
// one, and the same work done again succeeds.
func TestEveryStepMayFail(t *testing.T) {
	s := newSealing(t, testKeys(t))
	compact := kind{name: "compacting", make: func(t testing.TB, d durable.FS, dir string) error {
		return CompactSegments(t.Context(), NewDiskOn(d, dir), s, "b")
	},
		read: func(dir string) (string, error) {
			return collect(Segments(t.Context(), NewDisk(dir), s, "b"), bytesText)
		}}
	plain := kind{name: "WriteFile", make: func(t testing.TB, d durable.FS, dir string) error {
		return WriteFile(t.Context(), NewDiskOn(d, dir), "report", func(w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte("new"), 100_000))
			return err
		})
	}, read: func(dir string) (string, error) {
		b, err := os.ReadFile(filepath.Join(dir, "report"))
		return string(b), err
	}}
	first := map[string]func(t testing.TB, d durable.FS, dir string) error{}
	all := kinds(s)
	for _, k := range all {
		if k.name == "segments" {
			first[compact.name] = k.make
		}
	}
	for _, k := range append(all, compact, plain) {
		for after, name := range []string{"once", "killed", "power loss"} {
			t.Run(k.name+" "+name, func(t *testing.T) {
				steps := stepsOf(t, k, first[k.name])
				for _, i := range sharedtest.Drawn(t, steps+1, 6) { // the last one is without a fault
					for undone := 0; ; undone++ {
						more, again := failAt(t, k, first[k.name], i+1, faulty.Disaster(after), undone)
						if more != (i < steps) {
							t.Errorf("step %d of %d: there was such a step: %t", i+1, steps, more)
						}
						if !again {
							break
						}
					}
				}
			})
		}
	}
}

// stepsOf counts the steps of making the kind.
func stepsOf(t *testing.T, k kind, before func(testing.TB, durable.FS, string) error) int {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if before != nil {
		if err := before(t, durable.OS{}, dir); err != nil {
			t.Fatal(err)
		}
	}
	d := &faulty.Disk{At: math.MaxInt}
	if err := k.make(t, d, dir); err != nil {
		t.Fatal(err)
	}
	return d.Steps
}

// failAt lets step at fail. It returns whether there was such a step, and whether there is more to be undone.
func failAt(t *testing.T, k kind, before func(testing.TB, durable.FS, string) error, at int, after faulty.Disaster, undone int) (more, again bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	old, hadOld := "", before != nil
	if hadOld {
		if err := before(t, durable.OS{}, dir); err != nil {
			t.Fatal(err)
		}
		old, _ = k.read(dir)
	}
	d := &faulty.Disk{At: at, After: after}
	err := k.make(t, d, dir)
	if d.Steps < at {
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		want, err := k.read(dir)
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		d.Crash(0) // whatever happens now, it was said to be durable
		if got, err := k.read(dir); err != nil || got != want {
			t.Errorf("power loss after the end: %v", err)
		}
		return false, false
	}
	if err == nil {
		t.Fatalf("step %d (%s) failed, and nobody said so", at, d.Fails)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("step %d (%s): another error: %v", at, d.Fails, err)
	}
	if after == faulty.PowerLoss {
		again = undone < d.Undone()
		d.Crash(undone)
	}
	left := listing(t, dir)
	for _, name := range left {
		if strings.HasSuffix(name, durable.TempSuffix) && after == faulty.FailsOnce {
			t.Errorf("step %d (%s): %s is left", at, d.Fails, name)
		}
	}
	if err := NewDisk(dir).Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := func(what string) {
		t.Helper()
		got, err := k.read(dir)
		switch {
		case hadOld && err != nil:
			t.Errorf("step %d (%s), %s: the old content is gone: %v", at, d.Fails, what, err)
		case hadOld && k.name == "compacting" && got != old:
			t.Errorf("step %d (%s), %s: the content changed", at, d.Fails, what)
		case k.name == "segments" && err != nil:
			t.Errorf("step %d (%s), %s: %v", at, d.Fails, what, err)
		case isDamage(err) && !errors.Is(err, os.ErrNotExist) && (k.name != "batch" && k.name != "index"):
			// A batch or index of a try that failed has no row in the ledger, so nobody reads it.
			t.Errorf("step %d (%s), %s: a half file: %v", at, d.Fails, what, err)
		}
	}
	whole("before the second try")
	if k.name == "segments" { // appending again would append twice; the ledger's tasks know what is missing
		return true, again
	}
	if err := k.make(t, durable.OS{}, dir); err != nil {
		t.Fatalf("step %d (%s): the second try: %v", at, d.Fails, err)
	}
	if got, err := k.read(dir); err != nil || got == "" || k.name == "compacting" && got != old {
		t.Errorf("step %d (%s): after the second try: %v", at, d.Fails, err)
	}
	return true, again
}

// keysThatFail cannot make patient keys durable.
type keysThatFail struct{ *sealing }

func (keysThatFail) Sync() error { return syscall.EIO }

func TestBatchNeedsItsKeys(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	w := NewWriter(NewDisk(dir), keysThatFail{s}, Info{ID: "b"})
	if err := w.Add(t.Context(), s.seal(t, 1, ""), keyOf(1)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first error stays
		if _, err := w.Close(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close: %v", err)
		}
	}
	if left := listing(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	s := newSealing(t, testKeys(t))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A folder below a file can be made by nobody, not even by root.
	if _, err := writeBatch(t, durable.OS{}, filepath.Join(file, "stage"), "b", s, "", 1); err == nil {
		t.Error("a batch was written nowhere")
	}
}
