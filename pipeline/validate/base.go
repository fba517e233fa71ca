package validate

import (
	"github.com/chartlift/chartlift/pipeline/fhir"
)

// typeRules is what R4 asks of a value of one type, in the form that the walk wants.
type typeRules struct {
	typ        *fhir.Type
	members    map[string]memberRule // by property name, with `_name` where primitives have it
	table      nameTable             // the same
	elements   []elementRule
	required   []int // elements of which there must be one
	invariants []*invariant
	each       []*invariant // of those, what must be asked of each value, see Judge
	stuck      bool         // one of them asks for more than the value itself

	resource, extension, reference, coding, concept, quantity, attachment, identifier bool
}

// memberRule says what a property is.
type memberRule struct {
	element int
	typ     *fhir.Type
	under   bool // it may have an `_name` beside it
	rules   *typeRules
	code    uint16 // of the property within the type, from 1, for shapes
	leaf    leaf   // of a primitive
	text    bool   // it is a string or markdown
}

// elementRule is an element of a type.
type elementRule struct {
	*fhir.Element
	invariants []*invariant
	binding    *binding
	each       []*invariant
	stuck      bool
	simple     bool // SimpleQuantity or MoneyQuantity: no comparator (sqty-1)
}

// rulesOf compiles the rules of a type on first use.
func (v *Validator) rulesOf(t *fhir.Type) *typeRules {
	if t == nil {
		return nil
	}
	if r, ok := v.types.Load(t); ok {
		return r.(*typeRules)
	}
	v.compiling.Lock()
	defer v.compiling.Unlock()
	return v.compileType(t, map[*fhir.Type]*typeRules{})
}

// compileType compiles a type and those of its elements, which may be the type again. Types that are done are published
// only when the outermost is, so that nobody meets one whose members are still open.
func (v *Validator) compileType(t *fhir.Type, open map[*fhir.Type]*typeRules) *typeRules {
	if r, ok := v.types.Load(t); ok {
		return r.(*typeRules)
	}
	if r, ok := open[t]; ok {
		return r
	}
	outermost := len(open) == 0
	r := &typeRules{typ: t, members: map[string]memberRule{}}
	open[t] = r
	r.resource, r.extension, r.reference = t.Kind == fhir.KindResource, t.Name == "Extension", t.Name == "Reference"
	r.coding, r.concept, r.quantity, r.attachment = t.Name == "Coding", t.Name == "CodeableConcept", t.Is("Quantity"), t.Name == "Attachment"
	r.identifier = t.Name == "Identifier"
	r.invariants = v.invariants(t.Invariants, t)
	r.each, r.stuck = split(r.invariants)
	for i, e := range t.Elements {
		rule := elementRule{Element: e, binding: v.baseBinding(e), simple: len(e.Profiles) > 0}
		rule.invariants = v.invariants(e.Invariants, e.Types...)
		rule.each, rule.stuck = split(rule.invariants)
		r.elements = append(r.elements, rule)
		if e.Min > 0 {
			r.required = append(r.required, i)
		}
		for _, typ := range e.Types {
			name := e.JSONName(typ)
			m := memberRule{element: i, typ: typ, rules: v.compileType(typ, open), under: typ.Kind == fhir.KindPrimitive}
			m.code, m.leaf = uint16(len(r.members)+1), leafOf(t, e.Name, typ)
			m.text = typ.Name == "string" || typ.Name == "markdown"
			r.members[name] = m
			if m.under {
				m.code++
				r.members["_"+name] = m
			}
		}
	}
	r.table = newNameTable(r.members)
	if outermost {
		for typ, rules := range open {
			v.types.Store(typ, rules)
		}
	}
	return r
}

// split finds the invariants that ask for what shapes leave out; stuck: one of them asks for more than its value.
func split(list []*invariant) (each []*invariant, stuck bool) {
	for _, inv := range list {
		if inv.each {
			each = append(each, inv)
			stuck = stuck || inv.expr.Rooted()
		}
	}
	return each, stuck
}
