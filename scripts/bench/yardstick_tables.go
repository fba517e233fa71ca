package main

import (
	"fmt"
	"slices"
	"strings"
)

// table is a table that can be measured, and how the yardstick writes a row of it.
type table struct {
	name, typ string
	columns   []string
	key       []int
	patient   int // column of the patient's key
	encounter int // column of the encounter's, -1
	number    int // column that must be a decimal, -1
	write     func(y *loop, dst []byte, cells [][]byte) []byte
	mappings  []string // of the plan, its own last
}

func (t *table) mapping() string { return t.mappings[len(t.mappings)-1] }

var tables = []table{
	{name: "patients", typ: "Patient", columns: columns("Id,BIRTHDATE,GENDER,LAST,FIRST,CITY,ZIP"), key: []int{0}, patient: 0, encounter: -1, number: -1,
		write: patientResource, mappings: []string{"patient"}},
	{name: "encounters", typ: "Encounter", columns: columns("Id,START,STOP,PATIENT,CODE,DESCRIPTION"), key: []int{0}, patient: 3, encounter: -1, number: -1,
		write: encounterResource, mappings: []string{"patient", "encounter"}},
	{name: "observations", typ: "Observation", columns: columns("DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE"),
		key: []int{cPatient, cEncounter, cCode, cDate}, patient: cPatient, encounter: cEncounter, number: cValue,
		write: observation, mappings: []string{"patient", "encounter", "observation"}},
	{name: "conditions", typ: "Condition", columns: columns("START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION"), key: []int{2, 3, 4, 0}, patient: 2, encounter: 3,
		number: -1, write: condition, mappings: []string{"patient", "encounter", "condition"}},
	{name: "medications", typ: "MedicationRequest", columns: columns("START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,REASONCODE,REASONDESCRIPTION"),
		key: []int{2, 3, 4, 0}, patient: 2, encounter: 3, number: -1, write: medication, mappings: []string{"patient", "encounter", "medication-request"}},
}

func columns(s string) []string { return strings.Split(s, ",") }

func tableOf(name string) (*table, error) {
	i := slices.IndexFunc(tables, func(t table) bool { return t.name == name })
	if i < 0 {
		return nil, fmt.Errorf("-table: there is no %q", name)
	}
	return &tables[i], nil
}

// Places of the columns of observations.
const (
	cDate = iota
	cPatient
	cEncounter
	cCategory
	cCode
	cDescription
	cValue
	cUnits
	cType
)

const tag = `"tag":[{"code":"bench","system":"https://github.com/chartlift/chartlift/migration"}]`

// observation appends the resource in canonical form: members sorted by name, no white space.
func observation(y *loop, b []byte, cells [][]byte) []byte {
	b = append(b, `{"category":[{"coding":[{"code":`...)
	b = y.quoted(b, cells[cCategory])
	b = append(b, `,"system":"http://terminology.hl7.org/CodeSystem/observation-category"}]}],"code":{"coding":[{"code":`...)
	b = y.quoted(b, cells[cCode])
	b = append(b, `,"display":`...)
	b = y.quoted(b, cells[cDescription])
	b = append(b, `,"system":"http://loinc.org"}],"text":`...)
	b = y.quoted(b, cells[cDescription])
	b = append(b, `},"effectiveDateTime":`...)
	b = y.quoted(b, cells[cDate])
	b = append(b, `,"encounter":{"reference":"Encounter/`...)
	b = append(b, y.encounterID...)
	b = append(b, `"},"id":"`...)
	b = append(b, y.id...)
	b = append(b, `","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"],`...)
	b = append(b, `"tag":[{"code":"bench","system":"https://github.com/chartlift/chartlift/migration"}]},`...)
	b = append(b, `"resourceType":"Observation","status":"final","subject":{"reference":"Patient/`...)
	b = append(b, y.patientID...)
	b = append(b, `"},"valueQuantity":{"code":`...)
	b = y.quoted(b, cells[cUnits])
	b = append(b, `,"system":"http://unitsofmeasure.org","unit":`...)
	b = y.quoted(b, cells[cUnits])
	b = append(b, `,"value":`...)
	b = append(b, cells[cValue]...)
	return append(b, `}}`...)
}

