package fhirpath

import (
	"slices"
	"strings"
	"testing"
)

// conditions is a table as mappings see it: CODE and START are never blank.
func conditions() *Env {
	notes := &Env{Columns: []string{"kind", "text"}, Record: true}
	env := &Env{Record: true, Columns: []string{"CODE", "START", "STOP", "VALUE", "Patient", "DESCRIPTION", "odd name"},
		MayBeBlank: func(col int) bool { return col > 1 }, Children: []Child{{"notes", notes}}}
	notes.Outer = env
	env.Functions = map[string]Function{"date": {Min: 0, Max: -1, Compile: func(call *Call) (Impl, StaticType, []Problem) {
		call.Single = func(_ *Context, in Value) (Value, error) {
			v, err := Date(in.Text())
			if err != nil {
				return Value{}, call.Error("not-a-date")
			}
			return v, nil
		}
		return nil, StaticOf(KindDate), nil
	}}}
	return env
}

func conditionRow() *Row {
	return &Row{Cells: []string{"44054006", "2014-01-25", "", "7.50", "p1", "Diabetes", "x"}, Children: [][]*Row{{
		{Cells: []string{"public", "first"}}, {Cells: []string{"private", "second"}}, {Cells: []string{"", "third"}}}}}
}

func evaluate(t *testing.T, expression string, env *Env, focus Value) []string {
	t.Helper()
	e, problems := Compile(expression, env)
	if e == nil {
		t.Fatalf("%s: refused: %v", expression, problems)
	}
	out, err := e.Append(NewContext(), focus, nil)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	got := []string{}
	for _, v := range out {
		got = append(got, v.Text())
	}
	return got
}

