package phi

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

var noon = time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)

// keyPlace is a folder with the keys of a migration, and a copy of the KEK in another place.
type keyPlace struct {
	t       *testing.T
	dir     string
	uri     string
	copyURI string
}

func newKeyPlace(t *testing.T, patients int) *keyPlace {
	t.Helper()
	p := &keyPlace{t: t, dir: filepath.Join(t.TempDir(), "keys")}
	p.uri = "file:" + filepath.Join(p.dir, "kek")
	if err := InitKeys(t.Context(), p.place(p.uri)); err != nil {
		t.Fatal(err)
	}
	kek, err := os.ReadFile(filepath.Join(p.dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(elsewhere, kek, 0o600); err != nil {
		t.Fatal(err)
	}
	p.copyURI = "file:" + elsewhere
	p.add(0, patients)
	return p
}

// place is where the keys lie, under a KEK.
func (p *keyPlace) place(uri string) KeyPlace { return KeyPlace{KEK: uri, Migration: "test"} }

// add makes the keys of so many patients, durable.
func (p *keyPlace) add(from, to int) {
	p.t.Helper()
	k := p.open(p.uri)
	for i := from; i < to; i++ {
		if _, err := k.key(fmt.Sprintf("p%d", i), true); err != nil {
			p.t.Fatal(err)
		}
		if i%7 == 0 && i < 200 {
			if err := k.Sync(); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	if err := errors.Join(k.Sync(), k.Close()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *keyPlace) open(uri string) *Keyring {
	p.t.Helper()
	k, err := OpenKeys(p.t.Context(), p.place(uri))
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

func (p *keyPlace) backup() (path string, b Backup) {
	p.t.Helper()
	path = filepath.Join(p.t.TempDir(), "keys.backup")
	b, err := WriteBackup(p.t.Context(), p.place(p.uri), path, noon)
	if err != nil {
		p.t.Fatal(err)
	}
	return path, b
}

// restore are the options to restore to the place itself or into a folder.
func (p *keyPlace) restore(path, into string) RestoreOptions {
	return RestoreOptions{Place: p.place(p.uri), Backup: path, Into: into}
}

// data is the key of a patient, as text to compare.
func (p *keyPlace) data(k *Keyring, patient string) string {
	p.t.Helper()
	key, err := k.patientKey(patient)
	if err != nil {
		p.t.Fatalf("%s: %v", patient, err)
	}
	return fmt.Sprintf("%x %x", key.id, key.mac)
}

// TestBackupRestoresEverything loses all keys, and gets them back from the backup and the copy of the KEK.
func TestBackupRestoresEverything(t *testing.T) {
	for _, patients := range []int{0, 1, 100, 11_000} {
		t.Run(fmt.Sprint(patients), func(t *testing.T) {
			p := newKeyPlace(t, patients)
			path, b := p.backup()
			if b.Keys != patients {
				t.Errorf("%d keys in the backup, want %d", b.Keys, patients)
			}
			if _, err := WriteBackup(p.t.Context(), p.place(p.uri), path, noon); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a backup was written over: %v", err)
			}
			k := p.open(p.uri)
			print, first := k.Fingerprint(), ""
			if patients > 0 {
				first = p.data(k, "p0")
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := RestoreKeys(t.Context(), RestoreOptions{Place: p.place(p.copyURI), Backup: path})
			if err != nil {
				t.Fatal(err)
			}
			if r.Proven != patients || r.ID != b.ID || len(r.Placed) != 1+min(patients, 1) {
				t.Errorf("restored %+v", r)
			}
			k = p.open(p.copyURI)
			defer k.Close()
			if k.Fingerprint() != print || patients > 0 && p.data(k, "p0") != first {
				t.Error("not the same keys")
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("others may read the backup: %v %v", info.Mode(), err)
			}
		})
	}
}

// TestBackupWhileKeysAreAdded takes backups of a store to which another process adds: each is whole.
func TestBackupWhileKeysAreAdded(t *testing.T) {
	p := newKeyPlace(t, 10)
	k := p.open(p.uri)
	defer k.Close()
	last := 0
	for i := 10; i < 400; i++ {
		if _, err := k.key(fmt.Sprintf("p%d", i), true); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := k.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 != 0 {
			continue
		}
		path, b := p.backup()
		if b.Keys < last || b.Keys > i+1 || b.Keys < i-3 {
			t.Errorf("%d keys in the backup after %d", b.Keys, i)
		}
		last = b.Keys
		if r, err := RestoreKeys(t.Context(), p.restore(path, "")); err != nil || r.Proven != b.Keys || len(r.Placed) != 0 {
			t.Fatalf("restored %+v: %v", r, err)
		}
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("%d files beside the KEK, want 3", len(entries))
	}
}

// TestDamagedBackupIsRefused flips bits, cuts and lengthens; nothing is ever restored from it.
func TestDamagedBackupIsRefused(t *testing.T) {
	p := newKeyPlace(t, 30)
	path, _ := p.backup()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		bad, into := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "into")
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := RestoreKeys(t.Context(), p.restore(bad, into)); !errors.Is(err, ErrBackup) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for at := 0; at < len(whole); at += 37 {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 4
		try(fmt.Sprintf("bit at %d", at), flipped)
		try(fmt.Sprintf("cut at %d", at), whole[:at])
	}
	try("more", append(bytes.Clone(whole), 0))
	other := newKeyPlace(t, 1)
	if _, err := RestoreKeys(t.Context(), other.restore(path, filepath.Join(t.TempDir(), "x"))); !errors.Is(err, ErrBackup) {
		t.Errorf("under another KEK: %v", err)
	}
	foreign := p.restore(path, filepath.Join(t.TempDir(), "x"))
	foreign.Place.Migration = "another"
	if _, err := RestoreKeys(t.Context(), foreign); !errors.Is(err, ErrBackup) {
		t.Errorf("for another migration: %v", err)
	}
	if _, err := RestoreKeys(t.Context(), p.restore(path, p.dir)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a folder that is in use: %v", err)
	}
	inside := p.restore(path, filepath.Join(p.dir, "stage", "x"))
	inside.Forbidden = []string{filepath.Join(p.dir, "stage")}
	if _, err := RestoreKeys(t.Context(), inside); !errors.Is(err, ErrKeyBesideData) {
		t.Errorf("into the stage: %v", err)
	}
	if bytes.Contains(whole, []byte(`"keyring"`)) {
		t.Error("the backup is readable")
	}
}

// TestRestoreOpensEveryKey plants a key that does not open in a store that is whole otherwise.
func TestRestoreOpensEveryKey(t *testing.T) {
	p := newKeyPlace(t, 20)
	p.changeKey(4)
	path, _ := p.backup()
	if _, err := RestoreKeys(t.Context(), p.restore(path, "")); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("a key that does not open was proven: %v", err)
	}
}

// changeKey changes the n-th wrapped key in the store, under a checksum that is right.
func (p *keyPlace) changeKey(n int) {
	p.t.Helper()
	store := filepath.Join(p.dir, "test.keys")
	data, err := os.ReadFile(store)
	if err != nil {
		p.t.Fatal(err)
	}
	for at := 0; at < len(data); at += keystore.RecordBytes {
		record := data[at : at+keystore.RecordBytes]
		e, ok, err := keystore.ParseRecord(record)
		if err != nil {
			p.t.Fatal(err)
		}
		if !ok {
			continue
		}
		if n--; n == 0 {
			e.Wrapped[20] ^= 1
			copy(record, e.AppendRecord(nil))
		}
	}
	if n > 0 {
		p.t.Fatal("the store has not so many keys")
	}
	if err := os.WriteFile(store, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// TestProof follows a proof from its record to the point where it no longer holds.
func TestProof(t *testing.T) {
	p := newKeyPlace(t, 12)
	path, b := p.backup()
	k := p.open(p.uri)
	if _, _, err := k.Proof(t.Context()); !errors.Is(err, ErrNoProof) {
		t.Errorf("a proof without a restore: %v", err)
	}
	r, err := RestoreKeys(t.Context(), p.restore(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.RecordProof(t.Context(), r, noon); err != nil {
		t.Fatal(err)
	}
	proof, since, err := k.Proof(t.Context())
	if err != nil || since != 0 || proof.ID != b.ID || proof.Keys != 12 || !proof.Proven.Equal(noon) {
		t.Errorf("proof %+v, %d since, %v", proof, since, err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	p.add(12, 15)
	k = p.open(p.uri)
	if _, since, err := k.Proof(t.Context()); err != nil || since != 3 {
		t.Errorf("%d keys since, want 3: %v", since, err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "test.proof")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte(`"keys": 12`), []byte(`"keys": 15`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	k = p.open(p.uri)
	if _, _, err := k.Proof(t.Context()); !errors.Is(err, ErrNoProof) {
		t.Errorf("a proof written by hand holds: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	// Another store under the same keyring: the first was lost, and the keys of the same patients were made anew.
	if err := errors.Join(os.WriteFile(file, text, 0o600), os.Remove(filepath.Join(p.dir, "test.keys"))); err != nil {
		t.Fatal(err)
	}
	p.add(0, 15)
	k = p.open(p.uri)
	defer k.Close()
	if _, _, err := k.Proof(t.Context()); !errors.Is(err, ErrNoProof) {
		t.Errorf("the proof of another key store holds: %v", err)
	}
	if _, err := k.RecordProof(t.Context(), r, noon); !errors.Is(err, ErrOtherKeys) {
		t.Errorf("the backup of another key store is a proof: %v", err)
	}
}
