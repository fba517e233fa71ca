package validate_test

import (
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// made are profiles without a snapshot, as their authors write them: one on a type of R4, one on that profile, and the
// extensions they name.
const made = `[
{"resourceType":"StructureDefinition","url":"http://example.org/base","version":"1.0.0","type":"Observation","kind":"resource","derivation":"constraint",
 "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Observation","differential":{"element":[
 {"id":"Observation","path":"Observation","constraint":[{"key":"b-1","severity":"error","human":"text or value","expression":"value.exists() or code.text.exists()"},
   {"key":"b-2","severity":"warning","human":"issued","expression":"issued.exists()"}]},
 {"id":"Observation.identifier","path":"Observation.identifier","slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"},"min":1},
 {"id":"Observation.identifier:local","path":"Observation.identifier","sliceName":"local","min":1,"max":"1"},
 {"id":"Observation.identifier:local.system","path":"Observation.identifier.system","min":1,"fixedUri":"http://example.org/local"},
 {"id":"Observation.category","path":"Observation.category","slicing":{"discriminator":[{"type":"pattern","path":"$this"}],"rules":"closed"}},
 {"id":"Observation.category:lab","path":"Observation.category","sliceName":"lab","min":0,"max":"1","patternCodeableConcept":{"coding":[{"system":"http://example.org/c","code":"lab"}]}},
 {"id":"Observation.code","path":"Observation.code","patternCodeableConcept":{"coding":[{"system":"http://example.org/c"}]}},
 {"id":"Observation.subject","path":"Observation.subject","min":1,"type":[{"code":"Reference","targetProfile":["http://hl7.org/fhir/StructureDefinition/Patient"]}]},
 {"id":"Observation.value[x]","path":"Observation.value[x]","type":[{"code":"Quantity"},{"code":"string"}]},
 {"id":"Observation.note","path":"Observation.note","max":"0"},
 {"id":"Observation.method.text","path":"Observation.method.text","maxLength":5},
 {"id":"Observation.status","path":"Observation.status","fixedCode":"final"},
 {"id":"Observation.component","path":"Observation.component","slicing":{"discriminator":[{"type":"type","path":"value"}],"rules":"openAtEnd","ordered":true}},
 {"id":"Observation.component:number","path":"Observation.component","sliceName":"number","max":"1"},
 {"id":"Observation.component:number.value[x]","path":"Observation.component.value[x]","min":1,"type":[{"code":"Quantity"}],"maxValueQuantity":{"value":10,"system":"http://unitsofmeasure.org","code":"cm"}},
 {"id":"Observation.component:text","path":"Observation.component","sliceName":"text"},
 {"id":"Observation.component:text.valueString","path":"Observation.component.valueString","min":1,"type":[{"code":"string"}]},
 {"id":"Observation.extension:level","path":"Observation.extension","sliceName":"level","min":1,"max":"1","type":[{"code":"Extension","profile":["http://example.org/level"]}]}
]}},
{"resourceType":"StructureDefinition","url":"http://example.org/narrow","type":"Observation","kind":"resource","derivation":"constraint",
 "baseDefinition":"http://example.org/base|1.0.0","differential":{"element":[
 {"id":"Observation.identifier:local.value","path":"Observation.identifier.value","min":1},
 {"id":"Observation.referenceRange","path":"Observation.referenceRange","min":1},
 {"id":"Observation.component.referenceRange.low","path":"Observation.component.referenceRange.low","min":1}
]}},
{"resourceType":"StructureDefinition","url":"http://example.org/level","type":"Extension","kind":"complex-type","derivation":"constraint",
 "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Extension","context":[{"type":"element","expression":"Observation"}],"differential":{"element":[
 {"path":"Extension.extension","max":"0"},
 {"path":"Extension.url","fixedUri":"http://example.org/level"},
 {"path":"Extension.value[x]","min":1,"type":[{"code":"code"}],"binding":{"strength":"required","valueSet":"http://example.org/levels"}}
]}},
{"resourceType":"ValueSet","url":"http://example.org/levels","compose":{"include":[{"system":"http://example.org/level-codes","concept":[{"code":"high"},{"code":"low"}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/circle","type":"Patient","kind":"resource","derivation":"constraint","baseDefinition":"http://example.org/circle",
 "differential":{"element":[{"id":"Patient","path":"Patient"}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/orphan","type":"Patient","kind":"resource","derivation":"constraint","baseDefinition":"http://example.org/nowhere",
 "differential":{"element":[{"id":"Patient","path":"Patient"}]}}
]`

const conforming = `{"resourceType":"Observation","meta":{"profile":["http://example.org/narrow"]},"status":"final","issued":"2020-01-01T00:00:00Z",
 "extension":[{"url":"http://example.org/level","valueCode":"high"}],
 "identifier":[{"system":"http://example.org/local","value":"1"},{"system":"http://example.org/other","value":"2"}],
 "category":[{"coding":[{"system":"http://example.org/c","code":"lab"}]}],
 "code":{"coding":[{"system":"http://example.org/c","code":"x"}]},"subject":{"reference":"Patient/1"},"valueString":"x","method":{"text":"abcde"},
 "referenceRange":[{"text":"x"}],
 "component":[{"code":{"text":"a"},"valueQuantity":{"value":100,"unit":"mm","system":"http://unitsofmeasure.org","code":"mm"}},
  {"code":{"text":"b"},"valueString":"x","referenceRange":[{"low":{"value":1}}]},{"code":{"text":"c"},"valueBoolean":true}]}`

// madePackage is the package of the profiles above.
func madePackage(t testing.TB) *fhir.Package {
	t.Helper()
	list, err := fhir.Parse([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	p, err := fhir.NewPackage("made", "1", list.Items...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProfileWithoutSnapshot breaks each thing that the profiles ask.
func TestProfileWithoutSnapshot(t *testing.T) {
	v := validator(madePackage(t))
	c := v.Checker()
	for _, x := range c.Resource(edited(t, conforming, "", "")) {
		t.Errorf("the conforming resource: %s", x.String())
	}
	if list := v.NotChecked(); len(list) > 0 {
		t.Errorf("not checked: %v", list)
	}
	const base, narrow = "http://example.org/base", "http://example.org/narrow"
	for _, x := range []struct{ at, json, path, rule string }{
		{"status", `"amended"`, "Observation.status", "fixed"},
		{"identifier.0.system", `"http://example.org/elsewhere"`, "Observation.identifier", "slice-min"},
		{"identifier.2", `{"system":"http://example.org/local","value":"3"}`, "Observation.identifier", "max"},
		{"identifier", "", "Observation", "min"},
		{"identifier.0.value", "", "Observation.identifier[0]", "min"}, // of the narrower profile, in a slice of the wider
		{"category.1", `{"text":"x"}`, "Observation.category[1]", "slice"},
		{"category.0.coding.0.code", `"rad"`, "Observation.category[0]", "slice"},
		{"code.coding.0.system", `"http://example.org/d"`, "Observation.code", "pattern"},
		{"subject", "", "Observation", "min"},
		{"subject.reference", `"Group/1"`, "Observation.subject", "target"},
		{"valueString", "", "Observation", "b-1"},
		{"note", `[{"text":"x"}]`, "Observation.note", "max"},
		{"method.text", `"abcdef"`, "Observation.method.text", "length"},
		{"component.0.valueQuantity.value", `101`, "Observation.component[0].value.ofType(Quantity)", "range"},
		{"component.1.referenceRange.0", `{"text":"x"}`, "Observation.component[1].referenceRange[0]", "min"},
		{"component.3", `{"code":{"text":"d"},"valueString":"x"}`, "Observation.component[3]", "slice"}, // behind one of no slice
		{"extension", "", "Observation.extension", "slice-min"},
		{"extension.0.valueCode", `"middle"`, "Observation.extension[0].value.ofType(code)", "binding"},
		{"extension.1", `{"url":"http://example.org/level","valueCode":"low"}`, "Observation.extension", "max"},
		{"subject.extension", `[{"url":"http://example.org/level","valueCode":"low"}]`, "Observation.subject.extension[0]", "context"},
		{"referenceRange", "", "Observation", "min"},
	} {
		issues := c.Resource(edited(t, conforming, x.at, x.json))
		if !found(issues, x.path, x.rule) {
			t.Errorf("%s at %s: no %s at %s", x.json, x.at, x.rule, x.path)
			for i := range issues {
				t.Log("  ", issues[i].String())
			}
		}
		for _, i := range issues {
			if i.Profile != "" && i.Profile != base && i.Profile != narrow && i.Profile != "http://example.org/level" {
				t.Errorf("%s is of no profile that asks it", i.String())
			}
		}
	}
	wrong := edited(t, conforming, "valueString", "").Set("valueBoolean", fhir.NewBoolean(true))
	if issues := c.Resource(wrong); !found(issues, "Observation.value.ofType(boolean)", validate.RuleTypeOf) {
		t.Errorf("a type that the profile does not allow: %v", issues)
	}
	if issues := c.Resource(edited(t, conforming, "issued", "")); validate.HasError(issues) || len(issues) != 1 || issues[0].Rule != "b-2" {
		t.Errorf("a constraint of severity warning: %v", issues)
	}
}

// TestProfileThatCannotBeUsed: what a profile is based on is not at hand, or leads back to it. It is not checked, and says
// why.
func TestProfileThatCannotBeUsed(t *testing.T) {
	v := validator(madePackage(t))
	for _, url := range []string{"http://example.org/circle", "http://example.org/orphan"} {
		if v.HasProfile(url) {
			t.Errorf("%s can be used", url)
		}
		if issues := v.Checker().Text([]byte(`{"resourceType":"Patient"}`), url); len(issues) > 0 {
			t.Errorf("%s: %v", url, issues)
		}
	}
	list := v.NotChecked()
	if len(list) != 2 {
		t.Fatalf("not checked: %v", list)
	}
	for _, u := range list {
		if u.Kind != "profile" || !strings.Contains(u.Why, "based on") || u.Count != 1 {
			t.Errorf("not checked: %v", u)
		}
	}
}

// TestUSCoreDefects breaks what profiles with a snapshot ask.
func TestUSCoreDefects(t *testing.T) {
	p, files := usCore(t, "6.1.0")
	c := validator(p).Checker()
	const core = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
	for _, x := range []struct{ file, at, json, path, rule, profile string }{
		{"Patient-example.json", "identifier", "", "Patient", "min", "patient"},
		{"Patient-example.json", "identifier.0.system", "", "Patient.identifier[0]", "min", "patient"},
		{"Patient-example.json", "gender", "", "Patient", "min", "patient"},
		{"Patient-example.json", "name.0", `{"text":"x"}`, "Patient.name[0]", "us-core-6", "patient"},
		{"Observation-blood-pressure.json", "category.0.coding.0.code", `"laboratory"`, "Observation.category", "slice-min", "vital-signs"},
		{"Observation-blood-pressure.json", "code.coding.0.code", `"1-8"`, "Observation.code", "pattern", "blood-pressure"},
		{"Observation-blood-pressure.json", "component.0.code.coding.0.code", `"1-8"`, "Observation.component", "slice-min", "blood-pressure"},
		{"Observation-blood-pressure.json", "component.0.valueQuantity.code", `"kPa"`, "Observation.component[0].value.ofType(Quantity).code", "fixed", "blood-pressure"},
		{"Observation-blood-pressure.json", "component.0.valueQuantity", "", "Observation.component[0]", "vs-3", "blood-pressure"},
		{"Observation-blood-pressure.json", "subject.reference", `"Group/1"`, "Observation.subject", "target", "blood-pressure"},
		{"Observation-serum-glucose.json", "category", "", "Observation", "min", "observation-lab"},
		{"Observation-serum-glucose.json", "valueQuantity", "", "Observation", "us-core-2", "observation-lab"},
		{"Condition-condition-duodenal-ulcer.json", "code", "", "Condition", "min", "condition-problems-health-concerns"},
		{"Condition-condition-duodenal-ulcer.json", "category", "", "Condition", "min", "condition-problems-health-concerns"},
		{"AllergyIntolerance-example.json", "code", "", "AllergyIntolerance", "min", "allergyintolerance"},
		{"MedicationRequest-medicationrequest-coded-oral-axid.json", "requester.reference", `"Group/1"`, "MedicationRequest.requester", "target", ""},
	} {
		if files[x.file] == nil {
			t.Errorf("no %s", x.file)
			continue
		}
		issues := c.Resource(edited(t, string(files[x.file]), x.at, x.json))
		once := map[string]bool{}
		for i := range issues {
			if s := issues[i].String(); once[s] {
				t.Errorf("%s: twice: %s", x.file, s)
			} else {
				once[s] = true
			}
		}
		if !found(issues, x.path, x.rule) {
			t.Errorf("%s: %s at %s: no %s at %s (%s)", x.file, x.json, x.at, x.rule, x.path, core+x.profile)
			for i := range issues {
				t.Log("  ", issues[i].String())
			}
		}
	}
}

// TestConstraintAsksProfile has a constraint that asks whether something conforms to another profile.
func TestConstraintAsksProfile(t *testing.T) {
	list, err := fhir.Parse([]byte(`[
		{"resourceType":"StructureDefinition","url":"http://example.org/asks","type":"Patient","kind":"resource","derivation":"constraint",
		 "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient","differential":{"element":[{"id":"Patient","path":"Patient",
		 "constraint":[{"key":"a-1","severity":"error","human":"names are whole","expression":"name.all(conformsTo('http://example.org/name'))"},
		  {"key":"a-2","severity":"error","human":"nobody knows","expression":"name.all(conformsTo('http://example.org/nowhere'))"}]}]}},
		{"resourceType":"StructureDefinition","url":"http://example.org/name","type":"HumanName","kind":"complex-type","derivation":"constraint",
		 "baseDefinition":"http://hl7.org/fhir/StructureDefinition/HumanName","differential":{"element":[{"id":"HumanName.family","path":"HumanName.family","min":1}]}}]`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := fhir.NewPackage("asks", "1", list.Items...)
	if err != nil {
		t.Fatal(err)
	}
	v := validate.New(terminology.NewStore(fhir.Core(), p), p, fhir.Core())
	for name, broken := range map[string]bool{`{"family":"x"}`: false, `{"given":["x"]}`: true} {
		text := []byte(`{"resourceType":"Patient","meta":{"profile":["http://example.org/asks"]},"name":[` + name + `]}`)
		if got := found(v.Checker().Text(text), "Patient", "a-1"); got != broken {
			t.Errorf("%s: a-1 is told: %t", name, got)
		}
		if got := found(v.Judge().Resource(fhir.Lookup("Patient"), text), "Patient", "a-1"); got != broken {
			t.Errorf("%s: a Judge tells a-1: %t", name, got)
		}
	}
	for _, u := range v.NotChecked() {
		if u.Name == "http://example.org/asks#a-2" && u.Count > 0 {
			return
		}
	}
	t.Error("a constraint that asks for a profile nobody has is not listed as not checked")
}
