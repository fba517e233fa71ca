package fhirpath

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// Decimals are kept as written, with a coefficient and a scale beside the text where 18 digits suffice, so that the
// everyday comparison or sum needs no big numbers. Others go through apd. Nothing ever goes through a float.

// Exact arithmetic has 38 digits; quotients and functions that cannot be exact have 18, FHIR's own limit
// (datatypes.html#decimal). Exponents are bounded so that no number fills the memory.
var (
	exactContext = apd.Context{Precision: 38, MaxExponent: 400, MinExponent: -400, Rounding: apd.RoundHalfUp}
	roundContext = apd.Context{Precision: 18, MaxExponent: 400, MinExponent: -400, Rounding: apd.RoundHalfUp}
	scaleContext = apd.Context{Precision: 900, MaxExponent: 400, MinExponent: -400, Rounding: apd.RoundHalfUp}
)

const maxNumberText = 800

// decimalValue reads a decimal literal: sign, digits, point, digits, exponent.
func decimalValue(s string) (Value, bool) {
	if v, ok := shortDecimal(s); ok {
		return v, true
	}
	i, neg := 0, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		i++
	}
	var coefficient int64
	var scale uint8
	count, seen, point := 0, false, false
	for ; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' {
			seen = true
			if count > 0 || c != '0' {
				count++
			}
			if count <= 18 {
				coefficient = coefficient*10 + int64(c-'0')
			}
			if point && scale < 255 {
				scale++
			}
			continue
		}
		if c == '.' && !point && seen {
			point = true
			continue
		}
		break
	}
	if !seen || point && scale == 0 || len(s) > maxNumberText {
		return Value{}, false
	}
	v := Value{}.withText(plainNumber(s))
	if i < len(s) { // an exponent, as JSON allows
		if s[i] != 'e' && s[i] != 'E' {
			return Value{}, false
		}
		exponent, err := strconv.Atoi(s[i+1:])
		if err != nil || exponent > 300 || exponent < -300 {
			return Value{}, false
		}
		v.meta |= metaOf(KindDecimal, 0) | flagBig
		return v, true
	}
	if count > 18 || scale > 18 {
		v.meta |= metaOf(KindDecimal, 0) | flagBig
		return v, true
	}
	if neg {
		coefficient = -coefficient
	}
	v.meta, v.num = v.meta|metaOf(KindDecimal, scale), coefficient
	return v, true
}

// shortDecimal reads what nearly all numbers are: up to 18 digits without a plus, zeros before them or an exponent.
func shortDecimal(s string) (Value, bool) {
	var coefficient int64
	point, first := -1, 0
	if s != "" && s[0] == '-' {
		first = 1
	}
	if len(s) > 18 || len(s) == first || s[first] == '0' && len(s) > first+1 && s[first+1] != '.' {
		return Value{}, false
	}
	for i := first; i < len(s); i++ {
		d := s[i] - '0'
		switch {
		case d <= 9:
			coefficient = coefficient*10 + int64(d)
		case s[i] == '.' && point < 0 && i > first && i+1 < len(s):
			point = i
		default:
			return Value{}, false
		}
	}
	if first == 1 {
		coefficient = -coefficient
	}
	scale := uint8(0)
	if point >= 0 {
		scale = uint8(len(s) - point - 1)
	}
	return Value{meta: metaOf(KindDecimal, scale), num: coefficient}.withText(s), true
}

// plainNumber leaves away a plus and zeros before the number, which neither FHIRPath nor JSON writes.
func plainNumber(s string) string {
	sign, digits := "", s
	if s[0] == '-' || s[0] == '+' {
		sign, digits = s[:1], s[1:]
	}
	if sign != "+" && !(len(digits) > 1 && digits[0] == '0' && isDigit(digits[1])) {
		return s
	}
	for len(digits) > 1 && digits[0] == '0' && isDigit(digits[1]) {
		digits = digits[1:]
	}
	if sign == "-" {
		return sign + digits
	}
	return digits
}

// small returns coefficient and scale of an Integer, Decimal or the magnitude of a Quantity, if it has them.
func (v Value) small() (coefficient int64, scale uint8, ok bool) {
	switch v.kind() {
	case KindInteger:
		return v.num, 0, true
	case KindDecimal, KindQuantity:
		return v.num, v.prec(), !v.has(flagBig)
	}
	return 0, 0, false
}

// apd is the number of an Integer, Decimal or the magnitude of a Quantity.
func (v Value) apd() *apd.Decimal {
	d := new(apd.Decimal)
	if coefficient, scale, ok := v.small(); ok {
		d.SetInt64(coefficient)
		d.Exponent = -int32(scale)
		return d
	}
	if _, _, err := d.SetString(v.written()); err != nil {
		d.SetInt64(0)
	}
	return d
}

// decimalOf makes a Decimal of a computed number; false if it is none or out of range.
func decimalOf(d *apd.Decimal) (Value, bool) {
	if d.Form != apd.Finite {
		return Value{}, false
	}
	return decimalValue(d.Text('f'))
}

var pow10 = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// align brings two numbers to one scale; false if that overflows.
func align(a int64, as uint8, b int64, bs uint8) (int64, int64, uint8, bool) {
	switch {
	case as < bs:
		m, ok := mul64(a, pow10[bs-as])
		return m, b, bs, ok
	case bs < as:
		m, ok := mul64(b, pow10[as-bs])
		return a, m, as, ok
	}
	return a, b, as, true
}

