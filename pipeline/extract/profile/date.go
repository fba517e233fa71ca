package profile

import (
	"strings"
	"time"
)

// dateForm is a way in which a date is written. It is small and comparable, so that counting one costs no allocation;
// its name is the layout in the notation of the mapping language.
type dateForm struct {
	order  order
	sep    byte // between the parts of the date; 0: none
	single bool // a day or month of one digit
	long   bool // the month's name in full
	comma  bool // behind the day: Jan 2, 2026
	clock  clock
}

type order uint8

const (
	yearMonthDay order = iota
	monthDayYear
	dayMonthYear
	monthDayShort // with a year of two digits
	dayMonthShort
	shortMonthDay
	dayNameYear // with the month's name
	dayNameShort
	nameDayYear
	yearMonth
	yearOnly
)

// clock is how the time of day is written behind a date.
type clock struct {
	sep       byte // T or a blank; 0: none
	there     bool
	compact   bool // without colons
	single    bool // an hour of one digit
	seconds   bool
	fraction  bool
	half      bool // AM or PM
	halfBlank bool // a blank before it
	zone      byte // 'Z' for the form Z or +01:00, 'z' for +0100; 0: none
	zoneBlank bool
}

// reading is a date as one form reads it.
type reading struct {
	form             dateForm
	year, month, day int
}

// layout names the form as the functions date() and dateTime() of a mapping take it.
func (f dateForm) layout() string {
	month, day := "MM", "dd"
	if f.single {
		month, day = "M", "d"
	}
	name := "MMM"
	if f.long {
		name = "MMMM"
	}
	sep := ""
	if f.sep != 0 {
		sep = string(rune(f.sep))
	}
	comma := ""
	if f.comma {
		comma = ","
	}
	var date string
	switch f.order {
	case yearMonthDay:
		date = "yyyy" + sep + month + sep + day
	case monthDayYear:
		date = month + sep + day + sep + "yyyy"
	case dayMonthYear:
		date = day + sep + month + sep + "yyyy"
	case monthDayShort:
		date = month + sep + day + sep + "yy"
	case dayMonthShort:
		date = day + sep + month + sep + "yy"
	case shortMonthDay:
		date = "yy" + sep + month + sep + day
	case dayNameYear:
		date = day + sep + name + sep + "yyyy"
	case dayNameShort:
		date = day + sep + name + sep + "yy"
	case nameDayYear:
		date = name + " " + day + comma + " yyyy"
	case yearMonth:
		date = "yyyy" + sep + month
	case yearOnly:
		date = "yyyy"
	}
	return date + f.clock.layout()
}

func (c clock) layout() string {
	if !c.there {
		return ""
	}
	colon := ":"
	if c.compact {
		colon = ""
	}
	hour := "HH"
	switch {
	case c.half && c.single:
		hour = "h"
	case c.half:
		hour = "hh"
	case c.single:
		hour = "H"
	}
	out := hour + colon + "mm"
	if c.sep != 0 {
		out = string(rune(c.sep)) + out
	}
	if c.seconds {
		out += colon + "ss"
	}
	if c.fraction {
		out += ".S"
	}
	if c.half {
		if c.halfBlank {
			out += " "
		}
		out += "a"
	}
	if c.zone != 0 {
		if c.zoneBlank {
			out += " "
		}
		out += map[byte]string{'Z': "XXX", 'z': "XX"}[c.zone]
	}
	return out
}

// loose is the form that also reads parts of one digit.
func (f dateForm) loose() dateForm {
	f.single = f.single || f.sep != 0
	f.clock.single = f.clock.single || f.clock.there && !f.clock.compact
	return f
}

