package sqldump

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// window is how much of a file is held at a time. It fits the second-level cache of common machines, and it does not
// grow: what is longer is streamed through.
const window = 256 << 10

// maxWord bounds names and words; what is longer is not a name in any of the dialects.
const maxWord = 1 << 10

// scanner reads a stream of SQL as tokens. It holds a window of the stream: buf[pos:end] is read and not yet passed.
//
// An error of the stream is kept in err and looks like its end, so that the code above need not ask at every byte.
type scanner struct {
	dialect dialect
	in      io.Reader
	buf     []byte
	pos     int
	end     int
	eof     bool
	err     error
	moves   int  // how often the window has moved: what was in it before is gone
	wide    bool // the bytes behind the text are UTF-16

	// Place of buf[counted], brought up to pos by settle.
	counted int
	line    int64
	offset  int64 // in the unpacked bytes of the file

	// What the session of the dump has set, and whether the token lies in /*! */, whose content is code.
	session
	versioned bool
	crossed   bool // a line end was passed since the last token; the start of the file counts as one
	unclosed  bool // a string or comment goes on to the end of the stream

	word    []byte // text of the last word or name
	newline bool   // a line end stands before the last token
	start   mark   // where the last token begins
	held    bool   // the last token comes again
	last    tokenKind

	tagBuf [64]byte
}

// mark is a place in a file.
type mark struct {
	line   int64
	offset int64 // in its unpacked bytes
}

// session is what statements of a dump have set for those behind them. A shard begins with a copy.
type session struct {
	delimiter   string           // of statements; the mysql client can change it
	noBackslash bool             // backslashes in strings are text
	ansiQuotes  bool             // "x" is a name in MySQL too
	zone        string           // offset that instants are written in, if the dump says; MySQL
	charset     *charset.Charset // of text
	schema      string           // that names without one belong to
	blocks      uint64           // T-SQL: of each open BEGIN, innermost lowest, whether it is under a condition; a bit above marks the bottom
}

type tokenKind uint8

const (
	tokenEOF    tokenKind = iota
	tokenWord             // unquoted: a keyword, a name, a number
	tokenName             // a quoted name
	tokenString           // a string, whose text is not kept
	tokenEnd              // the end of a statement
	tokenPunct            // any other character, in scanner.word
)

func newScanner(d dialect, in io.Reader, buf []byte) *scanner {
	return &scanner{dialect: d, in: in, buf: buf, line: 1, crossed: true}
}

// fill reads more into the window, behind what is not yet passed. It returns false at the end of the stream.
func (s *scanner) fill() bool {
	if s.eof || s.end-s.pos == len(s.buf) {
		return false
	}
	s.settle()
	copy(s.buf, s.buf[s.pos:s.end])
	s.end -= s.pos
	s.pos, s.counted = 0, 0
	s.moves++
	for range 100 {
		n, err := s.in.Read(s.buf[s.end:])
		s.end += n
		if err != nil {
			s.eof = true
			if err != io.EOF {
				s.err = err
			}
			return n > 0
		}
		if n > 0 {
			return true
		}
	}
	s.eof, s.err = true, io.ErrNoProgress
	return false
}

// settle brings line and offset up to pos.
func (s *scanner) settle() {
	passed := s.buf[s.counted:s.pos]
	s.line += int64(bytes.Count(passed, []byte{'\n'}))
	if s.wide {
		s.offset += 2 * charset.Units(passed)
	} else {
		s.offset += int64(len(passed))
	}
	s.counted = s.pos
}

// here is the place of pos.
func (s *scanner) here() mark {
	s.settle()
	return mark{s.line, s.offset}
}

// has says whether n more bytes are there. n is small.
func (s *scanner) has(n int) bool {
	for s.end-s.pos < n {
		if !s.fill() {
			return false
		}
	}
	return true
}

// at is the i-th byte from here, or 0 at the end of the stream. i is small.
func (s *scanner) at(i int) byte {
	if s.pos+i < s.end || s.has(i+1) {
		return s.buf[s.pos+i]
	}
	return 0
}

