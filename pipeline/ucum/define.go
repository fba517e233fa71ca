package ucum

import (
	"math/big"
	"sync"
)

type prefix struct{ code, value string }

// definition of an atom: a number times other units.
type definition struct {
	code   string
	metric bool // takes prefixes
	value  string
	unit   string
}

// specialUnit is a function of magnitudes in another unit: value times unit, UCUM § 21.
type specialUnit struct {
	code        string
	metric      bool
	function    string
	value, unit string
}

// zeros of the special scales whose function is rational, in kelvin.
var zeros = map[string]*big.Rat{
	"Cel":   rational("273.15"),
	"degF":  new(big.Rat).Mul(rational("459.67"), big.NewRat(5, 9)),
	"degRe": rational("273.15"),
}

// kinds are units that UCUM defines by others of the same dimension though they do not measure the same thing. A number
// of one is not a number of the other without knowledge that no unit holds: an equivalent of calcium is half a mole, a sievert
// depends on the tissue, and a high-power field is as large as the microscope makes it.
var kinds = map[string]string{
	"mol": "amount of substance", "eq": "equivalents", "osm": "osmoles", "Gy": "absorbed dose", "Sv": "dose equivalent",
	"RAD": "absorbed dose", "REM": "dose equivalent", "Bq": "radioactivity", "[HPF]": "high-power fields", "[LPF]": "low-power fields",
	"[hnsf'U]": "Hounsfield units", "[NTU]": "nephelometric turbidity", "[FNU]": "formazin turbidity", "[car_Au]": "fineness of gold",
	"bit": "information", "Bd": "signal rate",
}

type atomUnit struct {
	*Unit
	metric bool
}

var atoms = sync.OnceValue(buildAtoms)

// buildAtoms resolves the definitions, in as many rounds as their order needs.
func buildAtoms() map[string]atomUnit {
	all := make(map[string]atomUnit, 320)
	for i, code := range bases {
		u := one()
		u.dimension[i] = 1
		all[code] = atomUnit{u, true}
	}
	for again := true; again; {
		again = false
		add := func(code string, metric bool, value, unit string, change func(*Unit)) {
			if _, done := all[code]; done {
				return
			}
			u := multiply(&Unit{factor: rational(value)}, parse(unit, all))
			if u == nil {
				return
			}
			if kind, ok := kinds[code]; ok {
				u.kinds = powers{kind: 1}
			}
			if change != nil {
				change(u)
			}
			all[code] = atomUnit{u, metric}
			again = true
		}
		for _, d := range definitions {
			add(d.code, d.metric, d.value, d.unit, nil)
		}
		for _, d := range arbitrary {
			add(d.code, d.metric, d.value, d.unit, func(u *Unit) {
				if len(u.arbitrary) == 0 { // [IU] is [iU]
					u.arbitrary = powers{d.code: 1}
				}
			})
		}
		for _, d := range special {
			add(d.code, d.metric, d.value, d.unit, func(u *Unit) {
				if u.offset = zeros[d.function]; u.offset == nil {
					u.special, u.factor = d.code, big.NewRat(1, 1)
				}
			})
		}
	}
	return all
}

// rational is a number of the tables above.
func rational(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return new(big.Rat)
	}
	return r
}
