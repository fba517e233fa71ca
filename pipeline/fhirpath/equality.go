package fhirpath

import (
	"slices"
	"strings"
	"unicode"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// equality compiles = != ~ !~.
func (k *compiler) equality(n *node) *code {
	left, right := k.operand(n.left), k.operand(n.right)
	if k.equalityTrap(n, left, right) {
		return faulty(n)
	}
	equivalence := n.text == "~" || n.text == "!~"
	negated := n.text[0] == '!'
	if !equivalence {
		k.blankOperands(n, left, right)
	}
	st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: !equivalence && (left.st.MayBeEmpty || right.st.MayBeEmpty || mayBeUndecided(left.st, right.st))}
	var cd *code
	switch {
	case left.text != nil && right.constant && len(right.vals) == 1 && right.vals[0].kind() == KindString:
		cd = ofCond(n, st, equalsOf(left.text, right.vals[0].written(), equivalence, negated))
	case left.st.Single && right.st.Single && left.st.Only(KindString) && right.constant && len(right.vals) == 1 && right.vals[0].kind() == KindString:
		cd = single(n, st, equalsText(left, right.vals[0].written(), equivalence, negated))
	case left.st.Single && right.st.Single:
		cd = single(n, st, func(c *Context, f Value) (Value, error) {
			a, err := left.one(c, f)
			if err != nil {
				return Value{}, err
			}
			b, err := right.one(c, f)
			if err != nil {
				return Value{}, err
			}
			if equivalence {
				if a.none() || b.none() {
					return Boolean((a.none() && b.none()) != negated), nil
				}
				return Boolean(c.equivalent(a, b) != negated), nil
			}
			if a.none() || b.none() {
				return Value{}, nil
			}
			return c.equal(a, b).not(negated).value(), nil
		})
	default:
		cd = single(n, st, func(c *Context, f Value) (Value, error) {
			as, err := left.many(c, f, c.take())
			if err != nil {
				return Value{}, err
			}
			bs, err := right.many(c, f, c.take())
			if err != nil {
				return Value{}, err
			}
			if err := c.spend(len(as)+len(bs), nil, n.nameOff); err != nil {
				return Value{}, err
			}
			var v Value
			switch {
			case equivalence:
				var same bool
				if same, err = c.equivalentAll(as, bs); err == nil {
					v = Boolean(same != negated)
				}
			case len(as) > 0 && len(bs) > 0:
				v = c.equalAll(as, bs).not(negated).value()
			}
			c.give(bs)
			c.give(as)
			return v, err
		})
	}
	return fold(cd, left, right)
}

// equalsText compares text with a constant: the commonest condition of a mapping.
func equalsText(left *code, text string, equivalence, negated bool) oneFunc {
	normal := normalize(text)
	return func(c *Context, f Value) (Value, error) {
		a, err := left.one(c, f)
		if err != nil {
			return Value{}, err
		}
		switch {
		case a.none() && equivalence:
			return Boolean(negated), nil
		case a.none():
			return Value{}, nil
		case a.written() == text && a.kind() == KindString:
			return Boolean(!negated), nil
		case equivalence && a.kind() == KindString:
			return Boolean((normalize(a.written()) == normal) != negated), nil
		}
		return Boolean(negated), nil
	}
}

func mayBeUndecided(a, b StaticType) bool {
	for _, k := range []Kind{KindDate, KindDateTime, KindTime, KindQuantity, KindObject} {
		if a.Kinds.Has(k) || b.Kinds.Has(k) {
			return true
		}
	}
	return false
}

func (t truth) not(really bool) truth {
	if !really || t == unknown {
		return t
	}
	return yes + no - t
}

