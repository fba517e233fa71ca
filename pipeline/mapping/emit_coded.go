package mapping

import (
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/ucum"
)

// The marks of coding(), concept() and quantity(); translated() leaves its concept map and ref() its target.
type (
	codingMark   struct{}
	conceptMark  struct{}
	quantityMark struct {
		units  *mapSlot
		to     *ucum.Unit // wanted, or nil
		bad    error
		errors map[Code]error
	}
)

// codingText is a Coding that is to be written.
type codingText struct{ system, code, display string }

// codingSlots are the members of Coding, in the order in which they are written.
type codingSlots struct {
	code, display, system slot
	free                  bool   // no cut below
	fixed                 []byte // the member system, if it is constant
}

func (t *templates) codingSlots(key shapeKey, system source) (*codingSlots, bool) {
	s := &codingSlots{}
	var ok [3]bool
	s.code, _, ok[0] = t.slot(key, "code")
	s.display, _, ok[1] = t.slot(key, "display")
	s.system, _, ok[2] = t.slot(key, "system")
	s.free = !s.code.cut && !s.display.cut && !s.system.cut
	if text := system.text; text != "" && s.system.typ.Valid(text) && utf8.ValidString(text) {
		s.fixed = fhir.AppendString(append([]byte(nil), s.system.name...), text)
	}
	return s, ok == [3]bool{true, true, true}
}

// write writes a Coding. A constant system is taken as it was written while compiling.
func (s *codingSlots) write(w *Worker, c *codingText, fixed bool) Code {
	w.buf = append(w.buf, '{')
	open := len(w.buf)
	if code := w.put(&s.code, open, c.code); code != "" {
		return code
	}
	if code := w.put(&s.display, open, c.display); code != "" {
		return code
	}
	if fixed && s.fixed != nil {
		w.putFixed(&s.system, open, s.fixed)
	} else if code := w.put(&s.system, open, c.system); code != "" {
		return code
	}
	w.buf = append(w.buf, '}')
	return ""
}

// codingSource evaluates X.coding(system, display).
type codingSource struct{ in, system, display source }

func codingSourceOf(end fhirpath.Tail) codingSource {
	return codingSource{sourceOf(end.Input), sourceOf(end.Args[0]), optional(end.Args, 1)}
}

func (s *codingSource) get(w *Worker, focus fhirpath.Value) (c codingText, some bool, err error) {
	if c.code, some, err = s.in.input(w, focus); !some {
		return c, false, err
	}
	if c.system, err = s.system.get(w, focus); err != nil {
		return c, false, err
	}
	c.display, err = s.display.get(w, focus)
	return c, err == nil, err
}

// codingWriter writes X.coding(system, display) as a Coding.
type codingWriter struct {
	from  codingSource
	slots *codingSlots
}

func (t *templates) codingWriter(key shapeKey, end fhirpath.Tail) writer {
	from := codingSourceOf(end)
	slots, ok := t.codingSlots(key, from.system)
	if !ok {
		return nil
	}
	return &codingWriter{from, slots}
}

func (x *codingWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	c, some, err := x.from.get(w, focus)
	switch {
	case err != nil:
		return w.fail(p, err)
	case !some:
		return w.empty(p, focus)
	}
	if c == (codingText{}) {
		return w.empty(p, focus)
	}
	w.count(p.f, focus, true)
	if p.coded != nil && !p.coded.Has(c.system, c.code) {
		return w.unfit(p, NotInBinding)
	}
	if code := x.slots.write(w, &c, true); code != "" {
		return w.unfit(p, code)
	}
	return live
}

// conceptSlots are the members of CodeableConcept.
type conceptSlots struct {
	coding, text slot
	codings      *codingSlots
	free         bool // the single codings need no path
}

func (t *templates) conceptSlots(key shapeKey, system source) (*conceptSlots, bool) {
	s := &conceptSlots{}
	var below shapeKey
	var ok [3]bool
	s.coding, below, ok[0] = t.slot(key, "coding")
	s.text, _, ok[1] = t.slot(key, "text")
	s.codings, ok[2] = t.codingSlots(below, system)
	s.free = s.coding.cut || s.codings.free
	return s, ok == [3]bool{true, true, true}
}

// bound tells whether one of the codings is in the set.
func bound(codes *fhir.CodeSet, codings []codingText) bool {
	for i := range codings {
		if codes.Has(codings[i].system, codings[i].code) {
			return true
		}
	}
	return false
}

