package workbook

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// The format's own ceilings (ECMA-376-1, section 18.3.1.73): rows and columns of a sheet.
const (
	maxRow    = 1 << 20
	maxColumn = 1 << 14
)

// maxRecord is the most bytes that the texts of a row may have: what a sheet's reader holds. As in CSV.
const maxRecord = 16 << 20

type cellType uint8

const (
	numberCell cellType = iota
	sharedCell
	textCell
	boolCell
	errorCell
	dateCell
	otherCell
)

// cell is one cell that holds something: a value, or a formula.
type cell struct {
	column     int // from 1
	style      int
	kind       cellType
	formula    bool
	start, end int    // of its text in the row's
	rule       string // by which it is refused, whatever it says
}

// row is one row of a sheet. It is valid until the next one is read.
type row struct {
	number int64
	hidden bool
	cells  []cell // those that hold something, as they stand in the file
	text   []byte
	bytes  int // its length in the sheet's XML
}

func (r *row) of(c *cell) []byte { return r.text[c.start:c.end] }

// area is a rectangle of cells, or (rows 0) of whole columns.
type area struct {
	left, right int
	top, bottom int64
}

func (a area) has(column int, row int64) bool {
	return column >= a.left && column <= a.right && row >= a.top && row <= a.bottom
}

// sheetReader reads the XML of a sheet row by row.
type sheetReader struct {
	x        *xmlReader
	maxField int
	row      row
	inside   bool // in sheetData
	seen     bool // sheetData was there
	last     int64
	hidden   []area // hidden columns; complete before the first row
	merged   []area // complete behind the last row
}

func newSheetReader(r io.Reader, maxField int) *sheetReader {
	return &sheetReader{x: newXMLReader(r), maxField: maxField}
}

// next reads the next row that has cells. It returns false behind the last row, when the whole sheet has been read.
func (s *sheetReader) next() (bool, error) {
	for {
		at := s.x.offset()
		t, err := s.x.next()
		if err != nil {
			return false, s.where(err)
		}
		switch t.kind {
		case atEnd:
			if !s.seen {
				return false, errors.New("the part holds no sheet")
			}
			return false, nil
		case endTag:
			if string(t.name) == "sheetData" {
				s.inside = false
			}
		case startTag:
			switch name := string(t.name); {
			case name == "sheetData":
				if s.seen {
					return false, errMarkup
				}
				s.seen, s.inside = true, !t.empty
			case name == "row" && s.inside:
				if err := s.startRow(t); err != nil {
					return false, s.where(err)
				}
				if t.empty {
					continue
				}
				if err := s.readRow(); err != nil {
					return false, s.where(err)
				}
				s.row.bytes = int(s.x.offset() - at)
				return true, nil
			case name == "col" && !s.seen:
				s.readColumns(t)
			case name == "mergeCell" && s.seen && !s.inside:
				ref, _ := attr(t.attrs, "ref")
				a, ok := parseArea(string(ref))
				if !ok {
					return false, errors.New("malformed sheet: a merged cell has no place")
				}
				if len(s.merged) >= maxRow {
					return false, fmt.Errorf("more than %d merged cells", maxRow)
				}
				s.merged = append(s.merged, a)
			}
		}
	}
}

func (s *sheetReader) where(err error) error {
	if s.last == 0 {
		return err
	}
	return fmt.Errorf("near row %d: %w", s.last, err)
}

func (s *sheetReader) readColumns(t token) {
	var a area
	hidden := false
	eachAttr(t.attrs, func(name, value []byte) {
		switch string(name) {
		case "min":
			a.left = int(digits(value))
		case "max":
			a.right = int(digits(value))
		case "hidden":
			hidden = truth(value)
		}
	})
	if hidden && a.left >= 1 && a.right <= maxColumn && len(s.hidden) < maxColumn {
		s.hidden = append(s.hidden, a)
	}
}

func (s *sheetReader) startRow(t token) error {
	s.row = row{number: s.last + 1, cells: s.row.cells[:0], text: s.row.text[:0]}
	r := &s.row
	eachAttr(t.attrs, func(name, value []byte) {
		switch string(name) {
		case "r":
			r.number = digits(value)
		case "hidden":
			r.hidden = truth(value)
		}
	})
	if r.number > maxRow {
		return fmt.Errorf("a row beyond %d, the last one that a sheet can have", maxRow)
	}
	if r.number <= s.last {
		return errors.New("malformed sheet: its rows are not in order")
	}
	s.last = r.number
	return nil
}

