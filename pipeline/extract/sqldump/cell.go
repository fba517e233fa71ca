package sqldump

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// renderer turns the values of a tuple into the cells of a record.
type renderer struct {
	dialect  dialect
	zone     *time.Location
	maxField int
	columns  []column
	spans    []span
	cells    []string
	scratch  []byte
}

// span is where a cell lies in the arena.
type span struct{ start, end int }

func newRenderer(d dialect, zone *time.Location, maxField int, columns []column) *renderer {
	return &renderer{dialect: d, zone: zone, maxField: maxField, columns: columns, spans: make([]span, len(columns)),
		cells: make([]string, len(columns))}
}

// view is the bytes as a string, without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// row fills the cells. at says which column each value is of (-1: of none). The cells point into the arena and are valid
// until it is used again. It returns the rule that refuses the record, if one does, and the column.
func (r *renderer) row(v *values, at []int, se *session) (rule string, col int) {
	for i := range r.spans {
		r.spans[i] = span{}
	}
	raw := v.arena
	plain := se.charset.Table == nil && bytes.IndexByte(raw, 0) < 0 && charset.IndexHigh(raw) == len(raw)
	for i, x := range v.list {
		c := at[i]
		if c < 0 {
			continue
		}
		if x.end-x.start > r.maxField {
			return extract.RuleFieldTooLong, c
		}
		form := r.columns[c].form
		if form <= asDecimal && (x.kind == valueText || x.kind == valueNumber) {
			if !plain {
				if rule := r.text(v, &x, se); rule != "" {
					return rule, c
				}
			}
			r.spans[c] = span{x.start, x.end}
			continue
		}
		if x.kind == valueNull {
			continue
		}
		start := len(v.arena)
		if rule := r.cell(v, x, form, se); rule != "" {
			return rule, c
		}
		r.spans[c] = span{start, len(v.arena)}
	}
	for i, s := range r.spans {
		r.cells[i] = view(v.arena[s.start:s.end])
	}
	return "", -1
}

// text checks a text, and decodes it if need be; then the value lies elsewhere in the arena.
func (r *renderer) text(v *values, x *value, se *session) string {
	b := v.arena[x.start:x.end]
	if bytes.IndexByte(b, 0) >= 0 {
		return extract.RuleNULByte
	}
	if charset.IndexHigh(b) == len(b) {
		return ""
	}
	table := se.charset.Table
	if table == nil {
		if !utf8.Valid(b) {
			return extract.RuleInvalidEncoding
		}
		return ""
	}
	start := len(v.arena)
	for i := x.start; i < x.end; i++ {
		t := table[v.arena[i]]
		if t == "" {
			return extract.RuleInvalidEncoding
		}
		v.arena = append(v.arena, t...)
	}
	x.start, x.end = start, len(v.arena)
	return ""
}

// cell appends a value, which is not NULL, in the form of its column.
func (r *renderer) cell(v *values, x value, form form, se *session) string {
	b := v.arena[x.start:x.end]
	switch {
	case form == asBytes || form == asHexBytes:
		return r.bytes(v, x, form)
	case form == asFound && x.kind == valueBytes:
		v.arena = extract.AppendBytes(v.arena, b)
		return ""
	case form == asBoolean:
		return r.boolean(v, x, se)
	case x.kind == valueBits && form != asText || x.kind == valueBytes && (form == asInteger || form == asDecimal):
		return r.integer(v, x)
	}
	if x.kind == valueBytes && r.dialect != mysql { // there, a hexadecimal literal is a string like any other
		return extract.RuleBytesInText
	}
	if rule := r.text(v, &x, se); rule != "" {
		return rule
	}
	b = v.arena[x.start:x.end]
	switch form {
	case asDate:
		v.arena = append(v.arena, r.dashed(b)...)
	case asDateTime:
		v.arena = extract.AppendDateTime(v.arena, r.dashed(b), r.zone)
	case asInstant:
		r.instant(v, b, se)
	case asTime:
		v.arena = extract.AppendTime(v.arena, b)
	case asUUID:
		for _, c := range b {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			v.arena = append(v.arena, c)
		}
	default:
		v.arena = append(v.arena, b...)
	}
	return ""
}

