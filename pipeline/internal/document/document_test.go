package document

import (
	"strings"
	"testing"
)

func TestParseRefusesTraps(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"alias":         {"a: &x 1\nb: *x\n", "f.yaml:1:4: YAML anchors"},
		"tag":           {"a: !!int 7\n", "f.yaml:1:4: YAML tags"},
		"merge":         {"a:\n  <<: {b: 1}\n", "f.yaml:2:3: YAML merge keys"},
		"duplicate":     {"a: 1\nb: 2\na: 3\n", `f.yaml:3:1: the key "a" is there twice, first in line 1`},
		"two documents": {"a: 1\n---\nb: 2\n", "a second YAML document"},
		"colon":         {"a: = x: y\n", "must stand in quotes"},
		"deep":          {strings.Repeat("[", 100_000), "nested too deeply"},
		"nested":        {strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested more than"},
		"list key":      {"? [a, b]\n: 1\n", "a key must be"},
	} {
		_, faults := Parse("f.yaml", []byte(c.in))
		if len(faults) == 0 || !strings.Contains(faults.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, faults, c.want)
		}
	}
}

func TestParseKeepsSourceText(t *testing.T) {
	root, faults := Parse("f.yaml", []byte("a: 007\nb: no\nc: 1.50\nd: '=x'\n"))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got := ""
	for _, p := range Pairs(root) {
		got += p.Key + "=" + p.Value.Value + ";"
	}
	if want := "a=007;b=no;c=1.50;d==x;"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range [][2]string{{"birthdate", "birthDate"}, {"subjetc", "subject"}, {"zzzzzz", ""}, {"cod", "code"}} {
		if got := Nearest(c[0], []string{"birthDate", "subject", "code", "status"}); got != c[1] {
			t.Errorf("Nearest(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}
