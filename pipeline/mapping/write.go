package mapping

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// status is what became of one part of the template.
type status uint8

const (
	nothing status = iota // it is empty and wrote nothing
	literal               // only constants were written
	live                  // a formula wrote something
	failed                // the record is refused
)

// step appends a name to the path of cuts.
func (w *Worker) step(name string) {
	if len(w.path) > 0 {
		w.path = append(w.path, '.')
	}
	w.path = append(w.path, name...)
}

// index appends the index of a list entry to the path of cuts.
func (w *Worker) index(i int) {
	w.path = append(w.path, '[')
	w.path = strconv.AppendInt(w.path, int64(i), 10)
	w.path = append(w.path, ']')
}

// maxPaths bounds the memory for texts of paths; lists of thousands of entries would fill it.
const maxPaths = 1 << 16

// pathText is the path as a string. Paths are few and come again with each record, so each is made once.
func (w *Worker) pathText() string {
	if s, ok := w.paths[string(w.path)]; ok {
		return s
	}
	if len(w.paths) >= maxPaths {
		clear(w.paths)
	}
	s := string(w.path)
	w.paths[s] = s
	return s
}

// cutFrom notes a cut from start to where the buffer ends now, at the path at hand.
func (w *Worker) cutFrom(start int, method phi.Method, required bool) {
	w.cuts = append(w.cuts, phi.Cut{Start: start, End: len(w.buf), Path: w.pathText(), Method: method, Required: required})
}

// constant writes text that was known while compiling, and its cuts.
func (w *Worker) constant(p *plan) {
	start := len(w.buf)
	w.buf = append(w.buf, p.text...)
	for i := range p.cuts {
		c := &p.cuts[i]
		mark := len(w.path)
		if c.path[0] == '[' {
			w.path = append(w.path, c.path...)
		} else {
			w.step(c.path)
		}
		w.cuts = append(w.cuts, phi.Cut{Start: start + c.start, End: start + c.end, Path: w.pathText(), Method: c.method, Required: c.required})
		w.path = w.path[:mark]
	}
	if p.mark >= 0 {
		w.mark = start + p.mark
	}
}

// object writes an object and its members, or nothing if all its formulas are empty.
func (w *Worker) object(p *plan, focus fhirpath.Value) status {
	start, cuts, refs := len(w.buf), len(w.cuts), len(w.refs)
	w.buf = append(w.buf, '{')
	out := nothing
	if p.always {
		out = live
	}
	wrote := uint64(0)
	for _, m := range p.members {
		at := len(w.buf)
		if at > start+1 {
			w.buf = append(w.buf, ',')
		}
		s := w.member(m, focus)
		switch s {
		case failed:
			return failed
		case nothing:
			w.buf = w.buf[:at]
			continue
		}
		wrote |= m.bit
		out = max(out, s)
	}
	if out != live {
		w.buf, w.cuts, w.refs = w.buf[:start], w.cuts[:cuts], w.refs[:refs]
		return nothing
	}
	if code, path := p.failed(wrote); code != "" {
		w.refuse(code, nil, path)
		return failed
	}
	w.buf = append(w.buf, '}')
	if p.coded != nil {
		n, err := fhir.Parse(w.buf[start:])
		if err != nil || !conceptIn(p.coded, n, p.typ) {
			w.refuse(NotInBinding, nil, p.path)
			return failed
		}
	}
	return out
}

// member writes one member with its name.
func (w *Worker) member(m *plan, focus fhirpath.Value) status {
	start := len(w.buf)
	if m.late {
		w.mark = start
	}
	switch m.kind {
	case planConst:
		w.constant(m)
		return literal
	case planID:
		w.buf = append(append(w.buf, m.name...), '"')
		w.buf = append(append(w.buf, w.idText...), '"')
		return literal
	}
	w.buf = append(w.buf, m.name...)
	if !m.tracks && w.trace == nil {
		return w.value(m, focus)
	}
	mark, cuts := len(w.path), len(w.cuts)
	w.step(m.label)
	s := w.value(m, focus)
	if m.cut && s != nothing && s != failed {
		w.cuts = w.cuts[:cuts]
		w.cutFrom(start, m.method, m.required)
	}
	w.path = w.path[:mark]
	return s
}

// value writes one value: of a member, or an entry of a list.
func (w *Worker) value(p *plan, focus fhirpath.Value) status {
	if w.trace != nil && w.trace.enter(w, p, focus) {
		return w.trace.leave(w, p, w.value(p, focus))
	}
	switch p.kind {
	case planConst:
		w.constant(p)
		return literal
	case planObject:
		if p.decide != nil {
			return w.deferred(p, focus)
		}
		return w.object(p, focus)
	case planList:
		return w.list(p, focus)
	}
	if p.w != nil {
		return p.w.write(w, p, focus)
	}
	v, err := p.f.expr.One(w.ctx2(p.f), focus)
	if err != nil {
		w.refuseSeveral(p.f, err)
		return failed
	}
	if v.IsEmpty() {
		w.count(p.f, focus, false)
		return nothing
	}
	s := w.single(p, v)
	w.count(p.f, focus, s != nothing)
	return s
}

