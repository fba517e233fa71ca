package mapping

import (
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// The marks of date(), dateTime() and decimal() without a layout.
type (
	dateMark     struct{ bad error }
	dateTimeMark struct {
		zone int // the worker's
		errs map[Code]error
	}
	decimalMark struct{ bad error }
)

// scalarWriter is the writer of a formula for a primitive.
func scalarWriter(p *plan) writer {
	if i, ok := p.f.expr.Column(); ok {
		if p.form.kinds&(1<<fhirpath.KindString) == 0 || p.form.raw {
			return nil
		}
		return &cellWriter{column: i, string: (p.typ.Name == "string" || p.typ.Name == "markdown") && p.form.codes == nil && !p.form.ref}
	}
	end, ok := p.f.expr.Tail()
	if !ok {
		return nil
	}
	column, ok := end.Input.Column()
	if !ok || p.form.codes != nil || p.form.ref {
		return nil
	}
	switch m := end.Mark.(type) {
	case dateMark:
		if p.form.kinds&(1<<fhirpath.KindDate) != 0 {
			return &dateWriter{column, m}
		}
	case dateTimeMark:
		if p.form.kinds&(1<<fhirpath.KindDateTime) != 0 {
			return &dateTimeWriter{column, m}
		}
	case decimalMark:
		if p.typ.Name == "decimal" {
			return &decimalWriter{column, m}
		}
	}
	return nil
}

// cellWriter writes a cell as it is.
type cellWriter struct {
	column int
	string bool
}

func (x *cellWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	text := cellOf(focus, x.column)
	if text == "" {
		return w.empty(p, focus)
	}
	w.count(p.f, focus, true)
	if x.string && len(text) <= maxPlain && plainText(text) {
		w.quote(text, true)
		return live
	}
	return w.primitive(p, text)
}

// primitive writes the text of a primitive that JSON writes in quotes, with all checks.
func (w *Worker) primitive(p *plan, text string) status {
	f := p.form
	switch {
	case !f.typ.Valid(text):
		if !utf8.ValidString(text) {
			return w.unfit(p, BadEncoding)
		}
		return w.unfit(p, BadForm)
	case f.codes != nil && !f.codes.HasCode(text):
		return w.unfit(p, NotInBinding)
	case !utf8.ValidString(text):
		return w.unfit(p, BadEncoding)
	}
	w.buf = fhir.AppendString(w.buf, text)
	if f.ref {
		w.reference(text, p)
	}
	return live
}

// dateWriter writes X.date().
type dateWriter struct {
	column int
	mark   dateMark
}

func (x *dateWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	text := cellOf(focus, x.column)
	if text == "" {
		return w.empty(p, focus)
	}
	var m moment
	precision, ok := readISO(text, &m)
	if !ok {
		return w.fail(p, x.mark.bad)
	}
	w.count(p.f, focus, true)
	w.buf = append(w.buf, '"')
	if len(text) >= 10 {
		w.buf = append(w.buf, text[:10]...)
	} else {
		w.buf = m.appendDate(w.buf, precision)
	}
	w.buf = append(w.buf, '"')
	return live
}

// dateTimeWriter writes X.dateTime().
type dateTimeWriter struct {
	column int
	mark   dateTimeMark
}

func (x *dateTimeWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	text := cellOf(focus, x.column)
	if text == "" {
		return w.empty(p, focus)
	}
	var m moment
	precision, ok := readISO(text, &m)
	if !ok {
		return w.fail(p, x.mark.errs[BadDate])
	}
	var buf [48]byte
	switch {
	case !m.hasTime:
		if len(text) != 4 && len(text) != 7 && len(text) != 10 {
			text = w.ctx.Text(m.appendDate(buf[:0], precision))
		}
	case hasOwnForm(text, &m):
	default:
		out, code := m.appendDateTime(buf[:0], w.zone(x.mark.zone))
		if code != "" {
			return w.fail(p, x.mark.errs[code])
		}
		text = w.ctx.Text(out)
	}
	w.count(p.f, focus, true)
	if !p.form.typ.Valid(text) {
		return w.unfit(p, BadForm)
	}
	w.quote(text, true)
	return live
}

// hasOwnForm tells whether a date with time has FHIR's own form already, so that it is taken as it is written.
func hasOwnForm(s string, m *moment) bool {
	return m.zone != "" && m.hasSecond && s[10] == 'T' && (m.zone == "Z" || s[len(s)-3] == ':')
}

// decimalWriter writes X.decimal().
type decimalWriter struct {
	column int
	mark   decimalMark
}

func (x *decimalWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	text := cellOf(focus, x.column)
	if text == "" {
		return w.empty(p, focus)
	}
	if !fhir.IsNumber(text) {
		return w.fail(p, x.mark.bad)
	}
	if _, err := fhirpath.Decimal(text); err != nil { // longer, or with a larger exponent, than FHIRPath takes
		return w.fail(p, x.mark.bad)
	}
	w.count(p.f, focus, true)
	w.buf = append(w.buf, text...)
	return live
}
