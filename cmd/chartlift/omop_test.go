package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

const omopPlan = `migration: omop
sources:
  cdm: {csv: export/*.csv}
mappings: [omop]
phi: {policy: limited-data-set, delivery: identified}
unused-tables:
  CONDITION_ERA: derived from CONDITION_OCCURRENCE by the CDM's own rules
  OBSERVATION_PERIOD: when the database looked at a person; no fact about the person
  CDM_SOURCE: describes the database
  VOCABULARY: describes the releases of the vocabularies; CONCEPT holds the codes
`

// cdm is a Common Data Model as encoding/csv reads it, and what the pack omop made of it.
type cdm struct {
	*hospital
	tables    map[string][]map[string]string
	concepts  map[string]map[string]string
	account   account
	resources map[string]map[string]any // by type/id
	made      map[string][]madeAt       // by type
	findings  map[string]int            // by table and rule
}

// madeAt says which row a resource is made of.
type madeAt struct {
	table    string
	row      map[string]string
	resource map[string]any
}

// newCDM maps the shared tables in a dry run, after change had its way with each row.
func newCDM(t *testing.T, change func(table string, n int, row map[string]string)) *cdm {
	t.Helper()
	if testing.Short() {
		t.Skip("tens of thousands of resources")
	}
	files, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "data", "omop-synthea27"), "*.csv.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal("no tables", err)
	}
	c := &cdm{hospital: newHospital(t), tables: map[string][]map[string]string{}, concepts: map[string]map[string]string{},
		resources: map[string]map[string]any{}, made: map[string][]madeAt{}, findings: map[string]int{}}
	c.plan(omopPlan + guides(t))
	if err := os.Mkdir(filepath.Join(c.dir, "export"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".csv.gz")
		header, rows := readTable(t, file)
		for i, row := range rows {
			change(name, i, row)
		}
		writeTable(t, filepath.Join(c.dir, "export", name+".csv"), header, rows)
		c.tables[name] = rows
	}
	for _, row := range c.tables["CONCEPT"] {
		c.concepts[row["concept_id"]] = row
	}
	c.mustRun(exitDone, exitDone, "keys", "init")
	c.account = c.summary(exitDone, exitReview, "dry-run", "--json")
	out := filepath.Join(c.dir, "out")
	c.mustRun(exitDone, exitDone, "export", "--identified", "-o", out)
	c.mustRun(exitDone, exitReview, "report", "-o", out, "--format", "json")
	c.read(t, out)
	return c
}

func readTable(t *testing.T, file string) (header []string, rows []map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range all[1:] {
		row := map[string]string{}
		for i, column := range all[0] {
			row[column] = cells[i]
		}
		rows = append(rows, row)
	}
	return all[0], rows
}

func writeTable(t *testing.T, file string, header []string, rows []map[string]string) {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{header}
	for _, row := range rows {
		line := make([]string, len(header))
		for i, column := range header {
			line[i] = row[column]
		}
		lines = append(lines, line)
	}
	if err := w.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// read reads what was exported and reported. No cell of these tables has a line break, so row n stands in line n+2.
func (c *cdm) read(t *testing.T, out string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, "[A-Z]*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for line := range strings.Lines(readFile(t, file)) {
			r := decode[map[string]any](t, line)
			c.resources[r["resourceType"].(string)+"/"+r["id"].(string)] = r
		}
	}
	for line := range strings.Lines(readFile(t, filepath.Join(out, "places.ndjson"))) {
		p := decode[struct {
			Table, Type, ID, Outcome string
			Line                     int
		}](t, line)
		if p.Outcome == "made" {
			c.made[p.Type] = append(c.made[p.Type], madeAt{p.Table, c.tables[p.Table][p.Line-2], c.resources[p.Type+"/"+p.ID]})
		}
	}
	report := decode[struct {
		Findings []struct{ Table, Rule, Severity string }
	}](t, readFile(t, filepath.Join(out, "report.json")))
	for _, f := range report.Findings {
		if f.Severity != "notice" {
			c.findings[f.Table+": "+f.Rule]++
		}
	}
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// at is the value below a path, nil if there is none. A number steps into a list.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

// The vocabularies of the shared tables, as FHIR names them.
var omopSystems = map[string]string{
	"SNOMED": "http://snomed.info/sct", "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm", "LOINC": "http://loinc.org",
	"CVX": "http://hl7.org/fhir/sid/cvx", "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
}

