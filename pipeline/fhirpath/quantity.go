package fhirpath

import (
	"math/big"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ucum"
)

const ucumSystem = "http://unitsofmeasure.org"

var unitOne = &fhir.Node{Kind: fhir.String, Text: "1"}

// calendarUnit is the unit of time that a calendar word names.
func calendarUnit(word string) timeUnit {
	switch word {
	case "year", "years":
		return unitYear
	case "month", "months":
		return unitMonth
	case "week", "weeks":
		return unitWeek
	case "day", "days":
		return unitDay
	case "hour", "hours":
		return unitHour
	case "minute", "minutes":
		return unitMinute
	case "second", "seconds":
		return unitSecond
	case "millisecond", "milliseconds":
		return unitMillisecond
	}
	return unitNone
}

// ucumTime is the unit of time that a UCUM code names. Years and months of UCUM are lengths of time, not of the
// calendar.
func ucumTime(code string) (unit timeUnit, definite bool) {
	switch code {
	case "a":
		return unitYear, false
	case "mo":
		return unitMonth, false
	case "wk":
		return unitWeek, true
	case "d":
		return unitDay, true
	case "h":
		return unitHour, true
	case "min":
		return unitMinute, true
	case "s":
		return unitSecond, true
	case "ms":
		return unitMillisecond, true
	}
	return unitNone, false
}

// ucumOf is the UCUM code of a calendar unit of definite length; "" for years and months.
func ucumOf(u timeUnit) string {
	switch u {
	case unitWeek:
		return "wk"
	case unitDay:
		return "d"
	case unitHour:
		return "h"
	case unitMinute:
		return "min"
	case unitSecond:
		return "s"
	case unitMillisecond:
		return "ms"
	}
	return ""
}

// quantity is a FHIR Quantity as a System.Quantity (fhirpath.html#quantity); any other value is itself. A quantity
// with a comparator is not a number and stays an object.
func (c *Context) quantity(v Value) Value {
	if v.kind() != KindObject || v.element() == nil || v.model() != nil && !v.model().Is("Quantity") {
		return v
	}
	n := v.element()
	value := n.Get("value")
	if value == nil || value.Kind != fhir.Number || n.Get("comparator") != nil {
		return v
	}
	number, ok := decimalValue(value.Text)
	if !ok {
		return v
	}
	unit := n.Get("code")
	if system := n.Get("system").Str(); unit == nil || system != "" && system != ucumSystem {
		if unit == nil {
			unit = n.Get("unit")
		}
	} else if system == ucumSystem {
		switch unit.Text {
		case "a":
			return quantityOf(number, wordYear, true)
		case "mo":
			return quantityOf(number, wordMonth, true)
		}
	}
	if unit == nil || unit.Kind != fhir.String {
		unit = unitOne
	}
	return quantityOf(number, unit, false)
}

var (
	wordYear  = &fhir.Node{Kind: fhir.String, Text: "year"}
	wordMonth = &fhir.Node{Kind: fhir.String, Text: "month"}
)

// calendarWords are the words for UCUM's units of time.
var calendarWords = map[string]*fhir.Node{"a": {Kind: fhir.String, Text: "years"}, "mo": {Kind: fhir.String, Text: "months"},
	"wk": {Kind: fhir.String, Text: "weeks"}, "d": {Kind: fhir.String, Text: "days"}, "h": {Kind: fhir.String, Text: "hours"},
	"min": {Kind: fhir.String, Text: "minutes"}, "s": {Kind: fhir.String, Text: "seconds"}, "ms": {Kind: fhir.String, Text: "milliseconds"}}

// calendarWord is the word of the calendar for a UCUM unit of time, else nil.
func calendarWord(code string) *fhir.Node { return calendarWords[code] }

// asQuantity is quantity, and for numbers a quantity of the unit 1.
func (c *Context) asQuantity(v Value) Value {
	if isNumber(v.kind()) {
		return quantityOf(v, unitOne, false)
	}
	return c.quantity(v)
}

// measure is what a quantity is in base units: months of the calendar, or a UCUM unit.
type measure struct {
	months bool
	unit   *ucum.Unit
	factor int64 // of months
}

func measureOf(v Value) (measure, bool) {
	word := v.unit()
	if t := calendarUnit(word); t != unitNone {
		switch t {
		case unitYear:
			return measure{months: true, factor: 12}, true
		case unitMonth:
			return measure{months: true, factor: 1}, true
		}
		u, ok := ucum.Parse(ucumOf(t))
		return measure{unit: u}, ok
	}
	u, ok := ucum.Parse(word)
	return measure{unit: u}, ok
}

func (m measure) comparable(o measure) bool {
	if m.months || o.months {
		return m.months && o.months
	}
	return ucum.Comparable(m.unit, o.unit)
}

