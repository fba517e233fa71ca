package fhirpath

import "strings"

// unary compiles +x and -x.
func (k *compiler) unary(n *node) *code {
	operand := k.compile(n.left)
	if !numeric(operand.st) {
		k.fault(n, "`"+n.text+"` needs a number, this is "+describe(operand.st), k.numberHint(operand))
		return faulty(n)
	}
	st := StaticType{Kinds: reckoned(operand.st), MayBeEmpty: true, Blank: operand.st.Blank}
	minus := n.text == "-"
	off := n.off
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		v, err := operand.one(c, f)
		if err != nil || v.none() {
			return Value{}, err
		}
		v = c.quantity(v)
		switch v.kind() {
		case KindInteger, KindDecimal, KindQuantity:
			if minus {
				return negate(v), nil
			}
			return v, nil
		case KindString:
			if minus {
				return Value{}, &Error{Code: codeType, Offset: off}
			}
		}
		return Value{}, &Error{Code: codeType, Offset: off}
	})
	return fold(cd, operand)
}

// numeric tells whether a value of the type may be a number or a quantity.
func numeric(st StaticType) bool {
	return st.Kinds.Has(KindInteger) || st.Kinds.Has(KindDecimal) || st.Kinds.Has(KindQuantity) || maybeQuantity(st)
}

// maybeQuantity tells whether an object of the type may be a FHIR Quantity.
func maybeQuantity(st StaticType) bool {
	if !st.Kinds.Has(KindObject) {
		return false
	}
	types := typesOf(st)
	for _, t := range types {
		if t.Is("Quantity") || t.Abstract {
			return true
		}
	}
	return len(types) == 0
}

// describe names a static type for messages.
func describe(st StaticType) string {
	if st.Cell {
		return "a cell, which is text"
	}
	if types := typesOf(st); len(types) > 0 {
		return article(typeList(types))
	}
	for k := KindBoolean; k <= KindRow; k++ {
		if st.Kinds == Set(k) {
			return article(k.String())
		}
	}
	return "of another type"
}

