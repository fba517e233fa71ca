package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/internal/filelock"
	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
)

// disk is a store's file at a path.
type disk string

func (path disk) read() (storeFile, error) {
	f, err := os.Open(string(path))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = keyfile.Private(string(path), info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return diskFile{f}, nil
}

func (path disk) write() (storeFile, error) {
	for {
		_, err := os.Stat(string(path))
		missing := errors.Is(err, fs.ErrNotExist)
		f, err := path.locked(string(path), os.O_RDWR|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		if missing {
			if err := keyfile.SyncFolder(filepath.Dir(string(path))); err != nil {
				_ = f.Close()
				return nil, err
			}
		}
		// Whoever held the lock may have put another file in the place of this one: what is written to this is lost.
		same, err := path.names(f)
		if same {
			return diskFile{f}, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// locked opens a file and locks it.
func (path disk) locked(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := filelock.Try(f)
	if err == nil && !held {
		err = errors.New("another process is adding keys")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// names tells whether the path leads to the open file.
func (path disk) names(f *os.File) (bool, error) {
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(string(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(here, there), err
}

func (path disk) next() (storeFile, error) {
	f, err := path.locked(path.nextName(), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil { // of a process that died
		_ = f.Close()
		return nil, err
	}
	return diskFile{f}, nil
}

func (path disk) nextName() string { return string(path) + ".new" }

func (path disk) replace(old, next storeFile) (storeFile, error) {
	if runtime.GOOS == "windows" {
		// There an open file cannot be renamed, nor replaced, by anybody: who comes between makes one of the two fail.
		if err := errors.Join(old.Close(), next.Close(), os.Rename(path.nextName(), string(path))); err != nil {
			return nil, err
		}
		return path.write()
	}
	if err := os.Rename(path.nextName(), string(path)); err != nil {
		return nil, err
	}
	crash.At(crash.KeysReplaced)
	return next, keyfile.SyncFolder(filepath.Dir(string(path)))
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
