package mapping

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// What a person most likely meant, for faults of the template, and what passes for right without being meant.

// elementHint says what to write for an element that the type does not have.
func elementHint(typ *fhir.Type, name string) string {
	if name == "forEach" {
		return "forEach stands in an entry of a list"
	}
	if first, rest, ok := strings.Cut(name, "."); ok {
		if e, _ := typ.Element(first); e != nil {
			return fmt.Sprintf("objects are nested: %s: {%s: …}", first, rest)
		}
	}
	for _, e := range typ.Elements {
		// valueText is no other element, but a choice with a type that it does not have.
		if after, ok := strings.CutPrefix(name, e.Name); ok && e.Choice && after != "" && strings.ToUpper(after[:1]) == after[:1] {
			for _, x := range e.Types {
				if full := e.JSONName(x); strings.HasPrefix(full, name) {
					return fmt.Sprintf("did you mean %q?", full)
				}
			}
			return "one of " + choices(e)
		}
	}
	return document.Hint(name, elementNames(typ))
}

// rest tells what YAML has left behind of a formula that it has cut: it is part of a fault that was told already.
func (t *templates) rest(n *yaml.Node, at place) bool {
	return at.inFlow && n.Line == t.f.cut && n.Kind == yaml.ScalarNode && !balancedRest(n.Value)
}

// balancedRest tells whether every closing bracket has an opening one, and every quote a second.
func balancedRest(s string) bool {
	depth := 0
	for _, c := range s {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return false
			}
		}
	}
	return strings.Count(s, "'")%2 == 0
}

// callForm is the form of texts that are formulas without their `=`: ref('a', B), CODE.date().
var callForm = regexp.MustCompile("^(?:(?:ref|iif|lookup)\\(.*\\)|(?:[A-Za-z_][A-Za-z0-9_]*|`[^`]+`)(?:\\.[A-Za-z]+\\(.*\\))+)$")

// formulaLike tells a literal that was most likely meant as a formula: a column's name, or a call. One in quotes is meant.
func (t *templates) formulaLike(n *yaml.Node) bool {
	return n.Style == 0 && (slices.Contains(t.b.columns, n.Value) || callForm.MatchString(n.Value))
}

// warnLiteral finds literals that were most likely meant as formulas: they would stand in every resource.
func (t *templates) warnLiteral(n *yaml.Node) {
	if t.formulaLike(n) && !t.c.open {
		t.c.notice(IsFinding, "literal", t.b.file, n, "write = "+n.Value+", or put it in quotes if the text itself is meant", "the text %q is written into every resource, as it stands", n.Value)
	}
}

// relativeSystem tells the system of a code or identifier that is not an absolute URI (datatypes.html: Coding.system and
// Identifier.system are absolute).
func relativeSystem(e *fhir.Element, text string) bool {
	switch e.Path {
	case "Coding.system", "Identifier.system", "Quantity.system":
		return !strings.Contains(text, ":")
	}
	return false
}

// parts counts the parts of a key in words.
func parts(n int) string {
	if n == 1 {
		return "1 part"
	}
	return fmt.Sprintf("%d parts", n)
}
