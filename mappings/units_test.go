package mappings_test

import (
	"encoding/csv"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/ucum"
)

var fixedUnit = regexp.MustCompile(`quantity\('([^']*)'`)

// Every target of the packs' maps `units` is a unit of UCUM, and every unit that a formula fixes is in its pack's map: one
// that is not would be text.
func TestUnits(t *testing.T) {
	for _, name := range mappings.Names() {
		pack, ok := mappings.Pack(name)
		if !ok {
			t.Fatalf("there is no pack %q", name)
		}
		known := map[string]bool{}
		if text, err := fs.ReadFile(pack, "maps/units.csv"); err == nil {
			known = units(t, name, string(text))
		}
		files, err := fs.Glob(pack, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := fs.ReadFile(pack, file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range fixedUnit.FindAllStringSubmatch(string(text), -1) {
				if !known[m[1]] {
					t.Errorf("%s/%s: the map units has no %q", name, file, m[1])
				}
			}
		}
	}
}

// units are the source texts of a map that have a unit.
func units(t *testing.T, pack, text string) map[string]bool {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range rows[1:] {
		if row[2] == "" { // it is said to have none
			continue
		}
		if _, ok := ucum.Parse(row[2]); !ok || row[1] != "http://unitsofmeasure.org" {
			t.Errorf("%s: %q of %s is no unit of UCUM", pack, row[2], row[1])
		}
		known[row[0]] = true
	}
	if len(known) == 0 {
		t.Errorf("%s: no units", pack)
	}
	return known
}
