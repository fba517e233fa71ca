package mapping

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
)

var update = flag.Bool("update", false, "write what came out into the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", path, diff)
	}
}

// patientMapping is what most tests refer to.
const patientMapping = `from: patients
to: Patient
key: [Id]
patient: self
resource:
  identifier: = Id.identifier('urn:example:id')
  name: {family: = LAST}
  birthDate: = BIRTHDATE.date()
`

// tables of the tests.
var testTables = []*extract.Table{
	{Source: "ehr", Name: "patients", Columns: []string{"Id", "LAST", "BIRTHDATE"}},
	{Source: "ehr", Name: "obs", Columns: []string{"PATIENT", "CODE", "DATE", "VALUE", "UNIT", "NOTE"}},
}

func readFiles(t *testing.T, files map[string]string) (*Pack, Faults) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Read(fsys, "pack")
}

// compileFiles reads and compiles a pack, and returns everything that was said about it.
func compileFiles(t *testing.T, files map[string]string) (*Program, []Notice, Faults) {
	t.Helper()
	pack, faults := readFiles(t, files)
	pack.Own = true
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	p, notices, more := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: []byte("0123456789abcdef"),
		Sources: []Source{{Name: "ehr", Zone: zone, Tables: testTables}}})
	return p, notices, append(faults, more...).Sort()
}

// obs is a mapping of the table obs with the given resource lines, indented by two.
func obs(top, resource string) map[string]string {
	return map[string]string{"patient.yaml": patientMapping, "observation.yaml": `from: obs
to: Observation
key: [PATIENT, CODE, DATE]
patient: = ref('patient', PATIENT)
` + top + `resource:
  status: final
  code: = CODE.coding('http://loinc.org').concept()
  subject: = ref('patient', PATIENT)
` + resource + `unused: {DATE: r, VALUE: r, UNIT: r, NOTE: r}
`}
}

// TestTenFaults holds a file with more than ten faults of different kinds; all must be told at once, in their places.
func TestTenFaults(t *testing.T) {
	_, _, faults := compileFiles(t, map[string]string{"patient.yaml": patientMapping, "bad.yaml": `from: obs
to: Observation
key: [PATIENT, CODES, DATE]
patient: = ref('patient', PATIENT)
duplicates: refusing
optinal: [X]
resource:
  status: finall
  code: = CODE.codng('http://loinc.org').concept()
  subject: = ref('pateint', PATIENT)
  encounter: = ref('patient', PATIENT, CODE)
  effectiveDateTime: = DATE
  value: = VALUE
  valueBoolean: = VALUE
  valueQuantity: = VALUEE.quantity(UNIT)
  issued: 2020-13-01
  interpretation: = CODE.translated('nomap')
  categry: {coding: {code: x}}
  component:
    - valueString: = NOTE
`})
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.String() + "\n")
	}
	golden(t, "ten-faults.txt", b.String())
	if len(faults) < 10 {
		t.Errorf("%d faults", len(faults))
	}
}

// TestTraps holds one mapping for each trap of the design, section 5, and of YAML.
func TestTraps(t *testing.T) {
	cases := []struct{ name, top, line, want string }{
		{"empty text", "", "  valueString: = iif(CODE = '', 'a', 'b')\n", "''"},
		{"cell as condition", "", "  valueString: = iif(CODE, 'a', 'b')\n", "observation.yaml:9:22"},
		{"cell before number", "", "  valueBoolean: = VALUE > 5\n", "observation.yaml:9"},
		{"cell plus number", "", "  valueInteger: = VALUE + 5\n", "observation.yaml:9"},
		{"colon", "", "  valueString: = CODE & 'a: b'\n", "a formula that holds `: ` must be quoted"},
		{"hash", "", "  valueString: = CODE & ' # b'\n", "a formula that holds ` #` must be quoted"},
		{"comma in flow", "", "  note: [{text: = iif(CODE ~ 'a', NOTE, 'x')}]\n", "must be quoted"},
		{"alias", "", "  note: [&a {text: x}, *a]\n", "aliases"},
		{"tag", "", "  valueString: !!str x\n", "tags"},
		{"twice", "", "  status: final\n", "twice"},
		{"text for a date", "", "  effectiveDateTime: = DATE\n", ".date()"},
		{"text for a concept", "", "  method: = CODE\n", ".coding('system').concept()"},
		{"coding for a concept", "", "  method: = CODE.coding('http://loinc.org')\n", "add .concept()"},
		{"number for a text", "", "  valueString: = VALUE.decimal()\n", ".toString()"},
		{"boolean literal", "", "  valueBoolean: no\n", "has not its form"},
		{"list for one", "", "  subject: [= ref('patient', PATIENT)]\n", "twice"},
		{"wrong target", "", "  encounter: = ref('patient', PATIENT)\n", "cannot refer to Patient"},
		{"relative system", "", "  method: = CODE.coding('loinc').concept()\n", "absolute URI"},
		{"layout", "", "  effectiveDateTime: = DATE.date('DD.MM.yyyy')\n", "did you mean dd?"},
		{"narrative", "", "  text: {status: generated, div: = NOTE}\n", "cannot be a formula"},
		{"id", "", "  id: x\n", "written by Chartlift"},
		{"rule not Boolean", "skip: {x: = CODE}\n", "", "must be a Boolean"},
		{"profile", "profile: us-core-patient\n", "", "absolute URL"},
		{"with", "with: {notes: {table: x}}\n", "", "does not say on which columns"},
		{"include", "include: [x]\n", "", `there is no fragment "x"`},
		{"allow", "allow empty: {valuString: x}\n", "  valueString: = NOTE\n", `did you mean "valueString"?`},
		{"required", "", "  component: {valueString: = NOTE}\n", "Observation.component.code is required"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, notices, faults := compileFiles(t, obs(c.top, c.line))
			var text []string
			for _, f := range faults {
				text = append(text, f.String())
			}
			for _, n := range notices {
				text = append(text, n.Severity.String()+" "+n.String())
			}
			if all := strings.Join(text, "\n"); !strings.Contains(all, c.want) || len(faults) == 0 {
				t.Errorf("want %q in:\n%s", c.want, all)
			}
		})
	}
}