// write writes a CodeableConcept, unless nothing is in it.
func (s *conceptSlots) write(w *Worker, p *plan, codings []codingText, text string, fixed bool) status {
	if len(codings) == 0 && text == "" {
		return nothing
	}
	if p.coded != nil && !bound(p.coded, codings) {
		return w.unfit(p, NotInBinding)
	}
	w.buf = append(w.buf, '{')
	open, cuts := len(w.buf), len(w.cuts)
	if len(codings) > 0 {
		w.buf = append(append(w.buf, s.coding.name...), '[')
		mark := len(w.path)
		if !s.free {
			w.step(s.coding.label)
		}
		for i := range codings {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			list := len(w.path)
			if !s.free {
				w.index(i)
			}
			if code := s.codings.write(w, &codings[i], fixed); code != "" {
				return w.unfit(p, code)
			}
			w.path = w.path[:list]
		}
		w.path = w.path[:mark]
		w.buf = append(w.buf, ']')
		if s.coding.cut {
			w.cuts = w.cuts[:cuts] // it is cut as one
			w.cutSlot(&s.coding, open)
		}
	}
	if code := w.put(&s.text, open, text); code != "" {
		return w.unfit(p, code)
	}
	w.buf = append(w.buf, '}')
	return live
}

// conceptWriter writes X.coding(…).concept(text), or X.concept(text).
type conceptWriter struct {
	coded bool
	from  codingSource // coded
	in    source       // not coded: a text
	text  source
	slots *conceptSlots
}

func (t *templates) conceptWriter(key shapeKey, end fhirpath.Tail) writer {
	x := &conceptWriter{text: optional(end.Args, 0)}
	if inner, ok := end.Input.Tail(); ok {
		if _, ok := inner.Mark.(codingMark); !ok {
			return nil
		}
		x.coded, x.from = true, codingSourceOf(inner)
	} else if st := end.Input.Static(); len(end.Args) == 0 && st.Single && st.FHIR == nil && st.Only(fhirpath.KindString) {
		x.in = sourceOf(end.Input)
	} else {
		return nil
	}
	var ok bool
	if x.slots, ok = t.conceptSlots(key, x.from.system); !ok {
		return nil
	}
	return x
}

func (x *conceptWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	if !x.coded {
		text, some, err := x.in.input(w, focus)
		switch {
		case err != nil:
			return w.fail(p, err)
		case !some:
			return w.empty(p, focus)
		}
		return w.counted(p, focus, x.slots.write(w, p, nil, text, false))
	}
	var codings [1]codingText
	var some bool
	var err error
	codings[0], some, err = x.from.get(w, focus)
	switch {
	case err != nil:
		return w.fail(p, err)
	case !some:
		return w.empty(p, focus)
	}
	text, err := x.text.get(w, focus)
	if err != nil {
		return w.fail(p, err)
	}
	return w.counted(p, focus, x.slots.write(w, p, codings[:], text, true))
}

// translatedWriter writes X.translated('map', display).
type translatedWriter struct {
	in, display source
	slot        *mapSlot
	slots       *conceptSlots
}

func (t *templates) translatedWriter(key shapeKey, slot *mapSlot, end fhirpath.Tail) writer {
	x := &translatedWriter{in: sourceOf(end.Input), display: optional(end.Args, 1), slot: slot}
	var ok bool
	if x.slots, ok = t.conceptSlots(key, source{column: -1}); !ok {
		return nil
	}
	return x
}

func (x *translatedWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	code, some, err := x.in.input(w, focus)
	switch {
	case err != nil:
		return w.fail(p, err)
	case !some:
		return w.empty(p, focus)
	}
	display, err := x.display.get(w, focus)
	if err != nil {
		return w.fail(p, err)
	}
	codings, text, refused := translated(w, x.slot, code, display)
	if refused != "" {
		return w.unfitFormula(p, refused)
	}
	return w.counted(p, focus, x.slots.write(w, p, codings, text, false))
}

// unfitFormula refuses the record for an error of the formula that has a code of ours.
func (w *Worker) unfitFormula(p *plan, code Code) status {
	w.refuse(code, p.f, p.f.path)
	return failed
}

