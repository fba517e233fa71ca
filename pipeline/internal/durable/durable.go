// Package durable writes files so that they survive a loss of power: to a temporary name, synced, renamed, their folder
// synced. Under its final name a file is whole or not there.
package durable

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// FS is what a disk is changed through, so that tests can make any step of it fail (see package faulty).
type FS interface {
	Create(path string) (File, error) // a new file for writing, mode 0600; fails if it exists
	Rename(from, to string) error
	Remove(path string) error
	Mkdir(path string) error // mode 0700
	SyncFolder(path string) error
}

// File is a file that is being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// OS is the disk of this machine.
type OS struct{}

// Create makes a new file for writing.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Rename gives a file another name.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (OS) Remove(path string) error { return os.Remove(path) }

// Mkdir makes a folder.
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// SyncFolder makes the names in a folder durable: what was made, renamed or removed there.
func (OS) SyncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there; NTFS journals its entries
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// MakeFolder makes a folder and what leads to it (mode 0700), durably: a new folder whose entry in its parent is lost
// takes its files with it. One that is there stays as it is.
func MakeFolder(on FS, dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeFolder(on, parent); err != nil {
			return err
		}
	}
	if err := on.Mkdir(dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // another goroutine was faster
		}
		return err
	}
	return on.SyncFolder(parent)
}

// TempSuffix is how the names of unfinished files end.
const TempSuffix = ".tmp"

// Draft is a file that is not visible yet. Its first error stays: nothing is tried again, for after a failed write or
// sync nobody knows what the disk holds. It is not for concurrent use.
type Draft struct {
	fs        FS
	path, tmp string
	f         File
	err       error
}

// Create opens a temporary file beside path, in a folder that is there. Its name is random, so that a process which lost
// its lease and does not know yet cannot write into the file of the one that took over.
func Create(on FS, path string) (*Draft, error) {
	var r [6]byte
	_, _ = rand.Read(r[:]) // never fails: crypto/rand ends the program instead
	d := &Draft{fs: on, path: path, tmp: path + "." + hex.EncodeToString(r[:]) + TempSuffix}
	var err error
	d.f, err = on.Create(d.tmp)
	if err != nil {
		return nil, err
	}
	crash.File(path, crash.Made)
	return d, nil
}

// Path is where the file will lie.
func (d *Draft) Path() string { return d.path }

// Write appends to the file.
func (d *Draft) Write(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	d.err = err
	return n, err
}

// Discard removes the file, unless it was published.
func (d *Draft) Discard() {
	if d.f != nil {
		_ = d.f.Close()
		d.f = nil
	}
	if d.tmp != "" {
		_ = d.fs.Remove(d.tmp)
		d.tmp = ""
	}
	if d.err == nil {
		d.err = fs.ErrClosed
	}
}

// Publish makes files of one folder durable and visible: all are synced, then renamed in the order given, then the
// folder is synced. On an error those not yet renamed are removed.
func Publish(drafts ...*Draft) (err error) {
	defer func() {
		for _, d := range drafts {
			if err != nil && d.err == nil {
				d.err = err
			}
			d.Discard()
		}
	}()
	for _, d := range drafts {
		if d.err != nil {
			return d.err
		}
		crash.File(d.path, crash.Written)
		if err := d.f.Sync(); err != nil {
			return err
		}
		crash.File(d.path, crash.Synced)
		f := d.f
		d.f = nil
		if err := f.Close(); err != nil {
			return err
		}
	}
	for _, d := range drafts {
		if err := d.fs.Rename(d.tmp, d.path); err != nil {
			return err
		}
		d.tmp = ""
		crash.File(d.path, crash.Renamed)
	}
	if len(drafts) > 0 {
		if err := drafts[0].fs.SyncFolder(filepath.Dir(drafts[0].path)); err != nil {
			return err
		}
	}
	for _, d := range drafts {
		crash.File(d.path, crash.Durable)
	}
	return nil
}

// WriteFile writes a file. What was under the name before is replaced, or stays as it was. Folders are made where they
// are missing (mode 0700; the file has 0600). An error of write is returned as it is, and nothing is left then. No other
// error may be met by trying again within the same process: what the disk holds is not known.
func WriteFile(on FS, path string, write func(io.Writer) error) error {
	if err := MakeFolder(on, filepath.Dir(path)); err != nil {
		return err
	}
	d, err := Create(on, path)
	if err != nil {
		return err
	}
	defer d.Discard()
	w := bufio.NewWriterSize(d, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return Publish(d)
}
