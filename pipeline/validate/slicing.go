package validate

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// slicing divides the values of an element into slices (profiling.html#slicing).
type slicing struct {
	closed, atEnd, ordered bool
	slices                 []*slice
	undecided              *uncheckedCount // set if slices cannot be told apart
}

// slice is one slice: how many of the values it takes, how they are told, and what is asked of them.
type slice struct {
	name       string
	min, max   int
	conditions []condition
	rules      *rules
	slicing    *slicing // of the slice itself
}

// condition tells by one discriminator whether a value belongs to a slice.
type condition struct {
	kind    string // value, pattern, exists, type, profile
	path    []string
	rules   *rules     // what the slice asks at the path
	within  *fhir.Node // what a fixed value or pattern above the path asks there
	exact   bool       // within is of a fixed value
	types   []*fhir.Type
	urls    []string // profiles; or the url of an extension
	exists  bool
	decides bool
}

// slicing compiles the slices of an element; nil if it has none.
func (k *profileCompiler) slicing(d *definition, e *fhir.Element, typ *fhir.Type) *slicing {
	if len(d.slices) == 0 {
		return nil
	}
	n := d.node.Get("slicing")
	s := &slicing{closed: n.Get("rules").Str() == "closed", atEnd: n.Get("rules").Str() == "openAtEnd", ordered: isTrue(n.Get("ordered"))}
	type discriminator struct{ kind, path string }
	var by []discriminator
	if list := n.Get("discriminator"); list != nil {
		for _, x := range list.Items {
			by = append(by, discriminator{x.Get("type").Str(), x.Get("path").Str()})
		}
	}
	switch { // what a differential need not say
	case len(by) > 0:
	case e.Choice:
		by = append(by, discriminator{"type", "$this"})
	case e.Types[0].Name == "Extension":
		by = append(by, discriminator{"value", "url"})
	}
	asks := s.closed
	for _, sd := range d.slices {
		of := typ
		if of == nil {
			of = soleType(sd, e)
		}
		sl := &slice{name: sd.slice, min: sd.min(), max: sd.max(), rules: k.rules(sd, e, of, true), slicing: k.slicing(sd, e, of)}
		missing := false
		for _, x := range by {
			c, known := k.condition(x.kind, x.path, sd, e, sl.rules)
			if c.decides {
				sl.conditions = append(sl.conditions, c)
			}
			missing = missing || !known
		}
		// A discriminator that the slice says nothing about does not tell it apart; one must.
		if len(sl.conditions) == 0 || missing {
			s.undecided = k.v.note("slice", k.p.url+"#"+sd.id, "its discriminators do not tell its values, or lead to a profile that is not at hand")
		}
		asks = asks || sl.min > 0 || sl.max != fhir.Unbounded && sl.max != e.Max || sl.rules != nil || sl.slicing != nil
		s.slices = append(s.slices, sl)
	}
	if !asks {
		return nil
	}
	return s
}

// condition compiles what one discriminator says of a slice. Known is false if that stands in a profile that is not at
// hand.
func (k *profileCompiler) condition(kind, path string, sd *definition, e *fhir.Element, r *rules) (c condition, known bool) {
	c = condition{kind: kind, path: discriminatorPath(path)}
	d := sd
	if len(c.path) == 1 && c.path[0] == "url" && isExtension(sd) {
		// The slice of an extension has the extension's own definition for a type, which need not be at hand.
		if url := sd.profileURL("profile"); url != "" {
			c.kind, c.urls, c.decides = "url", []string{withoutVersion(url)}, true
			return c, true
		}
	}
	known = true
	fixed, pattern := d.polymorph("fixed"), d.polymorph("pattern")
	var targets []string // of a path that ends by following a reference
	var variant *fhir.Type
	for _, name := range c.path {
		fixed, pattern = firstOf(fixed.Get(name)), firstOf(pattern.Get(name))
		targets = nil
		if name == "resolve()" && d != nil {
			if targets = d.targets(); kind == "type" || kind == "profile" {
				d, r = nil, nil // the types or profiles that it may point to are all that is asked
				continue
			}
		}
		var found bool
		d, r, found = k.below(d, r, name)
		known = known && found
		if d == nil {
			continue
		}
		variant = d.variantOf(name)
		if x := d.polymorph("fixed"); x != nil {
			fixed = x
		}
		if x := d.polymorph("pattern"); x != nil {
			pattern = x
		}
	}
	switch {
	case fixed != nil:
		c.within, c.exact = fixed, true
	case pattern != nil:
		c.within = pattern
	}
	switch kind {
	case "value", "pattern":
		c.rules = r
		c.decides = c.within != nil || r.discriminates()
	case "exists":
		if d != nil {
			c.exists, c.decides = d.min() > 0, d.min() > 0 || d.max() == 0
		}
	case "type":
		for _, url := range targets {
			if t := k.typeOf(url); t != nil {
				c.types = append(c.types, t)
			}
		}
		for _, n := range d.types() {
			if t := fhir.Lookup(n.Get("code").Str()); t != nil {
				c.types = append(c.types, t)
			}
		}
		if len(c.types) == 0 && variant != nil {
			c.types = append(c.types, variant)
		}
		c.decides = len(c.types) > 0
	case "profile":
		c.urls = targets
		for _, n := range d.types() {
			c.urls = append(c.urls, texts(n.Get("profile"))...)
		}
		c.decides = len(c.urls) > 0
	}
	return c, known
}

