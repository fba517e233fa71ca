package fhirpath

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		// A primitive that has only extensions, or not the form of its type, is no value of that type's kind.
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
