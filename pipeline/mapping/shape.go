package mapping

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// shape is a datatype as the writer of built values sees it: which members it can have, and what the policy does with
// each. Shapes are made on first use and belong to one worker, so that using them needs no lock.
type shape struct {
	typ     *fhir.Type
	free    bool // nothing is cut one by one
	members []*shapeMember
}

type shapeMember struct {
	name     string
	quoted   []byte // `"name":`
	elem     *fhir.Element
	typ      *fhir.Type
	under    bool // `_name`
	codes    *fhir.CodeSet
	decision phi.Decision
}

type shapeKey struct {
	typ   *fhir.Type
	rules phi.Rules
	free  bool
}

// shaper makes shapes.
type shaper struct {
	policy *phi.Policy
	shapes map[shapeKey]*shape
}

func (s *shaper) shape(key shapeKey) *shape {
	if key.free || s.policy == nil {
		key.rules, key.free = phi.Rules{}, true
	}
	found := s.shapes[key]
	if found == nil {
		found = &shape{typ: key.typ, free: key.free}
		s.shapes[key] = found
	}
	return found
}

// member finds a member of the shape, or makes it.
func (s *shaper) member(sh *shape, key shapeKey, name string) *shapeMember {
	for _, m := range sh.members {
		if m.name == name {
			return m
		}
	}
	bare, under := strings.CutPrefix(name, "_")
	e, typ := sh.typ.Element(bare)
	if e == nil || typ == nil {
		return nil
	}
	m := &shapeMember{name: name, quoted: append(fhir.AppendString(nil, name), ':'), elem: e, typ: typ, under: under, codes: requiredCodes(e),
		decision: phi.Decision{Method: phi.Keep, Whole: true}}
	if !sh.free {
		m.decision = key.rules.Child(e, typ)
	}
	sh.members = append(sh.members, m)
	return m
}

// takes tells whether a decision cuts the value as one.
func takes(d phi.Decision, typ *fhir.Type) bool {
	return d.Method != phi.Keep && (d.Whole || typ.Kind == fhir.KindPrimitive)
}

// node writes a built value in canonical form and notes the cuts. It returns the refusal code, "" if all is well.
func (w *Worker) node(n *fhir.Node, key shapeKey) Code {
	sh := w.shaper.shape(key)
	if !slices.IsSortedFunc(n.Members, compareMembers) {
		slices.SortFunc(n.Members, compareMembers)
	}
	w.buf = append(w.buf, '{')
	mark := len(w.path)
	for i := range n.Members {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		value := n.Members[i].Value
		start := len(w.buf)
		if n.Members[i].Name == "resourceType" && sh.typ.Kind == fhir.KindResource {
			w.buf = append(append(w.buf, `"resourceType":`...), fhir.AppendString(nil, value.Text)...)
			continue
		}
		m := w.shaper.member(sh, key, n.Members[i].Name)
		if m == nil {
			return WrongType
		}
		w.buf = append(w.buf, m.quoted...)
		if !sh.free {
			w.step(m.name)
		}
		d := m.decision
		if m.elem.Repeats() && value.Kind == fhir.Array {
			if len(d.Tests) == 0 && takes(d, m.typ) {
				before := len(w.cuts)
				if code := w.nodeList(value, m, sh.free); code != "" {
					return code
				}
				w.cuts = w.cuts[:before] // it is cut as one
				w.cutFrom(start, d.Method, m.elem.Min > 0)
			} else if code := w.nodeList(value, m, sh.free); code != "" {
				return code
			}
		} else {
			d = settleNode(d, value)
			before := len(w.cuts)
			if code := w.nodeValue(value, m, d, sh.free); code != "" {
				return code
			}
			if !sh.free && takes(d, m.typ) {
				w.cuts = w.cuts[:before]
				w.cutFrom(start, d.Method, m.elem.Min > 0)
			}
		}
		w.path = w.path[:mark]
	}
	w.buf = append(w.buf, '}')
	return ""
}

func compareMembers(a, b fhir.Member) int { return strings.Compare(a.Name, b.Name) }

// settleNode settles a decision that depends on the value.
func settleNode(d phi.Decision, n *fhir.Node) phi.Decision {
	if len(d.Tests) == 0 {
		return d
	}
	return d.Decide(func(t *phi.Test) bool { return t.Match(n) })
}

func (w *Worker) nodeList(n *fhir.Node, m *shapeMember, free bool) Code {
	w.buf = append(w.buf, '[')
	mark := len(w.path)
	for i, item := range n.Items {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		d := m.decision
		if !free {
			w.index(i)
			d = settleNode(d, item)
		}
		start, before := len(w.buf), len(w.cuts)
		if code := w.nodeValue(item, m, d, free); code != "" {
			return code
		}
		if !free && len(m.decision.Tests) > 0 && takes(d, m.typ) {
			w.cuts = w.cuts[:before]
			w.cutFrom(start, d.Method, false)
		}
		w.path = w.path[:mark]
	}
	w.buf = append(w.buf, ']')
	return ""
}

func (w *Worker) nodeValue(n *fhir.Node, m *shapeMember, d phi.Decision, free bool) Code {
	switch n.Kind {
	case fhir.Object:
		typ := m.typ
		if typ.Name == "Resource" {
			if typ = fhir.Lookup(n.ResourceType()); typ == nil {
				return WrongType
			}
		}
		return w.node(n, shapeKey{typ: typ, rules: d.Below, free: free || d.Whole})
	case fhir.String:
		if !m.under && !m.typ.Valid(n.Text) {
			return BadForm
		}
		if !utf8.ValidString(n.Text) {
			return BadEncoding
		}
		if m.codes != nil && !m.codes.HasCode(n.Text) {
			return NotInBinding
		}
		w.buf = fhir.AppendString(w.buf, n.Text)
		return ""
	case fhir.Number, fhir.Boolean:
		if !m.typ.Valid(n.Text) {
			return BadForm
		}
		w.buf = append(w.buf, n.Text...)
		return ""
	}
	return WrongType
}
