package workbook

import (
	"archive/zip"
	"bytes"
	"context"
	"maps"
	"math"
	"slices"
)

// footerRows is how many rows a footer may have at most: total, signature, printed on, and two more.
const footerRows = 5

// survey counts what is in a sheet, so that Tables knows its columns, and people what no record shows.
type survey struct {
	fields  []fieldCount
	unnamed map[int]bool // columns without a name that have values

	records, aboveHeader, ended, footers, afterBlank, formulaRows, hidden, noRecord tally

	last int64 // row with something in it

	blocks []block
	footer int64 // first row of a footer, if there is one that the table does not know yet
}

type fieldCount struct {
	values  int64
	stale   tally
	results tally
	long    tally
	filled  tally
	carry   bool // a value stands above
}

// block is a run of records without a blank row in it.
type block struct {
	first       int64
	rows        int64
	least, most int // cells filled
}

func (st *sheetTable) survey(ctx context.Context, p *pack, part *zip.File) (*survey, error) {
	s := &survey{fields: make([]fieldCount, len(st.fields)), unnamed: map[int]bool{}}
	c := &cursor{sheetTable: st, decoder: &decoder{structure: st.structure}}
	var before int64 // last row with something in it
	_, err := st.each(ctx, p, part, func(r *row) error {
		c.decoder.out = c.decoder.out[:0]
		kind, filled := c.classify(r)
		if filled > 0 {
			s.last = r.number
		}
		switch kind {
		case aboveHeader:
			s.aboveHeader.add(r.number)
		case endedRow:
			s.ended.add(r.number)
		case footerRow:
			s.footers.add(r.number)
		case blankRow:
			if c.formulas(r) {
				s.formulaRows.add(r.number)
			}
		case recordRow:
			if n := len(s.blocks); n == 0 || r.number > before+1 {
				s.blocks = append(s.blocks, block{first: r.number, least: math.MaxInt})
			}
			before = r.number
			b := &s.blocks[len(s.blocks)-1]
			b.rows++
			b.least, b.most = min(b.least, filled), max(b.most, filled)
			if len(s.blocks) > 1 {
				s.afterBlank.add(r.number)
			}
			s.records.add(r.number)
			if r.hidden {
				s.hidden.add(r.number)
			}
			s.count(c, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if st.footer == 0 && st.plan.End == (End{}) {
		s.footer = s.findFooter()
	}
	return s, nil
}

// formulas says whether a row without values has formulas.
func (c *cursor) formulas(r *row) bool {
	for i := range r.cells {
		if r.cells[i].rule == RuleStaleFormula && c.slot(r.cells[i].column) != notRead {
			return true
		}
	}
	return false
}

func (s *survey) count(c *cursor, r *row) {
	value := false
	seen := 0 // fields up to here had a cell
	blanks := func(to int) {
		for ; seen < to; seen++ {
			s.blank(c, seen, r.number)
		}
	}
	for i := range r.cells {
		cell := &r.cells[i]
		slot := c.slot(cell.column)
		switch {
		case slot == notRead:
			continue
		case slot == unnamed:
			if cell.column < len(c.slots) && c.decoder.filled(r, cell) {
				s.unnamed[cell.column] = true
			}
			continue
		}
		blanks(slot)
		seen = slot + 1
		f := &s.fields[slot]
		if cell.rule == RuleStaleFormula {
			f.stale.add(r.number)
			continue
		}
		if !c.decoder.filled(r, cell) {
			s.blank(c, slot, r.number)
			continue
		}
		f.values++
		f.carry = true
		value = value || c.unpivots(slot)
		if cell.formula {
			f.results.add(r.number)
		}
		if cell.kind == numberCell && long(r.of(cell)) {
			f.long.add(r.number)
		}
	}
	blanks(len(c.fields))
	if c.plan.Unpivot != nil && !value {
		s.noRecord.add(r.number)
	}
}

func (s *survey) blank(c *cursor, slot int, row int64) {
	if f := &s.fields[slot]; c.fields[slot].fill && f.carry {
		f.filled.add(row)
	}
}

// unpivots says whether a field is one whose cells become records.
func (st *sheetTable) unpivots(slot int) bool {
	if st.plan.Unpivot == nil {
		return false
	}
	for _, k := range st.plan.Unpivot.Keep {
		if k == st.fields[slot].name {
			return false
		}
	}
	return true
}

// long says whether a number is whole and has more digits than a workbook's numbers hold exactly.
func long(raw []byte) bool {
	raw = bytes.TrimLeft(bytes.TrimSpace(raw), "-0")
	mantissa, exponent, scientific := bytes.Cut(bytes.ToUpper(raw), []byte("E"))
	if scientific {
		exponent = bytes.TrimPrefix(exponent, []byte("+"))
		return len(mantissa) > 0 && digits(exponent) >= 15
	}
	return len(raw) > 15 && len(bytes.Trim(raw, "0123456789")) == 0
}

// findFooter looks for the rows at the end of the sheet that are not records, by the rule of the package comment. It
// returns the first of them, or 0. Of several candidates it takes the longest.
func (s *survey) findFooter() int64 {
	start := max(1, len(s.blocks)-footerRows)
	least, above := math.MaxInt, int64(0)
	for k, b := range s.blocks {
		if k >= start {
			most, below := 0, int64(0)
			for _, b := range s.blocks[k:] {
				most, below = max(most, b.most), below+b.rows
			}
			if most < least && below <= min(footerRows, above) {
				return b.first
			}
		}
		least, above = min(least, b.least), above+b.rows
	}
	return 0
}

// unnamedColumns lists the letters of the columns that have values and no name, in order.
func (s *survey) unnamedColumns() (letters []string) {
	for _, c := range slices.Sorted(maps.Keys(s.unnamed)) {
		letters = append(letters, columnName(c))
	}
	return letters
}

// note writes down what the survey found.
func (st *sheetTable) note(s *survey, rows *sheetReader) {
	add := func(rule, column string, t tally) {
		if t.count > 0 {
			st.notices = append(st.notices, Notice{Rule: rule, Column: column, Row: t.row, Count: t.count})
		}
	}
	if st.sheet.hidden {
		add(NoticeHiddenSheet, "", tally{count: 1})
	}
	// The old format has 65,536 rows. What did not fit was lost without a word when 15,841 test results went through it.
	if s.last == maxRow || s.last == 1<<16 {
		add(NoticeRowCeiling, "", tally{count: 1, row: s.last})
	}
	add(NoticeAboveHeader, "", s.aboveHeader)
	add(NoticeFooter, "", s.footers)
	add(NoticeEnd, "", s.ended)
	if st.plan.End.Column != "" && s.ended.count == 0 {
		add(NoticeEndNotFound, st.plan.End.Column, tally{count: 1})
	}
	add(NoticeAfterBlankRow, "", s.afterBlank)
	add(NoticeFormulaRows, "", s.formulaRows)
	add(NoticeHiddenRows, "", s.hidden)
	add(NoticeNoRecord, "", s.noRecord)
	merged := tally{}
	for _, a := range rows.merged {
		if s.records.count > 0 && a.bottom >= s.records.row && a.right >= st.window.left && a.left <= st.window.right {
			merged.add(a.top)
		}
	}
	add(NoticeMergedCells, "", merged)
	for i, f := range st.fields {
		for _, a := range rows.hidden {
			if f.column >= a.left && f.column <= a.right {
				add(NoticeHiddenColumn, f.name, tally{count: 1})
				break
			}
		}
		add(NoticeFormulaResults, f.name, s.fields[i].results)
		add(NoticeLongNumber, f.name, s.fields[i].long)
		add(NoticeFilledDown, f.name, s.fields[i].filled)
	}
}
