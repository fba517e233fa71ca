package terminology

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

const genders = "http://hl7.org/fhir/administrative-gender"

func contents(m *ConceptMap) map[string][]Coding {
	all := map[string][]Coding{}
	for code, e := range m.Codes() {
		all[code] = e.Targets
	}
	return all
}

func TestReadCSV(t *testing.T) {
	m, faults := ReadCSV("gender", strings.NewReader("\ufeff# Gender: as the old system has it, e.g. `M`.\r\n#system: http://legacy.example/sex\r\n"+
		"# unknown: keep\r\n\r\nsource code, target system ,target code,display,relationship\r\n"+
		"M,"+genders+",male,Male,\r\n\"F\","+genders+",female,\"Female, adult\",equal\r\nX,,,,unmatched\r\n"+
		"B,"+genders+",other,,wider\r\nB,"+genders+",unknown,,inexact\r\n#,"+genders+",unknown,,\r\n"))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if m.Name != "gender" || m.System != "http://legacy.example/sex" || m.Unknown != Keep || m.Len() != 5 {
		t.Errorf("read as %q, %q, %v, %d codes", m.Name, m.System, m.Unknown, m.Len())
	}
	want := map[string][]Coding{
		"M": {{genders, "male", "Male", "equivalent"}},
		"F": {{genders, "female", "Female, adult", "equal"}},
		"X": nil,
		"B": {{genders, "other", "", "wider"}, {genders, "unknown", "", "inexact"}},
		"#": {{genders, "unknown", "", "equivalent"}},
	}
	if diff := cmp.Diff(want, contents(m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for code, ok := range map[string]bool{"M": true, "X": true, "m": false, "": false, "M ": false} {
		if _, got := m.Lookup(code); got != ok {
			t.Errorf("Lookup(%q) is %v", code, got)
		}
	}
}

func TestColumnsMayBeLeftOutAndReordered(t *testing.T) {
	m, faults := ReadCSV("g", strings.NewReader("target code,source code,target system\nmale,M,"+genders))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if diff := cmp.Diff(map[string][]Coding{"M": {{genders, "male", "", "equivalent"}}}, contents(m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if m.Unknown != Refuse || m.System != "" {
		t.Errorf("defaults are %v and %q", m.Unknown, m.System)
	}
}

func TestCSVFaults(t *testing.T) {
	const head = "source code,target system,target code,display,relationship\n"
	for _, c := range []struct{ name, text, want string }{
		{"everything at once", "# unknwon: text\n# unknown: txet\n# system: legacy system\n" + head +
			"M,http://x,male,Male,equivalant\n,http://x,male,,\nF,not a uri,female,,\nG,http://x, g,Gee ,\nH,http://x,,,\n" +
			"N,http://x,n,N,\nN,http://x,n,N,\nN,,,,unmatched\nU,,,,unmatched\nU,,,,disjoint\nU,http://x,u,,\nV,http://x\nW,\"x\"y,1,,\nZ,urn:x,z,\xff,\n",
			`m:1:3: ` + "`unknwon:`" + ` is none of the settings of a concept map (did you mean "unknown"?)
m:2:12: "txet" does not say what becomes of unknown codes (did you mean "text"?)
m:3:11: the source's system has white space in it
m:5:22: "equivalant" is not a relationship of FHIR R4 (did you mean "equivalent"?)
m:6:1: the source code is blank
m:7:3: the target system has white space in it
m:8:12: the target code has white space around it
m:8:15: the display has white space around it
m:9:12: the target code is blank (a source code without a target is ` + "`unmatched`" + `)
m:11:1: line 10 maps the same source code to the same target
m:12:1: another line gives a target for this source code
m:14:1: line 13 says already that this source code has no target
m:15:1: line 13 says that this source code has no target
m:16: the line has 2 values, the header 5 (a value with a comma stands in quotes)
m:17:5: not valid CSV: extraneous or missing " in quoted-field
m:18:11: the text is not UTF-8 (save the file as UTF-8)`},
		{"header", "# unknown: text\n# unknown: keep\nsource cod,target system,Target Code,what is this,display,display\n",
			"m:2:3: `unknown` is given twice\n" +
				`m:3: the column "source code" is missing
m:3: the column "target code" is missing
m:3:1: a concept map has no column "source cod" (did you mean "source code"?)
m:3:26: a concept map has no column "Target Code" (did you mean "target code"?)
m:3:38: a concept map has no column "what is this" (the columns are source code, target system, target code, display, relationship, comment)
m:3:59: the column "display" is there twice`},
		{"empty", "", "m:1: there is no header line (it should be: source code,target system,target code,display,relationship,comment)"},
		{"only comments", "# a\n# b\n", "m:3: there is no header line (it should be: source code,target system,target code,display,relationship,comment)"},
		{"a quote that never closes", head + "M,http://x,\"male,,\nF,http://x,female,,\n", `m:4:0: x`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, faults := ReadCSV("m", strings.NewReader(c.text))
			if m != nil {
				t.Error("a map with faults was answered")
			}
			if c.name == "a quote that never closes" {
				if len(faults) != 1 || !strings.Contains(faults[0].Message, "not valid CSV") {
					t.Errorf("%v", faults)
				}
				return
			}
			if diff := cmp.Diff(c.want, faults.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	_, faults := ReadCSV("m", strings.NewReader(head+strings.Repeat("x\n", 1000)))
	if len(faults) != maxFaults+1 || !strings.Contains(faults[maxFaults].Message, "stopped") {
		t.Errorf("a file of other things has %d faults", len(faults))
	}
}

const inJSON = `{"resourceType": "ConceptMap", "status": "draft", "group": [
  {"source": "http://legacy.example/sex", "target": "http://hl7.org/fhir/administrative-gender", "unmapped": {"mode": "provided"},
   "element": [{"code": "M", "target": [{"code": "male", "display": "Male", "equivalence": "equivalent"}]},
     {"code": "X", "target": [{"equivalence": "unmatched"}]}, {"code": "Y"}]},
  {"source": "http://legacy.example/sex", "target": "http://snomed.info/sct",
   "element": [{"code": "M", "target": [{"code": "248153007", "equivalence": "equivalent"}]}]}]}`

func TestReadFHIR(t *testing.T) {
	m, faults := ReadFHIR("gender", []byte(inJSON))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := map[string][]Coding{"M": {{genders, "male", "Male", "equivalent"}, {"http://snomed.info/sct", "248153007", "", "equivalent"}}, "X": nil, "Y": nil}
	if diff := cmp.Diff(want, contents(m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if m.Unknown != Keep || m.System != "http://legacy.example/sex" {
		t.Errorf("%v, %q", m.Unknown, m.System)
	}
	same, faults := ReadCSV("other name", strings.NewReader("# unknown: keep\n# system: http://legacy.example/sex\n"+
		"source code,target system,target code,display,relationship\nY,,,,unmatched\nX,,,,disjoint\nM,"+genders+",male,Male,\n"+
		"M,http://snomed.info/sct,248153007,,equivalent\n"))
	if len(faults) > 0 || same.Digest() != m.Digest() {
		t.Errorf("the same map as CSV has another digest (%v)", faults)
	}
}

func TestFHIRFaults(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"status": "draft"`, `"status": "draft",`, "m:1:50: not valid JSON: "},
		{`"ConceptMap"`, `"Patient"`, "m: the resource is not a ConceptMap"},
		{`"status": "draft"`, `"implicitRules": "http://x"`, "m: implicitRules: is not supported, and must not be ignored"},
		{`"provided"`, `"guess"`, `m: group[0].unmapped: "guess" is not supported, and must not be ignored (one of provided, fixed, other-map)`},
		{`"provided"`, `"fixed"`, `m: group[0].unmapped: the fixed code is blank`},
		{`"provided"`, `"other-map"`, `m: group[0].unmapped: the other map is not named`},
		{`"provided"`, `"provided", "modifierExtension": []`, `m: group[0].unmapped.modifierExtension: is not supported, and must not be ignored`},
		{`"element": [{"code": "M", "target": [{"code": "2`, `"unmapped": {"mode": "fixed", "code": "x"}, "element": [{"code": "M", "target": [{"code": "2`,
			`m: group[1].unmapped: it says something else about unknown codes than the groups before`},
		{`"code": "248153007"`, `"code": "248153007", "product": [{}]`, "m: group[1].element[0].target[0].product: is not supported, and must not be ignored"},
		{`"display": "Male"`, `"display": "Male "`, "m: group[0].element[0].target[0].display: the display has white space around it"},
		{`{"equivalence": "unmatched"}`, `{"equivalence": "unmatched"}, {"code": "x", "equivalence": "equal"}`, "m: group[0].element[1]: the source code is said to have no target, and has one"},
		{`"status": "draft"`, `"extension": [{"url": "` + extension + `narrower", "valueCode": "refuze"}]`, `m: extension[0]: "refuze" does not say what becomes of codes whose target asserts more than they do (did you mean "refuse"?)`},
		{`"status": "draft"`, `"extension": [{"url": "` + extension + `narower", "valueCode": "refuse"}]`, `m: extension[0]: "narower" is none of the settings of a concept map (did you mean "narrower"?)`},
		{`{"code": "Y"}`, `{"code": ""}`, "m: group[0].element[2].code: the source code is blank"},
		{`"equivalence": "unmatched"`, `"relationship": "not-related-to"`, `m: group[0].element[1].target[0].equivalence: "" is not a relationship of FHIR R4 (this is the R5 form; R4 has ` + "`equivalence`)"},
		{`"code": "248153007"`, `"code": "248153007", "dependsOn": []`, "m: group[1].element[0].target[0].dependsOn: is not supported, and must not be ignored"},
		{`"code": "248153007"`, `"code": " 248153007"`, "m: group[1].element[0].target[0].code: the target code has white space around it"},
		{`"target": "http://snomed.info/sct",`, ``, "m: group[1].element[0].target[0]: its system is blank (group.target names it)"},
		{`{"source": "http://legacy.example/sex", "target": "http://snomed.info/sct"`, `{"source": "http://other", "target": "http://snomed.info/sct"`,
			"m: group[1].source: is another system than that of the groups before (make a map of its own for it)"},
		{`"http://snomed.info/sct"`, `"http://hl7.org/fhir/administrative-gender"`, ""},
		{`"248153007"`, `"male"`, ""},
	} {
		text := strings.Replace(inJSON, c.old, c.new, 1)
		if text == inJSON {
			t.Fatalf("%s is not in the text", c.old)
		}
		m, faults := ReadFHIR("m", []byte(text))
		if c.want == "" {
			if len(faults) > 0 {
				t.Error(faults)
			}
			continue
		}
		if m != nil || len(faults) != 1 {
			t.Errorf("%s -> %s\ngot  %v\nwant %s", c.old, c.new, faults, c.want)
			continue
		}
		got := faults[0]
		if strings.Contains(c.want, ": group[") && (got.Line < 2 || got.Column < 1) {
			t.Errorf("%s has no place", got)
		}
		if !strings.HasPrefix(c.want, "m:1:") {
			got.Line, got.Column = 0, 0
		}
		if !strings.HasPrefix(got.String(), c.want) {
			t.Errorf("%s -> %s\ngot  %v\nwant %s", c.old, c.new, got, c.want)
		}
	}
	twice := strings.NewReplacer(`"http://snomed.info/sct"`, `"`+genders+`"`, "248153007", "male").Replace(inJSON)
	if _, faults := ReadFHIR("m", []byte(twice)); len(faults) != 1 || !strings.Contains(faults[0].Message, "same target twice") {
		t.Errorf("%v", faults)
	}
}

func TestPlacesInJSON(t *testing.T) {
	const text = "{\"a\": 1,\n \"group\" : [ {\"x\": [1, {\"code\": \"a\"}]},\n\t{\"x\": [\n]}]}"
	for path, want := range map[string][2]int{
		"": {1, 1}, "a": {1, 7}, "group": {2, 12}, "group[0]": {2, 14}, "group[0].x[1].code": {2, 33}, "group[0].x[1].none": {2, 24}, "group[1].x[7]": {3, 8}, "none": {1, 1},
	} {
		if line, column := locate([]byte(text), path); line != want[0] || column != want[1] {
			t.Errorf("%q is at %d:%d, want %v", path, line, column, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m, faults := ReadFHIR("gender", []byte(inJSON))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		e, _ := m.Lookup("M")
		n += len(e.Targets)
		_, _ = m.Lookup("unknown")
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// The digest tells maps apart that translate differently, and does not depend on the order of source codes.
func TestDigest(t *testing.T) {
	line := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%s,http://x,%s,%s,%s\n", rapid.SampledFrom([]string{"a", "b", "c", "ab"}).Draw(t, "source"),
			rapid.SampledFrom([]string{"1", "2"}).Draw(t, "target"), rapid.SampledFrom([]string{"", "A"}).Draw(t, "display"),
			rapid.SampledFrom([]string{"wider", "equal"}).Draw(t, "relationship"))
	})
	read := func(lines []string) *ConceptMap {
		m, _ := ReadCSV("m", strings.NewReader("source code,target system,target code,display,relationship\n"+strings.Join(lines, "")))
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		one, two := read(rapid.SliceOfN(line, 0, 5).Draw(t, "one")), read(rapid.SliceOfN(line, 0, 5).Draw(t, "two"))
		if one == nil || two == nil {
			return
		}
		if same := cmp.Equal(contents(one), contents(two)); same != (one.Digest() == two.Digest()) {
			t.Fatalf("equal: %v, equal digests: %v", same, !same)
		}
	})
}

func TestShippedMaps(t *testing.T) {
	n := 0
	root := filepath.Join(sharedtest.ModuleRoot(t), "mappings")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "maps" || filepath.Ext(path) != ".csv" {
			return err
		}
		n++
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, faults := ReadCSV(filepath.Base(path), f); len(faults) > 0 {
			t.Error(faults)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d maps, %v", n, err)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("# unknown: text\nsource code,target system,target code\na,http://x,b\n")
	f.Add("source code,target system,target code,display,relationship\n\"a\nb\",http://x,b,,wider\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, faults := ReadCSV("m", strings.NewReader(text))
		if (m == nil) != (len(faults) > 0) {
			t.Errorf("a map: %v, faults: %d", m != nil, len(faults))
		}
		for _, x := range faults {
			if x.Message == "" || x.File != "m" {
				t.Errorf("a fault without message or file: %+v", x)
			}
		}
	})
}

func FuzzReadFHIR(f *testing.F) {
	f.Add([]byte(inJSON))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, faults := ReadFHIR("m", data); (m == nil) != (len(faults) > 0) {
			t.Errorf("a map: %v, faults: %d", m != nil, len(faults))
		}
	})
}
