package csv

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// one opens a source over one file of a folder.
func one(t testing.TB, dir, name string, o Options) ([]extracttest.Row, *extract.Table, error) {
	t.Helper()
	o.Name, o.Dir, o.Files = "ehr", dir, []string{name}
	s, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		return nil, nil, err
	}
	got, err := extracttest.Rows(t.Context(), s, tables[0])
	return got, tables[0], err
}

// accepted are the cells of all rows, none of which may be refused.
func accepted(t testing.TB, rows []extracttest.Row) [][]string {
	t.Helper()
	var all [][]string
	for _, r := range rows {
		if r.Rule != "" {
			t.Errorf("line %d is refused: %s", r.Line, r.Rule)
		}
		all = append(all, r.Cells)
	}
	return all
}

// What csv-spectrum's JSON says of each file. One of them needs an option: inches inside an unquoted field.
func TestCSVSpectrum(t *testing.T) {
	dir := sharedtest.Path(t, "data", "csv-edge", "csv-spectrum")
	files, err := filepath.Glob(filepath.Join(dir, "csvs", "*.csv"))
	if err != nil || len(files) != 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	options := map[string]Options{"location_coordinates.csv": {QuoteAtStart: true}}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "json", strings.TrimSuffix(name, ".csv")+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if text = bytes.TrimSpace(text); text[0] == '{' { // this one is not a list
				text = slices.Concat([]byte("["), text, []byte("]"))
			}
			var want []map[string]string
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if name == "location_coordinates.csv" { // its JSON has another number than the CSV
				const column = "Contact Phone Number"
				if want[0][column] != "1234567890" {
					t.Error("the JSON is another")
				}
				want[0][column] = "2095257564"
			}
			for _, size := range []int64{1, 0} {
				o := options[name]
				o.ShardSize = size
				read, table, err := one(t, filepath.Join(dir, "csvs"), name, o)
				if err != nil {
					t.Fatal(err)
				}
				var got []map[string]string
				for _, cells := range accepted(t, read) {
					m := map[string]string{}
					for i, c := range cells {
						m[table.Columns[i]] = c
					}
					got = append(got, m)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-json +read)\n%s", diff)
				}
			}
		})
	}
	read, _, err := one(t, filepath.Join(dir, "csvs"), "location_coordinates.csv", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []extracttest.Row{{Table: "location_coordinates", Line: 2, Ordinal: 1, Column: "Location Coordinates", Rule: extract.RuleBareQuote}}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("without the option (-want +got)\n%s", diff)
	}
}

