package fhirpath

import (
	"slices"
	"strings"
)

// variable compiles %name.
func (k *compiler) variable(n *node) *code {
	for i := len(k.vars) - 1; i >= 0; i-- {
		if v := k.vars[i]; v.name == n.text {
			slot := v.slot
			cd := several(n, v.st, func(c *Context, _ Value, out []Value) ([]Value, error) {
				return append(out, c.slots[slot]...), nil
			})
			cd.st.Single = v.st.Single
			return cd
		}
	}
	text := func(s string) *code {
		return constantCode(n, StaticType{Kinds: Set(KindString), Single: true}, []Value{String(s)})
	}
	switch name := n.text; {
	case name == "sct":
		return text("http://snomed.info/sct")
	case name == "loinc":
		return text("http://loinc.org")
	case name == "ucum":
		return text(ucumSystem)
	case strings.HasPrefix(name, "vs-"):
		return text("http://hl7.org/fhir/ValueSet/" + name[3:])
	case strings.HasPrefix(name, "ext-"):
		return text("http://hl7.org/fhir/StructureDefinition/" + name[4:])
	case name == "context":
		k.usesRoot = true
		return single(n, k.focusType(), func(c *Context, _ Value) (Value, error) { return c.root, nil })
	case name == "resource" && !k.env.Record:
		k.usesRoot = true
		return single(n, k.resourceType(), func(c *Context, _ Value) (Value, error) { return c.resource(), nil })
	case name == "rootResource" && !k.env.Record:
		k.usesRoot = true
		return single(n, StaticType{Kinds: Set(KindObject)}, func(c *Context, _ Value) (Value, error) {
			if !c.RootResource.none() {
				return c.RootResource, nil
			}
			return c.resource(), nil
		})
	case name == "record" && k.env.Record:
		root := k.env
		for root.Outer != nil {
			root = root.Outer
		}
		return single(n, StaticType{Kinds: Set(KindRow), Env: root}, func(c *Context, _ Value) (Value, error) {
			return RowValue(c.Record), nil
		})
	}
	if x, ok := k.env.Constants[n.text]; ok {
		return constantCode(n, x.Static, x.Values)
	}
	if st, ok := k.env.Variables[n.text]; ok {
		name, off := n.text, n.off
		cd := several(n, st, func(c *Context, _ Value, out []Value) ([]Value, error) {
			for i := range c.vars {
				if c.vars[i].name == name {
					return append(out, c.vars[i].values...), nil
				}
			}
			return out, &Error{Code: "variable-not-set", Offset: off}
		})
		cd.st.Single = st.Single
		return cd
	}
	names := []string{"context", "resource", "rootResource", "record", "sct", "loinc", "ucum"}
	for name := range k.env.Variables {
		names = append(names, name)
	}
	for name := range k.env.Constants {
		names = append(names, name)
	}
	for _, v := range k.vars {
		names = append(names, v.name)
	}
	slices.Sort(names)
	k.fault(n, "there is no variable %"+n.text, near(n.text, names))
	return faulty(n)
}

// resourceType is what is known of %resource: the focus, if it is a resource itself.
func (k *compiler) resourceType() StaticType {
	if t := k.env.Type; t != nil && t.Is("Resource") {
		return StaticFHIR(t)
	}
	return StaticType{Kinds: Set(KindObject), Single: true}
}

func (c *Context) resource() Value {
	if c.Resource.none() && c.root.isResource() {
		return c.root
	}
	return c.Resource
}

// Reserved tells the %names that have a meaning of their own, which nobody may define.
func Reserved(name string) bool { return reserved(name) }

// Use is a %name in an expression: Offset and Length, in bytes, are those of the whole token.
type Use struct {
	Name           string
	Offset, Length int
}

// Uses lists the %names of an expression in their order, those inside of texts and comments aside. Of an expression that
// cannot be read it lists those before the fault.
func Uses(source string) (uses []Use) {
	l := &lexer{src: source}
	for {
		switch t := l.next(); t.kind {
		case tokEnd:
			return uses
		case tokVariable:
			uses = append(uses, Use{t.text, t.off, t.end - t.off})
		}
	}
}

func reserved(name string) bool {
	switch name {
	case "context", "resource", "rootResource", "record", "sct", "loinc", "ucum":
		return true
	}
	return strings.HasPrefix(name, "vs-") || strings.HasPrefix(name, "ext-")
}

// defineVariable compiles input.defineVariable(name, value): the input passes, and %name is known in what follows it.
func (k *compiler) defineVariable(n *node) *code {
	in := k.this(n)
	if n.left != nil {
		in = k.compile(n.left)
	}
	if !k.arguments(n, 1, 2) {
		return faulty(n)
	}
	name := k.operand(n.args[0])
	if !name.constant || len(name.vals) != 1 || name.vals[0].kind() != KindString || name.vals[0].written() == "" {
		k.fault(n.args[0], "the name of a variable is a constant text", "as in defineVariable('x', …)")
		return in
	}
	value := in
	input := k.slots
	if len(n.args) == 2 {
		item := in.st
		if in.st.Single {
			value = k.lambda(n.args[1], item)
		} else { // over the whole collection, not each of its items
			k.slots++
			k.scope = &scope{this: item, item: k.scope.item, total: k.scope.total, list: &input, parent: k.scope}
			value = k.operand(n.args[1])
			k.scope = k.scope.parent
		}
	}
	text := name.vals[0].written()
	for _, v := range k.vars {
		if v.name == text {
			k.fault(n.args[0], "%"+text+" is defined already", "take another name")
			return in
		}
	}
	if reserved(text) {
		k.fault(n.args[0], "%"+text+" has a meaning of its own", "take another name")
		return in
	}
	slot := k.slots
	k.slots++
	st := value.st
	st.Literal = false
	st.MayBeEmpty = st.MayBeEmpty || in.st.MayBeEmpty
	k.vars = append(k.vars, defined{text, slot, st})
	lambda := len(n.args) == 2
	inSingle := in.st.Single
	cd := several(n, in.st, func(c *Context, f Value, out []Value) ([]Value, error) {
		start := len(out)
		out, err := in.many(c, f, out)
		if err != nil {
			return out, err
		}
		// The values must outlive the buffers: they get a slice of their own.
		values := c.slots[slot][:0]
		if !lambda {
			c.slots[slot] = append(values, out[start:]...)
			return out, nil
		}
		focus := f
		switch {
		case !inSingle:
			c.slots[input] = append(c.slots[input][:0], out[start:]...)
		case len(out) > start:
			focus = out[start]
		default:
			focus = Value{}
		}
		c.slots[slot], err = value.many(c, focus, values)
		return out, err
	})
	cd.st.Single = in.st.Single
	return cd
}
