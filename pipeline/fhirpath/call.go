package fhirpath

import (
	"slices"
	"strings"
)

// builtin is a function of FHIRPath. Compile gets the call and its compiled input.
type builtin struct {
	min, max int
	compile  func(k *compiler, n *node, in *code) *code
}

// call compiles a call of a function.
func (k *compiler) call(n *node) *code {
	if n.text == "defineVariable" {
		return k.defineVariable(n)
	}
	var in *code
	if n.left != nil {
		in = k.compile(n.left)
	} else {
		in = k.this(n)
	}
	if f, ok := k.env.Functions[n.text]; ok {
		return k.extension(n, in, f)
	}
	f, ok := k.builtins()[n.text]
	if !ok {
		names := k.functionNames()
		hint := near(n.text, names)
		if hint != "" {
			hint = strings.TrimSuffix(hint, "?") + "()?"
		}
		k.faultName(n, "there is no function "+n.text+"()", hint)
		for _, arg := range n.args {
			k.operand(arg)
		}
		return faulty(n)
	}
	if !k.arguments(n, f.min, f.max) {
		return faulty(n)
	}
	return f.compile(k, n, in)
}

func (k *compiler) arguments(n *node, least, most int) bool {
	if len(n.args) >= least && (most < 0 || len(n.args) <= most) {
		return true
	}
	want := itoa(least)
	switch {
	case most < 0:
		want = "at least " + want
	case most != least:
		want += " to " + itoa(most)
	}
	noun := " arguments"
	if want == "1" {
		noun = " argument"
	}
	k.faultName(n, n.text+"() takes "+want+noun+", here are "+itoa(len(n.args)), "")
	return false
}

func (k *compiler) functionNames() []string {
	names := make([]string, 0, 128)
	for name := range k.builtins() {
		names = append(names, name)
	}
	for name := range k.env.Functions {
		names = append(names, name)
	}
	names = append(names, "defineVariable")
	slices.Sort(names)
	return names
}

func (k *compiler) builtins() map[string]builtin {
	if k.functions == nil {
		k.functions = make(map[string]builtin, 128)
		k.addCollections(k.functions)
		k.addFilters(k.functions)
		k.addConversions(k.functions)
		k.addTexts(k.functions)
		k.addMath(k.functions)
		k.addAggregates(k.functions)
		k.addComponents(k.functions)
		k.addTypes(k.functions)
		k.addResources(k.functions)
	}
	return k.functions
}

// extension compiles a call of a function of Env.Functions.
func (k *compiler) extension(n *node, in *code, f Function) *code {
	if !k.arguments(n, f.Min, f.Max) {
		for _, arg := range n.args {
			k.operand(arg)
		}
		return faulty(n)
	}
	call := &Call{Name: n.text, Input: in.st, Env: k.env, Offset: n.nameOff, Length: n.end - n.nameOff}
	operands := []*code{in}
	for _, arg := range n.args {
		// An argument is evaluated over $this, or over items where the function iterates: the items' type is not
		// known to be another, so names mean what they mean outside.
		cd := k.operand(arg)
		operands = append(operands, cd)
		call.Args = append(call.Args, &Arg{Offset: arg.off, Length: arg.end - arg.off, code: cd, text: k.source[arg.off:arg.end]})
	}
	impl, st, problems := f.Compile(call)
	for _, p := range problems {
		k.report(p)
		if !p.Finding && impl == nil && call.Single == nil {
			impl = func(_ *Context, _ []Value, out []Value) ([]Value, error) { return out, nil }
		}
	}
	one := call.Single
	if impl == nil && one == nil {
		return faulty(n)
	}
	onEmpty := call.OnEmpty
	if one != nil && !onEmpty && in.st.Blank {
		st.Blank, st.MayBeEmpty = true, true
	}
	if one != nil && (in.st.Single || impl == nil) {
		cd := single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := in.one(c, f)
			if err != nil || v.none() && !onEmpty {
				return Value{}, err
			}
			outer, row := c.focus, c.focusRow
			c.focus, c.focusRow = f, nil
			v, err = one(c, v)
			c.focus, c.focusRow = outer, row
			return v, err
		})
		k.callOverRow(cd, in, call, one)
		if call.Mark != nil {
			cd.tail = &tail{mark: call.Mark, bare: n.left == nil, in: in, args: call.Args}
		}
		return cd
	}
	run := func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		outer, row := c.focus, c.focusRow
		c.focus, c.focusRow = f, nil
		out, err = impl(c, buf, out)
		c.focus, c.focusRow = outer, row
		if err == nil {
			err = c.spend(len(buf)+1, out, n.nameOff)
		}
		c.give(buf)
		return out, err
	}
	cd := several(n, st, run)
	cd.st.Single = st.Single
	return cd
}

// gather makes the code of a function over the whole collection.
func gather(n *node, in *code, st StaticType, f func(c *Context, values []Value, out []Value) ([]Value, error)) *code {
	return fold(gathered(n, in, st, f), in)
}

