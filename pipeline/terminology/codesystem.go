package terminology

import (
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// CodeSystem is a code system whose codes are at hand, or follow a grammar that the program knows. It is immutable and
// may be used concurrently. The nil code system has no code and is not complete.
type CodeSystem struct {
	url, version string
	complete     bool // what is not among the concepts is not a code of the system
	fold         bool // upper and lower case make no difference (caseSensitive is false)
	isA          bool // the hierarchy is one of kinds

	text       string // all codes and displays, one after the other: hundreds of thousands of strings would cost more than they hold
	concepts   []concept
	seed       maphash.Seed
	slots      []int32 // hash table of the codes, folded if fold: place in concepts + 1, 0 for none; a power of two
	parents    links   // concept → its parents
	properties map[string]*property

	beyond func(code string) bool // codes that the list does not mean to have, though it is complete otherwise
	lacks  string                 // what those are

	grammar *grammar // instead of concepts
	walks   sync.Pool
}

// concept is one code.
type concept struct {
	code, display      span
	abstract, inactive bool // abstract: groups others, and is not a value itself
}

// span is a piece of CodeSystem.text.
type span struct{ start, size uint32 }

func (c *CodeSystem) piece(s span) string      { return c.text[s.start : s.start+s.size] }
func (c *CodeSystem) codeAt(i int32) string    { return c.piece(c.concepts[i].code) }
func (c *CodeSystem) displayAt(i int32) string { return c.piece(c.concepts[i].display) }

// links are pairs of a concept and what it is linked to, in the order of the concepts.
type links struct {
	start []int32 // of each concept in to, and the end of the last
	to    []int32
}

func (l *links) of(i int32) []int32 {
	if len(l.start) == 0 {
		return nil
	}
	return l.to[l.start[i]:l.start[i+1]]
}

// link is one pair while links are built.
type link struct{ from, to int32 }

func newLinks(n int, pairs []link) links {
	if len(pairs) == 0 {
		return links{}
	}
	l := links{start: make([]int32, n+1), to: make([]int32, len(pairs))}
	for _, p := range pairs {
		l.start[p.from+1]++
	}
	for i := range n {
		l.start[i+1] += l.start[i]
	}
	next := slices.Clone(l.start[:n])
	for _, p := range pairs {
		l.to[next[p.from]] = p.to
		next[p.from]++
	}
	return l
}

// property holds the values that concepts have of one property.
type property struct {
	values links    // concept → place in texts
	texts  []string // each value once
}

// URL is the URI of the system, without a version.
func (c *CodeSystem) URL() string {
	if c == nil {
		return ""
	}
	return c.url
}

// Version is the version of the system as its source gives it, or "".
func (c *CodeSystem) Version() string {
	if c == nil {
		return ""
	}
	return c.version
}

// Complete tells whether all codes of the system are at hand, so that a code which Has does not know is none.
func (c *CodeSystem) Complete() bool { return c != nil && c.complete }

// Len is how many codes are listed; 0 for a system that follows a grammar.
func (c *CodeSystem) Len() int {
	if c == nil {
		return 0
	}
	return len(c.concepts)
}

// Has tells whether the code is one of the system, abstract and inactive ones included. It does not allocate.
func (c *CodeSystem) Has(code string) bool { return c.has(code) == In }

// has is three-valued: NotKnown for a code that is not among those at hand of a system that has more.
func (c *CodeSystem) has(code string) Verdict {
	switch {
	case c == nil:
		return NotKnown
	case c.grammar != nil:
		return c.grammar.has(code)
	case c.at(code) >= 0:
		return In
	case c.complete && (c.beyond == nil || !c.beyond(code)):
		return NotIn
	}
	return NotKnown
}

// at is the place of a code among the concepts, or -1.
func (c *CodeSystem) at(code string) int32 {
	i, _ := c.find(code)
	return i
}

// find is the place of a code among the concepts, or -1 and the slot where it would be noted.
func (c *CodeSystem) find(code string) (at int32, slot uint64) {
	if len(c.slots) == 0 {
		return -1, 0
	}
	mask := uint64(len(c.slots) - 1)
	for slot = c.hash(code) & mask; c.slots[slot] != 0; slot = (slot + 1) & mask {
		if i := c.slots[slot] - 1; c.codeAt(i) == code || c.fold && strings.EqualFold(c.codeAt(i), code) {
			return i, slot
		}
	}
	return -1, slot
}

func (c *CodeSystem) hash(code string) uint64 {
	if c.fold {
		var buffer [64]byte
		return maphash.Bytes(c.seed, folded(buffer[:0], code))
	}
	return maphash.String(c.seed, code)
}

// folded appends the code in lower case; ASCII without allocation.
func folded(dst []byte, code string) []byte {
	for i := 0; i < len(code); i++ {
		b := code[i]
		if b >= 0x80 {
			return append(dst[:0], strings.ToLower(code)...)
		}
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// Display is the name of a code; false if the code is not at hand or has none.
func (c *CodeSystem) Display(code string) (string, bool) {
	if c == nil || c.grammar != nil {
		return "", false
	}
	if i := c.at(code); i >= 0 && c.concepts[i].display.size > 0 {
		return c.displayAt(i), true
	}
	return "", false
}

// What [CodeSystem.Subsumes] returns, in the words of R4's concept-subsumption-outcome.
const (
	Equivalent  = "equivalent"
	Subsumes    = "subsumes"
	SubsumedBy  = "subsumed-by"
	NotSubsumed = "not-subsumed"
)

// Subsumes tells how two codes stand to each other: whether a is a kind of b or b of a (R4 codesystem-operation-subsumes).
// It is not ok if one of the codes is not at hand, or if the hierarchy of the system is not one of kinds.
func (c *CodeSystem) Subsumes(a, b string) (outcome string, ok bool) {
	if c.has(a) != In || c.has(b) != In {
		return "", false
	}
	if c.grammar != nil {
		if a == b {
			return Equivalent, true
		}
		return "", false
	}
	x, y := c.at(a), c.at(b)
	switch {
	case x == y:
		return Equivalent, true
	case !c.isA:
		return "", false
	case c.under(y, x):
		return Subsumes, true
	case c.under(x, y):
		return SubsumedBy, true
	case !c.complete:
		return "", false
	}
	return NotSubsumed, true
}

// walk is what a climb through the parents remembers, kept for the next one.
type walk struct {
	seen  []uint32 // concept → number of the climb that came by
	climb uint32
	stack []int32
}

// under tells whether a concept is the ancestor or below it. It climbs the parents, since a closure of all pairs would
// take gigabytes for SNOMED CT.
func (c *CodeSystem) under(i, ancestor int32) bool {
	// As long as there is one parent there is nothing to remember; a loop is left after as many steps as there are concepts.
	for range c.concepts {
		if i == ancestor {
			return true
		}
		parents := c.parents.of(i)
		if len(parents) == 0 {
			return false
		}
		if len(parents) > 1 {
			return c.climb(i, ancestor)
		}
		i = parents[0]
	}
	return false
}

func (c *CodeSystem) climb(i, ancestor int32) bool {
	w, _ := c.walks.Get().(*walk)
	if w == nil {
		w = &walk{seen: make([]uint32, len(c.concepts))}
	}
	defer c.walks.Put(w)
	if w.climb++; w.climb == 0 {
		clear(w.seen)
		w.climb = 1
	}
	w.stack = append(w.stack[:0], i)
	for len(w.stack) > 0 {
		i := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if i == ancestor {
			return true
		}
		for _, p := range c.parents.of(i) {
			if w.seen[p] != w.climb {
				w.seen[p] = w.climb
				w.stack = append(w.stack, p)
			}
		}
	}
	return false
}

// builder makes a CodeSystem. Texts that are given to it are copied.
type builder struct {
	c       *CodeSystem
	text    strings.Builder // what c.text is a view of
	full    bool            // there was more text than a code system can hold
	parents []link
	linked  map[string][]link // property → concept and place of the value in its texts
	values  map[string]map[string]int32
}

func newBuilder(url, version string) *builder {
	return &builder{
		c:      &CodeSystem{url: url, version: version, isA: true, complete: true, seed: maphash.MakeSeed(), properties: map[string]*property{}},
		linked: map[string][]link{}, values: map[string]map[string]int32{},
	}
}

func (b *builder) keep(text string) span {
	start := b.text.Len()
	if uint64(start)+uint64(len(text)) > math.MaxUint32 || len(b.c.concepts) == math.MaxInt32-1 {
		b.full = true
		return span{}
	}
	b.text.WriteString(text)
	b.c.text = b.text.String()
	return span{uint32(start), uint32(len(text))}
}

// add adds a code; the first of two that are the same stays, which the second answer tells.
func (b *builder) add(code, display string) (at int32, fresh bool) {
	c := b.c
	if 3*(len(c.concepts)+1) > 2*len(c.slots) {
		c.slots = make([]int32, max(8, 2*len(c.slots)))
		for i := range c.concepts {
			_, slot := c.find(c.codeAt(int32(i)))
			c.slots[slot] = int32(i) + 1
		}
	}
	at, slot := c.find(code)
	if at >= 0 {
		return at, false
	}
	at = int32(len(c.concepts))
	c.concepts = append(c.concepts, concept{code: b.keep(code), display: b.keep(display)})
	c.slots[slot] = at + 1
	return at, true
}

// value gives a concept a value of a property.
func (b *builder) value(at int32, name, text string) {
	p := b.c.properties[name]
	if p == nil {
		p = b.declare(name)
	}
	to, ok := b.values[name][text]
	if !ok {
		text = strings.Clone(text)
		to = int32(len(p.texts))
		p.texts = append(p.texts, text)
		b.values[name][text] = to
	}
	b.linked[name] = append(b.linked[name], link{at, to})
}

// declare says that the system has the property, though perhaps no concept a value of it.
func (b *builder) declare(name string) *property {
	p := b.c.properties[name]
	if p == nil {
		p = &property{}
		b.c.properties[name], b.values[name] = p, map[string]int32{}
	}
	return p
}

func (b *builder) finish() *CodeSystem {
	b.c.concepts, b.c.text = slices.Clone(b.c.concepts), strings.Clone(b.c.text) // without what grew in vain
	b.c.parents = newLinks(len(b.c.concepts), b.parents)
	for name, p := range b.c.properties {
		p.values = newLinks(len(b.c.concepts), b.linked[name])
	}
	return b.c
}

// The properties that R4 gives a meaning (concept-properties); a code system may call them otherwise.
const (
	propertyParent        = "parent"
	propertyChild         = "child"
	propertyNotSelectable = "notSelectable"
	propertyInactive      = "inactive"
	propertyStatus        = "status"
	conceptProperties     = "http://hl7.org/fhir/concept-properties#"
)

// compileSystem makes a code system of a CodeSystem resource, or nil if the resource lists no codes.
func compileSystem(n *fhir.Node) *CodeSystem {
	content := n.Get("content").Str()
	if content == "not-present" || content == "supplement" {
		return nil
	}
	b := newBuilder(n.Get("url").Str(), n.Get("version").Str())
	b.c.complete = content == "complete"
	b.c.fold = n.Get("caseSensitive") != nil && n.Get("caseSensitive").Text == "false"
	meaning := n.Get("hierarchyMeaning").Str()
	b.c.isA = meaning == "" || meaning == "is-a"
	r := resourceReader{b: b, means: map[string]string{}}
	for _, p := range items(n, "property") {
		code := p.Get("code").Str()
		b.declare(code)
		if meaning, ok := strings.CutPrefix(p.Get("uri").Str(), conceptProperties); ok {
			r.means[code] = meaning
		}
	}
	r.list(n, -1)
	for _, l := range r.later {
		if other := b.c.at(l.code); other >= 0 {
			if l.child {
				b.parents = append(b.parents, link{other, l.at})
			} else {
				b.parents = append(b.parents, link{l.at, other})
			}
		}
	}
	return b.finish()
}

// resourceReader reads the concepts of a resource.
type resourceReader struct {
	b     *builder
	means map[string]string // property → its meaning, where the resource gives one
	later []named           // parents and children by code, which may come later
}

type named struct {
	at    int32
	code  string
	child bool
}

func (r *resourceReader) list(n *fhir.Node, parent int32) {
	for _, item := range items(n, "concept") {
		code := item.Get("code").Str()
		if code == "" {
			continue
		}
		at, fresh := r.b.add(code, item.Get("display").Str())
		if parent >= 0 {
			r.b.parents = append(r.b.parents, link{at, parent})
		}
		if fresh {
			for _, p := range items(item, "property") {
				r.property(at, p)
			}
		}
		r.list(item, at)
	}
}

func (r *resourceReader) property(at int32, p *fhir.Node) {
	name, text := p.Get("code").Str(), ""
	for _, m := range p.Members {
		if strings.HasPrefix(m.Name, "value") {
			text = m.Value.Text
			if m.Value.Kind == fhir.Object {
				text = m.Value.Get("code").Str()
			}
		}
	}
	r.b.value(at, name, text)
	meaning := r.means[name]
	if meaning == "" {
		meaning = name
	}
	c := &r.b.c.concepts[at]
	switch meaning {
	case propertyParent, propertyChild:
		r.later = append(r.later, named{at, text, meaning == propertyChild})
	case propertyNotSelectable:
		c.abstract = text == "true"
	case propertyInactive:
		c.inactive = text == "true"
	case propertyStatus:
		c.inactive = c.inactive || text == "retired" || text == "inactive"
	}
}

// items are the entries of a member that is a list.
func items(n *fhir.Node, name string) []*fhir.Node {
	if list := n.Get(name); list != nil {
		return list.Items
	}
	return nil
}
