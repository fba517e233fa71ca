package workbook

import (
	"fmt"
	"slices"
	"strings"
)

// checkOptions lists all that is wrong with the options, whatever the workbooks hold.
func checkOptions(o Options) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Header < 0 || o.Header > maxRow {
		fault("header: a row of a sheet is a number from 1 to %d", maxRow)
	}
	if o.MaxField < 0 || o.MaxColumns < 0 || o.MaxUnpacked < 0 || o.MaxShared < 0 {
		fault("limits must not be negative")
	}
	tables := map[string]bool{}
	for _, so := range o.Sheets {
		if so.Sheet == "" {
			fault("sheets: a sheet has no name")
		}
		name := tableName(so)
		if tables[name] {
			fault("sheet %q: two sheets are called table %q; give one another name (table:)", so.Sheet, name)
		}
		tables[name] = true
		for _, err := range so.check() {
			fault("sheet %q: %w", so.Sheet, err)
		}
	}
	return faults
}

// tableName is the name that mappings use.
func tableName(so SheetOptions) string {
	if so.Table != "" {
		return so.Table
	}
	return so.Sheet
}

func (so SheetOptions) check() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for i, r := range so.Header {
		if r < 1 || r > maxRow || i > 0 && r <= so.Header[i-1] {
			fault("header: rows are numbers from 1 to %d, ascending", maxRow)
			break
		}
	}
	if len(so.Header) > 16 {
		fault("header: %d rows, at most 16 are allowed", len(so.Header))
	}
	if _, ok := parseRange(so.Range); !ok {
		fault("range: %q is not a range such as A4:H200, A4:H or A:H", so.Range)
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"columns", so.Columns}, {"ignore", so.Ignore}, {"fill down", so.FillDown}} {
		for _, err := range checkNames(list.names) {
			fault("%s: %w", list.what, err)
		}
	}
	given := 0
	for _, is := range []bool{so.End.BlankRow, so.End.Never, so.End.Column != "" || so.End.Value != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		fault("end: more than one rule is given")
	}
	if (so.End.Column == "") != (strings.TrimSuffix(so.End.Value, "*") == "") {
		fault("end: it takes a column and the value that it has in the row of the end")
	}
	if u := so.Unpivot; u != nil {
		if u.Value == "" || len(u.Header) == 0 {
			fault("unpivot: it takes a name for the value, and one for each row of the header")
		}
		for _, err := range checkNames(slices.Concat(u.Keep, u.Header, []string{u.Value})) {
			fault("unpivot: %w", err)
		}
		if len(so.Columns) > 0 {
			fault("unpivot: the columns are named by the header of the sheet, so columns: cannot name them")
		}
	}
	return faults
}

// checkNames lists blank and doubled names.
func checkNames(names []string) (faults []error) {
	seen := map[string]bool{}
	for i, n := range names {
		if strings.TrimSpace(n) == "" {
			faults = append(faults, fmt.Errorf("name %d is blank", i+1))
		} else if seen[n] {
			faults = append(faults, fmt.Errorf("%q is there twice", n))
		}
		seen[n] = true
	}
	return faults
}

// parseRange reads A4:H200, and with rows left out A4:H and A:H. "" is everything.
func parseRange(text string) (area, bool) {
	a := area{left: 1, right: maxColumn, top: 1, bottom: maxRow}
	if text == "" {
		return a, true
	}
	from, to, ok := strings.Cut(strings.ToUpper(text), ":")
	if !ok {
		return a, false
	}
	corner := func(text string, row int64) (int, int64) {
		if letters := strings.TrimRight(text, "0123456789"); letters == text {
			column, _ := parseRef([]byte(text + "1"))
			return column, row
		}
		return parseRef([]byte(text))
	}
	a.left, a.top = corner(from, 1)
	a.right, a.bottom = corner(to, maxRow)
	return a, a.left > 0 && a.right >= a.left && a.bottom >= a.top
}
