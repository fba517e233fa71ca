package mapping

import (
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Most formulas of a template end in one of our own functions: CODE.coding('…').concept(), ref('patient', PATIENT). What
// these make would be built as a value, only to be walked over once more by the writer. So each leaves a mark
// ([fhirpath.Tail]), from which a writer is compiled that appends the JSON at once, with its cuts. A writer does what the
// function and [Worker.single] would do, with the same checks in the same order; where the policy's decision hangs on
// the value, or the formula is of another shape, there is no writer and the value is built.

// writer writes what a formula gives.
type writer interface {
	write(w *Worker, p *plan, focus fhirpath.Value) status
}

// source is where a writer takes a text from: a constant, a cell of the record at hand, or anything else.
type source struct {
	text   string
	column int // -1: none
	expr   *fhirpath.Expr
}

func sourceOf(e *fhirpath.Expr) source {
	if i, ok := e.Column(); ok {
		return source{column: i}
	}
	if vals, ok := e.Constant(); ok && len(vals) <= 1 {
		if len(vals) == 0 {
			return source{column: -1}
		}
		return source{column: -1, text: vals[0].Text()}
	}
	return source{column: -1, expr: e}
}

// optional is the source of an argument that may not be there.
func optional(args []*fhirpath.Expr, i int) source {
	if i >= len(args) {
		return source{column: -1}
	}
	return sourceOf(args[i])
}

// get is the text, "" for empty.
func (s *source) get(w *Worker, focus fhirpath.Value) (string, error) {
	if s.column >= 0 {
		return cellOf(focus, s.column), nil
	}
	if s.expr == nil {
		return s.text, nil
	}
	v, err := s.expr.One(w.ctx, focus)
	return v.Text(), err
}

// input is get, and tells whether there is a value.
func (s *source) input(w *Worker, focus fhirpath.Value) (string, bool, error) {
	if s.column >= 0 {
		text := cellOf(focus, s.column)
		return text, text != "", nil
	}
	if s.expr == nil {
		return s.text, s.text != "", nil
	}
	v, err := s.expr.One(w.ctx, focus)
	return v.Text(), err == nil && !v.IsEmpty(), err
}

func cellOf(focus fhirpath.Value, column int) string {
	if row := focus.Row(); row != nil && column < len(row.Cells) {
		return row.Cells[column]
	}
	return ""
}

// slot is a member of a datatype that a writer writes.
type slot struct {
	label  string
	name   []byte // `"code":`
	typ    *fhir.Type
	codes  *fhir.CodeSet
	string bool // its form is that of a string

	cut      bool
	method   phi.Method
	required bool
}

// slot finds a member and what the policy does with it. False if that hangs on the value.
func (t *templates) slot(key shapeKey, name string) (s slot, below shapeKey, ok bool) {
	e, typ := key.typ.Element(name)
	if e == nil || typ == nil {
		return s, below, false
	}
	s = slot{label: name, name: append(fhir.AppendString(nil, name), ':'), typ: typ, codes: requiredCodes(e),
		string: typ.Name == "string" || typ.Name == "markdown"}
	if key.free || t.c.o.Policy == nil {
		return s, shapeKey{typ: typ, free: true}, true
	}
	d := key.rules.Child(e, typ)
	if takes(d, typ) {
		s.cut, s.method, s.required = true, d.Method, e.Min > 0
	}
	return s, shapeKey{typ: typ, rules: d.Below, free: d.Whole}, len(d.Tests) == 0
}

// put writes a member of text, unless the text is empty. open is where the object's members begin.
func (w *Worker) put(s *slot, open int, text string) Code {
	if text == "" {
		return ""
	}
	start := w.next(open)
	w.buf = append(w.buf, s.name...)
	plain := plainText(text)
	switch {
	case s.string && plain && len(text) <= maxPlain:
	case !s.typ.Valid(text):
		return BadForm
	case !plain && !utf8.ValidString(text):
		return BadEncoding
	case s.codes != nil && !s.codes.HasCode(text):
		return NotInBinding
	}
	w.quote(text, plain)
	w.cutSlot(s, start)
	return ""
}

// putFixed writes a member that was written while compiling.
func (w *Worker) putFixed(s *slot, open int, member []byte) {
	start := w.next(open)
	w.buf = append(w.buf, member...)
	w.cutSlot(s, start)
}

// next begins a member, behind a comma if it is not the first, and returns where.
func (w *Worker) next(open int) int {
	if len(w.buf) > open {
		w.buf = append(w.buf, ',')
	}
	return len(w.buf)
}

func (w *Worker) cutSlot(s *slot, start int) {
	if !s.cut {
		return
	}
	mark := len(w.path)
	w.step(s.label)
	w.cutFrom(start, s.method, s.required)
	w.path = w.path[:mark]
}

// quote writes a text of which it is known whether it is plain.
func (w *Worker) quote(text string, plain bool) {
	if plain {
		w.buf = append(w.buf, '"')
		w.buf = append(w.buf, text...)
		w.buf = append(w.buf, '"')
		return
	}
	w.buf = fhir.AppendString(w.buf, text)
}

// maxPlain is shorter than the longest string that FHIR allows.
const maxPlain = 1 << 16

// plainText tells whether a text is of ASCII alone and needs no escape in JSON: eight bytes at a time.
func plainText(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := v^ones*'"', v^ones*'\\'
		// A borrow can mark a byte for nothing, never leave one out: the slow way is taken then.
		if ((v-ones*' ')|(quote-ones)|(slash-ones)|v)&high != 0 {
			return plainBytes(s)
		}
		s = s[8:]
	}
	return plainBytes(s)
}

func plainBytes(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// writer compiles the writer of a formula, nil if it has to be evaluated.
func (t *templates) writer(p *plan) writer {
	f := p.f
	if f == nil || !f.single || t.c.o.evaluate {
		return nil
	}
	if p.kind == planScalar {
		return scalarWriter(p)
	}
	end, ok := f.expr.Tail()
	if !ok || p.decide != nil {
		return nil
	}
	if p.coded != nil && p.typ.Name != "Coding" && p.typ.Name != "CodeableConcept" {
		return nil
	}
	switch m := end.Mark.(type) {
	case *refTarget:
		if p.typ.Name == "Reference" && end.Bare {
			return t.refWriter(p, t.c.ref(m, end.Args))
		}
	case codingMark:
		if p.typ.Name == "Coding" {
			return t.codingWriter(p.shape, end)
		}
	case conceptMark:
		if p.typ.Name == "CodeableConcept" {
			return t.conceptWriter(p.shape, end)
		}
	case *mapSlot:
		if p.typ.Name == "CodeableConcept" {
			return t.translatedWriter(p.shape, m, end)
		}
	case *quantityMark:
		return t.quantityWriter(p, m, end)
	}
	return nil
}

// fail refuses the record for an error of the formula.
func (w *Worker) fail(p *plan, err error) status {
	w.refuseSeveral(p.f, err)
	return failed
}

// unfit refuses the record for what it would have written.
func (w *Worker) unfit(p *plan, code Code) status {
	w.refuse(code, p.f, p.path)
	return failed
}

// counted counts a formula by what its writer came to.
func (w *Worker) counted(p *plan, focus fhirpath.Value, s status) status {
	w.count(p.f, focus, s != nothing)
	return s
}

// empty counts a formula that gave nothing.
func (w *Worker) empty(p *plan, focus fhirpath.Value) status {
	w.count(p.f, focus, false)
	return nothing
}
