package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/durable"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// canary is in every resource and row that these tests seal, and must not be in any file.
const canary = "Zebedee-Quux"

func testKeys(t testing.TB) *phi.Keyring {
	t.Helper()
	return openTestKeys(t, t.TempDir())
}

func openTestKeys(t testing.TB, dir string) *phi.Keyring {
	t.Helper()
	kek := "file:" + filepath.Join(dir, "kek")
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	k, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

type sealing struct {
	*phi.Keyring
	sealer *phi.Sealer
}

func newSealing(t testing.TB, k *phi.Keyring) *sealing {
	t.Helper()
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &sealing{k, phi.NewSealer("test", k, policy)}
}

// whole is the n-th resource: an observation of one of seven patients.
func whole(n int, note string) string {
	return fmt.Sprintf(`{"code":{"coding":[{"code":"8302-2","system":"http://loinc.org"}],"text":"%s %d"},"id":"o%d",`+
		`"note":[{"text":"%s"}],"resourceType":"Observation","status":"final","subject":{"reference":"Patient/p%d"}}`, canary, n, n, note, n%7)
}

func (s *sealing) seal(t testing.TB, n int, note string) phi.Sealed {
	t.Helper()
	r := &phi.Resource{Type: "Observation", ID: fmt.Sprintf("o%d", n), Patient: fmt.Sprintf("p%d", n%7), Whole: []byte(whole(n, note)), Mark: -1,
		Place: extract.Place{Table: "observations", File: "observations.csv", Line: int64(n + 2)}, Row: []byte(`{"NAME":"` + canary + `"}`)}
	if err := s.sealer.Cut(r); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.sealer.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// idOf spreads numbers over the ids.
func idOf(n int) ID {
	h := sha256.Sum256(fmt.Append(nil, n))
	return ID(h[:20])
}

func keyOf(n int) Key {
	k := Key{ID: idOf(n), Patient: idOf(1000 + n%7), Ordinal: int64(n + 1)}
	for i := range n % 4 {
		k.Refs = append(k.Refs, Ref{ID: idOf(n + i), Type: uint16(300 + i), Drop: i%2 == 1, Late: i%3 == 1})
	}
	return k
}

// writeBatch writes a batch of the resources with the given numbers.
func writeBatch(t testing.TB, d durable.FS, dir, id string, s *sealing, note string, numbers ...int) (Info, error) {
	t.Helper()
	w := NewWriter(NewDiskOn(d, dir), s, Info{ID: id, Run: "r1", Type: "Observation", Table: "observations"})
	for _, n := range numbers {
		if err := w.Add(t.Context(), s.seal(t, n, note), keyOf(n)); err != nil {
			_ = w.Abort()
			return Info{}, err
		}
	}
	return w.Close(t.Context())
}

func mustBatch(t testing.TB, dir, id string, s *sealing, note string, numbers ...int) Info {
	t.Helper()
	info, err := writeBatch(t, durable.OS{}, dir, id, s, note, numbers...)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func numbers(from, to int) []int {
	var n []int
	for i := from; i < to; i++ {
		n = append(n, i)
	}
	return n
}

// collect prints what a sequence yields, up to its first error.
func collect[T any](seq iter.Seq2[T, error], text func(T) string) (string, error) {
	var b strings.Builder
	for v, err := range seq {
		if err != nil {
			return b.String(), err
		}
		b.WriteString(text(v))
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func sealedText(s phi.Sealed) string {
	return fmt.Sprintf("%x %s %x", s.AppendHeader(nil), s.Clinical(), s.Ciphertext())
}

func entryText(e *Entry) string {
	return fmt.Sprintf("%x %x %x %d:%d %d %d %v", e.ID, e.Patient, e.Digest, e.Batch, e.Position, e.Line, e.Ordinal, e.Refs)
}

func bytesText(b []byte) string { return hex.EncodeToString(b) }

func rowText(r QuarantinedRow) string {
	return fmt.Sprintf("%s %s %s", r.Place, r.Rule, r.Row.Reveal())
}

// listing is the names in a folder; none if it is not there.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// noCanary fails the test if a file of the folder, or a name in it, shows patient data.
func noCanary(t testing.TB, dir string) {
	t.Helper()
	for _, name := range listing(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(canary)) || strings.Contains(name, canary) {
			t.Errorf("%s shows patient data", name)
		}
	}
}

func isDamage(err error) bool {
	var d *Damage
	return errors.As(err, &d) && d.File != "" && d.What != ""
}

func containsCanary(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(canary)))
}
