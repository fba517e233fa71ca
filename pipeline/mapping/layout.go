package mapping

import (
	"fmt"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// layout is a compiled date layout, as people write them: dd.MM.yyyy HH:mm.
type layout struct {
	source string
	fields []field
	time   bool // reads hours
	zone   bool // reads a zone
	date   int  // precision of the date: 1 year, 2 month, 3 day
}

// field is one piece of a layout: a literal, or a number or name with its width.
type field struct {
	letter  byte // 0: literal
	literal string
	min     int // digits; for names unused
	max     int
	style   int // number of letters, for MMM, EEE, XXX
}

var (
	monthNames = [12]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
	dayNames   = [7]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// compileLayout reads a layout. The error says what is wrong with it, and offset where.
func compileLayout(source string) (l *layout, offset int, err error) {
	l = &layout{source: source}
	var seen [256]bool
	for i := 0; i < len(source); {
		c := source[i]
		if c == '\'' {
			text, n, err := quotedText(source[i:])
			if err != nil {
				return nil, i, err
			}
			l.literal(text)
			i += n
			continue
		}
		if c < 'A' || c > 'Z' && c < 'a' || c > 'z' {
			l.literal(source[i : i+1])
			i++
			continue
		}
		n := 1
		for i+n < len(source) && source[i+n] == c {
			n++
		}
		f, ok := fieldOf(c, n)
		switch {
		case c == 'T' && n == 1:
			l.literal("T")
			i++
			continue
		case !ok:
			hint := ""
			if near, is := map[byte]string{'D': "dd", 'Y': "yyyy", 'N': "MM for months, mm for minutes", 'A': "a", 'z': "XXX", 'Z': "XXX", 'x': "XXX"}[c]; is {
				hint = "; did you mean " + near + "?"
			}
			return nil, i, fmt.Errorf("a date layout has no %q%s", source[i:i+n], hint)
		case seen[kindOf(c)]:
			return nil, i, fmt.Errorf("the layout names %s twice", unitOf(c))
		}
		seen[kindOf(c)] = true
		l.fields = append(l.fields, f)
		i += n
	}
	hour := seen['H'] || seen['h']
	switch {
	case !seen['y']:
		return nil, 0, fmt.Errorf("the layout has no year (yyyy)")
	case seen['d'] && !seen['M']:
		return nil, 0, fmt.Errorf("the layout has a day without a month (MM)")
	case seen['h'] && !seen['a'], seen['a'] && !seen['h']:
		return nil, 0, fmt.Errorf("hh and a belong together; HH is the hour of 24")
	case hour && !seen['d']:
		return nil, 0, fmt.Errorf("the layout has a time without a day (dd)")
	case !hour && (seen['m'] || seen['s'] || seen['X']):
		return nil, 0, fmt.Errorf("the layout has minutes, seconds or a zone without an hour (HH); months are MM")
	case hour && !seen['m']:
		return nil, 0, fmt.Errorf("the layout has an hour without minutes (mm)")
	case seen['s'] && !seen['m'], seen['S'] && !seen['s']:
		return nil, 0, fmt.Errorf("the layout leaves out a unit between others")
	}
	l.time, l.zone = hour, seen['X']
	switch {
	case seen['d']:
		l.date = 3
	case seen['M']:
		l.date = 2
	default:
		l.date = 1
	}
	// A number of open width before another number can be cut in several ways.
	for i := 0; i+1 < len(l.fields); i++ {
		a, b := l.fields[i], l.fields[i+1]
		if a.letter != 0 && a.min != a.max && b.letter != 0 && b.max > 0 {
			return nil, 0, fmt.Errorf("the layout can be read in two ways: %s of one or two digits stands directly before a number", unitOf(a.letter))
		}
	}
	return l, 0, nil
}

func (l *layout) literal(s string) {
	if n := len(l.fields); n > 0 && l.fields[n-1].letter == 0 {
		l.fields[n-1].literal += s
		return
	}
	l.fields = append(l.fields, field{literal: s})
}

// quotedText reads 'text' with ” for a quote in it.
func quotedText(s string) (text string, n int, err error) {
	if strings.HasPrefix(s, "''") {
		return "'", 2, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, nil
	}
	return "", 0, fmt.Errorf("a quote in the layout does not end")
}

// kindOf folds letters that read the same unit.
func kindOf(c byte) byte {
	switch c {
	case 'E':
		return 'E'
	}
	return c
}

func unitOf(c byte) string {
	return map[byte]string{'y': "the year", 'M': "the month", 'd': "the day", 'H': "the hour", 'h': "the hour", 'm': "the minute", 's': "the second",
		'S': "the fraction", 'a': "AM or PM", 'E': "the weekday", 'X': "the zone"}[c]
}

func fieldOf(c byte, n int) (field, bool) {
	f := field{letter: c, style: n}
	switch c {
	case 'y':
		f.min, f.max = n, n
		return f, n == 2 || n == 4
	case 'M':
		if n >= 3 {
			return f, n <= 4
		}
		f.min, f.max = n, 2
		return f, true
	case 'd', 'H', 'h', 'm', 's':
		f.min, f.max = n, 2
		return f, n <= 2
	case 'S':
		f.min, f.max = 1, 9
		return f, true
	case 'a':
		return f, n == 1
	case 'E':
		return f, n <= 4
	case 'X':
		return f, n == 2 || n == 3
	}
	return f, false
}

// moment is what a layout read: numbers as written, nothing resolved.
type moment struct {
	year, month, day     int
	hour, minute, second int
	fraction             string // digits as written
	hasTime, hasSecond   bool
	zone                 string // "Z", "+01:00", "-05:30"; "" if none was written
}

// read reads a text. False if it does not fit, or names a day or time that does not exist.
func (l *layout) read(s string, m *moment) bool {
	*m = moment{}
	pm, half, weekday := false, false, -1
	for i := range l.fields {
		f := &l.fields[i]
		if f.letter == 0 {
			rest, ok := strings.CutPrefix(s, f.literal)
			if !ok {
				return false
			}
			s = rest
			continue
		}
		switch {
		case f.letter == 'S':
			n := 0
			for n < len(s) && n < f.max && isDigit(s[n]) {
				n++
			}
			if n == 0 {
				return false
			}
			m.fraction, s = s[:n], s[n:]
			continue
		case f.letter == 'M' && f.style >= 3:
			n, rest := cutName(s, monthNames[:], f.style == 3)
			if n < 0 {
				return false
			}
			m.month, s = n+1, rest
			continue
		case f.letter == 'E':
			n, rest := cutName(s, dayNames[:], f.style <= 3)
			if n < 0 {
				return false
			}
			weekday, s = n, rest
			continue
		case f.letter == 'a':
			if len(s) < 2 || s[1]|0x20 != 'm' || s[0]|0x20 != 'a' && s[0]|0x20 != 'p' {
				return false
			}
			half, pm, s = true, s[0]|0x20 == 'p', s[2:]
			continue
		case f.letter == 'X':
			zone, rest, ok := cutZone(s, f.style == 3)
			if !ok {
				return false
			}
			m.zone, s = zone, rest
			continue
		}
		n, v := 0, 0
		for n < len(s) && n < f.max && isDigit(s[n]) {
			v = v*10 + int(s[n]-'0')
			n++
		}
		if n < f.min {
			return false
		}
		s = s[n:]
		switch f.letter {
		case 'y':
			if f.max == 2 {
				if v += 2000; v > 2029 {
					v -= 100
				}
			}
			m.year = v
		case 'M':
			m.month = v
		case 'd':
			m.day = v
		case 'H', 'h':
			m.hour, m.hasTime = v, true
		case 'm':
			m.minute = v
		case 's':
			m.second, m.hasSecond = v, true
		}
	}
	if s != "" || m.year < 1 {
		return false
	}
	if half {
		if m.hour < 1 || m.hour > 12 {
			return false
		}
		m.hour %= 12
		if pm {
			m.hour += 12
		}
	}
	if l.date >= 2 && (m.month < 1 || m.month > 12) || l.date == 3 && (m.day < 1 || m.day > fhir.DaysIn(m.year, m.month)) {
		return false
	}
	if m.hour > 23 || m.minute > 59 || m.second > 59 {
		return false
	}
	if weekday >= 0 && l.date == 3 && int(time.Date(m.year, time.Month(m.month), m.day, 0, 0, 0, 0, time.UTC).Weekday()) != weekday {
		return false
	}
	return true
}

// cutName reads a name, letter case aside, in full or as its first three letters.
func cutName(s string, names []string, short bool) (int, string) {
	for i, name := range names {
		if short {
			name = name[:3]
		}
		if len(s) >= len(name) && strings.EqualFold(s[:len(name)], name) {
			return i, s[len(name):]
		}
	}
	return -1, s
}

// cutZone reads Z, +hh:mm or (without colon) +hhmm.
func cutZone(s string, colon bool) (zone, rest string, ok bool) {
	if s == "" {
		return "", s, false
	}
	if s[0] == 'Z' {
		return "Z", s[1:], true
	}
	if s[0] != '+' && s[0] != '-' {
		return "", s, false
	}
	if colon {
		if len(s) < 6 || s[3] != ':' || !isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[4]) || !isDigit(s[5]) {
			return "", s, false
		}
		return s[:6], s[6:], validOffset(s[:6])
	}
	if len(s) < 5 || !isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[3]) || !isDigit(s[4]) {
		return "", s, false
	}
	zone = s[:3] + ":" + s[3:5]
	return zone, s[5:], validOffset(zone)
}