// codings are what a pair of concepts must have become: the standard one, and the source's where it is another.
func (c *cdm) codings(standard, source string) (out []any) {
	ids := []string{standard}
	if source != standard {
		ids = append(ids, source)
	}
	for _, id := range ids {
		if k := c.concepts[id]; k != nil && omopSystems[k["vocabulary_id"]] != "" {
			out = append(out, map[string]any{"system": omopSystems[k["vocabulary_id"]], "code": k["concept_code"], "display": k["concept_name"]})
		}
	}
	return out
}

// coded says where the code of a type stands, and from which columns of which table it comes.
var coded = []struct{ typ, element, table, column string }{
	{"Condition", "code", "CONDITION_OCCURRENCE", "condition"},
	{"MedicationStatement", "medicationCodeableConcept", "DRUG_EXPOSURE", "drug"},
	{"Immunization", "vaccineCode", "DRUG_EXPOSURE", "drug"},
	{"Observation", "code", "MEASUREMENT", "measurement"},
	{"Observation", "code", "OBSERVATION", "observation"},
	{"Observation", "valueCodeableConcept", "DEATH", "cause"},
	{"Procedure", "code", "PROCEDURE_OCCURRENCE", "procedure"},
	{"Device", "type", "DEVICE_EXPOSURE", "device"},
}

func (c *cdm) checkCodes(t *testing.T) {
	t.Helper()
	for _, k := range coded {
		checked := 0
		for _, m := range c.made[k.typ] {
			if m.table != k.table {
				continue
			}
			checked++
			standard, source := m.row[k.column+"_concept_id"], m.row[k.column+"_source_concept_id"]
			want := c.codings(standard, source)
			got, _ := at(m.resource, k.element, "coding").([]any)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s of %s, concepts %s and %s (-want +got):\n%s", k.typ, k.table, standard, source, diff)
			}
			text, _ := at(m.resource, k.element, "text").(string)
			if text == "" || len(want) == 0 && text != m.row[k.column+"_source_value"] {
				t.Fatalf("%s of %s, concepts %s and %s: %q is not the source's text", k.typ, k.table, standard, source, text)
			}
		}
		if c.count(k.typ, k.table) != checked {
			t.Errorf("%s of %s: %d of %d were checked", k.typ, k.table, checked, c.count(k.typ, k.table))
		}
	}
}

// isVaccine tells the rows of DRUG_EXPOSURE that become immunizations.
func (c *cdm) isVaccine(row map[string]string) bool {
	return c.concepts[row["drug_concept_id"]]["vocabulary_id"] == "CVX" || c.concepts[row["drug_source_concept_id"]]["vocabulary_id"] == "CVX"
}

// count is how many resources of a type the rows of a table must become.
func (c *cdm) count(typ, table string) (n int) {
	for _, row := range c.tables[table] {
		switch {
		case table == "DRUG_EXPOSURE" && c.isVaccine(row) != (typ == "Immunization"),
			table == "DEATH" && row["cause_concept_id"] == "0" && row["cause_source_value"] == "",
			table == "VISIT_DETAIL" && c.repeatsVisit(row):
			continue
		}
		n++
	}
	return n
}

// repeatsVisit tells a detail that says what its visit says.
func (c *cdm) repeatsVisit(detail map[string]string) bool {
	if detail["parent_visit_detail_id"] != "" {
		return false
	}
	for _, visit := range c.tables["VISIT_OCCURRENCE"] {
		if visit["visit_occurrence_id"] != detail["visit_occurrence_id"] {
			continue
		}
		for _, column := range []string{"person_id", "provider_id", "care_site_id"} {
			if visit[column] != detail[column] {
				return false
			}
		}
		for _, column := range []string{"concept_id", "source_value", "start_date", "start_datetime", "end_date", "end_datetime"} {
			if visit["visit_"+column] != detail["visit_detail_"+column] {
				return false
			}
		}
		return true
	}
	return false
}

