package workbench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
)

// Values that no concept map knows are written down only if the policy keeps an element that their column feeds, and
// from five patients of the run on, in whichever tables and shards these turn up.
func TestUnmappedValuesThatAreShown(t *testing.T) {
	const five = 5
	s := openSession(t, unmappedHospital(t, "limited-data-set"))
	summary, err := run.Run(t.Context(), s, run.Options{Dry: true})
	if err != nil {
		t.Fatal(err)
	}
	type shown struct {
		Value           string
		Patients, Count int64
	}
	got := map[string][]shown{}
	for _, u := range summary.Unmapped {
		got[u.Map] = append(got[u.Map], shown{u.Value, u.Patients, u.Count})
	}
	want := map[string][]shown{
		"mappings/kept":       {{"WIDE", five + 1, five + 1}, {"", five - 1, five - 1}}, // three patients in one table, three in the other
		"mappings/half":       {{"TWICE", five, 2 * five}},                              // feeds a kept and a sealed element
		"mappings/repeated":   {{"", 3, 2 * 3}},                                         // often, but of three patients
		"mappings/sealed":     {{"", five, five}},                                       // the policy takes the element out
		"mappings/chained":    {{"CHAIN", five, five}},                                  // not of a column itself
		"mappings/rule":       {{"", five, five}},                                       // read by a rule, feeds nothing
		"mappings/mixed":      {{"", five, 2 * five}},                                   // of two columns, of which one is sealed
		"mappings/decided":    {{"EXT", five, five}},                                    // kept by a rule that looks at a literal
		"mappings/undecided":  {{"", five, five}},                                       // the rule looks at what a formula gives
		"mappings/units":      {{"furlong", five, five}},
		"mappings/registered": {{"", five, five}}, // inside what the policy seals as a whole
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unmapped (-want +got):\n%s", diff)
	}
}

// Under a policy that keeps everything the patients alone decide, however a formula is written.
func TestUnmappedValuesOfAPack(t *testing.T) {
	count := func(file string) (n int) {
		summary, err := run.Run(t.Context(), openSession(t, file), run.Options{Dry: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range summary.Unmapped {
			if u.Value != "" {
				n++
			}
		}
		return n
	}
	migration := unmappedHospital(t, "identified")
	if n := count(migration); n != 9 {
		t.Errorf("%d values are shown, want 9: all of five patients whose column feeds an element", n)
	}
	migration = unmappedHospital(t, "identified")
	file := filepath.Join(filepath.Dir(migration), "mappings", "visit.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	odd := strings.Replace(string(text), "KIND.translated('kept')", "KIND . translated(/* which */ 'kept')", 1)
	if odd == string(text) {
		t.Fatal("the formula is not there")
	}
	if err := os.WriteFile(file, []byte(odd), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := count(migration); n != 9 {
		t.Errorf("%d values are shown of a pack with a formula that is written in another way", n)
	}
}

// unmappedHospital is a plan with two tables, so that each has a report of its own, and six patients.
func unmappedHospital(t *testing.T, policy string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("migration.yaml", "migration: unmapped\nsources:\n  ehr: {csv: export/*.csv}\nmappings: [./mappings]\nphi: {policy: "+policy+", delivery: identified}\ntargets:\n  clinical: {sandbox: \"http://127.0.0.1:1/fhir\"}\n")
	write("mappings/patient.yaml", `from: patients
to: Patient
key: [ID]
patient: self
resource:
  extension:
    - url: http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex
      valueCode: = SEX.translate('decided')
  maritalStatus: = STATE.translated('half')
  name: {family: = STATE.translate('half')}
  contact:
    - relationship: = KIN.translated('mixed')
      name: {family: = FRIEND.translate('mixed')}
  identifier: {system: = WHERE.translate('registered')}
`)
	write("mappings/visit.yaml", `from: visits
to: Encounter
key: [ID]
patient: = ref('patient', PATIENT)
find:
  odd: = RULE.translate('rule') ~ 'x'
resource:
  status: finished
  class: {code: AMB}
  subject: = ref('patient', PATIENT)
  type: = KIND.translated('kept')
  serviceType: = SERVICE.trim().translated('chained')
  length: = LONG.quantity(UNIT)
  identifier: {system: = SYSTEM, value: = SEALED.translate('undecided')}
  reasonCode: {text: = SEALED.translate('sealed')}
`)
	write("mappings/fact.yaml", `from: facts
to: Observation
key: [ID]
patient: = ref('patient', PATIENT)
resource:
  status: final
  subject: = ref('patient', PATIENT)
  code: = KIND.translated('kept')
  method: = HOW.translated('repeated')
`)
	for _, name := range []string{"kept", "half", "mixed", "repeated", "sealed", "chained", "rule", "decided", "undecided", "registered", "units"} {
		write("mappings/maps/"+name+".csv", "# unknown: keep\n# system: urn:example:"+name+"\nsource code,target system,target code,display,relationship\nknown,urn:example:known,known,Known,\n")
	}
	var patients, visits, facts strings.Builder
	patients.WriteString("ID,SEX,STATE,KIN,FRIEND,WHERE\n")
	visits.WriteString("ID,PATIENT,KIND,SERVICE,LONG,UNIT,SEALED,SYSTEM,RULE\n")
	facts.WriteString("ID,PATIENT,KIND,HOW\n")
	for i := range 6 {
		all := func(value string) string {
			if i < 5 {
				return value
			}
			return "known"
		}
		fmt.Fprintf(&patients, "p%d,%s,%s,%s,%s,%s\n", i, all("EXT"), all("TWICE"), all("BOTH"), all("BOTH"), all("REG"))
		kind, how := "known", ""
		if i < 3 {
			kind, how = "WIDE", "OFTEN"
		}
		fmt.Fprintf(&visits, "v%d,p%d,%s,%s,1,%s,%s,urn:example:x,%s\n", i, i, kind, all("CHAIN"), all("furlong"), all("HIDDEN"), all("RULED"))
		fact := "WIDE"
		if i < 3 {
			fact = "known"
		}
		fmt.Fprintf(&facts, "f%d,p%d,%s,%s\n", i, i, fact, how)
		fmt.Fprintf(&facts, "g%d,p%d,%s,%s\n", i, i, map[bool]string{true: "FEW", false: "known"}[i < 4], how)
	}
	write("export/patients.csv", patients.String())
	write("export/visits.csv", visits.String())
	write("export/facts.csv", facts.String())
	file := filepath.Join(dir, "migration.yaml")
	if _, err := plan.InitKeys(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return file
}

func openSession(t *testing.T, file string) *plan.Session {
	t.Helper()
	s, err := plan.Open(t.Context(), file, plan.Options{Access: plan.Tables | plan.Keys | plan.Write, Operator: "jo"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