func (m measure) base(v Value) *big.Rat {
	r := rational(v)
	if m.months {
		return r.Mul(r, big.NewRat(m.factor, 1))
	}
	return m.unit.Base(r)
}

// rational is the number of a value; its size is bounded by that of number literals.
func rational(v Value) *big.Rat {
	r, ok := new(big.Rat).SetString(v.apd().Text('f'))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// compareQuantities orders two quantities; undecided where their units do not compare.
func compareQuantities(a, b Value) (order int, decided bool) {
	if a.unit() == b.unit() {
		return compareNumbers(a, b), true
	}
	if ta, tb := calendarUnit(a.unit()), calendarUnit(b.unit()); ta != unitNone && tb != unitNone {
		// Both of the calendar: brought to the coarser unit, by the factors of toQuantity().
		if ta > tb {
			order, decided = compareQuantities(b, a)
			return -order, decided
		}
		return rational(a).Cmp(inCalendar(rational(b), tb, ta)), true
	}
	ma, ok1 := measureOf(a)
	mb, ok2 := measureOf(b)
	if !ok1 || !ok2 || !ma.comparable(mb) {
		return 0, false
	}
	return ma.base(a).Cmp(mb.base(b)), true
}

// inCalendar converts a number of calendar units to another one: a year has 12 months or 365 days, a month 30 days
// (FHIRPath 2.0, 5.5.8).
func inCalendar(r *big.Rat, from, to timeUnit) *big.Rat {
	switch {
	case from == unitYear && to == unitMonth:
		return r.Mul(r, big.NewRat(12, 1))
	case from == unitMonth && to == unitYear:
		return r.Mul(r, big.NewRat(1, 12))
	}
	x, _ := ticksOf(from, 1)
	y, _ := ticksOf(to, 1)
	return r.Mul(r, big.NewRat(x, y))
}

// equalQuantities is = of quantities. Units of different dimensions are unequal; a month of the calendar and one of
// UCUM (30.4375 days) are undecidable, as are units that nobody knows.
func equalQuantities(a, b Value) truth {
	if order, decided := compareQuantities(a, b); decided {
		return truthIf(order == 0)
	}
	ma, ok1 := measureOf(a)
	mb, ok2 := measureOf(b)
	if !ok1 || !ok2 || ma.months || mb.months {
		return unknown
	}
	return no
}

// equivalentQuantities is ~ of quantities: calendar units are their UCUM namesakes, and values are rounded to the
// precision of the less precise.
func equivalentQuantities(a, b Value) bool {
	ua, ub := canonicalUnit(a), canonicalUnit(b)
	if ua == ub {
		return equivalentNumbers(a, b)
	}
	x, ok1 := ucum.Parse(ua)
	y, ok2 := ucum.Parse(ub)
	if !ok1 || !ok2 || !ucum.Comparable(x, y) {
		return false
	}
	// Both are brought to the coarser unit of the two, since that is the one whose digits say how precise it is.
	if x.Base(big.NewRat(1, 1)).Cmp(y.Base(big.NewRat(1, 1))) < 0 {
		a, b, x, y = b, a, y, x
	}
	converted, ok := decimalOfRat(x.FromBase(y.Base(rational(b))))
	return ok && equivalentNumbers(a, converted)
}

func decimalOfRat(r *big.Rat) (Value, bool) {
	text := r.FloatString(18)
	if strings.IndexByte(text, '.') >= 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return decimalValue(text)
}

// canonicalUnit is the UCUM code of a quantity's unit, also for words of the calendar.
func canonicalUnit(v Value) string {
	switch t := calendarUnit(v.unit()); t {
	case unitNone:
		return v.unit()
	case unitYear:
		return "a"
	case unitMonth:
		return "mo"
	default:
		return ucumOf(t)
	}
}

// calculateQuantity is a op b where one at least is a quantity.
func (c *Context) calculateQuantity(op byte, a, b Value, off int) (Value, error) {
	if !(isNumber(a.kind()) || a.kind() == KindQuantity) || !(isNumber(b.kind()) || b.kind() == KindQuantity) {
		return Value{}, &Error{Code: codeType, Offset: off}
	}
	scalar := isNumber(b.kind()) || isNumber(a.kind())
	a, b = c.asQuantity(a), c.asQuantity(b)
	switch op {
	case '+', '-':
		if a.unit() == b.unit() {
			return c.withNumber(arithmetic(op, a.magnitude(), b.magnitude()), a.unitNode(), a.has(flagCalendar)), nil
		}
		ma, ok1 := measureOf(a)
		mb, ok2 := measureOf(b)
		if !ok1 || !ok2 || scalar || !ma.comparable(mb) || ma.months || !ma.unit.Linear() || !mb.unit.Linear() {
			return Value{}, nil
		}
		// The result has the more granular unit (FHIRPath 2.0, 6.6.3).
		target, unit := a, ma.unit
		if mb.unit.Base(big.NewRat(1, 1)).Cmp(ma.unit.Base(big.NewRat(1, 1))) < 0 {
			target, unit = b, mb.unit
		}
		node := target.unitNode()
		if word := calendarWord(target.unit()); word != nil && (calendarUnit(a.unit()) != unitNone || calendarUnit(b.unit()) != unitNone) {
			node = word // of the calendar, if one of the two is
		}
		x, ok1 := decimalOfRat(unit.FromBase(ma.base(a)))
		y, ok2 := decimalOfRat(unit.FromBase(mb.base(b)))
		if !ok1 || !ok2 {
			return Value{}, nil
		}
		return c.withNumber(arithmetic(op, x, y), node, calendarUnit(node.Text) != unitNone), nil
	case '*', '/':
		number := arithmetic(op, a.magnitude(), b.magnitude())
		unit, calendar := c.combinedUnit(op, a, b)
		if unit == nil {
			return Value{}, nil
		}
		return c.withNumber(number, unit, calendar), nil
	}
	return Value{}, &Error{Code: codeType, Offset: off}
}

// magnitude is the number of a quantity as a Decimal.
func (v Value) magnitude() Value {
	return Value{meta: v.meta&^0xff&^flagCalendar | uint64(KindDecimal), num: v.num, first: v.first}
}

func (c *Context) withNumber(number Value, unit *fhir.Node, calendar bool) Value {
	if number.none() {
		return Value{}
	}
	return quantityOf(number, unit, calendar)
}

// combinedUnit is the unit of a product or quotient; nil if there is none.
func (c *Context) combinedUnit(op byte, a, b Value) (*fhir.Node, bool) {
	if b.unit() == "1" {
		return a.unitNode(), a.has(flagCalendar)
	}
	if op == '*' && a.unit() == "1" {
		return b.unitNode(), b.has(flagCalendar)
	}
	ua, ub := a.unit(), b.unit()
	if op == '/' && ua == ub {
		return unitOne, false
	}
	if calendarUnit(ua) != unitNone || calendarUnit(ub) != unitNone {
		return nil, false // years and days of the calendar have no fixed length to multiply
	}
	if len(ua)+len(ub) > 300 {
		return nil, false
	}
	code := ua + "." + ub
	if op == '/' {
		code = ua + "/" + ub
		if strings.ContainsAny(ub, "./") {
			code = ua + "/(" + ub + ")"
		}
	}
	if _, ok := ucum.Parse(code); !ok {
		return nil, false
	}
	return c.NewString(code), false
}

// shift is a date plus or minus a quantity of time. Units of UCUM work down from weeks, since its years and months are
// lengths of time; fractions count for nothing, except those of calendar seconds.
func (c *Context) shift(op byte, date, q Value, off int) (Value, error) {
	unit := calendarUnit(q.unit())
	fraction := q.has(flagCalendar)
	if unit == unitNone {
		var definite bool
		if unit, definite = ucumTime(q.unit()); unit == unitNone || !definite {
			return Value{}, &Error{Code: "unit-not-of-time", Offset: off}
		}
	}
	number := q.magnitude()
	if fraction && (unit == unitSecond || unit == unitMillisecond) {
		perUnit := Integer(unitTicks[unit])
		number, unit = bigArithmetic('*', number.apd(), perUnit.apd()), unitTick
	}
	whole, ok := quantize(number, 0, apd.RoundDown)
	if !ok {
		return Value{}, nil
	}
	n, err := whole.Int64()
	if err != nil {
		return Value{}, nil
	}
	if op == '-' {
		n = -n
	}
	if date.kind() == KindTime && (unit == unitYear || unit == unitMonth || unit == unitWeek || unit == unitDay) {
		return Value{}, &Error{Code: "unit-not-of-time", Offset: off}
	}
	shifted, ok := c.addTime(date, unit, n)
	if !ok {
		return Value{}, nil
	}
	return shifted, nil
}

// parseQuantity reads the text form of a quantity: 1.5, 1.5 'mg', 4 days. Blanks may stand between number and unit only.
func (c *Context) parseQuantity(s string) (Value, bool) {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.' || i == 0 && (s[i] == '-' || s[i] == '+')) {
		i++
	}
	number, ok := decimalValue(s[:i])
	if !ok {
		return Value{}, false
	}
	rest := strings.TrimLeft(s[i:], " \t\r\n")
	switch {
	case rest == "":
		return quantityOf(number, unitOne, false), true
	case len(rest) > 2 && rest[0] == '\'' && strings.IndexByte(rest[1:], '\'') == len(rest)-2:
		return quantityOf(number, c.NewString(rest[1:len(rest)-1]), false), true
	case calendarUnit(rest) != unitNone:
		return quantityOf(number, c.NewString(rest), true), true
	}
	return Value{}, false
}