func (s *sheetReader) readRow() error {
	column := 0
	sorted := true
	for {
		t, err := s.x.next()
		if err != nil {
			return err
		}
		switch {
		case t.kind == atEnd:
			return errTruncated
		case t.kind == endTag && string(t.name) == "row":
			if !sorted {
				slices.SortStableFunc(s.row.cells, func(a, b cell) int { return a.column - b.column })
			}
			for i := 1; i < len(s.row.cells); i++ {
				if s.row.cells[i].column == s.row.cells[i-1].column {
					s.row.cells[i].rule = RuleDoubledCell
				}
			}
			return nil
		case t.kind == startTag && string(t.name) == "c":
			c := cell{column: column + 1}
			if err := s.startCell(&c, t.attrs); err != nil {
				return err
			}
			sorted = sorted && c.column > column
			column = c.column
			if t.empty {
				continue
			}
			if err := s.readCell(&c); err != nil {
				return err
			}
			if c.start < c.end || c.formula || c.rule != "" {
				s.row.cells = append(s.row.cells, c)
			}
		case t.kind == startTag && !t.empty:
			if err := s.x.passElement(); err != nil {
				return err
			}
		}
	}
}

func (s *sheetReader) startCell(c *cell, attrs []byte) error {
	ok := true
	eachAttr(attrs, func(name, value []byte) {
		if len(name) != 1 {
			return
		}
		switch name[0] {
		case 'r':
			var at int64
			if c.column, at = parseRef(value); c.column == 0 || at != s.row.number {
				ok = false
			}
		case 's':
			c.style = int(digits(value))
		case 't':
			switch string(value) {
			case "n", "":
			case "s":
				c.kind = sharedCell
			case "str", "inlineStr":
				c.kind = textCell
			case "b":
				c.kind = boolCell
			case "e":
				c.kind = errorCell
			case "d":
				c.kind = dateCell
			default:
				c.kind = otherCell
			}
		}
	})
	if !ok || c.column > maxColumn {
		return errors.New("malformed sheet: a cell has no place, or one in another row")
	}
	return nil
}

// readCell reads what is in a cell. A formula without a stored value is refused if it is read: what was stored is all
// there is, nothing is computed here. An empty text that a formula gave is a stored value (t="str").
func (s *sheetReader) readCell(c *cell) error {
	c.start, c.end = len(s.row.text), len(s.row.text)
	stored := false
	for {
		t, err := s.x.next()
		if err != nil {
			return err
		}
		switch {
		case t.kind == atEnd:
			return errTruncated
		case t.kind == endTag && string(t.name) == "c":
			if c.formula && c.rule == "" && c.start == c.end && (!stored || c.kind != textCell) {
				c.rule = RuleStaleFormula
			}
			return nil
		case t.kind != startTag:
			continue
		}
		var tooLong bool
		most := min(s.maxField, maxRecord-c.start)
		switch string(t.name) {
		case "f":
			c.formula = true
			if !t.empty {
				err = s.x.passElement()
			}
		case "v":
			stored = true
			if !t.empty {
				s.row.text, tooLong, err = s.x.textOf(s.row.text[:c.start], most)
				c.end = len(s.row.text)
				if err == nil && c.kind == textCell {
					c.end = c.start + len(unescape(s.row.of(c)))
				}
			}
		case "is":
			if !t.empty {
				s.row.text, tooLong, err = s.x.richText(s.row.text[:c.start], most)
				c.end = len(s.row.text)
			}
		default:
			if !t.empty {
				err = s.x.passElement()
			}
		}
		if err != nil {
			return err
		}
		if tooLong {
			c.rule = extract.RuleFieldTooLong
			if most < s.maxField {
				c.rule = extract.RuleRecordTooLong
			}
		}
	}
}

// digits reads a whole number without a sign; what is none is 0, and none is above 2^31.
func digits(text []byte) int64 {
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > 1<<30 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func truth(text []byte) bool { return string(text) == "1" || string(text) == "true" }

// parseRef reads `AB12`; column 0 if it is none.
func parseRef(text []byte) (column int, row int64) {
	i := 0
	for i < len(text) && i < 4 && text[i] >= 'A' && text[i] <= 'Z' {
		column = column*26 + int(text[i]-'A') + 1
		i++
	}
	row = digits(text[i:])
	if row < 1 || row > maxRow || column > maxColumn {
		return 0, 0
	}
	return column, row
}

// parseArea reads `A4:H200`, or one cell.
func parseArea(text string) (area, bool) {
	from, to, two := strings.Cut(text, ":")
	left, top := parseRef([]byte(from))
	right, bottom := left, top
	if two {
		right, bottom = parseRef([]byte(to))
	}
	return area{left, right, top, bottom}, left > 0 && right >= left && bottom >= top
}

// columnName is the letters of a column.
func columnName(column int) string {
	var b []byte
	for ; column > 0; column = (column - 1) / 26 {
		b = append(b, byte('A'+(column-1)%26))
	}
	slices.Reverse(b)
	return string(b)
}
