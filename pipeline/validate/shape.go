package validate

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// Judge checks many resources that are alike, as a mapping makes them, fast. Nearly all rules ask which elements are
// there, and what is in codes: they have one answer for all resources of one shape, that is, with the same members and the
// same codes, whatever their dates, numbers and texts. So each shape is checked once, by a [Checker], and remembered. Each
// resource is read once, as bytes, to tell its shape and to see that each value has the form of its type; the few rules
// that compare what a shape leaves out (a period's start and end) are asked each time.
//
// It gives the issues that a Checker gives, but for their places in the text. It is not for concurrent use.
type Judge struct {
	c     *Checker
	known map[string]*verdict // by shape

	text  []byte
	shape []byte
	spots []spot
	named map[*fhir.Element]bool // elements whose text counts as part of the shape, because a rule asks for it
}

// verdict is what is remembered of a shape.
type verdict struct {
	issues    []Issue
	unchecked []*uncheckedCount
	never     bool // of this shape nothing can be remembered: a rule asks for what it leaves out
}

// learning is what a Checker notes while it checks a shape for the first time.
type learning struct {
	unchecked []*uncheckedCount
	never     bool
	named     []*fhir.Element
}

// spot is an object of the resource that invariants must be asked about each time.
type spot struct {
	start, end int
	typ        *fhir.Type
	asks       []*invariant
}

// maxShapes bounds what a Judge remembers.
const maxShapes = 50_000

// Judge makes one.
func (v *Validator) Judge() *Judge {
	return &Judge{c: v.Checker(), known: map[string]*verdict{}, named: map[*fhir.Element]bool{}}
}

// Resource checks a resource of the type, given as JSON. The issues are valid until the next call.
func (j *Judge) Resource(t *fhir.Type, text []byte) []Issue {
	r := j.c.v.rulesOf(t)
	if !j.read(r, text) {
		return j.c.Text(text)
	}
	v := j.known[string(j.shape)]
	if v == nil {
		v = j.learn(r, text)
	}
	if v.never || !j.ask() {
		return j.c.Text(text)
	}
	for _, n := range v.unchecked {
		n.n.Add(1)
	}
	return v.issues
}

// learn checks the first resource of a shape.
func (j *Judge) learn(r *typeRules, text []byte) *verdict {
	l := &learning{}
	j.c.learn = l
	issues := j.c.Text(text)
	j.c.learn = nil
	v := &verdict{never: l.never, unchecked: l.unchecked, issues: slices.Clone(issues)}
	for i := range v.issues {
		v.issues[i].At = 0
	}
	if len(l.named) > 0 && !l.never {
		// From now on the shape says more. What was remembered without these texts may be wrong.
		for _, e := range l.named {
			j.named[e] = true
		}
		clear(j.known)
		if !j.read(r, text) {
			return &verdict{never: true}
		}
	}
	if len(j.known) >= maxShapes {
		clear(j.known)
	}
	j.known[string(j.shape)] = v
	return v
}

// ask asks the invariants of the spots. False if one of them does not hold, or cannot be checked.
func (j *Judge) ask() bool {
	c := j.c
	for i := range j.spots {
		s := &j.spots[i]
		if s.typ.Name == "Period" && len(s.asks) == 1 && inOrder(j.text[s.start:s.end]) {
			continue
		}
		n, err := fhir.Parse(j.text[s.start:s.end])
		if err != nil {
			return false
		}
		c.ctx.Reset()
		c.ctx.Resource, c.ctx.RootResource = fhirpath.Value{}, fhirpath.Value{}
		focus := fhirpath.Object(n, s.typ)
		for _, inv := range s.asks {
			if inv.expr == nil {
				continue // it is counted with the shape
			}
			if got, err := inv.expr.One(c.ctx, focus); err != nil || !holding(got) {
				return false
			}
		}
	}
	return true
}

