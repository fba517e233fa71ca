package workbook

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// raw is a workbook written part by part, for what excelize would never write.
type raw struct {
	sheets  []string // rows of each sheet, as XML; they are called S1, S2, …
	tail    string   // behind sheetData of every sheet
	columns string   // before sheetData
	formats []string // number formats; style n has format n-1, style 0 none
	strings string   // <si> elements
	props   string   // attributes of workbookPr
	extra   map[string]string
	states  map[int]string // of sheets, by number from 1
}

func (w raw) bytes(t testing.TB) []byte {
	t.Helper()
	const (
		office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
		main   = ` xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`
		rels   = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	)
	parts := map[string]string{
		"[Content_Types].xml": `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"></Types>`,
		"_rels/.rels":         rels + `<Relationship Id="rId1" Type="` + office + `officeDocument" Target="xl/workbook.xml"/></Relationships>`,
	}
	var list, links, formats, styles strings.Builder
	for i, rows := range w.sheets {
		n := i + 1
		fmt.Fprintf(&list, `<sheet name="S%d" sheetId="%d" state="%s" r:id="rId%d"/>`, n, n, w.states[n], n)
		fmt.Fprintf(&links, `<Relationship Id="rId%d" Type="%sworksheet" Target="worksheets/sheet%d.xml"/>`, n, office, n)
		parts[fmt.Sprintf("xl/worksheets/sheet%d.xml", n)] = "<worksheet" + main + ">" + w.columns + "<sheetData>" + rows + "</sheetData>" + w.tail + "</worksheet>"
	}
	styles.WriteString(`<xf numFmtId="0"/>`)
	for i, f := range w.formats {
		fmt.Fprintf(&formats, `<numFmt numFmtId="%d" formatCode="%s"/>`, 164+i, strings.NewReplacer(`&`, "&amp;", `"`, "&quot;", "<", "&lt;").Replace(f))
		fmt.Fprintf(&styles, `<xf numFmtId="%d"/>`, 164+i)
	}
	fmt.Fprintf(&links, `<Relationship Id="rIdA" Type="%sstyles" Target="styles.xml"/><Relationship Id="rIdB" Type="%ssharedStrings" Target="/xl/sharedStrings.xml"/>`, office, office)
	parts["xl/workbook.xml"] = "<workbook" + main + "><workbookPr " + w.props + "/><sheets>" + list.String() + "</sheets></workbook>"
	parts["xl/_rels/workbook.xml.rels"] = rels + links.String() + "</Relationships>"
	parts["xl/styles.xml"] = "<styleSheet" + main + "><numFmts>" + formats.String() + "</numFmts><cellXfs>" + styles.String() + "</cellXfs></styleSheet>"
	parts["xl/sharedStrings.xml"] = "<sst" + main + ">" + w.strings + "</sst>"
	for name, text := range w.extra {
		parts[name] = text
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		p, err := z.Create(name)
		if err == nil {
			_, err = p.Write([]byte(parts[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// save writes files into a folder of their own and returns options for it.
func save(t testing.TB, files map[string][]byte, o Options) Options {
	t.Helper()
	o.Name, o.Dir = "ehr", t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(o.Dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.Files) == 0 {
		o.Files = []string{"*"}
	}
	return o
}

// openOne opens a source over one workbook, b.xlsx.
func openOne(t testing.TB, text []byte, o Options) (*Source, []*extract.Table, error) {
	t.Helper()
	s, err := Open(save(t, map[string][]byte{"b.xlsx": text}, o))
	if err != nil {
		return nil, nil, err
	}
	tables, err := s.Tables(t.Context())
	return s, tables, err
}

// read reads the only table of a workbook.
func read(t testing.TB, text []byte, o Options) ([]string, []extracttest.Row, []Notice) {
	t.Helper()
	s, tables, err := openOne(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) != 1 {
		t.Fatalf("%d tables", len(tables))
	}
	rows, err := extracttest.Rows(t.Context(), s, tables[0])
	if err != nil {
		t.Fatal(err)
	}
	notices, err := s.Notices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tables[0].Columns, rows, notices
}

// short is what a test says of rows: line and cells, or line, rule and column.
func short(rows []extracttest.Row) []string {
	var out []string
	for _, r := range rows {
		if r.Rule != "" {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%d! %s %s", r.Line, r.Rule, r.Column)))
		} else {
			out = append(out, fmt.Sprintf("%d %s", r.Line, strings.Join(r.Cells, "|")))
		}
	}
	return out
}

// told is what a test says of notices.
func told(notices []Notice) []string {
	var out []string
	for _, n := range notices {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s %d@%d", n.Rule, n.Column, n.Count, n.Row)), " "))
	}
	return out
}

// r is a row of XML with one cell after the other; "" leaves a cell out. A cell that begins with < is taken as it is,
// one that begins with a digit or a minus is a number, ' makes a text of it.
func r(number int, cells ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<row r="%d">`, number)
	for i, c := range cells {
		ref := fmt.Sprintf(`<c r="%s%d"`, columnName(i+1), number)
		switch {
		case c == "":
		case strings.HasPrefix(c, "<c"):
			b.WriteString(ref + c[2:])
		case strings.HasPrefix(c, "'"):
			b.WriteString(ref + ` t="inlineStr"><is><t>` + c[1:] + `</t></is></c>`)
		case strings.Trim(c[:1], "-0123456789") == "":
			b.WriteString(ref + `><v>` + c + `</v></c>`)
		default:
			b.WriteString(ref + ` t="inlineStr"><is><t>` + c + `</t></is></c>`)
		}
	}
	b.WriteString("</row>")
	return b.String()
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got)\n%s", what, d)
	}
}

func TestContract(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	date, err := f.NewStyle(&excelize.Style{NumFmt: 14})
	must(err)
	must(f.SetSheetRow("Sheet1", "A1", &[]any{"id", "born", "note"}))
	for i := range 40 {
		must(f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+2), &[]any{i, 40000 + i, fmt.Sprintf("note %d", i)}))
	}
	must(f.SetCellStyle("Sheet1", "B2", "B41", date))
	must(f.SetCellFormula("Sheet1", "C7", "NA()"))
	must(f.SetCellValue("Sheet1", "F9", "too far right"))
	_, err = f.NewSheet("only a header")
	must(err)
	must(f.SetSheetRow("only a header", "A1", &[]any{"x"}))
	var b bytes.Buffer
	must(f.Write(&b))
	wide := raw{sheets: []string{r(1, "id", "HGB", "WBC") + r(2, "", "g/dL", "'10*3/uL") + r(3, "p1", "1", `<c t="e"><v>#N/A</v></c>`) + r(4, "", "2", "3")}}.bytes(t)
	files := map[string][]byte{"a.xlsx": b.Bytes(), "wide.xlsm": wide}
	for name, o := range map[string]Options{
		"default": {Files: []string{"a.xlsx"}},
		"wide": {Files: []string{"wide.xlsm"}, Sheets: []SheetOptions{{Sheet: "S1", Table: "labs", Header: []int{1, 2},
			FillDown: []string{"id"}, Unpivot: &Unpivot{Keep: []string{"id"}, Header: []string{"test", "unit"}, Value: "value"}}}},
		"two files": {},
	} {
		t.Run(name, func(t *testing.T) {
			o := save(t, files, o)
			extracttest.Run(t, func(t testing.TB) extract.Source {
				s, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func TestCells(t *testing.T) {
	formats := []string{"yyyy-mm-dd", "00000", "000-00-0000", "0%", "[h]:mm:ss", "h:mm", "yyyy-mm-dd hh:mm", `"$"#,##0.00`}
	shared := `<si><t>plain</t></si><si><r><t>rich </t></r><r><rPr><b/></rPr><t xml:space="preserve">text </t></r><rPh sb="0" eb="1"><t>spoken</t></rPh></si>` +
		`<si><t xml:space="preserve"> _x000D_ _x005F_x000D_ &amp;&#10;&#x1F600; _xD83D__xDE00_ _x12_ </t></si><si/><si><t>a_x0000_b</t></si><si><t>` + "\xff" + `</t></si>`
	for _, c := range []struct{ name, cell, want string }{
		{"number", `<c><v>71</v></c>`, "71"},
		{"zeros of the writer", `<c t="n"><v>160903007.0</v></c>`, "160903007"},
		{"zeros of a fraction", `<c t="n"><v>1.50</v></c>`, "1.5"},
		{"a sign", `<c t="n"><v>+5</v></c>`, "5"},
		{"seventeen digits of a tenth", `<c><v>0.10000000000000001</v></c>`, "0.1"},
		{"drift", `<c><v>8.800000000000001</v></c>`, "8.8"},
		{"drift of a sum", `<c><v>0.30000000000000004</v></c>`, "0.3"},
		{"drift downwards", `<c><v>9.199999999999999</v></c>`, "9.2"},
		{"sixteen digits that are meant", `<c><v>36.41989374333241</v></c>`, "36.41989374333241"},
		{"scientific", `<c><v>1.60903007E8</v></c>`, "160903007"},
		{"large", `<c><v>1E+15</v></c>`, "1000000000000000"},
		{"small", `<c><v>1.5E-7</v></c>`, "0.00000015"},
		{"digits beyond 15 as stored", `<c><v>12345678901234567</v></c>`, "12345678901234567"},
		{"negative", `<c><v>-0.5</v></c>`, "-0.5"},
		{"digits as text", `<c t="inlineStr"><is><t>0012345678901234567</t></is></c>`, "0012345678901234567"},
		{"percent", `<c s="4"><v>0.12</v></c>`, "0.12"},
		{"currency", `<c s="8"><v>1234.5</v></c>`, "1234.5"},
		{"zip", `<c s="2"><v>1234</v></c>`, "01234"},
		{"zip of a fraction is a number", `<c s="2"><v>12.5</v></c>`, "12.5"},
		{"ssn", `<c s="3"><v>12345678</v></c>`, "012-34-5678"},
		{"ssn with a digit too many", `<c s="3"><v>1234567890</v></c>`, "1234-56-7890"},
		{"date", `<c s="1"><v>44431</v></c>`, "2021-08-23"},
		{"date with a time in it", `<c s="1"><v>44431.5</v></c>`, "2021-08-23T12:00:00"},
		{"date and time", `<c s="7"><v>44431.14363425926</v></c>`, "2021-08-23T03:26:50"},
		{"midnight", `<c s="7"><v>44431</v></c>`, "2021-08-23T00:00:00"},
		{"milliseconds", `<c s="7"><v>44431.000001447</v></c>`, "2021-08-23T00:00:00.125"},
		{"a second before midnight", `<c s="7"><v>44431.99999999999</v></c>`, "2021-08-24T00:00:00"},
		{"time", `<c s="6"><v>0.17638888888888889</v></c>`, "04:14:00"},
		{"time with a day", `<c s="6"><v>1.5</v></c>`, "1900-01-01T12:00:00"},
		{"duration", `<c s="5"><v>1.2604166666666667</v></c>`, "30:15:00"},
		{"duration backwards", `<c s="5"><v>-0.5</v></c>`, "-12:00:00"},
		{"first day", `<c s="1"><v>1</v></c>`, "1900-01-01"},
		{"no day", `<c s="1"><v>0</v></c>`, "1900-01-00"},
		{"day before the leap day that never was", `<c s="1"><v>59</v></c>`, "1900-02-28"},
		{"the leap day that never was", `<c s="1"><v>60</v></c>`, "1900-02-29"},
		{"day after it", `<c s="1"><v>61</v></c>`, "1900-03-01"},
		{"last day", `<c s="1"><v>2958465</v></c>`, "9999-12-31"},
		{"beyond the last day", `<c s="1"><v>2958466</v></c>`, "2958466"},
		{"before the first day", `<c s="1"><v>-1</v></c>`, "-1"},
		{"text under a date format", `<c s="1" t="str"><v>1950</v></c>`, "1950"},
		{"iso date", `<c t="d"><v>2024-05-01</v></c>`, "2024-05-01"},
		{"iso date and time", `<c t="d"><v>2024-05-01T08:00:00.500</v></c>`, "2024-05-01T08:00:00.5"},
		{"true", `<c t="b"><v>1</v></c>`, "TRUE"},
		{"false", `<c t="b"><v>0</v></c>`, "FALSE"},
		{"shared", `<c t="s"><v>0</v></c>`, "plain"},
		{"rich", `<c t="s"><v>1</v></c>`, "rich text "},
		{"escapes", `<c t="s"><v>2</v></c>`, " \r _x000D_ &\n😀 😀 _x12_ "},
		{"shared and empty", `<c t="s"><v>3</v></c>`, ""},
		{"inline rich", `<c t="inlineStr"><is><r><t>a</t></r><r><t> b</t></r></is></c>`, "a b"},
		{"line ends", "<c t=\"inlineStr\"><is><t>a\r\nb\rc</t></is></c>", "a\nb\nc"},
		{"cdata", `<c t="inlineStr"><is><t><![CDATA[a <b> &amp;]]></t></is></c>`, "a <b> &amp;"},
		{"comment", `<c t="inlineStr"><is><t>a<!-- > -->b</t></is></c>`, "ab"},
		{"formula", `<c><f>A1*2</f><v>4</v></c>`, "4"},
		{"formula with text", `<c t="str"><f>A1&amp;"x"</f><v>4x</v></c>`, "4x"},
		{"formula with empty text", `<c t="str"><f>""</f><v></v></c>`, ""},
		{"only a style", `<c s="1"/>`, ""},
		{"number without digits", `<c s="1" t="n"></c>`, ""},
		{"error", `<c t="e"><v>#REF!</v></c>`, "! error-cell v"},
		{"stale formula", `<c><f>NOW()</f></c>`, "! stale-formula v"},
		{"stale formula, empty value", `<c><f>NOW()</f><v></v></c>`, "! stale-formula v"},
		{"word as number", `<c><v>abc</v></c>`, "! malformed-cell v"},
		{"hexadecimal", `<c><v>0x1p4</v></c>`, "! malformed-cell v"},
		{"infinity", `<c><v>INF</v></c>`, "! malformed-cell v"},
		{"too large for a number", `<c><v>1e999</v></c>`, "! malformed-cell v"},
		{"no such string", `<c t="s"><v>99</v></c>`, "! malformed-cell v"},
		{"no such boolean", `<c t="b"><v>2</v></c>`, "! malformed-cell v"},
		{"no such type", `<c t="z"><v>2</v></c>`, "! malformed-cell v"},
		{"no such date", `<c t="d"><v>2024-02-30</v></c>`, "! malformed-cell v"},
		{"nul", `<c t="s"><v>4</v></c>`, "! nul-byte v"},
		{"no utf-8 in shared strings", `<c t="s"><v>5</v></c>`, "! invalid-encoding v"},
		{"no utf-8", "<c t=\"inlineStr\"><is><t>\xff</t></is></c>", "! invalid-encoding v"},
		{"too long", `<c t="inlineStr"><is><t>` + strings.Repeat("x", 101) + `</t></is></c>`, "! field-too-long v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := raw{formats: formats, strings: shared, sheets: []string{r(1, "k", "v") + r(2, "k", "v") + r(3, "k", c.cell)}}.bytes(t)
			_, rows, _ := read(t, text, Options{MaxField: 100})
			want := "3 k|" + c.want
			if strings.HasPrefix(c.want, "!") {
				want = "3" + c.want
			}
			diff(t, "row", []string{"2 k|v", want}, short(rows))
		})
	}
}

func TestEpoch1904(t *testing.T) {
	text := raw{formats: []string{"yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"}, props: `date1904="1"`,
		sheets: []string{r(1, "a", "b") + r(2, `<c s="1"><v>0</v></c>`, `<c s="2"><v>16071.623067129629</v></c>`) + r(3, `<c s="1"><v>2957003</v></c>`)}}.bytes(t)
	_, rows, _ := read(t, text, Options{})
	diff(t, "rows", []string{"2 1904-01-01|1948-01-01T14:57:13", "3 9999-12-31|"}, short(rows))
}

func TestRows(t *testing.T) {
	stale := `<c><f>TODAY()</f><v></v></c>`
	one := func(o SheetOptions) Options { o.Sheet = "S1"; return Options{Sheets: []SheetOptions{o}} }
	many := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(r(from+i, "p", "n", "m"))
		}
		return b.String()
	}
	for _, c := range []struct {
		name    string
		rows    string
		tail    string
		o       Options
		columns []string
		want    []string
		notices []string
	}{
		{name: "title and printing lines above the header",
			rows: r(1, "Export") + r(2, "printed") + r(4, "id", "name") + r(5, "1", "a"), o: Options{Header: 4},
			want: []string{"5 1|a"}, notices: []string{"above-header 2@1"}},
		{name: "a total line behind a blank row is a footer",
			rows: r(1, "id", "name", "sex") + r(2, "1", "a", "f") + r(3, "2", "b", "m") + r(5, "Total", "2"),
			want: []string{"2 1|a|f", "3 2|b|m"}, notices: []string{"footer 1@5"}},
		{name: "a footer of two blocks",
			rows: r(1, "id", "name", "sex") + r(2, "1", "a", "f") + r(3, "2", "b", "m") + r(5, "Total", "2") + r(8, "signed"),
			want: []string{"2 1|a|f", "3 2|b|m"}, notices: []string{"footer 2@5"}},
		{name: "a record behind a blank row is none",
			rows: r(1, "id", "name", "sex") + r(2, "1", "a", "f") + r(3, "2", "b") + r(5, "3", "c"),
			want: []string{"2 1|a|f", "3 2|b|", "5 3|c|"}, notices: []string{"rows-after-blank-row 1@5"}},
		{name: "many narrow rows behind a blank one are records",
			rows: many(1, 8) + r(10, "1") + r(11, "2") + r(12, "3") + r(13, "4") + r(14, "5") + r(15, "6"), o: one(SheetOptions{Columns: []string{"id", "name", "sex"}}),
			want:    append(short(rowsOf(1, 8)), "10 1||", "11 2||", "12 3||", "13 4||", "14 5||", "15 6||"),
			notices: []string{"rows-after-blank-row 6@10"}},
		{name: "never: the footer is read",
			rows: r(1, "id", "name") + r(2, "1", "a") + r(4, "Total"), o: one(SheetOptions{End: End{Never: true}}),
			want: []string{"2 1|a", "4 Total|"}, notices: []string{"rows-after-blank-row 1@4"}},
		{name: "the end by a blank row",
			rows: r(1, "id", "name") + r(3, "1", "a") + r(4) + r(5, "2", "b") + r(6, "3", "c"), o: one(SheetOptions{End: End{BlankRow: true}}),
			want: []string{"3 1|a"}, notices: []string{"end 2@5"}},
		{name: "the end by a row that is not written",
			rows: r(1, "id", "name") + r(2, "1", "a") + r(9, "2", "b"), o: one(SheetOptions{End: End{BlankRow: true}}),
			want: []string{"2 1|a"}, notices: []string{"end 1@9"}},
		{name: "the end by a value",
			rows: r(1, "id", "name") + r(2, "1", "a") + r(3, " Total ", "1") + r(4, "2", "b"), o: one(SheetOptions{End: End{Column: "id", Value: "Total"}}),
			want: []string{"2 1|a"}, notices: []string{"end 2@3"}},
		{name: "the end by how a value begins",
			rows: r(1, "id", "name") + r(2, "1", "a") + r(3, "Total: 1"), o: one(SheetOptions{End: End{Column: "id", Value: "Total*"}}),
			want: []string{"2 1|a"}, notices: []string{"end 1@3"}},
		{name: "an end that is not there",
			rows: r(1, "id", "name") + r(2, "1", "a") + r(4, "x"), o: one(SheetOptions{End: End{Column: "id", Value: "Total"}}),
			want: []string{"2 1|a", "4 x|"}, notices: []string{"end-not-found id 1@0", "rows-after-blank-row 1@4"}},
		{name: "a ragged row",
			rows: r(1, "id", "name") + r(2, "1", "a", "", "x") + r(3, "2", "b"),
			want: []string{"2! ragged-row", "3 2|b"}},
		{name: "a range",
			rows: r(1, "x", "y", "z") + r(2, "note", "id", "name", "far") + r(3, "", "1", "a", "far") + r(4, "", "2", "b") + r(5, "", "3"), o: one(SheetOptions{Range: "b2:c4"}),
			columns: []string{"id", "name"}, want: []string{"3 1|a", "4 2|b"}},
		{name: "a range without a last row",
			rows: r(1, "x") + r(2, "", "id") + r(3, "far", "1"), o: one(SheetOptions{Range: "B:B"}),
			columns: []string{"id"}, want: []string{"3 1"}},
		{name: "columns of the plan instead of a doubled header",
			rows: r(1, "id", "id") + r(2, "1", "a"), o: one(SheetOptions{Header: []int{1}, Columns: []string{"id", "name"}}),
			columns: []string{"id", "name"}, want: []string{"2 1|a"}},
		{name: "no header",
			rows: r(1, "1", "a") + r(2, "2", "b"), o: one(SheetOptions{Columns: []string{"id", "name"}}),
			columns: []string{"id", "name"}, want: []string{"1 1|a", "2 2|b"}},
		{name: "two header rows, merged",
			rows: r(1, "Patient", "Prescription", "", "Reason") + r(2, "", "Start", "Stop", "Code") + r(3, "p", "1", "2", "3"),
			tail: `<mergeCells><mergeCell ref="A1:A2"/><mergeCell ref="B1:C1"/></mergeCells>`, o: one(SheetOptions{Header: []int{1, 2}}),
			columns: []string{"Patient", "Prescription Start", "Prescription Stop", "Reason Code"}, want: []string{"3 p|1|2|3"}},
		{name: "a column without a name or a value is not a column",
			rows: r(1, "id", "", "name") + r(2, "1", `<c s="0"/>`, "a"), columns: []string{"id", "name"}, want: []string{"2 1|a"}},
		{name: "formulas without a value in a whole column",
			rows: r(1, "id", "age") + r(2, "1", stale) + r(3, "2", stale) + r(4, "", stale), columns: []string{"id"},
			want: []string{"2 1", "3 2"}, notices: []string{"formulas-without-values age 2@2", "rows-of-formulas 1@4"}},
		{name: "formulas without a value in one cell",
			rows: r(1, "id", "age") + r(2, "1", stale) + r(3, "2", `<c><f>X</f><v>7</v></c>`), columns: []string{"id", "age"},
			want: []string{"2! stale-formula age", "3 2|7"}, notices: []string{"formula-results age 1@3"}},
		{name: "an ignored column", rows: r(1, "id", "age") + r(2, "1", stale) + r(3, "2", "3"), o: one(SheetOptions{Ignore: []string{"age"}}),
			columns: []string{"id"}, want: []string{"2 1", "3 2"}},
		{name: "a value in the total line does not make a formula column one with values",
			rows: r(1, "id", "n", "age") + r(2, "1", "a", stale) + r(3, "2", "b", stale) + r(5, "", "", "7"), columns: []string{"id", "n"},
			want: []string{"2 1|a", "3 2|b"}, notices: []string{"formulas-without-values age 2@2", "footer 1@5"}},
		{name: "filled down",
			rows: r(1, "id", "v") + r(2, "", "0") + r(3, "a", "1") + r(4, "", "2") + r(5, "b", "3") + r(6, "", "4"), o: one(SheetOptions{FillDown: []string{"id"}}),
			want: []string{"2 |0", "3 a|1", "4 a|2", "5 b|3", "6 b|4"}, notices: []string{"filled-down id 2@4"}},
		{name: "an unreadable cell is not filled down over",
			rows: r(1, "id", "v") + r(2, "a", "1") + r(3, `<c t="e"><v>#N/A</v></c>`, "2") + r(4, "", "3") + r(5, "b", "4"), o: one(SheetOptions{FillDown: []string{"id"}}),
			want: []string{"2 a|1", "3! error-cell id", "4! error-cell id", "5 b|4"}, notices: []string{"filled-down id 1@4"}},
		{name: "merged cells among the records",
			rows: r(1, "id", "v") + r(2, "a", "1") + r(3, "", "2"), tail: `<mergeCells><mergeCell ref="A2:A3"/></mergeCells>`,
			want: []string{"2 a|1", "3 |2"}, notices: []string{"merged-cells 1@2"}},
		{name: "a cell twice", rows: r(1, "id") + `<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>`, want: []string{"2! doubled-cell id"}},
		{name: "cells out of order", rows: r(1, "id", "v") + `<row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>2</v></c></row>`, want: []string{"2 2|1"}},
		{name: "no references", rows: r(1, "id", "v") + `<row><c><v>1</v></c><c><v>2</v></c></row>`, want: []string{"2 1|2"}},
		{name: "long numbers", rows: r(1, "id") + r(2, "1234567890123456") + r(3, `<c><v>1.2E+16</v></c>`) + r(4, "123456789012345"),
			want: []string{"2 1234567890123456", "3 12000000000000000", "4 123456789012345"}, notices: []string{"digits-beyond-15 id 2@2"}},
		{name: "the last row of the old format", rows: r(1, "id") + r(2, "1") + r(65536, "2"),
			want: []string{"2 1", "65536 2"}, notices: []string{"row-ceiling 1@65536", "rows-after-blank-row 1@65536"}},
		{name: "the last row", rows: r(1, "id") + r(1048576, "2"), want: []string{"1048576 2"}, notices: []string{"row-ceiling 1@1048576"}},
		{name: "a range beside the header of all sheets", rows: r(1, "x") + r(2, "", "id") + r(3, "", "1"), o: func() Options {
			o := one(SheetOptions{Range: "B1:C9"})
			o.Header = 3
			return o
		}(), columns: []string{"id"}, want: []string{"3 1"}},
		{name: "hidden rows and columns", rows: r(1, "id") + `<row r="2" hidden="1"><c r="A2"><v>1</v></c></row>`,
			want: []string{"2 1"}, notices: []string{"hidden-sheet 1@0", "hidden-rows 1@2", "hidden-column id 1@0"}},
		{name: "prefixes", rows: `<x:row xmlns:x="u" r="1"><x:c r="A1" t="inlineStr"><x:is><x:t>id</x:t></x:is></x:c></x:row>` + r(2, "7"), want: []string{"2 7"}},
		{name: "unpivoted", rows: r(1, "Patient", "Taken", "HGB", "WBC", "Sex") + r(2, "", "", "g/dL", "'10*3/uL") + r(3, "", "", "'718-7", "'6690-2") +
			r(4, "p1", "d1", "13.5", "5") + r(5, "", "d2", "", "6") + r(6, "", "d3") + r(7, "p2", "d4", `<c t="e"><v>#N/A</v></c>`, "7") + r(8, "p3", `<c t="e"><v>#N/A</v></c>`, "1", "2"),
			o: one(SheetOptions{Table: "labs", Header: []int{1, 2, 3}, Ignore: []string{"Sex"}, FillDown: []string{"Patient"},
				Unpivot: &Unpivot{Keep: []string{"Patient", "Taken"}, Header: []string{"Test", "Unit", "Code"}, Value: "Value"}}),
			columns: []string{"Patient", "Taken", "Test", "Unit", "Code", "Value"},
			want: []string{"4 p1|d1|HGB|g/dL|718-7|13.5", "4 p1|d1|WBC|10*3/uL|6690-2|5", "5 p1|d2|WBC|10*3/uL|6690-2|6",
				"7! error-cell Value", "7 p2|d4|WBC|10*3/uL|6690-2|7", "8! error-cell Taken", "8! error-cell Taken"},
			notices: []string{"rows-without-values 1@6", "filled-down Patient 2@5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := raw{sheets: []string{c.rows}, tail: c.tail}
			if strings.HasPrefix(c.name, "hidden") {
				w.columns, w.states = `<cols><col min="1" max="3" hidden="1"/></cols>`, map[int]string{1: "veryHidden"}
			}
			columns, rows, notices := read(t, w.bytes(t), c.o)
			if c.columns != nil {
				diff(t, "columns", c.columns, columns)
			}
			diff(t, "rows", c.want, short(rows))
			diff(t, "notices", c.notices, told(notices))
			for i, r := range rows {
				if r.Ordinal != int64(i)+1 {
					t.Errorf("record %d has ordinal %d", i+1, r.Ordinal)
				}
			}
		})
	}
}

// rowsOf are n rows as many() of TestRows writes them.
func rowsOf(from, n int) []extracttest.Row {
	var out []extracttest.Row
	for i := range n {
		out = append(out, extracttest.Row{Line: int64(from + i), Cells: []string{"p", "n", "m"}})
	}
	return out
}

func TestFaultyHeadersAreListedTogether(t *testing.T) {
	stale := `<c><f>A</f></c>`
	for _, c := range []struct {
		name, rows string
		so         SheetOptions
		want       []string
	}{
		{"blank and doubled", r(1, "", "x", "", "x", "x") + r(2, "1", "2", "3", "4", "5"), SheetOptions{},
			[]string{"the same name: columns B, D, E", "no name in the header, and values below it: columns A, C", "say in the plan"}},
		{"a header of values", r(1, "Zzyzx", "40000") + r(2, "1", "2"), SheetOptions{}, []string{"no text in the header", "cells B1"}},
		{"a header that cannot be read", r(1, "a", `<c t="e"><v>#N/A</v></c>`) + r(2, "1", "2"), SheetOptions{}, []string{"cell B1 of the header cannot be read: error-cell"}},
		{"no such rows", r(1, "a") + r(2, "1"), SheetOptions{Header: []int{1, 7}}, []string{"row 7 is a header row by the plan, and holds nothing"}},
		{"no such columns", r(1, "a") + r(2, "1"), SheetOptions{Ignore: []string{"p"}, FillDown: []string{"q"}, End: End{Column: "r", Value: "x"}},
			[]string{`ignore: there is no column "p"`, `fill down: there is no column "q"`, `end: there is no column "r"`}},
		{"unpivot", r(1, "a", "b", "b") + r(2, "1", "2", "3"), SheetOptions{Unpivot: &Unpivot{Keep: []string{"z"}, Header: []string{"t", "u"}, Value: "v"}},
			[]string{`keep: there is no column "z"`, "the same name: columns B, C", "it names what 2 rows of the header say, and there are 1"}},
		{"unpivot keeps formulas", r(1, "a", "b") + r(2, stale, "2"), SheetOptions{Unpivot: &Unpivot{Keep: []string{"a"}, Header: []string{"t"}, Value: "v"}},
			[]string{`column "a" holds formulas without a stored value`}},
		{"more columns than the range", r(1, "a", "b") + r(2, "1", "2"), SheetOptions{Range: "A1:B9", Columns: []string{"a", "b", "c"}},
			[]string{"the plan names 3, the range has 2"}},
		{"empty", "", SheetOptions{}, []string{"it holds nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.so.Sheet = "S1"
			_, _, err := openOne(t, raw{sheets: []string{c.rows}}.bytes(t), Options{Sheets: []SheetOptions{c.so}})
			mentions(t, err, c.want...)
			if strings.Contains(fmt.Sprint(err), "Zzyzx") {
				t.Error("the error shows a cell")
			}
		})
	}
}

// mentions says whether an error names all of these.
func mentions(t testing.TB, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %v, want one with %q", err, w)
		}
	}
}

func TestSheetsThatAreNoTablesAreNoticed(t *testing.T) {
	text := raw{sheets: []string{r(1, "id") + r(2, "1"), "", r(1, "x", "x"), r(1, "a") + r(2, "b")}, states: map[int]string{4: "hidden"}}.bytes(t)
	s, tables, err := openOne(t, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, table := range tables {
		names = append(names, table.Name)
	}
	diff(t, "tables", []string{"S1", "S4"}, names)
	notices, err := s.Notices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "notices", []string{"empty-sheet 1@0", "sheet-is-no-table 1@0", "hidden-sheet 1@0"}, told(notices))
	s, _, err = openOne(t, text, Options{Sheets: []SheetOptions{{Sheet: "S4", Table: "codes"}}})
	if err != nil {
		t.Fatal(err)
	}
	notices, _ = s.Notices(t.Context())
	diff(t, "notices", []string{"sheet-not-read 1@0", "sheet-not-read 1@0", "sheet-not-read 1@0", "hidden-sheet 1@0"}, told(notices))
	if got := notices[3].String(); got != `sheet "S4": it is hidden, and read all the same` {
		t.Errorf("for people: %s", got)
	}
	_, _, err = openOne(t, text, Options{Sheets: []SheetOptions{{Sheet: "S5"}, {Sheet: "S6"}}})
	mentions(t, err, `no workbook has a sheet "S5"; there are "S1", "S2", "S3", "S4"`, `"S6"`)
	_, _, err = openOne(t, raw{sheets: []string{"", ""}}.bytes(t), Options{})
	mentions(t, err, "no sheet holds anything")
}

func TestAFileThatIsGone(t *testing.T) {
	o := save(t, map[string][]byte{"b.xlsx": raw{sheets: []string{r(1, "id") + r(2, "1")}}.bytes(t)}, Options{})
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir, "b.xlsx")); err != nil {
		t.Fatal(err)
	}
	_, err = s.Tables(t.Context())
	mentions(t, err, "b.xlsx: no such file")
	if strings.Contains(fmt.Sprint(err), o.Dir) {
		t.Errorf("the error names the folder: %v", err)
	}
}

func TestNoticesForPeople(t *testing.T) {
	n := Notice{File: "labs.xlsx", Sheet: "Labs", Table: "labs", Rule: NoticeFilledDown, Column: "Patient", Row: 5, Count: 3, Detail: "why"}
	diff(t, "notice", `sheet "Labs": column "Patient": blank cells took the value above, as the plan says (3, the first in row 5): why`, n.String())
}

func TestSeveralFiles(t *testing.T) {
	one := raw{sheets: []string{r(1, "id") + r(2, "1")}}.bytes(t)
	o := save(t, map[string][]byte{"jan.xlsx": one, "feb.xlsx": one, "~$feb.xlsx": {1}}, Options{Files: []string{"*.xlsx", "jan.*"}})
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, table := range tables {
		names = append(names, table.Name+" in "+table.File)
	}
	diff(t, "tables", []string{"feb.S1 in feb.xlsx", "jan.S1 in jan.xlsx"}, names)
	two := raw{sheets: []string{r(1, "id") + r(2, "1"), r(1, "id") + r(2, "1")}}.bytes(t)
	s, err = Open(save(t, map[string][]byte{"jan.xlsx": one, "feb.xlsx": two}, Options{Sheets: []SheetOptions{{Sheet: "S2", Table: "labs"}}}))
	if err != nil {
		t.Fatal(err)
	}
	notices, err := s.Notices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "notices", []string{"sheet-not-read 1@0", "sheet-not-read 1@0", "sheet-not-there 1@0"}, told(notices))
	s, err = Open(save(t, map[string][]byte{"jan.xlsx": one, "jan.xlsm": one}, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Tables(t.Context())
	mentions(t, err, `table "jan.S1" is in jan.xlsm and in jan.xlsx`)
}

func TestOpenListsAllFaults(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"no file is named"}},
		{Options{Files: []string{"no/such.xlsx", "["}}, []string{"no/such.xlsx: no such file", "syntax error in pattern"}},
		{Options{Header: -1, MaxField: -1, Files: []string{"x"}, Sheets: []SheetOptions{
			{Sheet: "A", Table: "t", Header: []int{2, 1}, Range: "A:", FillDown: []string{"x", "x"}},
			{Sheet: "B", Table: "t", End: End{BlankRow: true, Never: true}},
			{Sheet: "", End: End{Column: "x"}},
			{Sheet: "C", Columns: []string{"a", " "}, Unpivot: &Unpivot{Keep: []string{"v"}, Value: "v"}}}},
			[]string{"header:", "limits", `two sheets are called table "t"`, `sheet "A": header:`, `"A:" is not a range`, `fill down: "x" is there twice`,
				`sheet "B": end: more than one rule`, "a sheet has no name", "end: it takes a column and the value", `columns: name 2 is blank`,
				`unpivot: "v" is there twice`, "unpivot: it takes a name for the value", "columns: cannot name them"}},
	} {
		_, err := Open(c.o)
		mentions(t, err, c.want...)
	}
}

// compoundFile is an OLE compound file with one directory entry of that name.
func compoundFile(name string) []byte {
	b := make([]byte, 1024)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(b[30:], 9)
	for i, u := range utf16.Encode([]rune(name)) {
		binary.LittleEndian.PutUint16(b[512+2*i:], u)
	}
	return b
}

func TestOtherFilesAreRefusedWithAdvice(t *testing.T) {
	good := raw{sheets: []string{r(1, "id") + r(2, "1")}}
	with := func(extra map[string]string) []byte { w := good; w.extra = extra; return w.bytes(t) }
	doubled := func() []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, n := range []string{"xl/a.xml", "XL/A.xml", "../out.xml"} {
			if _, err := z.Create(n); err != nil {
				t.Fatal(err)
			}
		}
		_ = z.Close()
		return b.Bytes()
	}
	secret := excelize.NewFile()
	var encrypted bytes.Buffer
	if err := secret.Write(&encrypted, excelize.Options{Password: "Zzyzx"}); err != nil {
		t.Fatal(err)
	}
	_ = secret.Close()
	whole := good.bytes(t)
	for _, c := range []struct {
		name, file string
		text       []byte
		want       []string
	}{
		{"old format by name", "a.xls", nil, []string{"a.xls is a workbook of the old format", "save it as .xlsx"}},
		{"old format by content", "a.xlsx", compoundFile("Workbook"), []string{"old format (.xls)", "save it as .xlsx"}},
		{"encrypted", "a.xlsx", encrypted.Bytes(), []string{"encrypted", "without a password"}},
		{"encrypted, by its directory", "a.xlsx", compoundFile("EncryptedPackage"), []string{"encrypted"}},
		{"binary by name", "a.xlsb", nil, []string{"binary workbook"}},
		{"binary by content", "a.xlsx", with(map[string]string{"xl/workbook.bin": "x"}), []string{".xlsb"}},
		{"opendocument by name", "a.ods", nil, []string{"OpenDocument"}},
		{"opendocument by content", "a.xlsx", with(map[string]string{"mimetype": "x", "content.xml": "x"}), []string{".ods"}},
		{"text", "a.csv", nil, []string{"neither .xlsx nor .xlsm"}},
		{"no zip", "a.xlsx", []byte("id,name\n"), []string{"not a zip package"}},
		{"empty", "a.xlsx", nil, []string{"not a zip package"}},
		{"cut off", "a.xlsx", whole[:len(whole)-30], []string{"damaged or cut off"}},
		{"names", "a.xlsx", doubled(), []string{"leads out of it", "the same name"}},
		{"no workbook", "a.xlsx", with(map[string]string{"_rels/.rels": "<Relationships/>"}), []string{"does not say which part"}},
		{"doctype", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet>&a;</worksheet>`}), []string{"DOCTYPE"}},
		{"doctype in styles", "a.xlsx", with(map[string]string{"xl/styles.xml": `<!DOCTYPE x><styleSheet/>`}), []string{"DOCTYPE"}},
		{"entity", "a.xlsx", with(map[string]string{"xl/sharedStrings.xml": `<sst><si><t>&a;</t></si></sst>`}), []string{"an entity that is none"}},
		{"utf-16", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": "\xff\xfe<\x00"}), []string{"not in UTF-8"}},
		{"latin-1", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<?xml version="1.0" encoding="iso-8859-1"?><worksheet/>`}), []string{"not in UTF-8"}},
		{"truncated sheet", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row r="1"><c r="A1"`}), []string{"ends in the middle"}},
		{"no sheet", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet/>`}), []string{"holds no sheet"}},
		{"rows out of order", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row r="2"/><row r="2"/></sheetData></worksheet>`}), []string{"near row 2", "not in order"}},
		{"too many rows", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row r="1048577"/></sheetData></worksheet>`}), []string{"beyond 1048576"}},
		{"a cell of another row", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row r="1"><c r="A2"/></row></sheetData></worksheet>`}), []string{"a cell has no place"}},
		{"a column too far", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row r="1"><c r="XFE1"/></row></sheetData></worksheet>`}), []string{"a cell has no place"}},
		{"a long tag", "a.xlsx", with(map[string]string{"xl/worksheets/sheet1.xml": `<worksheet a="` + strings.Repeat("x", 1<<17) + `"/>`}), []string{"more than 64 KiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(save(t, map[string][]byte{c.file: c.text}, Options{}))
			if err == nil {
				_, err = s.Tables(t.Context())
			}
			mentions(t, err, append(c.want, c.file)...)
		})
	}
}

