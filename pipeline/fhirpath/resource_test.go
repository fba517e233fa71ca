package fhirpath

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

const patient = `{"resourceType":"Patient","id":"p","_birthDate":{"extension":[{"url":"u","valueCode":"unknown"}]},
	"contained":[{"resourceType":"Organization","id":"o","name":"Ward"}],"managingOrganization":{"reference":"#o"},
	"name":[{"family":"Muster","given":["Anna",null,"Eva"],"_given":[null,{"extension":[{"url":"x","valueString":"hidden"}]},{"id":"g3"}]}],
	"multipleBirthInteger":2,"active":true,"telecom":[{"system":"phone","value":"1","rank":1}],
	"extension":[{"url":"q","valueQuantity":{"value":1.50,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}}]}`

func resource(t testing.TB, text string) Value {
	t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Object(n, nil)
}

func TestResource(t *testing.T) {
	focus := resource(t, patient)
	for expression, want := range map[string][]string{
		"name.given":                                        {"Anna", "", "Eva"},
		"name.given.extension.value":                        {"hidden"},
		"name.given.extension('x').value":                   {"hidden"},
		"name.given[1].hasValue()":                          {"false"},
		"name.given[2].id":                                  {"g3"},
		"birthDate.extension.value":                         {"unknown"},
		"birthDate.exists()":                                {"true"},
		"birthDate.hasValue()":                              {"false"},
		"birthDate.getValue()":                              {},
		"multipleBirth":                                     {"2"},
		"multipleBirth is integer":                          {"true"},
		"multipleBirth.ofType(boolean)":                     {},
		"extension('q').value.ofType(Quantity).value":       {"1.50"},
		"extension.value.toQuantity()":                      {"1.50 'mg'"},
		"extension.value = 1.5 'mg'":                        {"true"},
		"extension.value * 2":                               {"3.00 'mg'"},
		"managingOrganization.resolve().name":               {"Ward"},
		"managingOrganization.resolve() is Organization":    {"true"},
		"contained.name":                                    {"Ward"},
		"contained.ofType(Organization).name":               {"Ward"},
		"Resource.id":                                       {"p"},
		"%resource.id":                                      {"p"},
		"name.given.type().name.distinct()":                 {"string"},
		"children().count() > 5":                            {"true"},
		"descendants().where($this is Quantity).unit":       {"mg"},
		"telecom.rank + 1":                                  {"2"},
		"defineVariable('f', name.family).select(%f & '!')": {"Muster!"},
		"name.given.where($index = 0)":                      {"Anna"},
		"name.given.aggregate($total + 1, 0)":               {"3"},
	} {
		for _, env := range []*Env{{Type: focus.FHIRType(), Strict: true}, {}} {
			if got := evaluate(t, expression, env, focus); !slices.Equal(got, want) {
				t.Errorf("%s (type known: %v): got %q, want %q", expression, env.Type != nil, got, want)
			}
		}
	}
}

