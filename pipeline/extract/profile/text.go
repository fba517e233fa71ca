package profile

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// mostShown is how many values of a column the text shows; the other forms have all.
const mostShown = 12

// Text writes the profile for a person at a terminal: a table for each table, then what is to be looked at.
func Text(w io.Writer, p *Profile) error {
	out := bufio.NewWriter(w)
	for _, n := range p.Notices {
		fmt.Fprintf(out, "notice: %s: %s\n", plain(n.Source), plain(n.Message))
	}
	for i := range p.Tables {
		if i > 0 || len(p.Notices) > 0 {
			fmt.Fprintln(out)
		}
		if err := textTable(out, p, &p.Tables[i]); err != nil {
			return err
		}
	}
	return out.Flush()
}

func textTable(w io.Writer, p *Profile, t *Table) error {
	fmt.Fprintf(w, "%s", plain(t.Name))
	if t.File != "" {
		fmt.Fprintf(w, "  %s", plain(t.File))
	}
	fmt.Fprintf(w, "  %d rows", t.Rows)
	if n := t.RefusedRows(); n > 0 {
		fmt.Fprintf(w, ", %d refused", n)
	}
	fmt.Fprintln(w)
	if t.Form != "" {
		fmt.Fprintf(w, "  guess: %s\n", t.Form)
	}
	columns := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(columns, "  COLUMN\tFILLED\tBLANK\tDISTINCT\tTYPES\tLENGTH\tLIKELY PHI")
	for i := range t.Columns {
		c := &t.Columns[i]
		fmt.Fprintf(columns, "  %s\t%d\t%d\t%s\t%s\t%s\t%s\n", plain(c.Name), c.Filled, c.Blanks(), c.Distinct, c.typesText(), c.Length, c.letters())
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for _, line := range t.remarks(p) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	return nil
}

// RefusedRows is how many records cannot be read.
func (t *Table) RefusedRows() (n int64) {
	for _, r := range t.Refused {
		n += r.Count
	}
	return n
}

// remarks says in sentences what the table of columns has no room for.
func (t *Table) remarks(p *Profile) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, r := range t.Refused {
		var places []string
		for _, at := range r.Places {
			place := fmt.Sprintf("line %d", at.Line)
			if at.Column != "" {
				place += " in " + plain(at.Column)
			}
			places = append(places, place)
		}
		add("refused: %s %d (first: %s)", r.Rule, r.Count, strings.Join(places, ", "))
	}
	for _, k := range t.Keys {
		note := ""
		if k.Repeated > 0 {
			note = fmt.Sprintf(" but for %d rows, which repeat a value", k.Repeated)
		}
		if k.Sampled {
			note += " (judged by a sample)"
		}
		add("key: %s%s", plain(strings.Join(k.Columns, " + ")), note)
	}
	for _, r := range p.References {
		if r.Source == t.Source && r.Table == t.Name {
			add("refers: %s", r)
		}
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		for _, remark := range c.remarks() {
			add("%s: %s", plain(c.Name), remark)
		}
	}
	return out
}

// String says which column refers to which, and how many values lead nowhere.
func (r Reference) String() string {
	about := ""
	if !r.Exact {
		about = "about "
	}
	s := plain(fmt.Sprintf("%s -> %s.%s", r.Column, r.ParentTable, r.ParentColumn))
	if r.Orphans > 0 {
		s += fmt.Sprintf(" (%s%d values without a parent, in %s%d rows)", about, r.Orphans, about, r.OrphanRows)
	}
	return s
}

// String marks an estimate.
func (d Distinct) String() string {
	if d.Exact {
		return fmt.Sprint(d.Count)
	}
	return fmt.Sprintf("~%d ±%.1f%%", d.Count, 100*d.Error)
}

// String is the span of lengths.
func (l Length) String() string {
	if l.Min == l.Max {
		return fmt.Sprint(l.Max)
	}
	return fmt.Sprintf("%d-%d", l.Min, l.Max)
}

// typesText lists the types, most frequent first, with counts if there are several.
func (c *Column) typesText() string {
	names := slices.Collect(func(yield func(string) bool) {
		for _, t := range types {
			if c.Types[t] > 0 && !yield(t) {
				return
			}
		}
	})
	slices.SortStableFunc(names, func(a, b string) int { return int(min(max(c.Types[b]-c.Types[a], -1), 1)) })
	if len(names) == 1 {
		return names[0]
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, c.Types[n])
	}
	return strings.Join(names, ", ")
}

func (c *Column) letters() string {
	var out []string
	for _, s := range c.PHI {
		out = append(out, s.Category+" "+s.Evidence)
	}
	return strings.Join(out, ", ")
}

// remarks says what is to be looked at in a column.
func (c *Column) remarks() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(c.Dates) > 0 {
		var list []string
		for _, d := range c.Dates {
			list = append(list, fmt.Sprintf("%s %d (only it: %d)", d.Layout, d.Fits, d.Only))
		}
		add("dates %s", strings.Join(list, ", "))
		if c.AmbiguousDates > 0 {
			note := "the layout must be known, not guessed"
			if d := c.Dates[0]; d.Fits >= c.Types[TypeDate]+c.Types[TypeDateTime] && (len(c.Dates) == 1 || c.Dates[1].Fits < d.Fits) {
				note = "only " + d.Layout + " reads all of them"
			}
			add("%d dates mean different days in different forms; %s", c.AmbiguousDates, note)
		}
	}
	for _, s := range []struct {
		spot Spot
		what string
	}{
		{c.LeadingZeros, "whole numbers with leading zeros, which a number loses"}, {c.LeadingBlanks, "with blanks in front"},
		{c.TrailingBlanks, "with blanks behind"}, {c.Mojibake, "with characters like those of a wrong encoding (mojibake)"},
		{c.Replaced, "with U+FFFD, where a character was lost"}, {c.Controls, "with control characters"}, {c.Bidi, "with marks that turn the direction of writing"},
	} {
		if s.spot.Count > 0 {
			add("%d %s (first: line %d)", s.spot.Count, s.what, s.spot.Line)
		}
	}
	if len(c.Sentinels) > 0 {
		add("sentinels %s", counts(c.Sentinels))
	}
	if len(c.Blank) > 0 {
		add("blank by the plan %s", counts(c.Blank))
	}
	if len(c.Values) > 0 {
		var list []string
		for _, v := range c.Values[:min(len(c.Values), mostShown)] {
			list = append(list, fmt.Sprintf("%s %d", listed(v.Text), v.Rows))
		}
		if more := len(c.Values) - mostShown; more > 0 {
			list = append(list, fmt.Sprintf("and %d more", more))
		}
		if c.Hidden.Values > 0 {
			list = append(list, fmt.Sprintf("%d not shown (%s)", c.Hidden.Values, c.Hidden.Reason))
		}
		add("values %s", strings.Join(list, ", "))
	}
	return out
}

// counts lists counts from the greatest.
func counts(m map[string]int64) string {
	names := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(names, func(a, b string) int { return int(min(max(m[b]-m[a], -1), 1)) })
	for i, n := range names {
		shown := plain(n)
		if n == "" {
			shown = `""`
		}
		names[i] = fmt.Sprintf("%s %d", shown, m[n])
	}
	return strings.Join(names, ", ")
}

// listed is a value as it stands in a list: in quotes if it could be taken for two, or has blanks that would not show.
func listed(s string) string {
	if strings.ContainsAny(s, `,"`) || strings.TrimSpace(s) != s {
		return `"` + plain(s) + `"`
	}
	return plain(s)
}

// plain makes what comes from data harmless on a terminal: what is not printed shows as a dot.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}
