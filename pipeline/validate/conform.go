package validate

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// conformance checks a resource by the profiles that it claims, and those given.
func (c *Checker) conformance(n *fhir.Node, t *fhir.Type, given []string) {
	clear(c.claimed)
	claims := n.At("meta", "profile")
	if claims == nil && len(given) == 0 {
		return
	}
	base := len(c.narrow)
	claim := func(url string, at *fhir.Node) {
		if url == "" || c.claimed[url] {
			return
		}
		c.claimed[url] = true
		if core := coreType(url); core != nil {
			if !t.Is(core.Name) {
				c.report(Issue{Severity: Error, Code: "structure", Rule: RuleDefinition, Profile: url, Message: "the profile is of another type of resource"}, value{node: at})
			}
			return
		}
		p := c.v.profile(url)
		switch {
		case p == nil:
			c.unknown(c.v.noProfile("profile", url))
		case !t.Is(p.typ.Name):
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleDefinition, Profile: url, Message: "the profile is of another type of resource"}, value{node: at})
		default:
			c.narrow = append(c.narrow, p)
		}
	}
	if claims != nil {
		for _, item := range claims.Items {
			claim(item.Str(), item)
		}
	}
	for _, url := range given {
		claim(url, n)
	}
	for i := base; i < len(c.narrow); i++ {
		c.conform(c.narrow[i], value{node: n, typ: t})
	}
	c.narrow = c.narrow[:base]
}

// maxNested bounds how deep profiles may lead into each other through types and references.
const maxNested = 24

// conform checks a value by a profile.
func (c *Checker) conform(p *profile, x value) {
	if c.depth >= maxNested {
		c.unknown(c.v.note("profile", p.url, "profiles lead into each other too deeply"))
		return
	}
	c.depth++
	resource, root, holder := c.resource, c.root, c.holder
	if x.typ.Kind == fhir.KindResource && x.node != resource.Node() { // an entry, a contained resource, what a reference points to
		c.resource = fhirpath.Object(x.node, x.typ)
		if !contains(c.holder, x.node) {
			c.root, c.holder = c.resource, x.node
		}
	}
	c.rules(p.root, x)
	c.resource, c.root, c.holder = resource, root, holder
	c.depth--
}

// contains tells whether a resource is contained in another.
func contains(holder, n *fhir.Node) bool {
	list := holder.Get("contained")
	return list != nil && slices.Contains(list.Items, n)
}

// asked is a question of [Checker.conforms].
type asked struct {
	p    *profile
	node *fhir.Node
}

// answer is its answer; one that is still open counts as yes, so that references in a circle end.
type answer struct{ yes, sure bool }

// conforms returns whether a value conforms to a profile, without telling what is wrong. Sure is false if a part could
// not be checked. It is asked once of a value, since references may lead to it many times.
func (c *Checker) conforms(p *profile, x value) (yes, sure bool) {
	q := asked{p, x.node}
	if a, ok := c.answers[q]; ok && x.node != nil {
		return a.yes, a.sure
	}
	c.answers[q] = answer{true, true}
	yes, sure = c.probe(func() { c.conform(p, x) })
	c.answers[q] = answer{yes, sure}
	return yes, sure
}

// probe runs checks for their verdict alone.
func (c *Checker) probe(check func()) (yes, sure bool) {
	failures, unsure := c.failures, c.unsure
	c.muted++
	c.failures, c.unsure = 0, 0
	check()
	c.muted--
	yes, sure = c.failures == 0, c.unsure == 0
	c.failures, c.unsure = failures, unsure
	return yes, sure
}

// rules checks a value by what a profile asks of it.
func (c *Checker) rules(r *rules, x value) {
	if r == nil {
		return
	}
	if r.reference != "" {
		if len(c.path) > maxDepth {
			return
		}
		c.rules(r.profile.byID[r.reference], x)
		return
	}
	if r.fixed != nil {
		c.lookedFor(x, r.fixed)
	}
	if r.pattern != nil {
		c.lookedFor(x, r.pattern)
	}
	if r.maxLength > 0 || r.minValue != nil || r.maxValue != nil {
		c.looked(x)
	}
	if r.fixed != nil && !same(r.fixed, x.node) {
		c.report(r.issue("value", RuleFixed, "not the value that the profile fixes"), x)
	}
	if r.pattern != nil && !holds(x.node, r.pattern) {
		c.report(r.issue("value", RulePattern, "the pattern of the profile is not in it"), x)
	}
	if r.types != nil {
		c.typed(r, x)
	}
	if r.binding != nil {
		c.bound(r.binding, x)
	}
	if r.most != nil {
		c.bound(r.most, x)
	}
	if r.maxLength > 0 && x.node != nil && x.node.Kind == fhir.String && utf8.RuneCountInString(x.node.Text) > r.maxLength {
		c.report(r.issue("too-long", RuleLength, "longer than the profile allows"), x)
	}
	if r.minValue != nil && c.outside(x, r.minValue, "<") || r.maxValue != nil && c.outside(x, r.maxValue, ">") {
		c.report(r.issue("value", RuleRange, "outside of the range of the profile"), x)
	}
	if len(r.invariants) > 0 {
		c.ask(r.invariants, x)
	}
	for _, m := range r.members {
		c.member(r, m, x)
	}
}

