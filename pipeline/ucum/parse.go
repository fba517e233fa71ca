package ucum

import (
	"math/big"
	"strings"
)

// parser reads a unit by the grammar of UCUM, § 1 to 12.
type parser struct {
	s   string
	pos int
	ok  bool

	known map[string]atomUnit // the atoms
}

// parse reads a unit; nil if it is none.
func parse(code string, known map[string]atomUnit) *Unit {
	if code == "" {
		return nil
	}
	for _, c := range []byte(code) {
		if c < '!' || c > '~' { // UCUM § 3
			return nil
		}
	}
	p := &parser{s: code, ok: true, known: known}
	var u *Unit
	if code[0] == '/' {
		p.pos++
		u = invert(p.component(0))
		u = p.rest(u, 0)
	} else {
		u = p.term(0)
	}
	if !p.ok || p.pos != len(code) {
		return nil
	}
	return u
}

// term reads components joined by `.` and `/`, from left to right.
func (p *parser) term(depth int) *Unit { return p.rest(p.component(depth), depth) }

// rest reads what follows the first component of a term.
func (p *parser) rest(u *Unit, depth int) *Unit {
	for p.ok && p.pos < len(p.s) && (p.s[p.pos] == '.' || p.s[p.pos] == '/') {
		divide := p.s[p.pos] == '/'
		p.pos++
		right := p.component(depth)
		if divide {
			right = invert(right)
		}
		u = multiply(u, right)
	}
	return u
}

func (p *parser) fail() *Unit {
	p.ok = false
	return nil
}

func (p *parser) component(depth int) *Unit {
	if depth > 20 || p.pos >= len(p.s) {
		return p.fail()
	}
	switch c := p.s[p.pos]; c {
	case '(':
		p.pos++
		u := p.term(depth + 1)
		if p.pos >= len(p.s) || p.s[p.pos] != ')' {
			return p.fail()
		}
		p.pos++
		return p.annotated(p.exponent(u))
	case '{':
		return p.annotated(one())
	}
	start := p.pos
	for p.pos < len(p.s) && !strings.ContainsRune("./(){}", rune(p.s[p.pos])) {
		if p.s[p.pos] == '[' {
			end := strings.IndexByte(p.s[p.pos:], ']')
			if end < 0 {
				return p.fail()
			}
			p.pos += end
		}
		p.pos++
	}
	u := p.simple(p.s[start:p.pos])
	if u == nil {
		return p.fail()
	}
	return p.annotated(u)
}

// annotated reads the annotation that may follow, and keeps it: it does not change the magnitude, but says what is
// measured.
func (p *parser) annotated(u *Unit) *Unit {
	if u == nil || p.pos >= len(p.s) || p.s[p.pos] != '{' {
		return u
	}
	end := strings.IndexByte(p.s[p.pos:], '}')
	if end < 0 || strings.IndexByte(p.s[p.pos+1:p.pos+end], '{') >= 0 {
		return p.fail()
	}
	r := *u
	r.notes, _ = u.notes.times(powers{p.s[p.pos+1 : p.pos+end]: 1}, 1) // one more is within bounds
	p.pos += end + 1
	return &r
}

// exponent reads the signed digits after a parenthesis.
func (p *parser) exponent(u *Unit) *Unit {
	start := p.pos
	if p.pos < len(p.s) && (p.s[p.pos] == '+' || p.s[p.pos] == '-') {
		p.pos++
	}
	for p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9' {
		p.pos++
	}
	if start == p.pos {
		return u
	}
	n, ok := integer(p.s[start:p.pos])
	if !ok {
		return p.fail()
	}
	return power(u, n)
}

func integer(s string) (int, bool) {
	neg := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// simple reads a number, or a prefix, an atom and an exponent: 10*3, mmol, m2, kg, s-1.
func (p *parser) simple(s string) *Unit {
	if allDigits(s) {
		r, _ := new(big.Rat).SetString(s)
		if r.Sign() == 0 {
			return nil
		}
		return &Unit{factor: r}
	}
	if u := p.atom(s); u != nil {
		return u
	}
	i := len(s)
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' {
		i--
	}
	if i < len(s) && i > 0 && (s[i-1] == '+' || s[i-1] == '-') {
		i--
	}
	if i == 0 || i == len(s) {
		return nil
	}
	n, ok := integer(s[i:])
	if !ok {
		return nil
	}
	return power(p.atom(s[:i]), n)
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 30
}

func (p *parser) atom(s string) *Unit {
	if u, ok := p.known[s]; ok {
		return u.Unit
	}
	for _, prefix := range prefixes {
		rest, ok := strings.CutPrefix(s, prefix.code)
		if !ok {
			continue
		}
		// A prefix of a special unit scales the number that its function takes (UCUM § 21).
		if u, ok := p.known[rest]; ok && u.metric {
			r := *u.Unit
			r.factor = new(big.Rat).Mul(u.factor, rational(prefix.value))
			return &r
		}
	}
	return nil
}
