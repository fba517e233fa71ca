package kek

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
)

// KeyBytes is the length of a key in a file: AES-256.
const KeyBytes = 32

// ErrForm: the file of a key does not hold one.
var ErrForm = errors.New("must be 32 bytes in base64, on one line")

// File is a key-encryption key in a file that nobody else may read: 32 random bytes in base64. It prints its URI alone.
type File struct {
	uri  string
	aead cipher.AEAD
	// A function: fmt follows pointers and prints bytes, and shows of a function only its address.
	key func() []byte
}

func filePath(uri string) (string, error) { return keyfile.Path(uri, "key") }

func openFile(uri string) (*File, error) {
	path, err := filePath(uri)
	if err != nil {
		return nil, err
	}
	text, err := keyfile.Read(path, 1024)
	if errors.Is(err, keyfile.ErrTooLong) {
		err = fmt.Errorf("%s: %w", path, ErrForm)
	}
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != KeyBytes {
		return nil, fmt.Errorf("key-encryption key %s: %w", path, ErrForm)
	}
	aead, err := NewAEAD(key)
	if err != nil {
		return nil, err
	}
	return &File{uri: uri, aead: aead, key: func() []byte { return key }}, nil
}

func makeFile(uri string) (bool, error) {
	path, err := filePath(uri)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, fmt.Errorf("folder of keys: %w", err)
	}
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	text := base64.StdEncoding.EncodeToString(key) + "\n"
	if err := keyfile.Create(path, keyfile.Bytes([]byte(text))); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("make the key-encryption key: %w", err)
	}
	return true, nil
}

// Wrap is [Wrapper.Wrap].
func (f *File) Wrap(ctx context.Context, plaintext, aad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wrap under the key-encryption key: %w", err)
	}
	if len(plaintext) > MaxPlaintext {
		return nil, fmt.Errorf("wrap under the key-encryption key: %d bytes, more than %d", len(plaintext), MaxPlaintext)
	}
	return f.aead.Seal(nil, nil, plaintext, aad), nil
}

// Unwrap is [Wrapper.Unwrap].
func (f *File) Unwrap(ctx context.Context, ciphertext, aad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("unwrap under the key-encryption key: %w", err)
	}
	plaintext, err := f.aead.Open(nil, nil, ciphertext, aad)
	if err != nil {
		return nil, ErrNotWrapped
	}
	return plaintext, nil
}

// URI is [Wrapper.URI].
func (f *File) URI() string { return f.uri }

// Derive returns a key that follows from the file's. Only a file can: it serves to open what was made before backups had
// a wrapped key of their own, and nothing new.
func (f *File) Derive(salt []byte, info string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, f.key(), salt, info, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive from the key-encryption key: %w", err)
	}
	return key, nil
}

// Format prints the URI under every verb.
func (f *File) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(f.uri)) }
