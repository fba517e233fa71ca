package phi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// class is the first half of how specific a rule is: the greater wins.
type class uint8

const (
	classStar      class = iota // *
	classPrimitive              // date
	classElement                // Element.id: an abstract type
	classType                   // HumanName.use
	classBase                   // DomainResource.text: an abstract resource
	classResource               // Patient.birthDate
	classStructure              // what no policy decides: resourceType, id, meta.tag
)

// rule is one line of a policy: a path from a type downwards, and what happens with what stands there.
type rule struct {
	text   string
	method Method
	class  class
	anchor *fhir.Type // nil for *
	test   *Test      // of a value of the anchor: Identifier.where(…)
	steps  []step
	ends   []*fhir.Type // the types a value at the end of the path may have
	order  int          // in the file
}

type step struct {
	name string     // the element's name, without the type of a choice
	typ  *fhir.Type // only this type of a choice; nil: any
	test *Test
}

// tests counts the conditions of a rule: the more, the more specific.
func (r *rule) tests() int {
	n := 0
	if r.test != nil {
		n++
	}
	for _, s := range r.steps {
		if s.test != nil {
			n++
		}
	}
	return n
}

// Test is the condition of a where(): `path = 'literal'`, several joined by `and`.
type Test struct {
	Equals []Equal
	text   string
}

// Equal is one comparison: some value at Path equals Value, as text.
type Equal struct {
	Path  []string // member names below the value tested; through lists to any entry
	Value string
}

// String is the condition as it stands in the policy.
func (t *Test) String() string { return t.text }

// Match tells whether the value (an object, or one entry of a list) meets the condition. A nil value meets none.
func (t *Test) Match(value *fhir.Node) bool {
	for _, e := range t.Equals {
		if !has(value, e.Path, e.Value) {
			return false
		}
	}
	return value != nil
}

func has(n *fhir.Node, path []string, text string) bool {
	if n == nil {
		return false
	}
	if n.Kind == fhir.Array {
		return slices.ContainsFunc(n.Items, func(i *fhir.Node) bool { return has(i, path, text) })
	}
	if len(path) == 0 {
		return n.Kind != fhir.Object && n.Kind != fhir.Null && n.Text == text
	}
	return has(n.Get(path[0]), path[1:], text)
}

// pathError is what is wrong with a rule's path, with the nearest right name.
type pathError struct{ message, hint string }

func (e *pathError) Error() string { return e.message }

func wrong(hint, format string, args ...any) *pathError {
	return &pathError{fmt.Sprintf(format, args...), hint}
}

// parseRule reads a path as policies write it and checks every name against the definitions.
func parseRule(text string) (*rule, *pathError) {
	r := &rule{text: text}
	if text == "*" {
		r.class = classStar
		return r, nil
	}
	p := &pathParser{rest: text}
	name := p.name()
	r.anchor = fhir.Lookup(name)
	if r.anchor == nil || r.anchor.Kind == fhir.KindBackbone {
		return nil, wrong(document.Hint(name, typeNames()), "no type %q in R4; a rule begins with a type, or is *", name)
	}
	switch a := r.anchor; {
	case a.Kind == fhir.KindPrimitive:
		r.class = classPrimitive
	case a.Kind == fhir.KindResource && a.Abstract:
		r.class = classBase
	case a.Kind == fhir.KindResource:
		r.class = classResource
	case a.Abstract:
		r.class = classElement
	default:
		r.class = classType
	}
	at := []*fhir.Type{r.anchor} // the types that the path so far can end at
	for p.rest != "" {
		if !p.skip(".") {
			return nil, wrong("", "after %q a `.` is missing", text[:len(text)-len(p.rest)])
		}
		var err *pathError
		if at, err = p.step(r, at); err != nil {
			return nil, err
		}
	}
	if len(r.steps) == 0 && r.test == nil && r.class == classPrimitive && r.anchor.Name == "xhtml" {
		return nil, wrong("name Narrative", "a narrative is one unit")
	}
	r.ends = at
	return r, nil
}

