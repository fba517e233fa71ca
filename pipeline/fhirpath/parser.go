package fhirpath

import (
	"github.com/chartlift/chartlift/pipeline/fhir"
)

// op tells what an expression node is.
type op uint8

const (
	opLiteral op = iota
	opEmpty      // {}
	opIdent      // name, or left.name
	opCall       // name(args), or left.name(args)
	opThis
	opIndex
	opTotal
	opVariable
	opIndexer // left[right]
	opUnary   // + or - of left
	opBinary  // text is the operator
	opType    // left is Name, left as Name: text is the operator, right the name
	opOrder   // a key of sort(): left, text is asc or desc
)

// node is an expression of the syntax tree.
type node struct {
	op          op
	text        string
	quoted      bool // the name stood in backticks
	paren       bool // stood in parentheses
	value       Value
	left, right *node
	args        []*node
	off, end    int // the whole expression
	nameOff     int // the name of an identifier or call, the operator of a binary expression
	nameEnd     int
}

type parser struct {
	lex   lexer
	tok   token
	depth int
	err   *syntaxError
}

// parse reads an expression. Errors have byte positions. Strict refuses the backslashes that FHIRPath would drop in
// silence: a formula that says '\d' means the class of digits, not the letter.
func parse(src string, strict bool) (*node, *syntaxError) {
	if len(src) > maxExpression {
		return nil, &syntaxError{0, 0, "expression is longer than 64 KiB", "split it with defineVariable() or into several elements"}
	}
	p := &parser{lex: lexer{src: src, strict: strict}}
	p.advance()
	n := p.expression(0)
	if p.err == nil && p.lex.err != nil {
		p.err = p.lex.err
	}
	if p.err == nil && p.tok.kind != tokEnd {
		p.fail(p.tok, "something is left after the expression", "an operator or a dot may be missing before it")
	}
	if p.err != nil {
		return nil, p.err
	}
	return n, nil
}

func (p *parser) advance() { p.tok = p.lex.next() }

func (p *parser) fail(t token, message, hint string) *node {
	if p.err == nil {
		if p.lex.err != nil {
			p.err = p.lex.err
		} else {
			p.err = &syntaxError{t.off, max(t.end, t.off), message, hint}
		}
	}
	p.tok = token{kind: tokEnd, off: t.off, end: t.end}
	p.lex.pos = len(p.lex.src)
	return &node{op: opEmpty, off: t.off, end: t.end}
}

func (p *parser) is(symbol string) bool { return p.tok.kind == tokSymbol && p.tok.text == symbol }

func (p *parser) expect(symbol, message string) token {
	t := p.tok
	if !p.is(symbol) {
		p.fail(t, message, "")
		return t
	}
	p.advance()
	return t
}

// doubled is what to write for an operator of another language: ==, && or ||.
func (p *parser) doubled(t token) string {
	if t.off < 1 || p.lex.src[t.off-1:t.off] != t.text {
		return ""
	}
	return map[string]string{"=": "one `=` compares", "&": "write `and`; one & joins texts", "|": "write `or`; one | joins collections"}[t.text]
}

// Strength of the operators, weakest first (FHIRPath 2.0, 6.8).
const (
	bindImplies = 1 + iota
	bindOr
	bindAnd
	bindMember
	bindEquality
	bindInequality
	bindUnion
	bindType
	bindAdditive
	bindMultiplicative
	bindUnary
)

func (p *parser) strength() int {
	switch p.tok.kind {
	case tokSymbol:
		switch p.tok.text {
		case "=", "~", "!=", "!~":
			return bindEquality
		case "<", ">", "<=", ">=":
			return bindInequality
		case "|":
			return bindUnion
		case "+", "-", "&":
			return bindAdditive
		case "*", "/":
			return bindMultiplicative
		}
	case tokIdent:
		switch p.tok.text {
		case "implies":
			return bindImplies
		case "or", "xor":
			return bindOr
		case "and":
			return bindAnd
		case "in", "contains":
			return bindMember
		case "is", "as":
			return bindType
		case "div", "mod":
			return bindMultiplicative
		}
	}
	return 0
}