// concept appends a CodeableConcept of one coding; without a text if that is nil.
func (y *loop) concept(b []byte, system string, code, display, text []byte) []byte {
	b = append(b, `{"coding":[{"code":`...)
	b = y.quoted(b, code)
	if display != nil {
		b = append(b, `,"display":`...)
		b = y.quoted(b, display)
	}
	b = append(append(append(b, `,"system":"`...), system...), `"}]`...)
	if text != nil {
		b = append(b, `,"text":`...)
		b = y.quoted(b, text)
	}
	return append(b, '}')
}

// ends appends what stands between the members before `id` and those after `meta`.
func (y *loop) ends(b []byte) []byte {
	b = append(append(append(b, `"id":"`...), y.id...), `","meta":{`...)
	return append(append(b, tag...), `},`...)
}

func (y *loop) refer(b []byte, name, typ string, id []byte) []byte {
	b = append(append(append(append(append(b, '"'), name...), `":{"reference":"`...), typ...), '/')
	return append(append(b, id...), `"}`...)
}

func patientResource(y *loop, b []byte, c [][]byte) []byte {
	b = append(b, `{"address":[{"city":`...)
	b = y.quoted(b, c[5])
	b = append(b, `,"postalCode":`...)
	b = y.quoted(b, c[6])
	b = append(b, `}],"birthDate":`...)
	b = y.quoted(b, c[1])
	switch string(c[2]) {
	case "F":
		b = append(b, `,"gender":"female",`...)
	case "M":
		b = append(b, `,"gender":"male",`...)
	default:
		b = append(b, `,"gender":"unknown",`...)
	}
	b = y.ends(b)
	y.from = len(b)
	b = append(b, `"name":[{"family":`...)
	b = y.quoted(b, c[3])
	b = append(b, `,"given":[`...)
	b = y.quoted(b, c[4])
	b = append(b, `]}],`...)
	y.to = len(b)
	return append(b, `"resourceType":"Patient"}`...)
}

func encounterResource(y *loop, b []byte, c [][]byte) []byte {
	b = append(b, `{"class":{"code":"AMB","system":"http://terminology.hl7.org/CodeSystem/v3-ActCode"},`...)
	b = y.ends(b)
	b = append(b, `"period":{"end":`...)
	b = y.quoted(b, c[2])
	b = append(b, `,"start":`...)
	b = y.quoted(b, c[1])
	b = append(b, `},"resourceType":"Encounter","status":"finished",`...)
	b = y.refer(b, "subject", "Patient", y.patientID)
	b = append(b, `,"type":[`...)
	b = y.concept(b, "http://snomed.info/sct", c[4], c[5], nil)
	return append(b, `]}`...)
}

var resolved, active = []byte("resolved"), []byte("active")

func condition(y *loop, b []byte, c [][]byte) []byte {
	b = append(b, '{')
	status := active
	if len(c[1]) > 0 {
		status = resolved
		b = append(b, `"abatementDateTime":`...)
		b = append(y.quoted(b, c[1]), ',')
	}
	b = append(b, `"clinicalStatus":`...)
	b = y.concept(b, "http://terminology.hl7.org/CodeSystem/condition-clinical", status, nil, nil)
	b = append(b, `,"code":`...)
	b = y.concept(b, "http://snomed.info/sct", c[4], c[5], c[5])
	b = append(b, ',')
	b = append(y.refer(b, "encounter", "Encounter", y.encounterID), ',')
	b = y.ends(b)
	b = append(b, `"onsetDateTime":`...)
	b = y.quoted(b, c[0])
	b = append(b, `,"resourceType":"Condition",`...)
	b = y.refer(b, "subject", "Patient", y.patientID)
	return append(b, '}')
}

func medication(y *loop, b []byte, c [][]byte) []byte {
	b = append(b, `{"authoredOn":`...)
	b = append(y.quoted(b, c[0]), ',')
	b = append(y.refer(b, "encounter", "Encounter", y.encounterID), ',')
	b = append(append(append(b, `"id":"`...), y.id...), `","intent":"order","medicationCodeableConcept":`...)
	b = y.concept(b, "http://www.nlm.nih.gov/research/umls/rxnorm", c[4], c[5], c[5])
	b = append(append(append(b, `,"meta":{`...), tag...), `},"reasonCode":[`...)
	b = y.concept(b, "http://snomed.info/sct", c[6], c[7], nil)
	b = append(b, `],"resourceType":"MedicationRequest","status":"`...)
	if len(c[1]) > 0 {
		b = append(b, "completed"...)
	} else {
		b = append(b, "active"...)
	}
	b = append(b, `",`...)
	b = y.refer(b, "subject", "Patient", y.patientID)
	return append(b, '}')
}
