package mapping

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// value compiles one value: a formula, a literal or an object.
func (t *templates) value(p *plan, n *yaml.Node, at place) {
	if _, _, ok := isFormula(n); ok {
		t.formula(p, n, at)
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		t.c.fault(t.b.file, n, "leave the dash or the brackets out", "%s takes one value, not a list", p.elem.Path)
	case yaml.MappingNode:
		if p.typ.Kind == fhir.KindPrimitive {
			hint := "a text, number or formula"
			if find(n, "forEach") != nil {
				hint = "forEach stands in an entry of a list"
			}
			t.c.fault(t.b.file, n, hint, "%s is %s, not an object", p.elem.Path, article(p.typ.Name))
			return
		}
		if find(n, "forEach") != nil && !p.elem.Repeats() {
			t.c.fault(t.b.file, n, "", "%s takes one value, so there is nothing to repeat", p.elem.Path)
			return
		}
		t.object(p, n, at)
	default:
		t.literal(p, n, at)
	}
}

// object compiles an object of a datatype, backbone element or contained resource.
func (t *templates) object(p *plan, n *yaml.Node, at place) {
	typ := p.typ
	var ready []*plan
	body := n
	if typ.Name == "Resource" {
		name := find(n, "resourceType")
		if name == nil || fhir.Lookup(name.Value) == nil || fhir.Lookup(name.Value).Kind != fhir.KindResource || fhir.Lookup(name.Value).Abstract {
			t.c.fault(t.b.file, n, "", "a contained resource names its type with `resourceType:`")
			return
		}
		typ = fhir.Lookup(name.Value)
		if !at.free {
			d := t.c.decision(at.rules, at.elem, typ)
			at.rules = d.Below
			if t.c.o.Policy != nil && d.Method != phi.Keep && d.Whole {
				p.cut, p.method, at.free = true, d.Method, true
			}
		}
		if find(n, "id") == nil {
			t.c.fault(t.b.file, n, "references to it are written #ID", "a contained resource has an id")
		}
		ready = []*plan{{kind: planConst, label: "resourceType", name: []byte(`"resourceType":`), text: fhir.AppendString(nil, typ.Name), mark: -1}}
		copied := *n
		copied.Content = nil
		for _, pair := range document.Pairs(n) {
			if pair.Key != "resourceType" {
				copied.Content = append(copied.Content, pair.Node, pair.Value)
			}
		}
		body = &copied
	}
	if len(n.Content) == 0 {
		t.c.fault(t.b.file, n, "", "%s is an empty object", p.elem.Path)
		return
	}
	label, name, path := p.label, p.name, p.path
	t.members(p, body, typ, at, ready)
	p.label, p.name, p.path = label, name, path
	if codes := requiredCodes(p.elem); codes != nil && (typ.Name == "Coding" || typ.Name == "CodeableConcept") {
		if p.kind == planConst {
			if node, err := fhir.Parse(p.text); err == nil && !conceptIn(codes, node, typ) {
				t.c.fault(t.b.file, n, bindingHint(codes, ""), "%s must have a code of %s", p.elem.Path, p.elem.Binding.ValueSet)
			}
		} else {
			p.coded = codes
		}
	}
}

func requiredCodes(e *fhir.Element) *fhir.CodeSet {
	if e == nil || !e.Binding.Required() {
		return nil
	}
	return e.Binding.Codes
}

// conceptIn tells whether a Coding, or one of a CodeableConcept's, is in the set.
func conceptIn(codes *fhir.CodeSet, n *fhir.Node, typ *fhir.Type) bool {
	if typ.Name == "Coding" {
		return inBinding(codes, n)
	}
	for i := 0; ; i++ {
		c := n.Get("coding").Item(i)
		if c == nil {
			return false
		}
		if inBinding(codes, c) {
			return true
		}
	}
}

