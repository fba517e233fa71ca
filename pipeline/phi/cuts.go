package phi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// stand says what is in the clinical part where a piece was.
type stand uint8

const (
	standNone    stand = iota // nothing
	standSame                 // another value of the same name, or another entry
	standSibling              // for `x`, a member `_x`
)

// absent is the extension that stands for a masked value (extension-data-absent-reason.html).
const absent = `{"extension":[{"url":"` + fhir.DataAbsentReason + `","valueCode":"masked"}]}`

// errCuts is for cuts that do not fit their resource: an error of the program that made them.
var errCuts = errors.New("the cuts do not fit the resource")

// promote turns the cuts of a resource into the pieces to take out: where nothing is left of an object or list, one
// cut takes its place; Soft cuts that are not part of one go away. The result is s.cuts.
func (s *Sealer) promote(r *Resource) error {
	out := s.cuts[:0]
	last := 0
	for i := range r.Cuts {
		c := r.Cuts[i]
		if c.Start < last || c.End <= c.Start || c.End >= len(r.Whole) || c.Path == "" {
			return fmt.Errorf("%s %s: cut %d at %s: %w", r.Type, r.ID, i, c.Path, errCuts)
		}
		last = c.End
		if c.Method == Keep {
			continue
		}
		if c.Method.transforms() && c.Replace == nil {
			if c.Replace = s.transform(r, &c); c.Replace == nil {
				c.Method = Seal
			}
		}
		out = append(out, c)
		for !out[len(out)-1].Method.transforms() {
			first := emptied(r.Whole, out)
			if first < 0 {
				break
			}
			up, err := s.container(r, out[first:])
			if err != nil {
				return err
			}
			if up.Path == "" {
				break // the resource itself
			}
			out = append(out[:first], up)
		}
	}
	kept := out[:0]
	for _, c := range out {
		if c.Method != Soft {
			kept = append(kept, c)
		}
	}
	s.cuts = kept
	return nil
}

// emptied looks whether the last cuts are all that an object or list holds, and returns the index of the first of
// them, or -1.
func emptied(whole []byte, cuts []Cut) int {
	i := len(cuts) - 1
	var open byte
	switch whole[cuts[i].End] {
	case '}':
		open = '{'
	case ']':
		open = '['
	default:
		return -1
	}
	for {
		c := &cuts[i]
		if c.Method.transforms() || c.Start == 0 {
			return -1
		}
		switch before := whole[c.Start-1]; {
		case before == open:
			return i
		case before != ',' || i == 0 || cuts[i-1].End != c.Start-1:
			return -1
		}
		i--
	}
}

// container is the cut of the object or list of which the given cuts are all there is.
func (s *Sealer) container(r *Resource, cuts []Cut) (Cut, error) {
	path, _, _ := splitLast(cuts[0].Path)
	up := Cut{Start: cuts[0].Start - 1, End: cuts[len(cuts)-1].End + 1, Path: path, Method: Drop}
	for i := range cuts {
		if cuts[i].Method == Seal {
			up.Method = Seal
		}
	}
	if path == "" {
		return up, nil
	}
	_, list, nameLen := splitLast(path)
	if !list {
		up.Start -= nameLen + 1
	}
	if up.Start < 1 || !list && (r.Whole[up.Start] != '"' || r.Whole[up.Start+nameLen] != ':') {
		return Cut{}, fmt.Errorf("%s %s: above %s: %w", r.Type, r.ID, cuts[0].Path, errCuts)
	}
	up.Required = s.requires(r, path)
	return up, nil
}

// shape is what the definitions say about the value at a path.
type shape struct {
	min   int
	typ   *fhir.Type
	found bool
}

// requires tells whether something must stand at the path of a piece that was made here.
func (s *Sealer) requires(r *Resource, path string) bool {
	_, list, _ := splitLast(path)
	sh := s.shape(r, path)
	if list {
		return sh.min > 1
	}
	return sh.min > 0
}