func TestZipBombsAreRefused(t *testing.T) {
	var bomb bytes.Buffer
	z := zip.NewWriter(&bomb)
	if _, err := z.CreateRaw(&zip.FileHeader{Name: "xl/worksheets/sheet1.xml", Method: zip.Deflate, UncompressedSize64: bombSize + 1}); err != nil {
		t.Fatal(err)
	}
	_ = z.Close()
	_, _, err := openOne(t, bomb.Bytes(), Options{})
	mentions(t, err, "zip-bomb: a part unpacks to more than 400 times its size")
	w := raw{sheets: []string{r(1, "id") + strings.Repeat(" ", 1<<20) + r(2, "1")}}
	text := w.bytes(t)
	_, _, err = openOne(t, text, Options{MaxUnpacked: 1 << 20})
	mentions(t, err, "zip-bomb: the package unpacks to", "at most 1048576")
	w = raw{sheets: []string{r(1, "id") + r(2, "1")}, strings: strings.Repeat("<si><t>0123456789</t></si>", 1000)}
	_, _, err = openOne(t, w.bytes(t), Options{MaxShared: 10_000})
	mentions(t, err, "shared strings", "more than the 10000 bytes")
	w = raw{sheets: []string{r(1, "a", "b", "c") + r(2, "1")}}
	_, _, err = openOne(t, w.bytes(t), Options{MaxColumns: 2})
	mentions(t, err, "too-many-columns: 3, at most 2")
}

