package workbook

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"testing"
)

// backslashed writes the parts of a workbook again under names that separate folders as Windows does.
func backslashed(t *testing.T, text []byte) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, part := range in.File {
		r, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := z.Create(strings.ReplaceAll(part.Name, "/", `\`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPartsMayBeNamedWithBackslashes(t *testing.T) {
	text := raw{sheets: []string{r(1, "id", "name") + r(2, "1", "a")}}.bytes(t)
	columns, rows, _ := read(t, backslashed(t, text), Options{})
	diff(t, "columns", []string{"id", "name"}, columns)
	diff(t, "rows", []string{"2 1|a"}, short(rows))
}

func TestTheSameNameWithEitherSlashIsRefused(t *testing.T) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range []string{"xl/workbook.xml", `xl\workbook.xml`} {
		if _, err := z.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := openOne(t, out.Bytes(), Options{})
	mentions(t, err, "two files in the package have the same name")
}

func TestAHeaderWhereThePlanNamesColumnsOnly(t *testing.T) {
	for _, c := range []struct {
		name, rows string
		columns    []string
		doubted    bool
	}{
		{"a name of the plan", r(1, "id", "name", "name") + r(2, "x", "a", "b"), []string{"ID", "last", "first"}, true},
		{"words above numbers", r(1, "Nr", "Name") + r(2, "1", "a") + r(3, "2", "b"), []string{"id", "last"}, true},
		{"above dates, behind a title of its own row", r(2, "Nr", "Day") + r(3, "x", `<c s="1"><v>40000</v></c>`), []string{"id", "day"}, true},
		{"records of words only", r(1, "Muster", "Anna") + r(2, "Sample", "Bob"), []string{"last", "first"}, false},
		{"a first record with a number", r(1, "1", "a") + r(2, "2", "b"), []string{"id", "last"}, false},
		{"a first result in words, and a key with digits", r(1, "P001", "negative") + r(2, "P002", "7"), []string{"id", "result"}, false},
		{"words and numbers mixed below", r(1, "none", "negative") + r(2, "x", "7") + r(3, "y", "positive"), []string{"id", "result"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := raw{formats: []string{"yyyy-mm-dd"}, sheets: []string{c.rows}}.bytes(t)
			o := SheetOptions{Sheet: "S1", Columns: c.columns}
			_, _, err := openOne(t, text, Options{Sheets: []SheetOptions{o}})
			if !c.doubted {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			mentions(t, err, "looks like a header", "header: none")
			o.NoHeader = true
			if _, _, err = openOne(t, text, Options{Sheets: []SheetOptions{o}}); err != nil {
				t.Errorf("with header: none: %v", err)
			}
		})
	}
}

func TestATitleIsNotTheHeader(t *testing.T) {
	text := raw{sheets: []string{r(1, "Patients of 2019") + r(3, "id", "name", "sex") + r(4, "1", "a", "f") + r(5, "2", "b", "m")}}.bytes(t)
	_, _, err := openOne(t, text, Options{})
	mentions(t, err, "may be a title", "row 3 looks like the header (header: 3)")
	_, rows, _ := read(t, text, Options{Header: 3})
	diff(t, "rows", []string{"4 1|a|f", "5 2|b|m"}, short(rows))
}

func TestPerCent(t *testing.T) {
	const shown, plain = `<c s="1"><v>`, `<c><v>`
	cell := func(start, v string) string { return start + v + `</v></c>` }
	for _, c := range []struct {
		name    string
		cells   []string
		percent Percent
		want    []string
		notices []string
	}{
		{"all of them", []string{cell(shown, "0.98"), cell(shown, "0.97")}, "", []string{"2 0.98", "3 0.97"}, nil},
		{"none of them", []string{cell(plain, "98"), cell(plain, "0.97")}, "", []string{"2 98", "3 0.97"}, nil},
		{"mixed", []string{cell(plain, "98"), cell(shown, "0.97")}, "", []string{"2 98", "3 0.97"}, []string{"percent-mixed v 1@3"}},
		{"mixed, and the stored number counts", []string{cell(plain, "98"), cell(shown, "0.97")}, PercentStored, []string{"2 98", "3 0.97"}, nil},
		{"mixed, and the shown number counts", []string{cell(plain, "98"), cell(shown, "0.97")}, PercentShown, []string{"2 98", "3 97"}, nil},
		{"a text among them", []string{"'98 %", cell(shown, "0.97")}, "", []string{"2 98 %", "3 0.97"}, nil},
		{"the drift of binary arithmetic", []string{cell(shown, "7.2000000000000008E-2"), cell(shown, "0.57999999999999996"), cell(shown, "-1E-3"), cell(shown, "1"), cell(shown, "0"), cell(shown, "12.345")},
			PercentShown, []string{"2 7.2", "3 58", "4 -0.1", "5 100", "6 0", "7 1234.5"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := r(1, "v")
			for i, x := range c.cells {
				rows += r(2+i, x)
			}
			text := raw{formats: []string{`0.0"x"%`}, sheets: []string{rows}}.bytes(t)
			for _, o := range []Options{{Percent: c.percent}, {Sheets: []SheetOptions{{Sheet: "S1", Percent: c.percent}}}} {
				_, got, notices := read(t, text, o)
				diff(t, "rows", c.want, short(got))
				diff(t, "notices", c.notices, told(notices))
			}
		})
	}
}

func TestFormatsThatShowPerCent(t *testing.T) {
	for code, want := range map[string]bool{"0%": true, "0.00 %": true, "[Red]0%;0%": true, `0"%"`: false, `0\%`: false, "0.0": false, "General": false, `"100%" 0`: false} {
		if got := showsPercent(code); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}

func TestFilesOfSheetsThatAreNotReadAreNamed(t *testing.T) {
	for name, want := range map[string]string{"a.xls": "old format", "dir/A.XLSB": ".xlsb", "a.ods": "OpenDocument"} {
		if got := Refused(name); !strings.Contains(got, want) || !strings.Contains(got, "save it as .xlsx") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"a.xlsx", "a.csv", "xls"} {
		if got := Refused(name); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
