package phi

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/google/go-cmp/cmp"
)

func TestPolicyFaults(t *testing.T) {
	const text = `- Patient.birthdate: keep
- Pateint.name: seal
- HumanName: hide
- Patient.birthDate: keep
- Patient.birthDate: seal
- Identifier.where(sytem = 'a'): keep
- Identifier.where(system = a): keep
- Narrative.div: keep
- Patient.name.where(use = 'x').where(use = 'y'): keep
- Patient.where(id = 'x'): keep
- HumanName.given.where(id = 'x'): keep
- Observation.value.code: keep
- Observation.value.ofType(Sting): keep
- Patient.contained.id: keep
- Observation.issued: year
- Patient.name: token
- Patient.birthDate.foo(): keep
- HumanName.family: shift
- "*": year
- just a word
- {A: keep, B: keep}
- "Patient.": keep
- Patient name: keep
- HumanName.use: soft
`
	_, err := LoadPolicy("p.yaml", fstest.MapFS{"p.yaml": {Data: []byte(text)}})
	var faults document.Faults
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	want := []string{
		`p.yaml:1:3: Patient.birthdate: Patient has no element "birthdate" (did you mean "birthDate"?)`,
		`p.yaml:2:3: Pateint.name: no type "Pateint" in R4; a rule begins with a type, or is * (did you mean "Patient"?)`,
		`p.yaml:3:14: HumanName: no method "hide"; there are seal, keep, token, year, zip3, age90, shift, drop`,
		`p.yaml:5:3: the rule for Patient.birthDate is there twice`,
		`p.yaml:6:3: Identifier.where(sytem = 'a'): in where(): no element "sytem" of Identifier (did you mean "system"?)`,
		`p.yaml:7:3: Identifier.where(system = a): where() compares elements with texts in single quotes: where(system = 'http://…' and use = 'old')`,
		`p.yaml:8:3: Narrative.div: a narrative is one unit (end the path at the Narrative)`,
		`p.yaml:9:3: Patient.name.where(use = 'x').where(use = 'y'): two where() at one place (join the tests with ` + "`and`)",
		`p.yaml:10:3: Patient.where(id = 'x'): where() of a whole resource: a rule can test an element or a datatype`,
		`p.yaml:11:3: HumanName.given.where(id = 'x'): where() of a primitive: a list of primitives is one unit`,
		`p.yaml:12:3: Observation.value.code: "code" comes after a choice of types (write .ofType(…) first)`,
		`p.yaml:13:3: Observation.value.ofType(Sting): "Sting" is none of the types here (did you mean "string"?)`,
		`p.yaml:14:3: Patient.contained.id: what is inside another resource follows the rules of its own type (write a rule that begins with its type)`,
		`p.yaml:15:23: Observation.issued: year cannot be done to a instant; it is for date, dateTime`,
		`p.yaml:16:17: Patient.name: token cannot be done to a HumanName; it is for string, id, uri, url, oid, uuid`,
		`p.yaml:17:3: Patient.birthDate.foo(): no function "foo" in a policy's path`,
		`p.yaml:18:21: HumanName.family: shift belongs to delivery deidentified alone`,
		`p.yaml:19:8: *: * takes keep, seal or drop`,
		"p.yaml:20:3: a rule is one path and one method: `- Patient.birthDate: keep`",
		"p.yaml:21:3: a rule is one path and one method: `- Patient.birthDate: keep`",
		`p.yaml:22:3: Patient.: a name is missing at the end`,
		"p.yaml:23:3: Patient name: after \"Patient\" a `.` is missing",
		`p.yaml:24:18: HumanName.use: no method "soft"; there are seal, keep, token, year, zip3, age90, shift, drop (did you mean "shift"?)`,
	}
	if diff := cmp.Diff(want, strings.Split(faults.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPolicyFiles(t *testing.T) {
	files := fstest.MapFS{
		"a.yaml": {Data: []byte("extends: limited-data-set\nrules:\n- Patient.birthDate: seal\n- HumanName: keep\n")},
		"b.yaml": {Data: []byte("extends: limited-dataset\nrules: []\nrule: []\n")},
		"c.yaml": {Data: []byte("Patient: keep\n")},
		"d.yaml": {Data: []byte("# the same rules as e\n- Patient.birthDate: keep\n- Observation.valueString: seal\n")},
		"e.yaml": {Data: []byte("- Patient.birthDate: keep\n\n- Observation.value.ofType(string):   seal\n")},
		"f.yaml": {Data: []byte("")},
	}
	load := func(name string) *Policy {
		t.Helper()
		p, err := LoadPolicy(name, files)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	k := testKeys(t)
	got := roundTrip(t, k, NewSealer("test", k, load("a.yaml")), "a.yaml",
		parse(t, `{"id":"1","resourceType":"Patient","birthDate":"1950-01-01","name":[{"family":"D"}],"gender":"male","telecom":[{"value":"1"}]}`))
	if got.Get("birthDate") != nil || got.Get("name") == nil || got.Get("gender") == nil || got.Get("telecom") != nil {
		t.Errorf("%s", got.AppendCanonical(nil))
	}
	for name, want := range map[string]string{
		"b.yaml": `(did you mean "limited-data-set"?)`, "c.yaml": `unknown key "Patient"`, "f.yaml": "a list of rules",
		"limited-dataset": `(did you mean "limited-data-set"?)`, "../x.yaml": "inside the plan's folder", "none.yaml": "does not exist",
	} {
		if _, err := LoadPolicy(name, files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if load("d.yaml").Digest() != load("e.yaml").Digest() || load("d.yaml").Digest() == load("a.yaml").Digest() {
		t.Error("a digest names the rules, and nothing but the rules")
	}
	harbor := load("safe-harbor-elements")
	if !harbor.NeedsAsOf() || load("limited-data-set").NeedsAsOf() {
		t.Error("only safe-harbor-elements depends on a day")
	}
	dated, err := harbor.AsOf("2026-01-01")
	if err != nil || dated.Digest() == harbor.Digest() {
		t.Error("the day is part of the digest", err)
	}
	for _, day := range []string{"2026", "2026-02-30", "01/01/2026"} {
		if _, err := harbor.AsOf(day); err == nil {
			t.Errorf("%s is taken for a day", day)
		}
	}
}

// TestSpecific walks to elements and asks which rule wins.
func TestSpecific(t *testing.T) {
	tests := []struct {
		rules, at string
		want      Method
	}{
		{"- string: keep\n- HumanName: seal", "Patient.name.family", Seal},
		{"- HumanName: seal\n- Patient.name: keep", "Patient.name.family", Keep},
		{"- HumanName: seal\n- Patient.name: keep\n- Patient.name.family: seal", "Patient.name.family", Seal},
		{"- HumanName: seal\n- HumanName.family: keep", "Patient.name.family", Keep},
		{"- HumanName.family: keep", "Patient.contact.name.family", Keep},
		{"- Patient.contact: keep\n- HumanName.family: seal", "Patient.contact.name.family", Keep},
		{"- HumanName: seal\n- Period: keep", "Patient.name.period.start", Seal},
		{"- HumanName: keep\n- Period: seal", "Patient.name.period.start", Seal},
		{"- HumanName.period: keep\n- Period: seal", "Patient.name.period.start", Keep},
		{"- Quantity: seal\n- Age: keep", "Condition.onsetAge.value", Keep},
		{"- Quantity: keep\n- Age: seal", "Condition.onsetAge.value", Seal},
		{"- Quantity: keep", "Condition.onsetAge.value", Keep},
		{"- Element.id: keep\n- string: seal", "Patient.name.id", Keep},
		{"- Element.id: keep\n- HumanName: seal", "Patient.name.id", Seal},
		{"- string: keep", "Patient.gender", Seal},
		{"- DomainResource: keep\n- Patient.gender: seal", "Patient.gender", Seal},
		{"- DomainResource: keep", "Patient.gender", Keep},
		{"- Resource.language: seal\n- DomainResource: keep", "Patient.language", Seal},
		{"- \"*\": keep\n- code: seal", "Patient.gender", Seal},
		{"- \"*\": keep", "Patient.extension.valueString", Keep},
		{"- Patient: keep", "Patient.extension.valueString", Seal},
		{"- Patient.extension: keep", "Patient.extension.valueString", Keep},
		{"- Extension: keep", "Patient.extension.extension.valueString", Keep},
		{"- Extension: keep\n- Patient.name: seal", "Patient.name.extension.valueString", Seal},
		{"- code: keep", "Patient.extension.valueCode", Seal},
		{"- Patient: keep", "Patient.text", Seal},
		{"- Patient: keep\n- Narrative: keep", "Patient.text", Keep},
		{"- Observation.value.ofType(Quantity): keep", "Observation.valueQuantity.value", Keep},
		{"- Observation.value.ofType(Quantity): keep", "Observation.valueString", Seal},
		{"- Observation.value: keep", "Observation.valueString", Keep},
		{"- code: keep", "Patient.id", Keep},
		{"- code: keep", "Patient.meta.tag.code", Keep},
		{"- Coding: seal\n- Meta: seal", "Patient.meta.security.code", Keep},
		{"- code: keep", "Patient.meta.source", Seal},
		{"- Questionnaire.item.text: keep", "Questionnaire.item.text", Keep},
	}
	for _, tt := range tests {
		if got := walk(t, policyOf(t, tt.rules), tt.at); got != tt.want {
			t.Errorf("%q at %s: %s, want %s", tt.rules, tt.at, got, tt.want)
		}
	}
}

func walk(t *testing.T, p *Policy, path string) Method {
	t.Helper()
	names := strings.Split(path, ".")
	at, typ := p.Rules(names[0]), fhir.Lookup(names[0])
	var d Decision
	for _, name := range names[1:] {
		var e *fhir.Element
		if e, typ = typ.Element(name); typ == nil {
			t.Fatalf("no %s in %s", name, path)
		}
		d = at.Child(e, typ)
		at = d.Below
	}
	return d.Method
}

// TestDecision is the view of a compiler.
func TestDecision(t *testing.T) {
	patient := fhir.Lookup("Patient")
	child := func(r Rules, typ *fhir.Type, name string) Decision {
		e, vt := typ.Element(name)
		return r.Child(e, vt)
	}
	limited := testPolicy(t, "limited-data-set").Rules("Patient")
	if d := child(limited, patient, "name"); d.Method != Seal || !d.Whole || d.Tests != nil {
		t.Errorf("name: %+v", d)
	}
	if d := child(limited, patient, "address"); d.Whole {
		t.Errorf("address: %+v", d)
	}
	d := child(limited, patient, "identifier")
	if len(d.Tests) != 1 || d.Tests[0].Equals[0].Value != "http://hl7.org/fhir/sid/us-npi" {
		t.Fatalf("identifier: %+v", d)
	}
	if got := d.Decide(func(*Test) bool { return true }); got.Method != Keep || got.Tests != nil {
		t.Errorf("a matching identifier: %+v", got)
	}
	if got := d.Decide(func(*Test) bool { return false }); got.Method != Seal || !got.Whole {
		t.Errorf("another identifier: %+v", got)
	}
	if d := child(testPolicy(t, "identified").Rules("Patient"), patient, "name"); d.Method != Keep || !d.Whole {
		t.Errorf("identified: %+v", d)
	}
	if d := limited.Child(nil, nil); d.Method != Seal || !d.Whole {
		t.Errorf("an unknown element: %+v", d)
	}
	if d := (Rules{}).Child(nil, nil); d.Method != Seal {
		t.Errorf("rules of nothing: %+v", d)
	}
	if child(limited, patient, "maritalStatus").Below != child(limited, fhir.Lookup("Observation"), "code").Below {
		t.Error("two CodeableConcepts with the same rules differ")
	}
}

func TestTokens(t *testing.T) {
	k := testKeys(t)
	p := policyOf(t, "- Identifier.system: keep\n- Identifier.value: token")
	s := NewSealer("test", k, p)
	token := func(id, value string) string {
		n := parse(t, `{"id":"`+id+`","resourceType":"Patient","identifier":[{"system":"s","value":"`+value+`"}]}`)
		return roundTrip(t, k, s, "token", n).At("identifier").Item(0).Get("value").Str()
	}
	a, b, other := token("1", "123"), token("2", "123"), token("1", "124")
	if a == "" || a != b || a == other || strings.Contains(a, "123") {
		t.Errorf("%q %q %q", a, b, other)
	}
}

func TestTransforms(t *testing.T) {
	for in, want := range map[string]string{"1950-02-03": "1950", "1950": "1950", "2015-02-07T13:28:17.239+02:00": "2015", "195": "", "1950-13-01": "", "x": ""} {
		if got, _ := year(in); got != want {
			t.Errorf("year of %q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"01970": "019", "019701234": "019", "01970-1234": "019", "03601": "000", "89301": "000", "0197": "", "K1A 0B1": "", "": ""} {
		if got, _ := zip3(in); got != want {
			t.Errorf("zip3 of %q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"1936-07-01": "1936", "1936-06-30": "", "1936": "", "1936-08": "", "1937": "1937", "2030-01-01": "2030", "1850-01-01": "", "bad": ""} {
		if got, _ := birthYear(in, "2026-06-30"); got != want {
			t.Errorf("year of birth of %q: %q, want %q", in, got, want)
		}
	}
	if got, ok := birthYear("1990-01-01", ""); ok {
		t.Errorf("without a day: %q", got)
	}
	for in, want := range map[string][2]bool{
		`{"value":89.9,"code":"a","system":"http://unitsofmeasure.org"}`:  {false, true},
		`{"value":90,"code":"a","system":"http://unitsofmeasure.org"}`:    {true, true},
		`{"value":1080,"code":"mo","system":"http://unitsofmeasure.org"}`: {true, true},
		`{"value":3,"code":"mo","system":"http://unitsofmeasure.org"}`:    {false, true},
		`{"value":3,"code":"x","system":"http://unitsofmeasure.org"}`:     {false, false},
		`{"value":3,"unit":"years"}`:                                      {false, false},
		`{"value":1e9,"code":"a","system":"http://unitsofmeasure.org"}`:   {false, false},
		`{"code":"a","system":"http://unitsofmeasure.org"}`:               {false, false},
	} {
		if over, ok := agedOver(parse(t, in)); over != want[0] || ok != want[1] {
			t.Errorf("%s: %t %t", in, over, ok)
		}
	}
}
