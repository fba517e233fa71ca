package csv

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
)

func names(fields []Field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}

// place is a column of fixed width: its first character, from 0, and which cell it fills.
type place struct {
	start, length, cell int
}

// places orders the columns as they lie in the line. The plan may list them in any order.
func places(fields []Field) []place {
	list := make([]place, len(fields))
	for i, f := range fields {
		list[i] = place{f.Start - 1, f.Length, i}
	}
	slices.SortStableFunc(list, func(a, b place) int { return cmp.Compare(a.start, b.start) })
	return list
}

// checkPlaces lists the columns that cannot lie where the plan says, or lie over each other.
func checkPlaces(fields []Field, most int) error {
	var faults []string
	for _, f := range fields {
		if f.Start < 1 || f.Length < 1 || f.Start > most || f.Length > most {
			faults = append(faults, fmt.Sprintf("column %s: start and length are counted from 1, up to %d", f.Name, most))
		}
	}
	list := places(fields)
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.start+a.length > b.start {
			faults = append(faults, fmt.Sprintf("columns %s and %s overlap", fields[a.cell].Name, fields[b.cell].Name))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// parseFixed splits a line into the cells of columns of fixed width. Blanks at the end of a cell are padding and are cut
// off; those at its start stay. What lies between the columns must be blank, so that nothing is lost.
func (p *parser) parseFixed(b []byte, high, last bool) (rule string, column int) {
	wide := high && p.table == nil // else each byte is a character
	if wide && !utf8.Valid(b) {
		return extract.RuleInvalidEncoding, -1
	}
	at, character := 0, 0
	for _, f := range p.places {
		start, _ := forward(b, at, f.start-character, wide)
		if !blank(b[at:start]) {
			return extract.RuleTextBetweenColumns, -1
		}
		end, short := forward(b, start, f.length, wide)
		if short && (!p.missingBlank || last) {
			return extract.RuleShortLine, f.cell
		}
		p.cells[f.cell] = strings.TrimRight(view(b[start:end]), " ")
		at, character = end, f.start+f.length
	}
	if rest := b[at:]; len(rest) > 0 && (!p.extraBlank || !blank(rest)) {
		return extract.RuleLongLine, -1
	}
	return "", -1
}

// forward is the place n characters behind i, or the end if the text is shorter.
func forward(b []byte, i, n int, wide bool) (end int, short bool) {
	if !wide {
		return min(i+n, len(b)), i+n > len(b)
	}
	for ; n > 0 && i < len(b); n-- {
		_, size := utf8.DecodeRune(b[i:])
		i += size
	}
	return i, n > 0
}

// blank says whether there is nothing but spaces.
func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' {
			return false
		}
	}
	return true
}
