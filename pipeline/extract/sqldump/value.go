package sqldump

import (
	"encoding/hex"
	"slices"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// valueKind is what a literal is, before its column is asked.
type valueKind uint8

const (
	valueNull    valueKind = iota
	valueText              // a string, its escapes undone, in the charset of the dump
	valueNumber            // as written
	valueBytes             // of a hexadecimal or binary literal
	valueBits              // digits 0 and 1
	valueBool              // 0 or 1
	valueDefault           // DEFAULT: the database decides
)

// value is one literal of a tuple. Its text lies in the arena.
type value struct {
	start, end int
	kind       valueKind
}

// maxNesting bounds calls within calls; no tool writes more than three.
const maxNesting = 16

// flaw is why a value or a tuple could not be read.
type flaw uint8

const (
	flawless   flaw = iota
	expression      // more than a literal, and not one of the calls that dumps are written with
	afterText       // text behind the closing quote of a string: one quote too many or too few
	unclosed        // the string goes on to the end of the dump
	cutOff          // the statement ends within the tuple
)

// values are the literals of one tuple, or the fields of one line of COPY.
type values struct {
	s     *scanner
	arena []byte
	list  []value
	n     int // how many there are; more than len(list) if there are too many
	most  int // cap on len(list)
	limit int // cap on len(arena)
	over  bool
	open  int // parentheses open, for the way out of an expression

	args    []value // of the calls that are being read
	scratch []byte  // for the results of calls
	models  dateModels
}

func (v *values) reset() {
	v.arena, v.list, v.n, v.over, v.open = v.arena[:0], v.list[:0], 0, false, 0
}

// add, addByte and addRune append to the arena; of nil, nothing happens.
func (v *values) add(text []byte) {
	if v == nil {
		return
	}
	if len(v.arena)+len(text) > v.limit {
		v.over = true
		return
	}
	v.arena = append(v.arena, text...)
}

func (v *values) addByte(c byte) {
	if v == nil {
		return
	}
	if len(v.arena) >= v.limit {
		v.over = true
		return
	}
	v.arena = append(v.arena, c)
}

func (v *values) addRune(r rune) {
	var text [utf8.UTFMax]byte
	if !utf8.ValidRune(r) {
		v.addByte(charset.Invalid) // the record is refused; U+FFFD would hide it
		return
	}
	v.add(text[:utf8.EncodeRune(text[:], r)])
}

func (v *values) push(x value) {
	v.n++
	if len(v.list) < v.most {
		v.list = append(v.list, x)
	}
}

// tuple reads a list of values, from its opening parenthesis to behind its closing one. After a flaw other than cutOff
// and unclosed, the rest of the tuple was passed; after afterText, nobody knows where it ends.
func (v *values) tuple() flaw {
	s := v.s
	v.reset()
	s.pos++
	v.open = 1
	if s.solid() == ')' {
		s.pos++
		return flawless
	}
	for {
		var x value
		var f flaw
		// The most frequent forms, at once.
		switch c := s.solid(); {
		case c == '\'':
			x.kind, x.start = valueText, len(v.arena)
			if !s.text(prefixNone, v) {
				f = unclosed
			}
			x.end = len(v.arena)
		case class[c]&isDigit != 0:
			x = v.number()
		case c == 'N' && s.null():
		default:
			x, f = v.operand(c, 0)
		}
		if c := s.solid(); f == flawless && c != ',' && c != ')' {
			x, f = v.suffixes(x, 0)
		}
		if f == flawless {
			switch s.solid() {
			case ',':
				s.pos++
				v.push(x)
				continue
			case ')':
				s.pos++
				v.push(x)
				return flawless
			}
			f = expression
			if x.kind == valueText && s.pos < s.end {
				f = afterText
			}
		}
		if f == expression {
			return v.leave()
		}
		return f
	}
}

// leave passes what is left of a tuple that holds an expression.
func (v *values) leave() flaw {
	for v.open > 0 {
		switch v.s.next() {
		case tokenEOF, tokenEnd:
			return cutOff
		case tokenPunct:
			switch v.s.word[0] {
			case '(':
				v.open++
			case ')':
				v.open--
			}
		}
	}
	return expression
}

// value reads an operand and what stands behind it.
func (v *values) value(nesting int) (value, flaw) {
	x, f := v.operand(v.s.solid(), nesting)
	if c := v.s.solid(); f != flawless || c == ',' || c == ')' {
		return x, f
	}
	return v.suffixes(x, nesting)
}

// operand reads a literal or one of the calls that dumps are written with.
func (v *values) operand(c byte, nesting int) (value, flaw) {
	s := v.s
	x := value{start: len(v.arena), end: len(v.arena)}
	switch {
	case nesting > maxNesting:
		return x, expression
	case c == '\'' || c == '"' && s.dialect == mysql && !s.ansiQuotes:
		return v.literal(prefixNone)
	case class[c]&isDigit != 0 || c == '.':
		return v.number(), flawless
	case c == '-' || c == '+':
		s.pos++
		if c == '-' {
			v.addByte(c)
		}
		if d := s.solid(); class[d]&isDigit == 0 && d != '.' {
			return x, expression
		}
		y := v.number()
		y.start = x.start
		if y.kind != valueNumber {
			return y, expression
		}
		return y, flawless
	case c == '(':
		s.pos++
		v.open++
		x, f := v.value(nesting + 1)
		if f == flawless {
			f = v.close()
		}
		return x, f
	case c == '$' && s.dialect == postgres:
		tag := s.dollarTag()
		if tag == nil {
			return x, expression
		}
		s.pos += len(tag)
		x.kind = valueText
		if !s.until(tag, v) {
			return x, unclosed
		}
		x.end = len(v.arena)
		return x, flawless
	case class[c]&isWordStart != 0:
		return v.wordOperand(nesting)
	}
	return x, expression
}

// close reads the closing parenthesis of a call.
func (v *values) close() flaw {
	if v.s.solid() != ')' {
		return expression
	}
	v.s.pos++
	v.open--
	return flawless
}

// literal reads the string that stands here, behind its prefix.
func (v *values) literal(p prefix) (value, flaw) {
	x := value{kind: valueText, start: len(v.arena)}
	if !v.s.text(p, v) {
		return x, unclosed
	}
	x.end = len(v.arena)
	ok := true
	switch p {
	case prefixBytes:
		x.kind = valueBytes
	case prefixBits:
		x.kind = valueBits
	case prefixHex:
		ok = v.unhex(&x)
	case prefixUnicode:
		ok = v.unescape(&x, true)
	}
	if !ok {
		return x, expression
	}
	return x, flawless
}

// unhex turns hexadecimal digits, the last in the arena, into bytes.
func (v *values) unhex(x *value) bool {
	x.kind = valueBytes
	if v.over {
		return true // refused anyway
	}
	v.arena = v.arena[:x.end]
	if (x.end-x.start)%2 != 0 {
		v.arena = slices.Insert(v.arena, x.start, '0')
	}
	digits := v.arena[x.start:]
	n, err := hex.Decode(digits, digits)
	x.end = x.start + n
	v.arena = v.arena[:x.end]
	return err == nil
}

// number reads a number, or the bytes or bits of 0x… and 0b….
func (v *values) number() value {
	s := v.s
	x := value{kind: valueNumber, start: len(v.arena)}
	if s.buf[s.pos] == '0' {
		switch c := s.at(1) | 0x20; {
		case c == 'x' && s.dialect != oracle:
			s.pos += 2
			v.run(isHex)
			x.end = len(v.arena)
			v.unhex(&x) // there is nothing else
			return x
		case c == 'b' && s.dialect == mysql:
			s.pos += 2
			v.run(isDigit)
			x.kind, x.end = valueBits, len(v.arena)
			return x
		}
	}
	v.run(isDigit)
	if s.at(0) == '.' {
		v.addByte('.')
		s.pos++
		v.run(isDigit)
	}
	if s.at(0)|0x20 == 'e' {
		sign := s.at(1)
		digit := sign
		if sign == '+' || sign == '-' {
			digit = s.at(2)
		}
		if class[digit]&isDigit != 0 {
			v.addByte(s.buf[s.pos])
			s.pos++
			if digit != sign {
				v.addByte(sign)
				s.pos++
			}
			v.run(isDigit)
		}
	}
	x.end = len(v.arena)
	return x
}

// run reads bytes of a class.
func (v *values) run(of uint8) {
	s := v.s
	for {
		i := s.pos
		for i < s.end && class[s.buf[i]]&of != 0 {
			i++
		}
		v.add(s.buf[s.pos:i])
		s.pos = i
		if i < s.end || !s.fill() {
			return
		}
	}
}

// suffixes reads what may stand behind an operand: casts, concatenation, a string that goes on in another.
func (v *values) suffixes(x value, nesting int) (value, flaw) {
	s := v.s
	for {
		c := s.solid()
		switch {
		case c == ':' && s.dialect == postgres && s.at(1) == ':':
			s.pos += 2
			if !v.typeName() {
				return x, expression
			}
		case c == '|' && s.dialect != mysql && s.dialect != sqlserver && s.at(1) == '|':
			s.pos += 2
			y, f := v.operand(s.solid(), nesting+1)
			if f != flawless {
				return x, f
			}
			if !v.join(&x, y) {
				return x, expression
			}
		case c == '+' && s.dialect == sqlserver && x.kind == valueText:
			s.pos++
			y, f := v.operand(s.solid(), nesting+1)
			if f != flawless {
				return x, f
			}
			if !v.join(&x, y) {
				return x, expression
			}
		case (c == '\'' || c == '"' && !s.ansiQuotes) && s.dialect == mysql && x.kind == valueText,
			c == '\'' && s.dialect == postgres && x.kind == valueText && s.crossed:
			y, f := v.literal(prefixNone)
			if f != flawless {
				return x, f
			}
			v.join(&x, y)
		case class[c]&isWordStart != 0 && x.kind == valueText:
			s.word = s.word[:0]
			s.readWord()
			if !equalFold(s.word, "COLLATE") {
				return x, v.wordAfterText()
			}
			if k := s.next(); k != tokenWord && k != tokenName {
				return x, expression
			}
		default:
			return x, flawless
		}
		s.crossed = false
	}
}

// wordAfterText checks a word behind a string: AS, USING and AT belong to expressions, anything else does not belong there.
func (v *values) wordAfterText() flaw {
	for _, k := range []string{"AS", "USING", "AT", "IS", "LIKE", "IN", "DIV", "MOD", "AND", "OR", "FROM", "FOR"} {
		if equalFold(v.s.word, k) {
			return expression
		}
	}
	return afterText
}

// join appends a second text to the first, which lies before it in the arena.
func (v *values) join(x *value, y value) bool {
	text := func(k valueKind) bool { return k == valueText || k == valueNumber }
	if !text(x.kind) || !text(y.kind) || x.kind == valueNumber && y.kind == valueNumber && v.s.dialect == sqlserver {
		return false
	}
	v.arena = append(v.arena[:x.end], v.arena[y.start:y.end]...)
	x.end, x.kind = len(v.arena), valueText
	return true
}

// typeName passes the name of a type, all words of it, and leaves the first in scanner.word.
func (v *values) typeName() bool {
	s := v.s
	name := v.scratch[:0]
	defer func() { v.scratch = name }()
	for {
		c := s.solid()
		switch {
		case class[c]&isWordStart != 0, c == '"', c == '`', c == '[' && s.dialect == sqlserver:
			if s.next() != tokenWord && s.last != tokenName {
				return false
			}
			if len(name) == 0 {
				name = appendUpper(name, s.word)
			}
		case c == '.' && len(name) > 0:
			s.pos++
			name = name[:0] // a schema; the type is named next
		case c == '(' && len(name) > 0:
			s.pos++
			for s.solid() != ')' {
				if s.next() != tokenWord && !s.isPunct(',') {
					return false
				}
			}
			s.pos++
		case c == '[' && len(name) > 0 && s.at(1) == ']':
			s.pos += 2
		default:
			s.word = append(s.word[:0], name...)
			return len(name) > 0
		}
	}
}
