package terminology

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const csvHead = "source code,target system,target code,display,relationship\n"

func readMap(t *testing.T, name, text string) *ConceptMap {
	t.Helper()
	m, faults := ReadCSV(name, strings.NewReader(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return m
}

func TestSettings(t *testing.T) {
	m := readMap(t, "m", "# narrower: refuse,,,,\n# alternatives: keep\n# url: http://x/map\n# unknown: fixed http://x|UNK|Unknown\n"+csvHead+"a,http://x,1,,\n")
	want := Coding{"http://x", "UNK", "Unknown", "relatedto"}
	if !m.RefuseNarrower || m.Alternatives != Keep || m.URL != "http://x/map" || m.Unknown != Fixed || m.Fixed != want {
		t.Errorf("%+v", m)
	}
	for text, want := range map[string]string{
		"# narrower: refuze":              `m:1:13: "refuze" does not say what becomes of codes whose target asserts more than they do (did you mean "refuse"?)`,
		"# alternatives: all":             `m:1:17: "all" does not say what becomes of codes with several targets to choose from (one of refuse, text, keep)`,
		"# unknown: fixed":                `m:1:12: "fixed" does not say what becomes of unknown codes (one of refuse, text, keep, fixed SYSTEM|CODE, map NAME)`,
		"# unknown: fixed UNK":            `m:1:12: the system of the fixed code is not a URI (write # unknown: fixed SYSTEM|CODE)`,
		"# unknown: fixed http://x":       `m:1:12: the fixed code is blank (write # unknown: fixed SYSTEM|CODE)`,
		"# url: here":                     `m:1:8: the map's URL is not a URI`,
		"# alternative: keep":             "m:1:3: `alternative:` is none of the settings of a concept map (did you mean \"alternatives\"?)",
		"# target: http://x":              "m:2: `target` is given without a GEM file (each line names its target's system)",
		"# narrower: find\n# narrower: x": "m:2:3: `narrower` is given twice",
	} {
		_, faults := ReadCSV("m", strings.NewReader(text+"\n"+csvHead))
		if len(faults) == 0 || faults[0].String() != want {
			t.Errorf("%s\ngot  %v\nwant %s", text, faults, want)
		}
	}
}

// Several targets are written only where each of them holds; narrower ones assert more, and are told.
func TestRelationships(t *testing.T) {
	m := readMap(t, "m", csvHead+"all,http://x,1,,equivalent\nall,http://y,2,,wider\nall,http://y,3,,subsumes\nchoice,http://x,1,,narrower\nchoice,http://x,2,,narrower\n"+
		"mixed,http://x,1,,equal\nmixed,http://x,2,,relatedto\none,http://x,1,,specializes\nloose,http://x,9,,inexact\nplain,http://x,9,,equal\nnone,,,,disjoint\n")
	for code, want := range map[string][3]bool{ // choice, narrower, loose
		"all": {false, false, true}, "choice": {true, true, true}, "mixed": {true, false, true}, "one": {false, true, true},
		"loose": {false, false, true}, "plain": {false, false, false}, "none": {false, false, false},
	} {
		e, ok := m.Lookup(code)
		if got := [3]bool{e.Choice, e.Narrower(), Loose(e.Targets)}; !ok || got != want {
			t.Errorf("%s: choice, narrower, loose: %v, want %v", code, got, want)
		}
	}
	want := map[string]int{"equivalent": 1, "wider": 1, "subsumes": 1, "narrower": 1, "choice": 2, "equal": 2, "relatedto": 1, "specializes": 1, "inexact": 1, "unmatched": 1}
	if diff := cmp.Diff(want, m.Relationships()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Maps may send what they do not know to others, and then say the same as one map with all codes.
func TestLink(t *testing.T) {
	link := func(texts map[string]string) (map[string]*ConceptMap, Faults) {
		all := map[string]*ConceptMap{}
		for name, text := range texts {
			all[name] = readMap(t, name, text)
		}
		var faults Faults
		for _, m := range all {
			faults = append(faults, m.Link(func(name string) *ConceptMap {
				for _, o := range all {
					if o.Name == name || o.URL == name {
						return o
					}
				}
				return nil
			})...)
		}
		return all, faults.Sort()
	}
	all, faults := link(map[string]string{
		"local":   "# unknown: map http://x/general\n" + csvHead + "a,http://x,local,,\n",
		"general": "# unknown: map rest\n# url: http://x/general\n" + csvHead + "a,http://x,general,,\nb,http://x,general,,\n",
		"rest":    "# unknown: keep\n" + csvHead + "b,http://x,rest,,\nc,http://x,rest,,\n",
	})
	flat := readMap(t, "flat", "# unknown: keep\n"+csvHead+"a,http://x,local,,\nb,http://x,general,,\nc,http://x,rest,,\n")
	if len(faults) > 0 || all["local"].Digest() != flat.Digest() {
		t.Errorf("%v %v", faults, contents(all["local"]))
	}
	_, faults = link(map[string]string{
		"a": "# unknown: map b\n" + csvHead, "b": "# unknown: map a\n" + csvHead, "c": "# a\n# unknown: map nowhere\n" + csvHead,
		"d": "# unknown: map e\n" + csvHead, "e": "# system: http://other\n" + csvHead,
	})
	want := `a:1:12: the concept maps send unknown codes to each other in a circle
b:1:12: the concept maps send unknown codes to each other in a circle
c:2:12: there is no concept map "nowhere" for the codes that this one does not know (maps of the same pack can be named, by name or URL)
d:1:12: the concept map "e" translates codes of another system`
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What a map says has one digest, as CSV and as JSON.
func TestBothFormsHaveOneDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		narrower := rapid.SampledFrom([]string{"find", "refuse"}).Draw(t, "narrower")
		alternatives := rapid.SampledFrom([]string{"refuse", "text", "keep"}).Draw(t, "alternatives")
		system := rapid.SampledFrom([]string{"", "http://s"}).Draw(t, "system")
		unknown := rapid.SampledFrom([]string{"refuse", "text", "keep", "fixed"}).Draw(t, "unknown")
		text := "# narrower: " + narrower + "\n# alternatives: " + alternatives + "\n"
		if system != "" {
			text += "# system: " + system + "\n"
		}
		unmapped := ""
		settings := ""
		switch unknown {
		case "fixed":
			text += "# unknown: fixed http://x|U|Unknown\n"
			unmapped = `"unmapped": {"mode": "fixed", "code": "U", "display": "Unknown"},`
		case "keep":
			text += "# unknown: keep\n"
			unmapped = `"unmapped": {"mode": "provided"},`
		default:
			text += "# unknown: " + unknown + "\n"
			settings = fmt.Sprintf(`,{"url": "%sunknown", "valueCode": "%s"}`, extension, unknown)
		}
		text += csvHead
		var elements []string
		for i := range rapid.IntRange(0, 4).Draw(t, "codes") {
			var targets []string
			for k := range rapid.IntRange(0, 3).Draw(t, "targets") {
				relationship := rapid.SampledFrom([]string{"equal", "wider", "narrower", "inexact", "equivalent"}).Draw(t, "relationship")
				text += fmt.Sprintf("c%d,http://x,%d,D%d,%s\n", i, k, k, relationship)
				targets = append(targets, fmt.Sprintf(`{"code": "%d", "display": "D%d", "equivalence": "%s"}`, k, k, relationship))
			}
			if len(targets) == 0 {
				text += fmt.Sprintf("c%d,,,,unmatched\n", i)
			}
			elements = append(elements, fmt.Sprintf(`{"code": "c%d", "target": [%s]}`, i, strings.Join(targets, ",")))
		}
		json := fmt.Sprintf(`{"resourceType": "ConceptMap", "extension": [{"url": "%snarrower", "valueCode": "%s"},{"url": "%salternatives", "valueCode": "%s"}%s],
			"group": [{"source": "%s", "target": "http://x", %s "element": [%s]}]}`, extension, narrower, extension, alternatives, settings, system, unmapped, strings.Join(elements, ","))
		a, f1 := ReadCSV("a", strings.NewReader(text))
		b, f2 := ReadFHIR("b", []byte(json))
		if len(f1)+len(f2) > 0 || a.Digest() != b.Digest() {
			t.Fatalf("%v %v\n%s\n%s", f1, f2, text, json)
		}
	})
}

// A unit must be one, and its magnitude must stay what it was.
func TestUnitsOfAMap(t *testing.T) {
	const head = "source code,target system,target code,comment\n"
	for line, want := range map[string]string{
		"mg,http://unitsofmeasure.org,g,":                  "another magnitude",
		"ug,http://unitsofmeasure.org,mg,":                 "another magnitude",
		"10*3/uL,http://unitsofmeasure.org,10*9/mL,":       "another magnitude",
		"mg/dL,http://unitsofmeasure.org,mmol/L,":          "measures something else",
		"K/uL,http://unitsofmeasure.org,10*3/uL,":          "doubt: measures something else",
		"Cel,http://unitsofmeasure.org,[degF],":            "another magnitude",
		"[iU],http://unitsofmeasure.org,mg,":               "doubt: measures something else",
		"meq,http://unitsofmeasure.org,mmol,":              "another magnitude",
		"tablets,http://unitsofmeasure.org,tablets,":       "not a unit of UCUM",
		"mcg,http://unitsofmeasure.org,mcg,":               "not a unit of UCUM",
		"K/uL,http://unitsofmeasure.org,10*3/uL,thousands": "",
		"MG,http://unitsofmeasure.org,mg,":                 "",
		"mcg,http://unitsofmeasure.org,ug,":                "",
		"10*3/uL,http://unitsofmeasure.org,10*9/L,":        "",
		"mL,http://unitsofmeasure.org,ml,":                 "",
		"tablets,http://unitsofmeasure.org,{tablet},":      "",
		"mg,http://x,g,":                                   "",
	} {
		m, faults := ReadCSV("units", strings.NewReader(head+line+"\n"))
		if doubt, ok := strings.CutPrefix(want, "doubt: "); ok {
			if len(faults) > 0 || len(m.Doubts) != 1 || m.Doubts[0].Line != 2 || !strings.Contains(m.Doubts[0].Message, doubt) {
				t.Errorf("%s: %v", line, faults)
			}
			continue
		}
		if (want == "") != (len(faults) == 0) || want != "" && (len(faults) != 1 || faults[0].Line != 2 || !strings.Contains(faults[0].Message, want)) {
			t.Errorf("%s: %v, want %q", line, faults, want)
		}
	}
	json := `{"resourceType": "ConceptMap", "group": [{"target": "http://unitsofmeasure.org", "element": [{"code": "mg", "target": [{"code": "g", "equivalence": "equal"%s}]}]}]}`
	if _, faults := ReadFHIR("units", fmt.Appendf(nil, json, "")); len(faults) != 1 || !strings.HasPrefix(faults[0].Message, "group[0].element[0].target[0]: ") {
		t.Errorf("%v", faults)
	}
	if _, faults := ReadFHIR("units", fmt.Appendf(nil, json, `, "comment": "grams are meant"`)); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

// What is written to be filled in is refused until it is, and then reads as it was meant.
func TestWriteOpen(t *testing.T) {
	var b strings.Builder
	codes := []Open{{"a,b", "12 times"}, {"=SUM(1)", "=x"}, {"-1", ""}, {"'x", ""}, {"'=x", ""}, {"'", ""}, {"#", ""}, {"two\nlines", ""}}
	if err := WriteOpen(&b, []string{"unknown: text", "a\nb"}, codes); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if _, faults := ReadCSV("m", strings.NewReader(text)); len(faults) != len(codes) || faults[0].String() != "m:4:1: the line is not filled in (give a target, or the relationship `unmatched`)" {
		t.Errorf("%v", faults)
	}
	if !strings.Contains(text, "\n'=SUM(1),,,,,'=x\n") || !strings.HasPrefix(text, "# unknown: text\n# a b\n") {
		t.Errorf("%s", text)
	}
	filled := readMap(t, "m", strings.ReplaceAll(text, ",,,,,", ",http://x,1,,wider,"))
	if filled.Len() != len(codes) || filled.Unknown != Text {
		t.Errorf("%d codes", filled.Len())
	}
	for _, c := range codes {
		if _, ok := filled.Lookup(c.Code); !ok {
			t.Errorf("%q is not in the map that was filled in", c.Code)
		}
	}
	half := strings.Replace(text, "\"a,b\",,,,,", "\"a,b\",http://x,,,,", 1)
	if _, faults := ReadCSV("m", strings.NewReader(half)); len(faults) != len(codes) || !strings.Contains(faults[0].String(), "m:4:16: the target code is blank") {
		t.Errorf("%v", faults)
	}
	if Holds(" a") || WriteOpen(&b, nil, []Open{{Code: " a"}}) == nil {
		t.Error("a code that no map can hold was written")
	}
}

// What one target system has no code for another may have.
func TestUnmatchedInOneGroup(t *testing.T) {
	m, faults := ReadFHIR("m", []byte(`{"resourceType": "ConceptMap", "group": [
		{"target": "http://x", "element": [{"code": "a", "target": [{"equivalence": "unmatched"}]}]},
		{"target": "http://y", "element": [{"code": "a", "target": [{"code": "1", "equivalence": "equal"}]}]}]}`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if diff := cmp.Diff(map[string][]Coding{"a": {{"http://y", "1", "", "equal"}}}, contents(m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
