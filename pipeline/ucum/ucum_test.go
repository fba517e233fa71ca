package ucum

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEveryDefinitionResolves(t *testing.T) {
	for _, d := range slices.Concat(definitions, arbitrary) {
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
		{"212", "[degF]", "[degRe]", "80"},
		{"1500", "mCel", "Cel", "1.5"},
		{"25", "dB", "B", "2.5"},
		{"20", "2.Cel", "Cel", "40"},
		{"1", "Oe.[pi]", "A/m", "250"}, // the solidus before [pi] divides by it alone
		{"1", "/m.s", "s/m", "1"},
		{"1", "[IU]", "[iU]", "1"},
		{"1", "[iU].[iU]/[iU]", "[iU]", "1"},
		{"2", "k[iU]/mL", "[iU]/L", "2000000"},
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
	for _, c := range [][2]string{{"cm", "s"}, {"[iU]", "mg"}, {"[iU]/L", "[CFU]/L"}, {"B", "Np"}, {"[pH]", "mol/l"}, {"%[slope]", "deg"}, {"B[W]", "B[kW]"}, {"Cel", "B"}, {"mol", "g"}, {"1", "m"}} {
		a, _ := Parse(c[0])
		b, _ := Parse(c[1])
		if a == nil || b == nil || Comparable(a, b) {
			t.Errorf("%s and %s must be known and not compare", c[0], c[1])
		}
	}
}

func TestRefused(t *testing.T) {
	for _, code := range []string{"", "lbs", "[s]", "mg/", "mg//dL", "m g", "kkg", "(mg", "{a", "m99999", "0", "mg)", "[in_i", "week", "{a{b}}", "{µg}",
		"µg", "Cel2", "Cel/m", "/[pH]", "[pH].mol", "Cel.[iU]", "mG/DL", "mcg", "c[in_i]", "m.", ".m", "10*3.", "Torr"} {
		if _, ok := Parse(code); ok {
			t.Errorf("%q is taken for a unit", code)
		}
	}
}

// Numbers are rounded to what their digits say, and never so far that the value is another.
func TestConvert(t *testing.T) {
	for _, c := range []struct{ number, from, to, want string }{
		{"98.6", "[degF]", "Cel", "37.0"}, {"100", "[degF]", "Cel", "37.8"}, {"37.0", "Cel", "[degF]", "98.6"}, {"0", "Cel", "[degF]", "32"},
		{"0.0", "Cel", "[degF]", "32.0"}, {"-40.0", "Cel", "[degF]", "-40.0"}, {"310.15", "K", "Cel", "37.00"},
		{"150", "[lb_av]", "kg", "68.0"}, {"180.0", "[lb_av]", "kg", "81.65"}, {"1", "[lb_av]", "g", "454"}, {"70", "[in_i]", "cm", "178"},
		{"1", "d", "h", "24"}, {"2", "wk", "d", "14"}, {"1", "kg", "g", "1000"}, {"1.0", "kg", "g", "1000"}, {"1500", "mg", "g", "1.500"},
		{"5", "mg", "g", "0.005"}, {"0.125", "mg", "ug", "125"}, {"0.10", "g/L", "mg/dL", "10"}, {"4.50", "10*3/uL", "10*9/L", "4.50"}, {"0", "mg", "g", "0"},
		{"-3", "mg", "ug", "-3000"}, {"1e3", "mg", "g", "1"}, {"2.50E-1", "g", "mg", "250"}, {"9.96", "[lb_av]", "[lb_av]", "9.96"},
		{"2.2", "[lb_av]", "kg", "1.0"}, {"120", "mm[Hg]", "kPa", "16.0"}, {"7.0", "mmol/L", "umol/mL", "7.0"}, {"1", "mL/{tbl}", "uL/{tbl}", "1000"},
	} {
		from, _ := Parse(c.from)
		to, _ := Parse(c.to)
		if got, err := Convert(c.number, from, to); err != nil || got != c.want {
			t.Errorf("%s %s = %s %s (%v), want %s", c.number, c.from, got, c.to, err, c.want)
		}
	}
}

func TestObstacles(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"mg/dL", "mmol/L", "molar mass"}, {"mmol/L", "mg/dL", "molar mass"}, {"mg", "mL", "dimensions"}, {"mg/dL", "mmol", "dimensions"},
		{"meq/L", "mmol/L", "measure different things"}, {"Gy", "Sv", "measure different things"}, {"mol", "1", "measure different things"},
		{"Hz", "Bq", "measure different things"}, {"/[HPF]", "/[LPF]", "measure different things"}, {"[iU]", "mg", "assay"}, {"[iU]", "[arb'U]", "assay"},
		{"[pH]", "mol/L", "logarithm"}, {"mol/L", "[pH]", "logarithm"}, {"{tbl}", "1", "annotations"}, {"mg/g{creat}", "mg/g", "annotations"},
		{"RAD", "Gy", ""}, {"U/L", "kat/L", ""}, {"dB", "B", ""}, {"Ci", "Bq", ""}, {"%", "[ppth]", ""}, {"mosm/kg", "osm/kg", ""},
	} {
		from, ok1 := Parse(c.from)
		to, ok2 := Parse(c.to)
		if !ok1 || !ok2 {
			t.Fatalf("%s or %s is not a unit", c.from, c.to)
		}
		got := Obstacle(from, to)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s to %s: %q, want %q", c.from, c.to, got, c.want)
		}
		if _, err := Convert("1", from, to); (err == nil) != (c.want == "") {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
	for _, number := range []string{"", "x", "1,5", "1e99", "1e-99", strings.Repeat("9", 61), "<5"} {
		from, _ := Parse("g")
		to, _ := Parse("mg")
		if got, err := Convert(number, from, to); err == nil {
			t.Errorf("%q became %s", number, got)
		}
	}
}

// Any unit made of known parts is read, there and back changes no number, and the rounded result stays within half a
// percent.
func TestConversionsThereAndBack(t *testing.T) {
	metric := []string{"g", "m", "L", "mol", "Pa", "s", "[iU]", "J", "Cel"}
	prefix := rapid.SampledFrom(append([]string{""}, "k", "d", "c", "m", "u", "n", "da"))
	rapid.Check(t, func(t *rapid.T) {
		atom := rapid.SampledFrom(metric).Draw(t, "atom")
		tail := ""
		if atom != "Cel" {
			tail = rapid.SampledFrom([]string{"", "/L", "/dL", "2/(kg.d)", "/10*3", "{x}"}).Draw(t, "tail")
		}
		from, ok1 := Parse(prefix.Draw(t, "from") + atom + tail)
		to, ok2 := Parse(prefix.Draw(t, "to") + atom + tail)
		if !ok1 || !ok2 {
			t.Fatalf("no unit: %s %s", atom, tail)
		}
		digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?`).Draw(t, "number")
		v := rational(digits)
		if back := from.FromBase(to.Base(to.FromBase(from.Base(v)))); back.Cmp(v) != 0 {
			t.Fatalf("%s came back as %s", digits, back.FloatString(12))
		}
		got, err := Convert(digits, from, to)
		if err != nil {
			t.Fatal(err)
		}
		exact := to.FromBase(from.Base(v))
		if !closeEnough(exact, rational(got)) && from.offset == nil {
			t.Fatalf("%s %s = %s %s, exactly %s", digits, from.code, got, to.code, exact.FloatString(12))
		}
		if from.offset == nil && rational(got).Cmp(exact) != 0 && strings.Trim(digits, "-0.") != "" {
			t.Fatalf("a power of ten lost digits: %s %s = %s %s", digits, from.code, got, to.code)
		}
	})
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