// validOffset checks the range of FHIR's form: up to 14:00.
func validOffset(z string) bool {
	h, m := int(z[1]-'0')*10+int(z[2]-'0'), int(z[4]-'0')*10+int(z[5]-'0')
	return m < 60 && (h < 14 || h == 14 && m == 0)
}

// readISO reads a date or date-time as ISO 8601 and FHIR write them: yyyy, yyyy-MM, yyyy-MM-dd, then T or a blank,
// HH:mm, HH:mm:ss or with a fraction, then nothing or a zone. precision is that of the date.
func readISO(s string, m *moment) (precision int, ok bool) {
	*m = moment{}
	if len(s) < 4 || !allDigits(s[:4]) {
		return 0, false
	}
	m.year = number(s[:4])
	if s = s[4:]; s == "" {
		return 1, m.year > 0
	}
	if len(s) < 3 || s[0] != '-' || !allDigits(s[1:3]) {
		return 0, false
	}
	m.month = number(s[1:3])
	if m.month < 1 || m.month > 12 || m.year < 1 {
		return 0, false
	}
	if s = s[3:]; s == "" {
		return 2, true
	}
	if len(s) < 3 || s[0] != '-' || !allDigits(s[1:3]) {
		return 0, false
	}
	m.day = number(s[1:3])
	if m.day < 1 || m.day > fhir.DaysIn(m.year, m.month) {
		return 0, false
	}
	if s = s[3:]; s == "" {
		return 3, true
	}
	if len(s) < 6 || s[0] != 'T' && s[0] != ' ' || !allDigits(s[1:3]) || s[3] != ':' || !allDigits(s[4:6]) {
		return 0, false
	}
	m.hour, m.minute, m.hasTime = number(s[1:3]), number(s[4:6]), true
	if s = s[6:]; len(s) >= 3 && s[0] == ':' && allDigits(s[1:3]) {
		m.second, m.hasSecond = number(s[1:3]), true
		if s = s[3:]; len(s) >= 2 && s[0] == '.' && isDigit(s[1]) {
			n := 1
			for n < len(s) && isDigit(s[n]) {
				n++
			}
			if n > 10 {
				return 0, false
			}
			m.fraction, s = s[1:n], s[n:]
		}
	}
	if m.hour > 23 || m.minute > 59 || m.second > 59 {
		return 0, false
	}
	if s == "" {
		return 3, true
	}
	zone, rest, ok := cutZone(s, true)
	if !ok && len(s) >= 5 {
		zone, rest, ok = cutZone(s, false)
	}
	m.zone = zone
	return 3, ok && rest == ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func number(s string) (v int) {
	for i := range len(s) {
		v = v*10 + int(s[i]-'0')
	}
	return v
}

// same tells whether two readings mean the same.
func (m *moment) same(o *moment) bool { return *m == *o }

// appendDate appends the date with the given precision.
func (m *moment) appendDate(dst []byte, precision int) []byte {
	dst = appendDigits(dst, m.year, 4)
	if precision >= 2 {
		dst = appendDigits(append(dst, '-'), m.month, 2)
	}
	if precision >= 3 {
		dst = appendDigits(append(dst, '-'), m.day, 2)
	}
	return dst
}

// appendDateTime appends the full instant. A time without a zone takes the given one; FHIR requires seconds, so a time
// written to the minute gets :00 (datatypes.html#dateTime: "Seconds must be provided … may be zero-filled").
func (m *moment) appendDateTime(dst []byte, zones *zoneReader) ([]byte, Code) {
	dst = m.appendDate(dst, 3)
	dst = appendDigits(append(dst, 'T'), m.hour, 2)
	dst = appendDigits(append(dst, ':'), m.minute, 2)
	dst = appendDigits(append(dst, ':'), m.second, 2)
	if m.fraction != "" {
		dst = append(append(dst, '.'), m.fraction...)
	}
	if m.zone != "" {
		return append(dst, m.zone...), ""
	}
	if zones == nil {
		return dst, NoZone
	}
	offset, code := zones.offset(m)
	if code != "" {
		return dst, code
	}
	return appendOffset(dst, offset, zones.zone == time.UTC), ""
}

func appendOffset(dst []byte, seconds int, utc bool) []byte {
	if utc {
		return append(dst, 'Z')
	}
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	minutes := (seconds + 30) / 60 // local mean times of the 19th century have seconds, which FHIR cannot write
	dst = appendDigits(append(dst, sign), minutes/60, 2)
	return appendDigits(append(dst, ':'), minutes%60, 2)
}

func appendDigits(dst []byte, v, width int) []byte {
	var b [8]byte
	for i := width - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, b[:width]...)
}

