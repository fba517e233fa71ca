package ucum

import (
	"math/big"
	"sync"
)

type prefix struct {
	code     string
	exponent int // of ten; of two where binary
	binary   bool
}

// prefixes of UCUM, table 1; two letters before one.
var prefixes = []prefix{
	{"da", 1, false}, {"Ki", 10, true}, {"Mi", 20, true}, {"Gi", 30, true}, {"Ti", 40, true},
	{"Y", 24, false}, {"Z", 21, false}, {"E", 18, false}, {"P", 15, false}, {"T", 12, false}, {"G", 9, false},
	{"M", 6, false}, {"k", 3, false}, {"h", 2, false}, {"d", -1, false}, {"c", -2, false}, {"m", -3, false},
	{"u", -6, false}, {"n", -9, false}, {"p", -12, false}, {"f", -15, false}, {"a", -18, false}, {"z", -21, false},
	{"y", -24, false},
}

func (p prefix) factor() *big.Rat {
	base := int64(10)
	if p.binary {
		base = 2
	}
	n := p.exponent
	if n < 0 {
		n = -n
	}
	r := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(n)), nil))
	if p.exponent < 0 {
		r.Inv(r)
	}
	return r
}

type atomUnit struct {
	*Unit
	metric bool // takes prefixes
}

// definition of an atom: a number times other units.
type definition struct {
	code   string
	metric bool
	value  string // decimal or fraction
	unit   string
}

