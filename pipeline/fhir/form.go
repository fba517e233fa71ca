package fhir

// Valid tells whether the text has the form of the primitive type: of its regular expression in datatypes.html and of
// what the text there adds to it.
//
//   - No primitive is empty.
//   - A date must exist in the calendar ("Dates SHALL be valid dates").
//   - integer, positiveInt and unsignedInt fit 32 bits.
//   - A string has at most 1,048,576 bytes and no control characters but tab, line feed and carriage return.
//   - base64Binary pads with `=` only at its end.
//
// For xhtml any text will do; its rules are those of Narrative. False for types that are not primitives.
func (t *Type) Valid(text string) bool {
	return t != nil && t.valid != nil && t.valid(text)
}

// maxString is the greatest length of a string, in bytes: "Note that FHIR strings SHALL NOT exceed 1MB in size".
const maxString = 1 << 20

// formOf is the check of a primitive type's form.
func formOf(name string) func(string) bool {
	switch name {
	case "base64Binary":
		return validBase64
	case "boolean":
		return func(s string) bool { return s == "true" || s == "false" }
	case "code":
		return validCode
	case "date":
		return ValidDate
	case "dateTime":
		return ValidDateTime
	case "decimal":
		return IsNumber
	case "id":
		return ValidID
	case "instant":
		return ValidInstant
	case "integer":
		return validInteger
	case "oid":
		return validOID
	case "positiveInt":
		return func(s string) bool { return validUnsigned(s) && s != "0" }
	case "string", "markdown":
		return validString
	case "time":
		return ValidTime
	case "unsignedInt":
		return validUnsigned
	case "uri", "url", "canonical":
		return validURI
	case "uuid":
		return validUUID
	case "xhtml":
		return func(s string) bool { return s != "" }
	}
	return nil
}

// ValidDate tells whether the text is a date: YYYY, YYYY-MM or YYYY-MM-DD, and exists.
func ValidDate(s string) bool {
	rest, precision := cutDate(s)
	return precision > 0 && rest == ""
}

// ValidDateTime tells whether the text is a dateTime: a date of any precision, or a full date with a time of at least
// seconds and a zone.
func ValidDateTime(s string) bool {
	rest, precision := cutDate(s)
	return precision > 0 && rest == "" || precision == 3 && validClock(rest)
}

// ValidInstant tells whether the text is an instant: a full date with a time of at least seconds and a zone.
func ValidInstant(s string) bool {
	rest, precision := cutDate(s)
	return precision == 3 && validClock(rest)
}

// ValidTime tells whether the text is a time of day: hh:mm:ss with an optional fraction, no zone. A leap second is
// written :60.
func ValidTime(s string) bool {
	rest, ok := cutTime(s)
	return ok && rest == ""
}

// validClock checks what follows the date of an instant: T, time, zone.
func validClock(s string) bool {
	if s == "" || s[0] != 'T' {
		return false
	}
	zone, ok := cutTime(s[1:])
	if !ok {
		return false
	}
	if zone == "Z" {
		return true
	}
	if len(zone) != 6 || zone[0] != '+' && zone[0] != '-' || zone[3] != ':' {
		return false
	}
	hour, ok := twoDigits(zone[1:])
	if !ok {
		return false
	}
	minute, ok := twoDigits(zone[4:])
	return ok && minute < 60 && (hour < 14 || hour == 14 && minute == 0)
}

// cutDate takes a date off the front and tells its precision: 1 year, 2 month, 3 day, 0 if there is none.
func cutDate(s string) (rest string, precision int) {
	if len(s) < 4 {
		return s, 0
	}
	century, ok1 := twoDigits(s)
	year, ok2 := twoDigits(s[2:])
	year += century * 100
	if !ok1 || !ok2 || year == 0 {
		return s, 0
	}
	if s = s[4:]; len(s) < 3 || s[0] != '-' {
		return s, 1
	}
	month, ok := twoDigits(s[1:])
	if !ok || month < 1 || month > 12 {
		return s, 0
	}
	if s = s[3:]; len(s) < 3 || s[0] != '-' {
		return s, 2
	}
	day, ok := twoDigits(s[1:])
	if !ok || day < 1 || day > DaysIn(year, month) {
		return s, 0
	}
	return s[3:], 3
}

// DaysIn is the number of days of a month (1 to 12) in the proleptic Gregorian calendar, 0 for a month that there is
// not.
func DaysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	case 1, 3, 5, 7, 8, 10, 12:
		return 31
	}
	return 0
}

