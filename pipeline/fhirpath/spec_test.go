package fhirpath

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSpecification runs the statements of testdata/spec.txt and spec-r4.txt: what the standards say, one by one, over
// values whose type is known and is not, and beside each result that the type known while compiling covers it.
func TestSpecification(t *testing.T) {
	count := 0
	for _, file := range []string{"spec.txt", "spec-r4.txt"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		section, focus := "", Value{}
		for i, line := range strings.Split(string(data), "\n") {
			at := fmt.Sprintf("%s:%d, %s", file, i+1, section)
			switch {
			case strings.HasPrefix(line, "@ "):
				focus = resource(t, line[2:])
				continue
			case strings.HasPrefix(line, "## "):
				section = line[3:]
				continue
			case strings.HasPrefix(line, "#"), line == "":
				continue
			}
			expression, want, ok := strings.Cut(line, " => ")
			if !ok {
				t.Fatalf("%s: no =>", at)
			}
			count++
			statement(t, at, strings.ReplaceAll(expression, `comment\n`, "comment\n"), want, focus)
		}
	}
	if count < 900 {
		t.Errorf("only %d statements", count)
	}
}

// statement checks one line. Of two results parted by | the first is that of strict names, the second that of others.
func statement(t *testing.T, at, expression, want string, focus Value) {
	t.Helper()
	strict, lax, two := strings.Cut(want, " | ")
	if !two {
		lax = strict
	}
	if got := outcome(t, expression, &Env{}, focus); got != lax && !(got == "error" && lax == "invalid" && !focus.none()) {
		t.Errorf("%s: %s\n\tgot  %s\n\twant %s", at, expression, got, lax)
	}
	// What must fail may be told at once where names are strict.
	if got := outcome(t, expression, &Env{Type: focus.FHIRType(), Strict: true}, focus); got != strict && !(got == "invalid" && strict == "error") {
		t.Errorf("%s, strict: %s\n\tgot  %s\n\twant %s", at, expression, got, strict)
	}
}

// outcome compiles and runs an expression and writes the result as testdata/spec.txt does.
func outcome(t *testing.T, expression string, env *Env, focus Value) string {
	t.Helper()
	e, problems := Compile(expression, env)
	if e == nil {
		for _, p := range problems {
			if p.Message == "" || p.Offset < 0 || p.Length < 0 || p.Offset+p.Length > len(expression) {
				t.Errorf("%s: problem %+v", expression, p)
			}
		}
		return "invalid"
	}
	c := NewContext()
	c.Now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c.MaxSteps = 100_000
	out, err := e.Append(c, focus, nil)
	if err != nil {
		return "error"
	}
	covers(t, expression, e.Static(), out)
	if len(out) == 0 {
		return "{}"
	}
	texts := make([]string, len(out))
	for i, v := range out {
		switch v.Kind() {
		case KindString:
			texts[i] = "'" + v.Text() + "'"
		case KindDate, KindDateTime:
			texts[i] = "@" + v.Text()
		case KindTime:
			texts[i] = "@T" + v.Text()
		case KindObject:
			texts[i] = "no value"
		default:
			texts[i] = v.Text()
		}
	}
	return strings.Join(texts, ", ")
}

// covers checks that what was known while compiling holds for the result.
func covers(t *testing.T, expression string, st StaticType, out []Value) {
	t.Helper()
	fault := ""
	switch {
	case st.Single && len(out) > 1:
		fault = fmt.Sprintf("%d values, proven at most one", len(out))
	case !st.MayBeEmpty && len(out) == 0:
		fault = "empty, proven not to be"
	}
	for _, v := range out {
		// A primitive that has only extensions, or not the form of its type, is not a value of that type's kind.
		odd := v.model() != nil && v.kind() != kindOf(v.model())
		if !st.Kinds.Has(v.Kind()) && !odd {
			fault = fmt.Sprintf("a %v, proven to be among %b", v.Kind(), st.Kinds)
		}
		if types := typesOf(st); len(types) > 0 {
			found := false
			for _, typ := range types {
				found = found || v.model().Is(typ.Name)
			}
			if !found {
				fault = fmt.Sprintf("a %s, proven to be %s", v.Type(), typeList(types))
			}
		}
	}
	if fault != "" {
		t.Errorf("%s: %s", expression, fault)
	}
}

