package fhirpath

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// ident compiles a name: of a column, of an element, or of the type of the resource.
func (k *compiler) ident(n *node) *code {
	if n.left != nil {
		return k.member(n, k.compile(n.left))
	}
	this := k.scope.this
	if cd := k.fromRow(n, this.Env, 0); cd != nil {
		return cd
	}
	if this.Env == nil && k.elementOf(this, n.text) {
		return k.member(n, k.this(n))
	}
	if cd := k.resourceName(n, this); cd != nil {
		return cd
	}
	if k.env.Record {
		return k.outerName(n, this)
	}
	return k.member(n, k.this(n))
}

// elementOf tells whether values of the type are known to have the element.
func (k *compiler) elementOf(st StaticType, name string) bool {
	for _, t := range typesOf(st) {
		if e, typ := t.Element(name); e != nil && !(e.Choice && typ != nil) {
			return true
		}
	}
	return false
}

func typesOf(st StaticType) []*fhir.Type {
	if st.FHIR != nil {
		return []*fhir.Type{st.FHIR}
	}
	return st.Choice
}

// resourceName is the name of the resource's own type at the start of a path: Patient.name.
func (k *compiler) resourceName(n *node, this StaticType) *code {
	t := fhir.Lookup(n.text)
	if t == nil || t.Kind != fhir.KindResource || this.Env != nil || this.Kinds != 0 && !this.Kinds.Has(KindObject) {
		return nil
	}
	if this.FHIR != nil {
		switch {
		case this.FHIR.Is(t.Name):
			return k.this(n)
		case !t.Is(this.FHIR.Name):
			if k.env.Strict {
				k.faultName(n, "the focus is "+this.FHIR.Name+", not "+n.text, "")
			}
			return faulty(n)
		}
	}
	st := StaticFHIR(t)
	return single(n, st, func(_ *Context, f Value) (Value, error) {
		if f.model().Is(t.Name) {
			return f, nil
		}
		return Value{}, nil
	})
}

// outerName finds a name in the record around the item, first the one that the expression is compiled over, then its
// Outer ones.
func (k *compiler) outerName(n *node, this StaticType) *code {
	level := 0
	for env := k.env; env != nil; env = env.Outer {
		if env != this.Env && (level > 0 || env.Item == nil) {
			if cd := k.fromRow(n, env, level+1); cd != nil {
				return cd
			}
		}
		level++
	}
	k.unknownName(n, this)
	return faulty(n)
}

func (k *compiler) unknownName(n *node, this StaticType) {
	var candidates []string
	for env := this.Env; env != nil; env = env.Outer {
		candidates = env.names(candidates)
	}
	for env := k.env; env != nil; env = env.Outer {
		candidates = env.names(candidates)
	}
	for _, t := range typesOf(this) {
		candidates = append(candidates, elementNames(t)...)
	}
	hint := near(n.text, candidates)
	if fn := k.functionNames(); hint == "" && slices.Contains(fn, n.text) {
		hint = n.text + " is a function: " + n.text + "()"
	}
	for _, c := range candidates {
		if strings.EqualFold(c, n.text) {
			hint = "columns are told apart by case: did you mean " + c + "?"
		}
	}
	k.faultName(n, "there is no column "+quote(n.text), hint)
}

// names appends what an environment calls its columns and children.
func (e *Env) names(dst []string) []string {
	dst = append(dst, e.Columns...)
	for _, c := range e.Children {
		dst = append(dst, c.Name)
	}
	return dst
}

func quote(name string) string { return "`" + name + "`" }

// fromRow compiles a name as a column or child of an environment: level 0 is the row that is $this, 1 the row that the
// expression was started with, further ones its Outer. Nil if the environment has no such name.
func (k *compiler) fromRow(n *node, env *Env, level int) *code {
	if env == nil {
		return nil
	}
	row := k.rowAt(level)
	if i := slices.Index(env.Columns, n.text); i >= 0 {
		k.reads(env, i)
		st := k.cellType(env, i)
		off := n.off
		cd := single(n, st, func(c *Context, f Value) (Value, error) {
			r := row(c, f)
			if r == nil {
				return Value{}, nil
			}
			if i >= len(r.Cells) {
				return Value{}, &Error{Code: "row-too-short", Offset: off}
			}
			if r.Cells[i] == "" {
				return Value{}, nil
			}
			return String(r.Cells[i]), nil
		})
		if level == 0 { // the hot path of a mapping: without the call of row
			cd.text = func(_ *Context, r *Row) (string, bool, error) {
				if r == nil || i >= len(r.Cells) {
					return "", false, nil
				}
				s := r.Cells[i]
				return s, s != "", nil
			}
			cd.one = func(_ *Context, f Value) (Value, error) {
				if f.record() == nil || i >= len(f.record().Cells) || f.record().Cells[i] == "" {
					return Value{}, nil
				}
				return String(f.record().Cells[i]), nil
			}
		}
		cd.col = column{env, i}
		return cd
	}
	for i, child := range env.Children {
		if child.Name != n.text {
			continue
		}
		st := StaticType{Kinds: Set(KindRow), Env: child.Env, MayBeEmpty: true}
		return several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
			r := row(c, f)
			if r == nil || i >= len(r.Children) {
				return out, nil
			}
			for _, row := range r.Children[i] {
				out = append(out, RowValue(row))
			}
			return out, nil
		})
	}
	return nil
}