// TestBlankFinding: a column that may be blank under `=` is a finding, unless a rule refuses blanks.
func TestBlankFinding(t *testing.T) {
	line := "  valueString: = iif(CODE = 'x', 'a', 'b')\n"
	count := func(top string) (n int) {
		_, notices, faults := compileFiles(t, obs(top, line))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		for _, x := range notices {
			if x.Rule == "blank" {
				n++
			}
		}
		return n
	}
	if count("") == 0 {
		t.Error("no finding about the blank")
	}
	if count("refuse: {no code: = CODE.empty()}\n") != 0 {
		t.Error("a finding although blanks are refused")
	}
}

// A literal that is a column's name, or looks like a call, is a finding; in quotes, and where it is a code of a required
// binding, it is meant.
func TestLiteralFinding(t *testing.T) {
	for line, want := range map[string]int{
		"  valueString: NOTE\n":               1,
		"  valueString: NOTE.upper()\n":       1,
		"  method: {text: \"ref('a', B)\"}\n": 0,
		"  method: {text: iif(x)}\n":          1,
		"  valueString: 'NOTE'\n":             0,
		"  valueString: A note (short)\n":     0,
		"  valueString: = NOTE\n":             0,
	} {
		_, notices, faults := compileFiles(t, obs("", line))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		got := 0
		for _, n := range notices {
			if n.Rule == "literal" {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d findings, want %d", strings.TrimSpace(line), got, want)
		}
	}
	files := with(map[string]string{}, "patient.yaml", strings.Replace(patientMapping, "  name:", "  gender: male\n  name:", 1))
	tables := []*extract.Table{{Source: "ehr", Name: "patients", Columns: []string{"Id", "LAST", "BIRTHDATE", "male"}}}
	pack, _ := readFiles(t, files)
	_, notices, _ := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: tables}}})
	for _, n := range notices {
		if n.Rule == "literal" {
			t.Error(n.Fault)
		}
	}
}

func TestCoverage(t *testing.T) {
	files := obs("", "")
	files["observation.yaml"] = strings.Replace(files["observation.yaml"], "VALUE: r, ", "", 1)
	delete(files, "patient.yaml")
	files["patient.yaml"] = strings.Replace(patientMapping, "from: patients", "from: patiens", 1)
	_, notices, faults := compileFiles(t, files)
	if len(faults) != 1 || !strings.Contains(faults[0].String(), `did you mean "patients"?`) {
		t.Errorf("faults: %v", faults)
	}
	found := map[string]bool{}
	for _, n := range notices {
		if n.Severity == IsFinding {
			found[n.Rule+" "+n.Subject] = true
		}
	}
	want := map[string]bool{FindUnusedColumn + " obs.VALUE": true, FindUnusedTable + " patients": true}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestSameTypeFromOneTable(t *testing.T) {
	files := obs("", "")
	files["second.yaml"] = files["observation.yaml"]
	_, _, faults := compileFiles(t, files)
	if len(faults) != 1 || !strings.Contains(faults[0].String(), "both make Observation") {
		t.Error(faults)
	}
	files["second.yaml"] = "ids: second\n" + files["observation.yaml"]
	if _, _, faults = compileFiles(t, files); len(faults) > 0 {
		t.Error(faults)
	}
}