// typeOf is the type that a profile constrains, or that a URL of R4 names; nil if that is not at hand.
func (k *profileCompiler) typeOf(url string) *fhir.Type {
	if t := coreType(url); t != nil {
		return t
	}
	return fhir.Lookup(k.v.definition(url).Get("type").Str())
}

func isExtension(d *definition) bool {
	types := d.types()
	return len(types) == 1 && types[0].Get("code").Str() == "Extension"
}

// firstOf takes the only entry of an array: a pattern names one coding.
func firstOf(n *fhir.Node) *fhir.Node {
	if n != nil && n.Kind == fhir.Array {
		if len(n.Items) != 1 {
			return nil
		}
		return n.Items[0]
	}
	return n
}

// below goes one step of a discriminator's path down the definitions: within the profile, or into the one that the
// element's type or the target of its reference has. Nil if nothing is asked there; known is false if that is not at
// hand.
func (k *profileCompiler) below(d *definition, r *rules, name string) (to *definition, asks *rules, known bool) {
	if d == nil {
		return nil, nil, true
	}
	if name == "resolve()" {
		return k.root(d.profileURL("targetProfile"))
	}
	if url, ok := strings.CutPrefix(name, "extension("); ok {
		url = strings.Trim(url, "'\")")
		for _, child := range d.children {
			if child.name != "extension" {
				continue
			}
			for _, s := range child.slices {
				if withoutVersion(s.profileURL("profile")) == url || s.slice == url {
					if len(s.children) > 0 {
						return s, nil, true
					}
					return k.root(s.profileURL("profile"))
				}
			}
		}
		return nil, nil, true
	}
	if strings.HasPrefix(name, "ofType(") {
		return d, r, true
	}
	if child := d.child(name); child != nil {
		var m *member
		if r != nil {
			if i := slices.IndexFunc(r.members, func(m *member) bool { return m.name == child.name }); i >= 0 {
				m = r.members[i]
			}
		}
		switch {
		case len(child.slices) == 1 && len(child.children) == 0: // the one slice that says what the element must have
			if m != nil && m.slicing != nil {
				return child.slices[0], m.slicing.slices[0].rules, true
			}
			return child.slices[0], nil, true
		case m != nil:
			return child, m.each, true
		}
		return child, nil, true
	}
	if url := d.profileURL("profile"); url != "" {
		root, rr, known := k.root(url)
		if root == nil {
			return nil, nil, known
		}
		return k.below(root, rr, name)
	}
	return nil, nil, true
}

// root is the definition and the rules of another profile. Profiles are compiled one within the other only where a
// discriminator leads there, and never one that is being compiled.
func (k *profileCompiler) root(url string) (*definition, *rules, bool) {
	if url == "" || coreType(url) != nil {
		return nil, nil, true
	}
	var p *profile
	if known, ok := k.v.profiles.Load(url); ok {
		p = known.(*profile)
	} else {
		var whole bool
		if p, whole = k.v.compileProfile(url); whole {
			k.v.profiles.Store(url, p)
		} else {
			k.partial = true
		}
	}
	if p == nil {
		return nil, nil, false
	}
	return p.tree.root, p.root, true
}

