package fhir

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects may be nested for [Parse].
const MaxDepth = 200

// SyntaxError says where and why a text is not the JSON that FHIR allows. It holds nothing of the text.
type SyntaxError struct {
	Line, Column int    // from 1; the column counts bytes
	Problem      string // one of a fixed set of sentences
}

// Error is `line:column: problem`.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Problem) }

// Parse reads one JSON value (RFC 8259) with nothing but white space around it. Beyond encoding/json it refuses two
// members of one name in an object (json.html: "JSON objects … property names are unique"), bytes that are not UTF-8,
// escapes of half a surrogate pair, and nesting deeper than [MaxDepth]. Numbers stay as they are written. Faults are of
// type *[SyntaxError]. The data may be reused afterwards.
func Parse(data []byte) (*Node, error) {
	p := parser{src: string(data)}
	if !utf8.ValidString(p.src) {
		for p.pos < len(p.src) {
			r, size := utf8.DecodeRuneInString(p.src[p.pos:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			p.pos += size
		}
		p.fault("a byte that is not UTF-8")
		return nil, p.err
	}
	p.space()
	n := p.value(0)
	if p.err == nil {
		if p.space(); p.pos < len(p.src) {
			p.fault("something follows the value")
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return n, nil
}

// parser is one run of Parse. After the first fault err is set and every method returns at once.
type parser struct {
	src string
	pos int
	err *SyntaxError

	// Open objects and arrays collect their content on these stacks, so that what is kept has the exact size.
	members []Member
	items   []*Node

	// What is kept is cut from slabs.
	nodeSlab   []Node
	memberSlab []Member
	itemSlab   []*Node

	text  []byte              // a string with escapes while it is decoded
	names map[string]struct{} // of one large object
}

func (p *parser) fault(problem string) *Node {
	if p.err == nil {
		before := p.src[:p.pos]
		p.err = &SyntaxError{
			Line:    1 + strings.Count(before, "\n"),
			Column:  p.pos - strings.LastIndexByte(before, '\n'),
			Problem: problem,
		}
	}
	return nil
}

func (p *parser) space() {
	for p.pos < len(p.src) {
		if c := p.src[p.pos]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return
		}
		p.pos++
	}
}

// peek is the next byte, 0 at the end. (A zero byte is allowed nowhere outside of strings, so the two need not be told
// apart.)
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// slabSize bounds how much a small document allocates ahead: the rest of the text cannot hold more values than half
// its bytes, and seldom more than a sixteenth.
func (p *parser) slabSize(least int) int { return max(least, min((len(p.src)-p.pos)/16, 256)) }

func (p *parser) node(kind NodeKind, text string, at int) *Node {
	if len(p.nodeSlab) == 0 {
		p.nodeSlab = make([]Node, p.slabSize(1))
	}
	n := &p.nodeSlab[0]
	p.nodeSlab = p.nodeSlab[1:]
	n.Kind, n.Text, n.at = kind, text, uint32(at) // of a text beyond 4 GiB, which nobody parses whole, the place is lost
	return n
}

func (p *parser) value(depth int) *Node {
	switch c := p.peek(); c {
	case '{':
		if depth == MaxDepth {
			return p.fault("nested too deeply")
		}
		return p.object(depth + 1)
	case '[':
		if depth == MaxDepth {
			return p.fault("nested too deeply")
		}
		return p.array(depth + 1)
	case '"':
		at := p.pos
		text := p.string()
		if p.err != nil {
			return nil
		}
		return p.node(String, text, at)
	case 't':
		return p.literal("true", Boolean)
	case 'f':
		return p.literal("false", Boolean)
	case 'n':
		return p.literal("null", Null)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.number()
	}
	if p.pos >= len(p.src) {
		return p.fault("the text ends where a value should stand")
	}
	if strings.HasPrefix(p.src[p.pos:], "\ufeff") {
		return p.fault("a byte order mark")
	}
	return p.fault("no value begins like this")
}

func (p *parser) literal(word string, kind NodeKind) *Node {
	if !strings.HasPrefix(p.src[p.pos:], word) {
		return p.fault("no value begins like this")
	}
	at := p.pos
	p.pos += len(word)
	if kind == Null {
		word = ""
	}
	return p.node(kind, word, at)
}

func (p *parser) number() *Node {
	end := p.pos
	for end < len(p.src) {
		c := p.src[end]
		if !isDigit(c) && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		end++
	}
	literal := p.src[p.pos:end]
	if !IsNumber(literal) {
		return p.fault("not a number of JSON")
	}
	at := p.pos
	p.pos = end
	return p.node(Number, literal, at)
}

func (p *parser) array(depth int) *Node {
	n := p.node(Array, "", p.pos)
	base := len(p.items)
	p.pos++
	if p.space(); p.peek() == ']' {
		p.pos++
		return n
	}
	for {
		item := p.value(depth)
		if p.err != nil {
			return nil
		}
		p.items = append(p.items, item)
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
			p.space()
			continue
		case ']':
			p.pos++
		default:
			return p.fault("`,` or `]` should stand here")
		}
		break
	}
	count := len(p.items) - base
	if len(p.itemSlab) < count {
		p.itemSlab = make([]*Node, max(count, p.slabSize(count)/4))
	}
	n.Items, p.itemSlab = p.itemSlab[:count:count], p.itemSlab[count:]
	copy(n.Items, p.items[base:])
	p.items = p.items[:base]
	return n
}

func (p *parser) object(depth int) *Node {
	n := p.node(Object, "", p.pos)
	base := len(p.members)
	p.pos++
	if p.space(); p.peek() == '}' {
		p.pos++
		return n
	}
	for {
		if p.peek() != '"' {
			return p.fault("the name of a member should stand here")
		}
		name := p.string()
		if p.space(); p.err == nil && p.peek() != ':' {
			return p.fault("`:` should stand here")
		}
		p.pos++
		p.space()
		value := p.value(depth)
		if p.err != nil {
			return nil
		}
		p.members = append(p.members, Member{Name: name, Value: value})
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
			p.space()
			continue
		case '}':
			p.pos++
		default:
			return p.fault("`,` or `}` should stand here")
		}
		break
	}
	members := p.members[base:]
	if p.doubled(members) {
		p.pos-- // the object's end
		return p.fault("two members of this object have the same name")
	}
	count := len(members)
	if len(p.memberSlab) < count {
		p.memberSlab = make([]Member, max(count, p.slabSize(count)/2))
	}
	n.Members, p.memberSlab = p.memberSlab[:count:count], p.memberSlab[count:]
	copy(n.Members, members)
	clear(members)
	p.members = p.members[:base]
	return n
}

// doubled tells whether two members have the same name. Small objects are compared pairwise; a wide one, which may be
// hostile, goes through a map.
func (p *parser) doubled(members []Member) bool {
	if len(members) <= 24 {
		for i := 1; i < len(members); i++ {
			name := members[i].Name
			for j := range i {
				if members[j].Name == name {
					return true
				}
			}
		}
		return false
	}
	if p.names == nil {
		p.names = make(map[string]struct{}, len(members))
	}
	clear(p.names)
	for i := range members {
		p.names[members[i].Name] = struct{}{}
	}
	return len(p.names) < len(members)
}

// stringEnd marks the bytes at which the fast path through a string stops.
var stringEnd = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// PlainLength is the number of bytes at the beginning of s that a JSON string holds as they are: no quote, no backslash, no
// control character. They are looked at eight at a time.
func PlainLength(s string) int {
	i := 0
	for i+8 <= len(s) && quiet(s[i:]) {
		i += 8
	}
	for i < len(s) && !stringEnd[s[i]] {
		i++
	}
	return i
}

// quiet tells that none of the first eight bytes is a quote, a backslash or a control character. A borrow between bytes
// can make it false for such bytes, never true for others.
func quiet(s string) bool { return quietWord(word(s)) }

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// word is the first eight bytes as a number.
func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func quietWord(v uint64) bool {
	quote, slash := v^lowBits*'"', v^lowBits*'\\'
	return ((v-lowBits*' ')&^v|(quote-lowBits)&^quote|(slash-lowBits)&^slash)&highBits == 0
}

// string reads a string; a string without escapes is a piece of the text.
func (p *parser) string() string {
	p.pos++
	start := p.pos
	p.pos += PlainLength(p.src[p.pos:])
	if p.peek() == '"' {
		p.pos++
		return p.src[start : p.pos-1]
	}
	p.text = append(p.text[:0], p.src[start:p.pos]...)
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == '"':
			p.pos++
			return string(p.text)
		case c == '\\':
			if p.escape(); p.err != nil {
				return ""
			}
		case c < ' ':
			p.fault("a control character in a string")
			return ""
		default:
			start := p.pos
			p.pos += PlainLength(p.src[p.pos:])
			p.text = append(p.text, p.src[start:p.pos]...)
		}
	}
	p.fault("the text ends within a string")
	return ""
}

// escape decodes one escape sequence, or two that make a surrogate pair.
func (p *parser) escape() {
	if p.pos+1 >= len(p.src) {
		p.fault("the text ends within a string")
		return
	}
	c := p.src[p.pos+1]
	switch c {
	case '"', '\\', '/':
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
	case 'u':
		p.unicode()
		return
	default:
		p.fault("an escape that JSON does not have")
		return
	}
	p.text = append(p.text, c)
	p.pos += 2
}

func (p *parser) unicode() {
	r, ok := hex4(p.src[p.pos+2:])
	if !ok {
		p.fault("an escape that JSON does not have")
		return
	}
	size := 6
	if utf16.IsSurrogate(r) {
		low := rune(0)
		if rest := p.src[p.pos+size:]; strings.HasPrefix(rest, `\u`) {
			low, _ = hex4(rest[2:])
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			p.fault("half a surrogate pair")
			return
		}
		size = 12
	}
	p.text = utf8.AppendRune(p.text, r)
	p.pos += size
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
