package profile

import (
	"strings"
	"unicode/utf8"
)

const (
	// mostValues is how many distinct values a column may have to keep them; more are not codes that a person looks through.
	mostValues = 256
	// longestValue is how long a value may be, in bytes, to be kept. Codes and labels are shorter.
	longestValue = 64
	// FewPatients is how many patients, or rows where no column of patients is evident, a value must have been seen for to
	// be shown without Options.ShowValues.
	FewPatients = 5
)

// at is a place within a table. The least one is kept, so that the order of reading does not matter.
type at struct{ ordinal, line int64 }

// spot counts something and knows where it was first.
type spot struct {
	count int64
	first at
}

func (s *spot) add(n int64, where at) {
	if n == 0 {
		return
	}
	if s.count == 0 || where.ordinal < s.first.ordinal {
		s.first = where
	}
	s.count += n
}

func (s *spot) merge(o spot) { s.add(o.count, o.first) }

// seen is one value of a column with few of them.
type seen struct {
	spot
	patients []uint64 // hashes of different patients, up to FewPatients
}

func (s *seen) patient(h uint64) {
	if len(s.patients) >= FewPatients {
		return
	}
	for _, p := range s.patients {
		if p == h {
			return
		}
	}
	s.patients = append(s.patients, h)
}

// formCount counts a date form.
type formCount struct{ fits, only int64 }

// column gathers what the values of one column are like. While there are few different ones it only counts them; what
// they are like is found when there are too many, or at the end.
type column struct {
	blanks    []string // texts that count as empty
	dateNamed bool

	empty, white int64
	blank        map[string]int64
	values       map[string]*seen // nil: there were too many

	sketch    sketch
	types     map[string]int64
	dates     map[dateForm]formCount
	ambiguous int64
	sentinels map[string]int64
	forms     [forms]int64

	filled      int64
	short, long int // characters; valid if filled > 0
	longest     at
	characters  int64
	words       int64

	zeros, leading, trailing           spot
	mojibake, replaced, controls, bidi spot
	ones                               int64 // values 0 and 1
	spread                             spread
}

func newColumn(name string, blanks []string, limit int) *column {
	return &column{
		blanks: blanks, dateNamed: speaksOfDates(name), blank: map[string]int64{}, values: map[string]*seen{}, sketch: newSketch(limit),
		types: map[string]int64{}, dates: map[dateForm]formCount{}, sentinels: map[string]int64{}, spread: newSpread(),
	}
}

// add takes a cell. patient is the hash of whose it is, if known.
func (c *column) add(cell string, where at, patient uint64, known bool) {
	if cell == "" {
		c.empty++
		return
	}
	if v, ok := c.values[cell]; ok {
		v.add(1, where)
		if known {
			v.patient(patient)
		}
		return
	}
	for _, b := range c.blanks {
		if cell == b {
			c.blank[b]++
			return
		}
	}
	if strings.TrimSpace(cell) == "" {
		c.white++
		return
	}
	if c.values != nil && len(c.values) < mostValues && len(cell) <= longestValue {
		v := &seen{spot: spot{1, where}}
		if known {
			v.patient(patient)
		}
		c.values[strings.Clone(cell)] = v
		return
	}
	c.overflow()
	c.judge(cell, spot{1, where})
}

// overflow gives the values up: what they are like is kept, they are not.
func (c *column) overflow() {
	for cell, v := range c.values {
		c.judge(cell, v.spot)
	}
	c.values = nil
}

// judge finds what a value is like, seen in so many rows.
func (c *column) judge(cell string, rows spot) {
	n := rows.count
	c.sketch.add(hash(cell), n)
	length := utf8.RuneCountInString(cell)
	if c.filled == 0 || length < c.short {
		c.short = length
	}
	if c.filled == 0 || length > c.long || length == c.long && rows.first.ordinal < c.longest.ordinal {
		c.long, c.longest = length, rows.first
	}
	c.filled += n
	c.characters += n * int64(length)

	text := strings.TrimSpace(cell)
	if text[0] != cell[0] {
		c.leading.add(n, rows.first)
	}
	if text[len(text)-1] != cell[len(cell)-1] {
		c.trailing.add(n, rows.first)
	}
	c.words += n * int64(1+strings.Count(text, " "))
	readings, found := readDate(text, c.dateNamed)
	c.dateForms(readings[:found], n)
	kind := typeOf(text, readings[:found])
	c.types[kind] += n
	c.spread.add(text, kind, readings[:found], n)
	if text == "0" || text == "1" {
		c.ones += n
	}
	if name := sentinelOf(text, readings[:found]); name != "" {
		c.sentinels[name] += n
	}
	if leadingZero(text) {
		c.zeros.add(n, rows.first)
	}
	for i, is := range formsOf(text, kind) {
		if is {
			c.forms[i] += n
		}
	}
	d := damageOf(cell)
	for _, s := range []struct {
		is   bool
		into *spot
	}{{d.mojibake, &c.mojibake}, {d.replaced, &c.replaced}, {d.controls, &c.controls}, {d.bidi, &c.bidi}} {
		if s.is {
			s.into.add(n, rows.first)
		}
	}
}