// discriminatorPath cuts a path into names, functions included; none for $this.
func discriminatorPath(path string) []string {
	var out []string
	for path != "" {
		end, depth := 0, 0
		for end < len(path) && (path[end] != '.' || depth > 0) {
			switch path[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
			end++
		}
		if name := path[:end]; name != "$this" && name != "" {
			out = append(out, name)
		}
		path = path[min(end+1, len(path)):]
	}
	return out
}

// discriminates tells whether rules ask for a value by which a slice can be told.
func (r *rules) discriminates() bool {
	if r == nil {
		return false
	}
	if r.fixed != nil || r.pattern != nil || r.binding != nil {
		return true
	}
	for _, m := range r.members {
		if m.each.discriminates() || m.slicing != nil {
			return true
		}
	}
	return false
}

// sliced checks the values of an element by its slices.
func (c *Checker) sliced(r *rules, s *slicing, e *fhir.Element, values []value, parent value) {
	if s.undecided != nil {
		if len(values) > 0 {
			c.unknown(s.undecided)
		}
		return
	}
	taken := make([]int, len(values)) // which slice, from 1; 0 none; -1 cannot be told
	counts := make([]int, len(s.slices))
	unsure, last, rest := false, 0, false
	for i := range values {
		for j, sl := range s.slices {
			got := c.belongs(sl, values[i])
			if got == terminology.In {
				taken[i] = j + 1
				break
			}
			if got == terminology.NotKnown {
				taken[i], unsure = -1, true
			}
		}
		at := taken[i] - 1
		if at < 0 {
			if taken[i] == 0 && s.closed {
				c.push(e, values[i].typ, indexOf(e, i))
				c.report(r.issue("structure", RuleSlice, "it belongs to none of the slices, and the profile allows no other"), values[i])
				c.pop()
			}
			rest = rest || taken[i] == 0
			continue
		}
		counts[at]++
		c.push(e, values[i].typ, indexOf(e, i))
		if s.atEnd && rest {
			c.report(r.issue("structure", RuleSlice, "it stands behind values that belong to no slice"), values[i])
		}
		if s.ordered && at < last {
			c.report(r.issue("structure", RuleSlice, "it stands behind values of a later slice"), values[i])
		}
		last = max(last, at)
		c.rules(s.slices[at].rules, values[i])
		c.pop()
	}
	for j, sl := range s.slices {
		switch {
		case counts[j] < sl.min && !unsure:
			c.push(e, soleTypeOf(e), -1)
			x := r.issue("required", RuleSliceMin, "the profile asks for the slice "+sl.name+", which is missing or too few")
			x.Missing = ":" + sl.name
			c.report(x, parent)
			c.pop()
		case sl.max != fhir.Unbounded && counts[j] > sl.max:
			c.push(e, soleTypeOf(e), -1)
			c.report(r.issue("structure", RuleMax, "more values than the profile allows for the slice "+sl.name), parent)
			c.pop()
		}
		if sl.slicing != nil {
			var own []value
			for i := range values {
				if taken[i] == j+1 {
					own = append(own, values[i])
				}
			}
			c.sliced(r, sl.slicing, e, own, parent)
		}
	}
	if unsure {
		c.unknown(c.v.note("slice", r.profile.url+"#"+e.Path, "whether a value belongs to a slice cannot be told"))
	}
}

func soleTypeOf(e *fhir.Element) *fhir.Type { return e.Types[0] }

// belongs tells whether a value belongs to a slice: In if all its conditions say so.
func (c *Checker) belongs(sl *slice, x value) terminology.Verdict {
	out := terminology.In
	for i := range sl.conditions {
		switch c.meets(&sl.conditions[i], x) {
		case terminology.NotIn:
			return terminology.NotIn
		case terminology.NotKnown:
			out = terminology.NotKnown
		}
	}
	return out
}

// meets asks one condition of a value.
func (c *Checker) meets(k *condition, x value) terminology.Verdict {
	if k.kind == "url" {
		return decided(x.node.Get("url").Str() == k.urls[0])
	}
	base := len(c.values)
	defer func() { c.values = c.values[:base] }()
	reached := c.walk(k.path, x)
	found := c.values[base:len(c.values):len(c.values)]
	if !reached && k.kind != "exists" {
		return terminology.NotKnown
	}
	switch k.kind {
	case "exists":
		return decided((len(found) > 0) == k.exists)
	case "type":
		for _, v := range found {
			for _, t := range k.types {
				if v.typ.Is(t.Name) {
					return terminology.In
				}
			}
		}
		return terminology.NotIn
	case "profile":
		out := terminology.NotIn
		for _, v := range found {
			for _, url := range k.urls {
				p := c.v.profile(url)
				if core := coreType(url); core != nil {
					if v.typ.Is(core.Name) {
						return terminology.In
					}
					continue
				}
				if p == nil {
					out = terminology.NotKnown
					continue
				}
				if !v.typ.Is(p.typ.Name) {
					continue
				}
				if yes, sure := c.conforms(p, v); yes && sure {
					return terminology.In
				} else if yes {
					out = terminology.NotKnown
				}
			}
		}
		return out
	}
	out := terminology.NotIn
	for _, v := range found {
		if k.within != nil {
			c.lookedFor(v, k.within)
			if k.exact && !same(k.within, v.node) || !k.exact && !holds(v.node, k.within) {
				continue
			}
			return terminology.In
		}
		switch c.matches(k.rules, v) {
		case terminology.In:
			return terminology.In
		case terminology.NotKnown:
			out = terminology.NotKnown
		}
	}
	return out
}

func decided(yes bool) terminology.Verdict {
	if yes {
		return terminology.In
	}
	return terminology.NotIn
}

// walk appends the values at the end of a discriminator's path. False if a reference on the way leads out of reach.
func (c *Checker) walk(path []string, x value) bool {
	if len(path) == 0 {
		c.values = append(c.values, x)
		return true
	}
	name, rest := path[0], path[1:]
	base := len(c.values)
	var next []value
	switch {
	case name == "resolve()":
		text := x.node.Get("reference").Str()
		if text == "" {
			return false
		}
		to, ok := c.follow(text)
		if !ok || to.node == nil && (len(rest) > 0 || to.typ == "") {
			return false
		}
		next = append(next, value{node: to.node, typ: fhir.Lookup(to.typ)})
	case strings.HasPrefix(name, "extension("):
		url := strings.Trim(strings.TrimPrefix(name, "extension("), "')")
		holder := x.node
		if x.typ.Kind == fhir.KindPrimitive {
			holder = x.under
		}
		if list := holder.Get("extension"); list != nil {
			for _, item := range list.Items {
				if item.Get("url").Str() == url {
					next = append(next, value{node: item, typ: fhir.Lookup("Extension")})
				}
			}
		}
	case strings.HasPrefix(name, "ofType("):
		if want := strings.TrimSuffix(strings.TrimPrefix(name, "ofType("), ")"); x.typ.Is(want) {
			next = append(next, x)
		}
	default:
		c.collect(name, x)
		next = append(next, c.values[base:]...)
		c.values = c.values[:base]
	}
	for _, v := range next {
		if v.typ == nil || !c.walk(rest, v) {
			return false
		}
	}
	return true
}

// matches asks whether a value is one that a slice's rules describe: fixed values, patterns and bindings, here and below.
// What else the rules ask is checked once it is known to belong to the slice.
func (c *Checker) matches(r *rules, x value) terminology.Verdict {
	if r == nil {
		return terminology.In
	}
	if r.fixed != nil {
		c.lookedFor(x, r.fixed)
	}
	if r.pattern != nil {
		c.lookedFor(x, r.pattern)
	}
	if r.fixed != nil && !same(r.fixed, x.node) || r.pattern != nil && !holds(x.node, r.pattern) {
		return terminology.NotIn
	}
	out := terminology.In
	if r.binding != nil {
		if x.node != nil && x.node.Kind == fhir.String {
			c.looked(x)
		}
		if out = r.binding.verdict(x); out == terminology.NotIn {
			return out
		}
	}
	for _, m := range r.members {
		if !m.each.discriminates() {
			continue
		}
		base := len(c.values)
		c.collect(m.name, x)
		values := c.values[base:len(c.values):len(c.values)]
		best := terminology.NotIn
		if len(values) == 0 && m.min == 0 {
			best = terminology.In
		}
		for _, v := range values {
			if got := c.matches(m.each, v); got == terminology.In || got == terminology.NotKnown && best == terminology.NotIn {
				best = got
				if got == terminology.In {
					break
				}
			}
		}
		c.values = c.values[:base]
		switch best {
		case terminology.NotIn:
			return terminology.NotIn
		case terminology.NotKnown:
			out = terminology.NotKnown
		}
	}
	return out
}
