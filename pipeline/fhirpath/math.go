package fhirpath

import (
	"github.com/cockroachdb/apd/v3"
)

// addMath adds the functions over numbers (FHIRPath 2.0, 5.7) and the boundaries.
func (k *compiler) addMath(all map[string]builtin) {
	number := Set(KindInteger, KindDecimal)
	numberOrQuantity := number | Set(KindQuantity)
	all["abs"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		cd := k.scalar(n, in, KindNone, numberOrQuantity, 0, func(_ *Context, v, _, _ Value) (Value, error) {
			if compareNumbers(v, Integer(0)) < 0 {
				return negate(v), nil
			}
			return v.plain(), nil
		})
		return cd
	}}
	whole := func(name string, rounding apd.Rounder) {
		all[name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			cd := k.scalar(n, in, KindInteger, numberOrQuantity, 0, func(_ *Context, v, _, _ Value) (Value, error) {
				if v.kind() == KindInteger {
					return v.plain(), nil
				}
				d, ok := quantize(v, 0, rounding)
				switch {
				case !ok:
					return Value{}, nil
				case v.kind() == KindQuantity:
					return withUnit(d, v), nil
				}
				return integerFrom(d), nil
			})
			return orQuantity(cd, in)
		}}
	}
	whole("ceiling", apd.RoundCeiling)
	whole("floor", apd.RoundFloor)
	whole("truncate", apd.RoundDown)
	real := func(name string, f func(d, x *apd.Decimal) (apd.Condition, error)) {
		all[name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			return k.scalar(n, in, KindDecimal, number, 0, func(_ *Context, v, _, _ Value) (Value, error) {
				x := v.apd()
				if name == "exp" && x.Cmp(apd.New(700, 0)) > 0 { // beyond the largest exponent
					return Value{}, nil
				}
				d := new(apd.Decimal)
				if _, err := f(d, x); err != nil {
					return Value{}, nil
				}
				return reduced(d), nil
			})
		}}
	}
	real("exp", roundContext.Exp)
	real("ln", roundContext.Ln)
	real("sqrt", roundContext.Sqrt)
	all["log"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.scalar(n, in, KindDecimal, number, number, func(_ *Context, v, base, _ Value) (Value, error) {
			return logarithm(v.apd(), base.apd()), nil
		})
	}}
	all["power"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		cd := k.scalar(n, in, KindNone, number, number, func(_ *Context, v, e, _ Value) (Value, error) {
			return power(v, e), nil
		})
		if !in.st.Only(KindDecimal) {
			cd.st.Kinds = number
		}
		return cd
	}}
	all["round"] = builtin{0, 1, func(k *compiler, n *node, in *code) *code {
		cd := k.scalar(n, in, KindDecimal, numberOrQuantity, Set(KindInteger), func(_ *Context, v, places, _ Value) (Value, error) {
			if places.num < 0 {
				return Value{}, &Error{Code: "negative-precision"}
			}
			if v.kind() == KindInteger {
				return Value{meta: metaOf(KindDecimal, 0), num: v.num}, nil
			}
			if places.num >= int64(scaleOf(v)) {
				return v.plain(), nil
			}
			d, ok := quantize(v, int32(places.num), apd.RoundHalfUp)
			switch {
			case !ok:
				return Value{}, nil
			case v.kind() == KindQuantity:
				return withUnit(d, v), nil
			}
			r, _ := decimalOf(d)
			return r, nil
		})
		return orQuantity(cd, in)
	}}
	k.addBoundaries(all)
}

// withUnit is a number with the unit of a quantity.
func withUnit(d *apd.Decimal, q Value) Value {
	number, ok := decimalOf(d)
	if !ok {
		return Value{}
	}
	return quantityOf(number, q.unitNode(), q.has(flagCalendar))
}

// orQuantity widens the type of a function that makes a quantity of a quantity.
func orQuantity(cd, in *code) *code {
	if !cd.constant && (in.st.Kinds == 0 || in.st.Kinds.Has(KindQuantity) || maybeQuantity(in.st)) {
		cd.st.Kinds |= Set(KindQuantity)
	}
	return cd
}

func reduced(d *apd.Decimal) Value {
	if d.Form == apd.Finite {
		d.Reduce(d)
	}
	v, ok := decimalOf(d)
	if !ok {
		return Value{}
	}
	return v
}

// logarithm is computed with more digits than the result has, so that 100.log(10) is 2.
func logarithm(x, base *apd.Decimal) Value {
	if x.Sign() <= 0 || base.Sign() <= 0 {
		return Value{}
	}
	ctx := roundContext
	ctx.Precision = 30
	a, b, d := new(apd.Decimal), new(apd.Decimal), new(apd.Decimal)
	if _, err := ctx.Ln(a, x); err != nil {
		return Value{}
	}
	if _, err := ctx.Ln(b, base); err != nil || b.IsZero() {
		return Value{}
	}
	if _, err := ctx.Quo(d, a, b); err != nil {
		return Value{}
	}
	if _, err := roundContext.Round(d, d); err != nil {
		return Value{}
	}
	return reduced(d)
}

// power is x to the e: exact for whole exponents that fit, empty where there is no real result.
func power(x, e Value) Value {
	if x.kind() == KindInteger && e.kind() == KindInteger && e.num >= 0 {
		result := int64(1)
		for range min(e.num, 64) {
			p, ok := mul64(result, x.num)
			if !ok || !fits32(p) {
				return Value{}
			}
			result = p
		}
		if e.num > 64 && result != 0 && result != 1 && result != -1 {
			return Value{}
		}
		if e.num > 64 && x.num == -1 {
			result = 1 - 2*(e.num&1)
		}
		return Integer(result)
	}
	base, exponent := x.apd(), e.apd()
	if base.IsZero() {
		switch exponent.Sign() {
		case 0:
			return Value{meta: metaOf(KindDecimal, 1), num: 10}
		case -1:
			return Value{}
		}
		return Value{meta: metaOf(KindDecimal, 1), num: 0}
	}
	if limit := apd.New(10_000, 0); exponent.Cmp(limit) > 0 || exponent.Cmp(new(apd.Decimal).Neg(limit)) < 0 {
		return Value{}
	}
	d := new(apd.Decimal)
	if n, err := exponent.Int64(); err == nil && n >= 0 && n <= 64 {
		d.SetInt64(1)
		for range n {
			if _, err := exactContext.Mul(d, d, base); err != nil {
				return Value{}
			}
		}
		v, ok := decimalOf(d)
		if !ok {
			return Value{}
		}
		return v
	}
	if _, err := roundContext.Pow(d, base, exponent); err != nil {
		return Value{}
	}
	return reduced(d)
}
