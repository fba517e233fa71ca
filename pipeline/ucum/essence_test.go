package ucum

import (
	"encoding/xml"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// essence is the part of UCUM's own table that is compared.
type essence struct {
	Prefixes []struct {
		Code  string `xml:"Code,attr"`
		Value struct {
			Value string `xml:"value,attr"`
		} `xml:"value"`
	} `xml:"prefix"`
	Bases []struct {
		Code string `xml:"Code,attr"`
	} `xml:"base-unit"`
	Units []struct {
		Code      string `xml:"Code,attr"`
		Metric    string `xml:"isMetric,attr"`
		Special   string `xml:"isSpecial,attr"`
		Arbitrary string `xml:"isArbitrary,attr"`
		Value     struct {
			Unit     string `xml:"Unit,attr"`
			Value    string `xml:"value,attr"`
			Function *struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"value,attr"`
				Unit  string `xml:"Unit,attr"`
			} `xml:"function"`
		} `xml:"value"`
	} `xml:"unit"`
}

func readEssence(t *testing.T) *essence {
	t.Helper()
	data, err := os.ReadFile(sharedtest.Path(t, "data", "terminology", "ucum-essence.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var e essence
	d := xml.NewDecoder(strings.NewReader(strings.Replace(string(data), `encoding="ascii"`, "", 1)))
	if err := d.Decode(&e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// Every unit, base unit and prefix of the standard is known with the standard's own value, and no other.
func TestEveryUnitOfTheStandard(t *testing.T) {
	e := readEssence(t)
	if len(e.Units) != 305 || len(e.Bases) != 7 || len(e.Prefixes) != 24 {
		t.Fatalf("%d units, %d bases, %d prefixes", len(e.Units), len(e.Bases), len(e.Prefixes))
	}
	left := maps.Clone(atoms())
	for i, b := range e.Bases {
		if bases[i] != b.Code || !left[b.Code].metric {
			t.Errorf("base unit %s", b.Code)
		}
		delete(left, b.Code)
	}
	for _, p := range e.Prefixes {
		if i := slices.IndexFunc(prefixes, func(x prefix) bool { return x.code == p.Code }); i < 0 || rational(prefixes[i].value).Cmp(rational(p.Value.Value)) != 0 {
			t.Errorf("prefix %s", p.Code)
		}
	}
	for _, x := range e.Units {
		u, ok := Parse(x.Code)
		if !ok {
			t.Errorf("%s is unknown", x.Code)
			continue
		}
		if left[x.Code].metric != (x.Metric == "yes") {
			t.Errorf("%s: takes prefixes: %v", x.Code, !(x.Metric == "yes"))
		}
		delete(left, x.Code)
		value, unit := x.Value.Value, x.Value.Unit
		if f := x.Value.Function; f != nil {
			i := slices.IndexFunc(special, func(s specialUnit) bool { return s.code == x.Code })
			if i < 0 || special[i].function != f.Name || special[i].value != f.Value || special[i].unit != f.Unit {
				t.Errorf("%s is %+v", x.Code, *f)
				continue
			}
			if u.Linear() {
				t.Errorf("%s is taken for linear", x.Code)
			}
			if value, unit = f.Value, f.Unit; u.offset == nil {
				continue // its function is not rational
			}
		} else if x.Special == "yes" {
			t.Errorf("%s has no function", x.Code)
		}
		of, ok := Parse(unit)
		if !ok {
			t.Errorf("%s: the unit %s of its value is unknown", x.Code, unit)
			continue
		}
		if want := new(big.Rat).Mul(rational(value), of.factor); u.factor.Cmp(want) != 0 || u.dimension != of.dimension {
			t.Errorf("%s is %s, want %s %s", x.Code, u.factor.FloatString(9), value, unit)
		}
		if (len(u.arbitrary) > 0) != (x.Arbitrary == "yes") {
			t.Errorf("%s: arbitrary: %v", x.Code, len(u.arbitrary) > 0)
		}
	}
	if len(left) > 0 {
		t.Errorf("units that the standard does not have: %v", slices.Sorted(maps.Keys(left)))
	}
}

// notUCUM are codes of NLM's table that no unit of the standard's version 2.2 explains.
var notUCUM = map[string]string{"Torr": "UCUM has mm[Hg] only"}

// All codes of NLM's table of common units are units.
func TestCommonUnits(t *testing.T) {
	f, err := excelize.OpenFile(sharedtest.Path(t, "data", "terminology", "ucum-common-units.xlsx"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := f.GetRows(f.GetSheetName(0), excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	column, codes := -1, 0
	for _, row := range rows {
		if column < 0 {
			column = slices.Index(row, "UCUM_CODE")
			continue
		}
		if column >= len(row) || row[column] == "" {
			continue
		}
		codes++
		if _, ok := Parse(row[column]); ok != (notUCUM[row[column]] == "") {
			t.Errorf("%q is taken for a unit: %v", row[column], ok)
		}
	}
	if codes < 800 {
		t.Errorf("%d codes: the table was not read", codes)
	}
	t.Logf("%d codes", codes)
}
