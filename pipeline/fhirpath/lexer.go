package fhirpath

import (
	"strings"
	"unicode/utf8"
)

// Limits of what is parsed.
const (
	maxExpression = 64 << 10 // bytes
	maxDepth      = 250      // nested operators, calls and parentheses
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokIdent
	tokQuoted // `ident`
	tokString
	tokNumber
	tokDate // @…, text without the @
	tokSymbol
	tokVariable // %name, text without the %
	tokSpecial  // $this, $index, $total
)

type token struct {
	kind     tokenKind
	text     string
	off, end int
}

// syntaxError is a fault of the lexer or parser.
type syntaxError struct {
	off, end      int
	message, hint string
}

type lexer struct {
	src    string
	pos    int
	strict bool // an escape that FHIRPath does not have is a fault; else its backslash is dropped, as the standard has it
	err    *syntaxError
}

func (l *lexer) fail(off, end int, message, hint string) token {
	if l.err == nil {
		l.err = &syntaxError{off, end, message, hint}
	}
	l.pos = len(l.src)
	return token{kind: tokEnd, off: off, end: end}
}

func isIdentStart(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool      { return c >= '0' && c <= '9' }

// space skips white space and comments.
func (l *lexer) space() bool {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.pos++
		case strings.HasPrefix(l.src[l.pos:], "//"):
			if i := strings.IndexByte(l.src[l.pos:], '\n'); i >= 0 {
				l.pos += i
			} else {
				l.pos = len(l.src)
			}
		case strings.HasPrefix(l.src[l.pos:], "/*"):
			i := strings.Index(l.src[l.pos+2:], "*/")
			if i < 0 {
				l.fail(l.pos, len(l.src), "comment is not closed", "end it with */")
				return false
			}
			l.pos += i + 4
		default:
			return true
		}
	}
	return true
}

func (l *lexer) next() token {
	if l.err != nil || !l.space() || l.pos >= len(l.src) {
		return token{kind: tokEnd, off: l.pos, end: l.pos}
	}
	start := l.pos
	c := l.src[start]
	switch {
	case isIdentStart(c):
		return token{tokIdent, l.word(), start, l.pos}
	case isDigit(c):
		return l.numeric()
	case c == '\'':
		return l.quoted('\'', tokString)
	case c == '`':
		return l.quoted('`', tokQuoted)
	case c == '@':
		return l.date()
	case c == '%':
		return l.variable()
	case c == '$':
		l.pos++
		word := l.word()
		if word != "this" && word != "index" && word != "total" {
			return l.fail(start, l.pos, "unknown name after $", "there are $this, $index and $total")
		}
		return token{tokSpecial, word, start, l.pos}
	}
	for _, s := range []string{"<=", ">=", "!=", "!~"} {
		if strings.HasPrefix(l.src[start:], s) {
			l.pos += 2
			return token{tokSymbol, s, start, l.pos}
		}
	}
	if strings.IndexByte("+-*/&|=~<>.,()[]{}", c) >= 0 {
		l.pos++
		return token{tokSymbol, l.src[start:l.pos], start, l.pos}
	}
	switch c {
	case '!':
		return l.fail(start, start+1, "`!` is not an operator of FHIRPath", "write != or !~, or .not()")
	case '"':
		return l.fail(start, start+1, "text is written in single quotes", "write 'text', and `name` for odd names")
	}
	_, size := utf8.DecodeRuneInString(l.src[start:])
	return l.fail(start, start+size, "a character that FHIRPath does not have", "odd names are written in `backticks`")
}

func (l *lexer) word() string {
	start := l.pos
	for l.pos < len(l.src) && (isIdentStart(l.src[l.pos]) || isDigit(l.src[l.pos])) {
		l.pos++
	}
	return l.src[start:l.pos]
}

func (l *lexer) numeric() token {
	start := l.pos
	for l.pos < len(l.src) && isDigit(l.src[l.pos]) {
		l.pos++
	}
	if l.pos+1 < len(l.src) && l.src[l.pos] == '.' && isDigit(l.src[l.pos+1]) {
		for l.pos++; l.pos < len(l.src) && isDigit(l.src[l.pos]); {
			l.pos++
		}
	}
	if l.pos < len(l.src) && isIdentStart(l.src[l.pos]) {
		end := l.pos
		for end < len(l.src) && (isIdentStart(l.src[end]) || isDigit(l.src[end])) {
			end++
		}
		return l.fail(start, end, "a number runs into a name", "names that begin with a digit stand in `backticks`")
	}
	return token{tokNumber, l.src[start:l.pos], start, l.pos}
}