func (r *rules) issue(code, rule, message string) Issue {
	return Issue{Severity: Error, Code: code, Rule: rule, Profile: r.profile.url, Message: message}
}

// outside compares a value with a limit of a profile, by FHIRPath's rules: what cannot be compared is not outside.
func (c *Checker) outside(x value, limit *fhir.Node, operator string) bool {
	if x.node == nil || x.typ == nil {
		return false
	}
	expr := c.v.comparison(operator, x.typ)
	if expr == nil {
		return false
	}
	c.ctx.Set("limit", []fhirpath.Value{fhirpath.Object(limit, x.typ)})
	outside, err := expr.True(c.ctx, fhirpath.Object(x.node, x.typ))
	return err == nil && outside
}

// member checks the values of one element.
func (c *Checker) member(r *rules, m *member, parent value) {
	base := len(c.values)
	e := c.collect(m.name, parent)
	if e == nil {
		return
	}
	values := c.values[base:len(c.values):len(c.values)]
	if n := len(values); n < m.min {
		x := r.issue("required", RuleMin, "the profile asks for "+m.name+choiceMark(e)+", which is missing or too few")
		x.Missing = m.name
		c.report(x, parent)
	} else if m.max != fhir.Unbounded && n > m.max {
		c.push(e, values[0].typ, -1)
		c.report(r.issue("structure", RuleMax, "more values than the profile allows"), values[0])
		c.pop()
	}
	if m.each != nil {
		for i := range values {
			c.push(e, values[i].typ, indexOf(e, i))
			c.rules(m.each, values[i])
			c.pop()
		}
	}
	if m.slicing != nil {
		c.sliced(r, m.slicing, e, values, parent)
	}
	c.values = c.values[:base]
}

func indexOf(e *fhir.Element, i int) int {
	if e.Repeats() {
		return i
	}
	return -1
}

// collect appends the values of an element to the scratch.
func (c *Checker) collect(name string, parent value) *fhir.Element {
	e, t := parent.typ.Element(name)
	if e == nil {
		return nil
	}
	n := parent.node
	if n == nil || n.Kind != fhir.Object && n.Kind != fhir.Null {
		// A primitive: what stands beside it has its id and extensions.
		n = parent.under
		if n == nil {
			return e
		}
	}
	if t != nil {
		c.gather(n, name, e, t)
		return e
	}
	for i := range n.Members {
		property := strings.TrimPrefix(n.Members[i].Name, "_")
		if len(property) <= len(name) || !strings.HasPrefix(property, name) {
			continue
		}
		if other, typ := parent.typ.Element(property); other == e && typ != nil {
			if property != n.Members[i].Name && n.Get(property) != nil {
				continue // the `_` of a variant that was met
			}
			c.gather(n, property, e, typ)
		}
	}
	return e
}

// gather appends the values of one property.
func (c *Checker) gather(n *fhir.Node, name string, e *fhir.Element, t *fhir.Type) {
	main := n.Get(name)
	var under *fhir.Node
	if t.Kind == fhir.KindPrimitive {
		under = n.Get("_" + name)
	}
	switch {
	case main == nil && under == nil:
	case main != nil && main.Kind == fhir.Array || main == nil && under.Kind == fhir.Array:
		count := 0
		if main != nil {
			count = len(main.Items)
		}
		if under != nil && under.Kind == fhir.Array {
			count = max(count, len(under.Items))
		}
		for i := range count {
			c.values = append(c.values, typedValue(main.Item(i), under.Item(i), e, t, main.Offset()))
		}
	default:
		c.values = append(c.values, typedValue(main, under, e, t, 0))
	}
}