func (c *column) dateForms(readings []reading, n int64) {
	differ := false
	for _, r := range readings {
		f := c.dates[r.form]
		f.fits += n
		if len(readings) == 1 {
			f.only += n
		}
		c.dates[r.form] = f
		o := readings[0]
		differ = differ || r.year != o.year || r.month != o.month || r.day != o.day
	}
	if differ {
		c.ambiguous += n
	}
}

// merge adds what another column of the same name has gathered.
func (c *column) merge(o *column) {
	c.empty += o.empty
	c.white += o.white
	addAll(c.blank, o.blank)
	if c.values != nil && o.values != nil {
		for cell, v := range o.values {
			mine, ok := c.values[cell]
			if !ok {
				c.values[cell] = v
				continue
			}
			mine.merge(v.spot)
			for _, p := range v.patients {
				mine.patient(p)
			}
		}
		if len(c.values) > mostValues {
			c.overflow()
		}
	} else {
		c.overflow()
		for cell, v := range o.values {
			c.judge(cell, v.spot)
		}
	}
	c.sketch.merge(&o.sketch)
	addAll(c.types, o.types)
	for f, n := range o.dates {
		mine := c.dates[f]
		c.dates[f] = formCount{mine.fits + n.fits, mine.only + n.only}
	}
	c.ambiguous += o.ambiguous
	addAll(c.sentinels, o.sentinels)
	for i, n := range o.forms {
		c.forms[i] += n
	}
	if o.filled > 0 {
		if c.filled == 0 || o.short < c.short {
			c.short = o.short
		}
		if c.filled == 0 || o.long > c.long || o.long == c.long && o.longest.ordinal < c.longest.ordinal {
			c.long, c.longest = o.long, o.longest
		}
	}
	c.filled += o.filled
	c.characters += o.characters
	c.words += o.words
	for _, s := range []struct {
		into *spot
		from spot
	}{{&c.zeros, o.zeros}, {&c.leading, o.leading}, {&c.trailing, o.trailing}, {&c.mojibake, o.mojibake}, {&c.replaced, o.replaced},
		{&c.controls, o.controls}, {&c.bidi, o.bidi}} {
		s.into.merge(s.from)
	}
	c.ones += o.ones
	c.spread.merge(o.spread)
}

// settle ends the gathering: what was only counted so far is checked. The values are kept for Column.Values.
func (c *column) settle() {
	for cell, v := range c.values {
		c.judge(cell, v.spot)
	}
	// Words such as F and N are booleans only among their like.
	if n := c.types[TypeBoolean]; n > 0 && (c.values == nil || n+c.sentinelTotal() < c.filled) {
		delete(c.types, TypeBoolean)
		c.types[TypeCode] += n
	}
	if c.values["0"] != nil && c.values["1"] != nil && c.ones == c.filled {
		delete(c.types, TypeInteger)
		c.types[TypeBoolean] = c.filled
	}
	// A form with parts of one digit also reads those with two: where both occur they are one.
	alike := map[dateForm]int{}
	for f := range c.dates {
		alike[f.loose()]++
	}
	for f, n := range c.dates {
		if l := f.loose(); l != f && alike[l] > 1 {
			delete(c.dates, f)
			mine := c.dates[l]
			c.dates[l] = formCount{mine.fits + n.fits, mine.only + n.only}
		}
	}
}

func (c *column) sentinelTotal() (n int64) {
	for _, s := range c.sentinels {
		n += s
	}
	return n
}

func addAll(into, from map[string]int64) {
	for k, n := range from {
		into[k] += n
	}
}