// inOrder tells that a Period certainly holds what per-1 asks: its end and its start are written with the same precision
// and the same zone, so that they compare as texts. Nearly all do.
func inOrder(period []byte) bool {
	start, end := dateIn(period, `"start":"`), dateIn(period, `"end":"`)
	if len(start) == 0 || len(end) == 0 {
		return bytes.Count(period, []byte{'"'}) == 4 // one of them alone
	}
	if len(start) != len(end) || len(start) > 10 && !bytes.Equal(start[19:], end[19:]) {
		return false
	}
	return bytes.Compare(start, end) <= 0
}

// dateIn finds a date in a period that has no white space and whose forms were seen to be valid.
func dateIn(period []byte, name string) []byte {
	at := bytes.Index(period, []byte(name))
	if at < 0 {
		return nil
	}
	text := period[at+len(name):]
	return text[:max(0, bytes.IndexByte(text, '"'))]
}

// The marks between the parts of a shape.
const (
	markItem = iota + 1
	markEnd
	markNull
	markTrue
	markFalse
	markText
)

// read tells the shape of a resource. False if it is not one that a shape can stand for: it is not plain JSON, or holds
// what a type does not have, or other resources.
func (j *Judge) read(r *typeRules, text []byte) bool {
	if r == nil || !utf8.Valid(text) {
		return false
	}
	j.text, j.spots = text, j.spots[:0]
	j.shape = append(append(j.shape[:0], r.typ.Name...), 0)
	end, ok := j.object(j.skip(0), r, nil, 0)
	return ok && j.skip(end) == len(text)
}

// skip passes white space.
func (j *Judge) skip(i int) int {
	for i < len(j.text) && (j.text[i] == ' ' || j.text[i] == '\n' || j.text[i] == '\r' || j.text[i] == '\t') {
		i++
	}
	return i
}

func (j *Judge) at(i int) byte {
	if i < len(j.text) {
		return j.text[i]
	}
	return 0
}

// quoted reads a string without its quotes; plain: it has no escapes. Control characters are none of JSON.
func (j *Judge) quoted(i int) (text []byte, next int, plain, ok bool) {
	if j.at(i) != '"' {
		return nil, 0, false, false
	}
	start := i + 1
	i = start + fhir.PlainLength(view(j.text[start:]))
	plain = j.at(i) == '"'
	for i < len(j.text) {
		switch j.text[i] {
		case '"':
			return j.text[start:i], i + 1, plain, true
		case '\\':
			i += 2
		default:
			return nil, 0, false, false
		}
		if i < len(j.text) {
			i += fhir.PlainLength(view(j.text[i:]))
		}
	}
	return nil, 0, false, false
}

// name reads the name of a member, up to its quote; it is compared with the names of a type, which have no escapes.
func (j *Judge) name(i int) (text []byte, next int) {
	if j.at(i) != '"' {
		return nil, 0
	}
	i++
	end := bytes.IndexByte(j.text[i:], '"')
	if end < 0 {
		return nil, 0
	}
	return j.text[i : i+end], i + end + 1
}

// object reads an object of a type.
func (j *Judge) object(i int, r *typeRules, e *elementRule, depth int) (int, bool) {
	start := i
	if j.at(i) != '{' || depth > maxDepth || r.stuck || e != nil && e.stuck {
		return 0, false
	}
	i = j.skip(i + 1)
	for {
		name, next := j.name(i)
		if len(name) == 0 {
			return 0, false
		}
		if i = j.skip(next); j.at(i) != ':' {
			return 0, false
		}
		i = j.skip(i + 1)
		if r.resource && string(name) == "resourceType" {
			value, next, _, ok := j.quoted(i)
			if !ok || string(value) != r.typ.Name {
				return 0, false
			}
			i = next
		} else {
			m := r.table.find(name)
			if m == nil {
				return 0, false
			}
			j.shape = append(j.shape, byte(m.code>>8), byte(m.code))
			var ok bool
			if i, ok = j.values(i, r, &m.memberRule, name[0] == '_', depth); !ok {
				return 0, false
			}
		}
		i = j.skip(i)
		switch j.at(i) {
		case ',':
			i = j.skip(i + 1)
			continue
		case '}':
		default:
			return 0, false
		}
		break
	}
	i++
	j.shape = append(j.shape, 0, 0)
	if len(r.each) > 0 {
		j.spots = append(j.spots, spot{start, i, r.typ, r.each})
	}
	if e != nil && len(e.each) > 0 {
		j.spots = append(j.spots, spot{start, i, r.typ, e.each})
	}
	return i, true
}

