package fhirpath

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// shortForms are expressions over a record that have a short form, and what stands around such.
var shortForms = []string{
	"STOP", "'text'", "STOP & '-' & VALUE", "STOP.exists()", "STOP.empty()", "STOP.exists().not()", "STOP.empty() and VALUE.exists()", "STOP ~ 'a'", "STOP !~ 'A'", "STOP = 'a'",
	"STOP != 'a'", "STOP in ('a' | 'b')", "('a' | 'b') contains STOP", "STOP.startsWith('a')", "STOP.endsWith('a')", "STOP.contains('a')", "STOP.startsWith('a') or VALUE ~ '1'",
	"STOP = 'a' xor VALUE = '1'", "STOP = 'a' implies VALUE = '1'", "(STOP = 'a') implies (VALUE.toDecimal() > 1)", "STOP = 'a' and VALUE = '1'", "STOP = 'a' or VALUE = '1'", "iif(STOP ~ 'a', STOP, VALUE)",
	"iif(STOP ~ 'a', 'x', 'y')", "iif(STOP = 'a' or VALUE = '1', 'x', STOP)", "iif(STOP.exists(), STOP & 'x', 'none')", "VALUE.toDecimal() > 1", "VALUE.toDecimal() <= 1.5", "VALUE.toInteger() < 3 and STOP ~ 'a'",
	"START.date()", "START.date() < @2015-01-01", "START.date().exists() and STOP.exists()", "iif(START.date() > @2014-01-01, 'new', 'old')", "notes.where(kind ~ 'public').text", "notes.exists(kind = 'a')",
	"notes.where(kind.exists() and text.startsWith('f')).count()", "STOP.select($this & 'x')", "STOP.lower().startsWith('a')", "1 > 2", "iif(true, 'a', 'b')", "true and STOP ~ 'a'",
}

// TestShortForms: over a row the short form returns what the general one does, and what the same formula returns for an
// item of a list, where it has none.
func TestShortForms(t *testing.T) {
	env := conditions()
	type pair struct{ short, long *Expr }
	var pairs []pair
	for _, text := range shortForms {
		short, problems := Compile(text, env)
		if short == nil {
			t.Fatalf("%s: %+v", text, problems)
		}
		// Behind select() the same text is compiled for an item; aggregate() hides that it is a single one.
		long, problems := Compile("(1 | 2).aggregate(%record.select("+text+"), {})", env)
		if long == nil {
			t.Fatalf("%s: %+v", text, problems)
		}
		pairs = append(pairs, pair{short, long})
	}
	rapid.Check(t, func(rt *rapid.T) {
		cell := rapid.SampledFrom([]string{"", "a", "A", "b", "1", "1.50", "-3", "2014-01-25", "public", "first", "ab", "ba"})
		cells := rapid.SliceOfN(cell, 7, 7).Draw(rt, "cells")
		cells[1] = rapid.SampledFrom([]string{"2013-05-01", "2014-01-25", "2020-12-31"}).Draw(rt, "date")
		row := &Row{Cells: cells, Children: [][]*Row{{{Cells: rapid.SliceOfN(cell, 2, 2).Draw(rt, "note")}, {Cells: []string{"", "x"}}}}}
		show := func(out []Value, err error) string {
			text := fmt.Sprint(err)
			for _, v := range out {
				text += fmt.Sprint("|", v.Kind(), v.Text())
			}
			return text
		}
		for i, p := range pairs {
			c := NewContext()
			want := show(p.short.Append(c, RowValue(row), nil))
			if got := show(p.short.AppendRow(c, row, nil)); got != want {
				rt.Fatalf("%s: AppendRow %s, Append %s", shortForms[i], got, want)
			}
			if got := show(p.long.Append(c, RowValue(row), nil)); got != want {
				rt.Fatalf("%s: alone %s, within a list %s", shortForms[i], want, got)
			}
			yes, err := p.short.True(c, RowValue(row))
			v, err2 := p.short.One(c, RowValue(row))
			if p.short.Static().Single && (yes != v.Bool() || fmt.Sprint(err) != fmt.Sprint(err2)) {
				rt.Fatalf("%s: True %v %v, One %v", shortForms[i], yes, err, err2)
			}
			if c.depth != 0 || c.active != 0 || c.focusRow != nil {
				rt.Fatalf("%s: the context is not as before", shortForms[i])
			}
		}
	})
}
