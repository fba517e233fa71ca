package phi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Restored is what restoring a backup did.
type Restored struct {
	Backup
	// Proven is how many patient keys were opened out of the restored files.
	Proven int
	// Placed are the files that were written, by their paths. Empty: the keys were there already, and the backup was
	// restored into a folder that is gone again, as a proof.
	Placed []string

	store  int64 // size and digest of the restored key store
	digest string
}

// RestoreOptions say what to restore, and where to.
type RestoreOptions struct {
	Migration string
	Backup    string // the file
	KEK       string // URI of the key-encryption key, or of the copy of it that is kept elsewhere
	Keys      string // URI of the plan's key-encryption key, beside which the keys have their place
	// Into names an empty or new folder to restore to instead of the place: a rehearsal, from which the files are not
	// taken away. It must not lie inside one of Forbidden.
	Into      string
	Forbidden []string
}

// RestoreKeys restores a backup. It is written to an empty folder, opened under the KEK as any keyring is, and every key
// in it is opened: nothing less proves that it can be lived from. Then what is missing is put into its place; what is
// there is never changed, and must be of the same keys ([ErrOtherKeys]).
func RestoreKeys(o RestoreOptions) (r Restored, err error) {
	migration, path, into := o.Migration, o.Backup, o.Into
	kekFile, err := kekPath(o.KEK)
	if err != nil {
		return r, err
	}
	planFile, err := kekPath(o.Keys)
	if err != nil {
		return r, err
	}
	kek, err := readKEK(kekFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return r, fmt.Errorf("%w: put the copy of it there that is kept elsewhere; a backup cannot be opened without it", err)
		}
		return r, err
	}
	place := filepath.Dir(planFile)
	if err := outside(planFile, o.Forbidden); err != nil {
		return r, err
	}
	work := into
	if into == "" {
		if err := os.MkdirAll(place, 0o700); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		if work, err = os.MkdirTemp(place, ".restore-*"); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	} else if err := errors.Join(outside(into, o.Forbidden), emptyFolder(into)); err != nil {
		return r, err
	}
	ringPath, storePath, err := keyringPaths(filepath.Join(work, "kek"), migration)
	if err != nil {
		return r, err
	}
	var head backupHead
	err = createStream(storePath, func(w io.Writer) error {
		head, err = readBackup(path, kek, migration, w)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if head.Store == 0 {
		if err := os.Remove(storePath); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
	}
	if err := createFile(ringPath, head.Keyring); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	r.Backup = head.Backup
	k, err := openRing(ringPath, storePath, kek, migration)
	if err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if r.Proven, err = k.store.prove(); err == nil {
		r.store, r.digest, err = k.store.prefix(r.Proven)
	}
	if err = errors.Join(err, k.Close()); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if k.Fingerprint() != head.Fingerprint || r.Proven != head.Keys || k.Torn() != 0 {
		return r, fmt.Errorf("restore: %d of %d keys opened: %w", r.Proven, head.Keys, ErrBackup)
	}
	files := []string{ringPath}
	if head.Store > 0 {
		files = append(files, storePath)
	}
	if into != "" {
		r.Placed = files
		return r, nil
	}
	if here, _, err := keyringPaths(planFile, migration); err != nil {
		return r, err
	} else if text, err := os.ReadFile(here); err == nil {
		if !bytes.Equal(text, head.Keyring) {
			return r, fmt.Errorf("restore: %s: %w; move them away first if the backup is to take their place", here, ErrOtherKeys)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("restore: %w", err)
	}
	for _, from := range files {
		to := filepath.Join(place, filepath.Base(from))
		if err := os.Link(from, to); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
		r.Placed = append(r.Placed, to)
	}
	return r, syncFolder(place)
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

// prove opens every key in the store, and answers how many there are.
func (s *keyStore) prove() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	record := make([]byte, recordSize)
	for slot := range s.written {
		at := int64(slot+1) * recordSize
		if _, err := s.file.ReadAt(record, at); err != nil {
			return count, fmt.Errorf("key store: read: %w", err)
		}
		if record[0] != recordKey {
			continue
		}
		key, err := s.wrap.Open(nil, nil, record[atWrapped:atCRC], s.aad(record[atHandle:atKeyID], record[atKeyID:atWrapped]))
		if err != nil || len(key) != keyBytes {
			return count, &StoreDamage{s.path, at, "a key that does not open"}
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
	// What the key store began with then: the proof holds for this, whatever is appended later.
	Store  int64  `json:"store"`
	Digest string `json:"digest"` // SHA-256, hex
}

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
func (k *Keyring) RecordProof(r Restored, now time.Time) (Proof, error) {
	if r.Fingerprint != k.name {
		return Proof{}, ErrOtherKeys
	}
	p := Proof{Backup: r.Backup, Proven: now.UTC().Truncate(time.Second), Store: r.store, Digest: r.digest}
	if size, digest, err := k.store.prefix(r.Proven); err != nil || size != r.store || digest != r.digest {
		return p, errors.Join(fmt.Errorf("the key store here does not begin with what the backup holds: %w", ErrOtherKeys), err)
	}
	mac, err := k.proofMAC(p)
	if err != nil {
		return p, err
	}
	text, err := json.MarshalIndent(proofFile{1, p, mac}, "", "  ")
	if err != nil {
		return p, err
	}
	tmp := k.proofPath + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("proof: %w", err)
	}
	if err := createFile(tmp, append(text, '\n')); err != nil {
		return p, fmt.Errorf("proof: %w", err)
	}
	if err := os.Rename(tmp, k.proofPath); err != nil {
		return p, fmt.Errorf("proof: %w", err)
	}
	return p, syncFolder(filepath.Dir(k.proofPath))
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
func (k *Keyring) Proof() (p Proof, since int, err error) {
	text, err := os.ReadFile(k.proofPath)
	if errors.Is(err, fs.ErrNotExist) {
		return p, 0, ErrNoProof
	}
	if err != nil {
		return p, 0, fmt.Errorf("proof: %w", err)
	}
	var f proofFile
	if err := json.Unmarshal(text, &f); err != nil || f.Format != 1 {
		return p, 0, fmt.Errorf("%s is damaged: %w", k.proofPath, ErrNoProof)
	}
	mac, err := k.proofMAC(f.Proof)
	if err != nil {
		return p, 0, err
	}
	if !hmac.Equal([]byte(mac), []byte(f.MAC)) || f.Proof.Fingerprint != k.name {
		return p, 0, fmt.Errorf("%s was not written with these keys: %w", k.proofPath, ErrNoProof)
	}
	size, digest, err := k.store.prefix(f.Proof.Keys)
	if err != nil {
		return p, 0, err
	}
	if size != f.Proof.Store || digest != f.Proof.Digest {
		return p, 0, fmt.Errorf("the key store is not the one that %s is about: %w", k.proofPath, ErrNoProof)
	}
	return f.Proof, k.store.count() - f.Proof.Keys, nil
}

// count is how many keys there are, those included that are not durable yet.
func (s *keyStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.used
}

// prefix is the size and digest of the key store up to its n-th key.
func (s *keyStore) prefix(n int) (size int64, digest string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.New()
	if s.file == nil && n > 0 {
		return 0, "", ErrNoProof
	}
	buf := make([]byte, 1024*recordSize)
	for at, end := int64(0), int64(s.written+1)*recordSize; n > 0 && at < end; {
		b := buf[:min(int64(len(buf)), end-at)]
		if _, err := s.file.ReadAt(b, at); err != nil {
			return 0, "", fmt.Errorf("key store: read: %w", err)
		}
		for i := 0; i < len(b) && n > 0; i += recordSize {
			if (at > 0 || i > 0) && b[i] == recordKey {
				n--
			}
			sum.Write(b[i : i+recordSize])
			size += recordSize
		}
		at += int64(len(b))
	}
	if n > 0 {
		return 0, "", ErrNoProof // fewer keys than the backup held
	}
	return size, hex.EncodeToString(sum.Sum(nil)), nil
}
