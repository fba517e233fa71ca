package sqldump

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charset says how text is written in a file. Quotes, backslashes and line ends are ASCII in all of them but UTF-16,
// so only the cells of text columns are decoded and the bytes of a BLOB in the same file stay what they are. UTF-16 is
// decoded as a stream; it can hold no raw bytes.
type charset struct {
	name  string
	table *[256]string // of each byte in UTF-8; "" where the encoding defines none; nil for UTF-8 and UTF-16
	wide  wideOrder
}

type wideOrder uint8

const (
	narrow wideOrder = iota
	wideByMark
	wideLittle
	wideBig
)

var utf8Text = &charset{name: "utf-8"}

// Encodings lists the names that Options.Encoding takes. Upper case, blanks, `-` and `_` do not matter in them.
func Encodings() []string {
	names := []string{"utf-8", "utf-16", "utf-16le", "utf-16be"}
	for _, e := range charmap.All {
		if c, ok := e.(*charmap.Charmap); ok && keepsASCII(c) {
			names = append(names, charmapName(c))
		}
	}
	slices.Sort(names)
	return names
}

func charmapName(c *charmap.Charmap) string {
	name := strings.Replace(strings.ToLower(c.String()), "ibm code page ", "cp", 1)
	return strings.ReplaceAll(name, " ", "-")
}

func keepsASCII(c *charmap.Charmap) bool {
	for b := range utf8.RuneSelf {
		if c.DecodeByte(byte(b)) != rune(b) {
			return false
		}
	}
	return true
}

func plainName(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}

func lookupCharset(name string) (*charset, error) {
	plain := plainName(name)
	switch plain {
	case "", "utf8":
		return utf8Text, nil
	case "utf16":
		return &charset{name: "utf-16", wide: wideByMark}, nil
	case "utf16le":
		return &charset{name: "utf-16le", wide: wideLittle}, nil
	case "utf16be":
		return &charset{name: "utf-16be", wide: wideBig}, nil
	case "latin1":
		plain = "iso88591"
	case "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258":
		plain = "windows" + plain[2:]
	}
	for _, e := range charmap.All {
		c, ok := e.(*charmap.Charmap)
		if !ok || !keepsASCII(c) || plainName(charmapName(c)) != plain {
			continue
		}
		known := &charset{name: charmapName(c), table: new([256]string)}
		for b := range known.table {
			r := c.DecodeByte(byte(b))
			// The tables of x/text follow browsers, which fill the holes of the Windows code pages with control
			// characters. Here a hole is a fault of the data or of the declaration.
			hole := strings.HasPrefix(known.name, "windows-") && r >= 0x80 && r < 0xA0
			if r != utf8.RuneError && !hole {
				known.table[b] = string(r)
			}
		}
		return known, nil
	}
	return nil, fmt.Errorf("encoding %q is not known; known are %s", name, strings.Join(Encodings(), ", "))
}

// declaredCharset is what SET NAMES or client_encoding of a dump means.
func declaredCharset(d dialect, name string) (*charset, error) {
	plain := plainName(name)
	switch {
	case plain == "utf8mb4" || plain == "utf8mb3" || plain == "unicode" || plain == "sqlascii" || plain == "usascii" ||
		plain == "ascii" || plain == "binary": // with binary, text is written in the charset of its column: UTF-8 or refused
		return utf8Text, nil
	case plain == "latin1" && d == mysql:
		plain = "windows1252" // MySQL manual, section "West European Character Sets"
	case d == postgres && strings.HasPrefix(plain, "win"):
		plain = "windows" + strings.TrimPrefix(strings.TrimPrefix(plain, "windows"), "win")
	case plain == "latin2":
		plain = "iso88592"
	case plain == "latin9":
		plain = "iso885915"
	}
	c, err := lookupCharset(plain)
	if err == nil && c.wide != narrow {
		err = fmt.Errorf("encoding %q cannot be that of a part of a file", name)
	}
	return c, err
}

// Byte order marks.
const (
	markUTF8   = "\xEF\xBB\xBF"
	markBig    = "\xFE\xFF"
	markLittle = "\xFF\xFE"
)

// resolve says what a file is written in, by what is declared ("" if nothing is) and by the mark at its start, and how
// long the mark is.
func resolve(declared *charset, start []byte) (*charset, int, error) {
	found, size := "", 0
	switch s := string(start); {
	case strings.HasPrefix(s, markUTF8):
		found, size = "utf-8", len(markUTF8)
	case strings.HasPrefix(s, markBig):
		found, size = "utf-16be", len(markBig)
	case strings.HasPrefix(s, markLittle):
		found, size = "utf-16le", len(markLittle)
	}
	switch {
	case declared == nil && found == "":
		return utf8Text, 0, nil
	case declared == nil || declared.wide == wideByMark && size == len(markBig):
		c, err := lookupCharset(found)
		return c, size, err
	case declared.wide == wideByMark && found == "":
		return &charset{name: "utf-16be", wide: wideBig}, 0, nil // RFC 2781, section 4.3
	case found == "" || found == declared.name:
		return declared, size, nil
	case declared.table != nil && found != "utf-8":
		return declared, 0, nil // þÿ and ÿþ are letters there
	}
	return nil, 0, fmt.Errorf("the file is not in the declared encoding: declared is %s, but it begins with the mark of %s",
		declared.name, found)
}

// invalid stands in decoded text for bytes that mean nothing: it is no UTF-8, so the record is refused.
const invalid = 0xFF

// wideReader decodes UTF-16 to UTF-8. An unpaired surrogate and an odd last byte become an invalid byte, never U+FFFD,
// so that each code unit can be counted in what comes out; see units.
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

// Bits that four code units of ASCII, read as one little-endian number, do not have.
const (
	notASCIILittle = 0xFF80FF80FF80FF80
	notASCIIBig    = 0x80FF80FF80FF80FF
)

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
		mask := uint64(notASCIILittle)
		if w.big {
			mask = notASCIIBig
		}
		for i := 0; i < whole; i += 2 {
			for w.high == 0 && i+8 <= whole && binary.LittleEndian.Uint64(w.in[i:])&mask == 0 {
				low := i
				if w.big {
					low++
				}
				w.out = append(w.out, w.in[low], w.in[low+2], w.in[low+4], w.in[low+6])
				i += 8
			}
			if i == whole {
				break
			}
			if w.big {
				w.unit(rune(w.in[i])<<8 | rune(w.in[i+1]))
			} else {
				w.unit(rune(w.in[i]) | rune(w.in[i+1])<<8)
			}
		}
		w.n = copy(w.in, w.in[whole:w.n])
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

// units counts the code units of UTF-16 that a wideReader made the text of.
func units(text []byte) int64 {
	n := int64(0)
	for len(text) >= 8 {
		const high = 0x8080808080808080
		word := binary.LittleEndian.Uint64(text)
		if word&high != 0 {
			n += unitsBytewise(text[:8])
		} else {
			n += 8
		}
		text = text[8:]
	}
	return n + unitsBytewise(text)
}

func unitsBytewise(text []byte) int64 {
	n := int64(0)
	for _, b := range text {
		switch {
		case b == invalid:
			n++
		case b >= 0xF0:
			n += 2
		case b < 0x80 || b >= 0xC0:
			n++
		}
	}
	return n
}
