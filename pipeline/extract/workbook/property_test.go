package workbook

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// drawn is a cell of a random table: how excelize writes it, and what must come back.
type drawn struct {
	write any
	style string // number format, "" for none
	want  string
}

func draw(t *rapid.T) drawn {
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return drawn{}
	case 1:
		// No character that XML forbids; of those it allows, all that make trouble.
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aB7 \t\n<>&\"'_x000D_é語😀=+-@,;|")), 0, 30, -1).Draw(t, "text")
		return drawn{write: text, want: text}
	case 2:
		n := rapid.Int64Range(-999_999_999_999_999, 999_999_999_999_999).Draw(t, "integer")
		return drawn{write: n, want: strconv.FormatInt(n, 10)}
	case 3:
		n, places := rapid.Int64Range(-99_999_999, 99_999_999).Draw(t, "digits"), rapid.IntRange(1, 4).Draw(t, "places")
		v := float64(n) / math.Pow10(places)
		return drawn{write: v, want: strconv.FormatFloat(v, 'f', -1, 64)}
	case 4:
		day := time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 60_000).Draw(t, "day"))
		return drawn{write: serial(day), style: "d. mmmm yyyy;@", want: day.Format(time.DateOnly)}
	case 5:
		at := time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 4_000_000_000_000).Draw(t, "ms")) * time.Millisecond)
		return drawn{write: serial(at), style: "yyyy-mm-dd hh:mm:ss", want: at.Format("2006-01-02T15:04:05.999")}
	case 6:
		n := rapid.IntRange(0, 99999).Draw(t, "zip")
		return drawn{write: n, style: "00000", want: strings.Repeat("0", 5-len(strconv.Itoa(n))) + strconv.Itoa(n)}
	}
	b := rapid.Bool().Draw(t, "boolean")
	return drawn{write: b, want: strings.ToUpper(strconv.FormatBool(b))}
}

// serial is the number by which a workbook of the epoch 1900 means a time after February of that year.
func serial(t time.Time) float64 {
	return t.Sub(time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)).Hours() / 24
}

func TestWhatExcelizeWritesComesBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		f := excelize.NewFile()
		defer f.Close()
		styles := map[string]int{}
		columns, rows := rapid.IntRange(1, 30).Draw(t, "columns"), rapid.IntRange(0, 12).Draw(t, "rows")
		var want []string
		for c := range columns {
			must(f.SetCellValue("Sheet1", columnName(c+1)+"1", "c"+strconv.Itoa(c)))
		}
		for row := range rows {
			var cells []string
			blank := true
			for c := range columns {
				d := draw(t)
				cells = append(cells, d.want)
				blank = blank && d.want == ""
				if d.write == nil {
					continue
				}
				at := columnName(c+1) + strconv.Itoa(row+2)
				must(f.SetCellValue("Sheet1", at, d.write))
				if d.style != "" {
					if _, ok := styles[d.style]; !ok {
						style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &d.style})
						must(err)
						styles[d.style] = style
					}
					must(f.SetCellStyle("Sheet1", at, at, styles[d.style]))
				}
			}
			if !blank {
				want = append(want, strconv.Itoa(row+2)+" "+strings.Join(cells, "|"))
			}
		}
		path := filepath.Join(dir, "b.xlsx")
		must(f.SaveAs(path))
		s, err := Open(Options{Name: "ehr", Files: []string{path}, Sheets: []SheetOptions{{Sheet: "Sheet1", End: End{Never: true}}}})
		must(err)
		tables, err := s.Tables(context.Background())
		must(err)
		got, err := extracttest.Rows(context.Background(), s, tables[0])
		must(err)
		for i, line := range short(got) {
			if i >= len(want) || line != strings.TrimSpace(want[i]) && line != want[i] {
				t.Fatalf("record %d is %q", i+1, line)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
	})
}