func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.tok, "expression is nested more than 250 deep", "split it")
		return false
	}
	return true
}

// expression reads operators that bind stronger than min.
func (p *parser) expression(min int) *node {
	if !p.enter() {
		return &node{op: opEmpty}
	}
	defer func() { p.depth-- }()
	left := p.unary()
	chain := 0
	for p.err == nil {
		bind := p.strength()
		if bind <= min {
			break
		}
		if chain++; chain > 2000 { // a left-leaning chain is as deep as it is long
			return p.fail(p.tok, "too many operators in one expression", "split it")
		}
		operator := p.tok
		p.advance()
		n := &node{op: opBinary, text: operator.text, left: left, off: left.off, nameOff: operator.off, nameEnd: operator.end}
		if bind == bindType {
			n.op = opType
			n.right = p.typeName()
		} else {
			n.right = p.expression(bind)
		}
		n.end = n.right.end
		left = n
	}
	return left
}

func (p *parser) unary() *node {
	if p.is("-") || p.is("+") {
		operator := p.tok
		if !p.enter() {
			return &node{op: opEmpty}
		}
		defer func() { p.depth-- }()
		p.advance()
		operand := p.unary()
		if operator.text == "-" && operand.op == opLiteral && operand.text == "2147483648" && operand.value.kind() == KindDecimal {
			operand.value = Integer(1 << 31) // the least Integer has no literal of its own
		}
		return &node{op: opUnary, text: operator.text, left: operand, off: operator.off, end: operand.end,
			nameOff: operator.off, nameEnd: operator.end}
	}
	return p.postfix(p.term())
}

func (p *parser) postfix(n *node) *node {
	for chain := 0; p.err == nil; chain++ {
		if chain > 2000 {
			return p.fail(p.tok, "too long a path", "split it")
		}
		switch {
		case p.is("."):
			p.advance()
			t := p.tok
			if t.kind != tokIdent && t.kind != tokQuoted {
				if t.kind == tokSpecial {
					return p.fail(t, "$"+t.text+" cannot follow a dot", "")
				}
				return p.fail(t, "a name must follow the dot", "")
			}
			n = p.invocation(n)
		case p.is("["):
			p.advance()
			index := p.expression(0)
			close := p.expect("]", "`]` is missing")
			n = &node{op: opIndexer, left: n, right: index, off: n.off, end: close.end, nameOff: index.off, nameEnd: index.end}
		default:
			return n
		}
	}
	return n
}

// invocation reads a name or a call, after left and a dot, or alone.
func (p *parser) invocation(left *node) *node {
	t := p.tok
	n := &node{op: opIdent, text: t.text, quoted: t.kind == tokQuoted, left: left, off: t.off, end: t.end, nameOff: t.off, nameEnd: t.end}
	if left != nil {
		n.off = left.off
	}
	p.advance()
	if !p.is("(") {
		return n
	}
	n.op = opCall
	p.advance()
	for !p.is(")") && p.err == nil {
		if len(n.args) > 0 {
			p.expect(",", "`,` or `)` is missing")
		}
		n.args = append(n.args, p.order(n, p.expression(0)))
	}
	n.end = p.tok.end
	p.expect(")", "`)` is missing")
	return n
}

// order reads the asc or desc behind a key of sort().
func (p *parser) order(call, key *node) *node {
	t := p.tok
	if call.text != "sort" || t.kind != tokIdent || t.text != "asc" && t.text != "desc" {
		return key
	}
	p.advance()
	return &node{op: opOrder, text: t.text, left: key, off: key.off, end: t.end, nameOff: t.off, nameEnd: t.end}
}

