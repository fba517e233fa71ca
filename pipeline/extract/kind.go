package extract

import (
	"bytes"
	"encoding/base64"
	"time"
)

// Kind is what a source itself says a column holds: a database by its column types, a workbook by its styles. Sources
// without types (CSV) say nothing.
//
// Cells are text all the same. Where a column has a kind, its cells are written in one form, the same for every engine
// and for a dump as for the live database, so that one mapping serves them all:
//
//	Text      as it is
//	Integer   digits, with a minus sign if negative
//	Decimal   as the source writes it; never by way of a float unless the column is one
//	Boolean   0 or 1
//	Date      yyyy-MM-dd
//	DateTime  yyyy-MM-ddTHH:mm:ss, a fraction without trailing zeros (engines pad it to the column's precision, so they
//	          say nothing), and the offset (+hh:mm, Z for UTC) if the column is an instant
//	Time      HH:mm:ss with such a fraction
//	Bytes     base64 (RFC 4648, section 4, padded)
//
// A NULL is the empty text. What is not a value of its kind (0000-00-00, infinity) is not mended: it is for the mapping to
// decide.
type Kind string

// The kinds of columns.
const (
	Unknown  Kind = ""
	Text     Kind = "text"
	Integer  Kind = "integer"
	Decimal  Kind = "decimal"
	Boolean  Kind = "boolean"
	Date     Kind = "date"
	DateTime Kind = "dateTime"
	Time     Kind = "time"
	Bytes    Kind = "bytes"
)

// AppendBytes appends a cell of kind Bytes.
func AppendBytes(dst, raw []byte) []byte { return base64.StdEncoding.AppendEncode(dst, raw) }

// AppendInstant appends a moment with its offset: in the zone, or in UTC if that is nil.
func AppendInstant(dst []byte, t time.Time, zone *time.Location) []byte {
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).AppendFormat(dst, "2006-01-02T15:04:05.999999999Z07:00")
}

// AppendLocal appends a moment without an offset, as the clock in t's own location shows it.
func AppendLocal(dst []byte, t time.Time) []byte {
	return t.AppendFormat(dst, "2006-01-02T15:04:05.999999999")
}

// AppendDateTime appends the kind's form of a text such as `2012-05-01 14:00:00.500+00`. If it carries an offset it is
// an instant, shown in the zone (nil: UTC); else a local time. What is neither is appended as found.
func AppendDateTime(dst, text []byte, zone *time.Location) []byte {
	const local = len("2006-01-02 15:04:05")
	if !digitsAt(text, "0000-00-00_00:00:00") || (text[10] != ' ' && text[10] != 'T') {
		return append(dst, text...)
	}
	fraction, rest := cutFraction(text[local:])
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	offset, ok := offsetOf(rest)
	if !ok {
		return append(dst, text...)
	}
	if len(rest) > 0 {
		t, err := time.ParseInLocation("2006-01-02T15:04:05", string(text[:10])+"T"+string(text[11:local])+string(fraction), time.FixedZone("", offset))
		if err != nil {
			return append(dst, text...)
		}
		return AppendInstant(dst, t, zone)
	}
	dst = append(dst, text[:10]...)
	dst = append(dst, 'T')
	dst = append(dst, text[11:local]...)
	return append(dst, fraction...)
}

// AppendTime appends the kind's form of a text such as `14:00:00.500`; what is no such text is appended as found.
func AppendTime(dst, text []byte) []byte {
	const whole = len("15:04:05")
	if !digitsAt(text, "00:00:00") {
		return append(dst, text...)
	}
	fraction, rest := cutFraction(text[whole:])
	if len(rest) > 0 {
		return append(dst, text...)
	}
	return append(append(dst, text[:whole]...), fraction...)
}

// digitsAt says whether the text begins in the given form: 0 is a digit, _ anything.
func digitsAt(text []byte, form string) bool {
	if len(text) < len(form) {
		return false
	}
	for i := range len(form) {
		switch c := text[i]; form[i] {
		case '0':
			if c < '0' || c > '9' {
				return false
			}
		case '_':
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}

// cutFraction takes a fraction of seconds off the front and takes its trailing zeros away.
func cutFraction(text []byte) (fraction, rest []byte) {
	if len(text) < 2 || text[0] != '.' {
		return nil, text
	}
	n := 1
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	fraction = bytes.TrimRight(text[:n], "0")
	if len(fraction) == 1 {
		fraction = nil
	}
	return fraction, text[n:]
}

// offsetOf reads "", Z, +hh, +hhmm, +hh:mm or +hh:mm:ss, in seconds east of UTC.
func offsetOf(text []byte) (seconds int, ok bool) {
	if len(text) == 0 || string(text) == "Z" {
		return 0, true
	}
	sign := 1
	switch text[0] {
	case '+':
	case '-':
		sign = -1
	default:
		return 0, false
	}
	unit := 3600
	text = text[1:]
	for i := 0; len(text) > 0; i++ {
		if i > 0 && text[0] == ':' {
			text = text[1:]
		}
		if i > 2 || !digitsAt(text, "00") {
			return 0, false
		}
		seconds += unit * (int(text[0]-'0')*10 + int(text[1]-'0'))
		unit /= 60
		text = text[2:]
	}
	return sign * seconds, true
}