func TestBundle(t *testing.T) {
	focus := resource(t, `{"resourceType":"Bundle","type":"collection","entry":[
		{"fullUrl":"http://x/Patient/a","resource":{"resourceType":"Patient","id":"a","gender":"male"}},
		{"resource":{"resourceType":"Observation","id":"b","subject":{"reference":"Patient/a"},"valueString":"v"}}]}`)
	for expression, want := range map[string][]string{
		"Bundle.entry.resource.ofType(Patient).gender":                {"male"},
		"entry.resource.value":                                        {"v"},
		"entry.resource.ofType(Observation).subject.resolve().gender": {"male"},
		"entry.resource.where($this is Patient).id":                   {"a"},
	} {
		if got := evaluate(t, expression, &Env{Type: focus.FHIRType(), Strict: true}, focus); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}

func TestStrictNames(t *testing.T) {
	patient := fhir.Lookup("Patient")
	for _, test := range []struct{ expression, hint string }{
		{"nmae", "name"},
		{"name.gvien", "given"},
		{"name.given1", "given"},
		{"Encounter.name", ""},
		{"multipleBirthInteger", "multipleBirth"},
		{"name.given.foo", ""},
		{"(deceased as dateTime).unit", ""},
		{"contact.nam.given", "name"},
	} {
		e, problems := Compile(test.expression, &Env{Type: patient, Strict: true})
		if e != nil || !strings.Contains(problems[0].Hint, test.hint) {
			t.Errorf("%s: got %+v", test.expression, problems)
		}
	}
}

// TestInvariants compiles every invariant of R4 over the type it stands at.
func TestInvariants(t *testing.T) {
	count := 0
	check := func(typ *fhir.Type, list []fhir.Invariant) {
		for _, inv := range list {
			count++
			if _, problems := Compile(inv.Expression, &Env{Type: typ}); len(problems) > 0 {
				t.Errorf("%s at %s: %s\n\t%+v", inv.Key, typ.Name, inv.Expression, problems)
			}
		}
	}
	seen := map[*fhir.Type]bool{}
	var walk func(typ *fhir.Type)
	walk = func(typ *fhir.Type) {
		if typ == nil || seen[typ] {
			return
		}
		seen[typ] = true
		check(typ, typ.Invariants)
		for _, e := range typ.Elements {
			for _, et := range e.Types {
				check(et, e.Invariants)
				walk(et)
			}
		}
	}
	for _, name := range fhir.Resources() {
		walk(fhir.Lookup(name))
	}
	if count < 300 {
		t.Errorf("only %d invariants", count)
	}
}

func TestErrorCodes(t *testing.T) {
	focus := resource(t, patient)
	for expression, code := range map[string]string{
		"name.given.toInteger()":            codeSeveral,
		"name.given.single()":               codeSeveral,
		"now()":                             codeNow,
		"conformsTo('http://trash')":        "profile-not-known",
		"'a'.matches(name.family & '(')":    "regex-not-supported",
		"@2014-01-01 + 1 'mg'":              "unit-not-of-time",
		"telecom.value + telecom.rank":      codeType,
		"repeat($this & 'x')":               codeType,
		"('x').repeat($this & 'x').count()": codeSteps,
		"'" + strings.Repeat("a", 1000) + "'.replace('a','" + strings.Repeat("b", 1000) + "').replace('b','" + strings.Repeat("c", 1000) + "')": codeText,
	} {
		e, problems := Compile(expression, &Env{})
		if e == nil {
			if !strings.HasPrefix(expression, "repeat") && code != codeType {
				t.Errorf("%s: refused: %+v", expression[:min(40, len(expression))], problems)
			}
			continue
		}
		c := NewContext()
		c.MaxSteps = 2_000_000
		_, err := e.Append(c, focus, nil)
		if fault, ok := err.(*Error); !ok || fault.Code != code {
			t.Errorf("%s: got %v, want %s", expression[:min(40, len(expression))], err, code)
		}
	}
}

func TestClock(t *testing.T) {
	e, _ := Compile("now().toString() & ' ' & today().toString() & ' ' & timeOfDay().toString()", &Env{})
	c := NewContext()
	c.Now = time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.FixedZone("", -5*3600))
	v, err := e.One(c, Value{})
	if err != nil || v.Text() != "2026-02-03T04:05:06.007-05:00 2026-02-03 04:05:06.007" {
		t.Errorf("got %q, %v", v.Text(), err)
	}
}

func sprint(format string, v any) string { return fmt.Sprintf(format, v) }

func TestValuesPrintRedacted(t *testing.T) {
	v := String("SECRET")
	for _, s := range []string{sprint("%v", v), sprint("%+v", v), sprint("%#v", v), sprint("%s", []Value{v}), sprint("%q", v),
		sprint("%v", Row{Cells: []string{"SECRET"}}), sprint("%#v", &Row{Cells: []string{"SECRET"}})} {
		if strings.Contains(s, "SECRET") {
			t.Errorf("a value was printed: %s", s)
		}
	}
}
