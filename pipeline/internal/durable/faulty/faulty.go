// Package faulty is a disk for tests that fails at one step, and then behaves as one of three disasters does.
package faulty

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// Disk fails at one step with ENOSPC. The files under it are real, in a folder of the test. It is not for concurrent use.
type Disk struct {
	durable.OS
	At    int      // the step that fails, from 1; 0: none
	After Disaster // what happens to the steps after it
	Steps int      // how many there were
	Fails string   // what failed

	// What power loss takes back: changes to folders since their last sync, newest last.
	undo     []change
	unsynced map[string]bool // temporary files whose content is not on the disk
}

// change is a change to a folder that is not on the disk yet.
type change struct {
	folder string
	undo   func()
}

// Disaster is what comes after the step that fails.
type Disaster int

// The disasters.
const (
	FailsOnce Disaster = iota // a full disk, an I/O error: the program goes on and clears up
	Killed                    // nothing more happens
	PowerLoss                 // nothing more happens, and what was not synced is gone (see Crash)
)

var errKilled = errors.New("the process is dead")

func (d *Disk) step(what string) error {
	d.Steps++
	switch {
	case d.At == 0 || d.Steps < d.At:
		return nil
	case d.Steps == d.At:
		d.Fails = what
		return syscall.ENOSPC
	case d.After == FailsOnce:
		if d.Fails == "sync" && what == "sync" {
			return errors.New("a failed sync was tried again")
		}
		return nil
	default:
		return errKilled
	}
}

// Create is a step.
func (d *Disk) Create(path string) (durable.File, error) {
	if err := d.step("create"); err != nil {
		return nil, err
	}
	f, err := d.OS.Create(path)
	if err != nil {
		return nil, err
	}
	if d.unsynced == nil {
		d.unsynced = map[string]bool{}
	}
	d.unsynced[path] = true
	return &file{f, d, path}, nil
}

// Rename is a step. It refuses a file that was not synced.
func (d *Disk) Rename(from, to string) error {
	if err := d.step("rename"); err != nil {
		return err
	}
	content, err := os.ReadFile(to)
	there := err == nil
	if err := d.OS.Rename(from, to); err != nil {
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

// Remove is a step, but for temporary files.
func (d *Disk) Remove(path string) error {
	if d.At > 0 && d.Steps >= d.At && d.After != FailsOnce {
		return errKilled
	}
	if !strings.HasSuffix(path, durable.TempSuffix) {
		if err := d.step("remove"); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d.undo = append(d.undo, change{filepath.Dir(path), func() { _ = os.WriteFile(path, content, 0o600) }})
	return d.OS.Remove(path)
}

// Mkdir is a step.
func (d *Disk) Mkdir(path string) error {
	if err := d.step("mkdir"); err != nil {
		return err
	}
	d.undo = append(d.undo, change{filepath.Dir(path), func() { _ = os.RemoveAll(path) }})
	return d.OS.Mkdir(path)
}

// SyncFolder is a step. The real sync is left out: it would take most of the time of the tests.
func (d *Disk) SyncFolder(path string) error {
	if err := d.step("sync folder"); err != nil {
		return err
	}
	d.undo = slices.DeleteFunc(d.undo, func(c change) bool { return c.folder == path })
	return nil
}

// Undone is how many changes power loss may take back.
func (d *Disk) Undone() int { return len(d.undo) }

// Crash takes back what power loss would: the changes to folders from the n-th on, and of all content that was not
// synced a half.
func (d *Disk) Crash(n int) {
	for i := len(d.undo) - 1; i >= n; i-- {
		d.undo[i].undo()
	}
	for path := range d.unsynced {
		if b, err := os.ReadFile(path); err == nil {
			_ = os.WriteFile(path, b[:len(b)/2], 0o600)
		}
	}
}

type file struct {
	durable.File
	d    *Disk
	path string
}

func (f *file) Write(b []byte) (int, error) {
	if err := f.d.step("write"); err != nil {
		n, _ := f.File.Write(b[:len(b)/2]) // a full disk takes what fits
		return n, err
	}
	return f.File.Write(b)
}

func (f *file) Sync() error {
	if err := f.d.step("sync"); err != nil {
		return err
	}
	delete(f.d.unsynced, f.path)
	return nil
}

func (f *file) Close() error {
	err := f.d.step("close")
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}