// translated is what a concept map makes of a code: codings, valid until the next call, and a text; or the code with
// which the map refuses the record. The source's own coding stands first; a map that names no system for it leaves the
// source's code in the text where the target means something else.
func translated(w *Worker, slot *mapSlot, code, display string) (codings []codingText, text string, refused Code) {
	a, refused := w.ask(slot, code)
	if refused != "" {
		return nil, "", refused
	}
	text = display
	if a.how == asText {
		if text == "" {
			text = code
		}
		return nil, text, ""
	}
	codings = w.codings[:0]
	if slot.m.System != "" {
		codings = append(codings, codingText{slot.m.System, a.source, display})
	}
	for i := range a.targets {
		if t := &a.targets[i]; t.System != slot.m.System || t.Code != a.source {
			codings = append(codings, codingText{t.System, t.Code, t.Display})
		}
	}
	w.codings = codings
	if text == "" && (len(codings) == 0 || slot.m.System == "" && terminology.Loose(a.targets)) {
		text = code // a code that has no target on purpose, or one that means something else, stays readable
	}
	return codings, text, ""
}

// quantityText is a Quantity that is to be written.
type quantityText struct{ code, comparator, system, unit, value string }

// quantity reads a number with a comparator before it. False if it is not a number.
func quantity(s string) (q quantityText, ok bool) {
	switch {
	case strings.HasPrefix(s, "<="), strings.HasPrefix(s, ">="):
		q.comparator = s[:2]
	case strings.HasPrefix(s, "<"), strings.HasPrefix(s, ">"):
		q.comparator = s[:1]
	}
	s = s[len(q.comparator):]
	if q.comparator != "" {
		s = strings.TrimLeft(s, " ")
	}
	q.value = s
	return q, fhir.IsNumber(s)
}

// lookUp finds the unit's code, and converts the value to the unit that is wanted. A unit that the map does not know is
// counted and stays text; a value that has to be converted and cannot be refuses the record.
func (q *quantityText) lookUp(w *Worker, m *quantityMark) (refused Code) {
	if q.unit != "" && m.units != nil {
		e, ok := m.units.lookup(w, q.unit)
		switch {
		case !ok:
			w.unmapped(m.units, q.unit)
		case len(e.Targets) > 1:
			return SeveralTargets
		case len(e.Targets) == 1:
			q.code, q.system = e.Targets[0].Code, e.Targets[0].System
		}
	}
	if m.to == nil {
		return ""
	}
	code := q.code
	if m.units == nil {
		code = q.unit
	} else if q.system != terminology.UCUM {
		return BadUnit
	}
	from, ok := ucum.Parse(code)
	if !ok {
		return BadUnit
	}
	value, err := ucum.Convert(q.value, from, m.to)
	if err != nil {
		return BadUnit
	}
	q.value, q.code, q.unit, q.system = value, m.to.Code(), m.to.Code(), terminology.UCUM
	return ""
}

// quantityWriter writes X.quantity(unit).
type quantityWriter struct {
	in, unit                               source
	mark                                   *quantityMark
	code, comparator, system, units, value slot
	simple                                 bool // no comparator is allowed
}

func (t *templates) quantityWriter(p *plan, m *quantityMark, end fhirpath.Tail) writer {
	if !p.typ.Is("Quantity") {
		return nil
	}
	x := &quantityWriter{in: sourceOf(end.Input), unit: optional(end.Args, 0), mark: m, simple: len(p.elem.Profiles) > 0}
	for _, s := range []struct {
		slot *slot
		name string
	}{{&x.code, "code"}, {&x.comparator, "comparator"}, {&x.system, "system"}, {&x.units, "unit"}, {&x.value, "value"}} {
		var ok bool
		if *s.slot, _, ok = t.slot(p.shape, s.name); !ok {
			return nil
		}
	}
	return x
}

func (x *quantityWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	text, some, err := x.in.input(w, focus)
	switch {
	case err != nil:
		return w.fail(p, err)
	case !some:
		return w.empty(p, focus)
	}
	q, ok := quantity(text)
	if !ok {
		return w.fail(p, x.mark.bad)
	}
	if q.unit, err = x.unit.get(w, focus); err != nil {
		return w.fail(p, err)
	}
	if refused := q.lookUp(w, x.mark); refused != "" {
		return w.unfitFormula(p, refused)
	}
	w.count(p.f, focus, true)
	if x.simple && q.comparator != "" {
		return w.unfit(p, BadForm) // sqty-1
	}
	w.buf = append(w.buf, '{')
	open := len(w.buf)
	for _, m := range [...]struct {
		slot *slot
		text string
	}{{&x.code, q.code}, {&x.comparator, q.comparator}, {&x.system, q.system}, {&x.units, q.unit}} {
		if code := w.put(m.slot, open, m.text); code != "" {
			return w.unfit(p, code)
		}
	}
	start := w.next(open)
	w.buf = append(append(w.buf, x.value.name...), q.value...)
	w.cutSlot(&x.value, start)
	w.buf = append(w.buf, '}')
	return live
}