// gathered is gather for a function whose result is not in its input alone.
func gathered(n *node, in *code, st StaticType, f func(c *Context, values []Value, out []Value) ([]Value, error)) *code {
	return several(n, st, func(c *Context, focus Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, focus, c.take())
		if err != nil {
			return out, err
		}
		if out, err = f(c, buf, out); err == nil {
			err = c.spend(len(buf), out, n.nameOff)
		}
		c.give(buf)
		return out, err
	})
}

// reduce makes the code of a function that makes one value of a collection.
func reduce(n *node, in *code, st StaticType, f func(c *Context, values []Value) (Value, error)) *code {
	return fold(single(n, st, func(c *Context, focus Value) (Value, error) {
		buf, err := in.many(c, focus, c.take())
		if err != nil {
			return Value{}, err
		}
		v, err := f(c, buf)
		if err == nil {
			err = c.spend(len(buf), nil, n.nameOff)
		}
		c.give(buf)
		return v, err
	}), in)
}

// wants faults an input or argument that certainly is of none of the kinds.
func (k *compiler) wants(n *node, cd *code, kinds Kinds, what string) bool {
	if cd.st.Kinds == 0 || kinds == 0 || cd.st.Kinds&kinds != 0 {
		return true
	}
	if kinds.Has(KindQuantity) && maybeQuantity(cd.st) {
		return true
	}
	names := []string{}
	for kind := KindBoolean; kind <= KindRow; kind++ {
		if kinds.Has(kind) {
			names = append(names, kind.String())
		}
	}
	hint := ""
	switch {
	case cd.st.Only(KindString) && kinds.Has(KindDecimal):
		hint = "write " + k.text(cd.n) + "." + k.toNumber() + "()"
	case kinds.Only(KindString) && !cd.st.Kinds.Has(KindObject) && !cd.st.Kinds.Has(KindRow):
		hint = "write " + k.text(cd.n) + ".toString()"
	}
	k.fault(cd.n, what+" needs "+strings.Join(names, " or ")+", this is "+describe(cd.st), hint)
	return false
}

// reckoned are the kinds of what is computed from values of a type: a Quantity of FHIR becomes one of FHIRPath.
func reckoned(st StaticType) Kinds {
	if st.Kinds != 0 && maybeQuantity(st) {
		return st.Kinds | Set(KindQuantity)
	}
	return st.Kinds
}

// scalar makes the code of a function of at most one value and up to two arguments of at most one value each. An
// empty input or argument makes an empty result.
func (k *compiler) scalar(n *node, in *code, result Kind, kinds Kinds, argument Kinds,
	f func(c *Context, v, a, b Value) (Value, error)) *code {
	return k.scalarOr(n, in, result, kinds, argument, false, f)
}

// scalarOr is scalar where, with optional set, an empty second argument counts as not given: f gets the zero Value for
// both.
func (k *compiler) scalarOr(n *node, in *code, result Kind, kinds Kinds, argument Kinds, optional bool,
	f func(c *Context, v, a, b Value) (Value, error)) *code {
	ok := k.wants(n, in, kinds, n.text+"()")
	args := make([]*code, 0, 2)
	operands := []*code{in}
	for _, arg := range n.args {
		cd := k.operand(arg)
		ok = k.wants(n, cd, argument, "the argument of "+n.text+"()") && ok
		args = append(args, cd)
		operands = append(operands, cd)
	}
	if !ok {
		return faulty(n)
	}
	st := StaticType{Kinds: Set(result), MayBeEmpty: true, Blank: in.st.Blank}
	if result == KindNone {
		st.Kinds = reckoned(in.st)
	}
	off := n.nameOff
	check := func(c *Context, v Value, kinds Kinds) (Value, error) {
		if kinds.Has(v.kind()) {
			return v, nil
		}
		if v.valueless() {
			return Value{}, nil
		}
		if kinds.Has(KindQuantity) {
			if v = c.quantity(v); v.kind() == KindQuantity {
				return v, nil
			}
		}
		return Value{}, &Error{Code: codeType, Offset: off}
	}
	cd := single(n, st, func(c *Context, focus Value) (Value, error) {
		v, err := in.one(c, focus)
		if err != nil || v.none() {
			return Value{}, err
		}
		if v, err = check(c, v, kinds); err != nil || v.none() {
			return Value{}, err
		}
		var a, b Value
		if len(args) > 0 {
			if a, err = args[0].one(c, focus); err != nil || a.none() {
				return Value{}, err
			}
			if a, err = check(c, a, argument); err != nil || a.none() {
				return Value{}, err
			}
		}
		if len(args) > 1 {
			if b, err = args[1].one(c, focus); err != nil || b.none() && !optional {
				return Value{}, err
			}
			if !b.none() {
				if b, err = check(c, b, argument); err != nil || b.none() && !optional {
					return Value{}, err
				}
			}
		}
		size := len(v.written())
		if v, err = f(c, v, a, b); err == nil {
			err = c.read(size+len(v.written()), off)
		}
		if e, ok := err.(*Error); ok && e.Offset == 0 {
			e.Offset = off
		}
		return v, err
	})
	return fold(cd, operands...)
}