// ahead says whether the text stands here.
func (s *scanner) ahead(text string) bool {
	return s.has(len(text)) && string(s.buf[s.pos:s.pos+len(text)]) == text
}

// Classes of bytes.
const (
	isBlank = 1 << iota
	isWordStart
	isWordPart
	isDigit
	isHex
	startsComment
)

var class = func() (c [256]uint8) {
	for _, b := range []byte(" \t\n\r\v\f\x1a") { // with the end mark of DOS
		c[b] |= isBlank
	}
	for b := 'a'; b <= 'z'; b++ {
		c[b] |= isWordStart | isWordPart
		c[b-'a'+'A'] |= isWordStart | isWordPart
	}
	for b := 0x80; b < 0x100; b++ {
		c[b] |= isWordStart | isWordPart
	}
	for _, b := range []byte("_@") {
		c[b] |= isWordStart | isWordPart
	}
	c['$'] |= isWordPart
	c['#'] |= isWordPart
	for b := '0'; b <= '9'; b++ {
		c[b] |= isWordPart | isDigit | isHex
	}
	for _, b := range []byte("abcdefABCDEF") {
		c[b] |= isHex
	}
	for _, b := range []byte("-/*#") {
		c[b] |= startsComment
	}
	return c
}()

// blank passes blanks and comments and returns the byte behind them, or 0 at the end of the stream.
func (s *scanner) blank() byte {
	for {
		for s.pos < s.end {
			c := s.buf[s.pos]
			if class[c]&isBlank != 0 {
				if c == '\n' {
					s.crossed = true
				}
				s.pos++
				continue
			}
			if class[c]&startsComment == 0 || !s.comment(c) {
				return c
			}
		}
		if !s.fill() {
			return 0
		}
	}
}

// solid is what blank returns, at once where no blank or comment stands here.
func (s *scanner) solid() byte {
	if s.pos < s.end && class[s.buf[s.pos]]&(isBlank|startsComment) == 0 {
		return s.buf[s.pos]
	}
	return s.blank()
}

// null passes NULL, if a tuple goes on or ends right behind it.
func (s *scanner) null() bool {
	const size = len("NULL,")
	if s.end-s.pos < size {
		return false
	}
	b := s.buf[s.pos : s.pos+size]
	if string(b) != "NULL," && string(b) != "NULL)" {
		return false
	}
	s.pos += size - 1
	return true
}

// comment passes the comment that stands here, if one does.
func (s *scanner) comment(c byte) bool {
	switch c {
	case '-':
		if s.at(1) != '-' {
			return false
		}
		// MySQL manual, "Comments": the dashes must be followed by a blank, else they are two minus signs.
		if next := s.at(2); s.dialect == mysql && next != 0 && next > ' ' {
			return false
		}
		s.restOfLine()
		return true
	case '#':
		if s.dialect != mysql {
			return false
		}
		s.restOfLine()
		return true
	case '*':
		if !s.versioned || s.at(1) != '/' {
			return false
		}
		s.pos += 2
		s.versioned = false
		return true
	}
	if s.at(1) != '*' {
		return false
	}
	if s.dialect == mysql && s.openVersioned() {
		return true
	}
	s.pos += 2
	for depth := 1; depth > 0; {
		i := bytes.IndexAny(s.buf[s.pos:s.end], "*/\n")
		if i < 0 {
			s.pos = s.end
			if !s.fill() {
				s.unclosed = true
				return true
			}
			continue
		}
		s.pos += i
		switch {
		case s.buf[s.pos] == '\n':
			s.crossed = true
			s.pos++
		case s.ahead("*/"):
			s.pos += 2
			depth--
		case s.dialect.nested() && s.ahead("/*"):
			s.pos += 2
			depth++
		default:
			s.pos++
		}
	}
	return true
}