// definitions of UCUM, tables 4 to 26, as far as clinical data use them. Values are those of ucum-essence 2.1.
var definitions = []definition{
	{"10*", false, "10", "1"}, {"10^", false, "10", "1"}, {"%", false, "1/100", "1"}, {"[ppth]", false, "1/1000", "1"},
	{"[ppm]", false, "1/1000000", "1"}, {"[ppb]", false, "1/1000000000", "1"}, {"[pptr]", false, "1/1000000000000", "1"},
	{"[pi]", false, "3.1415926535897932384626433832795028841971693993751058209749445923", "1"},
	{"mol", true, "6.02214076", "10*23"}, {"eq", true, "1", "mol"}, {"osm", true, "1", "mol"}, {"sr", true, "1", "rad2"},
	{"Hz", true, "1", "s-1"}, {"N", true, "1", "kg.m/s2"}, {"Pa", true, "1", "N/m2"}, {"J", true, "1", "N.m"},
	{"W", true, "1", "J/s"}, {"A", true, "1", "C/s"}, {"V", true, "1", "J/C"}, {"F", true, "1", "C/V"},
	{"Ohm", true, "1", "V/A"}, {"S", true, "1", "Ohm-1"}, {"Wb", true, "1", "V.s"}, {"T", true, "1", "Wb/m2"},
	{"H", true, "1", "Wb/A"}, {"lm", true, "1", "cd.sr"}, {"lx", true, "1", "lm/m2"}, {"Bq", true, "1", "s-1"},
	{"Gy", true, "1", "J/kg"}, {"Sv", true, "1", "J/kg"}, {"gon", false, "0.9", "deg"},
	{"deg", false, "2/360", "[pi].rad"}, {"'", false, "1/60", "deg"}, {"''", false, "1/60", "'"},
	{"l", true, "1", "dm3"}, {"L", true, "1", "l"}, {"ar", true, "100", "m2"},
	{"min", false, "60", "s"}, {"h", false, "60", "min"}, {"d", false, "24", "h"}, {"wk", false, "7", "d"},
	{"a_t", false, "365.24219", "d"}, {"a_j", false, "365.25", "d"}, {"a_g", false, "365.2425", "d"},
	{"a", false, "1", "a_j"}, {"mo_s", false, "29.53059", "d"}, {"mo_j", false, "1/12", "a_j"},
	{"mo_g", false, "1/12", "a_g"}, {"mo", false, "1", "mo_j"},
	{"t", true, "1000", "kg"}, {"bar", true, "100000", "Pa"}, {"u", true, "1.66053906660", "10*-24.g"},
	{"eV", true, "160217.6634", "10*-24.J"}, {"pc", true, "3.085678", "10*16.m"},
	{"[g]", true, "9.80665", "m/s2"}, {"gf", true, "1", "g.[g]"}, {"[lbf_av]", false, "1", "[lb_av].[g]"},
	{"dyn", true, "1", "g.cm/s2"}, {"erg", true, "1", "dyn.cm"}, {"P", true, "1", "dyn.s/cm2"}, {"G", true, "1/10000", "T"},
	{"Ci", true, "37000000000", "Bq"}, {"R", true, "0.000258", "C/kg"}, {"RAD", true, "100", "erg/g"}, {"REM", true, "1", "RAD"},
	{"Ao", false, "0.1", "nm"}, {"atm", false, "101325", "Pa"}, {"st", true, "1", "m3"},
	{"[in_i]", false, "2.54", "cm"}, {"[ft_i]", false, "12", "[in_i]"}, {"[yd_i]", false, "3", "[ft_i]"},
	{"[mi_i]", false, "5280", "[ft_i]"}, {"[nmi_i]", false, "1852", "m"}, {"[kn_i]", false, "1", "[nmi_i]/h"},
	{"[sin_i]", false, "1", "[in_i]2"}, {"[sft_i]", false, "1", "[ft_i]2"}, {"[cin_i]", false, "1", "[in_i]3"},
	{"[cft_i]", false, "1", "[ft_i]3"}, {"[in_us]", false, "100/3937", "m"}, {"[ft_us]", false, "1200/3937", "m"},
	{"[mi_us]", false, "5280", "[ft_us]"}, {"[acr_us]", false, "43560", "[ft_us]2"},
	{"[gal_us]", false, "231", "[in_i]3"}, {"[qt_us]", false, "1/4", "[gal_us]"}, {"[pt_us]", false, "1/2", "[qt_us]"},
	{"[gil_us]", false, "1/4", "[pt_us]"}, {"[foz_us]", false, "1/4", "[gil_us]"}, {"[fdr_us]", false, "1/8", "[foz_us]"},
	{"[min_us]", false, "1/60", "[fdr_us]"}, {"[cup_us]", false, "16", "[tbs_us]"}, {"[tbs_us]", false, "1/2", "[foz_us]"},
	{"[tsp_us]", false, "1/3", "[tbs_us]"}, {"[foz_m]", false, "30", "mL"}, {"[cup_m]", false, "240", "mL"},
	{"[tsp_m]", false, "5", "mL"}, {"[tbs_m]", false, "15", "mL"}, {"[gal_br]", false, "4.54609", "l"},
	{"[pt_br]", false, "1/8", "[gal_br]"}, {"[foz_br]", false, "1/20", "[pt_br]"}, {"[drp]", false, "1/20", "ml"},
	{"[gr]", false, "64.79891", "mg"}, {"[lb_av]", false, "7000", "[gr]"}, {"[oz_av]", false, "1/16", "[lb_av]"},
	{"[dr_av]", false, "1/16", "[oz_av]"}, {"[stone_av]", false, "14", "[lb_av]"}, {"[scwt_av]", false, "100", "[lb_av]"},
	{"[ston_av]", false, "20", "[scwt_av]"}, {"[lcwt_av]", false, "112", "[lb_av]"}, {"[lton_av]", false, "20", "[lcwt_av]"},
	{"[pwt_tr]", false, "24", "[gr]"}, {"[oz_tr]", false, "20", "[pwt_tr]"}, {"[lb_tr]", false, "12", "[oz_tr]"},
	{"[sc_ap]", false, "20", "[gr]"}, {"[dr_ap]", false, "3", "[sc_ap]"}, {"[oz_ap]", false, "8", "[dr_ap]"},
	{"m[H2O]", true, "9806.65", "Pa"}, {"m[Hg]", true, "133322", "Pa"}, {"[in_i'H2O]", false, "1", "m[H2O].[in_i]/m"},
	{"[in_i'Hg]", false, "1", "m[Hg].[in_i]/m"}, {"[psi]", false, "1", "[lbf_av]/[in_i]2"},
	{"[degR]", false, "5/9", "K"}, {"cal_[15]", true, "4.18580", "J"}, {"cal_[20]", true, "4.18190", "J"},
	{"cal_m", true, "4.19002", "J"}, {"cal_IT", true, "4.1868", "J"}, {"cal_th", true, "4.184", "J"},
	{"cal", true, "1", "cal_th"}, {"[Cal]", false, "1", "kcal_th"}, {"[Btu]", false, "1.05435", "kJ"}, {"[HP]", false, "550", "[ft_i].[lbf_av]/s"},
	{"[diop]", false, "1", "/m"}, {"[mesh_i]", false, "1", "/[in_i]"}, {"[Ch]", false, "1/3", "mm"}, {"kat", true, "1", "mol/s"},
	{"U", true, "1", "umol/min"}, {"g%", true, "1", "g/dl"}, {"[S]", false, "1", "10*-13.s"},
	{"bit", true, "1", "1"}, {"By", true, "8", "bit"}, {"Bd", true, "1", "/s"}, {"[car_m]", false, "0.2", "g"},
	{"[m/s2/Hz^0.5]", false, "1", "m/s2"}, {"[hnsf'U]", false, "1", "1"}, {"[mclg'U]", false, "1", "1"}, {"[MET]", false, "3.5", "mL/min/kg"},
	{"[HPF]", false, "1", "1"}, {"[LPF]", false, "100", "1"}, {"tex", true, "1", "g/km"}, {"[den]", false, "1/9", "g/km"},
}

