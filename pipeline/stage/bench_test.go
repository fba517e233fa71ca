package stage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// benchResources are observations as a mapping makes them: about 700 bytes of clinical part and 300 of PHI part.
func benchResources(b *testing.B, s *sealing) []phi.Sealed {
	b.Helper()
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		b.Fatal(err)
	}
	sealer := phi.NewSealer("test", s.Keyring, policy)
	var out []phi.Sealed
	for n := range 600 {
		id := func(n int) string { return strings.ToLower(fmt.Sprintf("%X", idOf(n)))[:32] }
		text := fmt.Sprintf(`{"category":[{"coding":[{"code":"vital-signs","display":"Vital signs","system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],`+
			`"code":{"coding":[{"code":"%d-2","display":"Body Height","system":"http://loinc.org"}],"text":"Body Height"},`+
			`"effectiveDateTime":"20%02d-%02d-29T03:%02d:15Z","encounter":{"reference":"Encounter/%s"},"id":"%s",`+
			`"meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-vital-signs"],"tag":[{"code":"riverside-2026","system":"https://github.com/chartlift/chartlift/migration"}]},`+
			`"resourceType":"Observation","status":"final","subject":{"reference":"Patient/%s"},`+
			`"valueQuantity":{"code":"cm","system":"http://unitsofmeasure.org","unit":"cm","value":%d.%d}}`,
			8000+n%300, n%26, 1+n%12, n%60, id(n/10), id(n), id(n/300), n%190, n%10)
		r := &phi.Resource{Type: "Observation", ID: id(n), Patient: id(n / 300), Whole: []byte(text), Mark: -1,
			Place: extract.Place{Table: "observations", File: "observations.csv", Line: int64(n + 2)},
			Row: fmt.Appendf(nil, `{"CODE":"%d-2","DATE":"2011-06-29T03:33:15Z","DESCRIPTION":"Body Height","ENCOUNTER":"%s","PATIENT":"%s","TYPE":"numeric","UNITS":"cm","VALUE":"%d.%d"}`,
				8000+n%300, id(n/10), id(n/300), n%190, n%10)}
		if err := sealer.Cut(r); err != nil {
			b.Fatal(err)
		}
		sealed, err := sealer.Seal(r)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, sealed)
	}
	return out
}

// BenchmarkAdd is the whole cost of a resource in a batch of 50,000: compressing, encrypting, sum, index, sync.
func BenchmarkAdd(b *testing.B) {
	s := newSealing(b, testKeys(b))
	list := benchResources(b, s)
	keys := make([]Key, 50_000)
	for i := range keys {
		keys[i] = Key{ID: idOf(i), Patient: idOf(i / 300), Ordinal: int64(i), Refs: []Ref{{ID: idOf(i / 300)}, {ID: idOf(i / 10)}}}
	}
	dir := b.TempDir()
	b.ReportAllocs()
	size := 0
	for _, r := range list {
		size += r.Size()
	}
	b.SetBytes(int64(size / len(list)))
	var w *Writer
	var bytes, count int64
	end := func() {
		info, err := w.Close(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		bytes, count = bytes+info.Bytes, count+int64(info.Count)
	}
	for i := 0; b.Loop(); i++ {
		if i%50_000 == 0 {
			if w != nil {
				end()
			}
			w = NewWriter(NewDisk(dir), s.Keyring, Info{ID: "b"})
		}
		if err := w.Add(b.Context(), list[i%len(list)], keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
	end()
	b.ReportMetric(float64(bytes)/float64(count), "file-B/op")
}

func BenchmarkRead(b *testing.B) {
	s := newSealing(b, testKeys(b))
	list := benchResources(b, s)
	dir := b.TempDir()
	w := NewWriter(NewDisk(dir), s.Keyring, Info{ID: "b"})
	for i := range 50_000 {
		if err := w.Add(b.Context(), list[i%len(list)], Key{ID: idOf(i), Refs: []Ref{{}, {}}}); err != nil {
			b.Fatal(err)
		}
	}
	info, err := w.Close(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("batch", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; {
			for _, err := range Read(b.Context(), NewDisk(dir), s.Keyring, info) {
				if err != nil {
					b.Fatal(err)
				}
				if i++; i >= b.N {
					break
				}
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		infos := []Info{info, info, info, info, info, info, info, info}
		b.ReportAllocs()
		for i := 0; i < b.N; {
			for _, err := range Index(b.Context(), NewDisk(dir), NewScratch(dir), s, infos) {
				if err != nil {
					b.Fatal(err)
				}
				if i++; i >= b.N {
					break
				}
			}
		}
	})
}

func BenchmarkSorter(b *testing.B) {
	key := make([]byte, 20)
	value := make([]byte, 100)
	for _, mode := range []struct {
		name   string
		budget int64
	}{{"memory", 1 << 40}, {"spilled", 16 << 20}} {
		b.Run(mode.name, func(b *testing.B) {
			s := NewSorter(NewScratch(b.TempDir()), mode.budget)
			defer s.Close()
			b.ReportAllocs()
			for i := range b.N {
				id := uint64(i) * 0x9e3779b97f4a7c15
				for j := range 8 {
					key[j] = byte(id >> (8 * j))
				}
				if err := s.Add(key, value); err != nil {
					b.Fatal(err)
				}
			}
			n := 0
			for _, err := range s.Sorted() {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != b.N {
				b.Fatal(n)
			}
		})
	}
}
