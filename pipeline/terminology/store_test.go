package terminology

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

var _ fhirpath.Terminology = (*Store)(nil)

// animals is a code system with two parents for one code, an abstract code, a retired one and properties.
const animals = `{"resourceType":"CodeSystem","url":"http://x/animals","version":"2","content":"complete","caseSensitive":true,"hierarchyMeaning":"is-a",
"property":[{"code":"legs","type":"integer"},{"code":"group","uri":"http://hl7.org/fhir/concept-properties#notSelectable","type":"boolean"},{"code":"kindOf","uri":"http://hl7.org/fhir/concept-properties#parent","type":"code"},{"code":"wings","type":"boolean"}],
"concept":[{"code":"animal","property":[{"code":"group","valueBoolean":true}],"concept":[
	{"code":"bird","property":[{"code":"legs","valueInteger":2}],"concept":[{"code":"duck","display":"Duck","property":[{"code":"wings","valueBoolean":true}]},{"code":"dodo","property":[{"code":"status","valueCode":"retired"}]}]},
	{"code":"swimmer","concept":[{"code":"fish"}]},
	{"code":"penguin","property":[{"code":"kindOf","valueCode":"swimmer"},{"code":"kindOf","valueCode":"bird"},{"code":"legs","valueInteger":2},{"code":"food","valueCoding":{"system":"s","code":"fish"}}]}]},
	{"code":"Duck","display":"a brand"}]}`

func set(name, compose string) string {
	return `{"resourceType":"ValueSet","url":"http://x/` + name + `","version":"1","compose":{` + compose + `}}`
}

// of is an include of animals by one filter.
func of(property, op, value string) string {
	return `{"system":"http://x/animals","filter":[{"property":"` + property + `","op":"` + op + `","value":"` + value + `"}]}`
}

// zoo is a store of the animals and some sets, and of other systems.
func zoo(t testing.TB, sets ...string) *Store {
	files := []string{"animals.json", animals, "part.json", `{"resourceType":"CodeSystem","url":"http://x/part","content":"fragment","concept":[{"code":"p"}]}`,
		"loose.json", `{"resourceType":"CodeSystem","url":"http://x/loose","content":"complete","caseSensitive":false,"concept":[{"code":"Aa"},{"code":"Ärzte"}]}`}
	for i, s := range sets {
		files = append(files, fmt.Sprintf("set%d.json", i), s)
	}
	return brought(t, folder(files...), ".")
}

