package workbook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// bufferSize is what the tokenizer holds, and so the longest tag it accepts. Text may be longer; it comes in pieces.
const bufferSize = 64 << 10

var (
	errTruncated = errors.New("the XML ends in the middle: the file is damaged or cut off")
	errMarkup    = errors.New("malformed XML")
	errTagLength = errors.New("malformed XML: a tag of more than 64 KiB")
	errDoctype   = errors.New("the XML has a DOCTYPE: no program writes one into a workbook, and it is never expanded")
	errEntity    = errors.New("malformed XML: an entity that is none of XML's own")
	errEncoding  = errors.New("the XML is not in UTF-8: open the workbook and save it anew")
)

type tokenKind uint8

const (
	atEnd tokenKind = iota
	startTag
	endTag
	textPiece
)

// token is one piece of markup or text. What it points to is valid until the next one is read.
type token struct {
	kind  tokenKind
	name  []byte // of a tag, without prefix
	attrs []byte // of a start tag, as written
	empty bool   // a start tag that closes itself; no end tag follows
	text  []byte // as written
	plain bool   // the text is CDATA: what looks like an entity is none
}

// xmlReader splits XML into tokens. encoding/xml would be the bottleneck of the whole source: it makes a string of every
// name. This one holds 64 KiB, knows no entities besides XML's own five and numbers, and refuses a DOCTYPE.
type xmlReader struct {
	r        io.Reader
	buf      []byte
	pos, end int
	consumed int64 // bytes before buf[0]
	eof      bool
	started  bool
	cdata    bool
	depth    int
}

func newXMLReader(r io.Reader) *xmlReader { return &xmlReader{r: r, buf: make([]byte, bufferSize)} }

// offset is how many bytes have been passed.
func (x *xmlReader) offset() int64 { return x.consumed + int64(x.pos) }

