package sqldump

import (
	"slices"
	"strings"
)

// dateModel is a format model of TO_DATE or TO_TIMESTAMP, taken apart once: a dump repeats a few of them in every row.
type dateModel struct {
	text    string     // as the dump has it
	steps   []dateStep // none if the model is not read
	halfDay bool       // hours are 1 to 12
}

// dateStep is one element of a model.
type dateStep struct {
	element dateElement
	width   int  // of quoted text, in bytes
	last    bool // punctuation at the end of the model
}

type dateElement uint8

const (
	elementYear      dateElement = iota
	elementRoundYear             // two digits, of 1950 to 2049
	elementMonth
	elementMonthName // or its first three letters
	elementDay
	elementHour
	elementHalfHour // 1 to 12
	elementMinute
	elementSecond
	elementFraction // up to nine digits, or none
	elementHalfDay  // AM or PM
	elementZoneHour // with its sign
	elementZoneMinute
	elementRadix       // a point or a comma
	elementQuoted      // any text of that width
	elementPunctuation // any; at the end of the model also none
)

// dateElements are the elements by name; of two of which one begins with the other, the longer stands first. A model has
// at most one for each part of a time.
var dateElements = []struct {
	name    string
	element dateElement
	part    byte
}{{"YYYY", elementYear, 'Y'}, {"RRRR", elementYear, 'Y'}, {"RR", elementRoundYear, 'Y'}, {"MONTH", elementMonthName, 'M'},
	{"MON", elementMonthName, 'M'}, {"MM", elementMonth, 'M'}, {"DD", elementDay, 'D'}, {"HH24", elementHour, 'h'},
	{"HH12", elementHalfHour, 'h'}, {"HH", elementHalfHour, 'h'}, {"MI", elementMinute, 'm'}, {"SS", elementSecond, 's'},
	{"FF", elementFraction, 'f'}, {"AM", elementHalfDay, 'a'}, {"PM", elementHalfDay, 'a'}, {"A.M.", elementHalfDay, 'a'},
	{"P.M.", elementHalfDay, 'a'}, {"TZH", elementZoneHour, 'z'}, {"TZM", elementZoneMinute, 'o'}, {"X", elementRadix, 'x'}}

const (
	// maxModel bounds a model; those that tools write have up to 40 characters.
	maxModel = 128
	// keptModels is how many a reader keeps taken apart.
	keptModels = 8
)

// dateModels are those that were used last, the latest first.
type dateModels []*dateModel

// find takes a model apart, if it is not kept already.
func (m *dateModels) find(text []byte) *dateModel {
	for i, known := range *m {
		if known.text == string(text) {
			copy((*m)[1:i+1], (*m)[:i])
			(*m)[0] = known
			return known
		}
	}
	if len(*m) == keptModels {
		*m = (*m)[:keptModels-1]
	}
	*m = slices.Insert(*m, 0, newDateModel(string(text)))
	return (*m)[0]
}

// newDateModel takes a model apart. What a model leaves open (Oracle takes the current month for a missing one) and
// two-digit years without the rule of RR are not read: they would depend on the day of the import.
func newDateModel(text string) *dateModel {
	m := &dateModel{text: text}
	if len(text) > maxModel {
		return m
	}
	var steps []dateStep
	parts := ""
next:
	for rest := strings.ToUpper(text); rest != ""; {
		for _, e := range dateElements {
			if !strings.HasPrefix(rest, e.name) {
				continue
			}
			if strings.IndexByte(parts, e.part) >= 0 {
				return m
			}
			parts += string(e.part)
			m.halfDay = m.halfDay || e.element == elementHalfHour
			steps = append(steps, dateStep{element: e.element})
			rest = rest[len(e.name):]
			if e.element == elementFraction && rest != "" && rest[0] >= '1' && rest[0] <= '9' { // FF3
				rest = rest[1:]
			}
			continue next
		}
		switch {
		case rest[0] == '"':
			quoted, behind, closed := strings.Cut(rest[1:], `"`)
			if !closed {
				return m
			}
			steps = append(steps, dateStep{element: elementQuoted, width: len(quoted)})
			rest = behind
		case class[rest[0]]&isWordPart == 0:
			rest = rest[1:]
			steps = append(steps, dateStep{element: elementPunctuation, last: rest == ""})
		default:
			return m
		}
	}
	has := func(part byte) bool { return strings.IndexByte(parts, part) >= 0 }
	if has('Y') && has('M') && has('D') && (has('z') || !has('o')) {
		m.steps = steps
	}
	return m
}

