package fhirpath

import (
	"math/big"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/ucum"
)

// converter turns a single value into a System type; false if it does not convert.
type converter func(c *Context, v Value) (Value, bool)

// addConversions adds toX() and convertsToX() (FHIRPath 2.0, 5.5). A value that does not convert becomes empty.
func (k *compiler) addConversions(all map[string]builtin) {
	add := func(name string, kind Kind, convert converter) {
		all["to"+name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			st := StaticType{Kinds: Set(kind), MayBeEmpty: true, Blank: in.st.Blank}
			return fold(single(n, st, func(c *Context, f Value) (Value, error) {
				v, err := in.one(c, f)
				if err != nil || v.none() {
					return Value{}, err
				}
				r, _ := convert(c, v)
				return r, nil
			}), in)
		}}
		all["convertsTo"+name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			st := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: in.st.MayBeEmpty, Blank: in.st.Blank}
			return fold(single(n, st, func(c *Context, f Value) (Value, error) {
				v, err := in.one(c, f)
				if err != nil || v.none() {
					return Value{}, err
				}
				_, ok := convert(c, v)
				return Boolean(ok), nil
			}), in)
		}}
	}
	add("Boolean", KindBoolean, toBoolean)
	add("Integer", KindInteger, toInteger)
	add("Decimal", KindDecimal, toDecimal)
	add("String", KindString, toText)
	add("Date", KindDate, toDate)
	add("DateTime", KindDateTime, toDateTime)
	add("Time", KindTime, toTime)
	k.addQuantity(all)
}

func toBoolean(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindBoolean:
		return v.plain(), true
	case KindInteger, KindDecimal:
		switch {
		case compareNumbers(v, Integer(1)) == 0:
			return Boolean(true), true
		case compareNumbers(v, Integer(0)) == 0:
			return Boolean(false), true
		}
	case KindString:
		switch normalize(v.written()) {
		case "true", "t", "yes", "y", "1", "1.0":
			return Boolean(true), true
		case "false", "f", "no", "n", "0", "0.0":
			return Boolean(false), true
		}
	}
	return Value{}, false
}

func toInteger(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindInteger:
		return v.plain(), true
	case KindBoolean:
		return Integer(v.num), true
	case KindString:
		if i, err := strconv.ParseInt(v.written(), 10, 32); err == nil {
			return Integer(i), true
		}
	}
	return Value{}, false
}

func toDecimal(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindDecimal:
		return v.plain(), true
	case KindInteger:
		return Value{meta: metaOf(KindDecimal, 0), num: v.num}.withText(v.written()), true
	case KindBoolean:
		return Value{meta: metaOf(KindDecimal, 1), num: v.num * 10}, true
	case KindString:
		for i := 0; i < len(v.written()); i++ {
			if c := v.written()[i]; c == 'e' || c == 'E' {
				return Value{}, false
			}
		}
		return decimalValue(v.written())
	}
	return Value{}, false
}

func toText(c *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindObject:
		if q := c.quantity(v); q.kind() == KindQuantity {
			return String(q.Text()), true
		}
		return Value{}, false
	case KindRow, KindNone:
		return Value{}, false
	case KindString:
		return v.plain(), true
	}
	return String(v.Text()), true
}

func toDate(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindDate:
		return v.plain(), true
	case KindDateTime:
		return parseDate(v.written()[:min(10, len(v.written()))])
	case KindString:
		if d, ok := parseDate(v.written()); ok {
			return d, true
		}
		if _, ok := parseDateTime(v.written()); ok {
			return parseDate(v.written()[:min(10, len(v.written()))])
		}
	}
	return Value{}, false
}

func toDateTime(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindDateTime:
		return v.plain(), true
	case KindDate:
		return Value{meta: metaOf(KindDateTime, v.prec()), num: v.num}.withText(v.written()), true
	case KindString:
		return parseDateTime(v.written())
	}
	return Value{}, false
}

func toTime(_ *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindTime:
		return v.plain(), true
	case KindString:
		return parseTime(v.written())
	}
	return Value{}, false
}

