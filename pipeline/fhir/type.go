package fhir

import "slices"

// Unbounded is the value of [Element.Max] for a maximum of `*`.
const Unbounded = -1

// Kind tells what sort of thing a [Type] is.
type Kind uint8

// The kinds of types.
const (
	KindPrimitive Kind = iota // code, dateTime, xhtml: a value, with an id and extensions beside it in `_name`
	KindDataType              // HumanName, Quantity, Extension; also the abstract Element and BackboneElement
	KindBackbone              // Patient.contact, Timing.repeat: a group that exists in one place of the standard
	KindResource              // Patient; also the abstract Resource and DomainResource
)

// String returns the kind as a word.
func (k Kind) String() string {
	switch k {
	case KindPrimitive:
		return "primitive"
	case KindDataType:
		return "datatype"
	case KindBackbone:
		return "backbone"
	case KindResource:
		return "resource"
	}
	return "unknown"
}

// Type is one type of R4: a primitive, a datatype, a backbone element or a resource. Types are made once, shared by
// everyone and never changed; two are the same type exactly when the pointers are equal.
type Type struct {
	Name     string // "Patient", "HumanName", "Patient.contact" (backbone), "code"
	Kind     Kind
	Abstract bool // Resource, DomainResource, Element, BackboneElement: never the type of a value itself

	// Base is the type this one specialises: Patient → DomainResource → Resource; code → string → Element. Nil at the
	// roots. SimpleQuantity and MoneyQuantity are profiles that the standard lists among the types; their base is
	// Quantity.
	Base *Type

	// Elements are all elements, own and inherited, in the standard's order. Primitives have id and extension here;
	// their value is the JSON value itself.
	Elements []*Element

	// Invariants are those of the type as a whole, own and inherited, each key once. The focus is a value of the type.
	Invariants []Invariant

	// Pattern is the regular expression of a primitive's form (datatypes.html), not anchored; "" for other types and
	// for primitives without one. [Type.Valid] is the check to use: it is faster and knows the calendar.
	Pattern string

	valid func(string) bool
	index map[string]named
}

// named is what a JSON property name means within a type.
type named struct {
	element *Element
	typ     *Type
}

// Is tells whether the type is the named type or descends from it: Lookup("Patient").Is("DomainResource"). A nil type
// is nothing.
func (t *Type) Is(name string) bool {
	for ; t != nil; t = t.Base {
		if t.Name == name {
			return true
		}
	}
	return false
}

// Element finds the element that a property name of FHIR's JSON stands for, and the type of its value. For the bare
// name of a choice ("value") the element is returned with a nil type, since JSON has no such property; "valueQuantity"
// returns it with Quantity. Nil, nil if the type has no such element. Names that begin with `_` are not looked up here.
func (t *Type) Element(json string) (*Element, *Type) {
	if t == nil {
		return nil, nil
	}
	found := t.index[json]
	return found.element, found.typ
}

// Element is one element of a type.
type Element struct {
	Name   string // "value": for choices without the `[x]`
	Path   string // "Observation.value[x]", "Patient.contact.name": as in the standard's snapshot
	Choice bool   // the JSON name carries the type: valueQuantity

	// Types are the types the value may have: one entry unless Choice. An element that refers to the content of
	// another one (contentReference, as Questionnaire.item.item) has that backbone type. The ids of resources are of
	// type id, those of elements of type string. An element that holds any resource has the abstract type Resource.
	Types []*Type

	Min int // least number of values
	Max int // greatest number of values, or Unbounded

	Binding *Binding // nil if no value set is bound

	// Targets are the types of resources that a Reference or a canonical may point to, by name; empty: any.
	Targets []string

	// Profiles are the URLs of the profiles that a value of a datatype must conform to; in R4 that is SimpleQuantity or
	// MoneyQuantity for a Quantity. Usually empty.
	Profiles []string

	// Invariants are those that stand at this element beyond those of its type. The focus is one value of it.
	Invariants []Invariant

	Modifier bool // changes the meaning of what contains it (conformance.html#isModifier)
	Summary  bool // part of the summary view (search.html#summary)
}

// Repeats tells whether the element's JSON is an array.
func (e *Element) Repeats() bool { return e.Max == Unbounded || e.Max > 1 }

// JSONName is the property name in JSON for a value of type t: "valueQuantity" for a choice, else the name. For a
// choice that does not allow t it is "".
func (e *Element) JSONName(t *Type) string {
	if !e.Choice {
		return e.Name
	}
	if t == nil || !slices.Contains(e.Types, t) {
		return ""
	}
	return choiceName(e.Name, t.Name)
}

// choiceName is the JSON name of a choice: the type's name with its first letter in upper case, after the name.
func choiceName(name, typ string) string {
	first := typ[0]
	if first >= 'a' && first <= 'z' {
		first -= 'a' - 'A'
	}
	return name + string(first) + typ[1:]
}

// Binding ties an element to a value set.
type Binding struct {
	Strength string   // required, extensible, preferred or example (terminologies.html#strength)
	ValueSet string   // URL without version; "" if the standard only describes the set in words
	Codes    *CodeSet // the codes of a required binding; nil for other strengths, and for sets that cannot be listed (MIME types, all languages, UCUM)
}

// Required tells whether only codes of the value set are allowed. False for a nil binding.
func (b *Binding) Required() bool { return b != nil && b.Strength == "required" }

// Invariant is a rule of the standard, written in FHIRPath.
type Invariant struct {
	Key        string // "obs-7"
	Severity   string // error or warning
	Human      string // the rule in words
	Expression string // FHIRPath; true: the rule holds
}
