package phi

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
	"github.com/chartlift/chartlift/pipeline/phi/kek"
)

// Restored is what restoring a backup did.
type Restored struct {
	Backup
	// Proven is how many patient keys were opened out of the restored files.
	Proven int
	// Placed are the files that were written, by their paths. Empty: the keys were there already, and the backup was
	// restored into a folder that is gone again, as a proof.
	Placed []string

	entries int    // of the restored key store, tombstones included
	digest  string // of them
}

// RestoreOptions say what to restore, and where to.
type RestoreOptions struct {
	Place  KeyPlace // of the plan's keys
	Backup string   // the file
	KEK    string   // URI of the copy of the key-encryption key that is kept elsewhere; "": the plan's own
	// Into names an empty or new folder to restore to instead of the place: a rehearsal, from which the files are not
	// taken away. It must not lie inside one of Forbidden.
	Into      string
	Forbidden []string
}

// RestoreKeys restores a backup. It is written to an empty folder, opened under the KEK as any keyring is, and every key
// in it is opened: nothing less proves that it can be lived from. Then what is missing is put into its place; what is
// there is never changed, and must be of the same keys ([ErrOtherKeys]). So a patient whom the key store here knows as
// shredded stays shredded.
func RestoreKeys(ctx context.Context, o RestoreOptions) (r Restored, err error) {
	at, err := o.Place.files()
	if err != nil {
		return r, err
	}
	if o.KEK == "" {
		o.KEK = o.Place.KEK
	}
	wrapper, err := kek.Open(ctx, o.KEK)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return r, fmt.Errorf("%w: put the copy of it there that is kept elsewhere; a backup cannot be opened without it", err)
		}
		return r, err
	}
	if err := errors.Join(o.Place.outside(o.Forbidden)...); err != nil {
		return r, err
	}
	work := o.Into
	if work == "" {
		if err := os.MkdirAll(at.folder, 0o700); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		if work, err = os.MkdirTemp(at.folder, ".restore-*"); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	} else if err := errors.Join(keyfile.Outside(work, o.Forbidden), emptyFolder(work)); err != nil {
		return r, err
	}
	files := filesIn(work, o.Place.Migration)
	if r, err = restoreInto(ctx, o.Backup, wrapper, files, o.Place.Migration); err != nil {
		return r, errors.Join(fmt.Errorf("restore: %w", err), removeAll(files.ring, files.store))
	}
	restored := []string{files.ring}
	if r.entries > 0 {
		restored = append(restored, files.store)
	}
	if o.Into != "" {
		r.Placed = restored
		return r, nil
	}
	if err := sameKeys(at.ring, files.ring); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	for _, from := range restored {
		to := filepath.Join(at.folder, filepath.Base(from))
		if err := os.Link(from, to); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		r.Placed = append(r.Placed, to)
	}
	return r, keyfile.SyncFolder(at.folder)
}

// restoreInto writes the keys in a backup into files that are not there, and opens every one of them.
func restoreInto(ctx context.Context, backup string, wrapper kek.Wrapper, at keyFiles, migration string) (r Restored, err error) {
	b, err := openBackup(ctx, backup, wrapper, migration)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r.Backup = b.head.Backup
	if err := keyfile.Create(at.ring, keyfile.Bytes(b.head.Keyring)); err != nil {
		return r, err
	}
	k, err := openRing(ctx, at, wrapper, migration)
	if err != nil {
		return r, err
	}
	err = errors.Join(b.restoreTo(ctx, k.store), k.Close())
	if err != nil {
		return r, err
	}
	// As a run would, from what is on disk now.
	if k, err = openRing(ctx, at, wrapper, migration); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if r.Proven, err = k.prove(ctx); err != nil {
		return r, err
	}
	if r.entries, r.digest, err = k.beginning(ctx, k.store.Len()); err != nil {
		return r, err
	}
	if k.Fingerprint() != r.Fingerprint || r.Proven != r.Keys || k.Torn() != 0 {
		return r, fmt.Errorf("%d of %d keys opened: %w", r.Proven, r.Keys, ErrBackup)
	}
	return r, nil
}

// sameKeys refuses a keyring that is here and holds other keys than the restored one.
func sameKeys(here, restored string) error {
	text, err := os.ReadFile(here)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	other, err := os.ReadFile(restored)
	if err != nil || bytes.Equal(text, other) {
		return err
	}
	a, errHere := parseKeyring(here, text)
	b, errThere := parseKeyring(restored, other)
	if errHere == nil && errThere == nil && a.Fingerprint != "" && a.Fingerprint == b.Fingerprint {
		return fmt.Errorf("%s: the root key was rotated, or another key-encryption key wraps it, since the backup was made: make a new backup: %w", here, ErrOtherKeys)
	}
	return fmt.Errorf("%s: %w; move them away first if the backup is to take their place", here, ErrOtherKeys)
}

