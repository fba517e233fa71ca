package validate

import (
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

const observation = `{"category":[{"coding":[{"code":"vital-signs","system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],"code":{"coding":[{"code":"72514-3","display":"Pain severity - 0-10 verbal numeric rating [Score] - Reported","system":"http://loinc.org"}],"text":"Pain severity - 0-10 verbal numeric rating [Score] - Reported"},"effectiveDateTime":"2013-06-04T10:07:11Z","encounter":{"reference":"Encounter/4qzgkhlfxjqq7v3znbnuyxkpgspbtybu"},"id":"22222222222222222222222222222222","meta":{"tag":[{"code":"test","system":"https://github.com/chartlift/chartlift/migration"}]},"resourceType":"Observation","status":"final","subject":{"reference":"Patient/4qzgkhlfxjqq7v3znbnuyxkpgspbtybu"},"valueQuantity":{"code":"{score}","system":"http://unitsofmeasure.org","unit":"{score}","value":3.0}}`

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
