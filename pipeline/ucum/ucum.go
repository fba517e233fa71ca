// Package ucum reads units of measure of the Unified Code for Units of Measure (ucum.org), in their case-sensitive
// form, and says whether and how magnitudes in two units can be compared. It knows the base units, the metric prefixes
// and the atoms that occur in clinical data; logarithmic and arbitrary units are equal only to themselves.
package ucum

import (
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
)

// Unit is a unit in terms of the base units: metre, second, gram, radian, kelvin, coulomb, candela. It is immutable.
type Unit struct {
	code      string
	dimension [7]int8
	factor    *big.Rat // how many of the base units one is
	offset    *big.Rat // zero of the scale in kelvin, for Cel and [degF]; else nil
	arbitrary string   // of units that compare with nothing but themselves, as [iU] and [pH]
}

// Code is the unit as written.
func (u *Unit) Code() string { return u.code }

const maxCode = 200

// cache holds what was parsed: code → *Unit, nil for codes that are no units.
var (
	cache  sync.Map
	cached atomic.Int64
)

// Parse reads a unit: "mg/dL", "10*3/uL", "kg.m/s2", "{score}". False if it is not one that this package knows. It may
// be called concurrently.
func Parse(code string) (*Unit, bool) {
	if found, ok := cache.Load(code); ok {
		u := found.(*Unit)
		return u, u != nil
	}
	if len(code) > maxCode {
		return nil, false
	}
	u := parse(code)
	if cached.Load() < 10_000 { // codes come from data: the cache must not grow with them
		cached.Add(1)
		cache.Store(strings.Clone(code), u)
	}
	return u, u != nil
}

// Comparable tells whether magnitudes in the two units can be compared.
func Comparable(a, b *Unit) bool {
	return a != nil && b != nil && a.dimension == b.dimension && a.arbitrary == b.arbitrary
}

// Base converts a magnitude in the unit to the base units. Exact.
func (u *Unit) Base(magnitude *big.Rat) *big.Rat {
	r := new(big.Rat).Mul(magnitude, u.factor)
	if u.offset != nil {
		r.Add(r, u.offset)
	}
	return r
}

// FromBase converts a magnitude in base units to the unit. Exact.
func (u *Unit) FromBase(magnitude *big.Rat) *big.Rat {
	r := new(big.Rat).Set(magnitude)
	if u.offset != nil {
		r.Sub(r, u.offset)
	}
	return r.Quo(r, u.factor)
}

// Linear tells whether the unit is a multiple of the base units, so that products with it make sense.
func (u *Unit) Linear() bool { return u.offset == nil && u.arbitrary == "" }

// Dimensionless tells whether the unit is a pure number.
func (u *Unit) Dimensionless() bool { return u.dimension == [7]int8{} && u.arbitrary == "" }

type parser struct {
	s   string
	pos int
	ok  bool

	known map[string]atomUnit // the atoms
}

func parse(code string) *Unit {
	if code == "" || strings.ContainsAny(code, " \t\r\n") {
		return nil
	}
	p := &parser{s: code, ok: true, known: atoms()}
	var u *Unit
	if code[0] == '/' {
		p.pos++
		u = invert(p.term(0))
	} else {
		u = p.term(0)
	}
	if !p.ok || p.pos != len(code) || u == nil {
		return nil
	}
	made := *u
	made.code = code
	return &made
}

func one() *Unit { return &Unit{factor: big.NewRat(1, 1)} }

func invert(u *Unit) *Unit { return power(u, -1) }

func power(u *Unit, n int) *Unit {
	if u == nil || n > 24 || n < -24 {
		return nil
	}
	r := one()
	for range max(n, -n) {
		if r = multiply(r, u); r == nil {
			return nil
		}
	}
	if n < 0 {
		for i := range r.dimension {
			r.dimension[i] = -r.dimension[i]
		}
		if r.factor.Sign() == 0 {
			return nil
		}
		r.factor = new(big.Rat).Inv(r.factor)
		if r.arbitrary != "" {
			r.arbitrary = "1/" + r.arbitrary
		}
	}
	if n == 1 {
		r.offset = u.offset
	}
	return r
}

