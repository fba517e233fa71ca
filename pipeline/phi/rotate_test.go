package phi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

// earlier is a copy of what a version made that wrote keyrings and backups of format 1: keys of p0, p1, the shared scope
// and p2, a backup and a proof from before p2, and what it sealed under them.
type earlier struct {
	dir, uri    string
	Fingerprint string
	Sealed      []struct{ Header, Clinical, Cipher []byte }
	Batch       []byte
	Token       string
}

func newEarlier(t *testing.T) *earlier {
	t.Helper()
	e := &earlier{dir: filepath.Join(t.TempDir(), "keys")}
	e.uri = "file:" + filepath.Join(e.dir, "kek")
	if err := os.CopyFS(e.dir, os.DirFS(filepath.Join("testdata", "format1"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kek", "test.keyring", "test.keys", "test.proof", "backup"} {
		if err := os.Chmod(filepath.Join(e.dir, name), 0o600); err != nil { // git keeps no such modes
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(e.dir, "made.json"))
	if err == nil {
		err = json.Unmarshal(text, e)
	}
	if err != nil || len(e.Sealed) != 4 {
		t.Fatal(len(e.Sealed), err)
	}
	return e
}

func (e *earlier) place() KeyPlace { return KeyPlace{KEK: e.uri, Migration: "test"} }

// opens checks that the first n resources, the file and the token are what they were.
func (e *earlier) opens(t *testing.T, k *Keyring, n int) {
	t.Helper()
	for i, s := range e.Sealed[:n] {
		sealed, err := Restore(s.Header, s.Clinical, s.Cipher)
		if err != nil {
			t.Fatal(err)
		}
		if whole, err := k.Whole(sealed, nil); err != nil || string(whole) != observation {
			t.Errorf("resource %d: %v", i, err)
		}
	}
	aead, err := k.BatchKey("run-1.batch")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := aead.Open(nil, nil, e.Batch, []byte("aad")); err != nil || string(plain) != "a batch" {
		t.Errorf("a file: %v", err)
	}
	if got := NewSealer("test", k, nil).token("12345"); got != e.Token || k.Fingerprint() != e.Fingerprint {
		t.Error("another token or fingerprint")
	}
}

func openPlace(t *testing.T, p KeyPlace) *Keyring {
	t.Helper()
	k, err := OpenKeys(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func TestKeysOfAnEarlierVersion(t *testing.T) {
	t.Run("open, and take new keys", func(t *testing.T) {
		e := newEarlier(t)
		if err := InitKeys(t.Context(), e.place()); err != nil {
			t.Fatal(err)
		}
		k := openPlace(t, e.place())
		e.opens(t, k, 4)
		if _, err := k.key("new", true); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(k.Sync(), k.Close()); err != nil {
			t.Fatal(err)
		}
		k = openPlace(t, e.place())
		e.opens(t, k, 4)
		if _, err := k.patientKey("new"); err != nil {
			t.Error(err)
		}
	})
	t.Run("rotate", func(t *testing.T) {
		e := newEarlier(t)
		if r, err := RotateKeys(t.Context(), e.place()); err != nil || r.Root != 2 || r.Keys != 4 || r.Resumed {
			t.Fatalf("%+v %v", r, err)
		}
		e.opens(t, openPlace(t, e.place()), 4)
	})
	t.Run("a lost store comes back from the backup", func(t *testing.T) {
		e := newEarlier(t)
		if _, _, err := openPlace(t, e.place()).Proof(t.Context()); !errors.Is(err, ErrNoProof) || !strings.Contains(err.Error(), "earlier version") {
			t.Errorf("the proof: %v", err)
		}
		for _, name := range []string{"test.keyring", "test.keys"} {
			if err := os.Remove(filepath.Join(e.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := RestoreKeys(t.Context(), RestoreOptions{Place: e.place(), Backup: filepath.Join(e.dir, "backup")})
		if err != nil || r.Proven != 3 || len(r.Placed) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		k := openPlace(t, e.place())
		e.opens(t, k, 3)
		if _, err := k.RecordProof(t.Context(), r, noon); err != nil {
			t.Error(err)
		}
		if _, since, err := k.Proof(t.Context()); err != nil || since != 0 {
			t.Error(since, err)
		}
	})
	t.Run("the backup proves keys that came later to have", func(t *testing.T) {
		e := newEarlier(t)
		r, err := RestoreKeys(t.Context(), RestoreOptions{Place: e.place(), Backup: filepath.Join(e.dir, "backup")})
		if err != nil {
			t.Fatal(err)
		}
		k := openPlace(t, e.place())
		if _, err := k.RecordProof(t.Context(), r, noon); err != nil {
			t.Fatal(err)
		}
		if _, since, err := k.Proof(t.Context()); err != nil || since != 1 {
			t.Error(since, err)
		}
	})
}

// sealedBy seals a resource of a patient and encrypts a file, both durably, and returns a check that opens them.
func sealedBy(t *testing.T, p KeyPlace, patient string) func(*testing.T, *Keyring) {
	t.Helper()
	k, err := OpenKeys(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	r := observationResource()
	r.Patient = patient
	s := NewSealer("test", k, nil)
	sealed, err := s.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	name, token := "file-"+patient, s.token("1")
	aead, err := k.BatchKey(name)
	if err != nil {
		t.Fatal(err)
	}
	file := [2][]byte{aead.Seal(nil, nil, []byte("one"), nil), aead.Seal(nil, nil, []byte("two"), nil)}
	if err := errors.Join(k.Sync(), k.Close()); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, k *Keyring) {
		t.Helper()
		if whole, err := k.Whole(sealed, nil); err != nil || string(whole) != observation {
			t.Errorf("%s: %v", patient, err)
		}
		aead, err := k.BatchKey(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"one", "two"} {
			if plain, err := aead.Open(nil, nil, file[i], nil); err != nil || string(plain) != want {
				t.Errorf("file of %s: %v", patient, err)
			}
		}
		bad := bytes.Clone(file[1])
		bad[20] ^= 1
		if _, err := aead.Open(nil, nil, bad, nil); err == nil {
			t.Error("a changed file opens")
		}
		if got := NewSealer("test", k, nil).token("1"); got != token {
			t.Error("another token")
		}
	}
}

func TestRotateKeepsEverythingReadable(t *testing.T) {
	p := newKeyPlace(t, 20)
	at := p.place(p.uri)
	var checks []func(*testing.T, *Keyring)
	before := openPlace(t, at) // another process that goes on reading
	for round := range 4 {
		checks = append(checks, sealedBy(t, at, fmt.Sprintf("p%d", round)), sealedBy(t, at, fmt.Sprintf("new%d", round)))
		old, err := os.ReadFile(filepath.Join(p.dir, "test.keys"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := RotateKeys(t.Context(), at)
		if err != nil || r.Root != round+2 || r.Keys != 21+round || r.Resumed {
			t.Fatalf("round %d: %+v %v", round, r, err)
		}
		k := openPlace(t, at)
		for _, check := range checks {
			check(t, k)
		}
		for e, err := range k.store.Each(t.Context()) {
			if err != nil || int(e.Root) != round+1 || bytes.Contains(old, e.Wrapped[:]) {
				t.Fatalf("round %d: a key under root %d: %v", round, e.Root, err)
			}
		}
	}
	checks[0](t, before)
	if _, err := before.key("stranger", true); err != nil && !errors.Is(err, ErrRotated) {
		t.Error(err)
	}
	if _, err := before.patientKey("p7"); !errors.Is(err, ErrRotated) {
		t.Errorf("a key under a root key that this process does not have: %v", err)
	}
}

// TestRotateResumes takes the two durable states that a killed rotation leaves.
func TestRotateResumes(t *testing.T) {
	p := newKeyPlace(t, 5)
	at := p.place(p.uri)
	check := sealedBy(t, at, "p1")
	keys := filepath.Join(p.dir, "test.keys")
	before, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RotateKeys(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	// The new root is in the keyring, the store is the old one, and half of the new file is there.
	if err := errors.Join(os.WriteFile(keys, before, 0o600), os.WriteFile(keys+".new", before[:150], 0o600)); err != nil {
		t.Fatal(err)
	}
	check(t, openPlace(t, at))
	more := sealedBy(t, at, "since") // under the new root, in the old store
	r, err := RotateKeys(t.Context(), at)
	if err != nil || !r.Resumed || r.Root != 2 || r.Keys != 6 {
		t.Fatalf("%+v %v", r, err)
	}
	k := openPlace(t, at)
	check(t, k)
	more(t, k)
	if _, err := os.Stat(keys + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a half file is left", err)
	}
}

func TestRotateAlone(t *testing.T) {
	p := newKeyPlace(t, 3)
	at := p.place(p.uri)
	ring := filepath.Join(p.dir, "test.keyring")
	before, err := os.ReadFile(ring)
	if err != nil {
		t.Fatal(err)
	}
	k := p.open(p.uri)
	if _, err := k.key("p9", true); err != nil {
		t.Fatal(err)
	}
	if _, err := RotateKeys(t.Context(), at); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("rotated while a run adds keys: %v", err)
	}
	if after, err := os.ReadFile(ring); err != nil || !bytes.Equal(before, after) {
		t.Error("the keyring was changed", err)
	}
	if err := errors.Join(k.Sync(), k.Close()); err != nil {
		t.Fatal(err)
	}
	// A process that looked before and writes after is led to the new file.
	late := p.open(p.uri)
	defer late.Close()
	if _, err := RotateKeys(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if _, err := late.key("p10", true); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(late.Sync(), late.Close()); err != nil {
		t.Fatal(err)
	}
	if got := openPlace(t, at); got.store.Len() != 5 {
		t.Errorf("%d keys, want 5: what was added went to the file that was replaced", got.store.Len())
	}
	if r, err := RotateKeys(t.Context(), at); err != nil || !r.Resumed || r.Keys != 5 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestRotateEndsTheProof(t *testing.T) {
	p := newKeyPlace(t, 4)
	path, _ := p.backup()
	r, err := RestoreKeys(t.Context(), p.restore(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	k := p.open(p.uri)
	if _, err := k.RecordProof(t.Context(), r, noon); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := RotateKeys(t.Context(), p.place(p.uri)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openPlace(t, p.place(p.uri)).Proof(t.Context()); !errors.Is(err, ErrNoProof) || !strings.Contains(err.Error(), "rotated") {
		t.Errorf("the proof holds: %v", err)
	}
	if _, err := RestoreKeys(t.Context(), p.restore(path, "")); !errors.Is(err, ErrOtherKeys) || !strings.Contains(err.Error(), "new backup") {
		t.Errorf("the old backup: %v", err)
	}
	path, _ = p.backup()
	if r, err := RestoreKeys(t.Context(), p.restore(path, "")); err != nil || r.Proven != 4 {
		t.Errorf("the new backup: %+v %v", r, err)
	}
}

func TestRewrapUnderAnotherKEK(t *testing.T) {
	p := newKeyPlace(t, 3)
	at := p.place(p.uri)
	at.Store = "file:" + p.dir
	check := sealedBy(t, at, "p1")
	next := at
	next.KEK = "file:" + filepath.Join(t.TempDir(), "new", "kek")
	if err := RewrapKeys(t.Context(), at, next.KEK, filepath.Dir(filepath.Dir(kek.Path(next.KEK)))); !errors.Is(err, ErrKeyBesideData) {
		t.Errorf("a key beside the data: %v", err)
	}
	if err := RewrapKeys(t.Context(), at, next.KEK); err != nil {
		t.Fatal(err)
	}
	check(t, openPlace(t, next))
	if _, err := OpenKeys(t.Context(), at); !errors.Is(err, ErrWrongKEK) {
		t.Errorf("the old key-encryption key opens the keyring: %v", err)
	}
}

// TestStoreApartFromTheKEK keeps keyring and key store in a folder that the place names.
func TestStoreApartFromTheKEK(t *testing.T) {
	dir := t.TempDir()
	at := KeyPlace{KEK: "file:" + filepath.Join(dir, "a", "kek"), Store: "file:" + filepath.Join(dir, "b", "store"), Migration: "test"}
	if err := InitKeys(t.Context(), at, filepath.Join(dir, "b")); !errors.Is(err, ErrKeyBesideData) {
		t.Errorf("a store beside the data: %v", err)
	}
	if err := InitKeys(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	check := sealedBy(t, at, "p1")
	files := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files[filepath.ToSlash(rel)] = true
		}
		return err
	})
	if got := fmt.Sprint(slices.Sorted(maps.Keys(files))); err != nil || got != "[a/kek b/store/test.keyring b/store/test.keys]" {
		t.Errorf("%s %v", got, err)
	}
	path := filepath.Join(dir, "backup")
	if _, err := WriteBackup(t.Context(), at, path, noon); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if r, err := RestoreKeys(t.Context(), RestoreOptions{Place: at, Backup: path}); err != nil || r.Proven != 1 || len(r.Placed) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	check(t, openPlace(t, at))
	for store, want := range map[string]string{"postgres://x": "not file:PATH", "file:": "without a path"} {
		if _, err := OpenKeys(t.Context(), KeyPlace{KEK: at.KEK, Store: store, Migration: "test"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", store, err)
		}
	}
}

func TestShred(t *testing.T) {
	p := newKeyPlace(t, 6)
	at := p.place(p.uri)
	path, _ := p.backup()
	gone, stays := sealedBy(t, at, "p2"), sealedBy(t, at, "p3")
	k := openPlace(t, at)
	gone(t, k)
	if n, err := k.Shred(t.Context(), "p2", "never seen"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, err := k.Shred(t.Context(), ""); err == nil {
		t.Error("the shared scope was shredded")
	}
	for _, k := range []*Keyring{k, openPlace(t, at)} {
		for _, patient := range []string{"p2", "never seen"} {
			if _, err := k.key(patient, true); !errors.Is(err, ErrShredded) {
				t.Errorf("%s: %v", patient, err)
			}
			if known, err := k.Has(patient); err != nil || !known {
				t.Errorf("%s is not known: %v", patient, err)
			}
		}
		stays(t, k)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	// The older backup opens, and brings nothing back.
	r, err := RestoreKeys(t.Context(), p.restore(path, ""))
	if err != nil || len(r.Placed) != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	k = openPlace(t, at)
	if _, err := k.patientKey("p2"); !errors.Is(err, ErrShredded) {
		t.Errorf("a restore brought the key back: %v", err)
	}
	if _, err := k.RecordProof(t.Context(), r, noon); !errors.Is(err, ErrOtherKeys) {
		t.Errorf("a backup that holds the key is a proof: %v", err)
	}
	// A backup made since holds the tombstone.
	since, b := p.backup()
	if b.Keys != 5 {
		t.Errorf("%d keys in the backup, want 5", b.Keys)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(p.dir, "test.keys")); err != nil {
		t.Fatal(err)
	}
	if r, err := RestoreKeys(t.Context(), p.restore(since, "")); err != nil || r.Proven != 5 || len(r.Placed) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	k = openPlace(t, at)
	stays(t, k)
	if _, err := k.key("p2", true); !errors.Is(err, ErrShredded) {
		t.Errorf("the tombstone was not restored: %v", err)
	}
	if r, err := RotateKeys(t.Context(), at); err != nil || r.Keys != 5 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestAKeyMovedToAnotherPatientDoesNotOpen(t *testing.T) {
	p := newKeyPlace(t, 3)
	path := filepath.Join(p.dir, "test.keys")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var first keystore.Entry
	for at := 0; at < len(data); at += keystore.RecordBytes {
		record := data[at : at+keystore.RecordBytes]
		e, ok, err := keystore.ParseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		if ok && first.Handle == (keystore.Handle{}) {
			first = e
		} else if ok {
			e.ID, e.Wrapped = first.ID, first.Wrapped
			copy(record, e.AppendRecord(nil))
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	k := openPlace(t, p.place(p.uri))
	if _, err := k.patientKey("p0"); err != nil {
		t.Error(err)
	}
	for _, patient := range []string{"p1", "p2"} {
		if _, err := k.patientKey(patient); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", patient, err)
		}
	}
}