func removeAll(paths ...string) (err error) {
	for _, path := range paths {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// emptyFolder makes a folder, or checks that it is empty.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty: %w", dir, fs.ErrExist)
	}
	return nil
}

// prove opens every key in the store, and returns how many there are.
func (k *Keyring) prove(ctx context.Context) (int, error) {
	count := 0
	for e, err := range k.store.Each(ctx) {
		if err != nil {
			return count, err
		}
		if e.Shredded {
			continue
		}
		key, err := k.unwrap(e)
		if err != nil {
			return count, fmt.Errorf("key store %s: key %d does not open: %w: %w", k.store.Name(), count+1, err, ErrBackup)
		}
		clear(key)
		count++
	}
	return count, nil
}

// Proof says that a backup of the keys was restored, and that every key in it opened.
type Proof struct {
	Backup
	Proven time.Time `json:"proven"`
	// What the key store began with then: the proof holds for this, whatever is put later.
	Entries int    `json:"entries"`
	Digest  string `json:"digest"` // SHA-256 of their records, hex
}

// proofFormat is 2: a proof of format 1, of an earlier version, was about the bytes of the key store's file.
const proofFormat = 2

// proofFile is the form of MIGRATION.proof.
type proofFile struct {
	Format int   `json:"format"`
	Proof  Proof `json:"proof"`
	// MAC is an HMAC under a key of the root, so that nobody without the keys can write a proof.
	MAC string `json:"mac"`
}

// ErrNoProof: no restore of a backup of these keys was proven, or the proof is of another key store.
var ErrNoProof = errors.New("no restore of a backup of these keys was proven")

// RecordProof notes beside the keyring that the backup was restored. The key store must begin with what is in the
// backup.
func (k *Keyring) RecordProof(ctx context.Context, r Restored, now time.Time) (Proof, error) {
	if r.Fingerprint != k.name {
		return Proof{}, ErrOtherKeys
	}
	p := Proof{Backup: r.Backup, Proven: now.UTC().Truncate(time.Second), Entries: r.entries, Digest: r.digest}
	if n, digest, err := k.beginning(ctx, r.entries); err != nil || n != r.entries || digest != r.digest {
		return p, errors.Join(fmt.Errorf("the key store here does not begin with what the backup holds, or its keys were rotated or shredded since (make a new backup): %w", ErrOtherKeys), err)
	}
	mac, err := k.proofMAC(p)
	if err != nil {
		return p, err
	}
	text, err := json.MarshalIndent(proofFile{proofFormat, p, mac}, "", "  ")
	if err != nil {
		return p, err
	}
	if err := keyfile.Replace(k.proofPath, keyfile.Bytes(append(text, '\n'))); err != nil {
		return p, fmt.Errorf("proof: %w", err)
	}
	return p, nil
}

func (k *Keyring) proofMAC(p Proof) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, k.proofKey)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// Proof reads the last proof, and how many patient keys were made since then: these the backup does not hold.
// [ErrNoProof] if there is none that holds for this key store.
func (k *Keyring) Proof(ctx context.Context) (p Proof, since int, err error) {
	text, err := os.ReadFile(k.proofPath)
	if errors.Is(err, fs.ErrNotExist) {
		return p, 0, ErrNoProof
	}
	if err != nil {
		return p, 0, fmt.Errorf("proof: %w", err)
	}
	var f proofFile
	if err := json.Unmarshal(text, &f); err == nil && f.Format == 1 {
		return p, 0, fmt.Errorf("%s was written by an earlier version; its backup can still be restored, which proves it anew: %w", k.proofPath, ErrNoProof)
	} else if err != nil || f.Format != proofFormat {
		return p, 0, fmt.Errorf("%s is damaged: %w", k.proofPath, ErrNoProof)
	}
	mac, err := k.proofMAC(f.Proof)
	if err != nil {
		return p, 0, err
	}
	if !hmac.Equal([]byte(mac), []byte(f.MAC)) || f.Proof.Fingerprint != k.name {
		return p, 0, fmt.Errorf("%s was not written with these keys: %w", k.proofPath, ErrNoProof)
	}
	n, digest, err := k.beginning(ctx, f.Proof.Entries)
	if err != nil {
		return p, 0, err
	}
	if n != f.Proof.Entries || digest != f.Proof.Digest {
		return p, 0, fmt.Errorf("the key store is not the one that %s is about, or its keys were rotated or shredded since: %w", k.proofPath, ErrNoProof)
	}
	return f.Proof, k.store.Len() - f.Proof.Entries, nil
}

// beginning counts the first entries of the store, at most so many, and is a digest of them.
func (k *Keyring) beginning(ctx context.Context, most int) (n int, digest string, err error) {
	sum := sha256.New()
	var record []byte
	for e, err := range k.store.Each(ctx) {
		if err != nil {
			return n, "", err
		}
		if n == most {
			break
		}
		record = e.AppendRecord(record[:0])
		sum.Write(record)
		n++
	}
	return n, hex.EncodeToString(sum.Sum(nil)), nil
}
