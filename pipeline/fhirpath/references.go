package fhirpath

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// resolve finds the resource that a Reference, uri or canonical points to: contained in the resource that holds it, or
// an entry of the Bundle around (bundle.html#references). What lies elsewhere is not fetched.
func (c *Context) resolve(v Value) Value {
	target := v.written()
	if v.kind() == KindObject {
		target = v.element().Get("reference").Str()
	}
	root := c.RootResource
	if root.none() {
		root = c.resource()
	}
	if target == "" || root.element() == nil {
		return Value{}
	}
	var entries []*fhir.Node
	if list := root.element().Get("entry"); list != nil && root.model().Is("Bundle") {
		entries = list.Items
	}
	c.steps -= len(entries) // whoever is over the limit is told by the loop around
	from := c.entryOf(entries, v)
	if target[0] == '#' {
		holder := c.resource()
		if from != nil {
			holder = Object(from.Get("resource"), nil)
		}
		return contained(holder, root, target[1:])
	}
	if found := inBundle(entries, from, target); found != nil {
		return Object(found, nil)
	}
	url, version, _ := strings.Cut(target, "|")
	for _, entry := range entries {
		if r := entry.Get("resource"); r.Get("url").Str() == url && url != "" && (version == "" || r.Get("version").Str() == version) {
			return Object(r, nil)
		}
	}
	return Value{}
}

// contained is the resource with the id within the holder or, for a reference that stands in a contained resource
// itself, within the root. No id means the holder.
func contained(holder, root Value, id string) Value {
	for _, outer := range []Value{holder, root} {
		if outer.element() == nil {
			continue
		}
		list := outer.element().Get("contained")
		if id == "" && (list != nil || outer.element() == root.element()) {
			return outer
		}
		if list == nil {
			continue
		}
		for _, item := range list.Items {
			if item.ID() == id {
				return Object(item, nil)
			}
		}
	}
	if id == "" {
		return holder
	}
	return Value{}
}

// entryOf is the entry of the Bundle whose resource holds the value, or nil.
func (c *Context) entryOf(entries []*fhir.Node, v Value) *fhir.Node {
	if len(entries) == 0 {
		return nil
	}
	if r := c.Resource.element(); r != nil {
		for _, entry := range entries {
			if entry.Get("resource") == r {
				return entry
			}
		}
	}
	if c.holders == nil {
		c.holders = map[*fhir.Node]*fhir.Node{}
		for _, entry := range entries {
			c.hold(entry.Get("resource"), entry)
		}
	}
	return c.holders[v.element()]
}

// hold notes for each node below n which entry it is in.
func (c *Context) hold(n, entry *fhir.Node) {
	if n == nil {
		return
	}
	c.steps--
	c.holders[n] = entry
	for _, item := range n.Items {
		c.hold(item, entry)
	}
	for i := range n.Members {
		c.hold(n.Members[i].Value, entry)
	}
}

// inBundle finds the entry that a URL means, seen from an entry. A relative one belongs to the server of the entry that
// it stands in; where that entry names none, the type and id decide.
func inBundle(entries []*fhir.Node, from *fhir.Node, target string) *fhir.Node {
	target, version, _ := strings.Cut(target, "/_history/")
	relative := !strings.Contains(target, ":")
	full := target
	if base := baseOf(from); relative && base != "" {
		full = base + target
	}
	var loose *fhir.Node
	for _, entry := range entries {
		r := entry.Get("resource")
		if r == nil {
			continue
		}
		if has := r.Get("meta").Get("versionId").Str(); version != "" && has != "" && has != version {
			continue
		}
		url, _, _ := strings.Cut(entry.Get("fullUrl").Str(), "/_history/")
		if url != "" && url == full {
			return r
		}
		if loose == nil && relative && (r.ResourceType()+"/"+r.ID() == target || strings.HasSuffix(url, "/"+target)) {
			loose = r
		}
	}
	return loose
}

// baseOf is the server of an entry with its slash: what stands before Type/id in its fullUrl, or "".
func baseOf(entry *fhir.Node) string {
	if entry == nil {
		return ""
	}
	url, _, _ := strings.Cut(entry.Get("fullUrl").Str(), "/_history/")
	r := entry.Get("resource")
	base, ok := strings.CutSuffix(url, r.ResourceType()+"/"+r.ID())
	if !ok || !strings.HasSuffix(base, "/") {
		return ""
	}
	return base
}

// Profiles decides conformsTo() for profiles: the URL is that of a StructureDefinition that is not a type of R4. It may be
// asked by the goroutine of the [Context] only.
type Profiles interface {
	Conforms(v Value, url string) (conforms, known bool)
}

// conformsTo asks R4's types, then the profiles of the context. It fails where nobody knows the URL.
func conformsTo(c *Context, v, url, _ Value) (Value, error) {
	if name, ok := strings.CutPrefix(url.written(), "http://hl7.org/fhir/StructureDefinition/"); ok {
		if t := fhir.Lookup(name); t != nil {
			return Boolean(v.model().Is(t.Name)), nil
		}
	}
	if c.Profiles != nil {
		if conforms, known := c.Profiles.Conforms(v, url.written()); known {
			return Boolean(conforms), nil
		}
	}
	return Value{}, &Error{Code: "profile-not-known"}
}

// checkModifiers passes its input if no item has a modifier extension beyond those named (fhirpath.html#functions).
func (k *compiler) checkModifiers(n *node, in *code) *code {
	var known []*code
	operands := []*code{in}
	for _, arg := range n.args {
		cd := k.operand(arg)
		if !k.wants(n, cd, Set(KindString), "an argument of checkModifiers()") {
			return faulty(n)
		}
		known, operands = append(known, cd), append(operands, cd)
	}
	cd := several(n, in.st, func(c *Context, f Value, out []Value) ([]Value, error) {
		urls := make(map[string]bool, len(known))
		for _, cd := range known {
			v, err := cd.one(c, f)
			if err != nil {
				return out, err
			}
			urls[v.Str()] = true
		}
		start := len(out)
		out, err := in.many(c, f, out)
		if err != nil {
			return out, err
		}
		for _, v := range out[start:] {
			if v.element() == nil || v.kind() == KindQuantity {
				continue
			}
			list := v.element().Get("modifierExtension")
			if list == nil {
				continue
			}
			for _, item := range list.Items {
				if !urls[item.Get("url").Str()] {
					return out, &Error{Code: "unknown-modifier-extension", Offset: n.nameOff}
				}
			}
		}
		return out, c.spend(len(out)-start, nil, n.nameOff)
	})
	cd.st.Single = in.st.Single
	return fold(cd, operands...)
}