// A random sheet, raw: each row with something in it is a record, a refused one, or counted in a notice.
func TestNoRowIsLost(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var sheet strings.Builder
		sheet.WriteString(r(1, "a", "b", "c"))
		filled, formulas := 0, 0
		number := 1
		for range rapid.IntRange(0, 20).Draw(rt, "rows") {
			number += rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(rt, "step")
			var cells []string
			some, formula := false, false
			for range rapid.IntRange(0, 5).Draw(rt, "cells") {
				c := rapid.SampledFrom([]string{"", "", "1", "x", "Total", `<c t="e"><v>#N/A</v></c>`, `<c><f>A1</f></c>`, `<c t="s"><v>5</v></c>`, `<c s="1"/>`}).Draw(rt, "cell")
				cells = append(cells, c)
				stale := strings.Contains(c, "<f>")
				some = some || c != "" && !stale && c != `<c s="1"/>`
				formula = formula || stale
			}
			sheet.WriteString(r(number, cells...))
			if some {
				filled++
			} else if formula {
				formulas++
			}
		}
		end := rapid.SampledFrom([]End{{}, {Never: true}, {BlankRow: true}, {Column: "a", Value: "To*"}}).Draw(rt, "end")
		path := filepath.Join(dir, "b.xlsx")
		if err := os.WriteFile(path, raw{sheets: []string{sheet.String()}}.bytes(t), 0o600); err != nil {
			rt.Fatal(err)
		}
		s, err := Open(Options{Name: "ehr", Files: []string{path}, Sheets: []SheetOptions{{Sheet: "S1", End: end}}})
		if err != nil {
			rt.Fatal(err)
		}
		tables, err := s.Tables(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		rows, err := extracttest.Rows(context.Background(), s, tables[0])
		if err != nil {
			rt.Fatal(err)
		}
		notices, err := s.Notices(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		left := 0
		for _, n := range notices {
			if n.Rule == NoticeFooter || n.Rule == NoticeEnd {
				left += int(n.Count)
			}
		}
		if len(rows)+left != filled {
			rt.Fatalf("%d records, %d rows left out by rule, of %d", len(rows), left, filled)
		}
		if end.Never && left > 0 {
			rt.Fatal("rows are left out though the table ends nowhere")
		}
	})
}

// FuzzOpen reads workbooks with a mutated sheet, structure or package: no panic, no endless work, and whatever is
// yielded keeps the contract.
func FuzzOpen(f *testing.F) {
	whole := raw{sheets: []string{r(1, "a", "b") + r(2, "1", `<c t="s"><v>0</v></c>`) + r(3, `<c s="1"><v>44431.5</v></c>`, `<c><f>A1</f></c>`)}, formats: []string{"yyyy-mm-dd"},
		strings: "<si><r><t>x</t></r></si>", tail: `<mergeCells><mergeCell ref="A1:B1"/></mergeCells>`}
	f.Add(uint8(0), []byte(r(1, "a")+r(2, "1")))
	f.Add(uint8(1), []byte(`<si><t>_x000D_&amp;<![CDATA[x]]></t></si>`))
	f.Add(uint8(2), []byte(`<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts><numFmt numFmtId="164" formatCode="[h]:mm"/></numFmts><cellXfs><xf/><xf numFmtId="164"/></cellXfs></styleSheet>`))
	f.Add(uint8(3), []byte(`<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheets><sheet name="S1" sheetId="1"/></sheets></workbook>`))
	f.Add(uint8(4), []byte("[<=99999]00000;00000-0000"))
	f.Add(uint8(5), whole.bytes(f))
	f.Fuzz(func(t *testing.T, what uint8, text []byte) {
		w := whole
		switch what % 6 {
		case 0:
			w.sheets = []string{string(text)}
		case 1:
			w.strings = string(text)
		case 2:
			w.extra = map[string]string{"xl/styles.xml": string(text)}
		case 3:
			w.extra = map[string]string{"xl/workbook.xml": string(text)}
		case 4:
			for _, v := range []float64{0, -1, 1, 60, 44431.5, 1e300} {
				if got := parseFormat(string(text)).of(v); got.kind == asZeros && v >= 0 && v < 1e15 {
					appendZeros(nil, uint64(v), got.zeros)
				}
			}
			return
		}
		file := w.bytes(t)
		if what%6 == 5 {
			file = text
		}
		s, tables, err := openOne(t, file, Options{MaxUnpacked: 1 << 22, MaxField: 1000})
		if err != nil {
			return
		}
		for _, table := range tables {
			shards, err := s.Shards(t.Context(), table)
			if err != nil {
				t.Fatal(err)
			}
			ordinal := int64(0)
			for record, err := range s.Read(t.Context(), shards[0], nil) {
				var fault *extract.Fault
				ordinal++
				switch {
				case errors.As(err, &fault):
					if fault.Ordinal != ordinal || fault.Rule == "" {
						t.Errorf("record %d is refused as %d by %q", ordinal, fault.Ordinal, fault.Rule)
					}
				case err != nil:
					t.Fatal(err) // Tables has read it all before
				case record.Ordinal != ordinal || len(record.Cells) != len(table.Columns):
					t.Errorf("record %d has ordinal %d and %d cells", ordinal, record.Ordinal, len(record.Cells))
				}
			}
		}
	})
}
