package phi

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// observation is what a mapping writes for one row of observations.csv, about 700 bytes.
const observation = `{"category":[{"coding":[{"code":"vital-signs","display":"Vital signs","system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],` +
	`"code":{"coding":[{"code":"8302-2","display":"Body Height","system":"http://loinc.org"}],"text":"Body Height"},` +
	`"effectiveDateTime":"2011-06-29T03:33:15Z","encounter":{"reference":"Encounter/h7k2mz4qf5s3v6w7x2y3z4a5b6c7d2e3"},"id":"q4w5e6r7t2y3u4i5o6p7a2s3d4f5g6h7",` +
	`"meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-vital-signs"],"tag":[{"code":"riverside-2026","system":"https://github.com/chartlift/chartlift/migration"}]},` +
	`"resourceType":"Observation","status":"final","subject":{"reference":"Patient/z2x3c4v5b6n7m2a3s4d5f6g7h2j3k4l5"},` +
	`"valueQuantity":{"code":"cm","system":"http://unitsofmeasure.org","unit":"cm","value":170.3}}`

const observationRow = `{"CODE":"8302-2","DATE":"2011-06-29T03:33:15Z","DESCRIPTION":"Body Height","ENCOUNTER":"89f4a1c2-2c4b-4a55-93d1-0e8c5b9cbb1d","PATIENT":"5a0e9f0c-77b1-4a24-8bd4-6d6c2fbb6d9e","TYPE":"numeric","UNITS":"cm","VALUE":"170.3"}`

// observationResource is the same with the cuts that a compiled mapping knows.
func observationResource() *Resource {
	whole := []byte(observation)
	cut := []byte(`"text":"Body Height"`)
	at := bytes.Index(whole, cut)
	return &Resource{Type: "Observation", ID: "q4w5e6r7t2y3u4i5o6p7a2s3d4f5g6h7", Patient: "z2x3c4v5b6n7m2a3s4d5f6g7h2j3k4l5", Whole: whole,
		Cuts:  []Cut{{Start: at, End: at + len(cut), Path: "code.text", Method: Seal}},
		Mark:  bytes.Index(whole, []byte(`"tag"`)),
		Place: extract.Place{Table: "observations", Line: 17, File: "observations.csv"}, Row: []byte(observationRow)}
}

func BenchmarkSeal(b *testing.B) {
	s := NewSealer("test", testKeys(b), testPolicy(b, "limited-data-set"))
	r := observationResource()
	b.SetBytes(int64(len(r.Whole)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealPatients changes the patient with each resource, over more patients than the caches hold.
func BenchmarkSealPatients(b *testing.B) {
	s := NewSealer("test", testKeys(b), testPolicy(b, "limited-data-set"))
	r := observationResource()
	patients := make([]string, 20_000)
	for i := range patients {
		patients[i] = fmt.Sprintf("patient-%d", i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Patient = patients[i%len(patients)]
		i++
		if _, err := s.Seal(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCut(b *testing.B) {
	s := NewSealer("test", testKeys(b), testPolicy(b, "limited-data-set"))
	r := observationResource()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Cut(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWhole(b *testing.B) {
	k := testKeys(b)
	sealed, err := NewSealer("test", k, testPolicy(b, "limited-data-set")).Seal(observationResource())
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = k.Whole(sealed, dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