// ctx2 notes the formula that is evaluated, for findings.
func (w *Worker) ctx2(f *formula) *fhirpath.Context {
	w.current = f
	return w.ctx
}

// single writes one value of a formula.
func (w *Worker) single(p *plan, v fhirpath.Value) status {
	if p.kind == planScalar {
		return w.scalar(p, v)
	}
	return w.complex(p, v)
}

// scalar writes a value of a primitive.
func (w *Worker) scalar(p *plan, v fhirpath.Value) status {
	f := p.form
	if f.kinds&(1<<v.Kind()) == 0 {
		w.refuse(WrongType, p.f, p.path)
		return failed
	}
	text := v.Text()
	switch {
	case text == "":
		return nothing
	case !f.typ.Valid(text):
		code := BadForm
		if !utf8.ValidString(text) {
			code = BadEncoding
		}
		w.refuse(code, p.f, p.path)
		return failed
	case f.codes != nil && !f.codes.HasCode(text):
		w.refuse(NotInBinding, p.f, p.path)
		return failed
	}
	if f.raw {
		w.buf = append(w.buf, text...)
		return live
	}
	if !utf8.ValidString(text) {
		w.refuse(BadEncoding, p.f, p.path)
		return failed
	}
	w.buf = fhir.AppendString(w.buf, text)
	if f.ref {
		w.reference(text, p)
	}
	return live
}

// complex writes a value of a datatype.
func (w *Worker) complex(p *plan, v fhirpath.Value) status {
	n, typ := v.Node(), v.FHIRType()
	if v.Kind() != fhirpath.KindObject || n == nil || typ == nil || !canHold(p.typ, typ) {
		w.refuse(WrongType, p.f, p.path)
		return failed
	}
	if len(n.Members) == 0 {
		return nothing
	}
	if p.coded != nil && !conceptIn(p.coded, n, typ) {
		w.refuse(NotInBinding, p.f, p.path)
		return failed
	}
	if len(p.elem.Profiles) > 0 && n.Get("comparator") != nil { // SimpleQuantity, MoneyQuantity: sqty-1
		w.refuse(BadForm, p.f, p.path)
		return failed
	}
	key := p.shape
	start, cut := len(w.buf), false
	var d phi.Decision
	if p.decide != nil {
		d = settleNode(p.decide.decision, n)
		cut = takes(d, typ)
		key = shapeKey{typ: p.typ, rules: d.Below, free: d.Whole}
	}
	if code := w.node(n, key); code != "" {
		w.refuse(code, p.f, p.path)
		return failed
	}
	if cut {
		w.cutDecided(start, p, d)
	}
	if typ.Name == "Reference" {
		w.reference(n.Get("reference").Str(), p)
	}
	return live
}

// cutDecided cuts a value by a decision that depended on it. The cut of a member takes its name along.
func (w *Worker) cutDecided(start int, p *plan, d phi.Decision) {
	w.cutFrom(start-len(p.name), d.Method, len(p.name) > 0 && p.elem.Min > 0)
}

// deferred writes an object whose cuts depend on its values: it is written, read back, and written again with the cuts
// that its values call for.
func (w *Worker) deferred(p *plan, focus fhirpath.Value) status {
	start := len(w.buf)
	s := w.object(p, focus)
	if s == nothing || s == failed {
		return s
	}
	n, err := fhir.Parse(w.buf[start:])
	if err != nil {
		w.refuse(BadEncoding, nil, p.path)
		return failed
	}
	d := settleNode(p.decide.decision, n)
	w.buf = w.buf[:start]
	typ := p.typ
	if typ.Name == "Resource" {
		typ = fhir.Lookup(n.ResourceType())
	}
	if code := w.node(n, shapeKey{typ: typ, rules: d.Below, free: d.Whole}); code != "" {
		w.refuse(code, nil, p.path)
		return failed
	}
	if takes(d, typ) {
		w.cutDecided(start, p, d)
	}
	return s
}

// list writes a list, or nothing if no entry has something in it.
func (w *Worker) list(p *plan, focus fhirpath.Value) status {
	start := len(w.buf)
	w.buf = append(w.buf, '[')
	n, out := 0, nothing
	for _, e := range p.entries {
		var s status
		switch {
		case e.forEach != nil:
			s = w.each(p, e, focus, &n)
		case (e.plan.kind == planScalar || e.plan.kind == planComplex) && !e.plan.f.single:
			s = w.many(p, e.plan, focus, &n)
		default:
			s = w.entry(p, e.plan, focus, &n)
		}
		if s == failed {
			return failed
		}
		out = max(out, s)
	}
	if n == 0 {
		w.buf = w.buf[:start]
		return nothing
	}
	if p.max > 0 && n > p.max {
		w.refuse(TooMany, nil, p.path)
		return failed
	}
	w.buf = append(w.buf, ']')
	return out
}