// TestFilters lists what each filter selects of the animals; the codes stand in the order of the code system.
func TestFilters(t *testing.T) {
	for filter, want := range map[[3]string]string{
		{"concept", "is-a", "animal"}:                        "bird duck dodo swimmer fish penguin",
		{"concept", "is-a", "swimmer"}:                       "swimmer fish penguin",
		{"code", "is-a", "bird"}:                             "bird duck dodo penguin",
		{"concept", "descendent-of", "bird"}:                 "duck dodo penguin",
		{"concept", "is-not-a", "bird"}:                      "swimmer fish Duck",
		{"concept", "generalizes", "duck"}:                   "bird duck",
		{"concept", "in", "duck, fish,x"}:                    "duck fish",
		{"concept", "not-in", "duck,fish"}:                   "bird dodo swimmer penguin Duck",
		{"concept", "=", "Duck"}:                             "Duck",
		{"code", "regex", "d.*"}:                             "duck dodo",
		{"code", "regex", "uc"}:                              "",
		{"display", "=", "Duck"}:                             "duck",
		{"display", "regex", "(Duck|a brand)"}:               "duck Duck",
		{"parent", "=", "bird"}:                              "duck dodo penguin",
		{"parent", "exists", "false"}:                        "Duck",
		{"child", "=", "penguin"}:                            "bird swimmer",
		{"legs", "=", "2"}:                                   "bird penguin",
		{"legs", "exists", "true"}:                           "bird penguin",
		{"legs", "exists", "false"}:                          "duck dodo swimmer fish Duck",
		{"legs", "not-in", "3,4"}:                            "bird duck dodo swimmer fish penguin Duck",
		{"legs", "not-in", "2"}:                              "duck dodo swimmer fish Duck",
		{"legs", "regex", "[0-9]"}:                           "bird penguin",
		{"wings", "=", "true"}:                               "duck",
		{"wings", "=", "false"}:                              "bird dodo swimmer fish penguin Duck",
		{"food", "=", "fish"}:                                "penguin",
		{"status", "=", "retired"}:                           "dodo",
		{"concept", "is-a", "unicorn"}:                       "? http://x/animals has no code unicorn, which a filter names",
		{"parent", "=", "unicorn"}:                           "? http://x/animals has no code unicorn, which a filter names",
		{"child", "exists", "true"}:                          "? the filter child exists is not one the program knows",
		{"colour", "=", "red"}:                               "? the property colour of http://x/animals is not at hand",
		{"code", "regex", "("}:                               "? the regular expression of a filter cannot be read",
		{"legs", "<", "3"}:                                   "? the filter legs < is not one the program knows",
		{"code", "regex", strings.Repeat("a", maxPattern+1)}: "? the regular expression of a filter is too long",
	} {
		s := zoo(t, set("s", `"include":[`+of(filter[0], filter[1], filter[2])+`]`))
		v := s.ValueSet("http://x/s")
		got := ""
		if v.Why() != "" {
			got = "? " + v.Why()
		}
		var in []string
		for _, code := range s.codesOf("http://x/animals") {
			switch v.Has("http://x/animals", "", code) {
			case In:
				in = append(in, code)
			case NotKnown:
				if v.Why() == "" {
					t.Errorf("%v: %s is not known, and nothing says why", filter, code)
				}
			}
		}
		if got += strings.Join(in, " "); got != want {
			t.Errorf("%v: %s\nwant %s", filter, got, want)
		}
		if v.Has("http://x/animals", "", "unicorn") != NotIn || v.Has("http://x/plants", "", "duck") != NotIn || v.Has("", "", "duck") != NotIn {
			t.Errorf("%v: what no filter selects is not certain", filter)
		}
	}
}

// ask asks for a coding, or with the system `*` for a code in whichever system.
func ask(v *ValueSet, system, code string) Verdict {
	if system == "*" {
		return v.HasCode(code)
	}
	return v.Has(system, "", code)
}

