package phi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
	"github.com/chartlift/chartlift/pipeline/phi/kek"
)

// KeyPlace says which keys are meant and where they lie.
type KeyPlace struct {
	KEK string // URI of the key-encryption key, as package kek reads it; file: paths from the working folder
	// Store is the folder of the keyring and the key store, as file:FOLDER. Empty: the folder of a KEK that lies in a file.
	Store     string
	Migration string
}

// Folder is where keyring and key store lie, as file:FOLDER.
func (p KeyPlace) Folder() string {
	if p.Store != "" {
		return p.Store
	}
	return "file:" + filepath.Dir(kek.Path(p.KEK))
}

// keyFiles are the files of a migration's keys, beside the KEK or elsewhere.
type keyFiles struct{ folder, ring, store, proof string }

func filesIn(folder, migration string) keyFiles {
	base := filepath.Join(folder, migration)
	return keyFiles{folder, base + ".keyring", base + ".keys", base + ".proof"}
}

// files says where the files are, or what is wrong with the place.
func (p KeyPlace) files() (keyFiles, error) {
	if p.Migration == "" || len(p.Migration) > 100 || strings.HasPrefix(p.Migration, ".") {
		return keyFiles{}, fmt.Errorf("migration %q: a name of 1 to 100 letters, digits, `-`, `_` and `.` is needed to name its keys", p.Migration)
	}
	for i := range len(p.Migration) {
		if c := p.Migration[i]; !isName(c) && c != '-' && c != '.' {
			return keyFiles{}, fmt.Errorf("migration %q: a name of letters, digits, `-`, `_` and `.` is needed to name its keys", p.Migration)
		}
	}
	// Another scheme of the KEK than file is refused when it is opened, which says more.
	folder, err := keyfile.Path(p.Folder(), "key store")
	return filesIn(folder, p.Migration), err
}

// outside checks that nothing of the keys lies in one of the folders.
func (p KeyPlace) outside(forbidden []string) (faults []error) {
	if path := kek.Path(p.KEK); path != "" {
		faults = append(faults, keyfile.Outside(path, forbidden))
	}
	if p.Store != "" {
		at, err := p.files()
		if err != nil {
			return append(faults, err)
		}
		faults = append(faults, keyfile.Outside(at.ring, forbidden))
	}
	return faults
}

// ringSecrets are the keys in a keyring.
type ringSecrets struct {
	id    []byte
	roots [][]byte // oldest first
}

// keyringFile is the form of MIGRATION.keyring. Format 2: the KEK wraps a random key, and that encrypts the rest, so that
// the KEK is asked once. Format 1, which earlier versions wrote and this one reads, has the root and the id key wrapped
// by the KEK.
type keyringFile struct {
	Format      int    `json:"format"`
	Migration   string `json:"migration"`
	Root        string `json:"root,omitempty"` // format 1
	ID          string `json:"id,omitempty"`   // format 1
	Fingerprint string `json:"fingerprint,omitempty"`
	Key         string `json:"key,omitempty"`  // wrapped by the KEK, base64
	Keys        string `json:"keys,omitempty"` // the id key and the root keys, oldest first, under Key, base64
}

const (
	wrapDomain = "chartlift wrapped key 1"
	// maxKeyring is how long a keyring may be: some thousand root keys.
	maxKeyring = 1 << 18
)

func wrapAAD(migration, purpose string, id []byte) []byte {
	b := appendField(nil, wrapDomain)
	b = appendField(b, migration)
	b = appendField(b, purpose)
	return append(b, id...)
}

func initKeyring(ctx context.Context, p KeyPlace, at keyFiles) error {
	_, ringErr := os.Stat(at.ring)
	wrapper, err := kek.Open(ctx, p.KEK)
	if errors.Is(err, fs.ErrNotExist) {
		if ringErr == nil {
			return fmt.Errorf("%s is here, but the key-encryption key it was made with is not at %s: restore it; a new one could not open it", at.ring, p.KEK)
		}
		if _, err = kek.Make(ctx, p.KEK); err == nil {
			wrapper, err = kek.Open(ctx, p.KEK)
		}
	}
	if err != nil {
		return err
	}
	crash.At(crash.KeysMade)
	if errors.Is(ringErr, fs.ErrNotExist) {
		if _, err := os.Stat(at.store); err == nil {
			return fmt.Errorf("%s is here without its keyring %s: restore it; a new one could not open it", at.store, at.ring)
		}
		if err := os.MkdirAll(at.folder, 0o700); err != nil {
			return fmt.Errorf("folder of keys: %w", err)
		}
		text, err := encodeKeyring(ctx, wrapper, p.Migration, &ringSecrets{newKey(), [][]byte{newKey()}})
		if err == nil {
			err = keyfile.Create(at.ring, keyfile.Bytes(text))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the keyring: %w", err)
		}
	}
	_, _, err = readKeyring(ctx, at.ring, wrapper, p.Migration)
	return err
}

