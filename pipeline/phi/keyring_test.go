package phi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/phi/kek"
)

func TestInitKeysMakesAndKeeps(t *testing.T) {
	dir := t.TempDir()
	uri := "file:" + filepath.Join(dir, "keys", "kek")
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "north-2026"}); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		var all strings.Builder
		for _, name := range []string{"kek", "north-2026.keyring"} {
			path := filepath.Join(dir, "keys", name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %#o", name, info.Mode().Perm())
			}
			all.Write(text)
		}
		return all.String()
	}
	before := read()
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "north-2026"}); err != nil {
		t.Fatal(err)
	}
	if read() != before {
		t.Error("a second init changed the keys")
	}
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "south-2026"}); err != nil { // one KEK, two migrations
		t.Fatal(err)
	}
	north, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: "north-2026"})
	if err != nil {
		t.Fatal(err)
	}
	defer north.Close()
	south, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: "south-2026"})
	if err != nil {
		t.Fatal(err)
	}
	defer south.Close()
	if string(north.IDKey()) == string(south.IDKey()) || north.Fingerprint() == south.Fingerprint() || len(north.Fingerprint()) != 32 {
		t.Error("two migrations share keys")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files are left, want 3 (%v)", len(entries), err)
	}
}

func TestKeysRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "keys", "kek")
	if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + good, Migration: "m"}); err != nil {
		t.Fatal(err)
	}
	copyKeys := func(name string) string {
		to := filepath.Join(dir, name)
		if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, "keys"))); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"kek", "m.keyring"} {
			if err := os.Chmod(filepath.Join(to, f), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	t.Run("schemes", func(t *testing.T) {
		for uri, want := range map[string]string{"gcp-kms://projects/x": "file:PATH", "vault:x": "unknown scheme", "kek": "file:PATH", "file:": "without a path", "file://host/kek": "this machine"} {
			if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "m"}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", uri, err, want)
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"", "a/b", "../m", ".m", "a b", strings.Repeat("x", 101)} {
			if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + good, Migration: name}); err == nil {
				t.Errorf("%q is taken as a migration's name", name)
			}
		}
	})
	t.Run("beside data", func(t *testing.T) {
		stage := filepath.Join(dir, "stage")
		if err := os.MkdirAll(stage, 0o700); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "link")
		if err := os.Symlink(stage, link); err != nil {
			t.Skip(err)
		}
		for _, at := range []string{filepath.Join(stage, "kek"), filepath.Join(stage, "deep", "er", "kek"), filepath.Join(link, "new", "kek"), filepath.Join(dir, "x", "..", "stage", "kek")} {
			if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + at, Migration: "m"}, filepath.Join(dir, "ledger"), stage); !errors.Is(err, ErrKeyBesideData) {
				t.Errorf("%s: %v", at, err)
			}
		}
		if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(dir, "stage2", "kek"), Migration: "m"}, stage); err != nil {
			t.Error(err)
		}
	})
	t.Run("modes", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("no modes here")
		}
		for _, f := range []string{"kek", "m.keyring"} {
			to := copyKeys("mode-" + f)
			if err := os.Chmod(filepath.Join(to, f), 0o640); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(to, "kek"), Migration: "m"}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("%s: %v", f, err)
			}
		}
	})
	t.Run("absent", func(t *testing.T) {
		if _, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(dir, "none", "kek"), Migration: "m"}); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if _, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + good, Migration: "other"}); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("the KEK is lost", func(t *testing.T) {
		to := copyKeys("lost")
		if err := os.Remove(filepath.Join(to, "kek")); err != nil {
			t.Fatal(err)
		}
		if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(to, "kek"), Migration: "m"}); err == nil || !strings.Contains(err.Error(), "restore") {
			t.Error(err)
		}
	})
	t.Run("another KEK", func(t *testing.T) {
		to := copyKeys("swapped")
		if err := InitKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(dir, "another", "kek"), Migration: "m"}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "another", "kek"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, "kek"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(to, "kek"), Migration: "m"}); !errors.Is(err, ErrWrongKEK) {
			t.Error(err)
		}
	})
	t.Run("a KEK of another form", func(t *testing.T) {
		to := copyKeys("short")
		for _, text := range []string{"", "c2hvcnQ=", "not base64", strings.Repeat("A", 2000)} {
			if err := os.WriteFile(filepath.Join(to, "kek"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(to, "kek"), Migration: "m"}); !errors.Is(err, kek.ErrForm) {
				t.Error(err)
			}
		}
	})
	t.Run("a changed keyring", func(t *testing.T) {
		to := copyKeys("changed")
		path := filepath.Join(to, "m.keyring")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			bad := append([]byte(nil), whole...)
			bad[i] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := OpenKeys(t.Context(), KeyPlace{KEK: "file:" + filepath.Join(to, "kek"), Migration: "m"})
			if err == nil {
				_ = k.Close()
				if got := strings.TrimSpace(string(bad)); len(got) < len(strings.TrimSpace(string(whole))) || bad[i] > ' ' {
					t.Errorf("byte %d changed and nobody noticed", i)
				}
			}
		}
	})
}

