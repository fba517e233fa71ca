package mapping

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// with adds files to a pack.
func with(files map[string]string, more ...string) map[string]string {
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

// TestInclude: a template with fragments writes what the same template written out writes.
func TestInclude(t *testing.T) {
	record := obsRecord("p1", "8302-2", "2024-03-09", "1.50", "cm", "a note")
	cases := []struct {
		name      string
		top, line string // written with fragments
		files     []string
		plainTop  string // written out
		plain     string
	}{
		{"object", "", "  method: {include: method}\n", []string{"fragments/method.yaml", "gives:\n  text: by hand\n  coding: {code: = UNIT}\n"},
			"", "  method: {text: by hand, coding: {code: = UNIT}}\n"},
		{"own keys win whole", "", "  method: {include: method, text: mine}\n", []string{"fragments/method.yaml", "gives:\n  text: by hand\n  coding: {code: = UNIT}\n"},
			"", "  method: {text: mine, coding: {code: = UNIT}}\n"},
		{"holes", "", "  valueQuantity: {include: {amount: {value: = VALUE, unit: = UNIT}}}\n",
			[]string{"fragments/amount.yaml", "takes: [value, unit]\ngives:\n  value: = %value.decimal()\n  unit: = %unit\n"},
			"", "  valueQuantity: {value: = VALUE.decimal(), unit: = UNIT}\n"},
		{"a hole keeps to itself", "", "  valueString:\n    include: {shout: {text: = NOTE & UNIT}}\n",
			[]string{"fragments/shout.yaml", "takes: [text]\ngives: = %text.upper() & %text\n"},
			"", "  valueString: = (NOTE & UNIT).upper() & (NOTE & UNIT)\n"},
		{"literals", "", "  valueString: {include: {say: {what: it's}}}\n  method: {include: {named: {text: 007}}}\n",
			[]string{"fragments/say.yaml", "takes: [what]\ngives: = %what & NOTE\n", "fragments/named.yaml", "takes: [text]\ngives: {text: = %text}\n"},
			"", "  valueString: = 'it\\'s' & NOTE\n  method: {text: 007}\n"},
		{"what stands there unless filled", "", "  method: {include: named}\n",
			[]string{"fragments/named.yaml", "takes:\n  text: = NOTE\n  code: '= {}'\ngives:\n  text: = %text\n  coding: {code: = %code}\n"},
			"", "  method: {text: = NOTE}\n"},
		{"objects and lists fill holes", "", "  method: {include: {coded: {coding: [{code: a}, {code: = UNIT}]}}}\n",
			[]string{"fragments/coded.yaml", "takes: [coding]\ngives:\n  coding: = %coding\n"},
			"", "  method: {coding: [{code: a}, {code: = UNIT}]}\n"},
		{"entries of a list", "", "  note:\n    - include: notes\n    - text: last\n    - forEach: = NOTE | UNIT\n      include: {noted: {text: = $this}}\n",
			[]string{"fragments/notes.yaml", "gives:\n  - text: first\n  - text: = UNIT\n", "fragments/noted.yaml", "takes: [text]\ngives:\n  text: = %text & '!'\n"},
			"", "  note:\n    - text: first\n    - text: = UNIT\n    - text: last\n    - forEach: = NOTE | UNIT\n      text: = $this & '!'\n"},
		{"fragments in fragments", "", "  method: {include: {outer: {text: = UNIT}}}\n",
			[]string{"fragments/outer.yaml", "takes: [text]\ngives:\n  include: {inner: {text: = %text & 'x'}}\n", "fragments/inner.yaml", "takes: [text]\ngives:\n  text: = %text.upper()\n"},
			"", "  method: {text: = (UNIT & 'x').upper()}\n"},
		{"several", "", "  method: {include: [a, b]}\n", []string{"fragments/a.yaml", "gives: {text: a}\n", "fragments/b.yaml", "gives: {coding: {code: = UNIT}}\n"},
			"", "  method: {text: a, coding: {code: = UNIT}}\n"},
		{"rules and whole keys", "include: rules\nfind: {include: {blank: {what: = CODE}}}\n", "  valueString: = NOTE\n",
			[]string{"fragments/rules.yaml", "gives:\n  skip: {none: = NOTE.empty()}\n", "fragments/blank.yaml", "takes: [what]\ngives: {nothing: = %what.empty()}\n"},
			"skip: {none: = NOTE.empty()}\nfind: {nothing: = CODE.empty()}\n", "  valueString: = NOTE\n"},
		{"defaults", "", "  method: {text: = NOTE}\n", []string{"pack.yaml", "defaults:\n  duplicates: number\n  profile: {Observation: http://example.org/p}\n  meta: {source: 'urn:x'}\n  optional: [MORE]\n  patient: = ref('patient', PATIENT)\n"},
			"duplicates: number\nprofile: http://example.org/p\n", "  method: {text: = NOTE}\n  meta: {source: 'urn:x'}\n"},
		{"constants", "constants: {loud: '= %mark & %mark'}\n", "  note: {text: = NOTE & %loud}\n  identifier: = CODE.identifier(%mrn)\n  valueInteger: = iif(UNIT in %units, %limit, %limit + 1)\n",
			[]string{"pack.yaml", "constants:\n  mark: '!'\n  mrn: urn:oid:1.2.3\n  units: [cm, mm]\n  limit: = 5\n"},
			"", "  note: {text: = NOTE & '!!'}\n  identifier: = CODE.identifier('urn:oid:1.2.3')\n  valueInteger: = iif(UNIT in ('cm' | 'mm'), 5, 6)\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			whole := func(top, line string, more ...string) string {
				p := mustCompile(t, with(obs(top, line), more...))
				var b strings.Builder
				m := p.Mapping("observation")
				fmt.Fprintln(&b, m.Duplicates)
				res, err := p.NewWorker().Map(m, record, 1, func(x *Resource) error {
					checkResource(t, x)
					fmt.Fprintf(&b, "%s\n", x.Whole)
					return nil
				})
				fmt.Fprintln(&b, res.Outcome, res.Rule, res.Findings, err)
				return b.String()
			}
			want := whole(c.plainTop, c.plain)
			if diff := cmp.Diff(want, whole(c.top, c.line, c.files...)); diff != "" {
				t.Errorf("(-written out +included):\n%s", diff)
			}
			if !strings.HasPrefix(want, "number\n") && !strings.Contains(want, "mapped") {
				t.Errorf("nothing was written: %s", want)
			}
		})
	}
}

