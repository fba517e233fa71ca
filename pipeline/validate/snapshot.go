package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// element is an ElementDefinition with its id.
type element struct {
	id   string
	node *fhir.Node
}

// maxBases bounds how many profiles may stand one upon the other.
const maxBases = 32

// elements are the elements of a profile: those of its snapshot, or, without one, those of its differential laid over
// the elements of the profile that it is based on. What R4 itself asks of the type is not among them then, since every
// value is checked by it anyway. Ok is false if a profile on the way is not at hand, or if they lead in a circle.
func (v *Validator) elements(sd *fhir.Node, depth int) (list []element, ok bool) {
	if snapshot := identified(sd.At("snapshot", "element")); len(snapshot) > 0 {
		return snapshot, true
	}
	base := sd.Get("baseDefinition").Str()
	if coreType(base) == nil {
		of := v.definition(base)
		if of == nil || depth == maxBases {
			return nil, false
		}
		if list, ok = v.elements(of, depth+1); !ok {
			return nil, false
		}
	}
	return overlay(list, identified(sd.At("differential", "element"))), true
}

// overlay lays the elements of a differential over others.
func overlay(base, differential []element) []element {
	out := append([]element(nil), base...)
	at := map[string]int{}
	for i, e := range out {
		at[e.id] = i
	}
	for _, e := range differential {
		i, ok := at[e.id]
		if !ok {
			at[e.id] = len(out)
			out = append(out, e)
			continue
		}
		out[i].node = narrowed(out[i].node, e.node)
	}
	return out
}

// narrowed is what both definitions of an element ask: the members of the second in the place of the first's, but
// constraints add up.
func narrowed(n, by *fhir.Node) *fhir.Node {
	out := fhir.NewObject(append([]fhir.Member(nil), n.Members...)...)
	for _, m := range by.Members {
		value := m.Value
		if first := n.Get("constraint"); m.Name == "constraint" && first != nil {
			value = fhir.NewArray(append(append([]*fhir.Node(nil), first.Items...), m.Value.Items...)...)
		}
		out.Set(m.Name, value)
	}
	return out
}

// identified gives each element its id. One without has a path, and belongs to the slice that was met last on it.
func identified(list *fhir.Node) []element {
	if list == nil {
		return nil
	}
	out := make([]element, 0, len(list.Items))
	last := map[string]string{} // path → id
	for _, n := range list.Items {
		id, path := n.Get("id").Str(), n.Get("path").Str()
		if parent, name, ok := cutLast(path); ok && id == "" {
			if id = last[parent]; id == "" {
				id = parent
			}
			id += "." + name
		}
		if id == "" {
			id = path
		}
		if s := n.Get("sliceName").Str(); s != "" && n.Get("id") == nil {
			id += ":" + s
		}
		last[path] = id
		out = append(out, element{id, n})
	}
	return out
}

// cutLast divides a path before its last name.
func cutLast(path string) (parent, name string, ok bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
