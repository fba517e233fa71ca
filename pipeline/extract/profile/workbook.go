package profile

import (
	"fmt"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"
)

// Workbook writes the profile as a workbook: the sheets Tables, Columns, Remarks and Values. Numbers are numbers, all
// else is text and never a formula.
func Workbook(w io.Writer, p *Profile) (err error) {
	f := excelize.NewFile()
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	b := &book{file: f}
	if err := f.SetSheetName("Sheet1", "Tables"); err != nil {
		return err
	}
	b.begin("Tables", "Source", "Table", "File", "Rows", "Refused", "Keys", "Guess")
	for i := range p.Tables {
		t := &p.Tables[i]
		var keys []string
		for _, k := range t.Keys {
			keys = append(keys, strings.Join(k.Columns, " + "))
		}
		b.row(t.Source, t.Name, t.File, t.Rows, t.RefusedRows(), strings.Join(keys, ", "), t.Form)
	}
	b.begin("Columns", "Source", "Table", "Column", "Filled", "Blank", "Distinct", "Exact", "Repeated", "Types", "Shortest", "Longest", "Mean", "Longest on line",
		"Ambiguous dates", "Leading zeros", "Likely PHI")
	for i := range p.Tables {
		t := &p.Tables[i]
		for k := range t.Columns {
			c := &t.Columns[k]
			exact := "yes"
			if !c.Distinct.Exact {
				exact = fmt.Sprintf("±%.1f%%", 100*c.Distinct.Error)
			}
			b.row(t.Source, t.Name, c.Name, c.Filled, c.Blanks(), c.Distinct.Count, exact, c.Distinct.Repeated, c.typesText(), c.Length.Min, c.Length.Max, c.Length.Mean,
				c.Length.Longest, c.AmbiguousDates, c.LeadingZeros.Count, c.letters())
		}
	}
	b.begin("Remarks", "Source", "Table", "Remark")
	for _, n := range p.Notices {
		b.row(n.Source, "", n.Message)
	}
	for i := range p.Tables {
		for _, remark := range p.Tables[i].remarks(p) {
			b.row(p.Tables[i].Source, p.Tables[i].Name, remark)
		}
	}
	b.begin("Values", "Source", "Table", "Column", "Value", "Rows")
	for i := range p.Tables {
		for _, c := range p.Tables[i].Columns {
			for _, v := range c.Values {
				b.row(p.Tables[i].Source, p.Tables[i].Name, c.Name, v.Text, v.Rows)
			}
		}
	}
	if b.err != nil {
		return b.err
	}
	return f.Write(w)
}

// book writes rows one below the other. After an error it writes nothing more.
type book struct {
	file  *excelize.File
	sheet string
	line  int
	err   error
}

func (b *book) begin(sheet string, titles ...any) {
	b.sheet, b.line = sheet, 0
	if b.err == nil {
		_, b.err = b.file.NewSheet(sheet) // there already is no error
	}
	b.row(titles...)
}

func (b *book) row(cells ...any) {
	b.line++
	for i, v := range cells {
		if b.err != nil {
			return
		}
		var cell string
		if cell, b.err = excelize.CoordinatesToCellName(i+1, b.line); b.err != nil {
			return
		}
		if text, ok := v.(string); ok {
			b.err = b.file.SetCellStr(b.sheet, cell, inert(text))
		} else {
			b.err = b.file.SetCellValue(b.sheet, cell, v)
		}
	}
}

// inert keeps a text from becoming a formula when the workbook is saved as CSV or a cell is edited: one that begins with
// =, +, -, @, a tab or a return, also behind blanks or a quote, gets an apostrophe in front.
func inert(text string) string {
	start := strings.TrimLeft(text, " \"'")
	if start != "" && strings.ContainsRune("=+-@\t\r\n", rune(start[0])) {
		return "'" + text
	}
	return text
}
