package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
)

func mustCompile(t testing.TB, files map[string]string) *Program {
	t.Helper()
	p, _, faults := compileFiles(t.(*testing.T), files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

func obsRecord(cells ...string) *extract.Record {
	r := &extract.Record{Table: testTables[1], Cells: make([]string, 6), Line: 7, Ordinal: 6}
	copy(r.Cells, cells)
	return r
}

// run maps one record and returns the resources without id and meta.
func run(t testing.TB, p *Program, r *extract.Record) (out []string, res Result) {
	t.Helper()
	res, err := p.NewWorker().Map(p.Mapping("observation"), r, 1, func(x *Resource) error {
		checkResource(t, x)
		n, _ := fhir.Parse(x.Whole)
		n.Set("id", nil).Set("meta", nil)
		out = append(out, string(n.AppendCanonical(nil)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, res
}

// TestWritten holds the bytes of small mappings in a golden file.
func TestWritten(t *testing.T) {
	cases := []struct{ name, top, line string }{
		{"plain", "", "  effectiveDateTime: = DATE.dateTime('M/d/yyyy HH:mm')\n  valueQuantity: = VALUE.quantity(UNIT)\n"},
		{"literals keep their text", "", "  valueQuantity: {value: 1.50, unit: no, code: 007}\n  note: [{text: ==x}]\n"},
		{"empty objects go", "", "  note: [{text: = NOTE, authorString: someone}]\n  method: {text: fixed}\n"},
		{"repeat", "", "  note:\n    - forEach: = (NOTE | UNIT)\n      text: = $this & ' of ' & CODE\n"},
		{"several values", "", "  category: = (CODE | UNIT).select($this.coding('urn:example:c').concept())\n"},
		{"extension of a primitive", "", "  valueString: = NOTE\n  _valueString: {extension: [{url: 'urn:example:x', valueCode: = UNIT}]}\n"},
		{"profile and meta", "profile: [http://example.org/p]\n", "  meta: {source: 'urn:example:s'}\n"},
		{"forEach", "forEach: = CODE | UNIT\n", "  valueString: = $this\n"},
		{"contained", "", "  contained: [{resourceType: Device, id: d, distinctIdentifier: = UNIT}]\n  device: {reference: '#d'}\n"},
	}
	var b strings.Builder
	for _, c := range cases {
		p := mustCompile(t, obs(c.top, c.line))
		for _, r := range []*extract.Record{obsRecord("p1", "8302-2", "3/9/2024 14:05", "<1.50", "cm", "a \"note\""), obsRecord("p1", "8302-2", " ")} {
			fmt.Fprintf(&b, "== %s\n", c.name)
			res, err := p.NewWorker().Map(p.Mapping("observation"), r, 1, func(x *Resource) error {
				checkResource(t, x)
				fmt.Fprintf(&b, "%s\n", x.Whole)
				for _, ref := range x.Refs {
					fmt.Fprintf(&b, "   %s → %s/%s\n", ref.Path, p.Types[ref.Type], ref.ID)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %s %s\n", res.Outcome, res.Rule, res.Element)
		}
	}
	golden(t, "written.txt", b.String())
}

// TestRefused holds one record for each reason to refuse.
func TestRefused(t *testing.T) {
	cases := []struct {
		code      Code
		top, line string
		record    *extract.Record
	}{
		{RequiredEmpty, "", "", obsRecord("p1", "", "x")},
		{BadDate, "", "  effectiveDateTime: = DATE.date()\n", obsRecord("p", "c", "2023-02-29")},
		{BadDate, "", "  effectiveDateTime: = DATE.date('dd.MM.yyyy')\n", obsRecord("p", "c", "00.00.0000")},
		{AmbiguousDate, "", "  effectiveDateTime: = DATE.date('dd/MM/yyyy', 'MM/dd/yyyy')\n", obsRecord("p", "c", "01/02/2003")},
		{NonexistentTime, "", "  effectiveDateTime: = DATE.dateTime()\n", obsRecord("p", "c", "2024-03-10T02:30:00")},
		{AmbiguousTime, "", "  effectiveDateTime: = DATE.dateTime()\n", obsRecord("p", "c", "2024-11-03T01:30:00")},
		{BadNumber, "", "  valueQuantity: = VALUE.quantity(UNIT)\n", obsRecord("p", "c", "", "1,5", "cm")},
		{BadNumber, "", "  valueQuantity: {value: = VALUE.decimal()}\n", obsRecord("p", "c", "", "N/A")},
		{BadForm, "", "", obsRecord("p", "a  b")},
		{BadEncoding, "", "  valueString: = NOTE\n", obsRecord("p", "c", "", "", "", "a\xffb")},
		{BadForm, "", "  valueString: = NOTE\n", obsRecord("p", "c", "", "", "", "a\x01b")},
		{NotInBinding, "", "  component: {code: {text: x}, valueQuantity: {comparator: = UNIT}}\n", obsRecord("p", "c", "", "", "~")},
		{SeveralChoices, "", "  valueString: = NOTE\n  valueInteger: = VALUE.integer()\n", obsRecord("p", "c", "", "1", "", "x")},
		{TooMany, "", "  valueString: = NOTE | UNIT\n", obsRecord("p", "c", "", "", "a", "b")},
		{BlankKey, "", "", obsRecord("", " ", "\t")},
		{NoPatient, "", "", obsRecord("", "c", "d")},
		{DuplicateItem, "forEach: = CODE.combine(UNIT)\n", "", obsRecord("p", "c", "", "", "c")},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s", i, c.code), func(t *testing.T) {
			p := mustCompile(t, obs(c.top, c.line))
			out, res := run(t, p, c.record)
			if res.Outcome != Refused || res.Rule != string(c.code) || len(out) > 0 {
				t.Errorf("got %s %s at %s %s, %d resources", res.Outcome, res.Rule, res.Column, res.Detail, len(out))
			}
		})
	}
}

// TestRefusedBelongsToItsPatient holds whose a refused record is, wherever on the way it was refused.
func TestRefusedBelongsToItsPatient(t *testing.T) {
	files := obs("skip: {odd: = VALUE.integer() > 9}\nrefuse: {no: = UNIT = 'no'}\n", "  effectiveDateTime: = DATE.date()\n")
	files["patient.yaml"] = strings.Replace(patientMapping, "resource:", "refuse: {test: = LAST = 'ZZTEST'}\nresource:", 1)
	p := mustCompile(t, files)
	of := func(id string) ID {
		id1, ok := p.NewWorker().Key(p.Mapping("patient"), &extract.Record{Table: testTables[0], Cells: []string{id, "", ""}})
		if !ok {
			t.Fatal("no key")
		}
		return id1
	}
	w := p.NewWorker()
	for _, c := range []struct {
		name, mapping string
		record        *extract.Record
		rule          string
		want          ID
	}{
		{"mapped", "observation", obsRecord("p1", "c"), "", ID{}},
		{"in the resource", "observation", obsRecord("p1", "c", "x"), string(BadDate), of("p1")},
		{"by a rule", "observation", obsRecord("p2", "c", "", "", "no"), "no", of("p2")},
		{"by a rule of skip that fails", "observation", obsRecord("p3", "c", "", "x"), string(BadNumber), of("p3")},
		{"without a patient", "observation", obsRecord("", "c"), string(NoPatient), ID{}},
		{"a patient", "patient", &extract.Record{Table: testTables[0], Cells: []string{"p4", "ZZTEST", ""}}, "test", of("p4")},
		{"a patient without a key", "patient", &extract.Record{Table: testTables[0], Cells: []string{"", "x", ""}}, string(BlankKey), ID{}},
	} {
		res, err := w.Map(p.Mapping(c.mapping), c.record, 1, func(r *Resource) error {
			if r.PatientID != of("p1") {
				t.Errorf("%s: the resource is another patient's", c.name)
			}
			return nil
		})
		if err != nil || res.Rule != c.rule || res.PatientID != c.want {
			t.Errorf("%s: %s, the right patient: %t, %v", c.name, res.Rule, res.PatientID == c.want, err)
		}
	}
}

func TestRules(t *testing.T) {
	p := mustCompile(t, obs("skip: {test: = PATIENT.startsWith('ZZ')}\nrefuse: {no value: = VALUE.empty()}\nfind: {long: = NOTE.length() > 3}\n", ""))
	for _, c := range []struct {
		record *extract.Record
		want   string
	}{
		{obsRecord("ZZ1", "c"), "skipped test []"},
		{obsRecord("p", "c"), "refused no value []"},
		{obsRecord("p", "c", "", "1", "", "four"), "mapped  [{long NOTE}]"},
		{obsRecord("p", "c", "", "1", "", ""), "mapped  []"},
	} {
		_, res := run(t, p, c.record)
		if got := fmt.Sprintf("%s %s %v", res.Outcome, res.Rule, res.Findings); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestUnknownCodes(t *testing.T) {
	for unknown, want := range map[string]string{
		"refuse": "refused unmapped-code []",
		"text":   `mapped  [{unmapped-code CODE}] {"text":"zz"}`,
		"keep":   `mapped  [{unmapped-code CODE}] {"coding":[{"code":"zz","system":"urn:example:own"}]}`,
	} {
		files := obs("", "  method: = CODE.translated('codes')\n")
		files["maps/codes.csv"] = "# system: urn:example:own\n# unknown: " + unknown + "\nsource code,target system,target code,display,relationship\na,http://loinc.org,1-1,One,\n"
		p := mustCompile(t, files)
		w := p.NewWorker()
		got := ""
		res, err := w.Map(p.Mapping("observation"), obsRecord("p", "zz"), 1, func(r *Resource) error {
			n, _ := fhir.Parse(r.Whole)
			got = " " + string(n.Get("method").AppendCanonical(nil))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got = fmt.Sprintf("%s %s %v", res.Outcome, res.Rule, res.Findings) + got; got != want {
			t.Errorf("%s: got %q, want %q", unknown, got, want)
		}
		_, unmapped := w.TakeCounters()
		if len(unmapped) != 1 || unmapped[0].Count != 1 || unmapped[0].Patients != 1 || unmapped[0].Value != "zz" {
			t.Errorf("%s: counted %v", unknown, unmapped)
		}
		if s := fmt.Sprintf("%v %+v %#v", unmapped[0], unmapped[0], unmapped[0]); strings.Contains(s, "zz") {
			t.Error("the value prints: " + s)
		}
		if _, again := w.TakeCounters(); len(again) != 0 {
			t.Error("counters were not reset")
		}
		if _, total := p.Counters(); len(total) != 1 {
			t.Error("the program forgot")
		}
	}
}

func TestWroteNothing(t *testing.T) {
	line := "  valueString: = iif(UNIT.exists(), NOTE)\n"
	for top, want := range map[string]string{"": "", "allow empty: {valueString: only with a unit}\n": "only with a unit"} {
		p := mustCompile(t, obs(top, line))
		w := p.NewWorker()
		for _, r := range []*extract.Record{obsRecord("p", "c", "", "", "", "x"), obsRecord("p", "c", "", "", "u", "x"), obsRecord("p", "c")} {
			if _, err := w.Map(p.Mapping("observation"), r, 1, func(*Resource) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		formulas, _ := w.TakeCounters()
		for _, f := range formulas {
			if f.Path == "valueString" && (f.Reads != 2 || f.Writes != 1 || f.Empties != 1 || f.Reason != want) {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestGroup(t *testing.T) {
	files := map[string]string{"patient.yaml": patientMapping, "observation.yaml": `from: obs
to: Observation
group by: [PATIENT, DATE]
patient: = ref('patient', PATIENT)
skip: {other: = (CODE in ('8480-6' | '8462-4')).not()}
resource:
  status: final
  code: {coding: {system: 'http://loinc.org', code: 85354-9}}
  subject: = ref('patient', PATIENT)
  component:
    - forEach: = rows.where(CODE ~ '8480-6')
      code: = CODE.coding('http://loinc.org').concept()
      valueQuantity: = VALUE.quantity(UNIT)
    - forEach: = rows.where(CODE ~ '8462-4')
      code: = CODE.coding('http://loinc.org').concept()
      valueQuantity: = VALUE.quantity(UNIT)
unused: {NOTE: r}
`, "observation.cases.yaml": `- name: both
  rows:
    - {PATIENT: p, DATE: d, CODE: 8462-4, VALUE: 80.0, UNIT: mm}
    - {PATIENT: p, DATE: d, CODE: 8480-6, VALUE: 120, UNIT: mm}
  want:
    - status: final
      code: {coding: [{system: 'http://loinc.org', code: 85354-9}]}
      subject: ref:patient(p)
      component:
        - {code: {coding: [{system: 'http://loinc.org', code: 8480-6}]}, valueQuantity: {value: 120, unit: mm}}
        - {code: {coding: [{system: 'http://loinc.org', code: 8462-4}]}, valueQuantity: {value: 80.0, unit: mm}}
- name: another code
  rows: [{PATIENT: p, CODE: x}]
  skipped: other
- name: planted difference
  rows: [{PATIENT: p, DATE: d, CODE: 8480-6, VALUE: 1}]
  want:
    - {status: amended, code: {coding: {system: 'http://loinc.org', code: 85354-9}}, subject: 'ref:patient(q)', component: {code: {coding: {system: 'http://loinc.org', code: 8480-6}}, valueQuantity: {value: 1.0}}}
`}
	pack, faults := readFiles(t, files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	ran, err := RunCases([]*Pack{pack}, CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range ran.Results {
		fmt.Fprintf(&b, "%s %s: %s\n", r.Place, r.Case, r.Difference)
	}
	want := `pack/observation.cases.yaml:1 both: 
pack/observation.cases.yaml:12 another code: 
pack/observation.cases.yaml:15 planted difference: component[0].valueQuantity.value: want 1.0, got 1
status: want "amended", got "final"
subject.reference: want ref:patient(q), got ref:patient(p)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestIDs pins the ids of a key: a change here would make every target's resources strangers.
func TestIDs(t *testing.T) {
	p := mustCompile(t, obs("duplicates: number\n", ""))
	m := p.Mapping("observation")
	ids := map[string]bool{}
	w := p.NewWorker()
	for ordinal := range 4 {
		res, err := w.Map(m, obsRecord("p", "c", "d"), ordinal, func(r *Resource) error {
			ids[r.Resource.ID] = true
			if got, ok := ParseID(r.Resource.ID); !ok || got != r.ID || !fhir.ValidID(r.Resource.ID) {
				t.Error("id", r.Resource.ID)
			}
			return nil
		})
		if err != nil || res.Outcome != Mapped {
			t.Fatal(res, err)
		}
	}
	if len(ids) != 3 { // 0 and 1 are the first
		t.Errorf("%d ids", len(ids))
	}
	key, ok := w.Key(m, obsRecord("p", "c", "d"))
	const pinned = "vizfgcbzi3yw7rzbf37allip3cp5hjbi"
	if !ok || key.String() != pinned {
		t.Errorf("the id changed: %s", key)
	}
	for _, other := range []*extract.Record{obsRecord("pc", "", "d"), obsRecord("", "pc", "d"), obsRecord("p", "cd", "")} {
		if k, _ := w.Key(m, other); k == key {
			t.Error("two keys, one id")
		}
	}
}

func TestEmitError(t *testing.T) {
	p := mustCompile(t, obs("", ""))
	stop := errors.New("full")
	if _, err := p.NewWorker().Map(p.Mapping("observation"), obsRecord("p", "c"), 1, func(*Resource) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestAnyCells: whatever the cells hold, the outcome is one of three, what is written is canonical JSON, a used worker
// writes the same bytes as a fresh one, cuts are in order and equal the policy's generic path, and no result holds a value.
func TestAnyCells(t *testing.T) {
	seal, _, policy := sealer(t, "limited-data-set")
	pack, faults := readFiles(t, obs("optional: [MORE]\nduplicates: number\n", `  effectiveDateTime: = DATE.dateTime()
  valueQuantity: = VALUE.quantity(UNIT)
  note: [{text: = NOTE, authorString: = UNIT}, {text: fixed}]
  identifier: [{system: 'urn:example:a', value: = UNIT}, {system: = NOTE, value: x}]
  extension: [{url: 'urn:example:x', valueString: = NOTE}]
  method: {text: = NOTE, coding: [{system: 'urn:example:s', code: = CODE, display: = NOTE}]}
  contained: [{resourceType: Device, id: d, distinctIdentifier: = UNIT, note: {text: = NOTE}}]
`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	p, _, faults := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Policy: policy, Sources: []Source{{Name: "ehr", Tables: testTables}}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	m := p.Mapping("observation")
	used := p.NewWorker()
	mapped := 0
	rapid.Check(t, func(rt *rapid.T) {
		cell := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " ", "a", "urn:example:b", "2024-01-01", "2024-01-01T10:00:00Z", "1.50", "<2", "é\u0301\"\\"}))
		cells := rapid.SliceOfN(cell, 6, 6).Draw(rt, "cells")
		r := obsRecord(cells...)
		ordinal := rapid.IntRange(1, 3).Draw(rt, "ordinal")
		one := func(w *Worker) (out []string, res Result) {
			res, err := w.Map(m, r, ordinal, func(x *Resource) error {
				checkResource(t, x)
				checkCuts(t, x, seal)
				out = append(out, string(x.Whole)+fmt.Sprint(len(x.Cuts), x.Mark, x.Refs))
				mapped++
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
			return out, res
		}
		a, resA := one(used)
		b, resB := one(p.NewWorker())
		if diff := cmp.Diff(a, b); diff != "" || resA.Outcome != resB.Outcome || resA.Rule != resB.Rule {
			rt.Fatal("a used worker differs from a fresh one")
		}
		if resA.Outcome == Refused && !strings.Contains(fmt.Sprint(Codes()), resA.Rule) {
			rt.Fatalf("the code %q is not in the list", resA.Rule)
		}
		if text, _ := json.Marshal(resA); len(cells[5]) > 3 && strings.Contains(string(text), cells[5]) && !strings.Contains("note.text identifier.system extension.valueString", cells[5]) {
			rt.Fatal("a result holds a value")
		}
	})
	if mapped == 0 && !testing.Short() { // twenty draws may all be refused
		t.Error("nothing was mapped")
	}
}

// TestReferencesRule: `references:` decides per element.
func TestReferencesRule(t *testing.T) {
	p := mustCompile(t, obs("references: {subject: drop}\n", "  performer: = ref('patient', PATIENT)\n"))
	_, err := p.NewWorker().Map(p.Mapping("observation"), obsRecord("p", "c"), 1, func(r *Resource) error {
		got := map[string]bool{}
		for _, ref := range r.Refs {
			got[ref.Path] = ref.Drop
		}
		if diff := cmp.Diff(map[string]bool{"performer": false, "subject": true}, got); diff != "" {
			t.Error(diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConditionAndEval(t *testing.T) {
	p := mustCompile(t, obs("", ""))
	m := p.Mapping("observation")
	c, faults := p.Condition(m, "NOTE = 'Riverside'")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	w := p.NewWorker()
	for note, want := range map[string]bool{"Riverside": true, "": false, "x": false} {
		if got, err := w.Test(c, obsRecord("p", "c", "", "", "", note)); err != nil || got != want {
			t.Errorf("%q: %v %v", note, got, err)
		}
	}
	if _, faults = p.Condition(m, "NOTEE = 'x'"); len(faults) != 1 || faults[0].Column != 1 {
		t.Error(faults)
	}
	values, err := evalOne(p, obsRecord("p", "c", "2024-01-02"), "= DATE.date()")
	if err != nil || len(values) != 1 || values[0].Text() != "2024-01-02" {
		t.Error(len(values), err)
	}
	if _, err := evalOne(p, obsRecord(), "DATEE"); err == nil {
		t.Error("an unknown name was let through")
	}
}

// BenchmarkObservation maps a record like those of Synthea's observations.csv.
func BenchmarkObservation(b *testing.B) {
	pack := shippedPack(b)
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		b.Fatal(err)
	}
	table := &extract.Table{Source: "ehr", Name: "observations", Columns: strings.Split("DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE", ",")}
	p, _, faults := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Policy: policy, Sources: []Source{{Name: "ehr", Tables: []*extract.Table{table}}}})
	if len(faults) > 0 {
		b.Fatal(faults)
	}
	m := p.Mapping("observation")
	w := p.NewWorker()
	rnd := rand.New(rand.NewSource(1))
	var records []*extract.Record
	for i := range 10_000 {
		patient := fmt.Sprintf("593aaa05-d864-1df7-5b96-%012d", i/400)
		cells := []string{fmt.Sprintf("2021-08-%02dT03:26:50Z", 1+i/20%28), patient, fmt.Sprintf("33dc326d-4b64-921b-4afe-%012d", i/12),
			"vital-signs", fmt.Sprintf("%d-2", 1000+i%12), "Body Height", fmt.Sprintf("%.1f", rnd.Float64()*100), "cm", "numeric"}
		records = append(records, &extract.Record{Table: table, Cells: cells, Line: int64(i + 2), Ordinal: int64(i + 1)})
	}
	size := 0
	emit := func(r *Resource) error { size += len(r.Whole); return nil }
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		res, err := w.Map(m, records[i%len(records)], 1, emit)
		if err != nil || res.Outcome != Mapped {
			b.Fatal(res.Rule, res.Column, err)
		}
	}
	b.ReportMetric(float64(size)/float64(b.N), "bytes/record")
}

// evalOne evaluates an expression over one record.
func evalOne(p *Program, r *extract.Record, expression string) ([]fhirpath.Value, error) {
	e, _, faults := p.Evaluator(r.Table, strings.TrimPrefix(expression, "="))
	if len(faults) > 0 {
		return nil, faults
	}
	return e.Run(r)
}