func bindingHint(codes *fhir.CodeSet, code string) string {
	if hint := document.Hint(code, codes.Codes()); code != "" && hint != "" {
		return hint
	}
	list := codes.Codes()
	if len(list) > 12 {
		return fmt.Sprintf("one of %s, … (%d codes)", strings.Join(list[:12], ", "), len(list))
	}
	return "one of " + strings.Join(list, ", ")
}

// literal compiles a scalar of a primitive type.
func (t *templates) literal(p *plan, n *yaml.Node, at place) {
	text := literalText(n)
	if p.typ.Kind != fhir.KindPrimitive {
		hint := "an object with its elements, or a formula"
		if t.formulaLike(n) {
			hint = "a formula begins with `=`"
		}
		if !t.rest(n, at) {
			t.c.fault(t.b.file, n, hint, "%s is %s, not a text", p.elem.Path, article(p.typ.Name))
		}
		return
	}
	if document.IsNull(n) {
		t.c.fault(t.b.file, n, "take it out, or quote a text that looks like null", "%s has no value", p.elem.Path)
		return
	}
	if !p.typ.Valid(text) {
		hint := formHint(p.typ, text)
		if t.formulaLike(n) {
			hint = "a formula begins with `=`"
		}
		t.c.fault(t.b.file, n, hint, "%s is %s, and %q has not its form", p.elem.Path, article(p.typ.Name), text)
		return
	}
	if codes := requiredCodes(p.elem); codes != nil && p.typ.Kind == fhir.KindPrimitive && !codes.HasCode(text) {
		t.c.fault(t.b.file, n, bindingHint(codes, text), "%s has no code %q", p.elem.Path, text)
		return
	}
	if relativeSystem(p.elem, text) {
		t.c.fault(t.b.file, n, "such as http://loinc.org", "%s is an absolute URI, not %q", p.elem.Path, text)
		return
	}
	if requiredCodes(p.elem) == nil { // a code of the element's own is meant, whatever columns there are
		t.warnLiteral(n)
	}
	p.kind = planConst
	if rawType(p.typ) {
		p.text = []byte(text)
	} else {
		p.text = fhir.AppendString(nil, text)
	}
}

func formHint(typ *fhir.Type, text string) string {
	switch typ.Name {
	case "boolean":
		if slices.Contains([]string{"yes", "Yes", "YES", "on", "True", "TRUE", "1", "y"}, text) {
			return "write true"
		}
		return "write true or false"
	case "date":
		return "such as 2026-01-31"
	case "dateTime", "instant":
		return "such as 2026-01-31T09:30:00-05:00"
	case "uri", "url", "canonical":
		return "a URI has no white space"
	}
	return ""
}

// rawType tells the primitives that JSON writes without quotes.
func rawType(typ *fhir.Type) bool {
	switch typ.Name {
	case "boolean", "integer", "positiveInt", "unsignedInt", "decimal":
		return true
	}
	return false
}

// underscore compiles `_name`: the id and extensions of a primitive.
func (t *templates) underscore(p *plan, n *yaml.Node, at place, d phi.Decision) {
	if p.elem.Repeats() {
		t.c.fault(t.b.file, n, "", "%s repeats: extensions of its single values are not in the language", p.elem.Path)
		p.kind, p.text = planConst, []byte("null")
		return
	}
	if n.Kind != yaml.MappingNode {
		t.c.fault(t.b.file, n, "{extension: […]}", "%s is an object with id and extension", p.label)
		p.kind, p.text = planConst, []byte("null")
		return
	}
	if !at.free {
		if d.Method != phi.Keep {
			p.cut, p.method, p.required, at.free = true, phi.Seal, p.elem.Min > 0, true
		} else if d.Whole {
			at.free = true
		} else {
			at.rules = d.Below
		}
	}
	label, name, path := p.label, p.name, p.path
	t.members(p, n, p.typ, at, nil)
	p.label, p.name, p.path = label, name, path
}