// fill reads more behind what is there, which moves to the front. It returns false at the end of the input, and when
// the buffer is full.
func (x *xmlReader) fill() (bool, error) {
	if x.eof {
		return false, nil
	}
	if x.pos > 0 {
		copy(x.buf, x.buf[x.pos:x.end])
		x.consumed += int64(x.pos)
		x.end -= x.pos
		x.pos = 0
	}
	if x.end == len(x.buf) {
		return false, nil
	}
	for range 100 {
		n, err := x.r.Read(x.buf[x.end:])
		x.end += n
		if err == io.EOF {
			x.eof = true
			return n > 0, nil
		}
		if err != nil {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, io.ErrNoProgress
}

// next returns the next token; kind atEnd behind the last.
func (x *xmlReader) next() (token, error) {
	for {
		if !x.started {
			if err := x.start(); err != nil {
				return token{}, err
			}
		}
		if x.pos == x.end {
			more, err := x.fill()
			if err != nil {
				return token{}, err
			}
			if !more {
				if x.depth != 0 || x.cdata {
					return token{}, errTruncated
				}
				return token{kind: atEnd}, nil
			}
		}
		if x.cdata {
			t, err := x.cdataPiece()
			if err != nil || len(t.text) > 0 {
				return t, err
			}
			continue
		}
		if x.buf[x.pos] != '<' {
			return x.textPiece()
		}
		t, err := x.markup()
		if err != nil || t.kind != atEnd {
			return t, err
		}
	}
}

// start passes a byte order mark and refuses other encodings than UTF-8.
func (x *xmlReader) start() error {
	x.started = true
	for x.end-x.pos < 4 {
		more, err := x.fill()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	text := x.buf[x.pos:x.end]
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		x.pos += 3
	} else if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) || bytes.IndexByte(text[:min(4, len(text))], 0) >= 0 {
		return errEncoding
	}
	return nil
}

// textPiece returns the text up to the next tag, or as much of it as the buffer holds. A piece never ends within an
// entity or between CR and LF.
func (x *xmlReader) textPiece() (token, error) {
	for {
		text := x.buf[x.pos:x.end]
		if i := bytes.IndexByte(text, '<'); i >= 0 {
			x.pos += i
			return token{kind: textPiece, text: text[:i]}, nil
		}
		more, err := x.fill()
		if err != nil {
			return token{}, err
		}
		if more {
			continue
		}
		n := x.end - x.pos
		text = x.buf[x.pos:x.end]
		if !x.eof {
			if i := bytes.LastIndexByte(text[n-16:], '&'); i >= 0 {
				n -= 16 - i
			} else if text[n-1] == '\r' {
				n--
			}
		}
		x.pos += n
		return token{kind: textPiece, text: text[:n]}, nil
	}
}

func (x *xmlReader) cdataPiece() (token, error) {
	for {
		text := x.buf[x.pos:x.end]
		if i := bytes.Index(text, []byte("]]>")); i >= 0 {
			x.pos += i + 3
			x.cdata = false
			return token{kind: textPiece, text: text[:i], plain: true}, nil
		}
		more, err := x.fill()
		if err != nil {
			return token{}, err
		}
		if more {
			continue
		}
		if x.eof {
			return token{}, errTruncated
		}
		text = x.buf[x.pos:x.end]
		n := len(text) - 3 // what may be the start of the end; a CR stays with its LF
		if text[n-1] == '\r' {
			n--
		}
		x.pos += n
		return token{kind: textPiece, text: text[:n], plain: true}, nil
	}
}

// markup reads what begins with `<`. For a comment and the like, which say nothing, kind is atEnd.
func (x *xmlReader) markup() (token, error) {
	for x.end-x.pos < 9 {
		more, err := x.fill()
		if err != nil {
			return token{}, err
		}
		if !more {
			break
		}
	}
	text := x.buf[x.pos:x.end]
	if len(text) < 3 {
		return token{}, errTruncated
	}
	switch {
	case text[1] == '?':
		return token{}, x.skip("?>", true)
	case bytes.HasPrefix(text, []byte("<!--")):
		x.pos += 4
		return token{}, x.skip("-->", false)
	case bytes.HasPrefix(text, []byte("<![CDATA[")):
		x.pos += 9
		x.cdata = true
		return token{}, nil
	case text[1] == '!':
		return token{}, errDoctype
	}
	n, err := x.tagLength()
	if err != nil {
		return token{}, err
	}
	text = x.buf[x.pos+1 : x.pos+n-1]
	x.pos += n
	t := token{kind: startTag}
	if text[0] == '/' {
		t.kind = endTag
		text = text[1:]
		x.depth--
		if x.depth < 0 {
			return token{}, errMarkup
		}
	} else if text[len(text)-1] == '/' {
		t.empty = true
		text = text[:len(text)-1]
	} else {
		x.depth++
	}
	i := 0
	for i < len(text) && !isSpace(text[i]) {
		i++
	}
	t.name, t.attrs = text[:i], text[i:]
	if j := bytes.IndexByte(t.name, ':'); j >= 0 {
		t.name = t.name[j+1:]
	}
	if len(t.name) == 0 {
		return token{}, errMarkup
	}
	return t, nil
}

// tagLength is the length of the tag at the reader's place, with both brackets. A bracket in quotes does not end it.
func (x *xmlReader) tagLength() (int, error) {
	var quote byte
	for i := 1; ; i++ {
		if x.pos+i == x.end {
			more, err := x.fill()
			if err != nil {
				return 0, err
			}
			if !more {
				if x.eof {
					return 0, errTruncated
				}
				return 0, errTagLength
			}
		}
		switch c := x.buf[x.pos+i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			if i == 1 {
				return 0, errMarkup
			}
			return i + 1, nil
		case c == '<':
			return 0, errMarkup
		}
	}
}

// skip passes everything up to and with the end mark. Of a processing instruction it looks whether it declares another
// encoding than UTF-8.
func (x *xmlReader) skip(end string, instruction bool) error {
	for {
		text := x.buf[x.pos:x.end]
		i := bytes.Index(text, []byte(end))
		if i >= 0 {
			x.pos += i + len(end)
			if !instruction || !bytes.HasPrefix(text, []byte("<?xml ")) {
				return nil
			}
			if e, ok := attr(text[len("<?xml"):i], "encoding"); ok && !bytes.EqualFold(e, []byte("utf-8")) &&
				!bytes.EqualFold(e, []byte("us-ascii")) {
				return errEncoding
			}
			return nil
		}
		if len(text) == len(x.buf) {
			x.pos = x.end - len(end)
			instruction = false
		}
		more, err := x.fill()
		if err != nil {
			return err
		}
		if !more && x.eof {
			return errTruncated
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// eachAttr calls f with the local name and the value, as written, of each attribute.
func eachAttr(attrs []byte, f func(name, value []byte)) {
	for {
		for len(attrs) > 0 && isSpace(attrs[0]) {
			attrs = attrs[1:]
		}
		eq := bytes.IndexByte(attrs, '=')
		if eq < 0 {
			return
		}
		name := bytes.TrimRight(attrs[:eq], " \t\r\n")
		attrs = bytes.TrimLeft(attrs[eq+1:], " \t\r\n")
		if len(attrs) == 0 || attrs[0] != '"' && attrs[0] != '\'' {
			return
		}
		end := bytes.IndexByte(attrs[1:], attrs[0])
		if end < 0 {
			return
		}
		if i := bytes.IndexByte(name, ':'); i >= 0 && !bytes.HasPrefix(name, []byte("xmlns:")) {
			name = name[i+1:]
		}
		f(name, attrs[1:1+end])
		attrs = attrs[end+2:]
	}
}

// attr is the value of one attribute, as written.
func attr(attrs []byte, name string) (value []byte, ok bool) {
	eachAttr(attrs, func(n, v []byte) {
		if !ok && string(n) == name {
			value, ok = v, true
		}
	})
	return value, ok
}

// appendText appends a piece of text as XML means it: entities resolved, line ends as LF (XML 1.0, section 2.11).
func appendText(dst []byte, t token) ([]byte, error) {
	text := t.text
	for {
		i := bytes.IndexByte(text, '\r')
		j := -1
		if !t.plain {
			j = bytes.IndexByte(text, '&')
		}
		if i < 0 && j < 0 {
			return append(dst, text...), nil
		}
		if i >= 0 && (j < 0 || i < j) {
			dst = append(append(dst, text[:i]...), '\n')
			text = text[i+1:]
			if len(text) > 0 && text[0] == '\n' {
				text = text[1:]
			}
			continue
		}
		dst = append(dst, text[:j]...)
		text = text[j+1:]
		end := bytes.IndexByte(text[:min(len(text), 12)], ';')
		if end < 0 {
			return dst, errEntity
		}
		r, ok := entity(text[:end])
		if !ok {
			return dst, errEntity
		}
		dst = utf8.AppendRune(dst, r)
		text = text[end+1:]
	}
}

func entity(name []byte) (rune, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	var r rune
	base, digits := rune(10), name[1:]
	if digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	for _, c := range digits {
		d := rune(hexDigit(c))
		if d < 0 || d >= base || r > utf8.MaxRune {
			return 0, false
		}
		r = r*base + d
	}
	return r, len(digits) > 0 && utf8.ValidRune(r)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unescape resolves _xHHHH_, by which workbooks write characters that XML has none for, and _x005F_, the underscore
// before what would look like one (ECMA-376-1, section 22.9.2.19). It works in place. Halves of a surrogate pair that
// stand alone are not a character and stay as written.
func unescape(b []byte) []byte {
	i := bytes.Index(b, []byte("_x"))
	if i < 0 {
		return b
	}
	out := b[:i]
	for i < len(b) {
		r, n := escaped(b[i:])
		if n == 0 {
			out = append(out, b[i])
			i++
			continue
		}
		out = utf8.AppendRune(out, r) // at most 4 bytes for 7, so it never overtakes i
		i += n
	}
	return out
}

func escaped(b []byte) (rune, int) {
	unit := func(b []byte) (rune, bool) {
		if len(b) < 7 || b[0] != '_' || b[1] != 'x' || b[6] != '_' {
			return 0, false
		}
		var r rune
		for _, c := range b[2:6] {
			d := hexDigit(c)
			if d < 0 {
				return 0, false
			}
			r = r<<4 | rune(d)
		}
		return r, true
	}
	r, ok := unit(b)
	if !ok {
		return 0, 0
	}
	if r < 0xD800 || r >= 0xE000 {
		return r, 7
	}
	if low, ok := unit(b[7:]); ok && r < 0xDC00 && low >= 0xDC00 && low < 0xE000 {
		return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, 14
	}
	return 0, 0
}

// textOf gathers the text of the element whose start tag was just read.
func (x *xmlReader) textOf(dst []byte, most int) (text []byte, tooLong bool, err error) {
	depth := x.depth
	start := len(dst)
	for {
		t, err := x.next()
		if err != nil {
			return dst, false, err
		}
		switch t.kind {
		case textPiece:
			if x.depth == depth && !tooLong {
				if dst, err = appendText(dst, t); err != nil {
					return dst, false, err
				}
				if len(dst)-start > most {
					dst, tooLong = dst[:start], true
				}
			}
		case endTag:
			if x.depth < depth {
				return dst, tooLong, nil
			}
		case atEnd:
			return dst, false, errTruncated
		}
	}
}

// richText gathers the text of an <si> or <is> whose start tag was just read: its own <t>, or those of its runs one
// after the other. How it is pronounced (<rPh>) is not text of the cell.
func (x *xmlReader) richText(dst []byte, most int) (text []byte, tooLong bool, err error) {
	depth := x.depth
	start := len(dst)
	phonetic := 0
	for {
		t, err := x.next()
		if err != nil {
			return dst, false, err
		}
		switch t.kind {
		case startTag:
			switch {
			case t.empty:
			case string(t.name) == "rPh":
				phonetic = x.depth
			case string(t.name) == "t" && phonetic == 0:
				var over bool
				if dst, over, err = x.textOf(dst, most-(len(dst)-start)); err != nil {
					return dst, false, err
				}
				tooLong = tooLong || over
			}
		case endTag:
			if x.depth < phonetic {
				phonetic = 0
			}
			if x.depth < depth {
				if tooLong {
					return dst[:start], true, nil
				}
				clean := unescape(dst[start:])
				return dst[:start+len(clean)], false, nil
			}
		case atEnd:
			return dst, false, errTruncated
		}
	}
}

// passElement passes the element whose start tag was just read.
func (x *xmlReader) passElement() error {
	depth := x.depth
	for {
		t, err := x.next()
		if err != nil {
			return err
		}
		if t.kind == endTag && x.depth < depth {
			return nil
		}
		if t.kind == atEnd {
			return fmt.Errorf("%w", errTruncated)
		}
	}
}
