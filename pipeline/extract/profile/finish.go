package profile

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
)

// profile turns what was gathered into what is shown. Nothing is read any more, but for pairs of columns.
func (s *scanner) profile() *Profile {
	p := &Profile{Schema: SchemaVersion, ValuesShown: s.options.ShowValues, Notices: []Notice{}, Tables: []Table{}, References: []Reference{}}
	for _, j := range s.tables {
		t := j.state
		out := Table{Source: t.of.Source, Name: t.of.Name, File: t.of.File, Rows: t.rows, Refused: []Refused{}, Keys: []Key{}, Columns: []Column{}}
		if t.patient >= 0 {
			out.PatientColumn = t.of.Columns[t.patient]
		}
		for _, rule := range slices.Sorted(maps.Keys(t.refused)) {
			r := Refused{Rule: rule, Count: t.refused[rule].count, Places: []Place{}}
			for _, at := range t.refused[rule].places {
				r.Places = append(r.Places, Place{at.line, at.column})
			}
			out.Refused = append(out.Refused, r)
		}
		for i, c := range t.columns {
			c.settle()
			shown := c.shown()
			shown.Name = t.of.Columns[i]
			if t.of.Kinds != nil {
				shown.Kind = t.of.Kinds[i]
			}
			if shown.identifies(t.rows) {
				out.Keys = append(out.Keys, Key{[]string{shown.Name}, shown.Distinct.Repeated, !c.sketch.exact()})
			}
			out.Columns = append(out.Columns, shown)
		}
		p.Tables = append(p.Tables, out)
	}
	p.References = s.references(p)
	for i, j := range s.tables {
		for k := range p.Tables[i].Columns {
			s.suspect(p, &p.Tables[i], &p.Tables[i].Columns[k], j.state.columns[k])
			j.state.columns[k].show(&p.Tables[i].Columns[k], s.options.ShowValues, j.state.patient >= 0)
			if s.options.Digest != nil {
				p.Tables[i].Columns[k].codes = j.state.columns[k].codes(&p.Tables[i].Columns[k], j.state.patient >= 0, s.options.Digest)
			}
			p.Tables[i].Columns[k].spread = j.state.columns[k].spread
		}
	}
	return p
}

// fewDoubles is how many rows there are at least for each that repeats a value of what is still a key.
const fewDoubles = 20

// identifies says whether the column is a key. Dates and measured values may differ in all rows, and are none.
func (c *Column) identifies(rows int64) bool {
	return rows > 1 && c.Filled == rows && c.Distinct.Repeated*fewDoubles <= rows && !c.Is(shareOfDates, TypeDate, TypeDateTime, TypeTime, TypeDecimal, TypeDecimalComma)
}

// shown is the column's counts.
func (c *column) shown() Column {
	out := Column{
		Filled: c.filled, Empty: c.empty, White: c.white, Blank: c.blank, Types: c.types, Dates: []DateForm{}, AmbiguousDates: c.ambiguous,
		Distinct:     Distinct{c.sketch.distinct(), c.sketch.exact(), rounded(c.sketch.deviation(), 4), c.sketch.repeated()},
		LeadingZeros: spotOf(c.zeros), LeadingBlanks: spotOf(c.leading), TrailingBlanks: spotOf(c.trailing),
		Mojibake: spotOf(c.mojibake), Replaced: spotOf(c.replaced), Controls: spotOf(c.controls), Bidi: spotOf(c.bidi),
		Sentinels: c.sentinels, PHI: []Suspect{}, Values: []Value{},
	}
	if c.filled > 0 {
		out.Length = Length{c.short, c.long, rounded(float64(c.characters)/float64(c.filled), 1), c.longest.line}
	}
	for f, n := range c.dates {
		out.Dates = append(out.Dates, DateForm{f.layout(), n.fits, n.only, f.clock.there, f.clock.zone != 0})
	}
	slices.SortFunc(out.Dates, func(a, b DateForm) int {
		return cmp.Or(cmp.Compare(b.Fits, a.Fits), cmp.Compare(b.Only, a.Only), strings.Compare(a.Layout, b.Layout))
	})
	return out
}

func spotOf(s spot) Spot { return Spot{s.count, s.first.line} }

func rounded(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// show puts in the values that may be shown.
func (c *column) show(out *Column, all, patients bool) {
	if c.values == nil {
		out.Hidden = Hidden{c.sketch.distinct(), HiddenMany}
		return
	}
	if len(out.PHI) > 0 && !all {
		if len(c.values) > 0 {
			out.Hidden = Hidden{int64(len(c.values)), HiddenPHI}
		}
		return
	}
	for text, v := range c.values {
		if v.enough(patients) || all {
			out.Values = append(out.Values, Value{text, v.count})
		} else {
			out.Hidden.Values++
			out.Hidden.Reason = HiddenFew
		}
	}
	slices.SortFunc(out.Values, func(a, b Value) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Text, b.Text))
	})
}