// shape finds the element at a path, and remembers it.
func (s *Sealer) shape(r *Resource, path string) shape {
	// A path into a contained resource means something else in each record.
	volatile := false
	key := shapeKey{r.Type, path}
	if sh, ok := s.shapes[key]; ok {
		return sh
	}
	t := fhir.Lookup(r.Type)
	var sh shape
	underscore := false
	for rest := path; rest != ""; {
		var p part
		p, rest = firstPart(rest)
		if p.list {
			continue
		}
		name := p.name
		if underscore = strings.HasPrefix(name, "_"); underscore {
			name = name[1:]
		}
		e, typ := t.Element(name)
		if typ == nil {
			return shape{}
		}
		sh = shape{min: e.Min, typ: typ, found: true}
		t = typ
		if typ.Name == "Resource" {
			volatile = true
			here := path[:len(path)-len(rest)]
			if strings.HasPrefix(rest, "[") {
				_, after := firstPart(rest)
				here = path[:len(path)-len(after)]
			}
			t = nil
			if at, _ := member(r.Whole, locate(r.Whole, here), "resourceType"); at > 0 {
				t = fhir.Lookup(string(r.Whole[at+1 : max(at+1, skipString(r.Whole, at)-1)]))
			}
		}
	}
	if underscore && sh.found {
		// `_x` must stay only where there is no x: the two are one element.
		volatile = true
		parent, list, _ := splitLast(path)
		if list {
			sh.min = 0
		} else if at, _ := member(r.Whole, locate(r.Whole, parent), memberName(path)[1:]); at > 0 {
			sh.min = 0
		}
	}
	if !volatile {
		if len(s.shapes) >= maxShapes {
			clear(s.shapes)
		}
		s.shapes[key] = sh
	}
	return sh
}

type shapeKey struct{ typ, path string }

// maxShapes bounds the memory of a Sealer; a mapping has some hundreds of paths, indexes included.
const maxShapes = 4096

// standIn is what takes the place of a cut, and in which way.
func (s *Sealer) standIn(r *Resource, c *Cut) ([]byte, stand) {
	if c.Replace != nil {
		return c.Replace, standSame
	}
	if (!c.Required || c.Method == Drop) && strings.IndexByte(c.Path, '_') < 0 {
		return nil, standNone // what follows comes to the same, in more steps
	}
	_, list, nameLen := splitLast(c.Path)
	name := memberName(c.Path)
	if strings.HasPrefix(name, "_") {
		return s.underscoreStand(r, c, list, name)
	}
	if !c.Required || c.Method == Drop {
		return nil, standNone
	}
	sh := s.shape(r, c.Path)
	value := c.Start
	if !list {
		value += nameLen + 1
	}
	b := s.stand[:0]
	how := standSame
	if sh.found && sh.typ.Kind == fhir.KindPrimitive {
		how = standSibling
		if at, _ := member(r.Whole, locate(r.Whole, parentOf(c.Path)), "_"+name); at > 0 {
			return nil, standNone // that one has the stand-in
		}
		b = append(fhir.AppendString(b, "_"+name), ':')
	} else if !list {
		b = append(b, r.Whole[c.Start:value]...)
	}
	repeats := !list && r.Whole[value] == '['
	if repeats {
		b = append(b, '[')
	}
	if sh.found {
		b = appendMinimal(b, sh.typ, 0)
	} else {
		b = append(b, absent...)
	}
	if repeats {
		b = append(b, ']')
	}
	s.stand = b
	return b, how
}

func parentOf(path string) string {
	parent, _, _ := splitLast(path)
	return parent
}

