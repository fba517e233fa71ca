package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// Disk is a [Place] in a folder. Places below are folders below; all are made when a file is (mode 0700, files 0600). A
// draft is a file whose name is random and ends in ".tmp"; to publish is to sync the drafts, rename them in order, and
// sync the folder.
type Disk struct {
	fs  durable.FS
	dir string
	err error // of the name that the place was made with
}

// NewDisk makes a place of a folder.
func NewDisk(dir string) *Disk { return NewDiskOn(durable.OS{}, dir) }

// NewDiskOn makes a place of a folder on a disk that may fail, for tests.
func NewDiskOn(on durable.FS, dir string) *Disk { return &Disk{fs: on, dir: dir} }

// path is where a file lies.
func (d *Disk) path(name string) (string, error) {
	if d.err != nil {
		return "", d.err
	}
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, name), nil
}

// Create begins a file.
func (d *Disk) Create(_ context.Context, name string) (Draft, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := durable.MakeFolder(d.fs, d.dir); err != nil {
		return nil, err
	}
	p, err := durable.Create(d.fs, path)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Publish makes drafts visible and durable.
func (d *Disk) Publish(_ context.Context, drafts ...Draft) error {
	files := make([]*durable.Draft, len(drafts))
	foreign := false
	for i, draft := range drafts {
		p, ok := draft.(*durable.Draft)
		foreign = foreign || !ok || filepath.Dir(p.Path()) != filepath.Clean(d.dir)
		files[i] = p
	}
	if foreign {
		for _, draft := range drafts {
			draft.Discard()
		}
		return errors.New("a draft of another place")
	}
	if d.err != nil {
		return d.err
	}
	return durable.Publish(files...)
}

// diskFile is an open file and how long it is.
type diskFile struct {
	*os.File
	size int64
}

func (f diskFile) Size() int64 { return f.size }

// Open opens a file.
func (d *Disk) Open(_ context.Context, name string) (File, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return diskFile{f, info.Size()}, nil
}

// Exists tells whether there is a file of this name.
func (d *Disk) Exists(_ context.Context, name string) (bool, error) {
	path, err := d.path(name)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// List returns the names of the files that begin with a prefix, sorted.
func (d *Disk) List(_ context.Context, prefix string) ([]string, error) {
	return d.list(func(name string) bool { return strings.HasPrefix(name, prefix) && CheckName(name) == nil })
}

func (d *Disk) list(wanted func(string) bool) ([]string, error) {
	if d.err != nil {
		return nil, d.err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && wanted(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Remove removes a file.
func (d *Disk) Remove(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	return gone(d.fs.Remove(path))
}

// Clean removes the drafts that killed processes left.
func (d *Disk) Clean(context.Context) error {
	names, err := d.list(func(name string) bool { return strings.HasSuffix(name, durable.TempSuffix) })
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := gone(d.fs.Remove(filepath.Join(d.dir, name))); err != nil {
			return err
		}
	}
	return nil
}

// gone takes a file that is not there for removed.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sub is a place below.
func (d *Disk) Sub(name string) Place {
	sub := &Disk{fs: d.fs, dir: filepath.Join(d.dir, name), err: d.err}
	if sub.err == nil {
		sub.err = CheckName(name)
	}
	return sub
}
