package phi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// splitter writes a tree as canonical JSON and notes where the policy cuts it.
type splitter struct {
	out  []byte
	cuts []Cut
}

// SealNode writes the resource canonically, cuts it by the Sealer's policy and seals it: the way for any resource,
// whoever made it. r needs no Whole, Cuts and Mark; Type and ID may be left to the resource.
func (s *Sealer) SealNode(r *Resource, n *fhir.Node) (Sealed, error) {
	if err := s.cut(r, n); err != nil {
		return Sealed{}, err
	}
	return s.Seal(r)
}

// Cut finds the cuts of a resource that is there as canonical JSON in r.Whole: it sets r.Cuts and r.Mark, which are valid
// until the Sealer's next call. JSON that is not canonical is refused.
func (s *Sealer) Cut(r *Resource) error {
	n, err := fhir.Parse(r.Whole)
	if err != nil {
		return fmt.Errorf("cut %s %s: %w", r.Type, r.ID, err)
	}
	given := r.Whole
	if err := s.cut(r, n); err != nil {
		return err
	}
	if string(given) != string(r.Whole) {
		return fmt.Errorf("cut %s %s: the JSON is not canonical", r.Type, r.ID)
	}
	return nil
}

var errNoPolicy = errors.New("this Sealer was made without a policy")

func (s *Sealer) cut(r *Resource, n *fhir.Node) error {
	if s.policy == nil {
		return fmt.Errorf("cut %s %s: %w", r.Type, r.ID, errNoPolicy)
	}
	if r.Type == "" {
		r.Type = n.ResourceType()
	}
	if r.ID == "" {
		r.ID = n.ID()
	}
	if n == nil || n.Kind != fhir.Object || n.ResourceType() == "" || n.ResourceType() != r.Type {
		return fmt.Errorf("cut %s %s: not a resource of that type", r.Type, r.ID)
	}
	s.split.out, s.split.cuts = s.split.out[:0], s.split.cuts[:0]
	s.split.object(n, s.policy.Rules(r.Type).at, "")
	r.Whole, r.Cuts, r.Mark = s.split.out, s.split.cuts, -1
	return nil
}

// object writes an object whose members have rules of their own.
func (w *splitter) object(n *fhir.Node, at *state, path string) {
	members := n.Members
	byName := func(a, b fhir.Member) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(members, byName) {
		members = slices.Clone(members)
		slices.SortFunc(members, byName)
	}
	w.out = append(w.out, '{')
	for i := range members {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.member(n, at, &members[i], path)
	}
	w.out = append(w.out, '}')
}

func (w *splitter) member(parent *fhir.Node, at *state, m *fhir.Member, path string) {
	start := len(w.out)
	path = appendName(path, m.Name)
	w.out = append(fhir.AppendString(w.out, m.Name), ':')
	if m.Name == "resourceType" && at.typ.Kind == fhir.KindResource {
		w.out = m.Value.AppendCanonical(w.out)
		return
	}
	name, underscore := strings.CutPrefix(m.Name, "_")
	e, t := at.typ.Element(name)
	if t == nil || t.Kind == fhir.KindPrimitive != (underscore || primitive(m.Value)) || !underscore && !fits(m.Value, t) {
		e, t = nil, nil
	}
	if underscore && t != nil {
		w.extensions(parent, at, m, path, start, e, t)
		return
	}
	if t == nil || t.Kind == fhir.KindPrimitive {
		d := at.child(e, t)
		w.out = m.Value.AppendCanonical(w.out)
		w.add(start, path, d.Method, e != nil && e.Min > 0)
		return
	}
	if m.Value.Kind != fhir.Array {
		w.value(m.Value, at, e, t, path, start, e.Min > 0)
		return
	}
	d := at.child(e, t)
	if d.Tests == nil && d.Whole && d.Method.takesOut() && t.Kind != fhir.KindResource {
		w.out = m.Value.AppendCanonical(w.out)
		w.add(start, path, d.Method, e.Min > 0)
		return
	}
	w.out = append(w.out, '[')
	for i, item := range m.Value.Items {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.value(item, at, e, t, path+"["+strconv.Itoa(i)+"]", len(w.out), e.Min > i+1)
	}
	w.out = append(w.out, ']')
}

// value writes one value of a complex type, which begins at start together with its name, if it has one.
func (w *splitter) value(n *fhir.Node, at *state, e *fhir.Element, t *fhir.Type, path string, start int, required bool) {
	if t.Kind == fhir.KindResource && n.ResourceType() != "" {
		t = resourceType(n.ResourceType())
	}
	d := at.child(e, t)
	if d.Tests != nil {
		d = d.Decide(func(t *Test) bool { return t.Match(n) })
	}
	if d.Whole && t.Kind != fhir.KindResource {
		w.out = n.AppendCanonical(w.out)
		w.add(start, path, d.Method, required)
		return
	}
	w.object(n, d.Below.at, path)
}

// extensions writes the `_x` of a primitive x: its ids and extensions.
func (w *splitter) extensions(parent *fhir.Node, at *state, m *fhir.Member, path string, start int, e *fhir.Element, t *fhir.Type) {
	d := at.child(e, t)
	ok := m.Value.Kind == fhir.Object
	if m.Value.Kind == fhir.Array {
		ok = !slices.ContainsFunc(m.Value.Items, func(i *fhir.Node) bool { return i.Kind != fhir.Object && i.Kind != fhir.Null })
	}
	switch {
	case !ok || d.Method.takesOut() || d.Tests != nil:
		method := d.Method
		if !ok {
			method = at.child(nil, nil).Method
		}
		w.out = m.Value.AppendCanonical(w.out)
		// Where both x and _x are cut, the one stand-in hangs here.
		alone := parent.Get(m.Name[1:]) == nil
		w.add(start, path, method, e.Min > 0 && (alone || d.Method.takesOut()))
	case m.Value.Kind == fhir.Object:
		w.object(m.Value, d.Below.at, path)
	default:
		w.out = append(w.out, '[')
		for i, item := range m.Value.Items {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			at, entry := len(w.out), path+"["+strconv.Itoa(i)+"]"
			if item.Kind == fhir.Null {
				w.out = append(w.out, "null"...)
				w.add(at, entry, Soft, false)
				continue
			}
			w.object(item, d.Below.at, entry)
		}
		w.out = append(w.out, ']')
	}
}

// add notes a cut that ends here.
func (w *splitter) add(start int, path string, m Method, required bool) {
	if m != Keep {
		w.cuts = append(w.cuts, Cut{Start: start, End: len(w.out), Path: path, Method: m, Required: required})
	}
}

// primitive tells whether a JSON value has the form of a primitive or of a list of them.
func primitive(n *fhir.Node) bool {
	if n.Kind == fhir.Array {
		return !slices.ContainsFunc(n.Items, func(i *fhir.Node) bool { return i.Kind == fhir.Object || i.Kind == fhir.Array })
	}
	return n.Kind != fhir.Object
}

// fits tells whether a JSON value can be of the type at all; what does not is treated like an unknown element.
func fits(n *fhir.Node, t *fhir.Type) bool {
	if t.Kind == fhir.KindPrimitive {
		return true
	}
	if n.Kind == fhir.Array {
		return len(n.Items) > 0 && !slices.ContainsFunc(n.Items, func(i *fhir.Node) bool { return i.Kind != fhir.Object })
	}
	return n.Kind == fhir.Object
}