// openVersioned enters a comment whose content MySQL or MariaDB executes: /*!40101 …*/ and /*M!100401 …*/. A version of
// 999999 is none that exists: mariadb-dump uses it for a comment to its own client.
func (s *scanner) openVersioned() bool {
	n := 2
	if s.at(n) == 'M' {
		n++
	}
	if s.at(n) != '!' {
		return false
	}
	n++
	digits := 0
	for digits < 6 && class[s.at(n+digits)]&isDigit != 0 {
		digits++
	}
	if digits == 6 && string(s.buf[s.pos+n:s.pos+n+6]) == "999999" {
		return false
	}
	s.pos += n + digits
	s.versioned = true
	return true
}

// restOfLine passes what is left of the line, without its end.
func (s *scanner) restOfLine() {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:s.end], '\n'); i >= 0 {
			s.pos += i
			return
		}
		s.pos = s.end
		if !s.fill() {
			return
		}
	}
}

// alone says whether nothing but blanks and a number stands between the i-th byte from here and the end of its line.
func (s *scanner) alone(i int) bool {
	for ; ; i++ {
		switch c := s.at(i); {
		case c == '\n' || c == 0:
			return true
		case c != ' ' && c != '\t' && c != '\r' && class[c]&isDigit == 0:
			return false
		case i > 100:
			return false
		}
	}
}

// hold makes the last token come again.
func (s *scanner) hold() { s.held = true }

// next reads a token.
func (s *scanner) next() tokenKind {
	if s.held {
		s.held = false
		return s.last
	}
	s.last = s.token()
	return s.last
}

func (s *scanner) token() tokenKind {
	c := s.blank()
	s.newline, s.crossed = s.crossed, false
	s.start = s.here()
	s.word = s.word[:0]
	if s.pos == s.end {
		return tokenEOF
	}
	if d := s.delimiter; d == ";" && c == ';' || d != ";" && c == d[0] && s.ahead(d) {
		s.pos += len(d)
		s.word = append(s.word, d...)
		return tokenEnd
	}
	switch {
	case class[c]&(isWordStart|isDigit) != 0:
		s.readWord()
		switch next := s.at(0); {
		case next == '\'' && s.prefix() != prefixNone:
			s.skipString(s.prefix())
			return tokenString
		case s.dialect == sqlserver && s.newline && s.isWord("GO") && s.alone(0):
			s.restOfLine()
			return tokenEnd
		}
		return tokenWord
	case c == '\'':
		s.skipString(prefixNone)
		return tokenString
	case c == '"' && s.dialect == mysql && !s.ansiQuotes:
		s.skipString(prefixNone)
		return tokenString
	case c == '"', c == '`' && (s.dialect == mysql || s.dialect == sqlite),
		c == '[' && (s.dialect == sqlserver || s.dialect == sqlite):
		s.readName(c)
		return tokenName
	case c == '$' && s.dialect == postgres:
		if tag := s.dollarTag(); tag != nil {
			s.pos += len(tag)
			s.until(tag, nil)
			return tokenString
		}
	case c == '/' && s.dialect == oracle && s.newline && s.alone(1):
		s.word = append(s.word, c)
		s.restOfLine()
		return tokenEnd
	}
	s.word = append(s.word, c)
	s.pos++
	return tokenPunct
}

// readWord reads letters, digits and what may stand between them.
func (s *scanner) readWord() {
	d := s.delimiter
	for {
		i := s.pos
		for i < s.end && class[s.buf[i]]&isWordPart != 0 && (d == ";" || s.buf[i] != d[0]) &&
			(s.buf[i] != '#' || s.dialect != mysql) { // there it begins a comment
			i++
		}
		if room := maxWord - len(s.word); room > 0 {
			s.word = append(s.word, s.buf[s.pos:min(i, s.pos+room)]...)
		}
		s.pos = i
		if i < s.end {
			if d != ";" && s.buf[i] == d[0] && class[d[0]]&isWordPart != 0 && !s.ahead(d) {
				s.word = append(s.word, d[0])
				s.pos++
				continue
			}
			return
		}
		if !s.fill() {
			return
		}
	}
}

