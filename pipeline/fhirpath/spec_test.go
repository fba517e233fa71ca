package fhirpath

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSpecification runs testdata/spec.txt: what the standard says, statement by statement, and beside each result that
// the type known while compiling covers it.
func TestSpecification(t *testing.T) {
	data, err := os.ReadFile("testdata/spec.txt")
	if err != nil {
		t.Fatal(err)
	}
	section, count := "", 0
	for i, line := range strings.Split(string(data), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		expression, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("line %d: no =>", i+1)
		}
		expression = strings.ReplaceAll(expression, `// a comment\n`, "// a comment\n")
		count++
		for _, env := range []*Env{{}, {Strict: true}} {
			got := outcome(t, expression, env, Value{})
			if env.Strict && want == "error" && got == "invalid" {
				continue // what must fail may be told at once
			}
			if got != want {
				t.Errorf("line %d, %s: %s\n\tgot  %s\n\twant %s", i+1, section, expression, got, want)
				break
			}
		}
	}
	if count < 700 {
		t.Errorf("only %d statements", count)
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
		// A primitive that has only extensions, or not the form of its type, is no value of that type's kind.
		odd := v.typ != nil && v.node != nil && v.kind() != kindOf(v.typ)
		if !st.Kinds.Has(v.Kind()) && !odd {
			fault = fmt.Sprintf("a %v, proven to be among %b", v.Kind(), st.Kinds)
		}
		if types := typesOf(st); len(types) > 0 {
			found := false
			for _, typ := range types {
				found = found || v.typ.Is(typ.Name)
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
