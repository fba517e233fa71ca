package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// definition is an ElementDefinition of a snapshot in its place: elements below it, and slices of it.
type definition struct {
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

// newTree builds the tree of a snapshot from the ids of its elements (elementdefinition.html#id): Patient.contact,
// Patient.identifier:mrn.system, and Patient.identifier:mrn/old for a slice of a slice. Nil if it has none.
func newTree(sd *fhir.Node) *tree {
	elements := sd.At("snapshot", "element")
	if elements == nil || len(elements.Items) == 0 {
		return nil
	}
	t := &tree{byID: map[string]*definition{}}
	for _, n := range elements.Items {
		id := n.Get("id").Str()
		if id == "" {
			id = n.Get("path").Str()
			if s := n.Get("sliceName").Str(); s != "" {
				id += ":" + s
			}
		}
		parent, last := "", id
		if i := strings.LastIndexByte(id, '.'); i >= 0 {
			parent, last = id[:i], id[i+1:]
		}
		d := &definition{node: n}
		d.name, d.slice, _ = strings.Cut(last, ":")
		base := d.name
		d.name = strings.TrimSuffix(d.name, "[x]")
		t.byID[id] = d
		switch {
		case t.root == nil:
			t.root = d
		case d.slice != "":
			of := parent + "." + base
			if i := strings.LastIndexByte(d.slice, '/'); i >= 0 && t.byID[of+":"+d.slice[:i]] != nil {
				of += ":" + d.slice[:i]
			}
			if holder := t.byID[of]; holder != nil {
				holder.slices = append(holder.slices, d)
			}
		default:
			if holder := t.byID[parent]; holder != nil {
				holder.children = append(holder.children, d)
			}
		}
	}
	return t
}

// child finds an element below a definition.
func (d *definition) child(name string) *definition {
	for _, c := range d.children {
		if c.name == name {
			return c
		}
	}
	return nil
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