// values reads the value of a member, or the array of them.
func (j *Judge) values(i int, r *typeRules, m *memberRule, under bool, depth int) (int, bool) {
	e := &r.elements[m.element]
	if !e.Repeats() {
		return j.value(i, e, m, under, depth)
	}
	if j.at(i) != '[' {
		return 0, false
	}
	i = j.skip(i + 1)
	for {
		j.shape = append(j.shape, markItem)
		var ok bool
		if i, ok = j.value(i, e, m, under, depth); !ok {
			return 0, false
		}
		i = j.skip(i)
		switch j.at(i) {
		case ',':
			i = j.skip(i + 1)
			continue
		case ']':
			j.shape = append(j.shape, markEnd)
			return i + 1, true
		}
		return 0, false
	}
}

// value reads one value of a member.
func (j *Judge) value(i int, e *elementRule, m *memberRule, under bool, depth int) (int, bool) {
	if m.typ.Kind == fhir.KindResource {
		return 0, false
	}
	if m.typ.Kind != fhir.KindPrimitive {
		return j.object(i, m.rules, e, depth+1)
	}
	if j.at(i) == 'n' {
		if i+4 > len(j.text) || string(j.text[i:i+4]) != "null" || !e.Repeats() {
			return 0, false
		}
		j.shape = append(j.shape, markNull)
		return i + 4, true
	}
	if under {
		return j.object(i, m.rules, nil, depth+1)
	}
	if e.stuck || len(e.each) > 0 || m.rules.stuck || len(m.rules.each) > 0 {
		return 0, false // invariants about what is in a primitive
	}
	switch m.leaf {
	case leafBoolean:
		switch {
		case i+4 <= len(j.text) && string(j.text[i:i+4]) == "true":
			j.shape = append(j.shape, markTrue)
			return i + 4, true
		case i+5 <= len(j.text) && string(j.text[i:i+5]) == "false":
			j.shape = append(j.shape, markFalse)
			return i + 5, true
		}
		return 0, false
	case leafNumber:
		start := i
		for i < len(j.text) && j.text[i] != ',' && j.text[i] != '}' && j.text[i] != ']' && j.text[i] > ' ' {
			i++
		}
		return i, m.typ.Valid(view(j.text[start:i]))
	}
	text, next, plain, ok := j.quoted(i)
	if !ok {
		return 0, false
	}
	if !plain {
		if !m.text || m.leaf != leafText || j.named[e.Element] || !escaped(text) {
			return 0, false
		}
		return next, true
	}
	// Of a string, nothing but its length is left to see.
	if m.text && (len(text) == 0 || len(text) > 1<<20) || !m.text && !m.typ.Valid(view(text)) {
		return 0, false
	}
	switch m.leaf {
	case leafCode:
		j.content(text)
	case leafDate:
		j.shape = append(j.shape, byte(len(text)))
	case leafReference:
		return next, j.reference(view(text))
	case leafNarrative:
		return 0, false
	case leafText:
		if len(j.named) > 0 && j.named[e.Element] {
			j.content(text)
		}
	}
	return next, true
}

// content makes a text part of the shape.
func (j *Judge) content(text []byte) {
	j.shape = binary.AppendUvarint(append(j.shape, markText), uint64(len(text)))
	j.shape = append(j.shape, text...)
}

// reference makes part of the shape what rules ask of a reference: its form, and the type it names.
func (j *Judge) reference(text string) bool {
	if text == "" || text[0] == '#' {
		return false
	}
	var form byte
	if absolute(text) {
		form |= 1
	}
	if conditional(text) {
		form |= 2
	}
	typ := typeOfReference(text)
	j.shape = append(j.shape, form, byte(len(typ)))
	j.shape = append(j.shape, typ...)
	return true
}

