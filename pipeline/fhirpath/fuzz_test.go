package fhirpath

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seeds are expressions that between them use every function and operator.
var seeds = []string{
	"name.given", "1 + 2 * 3 - 4 / 5 div 6 mod 7", "-'a'", "@2014-01-01 + 1 month", "@T10:30 - 5 minutes", "4 'g' ~ 4000 'mg'",
	"name.where(use = 'official').given.first() & ' ' & name.family", "repeat($this)", "descendants().count()", "{}.empty()",
	"iif(true, 1, 2)", "'a,b'.split(',').join('|')", "'x'.matches('(a|b)*c')", "'abc'.replaceMatches('(b)', '$1$1')",
	"1.587.lowBoundary(2)", "@2014.highBoundary(17)", "'äöü'.toChars().count()", "'abc'.substring(1, 1)", "10.power(100)",
	"2.5.sqrt().exp().ln()", "100.log(10)", "(1|2|3).aggregate($this + $total, 0)", "(3|1|2).sort(-$this)", "$this is Patient",
	"name as HumanName", "extension('x').value.ofType(Quantity)", "'1 \\'mg\\''.toQuantity('g')", "%resource.id", "defineVariable('a', 1).select(%a)",
	"'dGVzdA=='.decode('base64').encode('hex').escape('html').unescape('json')", "today() < now()", "(1|2) contains 2 and 3 in (1|2)",
	"a.b.c[0][1]", "`odd name`", "((((1))))", "'\\u00e4'", "// c\n1 /* x */ + 1", "name.exists(family) implies active xor true", "true.not().toString().upper().lower().trim().length()",
	"name.subsetOf(name) and name.supersetOf(name) and name.isDistinct()", "name.intersect(name) | name.exclude(name)", "name.tail().skip(1).take(2).last()",
	"'<div>x</div>'.htmlChecks()", "contained.resolve()", "type().name", "1 year = 12 months", "1.comparable(2)", "@2014-01-01T10:00:00.123+14:00.toDate().precision()",
	"(1.5 'mg').round(1).floor() | 1.5.ceiling()", "coalesce(name.family, 'x')", "repeatAll(children())", "(1|2.5).sum() + (1|2).avg()",
	"name.sort(family desc, given.first() asc).use", "'a'.matches('A', 'i')", "'a'.replaceMatches('(?<x>a)', '${x}$1$', 'im')", "birthDate.yearOf() = @2014.monthOf()",
	"@2014-01-01.duration(@2015-01-01, 'month') > 1.difference(2, 'day')", "managingOrganization.resolve().checkModifiers()", "1.power(2.5) * 3 'm' / 2 's'",
	"name.given.combine(telecom, true).min()", "'é'.encode('ascii')", "name.defineVariable('n', given.count()).select(%n)", "conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')",
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, fault := parse(s, false)
		if fault != nil {
			if fault.off < 0 || fault.end > len(s) || fault.off > fault.end {
				t.Errorf("position %d-%d of %d", fault.off, fault.end, len(s))
			}
			return
		}
		if n.off < 0 || n.end > len(s) || n.off > n.end {
			t.Errorf("node at %d-%d of %d", n.off, n.end, len(s))
		}
	})
}

// FuzzEvaluate compiles and runs anything over a resource and over a record: no panic, no value in an error, an end.
func FuzzEvaluate(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	for _, s := range []string{"CODE & STOP", "notes.where(kind ~ 'x').text"} {
		f.Add(s)
	}
	focus := resource(f, patient)
	row := RowValue(conditionRow())
	f.Fuzz(func(t *testing.T, s string) {
		for _, run := range []struct {
			env   *Env
			focus Value
		}{{&Env{}, focus}, {&Env{Type: focus.FHIRType(), Strict: true}, focus}, {conditions(), row}} {
			e, problems := Compile(s, run.env)
			for _, p := range problems {
				if p.Offset < 0 || p.Length < 0 || p.Offset+p.Length > len(s) || p.Message == "" {
					t.Errorf("problem %+v in %d bytes", p, len(s))
				}
			}
			if e == nil {
				continue
			}
			c := NewContext()
			c.MaxSteps = 20_000
			c.Now = time.Unix(1, 0)
			first, err := e.Append(c, run.focus, nil)
			if err != nil {
				if _, ok := err.(*Error); !ok {
					t.Errorf("error of type %T", err)
				}
				continue
			}
			covers(t, s, e.Static(), first)
			for _, v := range first {
				_ = v.Text()
			}
			if c.depth != 0 || c.active != 0 {
				t.Error("scratch memory is not given back")
			}
		}
	})
}

// TestSuiteOverEverything runs every expression of the suite over every input, typed and not.
func TestSuiteOverEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	dir := suiteDir(t)
	var tests []suiteTest
	data, err := os.ReadFile(filepath.Join(dir, "tests.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &tests); err != nil {
		t.Fatal(err)
	}
	focus, row := resource(t, patient), RowValue(conditionRow())
	for _, test := range tests {
		for _, env := range []*Env{{}, conditions()} {
			e, _ := Compile(test.Expression, env)
			if e == nil {
				continue
			}
			c := NewContext()
			c.MaxSteps = 100_000
			for _, v := range []Value{focus, row, {}, String("x")} {
				out, err := e.Append(c, v, nil)
				if err == nil && (!env.Record || v.Row() != nil) {
					covers(t, test.Expression, e.Static(), out)
				}
			}
		}
	}
}