func mul64(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(abs64(a), abs64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs64(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// compareNumbers orders two numbers (Integer, Decimal, magnitude of a Quantity).
func compareNumbers(a, b Value) int {
	ac, as, ok1 := a.small()
	bc, bs, ok2 := b.small()
	if ok1 && ok2 {
		if x, y, _, ok := align(ac, as, bc, bs); ok {
			return compareInt(x, y)
		}
	}
	return a.apd().Cmp(b.apd())
}

// arithmetic computes a op b of numbers; op is one of + - * / d (div) m (mod). The zero Value is FHIRPath's empty
// result: a division by zero or a number out of range.
func arithmetic(op byte, a, b Value) Value {
	integers := a.kind() == KindInteger && b.kind() == KindInteger && fits32(a.num) && fits32(b.num)
	if integers {
		switch op {
		case '+':
			return integerOrNone(a.num + b.num)
		case '-':
			return integerOrNone(a.num - b.num)
		case '*':
			if p, ok := mul64(a.num, b.num); ok {
				return integerOrNone(p)
			}
			return Value{}
		case 'd':
			if b.num == 0 {
				return Value{}
			}
			return integerOrNone(a.num / b.num)
		case 'm':
			if b.num == 0 {
				return Value{}
			}
			return integerOrNone(a.num % b.num)
		}
	}
	ac, as, ok1 := a.small()
	bc, bs, ok2 := b.small()
	if ok1 && ok2 {
		switch op {
		case '+', '-':
			if x, y, s, ok := align(ac, as, bc, bs); ok {
				if op == '-' {
					y = -y
				}
				if sum := x + y; (sum > x) == (y > 0) {
					return Value{meta: metaOf(KindDecimal, s), num: sum}
				}
			}
		case '*':
			if p, ok := mul64(ac, bc); ok && as+bs <= 18 {
				return Value{meta: metaOf(KindDecimal, as+bs), num: p}
			}
		}
	}
	return bigArithmetic(op, a.apd(), b.apd())
}

func bigArithmetic(op byte, a, b *apd.Decimal) Value {
	d := new(apd.Decimal)
	var err error
	switch op {
	case '+':
		_, err = exactContext.Add(d, a, b)
	case '-':
		_, err = exactContext.Sub(d, a, b)
	case '*':
		_, err = exactContext.Mul(d, a, b)
	default:
		if b.IsZero() {
			return Value{}
		}
		switch op {
		case '/':
			if _, err = roundContext.Quo(d, a, b); err == nil {
				d.Reduce(d)
			}
		case 'd':
			if _, err = exactContext.QuoInteger(d, a, b); err == nil {
				return integerFrom(d)
			}
		case 'm':
			_, err = exactContext.Rem(d, a, b)
		}
	}
	if err != nil {
		return Value{}
	}
	v, ok := decimalOf(d)
	if !ok {
		return Value{}
	}
	return v
}

func integerOrNone(i int64) Value {
	if !fits32(i) {
		return Value{}
	}
	return Integer(i)
}

// integerFrom is a whole number as an Integer; empty if it is out of range.
func integerFrom(d *apd.Decimal) Value {
	i, err := d.Int64()
	if err != nil {
		return Value{}
	}
	return integerOrNone(i)
}

// negate is -v of a number or quantity.
func negate(v Value) Value {
	if v.kind() == KindInteger {
		return integerOrNone(-v.num)
	}
	n := v.plain()
	if !v.has(flagBig) {
		n.num = -v.num
		return n.withText("")
	}
	d := v.apd()
	d.Neg(d)
	return n.withText(d.Text('f'))
}

// quantize rounds a number to n digits after the point.
func quantize(v Value, n int32, rounding apd.Rounder) (*apd.Decimal, bool) {
	ctx := scaleContext
	ctx.Rounding = rounding
	d := new(apd.Decimal)
	if _, err := ctx.Quantize(d, v.apd(), -n); err != nil {
		return nil, false
	}
	return d, true
}

// scaleOf is the number of digits after the point, without trailing zeros.
func scaleOf(v Value) int32 {
	if c, s, ok := v.small(); ok {
		for s > 0 && c%10 == 0 {
			c /= 10
			s--
		}
		return int32(s)
	}
	d := new(apd.Decimal)
	d.Reduce(v.apd())
	return max(0, -d.Exponent)
}

// equivalentNumbers is the ~ of numbers: equal when rounded to the precision of the less precise.
func equivalentNumbers(a, b Value) bool {
	if compareNumbers(a, b) == 0 {
		return true
	}
	n := min(scaleOf(a), scaleOf(b))
	x, ok1 := quantize(a, n, apd.RoundHalfUp)
	y, ok2 := quantize(b, n, apd.RoundHalfUp)
	return ok1 && ok2 && x.Cmp(y) == 0
}

// appendScaled writes coefficient × 10^-scale.
func appendScaled(dst []byte, coefficient int64, scale uint8) []byte {
	var buf [24]byte
	b := strconv.AppendUint(buf[:0], abs64(coefficient), 10)
	if coefficient < 0 {
		dst = append(dst, '-')
	}
	if scale == 0 {
		return append(dst, b...)
	}
	for pad := int(scale) - len(b); pad >= 0; pad-- {
		if pad == int(scale)-len(b) {
			dst = append(dst, '0', '.')
			continue
		}
		dst = append(dst, '0')
	}
	if len(b) <= int(scale) {
		return append(dst, b...)
	}
	dst = append(dst, b[:len(b)-int(scale)]...)
	dst = append(dst, '.')
	return append(dst, b[len(b)-int(scale):]...)
}

func itoa(i int) string { return strconv.Itoa(i) }
