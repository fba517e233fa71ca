package profile

import (
	"math"
	"slices"
	"strings"
)

// renames pairs columns that are gone with new ones that are like them, takes them out of the lists, and says so. The
// likeliest pair comes first; each column is in one.
func (d *drift) renames(was *BaseTable, now *Table, gone *[]*BaseColumn, added *[]*Column) map[string]*Column {
	out := map[string]*Column{}
	for {
		var a *BaseColumn
		var b *Column
		best := 0.0
		for _, x := range *gone {
			for _, y := range *added {
				if s := alike(was, x, now, y); s > best {
					a, b, best = x, y, s
				}
			}
		}
		if a == nil {
			return out
		}
		out[a.Name] = b
		d.say(b.Name, DriftRenamed, "the column was likely called %s before", a.Name)
		*gone = slices.DeleteFunc(*gone, func(x *BaseColumn) bool { return x == a })
		*added = slices.DeleteFunc(*added, func(y *Column) bool { return y == b })
	}
}

// alike is how much speaks for two columns being the same, 0 if not enough does: the type and the share of blanks must
// agree, and beside these the values, or the name, or place and number of different values.
func alike(was *BaseTable, a *BaseColumn, now *Table, b *Column) float64 {
	if was.Rows == 0 || now.Rows == 0 || math.Abs(share(a.Filled, was.Rows)-share(b.Filled, now.Rows)) > 0.1 {
		return 0
	}
	before, _ := family(a.Types, a.Filled)
	after, _ := family(b.Types, b.Filled)
	if before != after || a.Filled == 0 != (b.Filled == 0) {
		return 0
	}
	score := 0.0
	if nearName(a.Name, b.Name) {
		score += 1
	}
	if a.Filled == 0 {
		return score
	}
	if len(a.Codes) > 1 && len(b.codes) > 1 {
		common := 0
		for _, c := range b.codes {
			if slices.ContainsFunc(a.Codes, func(o Code) bool { return o.Digest == c.Digest }) {
				common++
			}
		}
		if overlap := float64(common) / float64(len(a.Codes)+len(b.codes)-common); overlap >= 0.5 {
			score += 2 * overlap
		}
	}
	place := func() (i, j int) {
		i = slices.IndexFunc(was.Columns, func(c BaseColumn) bool { return c.Name == a.Name })
		j = slices.IndexFunc(now.Columns, func(c Column) bool { return c.Name == b.Name })
		return i, j
	}
	i, j := place()
	near := i-j >= -1 && i-j <= 1
	distinct := math.Abs(share(a.Distinct, a.Filled)-share(b.Distinct.Count, b.Filled)) <= 0.1
	if kind, cells := b.spread.main(b.Filled); kind != "" && kind == a.Grid {
		var bins []int64
		for _, x := range a.Bins {
			bins = append(bins, x.Rows)
		}
		if index, _ := moved(bins, count(a.Bins, cells)); index > 0 && index < 0.1 && near {
			score += 1
		}
	}
	if i == j && distinct && len(was.Columns) == len(now.Columns) {
		score += 1
	}
	return score
}

// nearName says whether two names are likely of one thing: alike but for case and marks, one in the other, or few
// letters apart.
func nearName(a, b string) bool {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '_' || r == ' ' || r == '-' || r == '.' {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	a, b = plain(a), plain(b)
	if a == b {
		return true
	}
	short, long := a, b
	if len(short) > len(long) {
		short, long = long, short
	}
	if len(short) >= 4 && strings.Contains(long, short) {
		return true
	}
	return len(short) >= 4 && letters(a, b)*4 <= len(long)
}

// letters is how many letters have to be put in, taken out or changed between two names.
func letters(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
