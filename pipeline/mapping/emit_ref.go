package mapping

import (
	"slices"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// refSource evaluates ref('mapping', key…) to the id alone.
type refSource struct {
	target *refTarget
	parts  []source
	index  int // of the worker's memory
}

// refMemory is the last id of a ref(): records of one patient and one visit stand together.
type refMemory struct {
	key  []byte
	id   ID
	text [idLength]byte
	set  bool
}

// ref makes the source of a ref(); args are those of the call, the mapping's name first.
func (c *compiler) ref(target *refTarget, args []*fhirpath.Expr) *refSource {
	s := &refSource{target: target, index: c.program.refs}
	c.program.refs++
	for _, a := range args[1:] {
		s.parts = append(s.parts, sourceOf(a))
	}
	return s
}

// get is the id that the parts give. Nil if all of them are blank.
func (s *refSource) get(w *Worker, focus fhirpath.Value) (*refMemory, error) {
	msg := append(w.ids.msg[:0], s.target.prefix...)
	start, some := len(msg), false
	for i := range s.parts {
		text, err := s.parts[i].get(w, focus)
		if err != nil {
			return nil, err
		}
		some = some || text != ""
		if s.target.item && i == len(s.parts)-1 {
			msg = appendItem(msg, text)
		} else {
			msg = appendPart(msg, text)
		}
	}
	w.ids.msg = msg
	if !some {
		return nil, nil
	}
	last := w.remember(s.index, msg, start)
	if w.trace != nil {
		w.trace.ref(s.target, msg[start:], last.id)
	}
	return last, nil
}

// remember is the id of a message whose key begins at start: mostly the one that the same ref() had before, since most
// records in a row belong to one patient.
func (w *Worker) remember(index int, msg []byte, start int) *refMemory {
	last := &w.refMemory[index]
	if last.set && string(last.key) == string(msg[start:]) {
		return last
	}
	last.id = w.ids.id(msg)
	last.id.Append(last.text[:0])
	last.key, last.set = append(last.key[:0], msg[start:]...), true
	return last
}

// refWriter writes ref('mapping', key…) as a Reference.
type refWriter struct {
	from *refSource
	head []byte // `"reference":"Patient/`
	slot slot
}

func (t *templates) refWriter(p *plan, from *refSource) writer {
	s, _, ok := t.slot(p.shape, "reference")
	if !ok {
		return nil
	}
	head := fhir.AppendString(append([]byte(nil), s.name...), from.target.start)
	return &refWriter{from: from, head: head[:len(head)-1], slot: s}
}

func (x *refWriter) write(w *Worker, p *plan, focus fhirpath.Value) status {
	w.current = p.f
	ref, err := x.from.get(w, focus)
	switch {
	case err != nil:
		return w.fail(p, err)
	case ref == nil:
		return w.empty(p, focus)
	}
	w.count(p.f, focus, true)
	w.buf = append(w.buf, '{')
	start := len(w.buf)
	w.buf = append(w.buf, x.head...)
	w.buf = append(w.buf, ref.text[:]...)
	w.buf = append(w.buf, '"')
	w.cutSlot(&x.slot, start)
	w.buf = append(w.buf, '}')
	for i, t := range w.p.Types {
		if t == x.from.target.typ {
			w.refs = append(w.refs, Ref{ID: ref.id, Type: uint16(i), Drop: p.drop, Late: slices.Contains(p.later, t), Path: p.path})
			break
		}
	}
	return live
}
