package phi

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// testKeys makes and opens a keyring in a folder of its own.
func testKeys(t testing.TB) *Keyring {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "keys", "kek")
	if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func testPolicy(t testing.TB, name string) *Policy {
	t.Helper()
	p, err := LoadPolicy(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.NeedsAsOf() {
		if p, err = p.AsOf("2026-06-30"); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// eachExample calls f with each of HL7's example resources.
func eachExample(t *testing.T, f func(name string, n *fhir.Node)) {
	t.Helper()
	file, err := os.Open(sharedtest.Path(t, "data", "fhir-r4-examples", "examples.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(unzip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := fhir.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		f(h.Name, n)
	}
}

// roundTrip seals a resource and checks that its parts join, in all the ways there are.
func roundTrip(t failer, k *Keyring, s *Sealer, name string, n *fhir.Node) (clinical *fhir.Node) {
	t.Helper()
	want := string(n.AppendCanonical(nil))
	sealed, err := s.SealNode(&Resource{ID: "x1", Patient: "p1", Row: []byte(`{"A":"1"}`)}, n)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := k.Whole(sealed, nil)
	if err != nil {
		t.Fatalf("%s: %v\nclinical %s", name, err, sealed.Clinical())
	}
	if string(got) != want {
		t.Fatalf("%s: joined\n%s\nwant\n%s", name, got, want)
	}
	text, pieces, row, err := k.Parts(sealed)
	if err != nil || string(row) != `{"A":"1"}` {
		t.Fatalf("%s: row %s, %v", name, row, err)
	}
	clinical, err = fhir.Parse(text)
	if err != nil {
		t.Fatalf("%s: the clinical part is no JSON: %v\n%s", name, err, text)
	}
	for _, c := range []*fhir.Node{clinical, reversed(clinical)} {
		joined, err := Join(c, pieces)
		if err != nil {
			t.Fatalf("%s: %v\nclinical %s", name, err, text)
		}
		if got := string(joined.AppendCanonical(nil)); got != want {
			t.Fatalf("%s: joined as a tree\n%s\nwant\n%s\nclinical %s", name, got, want, text)
		}
	}
	return clinical
}

// reversed is the same resource as another program might write it: members in the opposite order.
func reversed(n *fhir.Node) *fhir.Node {
	c := &fhir.Node{Kind: n.Kind, Text: n.Text}
	for i := len(n.Members) - 1; i >= 0; i-- {
		c.Members = append(c.Members, fhir.Member{Name: n.Members[i].Name, Value: reversed(n.Members[i].Value)})
	}
	for _, item := range n.Items {
		c.Items = append(c.Items, reversed(item))
	}
	return c
}

// TestExamplesJoin is the required property over HL7's examples under every policy that ships.
func TestExamplesJoin(t *testing.T) {
	k := testKeys(t)
	for _, policy := range Shipped() {
		t.Run(policy, func(t *testing.T) {
			s := NewSealer("test", k, testPolicy(t, policy))
			count := 0
			eachExample(t, func(name string, n *fhir.Node) {
				roundTrip(t, k, s, name, n)
				count++
			})
			if count != 238 {
				t.Errorf("%d examples, want 238", count)
			}
		})
	}
}

// failer is what a test and a random test have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}
