package validate

import (
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

const observation = `{"category":[{"coding":[{"code":"vital-signs","system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],"code":{"coding":[{"code":"72514-3","display":"Pain severity - 0-10 verbal numeric rating [Score] - Reported","system":"http://loinc.org"}],"text":"Pain severity - 0-10 verbal numeric rating [Score] - Reported"},"effectiveDateTime":"2013-06-04T10:07:11Z","encounter":{"reference":"Encounter/4qzgkhlfxjqq7v3znbnuyxkpgspbtybu"},"id":"22222222222222222222222222222222","meta":{"tag":[{"code":"test","system":"https://github.com/chartlift/chartlift/migration"}]},"resourceType":"Observation","status":"final","subject":{"reference":"Patient/4qzgkhlfxjqq7v3znbnuyxkpgspbtybu"},"valueQuantity":{"code":"{score}","system":"http://unitsofmeasure.org","unit":"{score}","value":3.0}}`

const encounter = `{"class":{"code":"AMB","system":"http://terminology.hl7.org/CodeSystem/v3-ActCode"},"id":"22222222222222222222222222222222","meta":{"tag":[{"code":"test","system":"https://github.com/chartlift/chartlift/migration"}]},"period":{"end":"2013-06-04T10:22:11Z","start":"2013-06-04T10:07:11Z"},"resourceType":"Encounter","status":"finished","subject":{"reference":"Patient/4qzgkhlfxjqq7v3znbnuyxkpgspbtybu"},"type":[{"coding":[{"code":"162673000","display":"General examination of patient (procedure)","system":"http://snomed.info/sct"}],"text":"General examination of patient (procedure)"}]}`

func BenchmarkJudge(b *testing.B) {
	for name, text := range map[string]string{"Observation": observation, "Encounter": encounter} {
		b.Run(name, func(b *testing.B) {
			j := New(terminology.NewStore(fhir.Core()), fhir.Core()).Judge()
			typ := fhir.Lookup(name)
			for b.Loop() {
				if HasError(j.Resource(typ, []byte(text))) {
					b.Fatal("error")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := fhir.Parse([]byte(observation)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkText(b *testing.B) {
	c := New(terminology.NewStore(fhir.Core()), fhir.Core()).Checker()
	for b.Loop() {
		if HasError(c.Text([]byte(observation))) {
			b.Fatal("error")
		}
	}
}
