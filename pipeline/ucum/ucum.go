// Package ucum reads units of measure of the Unified Code for Units of Measure (ucum.org, version 2.2) in their
// case-sensitive form, says whether magnitudes in two units can be compared, and converts them exactly.
//
// All units of the standard are known. Scales that are a rational function of others (Cel, [degF], [degRe]) convert;
// those that need a logarithm, a tangent or a root do not, since their results could not be exact: such a unit compares
// with its own multiples alone, and so does an arbitrary unit.
package ucum

import (
	"maps"
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
	offset    *big.Rat // zero of the scale in kelvin, for Cel, [degF] and [degRe]; else nil
	special   string   // the special unit that it is a multiple of, if its function is not rational
	arbitrary powers   // of the arbitrary units in it
	kinds     powers   // see kinds
	notes     powers   // of the annotations in it
}

// powers are exponents by name; none is zero. They are never changed once a unit has them.
type powers map[string]int8

// times is p multiplied with q to the power of n. False if an exponent grows beyond use.
func (p powers) times(q powers, n int) (powers, bool) {
	if len(q) == 0 {
		return p, true
	}
	out := powers{}
	maps.Copy(out, p)
	for name, e := range q {
		sum := int(out[name]) + n*int(e)
		if sum > 60 || sum < -60 {
			return nil, false
		}
		if out[name] = int8(sum); sum == 0 {
			delete(out, name)
		}
	}
	return out, true
}

// Code is the unit as written.
func (u *Unit) Code() string { return u.code }

const maxCode = 200

// cache holds what was parsed: code → *Unit, nil for codes that are not units.
var (
	cache  sync.Map
	cached atomic.Int64
)

// Parse reads a unit: "mg/dL", "10*3/uL", "kg.m/s2", "{score}". False if it is not one. It may be called concurrently.
func Parse(code string) (*Unit, bool) {
	if found, ok := cache.Load(code); ok {
		u := found.(*Unit)
		return u, u != nil
	}
	if len(code) > maxCode {
		return nil, false
	}
	u := parse(code, atoms())
	if u != nil {
		made := *u
		made.code = strings.Clone(code)
		u = &made
	}
	if cached.Load() < 10_000 { // codes come from data: the cache must not grow with them
		cached.Add(1)
		cache.Store(strings.Clone(code), u)
	}
	return u, u != nil
}

// Comparable tells whether magnitudes in the two units can be compared, as UCUM has it: it gives annotations no meaning,
// and a mole is a number. [Obstacle] is stricter.
func Comparable(a, b *Unit) bool {
	return a != nil && b != nil && a.dimension == b.dimension && a.special == b.special && maps.Equal(a.arbitrary, b.arbitrary)
}

// Base converts a magnitude in the unit to the base units, or to the scale of a special unit. Exact.
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
func (u *Unit) Linear() bool { return u.offset == nil && u.special == "" && len(u.arbitrary) == 0 }

// Dimensionless tells whether the unit is a pure number.
func (u *Unit) Dimensionless() bool { return u.dimension == [7]int8{} && u.Linear() }

func one() *Unit { return &Unit{factor: big.NewRat(1, 1)} }

func invert(u *Unit) *Unit { return power(u, -1) }

// power is a unit to the power of n, nil where that is not a unit: a special one has no square (UCUM § 22).
func power(u *Unit, n int) *Unit {
	if u == nil || n > 24 || n < -24 {
		return nil
	}
	if n == 1 {
		return u
	}
	if u.offset != nil || u.special != "" {
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
		r.factor = new(big.Rat).Inv(r.factor)
		for _, p := range []*powers{&r.arbitrary, &r.kinds, &r.notes} {
			*p, _ = powers(nil).times(*p, -1) // within bounds as it was before
		}
	}
	return r
}

// multiply is the product of two units, nil where that is not a unit: a special one may be multiplied with a number only
// (UCUM § 22).
func multiply(a, b *Unit) *Unit {
	if a == nil || b == nil {
		return nil
	}
	if b.offset != nil || b.special != "" {
		a, b = b, a
	}
	if (a.offset != nil || a.special != "") && (!b.Dimensionless() || len(b.kinds) > 0) {
		return nil
	}
	r := &Unit{factor: new(big.Rat).Mul(a.factor, b.factor), offset: a.offset, special: a.special}
	ok := make([]bool, 3)
	r.arbitrary, ok[0] = a.arbitrary.times(b.arbitrary, 1)
	r.kinds, ok[1] = a.kinds.times(b.kinds, 1)
	r.notes, ok[2] = a.notes.times(b.notes, 1)
	for i := range r.dimension {
		d := int(a.dimension[i]) + int(b.dimension[i])
		if d > 60 || d < -60 {
			return nil
		}
		r.dimension[i] = int8(d)
	}
	if !ok[0] || !ok[1] || !ok[2] || r.factor.Num().BitLen() > 4000 || r.factor.Denom().BitLen() > 4000 {
		return nil
	}
	return r
}