func truthIf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// equal is = of two values; unknown where it is undecidable.
func (c *Context) equal(a, b Value) truth {
	ka, kb := a.kind(), b.kind()
	if ka == kb && ka == KindString {
		return truthIf(a.written() == b.written())
	}
	if ka == KindQuantity || kb == KindQuantity {
		if a, b = c.asQuantity(a), c.asQuantity(b); a.kind() != KindQuantity || b.kind() != KindQuantity {
			return no
		}
		return equalQuantities(a, b)
	}
	switch {
	case ka == KindBoolean && kb == KindBoolean:
		return truthIf(a.num == b.num)
	case isNumber(ka) && isNumber(kb):
		return truthIf(compareNumbers(a, b) == 0)
	case isDate(ka) && isDate(kb), ka == KindTime && kb == KindTime:
		order, decided := compareTime(a, b)
		if !decided {
			return unknown
		}
		return truthIf(order == 0)
	case ka == KindObject && kb == KindObject:
		if x, y := c.quantity(a), c.quantity(b); x.kind() == KindQuantity && y.kind() == KindQuantity && a.model() != nil && b.model() != nil {
			if t := equalQuantities(x, y); t != unknown {
				return t
			}
		}
		if a.model() != nil && b.model() != nil && a.model() != b.model() && !a.model().Is(b.model().Name) && !b.model().Is(a.model().Name) {
			return no
		}
		return truthIf(equalNodes(a.element(), b.element()))
	case ka == KindRow && kb == KindRow:
		return truthIf(a.record() == b.record())
	}
	return no
}

func isNumber(k Kind) bool { return k == KindInteger || k == KindDecimal }
func isDate(k Kind) bool   { return k == KindDate || k == KindDateTime }

// equalNodes compares objects: all members, in any order; numbers by value.
func equalNodes(a, b *fhir.Node) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind || len(a.Members) != len(b.Members) || len(a.Items) != len(b.Items) {
		return false
	}
	if a.Kind == fhir.Number && a.Text != b.Text {
		x, ok1 := decimalValue(a.Text)
		y, ok2 := decimalValue(b.Text)
		return ok1 && ok2 && compareNumbers(x, y) == 0
	}
	if a.Kind != fhir.Object && a.Kind != fhir.Array && a.Text != b.Text {
		return false
	}
	for i := range a.Items {
		if !equalNodes(a.Items[i], b.Items[i]) {
			return false
		}
	}
	for i, m := range a.Members {
		other := b.Members[i].Value
		if b.Members[i].Name != m.Name {
			other = b.Get(m.Name)
		}
		if other == nil || !equalNodes(m.Value, other) {
			return false
		}
	}
	return true
}

// equalAll is = of two collections that are not empty: same length, equal in order.
func (c *Context) equalAll(as, bs []Value) truth {
	if len(as) != len(bs) {
		return no
	}
	result := yes
	for i := range as {
		switch c.equal(as[i], bs[i]) {
		case no:
			return no
		case unknown:
			result = unknown
		}
	}
	return result
}

// same tells whether two values count as one in a set: union, distinct, in.
func (c *Context) same(a, b Value) bool { return c.equal(a, b) == yes }

// normalize is how ~ sees text: letter case aside, and every white space is a blank.
func normalize(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if ch := s[i]; ch >= 'A' && ch <= 'Z' || ch >= '\t' && ch <= '\r' || ch >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	s = strings.ToLower(s)
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, s)
}

// equivalent is ~ of two values: always decided.
func (c *Context) equivalent(a, b Value) bool {
	ka, kb := a.kind(), b.kind()
	switch {
	case ka == KindString && kb == KindString:
		c.steps -= (len(a.written()) + len(b.written())) / 64 // a long text is more work; who is over the limit is told soon
		return a.written() == b.written() || normalize(a.written()) == normalize(b.written())
	case isNumber(ka) && isNumber(kb):
		return equivalentNumbers(a, b)
	case isDate(ka) && isDate(kb), ka == KindTime && kb == KindTime:
		return equivalentTime(a, b)
	case ka == KindQuantity || kb == KindQuantity:
		a, b = c.asQuantity(a), c.asQuantity(b)
		return a.kind() == KindQuantity && b.kind() == KindQuantity && equivalentQuantities(a, b)
	case ka == KindObject && kb == KindObject:
		if x, y := c.quantity(a), c.quantity(b); x.kind() == KindQuantity && y.kind() == KindQuantity && a.model() != nil && b.model() != nil &&
			equivalentQuantities(x, y) {
			return true
		}
		return c.equivalentNodes(a.element(), b.element())
	}
	return c.equal(a, b) == yes
}

