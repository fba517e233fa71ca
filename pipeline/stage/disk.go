package stage

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
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// disk is what this package changes the file system through, so that tests can make any step of it fail.
type disk interface {
	create(path string) (file, error) // a new file for writing, mode 0600; fails if it exists
	rename(from, to string) error
	remove(path string) error
	mkdir(path string) error // mode 0700
	syncFolder(path string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the real one.
type osDisk struct{}

func (osDisk) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) remove(path string) error     { return os.Remove(path) }
func (osDisk) mkdir(path string) error      { return os.Mkdir(path, 0o700) }

func (osDisk) syncFolder(path string) error {
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

// SyncFolder makes the names in a folder durable: what was made, renamed or removed there.
func SyncFolder(dir string) error { return osDisk{}.syncFolder(dir) }

// MakeFolder makes a folder and what leads to it (mode 0700), durably. One that is there stays as it is.
func MakeFolder(dir string) error { return makeFolder(osDisk{}, dir) }

// makeFolder makes a folder and what leads to it, durably: a new folder whose entry in its parent is lost takes its
// files with it.
func makeFolder(d disk, dir string) error {
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
		if err := makeFolder(d, parent); err != nil {
			return err
		}
	}
	if err := d.mkdir(dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // another goroutine was faster
		}
		return err
	}
	return d.syncFolder(parent)
}

// pending is a file that is not visible yet. Its first error stays: nothing is tried again, for after a failed write or
// sync nobody knows what the disk holds.
type pending struct {
	disk      disk
	path, tmp string
	f         file
	err       error
}

const tmpSuffix = ".tmp"

// newPending opens a temporary file beside path. Its name is random, so that a process which lost its lease and does
// not know yet cannot write into the file of the one that took over.
func newPending(d disk, path string) (*pending, error) {
	var r [6]byte
	_, _ = rand.Read(r[:]) // never fails: crypto/rand ends the program instead
	p := &pending{disk: d, path: path, tmp: path + "." + hex.EncodeToString(r[:]) + tmpSuffix}
	var err error
	p.f, err = d.create(p.tmp)
	if err != nil {
		return nil, err
	}
	crash.File(path, crash.Made)
	return p, nil
}

// Write appends to the file.
func (p *pending) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	p.err = err
	return n, err
}

// Discard removes the file, unless it was published.
func (p *pending) Discard() {
	if p.f != nil {
		_ = p.f.Close()
		p.f = nil
	}
	if p.tmp != "" {
		_ = p.disk.remove(p.tmp)
		p.tmp = ""
	}
	if p.err == nil {
		p.err = fs.ErrClosed
	}
}

// publish makes files of one folder durable and visible: all are synced, then renamed in the order given, then the
// folder is synced. On an error those not yet renamed are removed.
func publish(d disk, files ...*pending) (err error) {
	defer func() {
		for _, p := range files {
			if err != nil && p.err == nil {
				p.err = err
			}
			p.Discard()
		}
	}()
	for _, p := range files {
		if p.err != nil {
			return p.err
		}
		crash.File(p.path, crash.Written)
		if err := p.f.Sync(); err != nil {
			return err
		}
		crash.File(p.path, crash.Synced)
		f := p.f
		p.f = nil
		if err := f.Close(); err != nil {
			return err
		}
	}
	for _, p := range files {
		if err := d.rename(p.tmp, p.path); err != nil {
			return err
		}
		p.tmp = ""
		crash.File(p.path, crash.Renamed)
	}
	if err := d.syncFolder(filepath.Dir(files[0].path)); err != nil {
		return err
	}
	for _, p := range files {
		crash.File(p.path, crash.Durable)
	}
	return nil
}

// WriteDiskFile writes a file the one durable way: to a temporary name, synced, renamed, its folder synced. What was under
// the name before is replaced, or stays as it was. Folders are made where they are missing (mode 0700; the file has
// 0600). An error of write is returned as it is, and nothing is left then. No other error may be met by trying again
// within the same process: what the disk holds is not known.
func WriteDiskFile(path string, write func(io.Writer) error) error {
	return writeFile(osDisk{}, path, write)
}

func writeFile(d disk, path string, write func(io.Writer) error) error {
	if err := makeFolder(d, filepath.Dir(path)); err != nil {
		return err
	}
	p, err := newPending(d, path)
	if err != nil {
		return err
	}
	defer p.Discard()
	w := bufio.NewWriterSize(p, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return publish(d, p)
}

// CleanTemp removes the unfinished files that killed processes left in a folder: all that end in ".tmp", spilled ones
// too. Nobody may be writing there. A folder that is not there is clean.
func CleanTemp(dir string) error { return clean(dir, "") }

// CleanSpill removes the files that a [Sorter] or [Index] of a killed process left in a folder. Nobody may be sorting
// there. A folder that is not there is clean.
func CleanSpill(dir string) error { return clean(dir, spillPrefix) }

func clean(dir, prefix string) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Type().IsRegular() && strings.HasPrefix(n.Name(), prefix) && strings.HasSuffix(n.Name(), tmpSuffix) {
			if err := os.Remove(filepath.Join(dir, n.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