// date reads the literal of a date, dateTime or time; whether it is one of the calendar is the parser's question.
func (l *lexer) date() token {
	start := l.pos
	i := start + 1
	run := func(set string) {
		for i < len(l.src) && (isDigit(l.src[i]) || strings.IndexByte(set, l.src[i]) >= 0) {
			i++
		}
	}
	if i < len(l.src) && l.src[i] != 'T' {
		for i < len(l.src) && (isDigit(l.src[i]) || l.src[i] == '-' && i+1 < len(l.src) && isDigit(l.src[i+1]) && i-start < 9) {
			i++
		}
	}
	if i < len(l.src) && l.src[i] == 'T' {
		i++
		run(":")
		if i+1 < len(l.src) && l.src[i] == '.' && isDigit(l.src[i+1]) {
			i++
			run("")
		}
		if _, rest, ok := scanZone(l.src[i:]); ok && l.src[start+1] != 'T' {
			i = len(l.src) - len(rest)
		}
	}
	l.pos = i
	return token{tokDate, l.src[start+1 : i], start, i}
}

func (l *lexer) variable() token {
	start := l.pos
	l.pos++
	if l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '`':
			t := l.quoted('`', tokVariable)
			t.off = start
			return t
		case c == '\'':
			t := l.quoted('\'', tokVariable)
			t.off = start
			return t
		case isIdentStart(c):
			word := l.word()
			// %vs-name and %ext-name are written without quotes as well.
			if word == "vs" || word == "ext" {
				for l.pos+1 < len(l.src) && l.src[l.pos] == '-' && isIdentStart(l.src[l.pos+1]) {
					l.pos++
					l.word()
				}
			}
			return token{tokVariable, l.src[start+1 : l.pos], start, l.pos}
		}
	}
	return l.fail(start, start+1, "a name must follow %", "as in %resource")
}

// quoted reads a text in quotes with FHIRPath's escapes.
func (l *lexer) quoted(quote byte, kind tokenKind) token {
	start := l.pos
	l.pos++
	body := l.src[l.pos:]
	if i := strings.IndexByte(body, quote); i >= 0 && strings.IndexByte(body[:i], '\\') < 0 {
		l.pos += i + 1
		return token{kind, body[:i], start, l.pos}
	}
	var b strings.Builder
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch c {
		case quote:
			l.pos++
			return token{kind, b.String(), start, l.pos}
		case '\\':
			switch {
			case l.escape(&b):
			case !l.strict && l.pos+1 < len(l.src):
				l.pos++ // what follows stands for itself
			default:
				return l.fail(l.pos, min(l.pos+2, len(l.src)), "unknown escape in a text", `there are \' \" \\ \/ \f \n \r \t \uXXXX and \`+"`")
			}
		default:
			b.WriteByte(c)
			l.pos++
		}
	}
	return l.fail(start, len(l.src), "text is not closed", "end it with "+string(quote))
}

func (l *lexer) escape(b *strings.Builder) bool {
	if l.pos+1 >= len(l.src) {
		return false
	}
	switch c := l.src[l.pos+1]; c {
	case '\'', '"', '`', '\\', '/':
		b.WriteByte(c)
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		r, ok := hex4(l.src, l.pos+2)
		if !ok {
			return false
		}
		if r >= 0xd800 && r < 0xdc00 && strings.HasPrefix(l.src[l.pos+6:], `\u`) {
			if low, ok := hex4(l.src, l.pos+8); ok && low >= 0xdc00 && low < 0xe000 {
				r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
				l.pos += 6
			}
		}
		b.WriteRune(r) // a lone surrogate becomes U+FFFD
		l.pos += 6
		return true
	default:
		return false
	}
	l.pos += 2
	return true
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		r <<= 4
		switch {
		case isDigit(c):
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}
