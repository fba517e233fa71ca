package workbook

import (
	"archive/tar"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// clinic is the plan for the clinical workbooks, as an engineer would write it.
var clinic = []SheetOptions{
	{Sheet: "Patients", Table: "patients", Header: []int{4}},
	{Sheet: "Visits", Table: "visits"},
	{Sheet: "Problems", Table: "problems"},
	{Sheet: "Drugs", Table: "drugs", Header: []int{1, 2}},
	{Sheet: "lookup"},
}

var labs = SheetOptions{Sheet: "Labs (wide)", Table: "labs", Header: []int{1, 2, 3}, FillDown: []string{"Patient"},
	Unpivot: &Unpivot{Keep: []string{"Patient", "Taken"}, Header: []string{"Test", "Unit", "Code"}, Value: "Value"}}

// same says whether a column of the workbook and one of the CSV file say the same. Each way is named.
type same func(sheet, csv string) bool

func exactly(sheet, csv string) bool { return sheet == csv }

// byValue: the sheet stores a double as its writer printed it, with 16 digits; the CSV has up to 17.
func byValue(sheet, csv string) bool {
	if sheet == "" || csv == "" {
		return sheet == csv
	}
	a, err1 := strconv.ParseFloat(sheet, 64)
	b, err2 := strconv.ParseFloat(csv, 64)
	return err1 == nil && err2 == nil && math.Abs(a-b) <= 1e-14*max(math.Abs(a), math.Abs(b)) && !strings.ContainsAny(sheet, "eE")
}

// utc: the sheet's times have no zone, the CSV's carry a Z.
func utc(sheet, csv string) bool { return sheet == strings.TrimSuffix(csv, "Z") }

// active: a condition without an end is active.
func active(sheet, csv string) bool {
	return sheet == map[bool]string{true: "TRUE", false: "FALSE"}[csv == ""]
}

type pair struct {
	sheet, csv string
	same       same
}

func TestClinicalWorkbooksSayWhatTheirCSVSays(t *testing.T) {
	for _, c := range []struct {
		file, set string
		patients  int
	}{{"clinic-export-59.xlsx", "synthea-ca-2022", 59}, {"clinic-export-25.xlsx", "synthea-ma-2025", 25}} {
		t.Run(c.file, func(t *testing.T) {
			dir := filepath.Dir(sharedtest.Path(t, "data", "xlsx-clinic", c.file))
			files := untar(t, sharedtest.Path(t, "data", c.set, "csv.tar.gz"))
			sheets := clinic
			if c.patients == 59 {
				sheets = append(slices.Clone(clinic), labs)
			}
			s, err := Open(Options{Name: "clinic", Dir: dir, Files: []string{c.file}, Sheets: sheets})
			if err != nil {
				t.Fatal(err)
			}
			tables := tablesOf(t, s)
			mine := map[string]bool{}
			for _, p := range files["patients"][:c.patients] {
				mine[p["Id"]] = true
			}
			for _, table := range []struct {
				name, csv, patient string
				pairs              []pair
			}{
				{"patients", "patients", "Id", []pair{
					{"Id", "Id", exactly}, {"Last name", "LAST", exactly}, {"First name", "FIRST", exactly}, {"Date of birth", "BIRTHDATE", exactly},
					{"Date of death", "DEATHDATE", exactly}, {"Sex", "GENDER", exactly}, {"SSN", "SSN", exactly}, {"Race", "RACE", exactly},
					{"Ethnicity", "ETHNICITY", exactly}, {"Marital", "MARITAL", exactly}, {"Address", "ADDRESS", exactly}, {"City", "CITY", exactly},
					{"State", "STATE", exactly}, {"Zip", "ZIP", exactly}, {"Latitude", "LAT", byValue}, {"Longitude", "LON", byValue}}},
				{"visits", "encounters", "PATIENT", []pair{
					{"Id", "Id", exactly}, {"Start", "START", utc}, {"Stop", "STOP", utc}, {"Patient", "PATIENT", exactly}, {"Class", "ENCOUNTERCLASS", exactly},
					{"Code", "CODE", exactly}, {"Description", "DESCRIPTION", exactly}, {"Reason code", "REASONCODE", exactly}, {"Cost", "BASE_ENCOUNTER_COST", byValue}}},
				{"problems", "conditions", "PATIENT", []pair{
					{"Patient", "PATIENT", exactly}, {"Visit", "ENCOUNTER", exactly}, {"Onset", "START", exactly}, {"Resolved", "STOP", exactly},
					{"SNOMED", "CODE", exactly}, {"Description", "DESCRIPTION", exactly}, {"Active?", "STOP", active}}},
				{"drugs", "medications", "PATIENT", []pair{
					{"Patient", "PATIENT", exactly}, {"Prescription Start", "START", utc}, {"Prescription Stop", "STOP", utc}, {"Prescription RxNorm", "CODE", exactly},
					{"Reason Code", "REASONCODE", exactly}, {"Reason Text", "REASONDESCRIPTION", exactly}}},
			} {
				var want []map[string]string
				for _, r := range files[table.csv] {
					if mine[r[table.patient]] {
						want = append(want, r)
					}
				}
				got := tables[table.name]
				if len(got) != len(want) {
					t.Errorf("%s: %d records, the CSV has %d", table.name, len(got), len(want))
					continue
				}
				if n := len(got[0]); n != len(table.pairs) {
					t.Errorf("%s: %d columns, %d are compared", table.name, n, len(table.pairs))
				}
				differ := map[string]int{}
				for i := range got {
					for _, p := range table.pairs {
						if !p.same(got[i][p.sheet], want[i][p.csv]) {
							differ[p.sheet]++
						}
					}
				}
				for column, n := range differ {
					t.Errorf("%s: %s differs in %d of %d records", table.name, column, n, len(got))
				}
				t.Logf("%s: %d records, %d columns", table.name, len(got), len(table.pairs))
			}
			if len(tables["lookup"]) != 6 {
				t.Errorf("the hidden sheet has %d records", len(tables["lookup"]))
			}
			if c.patients == 59 {
				compareLabs(t, tables["labs"], files["observations"])
			}
		})
	}
}

// compareLabs: each value of the wide sheet is an observation of the CSV, and each observation of these tests is in the
// sheet. The sheet has one cell for a patient, a time and a test, so of several it holds one.
func compareLabs(t *testing.T, got []map[string]string, observations []map[string]string) {
	type kind struct{ name, unit, code string } // two tests of the CSV have one code and two names
	type key struct {
		patient, time string
		kind
	}
	want := map[key][]string{}
	tests := map[kind]bool{}
	for _, r := range got {
		tests[kind{r["Test"], r["Unit"], r["Code"]}] = true
	}
	for _, o := range observations {
		if of := (kind{o["DESCRIPTION"], o["UNITS"], o["CODE"]}); tests[of] {
			k := key{o["PATIENT"], strings.TrimSuffix(o["DATE"], "Z"), of}
			want[k] = append(want[k], o["VALUE"])
		}
	}
	seen := map[key]bool{}
	for _, r := range got {
		k := key{r["Patient"], r["Taken"], kind{r["Test"], r["Unit"], r["Code"]}}
		if seen[k] {
			t.Fatal("a patient, time and test is there twice")
		}
		seen[k] = true
		if !slices.ContainsFunc(want[k], func(v string) bool { return byValue(r["Value"], v) }) {
			t.Errorf("a value of %s is not the observation's", r["Code"])
		}
	}
	if len(seen) != len(want) || len(tests) == 0 {
		t.Errorf("the sheet has %d values, the CSV %d", len(seen), len(want))
	}
	t.Logf("labs: %d tests, %d values", len(tests), len(got))
}

// With nothing but `header: 4` for all sheets, as in the shortest plan, patients are read, and no line of data passes
// for a header.
func TestClinicalWorkbookWithTheShortestPlan(t *testing.T) {
	dir := filepath.Dir(sharedtest.Path(t, "data", "xlsx-clinic", "clinic-export-59.xlsx"))
	s, err := Open(Options{Name: "labs", Dir: dir, Files: []string{"clinic-export-59.xlsx"}, Header: 4})
	if err != nil {
		t.Fatal(err)
	}
	tables := tablesOf(t, s)
	if n := len(tables["Patients"]); n != 59 {
		t.Errorf("%d patients", n)
	}
	for _, name := range []string{"Visits", "Problems", "Drugs", "Labs (wide)"} {
		if tables[name] != nil {
			t.Errorf("%s is a table, though its row 4 is not a header", name)
		}
	}
	notices, err := s.Notices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var of []Notice
	for _, n := range notices {
		if n.Sheet == "Patients" {
			of = append(of, n)
		}
	}
	diff(t, "notices", []string{"formulas-without-values Age 59@5", "above-header 2@1", "footer 1@65", "hidden-column SSN 1@0"}, told(of))
}

// tablesOf reads all tables of a source, none of whose records may be refused.
func tablesOf(t *testing.T, s *Source) map[string][]map[string]string {
	t.Helper()
	list, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]map[string]string{}
	for _, table := range list {
		rows, err := extracttest.Rows(t.Context(), s, table)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Rule != "" {
				t.Errorf("%s:%d is refused: %s in %s", table.Name, r.Line, r.Rule, r.Column)
				continue
			}
			m := map[string]string{}
			for i, c := range r.Cells {
				m[table.Columns[i]] = c
			}
			out[table.Name] = append(out[table.Name], m)
		}
	}
	return out
}