// Every file of csvkit's, with the options it needs. Only what is malformed whatever one says is refused.
func TestCSVKitFiles(t *testing.T) {
	dir := sharedtest.Path(t, "data", "csv-edge", "csvkit")
	abc := [][]string{{"1", "2", "3"}}
	abcUnicode := [][]string{{"1", "2", "3"}, {"4", "5", "ʤ"}}
	seen := map[string]bool{}
	for _, c := range []struct {
		file  string
		o     Options
		want  [][]string
		rules map[int64]string // by line
		fails string
	}{
		{file: "dummy.csv", want: abc},
		{file: "dummy_col_shuffled_ragged.csv", want: [][]string{{"2", "3", "1", "4"}}},
		{file: "blanks.csv", want: [][]string{{"", "NA", "N/A", "NONE", "NULL", "."}}},
		{file: "date_like_number.csv", want: [][]string{{"4.5"}}},
		{file: "test_numeric_date_format.csv", want: [][]string{{"20140102"}, {"20121231"}}},
		{file: "test_precision.csv", want: [][]string{{"1.234567"}}},
		{file: "optional_quote_characters.csv", want: abc},
		{file: "test_no_leading_zeroes.csv", want: [][]string{{"01", "00.11", "0.1"}}},
		{file: "test_locale.csv", want: [][]string{{"1,7", "200.000.000", ""}}},
		{file: "test_locale_converted.csv", want: [][]string{{"1.7", "200000000", ""}}},
		{file: "sniff_limit.csv", o: Options{Delimiter: ';'}, want: abc},
		{file: "dummy.tsv", o: Options{Delimiter: '\t'}, want: abc},
		{file: "test_skip_lines.csv", want: abc},
		{file: "test_skip_lines.csv", o: Options{Skip: 3}, want: abc},
		{file: "test_header_newline.csv", want: [][]string{{"d", "e", "f"}}},
		{file: "no_header_row.csv", o: Options{Header: NoHeader, Columns: []string{"a", "b", "c"}}, want: abc},
		{file: "mac_newlines.csv", o: Options{LineEnd: '\r'}, want: [][]string{{"1", "2", "3"}, {"Once upon\ra time", "5", "6"}}},
		{file: "mac_newlines.csv", fails: "CR without LF"},
		{file: "test_utf8.csv", want: abcUnicode},
		{file: "test_utf8_bom.csv", want: abcUnicode},
		{file: "test_utf16_big.csv", o: Options{Encoding: "utf-16"}, want: abcUnicode},
		{file: "test_utf16_little.csv", o: Options{Encoding: "utf-16"}, want: abcUnicode},
		{file: "test_utf16_little.csv", fails: "mark of utf-16le"},
		{file: "test_latin1.csv", o: Options{Encoding: "iso-8859-1"}, want: [][]string{{"1", "2", "3"}, {"4", "5", "©"}}},
		{file: "test_latin1.csv", want: abc, rules: map[int64]string{3: extract.RuleInvalidEncoding}},
		{file: "test_empty_columns_short_row.csv", o: Options{MissingBlank: true}, want: [][]string{{"", "", ""}}},
		{file: "test_empty_columns_short_row.csv", rules: map[int64]string{2: extract.RuleRaggedRow}},
		{file: "test_empty_columns_long_row.csv", o: Options{ExtraBlank: true}, want: [][]string{{"", "", ""}}},
		{file: "test_empty_columns_long_row.csv", rules: map[int64]string{2: extract.RuleRaggedRow}},
		{file: "test_extra_header.csv", o: Options{MissingBlank: true}, want: [][]string{{"1", "2", "3", ""}}},
		{file: "test_extra_header.csv", rules: map[int64]string{2: extract.RuleRaggedRow}},
		{file: "test_empty_columns.csv", o: Options{ExtraBlank: true}, want: [][]string{{"a", "", ""}, {"", "", "c"}, {"", "", ""}}},
		{file: "test_empty_columns.csv", o: Options{Columns: []string{"a", "b", "c", "d", "e"}, MissingBlank: true},
			want: [][]string{{"a", "", "", "", ""}, {"", "", "c", "", ""}, {"", "", "", "", ""}}},
		{file: "test_empty_columns.csv", fails: "column 4 has no name; column 5 has no name"},
		{file: "empty.csv", o: Options{Header: NoHeader, Columns: []string{"a"}}},
		{file: "empty.csv", fails: "no header line"},
		{file: "testfixed_schema.csv", want: [][]string{{"text", "0", "18"}, {"date", "18", "10"}, {"integer", "29", "4"}, {"boolean", "33", "5"},
			{"float", "38", "11"}, {"time", "50", "8"}, {"datetime", "58", "19"}, {"empty_column", "77", "2"}}},

		{file: "bad.csv", want: [][]string{{"0", "mixed types.... uh oh", "17"}},
			rules: map[int64]string{2: extract.RuleRaggedRow, 3: extract.RuleRaggedRow}},
		{file: "bad_skip_lines.csv", want: [][]string{{"0", "mixed types.... uh oh", "17"}},
			rules: map[int64]string{5: extract.RuleRaggedRow, 6: extract.RuleRaggedRow}},
		{file: "null_byte.csv", rules: map[int64]string{2: extract.RuleNULByte}},
		{file: "testdbf.dbf", fails: "testdbf.dbf:1: it is a dBase table (.dbf), not text"},
	} {
		seen[c.file] = true
		t.Run(c.file, func(t *testing.T) {
			read, _, err := one(t, dir, c.file, c.o)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want one with %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got [][]string
			rules := map[int64]string{}
			for _, r := range read {
				if r.Rule != "" {
					rules[r.Line] = r.Rule
				} else {
					got = append(got, r.Cells)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("cells (-want +got)\n%s", diff)
			}
			if c.rules == nil {
				c.rules = map[int64]string{}
			}
			if diff := cmp.Diff(c.rules, rules); diff != "" {
				t.Errorf("refused (-want +got)\n%s", diff)
			}
		})
	}
	others := []string{"ks_1033_data.csv", "testdbf_converted.csv", "testfixed", "testfixed_converted.csv"} // below
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] && !slices.Contains(others, f.Name()) {
			t.Errorf("%s is read by no test", f.Name())
		}
	}
	for _, name := range []string{"ks_1033_data.csv", "testdbf_converted.csv", "testfixed_converted.csv"} {
		read, table, err := one(t, dir, name, Options{ShardSize: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		want := viaEncodingCSV(t, filepath.Join(dir, name))
		if got := append([][]string{table.Columns}, accepted(t, read)...); !slices.EqualFunc(want, got, slices.Equal) {
			t.Errorf("%s is not read as encoding/csv does", name)
		}
	}
}

// csvkit's twins are equal under two rules: numbers as a locale writes them, and blanks to the left of what is aligned to
// the right. Both are for a mapping to mend; the reader keeps what it finds.
func TestCSVKitTwins(t *testing.T) {
	dir := sharedtest.Path(t, "data", "csv-edge", "csvkit")
	german := strings.NewReplacer(".", "", ",", ".")
	read, _, err := one(t, dir, "test_locale.csv", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := accepted(t, read)
	for _, cells := range got {
		for i, c := range cells {
			cells[i] = german.Replace(c)
		}
	}
	if diff := cmp.Diff(viaEncodingCSV(t, filepath.Join(dir, "test_locale_converted.csv"))[1:], got); diff != "" {
		t.Errorf("locale (-twin +read)\n%s", diff)
	}

	var layout []Field
	for _, cells := range viaEncodingCSV(t, filepath.Join(dir, "testfixed_schema.csv"))[1:] { // which counts from 0
		start, err1 := strconv.Atoi(cells[1])
		length, err2 := strconv.Atoi(cells[2])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		layout = append(layout, Field{cells[0], start + 1, length})
	}
	// The third line has a comma in the gap before the time, which csvkit drops.
	o := Options{Fixed: layout, MissingBlank: true}
	read, _, err = one(t, dir, "testfixed", o)
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != 4 || read[2].Rule != extract.RuleTextBetweenColumns {
		t.Errorf("text in a gap: %+v", read)
	}
	o.Fixed = append(o.Fixed, Field{"gap", 50, 1})
	read, _, err = one(t, dir, "testfixed", o)
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, cells := range accepted(t, read) {
		for i, c := range cells {
			cells[i] = strings.TrimLeft(c, " ")
		}
		got = append(got, cells[:len(layout)])
	}
	if diff := cmp.Diff(viaEncodingCSV(t, filepath.Join(dir, "testfixed_converted.csv"))[1:], got); diff != "" {
		t.Errorf("fixed width (-twin +read)\n%s", diff)
	}
}

// Every table of the three Synthea exports, cell by cell beside encoding/csv.
func TestSyntheaIsReadAsEncodingCSVDoes(t *testing.T) {
	for _, set := range []string{"synthea-ca-2022", "synthea-ri-2022", "synthea-ma-2025"} {
		t.Run(set, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, sharedtest.Path(t, "data", set, "csv.tar.gz"), dir)
			s, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"*.csv"}, ShardSize: 100_000})
			if err != nil {
				t.Fatal(err)
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, table := range tables {
				read, err := extracttest.Rows(t.Context(), s, table)
				if err != nil {
					t.Fatal(err)
				}
				got := accepted(t, read)
				want := viaEncodingCSV(t, filepath.Join(dir, table.File))
				if diff := cmp.Diff(want[0], table.Columns); diff != "" {
					t.Errorf("%s: columns (-encoding/csv +ours)\n%s", table.Name, diff)
				}
				if !slices.EqualFunc(want[1:], got, slices.Equal) { // cmp is slow over so much
					t.Errorf("%s: %d rows are not the %d of encoding/csv", table.Name, len(got), len(want)-1)
				}
				total += len(got)
			}
			t.Logf("%d tables, %d rows", len(tables), total)
		})
	}
}

func viaEncodingCSV(t *testing.T, path string) [][]string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unpack puts the CSV files of an archive into one folder.
func unpack(t *testing.T, path, dir string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(h.Name)
		if filepath.Ext(name) != ".csv" || strings.HasPrefix(name, ".") {
			continue
		}
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, r)
		if err := errors.Join(err, out.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