func multiply(a, b *Unit) *Unit {
	if a == nil || b == nil {
		return nil
	}
	r := &Unit{factor: new(big.Rat).Mul(a.factor, b.factor), arbitrary: a.arbitrary}
	switch {
	case a.arbitrary == "":
		r.arbitrary = b.arbitrary
	case b.arbitrary != "":
		r.arbitrary = a.arbitrary + "." + b.arbitrary
	}
	for i := range r.dimension {
		d := int(a.dimension[i]) + int(b.dimension[i])
		if d > 60 || d < -60 {
			return nil
		}
		r.dimension[i] = int8(d)
	}
	if r.factor.Num().BitLen() > 4000 || r.factor.Denom().BitLen() > 4000 || len(r.arbitrary) > 400 {
		return nil
	}
	return r
}

// term reads components joined by `.` and `/`, from left to right.
func (p *parser) term(depth int) *Unit {
	u := p.component(depth)
	for p.ok && p.pos < len(p.s) && (p.s[p.pos] == '.' || p.s[p.pos] == '/') {
		divide := p.s[p.pos] == '/'
		p.pos++
		right := p.component(depth)
		if divide {
			right = invert(right)
		}
		u = multiply(u, right)
	}
	return u
}

func (p *parser) fail() *Unit {
	p.ok = false
	return nil
}

func (p *parser) component(depth int) *Unit {
	if depth > 20 || p.pos >= len(p.s) {
		return p.fail()
	}
	switch c := p.s[p.pos]; {
	case c == '(':
		p.pos++
		u := p.term(depth + 1)
		if p.pos >= len(p.s) || p.s[p.pos] != ')' {
			return p.fail()
		}
		p.pos++
		return p.exponent(u)
	case c == '{':
		if !p.annotation() {
			return p.fail()
		}
		return one()
	}
	start := p.pos
	for p.pos < len(p.s) && !strings.ContainsRune("./(){}", rune(p.s[p.pos])) {
		if p.s[p.pos] == '[' {
			end := strings.IndexByte(p.s[p.pos:], ']')
			if end < 0 {
				return p.fail()
			}
			p.pos += end
		}
		p.pos++
	}
	u := p.simple(p.s[start:p.pos])
	if u == nil {
		return p.fail()
	}
	if p.pos < len(p.s) && p.s[p.pos] == '{' && !p.annotation() {
		return p.fail()
	}
	return u
}

func (p *parser) annotation() bool {
	end := strings.IndexByte(p.s[p.pos:], '}')
	if end < 0 {
		return false
	}
	p.pos += end + 1
	return true
}

// exponent reads the signed digits after a parenthesis.
func (p *parser) exponent(u *Unit) *Unit {
	start := p.pos
	if p.pos < len(p.s) && (p.s[p.pos] == '+' || p.s[p.pos] == '-') {
		p.pos++
	}
	for p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9' {
		p.pos++
	}
	if start == p.pos {
		return u
	}
	n, ok := integer(p.s[start:p.pos])
	if !ok {
		return p.fail()
	}
	return power(u, n)
}

func integer(s string) (int, bool) {
	neg := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// simple reads a number, or a prefix, an atom and an exponent: 10*3, mmol, m2, kg, s-1.
func (p *parser) simple(s string) *Unit {
	if allDigits(s) {
		r, _ := new(big.Rat).SetString(s)
		if r.Sign() == 0 {
			return nil
		}
		return &Unit{factor: r}
	}
	if u := p.atom(s); u != nil {
		return u
	}
	i := len(s)
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' {
		i--
	}
	if i < len(s) && i > 0 && (s[i-1] == '+' || s[i-1] == '-') {
		i--
	}
	if i == 0 || i == len(s) {
		return nil
	}
	n, ok := integer(s[i:])
	if !ok {
		return nil
	}
	return power(p.atom(s[:i]), n)
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 30
}

func (p *parser) atom(s string) *Unit {
	if u, ok := p.known[s]; ok {
		return u.Unit
	}
	for _, prefix := range prefixes {
		if rest, ok := strings.CutPrefix(s, prefix.code); ok {
			if u, ok := p.known[rest]; ok && u.metric {
				if u.offset != nil {
					return nil // mCel: UCUM has it, no chart does
				}
				r := *u.Unit
				r.factor = new(big.Rat).Mul(u.factor, prefix.factor())
				return &r
			}
		}
	}
	return nil
}
