package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// Dumps of real systems, each with a schema of its own. What is wanted is read out of the same dumps by a few lines of
// code that know nothing of the program's readers.

const otherTables = "\nunused-tables: {\"*\": no part of this test}\n"

// legacy lays a plan with one dump as its source, and checks it: nothing may be found.
func legacy(t *testing.T, name, dialect, mappings string, files ...string) *hospital {
	t.Helper()
	if testing.Short() {
		t.Skip("reads dumps of several megabytes, over HTTP")
	}
	h := newHospital(t)
	if folder := filepath.Join("testdata", mappings); strings.HasPrefix(mappings, "./") {
		if err := os.CopyFS(filepath.Join(h.dir, mappings), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(files) // a JSON list is a YAML list
	if err != nil {
		t.Fatal(err)
	}
	h.plan(fmt.Sprintf(`migration: %s
sources:
  emr: {dump: %s, dialect: %s, timezone: America/Toronto}
mappings: [%s]
phi: {policy: limited-data-set, delivery: identified}
targets:
  clinical: {sandbox: %q}`+otherTables, name, list, dialect, mappings, h.server.URL+"/fhir") + guides(t))
	h.mustRun(exitDone, exitDone, "keys", "init")
	h.mustRun(exitDone, exitDone, "test")
	h.mustRun(exitDone, exitDone, "check")
	return h
}

// loadedAll checks that each resource that was made was loaded and proven, and answers how many there are of each type.
func (a account) loadedAll(t *testing.T) map[string]int64 {
	t.Helper()
	made := map[string]int64{}
	for typ, r := range a.Resources {
		made[typ] = r.Made
		if v := a.Verified[typ]; r.Loaded != r.Made || v.Matched != r.Made {
			t.Errorf("%s: made %d, loaded %d, matched %d", typ, r.Made, r.Loaded, v.Matched)
		}
	}
	for table, r := range a.Tables {
		if r.Read != r.Mapped+total(r.Skipped)+total(r.Refused)+r.OtherWave {
			t.Errorf("the account of %s does not balance: %+v", table, r)
		}
	}
	return made
}

type reference struct{ Reference, Display string }

type concept struct {
	Text   string
	Coding []struct{ System, Code, Display string }
}

// resource is what the tests look at, of any type.
type resource struct {
	ID, Gender, BirthDate, Status         string
	AuthoredOn, Created                   string
	Subject, Patient, Encounter           reference
	Requester                             reference
	ReasonReference, BasedOn, Result      []reference
	Addresses                             []reference
	Code, MaritalStatus, VaccineCode      concept
	ClinicalStatus                        concept
	MedicationCodeableConcept             concept
	Identifier                            []struct{ System, Value string }
	Communication                         []struct{ Language concept }
	Participant                           []struct{ Individual reference }
	Period                                struct{ Start string }
	ValueQuantity                         struct{ Value json.Number }
	OnsetDateTime, AbatementDateTime      string
	EffectiveDateTime, OccurrenceDateTime string
}

// identifier is the value under a system; "" if there is none.
func (r resource) identifier(system string) string {
	for _, i := range r.Identifier {
		if i.System == system {
			return i.Value
		}
	}
	return ""
}

// exported answers all resources of a type, and the text they stand in.
func (h *hospital) exported(typ string) (list []resource, text string) {
	h.t.Helper()
	out := filepath.Join(h.dir, "out")
	if _, err := os.Stat(out); err != nil {
		h.mustRun(exitDone, exitDone, "export", "-o", out, "--identified")
	}
	text = readFile(h.t, filepath.Join(out, typ+".ndjson"))
	for line := range strings.Lines(text) {
		var r resource
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, r)
	}
	return list, text
}

// keys answers, for each resource of a type, its key in the old system: by `Type/id`.
func (h *hospital) keys(typ, system string) map[string]string {
	h.t.Helper()
	out := map[string]string{}
	list, _ := h.exported(typ)
	for _, r := range list {
		key := r.identifier(system)
		if key == "" {
			h.t.Fatalf("a %s without its old key", typ)
		}
		out[typ+"/"+r.ID] = key
	}
	if len(out) != len(list) {
		h.t.Errorf("%d resources %s have %d ids", len(list), typ, len(out))
	}
	return out
}

const valueText = `CAST\(N'([^']*)' AS \w+\)|N?'((?:[^']|'')*)'|"([^"]*)"|(NULL)|([-0-9.]+)`

var (
	insertForm = regexp.MustCompile("(?is)INSERT (?:INTO )?(?:\\[dbo\\]\\.)?[\\[`]?(\\w+)[\\]`]?\\s*\\(([^)]*)\\)\\s*VALUES\\s*\\(((?:" + valueText + "|[\\s,])*)\\)")
	valueForm  = regexp.MustCompile("(?i)" + valueText)
)

// inserted reads the rows of a table out of INSERTs that name their columns and have one row each. An empty text and
// NULL are the same to it.
func inserted(t *testing.T, dump, table string) (rows []map[string]string) {
	t.Helper()
	for _, m := range insertForm.FindAllStringSubmatch(dump, -1) {
		if m[1] != table {
			continue
		}
		columns := strings.Split(m[2], ",")
		values := valueForm.FindAllStringSubmatch(m[3], -1)
		if len(columns) != len(values) {
			t.Fatalf("an INSERT of %s has %d columns and %d values", table, len(columns), len(values))
		}
		row := map[string]string{}
		for i, c := range columns {
			v := values[i]
			row[strings.Trim(c, " \t\r\n[]`")] = strings.ReplaceAll(v[1]+v[2]+v[3]+v[5], "''", "'")
		}
		rows = append(rows, row)
	}
	return rows
}

func unzipped(t *testing.T, path string) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader([]byte(readFile(t, path))))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const openemrSystem = "https://github.com/chartlift/chartlift/openemr/"

