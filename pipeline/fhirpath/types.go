package fhirpath

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// typeRef is a type named in an expression. A bare name may mean a System type and one of FHIR: Quantity.
type typeRef struct {
	system Kind // KindNone: not a System type
	any    bool // System.Any
	fhir   *fhir.Type
}

var systemTypes = [...]Kind{KindBoolean, KindString, KindInteger, KindDecimal, KindDate, KindDateTime, KindTime, KindQuantity}

// typeOf resolves the name of a type: Name, or System.Name or FHIR.Name.
func (k *compiler) typeOf(n *node) (typeRef, bool) {
	if n.op != opIdent || n.left != nil && (n.left.op != opIdent || n.left.left != nil) {
		k.fault(n, "this must be the name of a type", "as in Quantity, FHIR.Patient or System.String")
		return typeRef{}, false
	}
	namespace := ""
	if n.left != nil {
		namespace = n.left.text
	}
	var ref typeRef
	var candidates []string
	if namespace == "" || namespace == "System" {
		for _, kind := range systemTypes {
			candidates = append(candidates, kind.String())
			if kind.String() == n.text {
				ref.system = kind
			}
		}
		ref.any = n.text == "Any" && namespace == "System"
	}
	if namespace == "" || namespace == "FHIR" {
		ref.fhir = fhir.Lookup(n.text)
		candidates = append(candidates, fhir.Resources()...)
		candidates = append(candidates, "boolean", "string", "code", "integer", "decimal", "date", "dateTime", "HumanName",
			"Address", "CodeableConcept", "Coding", "Identifier", "Period", "Range", "Ratio", "Reference", "Age", "Duration")
	}
	if ref.system == KindNone && ref.fhir == nil && !ref.any {
		hint := near(n.text, candidates)
		if strings.EqualFold(n.text, "null") || strings.EqualFold(n.text, "not") {
			hint = "ask .empty() or .exists()"
		}
		k.fault(n, "there is no type "+k.text(n), hint)
		return typeRef{}, false
	}
	return ref, true
}

// is tells whether the value is of the type or of one that descends from it.
func (r typeRef) is(v Value) bool {
	switch {
	case r.any:
		return true
	case v.model() != nil:
		return r.fhir != nil && v.model().Is(r.fhir.Name)
	case v.kind() == KindObject:
		return false
	}
	return r.system != KindNone && r.system == v.kind()
}

// filters tells whether as() and ofType() let the value pass. Primitives of FHIR must be of the type itself: a code is
// a string, but not as a string (HL7's tests of R4).
func (r typeRef) filters(v Value) bool {
	if v.model() != nil && v.model().Kind == fhir.KindPrimitive && !r.any {
		return v.model() == r.fhir
	}
	return r.is(v)
}

// static is the type of what passes.
func (r typeRef) static(in StaticType) StaticType {
	st := StaticType{Single: in.Single, MayBeEmpty: true, Unordered: in.Unordered, Blank: in.Blank}
	isFHIR := len(typesOf(in)) > 0
	switch {
	case r.any:
		return in
	case r.fhir != nil && (r.system == KindNone || isFHIR):
		st.FHIR, st.Kinds = r.fhir, Set(kindOf(r.fhir))
		if st.Kinds != Set(KindObject) {
			st.Kinds |= Set(KindObject)
		}
	case r.fhir == nil:
		st.Kinds = Set(r.system)
	}
	return st
}

// typeOperator compiles left is Type and left as Type.
func (k *compiler) typeOperator(n *node) *code {
	left := k.operand(n.left)
	ref, ok := k.typeOf(n.right)
	if !ok {
		return faulty(n)
	}
	if n.text == "is" {
		return isType(n, left, ref)
	}
	return ofType(n, left, ref)
}

func isType(n *node, in *code, ref typeRef) *code {
	st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: in.st.MayBeEmpty}
	return fold(single(n, st, func(c *Context, f Value) (Value, error) {
		v, err := in.one(c, f)
		if err != nil || v.none() {
			return Value{}, err
		}
		return Boolean(ref.is(v)), nil
	}), in)
}

// ofType also serves as(), which R4's invariants and search parameters apply to collections.
func ofType(n *node, in *code, ref typeRef) *code {
	st := ref.static(in.st)
	if in.st.Single {
		return fold(single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := in.one(c, f)
			if err != nil || !ref.filters(v) {
				return Value{}, err
			}
			return v, nil
		}), in)
	}
	return gather(n, in, st, func(_ *Context, values, out []Value) ([]Value, error) {
		for _, v := range values {
			if ref.filters(v) {
				out = append(out, v)
			}
		}
		return out, nil
	})
}

// addTypes adds is(), as(), ofType() and type().
func (k *compiler) addTypes(all map[string]builtin) {
	typed := func(build func(n *node, in *code, ref typeRef) *code) builtin {
		return builtin{1, 1, func(k *compiler, n *node, in *code) *code {
			ref, ok := k.typeOf(n.args[0])
			if !ok {
				return faulty(n)
			}
			return build(n, in, ref)
		}}
	}
	all["is"] = typed(isType)
	all["as"] = typed(ofType)
	all["ofType"] = typed(ofType)
	all["type"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		st := StaticType{Kinds: Set(KindObject), Single: in.st.Single, MayBeEmpty: in.st.MayBeEmpty}
		describe := func(c *Context, v Value) Value {
			info := c.NewObject()
			namespace, name := "System", strings.TrimPrefix(v.Type(), "System.")
			if v.model() != nil {
				namespace = "FHIR"
			}
			c.AddString(info, "namespace", namespace)
			c.AddString(info, "name", name)
			return valueOf(info, nil)
		}
		cd := several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
			start := len(out)
			out, err := in.many(c, f, out)
			for i := start; i < len(out) && err == nil; i++ {
				out[i] = describe(c, out[i])
			}
			return out, err
		})
		cd.st.Single = in.st.Single
		return cd
	}}
}