// dashed is the text of a date; SQL Server also takes it without dashes, whatever the language of the session.
func (r *renderer) dashed(b []byte) []byte {
	if r.dialect != sqlserver || len(b) < 8 || len(b) > 8 && b[8] != ' ' {
		return b
	}
	for _, c := range b[:8] {
		if class[c]&isDigit == 0 {
			return b
		}
	}
	r.scratch = append(r.scratch[:0], b[:4]...)
	r.scratch = append(r.scratch, '-', b[4], b[5], '-')
	r.scratch = append(r.scratch, b[6:]...)
	return r.scratch
}

// instant appends a moment. Where its text has no offset, the zone that the dump has set is its; if it has set none it is
// a local time.
func (r *renderer) instant(v *values, b []byte, se *session) {
	if se.zone != "" {
		r.scratch = append(append(r.scratch[:0], b...), se.zone...)
		before := len(v.arena)
		v.arena = extract.AppendDateTime(v.arena, r.scratch, r.zone)
		if !bytes.Equal(v.arena[before:], r.scratch) {
			return
		}
		v.arena = v.arena[:before] // it is not a moment: 0000-00-00
	}
	v.arena = extract.AppendDateTime(v.arena, b, r.zone)
}

// boolean appends 0 or 1, and what is neither as found.
func (r *renderer) boolean(v *values, x value, se *session) string {
	b := v.arena[x.start:x.end]
	switch {
	case x.kind == valueBytes, x.kind == valueBits:
		return r.integer(v, x)
	case len(b) == 1 && b[0] <= 1 && r.dialect == mysql: // the raw byte of a BIT(1)
		v.arena = append(v.arena, '0'+b[0])
		return ""
	case len(b) == 1 && (b[0] == 't' || b[0] == 'f') || strings.EqualFold(string(b), "true") || strings.EqualFold(string(b), "false"):
		c := byte('0')
		if b[0]|0x20 == 't' {
			c = '1'
		}
		v.arena = append(v.arena, c)
		return ""
	}
	if rule := r.text(v, &x, se); rule != "" {
		return rule
	}
	v.arena = append(v.arena, v.arena[x.start:x.end]...)
	return ""
}

// integer appends bytes or bits as the number that they are. A BIT of MySQL has at most 64, and a number at most 65
// decimal digits.
func (r *renderer) integer(v *values, x value) string {
	const most = 256
	b := v.arena[x.start:x.end]
	if len(b) > most {
		return extract.RuleFieldTooLong
	}
	n := new(big.Int)
	if x.kind == valueBytes {
		n.SetBytes(b)
	} else if _, ok := n.SetString("0"+string(b), 2); !ok {
		return extract.RuleExpression
	}
	v.arena = n.Append(v.arena, 10)
	return ""
}

// bytes appends the base64 of bytes, which each dialect writes in its own way when it writes them as a string.
func (r *renderer) bytes(v *values, x value, form form) string {
	b := v.arena[x.start:x.end]
	if x.kind == valueText {
		switch {
		case r.dialect == postgres && bytes.HasPrefix(b, []byte(`\x`)):
			n, err := hex.Decode(b, b[2:])
			if err != nil {
				return extract.RuleInvalidEncoding
			}
			b = b[:n]
		case r.dialect == postgres:
			n, ok := unescapeBytea(b)
			if !ok {
				return extract.RuleInvalidEncoding
			}
			b = b[:n]
		case form == asHexBytes:
			n, err := hex.Decode(b, b)
			if err != nil {
				return extract.RuleInvalidEncoding
			}
			b = b[:n]
		}
	}
	v.arena = extract.AppendBytes(v.arena, b)
	return ""
}

// unescapeBytea undoes the escape form of a bytea in place: \\ is a backslash, \ooo the byte of that octal number.
func unescapeBytea(b []byte) (n int, ok bool) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' {
			switch {
			case i+1 < len(b) && b[i+1] == '\\':
				i++
			case i+3 < len(b) && b[i+1] >= '0' && b[i+1] <= '3' && b[i+2]&^7 == '0' && b[i+3]&^7 == '0':
				c = (b[i+1]-'0')<<6 | (b[i+2]-'0')<<3 | (b[i+3] - '0')
				i += 3
			default:
				return 0, false
			}
		}
		b[n] = c
		n++
	}
	return n, true
}
