package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The rules of drift.
const (
	DriftTableAdded   = "table-added"
	DriftTableGone    = "table-gone"
	DriftRows         = "rows-moved"     // three times as many rows, or a third
	DriftColumnAdded  = "column-added"   //
	DriftColumnGone   = "column-gone"    //
	DriftRenamed      = "column-renamed" // one gone and one new that is like it: likely the same
	DriftRetyped      = "type-changed"   // what nine in ten values were, fewer than nine in ten are
	DriftDateForm     = "date-form"      // the form that read nine in ten dates does not any more
	DriftBlank        = "newly-blank"    // nothing in it any more
	DriftBlankShare   = "blanks-moved"   // the share of blanks moved by five points or more
	DriftNewCodes     = "new-codes"      // codes that were not there before
	DriftKeyLost      = "key-not-unique" // a column, or a pair, that was unique and is not
	DriftDistribution = "values-moved"   // population stability index above 0.25
)

// Drift is one way in which an export differs from an earlier one.
type Drift struct {
	Source  string `json:"source"`
	Table   string `json:"table"`
	Column  string `json:"column,omitempty"`
	Rule    string `json:"rule"`
	Message string `json:"message"` // without values of patients
}

const (
	// rowsFactor is by how much the number of rows moves between exports of one system only for a reason.
	rowsFactor = 3
	// leastRows is how many rows a table must have for its size to say anything.
	leastRows = 30
	// mostOf is the share from which a column is of a type or form.
	mostOf = 0.9
	// blankPoints is how far the share of blanks may move.
	blankPoints = 0.05
	// sigmas is how far from chance a share must be. Many columns are looked at, and the rows of one patient are alike.
	sigmas = 5
	// leastValues is how many values a share or type must be of.
	leastValues = 20
	// leastSample is how many values, on both sides, a distribution must be of.
	leastSample = 100
	// stable is the population stability index above which a distribution has moved; the customary limits are 0.1 for
	// "some" and 0.25 for "much" (N. Siddiqi, Credit Risk Scorecards, 2006).
	stable = 0.25
	// perCode is how many rows a code must have on average for a column to be one of codes.
	perCode = 5
)

// CompareTo lists how the profile differs from an earlier one, sorted by table. It must have been made with the
// Options.Digest of the baseline.
func (p *Profile) CompareTo(old *Baseline) []Drift {
	d := &drift{}
	find := func(source, name string) *Table {
		for i := range p.Tables {
			if p.Tables[i].Source == source && p.Tables[i].Name == name {
				return &p.Tables[i]
			}
		}
		return nil
	}
	points := p.points()
	had := map[[2]string]bool{}
	for i := range old.Tables {
		was := &old.Tables[i]
		had[[2]string{was.Source, was.Name}] = true
		d.source, d.table = was.Source, was.Name
		now := find(was.Source, was.Name)
		if now == nil {
			d.say("", DriftTableGone, "the table had %d rows, and is not there any more", was.Rows)
			continue
		}
		d.tables(was, now, points)
	}
	for _, t := range p.Tables {
		if !had[[2]string{t.Source, t.Name}] {
			d.source, d.table = t.Source, t.Name
			d.say("", DriftTableAdded, "the table was not there before; it has %d rows", t.Rows)
		}
	}
	slices.SortStableFunc(d.found, func(a, b Drift) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Table, b.Table))
	})
	return d.found
}

type drift struct {
	source, table string
	found         []Drift
}

func (d *drift) say(column, rule, format string, args ...any) {
	d.found = append(d.found, Drift{d.source, d.table, column, rule, fmt.Sprintf(format, args...)})
}

func (d *drift) tables(was *BaseTable, now *Table, points map[place]bool) {
	if most, least := max(was.Rows, now.Rows), min(was.Rows, now.Rows); most >= leastRows && most >= rowsFactor*max(least, 1) {
		d.say("", DriftRows, "the table had %d rows, and has %d", was.Rows, now.Rows)
	}
	var gone []*BaseColumn
	for i := range was.Columns {
		if now.Column(was.Columns[i].Name) == nil {
			gone = append(gone, &was.Columns[i])
		}
	}
	var added []*Column
	for i := range now.Columns {
		c := &now.Columns[i]
		if !slices.ContainsFunc(was.Columns, func(b BaseColumn) bool { return b.Name == c.Name }) {
			added = append(added, c)
		}
	}
	renamed := d.renames(was, now, &gone, &added)
	for _, c := range gone {
		d.say(c.Name, DriftColumnGone, "the column is not there any more%s", filledOf(c.Filled, was.Rows, "; it was filled in"))
	}
	for _, c := range added {
		d.say(c.Name, DriftColumnAdded, "the column was not there before%s", filledOf(c.Filled, now.Rows, "; it is filled in"))
	}
	for i := range was.Columns {
		c := now.Column(was.Columns[i].Name)
		if c == nil {
			c = renamed[was.Columns[i].Name]
		}
		if c != nil {
			d.column(was, &was.Columns[i], now, c, was.Columns[i].Points || points[place{now.Source, now.Name, c.Name}])
		}
	}
	d.keys(was, now, renamed)
}