// readName reads a quoted name; a doubled quote in it is one.
func (s *scanner) readName(quote byte) {
	if quote == '[' {
		quote = ']'
	}
	s.pos++
	for s.has(1) {
		c := s.buf[s.pos]
		s.pos++
		if c == quote {
			if s.at(0) != quote {
				return
			}
			s.pos++
		}
		if len(s.word) < maxWord {
			s.word = append(s.word, c)
		}
	}
}

// isWord says whether the last token is this keyword, given in upper case.
func (s *scanner) isWord(keyword string) bool {
	return s.last != tokenName && equalFold(s.word, keyword)
}

func equalFold(word []byte, keyword string) bool {
	if len(word) != len(keyword) {
		return false
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != keyword[i] {
			return false
		}
	}
	return true
}

// appendUpper appends a word in upper case.
func appendUpper(dst, word []byte) []byte {
	for _, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// isOne says whether the last token is one of the keywords.
func (s *scanner) isOne(keywords ...string) bool {
	for _, k := range keywords {
		if s.isWord(k) {
			return true
		}
	}
	return false
}

// isPunct says whether the last token is this character.
func (s *scanner) isPunct(c byte) bool {
	return s.last == tokenPunct && len(s.word) == 1 && s.word[0] == c
}

// accept reads a token if it is this keyword.
func (s *scanner) accept(keyword string) bool {
	if s.next() == tokenWord && s.isWord(keyword) {
		return true
	}
	s.hold()
	return false
}

// acceptPunct reads a token if it is this character.
func (s *scanner) acceptPunct(c byte) bool {
	if s.next() == tokenPunct && s.isPunct(c) {
		return true
	}
	s.hold()
	return false
}

// prefix of a string: what kind of string it makes.
type prefix uint8

const (
	prefixNone    prefix = iota // not a prefix, or one that changes nothing
	prefixPlain                 // N'' and _utf8'': text as without it
	prefixBytes                 // _binary'': bytes
	prefixEscapes               // E'': backslashes escape
	prefixHex                   // X''
	prefixBits                  // B''
	prefixQuote                 // q'[]' of Oracle: the quotes are chosen
	prefixUnicode               // U&'': \xxxx are characters
)

// prefix says what the word that was read means in front of a quote.
func (s *scanner) prefix() prefix {
	w := s.word
	if len(w) == 1 {
		switch w[0] | 0x20 {
		case 'n':
			return prefixPlain
		case 'x':
			if s.dialect != oracle && s.dialect != sqlserver {
				return prefixHex
			}
		case 'b':
			if s.dialect == mysql || s.dialect == postgres {
				return prefixBits
			}
		case 'e':
			if s.dialect == postgres {
				return prefixEscapes
			}
		case 'q':
			if s.dialect == oracle {
				return prefixQuote
			}
		}
	}
	if s.dialect == oracle && equalFold(w, "NQ") {
		return prefixQuote
	}
	if s.dialect == mysql && len(w) > 1 && w[0] == '_' {
		if equalFold(w, "_BINARY") {
			return prefixBytes
		}
		return prefixPlain
	}
	return prefixNone
}

// escapes says whether a backslash escapes in a string with that prefix.
func (s *scanner) escapes(p prefix) bool {
	switch p {
	case prefixEscapes:
		return true
	case prefixHex, prefixBits, prefixUnicode:
		return false
	}
	return !s.noBackslash
}

// skipString passes the string that stands here. A string that does not close ends with the stream.
func (s *scanner) skipString(p prefix) { s.text(p, nil) }

// text reads the string that stands here, behind its prefix, into v, if that is not nil. It returns false for a string
// that does not close: then the stream has ended.
func (s *scanner) text(p prefix, v *values) bool {
	if p == prefixQuote {
		return s.until(s.openQuote(), v)
	}
	quote := s.buf[s.pos]
	stop := quote
	if s.escapes(p) {
		stop = '\\'
	}
	s.pos++
	for {
		b := s.buf[s.pos:s.end]
		i := indexAny(b, quote, stop, stop)
		v.add(b[:i])
		s.pos += i
		if i == len(b) {
			if !s.fill() {
				s.unclosed = true
				return false
			}
			continue
		}
		s.pos++
		if b[i] == quote {
			if s.at(0) != quote {
				return true
			}
			v.addByte(quote)
			s.pos++
			continue
		}
		if !s.escape(v) {
			s.unclosed = true
			return false
		}
	}
}

// indexAny is the place of the first of three bytes, or the length. It looks at eight bytes at a time: most strings are
// shorter than what bytes.IndexByte costs to begin.
func indexAny(text []byte, a, b, c byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	as, bs, cs := ones*uint64(a), ones*uint64(b), ones*uint64(c)
	i := 0
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		// A byte that is 0 in x has its high bit set in (x - ones) &^ x; another one only above such a byte.
		x, y, z := w^as, w^bs, w^cs
		if found := ((x-ones)&^x | (y-ones)&^y | (z-ones)&^z) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if t := text[i]; t == a || t == b || t == c {
			return i
		}
	}
	return i
}

