package validate_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// bases are valid resources that each test of a rule breaks at one place.
var bases = map[string]string{
	"observation": `{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},
		"subject":{"reference":"Patient/1"},"effectivePeriod":{"start":"2020-01-01","end":"2020-01-02"},
		"valueQuantity":{"value":1.50,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"},
		"referenceRange":[{"low":{"value":1,"system":"http://unitsofmeasure.org","code":"g/dL"},"text":"x"}],
		"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"1-8"}]},"valueString":"x"}]}`,
	"patient": `{"resourceType":"Patient","id":"p","contained":[{"resourceType":"Organization","id":"org","name":"x"}],
		"name":[{"family":"x","period":{"start":"2000","end":"2001"}}],"telecom":[{"system":"phone","value":"1"}],
		"contact":[{"name":{"family":"y"}}],"managingOrganization":{"reference":"#org"}}`,
	"condition": `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/1"},
		"clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"resolved"}]},
		"verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-ver-status","code":"confirmed"}]},
		"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-category","code":"problem-list-item"}]}],
		"code":{"text":"x"},"abatementDateTime":"2020","stage":[{"summary":{"text":"x"}}],"evidence":[{"code":[{"text":"x"}]}]}`,
	"allergy": `{"resourceType":"AllergyIntolerance","id":"a","patient":{"reference":"Patient/1"},
		"clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}]},
		"verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-verification","code":"confirmed"}]}}`,
	"medication": `{"resourceType":"MedicationRequest","id":"m","status":"active","intent":"order","medicationCodeableConcept":{"text":"x"},
		"subject":{"reference":"Patient/1"},"dosageInstruction":[{"timing":{"repeat":{"boundsRange":{"low":{"value":1},"high":{"value":2}},
		"duration":1,"durationUnit":"h","frequency":1,"period":1,"periodUnit":"d"}},"doseAndRate":[{"doseQuantity":{"value":1,"unit":"x"}}]}]}`,
	"bundle": `{"resourceType":"Bundle","id":"b","type":"searchset","total":1,"link":[{"relation":"self","url":"http://x.org"}],
		"entry":[{"fullUrl":"http://x.org/Patient/1","resource":{"resourceType":"Patient","id":"1"},"search":{"mode":"match"}}]}`,
	"transaction": `{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
		"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}]}`,
	"document": `{"resourceType":"Bundle","type":"document","identifier":{"system":"urn:ietf:rfc:3986","value":"urn:oid:1.2.3"},"timestamp":"2020-01-01T00:00:00Z",
		"entry":[{"fullUrl":"http://x.org/Composition/1","resource":{"resourceType":"Composition","id":"1","status":"final","type":{"text":"x"},"date":"2020",
		"author":[{"reference":"Practitioner/2"}],"title":"x","section":[{"title":"a","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"}}]}},
		{"fullUrl":"http://x.org/Practitioner/2","resource":{"resourceType":"Practitioner","id":"2"}}]}`,
	"message": `{"resourceType":"Bundle","type":"message","entry":[{"fullUrl":"http://x.org/MessageHeader/1","resource":{"resourceType":"MessageHeader","id":"1",
		"eventCoding":{"system":"http://x.org","code":"x"},"source":{"endpoint":"http://x.org"},"focus":[{"reference":"Patient/2"}]}},
		{"fullUrl":"http://x.org/Patient/2","resource":{"resourceType":"Patient","id":"2"}}]}`,
	"questionnaire": `{"resourceType":"Questionnaire","status":"draft","url":"http://x.org/q","name":"Q","item":[{"linkId":"1","type":"group","item":[{"linkId":"2","type":"string","maxLength":5}]},
		{"linkId":"3","type":"choice","answerOption":[{"valueString":"x"}],"enableWhen":[{"question":"2","operator":"=","answerString":"x"}]}]}`,
	"media": `{"resourceType":"Media","status":"completed","content":{"contentType":"text/plain","data":"SGVsbG8=","size":5}}`,
	"vitals": `{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
		"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":"2020-01-01",
		"valueQuantity":{"value":60,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}`,
	"extended": `{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"x"}},
		{"url":"http://hl7.org/fhir/StructureDefinition/patient-nationality","extension":[{"url":"code","valueCodeableConcept":{"text":"x"}}]}],
		"birthDate":"2000-01-01","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"2000-01-01T10:00:00Z"}]}}`,
	"parameters": `{"resourceType":"Parameters","parameter":[{"name":"a","valueTime":"10:00:00"},{"name":"b","valueUuid":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
		{"name":"c","valueOid":"urn:oid:1.2.3"},{"name":"d","resource":{"resourceType":"Patient"}},{"name":"e","part":[{"name":"f","valueString":"x"}]}]}`,
	"encounter": `{"resourceType":"Encounter","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"subject":{"reference":"Patient/1","type":"Patient"},
		"length":{"value":1,"unit":"h","system":"http://unitsofmeasure.org","code":"h"}}`,
}

