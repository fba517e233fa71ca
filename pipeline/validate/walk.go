package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// object checks a complex value, or what stands beside a primitive, against its type.
func (c *Checker) object(x value, r *typeRules) {
	n := x.node
	base := len(c.counts)
	for range r.elements {
		c.counts = append(c.counts, 0)
		c.variants = append(c.variants, nil)
	}
	content := false
	for i := range n.Members {
		m := &n.Members[i]
		if r.resource && m.Name == "resourceType" {
			continue
		}
		rule, ok := r.members[m.Name]
		if !ok {
			c.unknownElement(m, r)
			content = true
			continue
		}
		if m.Name != "id" {
			content = true
		} else if !r.resource {
			c.elementID(m.Value)
		}
		under := m.Name[0] == '_'
		var main, beside *fhir.Node
		switch {
		case under:
			if n.Get(m.Name[1:]) != nil {
				continue // it is checked with its value
			}
			beside = m.Value
		default:
			main = m.Value
			if rule.under {
				beside = underOf(n, i, m.Name)
			}
		}
		e := &r.elements[rule.element]
		if first := c.variants[base+rule.element]; e.Choice && first != nil && first != rule.typ {
			c.push(e.Element, rule.typ, -1)
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleChoice, Message: "a choice may have one variant only; there is another one beside this"}, value{node: m.Value})
			c.pop()
		}
		c.variants[base+rule.element] = rule.typ
		c.counts[base+rule.element] += c.element(e, rule, main, beside, x)
	}
	for _, i := range r.required {
		if c.counts[base+i] == 0 {
			e := r.elements[i].Element
			c.report(Issue{Severity: Error, Code: "required", Rule: RuleMin, Missing: e.Name, Message: e.Name + choiceMark(e) + " is required and missing"}, x)
		}
	}
	c.counts, c.variants = c.counts[:base], c.variants[:base]
	if !content && !r.resource && r.typ.Kind != fhir.KindPrimitive {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleEmpty, Message: "the object has no content"}, x)
	}
	c.ask(r.invariants, x)
}

func choiceMark(e *fhir.Element) string {
	if e.Choice {
		return "[x]"
	}
	return ""
}

// underOf is the member `_name`, which as a rule follows its value.
func underOf(n *fhir.Node, i int, name string) *fhir.Node {
	if i+1 < len(n.Members) {
		if next := &n.Members[i+1]; len(next.Name) == len(name)+1 && next.Name[0] == '_' && next.Name[1:] == name {
			return next.Value
		}
	}
	for j := range n.Members {
		if m := &n.Members[j]; len(m.Name) == len(name)+1 && m.Name[0] == '_' && m.Name[1:] == name {
			return m.Value
		}
	}
	return nil
}

func (c *Checker) unknownElement(m *fhir.Member, r *typeRules) {
	hint := ""
	if e, t := r.typ.Element(m.Name); e != nil && t == nil && e.Choice {
		hint = "; a choice is written with its type, as " + e.JSONName(e.Types[0])
	}
	// The name itself is told only if it looks like one: a property may hold anything.
	name := "a property that is not a name"
	if plainName(m.Name) {
		name = m.Name
	}
	c.report(Issue{Severity: Error, Code: "structure", Rule: RuleElement, Message: r.typ.Name + " has no element " + name + hint}, value{node: m.Value})
}

// plainName tells that a property's name could be one of FHIR: letters and digits, no more than any of FHIR's.
func plainName(s string) bool {
	s = strings.TrimPrefix(s, "_")
	if s == "" || len(s) > 40 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// element checks the values of one element and returns how many there are.
func (c *Checker) element(e *elementRule, m memberRule, n, under *fhir.Node, parent value) int {
	array := n != nil && n.Kind == fhir.Array || n == nil && under != nil && under.Kind == fhir.Array
	if !e.Repeats() {
		if array {
			c.push(e.Element, m.typ, -1)
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "one value, not an array"}, value{node: n, under: under})
			c.pop()
			return 1
		}
		c.push(e.Element, m.typ, -1)
		c.one(e, m, value{node: n, under: under, typ: m.typ, element: e.Element}, parent)
		c.pop()
		return 1
	}
	if !array {
		c.push(e.Element, m.typ, -1)
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "an array, since the element repeats"}, value{node: n, under: under})
		c.one(e, m, value{node: n, under: under, typ: m.typ, element: e.Element}, parent)
		c.pop()
		return 1
	}
	count := 0
	if n != nil {
		count = len(n.Items)
	}
	if under != nil {
		if under.Kind != fhir.Array {
			c.push(e.Element, m.typ, -1)
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "an array beside an array"}, value{node: under})
			c.pop()
			under = nil
		} else {
			count = max(count, len(under.Items))
		}
	}
	if count == 0 {
		c.push(e.Element, m.typ, -1)
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleEmpty, Message: "an array has at least one entry"}, value{node: n, under: under})
		c.pop()
	}
	for i := range count {
		c.push(e.Element, m.typ, i)
		c.one(e, m, value{node: n.Item(i), under: under.Item(i), typ: m.typ, element: e.Element, at: n.Offset()}, parent)
		c.pop()
	}
	if e.Max > 0 && count > e.Max {
		c.push(e.Element, m.typ, -1)
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleMax, Message: "more values than the type allows"}, value{node: n, under: under})
		c.pop()
	}
	return count
}

