package validate

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// target is what a reference says of where it points.
type target struct {
	typ       string     // the type of resource; "" if it cannot be told
	node      *fhir.Node // the resource, if it is within reach
	contained bool
}

// local is a reference within a resource: the fragment, and the resource that has it.
type local struct {
	id   string // "": the resource that contains it
	from *fhir.Node
}

// within notes a reference, or a URI, that leads into the resource.
func (c *Checker) within(text string) {
	if text != "" && text[0] == '#' {
		c.local = append(c.local, local{text[1:], c.resource.Node()})
	}
}

// orphans checks that what a resource contains is referred to in it, or refers to it (dom-3), under ids that differ.
func (c *Checker) orphans(n *fhir.Node, references []local) {
	list := n.Get("contained")
	if list == nil || len(list.Items) == 0 {
		return
	}
	named, upward := map[string]bool{}, map[*fhir.Node]bool{}
	for _, r := range references {
		if r.id == "" {
			upward[r.from] = true
		} else {
			named[r.id] = true
		}
	}
	ids := map[string]bool{}
	for i, item := range list.Items {
		id := item.ID()
		if id != "" && ids[id] {
			c.path = append(c.path, step{name: "contained", index: i})
			c.report(Issue{Severity: Error, Code: "value", Rule: RuleID, Message: "another contained resource has the same id"}, value{node: item})
			c.pop()
		}
		ids[id] = true
	}
	for _, item := range list.Items {
		if !named[item.ID()] && !upward[item] {
			c.report(Issue{Severity: Error, Code: "invariant", Rule: "dom-3", Message: "If the resource is contained in another resource, it SHALL be referred to from elsewhere in the resource or SHALL refer to the containing resource"}, value{node: item})
			return
		}
	}
}

// reference checks a Reference: its form, the type it points to, and that what it points to within the resource is
// there.
func (c *Checker) reference(e *elementRule, x value) {
	text := x.node.Get("reference").Str()
	stated := x.node.Get("type").Str()
	if text == "" {
		if stated != "" {
			c.allowedTarget(e.Targets, "", typeOfURI(stated), x)
		}
		return
	}
	c.within(text)
	to, ok := c.follow(text)
	if !ok {
		c.report(Issue{Severity: Error, Code: "invariant", Rule: "ref-1", Message: "SHALL have a contained resource if a local reference is provided"}, x)
		return
	}
	if !to.contained && !absolute(text) && to.typ == "" && !conditional(text) {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleReference, Message: "a relative reference is written Type/id"}, x)
		return
	}
	if to.node == nil && c.inComposition() && !conditional(text) {
		c.report(Issue{Severity: Error, Code: "not-found", Rule: RuleReference, Message: "what the Composition of a document refers to is in the Bundle"}, x)
	}
	if name := typeOfURI(stated); stated != "" && to.typ != "" && name != to.typ {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleReference, Message: "the reference says another type than what it points to"}, x)
	}
	if to.typ == "" {
		to.typ = typeOfURI(stated)
	}
	c.allowedTarget(e.Targets, "", to.typ, x)
}

// allowedTarget faults a reference to a type that is not among the targets. An empty list allows any.
func (c *Checker) allowedTarget(targets []string, profile, typ string, x value) {
	if len(targets) == 0 || typ == "" || slices.Contains(targets, typ) {
		return
	}
	t := fhir.Lookup(typ)
	if t == nil {
		return
	}
	for _, name := range targets {
		if t.Is(name) {
			return
		}
	}
	c.report(Issue{Severity: Error, Code: "structure", Rule: RuleTarget, Profile: profile, Message: "a reference to " + typ + ", allowed are " + strings.Join(targets, ", ")}, x)
}

// typeOfURI is the name of the type that Reference.type states, as a name or as a URL of HL7.
func typeOfURI(uri string) string { return strings.TrimPrefix(uri, structurePrefix) }

