package fhirpath

import (
	"github.com/cockroachdb/apd/v3"
)

// addBoundaries adds lowBoundary, highBoundary, precision and comparable: how exact a value is, as it was written.
func (k *compiler) addBoundaries(all map[string]builtin) {
	kinds := Set(KindInteger, KindDecimal, KindDate, KindDateTime, KindTime, KindQuantity)
	for name, high := range map[string]bool{"lowBoundary": false, "highBoundary": true} {
		all[name] = builtin{0, 1, func(k *compiler, n *node, in *code) *code {
			given := len(n.args) == 1
			cd := k.scalar(n, in, KindNone, kinds, Set(KindInteger), func(c *Context, v, precision, _ Value) (Value, error) {
				p := int64(-1)
				if given {
					if p = precision.num; p < 0 {
						return Value{}, nil
					}
				}
				return c.boundary(v, p, high), nil
			})
			if in.st.Kinds.Has(KindInteger) && !cd.constant {
				cd.st.Kinds = 0
			}
			return cd
		}}
	}
	all["precision"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return k.scalar(n, in, KindInteger, kinds, 0, func(_ *Context, v, _, _ Value) (Value, error) {
			return Integer(precisionOf(v)), nil
		})
	}}
	all["comparable"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		quantity := Set(KindQuantity, KindInteger, KindDecimal)
		return k.scalar(n, in, KindBoolean, quantity, quantity, func(c *Context, v, o, _ Value) (Value, error) {
			return Boolean(comparableUnits(c.asQuantity(v), c.asQuantity(o))), nil
		})
	}}
}

// precisionOf counts the digits after the point of a number, and all digits of a date or time.
func precisionOf(v Value) int64 {
	switch v.kind() {
	case KindInteger:
		return 0
	case KindDecimal, KindQuantity:
		text, n := v.number(), 0
		for i := 0; i < len(text); i++ {
			if text[i] == '.' {
				n = len(text) - i - 1
			}
		}
		return int64(n)
	}
	text := v.written()[:len(v.written())-len(v.zoneText())]
	var n int64
	for i := 0; i < len(text); i++ {
		if isDigit(text[i]) {
			n++
		}
	}
	return n
}

// Digits up to which a date or time is exact, by the precision that a boundary is asked for.
var dateDigits = map[int64]uint8{4: precYear, 6: precMonth, 8: precDay, 10: precHour, 12: precMinute, 14: precSecond, 17: precFraction}
var timeDigits = map[int64]uint8{2: precHour, 4: precMinute, 6: precSecond, 9: precFraction}

// boundary is the least or greatest value that the value may stand for. Precision -1 is the type's greatest.
func (c *Context) boundary(v Value, precision int64, high bool) Value {
	switch v.kind() {
	case KindInteger, KindDecimal, KindQuantity:
		if precision < 0 {
			precision = 8
		}
		if precision > 31 {
			return Value{}
		}
		bound, ok := numberBoundary(v, int32(precision), high)
		switch {
		case !ok:
			return Value{}
		case v.kind() == KindQuantity:
			return quantityOf(bound, v.unitNode(), v.has(flagCalendar))
		}
		return bound
	case KindTime:
		if precision < 0 {
			precision = 9
		}
		prec, ok := timeDigits[precision]
		if !ok {
			return Value{}
		}
		return c.timeBoundary(v, prec, high)
	}
	if precision < 0 {
		precision = 17
		if v.kind() == KindDate {
			precision = 8
		}
	}
	prec, ok := dateDigits[precision]
	if !ok || v.kind() == KindDate && prec > precDay {
		return Value{}
	}
	return c.timeBoundary(v, prec, high)
}

// numberBoundary goes half a unit of the last written digit down or up. To fewer digits than written the lower bound
// of a magnitude is cut and the upper one rounded, as HL7's tests have it.
func numberBoundary(v Value, places int32, high bool) (Value, bool) {
	x := v.apd()
	negative := x.Negative && !x.IsZero()
	half := apd.New(5, -int32(precisionOf(v))-1)
	d := new(apd.Decimal)
	var err error
	if high {
		_, err = scaleContext.Add(d, x, half)
	} else {
		_, err = scaleContext.Sub(d, x, half)
	}
	if err != nil {
		return Value{}, false
	}
	ctx := scaleContext
	ctx.Rounding = apd.RoundDown
	if high != negative {
		ctx.Rounding = apd.RoundHalfUp
	}
	if _, err = ctx.Quantize(d, d, -places); err != nil {
		return Value{}, false
	}
	return decimalOf(d)
}

// timeBoundary fills a partial date or time to its first or last moment, or cuts it. A DateTime without a zone gets
// the zone in which that moment is earliest (+14:00) or latest (-12:00).
func (c *Context) timeBoundary(v Value, prec uint8, high bool) Value {
	ticks := v.num
	if high && v.prec() < precFraction {
		ticks = v.last()
		if v.prec() == precSecond {
			ticks += tickSecond - 1
		}
	}
	var buf [48]byte
	b := appendTime(buf[:0], v.kind(), ticks, prec, 3)
	r := Value{meta: metaOf(v.kind(), prec)}
	if v.kind() == KindDateTime && prec > precDay {
		switch {
		case v.has(flagZone):
			r = r.withZone(v.zone())
			b = append(b, v.zoneText()...)
		case high:
			r = r.withZone(-12 * 60)
			b = append(b, "-12:00"...)
		default:
			r = r.withZone(14 * 60)
			b = append(b, "+14:00"...)
		}
	}
	r = r.withText(c.Text(b))
	// The ticks are those of the text: what is finer than the precision is gone.
	var again Value
	switch v.kind() {
	case KindDate:
		again, _ = parseDate(r.written())
	case KindTime:
		again, _ = parseTime(r.written())
	default:
		again, _ = parseDateTime(r.written())
	}
	return again
}