// one checks a single value of an element.
func (c *Checker) one(e *elementRule, m memberRule, x value, parent value) {
	if len(c.path) > maxDepth {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleDeep, Message: "nested deeper than is checked"}, x)
		return
	}
	if m.typ.Kind == fhir.KindPrimitive {
		c.primitive(e, m, x)
		return
	}
	n := x.node
	if n == nil || n.Kind != fhir.Object {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "an object, since " + m.typ.Name + " is not a primitive"}, x)
		return
	}
	if m.typ.Kind == fhir.KindResource {
		contained := e.Path == "DomainResource.contained" || e.Name == "contained"
		c.inResource(n, nil, contained)
		return
	}
	r := m.rules
	parents := c.parents
	c.parents = append(c.parents, place{path: e.Path, typ: m.typ, node: n})
	c.object(x, r)
	switch {
	case r.extension:
		c.extension(e, x)
	case r.reference:
		c.reference(e, x)
	case r.coding:
		c.coding(x)
	case r.quantity:
		c.quantity(e, x)
	case r.attachment:
		c.attachment(x)
	case r.identifier:
		c.identifier(x)
	}
	if e.binding != nil {
		c.bound(e.binding, x)
	}
	c.ask(e.invariants, x)
	c.parents = parents
}

// primitive checks a value of a primitive, and the id and extensions beside it.
func (c *Checker) primitive(e *elementRule, m memberRule, x value) {
	n := x.node
	if n != nil && n.Kind == fhir.Null {
		n = nil // the value's place in an array, if only extensions stand there
	}
	if under := x.under; under != nil && under.Kind != fhir.Null {
		if under.Kind != fhir.Object {
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "an object, since it holds the id and extensions of a primitive"}, x)
		} else {
			parents := c.parents
			c.parents = append(c.parents, place{path: e.Path, typ: m.typ, node: under, literal: n})
			c.object(value{node: under, typ: m.typ}, m.rules)
			c.parents = parents
			if len(under.Members) == 0 || n == nil && under.Get("extension") == nil {
				c.report(Issue{Severity: Error, Code: "structure", Rule: RuleEmpty, Message: "neither a value nor an extension"}, x)
			}
		}
	} else if n == nil {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleEmpty, Message: "null is not a value"}, x)
		return
	}
	if n == nil {
		if e.binding != nil && e.binding.strength == "required" {
			c.report(Issue{Severity: Error, Code: "code-invalid", Rule: RuleBinding, Message: "no code, which the required value set " + withoutVersion(e.binding.url) + " asks for whatever the extension says"}, x)
		}
		return
	}
	if !fits(m.typ, n) {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleShape, Message: "a JSON " + n.Kind.String() + " is no " + m.typ.Name}, x)
		return
	}
	if !m.typ.Valid(n.Text) {
		message := "not of the form of a " + m.typ.Name
		if n.Text == "" {
			message = "an empty text"
		}
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleForm, Message: message}, x)
		return
	}
	if e.binding != nil {
		c.bound(e.binding, x)
	}
	switch m.typ.Name {
	case "canonical":
		c.within(n.Text)
		c.canonical(x)
		c.urn(x)
	case "uri", "url":
		c.within(n.Text)
		c.urn(x)
	case "xhtml":
		c.narrative(x)
	}
	if len(m.rules.invariants) > 0 {
		c.ask(m.rules.invariants, x)
	}
	if len(e.invariants) > 0 {
		c.ask(e.invariants, x)
	}
}

// fits tells whether the sort of JSON value is that of the primitive.
func fits(t *fhir.Type, n *fhir.Node) bool {
	switch t.Name {
	case "boolean":
		return n.Kind == fhir.Boolean
	case "integer", "positiveInt", "unsignedInt", "decimal":
		return n.Kind == fhir.Number
	}
	return n.Kind == fhir.String
}

// narrative checks the div of a Narrative (txt-1, txt-2).
func (c *Checker) narrative(x value) {
	allowed, content := fhir.CheckNarrative(x.node.Text)
	switch {
	case !allowed:
		c.report(Issue{Severity: Error, Code: "invariant", Rule: "txt-1", Message: "The narrative SHALL contain only the basic html formatting elements and attributes described in chapters 7-11 (except section 4 of chapter 9) and 15 of the HTML 4.0 standard, <a> elements (either name or href), images and internally contained style attributes"}, x)
	case !content:
		c.report(Issue{Severity: Error, Code: "invariant", Rule: "txt-2", Message: "The narrative SHALL have some non-whitespace content"}, x)
	}
}