func filledOf(filled, rows int64, word string) string {
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("%s %d of %d rows", word, filled, rows)
}

// keys says which keys are unique no more. In small tables texts and the like are unique by chance.
func (d *drift) keys(was *BaseTable, now *Table, renamed map[string]*Column) {
	const large = 1000
	for _, key := range was.Keys {
		plain := len(key) == 1
		var names []string
		there := true
		for _, name := range key {
			c := now.Column(name)
			if c == nil {
				c = renamed[name]
			}
			if c == nil {
				there = false
				break
			}
			names = append(names, c.Name)
			plain = plain && c.Is(mostOf, TypeInteger, TypeCode, TypeUUID)
		}
		if !there || !plain && was.Rows < large || was.Rows < leastValues {
			continue
		}
		unique, repeated := false, int64(0)
		for _, k := range now.Keys {
			if slices.Equal(k.Columns, names) {
				unique, repeated = k.Repeated == 0, k.Repeated
			}
		}
		if len(names) == 1 {
			c := now.Column(names[0])
			unique = c.Filled == now.Rows && c.Distinct.Repeated == 0
			repeated = c.Distinct.Repeated
		} else if !unique && repeated == 0 && slices.ContainsFunc(now.Keys, func(k Key) bool { return len(k.Columns) == 1 }) {
			continue // pairs are looked for only where no column is a key by itself
		}
		if !unique && now.Rows > 0 {
			d.say(strings.Join(names, "+"), DriftKeyLost, "every row had a value of its own; now %d repeat one", repeated)
		}
	}
}

func (d *drift) column(table *BaseTable, was *BaseColumn, in *Table, now *Column, points bool) {
	if was.Filled >= leastValues && now.Filled == 0 && in.Rows > 0 {
		d.say(now.Name, DriftBlank, "the column was filled in %d of %d rows; now it is blank in all %d", was.Filled, table.Rows, in.Rows)
		return
	}
	if table.Rows >= leastRows && in.Rows >= leastRows {
		a, b := 1-share(was.Filled, table.Rows), 1-share(now.Filled, in.Rows)
		if math.Abs(a-b) >= blankPoints && beyond(a, table.Rows, b, in.Rows) {
			d.say(now.Name, DriftBlankShare, "%s of the rows were blank, and now %s", percent(a), percent(b))
		}
	}
	if was.Filled < leastValues || now.Filled < leastValues {
		return
	}
	if d.types(was, now) || points {
		return // what a type of its own holds cannot be compared; and what points somewhere says nothing by itself
	}
	if d.codes(was, now) {
		return
	}
	d.spread(was, now)
}

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// beyond says whether two shares differ by more than chance gives.
func beyond(a float64, n int64, b float64, m int64) bool {
	p := (a*float64(n) + b*float64(m)) / float64(n+m)
	deviation := math.Sqrt(p * (1 - p) * (1/float64(n) + 1/float64(m)))
	return math.Abs(a-b) > sigmas*deviation
}

// families are types that a column can change between without a mapping minding.
var families = map[string]string{TypeInteger: "number", TypeDecimal: "number", TypeDecimalComma: "number with a comma", TypeComparator: "number with a comparator",
	TypeDate: "date", TypeDateTime: "date with a time", TypeTime: "time", TypeBoolean: "word", TypeUUID: "uuid", TypeCode: "word", TypeText: "word"}

// family is what as good as all values are, and of a mixed column the shares.
func family(types map[string]int64, filled int64) (name string, shares map[string]float64) {
	shares = map[string]float64{}
	for t, n := range types {
		shares[families[t]] += share(n, filled)
	}
	for f, s := range shares {
		if s >= mostOf {
			name = f
		}
	}
	return name, shares
}

// types says whether the column became one of another type or date form. It tells nothing of columns that were mixed.
func (d *drift) types(was *BaseColumn, now *Column) bool {
	before, then := family(was.Types, was.Filled)
	if before == "" {
		return false
	}
	after, shares := family(now.Types, now.Filled)
	if after != before && beyond(then[before], was.Filled, shares[before], now.Filled) {
		most := ""
		for _, f := range sortedKeys(shares) {
			if f != before && (most == "" || shares[f] > shares[most]) {
				most = f
			}
		}
		d.say(now.Name, DriftRetyped, "%s of the values were of the type %s; now %s are, and %s are of the type %s", percent(then[before]), before, percent(shares[before]), percent(shares[most]), most)
		return true
	}
	if len(was.Dates) == 0 || !strings.HasPrefix(before, "date") || share(was.Dates[0].Fits, was.Filled) < mostOf {
		return false
	}
	fits := int64(0)
	for _, f := range now.Dates {
		if f.Layout == was.Dates[0].Layout {
			fits = f.Fits
		}
	}
	if share(fits, now.Filled) >= mostOf || len(now.Dates) == 0 {
		return false
	}
	d.say(now.Name, DriftDateForm, "dates were written %s; now %s of them are, and most are written %s", was.Dates[0].Layout, percent(share(fits, now.Filled)), now.Dates[0].Layout)
	return true
}

