package load

import (
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Resolve returns the id that a store has given to a resource of ours, which is our own where the store keeps ours; false
// if the store has none of that name. It may be called concurrently.
type Resolve func(typ, ours string) (id string, ok bool)

// RewriteReferences changes, in place, every Reference whose reference has the form in which ours are written,
// "Type/id", to the id that resolve returns for it, contained resources and extensions included. Nothing else is changed:
// no absolute URL, no reference to a version, into the resource itself or by a search, no canonical and no uri. ok is
// false if one cannot be resolved; path is then where the first of them stands, and the resource is not fit to be sent.
func RewriteReferences(resource *fhir.Node, resolve Resolve) (path string, ok bool) {
	r := rewriter{resolve: resolve}
	r.object(resource, nil, resource.ResourceType())
	return r.unresolved, r.unresolved == ""
}

type rewriter struct {
	resolve    Resolve
	unresolved string
}

func (r *rewriter) object(n *fhir.Node, typ *fhir.Type, path string) {
	if name := n.ResourceType(); name != "" && (typ == nil || typ.Is("Resource")) {
		typ = fhir.Lookup(name)
	}
	if typ.Is("Reference") {
		r.reference(n.Get("reference"), path)
	}
	for _, m := range n.Members {
		_, below := typ.Element(m.Name)
		if strings.HasPrefix(m.Name, "_") {
			below = fhir.Lookup("Element") // the extensions of a primitive
		}
		r.value(m.Value, below, path+"."+m.Name)
	}
}

func (r *rewriter) value(n *fhir.Node, typ *fhir.Type, path string) {
	switch n.Kind {
	case fhir.Object:
		r.object(n, typ, path)
	case fhir.Array:
		for i, item := range n.Items {
			r.value(item, typ, path+"["+strconv.Itoa(i)+"]")
		}
	}
}

// reference rewrites the text of a Reference.
func (r *rewriter) reference(n *fhir.Node, path string) {
	text := n.Str()
	typ, id, _ := fhir.SplitLocation(text)
	if typ == "" || text != typ+"/"+id {
		return
	}
	if given, ok := r.resolve(typ, id); ok {
		n.Text = typ + "/" + given
	} else if r.unresolved == "" {
		r.unresolved = path
	}
}

// OurID is the id of ours that a resource of a store's own id carries in its tag; "" if it carries none, or two.
func OurID(resource *fhir.Node) string {
	ours := ""
	if tags := resource.At("meta", "tag"); tags != nil {
		for _, coding := range tags.Items {
			if coding.Get("system").Str() != fhir.IDTagSystem {
				continue
			}
			if ours != "" {
				return ""
			}
			ours = coding.Get("code").Str()
		}
	}
	return ours
}

// SetID puts a resource, in place, under an id of the store's, "" for none, with the tag that names ours.
func SetID(resource *fhir.Node, ours, id string) {
	resource.Set("id", nil)
	if id != "" {
		resource.Set("id", fhir.NewString(id))
	}
	addTag(resource, fhir.IDTagSystem, ours)
}

// addTag adds a meta.tag, in place; false if it is there.
func addTag(resource *fhir.Node, system, code string) bool {
	meta := resource.Get("meta")
	if meta == nil {
		meta = fhir.NewObject()
		resource.Set("meta", meta)
	}
	tags := meta.Get("tag")
	if tags == nil {
		tags = fhir.NewArray()
		meta.Set("tag", tags)
	}
	for _, coding := range tags.Items {
		if coding.Get("system").Str() == system && coding.Get("code").Str() == code {
			return false
		}
	}
	tags.Items = append(tags.Items, fhir.NewObject(fhir.Member{Name: "system", Value: fhir.NewString(system)}, fhir.Member{Name: "code", Value: fhir.NewString(code)}))
	return true
}

// ResetID is the reverse of [SetID]: the resource is put, in place, under our id, and the tag is taken out.
func ResetID(resource *fhir.Node, ours string) {
	resource.Set("id", fhir.NewString(ours))
	meta := resource.Get("meta")
	tags := meta.Get("tag")
	if tags == nil {
		return
	}
	var rest []*fhir.Node
	for _, coding := range tags.Items {
		if coding.Get("system").Str() != fhir.IDTagSystem {
			rest = append(rest, coding)
		}
	}
	if tags.Items = rest; len(rest) > 0 {
		return
	}
	if meta.Set("tag", nil); len(meta.Members) == 0 {
		resource.Set("meta", nil)
	}
}