// The example patients of OpenEMR, with its own schema and code lists: nothing but patients and a clinic.
func TestOpenEMRPatients(t *testing.T) {
	schema := sharedtest.Path(t, "data", "openemr", "database.sql.gz")
	data := sharedtest.Path(t, "data", "openemr", "example_patient_data.sql.gz")
	h := legacy(t, "openemr", "mysql", "openemr", schema, data)
	// Twelve patients name a provider whom no dump has.
	first := h.summary(exitReview, exitReview, "run", "--json")
	if diff := cmp.Diff(map[string]int64{"Patient": 14, "Organization": 1}, first.loadedAll(t)); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	h.conforms("patient: identifier[0].type: binding", "patient: identifier[2].type: binding")
	h.mustRun(exitDone, exitReview, "report", "-o", filepath.Join(h.dir, "report"))
	var report struct {
		Refusals, Findings []struct{ Column, Rule, Severity string }
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(h.dir, "report", "report.json"))), &report); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for _, f := range report.Findings {
		switch {
		case f.Severity == "notice":
		case f.Rule == "dropped-reference" && f.Column == "Patient.generalPractitioner":
			dropped++
		default:
			t.Errorf("another finding: %+v", f)
		}
	}
	rows := inserted(t, unzipped(t, data), "patient_data")
	if named := countIf(rows, func(r map[string]string) bool { return r["providerID"] != "" }); len(rows) != 14 || dropped != named {
		t.Errorf("%d patients, of whom %d name a provider; %d dropped references", len(rows), named, dropped)
	}
	title := map[string]string{}
	for _, o := range inserted(t, unzipped(t, schema), "list_options") {
		title[o["list_id"]+" "+strings.ToLower(o["option_id"])] = o["title"]
	}
	patients, text := h.exported("Patient")
	if strings.Contains(text, "0000-") {
		t.Error("a zero date came out")
	}
	byKey := map[string]resource{}
	for _, p := range patients {
		byKey[p.identifier(openemrSystem+"pid")] = p
	}
	for _, row := range rows {
		p, ok := byKey[row["pid"]]
		if !ok {
			t.Fatalf("one of the patients did not come out")
		}
		language := ""
		if len(p.Communication) == 1 {
			language = p.Communication[0].Language.Text
		}
		got := map[string]string{"sex": p.Gender, "ss": p.identifier("http://hl7.org/fhir/sid/us-ssn"), "DOB": p.BirthDate,
			"pubpid": p.identifier(openemrSystem + "pubpid"), "status": p.MaritalStatus.Text, "language": language}
		want := map[string]string{"sex": strings.ToLower(title["sex "+strings.ToLower(row["sex"])]), "ss": row["ss"], "DOB": row["DOB"],
			"pubpid": row["pubpid"], "status": title["marital "+row["status"]], "language": title["language "+row["language"]]}
		for column, w := range want {
			if got[column] != w {
				t.Errorf("the patient with pid %s: %s is not what the dump says", row["pid"], column)
			}
			if row[column] != "" && w == "" {
				t.Errorf("the list of %s has no title for what pid %s has", column, row["pid"])
			}
		}
		if (row["status"] != "") != (len(p.MaritalStatus.Coding) == 1) {
			t.Errorf("the patient with pid %s: a marital status without a code", row["pid"])
		}
	}
	second := h.summary(exitReview, exitReview, "run", "--json")
	for typ, r := range second.Resources {
		if r.Loaded != 0 || r.Unchanged != first.Resources[typ].Loaded {
			t.Errorf("second run, %s: loaded %d, unchanged %d", typ, r.Loaded, r.Unchanged)
		}
	}
}