// article is a noun with its article.
func article(noun string) string {
	if noun != "" && strings.ContainsRune("AEIOaeio", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func (k *compiler) numberHint(cd *code) string {
	if cd.st.Only(KindString) {
		return "write " + k.text(cd.n) + "." + k.toNumber() + "()"
	}
	return ""
}

// toNumber is how text becomes a number here.
func (k *compiler) toNumber() string {
	if _, ok := k.env.Functions["decimal"]; ok {
		return "decimal"
	}
	return "toDecimal"
}

func (k *compiler) toDate() string {
	if _, ok := k.env.Functions["date"]; ok {
		return "date"
	}
	return "toDate"
}

// binary compiles an operator between two expressions.
func (k *compiler) binary(n *node) *code {
	switch n.text {
	case "and", "or", "xor", "implies":
		return k.logic(n)
	case "=", "!=", "~", "!~":
		return k.equality(n)
	case "<", ">", "<=", ">=":
		return k.inequality(n)
	case "|":
		return k.union(n, k.operand(n.left), k.operand(n.right))
	case "in":
		return k.membership(n, k.operand(n.left), k.operand(n.right))
	case "contains":
		item := k.operand(n.right)
		return k.membership(n, item, k.operand(n.left))
	case "&":
		return k.concat(n)
	}
	return k.arithmetic(n)
}

// The three truths: an empty operand is neither true nor false.
type truth uint8

const (
	unknown truth = iota
	no
	yes
)

// truthOf is FHIRPath's singleton evaluation: a single value that is not a Boolean counts as true.
func truthOf(v Value) truth {
	switch {
	case v.kind() == KindBoolean:
		return no + truth(v.num)
	case v.none() || v.valueless():
		return unknown
	}
	return yes
}

func (t truth) value() Value {
	switch t {
	case yes:
		return Boolean(true)
	case no:
		return Boolean(false)
	}
	return Value{}
}

func (k *compiler) logic(n *node) *code {
	left := k.operand(n.left)
	k.position(left)
	filled := len(k.filled)
	switch n.text {
	case "and", "implies":
		k.filled = k.filledBy(n.left, k.filled, true)
	case "or":
		k.filled = k.filledBy(n.left, k.filled, false)
	}
	right := k.operand(n.right)
	k.filled = k.filled[:filled]
	k.position(right)
	st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: left.st.MayBeEmpty || right.st.MayBeEmpty}
	if cond := k.logicOf(n.text, left, right); cond != nil {
		return fold(ofCond(n, st, cond), left, right)
	}
	l, r := left.one, right.one
	var one oneFunc
	switch n.text {
	case "and":
		one = func(c *Context, f Value) (Value, error) {
			a, err := l(c, f)
			if err != nil || truthOf(a) == no {
				return a.bool(), err
			}
			b, err := r(c, f)
			if err != nil {
				return Value{}, err
			}
			switch y := truthOf(b); {
			case y == no:
				return Boolean(false), nil
			case y == yes && truthOf(a) == yes:
				return Boolean(true), nil
			}
			return Value{}, nil
		}
	case "or":
		one = func(c *Context, f Value) (Value, error) {
			a, err := l(c, f)
			if err != nil || truthOf(a) == yes {
				return a.bool(), err
			}
			b, err := r(c, f)
			if err != nil {
				return Value{}, err
			}
			switch y := truthOf(b); {
			case y == yes:
				return Boolean(true), nil
			case y == no && truthOf(a) == no:
				return Boolean(false), nil
			}
			return Value{}, nil
		}
	case "xor":
		one = func(c *Context, f Value) (Value, error) {
			a, err := l(c, f)
			if err != nil {
				return Value{}, err
			}
			b, err := r(c, f)
			if err != nil || a.none() || b.none() {
				return Value{}, err
			}
			return Boolean(truthOf(a) != truthOf(b)), nil
		}
	default: // implies
		one = func(c *Context, f Value) (Value, error) {
			a, err := l(c, f)
			if err != nil {
				return Value{}, err
			}
			if truthOf(a) == no {
				return Boolean(true), nil
			}
			b, err := r(c, f)
			if err != nil {
				return Value{}, err
			}
			if truthOf(b) == yes {
				return Boolean(true), nil
			}
			if truthOf(a) == yes {
				return truthOf(b).value(), nil
			}
			return Value{}, nil
		}
	}
	return fold(single(n, st, one), left, right)
}

// bool is the value as a Boolean by singleton evaluation; empty stays empty.
func (v Value) bool() Value { return truthOf(v).value() }

func (k *compiler) concat(n *node) *code {
	left, right := k.operand(n.left), k.operand(n.right)
	for _, cd := range []*code{left, right} {
		if !cd.st.Kinds.Has(KindString) {
			k.fault(cd.n, "`&` joins texts, this is "+describe(cd.st), "write "+k.text(cd.n)+".toString()")
			return faulty(n)
		}
	}
	if left.text != nil && right.text != nil {
		l, r, off := left.text, right.text, n.nameOff
		return fold(ofText(n, StaticType{Kinds: Set(KindString)}, func(c *Context, row *Row) (string, bool, error) {
			a, _, err := l(c, row)
			if err != nil {
				return "", false, err
			}
			b, _, err := r(c, row)
			if err != nil {
				return "", false, err
			}
			v, err := c.join(a, b, off)
			return v.written(), true, err
		}), left, right)
	}
	cd := single(n, StaticType{Kinds: Set(KindString)}, func(c *Context, f Value) (Value, error) {
		a, err := left.one(c, f)
		if err != nil {
			return Value{}, err
		}
		b, err := right.one(c, f)
		if err != nil {
			return Value{}, err
		}
		if a.valueless() {
			a = Value{}
		}
		if b.valueless() {
			b = Value{}
		}
		if !a.none() && a.kind() != KindString || !b.none() && b.kind() != KindString {
			return Value{}, &Error{Code: codeType, Offset: n.nameOff}
		}
		return c.join(a.written(), b.written(), n.nameOff)
	})
	return fold(cd, left, right)
}

func (c *Context) join(a, b string, off int) (Value, error) {
	switch {
	case a == "":
		return String(b), nil
	case b == "":
		return String(a), nil
	case len(a)+len(b) > maxText:
		return Value{}, &Error{Code: codeText, Offset: off}
	}
	if err := c.read(len(a)+len(b), off); err != nil {
		return Value{}, err
	}
	return String(c.Concat(a, b)), nil
}

// arithmetic compiles + - * / div mod.
func (k *compiler) arithmetic(n *node) *code {
	left, right := k.operand(n.left), k.operand(n.right)
	if k.arithmeticTrap(n, left, right) {
		return faulty(n)
	}
	if n.text == "+" {
		k.blankOperands(n, left, right)
	}
	st := arithmeticType(n.text, left.st, right.st)
	if st.Kinds == 1<<KindNone {
		k.fault(n, "`"+n.text+"` is not defined between "+describe(left.st)+" and "+describe(right.st), k.arithmeticHint(n, left, right))
		return faulty(n)
	}
	op := n.text[0] // + - * /, or the first letter of div and mod
	off := n.nameOff
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		a, err := left.one(c, f)
		if err != nil || a.none() {
			return Value{}, err
		}
		b, err := right.one(c, f)
		if err != nil || b.none() {
			return Value{}, err
		}
		return c.calculate(op, a, b, off)
	})
	return fold(cd, left, right)
}