// untar reads the CSV files of an archive, by name without extension.
func untar(t *testing.T, path string) map[string][]map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		name, isCSV := strings.CutSuffix(filepath.Base(h.Name), ".csv")
		if !isCSV || !slices.Contains([]string{"patients", "encounters", "conditions", "medications", "observations"}, name) {
			continue
		}
		rows, err := csv.NewReader(r).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			m := map[string]string{}
			for i, c := range row {
				m[rows[0][i]] = c
			}
			out[name] = append(out[name], m)
		}
	}
}

// csvkit's text of its workbooks. What differs in form: csvkit writes True, Excel and we TRUE; of sheets.xlsx it writes
// a midnight without its time; its text of sheets.xlsx is in another order and has a column that the workbook lacks, so
// rows are found by their first cell and columns by name. The column beyond the header, which csvkit calls h (or nothing), is named by the plan.
func TestCSVKitWorkbooks(t *testing.T) {
	for _, c := range []struct{ file, sheet, twin string }{
		{"csvkit-test.xlsx", "Sheet1", "csvkit-testxlsx_converted.csv"},
		{"csvkit-sheets.xlsx", "data", "csvkit-sheetsxlsx_converted.csv"},
		{"csvkit-test_skip_lines.xlsx", "Sheet1", "csvkit-testxlsx_converted.csv"},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := os.Open(sharedtest.Path(t, "data", "xlsx-edge", c.twin))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			twin, err := csv.NewReader(f).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			header := 1
			if c.file == "csvkit-test_skip_lines.xlsx" {
				header = 4
			}
			s, err := Open(Options{Name: "csvkit", Dir: sharedtest.Path(t, "data", "xlsx-edge"), Files: []string{c.file}, Sheets: []SheetOptions{{
				Sheet: c.sheet, Table: "t", Header: []int{header}, Columns: []string{"text", "date", "integer", "boolean", "float", "datetime", "empty_column", "h"}}}})
			if err != nil {
				t.Fatal(err)
			}
			got := tablesOf(t, s)["t"]
			if len(got) != len(twin)-1 {
				t.Fatalf("%d records, csvkit has %d", len(got), len(twin)-1)
			}
			for _, record := range got {
				i := slices.IndexFunc(twin, func(row []string) bool { return row[0] == record["text"] })
				if i < 1 {
					t.Fatal("a record that csvkit does not have")
				}
				for j, name := range twin[0] {
					want := twin[i][j]
					switch name {
					case "time":
						continue
					case "boolean":
						want = strings.ToUpper(want)
					case "datetime":
						if len(want) == len("1920-01-01") {
							want += "T00:00:00"
						}
					case "":
						name = "h"
					}
					if name == "h" && strings.HasPrefix(want, "Extra data") && strings.HasPrefix(record[name], "Extra data") {
						continue // one says beyond, the other past
					}
					if record[name] != want {
						t.Errorf("row %d: %s differs", i+1, name)
					}
				}
			}
		})
	}
}