func sortedKeys(m map[string]float64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// codes says whether the column is one of codes on both sides; then which are new, and whether their shares moved.
func (d *drift) codes(was *BaseColumn, now *Column) bool {
	if was.Codes == nil || measured(was, now) {
		return false
	}
	before := map[string]int64{}
	for _, c := range was.Codes {
		before[c.Digest] = c.Rows
	}
	if now.codes == nil {
		why := "too many to compare"
		if now.Distinct.Count <= mostValues {
			why = "some of them too long to compare"
		}
		d.say(now.Name, DriftNewCodes, "the column had %d different values; now it has %d, %s", len(was.Codes), now.Distinct.Count, why)
		return true
	}
	after := map[string]int64{}
	var shown []string
	fresh, rows := 0, int64(0)
	for _, c := range now.codes {
		after[c.Digest] = c.Rows
		if _, ok := before[c.Digest]; !ok {
			fresh++
			rows += c.Rows
			if c.Text != "" && len(shown) < 5 {
				shown = append(shown, c.Text)
			}
		}
	}
	if fresh > 0 {
		names := ""
		if len(shown) > 0 {
			names = " (" + strings.Join(shown, ", ")
			if fresh > len(shown) {
				names += ", …"
			}
			names += ")"
		}
		d.say(now.Name, DriftNewCodes, "not there before: %s in %s%s", counted(int64(fresh), "code"), counted(rows, "row"), names)
	}
	var a, b []int64
	for _, c := range was.Codes {
		a, b = append(a, c.Rows), append(b, after[c.Digest])
	}
	a, b = append(a, 0), append(b, rows)
	if index, moved := moved(a, b); moved {
		d.say(now.Name, DriftDistribution, "the shares of its codes moved (population stability index %.2f)", index)
	}
	return true
}

// measured says whether numbers are quantities and no codes: with decimals, or short, of many kinds, and not called codes.
func measured(was *BaseColumn, now *Column) bool {
	const fewDigits, fewKinds = 4, 20
	if name, _ := family(was.Types, was.Filled); name != "number" {
		return false
	}
	return was.Types[TypeDecimal] > 0 || now.Length.Max <= fewDigits && len(was.Codes) > fewKinds && !speaksOfCodes(now.Name)
}

// speaksOfCodes says whether the name of a column promises codes, be they ever so short.
func speaksOfCodes(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"code", "type", "kind", "status", "class", "concept", "cvx", "icd", "cpt", "loinc", "snomed"}, func(w string) bool { return strings.Contains(name, w) })
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// spread compares distributions of numbers and dates.
func (d *drift) spread(was *BaseColumn, now *Column) {
	kind, cells := now.spread.main(now.Filled)
	if was.Grid == "" || kind != was.Grid {
		return
	}
	var a []int64
	for _, b := range was.Bins {
		a = append(a, b.Rows)
	}
	b := count(was.Bins, cells)
	if index, moved := moved(a, b); moved {
		d.say(now.Name, DriftDistribution, "its %s moved (population stability index %.2f): half were up to %s, and now up to %s", kind, index, half(kind, was.Bins), half(kind, binsOf(cells)))
	}
}

// half names the bin in which the middle value lies.
func half(kind string, bins []Bin) string {
	total, sum := int64(0), int64(0)
	for _, b := range bins {
		total += b.Rows
	}
	for _, b := range bins {
		if sum += b.Rows; 2*sum >= total {
			return cellName(kind, b.Last)
		}
	}
	return ""
}

// moved is the population stability index of two distributions over the same classes, and whether it says that they
// differ: above the customary limit, and by more than samples of this size differ by chance. Classes that few are
// expected in are taken together.
func moved(a, b []int64) (index float64, differ bool) {
	var n, m int64
	for i := range a {
		n, m = n+a[i], m+b[i]
	}
	if n < leastSample || m < leastSample {
		return 0, false
	}
	type class struct{ a, b float64 }
	var classes []class
	var rest class
	for i := range a {
		c := class{float64(a[i]), float64(b[i])}
		if expected := (c.a + c.b) * float64(min(n, m)) / float64(n+m); expected < perCode {
			rest.a, rest.b = rest.a+c.a, rest.b+c.b
			continue
		}
		classes = append(classes, c)
	}
	if rest.a+rest.b > 0 {
		classes = append(classes, rest)
	}
	k := float64(len(classes))
	for _, c := range classes {
		// Half a row more on both sides, so that an empty class counts for much and not for everything.
		p, q := (c.a+0.5)/(float64(n)+0.5*k), (c.b+0.5)/(float64(m)+0.5*k)
		index += (p - q) * math.Log(p/q)
	}
	// By chance the index, over 1/n + 1/m, is distributed as chi-squared with one degree of freedom less than classes.
	chance := 1/float64(n) + 1/float64(m)
	return index, index > stable && index > chance*(k-1+sigmas*math.Sqrt(2*max(k-1, 1)))
}
