package fhirpath

import (
	"slices"
	"strings"
)

// Over a record most of a formula asks for the text of a cell, or whether something holds. Code for these has a short
// form beside its general one: it takes the row of the focus and returns a text or a truth, so that no [Value] is
// passed from closure to closure. Where the focus is not a row it gets nil, and a column is empty.
type (
	textFunc func(c *Context, r *Row) (text string, ok bool, err error)
	condFunc func(c *Context, r *Row) (truth, error)
	rowFunc  func(c *Context, r *Row) (Value, error)
)

// AppendRow is [Expr.Append] over a record as the focus, without a Value of it where the expression needs none.
func (e *Expr) AppendRow(c *Context, r *Row, out []Value) ([]Value, error) {
	cd := e.code
	if !e.light || r == nil || !cd.st.Single {
		return e.Append(c, RowValue(r), out)
	}
	if i := e.bare; i >= 0 && i < len(r.Cells) { // nothing to evaluate
		if s := r.Cells[i]; s != "" {
			out = append(out, String(s))
		}
		return out, nil
	}
	depth := e.start(c, r)
	var err error
	switch {
	case cd.text != nil:
		s, ok, fault := cd.text(c, r)
		if err = fault; ok && err == nil {
			out = append(out, String(s))
		}
	case cd.cond != nil:
		t, fault := cd.cond(c, r)
		if err = fault; t != unknown && err == nil {
			out = append(out, Value{meta: uint64(KindBoolean), num: int64(t - no)})
		}
	default:
		v, fault := cd.over(c, r)
		if err = fault; !v.none() && err == nil {
			out = append(out, v)
		}
	}
	c.active--
	c.depth = depth
	return out, err
}

// over evaluates code of at most one value over a row.
func (cd *code) over(c *Context, r *Row) (Value, error) {
	if cd.row != nil {
		return cd.row(c, r)
	}
	return cd.one(c, RowValue(r))
}

// ofText makes the code of a single text from its short form.
func ofText(n *node, st StaticType, text textFunc) *code {
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		s, ok, err := text(c, f.record())
		if err != nil || !ok {
			return Value{}, err
		}
		return String(s), nil
	})
	cd.text = text
	return cd
}

// ofCond makes the code of a condition from its short form.
func ofCond(n *node, st StaticType, cond condFunc) *code {
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		t, err := cond(c, f.record())
		return t.value(), err
	})
	cd.cond = cond
	return cd
}

// conditionOf is the short form of code as a condition, nil if it has none: its own, or, where the focus is a row, one
// that makes a Value of it.
func (k *compiler) conditionOf(cd *code) condFunc {
	if cd.cond != nil || cd.text != nil || !cd.st.Single || k.scope.this.Env == nil || k.scope.list != nil {
		return cd.cond
	}
	return func(c *Context, r *Row) (truth, error) {
		v, err := cd.over(c, r)
		return truthOf(v), err
	}
}

// presenceOf is exists() and empty() of a text.
func presenceOf(text textFunc, want bool) condFunc {
	return func(c *Context, r *Row) (truth, error) {
		_, ok, err := text(c, r)
		return truthIf(ok == want), err
	}
}

// logicOf is the short form of and, or, xor, implies; nil if an operand has none.
func (k *compiler) logicOf(operator string, left, right *code) condFunc {
	if left.cond == nil && right.cond == nil {
		return nil
	}
	l, r := k.conditionOf(left), k.conditionOf(right)
	if l == nil || r == nil {
		return nil
	}
	var stop, answer truth // where the left side is stop, the answer is known: the same for either value of the right
	switch operator {
	case "and":
		stop, answer = no, no
	case "or":
		stop, answer = yes, yes
	case "implies":
		stop, answer = no, yes
	default:
		return nil
	}
	return func(c *Context, row *Row) (truth, error) {
		a, err := l(c, row)
		if err != nil {
			return unknown, err
		}
		if a == stop {
			return answer, nil
		}
		b, err := r(c, row)
		if a == unknown && b != answer {
			b = unknown
		}
		return b, err
	}
}

