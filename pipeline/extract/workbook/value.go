package workbook

import (
	"bytes"
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// view is the bytes as a string, without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// decoder turns cells into text.
type decoder struct {
	structure *structure
	out       []byte // texts of the current row that do not stand in it as they are
}

// value is the text of a cell, or the rule by which its row is refused. The text is valid until the next row is read.
func (d *decoder) value(r *row, c *cell) (text, rule string) {
	if c.rule != "" {
		return "", c.rule
	}
	raw := r.of(c)
	switch c.kind {
	case numberCell, dateCell:
		if raw = bytes.TrimSpace(raw); len(raw) == 0 {
			return "", ""
		}
		start := len(d.out)
		var ok bool
		if c.kind == numberCell {
			d.out, ok = d.appendNumber(d.out, raw, c.style)
		} else {
			d.out, ok = appendISO(d.out, raw)
		}
		if !ok {
			return "", RuleMalformedCell
		}
		return view(d.out[start:]), ""
	case sharedCell:
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 {
			return "", ""
		}
		n, err := strconv.Atoi(view(raw))
		if err != nil {
			return "", RuleMalformedCell
		}
		return d.structure.strings.get(n)
	case textCell:
		if rule := textRule(raw); rule != "" {
			return "", rule
		}
		return view(raw), ""
	case boolCell:
		switch string(bytes.TrimSpace(raw)) {
		case "1", "true":
			return "TRUE", ""
		case "0", "false":
			return "FALSE", ""
		case "":
			return "", ""
		}
	case errorCell:
		return "", RuleErrorCell
	}
	return "", RuleMalformedCell
}

// appendNumber appends a number as its style means it.
func (d *decoder) appendNumber(dst, raw []byte, style int) ([]byte, bool) {
	var f format
	if style < len(d.structure.formats) {
		f = d.structure.formats[style]
	}
	if f == nil && plainNumber(raw) {
		return append(dst, raw...), true
	}
	v, err := strconv.ParseFloat(view(raw), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || !numeric(raw) {
		return dst, false
	}
	switch s := f.of(v); s.kind {
	case asNumber:
	case asZeros:
		if v >= 0 && v == math.Trunc(v) && v < 1e15 {
			return appendZeros(dst, uint64(v), s.zeros), true
		}
	case asElapsed:
		if ms := math.Round(v * msPerDay); math.Abs(ms) < 1e15 {
			if ms < 0 {
				dst = append(dst, '-')
			}
			return appendClock(dst, int64(math.Abs(ms))), true
		}
	default:
		if out, ok := appendMoment(dst, v, s.kind, d.structure.is1904); ok {
			return out, true
		}
	}
	if plainNumber(raw) {
		return append(dst, raw...), true
	}
	return appendFloat(dst, v), true
}

// numeric says whether the text is a number as XML Schema writes it: strconv also knows hexadecimal and underscores.
func numeric(raw []byte) bool {
	for _, c := range raw {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return false
		}
	}
	return true
}

// plainNumber says whether a number is stored so that it needs no change: whole, of any length (what is stored as
// digits are that many digits), or a decimal of at most 15 digits, which is what a workbook's numbers hold, without
// zeros at its end: those are the writer's (160903007.0), a number in a workbook has none.
func plainNumber(raw []byte) bool {
	if len(raw) > 0 && raw[0] == '-' {
		raw = raw[1:]
	}
	dots, significant := 0, 0
	for i, c := range raw {
		switch {
		case c == '.' && i > 0 && i < len(raw)-1:
			dots++
		case c == '0' && significant == 0:
		case c >= '0' && c <= '9':
			significant++
		default:
			return false
		}
	}
	return len(raw) > 0 && (dots == 0 || dots == 1 && significant <= 15 && raw[len(raw)-1] != '0')
}

// appendFloat appends a number as a decimal, never in scientific notation: the shortest that means the same number. If
// 15 digits, which is what Excel shows and keeps of what is typed, leave at most 12, the rest is the drift of binary
// arithmetic (8.800000000000001) and goes.
func appendFloat(dst []byte, v float64) []byte {
	var scratch [32]byte
	short := strconv.AppendFloat(scratch[:0], v, 'e', 14, 64)
	mantissa := bytes.TrimRight(short[:bytes.IndexByte(short, 'e')], "0")
	if len(bytes.TrimLeft(mantissa, "-")) <= 13 { // 12 digits and the point
		if near, err := strconv.ParseFloat(view(short), 64); err == nil {
			v = near
		}
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendZeros appends a whole number in a format such as 000-00-0000. Digits that do not fit stand before the first.
func appendZeros(dst []byte, v uint64, zeros string) []byte {
	number := strconv.AppendUint(nil, v, 10)
	places := bytes.Count([]byte(zeros), []byte{0})
	for range places - len(number) {
		number = append([]byte{'0'}, number...)
	}
	extra := len(number) - places
	for i := range len(zeros) {
		if zeros[i] != 0 {
			dst = append(dst, zeros[i])
			continue
		}
		dst = append(dst, number[:extra+1]...)
		number = number[extra+1:]
		extra = 0
	}
	return dst
}

const msPerDay = 24 * 60 * 60 * 1000

// The last days that a workbook knows, 9999-12-31, in both epochs.
const (
	lastDay1900 = 2958465
	lastDay1904 = 2957003
)

// appendMoment appends a date, a time or both, in the form of extract.Kind. Rounded to the millisecond, because a
// fraction of a day is not an exact second. It returns false for what is not a moment: before the epoch, after 9999.
//
// Days 0 and 60 of the epoch 1900 are shown as Excel shows them, 1900-01-00 and 1900-02-29. They never were (60 is a
// leap day that Lotus 1-2-3 had by mistake); whoever reads them as a date refuses them.
func appendMoment(dst []byte, v float64, kind formKind, is1904 bool) ([]byte, bool) {
	last := lastDay1900
	if is1904 {
		last = lastDay1904
	}
	if v < 0 || v >= float64(last+1) {
		return dst, false
	}
	total := int64(math.Round(v * msPerDay))
	day, ms := total/msPerDay, total%msPerDay
	if day == 0 && (kind == asTime || kind == asMoment) {
		return appendClock(dst, ms), true
	}
	switch {
	case is1904:
		dst = appendDay(dst, day-24107) // 1904-01-01
	case day == 0:
		dst = append(dst, "1900-01-00"...)
	case day == 60:
		dst = append(dst, "1900-02-29"...)
	case day < 60:
		dst = appendDay(dst, day-25568)
	default:
		dst = appendDay(dst, day-25569)
	}
	if ms == 0 && kind != asDateTime && kind != asTime {
		return dst, true
	}
	return appendClock(append(dst, 'T'), ms), true
}

// appendDay appends the day that lies so many days after 1970-01-01.
func appendDay(dst []byte, days int64) []byte {
	return time.Unix(days*24*60*60, 0).UTC().AppendFormat(dst, time.DateOnly)
}

// appendClock appends HH:mm:ss with a fraction that has no trailing zeros. Of a duration the hours go on beyond 24.
func appendClock(dst []byte, ms int64) []byte {
	two := func(n int64) {
		if n < 10 {
			dst = append(dst, '0')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	two(ms / 3_600_000)
	dst = append(dst, ':')
	two(ms / 60_000 % 60)
	dst = append(dst, ':')
	two(ms / 1000 % 60)
	if ms %= 1000; ms > 0 {
		fraction := strconv.AppendInt(nil, 1000+ms, 10)
		dst = append(append(dst, '.'), bytes.TrimRight(fraction[1:], "0")...)
	}
	return dst
}

// appendISO appends a date cell (t="d"), which holds ISO 8601 and says by itself whether there is a time in it.
func appendISO(dst, raw []byte) ([]byte, bool) {
	if bytes.IndexByte(raw, 'T') < 0 && bytes.IndexByte(raw, ':') < 0 {
		_, err := time.Parse(time.DateOnly, view(raw))
		return append(dst, raw...), err == nil
	}
	if bytes.IndexByte(raw, 'T') < 0 {
		return extract.AppendTime(dst, raw), true
	}
	out := extract.AppendDateTime(dst, raw, nil)
	_, err := time.Parse("2006-01-02T15:04:05Z07:00", view(raw))
	if err != nil {
		_, err = time.Parse("2006-01-02T15:04:05", view(raw))
	}
	return out, err == nil
}
