package validate

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// profile is a StructureDefinition that constrains a type, compiled: what it asks beyond the type.
type profile struct {
	url        string
	typ        *fhir.Type
	modifier   bool            // of an extension: it is a modifier
	contexts   []context       // of an extension: where it may stand
	conditions []*invariant    // of an extension: under which it may stand there
	parts      map[string]bool // of an extension that is made of others: their urls; nil: any
	tree       *tree
	root       *rules
	byID       map[string]*rules // for contentReference
}

// context is one place where an extension may stand.
type context struct {
	kind, expression string
	of               *fhir.Type     // of an expression: the type of resource that it begins with
	expr             *fhirpath.Expr // likewise, if it can be evaluated
	unknown          *uncheckedCount
}

// rules is what a profile asks of one value beyond its type. Nil asks nothing.
type rules struct {
	profile    *profile
	reference  string // the rules are those of another element: contentReference
	fixed      *fhir.Node
	pattern    *fhir.Node
	types      []allowed // nil: as the type has it
	binding    *binding
	most       *binding // elementdefinition-maxValueSet: what is outside of it is an error whatever the binding's strength
	maxLength  int
	minValue   *fhir.Node
	maxValue   *fhir.Node
	invariants []*invariant
	members    []*member
}

func (r *rules) empty() bool {
	return r.reference == "" && r.fixed == nil && r.pattern == nil && r.types == nil && r.binding == nil && r.most == nil && r.maxLength == 0 &&
		r.minValue == nil && r.maxValue == nil && len(r.invariants) == 0 && len(r.members) == 0
}

// allowed is a type that a profile allows.
type allowed struct {
	typ            *fhir.Type
	profiles       []string // the value must conform to one of them
	targets        []string // types that a reference may point to; empty: as R4 has it
	targetProfiles []string // profiles for what a reference points to
}

// member is what a profile asks of the values of one element.
type member struct {
	name     string // without [x]; or that of one variant of a choice
	min, max int    // beyond R4's own; 0 and fhir.Unbounded: nothing
	each     *rules
	slicing  *slicing
}

// profile compiles a profile on first use; nil if its definition, or what that is based on, is not at hand.
func (v *Validator) profile(url string) *profile {
	if p, ok := v.profiles.Load(url); ok {
		return p.(*profile)
	}
	v.compiling.Lock()
	defer v.compiling.Unlock()
	if p, ok := v.profiles.Load(url); ok {
		return p.(*profile)
	}
	p, _ := v.compileProfile(url)
	v.profiles.Store(url, p)
	return p
}

// compileProfile compiles a profile. Whole is false if a discriminator of it leads to a profile that is being compiled
// around it: what is compiled then serves there only.
func (v *Validator) compileProfile(url string) (p *profile, whole bool) {
	sd := v.definition(url)
	if sd == nil {
		return nil, true
	}
	name := sd.Get("url").Str()
	if v.open[name] {
		return nil, false
	}
	v.open[name] = true
	defer delete(v.open, name)
	p = &profile{url: name, typ: fhir.Lookup(sd.Get("type").Str()), byID: map[string]*rules{}}
	if p.typ == nil || coreType(name) != nil {
		return nil, true
	}
	elements, _ := v.elements(sd, 0)
	if p.tree = newTree(elements); p.tree == nil {
		return nil, true
	}
	p.modifier = isTrue(p.tree.root.node.Get("isModifier"))
	v.contexts(p, sd)
	k := &profileCompiler{v: v, p: p}
	p.root = k.rules(p.tree.root, nil, p.typ, false)
	for len(k.wanted) > 0 { // which may lead to others
		id := k.wanted[0]
		k.wanted = k.wanted[1:]
		if d := p.tree.byID[id]; d != nil && p.byID[id] == nil {
			p.byID[id] = &rules{profile: p} // so that one which leads to itself ends
			if r := k.rules(d, nil, k.typeAt(d), false); r != nil {
				*p.byID[id] = *r
			}
		}
	}
	return p, !k.partial
}