// encodeKeyring is the text of a keyring, under a new key that the KEK wraps.
func encodeKeyring(ctx context.Context, wrapper kek.Wrapper, migration string, secrets *ringSecrets) ([]byte, error) {
	key := newKey()
	wrapped, err := wrapper.Wrap(ctx, key, wrapAAD(migration, "keyring", nil))
	if err != nil {
		return nil, err
	}
	aead, err := kek.NewAEAD(key)
	if err != nil {
		return nil, err
	}
	k, _, err := newRing(secrets, migration)
	if err != nil {
		return nil, err
	}
	plain := bytes.Clone(secrets.id)
	for _, r := range secrets.roots {
		plain = append(plain, r...)
	}
	sealed := aead.Seal(nil, nil, plain, wrapAAD(migration, "keys", nil))
	clear(plain)
	return keyringFile{Format: 2, Migration: migration, Fingerprint: k.name,
		Key: base64.StdEncoding.EncodeToString(wrapped), Keys: base64.StdEncoding.EncodeToString(sealed)}.text()
}

func (f keyringFile) text() ([]byte, error) {
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

// parseKeyring reads the text of a keyring. path names it in an error.
func parseKeyring(path string, text []byte) (f keyringFile, err error) {
	if err := json.Unmarshal(text, &f); err != nil || f.Format != 1 && f.Format != 2 {
		return f, fmt.Errorf("keyring %s: damaged, or of another version", path)
	}
	// Byte for byte: JSON would take a changed blank, or a name in other letters, for the same.
	if again, err := f.text(); err != nil || !bytes.Equal(again, text) {
		return f, fmt.Errorf("keyring %s: damaged: it is not as it was written", path)
	}
	return f, nil
}

// readKeyring opens a keyring, and returns its text too.
func readKeyring(ctx context.Context, path string, wrapper kek.Wrapper, migration string) (*ringSecrets, []byte, error) {
	text, err := keyfile.Read(path, maxKeyring)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("keyring: %w (`chartlift keys init` makes it)", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("keyring: %w", err)
	}
	f, err := parseKeyring(path, text)
	if err != nil {
		return nil, nil, err
	}
	if f.Migration != migration {
		return nil, nil, fmt.Errorf("keyring %s: made for migration %q, not %q", path, f.Migration, migration)
	}
	secrets, err := f.open(ctx, wrapper)
	if err != nil {
		return nil, nil, fmt.Errorf("keyring %s: %w", path, err)
	}
	return secrets, text, nil
}

// open unwraps the keys in a keyring.
func (f keyringFile) open(ctx context.Context, wrapper kek.Wrapper) (*ringSecrets, error) {
	unwrap := func(purpose, text string) ([]byte, error) {
		wrapped, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, errors.New("damaged")
		}
		key, err := wrapper.Unwrap(ctx, wrapped, wrapAAD(f.Migration, purpose, nil))
		if errors.Is(err, kek.ErrNotWrapped) || err == nil && len(key) != keyBytes {
			return nil, ErrWrongKEK
		}
		return key, err
	}
	if f.Format == 1 {
		root, err := unwrap("root", f.Root)
		if err != nil {
			return nil, err
		}
		id, err := unwrap("id", f.ID)
		return &ringSecrets{id, [][]byte{root}}, err
	}
	key, err := unwrap("keyring", f.Key)
	if err != nil {
		return nil, err
	}
	aead, err := kek.NewAEAD(key)
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(f.Keys)
	if err != nil {
		return nil, errors.New("damaged")
	}
	plain, err := aead.Open(nil, nil, sealed, wrapAAD(f.Migration, "keys", nil))
	if err != nil || len(plain) < 2*keyBytes || len(plain)%keyBytes != 0 {
		return nil, errors.New("damaged: what the key-encryption key opens does not open the rest")
	}
	secrets := &ringSecrets{id: plain[:keyBytes:keyBytes]}
	for at := keyBytes; at < len(plain); at += keyBytes {
		secrets.roots = append(secrets.roots, plain[at:at+keyBytes:at+keyBytes])
	}
	k, _, err := newRing(secrets, f.Migration)
	if err == nil && k.name != f.Fingerprint {
		err = errors.New("damaged: its fingerprint is that of another")
	}
	return secrets, err
}
