package mapping

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
)

// visitPack joins notes to visits and looks a code up.
const visitPack = `
from: visits
to: Encounter
key: [ID]
patient: = ref('person', PATIENT)
with:
  notes: {table: visit_notes, on: {pat: PATIENT, visit: ID}}
resource:
  status: finished
  class: = lookup('codes', 'list', 'class', 'code', CLASS).title.coding('urn:class')
  subject: = ref('person', PATIENT)
  reasonCode:
    - forEach: = notes.where(kind ~ 'public')
      text: = text & ' (' & CLASS & ')'
unused:
  codes.*: the rest of the list
`

const personMapping = `
from: persons
to: Patient
key: [ID]
patient: self
resource:
  gender: = SEX
`

// TestSourceRowHoldsWhatWasLookedUp: the source row that is sealed with a resource holds each row that a formula of its
// record looked up, once and in source order, however formulas and workers came to ask.
func TestSourceRowHoldsWhatWasLookedUp(t *testing.T) {
	tables := visitTables()
	const template = `
from: visits
to: Encounter
key: [ID]
patient: = ref('person', PATIENT)
%s
resource:
  status: finished
  class: = %s
  subject: = ref('person', PATIENT)
unused:
  codes.*: the rest of the list
  visit_notes.*: the rest of the notes
  CLASS: in some of these
`
	const one = `lookup('codes', 'list', 'class', 'code', CLASS).title`
	for _, test := range []struct{ name, more, class, row string }{
		{"one table", "", one + `.coding('urn:class')`,
			`{"ID":"v1","PATIENT":"p1","CLASS":"A","lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":"1"}]}}`},
		{"nothing found", "", `iif(lookup('codes', 'code', 'none').exists(), 'x', 'y').coding('urn:class')`,
			`{"ID":"v1","PATIENT":"p1","CLASS":"A"}`},
		{"two ways to one row, and another table", "", `(lookup('visit_notes', 'visit', ID).first().kind & lookup('codes', 'code', 'A').title.first() & ` + one + `).coding('urn:class')`,
			`{"ID":"v1","PATIENT":"p1","CLASS":"A","lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":"1"},{"list":"other","code":"A","title":"alpha","seq":"2"}],` +
				`"visit_notes":[{"visit":"v1","kind":"public","text":"first","pat":"p1","author":""}]}}`},
		{"beside children", "with: {notes: {table: visit_notes, on: {visit: ID}}}\nfind: {noted: \"= notes.exists()\"}", one + `.coding('urn:class')`,
			`{"ID":"v1","PATIENT":"p1","CLASS":"A","notes":[{"visit":"v1","kind":"public","text":"first","pat":"p1","author":""}],"lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":"1"}]}}`},
		{"by a rule", "refuse: {none: \"= lookup('codes', 'code', CLASS).empty()\"}", `'a'.coding('urn:class')`,
			`{"ID":"v1","PATIENT":"p1","CLASS":"A","lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":"1"},{"list":"other","code":"A","title":"alpha","seq":"2"}]}}`},
		{"for a group", "group by: [ID, PATIENT]", `lookup('codes', 'list', 'class', 'code', rows.first().CLASS).title.coding('urn:class')`,
			`[{"ID":"v1","PATIENT":"p1","CLASS":"A"},{"lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":"1"}]}}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			pack := packOf(t, map[string]string{"visit.yaml": fmt.Sprintf(template, test.more, test.class), "person.yaml": personMapping})
			p, _, faults := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "s", Tables: tables}}})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			finder := rowTables{}
			finder.fill(p, tables[0], []Row{{Cells: []string{"class", "A", "ambulatory", "1"}, Ordinal: 1}, {Cells: []string{"other", "A", "alpha", "2"}, Ordinal: 2},
				{Cells: []string{"class", "B", "bedside", "3"}, Ordinal: 3}})
			finder.fill(p, tables[2], []Row{{Cells: []string{"v1", "public", "first", "p1", ""}, Ordinal: 1}})
			w := p.NewWorker()
			w.SetFinder(finder)
			m := p.Mapping("visit")
			for _, round := range []string{"first", "again, from the worker's memory"} {
				var row string
				var res Result
				var err error
				keep := func(r *Resource) error { row = string(r.Row); return nil }
				cells := []string{"v1", "p1", "A"}
				if m.Grouped {
					res, err = w.MapGroup(m, []Row{{Cells: cells, Ordinal: 1}}, 1, keep)
				} else {
					res, err = w.Map(m, &extract.Record{Table: tables[3], Cells: cells, Line: 2, Ordinal: 1}, 1, keep)
				}
				if err != nil || res.Outcome != Mapped {
					t.Fatal(res, err)
				}
				if diff := cmp.Diff(test.row, row); diff != "" {
					t.Errorf("%s (-want +got):\n%s", round, diff)
				}
				if _, err := fhir.Parse([]byte(row)); err != nil {
					t.Errorf("%s: %v", round, err)
				}
				// A record in between, which finds another row or none, leaves nothing behind and takes nothing along.
				if !m.Grouped {
					row = ""
					if _, err := w.Map(m, &extract.Record{Table: tables[3], Cells: []string{"v9", "p9", "B"}, Line: 3, Ordinal: 2}, 1, keep); err != nil {
						t.Fatal(err)
					}
					if strings.Contains(row, "v1") || strings.Contains(row, "ambulatory") && !strings.Contains(test.class, "'A'") {
						t.Errorf("%s: the next record has the rows of the one before: %s", round, row)
					}
				}
			}
		})
	}
}

func packOf(t *testing.T, files map[string]string) *Pack {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	p, faults := Read(fsys, "joins")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

func visitTables() []*extract.Table {
	table := func(name string, columns ...string) *extract.Table {
		return &extract.Table{Source: "s", Name: name, Columns: columns}
	}
	return []*extract.Table{table("codes", "list", "code", "title", "seq"), table("persons", "ID", "SEX"),
		table("visit_notes", "visit", "kind", "text", "pat", "author"), table("visits", "ID", "PATIENT", "CLASS")}
}

func TestRecordsSeeTheirChildrenAndLookThingsUp(t *testing.T) {
	tables := visitTables()
	pack := packOf(t, map[string]string{"visit.yaml": visitPack, "person.yaml": personMapping})
	p, notices, faults := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "s", Tables: tables, Blank: []string{"NULL"}}}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var unread []string
	for _, n := range notices {
		unread = append(unread, n.Subject)
	}
	if diff := cmp.Diff([]string{"visit_notes.author"}, unread); diff != "" {
		t.Errorf("columns that nothing reads (-want +got):\n%s", diff)
	}
	finder := rowTables{}
	finder.fill(p, tables[0], []Row{{Cells: []string{"sex", "A", "wrong", ""}}, {Cells: []string{"class", "A", "ambulatory", ""}},
		{Cells: []string{"class", "D", "one", ""}}, {Cells: []string{"class", "D", "two", ""}}})
	finder.fill(p, tables[2], []Row{{Cells: []string{"v1", "public", "first", "p1", ""}}, {Cells: []string{"v1", "private", "hidden", "p1", ""}},
		{Cells: []string{"v1", "public", "of another", "p2", ""}}, {Cells: []string{"v1", "public", "NULL", "p1", ""}}, {Cells: []string{"v1", "public", "last", "p1", ""}}})
	w := p.NewWorker()
	w.SetFinder(finder)
	for _, c := range []struct {
		cells []string
		want  string // class and reasons, or the refusal
		row   string
	}{
		{[]string{"v1", "p1", "A"}, `ambulatory first (A)| (A)|last (A)`, `"notes":[{"visit":"v1","kind":"public","text":"first"`},
		{[]string{"v2", "p1", "A"}, `ambulatory `, `"CLASS":"A","lookup()":{"codes":[{"list":"class","code":"A","title":"ambulatory","seq":""}]}}`},
		{[]string{"v2", "p1", "X"}, `required-empty`, ``}, // not in the list
		{[]string{"v2", "p1", "D"}, `formula-failed`, ``}, // twice in the list
	} {
		var got, row string
		res, err := w.Map(p.Mapping("visit"), &extract.Record{Table: tables[3], Cells: c.cells, Line: 2, Ordinal: 1}, 1, func(r *Resource) error {
			n, err := fhir.Parse(r.Whole)
			if err != nil {
				return err
			}
			var reasons []string
			if list := n.Get("reasonCode"); list != nil {
				for _, x := range list.Items {
					reasons = append(reasons, x.Get("text").Str())
				}
			}
			got = n.At("class", "code").Str() + " " + strings.Join(reasons, "|")
			row = string(r.Row)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if res.Outcome != Mapped {
			got = res.Rule
		}
		if got != c.want || !strings.Contains(row, c.row) {
			t.Errorf("%v: %q, want %q; source row %s", c.cells, got, c.want, row)
		}
	}
	w = p.NewWorker()
	if _, err := w.Map(p.Mapping("visit"), &extract.Record{Table: tables[3], Cells: []string{"v1", "p1", "A"}}, 1, func(*Resource) error { return nil }); err == nil {
		t.Error("without its tables the record was mapped all the same")
	}
}

func TestFaultsOfJoinsAreNamed(t *testing.T) {
	for _, c := range []struct{ old, wrong, want string }{
		{"table: visit_notes", "table: visit_note", `there is no table "visit_note"`},
		{"pat: PATIENT,", "patt: PATIENT,", `the table visit_notes has no column "patt"`},
		{"visit: ID}", "visit: IDD}", `the record has no column "IDD"`},
		{"  notes: {", "  CLASS: {", "is also a column of the record"},
		{"notes.where(kind", "notes.where(sort", "no column `sort`"},
		{"lookup('codes'", "lookup('code'", `there is no table "code"`},
		{"'code', CLASS)", "'coda', CLASS)", `has no column "coda"`},
		{"'code', CLASS)", "CLASS, CLASS)", "constant texts"},
		{"'code', CLASS)", "'code')", "several of both"},
		{").title", ").titel", "no column `titel`"},
	} {
		text := strings.Replace(visitPack, c.old, c.wrong, 1)
		if text == visitPack {
			t.Fatalf("%q is not in the mapping", c.old)
		}
		pack := packOf(t, map[string]string{"visit.yaml": text, "person.yaml": personMapping})
		pack.Own = true
		_, _, faults := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "s", Tables: visitTables()}}})
		if !strings.Contains(faults.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.wrong, faults, c.want)
		}
	}
}

func TestCasesFillOtherTables(t *testing.T) {
	pack := packOf(t, map[string]string{"visit.yaml": visitPack, "person.yaml": personMapping, "visit.cases.yaml": `
- name: with a note
  record: {ID: v1, PATIENT: p1, CLASS: A}
  tables:
    codes: [{list: class, code: A, title: ambulatory}, {list: sex, code: A, title: wrong}]
    visit_notes: [{visit: v1, pat: p1, kind: public, text: hello}, {visit: v1, pat: p2, kind: public, text: not mine}]
  want:
  - status: finished
    class: {system: 'urn:class', code: ambulatory}
    subject: ref:person(p1)
    reasonCode: [{text: hello (A)}]
- name: without a code
  record: {ID: v1, PATIENT: p1, CLASS: B}
  refused: required-empty
`})
	ran, err := RunCases([]*Pack{pack}, CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(ran.Results) != 2 {
		t.Errorf("%d cases were run, not 2", len(ran.Results))
	}
	for _, r := range ran.Results {
		if r.Difference != "" {
			t.Errorf("%s: %s", r.Case, r.Difference)
		}
	}
}

// The tables of lookups are there, without rows, also where no case fills them: those too that only a lookup inside of
// another lookup names, however deep its value is written.
func TestCasesKnowTablesOfNestedLookups(t *testing.T) {
	pack := packOf(t, map[string]string{"person.yaml": `
from: persons
to: Patient
key: [ID]
patient: self
resource:
  active: true
  gender: = lookup('words', 'no', lookup('answers', 'who', ID.where((startsWith('(').not()))).no).word
`, "person.cases.yaml": `
- name: not found
  record: {ID: p1}
  want: [{active: true}]
`})
	pack.Own = true // in packs that ship, a table that is not there is empty
	ran, err := RunCases([]*Pack{pack}, CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(ran.Results) != 1 {
		t.Errorf("%d cases were run, not 1", len(ran.Results))
	}
	for _, r := range ran.Results {
		if r.Difference != "" {
			t.Errorf("%s: %s", r.Case, r.Difference)
		}
	}
}
