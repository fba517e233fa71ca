package reconcile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

const sentObservation = `{"resourceType":"Observation","id":"o1","meta":{"profile":["q","p"],"tag":[{"code":"m"}]},
"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]},
"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2020-03-01T10:00:00-05:00",
"valueQuantity":{"value":1.50,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"},
"note":[{"text":"stopped last week, was taken for years"}]}`

// Each row changes what was sent as a server or a defect would, and says what must come of it.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		rules          []string
		differences    []Difference
	}{
		{"untouched", "", "", nil, nil},
		{"server meta", `"meta":{`, `"meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z",`, []string{RuleServerMeta}, nil},
		{"profiles sorted", `["q","p"]`, `["p","q"]`, []string{RuleMetaOrder}, nil},
		{"profile doubled", `["q","p"]`, `["p","p"]`, nil, []Difference{{Path: "Observation.meta.profile[0]", Kind: Changed}}},
		{"narrative added", `"status":"final"`, `"text":{"status":"generated","div":"<div/>"},"status":"final"`, []string{RuleServerNarrative}, nil},
		{"other narrative added", `"status":"final"`, `"text":{"status":"additional","div":"<div/>"},"status":"final"`, nil, []Difference{{Path: "Observation.text", Kind: Added}}},
		{"zone", "2020-03-01T10:00:00-05:00", "2020-03-01T15:00:00Z", []string{RuleTimeZone}, nil},
		{"zone written as Z", `"effectiveDateTime":"2020-03-01T10:00:00-05:00"`, `"effectiveDateTime":"2020-03-01T10:00:00.000-05:00"`, []string{RuleFraction}, nil},
		{"zone lost", "2020-03-01T10:00:00-05:00", "2020-03-01T10:00:00", nil, []Difference{{Path: "Observation.effectiveDateTime", Kind: Damaged}}},
		{"a day off", "2020-03-01T10", "2020-03-02T10", nil, []Difference{{Path: "Observation.effectiveDateTime", Kind: Changed}}},
		{"decimal form", "1.50", "1.5", []string{RuleDecimalForm}, nil},
		{"exponent", "1.50", "15e-1", []string{RuleDecimalForm}, nil},
		{"dose times ten", "1.50", "15.0", nil, []Difference{{Path: "Observation.valueQuantity.value", Kind: Changed}}},
		{"number as text", "1.50", `"1.50"`, nil, []Difference{{Path: "Observation.valueQuantity.value", Kind: Changed}}},
		{"unit swapped", `"code":"mg"`, `"code":"g"`, nil, []Difference{{Path: "Observation.valueQuantity.code", Kind: Changed}}},
		{"system lost", `"system":"http://loinc.org",`, ``, nil, []Difference{{Path: "Observation.code.coding[0].system", Kind: Lost}}},
		{"absolute reference", `Patient/p1`, `http://host/fhir/Patient/p1/_history/2`, []string{RuleReferenceForm}, nil},
		{"another host's patient", `Patient/p1`, `http://other/fhir/Patient/p1`, nil, []Difference{{Path: "Observation.subject.reference", Kind: Changed}}},
		{"another patient", `Patient/p1`, `Patient/p2`, nil, []Difference{{Path: "Observation.subject.reference", Kind: Changed}}},
		{"note cut", `, was taken for years`, ``, nil, []Difference{{Path: "Observation.note[0].text", Kind: Damaged}}},
		{"tag lost", `,"tag":[{"code":"m"}]`, ``, nil, []Difference{{Path: "Observation.meta.tag", Kind: Lost}}},
		{"entry added", `{"system":"http://loinc.org"`, `{"code":"x"},{"system":"http://loinc.org"`, nil,
			[]Difference{{Path: "Observation.code.coding[0].code", Kind: Changed}, {Path: "Observation.code.coding[0].system", Kind: Lost}, {Path: "Observation.code.coding[1]", Kind: Added}}},
	} {
		got := strings.Replace(sentObservation, c.old, c.new, 1)
		if c.old != "" && got == sentObservation {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		have := Compare(parse(t, sentObservation), parse(t, got), "http://host/fhir")
		// The order of members follows the text that was sent; it carries no meaning.
		want := Comparison{Rules: c.rules, Differences: c.differences}
		sorted := cmp.Transformer("set", func(in []Difference) map[string]bool {
			out := map[string]bool{}
			for _, d := range in {
				out[d.Path+" "+d.Kind] = true
			}
			return out
		})
		if diff := cmp.Diff(want, have, sorted); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func parse(t *testing.T, text string) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