// rowAt is where the row of a level is found while evaluating.
func (k *compiler) rowAt(level int) func(c *Context, f Value) *Row {
	switch {
	case level == 0:
		return func(_ *Context, f Value) *Row { return f.record() }
	case level == 1:
		k.usesRoot = true
		return func(c *Context, _ Value) *Row { return c.root.record() }
	}
	env := k.env
	for i := 1; i < level; i++ {
		env = env.Outer
	}
	if env.Outer == nil {
		return func(c *Context, _ Value) *Row { return c.Record }
	}
	i := level - 2
	return func(c *Context, _ Value) *Row {
		if i < len(c.Outers) {
			return c.Outers[i].record()
		}
		return nil
	}
}

// reads notes that a column is read: in Columns if it is of the environment itself, in OuterColumns if it is of the
// outermost record around it.
func (k *compiler) reads(env *Env, i int) {
	root := k.env
	for root.Outer != nil {
		root = root.Outer
	}
	switch {
	case env == k.env:
		if !slices.Contains(k.columns, i) {
			k.columns = append(k.columns, i)
		}
	case env == root:
		if !slices.Contains(k.outerColumns, i) {
			k.outerColumns = append(k.outerColumns, i)
		}
	}
	if env.Read != nil {
		env.Read(i)
	}
	if r := (Read{env, i}); !slices.Contains(k.read, r) {
		k.read = append(k.read, r)
	}
}

func (k *compiler) cellType(env *Env, i int) StaticType {
	st := StaticType{Kinds: Set(KindString), Single: true, Cell: true}
	if (env.MayBeBlank == nil || env.MayBeBlank(i)) && !slices.Contains(k.filled, column{env, i}) {
		st.MayBeEmpty, st.Blank = true, true
	}
	return st
}

// member compiles left.name.
func (k *compiler) member(n *node, left *code) *code {
	if left.st.Env != nil {
		return k.rowMember(n, left)
	}
	types := typesOf(left.st)
	if len(types) == 0 {
		if k.env.Record && left.st.Kinds != 0 && !left.st.Kinds.Has(KindObject) || k.env.Strict && left.st.Kinds != 0 && !left.st.Kinds.Has(KindObject) {
			k.notAnElement(n, left.st)
			return faulty(n)
		}
		return k.dynamicMember(n, left)
	}
	var steps []step
	abstract := false
	for _, t := range types {
		e, typ := t.Element(n.text)
		switch {
		case e == nil:
			abstract = abstract || t.Abstract && t.Kind == fhir.KindResource
		case e.Choice && typ != nil:
			k.faultName(n, quote(n.text)+" is a name of the JSON form: FHIRPath calls the element "+quote(e.Name),
				"write "+e.Name+", or "+e.Name+".ofType("+typ.Name+")")
			return faulty(n)
		default:
			steps = append(steps, newStep(t, e, typ))
		}
	}
	if abstract {
		return k.dynamicMember(n, left)
	}
	if len(steps) == 0 {
		if k.env.Strict || k.env.Record {
			var candidates []string
			for _, t := range types {
				candidates = append(candidates, elementNames(t)...)
			}
			k.faultName(n, typeList(types)+" has no element "+quote(n.text), near(n.text, candidates))
			return faulty(n)
		}
		return faulty(n)
	}
	if len(types) > 1 {
		cd := k.dynamicMember(n, left)
		cd.st = memberType(left.st, steps)
		cd.st.Single = false
		return cd
	}
	s := steps[0]
	st := memberType(left.st, steps)
	if st.Single {
		off := n.nameOff
		return single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := left.one(c, f)
			if err != nil || v.element() == nil {
				return Value{}, err
			}
			m, ok := s.one(c, v)
			if !ok {
				return Value{}, &Error{Code: codeSeveral, Offset: off}
			}
			return m, nil
		})
	}
	return several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		if left.st.Single {
			v, err := left.one(c, f)
			if err != nil || v.element() == nil {
				return out, err
			}
			return s.append(c, v, out), nil
		}
		buf, err := left.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		for _, v := range buf {
			if v.element() != nil {
				out = s.append(c, v, out)
			}
		}
		err = c.spend(len(buf), out, n.nameOff)
		c.give(buf)
		return out, err
	})
}

