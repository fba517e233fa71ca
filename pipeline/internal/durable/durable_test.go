package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
	"github.com/chartlift/chartlift/pipeline/internal/durable/faulty"
)

func write(on durable.FS, path, text string, fail error) error {
	return durable.WriteFile(on, path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return errors.Join(err, fail)
	})
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteFileKeepsWhatWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "report of the day") // a name as people give them
	if err := write(durable.OS{}, path, "old", nil); err != nil {
		t.Fatal(err)
	}
	if err := write(durable.OS{}, path, "half", io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
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

// Whichever step fails, and whatever comes after it: there is the whole old file or the whole new one, also when power
// loss takes back what was not synced.
func TestAnyStepMayFail(t *testing.T) {
	long := strings.Repeat("new", 100_000)
	for _, after := range []faulty.Disaster{faulty.FailsOnce, faulty.Killed, faulty.PowerLoss} {
		for at, more := 1, true; more; at++ {
			path := filepath.Join(t.TempDir(), "a", "b", "f")
			if err := write(durable.OS{}, path, "old", nil); err != nil {
				t.Fatal(err)
			}
			d := &faulty.Disk{At: at, After: after}
			err := write(d, path, long, nil)
			if more = d.Steps >= at; more != errors.Is(err, syscall.ENOSPC) {
				t.Errorf("step %d (%s): %v", at, d.Fails, err)
			}
			if after == faulty.PowerLoss || !more {
				d.Crash(0)
			}
			b, err := os.ReadFile(path)
			if err != nil || string(b) != "old" && string(b) != long {
				t.Errorf("step %d (%s): %d bytes, %v", at, d.Fails, len(b), err)
			}
			if !more && string(b) != long {
				t.Error("what was said to be durable is gone")
			}
			if left := listing(t, filepath.Dir(path)); after == faulty.FailsOnce && len(left) != 1 {
				t.Errorf("step %d (%s): left: %v", at, d.Fails, left)
			}
		}
	}
}

// A folder whose entry is not durable takes its files with it.
func TestFoldersAreDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "f")
	d := &faulty.Disk{}
	if err := write(d, path, "text", nil); err != nil {
		t.Fatal(err)
	}
	d.Crash(0)
	if b, err := os.ReadFile(path); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	if err := durable.MakeFolder(d, path); err == nil {
		t.Error("a file is taken for a folder")
	}
}

// Once a write has failed nothing is written, synced or renamed any more, even if the disk had room again.
func TestFirstErrorStays(t *testing.T) {
	dir := t.TempDir()
	d := &faulty.Disk{At: 2}
	p, err := durable.Create(d, filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Write([]byte("text")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write: %v", err)
		}
	}
	if err := durable.Publish(p); !errors.Is(err, syscall.ENOSPC) || d.Steps != 3 { // the third closes the file
		t.Errorf("after %d steps: %v", d.Steps, err)
	}
	if left := listing(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