// absolute tells whether a reference is a URL or URN of its own.
func absolute(s string) bool {
	i := strings.IndexByte(s, ':')
	if i <= 0 {
		return false
	}
	for _, c := range []byte(s[:i]) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// conditional tells whether a reference is a search, as transactions have: Patient?identifier=…
func conditional(s string) bool {
	name, _, ok := strings.Cut(s, "?")
	return ok && fhir.Lookup(name) != nil
}

// follow finds where a reference leads. False for one into the resource that finds nothing there.
func (c *Checker) follow(text string) (target, bool) {
	if text == "#" {
		return target{typ: c.holder.ResourceType(), node: c.holder, contained: true}, true
	}
	if text[0] == '#' {
		if list := c.holder.Get("contained"); list != nil {
			for _, item := range list.Items {
				if item.ID() == text[1:] {
					return target{typ: item.ResourceType(), node: item, contained: true}, true
				}
			}
		}
		return target{}, false
	}
	out := target{typ: typeOfReference(text)}
	if len(c.bundles) > 0 {
		if n := c.inBundle(text); n != nil {
			out.node, out.typ = n, n.ResourceType()
		}
	}
	return out, true
}

// typeOfReference is the type in Type/id or https://…/Type/id, with or without a version; "" if it cannot be told.
func typeOfReference(text string) string {
	if strings.HasPrefix(text, "urn:") {
		return ""
	}
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		name := text[:i]
		if t := fhir.Lookup(name); t != nil && t.Kind == fhir.KindResource && text[i] == '?' {
			return name
		}
		text = text[:i]
	}
	text, _, _ = strings.Cut(text, "/_history/")
	slash := strings.LastIndexByte(text, '/')
	if slash <= 0 || !fhir.ValidID(text[slash+1:]) {
		return ""
	}
	name := text[strings.LastIndexByte(text[:slash], '/')+1 : slash]
	if t := fhir.Lookup(name); t != nil && t.Kind == fhir.KindResource && !t.Abstract {
		return name
	}
	return ""
}

// urn checks the form of an OID or a UUID within a URI (datatypes.html#uri).
func (c *Checker) urn(x value) {
	text := x.node.Text
	var t *fhir.Type
	switch {
	case len(text) < 5 || text[:4] != "urn:":
		return
	case strings.HasPrefix(text, "urn:oid:"):
		t = fhir.Lookup("oid")
	case strings.HasPrefix(text, "urn:uuid:"):
		t = fhir.Lookup("uuid")
	default:
		return
	}
	if !t.Valid(text) {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleForm, Message: "not of the form of a " + t.Name + ", which the URI says that it is"}, x)
	}
}

const uriSystem = "urn:ietf:rfc:3986"

// identifier checks what R4 asks of identifiers beyond their elements: the system is absolute, and where it says that the
// value is a URI, that is one (datatypes.html#Identifier).
func (c *Checker) identifier(x value) {
	system := x.node.Get("system").Str()
	if system == "" {
		return
	}
	c.system(system, x)
	if system == uriSystem {
		c.beyondShape()
		if text := x.node.Get("value").Str(); text != "" && !absolute(text) {
			c.report(Issue{Severity: Error, Code: "value", Rule: RuleForm, Message: "the system says that the value is a URI, and it is none"}, x)
		}
	}
}

// elementID checks that the id of an element is the only one of its resource (element.html#id).
func (c *Checker) elementID(n *fhir.Node) {
	if n.Str() == "" {
		return
	}
	c.beyondShape()
	key := elementID{c.resource.Node(), n.Text}
	if c.ids[key] {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleID, Message: "another element of the resource has the same id"}, value{node: n})
	}
	c.ids[key] = true
}

type elementID struct {
	resource *fhir.Node
	id       string
}

// canonical checks a canonical: it leads into the resource, or should be absolute. R4 does not say SHALL, and its own
// examples have relative ones.
func (c *Checker) canonical(x value) {
	text := x.node.Text
	if text[0] == '#' {
		if len(text) > 1 {
			if _, ok := c.follow(text); !ok {
				c.report(Issue{Severity: Error, Code: "value", Rule: RuleReference, Message: "there is no contained resource of this name"}, x)
			}
		}
		return
	}
	if !absolute(text) {
		c.report(Issue{Severity: Warning, Code: "value", Rule: RuleReference, Message: "a canonical should be an absolute URL"}, x)
	}
}
