package phi

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// keyBytes is the length of every key: AES-256.
const keyBytes = 32

// kekPath is the path in a `file:` URI. Other schemes are named as what they are: not there yet.
func kekPath(uri string) (string, error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || scheme == "" {
		return "", fmt.Errorf("key %q: not a URI; write file:PATH", uri)
	}
	switch scheme {
	case "file":
	case "gcp-kms", "aws-kms", "azure-kms", "hcvault":
		return "", fmt.Errorf("key of scheme %s: this version takes the key-encryption key from a file alone (file:PATH)", scheme)
	default:
		return "", fmt.Errorf("key of unknown scheme %q: this version takes the key-encryption key from a file (file:PATH)", scheme)
	}
	if strings.HasPrefix(rest, "//") {
		if rest = rest[2:]; !strings.HasPrefix(rest, "/") {
			return "", errors.New("key file://HOST/…: a key file lies on this machine; write file:PATH or file:///PATH")
		}
	}
	if rest == "" {
		return "", errors.New("key file: without a path")
	}
	return filepath.Clean(filepath.FromSlash(rest)), nil
}

// readKEK reads the key-encryption key: 32 random bytes in base64, in a file that nobody else may read.
func readKEK(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key-encryption key %s: not a regular file", path)
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	if info.Size() > 1024 {
		return nil, fmt.Errorf("key-encryption key %s: %w", path, errKEKForm)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("key-encryption key %s: %w", path, errKEKForm)
	}
	return key, nil
}

var errKEKForm = errors.New("must be 32 bytes in base64, on one line")

// private refuses a file that others may read or write. Windows has no such bits; there the folder's rights must do.
func private(path string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: mode %#o lets others in: chmod 600 it", path, info.Mode().Perm())
	}
	return nil
}

// newKey is a random key.
func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return key
}

// outside refuses a path inside one of the folders. Links on the way are followed, also where the end does not exist.
func outside(path string, forbidden []string) error {
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
			return fmt.Errorf("the key path %s lies inside %s: %w", path, folder, ErrKeyBesideData)
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

// createFile writes a new private file so that it is either there, whole and durable, or not at all. It never replaces
// a file: fs.ErrExist then.
func createFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// A link, not a rename: a rename would replace.
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
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