func (p *parser) term() *node {
	t := p.tok
	n := &node{off: t.off, end: t.end, nameOff: t.off, nameEnd: t.end, text: t.text}
	switch t.kind {
	case tokIdent:
		switch t.text {
		case "true", "false":
			p.advance()
			n.op, n.value = opLiteral, Boolean(t.text == "true")
			return n
		case "and", "or", "xor", "implies", "div", "mod":
			return p.fail(t, "the operator "+t.text+" has nothing on its left", "a column of that name stands in `backticks`")
		}
		return p.invocation(nil)
	case tokQuoted:
		return p.invocation(nil)
	case tokString:
		p.advance()
		n.op, n.value = opLiteral, String(t.text)
		return n
	case tokNumber:
		return p.number(n)
	case tokDate:
		p.advance()
		return p.date(n, t)
	case tokVariable:
		p.advance()
		n.op = opVariable
		return n
	case tokSpecial:
		p.advance()
		switch t.text {
		case "this":
			n.op = opThis
		case "index":
			n.op = opIndex
		default:
			n.op = opTotal
		}
		return n
	case tokSymbol:
		switch t.text {
		case "(":
			p.advance()
			inner := p.expression(0)
			close := p.expect(")", "`)` is missing")
			inner.off, inner.end, inner.paren = t.off, max(inner.end, close.end), true
			return inner
		case "{":
			p.advance()
			close := p.expect("}", "`}` is missing: {} is the empty collection")
			n.op, n.end = opEmpty, close.end
			return n
		}
		return p.fail(t, "a value is missing before `"+t.text+"`", p.doubled(t))
	}
	return p.fail(t, "the expression ends where a value should be", "")
}

// number reads a number and, if a unit follows, a quantity.
func (p *parser) number(n *node) *node {
	t := p.tok
	p.advance()
	n.op = opLiteral
	d, ok := decimalValue(t.text)
	if !ok {
		return p.fail(t, "number is too long", "")
	}
	n.value = d
	if c, scale, small := d.small(); small && scale == 0 && fits32(c) && !hasPoint(t.text) {
		n.value = Integer(c)
		if n.value.Text() != t.text {
			n.value = Integer(c) // 007 is the number 7
		}
	}
	var unit *fhir.Node
	calendar := false
	switch {
	case p.tok.kind == tokString:
		unit = &fhir.Node{Kind: fhir.String, Text: p.tok.text}
	case p.tok.kind == tokIdent && calendarUnit(p.tok.text) != unitNone:
		unit, calendar = &fhir.Node{Kind: fhir.String, Text: p.tok.text}, true
	default:
		return n
	}
	n.end = p.tok.end
	p.advance()
	d = d.withText(t.text)
	n.value = quantityOf(d, unit, calendar)
	return n
}

func hasPoint(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			return true
		}
	}
	return false
}

func (p *parser) date(n *node, t token) *node {
	n.op = opLiteral
	var ok bool
	switch {
	case len(t.text) > 0 && t.text[0] == 'T':
		n.value, ok = parseTime(t.text[1:])
	default:
		if n.value, ok = parseDate(t.text); !ok {
			n.value, ok = parseDateTime(t.text)
		}
	}
	if !ok {
		return p.fail(t, "no such date or time", "as in @2014-01-25, @2014-01-25T14:30:00Z, @T14:30")
	}
	return n
}

// typeName reads the type after is or as: Name or Namespace.Name.
func (p *parser) typeName() *node {
	t := p.tok
	if t.kind != tokIdent && t.kind != tokQuoted {
		return p.fail(t, "the name of a type is missing", "as in Quantity, FHIR.Patient or System.String")
	}
	p.advance()
	n := &node{op: opIdent, text: t.text, off: t.off, end: t.end, nameOff: t.off, nameEnd: t.end}
	if p.is(".") {
		p.advance()
		t = p.tok
		if t.kind != tokIdent && t.kind != tokQuoted {
			return p.fail(t, "the name of a type is missing", "as in FHIR.Patient")
		}
		p.advance()
		n = &node{op: opIdent, text: t.text, left: n, off: n.off, end: t.end, nameOff: t.off, nameEnd: t.end}
	}
	return n
}
