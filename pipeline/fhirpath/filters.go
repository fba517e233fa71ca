package fhirpath

import (
	"slices"
)

// addFilters adds filtering, projection, aggregates, control and utility (FHIRPath 2.0, 5.2, 5.5, 5.9, 7).
func (k *compiler) addFilters(all map[string]builtin) {
	all["where"] = builtin{1, 1, (*compiler).where}
	all["select"] = builtin{1, 1, (*compiler).selection}
	all["repeat"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code { return k.repeat(n, in, false) }}
	all["repeatAll"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code { return k.repeat(n, in, true) }}
	all["coalesce"] = builtin{1, -1, (*compiler).coalesce}
	all["aggregate"] = builtin{1, 2, (*compiler).aggregate}
	all["iif"] = builtin{2, 3, (*compiler).iif}
	all["sort"] = builtin{0, -1, (*compiler).sort}
	all["trace"] = builtin{1, 2, (*compiler).trace}
	all["not"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		k.position(in)
		st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: in.st.MayBeEmpty, Blank: in.st.Blank}
		if cond := in.cond; cond != nil {
			return fold(ofCond(n, st, func(c *Context, r *Row) (truth, error) {
				t, err := cond(c, r)
				return t.not(true), err
			}), in)
		}
		return fold(single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := in.one(c, f)
			return truthOf(v).not(true).value(), err
		}), in)
	}}
	clock := func(kind Kind, cut func(c *Context, now Value) Value) builtin {
		return builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			return single(n, StaticType{Kinds: Set(kind)}, func(c *Context, _ Value) (Value, error) {
				if c.Now.IsZero() {
					return Value{}, &Error{Code: codeNow, Offset: n.nameOff}
				}
				return cut(c, c.fromClock(c.Now)), nil
			})
		}}
	}
	all["now"] = clock(KindDateTime, func(_ *Context, now Value) Value { return now })
	all["today"] = clock(KindDate, func(_ *Context, now Value) Value {
		return Value{meta: metaOf(KindDate, precDay), num: now.num - now.num%tickDay}.withText(now.written()[:10])
	})
	all["timeOfDay"] = clock(KindTime, func(_ *Context, now Value) Value {
		return Value{meta: metaOf(KindTime, precFraction), num: now.num % tickDay}.withText(now.written()[11:23])
	})
}

func (k *compiler) where(n *node, in *code) *code {
	criteria := k.lambda(n.args[0], in.st)
	k.position(criteria)
	k.blankCondition(criteria, "where")
	st := in.st
	st.MayBeEmpty = true
	if in.st.Single {
		return fold(single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := in.one(c, f)
			if err != nil || v.none() {
				return Value{}, err
			}
			outer := c.index
			c.index = 0
			t, err := criteria.one(c, v)
			c.index = outer
			if err != nil || truthOf(t) != yes {
				return Value{}, err
			}
			return v, nil
		}), in, criteria)
	}
	return fold(several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		outer := c.index
		for i, v := range buf {
			c.index = int64(i)
			t, err := criteria.one(c, v)
			if err != nil {
				return out, err
			}
			if truthOf(t) == yes {
				out = append(out, v)
			}
		}
		c.index = outer
		err = c.spend(len(buf), out, n.nameOff)
		c.give(buf)
		return out, err
	}), in, criteria)
}

func (k *compiler) selection(n *node, in *code) *code {
	projection := k.lambda(n.args[0], in.st)
	st := projection.st
	st.Single = st.Single && in.st.Single
	st.MayBeEmpty = st.MayBeEmpty || in.st.MayBeEmpty
	st.Blank = st.Blank || in.st.Blank
	st.Literal = false
	many := func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		outer := c.index
		for i, v := range buf {
			c.index = int64(i)
			if out, err = projection.many(c, v, out); err != nil {
				return out, err
			}
			if err = c.spend(1, out, n.nameOff); err != nil {
				return out, err
			}
		}
		c.index = outer
		c.give(buf)
		return out, nil
	}
	if !st.Single {
		return fold(several(n, st, many), in, projection)
	}
	return fold(single(n, st, func(c *Context, f Value) (Value, error) {
		v, err := in.one(c, f)
		if err != nil || v.none() {
			return Value{}, err
		}
		outer := c.index
		c.index = 0
		v, err = projection.one(c, v)
		c.index = outer
		return v, err
	}), in, projection)
}

