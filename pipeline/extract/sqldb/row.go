package sqldb

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// errPlain marks errors of our own that hold no cell and may be shown.
var errPlain = errors.New("cannot be read")

func plain(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPlain, fmt.Sprintf(format, args...))
}

// form is how the cells of a column are made from what the driver gives.
type form uint8

const (
	formText     form = iota // as it is, checked to be text
	formPlain                // digits and the like, that need no check
	formBoolean              // t or f
	formDate                 // text as it is; of a moment, its date
	formDateTime             // a local time, or an instant if it carries an offset
	formUTC                  // a time without offset that is one in UTC
	formTime
	formBytes // base64
	formBits  // the big-endian bytes of an integer
	formGUID  // the 16 bytes of SQL Server's uniqueidentifier
)

// row is a record while it is made. Cells point into the driver's buffer or into the arena: both last until the next row.
type row struct {
	cells  []string
	null   []bool
	arena  []byte
	zone   *time.Location
	max    int    // bytes of a cell
	size   int    // bytes of the record in the source
	rule   string // by which the record is refused
	column int    // in which the fault lies
}

func newRow(columns int, o Options) *row {
	return &row{cells: make([]string, columns), null: make([]bool, columns), zone: o.Zone, max: o.MaxField}
}

func (r *row) begin() {
	r.arena, r.size, r.rule = r.arena[:0], 0, ""
}

// refuse keeps the first fault.
func (r *row) refuse(i int, rule string) {
	if r.rule == "" {
		r.rule, r.column = rule, i
	}
}

func (r *row) setNull(i int) { r.cells[i], r.null[i] = "", true }

// view is the bytes as a string, without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// set makes a cell from bytes as the server sent them.
func (r *row) set(i int, f form, b []byte) {
	r.null[i] = false
	r.size += len(b)
	if len(b) > r.max {
		r.refuse(i, extract.RuleFieldTooLong)
		r.cells[i] = view(b) // for the digest
		return
	}
	start := len(r.arena)
	switch f {
	case formPlain:
		r.cells[i] = view(b)
		return
	case formBoolean:
		switch string(b) {
		case "t":
			r.cells[i] = "1"
		case "f":
			r.cells[i] = "0"
		default:
			r.text(i, b)
		}
		return
	case formDateTime:
		r.arena = appendDateTime(r.arena, b, r.zone)
	case formUTC:
		r.arena = extract.AppendDateTime(r.arena, append(b[:len(b):len(b)], 'Z'), r.zone)
		if view(r.arena[start:]) == view(b)+"Z" { // no moment (0000-00-00 00:00:00): as found
			r.arena = extract.AppendDateTime(r.arena[:start], b, nil)
		}
	case formTime:
		r.arena = extract.AppendTime(r.arena, b)
	case formBytes:
		r.arena = extract.AppendBytes(r.arena, b)
	case formBits:
		r.arena = appendBits(r.arena, b)
	case formGUID:
		r.arena = appendGUID(r.arena, b)
	default:
		r.text(i, b)
		return
	}
	r.text(i, r.arena[start:])
}

// text sets a cell that must be text.
func (r *row) text(i int, b []byte) {
	s := view(b)
	r.cells[i] = s
	if !utf8.ValidString(s) {
		r.refuse(i, extract.RuleInvalidEncoding)
	} else if strings.IndexByte(s, 0) >= 0 {
		r.refuse(i, extract.RuleNULByte)
	}
}

