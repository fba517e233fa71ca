package profile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// digested makes profiles that can be compared; the digest is none to keep.
var digested = Options{Digest: func(text string) string { return fmt.Sprintf("%x", hash(text)) }}

// hospital is the export of the made-up hospital: rows by table, headers first.
func hospital(t testing.TB) map[string][][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sharedtest.ModuleRoot(t), "fixtures", "riverside", "export", "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	out := map[string][][]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(bytes.NewReader(data))
		r.FieldsPerRecord = -1
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		// Its planted faults of form are not what is looked at here.
		out[strings.TrimSuffix(filepath.Base(f), ".csv")] = slices.DeleteFunc(rows, func(row []string) bool { return len(row) != len(rows[0]) })
	}
	return out
}

func texts(tables map[string][][]string) map[string]string {
	out := map[string]string{}
	for name, rows := range tables {
		var b strings.Builder
		w := csv.NewWriter(&b)
		_ = w.WriteAll(rows) // a strings.Builder does not fail
		out[name] = b.String()
	}
	return out
}

func baselineOf(t testing.TB, tables map[string][][]string) *Baseline {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sub", "baseline.json")
	if err := profiled(t, texts(tables), 0, digested).Baseline("m", "k").Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := ReadBaseline(path) // through the file, as it is used
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func driftOf(t testing.TB, old *Baseline, tables map[string][][]string) (lines []string) {
	t.Helper()
	for _, d := range profiled(t, texts(tables), 0, digested).CompareTo(old) {
		name := d.Table
		if d.Column != "" {
			name += "." + d.Column
		}
		lines = append(lines, name+" "+d.Rule)
	}
	return lines
}

// change sets the cells of a column.
func change(rows [][]string, column string, to func(i int, cell string) string) {
	at := slices.Index(rows[0], column)
	for i := range rows[1:] {
		rows[i+1][at] = to(i, rows[i+1][at])
	}
}

func TestPlantedDriftIsFound(t *testing.T) {
	old := baselineOf(t, hospital(t))
	if found := driftOf(t, old, hospital(t)); len(found) > 0 {
		t.Fatalf("the same export differs from itself: %q", found)
	}
	for _, c := range []struct {
		name  string
		plant func(tables map[string][][]string)
		want  []string
	}{
		{"a table came", func(x map[string][][]string) { x["beds"] = [][]string{{"BED"}, {"1"}} }, []string{"beds table-added"}},
		{"a table went", func(x map[string][][]string) { delete(x, "doctors") }, []string{"doctors table-gone"}},
		{"a column came", func(x map[string][][]string) {
			for i := range x["visits"] {
				x["visits"][i] = append(x["visits"][i], []string{"ARRIVED_BY", "ambulance"}[min(i, 1)])
			}
		}, []string{"visits.ARRIVED_BY column-added"}},
		{"a column went", func(x map[string][][]string) {
			at := slices.Index(x["visits"][0], "REASON")
			for i := range x["visits"] {
				x["visits"][i] = slices.Delete(x["visits"][i], at, at+1)
			}
		}, []string{"visits.REASON column-gone"}},
		{"a column has another name", func(x map[string][][]string) {
			x["visits"][0][slices.Index(x["visits"][0], "ADMITTED")] = "ADMIT_TS"
		}, []string{"visits.ADMIT_TS column-renamed"}},
		{"two columns have other names", func(x map[string][][]string) {
			x["results"][0][slices.Index(x["results"][0], "TEST")] = "ANALYTE"
			x["results"][0][slices.Index(x["results"][0], "FLAG")] = "ABNORMAL"
		}, []string{"results.ABNORMAL column-renamed", "results.ANALYTE column-renamed"}},
		{"another date form", func(x map[string][][]string) {
			change(x["patients"], "DOB", func(_ int, cell string) string {
				if len(cell) != 10 {
					return cell
				}
				return cell[6:] + "-" + cell[:2] + "-" + cell[3:5]
			})
		}, []string{"patients.DOB date-form"}},
		{"days before months", func(x map[string][][]string) {
			change(x["visits"], "ADMITTED", func(_ int, cell string) string { return cell[3:5] + "/" + cell[:2] + cell[5:] })
		}, []string{"visits.ADMITTED date-form"}},
		{"numbers with words", func(x map[string][][]string) {
			change(x["results"], "VALUE", func(i int, cell string) string {
				if i%3 == 0 {
					return "see note"
				}
				return cell
			})
		}, []string{"results.VALUE type-changed"}},
		{"decimal commas", func(x map[string][][]string) {
			change(x["results"], "HIGH", func(_ int, cell string) string { return strings.ReplaceAll(cell, ".", ",") })
		}, []string{"results.HIGH type-changed"}},
		{"nothing in a column", func(x map[string][][]string) { change(x["visits"], "DOCTOR", func(int, string) string { return "" }) }, []string{"visits.DOCTOR newly-blank"}},
		{"more blanks", func(x map[string][][]string) {
			change(x["visits"], "DOCTOR", func(i int, cell string) string {
				if i%4 == 0 {
					return ""
				}
				return cell
			})
		}, []string{"visits.DOCTOR blanks-moved"}},
		{"a new code", func(x map[string][][]string) {
			change(x["visits"], "KIND", func(i int, cell string) string {
				if i == 7 {
					return "Q"
				}
				return cell
			})
		}, []string{"visits.KIND new-codes"}},
		{"a key twice", func(x map[string][][]string) { x["patients"][5][0] = x["patients"][6][0] }, []string{"patients.MRN key-not-unique"}},
		{"a quarter of the rows", func(x map[string][][]string) { x["results"] = x["results"][:len(x["results"])/4] }, []string{"results rows-moved"}},
		{"doses ten times", func(x map[string][][]string) {
			change(x["results"], "LOW", func(_ int, cell string) string {
				if cell == "" {
					return ""
				}
				return cell + "0"
			})
		}, []string{"results.LOW values-moved"}},
		{"dates fifty years on", func(x map[string][][]string) {
			change(x["visits"], "DISCHARGED", func(_ int, cell string) string { return strings.Replace(cell, "/20", "/19", 1) })
		}, []string{"visits.DISCHARGED values-moved"}},
		{"codes swapped", func(x map[string][][]string) {
			change(x["visits"], "DEPT", func(_ int, cell string) string {
				return "N"
			})
		}, []string{"visits.DEPT values-moved"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tables := hospital(t)
			c.plant(tables)
			found := driftOf(t, old, tables)
			slices.Sort(found)
			for _, want := range c.want {
				if !slices.Contains(found, want) {
					t.Errorf("%q is not found", want)
				}
			}
			for _, f := range found {
				if !slices.Contains(c.want, f) {
					t.Errorf("found beside: %q", f)
				}
			}
		})
	}
}

// tarred reads the CSV files of one of Synthea's exports.
func tarred(t testing.TB, name string) map[string][][]string {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", name, "csv.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][][]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".csv") {
			rows, err := csv.NewReader(r).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimSuffix(filepath.Base(h.Name), ".csv")] = rows
		}
	}
}

