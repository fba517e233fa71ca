package phi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// diskStore is the key store in a file beside the KEK.
type diskStore string

func (path diskStore) read() (storeFile, error) {
	f, err := os.Open(string(path))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = private(string(path), info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return diskFile{f}, nil
}

func (path diskStore) write() (storeFile, error) {
	_, err := os.Stat(string(path))
	missing := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(string(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another process is adding keys: %w", err)
	}
	if missing {
		if err := syncFolder(filepath.Dir(string(path))); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return diskFile{f}, nil
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
