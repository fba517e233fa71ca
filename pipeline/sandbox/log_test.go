package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// content is everything that a sandbox holds, every version.
func content(t *testing.T, s *Server) string {
	t.Helper()
	var all []string
	for n, r := range s.store.all {
		for _, v := range slices.Concat(r.old, []version{r.now}) {
			if v.number == 0 {
				continue
			}
			line := fmt.Sprintf("%s %d %d %t %t ", n, v.number, v.updated, v.deleted, v.created)
			if !v.deleted {
				body, err := s.store.body(nil, &v)
				if err != nil {
					t.Fatal(err)
				}
				line += string(body)
			}
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func open(t *testing.T, path string) *Server {
	t.Helper()
	s, err := New(Options{Store: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// putAll stores resources directly, in one change.
func putAll(t testing.TB, s *Server, texts ...string) {
	t.Helper()
	for _, text := range texts {
		n, err := fhir.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.store.put(newDraft(n, name{n.ResourceType(), n.ID()}), time.UnixMilli(1700000000000))
	}
	if err := s.store.commit(); err != nil {
		t.Fatal(err)
	}
}

func patientText(i int) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":"p%d","identifier":[{"system":"urn:mrn","value":"%d"}]}`, i, i)
}

func TestStoreOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	c := start(t, Options{Store: path})
	c.want(201, "PUT", "Patient/p1", patientText(1))
	c.want(201, "PUT", "Patient/p2", patientText(2))
	c.want(200, "PUT", "Patient/p1", patientText(1))
	c.want(204, "DELETE", "Patient/p2", "")
	c.want(201, "PUT", "Observation/o1", weight)
	want := content(t, c.s)
	if _, err := New(Options{Store: path}); err == nil || !strings.Contains(err.Error(), "another sandbox has it open") {
		t.Error("a second sandbox opened the same file")
	}
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	c.want(507, "PUT", "Patient/p3", patientText(3))
	c.want(404, "GET", "Patient/p3", "")
	again := start(t, Options{Store: path})
	if got := content(t, again.s); got != want {
		t.Errorf("read again:\n%s\nwant:\n%s", got, want)
	}
	if got := again.ids("Observation?patient=p1"); len(got) != 1 {
		t.Errorf("after reading again the search finds %v", got)
	}
	if got := again.ids("Patient?identifier=urn:mrn|1"); len(got) != 1 {
		t.Errorf("after reading again the search finds %v", got)
	}
}

// TestTornAndDamagedStores cuts the file at every byte and flips a bit in every byte: what was whole before the cut is
// there, damage before whole records is refused, and nothing else ever comes out.
func TestTornAndDamagedStores(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	s := open(t, path)
	var ends []int64
	var states []string
	for i := range 4 {
		ends, states = append(ends, max(s.store.log.end, 0)), append(states, content(t, s))
		putAll(t, s, patientText(i))
	}
	ends, states = append(ends, s.store.log.end), append(states, content(t, s))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(text []byte) (string, error) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{Store: path})
		if err != nil {
			return "", err
		}
		defer s.Close()
		return content(t, s), nil
	}
	for _, cut := range sharedtest.Drawn(t, len(whole), 40) {
		want := states[0]
		for i, end := range ends {
			if int64(cut) >= end {
				want = states[i]
			}
		}
		if got, err := try(whole[:cut]); err != nil || got != want {
			t.Fatalf("cut at byte %d: %v\n%s\nwant:\n%s", cut, err, got, want)
		}
	}
	last := ends[len(ends)-2]
	for _, at := range sharedtest.Drawn(t, len(whole), 40) {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		got, err := try(flipped)
		switch {
		case int64(at) < last && err == nil:
			t.Fatalf("a bit flipped in byte %d, inside, goes unnoticed", at)
		case int64(at) >= last && (err != nil || got != states[len(states)-2]):
			t.Fatalf("a bit flipped in byte %d, in the last record: %v", at, err)
		}
	}
	if _, err := try([]byte("another file altogether")); err == nil {
		t.Error("another file was taken for a store")
	}
}

// TestMemory puts many resources of the usual size into a sandbox and looks at what they take.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = 60_000
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	bytes := 0
	for i := range n {
		text := fmt.Sprintf(`{"resourceType":"Observation","id":"%032d","meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-vital-signs"],"tag":[{"system":"https://github.com/chartlift/chartlift/migration","code":"m"}]},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"29463-7","display":"Body Weight"}],"text":"Body Weight"},"subject":{"reference":"Patient/%032x"},"encounter":{"reference":"Encounter/%032x"},"effectiveDateTime":"2012-01-%02dT10:%02d:00-05:00","issued":"2012-01-01T10:00:00.000-05:00","valueQuantity":{"value":%d.%d,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}`, i*7919, i%500*104729, i/10*1299709, 1+i%28, i%60, i%90, i%10)
		bytes += len(text)
		putAll(t, s, text)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d resources of %d bytes each take %.0f bytes each: 300,000 would take %.0f MB", n, bytes/n, each, each*300_000/1e6)
	if each*300_000 > 600e6 {
		t.Errorf("300,000 resources would take %.0f MB", each*300_000/1e6)
	}
	runtime.KeepAlive(s)
}