// equalsOf is = != ~ !~ of a text and a constant, the commonest condition of a mapping.
func equalsOf(left textFunc, text string, equivalence, negated bool) condFunc {
	normal := normalize(text)
	same, other, none := truthIf(!negated), truthIf(negated), unknown
	if equivalence {
		none = other
	}
	return func(c *Context, r *Row) (truth, error) {
		s, ok, err := left(c, r)
		switch {
		case err != nil:
			return unknown, err
		case !ok:
			return none, nil
		case s == text, equivalence && normalize(s) == normal:
			return same, nil
		}
		return other, nil
	}
}

// amongOf is the membership of a text in a list of constants.
func amongOf(cd *code, values []Value) condFunc {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.written()
	}
	item := cd.text
	if i := cd.col.index; cd.col.env != nil { // a column of the row itself: one call less
		return func(_ *Context, r *Row) (truth, error) {
			if r == nil || i >= len(r.Cells) || r.Cells[i] == "" {
				return unknown, nil
			}
			s := r.Cells[i]
			for _, t := range texts {
				if s == t {
					return yes, nil
				}
			}
			return no, nil
		}
	}
	return func(c *Context, r *Row) (truth, error) {
		s, ok, err := item(c, r)
		if err != nil || !ok {
			return unknown, err
		}
		for _, t := range texts {
			if s == t {
				return yes, nil
			}
		}
		return no, nil
	}
}

// partOf is startsWith, endsWith and contains of a text and a constant.
func partOf(name string, text textFunc, part string) condFunc {
	find := strings.Contains
	switch name {
	case "startsWith":
		find = strings.HasPrefix
	case "endsWith":
		find = strings.HasSuffix
	}
	return func(c *Context, r *Row) (truth, error) {
		s, ok, err := text(c, r)
		if err != nil || !ok {
			return unknown, err
		}
		return truthIf(find(s, part)), nil
	}
}

// orderOf is the short form of an ordering between numbers of which the right one is constant.
func (k *compiler) orderOf(left, right *code, wantLess, orEqual bool, off int) condFunc {
	if k.scope.this.Env == nil || k.scope.list != nil || !left.st.Single || !right.constant || len(right.vals) != 1 || !isNumber(right.vals[0].kind()) {
		return nil
	}
	limit := right.vals[0]
	return func(c *Context, r *Row) (truth, error) {
		v, err := left.over(c, r)
		if err != nil || v.none() {
			return unknown, err
		}
		if !isNumber(v.kind()) {
			order, decided, ok := c.compare(v, limit)
			switch {
			case !ok:
				return unknown, &Error{Code: codeType, Offset: off}
			case !decided:
				return unknown, nil
			}
			return truthIf(order == 0 && orEqual || order != 0 && (order < 0) == wantLess), nil
		}
		order := compareNumbers(v, limit)
		return truthIf(order == 0 && orEqual || order != 0 && (order < 0) == wantLess), nil
	}
}

// chosenText is the short form of iif() between texts; nil if a part of it has none.
func chosenText(criterion condFunc, then, otherwise *code) textFunc {
	yesText, noText := then.text, otherwise.text
	if criterion == nil || yesText == nil || noText == nil {
		return nil
	}
	return func(c *Context, r *Row) (string, bool, error) {
		t, err := criterion(c, r)
		switch {
		case err != nil:
			return "", false, err
		case t == yes:
			return yesText(c, r)
		}
		return noText(c, r)
	}
}

// callOverRow gives the call of an extension function its short form, where its input is the text of a cell or the row
// itself. The focus is kept for the arguments only if one of them asks for it.
func (k *compiler) callOverRow(cd, in *code, call *Call, one oneFunc) {
	if k.scope.this.Env == nil || k.scope.list != nil {
		return
	}
	asks := slices.ContainsFunc(call.Args, func(a *Arg) bool { return !a.code.constant })
	text, onEmpty := in.text, call.OnEmpty
	cd.row = func(c *Context, r *Row) (Value, error) {
		var v Value
		if text != nil {
			s, ok, err := text(c, r)
			switch {
			case err != nil:
				return Value{}, err
			case ok:
				v = String(s)
			}
		} else {
			var err error
			if v, err = in.over(c, r); err != nil {
				return Value{}, err
			}
		}
		if v.none() && !onEmpty {
			return Value{}, nil
		}
		if !asks {
			return one(c, v)
		}
		outer := c.focusRow
		c.focusRow = r
		v, err := one(c, v)
		c.focusRow = outer
		return v, err
	}
}