// escaped tells whether a text with escapes is certainly of the form of a string: quotes, slashes, line ends and tabs.
func escaped(text []byte) bool {
	if len(text) > 1<<20 {
		return false
	}
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
			switch text[i] { // quoted saw that something follows
			case '"', '\\', '/', 'n', 'r', 't':
			default:
				return false
			}
		}
	}
	return true
}

// nameTable finds the members of a type by name: what is asked for each member of each resource.
type nameTable struct {
	slots []*namedRule
	mask  uint32
}

type namedRule struct {
	memberRule
	name string
}

func newNameTable(members map[string]memberRule) nameTable {
	size := 8
	for size < 2*len(members) {
		size *= 2
	}
	t := nameTable{make([]*namedRule, size), uint32(size - 1)}
	for name, m := range members {
		i := nameHash(name) & t.mask
		for t.slots[i] != nil {
			i = (i + 1) & t.mask
		}
		t.slots[i] = &namedRule{m, name}
	}
	return t
}

// nameHash mixes the length and three letters of a name, which is not empty.
func nameHash[T string | []byte](name T) uint32 {
	n := len(name)
	return uint32(n)*0x9e3779b1 ^ uint32(name[0])*0x85ebca6b ^ uint32(name[n/2])*0xc2b2ae35 ^ uint32(name[n-1])*0x27d4eb2f>>3
}

func (t *nameTable) find(name []byte) *namedRule {
	for i := nameHash(name) & t.mask; ; i = (i + 1) & t.mask {
		m := t.slots[i]
		if m == nil || m.name == string(name) {
			return m
		}
	}
}

// view is the bytes as a text that is not kept.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// leaf says how a primitive takes part in a shape.
type leaf uint8

const (
	leafText      leaf = iota // its content does not count: texts, numbers in text, ids
	leafCode                  // its content counts: codes, URIs, and whatever stands in a coding
	leafDate                  // its precision counts
	leafNumber                // its content does not count
	leafBoolean               // its content counts
	leafReference             // the type that it points to counts
	leafNarrative             // never: it is checked each time
)

// leafOf is how a primitive that is an element of a type takes part.
func leafOf(of *fhir.Type, name string, t *fhir.Type) leaf {
	switch t.Name {
	case "code", "uri", "canonical":
		return leafCode
	case "date", "dateTime", "instant", "time":
		return leafDate
	case "boolean":
		return leafBoolean
	case "integer", "positiveInt", "unsignedInt", "decimal":
		return leafNumber
	case "xhtml":
		return leafNarrative
	}
	switch {
	case of.Name == "Coding" || of.Name == "CodeableConcept":
		return leafCode
	case of.Name == "Reference" && name == "reference":
		return leafReference
	}
	return leafText
}

// beyond tells whether an expression asks for content that shapes leave out.
func beyond(e *fhirpath.Expr) bool {
	for _, st := range e.Contents() {
		if leftOut(st, false) {
			return true
		}
	}
	for _, st := range e.Lengths() {
		if leftOut(st, true) {
			return true
		}
	}
	return false
}

// leftOut tells whether values of the type have content, or a length, that is not part of a shape.
func leftOut(st fhirpath.StaticType, length bool) bool {
	if types := append(st.Choice[:len(st.Choice):len(st.Choice)], st.FHIR); len(st.Choice) > 0 || st.FHIR != nil {
		return slices.ContainsFunc(types, func(t *fhir.Type) bool {
			// What is not a primitive has no text, and so no length.
			return t != nil && (!length || t.Kind == fhir.KindPrimitive) && typeLeftOut(t, length)
		})
	}
	// Of a type of FHIRPath itself: made by the expression, whose parts were looked at. Anything else is not known.
	return st.Kinds.Has(fhirpath.KindObject)
}

func typeLeftOut(t *fhir.Type, length bool) bool {
	if t.Kind != fhir.KindPrimitive {
		return t.Name != "Coding" && t.Name != "CodeableConcept"
	}
	switch leafOf(t, "", t) {
	case leafCode, leafBoolean:
		return false
	case leafDate:
		return !length
	}
	return true
}