func TestValueSets(t *testing.T) {
	const all = `{"system":"http://x/animals"}`
	list := func(system string, codes ...string) string {
		return `{"system":"` + system + `","concept":[{"code":"` + strings.Join(codes, `"},{"code":"`) + `"}]}`
	}
	s := zoo(t,
		set("all", `"include":[`+all+`]`), set("some", `"include":[`+list("http://x/animals", "animal", "duck", "griffin")+`]`),
		set("without", `"include":[`+all+`],"exclude":[`+of("concept", "is-a", "bird")+`]`),
		set("import", `"include":[{"valueSet":["http://x/without"]},`+list("http://far", "f")+`]`),
		set("cut", `"include":[{"valueSet":["http://x/all|1","http://x/import"]}]`),
		set("narrowed", `"include":[{"system":"http://x/animals","valueSet":["http://x/import"]}]`),
		set("far", `"include":[{"system":"http://far"},`+list("http://x/animals", "duck")+`]`),
		set("farfilter", `"include":[{"system":"http://far","filter":[{"property":"concept","op":"is-a","value":"x"}]}]`),
		set("farout", `"include":[`+all+`],"exclude":[{"system":"http://far"},{"valueSet":["http://x/far"]}]`),
		set("open", `"include":[`+all+`],"exclude":[{"valueSet":["http://x/nowhere"]}]`),
		set("lost", `"include":[{"valueSet":["http://x/nowhere"]},`+list("http://x/animals", "duck")+`]`),
		set("version", `"include":[{"system":"http://x/animals","version":"3"}]`), set("listedversion", `"include":[{"system":"http://x/animals","version":"3","concept":[{"code":"duck"}]}]`),
		set("part", `"include":[{"system":"http://x/part"}]`), set("loose", `"include":[`+list("http://x/loose", "aA", "ÄRZTE")+`]`), set("looseall", `"include":[{"system":"http://x/loose"}]`),
		set("active", `"inactive":false,"include":[`+all+`,`+list("http://x/animals", "dodo")+`]`), set("nothing", `"include":[]`), set("bare", `"include":[{"concept":[{"code":"a"}]}]`),
		set("self", `"include":[{"valueSet":["http://x/other"]},`+list("s", "a")+`]`), set("other", `"include":[{"valueSet":["http://x/self"]}]`),
		`{"resourceType":"ValueSet","url":"http://x/expanded","compose":{"include":[{"system":"http://far"}]},"expansion":{"total":3,"contains":[{"system":"http://far","code":"a","abstract":true,"contains":[{"system":"http://far","code":"b"},{"system":"http://far","code":"c"}]}]}}`,
		`{"resourceType":"ValueSet","url":"http://x/page","compose":{"include":[{"system":"http://far"}]},"expansion":{"total":30,"contains":[{"system":"http://far","code":"a"}]}}`,
		`{"resourceType":"ValueSet","url":"http://x/unclosed","expansion":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/valueset-unclosed","valueBoolean":true}],"contains":[{"system":"http://far","code":"a"}]}}`,
		`{"resourceType":"ValueSet","url":"http://x/alone","expansion":{"contains":[{"system":"http://far","code":"a"}]}}`,
		`{"resourceType":"ValueSet","url":"http://x/needless","compose":{"include":[`+list("http://x/animals", "duck")+`]},"expansion":{"contains":[{"system":"http://far","code":"a"}]}}`,
	)
	for _, q := range []struct{ set, system, code, want string }{
		{"all", "http://x/animals", "duck", "in"}, {"all", "http://x/animals", "Duck", "in"}, {"all", "http://x/animals", "DUCK", "not in"},
		{"all", "http://x/animals", "animal", "not in"}, {"all", "http://x/animals", "dodo", "in"}, {"all", "http://x/animals", "", "not in"},
		{"some", "http://x/animals", "animal", "in"}, {"some", "http://x/animals", "griffin", "in"}, {"some", "http://x/animals", "fish", "not in"}, {"some", "http://far", "duck", "not in"},
		{"without", "http://x/animals", "fish", "in"}, {"without", "http://x/animals", "penguin", "not in"}, {"without", "http://x/animals", "bird", "not in"},
		{"import", "http://x/animals", "fish", "in"}, {"import", "http://x/animals", "duck", "not in"}, {"import", "http://far", "f", "in"}, {"import", "http://far", "g", "not in"},
		{"cut", "http://x/animals", "fish", "in"}, {"cut", "http://far", "f", "not in"}, {"cut", "*", "fish", "in"}, {"cut", "*", "f", "not in"},
		{"narrowed", "http://x/animals", "fish", "in"}, {"narrowed", "http://far", "f", "not in"},
		{"far", "http://far", "f", "not known"}, {"far", "http://x/animals", "duck", "in"}, {"far", "http://x/animals", "fish", "not in"}, {"far", "*", "fish", "not known"}, {"far", "*", "duck", "in"},
		{"farfilter", "http://far", "f", "not known"}, {"farfilter", "http://x/animals", "duck", "not in"},
		{"farout", "http://x/animals", "duck", "not in"}, {"farout", "http://x/animals", "fish", "in"}, {"farout", "http://far", "f", "not in"},
		{"open", "http://x/animals", "fish", "not known"}, {"open", "http://x/animals", "unicorn", "not in"},
		{"lost", "http://x/animals", "duck", "in"}, {"lost", "http://x/animals", "fish", "not known"}, {"lost", "*", "fish", "not known"},
		{"version", "http://x/animals", "duck", "not known"}, {"listedversion", "http://x/animals", "duck", "in"}, {"listedversion", "http://x/animals", "fish", "not in"},
		{"part", "http://x/part", "p", "in"}, {"part", "http://x/part", "q", "not known"}, {"part", "*", "q", "not known"},
		{"loose", "http://x/loose", "AA", "in"}, {"loose", "http://x/loose", "ärzte", "in"}, {"loose", "http://x/loose", "b", "not in"}, {"looseall", "http://x/loose", "aa", "in"}, {"looseall", "http://x/loose", "ÄRZTE", "in"},
		{"active", "http://x/animals", "dodo", "not in"}, {"active", "http://x/animals", "duck", "in"},
		{"nothing", "http://x/animals", "duck", "not known"}, {"nothing", "*", "duck", "not known"}, {"bare", "", "a", "not known"}, {"bare", "*", "a", "not known"},
		{"self", "s", "a", "in"}, {"self", "s", "b", "not known"}, {"other", "s", "b", "not known"},
		{"expanded", "http://far", "b", "in"}, {"expanded", "http://far", "a", "not in"}, {"expanded", "http://far", "d", "not in"}, {"expanded", "*", "d", "not in"}, {"expanded", "*", "c", "in"},
		{"page", "http://far", "a", "in"}, {"page", "http://far", "b", "not known"}, {"unclosed", "http://far", "a", "in"}, {"unclosed", "http://far", "b", "not known"}, {"unclosed", "*", "b", "not known"},
		{"alone", "http://far", "a", "in"}, {"alone", "http://far", "b", "not in"}, {"alone", "http://x/animals", "duck", "not in"},
		{"needless", "http://far", "a", "not in"}, {"needless", "http://x/animals", "duck", "in"},
		{"nowhere", "http://far", "a", "not known"},
	} {
		v := s.ValueSet("http://x/" + q.set)
		got := ask(v, q.system, q.code)
		if got.String() != q.want {
			t.Errorf("%s %s in %s is %v, want %s (%s)", q.system, q.code, q.set, got, q.want, v.Why())
		}
		if got == NotKnown && v.Why() == "" {
			t.Errorf("%s: nothing says why", q.set)
		}
	}
	for name, want := range map[string]string{
		"all": "", "without": "", "cut": "", "farout": "the codes of http://far are not at hand", "version": "version 3 of http://x/animals is not at hand", "alone": "", "expanded": "",
		"lost": "the value set http://x/nowhere is not at hand", "part": "not all codes of http://x/part are at hand", "nowhere": "there is no definition of it",
		"page": "the codes of http://far are not at hand", "unclosed": "its definition says nothing of what is in it", "bare": "an include names no system",
		"self": "it includes itself by way of http://x/self",
	} {
		if got := s.ValueSet("http://x/" + name).Why(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s.ValueSet("http://x/all|1") != s.ValueSet("http://x/all") || s.ValueSet("http://x/all|9") != nil || s.ValueSet("http://x/all").Version() != "1" {
		t.Errorf("versions of a value set")
	}
	// A coding's own version: of another one than the system at hand nothing is known where the code is not there.
	all1 := s.ValueSet("http://x/all")
	if all1.Has("http://x/animals", "7", "unicorn") != NotKnown || all1.Has("http://x/animals", "2", "unicorn") != NotIn || all1.Has("http://x/animals", "7", "duck") != In {
		t.Errorf("versions of a coding")
	}
}

// TestDoublingSets has forty sets of which each includes the next one twice.
func TestDoublingSets(t *testing.T) {
	var sets []string
	for i := range 40 {
		next := fmt.Sprintf(`{"valueSet":["http://x/s%d"]}`, i+1)
		sets = append(sets, set(fmt.Sprintf("s%d", i), `"include":[`+next+`,`+next+`]`))
	}
	sets = append(sets, set("s40", `"include":[{"system":"s","concept":[{"code":"a"}]}]`))
	s := zoo(t, sets...)
	if v := s.ValueSet("http://x/s0"); v.HasCode("b") != NotKnown || !strings.Contains(v.Why(), "too often") {
		t.Errorf("%v %s", v.HasCode("b"), v.Why())
	}
	if v := s.ValueSet("http://x/s30"); v.HasCode("a") != In || v.HasCode("b") != NotIn || v.Why() != "" {
		t.Errorf("%v %s", v.HasCode("a"), v.Why())
	}
}

func TestGrammars(t *testing.T) {
	s := NewStore(fhir.Core())
	for _, q := range []struct{ set, system, code, want string }{
		{"mimetypes", "urn:ietf:bcp:13", "text/plain", "in"}, {"mimetypes", "urn:ietf:bcp:13", "application/fhir+json;charset=utf-8", "in"}, {"mimetypes", "urn:ietf:bcp:13", "json", "not known"},
		{"mimetypes", "urn:ietf:bcp:13", "text / plain", "not in"}, {"mimetypes", "urn:ietf:bcp:13", "text/", "not in"}, {"mimetypes", "urn:ietf:bcp:13", "a/b/c", "not in"}, {"mimetypes", "urn:ietf:bcp:13", "text/plain;x", "not known"},
		{"mimetypes", "*", "image/png", "in"}, {"mimetypes", "*", "", "not in"},
		{"all-languages", "urn:ietf:bcp:47", "de-CH", "in"}, {"all-languages", "urn:ietf:bcp:47", "zh-Hant-TW", "in"}, {"all-languages", "urn:ietf:bcp:47", "sl-rozaj-biske-1994", "in"},
		{"all-languages", "urn:ietf:bcp:47", "en-a-bbb-x-a-ccc", "in"}, {"all-languages", "urn:ietf:bcp:47", "x-whatever", "in"}, {"all-languages", "urn:ietf:bcp:47", "i-klingon", "in"}, {"all-languages", "urn:ietf:bcp:47", "zh-gan-cmn", "in"},
		{"all-languages", "urn:ietf:bcp:47", "en_US", "not in"}, {"all-languages", "urn:ietf:bcp:47", "e", "not in"}, {"all-languages", "urn:ietf:bcp:47", "en-", "not in"}, {"all-languages", "urn:ietf:bcp:47", "en-a", "not in"},
		{"all-languages", "urn:ietf:bcp:47", "en-x", "not in"}, {"all-languages", "urn:ietf:bcp:47", "en-US-US", "not in"}, {"all-languages", "urn:ietf:bcp:47", "english language", "not in"}, {"all-languages", "urn:ietf:bcp:47", "en--US", "not in"},
		{"ucum-units", "http://unitsofmeasure.org", "mg/dL", "in"}, {"ucum-units", "http://unitsofmeasure.org", "mgs per dl", "not in"}, {"ucum-units", "http://unitsofmeasure.org", "MG/DL", "not in"},
		{"all-distance-units", "http://unitsofmeasure.org", "[in_i]", "in"}, {"all-distance-units", "http://unitsofmeasure.org", "kg", "not in"}, {"all-time-units", "http://unitsofmeasure.org", "min", "in"},
		{"currencies", "urn:iso:std:iso:4217", "CHF", "in"}, {"currencies", "urn:iso:std:iso:4217", "SFr", "not in"}, {"iso3166-1-2", "urn:iso:std:iso:3166", "CH", "in"}, {"iso3166-1-2", "urn:iso:std:iso:3166", "UK", "not in"},
		{"iso3166-1-3", "urn:iso:std:iso:3166", "CHE", "not known"},
	} {
		v := s.ValueSet("http://hl7.org/fhir/ValueSet/" + q.set)
		got := ask(v, q.system, q.code)
		if got.String() != q.want {
			t.Errorf("%q in %s is %v, want %s (%s)", q.code, q.set, got, q.want, v.Why())
		}
	}
	if v := s.ValueSet("http://unitsofmeasure.org/vs"); v.HasCode("kg") != In || !s.CodeSystem("http://unitsofmeasure.org").Complete() {
		t.Errorf("all of UCUM")
	}
}

func TestSimpleLanguage(t *testing.T) {
	s := zoo(t, `{"resourceType":"ValueSet","url":"http://x/simple","compose":{"include":[{"system":"urn:ietf:bcp:47","filter":[{"property":"script","op":"exists","value":"false"},{"property":"region","op":"exists","value":"true"}]}]}}`,
		`{"resourceType":"ValueSet","url":"http://x/odd","compose":{"include":[{"system":"urn:ietf:bcp:47","filter":[{"property":"tone","op":"exists","value":"false"}]}]}}`)
	v := s.ValueSet("http://x/simple")
	for code, want := range map[string]Verdict{"de-CH": In, "de": NotIn, "zh-Hant-TW": NotIn, "es-419": In, "?": NotIn} {
		if got := v.HasCode(code); got != want {
			t.Errorf("%s is %v", code, got)
		}
	}
	if v := s.ValueSet("http://x/odd"); v.HasCode("de") != NotKnown || v.Why() == "" {
		t.Errorf("a filter that is not known: %v", v.HasCode("de"))
	}
}

// TestPackagesInOrder defines one value set in R4, and otherwise in what was added.
func TestPackagesInOrder(t *testing.T) {
	const gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
	s := NewStore(fhir.Core())
	if s.ValueSet(gender).HasCode("diverse") != NotIn || s.ValueSet(gender+"|4.0.1").HasCode("female") != In {
		t.Fatal("R4's own")
	}
	d, faults := ReadFiles(t.Context(), folder("a.json", `{"resourceType":"ValueSet","url":"`+gender+`","version":"9","compose":{"include":[{"system":"urn:x","concept":[{"code":"diverse"}]}]}}`), "a.json")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s.Add(d)
	if s.ValueSet(gender).HasCode("diverse") != In || s.ValueSet(gender+"|4.0.1").HasCode("female") != In || s.ValueSet(gender+"|4.0.1").HasCode("diverse") != NotIn {
		t.Errorf("what was added does not win, or wins over a version too")
	}
	var none *Store
	if none.ValueSet(gender).HasCode("x") != NotKnown || none.CodeSystem(gender).Has("x") || none.CodeSystem(gender).Complete() {
		t.Errorf("the nil store knows something")
	}
}

func TestExpressionsAskTheStore(t *testing.T) {
	s := zoo(t, set("birds", `"include":[`+of("concept", "is-a", "bird")+`]`))
	n, err := fhir.Parse([]byte(`{"resourceType":"Basic","code":{"coding":[{"system":"http://x/animals","code":"penguin"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]string{
		"code.memberOf('http://x/birds')":                    "true",
		"'fish'.memberOf('http://x/birds')":                  "false",
		"code.memberOf('http://x/nowhere')":                  "",
		"code.coding.where(subsumedBy(%resource.code)).code": "penguin",
		"code.subsumes(code)":                                "true",
	} {
		e, problems := fhirpath.Compile(expression, &fhirpath.Env{Terminology: s})
		if e == nil {
			t.Fatalf("%s: %v", expression, problems)
		}
		got, err := e.Append(fhirpath.NewContext(), fhirpath.Object(n, nil), nil)
		text := ""
		for _, v := range got {
			text += v.Text()
		}
		if err != nil || text != want {
			t.Errorf("%s: %q, %v", expression, text, err)
		}
	}
	if yes, known := s.Subsumes("http://x/animals", "swimmer", "penguin"); !yes || !known {
		t.Errorf("a penguin is not a swimmer: %v %v", yes, known)
	}
	if yes, known := s.Subsumes("http://x/animals", "penguin", "swimmer"); yes || !known {
		t.Errorf("a swimmer is a penguin: %v %v", yes, known)
	}
}

func TestQuestionsDoNotAllocate(t *testing.T) {
	s := zoo(t, set("birds", `"include":[`+of("concept", "is-a", "bird")+`]`), set("loose", `"include":[{"system":"http://x/loose"}]`))
	birds, loose, gender := s.ValueSet("http://x/birds"), s.ValueSet("http://x/loose"), r4().ValueSet("http://hl7.org/fhir/ValueSet/administrative-gender")
	ask := func() {
		birds.HasCode("fish")
		loose.Has("http://x/loose", "", "AA")
		gender.HasCode("female")
		gender.HasCode("no such")
		s.ValueSet("http://x/birds|1")
	}
	ask()
	if n := testing.AllocsPerRun(100, ask); n > 0 {
		t.Errorf("%v allocations", n)
	}
	// A code with two parents takes memory that is kept for the next one; the race detector has some of it thrown away.
	if n := testing.AllocsPerRun(100, func() { birds.Has("http://x/animals", "", "penguin") }); n > 1 {
		t.Errorf("%v allocations to climb", n)
	}
}

func TestStoreConcurrently(t *testing.T) {
	s := NewStore(fhir.Core())
	urls := fhir.Core().URLs("ValueSet")[:60]
	var all sync.WaitGroup
	got := make([][]*ValueSet, 4)
	for i := range got {
		all.Go(func() {
			for _, url := range urls {
				v := s.ValueSet(url)
				v.HasCode("x")
				got[i] = append(got[i], v)
				s.CodeSystem("http://terminology.hl7.org/CodeSystem/v3-ActCode").Subsumes("ABUSE", "DRG")
			}
		})
	}
	all.Wait()
	for j, url := range urls {
		for i := range got {
			if got[i][j] == nil || got[i][j] != got[0][j] {
				t.Fatalf("%s is another one in goroutine %d", url, i)
			}
		}
	}
}

// TestAncestry compares the climb with the closure, over random graphs, loops among them.
func TestAncestry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "concepts")
		b := newBuilder("urn:x", "")
		for i := range n {
			b.add(fmt.Sprint(i), "")
		}
		above := make([][]bool, n)
		for i := range above {
			above[i] = make([]bool, n)
			above[i][i] = true
		}
		for _, pair := range rapid.SliceOfN(rapid.IntRange(0, n*n-1), 0, 20).Draw(t, "links") {
			b.parents = append(b.parents, link{int32(pair / n), int32(pair % n)})
			above[pair/n][pair%n] = true
		}
		for k := range n {
			for i := range n {
				for j := range n {
					above[i][j] = above[i][j] || above[i][k] && above[k][j]
				}
			}
		}
		c := b.finish()
		for i := range n {
			for j := range n {
				if got := c.under(int32(i), int32(j)); got != above[i][j] {
					t.Fatalf("%d under %d: %v", i, j, got)
				}
			}
		}
	})
}

// TestIndex compares the hash table with a map.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBuilder("urn:x", "")
		b.c.fold = rapid.Bool().Draw(t, "fold")
		key := func(code string) string {
			if b.c.fold {
				return strings.ToLower(code)
			}
			return code
		}
		want := map[string]int32{}
		codes := rapid.SliceOf(rapid.StringMatching(`[a-cA-Cä]{0,3}`)).Draw(t, "codes")
		for _, code := range codes {
			at, fresh := b.add(code, "display of "+code)
			if before, ok := want[key(code)]; ok == fresh || ok && before != at {
				t.Fatalf("%q: %d, %v", code, at, fresh)
			}
			want[key(code)] = at
		}
		c := b.finish()
		for _, code := range append(codes, "zz", "abcd") {
			at, ok := want[key(code)]
			if !ok {
				at = -1
			}
			if got := c.at(code); got != at {
				t.Fatalf("%q is at %d, want %d", code, got, at)
			}
		}
	})
}

func FuzzParseTag(f *testing.F) {
	for _, code := range []string{"de", "zh-Hant-TW", "en-a-bbb-x-a", "x-y", "-", "en--"} {
		f.Add(code)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if _, ok := parseTag(code); ok && (code == "" || strings.ContainsAny(code, " _\t")) {
			t.Errorf("%q is a language tag", code)
		}
	})
}

// FuzzReadFiles feeds each reader: no panic, and a fault or a code system.
func FuzzReadFiles(f *testing.F) {
	f.Add("a.csv", wards)
	f.Add("a.json", animals)
	f.Add("RXNCONSO.RRF", "1|2|3")
	f.Add("Loinc.csv", "LOINC_NUM,LONG_COMMON_NAME,STATUS\n1-1,x,ACTIVE\n")
	f.Add("c.txt", conceptHead+concepts("1", "2"))
	f.Add("d.txt", descriptionHead+nameRow("1", fsn, "x"))
	f.Add("r.txt", relationshipHead+isaRow("1", "2"))
	f.Fuzz(func(t *testing.T, name, text string) {
		if strings.ContainsAny(name, "/\\") || strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".zst") || name == "" || name == "." || name == ".." {
			return
		}
		d, faults := ReadFiles(t.Context(), folder(name, text), name)
		if (d == nil) != (len(faults) > 0) {
			t.Errorf("definitions %v, faults %v", d != nil, faults)
		}
	})
}

func BenchmarkHas(b *testing.B) {
	v := r4().ValueSet("http://terminology.hl7.org/ValueSet/v3-ActPharmacySupplyType")
	b.ReportAllocs()
	for b.Loop() {
		v.Has("http://terminology.hl7.org/CodeSystem/v3-ActCode", "", "FFPS")
	}
}
