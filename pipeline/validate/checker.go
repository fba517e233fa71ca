package validate

import (
	"strconv"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// Checker checks one resource after the other. It is not for concurrent use, and uses its memory again.
type Checker struct {
	v      *Validator
	ctx    *fhirpath.Context
	issues []Issue

	path     []step         // from the resource to the value at hand
	resource fhirpath.Value // %resource: the innermost resource that is not contained, or the contained one itself
	root     fhirpath.Value // %rootResource: what contains it
	holder   *fhir.Node     // of root
	local    []local        // references within root so far
	bundles  []scope        // Bundles around, innermost last
	parents  []place        // from the resource to the value at hand, for the contexts of extensions
	counts   []int          // of the elements of the objects that are open
	variants []*fhir.Type   // likewise: which variant of a choice was met
	values   []value        // scratch of profiles
	depth    int            // of profiles within profiles
	trial    bool           // what cannot be checked is not counted
	learn    *learning      // set while a Judge learns a shape
	muted    int            // > 0: what is found decides something and is not an issue of its own
	failures int            // errors found while muted
	unsure   int            // what could not be checked while muted
	told     map[told]bool  // issues of profiles
	ids      map[elementID]bool
	answers  map[asked]answer
	claimed  map[string]bool // scratch: profiles that a resource claims
	narrow   []*profile      // likewise
}

// told tells an issue of a profile from others.
type told struct{ rule, path, profile, message string }

// step is one step of a path.
type step struct {
	name  string
	typ   string // ofType of a choice
	index int    // -1: no list
}

// value is a value within a resource: its JSON, what stands beside it under `_name`, and its type.
type value struct {
	node, under *fhir.Node
	typ         *fhir.Type
	element     *fhir.Element // that it is a value of, where a profile is asked
	at          int           // where it stands, if node has no place of its own
}

// place is where a value stands in the definitions, for the contexts of extensions.
type place struct {
	path    string // Patient.contact
	typ     *fhir.Type
	node    *fhir.Node // what holds the extensions: the object, or what stands beside a primitive
	literal *fhir.Node // the value of a primitive
}

// maxDepth bounds how deep a resource may be nested, and how deep profiles may lead into each other.
const maxDepth = 100

func newChecker(v *Validator) *Checker {
	c := &Checker{v: v, ctx: fhirpath.NewContext(), claimed: map[string]bool{}, told: map[told]bool{}, answers: map[asked]answer{}, ids: map[elementID]bool{}}
	c.ctx.Profiles = c
	return c
}

// Conforms is for conformsTo() in constraints: whether a value conforms to a profile whose definition is at hand.
func (c *Checker) Conforms(v fhirpath.Value, url string) (conforms, known bool) {
	p, t := c.v.profile(url), v.FHIRType()
	if p == nil || t == nil {
		return false, false
	}
	if !t.Is(p.typ.Name) {
		return false, true
	}
	resource, root := c.ctx.Resource, c.ctx.RootResource
	yes, sure := c.conforms(p, value{node: v.Node(), typ: t})
	c.ctx.Resource, c.ctx.RootResource = resource, root
	return yes, sure || !yes
}

// Text checks a resource that is given as JSON. What is not JSON is one issue.
func (c *Checker) Text(data []byte, profiles ...string) []Issue {
	n, err := fhir.Parse(data)
	if err != nil {
		return []Issue{NotJSON(err)}
	}
	return c.Resource(n, profiles...)
}

// NotJSON makes the issue of a text that [fhir.Parse] refused.
func NotJSON(err error) Issue {
	return Issue{Severity: Error, Code: "structure", Rule: RuleNotJSON, Message: "not the JSON that FHIR takes: " + err.Error()}
}

// Resource checks a resource against R4, the profiles that it claims in meta.profile, and those given. The issues are
// valid until the next call.
func (c *Checker) Resource(n *fhir.Node, profiles ...string) []Issue {
	c.issues, c.path, c.bundles, c.parents = c.issues[:0], c.path[:0], c.bundles[:0], c.parents[:0]
	c.counts, c.variants, c.values, c.depth, c.muted = c.counts[:0], c.variants[:0], c.values[:0], 0, 0
	c.local = c.local[:0]
	c.holder, c.root, c.resource = nil, fhirpath.Value{}, fhirpath.Value{}
	c.ctx.Reset()
	if len(c.told) > 0 {
		clear(c.told)
	}
	if len(c.ids) > 0 {
		clear(c.ids)
	}
	if len(c.answers) > 0 {
		clear(c.answers)
	}
	c.inResource(n, profiles, false)
	return c.issues
}

// inResource checks a resource, at the top, contained, or an entry of a Bundle.
func (c *Checker) inResource(n *fhir.Node, profiles []string, contained bool) {
	if n == nil || n.Kind != fhir.Object {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleType, Message: "a resource is a JSON object"}, value{node: n})
		return
	}
	name := n.ResourceType()
	t := fhir.Lookup(name)
	if name == "" || t == nil || t.Kind != fhir.KindResource || t.Abstract {
		message := "R4 has no resource of this resourceType"
		if name == "" {
			message = "resourceType is missing"
		}
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleType, Message: message}, value{node: n})
		return
	}
	resource, root, holder, base := c.resource, c.root, c.holder, len(c.local)
	c.resource = fhirpath.Object(n, t)
	if !contained {
		c.root, c.holder = c.resource, n
	}
	top := len(c.path) == 0
	if top {
		c.path = append(c.path, step{name: name, index: -1})
	}
	bundle := name == "Bundle"
	if bundle {
		c.bundles = append(c.bundles, newScope(n))
	}
	parents := c.parents
	c.parents = append(c.parents, place{path: name, typ: t, node: n})
	c.object(value{node: n, typ: t}, c.v.rulesOf(t))
	c.conformance(n, t, profiles)
	if bundle {
		c.bundle(n)
		c.bundles = c.bundles[:len(c.bundles)-1]
	}
	c.resourceRules(name, n)
	if !contained {
		c.orphans(n, c.local[base:])
		c.local = c.local[:base]
	}
	c.parents = parents
	if top {
		c.path = c.path[:0]
	}
	c.resource, c.root, c.holder = resource, root, holder
}

