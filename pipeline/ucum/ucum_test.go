package ucum

import (
	"math/big"
	"testing"
)

func TestEveryDefinitionResolves(t *testing.T) {
	for _, d := range definitions {
		if _, ok := atoms()[d.code]; !ok {
			t.Errorf("%s is defined by %q, which is unknown", d.code, d.unit)
		}
	}
}

func TestConversions(t *testing.T) {
	for _, c := range []struct{ value, from, to, want string }{
		{"1", "[in_i]", "cm", "2.54"},
		{"1", "kg", "g", "1000"},
		{"1", "[lb_av]", "kg", "0.45359237"},
		{"1", "wk", "d", "7"},
		{"5", "mg/dL", "g/L", "0.05"},
		{"7", "10*3/uL", "10*9/L", "7"},
		{"120", "mm[Hg]", "Pa", "15998.64"},
		{"37", "Cel", "K", "310.15"},
		{"98.6", "[degF]", "Cel", "37"},
		{"1", "mmol/L", "umol/mL", "1"},
		{"60", "/min", "Hz", "1"},
		{"2", "m2", "cm2", "20000"},
		{"1", "kg.m/s2", "N", "1"},
		{"3", "{score}", "1", "3"},
		{"50", "%", "1", "0.5"},
		{"1", "mL/min/{1.73_m2}", "mL/min", "1"},
	} {
		from, ok1 := Parse(c.from)
		to, ok2 := Parse(c.to)
		if !ok1 || !ok2 || !Comparable(from, to) {
			t.Errorf("%s and %s do not compare", c.from, c.to)
			continue
		}
		v, _ := new(big.Rat).SetString(c.value)
		want, _ := new(big.Rat).SetString(c.want)
		if got := to.FromBase(from.Base(v)); got.Cmp(want) != 0 {
			t.Errorf("%s %s = %s %s, want %s", c.value, c.from, got.FloatString(8), c.to, c.want)
		}
	}
}

func TestNotComparable(t *testing.T) {
	for _, c := range [][2]string{{"cm", "s"}, {"[iU]", "mg"}, {"[iU]/L", "[CFU]/L"}, {"mol", "g"}, {"1", "m"}} {
		a, _ := Parse(c[0])
		b, _ := Parse(c[1])
		if a == nil || b == nil || Comparable(a, b) {
			t.Errorf("%s and %s must be known and not compare", c[0], c[1])
		}
	}
}

func TestRefused(t *testing.T) {
	for _, code := range []string{"", "lbs", "[s]", "mg/", "mg//dL", "m g", "kkg", "(mg", "{a", "m99999", "0", "mg)", "[in_i", "week"} {
		if _, ok := Parse(code); ok {
			t.Errorf("%q is taken for a unit", code)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"mg/dL", "10*3/uL", "(kg.m)2/s-2", "{x}", "/min", "m[Hg]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, ok := Parse(s); ok && u.Base(big.NewRat(1, 1)) == nil {
			t.Error("a unit without a factor")
		}
	})
}