func TestOpeningWhatDoesNotBelong(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, nil)
	seal := func(id, patient, whole string) Sealed {
		r := observationResource()
		r.ID, r.Patient = id, patient
		if whole != "" {
			r.Whole, r.Cuts = []byte(whole), nil
		}
		sealed, err := s.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	a, b := seal("a", "p1", ""), seal("b", "p2", "")
	older := seal("a", "p1", `{"id":"a","resourceType":"Observation","status":"registered"}`)
	restore := func(head, clinical, cipher Sealed) Sealed {
		got, err := Restore(head.AppendHeader(nil), clinical.Clinical(), cipher.Ciphertext())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if whole, err := k.Whole(restore(a, a, a), nil); err != nil || string(whole) != observation {
		t.Fatalf("%s, %v", whole, err)
	}
	flipped := append([]byte(nil), a.Ciphertext()...)
	flipped[len(flipped)/2] ^= 1
	broken, err := Restore(a.AppendHeader(nil), a.Clinical(), flipped)
	if err != nil {
		t.Fatal(err)
	}
	short, err := Restore(a.AppendHeader(nil), a.Clinical(), a.Ciphertext()[:5])
	if err != nil {
		t.Fatal(err)
	}
	stranger := *a.get()
	stranger.patient = "p3"
	other := *a.get()
	strangers, others := &stranger, &other
	other.key[3] ^= 1
	for name, c := range map[string]struct {
		sealed Sealed
		want   error
	}{
		"another patient's ciphertext": {restore(a, a, b), ErrNotAuthentic},
		"an older ciphertext":          {restore(a, a, older), ErrNotAuthentic},
		"a bit flipped":                {broken, ErrNotAuthentic},
		"cut short":                    {short, ErrNotAuthentic},
		"an older clinical part":       {restore(a, older, a), ErrDigest},
		"a patient without a key":      {Sealed{p: &strangers}, ErrNoKey},
		"another key":                  {Sealed{p: &others}, ErrOtherKey},
		"nothing":                      {Sealed{}, errEmpty},
	} {
		if _, err := k.Whole(c.sealed, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	foreign := testKeys(t)
	if _, err := foreign.Whole(a, nil); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	if _, err := NewSealer("test", foreign, nil).Seal(observationResource()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := foreign.Parts(seal("a", observationResource().Patient, "")); !errors.Is(err, ErrOtherKey) {
		t.Error(err)
	}
	if ok, err := k.Check(a, []byte(observation)); err != nil || !ok {
		t.Errorf("%t, %v", ok, err)
	}
	if ok, err := k.Check(a, []byte(observation+" ")); err != nil || ok {
		t.Errorf("%t, %v", ok, err)
	}
}

func TestRestoreRefusesBrokenHeaders(t *testing.T) {
	sealed, err := NewSealer("test", testKeys(t), nil).Seal(observationResource())
	if err != nil {
		t.Fatal(err)
	}
	header := sealed.AppendHeader(nil)
	got, err := Restore(header, sealed.Clinical(), sealed.Ciphertext())
	if err != nil {
		t.Fatal(err)
	}
	if got.Type() != sealed.Type() || got.ID() != sealed.ID() || got.Patient() != sealed.Patient() || got.Place() != sealed.Place() ||
		got.Digest() != sealed.Digest() || got.Marked() != sealed.Marked() || got.Size() != sealed.Size() {
		t.Error("the restored resource is another one")
	}
	for i := range header {
		if _, err := Restore(header[:i], sealed.Clinical(), sealed.Ciphertext()); err == nil {
			t.Errorf("a header cut to %d bytes is taken", i)
		}
	}
	if _, err := Restore(append(header, 0), sealed.Clinical(), sealed.Ciphertext()); err == nil {
		t.Error("a header with something after it is taken")
	}
}

func TestDigestsAreKeyedPerPatient(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, nil)
	digest := func(patient string) [16]byte {
		r := observationResource()
		r.Patient = patient
		sealed, err := s.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		return sealed.Digest()
	}
	first, again := digest("p1"), digest("p1")
	if first != again || first == digest("p2") || digest("") == first {
		t.Error("digests of equal content are equal for one patient and differ for two")
	}
}

// TestKeysSurvive seals in one process's life and opens in the next.
func TestKeysSurvive(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "kek")
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	var all []Sealed
	for life := range 3 {
		k, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		made := make([][]Sealed, 4)
		for w := range made {
			wg.Go(func() {
				s := NewSealer("test", k, nil)
				for i := range 300 {
					r := observationResource()
					r.Patient = fmt.Sprintf("p%d", (i+life*100)%400) // the workers meet at each new patient
					sealed, err := s.Seal(r)
					if err != nil {
						t.Error(err)
						return
					}
					made[w] = append(made[w], sealed)
				}
				if err := k.Sync(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, m := range made {
			all = append(all, m...)
		}
		for _, sealed := range all {
			if _, err := k.Whole(sealed, nil); err != nil {
				t.Fatalf("life %d: %v", life, err)
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneWriter(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "kek")
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	open := func() *Keyring {
		k, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, b := open(), open()
	if _, err := NewSealer("test", a, nil).Seal(observationResource()); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSealer("test", b, nil).Seal(observationResource()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two writers of one key store: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
}

// TestFIPS runs the tests of sealing and keys in a process in which only approved cryptography works.
func TestFIPS(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		t.Skip("this is that process")
	}
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(self, "-test.run=TestKeysSurvive|TestOpening|TestInitKeys|TestToken|TestKeysOfAnEarlier|TestRotate|TestRewrap|TestShred|TestRows")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
