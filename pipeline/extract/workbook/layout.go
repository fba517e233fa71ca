package workbook

import (
	"archive/zip"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// What stands at a column of a sheet if it is not a field, and what becomes of a field if it is not a column of the table.
const (
	unnamed   = -1 // the header says nothing
	notRead   = -2 // outside the range, ignored, or formulas without a value
	unpivoted = -3 // each of its cells becomes a record
)

// field is a column of a sheet that is read.
type field struct {
	column int      // of the sheet
	name   string   // the header's rows, joined
	labels []string // the header's rows
	fill   bool
	output int // index in the table's columns, unpivoted or notRead
}

// sheetTable is a sheet and how it is a table. It does not change once it is understood.
type sheetTable struct {
	file      file
	sheet     sheetPart
	plan      SheetOptions
	structure *structure
	maxField  int
	part      string // name of the part
	crc       uint32
	size      int64 // of the part, unpacked

	table *extract.Table
	empty bool     // nothing is in it
	names []string // columns of the table

	window area
	header []int64 // rows of the header, ascending
	fields []field
	slots  []int // by column of the sheet: index in fields, unnamed or notRead; columns beyond are unnamed
	end    int   // index of the field that ends the table, or -1
	footer int64 // first row of the footer, or 0

	notices []Notice
}

// headerCell is a cell of a header row.
type headerCell struct {
	text string
	word bool // it is text, not a number or a date
	rule string
}

// understand reads the sheet and finds out what its columns are, and what there is to notice. Faults are what is wrong
// with the header or with what the plan says of the sheet; an error is one of the file.
func (st *sheetTable) understand(ctx context.Context, p *pack, part *zip.File, o Options) (faults []string, err error) {
	st.window, _ = parseRange(st.plan.Range) // checked by Open
	fixed := st.plan.Header
	if len(fixed) == 0 && o.Header > 0 && st.plan.Range == "" {
		fixed = []int{o.Header}
	}
	for _, r := range fixed {
		st.header = append(st.header, int64(r))
	}
	seek := len(fixed) == 0 && len(st.plan.Columns) == 0
	headers := map[int64]map[int]headerCell{}
	d := decoder{structure: st.structure}
	st.empty = true
	rows, err := st.each(ctx, p, part, func(r *row) error {
		d.out = d.out[:0]
		var cells map[int]headerCell
		for i := range r.cells {
			c := &r.cells[i]
			if !st.window.has(c.column, r.number) || !d.filled(r, c) {
				continue
			}
			st.empty = false
			if seek && len(st.header) == 0 {
				st.header = []int64{r.number}
			}
			if !slices.Contains(st.header, r.number) {
				return nil
			}
			text, rule := d.value(r, c)
			if cells == nil {
				cells = map[int]headerCell{}
				headers[r.number] = cells
			}
			cells[c.column] = headerCell{text: strings.Clone(text), word: c.kind == textCell || c.kind == sharedCell, rule: rule}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if st.empty {
		return []string{"it holds nothing"}, nil
	}
	st.spread(headers, rows.merged)
	faults = st.name(headers, o.MaxColumns)
	s, err := st.survey(ctx, p, part)
	if err != nil {
		return nil, err
	}
	if s.footer > 0 {
		st.footer = s.footer
		if s, err = st.survey(ctx, p, part); err != nil {
			return nil, err
		}
	}
	if columns := s.unnamedColumns(); len(columns) > 0 {
		faults = append(faults, "no name in the header, and values below it: columns "+strings.Join(columns, ", "))
	}
	if len(faults) > 0 {
		return append(faults, "say in the plan which row is the header (header:), which cells are the table (range:), or what the columns are called (columns:)"), nil
	}
	st.leaveOut(s)
	faults = st.outputs()
	st.note(s, rows)
	return faults, nil
}

// spread gives each cell under a merged one of a header row the text of the first. Downwards a text is not repeated:
// the header's rows are joined, and it would stand there twice.
func (st *sheetTable) spread(headers map[int64]map[int]headerCell, merged []area) {
	taken := map[[2]int64]bool{}
	for _, a := range merged {
		cells := headers[a.top]
		first, ok := cells[a.left]
		if !ok {
			continue
		}
		for c := a.left; c <= a.right && !taken[[2]int64{a.top, int64(c)}]; c++ { // areas that overlap would cost time
			taken[[2]int64{a.top, int64(c)}] = true
			if _, ok := cells[c]; !ok && st.window.has(c, a.top) {
				cells[c] = first
			}
		}
	}
}

// name makes the fields from the header or from the plan.
func (st *sheetTable) name(headers map[int64]map[int]headerCell, most int) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	last := 0
	for _, cells := range headers {
		for c := range cells {
			last = max(last, c)
		}
	}
	planned := len(st.plan.Columns)
	if planned > 0 {
		last = min(st.window.left+planned-1, st.window.right)
		if last < st.window.left+planned-1 {
			fault("columns: the plan names %d, the range has %d", planned, last-st.window.left+1)
		}
	}
	if st.window.right < maxColumn {
		last = st.window.right
	}
	for _, r := range st.header {
		if planned == 0 && len(headers[r]) == 0 {
			fault("row %d is a header row by the plan, and holds nothing", r)
		}
	}
	same, ignored := map[string][]string{}, map[string]bool{}
	var values []string // cells of the header that are not text
	st.slots = make([]int, last+1)
	for c := range st.slots {
		st.slots[c] = unnamed
		if c < st.window.left || c > st.window.right {
			st.slots[c] = notRead
			continue
		}
		f := field{column: c}
		if i := c - st.window.left; i < planned {
			f.name = st.plan.Columns[i]
		} else if planned == 0 {
			var parts []string
			for _, r := range st.header {
				cell := headers[r][c]
				switch {
				case cell.rule != "":
					fault("cell %s%d of the header cannot be read: %s", columnName(c), r, cell.rule)
				case cell.text != "" && !cell.word && st.plan.Unpivot == nil:
					values = append(values, fmt.Sprintf("%s%d", columnName(c), r))
				}
				f.labels = append(f.labels, cell.text)
				if strings.TrimSpace(cell.text) != "" {
					parts = append(parts, cell.text)
				}
			}
			f.name = strings.Join(parts, " ")
		}
		if f.name == "" {
			continue
		}
		key := f.name
		if st.plan.Unpivot != nil {
			key = strings.Join(f.labels, "\x00")
		}
		if same[key] = append(same[key], columnName(c)); len(same[key]) > 1 {
			st.slots[c] = notRead // a fault below
			continue
		}
		if slices.Contains(st.plan.Ignore, f.name) {
			st.slots[c] = notRead
			ignored[f.name] = true
			continue
		}
		f.fill = slices.Contains(st.plan.FillDown, f.name)
		st.slots[c] = len(st.fields)
		st.fields = append(st.fields, f)
	}
	for _, columns := range slices.SortedFunc(maps.Values(same), slices.Compare) {
		if len(columns) > 1 {
			fault("the same name: columns %s", strings.Join(columns, ", "))
		}
	}
	if len(values) > 0 {
		fault("no text in the header, so the row may be one of values: cells %s", strings.Join(values, ", "))
	}
	if len(st.fields) > most {
		fault("%s: %d, at most %d are allowed", extract.RuleTooManyColumns, len(st.fields), most)
	}
	st.end = -1
	known := map[string]int{}
	for i, f := range st.fields {
		known[f.name] = i
	}
	wanted := func(what string, names ...string) {
		for _, n := range names {
			if _, ok := known[n]; !ok {
				fault("%s: there is no column %q", what, n)
			}
		}
	}
	for _, n := range st.plan.Ignore {
		if !ignored[n] {
			fault("ignore: there is no column %q", n)
		}
	}
	wanted("fill down", st.plan.FillDown...)
	if st.plan.End.Column != "" {
		wanted("end", st.plan.End.Column)
		if i, ok := known[st.plan.End.Column]; ok {
			st.end = i
		}
	}
	if u := st.plan.Unpivot; u != nil {
		wanted("unpivot: keep", u.Keep...)
		if len(u.Header) != len(st.header) {
			fault("unpivot: it names what %d rows of the header say, and there are %d", len(u.Header), len(st.header))
		}
	}
	return faults
}

// leaveOut drops the columns of formulas in which no record has a value.
func (st *sheetTable) leaveOut(s *survey) {
	for i := range st.fields {
		if f := s.fields[i]; f.stale.count > 0 && f.values == 0 && i != st.end {
			st.slots[st.fields[i].column] = notRead
			st.fields[i].output = notRead
			st.notices = append(st.notices, Notice{Rule: NoticeNoValues, Column: st.fields[i].name, Row: f.stale.row, Count: f.stale.count})
		}
	}
}

// outputs decides which column of the table each field becomes.
func (st *sheetTable) outputs() (faults []string) {
	u := st.plan.Unpivot
	for i := range st.fields {
		f := &st.fields[i]
		if f.output == notRead {
			if u != nil && slices.Contains(u.Keep, f.name) {
				faults = append(faults, fmt.Sprintf("unpivot: keep: column %q holds formulas without a stored value", f.name))
			}
			continue
		}
		if u != nil && !slices.Contains(u.Keep, f.name) {
			f.output = unpivoted
			continue
		}
		f.output = len(st.names)
		st.names = append(st.names, f.name)
	}
	if u != nil {
		st.names = slices.Concat(st.names, u.Header, []string{u.Value})
	}
	return faults
}

// slot is what stands at a column of the sheet.
func (st *sheetTable) slot(column int) int {
	if column < len(st.slots) {
		return st.slots[column]
	}
	if column > st.window.right {
		return notRead
	}
	return unnamed
}

// rowKind is what a row is to the table.
type rowKind uint8

const (
	outsideRow rowKind = iota // above the range or below
	headerRow
	aboveHeader
	blankRow
	recordRow
	footerRow
	endedRow
)

// cursor goes through the rows of a sheet and says what each is.
type cursor struct {
	*sheetTable
	decoder *decoder
	last    int64 // row of the last record, 0 before the first
	ended   bool
}

// classify says what a row is, and how many of its cells are filled.
func (c *cursor) classify(r *row) (rowKind, int) {
	if r.number < c.window.top || r.number > c.window.bottom {
		return outsideRow, 0
	}
	filled := 0
	for i := range r.cells {
		if cell := &r.cells[i]; c.slot(cell.column) != notRead && c.decoder.filled(r, cell) {
			filled++
		}
	}
	switch {
	case len(c.header) > 0 && r.number <= c.header[len(c.header)-1]:
		if slices.Contains(c.header, r.number) {
			return headerRow, filled
		}
		if filled == 0 {
			return blankRow, 0
		}
		return aboveHeader, filled
	case c.ended:
	case c.plan.End.BlankRow && c.last > 0 && (filled == 0 || r.number > c.last+1):
		c.ended = true
	case c.end >= 0 && c.endValue(r):
		c.ended = true
	}
	switch {
	case filled == 0:
		return blankRow, 0
	case c.ended:
		return endedRow, filled
	case c.footer > 0 && r.number >= c.footer:
		return footerRow, filled
	}
	c.last = r.number
	return recordRow, filled
}

// endValue says whether the row is the one that ends the table by the plan.
func (c *cursor) endValue(r *row) bool {
	for i := range r.cells {
		if cell := &r.cells[i]; c.slot(cell.column) == c.end {
			text, rule := c.decoder.value(r, cell)
			text = strings.TrimSpace(text)
			if begin, ok := strings.CutSuffix(c.plan.End.Value, "*"); ok {
				return rule == "" && strings.HasPrefix(text, begin)
			}
			return rule == "" && text == strings.TrimSpace(c.plan.End.Value)
		}
	}
	return false
}

// filled says whether there is something in a cell. A formula without a stored result is nothing.
func (d *decoder) filled(r *row, c *cell) bool {
	if c.rule != "" {
		return c.rule != RuleStaleFormula
	}
	if c.kind == sharedCell {
		text, rule := d.value(r, c)
		return text != "" || rule != ""
	}
	return c.start < c.end
}
