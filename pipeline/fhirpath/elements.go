package fhirpath

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// step is the way from a value of a type to an element.
type step struct {
	parent  *fhir.Type
	element *fhir.Element
	name    string
	under   string // "_name" where the type is a primitive, else ""
	typ     *fhir.Type
}

func newStep(parent *fhir.Type, e *fhir.Element, typ *fhir.Type) step {
	s := step{parent: parent, element: e, name: e.Name, typ: typ}
	if typ != nil && typ.Kind == fhir.KindPrimitive {
		s.under = "_" + e.Name
	}
	return s
}

func (s *step) append(c *Context, v Value, out []Value) []Value {
	if !s.element.Choice {
		var under *fhir.Node
		if s.under != "" {
			under = v.element().Get(s.under)
		}
		return appendNode(c, v.element().Get(s.name), under, s.typ, out)
	}
	name, typ := s.choice(v.element())
	if typ == nil {
		return out
	}
	return appendNode(c, v.element().Get(name), v.element().Get("_"+name), typ, out)
}

// choice finds which member of the object is the choice's.
func (s *step) choice(n *fhir.Node) (string, *fhir.Type) {
	for i := range n.Members {
		name := strings.TrimPrefix(n.Members[i].Name, "_")
		if len(name) <= len(s.name) || !strings.HasPrefix(name, s.name) {
			continue
		}
		if e, t := s.parent.Element(name); e == s.element && t != nil {
			return name, t
		}
	}
	return "", nil
}

// one is append for an element that does not repeat; false if the resource has several all the same.
func (s *step) one(c *Context, v Value) (Value, bool) {
	name, typ := s.name, s.typ
	var under *fhir.Node
	if s.element.Choice {
		if name, typ = s.choice(v.element()); typ == nil {
			return Value{}, true
		}
		under = v.element().Get("_" + name)
	} else if s.under != "" {
		under = v.element().Get(s.under)
	}
	n := v.element().Get(name)
	if n != nil && n.Kind == fhir.Array || under != nil && under.Kind == fhir.Array {
		buf := appendNode(c, n, under, typ, c.take())
		var first Value
		if len(buf) > 0 {
			first = buf[0]
		}
		ok := len(buf) <= 1
		c.give(buf)
		return first, ok
	}
	return singleNode(c, n, under, typ), true
}

// appendNode appends a JSON value, or each of an array, with the ids and extensions that stand beside it.
func appendNode(c *Context, n, under *fhir.Node, t *fhir.Type, out []Value) []Value {
	if n == nil && under == nil {
		return out
	}
	if n != nil && n.Kind == fhir.Array || n == nil && under.Kind == fhir.Array {
		count := 0
		if n != nil {
			count = len(n.Items)
		}
		if under != nil && under.Kind == fhir.Array {
			count = max(count, len(under.Items))
		}
		for i := range count {
			if v := singleNode(c, n.Item(i), under.Item(i), t); !v.none() {
				out = append(out, v)
			}
		}
		return out
	}
	if v := singleNode(c, n, under, t); !v.none() {
		out = append(out, v)
	}
	return out
}

// singleNode is a JSON value with its `_` sibling. A primitive that has only extensions is a value without a value.
func singleNode(c *Context, n, under *fhir.Node, t *fhir.Type) Value {
	if under != nil && (under.Kind != fhir.Object || len(under.Members) == 0) {
		under = nil
	}
	if n != nil && n.Kind == fhir.Null {
		n = nil
	}
	switch {
	case n == nil && under == nil:
		return Value{}
	case n == nil:
		return valueOf(c.alias(fhir.Node{Kind: fhir.Null, Members: under.Members}), t)
	case under != nil && n.Kind != fhir.Object && n.Kind != fhir.Array:
		return valueOf(c.alias(fhir.Node{Kind: n.Kind, Text: n.Text, Members: under.Members}), t)
	}
	if n.Kind == fhir.Object && (t == nil || t.Kind == fhir.KindResource) {
		return Object(n, t)
	}
	return valueOf(n, t)
}