func toQuantity(c *Context, v Value) (Value, bool) {
	switch v.kind() {
	case KindQuantity:
		return v, true
	case KindInteger, KindDecimal:
		return quantityOf(v, unitOne, false), true
	case KindBoolean:
		return quantityOf(Value{meta: metaOf(KindDecimal, 1), num: v.num * 10}, unitOne, false), true
	case KindString:
		return c.parseQuantity(v.written())
	case KindObject:
		v = c.quantity(v)
		return v, v.kind() == KindQuantity
	}
	return Value{}, false
}

// addQuantity adds toQuantity(unit) and convertsToQuantity(unit).
func (k *compiler) addQuantity(all map[string]builtin) {
	add := func(name string, kind Kind, result func(v Value, ok bool) Value) {
		all[name] = builtin{0, 1, func(k *compiler, n *node, in *code) *code {
			operands := []*code{in}
			var unit *code
			if len(n.args) == 1 {
				unit = k.operand(n.args[0])
				operands = append(operands, unit)
				if !k.wants(n, unit, Set(KindString), "the unit of "+name+"()") {
					return faulty(n)
				}
			}
			st := StaticType{Kinds: Set(kind), MayBeEmpty: true, Blank: in.st.Blank}
			return fold(single(n, st, func(c *Context, f Value) (Value, error) {
				v, err := in.one(c, f)
				if err != nil || v.none() {
					return Value{}, err
				}
				v, ok := toQuantity(c, v)
				if unit != nil && ok {
					u, err := unit.one(c, f)
					if err != nil || u.none() {
						return Value{}, err
					}
					v, ok = c.convert(v, u.Str())
				}
				return result(v, ok), nil
			}), operands...)
		}}
	}
	add("toQuantity", KindQuantity, func(v Value, ok bool) Value {
		if !ok {
			return Value{}
		}
		return v
	})
	add("convertsToQuantity", KindBoolean, func(_ Value, ok bool) Value { return Boolean(ok) })
}

// convert brings a quantity to another unit, if they compare.
func (c *Context) convert(q Value, unit string) (Value, bool) {
	if q.unit() == unit {
		return q, true
	}
	calendar := calendarUnit(unit) != unitNone
	node := c.NewString(unit)
	if converted, known := inTime(q, unit); known {
		number, ok := decimalOfRat(converted)
		return quantityOf(number, node, calendar), ok
	}
	from, ok1 := measureOf(q)
	to, ok2 := measureOf(quantityOf(Integer(1), node, calendar))
	if !ok1 || !ok2 || !from.comparable(to) {
		return Value{}, false
	}
	base := from.base(q)
	if to.months {
		base.Quo(base, big.NewRat(to.factor, 1))
	} else {
		base = to.unit.FromBase(base)
	}
	number, ok := decimalOfRat(base)
	if !ok {
		return Value{}, false
	}
	return quantityOf(number, node, calendar), true
}

// inTime converts a quantity of time where the calendar is on either side: within the system of the source, whose unit
// is then called by its namesake in the other one. It does not know other units.
func inTime(q Value, unit string) (*big.Rat, bool) {
	from, to := calendarUnit(q.unit()), calendarUnit(unit)
	switch {
	case from == unitNone && to == unitNone:
		return nil, false
	case from != unitNone:
		if to == unitNone {
			to, _ = ucumTime(unit)
		}
		if to == unitNone {
			return nil, false
		}
		return inCalendar(rational(q), from, to), true
	}
	target := ucumOf(to)
	switch to {
	case unitYear:
		target = "a"
	case unitMonth:
		target = "mo"
	}
	x, ok1 := ucum.Parse(q.unit())
	y, ok2 := ucum.Parse(target)
	if !ok1 || !ok2 || !ucum.Comparable(x, y) {
		return nil, false
	}
	return y.FromBase(x.Base(rational(q))), true
}

// comparableUnits tells whether two quantities have units that compare.
func comparableUnits(a, b Value) bool {
	if a.unit() == b.unit() {
		_, ok := ucum.Parse(a.unit())
		return ok || calendarUnit(a.unit()) != unitNone
	}
	if calendarUnit(a.unit()) != unitNone && calendarUnit(b.unit()) != unitNone {
		return true
	}
	ma, ok1 := measureOf(a)
	mb, ok2 := measureOf(b)
	return ok1 && ok2 && ma.comparable(mb)
}