// append reads a text and appends it as yyyy-MM-dd HH:mm:ss, with the fraction and offset if it has them. It returns false
// for a text that is not of the model; then dst may hold anything behind its end.
func (m *dateModel) append(dst, text []byte) ([]byte, bool) {
	if len(m.steps) == 0 {
		return dst, false
	}
	var year, month, day, hour, minute, second, zoneHour, zoneMinute int
	var fraction []byte
	var sign byte
	var afternoon, zoneMinutes bool
	rest := text
	ok, padded := true, false
	for _, s := range m.steps {
		switch s.element {
		case elementYear:
			before := len(rest)
			year, rest, ok = cutNumber(rest, 4)
			ok = ok && before-len(rest) == 4
		case elementRoundYear:
			if year, rest, ok = cutNumber(rest, 2); year < 50 {
				year += 100
			}
			year += 1900
		case elementMonth:
			month, rest, ok = cutNumber(rest, 2)
		case elementMonthName:
			month, rest = cutMonth(rest)
			if month == 0 {
				return dst, false
			}
			padded = text[len(text)-len(rest)-1] == ' '
			continue
		case elementDay:
			day, rest, ok = cutNumber(rest, 2)
		case elementHour:
			hour, rest, ok = cutNumber(rest, 2)
		case elementHalfHour:
			hour, rest, ok = cutNumber(rest, 2)
			ok = ok && hour >= 1 && hour <= 12
		case elementMinute:
			minute, rest, ok = cutNumber(rest, 2)
		case elementSecond:
			second, rest, ok = cutNumber(rest, 2)
		case elementFraction:
			n := 0
			for n < len(rest) && n < 9 && class[rest[n]]&isDigit != 0 {
				n++
			}
			fraction, rest = rest[:n], rest[n:]
		case elementHalfDay:
			afternoon, rest, ok = cutHalfDay(rest)
		case elementZoneHour:
			if ok = len(rest) > 0 && (rest[0] == '+' || rest[0] == '-'); ok {
				sign = rest[0]
				zoneHour, rest, ok = cutNumber(rest[1:], 2)
			}
		case elementZoneMinute:
			zoneMinute, rest, ok = cutNumber(rest, 2)
			zoneMinutes = true
		case elementRadix:
			if ok = len(rest) > 0 && (rest[0] == '.' || rest[0] == ','); ok {
				rest = rest[1:]
			}
		case elementQuoted:
			if ok = len(rest) >= s.width; ok {
				rest = rest[s.width:]
			}
		case elementPunctuation:
			if len(rest) > 0 && class[rest[0]]&isWordPart == 0 {
				rest = rest[1:]
			} else {
				ok = s.last || padded // the blank behind the month was passed with its padding
			}
		}
		if !ok {
			return dst, false
		}
		padded = false
	}
	if m.halfDay {
		hour %= 12
		if afternoon {
			hour += 12
		}
	}
	if len(rest) > 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 ||
		afternoon && !m.halfDay {
		return dst, false
	}
	two := func(before byte, n int) { dst = append(dst, before, '0'+byte(n/10), '0'+byte(n%10)) }
	dst = append(dst, '0'+byte(year/1000), '0'+byte(year/100%10), '0'+byte(year/10%10), '0'+byte(year%10))
	two('-', month)
	two('-', day)
	two(' ', hour)
	two(':', minute)
	two(':', second)
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	if sign != 0 {
		two(sign, zoneHour)
	}
	if zoneMinutes {
		two(':', zoneMinute)
	}
	return dst, true
}

// cutNumber takes up to that many digits off the front, at least one.
func cutNumber(text []byte, most int) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(text) && i < most && class[text[i]]&isDigit != 0 {
		n = n*10 + int(text[i]-'0')
		i++
	}
	return n, text[i:], i > 0
}

// cutHalfDay takes AM, PM, a.m. or p.m. off the front.
func cutHalfDay(text []byte) (afternoon bool, rest []byte, ok bool) {
	for _, form := range []string{"AM", "PM", "A.M.", "P.M."} {
		if len(text) >= len(form) && equalFold(text[:len(form)], form) {
			return form[0] == 'P', text[len(form):], true
		}
	}
	return false, text, false
}

// cutMonth takes the English name of a month, or its first three letters, off the front: 0 if there is none. Names in
// other languages depend on the session of the import.
func cutMonth(text []byte) (month int, rest []byte) {
	n := 0
	for n < len(text) && class[text[n]]&isWordStart != 0 {
		n++
	}
	for i, full := range []string{"JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER",
		"OCTOBER", "NOVEMBER", "DECEMBER"} {
		if equalFold(text[:n], full) || equalFold(text[:n], full[:3]) {
			for n < len(text) && text[n] == ' ' { // TO_CHAR pads the name
				n++
			}
			return i + 1, text[n:]
		}
	}
	return 0, text
}