// coalesce is the first of its arguments that is not empty; what follows it is not evaluated.
func (k *compiler) coalesce(n *node, in *code) *code {
	compile := k.operand
	if n.left != nil {
		compile = func(arg *node) *code { return k.over(arg, in.st) }
	}
	args := []*code{compile(n.args[0])}
	st := args[0].st
	for _, arg := range n.args[1:] {
		cd := compile(arg)
		empty := st.MayBeEmpty && cd.st.MayBeEmpty
		st = joinTypes(st, cd.st)
		st.MayBeEmpty = empty
		args = append(args, cd)
	}
	operands := args
	focus := func(_ *Context, f Value) (Value, error) { return f, nil }
	if n.left != nil {
		operands = append(operands[:len(operands):len(operands)], in)
		focus = in.one
	}
	cd := several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		f, err := focus(c, f)
		if err != nil {
			return out, err
		}
		start := len(out)
		for _, arg := range args {
			if out, err = arg.many(c, f, out); err != nil || len(out) > start {
				break
			}
		}
		return out, err
	})
	cd.st.Single = st.Single
	return fold(cd, operands...)
}

// repeat projects again and again, over what is new each time, and appends what it found: once, or, with again set, as
// often as it is found.
func (k *compiler) repeat(n *node, in *code, again bool) *code {
	item := in.st
	if k.trial || !k.fixpoint(n.args[0], item) { // a trial within a trial would double the work at each level
		item = StaticType{} // the projection changes the type: what comes later is known only while evaluating
	}
	projection := k.lambda(n.args[0], item)
	st := projection.st
	st.Single, st.MayBeEmpty, st.Literal = false, true, false
	return fold(several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		start := len(out)
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		outer := c.index
		found := c.take()
		for next := start; ; {
			found = found[:0]
			for i, v := range buf {
				c.index = int64(i)
				if found, err = projection.many(c, v, found); err != nil {
					return out, err
				}
			}
			if again {
				out = append(out, found...)
				err = c.spend(len(found), out, n.nameOff)
			} else {
				out, err = c.appendDistinct(found, out, start, n.nameOff)
			}
			if err != nil {
				return out, err
			}
			if next == len(out) {
				break
			}
			buf = append(buf[:0], out[next:]...)
			next = len(out)
		}
		c.index = outer
		c.give(found)
		c.give(buf)
		return out, nil
	}), in, projection)
}

// fixpoint tells whether the projection of a repeat() yields the type that it is applied to.
func (k *compiler) fixpoint(projection *node, item StaticType) bool {
	if item.FHIR == nil && item.Env == nil {
		return false
	}
	trial := *k
	trial.trial = true
	trial.problems, trial.columns, trial.outerColumns, trial.read = nil, nil, nil, nil
	cd := trial.lambda(projection, item)
	return len(trial.problems) > 0 || cd.st.FHIR == item.FHIR && cd.st.Env == item.Env
}

func (k *compiler) aggregate(n *node, in *code) *code {
	var start *code
	total := StaticType{MayBeEmpty: true}
	operands := []*code{in}
	if len(n.args) == 2 {
		start = k.operand(n.args[1])
		operands = append(operands, start)
	}
	item := in.st
	item.Single, item.MayBeEmpty, item.Blank = true, false, false
	k.scope = &scope{this: item, item: true, total: &total, parent: k.scope}
	step := k.operand(n.args[0])
	k.scope = k.scope.parent
	st := step.st
	if start != nil { // of nothing at all it is the result
		st = joinTypes(st, start.st)
	}
	st.Single, st.MayBeEmpty, st.Literal = false, true, false
	operands = append(operands, step)
	cd := several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		sum, next := c.take(), c.take()
		outer, index := c.total, c.index
		if start != nil {
			if sum, err = start.many(c, f, sum); err != nil {
				return out, err
			}
		}
		for i, v := range buf {
			c.total, c.index = sum, int64(i)
			if next, err = step.many(c, v, next[:0]); err != nil {
				return out, err
			}
			sum, next = next, sum
			if err = c.spend(1, sum, n.nameOff); err != nil {
				return out, err
			}
		}
		c.total, c.index = outer, index
		out = append(out, sum...)
		c.give(next)
		c.give(sum)
		c.give(buf)
		return out, nil
	})
	return fold(cd, operands...)
}

