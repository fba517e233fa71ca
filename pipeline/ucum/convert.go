package ucum

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
)

// Obstacle says why a number in one unit cannot become one in another, or "" if it can. It asks for more than
// [Comparable]: what UCUM calls a pure number may count different things, and 2 {tbl} are not 2 mol.
func Obstacle(from, to *Unit) string {
	names := fmt.Sprintf("%s and %s ", from.code, to.code)
	switch {
	case from.special != to.special:
		scale := from.code
		if from.special == "" {
			scale = to.code
		}
		return fmt.Sprintf("%s is a scale by a logarithm, tangent or root, which no exact number leads to or from", scale)
	case !maps.Equal(from.arbitrary, to.arbitrary):
		return names + "are not both multiples of one arbitrary unit, which is defined by its own assay alone"
	case NeedMolarMass(from, to):
		return names + "are a mass and an amount of substance: only the molar mass of the substance relates them"
	case from.dimension != to.dimension:
		return names + "have different dimensions"
	case !maps.Equal(from.kinds, to.kinds):
		return names + "have one dimension but measure different things"
	case !maps.Equal(from.notes, to.notes):
		return names + "carry different annotations, so they do not count the same"
	}
	return ""
}

// NeedMolarMass tells whether two units differ in that one measures a mass where the other measures an amount of
// substance.
func NeedMolarMass(a, b *Unit) bool {
	const gram = 2
	for i := range a.dimension {
		if i != gram && a.dimension[i] != b.dimension[i] {
			return false
		}
	}
	mole := kinds["mol"]
	return a.dimension[gram] != b.dimension[gram] && a.kinds[mole] != b.kinds[mole]
}

// Ratio is how many of the second unit one of the first is. False where there is an obstacle, or the zeros of the two
// scales differ.
func Ratio(from, to *Unit) (*big.Rat, bool) {
	if !Comparable(from, to) || !maps.Equal(from.kinds, to.kinds) {
		return nil, false
	}
	if (from.offset == nil) != (to.offset == nil) || from.offset != nil && from.offset.Cmp(to.offset) != 0 {
		return nil, false
	}
	return new(big.Rat).Quo(from.factor, to.factor), true
}

// errNumber says that a number is not one that can be converted.
var errNumber = errors.New("not a decimal number of at most 60 digits and an exponent between -60 and 60")

// Convert converts a decimal number, as FHIR writes it, exactly and then rounds it. The result has as many significant
// digits as the number was written with; where rounding to so few would change it by more than half a percent it has more
// (a day is 24 h, not 20 h; 1 [lb_av] is 454 g), so never more than three beyond the source's own. On scales with another
// zero (Cel, [degF]) the last place counts instead: 98.6 [degF] are 37.0 Cel. Conversions by powers of ten keep every
// digit. The error says what stands in the way, and holds no number.
func Convert(number string, from, to *Unit) (string, error) {
	if obstacle := Obstacle(from, to); obstacle != "" {
		return "", errors.New(obstacle)
	}
	if from.code == to.code {
		return number, nil
	}
	digits, last, ok := shape(number)
	if !ok {
		return "", errNumber
	}
	value, ok := new(big.Rat).SetString(number)
	if !ok {
		return "", errNumber
	}
	exact := to.FromBase(from.Base(value))
	shifted := from.offset != nil || to.offset != nil
	if exact.Sign() == 0 && !shifted {
		digits = 1
	}
	// place is the power of ten of the last digit that is written.
	place := magnitude(exact) - digits + 1
	if !shifted && magnitude(rounded(exact, place)) > magnitude(exact) {
		place++ // 9.96 becomes 10, not 10.0
	}
	if shifted {
		step := new(big.Rat).Mul(power10(last), new(big.Rat).Quo(from.factor, to.factor))
		place = magnitude(step)
		if step.Mul(step, step).Cmp(power10(2*place+1)) > 0 { // nearer to the next power
			place++
		}
	}
	for limit := place - 3; place > limit; place-- {
		if closeEnough(exact, rounded(exact, place)) {
			break
		}
	}
	return rounded(exact, place).FloatString(max(0, -place)), nil
}

// closeEnough tells whether a rounded number differs by at most half a percent.
func closeEnough(exact, rounded *big.Rat) bool {
	d := new(big.Rat).Sub(exact, rounded)
	d.Abs(d).Mul(d, big.NewRat(200, 1))
	return d.Cmp(new(big.Rat).Abs(exact)) <= 0
}

// shape is how a number is written: its significant digits, and the power of ten of the last.
func shape(number string) (digits, last int, ok bool) {
	mantissa, exponent, found := strings.Cut(strings.ToLower(number), "e")
	if found {
		n, fine := integer(exponent)
		if !fine || n > 60 || n < -60 {
			return 0, 0, false
		}
		last = n
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	last -= len(fraction)
	digits = len(strings.TrimLeft(whole+fraction, "0"))
	return max(1, digits), last, len(whole)+len(fraction) <= 60
}

// magnitude is the power of ten of the first digit; 0 for zero.
func magnitude(r *big.Rat) int {
	if r.Sign() == 0 {
		return 0
	}
	abs := new(big.Rat).Abs(r)
	n := len(abs.Num().Text(10)) - len(abs.Denom().Text(10)) // right, or one too many
	if abs.Cmp(power10(n)) < 0 {
		n--
	}
	return n
}

func power10(n int) *big.Rat {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// rounded is the multiple of a power of ten nearest to a number, halves away from zero.
func rounded(r *big.Rat, place int) *big.Rat {
	q := new(big.Rat).Quo(r, power10(place))
	n := new(big.Int).Add(new(big.Int).Mul(new(big.Int).Abs(q.Num()), big.NewInt(2)), q.Denom())
	n.Quo(n, new(big.Int).Mul(q.Denom(), big.NewInt(2)))
	if r.Sign() < 0 {
		n.Neg(n)
	}
	return new(big.Rat).Mul(new(big.Rat).SetInt(n), power10(place))
}