func (c *cdm) checkAccount(t *testing.T) {
	t.Helper()
	from := map[string][]string{"Patient": {"PERSON"}, "Encounter": {"VISIT_OCCURRENCE", "VISIT_DETAIL"}, "Condition": {"CONDITION_OCCURRENCE"},
		"MedicationStatement": {"DRUG_EXPOSURE"}, "Immunization": {"DRUG_EXPOSURE"}, "Observation": {"MEASUREMENT", "OBSERVATION", "DEATH"},
		"Procedure": {"PROCEDURE_OCCURRENCE"}, "Device": {"DEVICE_EXPOSURE"}, "DeviceUseStatement": {"DEVICE_EXPOSURE"},
		"Practitioner": {"PROVIDER"}, "PractitionerRole": {"PROVIDER"}}
	want, got := map[string]int64{}, map[string]int64{}
	for typ, tables := range from {
		for _, table := range tables {
			if n := c.count(typ, table); n > 0 {
				want[typ] += int64(n)
			}
		}
	}
	for typ, r := range c.account.Resources {
		if r.Made > 0 {
			got[typ] = r.Made
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources by type (-want +got):\n%s", diff)
	}
	unused := []string{"CONDITION_ERA", "OBSERVATION_PERIOD", "CDM_SOURCE", "VOCABULARY"}
	for table, rows := range c.tables {
		a, ok := c.account.Tables[table]
		if ok == slices.Contains(unused, table) {
			t.Errorf("%s: in the account: %v", table, ok)
		}
		if ok && (a.Read != int64(len(rows)) || a.Read != a.Mapped+total(a.Skipped)+total(a.Refused)+a.OtherWave || total(a.Refused) != 0) {
			t.Errorf("%s: %d rows, account %+v", table, len(rows), a)
		}
	}
}

// checkReferences finds every reference among the resources made.
func (c *cdm) checkReferences(t *testing.T) {
	t.Helper()
	found := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if r, ok := v["reference"].(string); ok {
				found++
				if c.resources[r] == nil {
					t.Fatalf("nothing is at %s", r)
				}
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	for _, r := range c.resources {
		walk(r)
	}
	if found < 2*len(c.tables["MEASUREMENT"]) {
		t.Errorf("only %d references", found)
	}
}

func (c *cdm) checkPeople(t *testing.T) {
	t.Helper()
	deaths := map[string]string{}
	for _, row := range c.tables["DEATH"] {
		deaths[row["person_id"]] = row["death_date"]
	}
	genders := map[string]any{"8507": "male", "8532": "female", "0": nil}
	for _, m := range c.made["Patient"] {
		birth := m.row["year_of_birth"]
		for _, part := range []string{m.row["month_of_birth"], m.row["day_of_birth"]} {
			if part == "" {
				break
			}
			birth += "-" + strings.Repeat("0", 2-len(part)) + part
		}
		want := map[string]any{"person": m.row["person_id"], "gender": genders[m.row["gender_concept_id"]], "birth": birth, "death": nil}
		if day := deaths[m.row["person_id"]]; day != "" {
			want["death"] = day
		}
		got := map[string]any{"person": at(m.resource, "identifier", 0, "value"), "gender": m.resource["gender"],
			"birth": m.resource["birthDate"], "death": m.resource["deceasedDateTime"]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("person %s (-want +got):\n%s", m.row["person_id"], diff)
		}
		if m.row["race_concept_id"] == "0" && (at(m.resource, "extension", 0, "extension", 0, "url") != "text" ||
			at(m.resource, "extension", 0, "extension", 0, "valueString") != m.row["race_source_value"]) {
			t.Errorf("person %s: a race without a concept is %v", m.row["person_id"], at(m.resource, "extension", 0))
		}
	}
	classes := map[string]string{"9201": "IMP", "9202": "AMB", "9203": "EMER"}
	for _, m := range c.made["Encounter"] {
		id := m.row["visit_concept_id"]
		if m.table == "VISIT_DETAIL" {
			id = m.row["visit_detail_concept_id"]
		}
		if got := at(m.resource, "class", "code"); got != classes[id] {
			t.Fatalf("visit concept %s is %v", id, got)
		}
	}
}

// checkValues compares every result of MEASUREMENT with its row.
func (c *cdm) checkValues(t *testing.T) {
	t.Helper()
	for _, m := range c.made["Observation"] {
		if m.table != "MEASUREMENT" {
			continue
		}
		if number := m.row["value_as_number"]; number != "" {
			got := at(m.resource, "valueQuantity")
			want := map[string]any{"value": json.Number(number)}
			if unit := m.row["unit_source_value"]; unit != "" {
				want["unit"] = unit
			}
			if k := c.concepts[m.row["unit_concept_id"]]; k != nil {
				want["system"], want["code"] = "http://unitsofmeasure.org", k["concept_code"]
				if k["concept_code"] == "pH" {
					want["code"] = "[pH]"
				}
			}
			if diff := cmp.Diff(any(want), got); diff != "" {
				t.Fatalf("unit %s (-want +got):\n%s", m.row["unit_concept_id"], diff)
			}
			continue
		}
		source, number := m.row["value_source_value"], at(m.resource, "valueQuantity", "value")
		if text := m.resource["valueString"]; source != "" && text != source && number != json.Number(source) {
			t.Fatalf("a result without a number is %v or %v", text, number)
		}
		if source == "" && at(m.resource, "dataAbsentReason", "coding", 0, "code") != "unknown" {
			t.Fatal("a result that is not there is not said to be absent")
		}
	}
}

// onlyInSource counts the results whose number is only in the source's text.
func (c *cdm) onlyInSource() (n int) {
	for _, row := range c.tables["MEASUREMENT"] {
		if row["value_as_number"] == "" && json.Valid([]byte(row["value_source_value"])) {
			n++
		}
	}
	return n
}

func TestOMOP(t *testing.T) {
	c := newCDM(t, func(string, int, map[string]string) {})
	c.conforms("condition: : con-3")
	if n := len(c.made["Patient"]); n != 28 {
		t.Errorf("%d patients", n)
	}
	c.checkAccount(t)
	c.checkReferences(t)
	c.checkPeople(t)
	c.checkValues(t)
	c.checkCodes(t)
	// The specialty of all providers is a concept that these tables' CONCEPT leaves out.
	want := map[string]int{"PROVIDER: concept not in CONCEPT": len(c.tables["PROVIDER"]), "MEASUREMENT: number only in the source value": c.onlyInSource()}
	if diff := cmp.Diff(want, c.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// The same tables, with what real loads have and these have not: concepts 0, source concepts of their own, concepts that
// CONCEPT lacks, vaccines, partial dates of birth, and details that say more than their visit.
func TestOMOPAsOthersLoadIt(t *testing.T) {
	lacks := map[string]int{}
	c := newCDM(t, func(table string, n int, row map[string]string) {
		for _, k := range coded {
			if k.table != table {
				continue
			}
			standard, source, word := k.column+"_concept_id", k.column+"_source_concept_id", k.column+"_source_value"
			switch n % 7 {
			case 1: // no concept
				row[standard], row[source], row[word] = "0", "0", "word of the house"
			case 2: // one that CONCEPT lacks
				row[standard], row[source], row[word] = "777777777", "", "word of the house"
				if k.typ != "Immunization" { // the same rows as MedicationStatement
					lacks[table]++
				}
			case 3: // a source code without a standard concept
				row[standard], row[source], row[word] = "0", "900000001", "E11.9"
			case 4: // both
				row[source], row[word] = "900000001", "E11.9"
			case 5:
				if table == "DRUG_EXPOSURE" {
					row[standard], row[source], row[word] = "900000002", "900000002", "08"
				}
			}
		}
		switch table {
		case "CONCEPT":
			switch n { // concepts that nothing else uses, of the vocabularies that are not there
			case 0:
				row["concept_id"], row["vocabulary_id"], row["concept_code"], row["concept_name"] = "900000001", "ICD10CM", "E11.9", "Type 2 diabetes mellitus"
			case 1:
				row["concept_id"], row["vocabulary_id"], row["concept_code"], row["concept_name"] = "900000002", "CVX", "08", "Hep B"
			case 2:
				row["concept_id"], row["vocabulary_id"], row["concept_code"], row["concept_name"] = "0", "None", "No matching concept", "No matching concept"
			}
		case "PERSON":
			switch n % 4 {
			case 1:
				row["day_of_birth"] = ""
			case 2:
				row["month_of_birth"], row["day_of_birth"] = "", ""
			case 3:
				row["gender_concept_id"] = "0"
			}
		case "VISIT_DETAIL":
			if n%5 == 0 {
				row["visit_detail_source_value"] = "ward " + row["visit_detail_id"]
			}
		}
	})
	c.checkAccount(t)
	c.checkReferences(t)
	c.checkPeople(t)
	c.checkCodes(t)
	want := map[string]int{"PERSON: no gender concept": len(c.tables["PERSON"]) / 4, "PROVIDER: concept not in CONCEPT": len(c.tables["PROVIDER"]),
		"MEASUREMENT: number only in the source value": c.onlyInSource()}
	for table, n := range lacks {
		want[table+": concept not in CONCEPT"] = n
	}
	if diff := cmp.Diff(want, c.findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if len(c.made["Immunization"]) == 0 || c.account.Tables["VISIT_DETAIL"].Mapped == 0 {
		t.Error("no vaccine, or no detail of a visit, came through")
	}
}

// The columns of the tables of the CDM, by version: what 5.3 has otherwise, and what both have.
var omopColumns = map[string]map[string]string{
	"5.4": {
		"PERSON":               "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime,race_concept_id,ethnicity_concept_id,location_id,provider_id,care_site_id,person_source_value,gender_source_value,gender_source_concept_id,race_source_value,race_source_concept_id,ethnicity_source_value,ethnicity_source_concept_id",
		"VISIT_OCCURRENCE":     "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime,visit_end_date,visit_end_datetime,visit_type_concept_id,provider_id,care_site_id,visit_source_value,visit_source_concept_id,admitted_from_concept_id,admitted_from_source_value,discharged_to_concept_id,discharged_to_source_value,preceding_visit_occurrence_id",
		"VISIT_DETAIL":         "visit_detail_id,person_id,visit_detail_concept_id,visit_detail_start_date,visit_detail_start_datetime,visit_detail_end_date,visit_detail_end_datetime,visit_detail_type_concept_id,provider_id,care_site_id,visit_detail_source_value,visit_detail_source_concept_id,admitted_from_concept_id,admitted_from_source_value,discharged_to_source_value,discharged_to_concept_id,preceding_visit_detail_id,parent_visit_detail_id,visit_occurrence_id",
		"CONDITION_OCCURRENCE": "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,condition_start_datetime,condition_end_date,condition_end_datetime,condition_type_concept_id,condition_status_concept_id,stop_reason,provider_id,visit_occurrence_id,visit_detail_id,condition_source_value,condition_source_concept_id,condition_status_source_value",
		"DRUG_EXPOSURE":        "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date,drug_exposure_start_datetime,drug_exposure_end_date,drug_exposure_end_datetime,verbatim_end_date,drug_type_concept_id,stop_reason,refills,quantity,days_supply,sig,route_concept_id,lot_number,provider_id,visit_occurrence_id,visit_detail_id,drug_source_value,drug_source_concept_id,route_source_value,dose_unit_source_value",
		"PROCEDURE_OCCURRENCE": "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date,procedure_datetime,procedure_end_date,procedure_end_datetime,procedure_type_concept_id,modifier_concept_id,quantity,provider_id,visit_occurrence_id,visit_detail_id,procedure_source_value,procedure_source_concept_id,modifier_source_value",
		"DEVICE_EXPOSURE":      "device_exposure_id,person_id,device_concept_id,device_exposure_start_date,device_exposure_start_datetime,device_exposure_end_date,device_exposure_end_datetime,device_type_concept_id,unique_device_id,production_id,quantity,provider_id,visit_occurrence_id,visit_detail_id,device_source_value,device_source_concept_id,unit_concept_id,unit_source_value,unit_source_concept_id",
		"MEASUREMENT":          "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,measurement_time,measurement_type_concept_id,operator_concept_id,value_as_number,value_as_concept_id,unit_concept_id,range_low,range_high,provider_id,visit_occurrence_id,visit_detail_id,measurement_source_value,measurement_source_concept_id,unit_source_value,unit_source_concept_id,value_source_value,measurement_event_id,meas_event_field_concept_id",
		"OBSERVATION":          "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,observation_type_concept_id,value_as_number,value_as_string,value_as_concept_id,qualifier_concept_id,unit_concept_id,provider_id,visit_occurrence_id,visit_detail_id,observation_source_value,observation_source_concept_id,unit_source_value,qualifier_source_value,value_source_value,observation_event_id,obs_event_field_concept_id",
		"DEATH":                "person_id,death_date,death_datetime,death_type_concept_id,cause_concept_id,cause_source_value,cause_source_concept_id",
		"PROVIDER":             "provider_id,provider_name,npi,dea,specialty_concept_id,care_site_id,year_of_birth,gender_concept_id,provider_source_value,specialty_source_value,specialty_source_concept_id,gender_source_value,gender_source_concept_id",
		"CARE_SITE":            "care_site_id,care_site_name,place_of_service_concept_id,location_id,care_site_source_value,place_of_service_source_value",
		"LOCATION":             "location_id,address_1,address_2,city,state,zip,county,location_source_value,country_concept_id,country_source_value,latitude,longitude",
		"CONCEPT":              "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,standard_concept,concept_code,valid_start_date,valid_end_date,invalid_reason",
	},
	"5.3": {
		"VISIT_OCCURRENCE":     "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime,visit_end_date,visit_end_datetime,visit_type_concept_id,provider_id,care_site_id,visit_source_value,visit_source_concept_id,admitting_source_concept_id,admitting_source_value,discharge_to_concept_id,discharge_to_source_value,preceding_visit_occurrence_id",
		"VISIT_DETAIL":         "visit_detail_id,person_id,visit_detail_concept_id,visit_detail_start_date,visit_detail_start_datetime,visit_detail_end_date,visit_detail_end_datetime,visit_detail_type_concept_id,provider_id,care_site_id,admitting_source_concept_id,discharge_to_concept_id,preceding_visit_detail_id,visit_detail_source_value,visit_detail_source_concept_id,admitting_source_value,discharge_to_source_value,visit_detail_parent_id,visit_occurrence_id",
		"PROCEDURE_OCCURRENCE": "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date,procedure_datetime,procedure_type_concept_id,modifier_concept_id,quantity,provider_id,visit_occurrence_id,visit_detail_id,procedure_source_value,procedure_source_concept_id,modifier_source_value",
		"DEVICE_EXPOSURE":      "device_exposure_id,person_id,device_concept_id,device_exposure_start_date,device_exposure_start_datetime,device_exposure_end_date,device_exposure_end_datetime,device_type_concept_id,unique_device_id,quantity,provider_id,visit_occurrence_id,visit_detail_id,device_source_value,device_source_concept_id",
		"MEASUREMENT":          "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,measurement_time,measurement_type_concept_id,operator_concept_id,value_as_number,value_as_concept_id,unit_concept_id,range_low,range_high,provider_id,visit_occurrence_id,visit_detail_id,measurement_source_value,measurement_source_concept_id,unit_source_value,value_source_value",
		"OBSERVATION":          "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,observation_type_concept_id,value_as_number,value_as_string,value_as_concept_id,qualifier_concept_id,unit_concept_id,provider_id,visit_occurrence_id,visit_detail_id,observation_source_value,observation_source_concept_id,unit_source_value,qualifier_source_value",
		"LOCATION":             "location_id,address_1,address_2,city,state,zip,county,location_source_value,country_source_value", // the last added, as the pack asks
	},
}

// Every column of the CDM's tables is used, or left behind with a reason.
func TestOMOPColumns(t *testing.T) {
	for version, own := range omopColumns {
		tables := maps.Clone(omopColumns["5.4"])
		maps.Copy(tables, own)
		check := func(t *testing.T, code int) (findings []string) {
			h := newHospital(t)
			h.plan(omopPlan)
			if err := os.Mkdir(filepath.Join(h.dir, "export"), 0o700); err != nil {
				t.Fatal(err)
			}
			for table, columns := range tables {
				writeTable(t, filepath.Join(h.dir, "export", table+".csv"), strings.Split(columns, ","), nil)
			}
			answer := decode[struct {
				Notices []struct{ Severity, Message string }
			}](t, h.mustRun(code, code, "check", "--json"))
			for _, n := range answer.Notices {
				if n.Severity != "notice" {
					findings = append(findings, n.Message)
				}
			}
			return findings
		}
		t.Run(version, func(t *testing.T) {
			if found := check(t, exitDone); len(found) > 0 {
				t.Errorf("findings: %q", found)
			}
		})
		t.Run(version+" and one more", func(t *testing.T) {
			tables["DEATH"] += ",brandnew"
			if found := check(t, exitReview); len(found) != 1 || !strings.Contains(found[0], "DEATH.brandnew") {
				t.Errorf("findings: %q", found)
			}
		})
	}
}
