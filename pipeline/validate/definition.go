package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// definition is an ElementDefinition of a snapshot in its place: elements below it, and slices of it.
type definition struct {
	id       string
	node     *fhir.Node
	name     string // of the element, without [x]
	slice    string // of a slice
	children []*definition
	slices   []*definition
}

// tree is a snapshot as a tree.
type tree struct {
	root *definition
	byID map[string]*definition
}

// newTree builds the tree of the elements of a snapshot, or of a differential over one, from their ids
// (elementdefinition.html#id): Patient.contact, Patient.identifier:mrn.system, and Patient.identifier:mrn/old for a slice
// of a slice. Elements that a differential leaves out on the way ask nothing. Nil if there are none.
func newTree(elements []element) *tree {
	if len(elements) == 0 {
		return nil
	}
	t := &tree{byID: map[string]*definition{}}
	root, _, _ := strings.Cut(elements[0].id, ".")
	for _, e := range elements {
		if d := t.at(root, e.id); d != nil {
			d.node = e.node
		}
	}
	return t
}

// at finds or makes the definition of an id, and those it stands in.
func (t *tree) at(root, id string) *definition {
	if d := t.byID[id]; d != nil {
		return d
	}
	d := &definition{id: id, node: fhir.NewObject()}
	dot := strings.LastIndexByte(id, '.')
	if dot < 0 {
		if id != root || t.root != nil {
			return nil
		}
		d.name = id
		t.root, t.byID[id] = d, d
		return d
	}
	parent := t.at(root, id[:dot])
	if parent == nil {
		return nil
	}
	base, slice, sliced := strings.Cut(id[dot+1:], ":")
	d.name, d.slice = strings.TrimSuffix(base, "[x]"), slice
	if !sliced {
		parent.children = append(parent.children, d)
		t.byID[id] = d
		return d
	}
	of := id[:dot+1] + base
	holder := t.at(root, of)
	if i := strings.LastIndexByte(slice, '/'); i >= 0 && t.byID[of+":"+slice[:i]] != nil {
		holder = t.byID[of+":"+slice[:i]]
	}
	holder.slices = append(holder.slices, d)
	t.byID[id] = d
	return d
}

// child finds an element below a definition, by its name or, for a choice, as one variant of it (contentString).
func (d *definition) child(name string) *definition {
	for _, c := range d.children {
		if c.name == name {
			return c
		}
	}
	for _, c := range d.children {
		if c.variantOf(name) != nil {
			return c
		}
	}
	return nil
}

// variantOf is the type of which a definition is a variant of a choice, or nil.
func (d *definition) variantOf(name string) *fhir.Type {
	rest, ok := strings.CutPrefix(d.name, name)
	if !ok || rest == "" || rest[0] < 'A' || rest[0] > 'Z' {
		return nil
	}
	if t := fhir.Lookup(rest); t != nil {
		return t
	}
	return fhir.Lookup(strings.ToLower(rest[:1]) + rest[1:])
}

// targets are the profiles that references of a definition may point to.
func (d *definition) targets() []string {
	var out []string
	for _, n := range d.types() {
		out = append(out, texts(n.Get("targetProfile"))...)
	}
	return out
}

// polymorph finds fixed[x], pattern[x] and their kind.
func (d *definition) polymorph(prefix string) *fhir.Node {
	for i := range d.node.Members {
		if m := &d.node.Members[i]; len(m.Name) > len(prefix) && strings.HasPrefix(m.Name, prefix) && m.Name[len(prefix)] >= 'A' && m.Name[len(prefix)] <= 'Z' {
			return m.Value
		}
	}
	return nil
}

// max is the greatest number of values, or fhir.Unbounded.
func (d *definition) max() int {
	text := d.node.Get("max").Str()
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' || n > 1<<20 {
			return fhir.Unbounded
		}
		n = n*10 + int(text[i]-'0')
	}
	if text == "" {
		return fhir.Unbounded
	}
	return n
}

func (d *definition) min() int {
	n := d.node.Get("min")
	if n == nil {
		return 0
	}
	return smallNumber(n.Text)
}

func smallNumber(text string) int {
	n := 0
	for i := 0; i < len(text) && n < 1<<20; i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0
		}
		n = n*10 + int(text[i]-'0')
	}
	return n
}

// types are the entries of ElementDefinition.type.
func (d *definition) types() []*fhir.Node {
	if d == nil {
		return nil
	}
	if list := d.node.Get("type"); list != nil {
		return list.Items
	}
	return nil
}

// texts are the texts of an array.
func texts(n *fhir.Node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, item := range n.Items {
		if s := item.Str(); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// profileURL is the profile of a definition that has one type with one profile, or "".
func (d *definition) profileURL(member string) string {
	if types := d.types(); len(types) == 1 {
		if urls := texts(types[0].Get(member)); len(urls) == 1 {
			return urls[0]
		}
	}
	return ""
}