// escape reads what a backslash, already passed, escapes. It returns false at the end of the stream.
func (s *scanner) escape(v *values) bool {
	if !s.has(1) {
		return false
	}
	c := s.buf[s.pos]
	s.pos++
	if s.dialect == postgres {
		s.escapePostgres(c, v)
		return true
	}
	switch c { // MySQL manual, "String Literals"
	case '0':
		c = 0
	case 'b':
		c = '\b'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'Z':
		c = 0x1A
	case '%', '_':
		v.addByte('\\')
	}
	v.addByte(c)
	return true
}

// escapePostgres reads an escape of E” and of COPY, whose first character was passed. Those with u are of E” alone;
// COPY never writes them.
func (s *scanner) escapePostgres(c byte, v *values) {
	number := func(base, most int, value rune) rune {
		for i := 0; i < most; i++ {
			d := hexValue(s.at(0))
			if d < 0 || d >= base || s.pos == s.end {
				break
			}
			value = value*rune(base) + rune(d)
			s.pos++
		}
		return value
	}
	switch c {
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'v':
		c = '\v'
	case '0', '1', '2', '3', '4', '5', '6', '7':
		c = byte(number(8, 2, rune(c-'0')))
	case 'x':
		if hexValue(s.at(0)) >= 0 {
			c = byte(number(16, 2, 0))
		}
	case 'u', 'U':
		digits := 4
		if c == 'U' {
			digits = 8
		}
		v.addRune(number(16, digits, 0))
		return
	}
	v.addByte(c)
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// openQuote passes the start of q'[…]' and returns what ends it, valid until the next.
func (s *scanner) openQuote() []byte {
	open := s.at(1)
	s.pos += 2
	s.pos = min(s.pos, s.end)
	if i := strings.IndexByte("[{(<", open); i >= 0 {
		open = "]})>"[i]
	}
	return append(s.tagBuf[:0], open, '\'')
}

// dollarTag is the tag of a dollar-quoted string that begins here, with its dollars, valid until the next; or nil.
func (s *scanner) dollarTag() []byte {
	for i := 1; i < len(s.tagBuf); i++ {
		c := s.at(i)
		if c == '$' {
			return append(s.tagBuf[:0], s.buf[s.pos:s.pos+i+1]...)
		}
		if class[c]&isWordPart == 0 || i == 1 && class[c]&isDigit != 0 {
			return nil
		}
	}
	return nil
}

// until reads everything up to the text into v and passes the text too; it says whether it was found.
func (s *scanner) until(text []byte, v *values) bool {
	for {
		b := s.buf[s.pos:s.end]
		if i := bytes.Index(b, text); i >= 0 {
			v.add(b[:i])
			s.pos += i + len(text)
			return true
		}
		n := max(0, len(b)-len(text)+1)
		v.add(b[:n])
		s.pos += n
		if !s.fill() {
			s.pos = s.end
			s.unclosed = true
			return false
		}
	}
}