// The same with rows of ours in the clinical tables: whose they are, zero dates, deleted forms, lists and codes.
func TestOpenEMRClinical(t *testing.T) {
	ours, err := filepath.Abs(filepath.Join("testdata", "openemr", "clinical.sql"))
	if err != nil {
		t.Fatal(err)
	}
	h := legacy(t, "openemr", "mysql", "openemr", sharedtest.Path(t, "data", "openemr", "database.sql.gz"),
		sharedtest.Path(t, "data", "openemr", "example_patient_data.sql.gz"), ours)
	got := h.summary(exitDone, exitDone, "run", "--json")
	want := map[string]int64{"Patient": 14, "Organization": 1, "Practitioner": 3, "Encounter": 2, "Condition": 2, "AllergyIntolerance": 1,
		"MedicationStatement": 1, "Procedure": 1, "MedicationRequest": 2, "Immunization": 2, "Observation": 6, "ServiceRequest": 1, "DiagnosticReport": 1}
	if diff := cmp.Diff(want, got.loadedAll(t)); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	for table, rule := range map[string]string{"form_encounter": "deleted visit", "form_vitals": "deleted form", "procedure_order_code": "deleted order", "procedure_report": "deleted order"} {
		if diff := cmp.Diff(map[string]int64{rule: 1}, got.Tables[table].Skipped); diff != "" {
			t.Errorf("rows of %s that were skipped (-want +got):\n%s", table, diff)
		}
	}
	patient, visit, user := h.keys("Patient", openemrSystem+"pid"), h.keys("Encounter", openemrSystem+"encounter"), h.keys("Practitioner", openemrSystem+"user")
	order := h.keys("ServiceRequest", openemrSystem+"order")
	result := map[string]string{} // of laboratories alone: other Observations have no key of their own
	observations, _ := h.exported("Observation")
	for _, o := range observations {
		result["Observation/"+o.ID] = o.identifier(openemrSystem + "result")
	}
	var facts []string
	for typ := range want {
		list, text := h.exported(typ)
		if strings.Contains(text, "0000-") {
			t.Errorf("a zero date came out in %s", typ)
		}
		if typ == "Patient" || typ == "Organization" || typ == "Practitioner" {
			continue
		}
		for _, r := range list {
			fact := fmt.Sprintf("%s of %s", typ, patient[r.Subject.Reference+r.Patient.Reference])
			if r.Encounter.Reference != "" {
				fact += " in " + visit[r.Encounter.Reference]
			}
			if r.Requester.Reference != "" {
				fact += " by " + user[r.Requester.Reference]
			}
			for _, p := range r.Participant {
				fact += " with " + user[p.Individual.Reference]
			}
			for _, c := range slices.Concat(r.Code.Coding, r.VaccineCode.Coding, r.MedicationCodeableConcept.Coding, r.ClinicalStatus.Coding) {
				fact += " " + c.Code
			}
			for _, text := range []string{r.Code.Text, r.MedicationCodeableConcept.Text, r.Status, r.Period.Start, r.AuthoredOn, r.OnsetDateTime,
				r.AbatementDateTime, r.OccurrenceDateTime, r.EffectiveDateTime, r.ValueQuantity.Value.String()} {
				if text != "" {
					fact += " " + text
				}
			}
			for _, o := range r.BasedOn {
				fact += " based on " + order[o.Reference]
			}
			for _, o := range r.Result {
				fact += " of result " + result[o.Reference]
			}
			facts = append(facts, fact)
		}
	}
	slices.Sort(facts)
	if diff := cmp.Diff([]string{
		"AllergyIntolerance of 5 7980 active penicillin",
		"Condition of 1 resolved Cold 2004-01-02",
		"Condition of 5 E11.9 44054006 active Diabetes 2001-02-03",
		"DiagnosticReport of 5 in 101 2345-7 Glucose final 2005-03-01T09:30:00-05:00 based on 1/1 of result 1",
		"Encounter of 1 finished 2005-03-02",
		"Encounter of 5 with 4 finished 2005-03-01T09:00:00-05:00",
		"Immunization of 1 140 completed",
		"Immunization of 5 08 completed 2005-03-01T09:20:00-05:00",
		"MedicationRequest of 1 Ibuprofen stopped 2005-03-02",
		"MedicationRequest of 5 in 101 by 4 6809 Metformin active 2005-03-01",
		"MedicationStatement of 1 1191 Aspirin completed",
		"Observation of 5 in 101 2345-7 Glucose final 2005-03-01T09:30:00-05:00 140",
		"Observation of 5 in 101 29463-7 final 2005-03-01T09:15:00-05:00 150.50",
		"Observation of 5 in 101 8302-2 final 2005-03-01T09:15:00-05:00 65.00",
		"Observation of 5 in 101 8310-5 final 2005-03-01T09:15:00-05:00 98.60",
		"Observation of 5 in 101 85354-9 final 2005-03-01T09:15:00-05:00",
		"Observation of 5 in 101 8867-4 final 2005-03-01T09:15:00-05:00 72.00",
		"Procedure of 1 44950 Appendectomy completed",
		"ServiceRequest of 5 in 101 by 4 2345-7 Glucose completed 2005-03-01 2005-03-01T09:30:00-05:00",
	}, facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

const (
	clinicSystem = "https://clinic.example/"
	ontario      = "https://fhir.infoway-inforoute.ca/NamingSystem/ca-on-patient-hcn"
)

var cardForm = regexp.MustCompile(`^[0-9]{10}[A-Z]{2}$`)

// A SQL Server script of a clinic, whose diagnoses, treatments and medications hang on patients by way of other tables. Its
// mappings were written with no more help than the manual's.
func TestSQLServerClinic(t *testing.T) {
	script := sharedtest.Path(t, "data", "tsql-patients", "Patients.sql")
	h := legacy(t, "clinic", "sqlserver", "./tsql", script)
	// Two patients have one health number, and two medications are taken no times a day.
	got := h.summary(exitReview, exitReview, "run", "--json")
	want := map[string]int64{"Patient": 16, "Condition": 7, "CarePlan": 9, "MedicationRequest": 8, "DeviceRequest": 1}
	if diff := cmp.Diff(want, got.loadedAll(t)); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	h.conforms()
	for table, want := range map[string]int64{"province": 64, "diagnosis": 15, "medication": 15, "patientTreatment": 9, "treatment": 14} {
		if got.Tables[table].Read != want {
			t.Errorf("%s: %d rows read, want %d", table, got.Tables[table].Read, want)
		}
	}
	dump := readFile(t, script)
	index := func(table, key string) map[string]map[string]string {
		out := map[string]map[string]string{}
		for _, row := range inserted(t, dump, table) {
			out[row[key]] = row
		}
		return out
	}
	people, diagnoses, names := index("patient", "patientId"), index("patientDiagnosis", "patientDiagnosisId"), index("diagnosis", "diagnosisId")
	treatments, medications, drugs := index("patientTreatment", "patientTreatmentId"), index("patientMedication", "patientMedicationId"), index("medication", "din")
	if len(people) != 16 || len(diagnoses) != 7 || len(medications) != 9 {
		t.Fatalf("the script has %d patients, %d diagnoses and %d medications", len(people), len(diagnoses), len(medications))
	}
	patient, condition := h.keys("Patient", clinicSystem+"patient"), h.keys("Condition", clinicSystem+"diagnosis-of-patient")
	list, _ := h.exported("Patient")
	for _, p := range list {
		row := people[p.identifier(clinicSystem+"patient")]
		if day, _, _ := strings.Cut(row["dateOfBirth"], "T"); p.BirthDate != day || !strings.HasPrefix(p.Gender, strings.ToLower(row["gender"])) || (row["gender"] == "") != (p.Gender == "") {
			t.Errorf("patient %s: birth date or gender is not what the script says", row["patientId"])
		}
		// A number in the form of a card is one of Ontario, without the card's version; another is none.
		if card := cardForm.MatchString(row["OHIP"]); card && p.identifier(ontario) != row["OHIP"][:10] || !card && p.identifier(ontario) != "" {
			t.Errorf("patient %s: the health number is not what the script says", row["patientId"])
		}
	}
	list, _ = h.exported("Condition")
	for _, c := range list {
		row := diagnoses[c.identifier(clinicSystem+"diagnosis-of-patient")]
		if patient[c.Subject.Reference] != row["patientId"] || c.Code.Text != names[row["diagnosisId"]]["name"] {
			t.Errorf("diagnosis %s has another patient or another name than in the script", row["patientDiagnosisId"])
		}
	}
	plan := h.keys("CarePlan", clinicSystem+"treatment-of-patient")
	list, _ = h.exported("CarePlan")
	for _, c := range list {
		row := treatments[c.identifier(clinicSystem+"treatment-of-patient")]
		diagnosis := diagnoses[row["patientDiagnosisId"]]
		day, _, _ := strings.Cut(row["datePrescribed"], "T")
		if patient[c.Subject.Reference] != diagnosis["patientId"] || c.Created != day || len(c.Addresses) != 1 || condition[c.Addresses[0].Reference] != diagnosis["patientDiagnosisId"] {
			t.Errorf("treatment %s is not what the script says", row["patientTreatmentId"])
		}
	}
	list, _ = h.exported("MedicationRequest")
	for _, m := range list {
		row := medications[m.identifier(clinicSystem+"medication-of-patient")]
		treatment := treatments[row["patientTreatmentId"]]
		diagnosis := diagnoses[treatment["patientDiagnosisId"]]
		day, _, _ := strings.Cut(treatment["datePrescribed"], "T")
		coding := m.MedicationCodeableConcept.Coding
		if patient[m.Subject.Reference] != diagnosis["patientId"] || m.AuthoredOn != day || len(coding) != 1 || coding[0].Code != row["din"] ||
			coding[0].Display != drugs[row["din"]]["name"] || len(m.BasedOn) != 1 || plan[m.BasedOn[0].Reference] != row["patientTreatmentId"] || len(m.ReasonReference) != 1 || condition[m.ReasonReference[0].Reference] != diagnosis["patientDiagnosisId"] {
			t.Errorf("medication %s is not what the script says", row["patientMedicationId"])
		}
	}
}

// Databases without a patient: all is read, nothing is made, and that is no fault.
func TestOpenMRSWithoutPatients(t *testing.T) {
	for _, dump := range []struct{ file, dialect string }{
		{"openmrs-platform.sql.gz", "mysql"}, {"openmrs_2.5.9.sql.gz", "mysql"}, {"openmrs-platform-postgres.sql.gz", "postgres"},
	} {
		t.Run(dump.file, func(t *testing.T) {
			h := legacy(t, "openmrs", dump.dialect, "./openmrs", sharedtest.Path(t, "data", "openmrs", dump.file))
			got := h.summary(exitDone, exitDone, "run", "--json")
			if got.State != "finished" || len(got.loadedAll(t)) != 0 {
				t.Errorf("state %s, resources %v", got.State, got.Resources)
			}
			for _, table := range []string{"patient", "patient_identifier"} {
				if r, ok := got.Tables[table]; !ok || r.Read != 0 {
					t.Errorf("%s: %d rows, in the account: %v", table, r.Read, ok)
				}
			}
			for _, table := range []string{"person", "person_name"} { // the users of the system are persons too
				if r := got.Tables[table]; r.Read == 0 || r.Mapped != 0 || total(r.Refused) != 0 {
					t.Errorf("%s: %+v", table, r)
				}
			}
			for _, g := range got.Gates {
				if !g.Met {
					t.Errorf("gate %s is not met", g.Name)
				}
			}
		})
	}
}

func countIf[T any](list []T, f func(T) bool) (n int) {
	for _, x := range list {
		if f(x) {
			n++
		}
	}
	return n
}