// readDate lists the ways to read a text as a date, at most three. Forms that are mostly no dates (a year, eight digits
// without a separator) are tried only in columns whose name speaks of dates.
func readDate(s string, named bool) (out [3]reading, n int) {
	if len(s) < 4 || len(s) > 40 {
		return out, 0
	}
	add := func(f dateForm, year, month, day int) {
		if n < len(out) && realDay(year, month, day) {
			out[n] = reading{f, year, month, day}
			n++
		}
	}
	first, rest := cutDigits(s)
	if first == "" {
		readNameFirst(s, add)
		return out, n
	}
	if rest == "" {
		readCompact(first, named, add)
		return out, n
	}
	sep := rest[0]
	if len(first) == 8 && named && (sep == 'T' || sep == ' ') {
		if c, ok := readClock(rest); ok {
			add(dateForm{order: yearMonthDay, clock: c}, number(first[:4]), number(first[4:6]), number(first[6:]))
		}
		return out, n
	}
	if sep != '/' && sep != '-' && sep != '.' && sep != ' ' {
		return out, 0
	}
	second, tail := cutDigits(rest[1:])
	if second == "" {
		readNameBetween(first, sep, rest[1:], add)
		return out, n
	}
	if len(second) > 2 || sep == ' ' {
		return out, 0
	}
	if tail == "" {
		if named && sep == '-' && len(first) == 4 && len(second) == 2 {
			add(dateForm{order: yearMonth, sep: sep}, number(first), number(second), 1)
		}
		return out, n
	}
	if tail[0] != sep {
		return out, 0
	}
	third, tail := cutDigits(tail[1:])
	c, ok := readClock(tail)
	if !ok {
		return out, 0
	}
	f := dateForm{sep: sep, clock: c}
	a, b, d := number(first), number(second), number(third)
	switch {
	case len(first) == 4 && len(third) >= 1 && len(third) <= 2:
		f.order, f.single = yearMonthDay, len(second) == 1 || len(third) == 1
		add(f, a, b, d)
	case len(first) <= 2 && len(third) == 4:
		f.single = len(first) == 1 || len(second) == 1
		f.order = monthDayYear
		add(f, d, a, b)
		f.order = dayMonthYear
		add(f, d, b, a)
	case len(first) <= 2 && len(third) == 2:
		f.single = len(first) == 1 || len(second) == 1
		f.order = monthDayShort
		add(f, shortYear(d), a, b)
		f.order = dayMonthShort
		add(f, shortYear(d), b, a)
		if len(first) == 2 {
			f.order, f.single = shortMonthDay, len(second) == 1
			add(f, shortYear(a), b, d)
		}
	}
	return out, n
}

func readCompact(s string, named bool, add func(dateForm, int, int, int)) {
	plausible := func(year int) bool { return year >= 1850 && year <= 2100 }
	switch {
	case len(s) == 4 && named && plausible(number(s)):
		add(dateForm{order: yearOnly}, number(s), 1, 1)
	case len(s) == 8 && named:
		if y := number(s[:4]); plausible(y) {
			add(dateForm{order: yearMonthDay}, y, number(s[4:6]), number(s[6:]))
		}
		if y := number(s[4:]); plausible(y) {
			add(dateForm{order: monthDayYear}, y, number(s[:2]), number(s[2:4]))
			add(dateForm{order: dayMonthYear}, y, number(s[2:4]), number(s[:2]))
		}
	case len(s) == 14 || len(s) == 12 && named: // HL7's TS
		seconds := len(s) == 14
		if y := number(s[:4]); plausible(y) && number(s[8:10]) < 24 && number(s[10:12]) < 60 && (!seconds || number(s[12:]) < 60) {
			add(dateForm{order: yearMonthDay, clock: clock{there: true, compact: true, seconds: seconds}}, y, number(s[4:6]), number(s[6:8]))
		}
	}
}

// readNameBetween reads 2 Jan 2026 and 02-JAN-26 behind the day.
func readNameBetween(day string, sep byte, rest string, add func(dateForm, int, int, int)) {
	month, long, rest := cutMonth(rest)
	if month == 0 || len(day) > 2 || rest == "" || rest[0] != sep {
		return
	}
	year, tail := cutDigits(rest[1:])
	c, ok := readClock(tail)
	if !ok {
		return
	}
	f := dateForm{sep: sep, single: len(day) == 1, long: long, clock: c}
	switch len(year) {
	case 4:
		f.order = dayNameYear
		add(f, number(year), month, number(day))
	case 2:
		f.order = dayNameShort
		add(f, shortYear(number(year)), month, number(day))
	}
}

