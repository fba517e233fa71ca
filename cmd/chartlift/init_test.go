package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// command runs the program in this process.
func command(args ...string) (code int, stdout, stderr string) {
	var out, faults bytes.Buffer
	code = chartlift(context.Background(), args, strings.NewReader(""), &out, &faults)
	return code, out.String(), faults.String()
}

// draftChecks makes a draft from a folder and says what is wrong with it: it must check without a fault.
func draftChecks(dir, from string) error {
	if code, _, faults := command("init", dir, "--from", from); code != exitDone {
		return fmt.Errorf("init: exit %d\n%s", code, faults)
	}
	if code, out, faults := command("check", "-f", filepath.Join(dir, "migration.yaml")); code != exitDone && code != exitReview {
		return fmt.Errorf("check: exit %d\n%s%s", code, out, faults)
	}
	return nil
}

// rehearse runs a draft dry: every record is accounted for, and each of those types was made.
func rehearse(t *testing.T, dir string, types ...string) {
	t.Helper()
	plan := filepath.Join(dir, "migration.yaml")
	if code, _, faults := command("keys", "init", "-f", plan); code != exitDone {
		t.Fatalf("keys init: exit %d\n%s", code, faults)
	}
	code, out, faults := command("dry-run", "-f", plan)
	if code != exitDone && code != exitReview {
		t.Fatalf("dry-run: exit %d\n%s", code, faults)
	}
	_, made, found := strings.Cut(out, "\nResources")
	if !found {
		t.Fatalf("no account of resources:\n%s", out)
	}
	for _, typ := range types {
		if !strings.Contains(made, "\n  "+typ+" ") {
			t.Errorf("no %s was made:\n%s", typ, out)
		}
	}
}

func TestInitFromTheDemoHospital(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "old"), fixtures.Riverside()); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(dir, "new")
	if err := draftChecks(plan, filepath.Join(dir, "old", "export")); err != nil {
		t.Fatal(err)
	}
	rehearse(t, plan, "Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "AllergyIntolerance", "Immunization", "Practitioner", "Organization")
}

func TestInitFromSynthea(t *testing.T) {
	archive := sharedtest.Path(t, "data", "synthea-ca-2022", "csv.tar.gz")
	dir := t.TempDir()
	unpack(t, archive, filepath.Join(dir, "export"))
	plan := filepath.Join(dir, "new")
	if err := draftChecks(plan, filepath.Join(dir, "export", "csv")); err != nil {
		t.Fatal(err)
	}
	rehearse(t, plan, "Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "AllergyIntolerance", "Immunization", "Procedure", "Practitioner", "Organization")
}

// Whatever tables and columns are called and whatever is in them, the draft checks without a fault, and holds no value
// that few patients have.
func TestEveryDraftChecks(t *testing.T) {
	root := t.TempDir()
	n := 0
	tables := []string{"patients", "Visits", "lab results", "allergies", "doctors", "problems", "vaccines", "prescriptions", "surgeries", "departments", "null", "2024"}
	words := []string{"MRN", "id", "name", "last", "first name", "sex", "dob", "start", "end", "code", "value", "unit", "and", "day", "yes", "null", "no", "~", "a: b", "#x", "it's", "`tick`",
		`back\slash`, `quo"te`, "{brace", "[", "ü ß", "-", "= 1", "%", "start date", "test", "description", "VISIT_ID", "class", "lot", "x.y", "*", "&a", "!t", "true", "1a", "\ttab"}
	cells := []string{"", "x", "M", "F", "01/02/2020", "13/02/2020", "2020-01-31", "2020-01-31 10:00", "2020-01-31T10:00:00Z", "31-JAN-20", "12/31/99 1:05 PM", "Jan 2, 2026", "20200131", "1.5", "<3", "N/A", "p1", "p2"}
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(root, fmt.Sprint(n))
		if err := os.MkdirAll(filepath.Join(dir, "in"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, table := range rapid.SliceOfNDistinct(rapid.SampledFrom(tables), 1, 5, rapid.ID).Draw(t, "tables") {
			columns := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 2, 12, rapid.ID).Draw(t, "columns of "+table)
			cell := rapid.SampledFrom(cells)
			var b strings.Builder
			write := func(cells []string) {
				for i, c := range cells {
					if i > 0 {
						b.WriteByte(',')
					}
					b.WriteString(`"` + strings.ReplaceAll(c, `"`, `""`) + `"`)
				}
				b.WriteByte('\n')
			}
			write(columns)
			for i := range rapid.IntRange(0, 12).Draw(t, "rows of "+table) {
				row := rapid.SliceOfN(cell, len(columns), len(columns)).Draw(t, "row")
				row[0] = fmt.Sprintf("k%d", i)
				write(row)
			}
			if err := os.WriteFile(filepath.Join(dir, "in", table+".csv"), []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := draftChecks(filepath.Join(dir, "out"), filepath.Join(dir, "in")); err != nil {
			t.Fatal(err)
		}
	})
}

// What few patients have does not come into a draft, whatever the table looks like.
func TestADraftHoldsNoPatientData(t *testing.T) {
	dir := t.TempDir()
	var patients, visits strings.Builder
	patients.WriteString("MRN,LAST_NAME,FIRST_NAME,SEX,DOB,STREET,PHONE,REMARK\n")
	visits.WriteString("VISIT,MRN,KIND,REASON\n")
	for i := range 20 {
		sex := "F"
		if i < 3 {
			sex = "Quirkysex"
		}
		fmt.Fprintf(&patients, "QXM%03d,Zzyzxton,Zzyzxine,%s,05/%02d/1961,%d Zzyzx Row,312-555-01%02d,Zzyzx was here\n", i, sex, 1+i, i, i)
		fmt.Fprintf(&visits, "QXV%03d,QXM%03d,Zzyzxkind%d,Zzyzx fell\n", i, i, i%6)
	}
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"patients": patients.String(), "visits": visits.String()} {
		if err := os.WriteFile(filepath.Join(dir, "in", name+".csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := draftChecks(filepath.Join(dir, "out"), filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	searched := 0
	err := filepath.WalkDir(filepath.Join(dir, "out"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		searched++
		text := readFile(t, path)
		for _, secret := range []string{"Zzyzx", "Quirky", "QXM", "QXV", "312-555", "1961"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds what is in the source", filepath.Base(path))
			}
		}
		return nil
	})
	if err != nil || searched < 4 {
		t.Errorf("%d files were searched: %v", searched, err)
	}
}

// A script of SQL Server and a workbook, whose sheets that are no tables are named.
func TestInitFromADumpAndAWorkbook(t *testing.T) {
	dump := sharedtest.Path(t, "data", "tsql-patients", "Patients.sql")
	plan := filepath.Join(t.TempDir(), "new")
	if err := draftChecks(plan, dump); err != nil {
		t.Fatal(err)
	}
	rehearse(t, plan, "Patient")
	book := sharedtest.Path(t, "data", "xlsx-clinic", "clinic-export-59.xlsx")
	code, out, faults := command("profile", book)
	if code != exitDone || !strings.Contains(out, "\nVisits  ") || !strings.Contains(out, `notice: legacy: `) || !strings.Contains(out, `sheet "Patients": it has no usable header`) {
		t.Errorf("exit %d\n%s%s", code, out, faults)
	}
}