func TestRecord(t *testing.T) {
	for expression, want := range map[string][]string{
		"CODE":          {"44054006"},
		"STOP":          {},
		"STOP.exists()": {"false"},
		"STOP.empty()":  {"true"},
		"iif(STOP.exists(), 'resolved', 'active')": {"active"},
		"`odd name`":                        {"x"},
		"Patient":                           {"p1"}, // a column before a type
		"CODE in ('44054006' | '73211009')": {"true"},
		"STOP ~ 'x'":                        {"false"},
		"STOP !~ 'x'":                       {"true"},
		"CODE & '/' & STOP":                 {"44054006/"},
		"VALUE.toDecimal() > 7":             {"true"},
		"VALUE.toDecimal()":                 {"7.50"},
		"STOP.date() < START.date()":        {},
		"START.date() < @2015-01-01":        {"true"},
		"START.date().toString()":           {"2014-01-25"},
		"notes.where(kind ~ 'public').text": {"first"},
		"notes.where(text = 'first' or CODE = 'none').count()": {"1"},
		"notes.select(text & CODE).last()":                     {"third44054006"},
		"%record.CODE":                                         {"44054006"},
		"notes.count()":                                        {"3"},
		"notes[1].text":                                        {"second"},
		"DESCRIPTION.lower().replace('diab', 'x')":             {"xetes"},
		"CODE.split('0').count()":                              {"4"},
		"CODE.split('0').where($this = CODE)":                  {},
		"notes.kind.exists()":                                  {"true"},
		"notes.text.first()":                                   {"first"},
	} {
		if got := evaluate(t, expression, conditions(), RowValue(conditionRow())); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}

// TestTraps plants each mistake of design.md, section 5; every one must be told, with what to write instead.
func TestTraps(t *testing.T) {
	for _, test := range []struct {
		expression, message, hint string
		offset                    int
	}{
		{"STOP = ''", "never ''", "STOP.empty()", 0},
		{"STOP != ''", "never ''", "STOP.exists()", 0},
		{"'' ~ STOP", "never ''", "STOP.empty()", 0},
		{"STOP in ('' | 'x')", "never ''", "", 8},
		{"iif(STOP, 'a', 'b')", "cell is text", "STOP.exists()", 4},
		{"CODE.exists() and STOP", "cell is text", "STOP.exists()", 18},
		{"STOP.not()", "cell is text", "STOP.exists()", 0},
		{"notes.where(kind)", "cell is text", "kind.exists()", 12},
		{"notes.exists(text)", "cell is text", "text.exists()", 13},
		{"notes.all(text)", "cell is text", "text.exists()", 10},
		{"VALUE < 5", "number", "VALUE.toDecimal()", 0},
		{"5 >= VALUE", "number", "VALUE.toDecimal()", 0},
		{"VALUE + 1", "number", "VALUE.toDecimal()", 0},
		{"VALUE * 2", "number", "VALUE.toDecimal()", 0},
		{"-VALUE", "needs a number", "VALUE.toDecimal()", 0},
		{"VALUE = 5", "never equals", "VALUE.toDecimal()", 0},
		{"VALUE in (1 | 2)", "in no list", "quotes", 9},
		{"START < @2014-01-01", "between a cell", "START.date()", 0},
		{"START.date() = 5", "never equals", "", 0},
		{"VALUE.round(2)", "round() needs Integer or Decimal", "VALUE.toDecimal()", 0},
		{"CDOE", "no column `CDOE`", "CODE", 0},
		{"code", "no column `code`", "CODE", 0},
		{"CODE.loower()", "no function loower()", "lower()", 5},
		{"CODE.lower", "no element `lower`", "lower()", 5},
		{"notes.knd", "no column `knd`", "kind", 6},
		{"%recrd", "no variable", "record", 0},
		{"CODE.substring()", "takes 1 to 2 arguments", "", 5},
		{"CODE is Strng", "no type", "String", 8},
		{"CODE.matches('(?=x)')", "regular expression", "RE2", 13},
	} {
		e, problems := Compile(test.expression, conditions())
		if e != nil || len(problems) == 0 {
			t.Errorf("%s: accepted", test.expression)
			continue
		}
		p := problems[0]
		if p.Finding || !strings.Contains(p.Message, test.message) || !strings.Contains(p.Hint, test.hint) || p.Offset != test.offset {
			t.Errorf("%s: got %+v", test.expression, p)
		}
	}
}

func TestBlankFindings(t *testing.T) {
	for _, test := range []struct{ expression, message string }{
		{"STOP = 'x'", "neither true nor false"},
		{"CODE != STOP", "neither true nor false"},
		{"CODE + STOP", "whole sum is empty"},
		{"STOP.lower() = 'x'", "neither true nor false"},
		{"STOP.date() = START.date()", "neither true nor false"},
		{"iif(VALUE.toBoolean(), 'a', 'b')", "second branch"},
		{"notes.where(kind.toBoolean())", "left out"},
		{"notes.where(kind = 'x')", "neither true nor false"},
	} {
		e, problems := Compile(test.expression, conditions())
		if e == nil || len(problems) != 1 || !problems[0].Finding || !strings.Contains(problems[0].Message, test.message) {
			t.Errorf("%s: got %+v", test.expression, problems)
		}
	}
	for _, expression := range []string{"CODE = 'x'", "STOP ~ 'x'", "STOP !~ 'x'", "CODE & STOP", "STOP.exists()", "CODE + START",
		"STOP.date() < START.date()", "STOP.exists() and STOP = 'x'", "iif(STOP.exists(), STOP = 'x', false)",
		"STOP.empty() or STOP = 'x'", "STOP in ('a' | 'b')", "notes.exists(kind ~ 'x')", "iif(STOP.empty(), 'none', STOP + 'x')",
		"STOP.exists() implies STOP = CODE", "CODE.split(';').where($this = 'x')"} {
		if e, problems := Compile(expression, conditions()); e == nil || len(problems) != 0 {
			t.Errorf("%s: got %+v", expression, problems)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, problems := Compile("CDOE.lower() & STPO & iif(VALUE, 'a', 1 < 'x')", conditions())
	if len(problems) != 4 {
		t.Errorf("got %d: %+v", len(problems), problems)
	}
}

func TestReads(t *testing.T) {
	env := conditions()
	e, _ := Compile("notes.where(kind ~ CODE).text", env)
	if e == nil || !slices.Equal(e.Columns(), []int{0}) {
		t.Fatalf("columns %v", e.Columns())
	}
	if got := len(e.Reads()); got != 3 {
		t.Errorf("%d columns read, want CODE, kind, text", got)
	}
	item := &Env{Record: true, Columns: []string{"kind"}, Outer: env}
	e, problems := Compile("kind & CODE", item)
	if e == nil || !slices.Equal(e.Columns(), []int{0}) || !slices.Equal(e.OuterColumns(), []int{0}) {
		t.Fatalf("%+v", problems)
	}
	c := NewContext()
	c.Record = conditionRow()
	if v, err := e.One(c, RowValue(&Row{Cells: []string{"k"}})); err != nil || v.Text() != "k44054006" {
		t.Errorf("got %q, %v", v.Text(), err)
	}
	text := StaticOf(KindString)
	e, problems = Compile("$this & CODE", &Env{Record: true, Item: &text, Outer: env})
	if e == nil {
		t.Fatalf("%+v", problems)
	}
	if v, err := e.One(c, String("i")); err != nil || v.Text() != "i44054006" {
		t.Errorf("got %q, %v", v.Text(), err)
	}
}

func TestErrorsHoldNoValue(t *testing.T) {
	e, _ := Compile("STOP.date()", conditions())
	row := conditionRow()
	row.Cells[2] = "SECRET"
	_, err := e.One(NewContext(), RowValue(row))
	if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "not-a-date") {
		t.Errorf("got %v", err)
	}
}

// TestNoAllocation holds the formulas of the hot path to no garbage at all.
func TestNoAllocation(t *testing.T) {
	for _, expression := range benchmarks {
		e, problems := Compile(expression, conditions())
		if e == nil {
			t.Fatalf("%s: %+v", expression, problems)
		}
		c, focus := NewContext(), RowValue(conditionRow())
		if n := testing.AllocsPerRun(100, func() {
			if _, err := e.One(c, focus); err != nil {
				t.Fatal(err)
			}
			c.Reset()
		}); n > 0 {
			t.Errorf("%s: %v allocations", expression, n)
		}
	}
}

var benchmarks = []string{
	"CODE",
	"CODE & '-' & START",
	"STOP.exists()",
	"iif(STOP.exists(), 'resolved', 'active')",
	"CODE = '44054006'",
	"CODE in ('160903007' | '741062008' | '44054006')",
	"START.date()",
	"START.date() < @2015-01-01",
	"VALUE.toDecimal() * 2 > 10",
	"DESCRIPTION.startsWith('Dia') and VALUE.exists()",
}

func BenchmarkFormulas(b *testing.B) {
	for _, expression := range benchmarks {
		b.Run(expression, func(b *testing.B) {
			e, _ := Compile(expression, conditions())
			c, focus := NewContext(), RowValue(conditionRow())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.One(c, focus); err != nil {
					b.Fatal(err)
				}
				c.Reset()
			}
		})
	}
}
