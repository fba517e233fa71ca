package charset

import (
	"encoding/binary"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// Invalid stands in decoded text for bytes that mean nothing. It is not UTF-8, so the record in which it stands is
// refused; U+FFFD would hide it.
const Invalid = 0xFF

// Reader decodes UTF-16 to UTF-8; for other encodings it is r itself. c must be one that Resolve returned, and the mark
// must have been passed. An unpaired surrogate and an odd last byte become Invalid, so that each code unit can be counted
// in what comes out (see Units). Errors are those of r.
func (c *Charset) Reader(r io.Reader) io.Reader {
	if !c.Wide() {
		return r
	}
	return &reader{in: r, decoder: decoder{big: c.Order != Little}, buf: make([]byte, 32<<10)}
}

// reader is a stream of UTF-16 as UTF-8.
type reader struct {
	decoder
	in   io.Reader
	buf  []byte
	n    int // bytes in buf
	sent int // of what is decoded
	err  error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for r.sent == len(r.out) {
		if r.err != nil {
			return 0, r.err
		}
		r.out, r.sent = r.out[:0], 0
		n, err := r.in.Read(r.buf[r.n:])
		r.n += n
		whole := r.n &^ 1
		r.units(r.buf[:whole])
		r.n = copy(r.buf, r.buf[whole:r.n])
		if err != nil {
			r.err = err
			if err == io.EOF && (r.n > 0 || r.high != 0) {
				r.out = append(r.out, Invalid)
			}
		}
	}
	n := copy(p, r.out[r.sent:])
	r.sent += n
	return n, nil
}

// decoder turns code units of UTF-16 into UTF-8.
type decoder struct {
	big  bool
	high rune // a first surrogate that waits for its second; 0 if none
	out  []byte
}

// Bits that four code units of ASCII, read as one little-endian number, do not have.
const (
	notASCIILittle = 0xFF80FF80FF80FF80
	notASCIIBig    = 0x80FF80FF80FF80FF
)

// units decodes whole code units.
func (d *decoder) units(text []byte) {
	mask, low := uint64(notASCIILittle), 0
	if d.big {
		mask, low = notASCIIBig, 1
	}
	for i := 0; i < len(text); {
		if d.high == 0 && i+8 <= len(text) && binary.LittleEndian.Uint64(text[i:])&mask == 0 {
			d.out = append(d.out, text[i+low], text[i+low+2], text[i+low+4], text[i+low+6])
			i += 8
			continue
		}
		d.unit(rune(text[i+low]) | rune(text[i+1-low])<<8)
		i += 2
	}
}

func (d *decoder) unit(u rune) {
	if d.high != 0 {
		high := d.high
		d.high = 0
		if r := utf16.DecodeRune(high, u); r != utf8.RuneError {
			d.out = utf8.AppendRune(d.out, r)
			return
		}
		d.out = append(d.out, Invalid)
	}
	switch {
	case u >= 0xD800 && u < 0xDC00:
		d.high = u
	case u >= 0xDC00 && u < 0xE000:
		d.out = append(d.out, Invalid)
	default:
		d.out = utf8.AppendRune(d.out, u)
	}
}

// Units counts the code units of UTF-16 that a Reader made the text of. The text may be cut anywhere: a character counts
// where its first byte is.
func Units(text []byte) (n int64) {
	for len(text) > 0 {
		plain := IndexHigh(text)
		n += int64(plain)
		text = text[plain:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			switch b := text[0]; {
			case b == Invalid, b >= 0xC0 && b < 0xF0:
				n++
			case b >= 0xF0:
				n += 2
			}
			text = text[1:]
		}
	}
	return n
}
