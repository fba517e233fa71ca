package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// These tests take a clinic's workbook through the command line, by the plans and mappings of testdata/legacy/clinic.

// The resources made of a workbook say what those say that the pack makes of the CSV of the same patients, as far as the
// sheets hold it. No title and no line of totals is a patient, and `check` tells what was left out.
func TestAWorkbookMakesTheResourcesOfItsCSV(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of thousands of resources, of four sources")
	}
	for _, c := range []struct {
		file, plan, set string
		patients        int
		notices         []string // by rule
	}{
		{"clinic-export-59.xlsx", "with-labs.yaml", "synthea-ca-2022", 59,
			[]string{"formulas-without-values", "above-header", "footer", "hidden-column", "filled-down", "sheet-not-read", "sheet-not-read"}},
		{"clinic-export-25.xlsx", "without-labs.yaml", "synthea-ma-2025", 25,
			[]string{"above-header", "end", "hidden-column", "sheet-not-read", "sheet-not-read"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			book, err := os.ReadFile(sharedtest.Path(t, "data", "xlsx-clinic", c.file))
			if err != nil {
				t.Fatal(err)
			}
			h := newClinic(t, c.plan, book)
			h.checkNotices(c.notices)
			a := h.summary(exitDone, exitDone, "dry-run", "--json") // no finding, no refusal
			for name, table := range a.Tables {
				if table.Read == 0 || table.Mapped != table.Read {
					t.Errorf("%s: %+v", name, table)
				}
			}
			h.mustRun(exitDone, exitDone, "export", "-o", filepath.Join(h.dir, "out"), "--identified")

			pack := newSynthea(t, c.set)
			pack.mustRun(exitDone, exitReview, "dry-run", "--json")
			pack.mustRun(exitDone, exitDone, "export", "-o", filepath.Join(pack.dir, "out"), "--identified")
			mine := firstPatients(t, filepath.Join(pack.dir, "export", "csv", "patients.csv"), c.patients)

			got, want := saidBy(t, filepath.Join(h.dir, "out"), nil), saidBy(t, filepath.Join(pack.dir, "out"), mine)
			if n := len(got["Patient"]); n != c.patients {
				t.Errorf("%d patients, want %d", n, c.patients)
			}
			for _, typ := range []string{"Patient", "Encounter", "Condition", "MedicationRequest"} {
				if len(want[typ]) == 0 {
					t.Errorf("the CSV makes no %s", typ)
				}
				if diff := cmp.Diff(want[typ], got[typ]); diff != "" {
					t.Errorf("%s: %d, the CSV makes %d (-CSV +workbook)\n%.2000s", typ, len(got[typ]), len(want[typ]), diff)
				}
				t.Logf("%s: %d", typ, len(got[typ]))
			}
			if c.plan == "with-labs.yaml" {
				compareWideLabs(t, got["Observation"], want["Observation"])
			}
		})
	}
}