// separate begins the n-th entry; back undoes it if the entry stays empty.
func (w *Worker) separate(p *plan, n int) (back, mark, cuts int) {
	back, mark, cuts = len(w.buf), len(w.path), len(w.cuts)
	if n > 0 {
		w.buf = append(w.buf, ',')
	}
	if p.tracks || w.trace != nil {
		w.index(n)
	}
	return back, mark, cuts
}

// closeEntry ends an entry that began at back.
func (w *Worker) closeEntry(e *plan, s status, back, mark, cuts int, n *int) {
	if s == nothing {
		w.buf, w.path = w.buf[:back], w.path[:mark]
		return
	}
	if e.cut && s != failed {
		start := back
		if *n > 0 {
			start++
		}
		w.cuts = w.cuts[:cuts]
		w.cutFrom(start, e.method, false)
	}
	w.path = w.path[:mark]
	*n++
}

// entry writes one entry of the template.
func (w *Worker) entry(p, e *plan, focus fhirpath.Value, n *int) status {
	back, mark, cuts := w.separate(p, *n)
	s := w.value(e, focus)
	w.closeEntry(e, s, back, mark, cuts, n)
	return s
}

// many writes an entry for each value of a formula.
func (w *Worker) many(p, e *plan, focus fhirpath.Value, n *int) status {
	base := len(w.vals)
	if w.trace != nil {
		w.trace.begin(w, e.f, focus)
	}
	var err error
	w.vals, err = e.f.expr.Append(w.ctx2(e.f), focus, w.vals)
	if err != nil {
		w.vals = w.vals[:base]
		w.refuseError(e.f, err)
		return failed
	}
	items := w.vals[base:]
	out := nothing
	for i := range items {
		back, mark, cuts := w.separate(p, *n)
		s := w.single(e, items[i])
		if w.trace != nil {
			w.trace.end(w, s)
		}
		w.closeEntry(e, s, back, mark, cuts, n)
		if s == failed {
			return failed
		}
		out = max(out, s)
	}
	w.vals = w.vals[:base]
	w.count(e.f, focus, out != nothing)
	if w.trace != nil && len(items) == 0 {
		w.trace.end(w, nothing)
	}
	return out
}

// each writes an entry for each item of a forEach.
func (w *Worker) each(p *plan, e *entry, focus fhirpath.Value, n *int) status {
	base := len(w.vals)
	if w.trace != nil {
		w.trace.begin(w, e.forEach, focus)
	}
	var err error
	w.vals, err = e.forEach.expr.Append(w.ctx2(e.forEach), focus, w.vals)
	if err != nil {
		w.vals = w.vals[:base]
		w.refuseError(e.forEach, err)
		return failed
	}
	items := w.vals[base:]
	out := nothing
	if w.trace != nil {
		w.trace.each(w, len(items))
	}
	for i := range items {
		s := nothing
		if (e.plan.kind == planScalar || e.plan.kind == planComplex) && !e.plan.f.single {
			s = w.many(p, e.plan, items[i], n)
		} else {
			s = w.entry(p, e.plan, items[i], n)
		}
		if s == failed {
			return failed
		}
		if s == literal {
			s = live // there is an entry because there was an item
		}
		out = max(out, s)
	}
	w.vals = w.vals[:base]
	return out
}

// count keeps the sum of section 3: how often a formula read something, and wrote nothing.
func (w *Worker) count(f *formula, focus fhirpath.Value, wrote bool) {
	read := false
	if len(f.own) > 0 {
		if row := focus.Row(); row != nil {
			for _, i := range f.own {
				if i < len(row.Cells) && row.Cells[i] != "" {
					read = true
					break
				}
			}
		}
	}
	if !read {
		for _, i := range f.outer {
			if w.row.Cells[i] != "" {
				read = true
				break
			}
		}
	}
	if !read {
		return
	}
	w.tally.formulas[f.index].read++
	if !wrote {
		w.tally.formulas[f.index].empty++
	}
}

// refuseSeveral is refuseError where a place for one value got several.
func (w *Worker) refuseSeveral(f *formula, err error) {
	code, detail := codeOf(err)
	if detail == "several-values" && !f.single {
		code = TooMany
	}
	w.refuse(code, f, f.path)
	w.result.Detail = detail
}

// reference notes a reference that was written, if it is one of ours.
func (w *Worker) reference(text string, p *plan) {
	id, ok := parseReference(text)
	if !ok {
		return
	}
	name := text[:len(text)-idLength-1]
	for i, t := range w.p.Types {
		if t == name {
			w.refs = append(w.refs, Ref{ID: id, Type: uint16(i), Drop: p.drop, Late: slices.Contains(p.later, name), Path: p.path})
			return
		}
	}
}