// contexts reads where an extension may stand, and of which others it may be made.
func (v *Validator) contexts(p *profile, sd *fhir.Node) {
	if list := sd.Get("context"); list != nil {
		for _, n := range list.Items {
			ctx := context{kind: n.Get("type").Str(), expression: n.Get("expression").Str()}
			if ctx.kind == "fhirpath" {
				name, _, _ := strings.Cut(ctx.expression, ".")
				ctx.of = fhir.Lookup(name)
				ctx.expr, _ = fhirpath.Compile(ctx.expression, &fhirpath.Env{Type: ctx.of})
				ctx.unknown = v.note("constraint", p.url+"#context", "the expression of its context cannot be evaluated here")
			}
			p.contexts = append(p.contexts, ctx)
		}
	}
	for _, expression := range texts(sd.Get("contextInvariant")) {
		expr, _ := fhirpath.Compile(expression, &fhirpath.Env{Variables: map[string]fhirpath.StaticType{"extension": fhirpath.StaticFHIR(fhir.Lookup("Extension"))}})
		p.conditions = append(p.conditions, &invariant{expr: expr, unknown: v.note("constraint", p.url+"#contextInvariant", "it cannot be evaluated here")})
	}
	if p.typ.Name != "Extension" {
		return
	}
	if d := p.tree.root.child("extension"); d != nil && d.max() != 0 && len(d.slices) > 0 {
		p.parts = map[string]bool{}
		for _, s := range d.slices {
			url := ""
			if of := s.child("url"); of != nil {
				url = of.polymorph("fixed").Str()
			}
			p.parts[url] = true
		}
	}
}

func isTrue(n *fhir.Node) bool { return n != nil && n.Kind == fhir.Boolean && n.Text == "true" }

// profileCompiler compiles the tree of one profile.
type profileCompiler struct {
	v       *Validator
	p       *profile
	wanted  []string // ids that a contentReference names
	partial bool
}

// typeAt is the type of a backbone element by its path, for contentReference.
func (k *profileCompiler) typeAt(d *definition) *fhir.Type {
	return fhir.Lookup(d.node.Get("path").Str())
}

// rules compiles what a definition asks of a value. e is the element in R4, nil at the root; typ the type of the value,
// nil if it can be one of several. of a slice, what its list asks anyway is asked again: slices are told apart by it.
func (k *profileCompiler) rules(d *definition, e *fhir.Element, typ *fhir.Type, slice bool) *rules {
	r := &rules{profile: k.p}
	if ref := d.node.Get("contentReference").Str(); ref != "" {
		_, id, _ := strings.Cut(ref, "#")
		if id != "" && k.p.tree.byID[id] != nil && len(d.children) == 0 {
			k.wanted = append(k.wanted, id)
			r.reference = id
			return r
		}
	}
	r.fixed, r.pattern = d.polymorph("fixed"), d.polymorph("pattern")
	r.minValue, r.maxValue = d.polymorph("minValue"), d.polymorph("maxValue")
	if n := d.node.Get("maxLength"); n != nil {
		r.maxLength = smallNumber(n.Text)
	}
	if e != nil {
		r.types = k.types(d, e)
		if len(r.types) == 1 && typ == nil {
			typ = r.types[0].typ
		}
	}
	r.binding, r.most = k.binding(d, e), k.most(d)
	r.invariants = k.invariants(d, e, typ)
	for _, child := range d.children {
		if m := k.member(child, typ); m != nil {
			r.members = append(r.members, m)
		}
	}
	if r.empty() {
		return nil
	}
	return r
}

// member compiles an element below a value of the type.
func (k *profileCompiler) member(d *definition, typ *fhir.Type) *member {
	if typ == nil {
		return nil
	}
	e, variant := typ.Element(d.name)
	if e == nil {
		return nil // System types: Element.id, Extension.url of the snapshot's own root and their kind are elements all the same
	}
	m := &member{name: d.name, min: d.min(), max: d.max()}
	if m.min <= e.Min {
		m.min = 0
	}
	if m.max == e.Max {
		m.max = fhir.Unbounded
	}
	of := variant
	if of == nil {
		of = soleType(d, e)
	}
	m.each = k.rules(d, e, of, false)
	m.slicing = k.slicing(d, e, of)
	if m.min == 0 && m.max == fhir.Unbounded && m.each == nil && m.slicing == nil {
		return nil
	}
	return m
}

// soleType is the type of a choice that a definition narrows to one, or nil.
func soleType(d *definition, e *fhir.Element) *fhir.Type {
	if !e.Choice {
		return e.Types[0]
	}
	if types := d.types(); len(types) == 1 {
		return fhir.Lookup(types[0].Get("code").Str())
	}
	return nil
}