// What the workbooks of readxl are about, each with what must come of it.
func TestReadxlWorkbooks(t *testing.T) {
	dir := sharedtest.Path(t, "data", "xlsx-edge")
	for _, c := range []struct {
		file, sheet string
		so          SheetOptions
		want        []string
	}{
		{"blanks", "different_rows", SheetOptions{}, []string{"2 |a", "3 1|"}},
		{"blanks", "same_row_first", SheetOptions{}, []string{"3 1|a"}},
		{"blanks", "same_row_middle", SheetOptions{}, []string{"2 1|a", "4 2|b"}},
		{"color-date-xlsx", "Sheet1", SheetOptions{Columns: []string{"d"}}, []string{"1 0", "2 0", "3 0", "4 0", "5 0", "6 0", "7 0", "8 0"}},
		{"currency-formats-xlsx", "Tabelle1", SheetOptions{}, []string{"2 apple|0.5|0.5|0.5", "3 software|10000|10000|10000"}},
		{"datetime-rounding", "Sheet1", SheetOptions{}, []string{"2 2016-04-28T11:30:00|2016-04-28 11:30:00", "3 2016-03-23T09:50:00|2016-03-23 09:50:00",
			"4 2017-01-02T11:30:00|2017-01-02 11:30:00", "5 2017-01-03T11:30:00|2017-01-03 11:30:00"}},
		{"empty-named-column", "Sheet1", SheetOptions{}, []string{"2 1|||2", "3 2|||", "4 3||NA|"}},
		{"empty-sheets", "header_only", SheetOptions{}, nil},
		{"geometry", "warning_AKE6", SheetOptions{}, []string{"4 1234", "5 2345", "6 wtf"}},
		{"inlineStr", "Requirements", SheetOptions{}, []string{"2 1|+|1.|RQ11610|requirement|Textual Requirement|test"}},
		{"missing-values-xlsx", "Sheet1", SheetOptions{}, []string{"2 NA|NA|", "3 1|1|1", "4 2|2|2"}},
		{"skipping", "two_blank_rows", SheetOptions{}, []string{"5 v2,1|v2,2", "7 v4,1|v4,2"}},
		{"types", "guess_max", SheetOptions{}, []string{"2 1", "3 2", "4 ab"}},
		{"unnamed-duplicated-columns", "Sheet1", SheetOptions{Header: []int{1}, Columns: []string{"a", "b", "c", "d"}}, []string{"2 1|a|1.1|aa", "3 2|b|2.1|bb"}},
		{"whitespace-xlsx", "logical_and_NA", SheetOptions{}, []string{"2 1.3", "3   :-)  "}},
	} {
		t.Run(c.file+" "+c.sheet, func(t *testing.T) {
			c.so.Sheet = c.sheet
			s, err := Open(Options{Name: "readxl", Dir: dir, Files: []string{"readxl-" + c.file + ".xlsx"}, Sheets: []SheetOptions{c.so}})
			if err != nil {
				t.Fatal(err)
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rows, err := extracttest.Rows(t.Context(), s, tables[0])
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "rows", c.want, short(rows))
		})
	}
}

// Every workbook is read or refused with advice, and every one of the old format is refused.
func TestAllEdgeWorkbooks(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "data", "xlsx-edge"), "*.xls*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workbooks, %v", err)
	}
	old := 0
	for _, path := range files {
		s, err := Open(Options{Name: "edge", Files: []string{path}})
		if strings.HasSuffix(path, ".xls") {
			mentions(t, err, "old format", "save it as .xlsx")
			old++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err != nil {
			mentions(t, err, "say in the plan")
			continue
		}
		for _, table := range tables {
			if _, err := extracttest.Rows(t.Context(), s, table); err != nil {
				t.Errorf("%s: %v", filepath.Base(path), err)
			}
		}
	}
	t.Logf("%d workbooks, %d of them refused as .xls", len(files), old)
}