// TestHalfOfTheRowsIsNoDrift takes half of the rows of real exports at random, many times.
func TestHalfOfTheRowsIsNoDrift(t *testing.T) {
	const draws = 5
	for _, name := range []string{"synthea-ca-2022", "synthea-ri-2022", "riverside"} {
		var tables map[string][][]string
		if name == "riverside" {
			tables = hospital(t)
		} else {
			tables = tarred(t, name)
		}
		old := baselineOf(t, tables)
		columns := 0
		for _, x := range old.Tables {
			columns += len(x.Columns)
		}
		alarms := map[string]int{}
		for draw := range draws {
			r := rand.New(rand.NewPCG(7, uint64(draw)))
			half := map[string][][]string{}
			for _, table := range slices.Sorted(maps.Keys(tables)) {
				rows := tables[table]
				half[table] = [][]string{rows[0]}
				for _, row := range rows[1:] {
					if r.IntN(2) == 0 {
						half[table] = append(half[table], row)
					}
				}
			}
			for _, f := range driftOf(t, old, half) {
				alarms[f]++
			}
		}
		total := 0
		for f, n := range alarms {
			t.Logf("%s: %s %d", name, f, n)
			total += n
		}
		t.Logf("%s: %d false alarms in %d draws of %d columns", name, total, draws, columns)
		if total > draws*columns/1000 {
			t.Errorf("%s: more than one false alarm in a thousand", name)
		}
	}
}