// iif evaluates the criterion with the input as $this, and then only one of the branches.
func (k *compiler) iif(n *node, in *code) *code {
	this := in.st
	whole := n.left == nil // iif(…) alone: $this stays what it is
	compile := func(arg *node) *code {
		if whole {
			return k.operand(arg)
		}
		return k.over(arg, this)
	}
	criterion := compile(n.args[0])
	if criterion.st.Kinds != 0 && !criterion.st.Kinds.Has(KindBoolean) && !(criterion.st.Cell && k.env.Record) {
		k.fault(n.args[0], "the condition of iif() is a Boolean, this is "+describe(criterion.st), "")
		return faulty(n)
	}
	k.position(criterion)
	k.blankCondition(criterion, "iif")
	filled := len(k.filled)
	k.filled = k.filledBy(n.args[0], k.filled, true)
	then := compile(n.args[1])
	k.filled = k.filled[:filled]
	otherwise := emptyCode(n)
	if len(n.args) == 3 {
		k.filled = k.filledBy(n.args[0], k.filled, false)
		otherwise = compile(n.args[2])
		k.filled = k.filled[:filled]
	}
	st := joinTypes(then.st, otherwise.st)
	st.Cell = st.Cell && then.st.Cell && otherwise.st.Cell
	if whole {
		if text := chosenText(k.conditionOf(criterion), then, otherwise); text != nil {
			return fold(ofText(n, st, text), criterion, then, otherwise)
		}
	}
	choose := func(c *Context, f Value) (*code, Value, error) {
		focus := f
		if !whole {
			v, err := in.one(c, f)
			if err != nil {
				return nil, f, err
			}
			focus = v
		}
		t, err := criterion.one(c, focus)
		if err != nil {
			return nil, f, err
		}
		if truthOf(t) == yes {
			return then, focus, nil
		}
		return otherwise, focus, nil
	}
	operands := []*code{criterion, then, otherwise}
	if !whole {
		operands = append(operands, in)
	}
	if st.Single {
		return fold(single(n, st, func(c *Context, f Value) (Value, error) {
			branch, focus, err := choose(c, f)
			if err != nil {
				return Value{}, err
			}
			return branch.one(c, focus)
		}), operands...)
	}
	return fold(several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		branch, focus, err := choose(c, f)
		if err != nil {
			return out, err
		}
		return branch.many(c, focus, out)
	}), operands...)
}

// over compiles an argument whose $this is the input of the call; $index and $total stay those around.
func (k *compiler) over(arg *node, this StaticType) *code {
	outer := k.scope
	this.Single = true
	k.scope = &scope{this: this, item: outer.item, total: outer.total, parent: outer}
	cd := k.operand(arg)
	k.scope = outer
	return cd
}

// sort orders by keys; a key with a minus before it or desc behind it descends, also where it is text. An empty key is
// lower than any other, but under a minus it comes first all the same, as HL7's tests of R4 have it.
func (k *compiler) sort(n *node, in *code) *code {
	type key struct {
		code          *code
		descend, desc bool
	}
	var keys []key
	operands := []*code{in}
	for _, arg := range n.args {
		by := key{}
		switch {
		case arg.op == opOrder:
			by.desc, arg = arg.text == "desc", arg.left
			by.descend = by.desc
		case arg.op == opUnary && arg.text == "-":
			by.descend, arg = true, arg.left
		}
		by.code = k.lambda(arg, in.st)
		keys = append(keys, by)
		operands = append(operands, by.code)
	}
	st := in.st
	st.Unordered = false
	width := max(1, len(keys))
	return fold(several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		values := make([]Value, 0, len(buf)*width)
		order := make([]int, len(buf))
		for i, v := range buf {
			order[i] = i
			if len(keys) == 0 {
				values = append(values, v)
				continue
			}
			for _, by := range keys {
				kv, err := by.code.one(c, v)
				if err != nil {
					return out, err
				}
				values = append(values, kv)
			}
		}
		var fault error
		slices.SortStableFunc(order, func(a, b int) int {
			if err := c.Step(); err != nil {
				fault = err
				return 0
			}
			for i := range width {
				x, y := values[a*width+i], values[b*width+i]
				result := 0
				switch {
				case x.none() || y.none():
					if result = compareInt(presentInt(x), presentInt(y)); i < len(keys) && keys[i].desc {
						result = -result
					}
					if result != 0 {
						return result
					}
				default:
					var ok bool
					if result, _, ok = c.compare(x, y); !ok {
						fault = &Error{Code: codeType, Offset: n.nameOff}
						return 0
					}
				}
				if i < len(keys) && keys[i].descend {
					result = -result
				}
				if result != 0 {
					return result
				}
			}
			return 0
		})
		for _, i := range order {
			out = append(out, buf[i])
		}
		c.give(buf)
		return out, fault
	}), operands...)
}

func presentInt(v Value) int64 {
	if v.none() {
		return 0
	}
	return 1
}

// trace passes its input and shows it, or a projection of it, to Context.Trace.
func (k *compiler) trace(n *node, in *code) *code {
	name := k.operand(n.args[0])
	var projection *code
	if len(n.args) == 2 {
		projection = k.lambda(n.args[1], in.st)
	}
	cd := several(n, in.st, func(c *Context, f Value, out []Value) ([]Value, error) {
		start := len(out)
		out, err := in.many(c, f, out)
		if err != nil || c.Trace == nil {
			return out, err
		}
		label, err := name.one(c, f)
		if err != nil {
			return out, err
		}
		if projection == nil {
			c.Trace(label.Text(), out[start:])
			return out, nil
		}
		buf := c.take()
		for _, v := range out[start:] {
			if buf, err = projection.many(c, v, buf); err != nil {
				return out, err
			}
		}
		c.Trace(label.Text(), buf)
		c.give(buf)
		return out, nil
	})
	cd.st.Single = in.st.Single
	return cd
}