// equivalentNodes is ~ of objects: members pairwise, lists in any order, ids aside.
func (c *Context) equivalentNodes(a, b *fhir.Node) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case fhir.String:
		return normalize(a.Text) == normalize(b.Text)
	case fhir.Number:
		return c.equivalent(valueOf(a, nil), valueOf(b, nil))
	case fhir.Array:
		if len(a.Items) != len(b.Items) {
			return false
		}
		used := make([]bool, len(b.Items))
	next:
		for _, item := range a.Items {
			for i, other := range b.Items {
				if !used[i] && c.Step() == nil && c.equivalentNodes(item, other) {
					used[i] = true
					continue next
				}
			}
			return false
		}
		return true
	case fhir.Object:
		count := 0
		for _, m := range a.Members {
			if m.Name == "id" {
				continue
			}
			count++
			if other := b.Get(m.Name); other == nil || !c.equivalentNodes(m.Value, other) {
				return false
			}
		}
		for _, m := range b.Members {
			if m.Name != "id" {
				count--
			}
		}
		return count == 0
	}
	return a.Text == b.Text
}

// equivalentAll is ~ of collections: the same values, in any order.
func (c *Context) equivalentAll(as, bs []Value) (bool, error) {
	if len(as) != len(bs) {
		return false, nil
	}
	used := make([]bool, len(bs))
next:
	for _, a := range as {
		for i, b := range bs {
			if used[i] {
				continue
			}
			if err := c.Step(); err != nil {
				return false, err
			}
			if c.equivalent(a, b) {
				used[i] = true
				continue next
			}
		}
		return false, nil
	}
	return true, nil
}

// inequality compiles < > <= >=.
func (k *compiler) inequality(n *node) *code {
	left, right := k.operand(n.left), k.operand(n.right)
	if k.inequalityTrap(n, left, right) {
		return faulty(n)
	}
	if !comparable(left.st, right.st) {
		k.fault(n, "`"+n.text+"` is not defined between "+describe(left.st)+" and "+describe(right.st), "")
		return faulty(n)
	}
	wantLess, orEqual := n.text[0] == '<', len(n.text) == 2
	off := n.nameOff
	st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: left.st.MayBeEmpty || right.st.MayBeEmpty || mayBeUndecided(left.st, right.st)}
	if cond := k.orderOf(left, right, wantLess, orEqual, off); cond != nil {
		return fold(ofCond(n, st, cond), left, right)
	}
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		a, err := left.one(c, f)
		if err != nil || a.none() {
			return Value{}, err
		}
		b, err := right.one(c, f)
		if err != nil || b.none() {
			return Value{}, err
		}
		order, decided, ok := c.compare(a, b)
		switch {
		case !ok:
			return Value{}, &Error{Code: codeType, Offset: off}
		case !decided:
			return Value{}, nil
		case order == 0:
			return Boolean(orEqual), nil
		}
		return Boolean((order < 0) == wantLess), nil
	})
	return fold(cd, left, right)
}

// families of kinds that can be ordered with each other.
var families = [...]Kinds{1 << KindString, 1<<KindInteger | 1<<KindDecimal, 1<<KindDate | 1<<KindDateTime, 1 << KindTime,
	1<<KindQuantity | 1<<KindObject | 1<<KindInteger | 1<<KindDecimal}

func comparable(a, b StaticType) bool {
	if a.Kinds == 0 || b.Kinds == 0 {
		return true
	}
	for i, family := range families {
		if a.Kinds&family == 0 || b.Kinds&family == 0 {
			continue
		}
		if i < len(families)-1 {
			return true
		}
		if (a.Kinds.Has(KindQuantity) || maybeQuantity(a)) && (b.Kinds.Has(KindQuantity) || maybeQuantity(b)) {
			return true
		}
	}
	return false
}

