package fhirpath

import "github.com/chartlift/chartlift/pipeline/fhir"

// Terminology answers what memberOf(), subsumes() and subsumedBy() ask about codes. What it cannot decide with the
// definitions at hand is not known, and the function's result is then empty, never false. It must be safe for
// concurrent use.
type Terminology interface {
	// HasCode tells whether a code without a system, as elements of type code have it, is in the value set.
	HasCode(valueSet, code string) (in, known bool)
	// HasCoding tells whether a code of a system is in the value set.
	HasCoding(valueSet, system, version, code string) (in, known bool)
	// Subsumes tells whether b is a or a kind of it.
	Subsumes(system, a, b string) (subsumes, known bool)
}

// builtinCodes are the value sets of R4's own required bindings: what is known without an Env.Terminology.
type builtinCodes struct{}

func (builtinCodes) HasCode(valueSet, code string) (in, known bool) {
	set := fhir.ValueSet(valueSet)
	return set.HasCode(code), set != nil
}

func (builtinCodes) HasCoding(valueSet, system, _, code string) (in, known bool) {
	set := fhir.ValueSet(valueSet)
	return set.Has(system, code), set != nil
}

func (builtinCodes) Subsumes(_, a, b string) (subsumes, known bool) { return a == b, a == b }

// terminology is what the expression's functions ask.
func (k *compiler) terminology() Terminology {
	if k.env.Terminology != nil {
		return k.env.Terminology
	}
	return builtinCodes{}
}

// alone is empty for several values, of which memberOf() returns nothing (fhirpath.html#functions), instead of failing.
func alone(n *node, in *code) *code {
	if in.st.Single {
		return in
	}
	return fold(single(n, in.st, func(c *Context, focus Value) (Value, error) {
		buf, err := in.many(c, focus, c.take())
		if err != nil {
			return Value{}, err
		}
		var v Value
		if len(buf) == 1 {
			v = buf[0]
		}
		c.give(buf)
		return v, nil
	}), in)
}

// coding is a code as memberOf() and subsumes() see it; one of an element of type code has no system.
type coding struct {
	system, version, code string
	bare                  bool
}

// eachCoding calls use for a code, a Coding, or each coding of a CodeableConcept, until it returns false.
func (v Value) eachCoding(use func(coding) bool) {
	if v.kind() == KindString {
		use(coding{code: v.written(), bare: true})
		return
	}
	of := func(n *fhir.Node) coding {
		return coding{system: n.Get("system").Str(), version: n.Get("version").Str(), code: n.Get("code").Str()}
	}
	list := v.element().Get("coding")
	if list == nil {
		if v.element().Get("code").Str() != "" {
			use(of(v.element()))
		}
		return
	}
	for _, n := range list.Items {
		if c := of(n); c.code != "" && !use(c) {
			return
		}
	}
}

// decided notes an answer that is empty because it is not known.
func (c *Context) decided(v Value) Value {
	if v.none() {
		c.Undecided = true
	}
	return v
}

// memberOf is true if a code, or one of the codings, is in the value set, and empty if that is not known.
func memberOf(t Terminology, v Value, valueSet string) Value {
	member, decided := false, true
	v.eachCoding(func(c coding) bool {
		var in, known bool
		if c.bare {
			in, known = t.HasCode(valueSet, c.code)
		} else {
			in, known = t.HasCoding(valueSet, c.system, c.version, c.code)
		}
		member, decided = in && known, decided && known
		return !member
	})
	switch {
	case member:
		return Boolean(true)
	case decided:
		return Boolean(false)
	}
	return Value{}
}

// subsumes is true if one of b's codings is one of a's or a kind of it. It is empty if that is not known: for codes
// without a system, and for codings of different systems, of which nothing says how they stand to each other.
func subsumes(t Terminology, a, b Value) Value {
	found, compared, decided := false, false, true
	a.eachCoding(func(x coding) bool {
		b.eachCoding(func(y coding) bool {
			if x.bare != y.bare || x.system != y.system {
				return true
			}
			compared = true
			yes, known := x.code == y.code, true
			if !yes {
				if x.system == "" {
					known = false
				} else {
					yes, known = t.Subsumes(x.system, x.code, y.code)
				}
			}
			found, decided = yes && known, decided && known
			return !found
		})
		return !found
	})
	switch {
	case found:
		return Boolean(true)
	case compared && decided:
		return Boolean(false)
	}
	return Value{}
}
