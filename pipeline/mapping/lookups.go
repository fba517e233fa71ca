package mapping

import (
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// KeptMaps lists the concept maps, as pack/map, all of whose columns feed an element that the policy keeps in the clear:
// what such a map does not know may be shown once enough patients have it. A column is one where a formula reads no other,
// else the formula stands for it. What is looked up outside of the resource, as in a rule, feeds nothing.
func (p *Program) KeptMaps() map[string]bool {
	kept := map[string]map[string]bool{} // by map and column
	for _, m := range p.Mappings {
		feeds := map[*formula]bool{}
		if m.body.root != nil {
			m.body.root.feeds(false, feeds)
		}
		for _, f := range m.body.looked {
			column := f.place.String()
			if reads := f.expr.Reads(); len(reads) == 1 && f.column != "" {
				column = m.Source + "/" + m.Table + "." + f.column
			}
			for _, slot := range f.maps {
				name := slot.pack + "/" + slot.m.Name
				if kept[name] == nil {
					kept[name] = map[string]bool{}
				}
				kept[name][column] = kept[name][column] || feeds[f]
			}
		}
	}
	out := map[string]bool{}
	for name, columns := range kept {
		out[name] = true
		for _, k := range columns {
			out[name] = out[name] && k
		}
	}
	return out
}

// feeds notes the formulas below a part of the template whose values the policy keeps. hidden tells that it takes a whole
// around the part out, or decides by values that nobody knows yet.
func (p *plan) feeds(hidden bool, out map[*formula]bool) {
	hidden = hidden || p.cut || p.decide != nil
	if p.f != nil && !hidden && (p.kind == planScalar || p.shape.keepsCode()) {
		out[p.f] = true
	}
	for _, m := range p.members {
		m.feeds(hidden, out)
	}
	for _, e := range p.entries {
		e.plan.feeds(hidden, out)
	}
}

// keepsCode tells whether the policy keeps what a lookup gives to a datatype: of a coded one the code, of a quantity the
// unit.
func (k shapeKey) keepsCode() bool {
	if k.free {
		return true // what is cut as one is cut further up
	}
	switch {
	case k.typ.Is("CodeableConcept"):
		below, ok := k.child("coding")
		return ok && below.keepsCode()
	case k.typ.Is("Coding"):
		_, ok := k.child("code")
		return ok
	case k.typ.Is("Quantity"):
		_, ok := k.child("unit")
		return ok
	}
	return false
}

// child is a member of a datatype; false if the policy takes it out, or may.
func (k shapeKey) child(name string) (shapeKey, bool) {
	e, typ := k.typ.Element(name)
	if e == nil || typ == nil {
		return shapeKey{}, false
	}
	d := k.rules.Child(e, typ)
	if len(d.Tests) > 0 || takes(d, typ) || typ.Kind == fhir.KindPrimitive && d.Method != phi.Keep {
		return shapeKey{}, false
	}
	return shapeKey{typ: typ, rules: d.Below, free: d.Whole}, true
}
