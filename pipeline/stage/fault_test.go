package stage

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// faultDisk fails at one step, and then behaves as one of three disasters does.
type faultDisk struct {
	osDisk
	at    int      // the step that fails, from 1; 0: none
	after disaster // what happens to the steps after it
	steps int
	fails string // what failed

	// What power loss takes back: changes to folders since their last sync, newest last.
	undo     []change
	unsynced map[string]bool // temporary files whose content is not on the disk
}

// change is a change to a folder that is not on the disk yet.
type change struct {
	folder string
	undo   func()
}

type disaster int

const (
	failsOnce disaster = iota // a full disk, an I/O error: the program goes on and clears up
	killed                    // nothing more happens
	powerLoss                 // nothing more happens, and what was not synced is gone
)

var errKilled = errors.New("the process is dead")

func (d *faultDisk) step(what string) error {
	d.steps++
	switch {
	case d.at == 0 || d.steps < d.at:
		return nil
	case d.steps == d.at:
		d.fails = what
		return syscall.ENOSPC
	case d.after == failsOnce:
		if d.fails == "sync" && what == "sync" {
			return errors.New("a failed sync was tried again")
		}
		return nil
	default:
		return errKilled
	}
}

func (d *faultDisk) create(path string) (file, error) {
	if err := d.step("create"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.create(path)
	if err != nil {
		return nil, err
	}
	if d.unsynced == nil {
		d.unsynced = map[string]bool{}
	}
	d.unsynced[path] = true
	return &faultFile{f, d, path}, nil
}

func (d *faultDisk) rename(from, to string) error {
	if err := d.step("rename"); err != nil {
		return err
	}
	content, err := os.ReadFile(to)
	there := err == nil
	if err := d.osDisk.rename(from, to); err != nil {
		return err
	}
	if d.unsynced[from] {
		return errors.New("renamed before it was synced")
	}
	d.undo = append(d.undo, change{filepath.Dir(to), func() {
		if there {
			_ = os.WriteFile(to, content, 0o600)
		} else {
			_ = os.Remove(to)
		}
	}})
	return nil
}

func (d *faultDisk) remove(path string) error {
	if d.at > 0 && d.steps >= d.at && d.after != failsOnce {
		return errKilled
	}
	if !strings.HasSuffix(path, tmpSuffix) {
		if err := d.step("remove"); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d.undo = append(d.undo, change{filepath.Dir(path), func() { _ = os.WriteFile(path, content, 0o600) }})
	return d.osDisk.remove(path)
}

func (d *faultDisk) mkdir(path string) error {
	if err := d.step("mkdir"); err != nil {
		return err
	}
	d.undo = append(d.undo, change{filepath.Dir(path), func() { _ = os.RemoveAll(path) }})
	return d.osDisk.mkdir(path)
}

func (d *faultDisk) syncFolder(path string) error {
	if err := d.step("sync folder"); err != nil {
		return err
	}
	d.undo = slices.DeleteFunc(d.undo, func(c change) bool { return c.folder == path })
	return nil // the real sync would take most of the time of these tests
}

// crash takes back what power loss would: from the n-th change on, and all content that was not synced.
func (d *faultDisk) crash(n int) {
	for i := len(d.undo) - 1; i >= n; i-- {
		d.undo[i].undo()
	}
	for path := range d.unsynced {
		if b, err := os.ReadFile(path); err == nil {
			_ = os.WriteFile(path, b[:len(b)/2], 0o600)
		}
	}
}

type faultFile struct {
	file
	d    *faultDisk
	path string
}

func (f *faultFile) Write(b []byte) (int, error) {
	if err := f.d.step("write"); err != nil {
		n, _ := f.file.Write(b[:len(b)/2]) // a full disk takes what fits
		return n, err
	}
	return f.file.Write(b)
}

func (f *faultFile) Sync() error {
	if err := f.d.step("sync"); err != nil {
		return err
	}
	delete(f.d.unsynced, f.path)
	return nil
}

func (f *faultFile) Close() error {
	err := f.d.step("close")
	if e := f.file.Close(); err == nil {
		err = e
	}
	return err
}

// Any step of any writer fails, once or for good: under the final names there is the whole old content or the whole new
// one, and the same work done again succeeds.
func TestEveryStepMayFail(t *testing.T) {
	merge := kind{name: "second merge", make: func(t testing.TB, d disk, dir string) error {
		state, err := openState(d, dir)
		if err != nil {
			return err
		}
		defer state.Close()
		next, err := state.Merge(sequence(stateOf("2", numbers(5, 30)...)))
		if err != nil {
			return err
		}
		return next.Close()
	}, read: readState}
	compact := kind{name: "compacting", make: func(_ testing.TB, d disk, dir string) error { return compactSegments(d, dir, "b") },
		read: func(dir string) (string, error) { return collect(Segments(dir, "b"), bytesText) }}
	plain := kind{name: "WriteFile", make: func(_ testing.TB, d disk, dir string) error {
		return writeFile(d, filepath.Join(dir, "report"), func(w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte("new"), 100_000))
			return err
		})
	}, read: func(dir string) (string, error) {
		b, err := os.ReadFile(filepath.Join(dir, "report"))
		return string(b), err
	}}
	first := map[string]func(t testing.TB, d disk, dir string) error{}
	all := kinds(t)
	for _, k := range all {
		switch k.name {
		case "state":
			first[merge.name] = k.make
		case "segments":
			first[compact.name] = k.make
		}
	}
	for _, k := range append(all, merge, compact, plain) {
		for after, name := range []string{"once", "killed", "power loss"} {
			t.Run(k.name+" "+name, func(t *testing.T) {
				steps := stepsOf(t, k, first[k.name])
				for _, i := range sharedtest.Drawn(t, steps+1, 6) { // the last one is without a fault
					for undone := 0; ; undone++ {
						more, again := failAt(t, k, first[k.name], i+1, disaster(after), undone)
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
func stepsOf(t *testing.T, k kind, before func(testing.TB, disk, string) error) int {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if before != nil {
		if err := before(t, osDisk{}, dir); err != nil {
			t.Fatal(err)
		}
	}
	d := &faultDisk{at: math.MaxInt}
	if err := k.make(t, d, dir); err != nil {
		t.Fatal(err)
	}
	return d.steps
}

// failAt lets step at fail. It answers whether there was such a step, and whether there is more to be undone.
func failAt(t *testing.T, k kind, before func(testing.TB, disk, string) error, at int, after disaster, undone int) (more, again bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	old, hadOld := "", before != nil
	if hadOld {
		if err := before(t, osDisk{}, dir); err != nil {
			t.Fatal(err)
		}
		old, _ = k.read(dir)
	}
	d := &faultDisk{at: at, after: after}
	err := k.make(t, d, dir)
	if d.steps < at {
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		want, err := k.read(dir)
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		d.crash(0) // whatever happens now, it was said to be durable
		if got, err := k.read(dir); err != nil || got != want {
			t.Errorf("power loss after the end: %v", err)
		}
		return false, false
	}
	// An old state that cannot be removed is in nobody's way; the next merge tries again.
	if err == nil && d.fails != "remove" {
		t.Fatalf("step %d (%s) failed, and nobody said so", at, d.fails)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("step %d (%s): another error: %v", at, d.fails, err)
	}
	if after == powerLoss {
		again = undone < len(d.undo)
		d.crash(undone)
	}
	left := listing(t, dir)
	for _, name := range left {
		if strings.HasSuffix(name, tmpSuffix) && after == failsOnce {
			t.Errorf("step %d (%s): %s is left", at, d.fails, name)
		}
	}
	if err := CleanTemp(dir); err != nil {
		t.Fatal(err)
	}
	whole := func(what string) {
		t.Helper()
		got, err := k.read(dir)
		switch {
		case hadOld && err != nil:
			t.Errorf("step %d (%s), %s: the old content is gone: %v", at, d.fails, what, err)
		case hadOld && k.name == "compacting" && got != old:
			t.Errorf("step %d (%s), %s: the content changed", at, d.fails, what)
		case k.name == "segments" && err != nil:
			t.Errorf("step %d (%s), %s: %v", at, d.fails, what, err)
		case isDamage(err) && !errors.Is(err, os.ErrNotExist) && (k.name != "batch" && k.name != "index"):
			// A batch or index of a try that failed has no row in the ledger, so nobody reads it.
			t.Errorf("step %d (%s), %s: a half file: %v", at, d.fails, what, err)
		}
	}
	whole("before the second try")
	if k.name == "segments" { // appending again would append twice; the ledger's tasks know what is missing
		return true, again
	}
	if err := k.make(t, osDisk{}, dir); err != nil {
		t.Fatalf("step %d (%s): the second try: %v", at, d.fails, err)
	}
	if got, err := k.read(dir); err != nil || got == "" || k.name == "compacting" && got != old {
		t.Errorf("step %d (%s): after the second try: %v", at, d.fails, err)
	}
	return true, again
}

// keysThatFail cannot make patient keys durable.
type keysThatFail struct{ *sealing }

func (keysThatFail) Sync() error { return syscall.EIO }

func TestBatchNeedsItsKeys(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	w := newWriter(osDisk{}, dir, keysThatFail{s}, Info{ID: "b"})
	if err := w.Add(s.seal(t, 1, ""), keyOf(1)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first error stays
		if _, err := w.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close: %v", err)
		}
	}
	if left := listing(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Once a write has failed nothing is written, synced or renamed any more, even if the disk had room again.
func TestFirstErrorStays(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{at: 2}
	p, err := newPending(d, filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Write([]byte("text")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write: %v", err)
		}
	}
	if err := publish(d, p); !errors.Is(err, syscall.ENOSPC) || d.steps != 3 { // the third closes the file
		t.Errorf("after %d steps: %v", d.steps, err)
	}
	if left := listing(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWriteFileKeepsWhatWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "report")
	write := func(text string, fail error) error {
		return WriteFile(path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, fail)
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("half", io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if left := listing(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

func TestReadOnlyFolder(t *testing.T) {
	s := newSealing(t, testKeys(t))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A folder below a file can be made by nobody, not even by root.
	if _, err := writeBatch(t, osDisk{}, filepath.Join(file, "stage"), "b", s, "", 1); err == nil {
		t.Error("a batch was written nowhere")
	}
}
