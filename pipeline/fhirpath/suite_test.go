package fhirpath

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// floor is the number of tests of HL7's suite that must pass.
const floor = 534

// left are the tests that do not pass, each with the reason.
var left = map[string]string{
	"HighBoundaryDateTimeMillisecond1": "the suite lets 08 o'clock without minutes end at 08:00:59.999; it lasts to 08:59:59.999",
}

func suiteDir(t *testing.T) string { return sharedtest.Path(t, "data", "fhirpath-r4") }

type suiteTest struct {
	Name, Group, Input, Expression, Invalid, Predicate, Mode, Ordered string
	Output                                                            []struct{ Type, Value string }
}

// TestSuite runs three fifths of HL7's FHIRPath tests for R4: types and values in order, names checked strictly.
func TestSuite(t *testing.T) {
	dir := suiteDir(t)
	data, err := os.ReadFile(filepath.Join(dir, "tests.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tests []suiteTest
	if err := json.Unmarshal(data, &tests); err != nil {
		t.Fatal(err)
	}
	inputs := map[string]Value{}
	passed := 0
	for _, test := range tests {
		focus, ok := inputs[test.Input]
		if !ok && test.Input != "" {
			raw, err := os.ReadFile(filepath.Join(dir, "input", test.Input))
			if err != nil {
				t.Fatal(err)
			}
			n, err := fhir.Parse(raw)
			if err != nil {
				t.Fatalf("%s: %v", test.Input, err)
			}
			focus = Object(n, nil)
			inputs[test.Input] = focus
		}
		fault := runSuiteTest(test, focus)
		switch reason, known := left[test.Name]; {
		case fault == "":
			passed++
			if known {
				t.Errorf("%s passes now: take it out of the list", test.Name)
			}
		case known:
			t.Logf("left: %s: %s (%s)", test.Name, reason, fault)
		default:
			t.Errorf("%s: %s\n\t%s", test.Name, test.Expression, fault)
		}
	}
	t.Logf("HL7 suite: %d of %d pass, %.1f %%", passed, len(tests), 100*float64(passed)/float64(len(tests)))
	if passed < floor {
		t.Errorf("%d pass, fewer than %d", passed, floor)
	}
}

func runSuiteTest(test suiteTest, focus Value) string {
	env := &Env{Type: focus.FHIRType(), Strict: true}
	e, problems := Compile(test.Expression, env)
	if e == nil {
		if test.Invalid != "" {
			return ""
		}
		return "refused: " + problems[0].Message
	}
	c := NewContext()
	c.Now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	out, err := e.Append(c, focus, nil)
	if err != nil {
		if test.Invalid != "" {
			return ""
		}
		return err.Error()
	}
	if test.Invalid != "" {
		return "accepted, but it is " + test.Invalid + " invalid"
	}
	if test.Predicate == "true" {
		switch {
		case len(out) == 1 && out[0].Kind() == KindBoolean:
		default:
			out = []Value{Boolean(len(out) > 0)}
		}
	}
	var got, want []string
	for i, v := range out {
		s := suiteValue(v)
		if i < len(test.Output) && test.Output[i].Type == "" {
			s = s[strings.IndexByte(s, ' ')+1:]
		}
		got = append(got, s)
	}
	for _, o := range test.Output {
		if o.Type == "" {
			want = append(want, o.Value)
			continue
		}
		want = append(want, o.Type+" "+o.Value)
	}
	if test.Ordered == "false" {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("got %q, want %q", got, want)
	}
	return ""
}

// suiteValue writes type and value as the suite does: System types in FHIR's spelling, dates with @.
func suiteValue(v Value) string {
	typ := strings.TrimPrefix(v.Type(), "System.")
	if strings.HasPrefix(v.Type(), "System.") && typ != "Quantity" {
		typ = strings.ToLower(typ[:1]) + typ[1:]
	}
	text := v.Text()
	switch v.Kind() {
	case KindDate, KindDateTime:
		text = "@" + text
	case KindTime:
		text = "@T" + text
	}
	return typ + " " + text
}