// TestIncludeFaults: a fault in a fragment is placed in the fragment, and says from where it was included.
func TestIncludeFaults(t *testing.T) {
	cases := []struct {
		name, line string
		files      []string
		want       string
	}{
		{"unknown", "  method: {include: metod}\n", []string{"fragments/method.yaml", "gives: {text: x}\n"},
			"pack/observation.yaml:9:21: there is no fragment \"metod\" (did you mean \"method\"?)"},
		{"a path", "  method: {include: ../secret}\n", []string{"fragments/method.yaml", "gives: {text: x}\n"},
			"pack/observation.yaml:9:21: there is no fragment \"../secret\" (a fragment is named without its folder and ending: NAME is fragments/NAME.yaml of the pack)"},
		{"element", "  method: {include: m}\n", []string{"fragments/m.yaml", "gives:\n  txt: x\n"},
			"pack/fragments/m.yaml:2:3: CodeableConcept has no element \"txt\", included in pack/observation.yaml:9:21 (did you mean \"text\"?)"},
		{"column", "  method: {include: m}\n", []string{"fragments/m.yaml", "gives:\n  text: = NOTE & UNITT\n"},
			"pack/fragments/m.yaml:2:18: there is no column `UNITT`, included in pack/observation.yaml:9:21 (did you mean UNIT?)"},
		{"two levels", "  method: {include: a}\n", []string{"fragments/a.yaml", "gives: {include: b}\n", "fragments/b.yaml", "gives: {txt: x}\n"},
			"pack/fragments/b.yaml:1:9: CodeableConcept has no element \"txt\", included in pack/fragments/a.yaml:1:18, from pack/observation.yaml:9:21 (did you mean \"text\"?)"},
		{"in an argument", "  valueString: {include: {s: {x: = NOTE & UNITT}}}\n", []string{"fragments/s.yaml", "takes: [x]\ngives: = CODE & %x & CODE\n"},
			"pack/observation.yaml:9:43: there is no column `UNITT` (did you mean UNIT?)"},
		{"behind an argument", "  valueString: {include: {s: {x: = NOTE & UNIT}}}\n", []string{"fragments/s.yaml", "takes: [x]\ngives: = CODE & %x & CODEE\n"},
			"pack/fragments/s.yaml:2:22: there is no column `CODEE`, included in pack/observation.yaml:9:27 (did you mean CODE?)"},
		{"a comma in an argument", "  valueString: {include: {s: {x: = iif(CODE ~ 'a', NOTE, UNIT)}}}\n", []string{"fragments/s.yaml", "takes: [x]\ngives: = %x\n"},
			"pack/observation.yaml:9:34: a formula inside {} or [] that holds a comma or a bracket must be quoted: YAML cuts it there (write it as '= …', with '' for each ' in it)"},
		{"circle", "  method: {include: a}\n", []string{"fragments/a.yaml", "gives: {include: b}\n", "fragments/b.yaml", "gives: {include: a}\n"},
			"pack/fragments/b.yaml:1:18: the fragments include each other in a circle: a → b → a, included in pack/fragments/a.yaml:1:18, from pack/observation.yaml:9:21"},
		{"not filled", "  method: {include: m}\n", []string{"fragments/m.yaml", "takes: [text]\ngives: {text: = %text}\n"},
			"pack/observation.yaml:9:21: the fragment m takes \"text\", and nothing fills it (include: {m: {text: = …}})"},
		{"not taken", "  method: {include: {m: {txt: x, text: y}}}\n", []string{"fragments/m.yaml", "takes: [text]\ngives: {text: = %text}\n"},
			"pack/observation.yaml:9:26: the fragment m takes no \"txt\" (did you mean \"text\"?)"},
		{"twice", "  method: {include: [a, b]}\n", []string{"fragments/a.yaml", "gives: {text: a}\n", "fragments/b.yaml", "gives: {text: b}\n"},
			"pack/observation.yaml:9:25: the fragments a and b both give \"text\" (write the key beside the include: an own key wins)"},
		{"a list beside keys", "  method: {include: a, text: x}\n", []string{"fragments/a.yaml", "gives: [x]\n"},
			"pack/observation.yaml:9:21: the fragment a gives a list, which cannot stand beside other keys"},
		{"never used hole", "", []string{"fragments/a.yaml", "takes: [x]\ngives: {text: y}\n"},
			"pack/fragments/a.yaml:1:9: the fragment takes \"x\" and never uses it (write = %x where it belongs)"},
		{"gives nothing", "", []string{"fragments/a.yaml", "take: [x]\ngive: {text: y}\n"},
			"pack/fragments/a.yaml:1:1: a fragment has no key \"take\" (did you mean \"takes\"?)\npack/fragments/a.yaml:1:1: the fragment gives nothing (put what is to be included under `gives:`)\npack/fragments/a.yaml:2:1: a fragment has no key \"give\" (did you mean \"gives\"?)"},
		{"reserved", "", []string{"fragments/a.yaml", "takes: [sct]\ngives: = %sct\n"},
			"pack/fragments/a.yaml:1:9: takes: %sct has a meaning of its own in FHIRPath (take another name)"},
		{"an object in a formula", "  valueString: {include: {s: {x: {a: b}}}}\n", []string{"fragments/s.yaml", "takes: [x]\ngives: = %x & CODE\n"},
			"pack/observation.yaml:9:34: the hole \"x\" of the fragment s stands inside a formula, so a formula or a text fills it, not an object"},
		{"constant", "  valueString: = %mrn_sytem\n", []string{"pack.yaml", "constants: {mrn_system: x}\n"},
			"pack/observation.yaml:9:18: there is no variable %mrn_sytem (did you mean mrn_system?)"},
		{"constant with a column", "  valueString: = %a\n", []string{"pack.yaml", "constants:\n  a: = NOTE\n"},
			"pack/pack.yaml:2:8: there is no column `NOTE`"},
		{"constant of another kind", "  valueString: = %a\n", []string{"pack.yaml", "constants:\n  a: = 5\n"},
			"pack/observation.yaml:9:18: Observation.value[x] is a string, but the formula gives an Integer (add .toString())"},
		{"default for a column", "", []string{"pack.yaml", "defaults:\n  meta: {source: = SRC}\n"},
			"pack/pack.yaml:2:20: there is no column `SRC`, included in pack/observation.yaml:1:1 and 1 place more"},
		{"default of a type", "", []string{"pack.yaml", "defaults:\n  profile: {Observatoin: http://example.org/p}\n  dublicates: merge\n"},
			"pack/pack.yaml:2:13: R4 has no resource type \"Observatoin\" (did you mean \"Observation\"?)\npack/pack.yaml:3:3: `defaults:` has no key \"dublicates\" (did you mean \"duplicates\"?)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, faults := compileFiles(t, with(obs("", c.line), c.files...))
			if diff := cmp.Diff(c.want, faults.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestManualsExample: the fragment of the manual does what the manual says.
func TestManualsExample(t *testing.T) {
	fragment := `takes:
  street:                       # must be filled
  city:
  use: home                     # stands there if nobody fills it
gives:
  use: = %use
  line: = %street
  text: = %street & ', ' & %city
`
	files := map[string]string{"fragments/us-address.yaml": fragment, "observation.yaml": `from: obs
to: Organization
key: [CODE]
patient: none
skip:
  include: nobody
resource:
  name: = CODE
  address:
    - include: {us-address: {street: = NOTE, city: = UNIT}}
      country: US
unused: {PATIENT: r, DATE: r, VALUE: r}
`, "fragments/nobody.yaml": "gives: {nobody: = CODE.empty()}\n"}
	out, _ := run(t, mustCompile(t, files), obsRecord("p", "c", "", "", "Town", "Road 1"))
	want := []string{`{"address":[{"country":"US","line":["Road 1"],"text":"Road 1, Town","use":"home"}],"name":"c","resourceType":"Organization"}`}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A fragment that many mappings include tells its fault once.
func TestIncludeFaultOnce(t *testing.T) {
	files := with(obs("", "  method: {include: m}\n  bodySite: {include: m}\n  note: {include: n}\n"), "fragments/m.yaml", "gives: {txt: x}\n", "fragments/n.yaml", "gives: {text: = NOTE}\n")
	_, _, faults := compileFiles(t, files)
	want := "pack/fragments/m.yaml:1:9: CodeableConcept has no element \"txt\", included in pack/observation.yaml:9:21 and 1 place more (did you mean \"text\"?)"
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Includes that multiply are bounded.
func TestIncludeBomb(t *testing.T) {
	files := obs("", "  component: {include: f0}\n")
	for i := range 15 {
		files[fmt.Sprintf("fragments/f%d.yaml", i)] = fmt.Sprintf("gives:\n  a: {include: f%d}\n  b: {include: f%d}\n  c: {include: f%d}\n", i+1, i+1, i+1)
	}
	files["fragments/f15.yaml"] = "gives: {x: y}\n"
	_, _, faults := compileFiles(t, files)
	if !strings.Contains(faults.Error(), "the includes of this file make more than 200000 values") {
		t.Errorf("got %d faults", len(faults))
	}
}

// The element `include` of a ValueSet is not an inclusion.
func TestElementInclude(t *testing.T) {
	files := with(map[string]string{}, "patient.yaml", patientMapping, "observation.yaml", "from: obs\nto: ValueSet\nkey: [CODE]\npatient: none\nresource:\n  status: draft\n  compose: {include: [{system: 'urn:x', concept: [{code: = CODE}]}]}\nunused: {PATIENT: r, DATE: r, VALUE: r, UNIT: r, NOTE: r}\n")
	out, _ := run(t, mustCompile(t, files), obsRecord("p", "c"))
	if diff := cmp.Diff([]string{`{"compose":{"include":[{"concept":[{"code":"c"}],"system":"urn:x"}]},"resourceType":"ValueSet","status":"draft"}`}, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What nobody uses is told, and nothing else.
func TestUnusedParts(t *testing.T) {
	files := with(obs("constants: {a: x, b: y}\n", "  valueString: = %a & %c\n"), "pack.yaml", "constants: {c: x, d: y}\n", "fragments/m.yaml", "gives: {text: x}\n")
	_, notices, faults := compileFiles(t, files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var got []string
	for _, n := range notices {
		if strings.HasPrefix(n.Rule, "unused-") {
			got = append(got, n.Rule+" "+n.Fault.String())
		}
	}
	want := []string{
		"unused-fragment pack/fragments/m.yaml:1:1: no mapping includes the fragment m",
		`unused-constant pack/observation.yaml:5:19: no formula of the mapping uses the constant "b"`,
		`unused-constant pack/pack.yaml:1:19: no formula of the pack uses the constant "d"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The plan's constants stand in place of the pack's, and decide the digest.
func TestPlanConstants(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, text := range with(obs("", "  valueString: = %org\n  valueInteger: = %limit\n"), "pack.yaml", "constants: {org: here, limit: = 5}\n") {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	compileWith := func(constants string) (*Program, Faults) {
		pack, faults := Read(fsys, "pack")
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		o := Options{Migration: "m", IDKey: []byte("0123456789abcdef"), PlanFile: "plan.yaml", Sources: []Source{{Name: "ehr", Tables: testTables}}}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(constants), &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Content) > 0 {
			for i := 0; i < len(doc.Content[0].Content); i += 2 {
				key, value := doc.Content[0].Content[i], doc.Content[0].Content[i+1]
				o.Constants = append(o.Constants, Constant{key.Value, key, value})
			}
		}
		p, _, faults := Compile([]*Pack{pack}, o)
		return p, faults
	}
	plain, _ := compileWith("")
	there, faults := compileWith("org: there\n")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if plain.Digest() == there.Digest() {
		t.Error("the plan's constants do not decide the digest")
	}
	c, conditionFaults := there.Condition(there.Mapping("observation"), "CODE = %org")
	if len(conditionFaults) > 0 {
		t.Fatal(conditionFaults)
	}
	if ok, err := there.NewWorker().Test(c, &extract.Record{Table: testTables[1], Cells: []string{"p", "there", "", "", "", ""}}); !ok || err != nil {
		t.Error(ok, err)
	}
	_, faults = compileWith("ogr: x\nlimit: five\n")
	want := `plan.yaml:1:1: no pack has a constant "ogr" (did you mean "org"?)
plan.yaml:2:8: the constant "limit" is an Integer in pack/pack.yaml, here it is a String (as in the pack)`
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
