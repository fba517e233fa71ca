package csv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charset is a declared encoding of characters. Either it is UTF-8 (table and wide unset), or one byte per character
// with ASCII below 0x80 (table), so that lines, delimiters and quotes are found in the raw bytes and only cells with
// high bytes are decoded, or UTF-16 (wide), which is decoded as a stream.
type charset struct {
	name  string
	table *[256][]byte // UTF-8 of each byte; nil where the encoding defines none
	wide  utf16Order
}

type utf16Order uint8

const (
	narrow    utf16Order = iota
	wideByBOM            // big endian without a byte order mark, RFC 2781 section 4.3
	wideLittle
	wideBig
)

// Encodings lists the names that Options.Encoding takes. Upper case, blanks, `-` and `_` do not matter in them.
func Encodings() []string {
	names := []string{"utf-8", "us-ascii", "utf-16", "utf-16le", "utf-16be"}
	for name := range singleBytes() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// singleBytes names the encodings of one byte per character that leave ASCII alone.
var singleBytes = sync.OnceValue(func() map[string]*[256][]byte {
	m := map[string]*[256][]byte{}
	for _, e := range charmap.All {
		c, ok := e.(*charmap.Charmap)
		if !ok || c == charmap.XUserDefined { // a variant that differs only in what to do with errors, or no characters
			continue
		}
		ascii := true
		for b := range utf8.RuneSelf {
			ascii = ascii && c.DecodeByte(byte(b)) == rune(b)
		}
		if !ascii {
			continue // EBCDIC
		}
		name := strings.NewReplacer("ibm code page ", "cp", "windows code page ", "cp", " ", "-").Replace(strings.ToLower(c.String()))
		m[name] = decodeTable(name, c)
	}
	return m
})

// charsets are all of Encodings.
var charsets = sync.OnceValue(func() []charset {
	var all []charset
	for _, name := range Encodings() {
		if c, err := lookupCharset(name); err == nil { // they are of our own list
			all = append(all, c)
		}
	}
	return all
})

var separators = strings.NewReplacer("-", "", "_", "", " ", "")

func plainName(name string) string { return separators.Replace(strings.ToLower(name)) }

func lookupCharset(name string) (charset, error) {
	plain := plainName(name)
	switch plain {
	case "", "utf8":
		return charset{name: "utf-8"}, nil
	case "utf16":
		return charset{name: "utf-16", wide: wideByBOM}, nil
	case "utf16le":
		return charset{name: "utf-16le", wide: wideLittle}, nil
	case "utf16be":
		return charset{name: "utf-16be", wide: wideBig}, nil
	case "ascii", "usascii":
		return charset{name: "us-ascii", table: asciiTable()}, nil
	case "latin1":
		plain = "iso88591"
	case "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258":
		plain = "windows" + plain[2:]
	}
	if strings.HasPrefix(plain, "ibm") {
		plain = "cp" + plain[3:]
	}
	for known, c := range singleBytes() {
		if plainName(known) == plain {
			return charset{name: known, table: c}, nil
		}
	}
	return charset{}, fmt.Errorf("encoding %q is not known; known are %s", name, strings.Join(Encodings(), ", "))
}

func asciiTable() *[256][]byte {
	t := new([256][]byte)
	for b := range utf8.RuneSelf {
		t[b] = []byte{byte(b)}
	}
	return t
}

func decodeTable(name string, c *charmap.Charmap) *[256][]byte {
	t := asciiTable()
	for b := utf8.RuneSelf; b < 256; b++ {
		r := c.DecodeByte(byte(b))
		// The tables of x/text follow browsers, which fill the holes of the Windows code pages with control
		// characters. Here a hole is a fault of the data or of the declaration.
		if r == utf8.RuneError || strings.HasPrefix(name, "windows-") && r < 0xA0 {
			continue
		}
		t[b] = utf8.AppendRune(nil, r)
	}
	return t
}

// Byte order marks.
const (
	bomUTF8  = "\xEF\xBB\xBF"
	bomBig   = "\xFE\xFF"
	bomSmall = "\xFF\xFE"
)

var errNotAsDeclared = errors.New("the file is not in the declared encoding")

// markOf is the encoding whose mark stands at the start of a file, or "".
func markOf(start []byte) string {
	has := func(mark string) bool { return bytes.HasPrefix(start, []byte(mark)) }
	switch {
	case has(bomUTF8):
		return "utf-8"
	case has(bomBig):
		return "utf-16be"
	case has(bomSmall):
		return "utf-16le"
	}
	return ""
}

// bom says how many bytes of a mark stand at the start of a file, or that the mark contradicts the declared encoding.
func (c charset) bom(start []byte) (int, error) {
	found := markOf(start)
	switch {
	case found == "":
		return 0, nil
	case c.name == "utf-8" && found == "utf-8":
		return len(bomUTF8), nil
	case c.wide != narrow && found != "utf-8" && (c.name == found || c.wide == wideByBOM):
		return len(bomBig), nil
	case c.table != nil && found != "utf-8":
		return 0, nil // þÿ and ÿþ are letters there
	}
	return 0, fmt.Errorf("%w: declared is %s, but it begins with the mark of %s", errNotAsDeclared, c.name, found)
}

// invalid stands in the decoded stream for bytes that mean nothing: no UTF-8, so the record is refused where it occurs.
const invalid = 0xFF

// sourceLength is how many bytes of UTF-16 the text was decoded from, if it is whole characters.
func sourceLength(text []byte) (n int64) {
	for _, b := range text {
		switch {
		case b == invalid, b < 0x80, b >= 0xC0 && b < 0xF0:
			n += 2
		case b >= 0xF0:
			n += 4
		}
	}
	return n
}

// wideReader decodes UTF-16 to UTF-8. An unpaired surrogate and an odd last byte become an invalid byte, never U+FFFD.
type wideReader struct {
	r    io.Reader
	big  bool
	in   []byte
	n    int  // bytes in `in`
	high rune // a first surrogate that waits for its second; 0 if none
	out  []byte
	sent int
	err  error
}

func newWideReader(r io.Reader, big bool) *wideReader {
	return &wideReader{r: r, big: big, in: make([]byte, 32<<10)}
}

// Read implements io.Reader.
func (w *wideReader) Read(p []byte) (int, error) {
	for w.sent == len(w.out) {
		if w.err != nil {
			return 0, w.err
		}
		w.out, w.sent = w.out[:0], 0
		n, err := w.r.Read(w.in[w.n:])
		w.n += n
		whole := w.n &^ 1
		for i := 0; i < whole; i += 2 {
			u := rune(w.in[i]) | rune(w.in[i+1])<<8
			if w.big {
				u = rune(w.in[i])<<8 | rune(w.in[i+1])
			}
			w.unit(u)
		}
		copy(w.in, w.in[whole:w.n])
		w.n -= whole
		if err != nil {
			w.err = err
			if err == io.EOF && (w.n > 0 || w.high != 0) {
				w.out = append(w.out, invalid)
			}
		}
	}
	n := copy(p, w.out[w.sent:])
	w.sent += n
	return n, nil
}

func (w *wideReader) unit(u rune) {
	if w.high != 0 {
		high := w.high
		w.high = 0
		if r := utf16.DecodeRune(high, u); r != utf8.RuneError {
			w.out = utf8.AppendRune(w.out, r)
			return
		}
		w.out = append(w.out, invalid)
	}
	switch {
	case u >= 0xD800 && u < 0xDC00:
		w.high = u
	case u >= 0xDC00 && u < 0xE000:
		w.out = append(w.out, invalid)
	default:
		w.out = utf8.AppendRune(w.out, u)
	}
}
