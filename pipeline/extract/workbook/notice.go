package workbook

import (
	"fmt"
	"strings"
)

// Rules by which a record of a workbook is refused, besides those of package extract. They are reason codes and do not
// change their spelling.
const (
	// RuleErrorCell: the cell holds an error such as #N/A or #REF!.
	RuleErrorCell = "error-cell"
	// RuleStaleFormula: the cell holds a formula and no stored result. Nothing is computed here.
	RuleStaleFormula = "stale-formula"
	// RuleMalformedCell: what is stored is not a value of the cell's type.
	RuleMalformedCell = "malformed-cell"
	// RuleDoubledCell: the row has two cells at the same place.
	RuleDoubledCell = "doubled-cell"
)

// Rules of notices.
const (
	NoticeEmptySheet     = "empty-sheet"             // the sheet holds nothing; it is not a table
	NoticeNotRead        = "sheet-not-read"          // the plan names sheets, and this one not
	NoticeNoSheet        = "sheet-not-there"         // the plan names this sheet, and this workbook has none of that name
	NoticeNoTable        = "sheet-is-no-table"       // the plan names no sheets, and this one has no usable header
	NoticeHiddenSheet    = "hidden-sheet"            // read all the same, like the next two
	NoticeHiddenRows     = "hidden-rows"             // rows of records that are hidden or filtered away
	NoticeHiddenColumn   = "hidden-column"           //
	NoticeRowCeiling     = "row-ceiling"             // the sheet ends on the last row that a workbook of its, or the old, format has
	NoticeAboveHeader    = "above-header"            // rows with something in them above or between the header rows
	NoticeFooter         = "footer"                  // rows taken for total or printing lines, see the package comment
	NoticeEnd            = "end"                     // rows behind the end that the plan names
	NoticeEndNotFound    = "end-not-found"           // no row is the end that the plan names
	NoticeAfterBlankRow  = "rows-after-blank-row"    // records behind a blank row
	NoticeNoValues       = "formulas-without-values" // the column holds formulas and not one stored result: it is left out
	NoticeFormulaRows    = "rows-of-formulas"        // rows that hold formulas without results and nothing else: no records
	NoticeFormulaResults = "formula-results"         // cells read as the formula's result was last stored
	NoticeMergedCells    = "merged-cells"            // merged areas among the records: their value stands in the first cell
	NoticeFilledDown     = "filled-down"             // blank cells that took the value above, as the plan says
	NoticeLongNumber     = "digits-beyond-15"        // whole numbers of more digits than Excel keeps: identifiers may be wrong
	NoticeNoRecord       = "rows-without-values"     // rows of an unpivoted sheet without a value, so without a record
)

// Notice says something about a sheet that no record shows: what was left out, by which rule, and how often. It holds
// no text of a cell, except names of columns.
type Notice struct {
	File   string `json:"file"`
	Sheet  string `json:"sheet"`
	Table  string `json:"table,omitempty"` // "" if the sheet is not a table
	Rule   string `json:"rule"`
	Column string `json:"column,omitempty"` // of the table, or the letters of one that is none
	Row    int64  `json:"row,omitempty"`    // the first row concerned
	Count  int64  `json:"count"`            // rows, columns, cells or sheets, as the rule says
	Detail string `json:"detail,omitempty"` // why, where the rule alone does not say
}

// meanings say what the rules of notices mean.
var meanings = map[string]string{
	NoticeEmptySheet:     "it holds nothing, so it is not a table",
	NoticeNotRead:        "it is not read, since the plan names other sheets",
	NoticeNoSheet:        "the plan names it, and this workbook has none of that name",
	NoticeNoTable:        "it has no usable header, so it is not a table",
	NoticeHiddenSheet:    "it is hidden, and read all the same",
	NoticeHiddenRows:     "hidden rows are read all the same",
	NoticeHiddenColumn:   "it is hidden, and read all the same",
	NoticeRowCeiling:     "it ends on the last row that a workbook can have: the export may have been cut off there",
	NoticeAboveHeader:    "rows above the header are not read",
	NoticeFooter:         "rows behind the last record look like totals and are not read; `end: never` reads them",
	NoticeEnd:            "rows behind the end that the plan names are not read",
	NoticeEndNotFound:    "no row is the end that the plan names",
	NoticeAfterBlankRow:  "records stand behind a blank row, and are read",
	NoticeNoValues:       "it holds formulas and not one stored result, so it is left out",
	NoticeFormulaRows:    "rows that hold nothing but formulas without results are not read",
	NoticeFormulaResults: "the results of formulas are read as they were last stored",
	NoticeMergedCells:    "merged cells: their value stands in the first one, the others are blank",
	NoticeFilledDown:     "blank cells took the value above, as the plan says",
	NoticeLongNumber:     "whole numbers with more digits than Excel keeps: identifiers may be wrong",
	NoticeNoRecord:       "rows without a value made no record",
}

// String is one line for people, without the file.
func (n Notice) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sheet %q: ", n.Sheet)
	if n.Column != "" {
		fmt.Fprintf(&b, "column %q: ", n.Column)
	}
	if text := meanings[n.Rule]; text != "" {
		b.WriteString(text)
	} else {
		b.WriteString(n.Rule)
	}
	switch {
	case n.Count > 1 && n.Row > 0:
		fmt.Fprintf(&b, " (%d, the first in row %d)", n.Count, n.Row)
	case n.Count > 1:
		fmt.Fprintf(&b, " (%d)", n.Count)
	case n.Row > 0:
		fmt.Fprintf(&b, " (row %d)", n.Row)
	}
	if n.Detail != "" {
		b.WriteString(": " + n.Detail)
	}
	return b.String()
}

// tally is a count and the first row that was counted.
type tally struct {
	count, row int64
}

func (t *tally) add(row int64) {
	if t.count == 0 {
		t.row = row
	}
	t.count++
}
