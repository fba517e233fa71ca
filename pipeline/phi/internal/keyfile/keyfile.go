// Package keyfile makes and replaces the files that keys lie in: each is whole and durable or not there, and
// nobody but its owner may read it.
package keyfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrBesideData: keys must lie apart from the data they protect.
var ErrBesideData = errors.New("keys must lie apart from stage and ledger")

// ErrTooLong: a file is longer than what it is to hold.
var ErrTooLong = errors.New("too long")

// Path is the path in a `file:` URI, or what is wrong with it. what names the thing in an error.
func Path(uri, what string) (string, error) {
	rest, ok := strings.CutPrefix(uri, "file:")
	if !ok {
		return "", fmt.Errorf("%s %q: not file:PATH", what, uri)
	}
	if strings.HasPrefix(rest, "//") {
		if rest = rest[2:]; !strings.HasPrefix(rest, "/") {
			return "", fmt.Errorf("%s file://HOST/…: it lies on this machine; write file:PATH or file:///PATH", what)
		}
	}
	if rest == "" {
		return "", fmt.Errorf("%s file: without a path", what)
	}
	return filepath.Clean(filepath.FromSlash(rest)), nil
}

// Private refuses a file that others may read or write. Windows has no such bits; there the folder's rights must do.
func Private(path string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: mode %#o lets others in: chmod 600 it", path, info.Mode().Perm())
	}
	return nil
}

// Read reads a small file that only its owner may read. What is longer than most bytes is refused: [ErrTooLong].
func Read(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if err := Private(path, info); err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %w", path, ErrTooLong)
	}
	return os.ReadFile(path)
}

// Outside refuses a path inside one of the folders. Links on the way are followed, also where the end does not exist.
func Outside(path string, forbidden []string) error {
	real, err := realPath(path)
	if err != nil {
		return fmt.Errorf("key path: %w", err)
	}
	for _, folder := range forbidden {
		if folder == "" {
			continue
		}
		root, err := realPath(folder)
		if err != nil {
			return fmt.Errorf("folder apart from keys: %w", err)
		}
		if rel, err := filepath.Rel(root, real); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return fmt.Errorf("the key path %s lies inside %s: %w", path, folder, ErrBesideData)
		}
	}
	return nil
}

// realPath is the absolute path with links resolved as far as it exists.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := abs; ; {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(at)
		if parent == at {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
		at = parent
	}
}

// Create writes a new private file so that it is either there, whole and durable, or not at all. It never replaces a
// file: fs.ErrExist then.
func Create(path string, write func(io.Writer) error) error {
	return put(path, write, os.Link) // a link, not a rename: a rename would replace
}

// Replace is Create for a file that may be there: it holds the old bytes or the new ones, whenever the process dies.
func Replace(path string, write func(io.Writer) error) error {
	return put(path, write, os.Rename)
}

// Bytes is what Create and Replace write if all of it is in memory.
func Bytes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func put(path string, write func(io.Writer) error, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // only the owner may read it
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriterSize(tmp, 1<<16)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	return SyncFolder(dir)
}

// SyncFolder makes the names in a folder durable.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there; NTFS journals its entries
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