// parts are what TestStaticTypes puts together: values to begin with, calls to follow, operators between.
var parts = struct{ values, calls, operators []string }{
	[]string{"1", "2.50", "'text'", "true", "{}", "@2014-02", "@2014-02-28T10:30:00Z", "@T10:30", "4 'mg'", "3 days", "(1 | 2)", "('a' | 'b' | 1)", "name", "name.given",
		"birthDate", "active", "multipleBirth", "extension.value", "contained", "managingOrganization", "telecom.rank", "$this", "%resource", "children()", "deceased"},
	[]string{"empty()", "exists()", "exists($this = 1)", "all($this is string)", "allTrue()", "count()", "distinct()", "isDistinct()", "where($this ~ 'a')", "where($index = 0)",
		"select($this)", "select($this & 'x')", "repeat(children())", "repeatAll(children())", "ofType(string)", "ofType(Quantity)", "ofType(Integer)", "as(HumanName)", "is(Integer)", "is(HumanName)",
		"single()", "first()", "last()", "tail()", "skip(1)", "take(1)", "intersect(1)", "exclude(1)", "union('a')", "combine('b')", "subsetOf(1)", "supersetOf(1)",
		"iif($this.exists(), 1, 'x')", "iif(false, 1)", "coalesce({}, 'x')", "toBoolean()", "toInteger()", "toDecimal()", "toString()", "toDate()", "toDateTime()", "toTime()", "toQuantity()", "toQuantity('g')",
		"convertsToInteger()", "convertsToQuantity()", "indexOf('e')", "lastIndexOf('t')", "substring(1)", "substring(0, 1)", "startsWith('t')", "endsWith('t')", "contains('e')", "upper()", "replace('t', 'u')",
		"matches('t')", "matchesFull('t.*', 'i')", "replaceMatches('t', 'u')", "length()", "toChars()", "encode('hex')", "decode('hex')", "escape('html')", "unescape('json')", "trim()", "split('e')", "join(',')",
		"abs()", "ceiling()", "exp()", "floor()", "ln()", "log(2)", "power(2)", "power(0.5)", "round(1)", "sqrt()", "truncate()", "lowBoundary()", "highBoundary(4)", "precision()", "comparable(1 'g')",
		"children()", "descendants()", "trace('t')", "defineVariable('v')", "aggregate($this, 0)", "sum()", "min()", "max()", "avg()", "sort()", "sort($this desc)", "type()", "not()",
		"yearOf()", "hourOf()", "timezoneOffsetOf()", "dateOf()", "timeOf()", "duration(@2015-03, 'month')", "difference(today(), 'day')", "extension('q')", "hasValue()", "getValue()", "resolve()",
		"checkModifiers()", "htmlChecks()", "family", "given", "value", "id", "name", "unit", "[0]"},
	[]string{"+", "-", "*", "/", "div", "mod", "&", "|", "=", "!=", "~", "!~", "<", "<=", "in", "contains", "and", "or", "xor", "implies"},
}

// TestStaticTypes: whatever is put together, the type known while compiling covers the values, whether the focus has a
// known type or none.
func TestStaticTypes(t *testing.T) {
	focus := resource(t, patient)
	envs := []*Env{{}, {Type: focus.FHIRType()}, {Type: focus.FHIRType(), Strict: true}}
	ran := 0
	rapid.Check(t, func(rt *rapid.T) {
		chain := func(label string) string {
			text := rapid.SampledFrom(parts.values).Draw(rt, label)
			for range rapid.IntRange(0, 4).Draw(rt, label+" calls") {
				call := rapid.SampledFrom(parts.calls).Draw(rt, label+" call")
				if call == "[0]" {
					text += call
					continue
				}
				text += "." + call
			}
			return text
		}
		expression := chain("a")
		if rapid.Bool().Draw(rt, "operator") {
			expression = "(" + expression + ") " + rapid.SampledFrom(parts.operators).Draw(rt, "op") + " (" + chain("b") + ")"
		}
		for _, env := range envs {
			e, _ := Compile(expression, env)
			if e == nil {
				continue
			}
			c := NewContext()
			c.MaxSteps = 100_000
			c.Now = time.Unix(1e9, 0)
			out, err := e.Append(c, focus, nil)
			if err != nil {
				continue
			}
			ran++
			covers(t, expression, e.Static(), out)
			if one, err := e.One(c, focus); len(out) == 1 && (err != nil || one.Text() != out[0].Text()) {
				t.Errorf("%s: One answers %q, Append %q: %v", expression, one.Text(), out[0].Text(), err)
			}
		}
		if t.Failed() {
			rt.Fatal(expression)
		}
	})
	if ran == 0 {
		t.Error("nothing ran")
	}
}

// known is a Profiles that knows one profile.
type known struct{}

func (known) Conforms(v Value, url string) (conforms, isKnown bool) {
	return v.Type() == "Patient", url == "http://example.org/p"
}

func TestProfiles(t *testing.T) {
	focus := resource(t, patient)
	for expression, want := range map[string]string{
		"conformsTo('http://example.org/p')":                                "true",
		"name.first().conformsTo('http://example.org/p')":                   "false",
		"conformsTo('http://example.org/other')":                            "profile-not-known",
		"conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')":     "true",
		"conformsTo('http://hl7.org/fhir/StructureDefinition/Observation')": "false",
	} {
		e, problems := Compile(expression, &Env{Type: focus.FHIRType(), Strict: true})
		if e == nil {
			t.Fatalf("%s: %+v", expression, problems)
		}
		c := NewContext()
		c.Profiles = known{}
		v, err := e.One(c, focus)
		got := v.Text()
		if fault, ok := err.(*Error); ok {
			got = fault.Code
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", expression, got, want)
		}
	}
}