// step reads one step of the path: a name, or one of the functions that narrow what was just named.
func (p *pathParser) step(r *rule, at []*fhir.Type) ([]*fhir.Type, *pathError) {
	name := p.name()
	if name == "" {
		if p.rest == "" {
			return nil, wrong("", "a name is missing at the end")
		}
		return nil, wrong("", "a name is missing before %q", p.rest)
	}
	if !p.skip("(") {
		return p.element(r, at, name)
	}
	var last *step
	if len(r.steps) > 0 {
		last = &r.steps[len(r.steps)-1]
	}
	switch name {
	case "where":
		t, err := p.test(at)
		if err != nil {
			return nil, err
		}
		switch {
		case last == nil && r.anchor.Kind == fhir.KindResource:
			return nil, wrong("", "where() of a whole resource: a rule can test an element or a datatype")
		case at[0].Kind == fhir.KindPrimitive:
			return nil, wrong("", "where() of a primitive: a list of primitives is one unit")
		case last == nil && r.test == nil:
			r.test = t
		case last != nil && last.test == nil:
			last.test = t
		default:
			return nil, wrong("join the tests with `and`", "two where() at one place")
		}
		return at, nil
	case "ofType":
		want := p.name()
		if !p.skip(")") {
			return nil, wrong("", "ofType( wants one type and a `)`")
		}
		i := slices.IndexFunc(at, func(t *fhir.Type) bool { return t.Name == want })
		if last == nil || i < 0 {
			return nil, wrong(document.Hint(want, namesOf(at)), "%q is none of the types here", want)
		}
		last.typ = at[i]
		return at[i : i+1], nil
	case "extension":
		url, ok := p.literal()
		if !ok || !p.skip(")") {
			return nil, wrong("", "extension( wants one URL in single quotes and a `)`")
		}
		next, err := p.element(r, at, "extension")
		if err != nil {
			return nil, err
		}
		r.steps[len(r.steps)-1].test = &Test{Equals: []Equal{{[]string{"url"}, url}}, text: "url = '" + url + "'"}
		return next, nil
	}
	return nil, wrong(document.Hint(name, []string{"where", "ofType", "extension"}), "no function %q in a policy's path", name)
}

func (p *pathParser) element(r *rule, at []*fhir.Type, name string) ([]*fhir.Type, *pathError) {
	if len(at) > 1 {
		return nil, wrong("write .ofType(…) first", "%q comes after a choice of types", name)
	}
	t := at[0]
	if t.Name == "Narrative" {
		return nil, wrong("end the path at the Narrative", "a narrative is one unit")
	}
	if t.Name == "Resource" && len(r.steps) > 0 {
		return nil, wrong("write a rule that begins with its type", "what is inside another resource follows the rules of its own type")
	}
	e, typ := t.Element(name)
	if e == nil {
		var names []string
		for _, e := range t.Elements {
			names = append(names, e.Name)
		}
		return nil, wrong(document.Hint(name, names), "%s has no element %q", t.Name, name)
	}
	s := step{name: e.Name}
	next := e.Types
	if e.Choice && typ != nil {
		s.typ, next = typ, []*fhir.Type{typ}
	}
	r.steps = append(r.steps, s)
	return next, nil
}

// pathParser takes a path apart from the left.
type pathParser struct{ rest string }

func (p *pathParser) skip(s string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " "), s)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *pathParser) name() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	i := 0
	for i < len(p.rest) && isName(p.rest[i]) {
		i++
	}
	name := p.rest[:i]
	p.rest = p.rest[i:]
	return name
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// literal reads a text in single quotes; \' and \\ are a quote and a backslash.
func (p *pathParser) literal() (string, bool) {
	if !p.skip("'") {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\' && i+1 < len(p.rest) && (p.rest[i+1] == '\'' || p.rest[i+1] == '\\'):
			i++
			b.WriteByte(p.rest[i])
		case c == '\'':
			p.rest = p.rest[i+1:]
			return b.String(), true
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// test reads what stands in where( up to its `)`.
func (p *pathParser) test(at []*fhir.Type) (*Test, *pathError) {
	start := p.rest
	t := &Test{}
	for {
		var e Equal
		types := at
		for {
			name := p.name()
			var next []*fhir.Type
			var names []string
			for _, t := range types {
				for _, e := range t.Elements {
					names = append(names, e.Name)
				}
				if e, typ := t.Element(name); typ != nil {
					next = append(next, typ)
				} else if e != nil && !e.Choice {
					next = append(next, e.Types...)
				}
			}
			if len(next) == 0 {
				return nil, wrong(document.Hint(name, names), "in where(): no element %q of %s", name, strings.Join(namesOf(types), ", "))
			}
			e.Path, types = append(e.Path, name), next
			if !p.skip(".") {
				break
			}
		}
		ok := p.skip("=")
		if ok {
			e.Value, ok = p.literal()
		}
		if !ok {
			return nil, wrong("", "where() compares elements with texts in single quotes: where(system = 'http://…' and use = 'old')")
		}
		t.Equals = append(t.Equals, e)
		if p.skip(")") {
			break
		}
		if !p.skip("and ") {
			return nil, wrong("", "in where(): `and` or `)` expected")
		}
	}
	t.text = strings.TrimSuffix(start[:len(start)-len(p.rest)], ")")
	return t, nil
}

func namesOf(types []*fhir.Type) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name
	}
	return names
}

// typeNames lists what a rule may begin with, for hints.
func typeNames() []string {
	names := []string{"Resource", "DomainResource", "Element", "Extension", "HumanName", "Address", "ContactPoint",
		"Identifier", "Reference", "CodeableConcept", "Coding", "Quantity", "Period", "Annotation", "Attachment", "Narrative",
		"string", "markdown", "code", "uri", "url", "canonical", "date", "dateTime", "instant", "boolean", "decimal", "integer"}
	return append(names, fhir.Resources()...)
}