// value makes a cell from a value that a driver has typed. The error says that the driver gave what it never should.
func (r *row) value(i int, f form, v driver.Value) error {
	start := len(r.arena)
	switch v := v.(type) {
	case nil:
		r.setNull(i)
		return nil
	case []byte:
		r.set(i, f, v)
		return nil
	case string:
		r.set(i, f, unsafe.Slice(unsafe.StringData(v), len(v)))
		return nil
	case int64:
		r.arena = strconv.AppendInt(r.arena, v, 10)
	case uint64:
		r.arena = strconv.AppendUint(r.arena, v, 10)
	case bool:
		if v {
			r.arena = append(r.arena, '1')
		} else {
			r.arena = append(r.arena, '0')
		}
	case float64:
		r.arena = appendFloat(r.arena, v, 64)
	case float32:
		r.arena = appendFloat(r.arena, float64(v), 32)
	case time.Time:
		switch f {
		case formDate:
			r.arena = v.AppendFormat(r.arena, time.DateOnly)
		case formTime:
			r.arena = v.AppendFormat(r.arena, "15:04:05.999999999")
		case formUTC:
			r.arena = extract.AppendInstant(r.arena, v, r.zone)
		default:
			r.arena = extract.AppendLocal(r.arena, v)
		}
	default:
		return plain("column %d: the driver gave a %T", i+1, v)
	}
	r.cells[i], r.null[i] = view(r.arena[start:]), false
	r.size += len(r.arena) - start
	return nil
}

// appendDateTime is extract.AppendDateTime, quick for what PostgreSQL sends by the million: an instant whose offset is
// +00, to be shown in UTC.
func appendDateTime(dst, text []byte, zone *time.Location) []byte {
	n := len(text) - len("+00")
	if n >= len("2006-01-02 15:04:05") && (zone == nil || zone == time.UTC) && string(text[n:]) == "+00" {
		start := len(dst)
		dst = extract.AppendDateTime(dst, text[:n], nil)
		if len(dst)-start > len("2006-01-02") && dst[start+len("2006-01-02")] == 'T' {
			return append(dst, 'Z')
		}
		dst = dst[:start]
	}
	return extract.AppendDateTime(dst, text, zone)
}

// appendFloat writes the shortest text that reads back as the same float, without an exponent where people would write
// none.
func appendFloat(dst []byte, v float64, bits int) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, bits)
}

// appendBits writes the number that big-endian bytes hold, up to 64 bits; more is not a BIT column, and shown as it is.
func appendBits(dst, b []byte) []byte {
	if len(b) > 8 {
		return append(dst, b...)
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return strconv.AppendUint(dst, n, 10)
}

// appendGUID writes a uniqueidentifier as the server shows it, but in lower case. Its first three groups lie in
// little-endian order. MS-DTYP, section 2.3.4.2.
func appendGUID(dst, b []byte) []byte {
	if len(b) != 16 {
		return append(dst, b...)
	}
	for i, at := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, b[at:at+1])
	}
	return dst
}

// sum is the digest over the rows of a shard.
type sum struct {
	hash    hash.Hash
	pending []byte
	bytes   int64
	records int64
}

func newSum() *sum { return &sum{hash: sha256.New(), pending: make([]byte, 0, 64<<10)} }

// add takes a row in, refused or not. A cell is led by its length plus one; 0 is a NULL.
func (s *sum) add(r *row) {
	for i, c := range r.cells {
		if r.null[i] {
			s.pending = append(s.pending, 0)
			continue
		}
		s.pending = binary.AppendUvarint(s.pending, uint64(len(c))+1)
		if len(c) > cap(s.pending)-len(s.pending) {
			s.flush()
		}
		if len(c) > cap(s.pending) {
			s.hash.Write(unsafe.Slice(unsafe.StringData(c), len(c)))
			continue
		}
		s.pending = append(s.pending, c...)
	}
	s.records++
	s.bytes += int64(r.size)
	if len(s.pending) > 48<<10 {
		s.flush()
	}
}

func (s *sum) flush() {
	s.hash.Write(s.pending)
	s.pending = s.pending[:0]
}

func (s *sum) digest() extract.Digest {
	s.flush()
	d := extract.Digest{Bytes: s.bytes, Records: s.records, Complete: true}
	s.hash.Sum(d.Sum[:0])
	return d
}
