package mapping

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

const mapHead = "source code,target system,target code,display,relationship\n"

// mapped is what becomes of the element `method` of a record, as text: the outcome, the findings, the element.
func mapped(t *testing.T, p *Program, cells ...string) string {
	t.Helper()
	got := ""
	res, err := p.NewWorker().Map(p.Mapping("observation"), obsRecord(cells...), 1, func(r *Resource) error {
		n, _ := fhir.Parse(r.Whole)
		for _, name := range []string{"method", "valueString", "valueQuantity"} {
			if e := n.Get(name); e != nil {
				got += " " + string(e.AppendCanonical(nil))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rule := res.Rule
	for _, f := range res.Findings {
		rule += f.Rule + "@" + f.Column
	}
	return strings.TrimSpace(res.Outcome.String()+" "+rule) + got
}

// What a map says of a code decides what is written, and whether somebody hears of it; writers and formulas agree.
func TestWhatMapsSay(t *testing.T) {
	const lines = "eq,urn:example:t,1,One,equivalent\nwide,urn:example:t,2,,wider\nin,urn:example:t,3,,inexact\nboth,urn:example:t,1,,equal\nboth,urn:example:u,2,,wider\n" +
		"nar,urn:example:t,4,,narrower\nspec,urn:example:t,5,,specializes\nchoice,urn:example:t,6,,narrower\nchoice,urn:example:t,7,,narrower\nnone,,,,unmatched\n"
	const own = "# system: urn:example:own\n"
	for _, c := range []struct{ settings, code, translate, translated string }{
		{own, "eq", `mapped "1"`, `mapped {"coding":[{"code":"eq","system":"urn:example:own"},{"code":"1","display":"One","system":"urn:example:t"}]}`},
		{own, "wide", `mapped "2"`, `mapped {"coding":[{"code":"wide","system":"urn:example:own"},{"code":"2","system":"urn:example:t"}]}`},
		{"", "wide", `mapped "2"`, `mapped {"coding":[{"code":"2","system":"urn:example:t"}],"text":"wide"}`},
		{"", "in", `mapped "3"`, `mapped {"coding":[{"code":"3","system":"urn:example:t"}],"text":"in"}`},
		{"", "eq", `mapped "1"`, `mapped {"coding":[{"code":"1","display":"One","system":"urn:example:t"}]}`},
		{own, "both", `refused several-targets`, `mapped {"coding":[{"code":"both","system":"urn:example:own"},{"code":"1","system":"urn:example:t"},{"code":"2","system":"urn:example:u"}]}`},
		{own, "none", `mapped`, `mapped {"coding":[{"code":"none","system":"urn:example:own"}]}`},
		{own, "nar", `mapped narrower-code@CODE "4"`, `mapped narrower-code@CODE {"coding":[{"code":"nar","system":"urn:example:own"},{"code":"4","system":"urn:example:t"}]}`},
		{own, "spec", `mapped narrower-code@CODE "5"`, `mapped narrower-code@CODE {"coding":[{"code":"spec","system":"urn:example:own"},{"code":"5","system":"urn:example:t"}]}`},
		{own + "# narrower: refuse\n", "nar", `refused narrower-code`, `refused narrower-code`},
		{own + "# narrower: refuse\n", "wide", `mapped "2"`, `mapped {"coding":[{"code":"wide","system":"urn:example:own"},{"code":"2","system":"urn:example:t"}]}`},
		{own, "choice", `refused several-targets`, `refused several-targets`},
		{own + "# alternatives: text\n", "choice", `mapped several-targets@CODE`, `mapped several-targets@CODE {"text":"choice"}`},
		{own + "# alternatives: keep\n", "choice", `mapped several-targets@CODE "choice"`, `mapped several-targets@CODE {"coding":[{"code":"choice","system":"urn:example:own"}]}`},
		{own, "zz", `refused unmapped-code`, `refused unmapped-code`},
		{own + "# unknown: fixed urn:example:t|U|Unknown\n", "zz", `mapped unmapped-code@CODE "U"`,
			`mapped unmapped-code@CODE {"coding":[{"code":"zz","system":"urn:example:own"},{"code":"U","display":"Unknown","system":"urn:example:t"}]}`},
		{"# unknown: fixed urn:example:t|U\n", "zz", `mapped unmapped-code@CODE "U"`, `mapped unmapped-code@CODE {"coding":[{"code":"U","system":"urn:example:t"}],"text":"zz"}`},
	} {
		for formula, want := range map[string]string{"method: = CODE.translated('codes')": c.translated, "valueString: = CODE.translate('codes')": c.translate} {
			files := obs("", "  "+formula+"\n")
			files["maps/codes.csv"] = c.settings + mapHead + lines
			pack, faults := readFiles(t, files)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			fast, slow := both(t, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: testTables}}, NoCoverage: true}, pack)
			for way, p := range map[string]*Program{"written": fast, "evaluated": slow} {
				if got := mapped(t, p, "p", c.code); got != want {
					t.Errorf("%s of %s under %q, %s:\ngot  %s\nwant %s", formula, c.code, c.settings, way, got, want)
				}
			}
		}
	}
}

// Translations that do not mean the same are counted by map and relationship.
func TestLooseTranslationsAreCounted(t *testing.T) {
	files := obs("", "  method: = CODE.translated('codes')\n")
	files["maps/codes.csv"] = "# alternatives: text\n" + mapHead + "a,urn:example:t,1,,wider\na,urn:example:u,1,,wider\nb,urn:example:t,2,,inexact\nc,urn:example:t,2,,narrower\nd,urn:example:t,1,,relatedto\nd,urn:example:t,2,,relatedto\ne,urn:example:t,1,,\n"
	p := mustCompile(t, files)
	w := p.NewWorker()
	for _, code := range []string{"a", "a", "b", "c", "d", "e"} {
		if _, err := w.Map(p.Mapping("observation"), obsRecord("p", code), 1, func(*Resource) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := []TranslationCount{{"pack/codes", "choice", 1}, {"pack/codes", "inexact", 1}, {"pack/codes", "narrower", 1}, {"pack/codes", "wider", 2}}
	if diff := cmp.Diff(want, w.TakeTranslations()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if again := w.TakeTranslations(); len(again) > 0 {
		t.Errorf("counted twice: %v", again)
	}
}

// The check lists, once for each map in use, how many of its codes mean something else than their targets.
func TestMapsAreRemarkedUpon(t *testing.T) {
	files := obs("", "  method: = CODE.translated('codes')\n  valueString: = CODE.translate('codes')\n")
	files["maps/codes.csv"] = mapHead + "a,urn:example:t,1,,wider\nb,urn:example:t,2,,inexact\nc,urn:example:t,2,,narrower\nd,urn:example:t,1,,relatedto\nd,urn:example:t,2,,relatedto\n"
	files["maps/idle.csv"] = mapHead + "a,urn:example:t,1,,wider\n"
	_, notices, faults := compileFiles(t, files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var got []string
	for _, n := range notices {
		if strings.HasSuffix(n.Rule, "-map") {
			got = append(got, fmt.Sprintf("%s %s %s", n.Severity, n.Rule, n.Fault))
		}
	}
	slices.Sort(got)
	want := []string{
		"notice choice-map pack/maps/codes.csv: source codes with several targets to choose from: 1 choice (the map's `# alternatives:` says refuse)",
		"notice loose-map pack/maps/codes.csv: source codes whose target does not mean the same: 1 wider, 1 inexact, 1 relatedto (the source's own coding is kept beside them, if the map names its `# system:`)",
		"notice narrower-map pack/maps/codes.csv: source codes whose target asserts more than they do: 1 narrower (each record that has one is the finding narrower-code)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A pack reads maps in both forms, which compile to one digest, and maps that name each other.
func TestMapsInBothForms(t *testing.T) {
	csv := obs("", "  method: = CODE.translated('codes')\n")
	csv["maps/codes.csv"] = "# unknown: map rest\n" + mapHead + "a,urn:example:t,1,One,wider\nb,,,,unmatched\n"
	csv["maps/rest.csv"] = "# unknown: text\n" + mapHead + "c,urn:example:t,3,,\n"
	json := maps.Clone(csv)
	delete(json, "maps/codes.csv")
	json["maps/codes.json"] = `{"resourceType": "ConceptMap", "url": "http://example.org/codes", "group": [{"target": "urn:example:t", "unmapped": {"mode": "other-map", "url": "rest"},
		"element": [{"code": "a", "target": [{"code": "1", "display": "One", "equivalence": "wider"}]}, {"code": "b"}]}]}`
	one, two := mustCompile(t, csv), mustCompile(t, json)
	if one.Digest() != two.Digest() {
		t.Error("the digests differ")
	}
	for _, p := range []*Program{one, two} {
		for code, want := range map[string]string{
			"a": `mapped {"coding":[{"code":"1","display":"One","system":"urn:example:t"}],"text":"a"}`, "b": `mapped {"text":"b"}`,
			"c": `mapped {"coding":[{"code":"3","system":"urn:example:t"}]}`, "d": `mapped unmapped-code@CODE {"text":"d"}`,
		} {
			if got := mapped(t, p, "p", code); got != want {
				t.Errorf("%s: got %s, want %s", code, got, want)
			}
		}
	}
	json["maps/codes.csv"] = csv["maps/codes.csv"]
	json["maps/bad.json"] = `{"resourceType": "ConceptMap", "group": [{"target": "urn:example:t", "unmapped": {"mode": "other-map", "url": "http://nowhere"},
		"element": [{"code": "a", "target": [{"code": "1", "equivalence": "equal"}]}]}]}`
	json["maps/twin.csv"] = "# url: http://example.org/codes\n" + mapHead
	json["maps/triplet.csv"] = "# url: http://example.org/codes\n" + mapHead
	json["maps/worse.json"] = `{"resourceType": "ConceptMap", "group": [{"target": "urn:example:t", "element": [{"code": "a", "target": [{"code": "1", "equivalence": "equal", "dependsOn": []}]}]}]}`
	_, faults := readFiles(t, json)
	want := `pack/maps/bad.json:1:82: group[0].unmapped: there is no concept map "http://nowhere" for the codes that this one does not know (maps of the same pack can be named, by name or URL)
pack/maps/codes.json: the concept map "codes" is there twice, first in pack/maps/codes.csv (keep one form of it)
pack/maps/twin.csv: the URL http://example.org/codes is that of another concept map too, pack/maps/triplet.csv (give one of them another)
pack/maps/worse.json:1:158: group[0].element[0].target[0].dependsOn: is not supported, and must not be ignored`
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// GEM files lie beside the map or in a folder beside the pack, packed or not, and nowhere else.
func TestGEMFiles(t *testing.T) {
	const text = "25000 E119    10000\n64641 O3500X0 10000\n64641 O3510X0 10000\n24901 E0965   10111\n24901 E0969   10112\nE9500 NoDx    11000\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	pack := func(file string) fstest.MapFS {
		files := fstest.MapFS{}
		for name, text := range obs("", "  method: = CODE.translated('icd')\n") {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		files["maps/icd.csv"] = &fstest.MapFile{Data: []byte("# gem: " + file + "\n# system: " + terminology.ICD9CM + "\n# target: " + terminology.ICD10CM + "\n# unknown: text\n# alternatives: keep\n" + mapHead)}
		return files
	}
	plain, gz, other := pack("g.txt"), pack("g.txt.gz"), pack("codes/g.txt")
	plain["maps/g.txt"] = &fstest.MapFile{Data: []byte(text)}
	gz["maps/g.txt.gz"] = &fstest.MapFile{Data: packed.Bytes()}
	home := fstest.MapFS{"codes/g.txt": &fstest.MapFile{Data: []byte(text)}}
	for name, files := range map[string]fstest.MapFS{"plain": plain, "packed": gz, "beside": other} {
		read, faults := Read(files, "own", home)
		if len(faults) > 0 {
			t.Fatal(name, faults)
		}
		p, _, faults := Compile([]*Pack{read}, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: testTables}}, NoCoverage: true})
		if len(faults) > 0 {
			t.Fatal(name, faults)
		}
		own := func(code string) string { return `{"code":"` + code + `","system":"` + terminology.ICD9CM + `"}` }
		ten := func(code string) string { return `,{"code":"` + code + `","system":"` + terminology.ICD10CM + `"}` }
		for code, want := range map[string]string{
			"250.00": `mapped {"coding":[` + own("250.00") + ten("E11.9") + `]}`, "25000": `mapped {"coding":[` + own("250.00") + ten("E11.9") + `]}`,
			"646.41": `mapped several-targets@CODE {"coding":[` + own("646.41") + `]}`, "249.01": `mapped {"coding":[` + own("249.01") + ten("E09.65") + ten("E09.69") + `]}`,
			"E950.0": `mapped {"coding":[` + own("E950.0") + `]}`, "999": `mapped unmapped-code@CODE {"text":"999"}`,
		} {
			if got := mapped(t, p, "p", code); got != want {
				t.Errorf("%s %s: got %s, want %s", name, code, got, want)
			}
		}
	}
	broken := pack("g.txt.gz")
	broken["maps/g.txt.gz"] = &fstest.MapFile{Data: []byte(text)}
	torn := pack("g.txt.gz")
	torn["maps/g.txt.gz"] = &fstest.MapFile{Data: packed.Bytes()[:packed.Len()-12]}
	wrong := pack("g.txt")
	wrong["maps/g.txt"] = &fstest.MapFile{Data: []byte("E119  25000   10000\n")}
	for want, files := range map[string]fstest.MapFS{
		`own/maps/icd.csv:1:8: the GEM file "../g.txt" lies outside of the folders that a map can name (put it beside the map or into the plan's folder)`: pack("../g.txt"),
		`own/maps/icd.csv:1:8: the GEM file "/g.txt" lies outside of the folders that a map can name (put it beside the map or into the plan's folder)`:   pack("/g.txt"),
		`own/maps/icd.csv:1:8: there is no GEM file "other.txt" (CMS offers it for download; put it beside the map or into the plan's folder)`:            pack("other.txt"),
		`own/maps/icd.csv:1:8: the GEM file "g.txt.gz" is not packed as its name says`:                                                                    broken,
		`g.txt:1: the target code is none of ICD-10-CM`:                 wrong,
		`g.txt.gz:7: the file cannot be read: it is damaged or no text`: torn,
	} {
		if _, faults := Read(files, "own", home); len(faults) != 1 || faults[0].String() != want {
			t.Errorf("got %v\nwant %s", faults, want)
		}
	}
}

// A value is converted to the unit that is wanted, exactly, or the record is refused.
func TestQuantityInAnotherUnit(t *testing.T) {
	const units = "# unknown: text\n" + mapHead + "mcg,http://unitsofmeasure.org,ug,,\nmg,http://unitsofmeasure.org,mg,,\nlbs,http://unitsofmeasure.org,[lb_av],,\nF,http://unitsofmeasure.org,[degF],,\n" +
		"mgdl,http://unitsofmeasure.org,mg/dL,,\nmeq,http://unitsofmeasure.org,meq,,\ntab,http://unitsofmeasure.org,{tablet},,\nlocal,urn:example:local,mg,,\ntwo,http://unitsofmeasure.org,mg,,\ntwo,http://unitsofmeasure.org,g,,\nnone,,,,unmatched\n"
	for _, c := range []struct{ value, unit, to, want string }{
		{"500", "mcg", "mg", `mapped {"code":"mg","system":"http://unitsofmeasure.org","unit":"mg","value":0.500}`},
		{"2.50", "mg", "ug", `mapped {"code":"ug","system":"http://unitsofmeasure.org","unit":"ug","value":2500}`},
		{"150", "lbs", "kg", `mapped {"code":"kg","system":"http://unitsofmeasure.org","unit":"kg","value":68.0}`},
		{"98.6", "F", "Cel", `mapped {"code":"Cel","system":"http://unitsofmeasure.org","unit":"Cel","value":37.0}`},
		{"<5", "mgdl", "g/L", `mapped {"code":"g/L","comparator":"<","system":"http://unitsofmeasure.org","unit":"g/L","value":0.05}`},
		{"1.50", "mg", "mg", `mapped {"code":"mg","system":"http://unitsofmeasure.org","unit":"mg","value":1.50}`},
		{"100", "mgdl", "mmol/L", "refused unconvertible-unit"},
		{"1", "meq", "mmol", "refused unconvertible-unit"},
		{"1", "tab", "mg", "refused unconvertible-unit"},
		{"1", "local", "mg", "refused unconvertible-unit"},
		{"1", "strange", "mg", "refused unconvertible-unit"},
		{"1", "none", "mg", "refused unconvertible-unit"},
		{"1", "", "mg", "refused unconvertible-unit"},
		{"1e99", "mg", "g", "refused unconvertible-unit"},
		{"x", "mg", "g", "refused bad-number"},
		{"1", "two", "mg", "refused several-targets"},
		{"1", "two", "", "refused several-targets"},
		{"1", "strange", "", `mapped {"unit":"strange","value":1}`},
		{"", "mg", "g", "mapped"},
	} {
		call := "UNIT"
		if c.to != "" {
			call += ", '" + c.to + "'"
		}
		files := obs("", `  valueQuantity: "= VALUE.quantity(`+call+`)"`+"\n")
		files["maps/units.csv"] = units
		pack, faults := readFiles(t, files)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		fast, slow := both(t, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: testTables}}, NoCoverage: true}, pack)
		for way, p := range map[string]*Program{"written": fast, "evaluated": slow} {
			if got := mapped(t, p, "p", "c", "", c.value, c.unit); got != c.want {
				t.Errorf("%s %s to %s, %s:\ngot  %s\nwant %s", c.value, c.unit, c.to, way, got, c.want)
			}
		}
	}
	files := obs("", `  valueQuantity: "= VALUE.quantity(UNIT, 'mg/dL')"`+"\n")
	if got := mapped(t, mustCompile(t, files), "p", "c", "", "1.5", "g/L"); got != `mapped {"code":"mg/dL","system":"http://unitsofmeasure.org","unit":"mg/dL","value":150}` {
		t.Errorf("without a map of units: %s", got)
	}
	// The manual's way to keep the value as it was.
	kept := obs("", `  valueQuantity:
    extension:
      - url: http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation
        valueQuantity: = VALUE.quantity(UNIT)
    value: = VALUE.quantity(UNIT, 'kg').value
    unit: kg
    system: http://unitsofmeasure.org
    code: kg
`)
	kept["maps/units.csv"] = units
	want := `mapped {"code":"kg","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation","valueQuantity":` +
		`{"code":"[lb_av]","system":"http://unitsofmeasure.org","unit":"lbs","value":150}}],"system":"http://unitsofmeasure.org","unit":"kg","value":68.0}`
	if got := mapped(t, mustCompile(t, kept), "p", "c", "", "150", "lbs"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, notices, faults := compileFiles(t, func() map[string]string {
		files := obs("", "  valueQuantity: = VALUE.quantity(UNIT)\n")
		files["maps/units.csv"] = units
		return files
	}())
	if len(faults) > 0 || !slices.ContainsFunc(notices, func(n Notice) bool {
		return n.Severity == IsFinding && n.Rule == FindDoubtfulUnit && strings.HasPrefix(n.Fault.String(), "pack/maps/units.csv:6:1: ")
	}) {
		t.Errorf("no finding about the line that takes farad for Fahrenheit: %v", faults)
	}
	for unit, want := range map[string]string{
		"'mgdl'": "mg/dL and mmol/L are a mass and an amount of substance: only the molar mass of the substance relates them",
		"'odd'":  `the concept map units has no unit of UCUM for "odd"`,
		"'meq'":  "meq and mmol/L have different dimensions",
	} {
		files := obs("", `  valueQuantity: "= VALUE.quantity(`+unit+`, 'mmol/L')"`+"\n")
		files["maps/units.csv"] = units
		_, _, faults := compileFiles(t, files)
		if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), "pack/observation.yaml:") || !strings.Contains(faults[0].Message, want) {
			t.Errorf("%s: %v", unit, faults)
		}
	}
	for to, want := range map[string]string{
		"'mcg'": `"mcg" is not a unit of UCUM (units are case-sensitive: 'mg/dL', '10*3/uL', 'Cel')`,
		"UNIT":  `the unit to convert to is a constant text in quotes (such as 'mg/dL')`,
		"'mg '": `"mg " is not a unit of UCUM (units are case-sensitive: 'mg/dL', '10*3/uL', 'Cel')`,
	} {
		_, _, faults := compileFiles(t, obs("", `  valueQuantity: "= VALUE.quantity(UNIT, `+to+`)"`+"\n"))
		if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), "pack/observation.yaml:") || !strings.HasSuffix(faults[0].String(), want) {
			t.Errorf("%s: %v", to, faults)
		}
	}
}
