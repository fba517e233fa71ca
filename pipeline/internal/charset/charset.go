// Package charset knows the encodings of characters that legacy systems export in: their names, what each byte means,
// and the marks that files begin with. Nothing is guessed and nothing is replaced: bytes that mean nothing in an
// encoding stay recognisable as such, so that the record in which they stand can be refused.
//
// In all encodings of this package but UTF-16, the bytes below 0x80 are ASCII. So who reads such a file finds quotes,
// delimiters and line ends in the raw bytes and decodes only the cells that have higher ones. UTF-16 is decoded as a
// stream, see Reader.
package charset

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Charset is an encoding: UTF-8 (Table and Order unset), or one byte per character with ASCII below 0x80 (Table), or
// UTF-16 (Order). It must not be changed, and may be used concurrently.
type Charset struct {
	Name  string
	Table *[256]string // UTF-8 of each byte; "" where the encoding defines none
	Order Order
}

// Order is how the bytes of UTF-16 follow each other.
type Order uint8

// The orders.
const (
	Narrow Order = iota // not UTF-16
	ByMark              // as the mark at the file's start says; big endian without one, RFC 2781 section 4.3
	Little
	Big
)

// UTF8 is what is read where nothing else is declared.
var UTF8 = &Charset{Name: "utf-8"}

var (
	wideByMark = &Charset{Name: "utf-16", Order: ByMark}
	wideLittle = &Charset{Name: "utf-16le", Order: Little}
	wideBig    = &Charset{Name: "utf-16be", Order: Big}
)

// known are all encodings by their plain names.
var known = sync.OnceValue(func() map[string]*Charset {
	m := map[string]*Charset{}
	for _, c := range []*Charset{UTF8, wideByMark, wideLittle, wideBig, {Name: "us-ascii", Table: ascii()}} {
		m[Plain(c.Name)] = c
	}
	for _, e := range charmap.All {
		// The others of the list differ only in what to do with errors, hold no characters, or are EBCDIC.
		if c, ok := e.(*charmap.Charmap); ok && c != charmap.XUserDefined && keepsASCII(c) {
			name := names.Replace(strings.ToLower(c.String()))
			m[Plain(name)] = &Charset{Name: name, Table: table(name, c)}
		}
	}
	return m
})

var names = strings.NewReplacer("ibm code page ", "cp", "windows code page ", "cp", " ", "-")

func keepsASCII(c *charmap.Charmap) bool {
	for b := range utf8.RuneSelf {
		if c.DecodeByte(byte(b)) != rune(b) {
			return false
		}
	}
	return true
}

func ascii() *[256]string {
	t := new([256]string)
	for b := range utf8.RuneSelf {
		t[b] = string(rune(b))
	}
	return t
}

func table(name string, c *charmap.Charmap) *[256]string {
	t := ascii()
	for b := utf8.RuneSelf; b < 256; b++ {
		r := c.DecodeByte(byte(b))
		// The tables of x/text follow browsers, which fill the holes of the Windows code pages with control
		// characters. Here a hole is a fault of the data or of the declaration.
		if r != utf8.RuneError && (!strings.HasPrefix(name, "windows-") || r >= 0xA0) {
			t[b] = string(r)
		}
	}
	return t
}

// Names lists the names of all encodings, sorted. Lookup also takes other common names of some.
func Names() []string {
	var all []string
	for _, c := range known() {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return all
}

// All lists the encodings in the order of Names.
func All() []*Charset {
	var all []*Charset
	for _, name := range Names() {
		all = append(all, known()[Plain(name)])
	}
	return all
}

var separators = strings.NewReplacer("-", "", "_", "", " ", "")

// Plain is a name without what does not matter in it: upper case, blanks, `-` and `_`.
func Plain(name string) string { return separators.Replace(strings.ToLower(name)) }

// Lookup finds an encoding by name; "" is UTF-8. The error lists the names that there are.
func Lookup(name string) (*Charset, error) {
	plain := Plain(name)
	switch plain {
	case "":
		return UTF8, nil
	case "ascii":
		plain = "usascii"
	case "latin1":
		plain = "iso88591"
	case "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258":
		plain = "windows" + plain[2:]
	}
	if page, ok := strings.CutPrefix(plain, "ibm"); ok {
		plain = "cp" + page
	}
	if c := known()[plain]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("encoding %q is not known; known are %s", name, strings.Join(Names(), ", "))
}

// Wide says whether the encoding is UTF-16.
func (c *Charset) Wide() bool { return c.Order != Narrow }
