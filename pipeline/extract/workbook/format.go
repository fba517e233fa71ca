package workbook

import (
	"strconv"
	"strings"
)

// formKind is what a number format makes of a number.
type formKind uint8

const (
	asNumber   formKind = iota
	asDate              // days, months, years
	asDateTime          // days and hours
	asTime              // hours, minutes, seconds
	asMoment            // a date or a time, whichever the number holds: formats that differ by the language of Excel
	asElapsed           // [h]:mm: how long, not when
	asZeros             // 00000, 000-00-0000: digits at fixed places
)

// section is one part of a number format; it applies to some numbers only.
type section struct {
	kind    formKind
	applies func(float64) bool // nil: to all that no earlier one takes
	zeros   string             // of asZeros: the format, a NUL for each digit, everything else as shown
}

// format is a number format (ECMA-376-1, section 18.8.31): up to three sections for numbers.
type format []section

// of is the section that applies to a number.
func (f format) of(v float64) section {
	for _, s := range f {
		if s.applies == nil || s.applies(v) {
			return s
		}
	}
	return section{}
}

// builtIn is the kind of each format that has a number and no code (ECMA-376-1, section 18.8.30). 27 to 36 and 50 to
// 58 are dates and times in the Chinese, Japanese and Korean Excel; where the three disagree the number decides.
var builtIn = map[int]formKind{
	14: asDate, 15: asDate, 16: asDate, 17: asDate, 18: asTime, 19: asTime, 20: asTime, 21: asTime, 22: asDateTime,
	27: asDate, 28: asDate, 29: asDate, 30: asDate, 31: asDate, 32: asTime, 33: asTime, 34: asMoment, 35: asMoment,
	36: asDate, 45: asTime, 46: asElapsed, 47: asTime, 50: asDate, 51: asDate, 52: asMoment, 53: asMoment, 54: asDate,
	55: asMoment, 56: asMoment, 57: asDate, 58: asDate,
}

// parseFormat reads a format's code. What it does not know it takes for a number, which then comes as it is stored;
// so does everything under a format that is nil.
func parseFormat(code string) format {
	var numbers []section
	for _, text := range splitSections(code) {
		s, isText := parseSection(text)
		if !isText && len(numbers) < 3 {
			numbers = append(numbers, s)
		}
	}
	conditional, plain := false, true
	for _, s := range numbers {
		conditional = conditional || s.applies != nil
		plain = plain && s.kind == asNumber
	}
	if plain {
		return nil
	}
	if !conditional { // two: not negative, negative; three: positive, negative, zero
		switch len(numbers) {
		case 2:
			numbers[0].applies = func(v float64) bool { return v >= 0 }
		case 3:
			numbers[0].applies = func(v float64) bool { return v > 0 }
			numbers[1].applies = func(v float64) bool { return v < 0 }
		}
	}
	return numbers
}

// splitSections splits at semicolons that are neither quoted nor escaped.
func splitSections(code string) []string {
	var out []string
	start := 0
	for i := 0; i < len(code); i++ {
		switch code[i] {
		case '"':
			if j := strings.IndexByte(code[i+1:], '"'); j >= 0 {
				i += j + 1
			}
		case '\\', '_', '*':
			i++
		case ';':
			out = append(out, code[start:i])
			start = i + 1
		}
	}
	return append(out, code[start:])
}

// parseSection reads one section; isText says that it is the one for texts.
func parseSection(code string) (s section, isText bool) {
	const (
		nothing = iota
		hour
		other
	)
	var date, clock, elapsed bool
	last := nothing
	var zeros strings.Builder
	digits, onlyZeros := 0, true
	lower := strings.ToLower(code)
	literal := func(text string) { zeros.WriteString(text) }
	for i := 0; i < len(code); {
		n := 1
		switch c := lower[i]; {
		case c == '"':
			j := strings.IndexByte(code[i+1:], '"')
			if j < 0 {
				j = len(code) - i - 1
			}
			literal(code[i+1 : i+1+j])
			n = j + 2
		case c == '\\':
			n = min(2, len(code)-i)
			literal(code[i+1 : i+n])
		case c == '_' || c == '*':
			n = min(2, len(code)-i)
			onlyZeros = false
		case c == '[':
			j := strings.IndexByte(code[i:], ']')
			if j < 0 {
				return section{}, false
			}
			n = j + 1
			inner := lower[i+1 : i+j]
			if inner != "" && strings.Trim(inner, inner[:1]) == "" && strings.Contains("hms", inner[:1]) {
				elapsed = true
			} else if f := condition(inner); f != nil {
				s.applies = f
			}
		case strings.HasPrefix(lower[i:], "general"):
			return section{applies: s.applies}, false
		case strings.HasPrefix(lower[i:], "am/pm") || strings.HasPrefix(lower[i:], "a/p"):
			n = strings.IndexByte(lower[i:], 'p') + 1
			if lower[i+1] == 'm' {
				n++
			}
			clock, onlyZeros = true, false
		case c == 'e' && i+1 < len(code) && (code[i+1] == '+' || code[i+1] == '-'):
			n, onlyZeros = 2, false // 0.00E+00
		case c == 'y' || c == 'd' || c == 'e' || c == 'g' || c == 'b':
			date, onlyZeros, last = true, false, other
		case c == 'h':
			clock, onlyZeros, last = true, false, hour
		case c == 's':
			clock, onlyZeros, last = true, false, other
		case c == 'm':
			for i+n < len(code) && lower[i+n] == 'm' {
				n++
			}
			onlyZeros = false
			switch {
			case last == hour && n <= 2:
				clock = true
			case n <= 2 && beforeSeconds(lower[i+n:]):
				clock = true
			default:
				date = true
			}
			last = other
		case c == '@':
			return section{}, true
		case c == '0':
			digits++
			zeros.WriteByte(0)
		case c == '-' || c == ' ' || c == '(' || c == ')' || c == '/' || c == ':':
			literal(code[i : i+1])
		default:
			onlyZeros = false
		}
		i += n
	}
	switch {
	case elapsed:
		s.kind = asElapsed
	case date && clock:
		s.kind = asDateTime
	case date:
		s.kind = asDate
	case clock:
		s.kind = asTime
	case onlyZeros && digits > 1:
		s.kind, s.zeros = asZeros, zeros.String()
	}
	return s, false
}

// beforeSeconds says whether the next letter of a date, behind separators, is a second: then an m before it is a minute.
func beforeSeconds(rest string) bool {
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == 's':
			return true
		case c == '"':
			j := strings.IndexByte(rest[i+1:], '"')
			if j < 0 {
				return false
			}
			i += j + 1
		case c == '\\' || c == '_' || c == '*':
			i++
		case c == '[':
			return strings.HasPrefix(rest[i:], "[s")
		case c >= 'a' && c <= 'z' || c == '0' || c == '#':
			return false
		}
	}
	return false
}

// condition reads `>=100` of `[>=100]`; nil if it is none (a colour, a language).
func condition(text string) func(float64) bool {
	op := text[:len(text)-len(strings.TrimLeft(text, "<>="))]
	limit, err := strconv.ParseFloat(text[len(op):], 64)
	if err != nil {
		return nil
	}
	switch op {
	case "<":
		return func(v float64) bool { return v < limit }
	case "<=":
		return func(v float64) bool { return v <= limit }
	case ">":
		return func(v float64) bool { return v > limit }
	case ">=":
		return func(v float64) bool { return v >= limit }
	case "=":
		return func(v float64) bool { return v == limit }
	case "<>":
		return func(v float64) bool { return v != limit }
	}
	return nil
}