// checkNotices: `check` tells what a workbook's sheets hold beside their records, by these rules, and names the file once.
func (h *hospital) checkNotices(want []string) {
	h.t.Helper()
	var checked struct {
		Notices []struct{ Rule, File, Message string }
	}
	if err := json.Unmarshal([]byte(h.mustRun(exitDone, exitDone, "check", "--json")), &checked); err != nil {
		h.t.Fatal(err)
	}
	var got []string
	for _, n := range checked.Notices {
		if n.File != "clinic.xlsx" {
			continue
		}
		got = append(got, n.Rule)
		if strings.Contains(n.Message, n.File) {
			h.t.Errorf("the file is named twice: %s", n.Message)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("notices (-want +got)\n%s", diff)
	}
	if text := h.mustRun(exitDone, exitDone, "check"); slices.Contains(want, "formulas-without-values") && !strings.Contains(text, `notice: clinic.xlsx: sheet "Patients": column "Age"`) {
		h.t.Errorf("the column Age was left out without a word:\n%s", text)
	}
}

// compareWideLabs: each value of the sheet is one of the CSV, and no patient, time and test is missing. The sheet has
// one cell for those three, so of several values it holds one.
func compareWideLabs(t *testing.T, got, want []string) {
	t.Helper()
	tests, values := map[string]bool{}, map[string][]string{}
	split := func(said string) (test, place, value string) {
		f := strings.Split(said, "|") // patient, time, code, text, value, unit
		return f[2] + "|" + f[3], strings.Join(f[:4], "|"), f[4] + "|" + f[5]
	}
	for _, said := range got {
		test, _, _ := split(said)
		tests[test] = true
	}
	for _, said := range want {
		if test, place, value := split(said); tests[test] {
			values[place] = append(values[place], value)
		}
	}
	seen := map[string]bool{}
	for _, said := range got {
		_, place, value := split(said)
		if seen[place] || !slices.Contains(values[place], value) {
			t.Errorf("%s is there twice, or not %s", said, values[place])
		}
		seen[place] = true
	}
	if len(seen) == 0 || len(seen) != len(values) {
		t.Errorf("%d values, the CSV has %d", len(seen), len(values))
	}
	t.Logf("Observation: %d of %d tests", len(got), len(tests))
}

// A run that was cut off does not go on over another workbook, though its name, size and time be the same, and says
// which table it is. Over the one it began with it does.
func TestARunGoesOnOverTheSameWorkbookOnly(t *testing.T) {
	const planted = "UNMISTAKABLE"
	before := makeClinic(t, "Asthma of somebody")
	h := newClinic(t, "without-labs.yaml", before)
	file := filepath.Join(h.dir, "clinic.xlsx")
	at, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	lay := func(book []byte) {
		t.Helper()
		if err := os.WriteFile(file, book, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at.ModTime(), at.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	if e := h.start(t.Context(), "target: after send bundle:2", "run"); !e.killed {
		t.Fatal(e)
	}
	lay(makeClinic(t, planted))
	for range 2 { // the refusal changes nothing
		code, out, faults := h.command("run")
		if code != exitUsage || !strings.Contains(faults, "table clinic/problems") || !strings.Contains(faults, "--accept-change") {
			t.Errorf("exit %d\n%s", code, faults)
		}
		if strings.Contains(out+faults, planted) {
			t.Error("the refusal shows what a cell holds")
		}
	}
	lay(before)
	first := h.summary(exitDone, exitDone, "run", "--json")
	if first.Run != "run-1" || len(first.Resources) != 4 {
		t.Errorf("%s made %d types", first.Run, len(first.Resources))
	}
	for typ, r := range first.Resources {
		if r.Made == 0 || r.Loaded != r.Made || first.Verified[typ].Matched != r.Made {
			t.Errorf("%s: %+v, matched %d", typ, r, first.Verified[typ].Matched)
		}
	}
	lay(makeClinic(t, planted))
	second := h.summary(exitDone, exitDone, "run", "--json") // a new run reads what is there
	if c := second.Resources["Condition"]; c.Loaded != 1 || c.Unchanged != c.Made-1 {
		t.Errorf("one problem changed: %+v", c)
	}
}

// newClinic is a folder with a workbook and one of the plans.
func newClinic(t *testing.T, plan string, book []byte) *hospital {
	t.Helper()
	h := newHospital(t)
	folder := filepath.Join("testdata", "legacy", "clinic")
	h.layPack(filepath.Join(folder, "mappings"), "mappings", "encounter-class", "ethnicity", "gender", "marital", "race", "state")
	h.layPack(filepath.Join(folder, "labs"), "labs", "units")
	h.plan(readFile(t, filepath.Join(folder, plan)))
	if err := os.WriteFile(filepath.Join(h.dir, "clinic.xlsx"), book, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SANDBOX", h.server.URL+"/fhir")
	h.mustRun(exitDone, exitDone, "keys", "init")
	return h
}

// makeClinic writes a workbook of the clinic's kind: 20 patients, each with a visit, a problem and a drug, the first
// problem under the given name.
func makeClinic(t *testing.T, problem string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	row := func(sheet string, n int, cells ...any) {
		if _, err := f.NewSheet(sheet); err != nil {
			t.Fatal(err)
		}
		if err := f.SetSheetRow(sheet, fmt.Sprintf("A%d", n), &cells); err != nil {
			t.Fatal(err)
		}
	}
	row("Patients", 1, "Patient export")
	row("Patients", 4, "Id", "Last name", "First name", "Date of birth", "Date of death", "Sex", "SSN", "Race", "Ethnicity", "Marital", "Address",
		"City", "State", "Zip", "Latitude", "Longitude", "Age")
	row("Visits", 1, "Id", "Start", "Stop", "Patient", "Class", "Code", "Description", "Reason code", "Cost")
	row("Problems", 1, "Patient", "Visit", "Onset", "Resolved", "SNOMED", "Description", "Active?")
	row("Drugs", 1, "Patient", "Prescription", nil, nil, "Reason")
	row("Drugs", 2, nil, "Start", "Stop", "RxNorm", "Code", "Text")
	if err := f.MergeCell("Drugs", "B1", "D1"); err != nil {
		t.Fatal(err)
	}
	if err := f.MergeCell("Drugs", "E1", "F1"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		patient, visit := fmt.Sprintf("p%d", i), fmt.Sprintf("v%d", i)
		row("Patients", 5+i, patient, "Doe", "Jo", "1970-01-02", nil, "F", "999-00-0000", "white", "nonhispanic", "M", "1 Street", "Here",
			"Massachusetts", "02180", 42.5, -71.5, 50)
		row("Visits", 2+i, visit, "2020-01-02T03:04:05", "2020-01-02T04:04:05", patient, "wellness", "410620009", "A visit", nil, 1.5)
		row("Problems", 2+i, patient, visit, "2020-01-02", nil, "195967001", problem, true)
		row("Drugs", 3+i, patient, "2020-01-02T03:04:05", nil, "198405", "195967001", "Asthma")
		problem = "Asthma"
	}
	row("Patients", 26, "Total patients:", 20)
	if err := f.DeleteSheet("Sheet1"); err != nil {
		t.Fatal(err)
	}
	out, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// firstPatients are the ids of the first patients of a CSV file.
func firstPatients(t *testing.T, file string, n int) map[string]bool {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(readFile(t, file))).ReadAll()
	if err != nil || len(lines) <= n {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	out := map[string]bool{}
	for _, line := range lines[1 : n+1] {
		out[line[slices.Index(lines[0], "Id")]] = true
	}
	return out
}

// saidBy is what the resources of an export say, each as one line, sorted, by type, of the patients given (nil: all).
// Only what the sheets of the clinic hold is looked at. Numbers are compared by value, coordinates as far as both
// writers printed their digits. An Observation with components is one line for each.
func saidBy(t *testing.T, dir string, patients map[string]bool) map[string][]string {
	t.Helper()
	all := readExport(t, dir)
	synthea := func(r map[string]any) string {
		for _, id := range entriesOf(r["identifier"]) {
			if textAt(id, "system") == "https://github.com/synthetichealth/synthea" {
				return textAt(id, "value")
			}
		}
		return ""
	}
	of := func(reference string) string { return synthea(all[reference]) }
	out := map[string][]string{}
	for _, r := range all {
		typ := textAt(r, "resourceType")
		patient := of(textAt(r, "subject", "reference"))
		if typ == "Patient" {
			patient = synthea(r)
		}
		if patient == "" || patients != nil && !patients[patient] {
			continue
		}
		say := func(parts ...string) {
			out[typ] = append(out[typ], strings.Join(append([]string{patient}, parts...), "|"))
		}
		switch typ {
		case "Patient":
			ssn := ""
			for _, id := range entriesOf(r["identifier"]) {
				if textAt(id, "system") == "http://hl7.org/fhir/sid/us-ssn" {
					ssn = textAt(id, "value")
				}
			}
			race := map[string]string{}
			for _, e := range entriesOf(r["extension"]) {
				race[textAt(e, "url")] = textAt(e, "extension", "valueCoding", "code") + textAt(e, "extension", "valueString")
			}
			var place []string
			for _, e := range entriesOf(r["address"].([]any)[0].(map[string]any)["extension"]) {
				for _, x := range entriesOf(e.(map[string]any)["extension"]) {
					place = append(place, number10(t, textAt(x, "valueDecimal")))
				}
			}
			say(textAt(r, "birthDate"), textAt(r, "deceasedDateTime"), textAt(r, "gender"), textAt(r, "name", "family"), textAt(r, "name", "given"), ssn,
				race["http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"],
				race["http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity"],
				textAt(r, "maritalStatus", "coding", "code"), textAt(r, "address", "line"), textAt(r, "address", "city"), textAt(r, "address", "state"),
				textAt(r, "address", "postalCode"), strings.Join(place, " "))
		case "Encounter":
			say(synthea(r), textAt(r, "period", "start"), textAt(r, "period", "end"), textAt(r, "class", "code"), textAt(r, "type", "coding", "code"),
				textAt(r, "type", "text"), textAt(r, "reasonCode", "coding", "code"), textAt(r, "status"))
		case "Condition":
			say(of(textAt(r, "encounter", "reference")), textAt(r, "onsetDateTime"), textAt(r, "abatementDateTime"), textAt(r, "code", "coding", "code"),
				textAt(r, "code", "coding", "system"), textAt(r, "code", "text"), textAt(r, "clinicalStatus", "coding", "code"))
		case "MedicationRequest":
			say(textAt(r, "authoredOn"), textAt(r, "dosageInstruction", "timing", "repeat", "boundsPeriod", "end"), textAt(r, "status"),
				textAt(r, "medicationCodeableConcept", "coding", "code"), textAt(r, "reasonCode", "coding", "code"), textAt(r, "reasonCode", "text"))
		case "Observation":
			parts := entriesOf(r["component"])
			if len(parts) == 0 {
				parts = []any{r}
			}
			for _, x := range parts {
				value := textAt(x, "valueQuantity", "value")
				if value != "" {
					value = number10(t, value)
				}
				say(textAt(r, "effectiveDateTime"), textAt(x, "code", "coding", "code"), textAt(x, "code", "text"), value, textAt(x, "valueQuantity", "unit"))
			}
		}
	}
	for typ := range maps.Keys(out) {
		slices.Sort(out[typ])
	}
	return out
}

// entriesOf is the entries of a list, none if it is not there.
func entriesOf(v any) []any {
	l, _ := v.([]any)
	return l
}

// textAt is the text at a path: in a list the first entry that has it, "" if it is nowhere.
func textAt(v any, path ...string) string {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if text := textAt(x, path...); text != "" {
				return text
			}
		}
	case map[string]any:
		if len(path) > 0 {
			return textAt(v[path[0]], path[1:]...)
		}
	case string:
		if len(path) == 0 {
			return v
		}
	case json.Number:
		if len(path) == 0 {
			return v.String()
		}
	}
	return ""
}

// number10 is a decimal with ten digits behind the point.
func number10(t *testing.T, text string) string {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatal("no decimal")
	}
	return r.FloatString(10)
}