// underscoreStand is the stand-in of a `_x` or of an entry of it. An entry leaves null, as the entries of x count on
// their places; where x has no value there, the reason for that is masked.
func (s *Sealer) underscoreStand(r *Resource, c *Cut, list bool, name string) ([]byte, stand) {
	if list {
		entryPath := strings.TrimSuffix(c.Path, c.Path[strings.LastIndexByte(c.Path, '['):])
		index := c.Path[len(entryPath):]
		at := locate(r.Whole, appendName(parentOf(entryPath), name[1:])+index)
		if at < 0 || r.Whole[at] == 'n' {
			return []byte(absent), standSame
		}
		return []byte("null"), standSame
	}
	if c.Required {
		b := append(s.stand[:0], r.Whole[c.Start:c.Start+len(name)+3]...)
		if r.Whole[len(name)+3+c.Start] == '[' {
			b = append(append(append(b, '['), absent...), ']')
		} else {
			b = append(b, absent...)
		}
		s.stand = b
		return b, standSame
	}
	// A list x that stays and has nulls needs its `_x`.
	at := locate(r.Whole, appendName(parentOf(c.Path), name[1:]))
	if at < 0 || r.Whole[at] != '[' || s.cutAt(at) {
		return nil, standNone
	}
	b := append(s.stand[:0], r.Whole[c.Start:c.Start+len(name)+3]...)
	nulls := false
	for i, end := at+1, skipValue(r.Whole, at)-1; i < end; {
		if i > at+1 {
			b = append(b, ',')
		} else {
			b = append(b, '[')
		}
		if r.Whole[i] == 'n' {
			b, nulls = append(b, absent...), true
		} else {
			b = append(b, "null"...)
		}
		i = skipValue(r.Whole, i) + 1
	}
	if !nulls {
		return nil, standNone
	}
	s.stand = append(b, ']')
	return s.stand, standSame
}

// cutAt tells whether a cut takes out what is at the offset.
func (s *Sealer) cutAt(at int) bool {
	for i := range s.cuts {
		if s.cuts[i].Start <= at && at < s.cuts[i].End {
			return s.cuts[i].Method.takesOut()
		}
	}
	return false
}

// appendMinimal appends the least value of a type that says "masked": its required elements, each masked, or the
// extension if there are none.
func appendMinimal(dst []byte, t *fhir.Type, depth int) []byte {
	const deepest = 6 // R4's required elements nest less; a bound keeps a broken table from running away
	if t.Kind == fhir.KindPrimitive || depth == deepest {
		return append(dst, absent...)
	}
	n := &fhir.Node{Kind: fhir.Object}
	for _, e := range t.Elements {
		if e.Min == 0 || len(e.Types) == 0 {
			continue
		}
		child := e.Types[0]
		name := e.JSONName(child)
		if child.Kind == fhir.KindPrimitive {
			name = "_" + name
		}
		value, err := fhir.Parse(appendMinimal(nil, child, depth+1))
		if err != nil {
			continue
		}
		if e.Repeats() {
			value = fhir.NewArray(value)
		}
		n.Set(name, value)
	}
	if len(n.Members) == 0 {
		return append(dst, absent...)
	}
	return n.AppendCanonical(dst)
}

// transform is what stands in the place of a value that a method changes, or nil if the value is not of a form the
// method is for; it is sealed then.
func (s *Sealer) transform(r *Resource, c *Cut) []byte {
	_, list, nameLen := splitLast(c.Path)
	value := c.Start
	if !list {
		value += nameLen + 1
	}
	n, err := fhir.Parse(r.Whole[value:c.End])
	if err != nil {
		return nil
	}
	n, ok := s.change(n, c.Method, s.shape(r, c.Path).typ)
	if !ok {
		return nil
	}
	return n.AppendCanonical(append([]byte(nil), r.Whole[c.Start:value]...))
}

func (s *Sealer) change(n *fhir.Node, m Method, t *fhir.Type) (*fhir.Node, bool) {
	if n.Kind == fhir.Array {
		items := make([]*fhir.Node, len(n.Items))
		for i, item := range n.Items {
			if item.Kind == fhir.Null {
				items[i] = item
				continue
			}
			changed, ok := s.change(item, m, t)
			if !ok {
				return nil, false
			}
			items[i] = changed
		}
		return fhir.NewArray(items...), true
	}
	text, ok := "", false
	switch {
	case m == Age90 && n.Kind == fhir.Object:
		if over, known := agedOver(n); !known || over {
			return nil, false
		}
		return n, true
	case n.Kind != fhir.String:
		return nil, false
	case m == Year:
		text, ok = year(n.Text)
	case m == Zip3:
		text, ok = zip3(n.Text)
	case m == Age90:
		text, ok = birthYear(n.Text, s.asOf)
	case m == Token:
		text, ok = s.token(n.Text), true
	}
	return fhir.NewString(text), ok
}