// readNameFirst reads Jan 2, 2026.
func readNameFirst(s string, add func(dateForm, int, int, int)) {
	month, long, rest := cutMonth(s)
	if month == 0 || rest == "" || rest[0] != ' ' {
		return
	}
	day, rest := cutDigits(rest[1:])
	if len(day) < 1 || len(day) > 2 {
		return
	}
	rest, comma := strings.CutPrefix(rest, ",")
	year, found := strings.CutPrefix(rest, " ")
	year, tail := cutDigits(year)
	c, ok := readClock(tail)
	if found && ok && len(year) == 4 {
		add(dateForm{order: nameDayYear, single: len(day) == 1, long: long, comma: comma, clock: c}, number(year), month, number(day))
	}
}

// readClock reads the time of day behind a date; nothing at all is one too.
func readClock(s string) (c clock, ok bool) {
	if s == "" {
		return c, true
	}
	if s[0] != 'T' && s[0] != ' ' {
		return c, false
	}
	c.there, c.sep = true, s[0]
	hour, s := cutDigits(s[1:])
	if len(hour) < 1 || len(hour) > 2 || len(s) < 3 || s[0] != ':' {
		return c, false
	}
	c.single = len(hour) == 1
	minute, s := cutDigits(s[1:])
	if len(minute) != 2 || number(minute) > 59 || number(hour) > 23 {
		return c, false
	}
	if len(s) > 0 && s[0] == ':' {
		var second string
		if second, s = cutDigits(s[1:]); len(second) != 2 || number(second) > 59 {
			return c, false
		}
		c.seconds = true
		if len(s) > 0 && s[0] == '.' {
			var fraction string
			if fraction, s = cutDigits(s[1:]); len(fraction) < 1 || len(fraction) > 9 {
				return c, false
			}
			c.fraction = true
		}
	}
	if mark := strings.TrimPrefix(s, " "); len(mark) >= 2 && (mark[0]|0x20 == 'a' || mark[0]|0x20 == 'p') && mark[1]|0x20 == 'm' {
		if h := number(hour); h < 1 || h > 12 {
			return c, false
		}
		c.half, c.halfBlank, s = true, len(mark) < len(s), mark[2:]
	}
	if s == "" {
		return c, true
	}
	zone := strings.TrimPrefix(s, " ")
	c.zoneBlank = len(zone) < len(s)
	switch {
	case zone == "Z":
		c.zone = 'Z'
	case len(zone) == 6 && (zone[0] == '+' || zone[0] == '-') && allDigits(zone[1:3]) && zone[3] == ':' && allDigits(zone[4:]):
		c.zone = 'Z'
	case len(zone) == 5 && (zone[0] == '+' || zone[0] == '-') && allDigits(zone[1:]):
		c.zone = 'z'
	default:
		return c, false
	}
	return c, true
}

// isTime says whether a text is a time of day without a date.
func isTime(s string) bool {
	if len(s) < 4 || s[0] < '0' || s[0] > '9' {
		return false
	}
	c, ok := readClock(" " + s)
	return ok && c.zone == 0
}

var months = [12]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

// cutMonth reads the English name of a month, in full or as three letters.
func cutMonth(s string) (month int, long bool, rest string) {
	n := 0
	for n < len(s) && (s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	for i, name := range months {
		switch {
		case n == 3 && strings.EqualFold(s[:3], name[:3]): // May is both; the short form reads it
			return i + 1, false, s[n:]
		case n == len(name) && strings.EqualFold(s[:n], name):
			return i + 1, true, s[n:]
		}
	}
	return 0, false, s
}

// shortYear is the year of two digits as the mapping language takes it: 1930 to 2029.
func shortYear(v int) int {
	if v < 30 {
		return 2000 + v
	}
	return 1900 + v
}

func realDay(year, month, day int) bool {
	if year < 1 || month < 1 || month > 12 || day < 1 || day > 31 {
		return false
	}
	return day <= 28 || day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func cutDigits(s string) (digits, rest string) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

func allDigits(s string) bool {
	digits, rest := cutDigits(s)
	return digits != "" && rest == ""
}

// number is the value of some digits; of more than eighteen it is of no use to anyone here.
func number(digits string) (v int) {
	for i := range min(len(digits), 18) {
		v = v*10 + int(digits[i]-'0')
	}
	return v
}