// edited parses a base and sets what stands at a path of names and indexes; no JSON: takes it out.
func edited(t *testing.T, base, path, json string) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		return n
	}
	var value *fhir.Node
	if json != "" {
		if value, err = fhir.Parse([]byte(json)); err != nil {
			t.Fatal(err)
		}
	}
	at := n
	names := strings.Split(path, ".")
	for i, name := range names {
		last := i == len(names)-1
		if k, err := strconv.Atoi(name); err == nil {
			switch {
			case last && k == len(at.Items):
				at.Items = append(at.Items, value)
			case last:
				at.Items[k] = value
			default:
				at = at.Items[k]
			}
			continue
		}
		if last {
			at.Set(name, value)
			continue
		}
		if at = at.Get(name); at == nil {
			t.Fatalf("there is no %s", path)
		}
	}
	return n
}

// TestRules breaks each rule once.
func TestRules(t *testing.T) {
	c := core().Checker()
	for name, base := range bases {
		for _, x := range c.Resource(edited(t, base, "", "")) {
			if x.Severity == validate.Error {
				t.Errorf("%s: %s", name, x.String())
			}
		}
	}
	const coding = `{"coding":[{"system":"http://loinc.org","code":"718-7"}]}`
	for _, x := range []struct{ base, at, json, path, rule string }{
		{"observation", "dataAbsentReason", `{"text":"x"}`, "Observation", "obs-6"},
		{"observation", "component.0.code", coding, "Observation", "obs-7"},
		{"observation", "referenceRange.0", `{"age":{"low":{"value":1}}}`, "Observation.referenceRange[0]", "obs-3"},
		{"observation", "effectivePeriod.start", `"2020-01-03"`, "Observation.effective.ofType(Period)", "per-1"},
		{"observation", "valueQuantity.system", "", "Observation.value.ofType(Quantity)", "qty-3"},
		{"observation", "referenceRange.0.low.comparator", `"<"`, "Observation.referenceRange[0].low", "sqty-1"},
		{"observation", "valueQuantity.comparator", `"<>"`, "Observation.value.ofType(Quantity).comparator", "binding"},
		{"observation", "valueQuantity.system", `"ucum"`, "Observation.value.ofType(Quantity)", "reference"},
		{"observation", "code.coding.0.system", `"loinc"`, "Observation.code.coding[0]", "reference"},
		{"observation", "subject", `{}`, "Observation.subject", "empty"},
		{"observation", "id", `"a_b"`, "Observation.id", "form"},
		{"observation", "resourceType", `"Observations"`, "Resource", "resource-type"},
		{"observation", "resourceType", `"DomainResource"`, "Resource", "resource-type"},
		{"observation", "valueQuantity.value", `"1.50"`, "Observation.value.ofType(Quantity).value", "shape"}, // a decimal as text
		{"patient", "managingOrganization", "", "Patient", "dom-3"},
		{"patient", "contained.0.contained", `[{"resourceType":"Patient","id":"x"}]`, "Patient", "dom-2"},
		{"patient", "contained.0.meta", `{"versionId":"1"}`, "Patient", "dom-4"},
		{"patient", "contained.0.meta", `{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]}`, "Patient", "dom-5"},
		{"patient", "contained.0.resourceType", `"Patient"`, "Patient.managingOrganization", "target"},
		{"patient", "contained.0.id", `"other"`, "Patient.managingOrganization", "ref-1"},
		{"patient", "contained.0.name", "", "Patient.contained[0]", "org-1"},
		{"patient", "contact.0", `{"relationship":[{"text":"x"}]}`, "Patient.contact[0]", "pat-1"},
		{"patient", "telecom.0.system", "", "Patient.telecom[0]", "cpt-2"},
		{"patient", "name.0.period.end", `"1999"`, "Patient.name[0].period", "per-1"},
		{"patient", "deceasedBoolean", `"true"`, "Patient.deceased.ofType(boolean)", "shape"},
		{"patient", "identifier", `[{"system":"mrn","value":"1"}]`, "Patient.identifier[0]", "reference"},
		{"patient", "identifier", `[{"system":"urn:ietf:rfc:3986","value":"1"}]`, "Patient.identifier[0]", "form"},
		{"patient", "identifier", `[{"system":"urn:oid:1.02.3","value":"1"}]`, "Patient.identifier[0].system", "form"},
		{"patient", "identifier", `[{"system":"urn:uuid:0C3151BD-1CBF-4D64-B04D-CD9187A4C6E0","value":"1"}]`, "Patient.identifier[0].system", "form"},
		{"patient", "name", `[{"id":"a","family":"x"},{"id":"a","family":"y"}]`, "Patient.name[1]", "id"},
		{"patient", "contained.1", `{"resourceType":"Organization","id":"org","name":"y"}`, "Patient.contained[1]", "id"},
		{"patient", "language", `"english"`, "Patient.language", "binding"},
		{"patient", "language", `"en_US"`, "Patient.language", "binding"},
		{"patient", "language", `"de-AT"`, "", ""},
		{"patient", "text", `{"status":"generated","div":"<div>x</div>"}`, "Patient.text.div", "txt-1"},
		{"bundle", "entry.0.fullUrl", "", "Bundle.entry[0]", "full-url"},
		{"patient", "_gender", `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}`, "Patient.gender", "binding"},
		{"condition", "clinicalStatus", `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}`, "Condition.clinicalStatus", "binding"},
		{"condition", "abatementDateTime", "", "", ""},
		{"condition", "clinicalStatus.coding.0.code", `"active"`, "Condition", "con-4"},
		{"condition", "verificationStatus.coding.0.code", `"entered-in-error"`, "Condition", "con-5"},
		{"condition", "clinicalStatus.coding.0.code", `"gone"`, "Condition.clinicalStatus", "binding"},
		{"condition", "clinicalStatus.coding.0.code", `"gone"`, "Condition.clinicalStatus.coding[0]", "unknown-code"},
		{"condition", "stage.0", `{"type":{"text":"x"}}`, "Condition.stage[0]", "con-1"},
		{"condition", "evidence.0", `{"id":"x"}`, "Condition.evidence[0]", "con-2"},
		{"allergy", "verificationStatus.coding.0.code", `"entered-in-error"`, "AllergyIntolerance", "ait-2"},
		{"allergy", "clinicalStatus", "", "AllergyIntolerance", "ait-1"},
		{"medication", "dosageInstruction.0.timing.repeat.boundsRange.low.value", `3`, "MedicationRequest.dosageInstruction[0].timing.repeat.bounds.ofType(Range)", "rng-2"},
		{"medication", "dosageInstruction.0.timing.repeat.durationUnit", "", "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-1"},
		{"medication", "dosageInstruction.0.timing.repeat.periodUnit", "", "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-2"},
		{"medication", "dosageInstruction.0.timing.repeat.duration", `-1`, "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-4"},
		{"medication", "dosageInstruction.0.timing.repeat.period", `-1`, "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-5"},
		{"medication", "dosageInstruction.0.timing.repeat.offset", `5`, "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-9"},
		{"bundle", "type", `"collection"`, "Bundle", "bdl-1"},
		{"bundle", "type", `"collection"`, "Bundle", "bdl-2"},
		{"bundle", "entry.0.request", `{"method":"GET","url":"x"}`, "Bundle", "bdl-3"},
		{"bundle", "entry.0.response", `{"status":"200"}`, "Bundle", "bdl-4"},
		{"bundle", "entry.0", `{"search":{"mode":"match"}}`, "Bundle.entry[0]", "bdl-5"},
		{"bundle", "entry.1", `{"fullUrl":"http://x.org/Patient/1","resource":{"resourceType":"Patient","id":"1"}}`, "Bundle.entry[1]", "bdl-7"},
		{"bundle", "entry.0.fullUrl", `"http://x.org/Patient/1/_history/2"`, "Bundle.entry[0]", "bdl-8"},
		{"bundle", "entry.0.fullUrl", `"http://x.org/Patient/2"`, "Bundle.entry[0]", "full-url"},
		{"bundle", "entry.0.fullUrl", `"Patient/1"`, "Bundle.entry[0]", "full-url"},
		{"bundle", "link.1", `{"relation":"self","url":"http://y.org"}`, "Bundle.link[1]", "link"},
		{"transaction", "entry.0.request", "", "Bundle", "bdl-3"},
		{"transaction", "entry.0.request.method", `"post"`, "Bundle.entry[0].request.method", "binding"},
		{"document", "identifier", "", "Bundle", "bdl-9"},
		{"document", "timestamp", "", "Bundle", "bdl-10"},
		{"document", "entry.0.resource.resourceType", `"Basic"`, "Bundle", "bdl-11"},
		{"document", "entry.0.resource.author.0.reference", `"Practitioner/3"`, "Bundle.entry[0].resource.author[0]", "reference"},
		{"document", "entry.0.resource.section.0", `{"title":"a"}`, "Bundle.entry[0].resource.section[0]", "cmp-1"},
		{"message", "entry.0.resource.resourceType", `"Basic"`, "Bundle", "bdl-12"},
		{"message", "entry.0.resource.focus.0.reference", `"Patient/3"`, "Bundle.entry[0].resource.focus[0]", "reference"},
		{"questionnaire", "item.0.item", "", "Questionnaire.item[0]", "que-1"},
		{"questionnaire", "item.0.item.0.linkId", `"1"`, "Questionnaire", "que-2"},
		{"questionnaire", "item.0.maxLength", `5`, "Questionnaire.item[0]", "que-10"},
		{"questionnaire", "item.1.enableWhen.1", `{"question":"2","operator":"=","answerString":"y"}`, "Questionnaire.item[1]", "que-12"},
		{"questionnaire", "item.1.enableWhen.0.operator", `"exists"`, "Questionnaire.item[1].enableWhen[0]", "que-7"},
		{"media", "content.size", `6`, "Media.content", "size"},
		{"media", "content.contentType", "", "Media.content", "att-1"},
		{"vitals", "category", "", "Observation", "min"}, // of the profile that the code calls for
		{"vitals", "valueQuantity.code", `"/s"`, "Observation.value.ofType(Quantity).code", "fixed"},
		{"vitals", "valueQuantity", "", "Observation", "vs-2"},
		{"extended", "extension.0.valueAddress", "", "Patient.extension[0]", "ext-1"},
		{"extended", "extension.0", `{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueString":"x"}`, "Patient.extension[0].value.ofType(string)", "value-type"},
		{"extended", "extension.0", `{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"2000-01-01T10:00:00Z"}`, "Patient.extension[0]", "context"},
		{"extended", "extension.1.extension.0.url", `"kode"`, "Patient.extension[1].extension[0]", "slice"},
		{"extended", "extension.0.url", `"birthPlace"`, "Patient.extension[0]", "reference"},
		{"extended", "extension.2", `{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"y"}}`, "", ""},
		{"extended", "_birthDate.extension.0.valueDateTime", `"x"`, "Patient.birthDate.extension[0].value.ofType(dateTime)", "form"},
		{"extended", "modifierExtension", `[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"x"}}]`, "Patient.modifierExtension[0]", "modifier"},
		{"parameters", "parameter.0.valueTime", `"24:00:00"`, "Parameters.parameter[0].value.ofType(time)", "form"},
		{"parameters", "parameter.1.valueUuid", `"urn:uuid:1"`, "Parameters.parameter[1].value.ofType(uuid)", "form"},
		{"parameters", "parameter.2.valueOid", `"urn:oid:7.1"`, "Parameters.parameter[2].value.ofType(oid)", "form"},
		{"parameters", "parameter.3.valueString", `"x"`, "Parameters.parameter[3]", "inv-1"},
		{"parameters", "parameter.3.resource.gender", `"x"`, "Parameters.parameter[3].resource.gender", "binding"},
		{"parameters", "parameter.4.part.0.name", "", "Parameters.parameter[4].part[0]", "min"},
		{"encounter", "subject.type", `"Group"`, "Encounter.subject", "reference"},
		{"encounter", "subject", `{"identifier":{"value":"1"},"type":"Device"}`, "Encounter.subject", "target"},
		{"encounter", "length.system", `"http://x.org"`, "Encounter.length", "drt-1"},
	} {
		issues := c.Resource(edited(t, bases[x.base], x.at, x.json))
		if x.rule == "" {
			if validate.HasError(issues) {
				t.Errorf("%s with %s at %s: %v", x.base, x.json, x.at, issues)
			}
			continue
		}
		if !found(issues, x.path, x.rule) {
			t.Errorf("%s with %s at %s: no %s at %s", x.base, x.json, x.at, x.rule, x.path)
			for i := range issues {
				t.Log("  ", issues[i].String())
			}
		}
	}
}

// TestNotJSON: what is not JSON of FHIR is one error.
func TestNotJSON(t *testing.T) {
	c := core().Checker()
	for _, s := range []string{``, `{`, `[]`, `null`, `"x"`, `{"resourceType":"Patient"} x`, `{"resourceType":"Patient","id":"1","id":"2"}`, `{"resourceType":"Patient",}`, `{"resourceType":"Patient"/**/}`} {
		if issues := c.Text([]byte(s)); len(issues) != 1 || issues[0].Severity != validate.Error {
			t.Errorf("%s: %v", s, issues)
		}
	}
}