// zoneReader finds the offset of local times in a zone. It belongs to one worker: it remembers the stretch of time in
// which the last offset holds.
type zoneReader struct {
	zone       *time.Location
	start, end int64 // local seconds between which offset is the only one
	last       int
}

// offset is the offset east of UTC in seconds, or why there is not exactly one.
func (z *zoneReader) offset(m *moment) (int, Code) {
	local := time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, 0, time.UTC).Unix()
	if local >= z.start && local < z.end {
		return z.last, ""
	}
	// The offsets in force a day before and after cover every change near the local time. Zones change by at most a day.
	found, result := 0, 0
	var seen [3]int
	for _, probe := range [3]int64{local - 86400, local, local + 86400} {
		_, offset := time.Unix(probe, 0).In(z.zone).Zone()
		if found > 0 && containsInt(seen[:found], offset) {
			continue
		}
		if _, real := time.Unix(local-int64(offset), 0).In(z.zone).Zone(); real == offset {
			seen[found] = offset
			found++
			result = offset
		}
	}
	switch found {
	case 0:
		return 0, NonexistentTime
	case 1:
		start, end := time.Unix(local-int64(result), 0).In(z.zone).ZoneBounds()
		// Two days from either change no local time is left out or doubled.
		z.start, z.end, z.last = -1<<62, 1<<62, result
		if !start.IsZero() {
			z.start = start.Unix() + int64(result) + 2*86400
		}
		if !end.IsZero() {
			z.end = end.Unix() + int64(result) - 2*86400
		}
		return result, ""
	}
	return 0, AmbiguousTime
}

func containsInt(list []int, v int) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