// types are the types that a definition allows, if they are fewer than the element's own, or conform to profiles.
func (k *profileCompiler) types(d *definition, e *fhir.Element) []allowed {
	list := d.types()
	if len(list) == 0 {
		return nil
	}
	var out []allowed
	narrower := len(list) < len(e.Types)
	for _, n := range list {
		code := n.Get("code").Str()
		typ := fhir.Lookup(code)
		if typ == nil {
			return nil // System types
		}
		a := allowed{typ: typ}
		for _, url := range texts(n.Get("profile")) {
			if t := coreType(url); t != nil && len(e.Profiles) > 0 {
				continue // SimpleQuantity, which R4 asks anyway
			}
			if typ.Name != "Extension" { // an extension is checked by its url
				a.profiles = append(a.profiles, url)
			}
		}
		a.targets, a.targetProfiles = k.targets(n, e)
		narrower = narrower || len(a.profiles) > 0 || len(a.targets) > 0 || len(a.targetProfiles) > 0
		out = append(out, a)
	}
	if !narrower {
		return nil
	}
	return out
}

// targets are the types and profiles that references may point to, if that is less than R4 allows.
func (k *profileCompiler) targets(n *fhir.Node, e *fhir.Element) (types, profiles []string) {
	for _, url := range texts(n.Get("targetProfile")) {
		if t := coreType(url); t != nil {
			if t.Name == "Resource" {
				return nil, nil
			}
			types = append(types, t.Name)
			profiles = append(profiles, url)
			continue
		}
		sd := k.v.definition(url)
		if sd == nil {
			k.v.note("profile", url, "its definition is not at hand").n.Add(1)
			return nil, nil
		}
		types = append(types, sd.Get("type").Str())
		profiles = append(profiles, url)
	}
	slices.Sort(types)
	types = slices.Compact(types)
	if !slices.ContainsFunc(profiles, func(url string) bool { return coreType(url) == nil }) {
		profiles = nil
	}
	if profiles == nil && slices.Equal(types, e.Targets) {
		types = nil
	}
	return types, profiles
}

func (k *profileCompiler) binding(d *definition, e *fhir.Element) *binding {
	b := d.node.Get("binding")
	strength, url := b.Get("strength").Str(), b.Get("valueSet").Str()
	if url == "" || strength != "required" && strength != "extensible" {
		return nil
	}
	if e != nil && e.Binding != nil && e.Binding.Strength == strength && e.Binding.ValueSet == withoutVersion(url) {
		return nil
	}
	return k.v.newBinding(strength, url, k.p.url, nil)
}

// most is the value set that a binding may not go beyond.
func (k *profileCompiler) most(d *definition) *binding {
	list := d.node.At("binding", "extension")
	if list == nil {
		return nil
	}
	for _, x := range list.Items {
		if x.Get("url").Str() != structurePrefix+"elementdefinition-maxValueSet" {
			continue
		}
		if url := x.Get("valueCanonical").Str() + x.Get("valueUri").Str(); url != "" {
			return k.v.newBinding("required", url, k.p.url, nil)
		}
	}
	return nil
}

// invariants compiles the constraints that the element and its types do not have anyway.
func (k *profileCompiler) invariants(d *definition, e *fhir.Element, typ *fhir.Type) []*invariant {
	list := d.node.Get("constraint")
	if list == nil {
		return nil
	}
	var out []*invariant
	for _, n := range list.Items {
		key, expression := n.Get("key").Str(), n.Get("expression").Str()
		if key == "" || native[key] || bestPractice[key] || inherited(key, e, typ) {
			continue
		}
		if expression == "" {
			k.v.note("constraint", k.p.url+"#"+key, "it has no expression").n.Add(1)
			continue
		}
		if isBestPractice(n) {
			continue
		}
		types := []*fhir.Type{typ}
		if typ == nil {
			types = nil
			if e != nil {
				types = e.Types
			}
		}
		out = append(out, k.v.invariant(key, n.Get("severity").Str(), n.Get("human").Str(), expression, k.p.url, types...))
	}
	return out
}

// isBestPractice tells a constraint that its author marked as one (elementdefinition-bestpractice).
func isBestPractice(n *fhir.Node) bool {
	list := n.Get("extension")
	if list == nil {
		return false
	}
	for _, x := range list.Items {
		if x.Get("url").Str() == structurePrefix+"elementdefinition-bestpractice" && isTrue(x.Get("valueBoolean")) {
			return true
		}
	}
	return false
}

// inherited tells whether R4 has the constraint at the element or its type.
func inherited(key string, e *fhir.Element, typ *fhir.Type) bool {
	has := func(list []fhir.Invariant) bool {
		return slices.ContainsFunc(list, func(x fhir.Invariant) bool { return x.Key == key })
	}
	if typ != nil && has(typ.Invariants) {
		return true
	}
	if e == nil {
		return false
	}
	if has(e.Invariants) {
		return true
	}
	for _, t := range e.Types {
		if has(t.Invariants) {
			return true
		}
	}
	return false
}