// A size in the directory that is smaller than the part must not let a bomb through.
func TestSizesThatLie(t *testing.T) {
	text := raw{sheets: []string{r(1, "id") + strings.Repeat(" ", 5000) + r(2, "1")}}.bytes(t)
	at := bytes.Index(text, []byte("PK\x01\x02"))
	for i := at; i >= 0 && i < len(text); {
		if name := text[i+46 : i+46+int(binary.LittleEndian.Uint16(text[i+28:]))]; string(name) == "xl/worksheets/sheet1.xml" {
			binary.LittleEndian.PutUint32(text[i+24:], 500)
		}
		next := bytes.Index(text[i+4:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		i += 4 + next
	}
	_, _, err := openOne(t, text, Options{})
	mentions(t, err, "unpack")
}

func TestAChangedFileStopsTheRun(t *testing.T) {
	make := func(v string, format string) []byte {
		return raw{sheets: []string{r(1, "id", "n") + r(2, v, `<c t="s"><v>0</v></c>`)}, formats: []string{format}, strings: "<si><t>" + v + "</t></si>"}.bytes(t)
	}
	o := save(t, map[string][]byte{"b.xlsx": make("1", "0")}, Options{})
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	shards := extracttest.Shards(t, s)
	var was extract.Digest
	if _, err := extracttest.ShardRows(t.Context(), s, shards[0], &was); err != nil {
		t.Fatal(err)
	}
	sum, err := s.Sum(t.Context(), shards[0])
	if err != nil || sum.Sum != was.Sum || sum.Bytes != was.Bytes {
		t.Errorf("Sum is not what Read digests: %v", err)
	}
	for _, text := range [][]byte{make("2", "0"), make("1", "00000")} {
		if err := os.WriteFile(filepath.Join(o.Dir, "b.xlsx"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		var done extract.Digest
		rows, err := extracttest.ShardRows(t.Context(), s, shards[0], &done)
		if len(rows) > 0 || !errors.Is(err, extract.ErrChanged) || done.Complete {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		if _, err := s.Sum(t.Context(), shards[0]); !errors.Is(err, extract.ErrChanged) {
			t.Errorf("Sum: %v", err)
		}
		again, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		other, err := again.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		shard, _ := again.Shards(t.Context(), other[0])
		if sum, err := again.Sum(t.Context(), shard[0]); err != nil || sum.Sum == was.Sum {
			t.Errorf("the digest of another workbook is the same; %v", err)
		}
	}
}

func TestCancelWhileTablesAreRead(t *testing.T) {
	s, err := Open(save(t, map[string][]byte{"b.xlsx": raw{sheets: []string{r(1, "id") + r(2, "1")}}.bytes(t)}, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Notices(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Notices: %v", err)
	}
	if _, err := s.Tables(t.Context()); err != nil {
		t.Errorf("a cancelled call spoils the next: %v", err)
	}
}

// A row may not take more memory than a record of CSV, however many cells share it.
func TestARowIsBounded(t *testing.T) {
	cells := make([]string, 20)
	names := make([]string, 20)
	for i := range cells {
		cells[i], names[i] = "'"+strings.Repeat("x", 1<<20), fmt.Sprintf("c%d", i)
	}
	_, rows, _ := read(t, raw{sheets: []string{r(1, names...) + r(2, cells...) + r(3, "1")}}.bytes(t), Options{})
	diff(t, "rows", []string{"2! record-too-long c16", "3 1" + strings.Repeat("|", 19)}, short(rows))
}

// Strict Open XML (ECMA-376-1, other namespaces), prefixes everywhere, parts under other names.
func TestStrictAndPrefixedWorkbook(t *testing.T) {
	const office = "http://purl.oclc.org/ooxml/officeDocument/relationships"
	rels := func(list string) string {
		return `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + list + `</Relationships>`
	}
	text := raw{extra: map[string]string{
		"_rels/.rels": rels(`<Relationship Target="book/main.xml" Type="` + office + `/officeDocument" Id="x1"/>`),
		"book/main.xml": `<?xml version="1.0" encoding="UTF-8"?><workbook xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main" xmlns:r="` + office + `" conformance="strict">` +
			`<sheets><sheet name="Visits &amp; more" sheetId="1" r:id="x1"/><sheet name="a chart" sheetId="2" r:id="x2"/></sheets></workbook>`,
		"book/_rels/main.xml.rels": rels(`<Relationship Id="x1" Type="` + office + `/worksheet" Target="sheets/one.xml"/><Relationship Id="x2" Type="` + office + `/chartsheet" Target="c.xml"/>` +
			`<Relationship Id="x3" Type="` + office + `/styles" Target="/book/look.xml"/><Relationship Id="x4" Type="` + office + `/hyperlink" Target="https://example.org" TargetMode="External"/>`),
		"book/look.xml": `<styleSheet xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>`,
		"book/c.xml":    `<chartsheet/>`,
		"book/sheets/one.xml": `<?xml version="1.0"?><x:worksheet xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main"><x:sheetData ><x:row r='1'><x:c r='A1' t='inlineStr'><x:is><x:t>day</x:t></x:is></x:c></x:row>` +
			`<x:row r="2"><x:c s="1" r="A2"><x:v>44431</x:v></x:c></x:row></x:sheetData ></x:worksheet>`,
	}}.bytes(t)
	s, tables, err := openOne(t, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := extracttest.Rows(t.Context(), s, tables[0])
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "name", "Visits & more", tables[0].Name)
	diff(t, "rows", []string{"2 2021-08-23"}, short(rows))
	notices, _ := s.Notices(t.Context())
	diff(t, "notices", []string{"sheet-is-no-table 1@0"}, told(notices))
}

// No error, fault or notice holds the text of a cell, even where a row of values was taken for the header.
func TestNothingShowsACell(t *testing.T) {
	const canary = "Zzyzx"
	text := raw{strings: "<si><t>" + canary + "_x0000_</t></si>", sheets: []string{
		r(1, "a", "b", "c") + r(2, canary, canary, canary, canary) + r(3, `<c t="e"><v>`+canary+`</v></c>`) + r(4, `<c><v>`+canary+`</v></c>`) +
			r(5, `<c t="s"><v>0</v></c>`) + r(6, `<c t="b"><v>`+canary+`</v></c>`) + r(7, `<c t="d"><v>`+canary+`</v></c>`) +
			r(8, "1", `<c><f>`+canary+`</f></c>`) + r(10, canary),
		r(1, "title") + r(2, canary, canary) + r(3, "1", "2", canary),
	}}.bytes(t)
	s, tables, err := openOne(t, text, Options{Sheets: []SheetOptions{{Sheet: "S1", End: End{Column: "a", Value: "x"}}}})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.Shards(t.Context(), tables[0])
	if err != nil {
		t.Fatal(err)
	}
	faults := 0
	for record, err := range s.Read(t.Context(), shards[0], nil) {
		if err != nil {
			faults++
		}
		if strings.Contains(fmt.Sprintf("%v %+v %v", err, err, record), canary) {
			t.Errorf("shown: %v", err)
		}
	}
	if faults != 7 {
		t.Errorf("%d faults", faults)
	}
	notices, err := s.Notices(t.Context())
	if err != nil || strings.Contains(fmt.Sprintf("%+v", notices), canary) || len(notices) == 0 {
		t.Errorf("notices: %v, %v", notices, err)
	}
	_, _, err = openOne(t, text, Options{Sheets: []SheetOptions{{Sheet: "S2", Header: []int{2}}}})
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a header of values: %v", err)
	}
}