// cutTime takes hh:mm:ss and a fraction off the front.
func cutTime(s string) (rest string, ok bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return s, false
	}
	hour, ok1 := twoDigits(s)
	minute, ok2 := twoDigits(s[3:])
	second, ok3 := twoDigits(s[6:])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 60 {
		return s, false
	}
	s = s[8:]
	if s == "" || s[0] != '.' {
		return s, true
	}
	i := 1
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return s[i:], i > 1
}

func twoDigits(s string) (int, bool) {
	if len(s) < 2 || !isDigit(s[0]) || !isDigit(s[1]) {
		return 0, false
	}
	return int(s[0]-'0')*10 + int(s[1]-'0'), true
}

// IsNumber tells whether the text is a number of JSON, which is also the form of a decimal: -0.010, 1e5.
func IsNumber(s string) bool {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
	case i < len(s) && isDigit(s[i]):
		for i < len(s) && isDigit(s[i]) {
			i++
		}
	default:
		return false
	}
	if i < len(s) && s[i] == '.' {
		start := i + 1
		for i = start; i < len(s) && isDigit(s[i]); i++ {
		}
		if i == start {
			return false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start := i
		for ; i < len(s) && isDigit(s[i]); i++ {
		}
		if i == start {
			return false
		}
	}
	return i == len(s)
}

// validUnsigned checks digits without a leading zero, up to 2147483647.
func validUnsigned(s string) bool { return withinDigits(s, "2147483647") }

func validInteger(s string) bool {
	if len(s) > 0 && s[0] == '-' {
		return withinDigits(s[1:], "2147483648")
	}
	return withinDigits(s, "2147483647")
}

// withinDigits checks a whole number without sign and leading zeros that is at most limit.
func withinDigits(s, limit string) bool {
	if s == "" || len(s) > len(limit) || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return len(s) < len(limit) || s <= limit
}

// isSpace is `\s` of the standard's regular expressions: white space of ASCII.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// validCode checks words with single white space between them.
func validCode(s string) bool {
	if s == "" || len(s) > maxString {
		return false
	}
	space := true // just before the text, so that it may not begin with white space
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) {
			if space {
				return false
			}
			space = true
		} else {
			space = false
		}
	}
	return !space
}

func validString(s string) bool {
	if s == "" || len(s) > maxString {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

func validURI(s string) bool {
	if s == "" || len(s) > maxString {
		return false
	}
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) {
			return false
		}
	}
	return true
}

// validOID checks urn:oid: with arcs without leading zeros, the first 0, 1 or 2, at least two.
func validOID(s string) bool {
	const prefix = "urn:oid:"
	if len(s) < len(prefix)+3 || s[:len(prefix)] != prefix {
		return false
	}
	s = s[len(prefix):]
	if s[0] < '0' || s[0] > '2' {
		return false
	}
	for s = s[1:]; s != ""; {
		if s[0] != '.' {
			return false
		}
		i := 1
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i == 1 || s[1] == '0' && i > 2 {
			return false
		}
		s = s[i:]
	}
	return true
}

// validUUID checks urn:uuid: with lower-case hexadecimal digits.
func validUUID(s string) bool {
	const prefix = "urn:uuid:"
	if len(s) != len(prefix)+36 || s[:len(prefix)] != prefix {
		return false
	}
	for i, c := range []byte(s[len(prefix):]) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// base64Char marks the characters of base64 but for the padding.
var base64Char = func() (t [256]bool) {
	for c := range t {
		t[c] = isLetter(byte(c)) || isDigit(byte(c)) || c == '+' || c == '/'
	}
	return t
}()

// validBase64 checks groups of four characters with white space between groups, padded at the end only.
func validBase64(s string) bool {
	inGroup, groups, padding := 0, 0, 0
	for i := 0; i < len(s); i++ {
		for inGroup == 0 && padding == 0 && i+4 <= len(s) && base64Char[s[i]] && base64Char[s[i+1]] && base64Char[s[i+2]] && base64Char[s[i+3]] {
			groups++
			if i += 4; i == len(s) {
				return true
			}
		}
		c := s[i]
		switch {
		case isSpace(c):
			if inGroup != 0 {
				return false
			}
			continue
		case c == '=':
			if inGroup < 2 {
				return false
			}
			padding++
		case padding > 0 || !isLetter(c) && !isDigit(c) && c != '+' && c != '/':
			return false
		}
		if inGroup++; inGroup == 4 {
			inGroup = 0
			groups++
		}
	}
	return groups > 0 && inGroup == 0
}