// arbitrary units have no definition in others: each compares with itself alone.
var arbitrary = []string{"[iU]", "[IU]", "[arb'U]", "[USP'U]", "[GPL'U]", "[MPL'U]", "[APL'U]", "[beth'U]", "[anti'Xa'U]",
	"[todd'U]", "[dye'U]", "[smgy'U]", "[bdsk'U]", "[ka'U]", "[knk'U]", "[mclg'U]", "[tb'U]", "[CCID_50]", "[TCID_50]",
	"[EID_50]", "[PFU]", "[FFU]", "[CFU]", "[IR]", "[BAU]", "[AU]", "[Amb'a'1'U]", "[PNU]", "[Lf]", "[D'ag'U]", "[FEU]",
	"[ELU]", "[EU]", "[pH]", "Np", "B", "B[SPL]", "B[V]", "B[mV]", "B[uV]", "B[W]", "B[kW]", "bit_s", "[hp'_X]", "[hp'_C]",
	"[p'diop]", "%[slope]"}

// metricArbitrary are the arbitrary units that take prefixes: m[iU].
var metricArbitrary = map[string]bool{"[iU]": true, "[IU]": true, "[EU]": true, "[CFU]": false, "B": true, "Np": true}

var atoms = sync.OnceValue(buildAtoms)

// buildAtoms resolves the definitions, in as many rounds as their order needs.
func buildAtoms() map[string]atomUnit {
	all := make(map[string]atomUnit, 300)
	for i, code := range []string{"m", "s", "g", "rad", "K", "C", "cd"} {
		u := one()
		u.dimension[i] = 1
		all[code] = atomUnit{u, true}
	}
	kelvin := all["K"].Unit
	all["Cel"] = atomUnit{&Unit{dimension: kelvin.dimension, factor: big.NewRat(1, 1), offset: big.NewRat(27315, 100)}, true}
	all["[degF]"] = atomUnit{&Unit{dimension: kelvin.dimension, factor: big.NewRat(5, 9), offset: new(big.Rat).Sub(
		big.NewRat(27315, 100), big.NewRat(160, 9))}, false}
	for _, code := range arbitrary {
		name := code
		if code == "[IU]" {
			name = "[iU]"
		}
		all[code] = atomUnit{&Unit{factor: big.NewRat(1, 1), arbitrary: name}, metricArbitrary[code]}
	}
	for again := true; again; {
		again = false
		for _, d := range definitions {
			if _, done := all[d.code]; done {
				continue
			}
			if u := resolve(d, all); u != nil {
				all[d.code] = atomUnit{u, d.metric}
				again = true
			}
		}
	}
	return all
}

func resolve(d definition, all map[string]atomUnit) *Unit {
	value, ok := new(big.Rat).SetString(d.value)
	if !ok {
		return nil
	}
	p := &parser{s: d.unit, ok: true, known: all}
	var u *Unit
	if d.unit[0] == '/' {
		p.pos++
		u = invert(p.term(0))
	} else {
		u = p.term(0)
	}
	if !p.ok || u == nil || p.pos != len(d.unit) {
		return nil
	}
	return &Unit{dimension: u.dimension, factor: value.Mul(value, u.factor), arbitrary: u.arbitrary}
}