func (k *compiler) arithmeticHint(n *node, left, right *code) string {
	switch {
	case left.st.Only(KindDate, KindDateTime, KindTime) && right.st.Only(KindInteger, KindDecimal):
		return "name the unit, as in " + k.text(n.left) + " " + n.text + " " + k.text(n.right) + " days"
	case n.text == "+" && (left.st.Only(KindString) || right.st.Only(KindString)):
		return "join texts with &, and make others text with .toString()"
	}
	return ""
}

// arithmeticType is the type of a op b; KindNone if it is certainly not defined.
func arithmeticType(op string, a, b StaticType) StaticType {
	st := StaticType{Single: true, MayBeEmpty: true}
	if a.Kinds == 0 || b.Kinds == 0 || a.Kinds.Has(KindObject) || b.Kinds.Has(KindObject) {
		return st
	}
	number := Set(KindInteger, KindDecimal)
	temporal := Set(KindDate, KindDateTime, KindTime)
	switch op {
	case "+", "-":
		if op == "+" && a.Kinds.Has(KindString) && b.Kinds.Has(KindString) {
			st.Kinds |= Set(KindString)
		}
		if b.Kinds.Has(KindQuantity) {
			st.Kinds |= a.Kinds & temporal
		}
	}
	if a.Kinds&number != 0 && b.Kinds&number != 0 {
		switch {
		case op == "/":
			st.Kinds |= Set(KindDecimal)
		case op == "div":
			st.Kinds |= Set(KindInteger)
		case a.Only(KindInteger) && b.Only(KindInteger):
			st.Kinds |= Set(KindInteger)
		case a.Only(KindDecimal) || b.Only(KindDecimal):
			st.Kinds |= Set(KindDecimal)
		default:
			st.Kinds |= number
		}
	}
	scalar := number | Set(KindQuantity)
	if op != "div" && op != "mod" && a.Kinds&scalar != 0 && b.Kinds&scalar != 0 && (a.Kinds | b.Kinds).Has(KindQuantity) {
		st.Kinds |= Set(KindQuantity)
	}
	if st.Kinds == 0 {
		st.Kinds = 1 << KindNone
	}
	return st
}

// calculate is a op b of two values.
func (c *Context) calculate(op byte, a, b Value, off int) (Value, error) {
	a, b = c.quantity(a), c.quantity(b)
	ka, kb := a.kind(), b.kind()
	switch {
	case (ka == KindInteger || ka == KindDecimal) && (kb == KindInteger || kb == KindDecimal):
		return arithmetic(op, a, b), nil
	case ka == KindString && kb == KindString && op == '+':
		return c.join(a.written(), b.written(), off)
	case (ka == KindDate || ka == KindDateTime || ka == KindTime) && kb == KindQuantity && (op == '+' || op == '-'):
		return c.shift(op, a, b, off)
	case (ka == KindQuantity || kb == KindQuantity) && ka != KindString && kb != KindString && op != 'd' && op != 'm':
		return c.calculateQuantity(op, a, b, off)
	}
	if a.valueless() || b.valueless() {
		return Value{}, nil
	}
	return Value{}, &Error{Code: codeType, Offset: off}
}