// compare orders two values. Not ok: they are of types that have no order between them.
func (c *Context) compare(a, b Value) (order int, decided, ok bool) {
	ka, kb := a.kind(), b.kind()
	switch {
	case ka == KindString && kb == KindString:
		return strings.Compare(a.written(), b.written()), true, true
	case isNumber(ka) && isNumber(kb):
		return compareNumbers(a, b), true, true
	case isDate(ka) && isDate(kb), ka == KindTime && kb == KindTime:
		order, decided = compareTime(a, b)
		return order, decided, true
	}
	a, b = c.asQuantity(a), c.asQuantity(b)
	if a.kind() == KindQuantity && b.kind() == KindQuantity {
		order, decided = compareQuantities(a, b)
		return order, decided, true
	}
	return 0, false, a.valueless() || b.valueless()
}

// union compiles a | b: both without duplicates.
func (k *compiler) union(n *node, left, right *code) *code {
	st := joinTypes(left.st, right.st)
	st.Single = false
	cd := several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
		start := len(out)
		buf, err := left.many(c, f, c.take())
		if err != nil {
			return out, err
		}
		if buf, err = right.many(c, f, buf); err != nil {
			return out, err
		}
		out, err = c.appendDistinct(buf, out, start, n.nameOff)
		c.give(buf)
		return out, err
	})
	return fold(cd, left, right)
}

// appendDistinct appends the values that are not yet in out[start:].
func (c *Context) appendDistinct(values, out []Value, start, off int) ([]Value, error) {
next:
	for _, v := range values {
		if err := c.spend(1+len(out)-start, out, off); err != nil {
			return out, err
		}
		for _, w := range out[start:] {
			if c.same(v, w) {
				continue next
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// joinTypes is the type of values from either of two.
func joinTypes(a, b StaticType) StaticType {
	st := StaticType{Single: a.Single && b.Single, MayBeEmpty: a.MayBeEmpty || b.MayBeEmpty, Blank: a.Blank || b.Blank,
		Cell: a.Cell && b.Cell, Unordered: a.Unordered || b.Unordered}
	switch { // {} is of any type and adds none
	case a.Literal && a.Kinds == 0:
		st.Kinds, st.FHIR, st.Choice, st.Env, st.Cell = b.Kinds, b.FHIR, b.Choice, b.Env, b.Cell
		return st
	case b.Literal && b.Kinds == 0:
		st.Kinds, st.FHIR, st.Choice, st.Env, st.Cell = a.Kinds, a.FHIR, a.Choice, a.Env, a.Cell
		return st
	}
	if a.Kinds != 0 && b.Kinds != 0 {
		st.Kinds = a.Kinds | b.Kinds
	}
	if a.Env == b.Env {
		st.Env = a.Env
	}
	at, bt := typesOf(a), typesOf(b)
	switch {
	case a.FHIR != nil && a.FHIR == b.FHIR:
		st.FHIR = a.FHIR
	case len(at) > 0 && len(bt) > 0:
		st.Choice = append(append(st.Choice, at...), bt...)
	}
	return st
}

// membership compiles item in collection.
func (k *compiler) membership(n *node, item, list *code) *code {
	if k.membershipTrap(n, item, list) {
		return faulty(n)
	}
	if !item.st.Single && k.env.Strict && item.constant {
		k.fault(item.n, "this must be a single value", "")
		return faulty(n)
	}
	st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: item.st.MayBeEmpty}
	if item.text != nil && list.constant && !slices.ContainsFunc(list.vals, func(v Value) bool { return v.kind() != KindString }) {
		return fold(ofCond(n, st, amongOf(item, list.vals)), item, list)
	}
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		v, err := item.one(c, f)
		if err != nil || v.none() {
			return Value{}, err
		}
		values := list.vals
		if list.constant {
			for _, w := range values {
				if c.same(v, w) {
					return Boolean(true), nil
				}
			}
			return Boolean(false), nil
		}
		buf, err := list.many(c, f, c.take())
		if err != nil {
			return Value{}, err
		}
		found := false
		for _, w := range buf {
			if found = c.same(v, w); found {
				break
			}
		}
		err = c.spend(len(buf), nil, n.nameOff)
		c.give(buf)
		return Boolean(found), err
	})
	return fold(cd, item, list)
}
