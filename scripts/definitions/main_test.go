package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSamePayload(t *testing.T) {
	a, err := encode(&types{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encode(&types{}, []codeSet{{url: "x"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !samePayload(a, a) || samePayload(a, b) || samePayload(a, nil) {
		t.Errorf("payloads are compared wrongly")
	}
}

func TestRunRefuses(t *testing.T) {
	if code := run([]string{"-nothing"}, io.Discard); code != 2 {
		t.Errorf("an unknown flag: exit %d", code)
	}
	if code := run([]string{"-in", t.TempDir(), "-out", filepath.Join(t.TempDir(), "x")}, io.Discard); code != 1 {
		t.Errorf("an empty folder: exit %d", code)
	}
}

func TestExpand(t *testing.T) {
	enumerated := func(system string, codes ...string) include {
		inc := include{System: system}
		for _, code := range codes {
			inc.Concept = append(inc.Concept, struct {
				Code string `json:"code"`
			}{code})
		}
		return inc
	}
	set := func(includes ...include) valueSet {
		var v valueSet
		v.Compose.Include = includes
		return v
	}
	without := set(include{System: "s"})
	without.Compose.Exclude = []include{enumerated("s", "b")}
	abstract := concept{Code: "group", Concept: []concept{{Code: "b"}, {Code: "c"}}}
	abstract.Property = append(abstract.Property, struct {
		Code         string `json:"code"`
		ValueBoolean bool   `json:"valueBoolean"`
	}{"notSelectable", true})
	b := &bundles{
		codeSystems: map[string]codeSystem{
			"s":    {URL: "s", Content: "complete", Concept: []concept{{Code: "a"}, abstract}},
			"part": {URL: "part", Content: "fragment", Concept: []concept{{Code: "a"}}},
		},
		valueSets: map[string]valueSet{
			"all": set(include{System: "s"}), "some": set(enumerated("x", "p", "q")), "both": set(include{ValueSet: []string{"all"}}, enumerated("y", "r")),
			"cut": set(include{System: "s", ValueSet: []string{"few"}}), "few": set(enumerated("s", "c", "zzz")), "without": without,
			"part": set(include{System: "part"}), "far": set(include{System: "far"}), "filter": set(include{System: "s", Filter: []json.RawMessage{json.RawMessage("{}")}}),
			"loop": set(include{ValueSet: []string{"loop"}}), "empty": set(), "lost": set(include{ValueSet: []string{"gone"}}),
		},
	}
	for url, want := range map[string]string{
		"all": "s|a s|b s|c", "some": "x|p x|q", "both": "s|a s|b s|c y|r", "cut": "s|c", "without": "s|a s|c",
		"part": "", "far": "", "filter": "", "loop": "", "empty": "", "lost": "", "gone": "",
	} {
		codes, why := b.expand(url, 0)
		var got []string
		for _, c := range codes {
			got = append(got, c.System+"|"+c.Code)
		}
		if strings.Join(got, " ") != want || (why == "") != (want != "") {
			t.Errorf("%s: %v %q, want %q", url, got, why, want)
		}
	}
}

func TestParameterPaths(t *testing.T) {
	b := &bundles{parameters: []searchParameter{
		{Code: "patient", Base: []string{"A", "B"}, Expression: "A.subject.where(resolve() is Patient) | B.patient | B.other.who"},
		{Code: "odd", Base: []string{"A"}, Expression: "(A.value as Reference) | A.x.where(y = 1)"},
		{Code: "none", Base: []string{"A"}, Expression: "B.x"},
	}}
	for _, c := range []struct {
		resource, code string
		want           []string
	}{{"A", "patient", []string{"subject"}}, {"B", "patient", []string{"patient", "other.who"}}, {"A", "odd", nil}, {"A", "none", nil}, {"C", "patient", nil}} {
		got, err := b.parameterPaths(c.resource, c.code)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s of %s: %v (%v), want %v", c.code, c.resource, got, err, c.want)
		}
	}
}