// typedValue gives a resource within a resource its own type.
func typedValue(n, under *fhir.Node, e *fhir.Element, t *fhir.Type, at int) value {
	if t.Kind == fhir.KindResource {
		if own := fhir.Lookup(n.ResourceType()); own != nil {
			t = own
		}
	}
	return value{node: n, under: under, typ: t, element: e, at: at}
}

// typed checks the type of a value, the profiles of that type, and where a reference points.
func (c *Checker) typed(r *rules, x value) {
	var match *allowed
	for i := range r.types {
		if x.typ.Is(r.types[i].typ.Name) {
			match = &r.types[i]
			break
		}
	}
	if match == nil {
		var names []string
		for _, a := range r.types {
			names = append(names, a.typ.Name)
		}
		c.report(r.issue("structure", RuleTypeOf, "a "+x.typ.Name+", the profile allows "+strings.Join(names, ", ")), x)
		return
	}
	if len(match.profiles) > 0 && x.node != nil {
		c.oneOf(r, match.profiles, x)
	}
	if len(match.targets) > 0 && x.typ.Name == "Reference" {
		c.pointed(r, match, x)
	}
}

// oneOf checks a value by several profiles, of which one must hold.
func (c *Checker) oneOf(r *rules, urls []string, x value) {
	if len(urls) == 1 {
		switch p := c.v.profile(urls[0]); {
		case p != nil:
			c.conform(p, x)
		case coreType(urls[0]) == nil:
			c.unknown(c.v.noProfile("profile", urls[0]))
		}
		return
	}
	unsure := false
	for _, url := range urls {
		p := c.v.profile(url)
		if p == nil {
			if core := coreType(url); core != nil && x.typ.Is(core.Name) {
				return
			}
			unsure = true
			continue
		}
		yes, sure := c.conforms(p, x)
		if yes && sure {
			return
		}
		unsure = unsure || yes
	}
	if unsure {
		c.unknown(c.v.note("profile", urls[0], "none of the profiles that are possible here can be judged as a whole"))
		return
	}
	c.report(r.issue("structure", RuleProfile, "it conforms to none of the profiles that are possible here"), x)
}

// pointed checks where a reference points by what a profile allows.
func (c *Checker) pointed(r *rules, a *allowed, x value) {
	text := x.node.Get("reference").Str()
	typ := typeOfURI(x.node.Get("type").Str())
	var node *fhir.Node
	if text != "" {
		to, ok := c.follow(text)
		if !ok {
			return // R4's own rule says so
		}
		node = to.node
		if to.typ != "" {
			typ = to.typ
		}
	}
	if typ == "" {
		return
	}
	c.allowedTarget(a.targets, r.profile.url, typ, x)
	if node == nil || len(a.targetProfiles) == 0 {
		return
	}
	t := fhir.Lookup(typ)
	unsure, any := false, false
	for _, url := range a.targetProfiles {
		if core := coreType(url); core != nil {
			if t.Is(core.Name) {
				return
			}
			continue
		}
		p := c.v.profile(url)
		if p == nil {
			unsure = true
			continue
		}
		if !t.Is(p.typ.Name) {
			continue
		}
		any = true
		yes, sure := c.conforms(p, value{node: node, typ: t})
		if yes && sure {
			return
		}
		unsure = unsure || yes
	}
	switch {
	case unsure:
		c.unknown(c.v.note("reference", r.profile.url, "what a reference points to cannot be judged as a whole"))
	case any:
		c.report(r.issue("structure", RuleProfile, "what it points to conforms to none of the profiles that are allowed here"), x)
	}
}

// same tells whether a value is exactly the fixed one.
func same(fixed, n *fhir.Node) bool { return n != nil && fixed.Equal(n) }

// holds tells whether a pattern is in a value: each member of the pattern in its members, each entry of the pattern in
// one of its entries (elementdefinition-definitions.html#ElementDefinition.pattern_x_).
func holds(n, pattern *fhir.Node) bool {
	if n == nil || n.Kind != pattern.Kind {
		return false
	}
	switch pattern.Kind {
	case fhir.Object:
		for i := range pattern.Members {
			m := &pattern.Members[i]
			if !holds(n.Get(m.Name), m.Value) {
				return false
			}
		}
		return true
	case fhir.Array:
		for _, want := range pattern.Items {
			found := false
			for _, item := range n.Items {
				if holds(item, want) {
					found = true
					break
				}
			}
			if !found {
				return false
			}
		}
		return true
	}
	return n.Text == pattern.Text
}
