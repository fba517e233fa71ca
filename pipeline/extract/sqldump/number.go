package sqldump

import (
	"bytes"
	"math"
	"strconv"
)

// padded says whether a text may be a whole number that is written longer than it is: 0042, +7.
func padded(text []byte) bool {
	return len(text) > 1 && (text[0] == '0' || text[0] == '+' || text[0] == '-' && text[1] == '0')
}

// appendInteger appends a whole number without the zeros that ZEROFILL puts in front, and what is none as it is: the
// database keeps the number, and shows these zeros only as text.
func appendInteger(dst, text []byte) []byte {
	digits := text
	if len(digits) > 0 && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	if len(digits) == 0 || !digital(digits) {
		return append(dst, text...)
	}
	digits = bytes.TrimLeft(digits[:len(digits)-1], "0")
	if text[0] == '-' && (len(digits) > 0 || text[len(text)-1] != '0') {
		dst = append(dst, '-')
	}
	return append(append(dst, digits...), text[len(text)-1])
}

// digital says whether a text is nothing but digits.
func digital(text []byte) bool {
	for _, c := range text {
		if class[c]&isDigit == 0 {
			return false
		}
	}
	return true
}

// parseFloat reads a decimal number. It returns false for what is none, and for what no float of that size can hold.
func parseFloat(text []byte, bits int) (float64, bool) {
	digits := 0
	for i, c := range text {
		switch {
		case class[c]&isDigit != 0:
			digits++
		case c == '.', c|0x20 == 'e', (c == '-' || c == '+') && (i == 0 || text[i-1]|0x20 == 'e'):
		default:
			return 0, false // infinity, NaN, hexadecimal digits
		}
	}
	v, err := strconv.ParseFloat(view(text), bits)
	return v, err == nil && digits > 0
}

// appendFloat appends the shortest text that reads back as the same float, in the form in which the live database's is
// shown: with an exponent only where people would write one.
func appendFloat(dst []byte, v float64, bits int) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, bits)
}

// float appends the value of a column of floating-point numbers. PostgreSQL itself writes the shortest text, or, in old
// versions, more digits without an exponent; its exponents are also those of the live database.
func (r *renderer) float(dst, text []byte, bits int) []byte {
	v, ok := parseFloat(text, bits)
	if !ok || r.dialect == postgres && bytes.ContainsAny(text, "eE") {
		return append(dst, text...)
	}
	if r.dialect == sqlite {
		return appendReal(dst, v)
	}
	return appendFloat(dst, v, bits)
}

// appendReal appends a REAL of SQLite, which shows a whole one with a point.
func appendReal(dst []byte, v float64) []byte {
	before := len(dst)
	dst = appendFloat(dst, v, 64)
	if digital(bytes.TrimPrefix(dst[before:], []byte("-"))) {
		dst = append(dst, ".0"...)
	}
	return dst
}

// real appends a number that SQLite was given with a point or an exponent. It keeps it as a float, in a column of whatever
// type; but in those of numeric affinity a whole one becomes an integer ("Datatypes In SQLite", section 3).
func (r *renderer) real(dst, text []byte, form form) []byte {
	v, ok := parseFloat(text, 64)
	switch {
	case !ok:
		return append(dst, text...)
	case form != asFound && form != asText && form != asFloat && form != asBytes && v == math.Trunc(v) && math.Abs(v) < 1<<63:
		return strconv.AppendInt(dst, int64(v), 10)
	}
	return appendReal(dst, v)
}