// TestDriftBetweenRealExports compares two exports of one program for two states.
func TestDriftBetweenRealExports(t *testing.T) {
	old := baselineOf(t, tarred(t, "synthea-ca-2022"))
	if same := driftOf(t, old, tarred(t, "synthea-ca-2022")); len(same) > 0 {
		t.Errorf("the same export differs from itself: %q", same)
	}
	p := profiled(t, texts(tarred(t, "synthea-ri-2022")), 0, digested)
	found := map[string]int{}
	for _, d := range p.CompareTo(old) {
		found[d.Rule]++
		t.Logf("%s.%s %s: %s", d.Table, d.Column, d.Rule, d.Message)
	}
	t.Log(found)
	// What is known of the two: read off their headers, and off one column each by hand.
	for rule, least := range map[string]int{DriftTableGone: 2, DriftColumnGone: 14, DriftColumnAdded: 1, DriftNewCodes: 15, DriftDistribution: 20, DriftRetyped: 2, DriftBlankShare: 3} {
		if found[rule] < least {
			t.Errorf("%s: %d found, not %d", rule, found[rule], least)
		}
	}
}

// TestBaselineHoldsNoPatient looks for the texts of the hospital in what is kept.
func TestBaselineHoldsNoPatient(t *testing.T) {
	tables := hospital(t)
	path := filepath.Join(t.TempDir(), "baseline.json")
	o := digested
	o.ShowValues = true // does not matter for what is kept
	if err := profiled(t, texts(tables), 0, o).Baseline("m", "k").Write(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	searched := 0
	for table, names := range map[string][]string{"patients": {"MRN", "LAST_NAME", "STREET", "ZIP", "PHONE", "EMAIL", "INSURANCE_NO", "DOB"}, "visits": {"VISIT_NO", "ADMITTED"}, "results": {"REMARK"}} {
		for _, name := range names {
			change(tables[table], name, func(_ int, cell string) string {
				if len(cell) > 3 {
					searched++
					if bytes.Contains(data, []byte(`"`+cell+`"`)) {
						t.Errorf("%s.%s: a cell is in it", table, name)
					}
				}
				return cell
			})
		}
	}
	if searched < 500 {
		t.Errorf("only %d cells were looked for", searched)
	}
	b, err := ReadBaseline(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range b.Tables {
		for _, c := range x.Columns {
			for _, bin := range c.Bins {
				if bin.Rows < FewPatients {
					t.Errorf("%s.%s: a bin of %d rows", x.Name, c.Name, bin.Rows)
				}
			}
		}
	}
}

func TestDamagedBaseline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	whole := `{"schema":1,"migration":"m","key":"k","tables":[]}`
	for text, ok := range map[string]bool{whole: true, whole + "{}": false, strings.Replace(whole, "1", "2", 1): false, `{"schema":1,"more":2}`: false, whole[:9]: false, "": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBaseline(path); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestNumberCellsAreInOrder checks that the grid keeps the order of numbers and names its cells.
func TestNumberCellsAreInOrder(t *testing.T) {
	last := numberCell(-1e31)
	for _, f := range []float64{-2000, -1.5, -0.02, 0, 0.02, 0.3, 1, 1.5, 12, 99, 100, 128, 130, 1e6, 1e31} {
		cell := numberCell(f)
		if cell <= last && f > -1e31 {
			if cell < last {
				t.Errorf("%g comes before the number before it", f)
			}
			if f != 128 && cell == last {
				t.Errorf("%g is in the cell of the number before it", f)
			}
		}
		last = cell
	}
	for f, want := range map[float64]string{0: "0", 1: "1.0", 128: "120", 0.034: "0.034", -15: "-15", 1.25e6: "1200000"} {
		if got := cellName(spreadNumbers, numberCell(f)); got != want {
			t.Errorf("the cell of %g is called %s, not %s", f, got, want)
		}
	}
	if got := cellName(spreadMonths, 2024*12+11); got != "2024-12" {
		t.Errorf("a month is called %s", got)
	}
}