// spend counts the work of a loop and bounds what it made.
func (c *Context) spend(n int, out []Value, off int) error {
	c.steps -= n
	switch {
	case c.steps < 0:
		return &Error{Code: codeSteps, Offset: off}
	case len(out) > maxCollection:
		return &Error{Code: codeSize, Offset: off}
	}
	return nil
}

// read counts the work on a long text: a step for each 64 bytes.
func (c *Context) read(size, off int) error {
	if size < 512 {
		return nil
	}
	if c.steps -= size / 64; c.steps < 0 {
		return &Error{Code: codeSteps, Offset: off}
	}
	return nil
}

func (k *compiler) notAnElement(n *node, st StaticType) {
	hint := ""
	if names := k.functionNames(); slices.Contains(names, n.text) {
		hint = n.text + " is a function: write " + n.text + "()"
	} else if hint = near(n.text, names); hint != "" {
		hint = strings.TrimSuffix(hint, "?") + "()?"
	}
	what := "a value"
	if st.Cell {
		what = "a cell"
	}
	k.faultName(n, what+" has no element "+quote(n.text), hint)
}

func typeList(types []*fhir.Type) string {
	names := make([]string, 0, 4)
	for _, t := range types {
		if len(names) == 3 {
			names = append(names, "…")
			break
		}
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

func elementNames(t *fhir.Type) []string {
	names := make([]string, len(t.Elements))
	for i, e := range t.Elements {
		names[i] = e.Name
	}
	return names
}

// memberType is the type of an element of values of a type.
func memberType(left StaticType, steps []step) StaticType {
	st := StaticType{MayBeEmpty: true, Single: left.Single && len(steps) == 1 && !steps[0].element.Repeats()}
	var all []*fhir.Type
	for _, s := range steps {
		for _, t := range s.element.Types {
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
			st.Kinds |= Set(kindOf(t))
		}
	}
	if len(all) == 1 {
		st.FHIR = all[0]
	} else {
		st.Choice = all
	}
	return st
}

func (k *compiler) rowMember(n *node, left *code) *code {
	env := left.st.Env
	if left.n.op == opThis || left.st.Single {
		if inner := k.fromRow(n, env, 0); inner != nil {
			st := inner.st
			if left.st.MayBeEmpty {
				st.MayBeEmpty = true
			}
			if inner.st.Single {
				return single(n, st, func(c *Context, f Value) (Value, error) {
					r, err := left.one(c, f)
					if err != nil || r.none() {
						return Value{}, err
					}
					return inner.one(c, r)
				})
			}
			return several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
				r, err := left.one(c, f)
				if err != nil || r.none() {
					return out, err
				}
				return inner.many(c, r, out)
			})
		}
	} else if inner := k.fromRow(n, env, 0); inner != nil {
		st := inner.st
		st.MayBeEmpty, st.Blank = true, inner.st.Blank
		return several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
			buf, err := left.many(c, f, c.take())
			if err != nil {
				return out, err
			}
			for _, r := range buf {
				if out, err = inner.many(c, r, out); err != nil {
					return out, err
				}
			}
			err = c.spend(len(buf), out, n.nameOff)
			c.give(buf)
			return out, err
		})
	}
	k.faultName(n, "the rows have no column "+quote(n.text), near(n.text, env.names(nil)))
	return faulty(n)
}

// dynamicMember finds the element while evaluating, by the type that each value has. The last answer is kept, since
// the values of one place mostly are of one type.
func (k *compiler) dynamicMember(n *node, left *code) *code {
	name := n.text
	var last atomic.Pointer[step]
	return several(n, StaticType{MayBeEmpty: true}, func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := left.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		for _, v := range buf {
			if v.element() == nil || v.kind() == KindQuantity {
				continue
			}
			if v.model() == nil {
				out = appendNode(c, v.element().Get(name), nil, nil, out)
				continue
			}
			s := last.Load()
			if s == nil || s.parent != v.model() {
				e, typ := v.model().Element(name)
				if e == nil || e.Choice && typ != nil {
					continue
				}
				made := newStep(v.model(), e, typ)
				s = &made
				last.Store(s)
			}
			out = s.append(c, v, out)
		}
		err = c.spend(len(buf), out, n.nameOff)
		c.give(buf)
		return out, err
	})
}
