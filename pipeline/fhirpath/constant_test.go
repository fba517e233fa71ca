package fhirpath

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The %names of an expression are found where they are names, not in texts, names in backticks or comments.
func TestUses(t *testing.T) {
	for source, want := range map[string][]Use{
		"%a & %bc":                       {{"a", 0, 2}, {"bc", 5, 3}},
		"'%a' & `%b` /* %c */ & %d // x": {{"d", 23, 2}},
		"%`e f`.x":                       {{"e f", 0, 6}},
		"%a & 'open":                     {{"a", 0, 2}},
		"":                               nil,
	} {
		if diff := cmp.Diff(want, Uses(source)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
}

// What is built of constants alone is computed while compiling.
func TestConstants(t *testing.T) {
	env := &Env{Record: true, Strict: true, Columns: []string{"A"}, Constants: map[string]Constant{
		"x": {Static: StaticType{Kinds: Set(KindString), Single: true}, Values: []Value{String("x")}},
		"n": {Static: StaticType{Kinds: Set(KindInteger), Single: true}, Values: []Value{Integer(2)}},
		"l": {Static: StaticType{Kinds: Set(KindString)}, Values: []Value{String("x"), String("y")}},
	}}
	expr, problems := Compile("(%x & 'z').length() + %n", env)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	vals, ok := expr.Constant()
	if !ok || len(vals) != 1 || vals[0].Text() != "4" {
		t.Errorf("%v, %v", vals, ok)
	}
	if expr, problems = Compile("A in %l", env); len(problems) > 0 {
		t.Fatal(problems)
	}
	for cell, want := range map[string]bool{"y": true, "z": false} {
		if got, err := expr.True(NewContext(), RowValue(&Row{Cells: []string{cell}})); got != want || err != nil {
			t.Errorf("%s in %%l is %v, %v", cell, got, err)
		}
	}
	if _, problems = Compile("%n & 'x'", env); len(problems) == 0 {
		t.Error("an Integer was joined as a text")
	}
}