// report notes an issue about a value; while muted it is only counted.
func (c *Checker) report(x Issue, about value) {
	if c.muted > 0 {
		if x.Severity == Error {
			c.failures++
		}
		return
	}
	x.Path = c.pathText()
	if x.Path == "" {
		x.Path = "Resource"
	}
	if x.Profile != "" { // a list and its slices, or two ways into a profile, ask the same
		key := told{x.Rule, x.Path, x.Profile, x.Message}
		if c.told[key] {
			return
		}
		c.told[key] = true
	}
	switch {
	case about.node != nil && about.node.Offset() > 0:
		x.At = about.node.Offset()
	case about.under != nil && about.under.Offset() > 0:
		x.At = about.under.Offset()
	default:
		x.At = about.at
	}
	c.issues = append(c.issues, x)
}

// unknown notes something that cannot be checked; while muted it makes the judgement unsure.
func (c *Checker) unknown(n *uncheckedCount) {
	if c.muted > 0 {
		c.unsure++
		return
	}
	switch {
	case c.learn != nil: // the Judge counts it for each resource of the shape
		c.learn.unchecked = append(c.learn.unchecked, n)
	case !c.trial:
		n.n.Add(1)
	}
}

// beyondShape notes that a verdict hangs on what a shape leaves out, so that it cannot be remembered.
func (c *Checker) beyondShape() {
	if c.learn != nil {
		c.learn.never = true
	}
}

// looked notes that a rule looked at the content of a value, so that the shape must tell it.
func (c *Checker) looked(x value) {
	if c.learn == nil || x.typ == nil || x.node == nil {
		return
	}
	switch {
	case !typeLeftOut(x.typ, false):
	case x.element != nil && x.typ.Kind == fhir.KindPrimitive && leafOf(x.typ, "", x.typ) == leafText:
		c.learn.named = append(c.learn.named, x.element)
	default:
		c.learn.never = true
	}
}

// lookedFor is [Checker.looked] for what a pattern names of a value.
func (c *Checker) lookedFor(x value, pattern *fhir.Node) {
	if c.learn == nil {
		return
	}
	if x.typ == nil || x.typ.Kind == fhir.KindPrimitive || pattern.Kind != fhir.Object {
		c.looked(x)
		return
	}
	for i := range pattern.Members {
		m := &pattern.Members[i]
		e, t := x.typ.Element(m.Name)
		if t == nil {
			c.learn.never = true
			return
		}
		below := value{node: m.Value, typ: t, element: e}
		switch {
		case !typeLeftOut(x.typ, false):
		case m.Value.Kind == fhir.Array:
			for _, item := range m.Value.Items {
				c.lookedFor(value{node: item, typ: t, element: e}, item)
			}
		default:
			c.lookedFor(below, m.Value)
		}
	}
}

// pathText is the path at hand as FHIRPath.
func (c *Checker) pathText() string {
	var b []byte
	for i := range c.path {
		s := &c.path[i]
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, s.name...)
		if s.typ != "" {
			b = append(append(append(b, ".ofType("...), s.typ...), ')')
		}
		if s.index >= 0 {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(s.index), 10)
			b = append(b, ']')
		}
	}
	return string(b)
}

// push goes down to an element of the value at hand; pop comes back.
func (c *Checker) push(e *fhir.Element, t *fhir.Type, index int) {
	s := step{name: e.Name, index: index}
	if e.Choice {
		s.typ = t.Name
	}
	c.path = append(c.path, s)
}

func (c *Checker) pop() { c.path = c.path[:len(c.path)-1] }
