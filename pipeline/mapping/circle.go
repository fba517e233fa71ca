package mapping

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Resources are loaded level by level, so that what one refers to is there before it. Where mappings refer to each other
// in a circle, or one to itself, no order does: some references of the circle are late. A resource with late references
// is introduced without them, and written whole when their targets are there.

// RuleCircle is the rule of the notices about mappings that refer to each other in a circle.
const RuleCircle = "circle"

// edge is that one mapping refers to another.
type edge struct {
	from, to *Mapping
	refs     []*plan // the formulas of the template that do; none: something else does
	needed   string  // an element that cannot be left out for a while, "" if all can
	late     bool
}

// name tells edges apart and orders them.
func (e *edge) name() string { return e.from.Name + " → " + e.to.Name }

// graph is which mapping refers to which.
type graph map[*Mapping][]*edge

// levels finds circles, says which references are late, and orders the mappings by the others.
func (c *compiler) levels() {
	g := c.graph()
	for _, circle := range g.circles(c.program.Mappings) {
		c.breakCircle(g, circle)
	}
	level := map[*Mapping]int{}
	var visit func(m *Mapping) int
	visit = func(m *Mapping) int {
		if n, ok := level[m]; ok {
			return n
		}
		level[m] = 0 // a circle that could not be broken is a fault already
		n := 0
		for _, e := range g[m] {
			if !e.late {
				n = max(n, visit(e.to)+1)
			}
		}
		level[m] = n
		return n
	}
	for _, m := range c.program.Mappings {
		m.Level = visit(m)
	}
	for m, edges := range g {
		m.Completes = m.Level
		for _, e := range edges {
			if e.late {
				m.Late, m.Completes = true, max(m.Completes, e.to.Level)
			}
		}
	}
}

// graph lists the edges of each mapping in the order of names.
func (c *compiler) graph() graph {
	byName := map[string]*Mapping{}
	for _, m := range c.program.Mappings {
		byName[m.Name] = m
	}
	g := graph{}
	for _, m := range c.program.Mappings {
		refs := map[string][]*plan{}
		m.body.root.references(refs)
		for _, name := range m.Refers {
			to := byName[name]
			if to == nil {
				c.notice(Remark, "absent-target", m.body.file, m.body.file.root, "", "%s refers to %s, whose table is absent: these references will be missing", m.Name, name)
				continue
			}
			e := &edge{from: m, to: to, refs: refs[name]}
			if len(e.refs) == 0 {
				e.needed = "patient"
			}
			if m.body.patient != nil && slices.ContainsFunc(m.body.patient.refs, func(r refUse) bool { return r.target.file.name == name }) {
				e.needed = "patient"
			}
			for _, p := range e.refs {
				if !optionalPath(fhir.Lookup(m.Type), p.path) {
					e.needed = m.Type + "." + p.path
				}
			}
			g[m] = append(g[m], e)
		}
	}
	return g
}

// references gathers the formulas of a template that refer to each mapping.
func (p *plan) references(refs map[string][]*plan) {
	if p == nil {
		return
	}
	if p.f != nil {
		for _, r := range p.f.refs {
			if name := r.target.file.name; !slices.Contains(refs[name], p) {
				refs[name] = append(refs[name], p)
			}
		}
	}
	for _, m := range p.members {
		m.references(refs)
	}
	for _, e := range p.entries {
		e.plan.references(refs)
	}
}

// optionalPath tells whether the element at a path, or one around it, can be left out. One inside of a contained resource
// cannot: references to #ID would lead nowhere.
func optionalPath(typ *fhir.Type, path string) bool {
	for _, step := range strings.Split(path, ".") {
		e, below := typ.Element(step)
		if e == nil || step == "contained" {
			return false
		}
		if e.Min == 0 {
			return true
		}
		typ = below
	}
	return false
}

// circles are the sets of mappings that refer to each other, or one to itself (Tarjan's strongly connected components),
// in the order of their first names.
func (g graph) circles(all []*Mapping) (out [][]*Mapping) {
	index, low, open := map[*Mapping]int{}, map[*Mapping]int{}, map[*Mapping]bool{}
	var stack []*Mapping
	var visit func(m *Mapping)
	visit = func(m *Mapping) {
		index[m] = len(index) + 1
		low[m], open[m] = index[m], true
		stack = append(stack, m)
		self := false
		for _, e := range g[m] {
			self = self || e.to == m
			switch {
			case index[e.to] == 0:
				visit(e.to)
				low[m] = min(low[m], low[e.to])
			case open[e.to]:
				low[m] = min(low[m], index[e.to])
			}
		}
		if low[m] != index[m] {
			return
		}
		at := slices.Index(stack, m)
		circle := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, x := range circle {
			open[x] = false
		}
		if len(circle) > 1 || self {
			slices.SortFunc(circle, func(a, b *Mapping) int { return strings.Compare(a.Name, b.Name) })
			out = append(out, circle)
		}
	}
	for _, m := range all {
		if index[m] == 0 {
			visit(m)
		}
	}
	return out
}

// mostTried bounds the edges of which every choice is tried.
const mostTried = 12

// breakCircle makes references late until nothing refers in a circle: those that mean the fewest elements, of equal ones
// the first by name. References that a resource cannot do without stay; a circle of such alone is a fault.
func (c *compiler) breakCircle(g graph, circle []*Mapping) {
	var free []*edge
	for _, m := range circle {
		for _, e := range g[m] {
			if e.needed == "" && slices.Contains(circle, e.to) {
				free = append(free, e)
			}
		}
	}
	slices.SortStableFunc(free, func(a, b *edge) int {
		if d := len(a.refs) - len(b.refs); d != 0 {
			return d
		}
		return strings.Compare(a.name(), b.name())
	})
	for _, e := range free {
		e.late = true
	}
	if path := g.path(circle); path != nil {
		var needed []string
		for _, e := range path {
			needed = append(needed, e.needed)
		}
		e := path[0]
		c.fault(e.from.body.file, e.node(), "leave one of them out: of a circle something must be written first",
			"the mappings refer to each other in a circle, and none can do without: %s (%s)", circleText(path), strings.Join(needed, ", "))
		return
	}
	if len(free) <= mostTried {
		least := ^uint(0)
		best := uint(1)<<len(free) - 1
		for choice := uint(1); choice < uint(1)<<len(free); choice++ {
			weight := uint(0)
			for i, e := range free {
				if e.late = choice>>i&1 == 1; e.late {
					weight += uint(len(e.refs))
				}
			}
			if weight < least && g.path(circle) == nil {
				least, best = weight, choice
			}
		}
		for i, e := range free {
			e.late = best>>i&1 == 1
		}
	} else { // those that mean the most elements are given back first, where that closes no circle
		for _, e := range slices.Backward(free) {
			e.late = false
			if g.path(circle) != nil {
				e.late = true
			}
		}
	}
	for _, e := range free {
		if e.late {
			c.tellLate(g, circle, e)
		}
	}
}

// tellLate marks the formulas of late references, and says so.
func (c *compiler) tellLate(g graph, circle []*Mapping, e *edge) {
	var paths []string
	for _, p := range e.refs {
		if !slices.Contains(p.later, e.to.Type) {
			p.later = append(p.later, e.to.Type)
		}
		if path := e.from.Type + "." + p.path; !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	c.notices = append(c.notices, Notice{Severity: Remark, Rule: RuleCircle, Subject: e.from.Name,
		Fault: e.from.body.file.at(e.node(), "", "the mappings refer to each other in a circle: %s; %s is written first without %s, and whole when its targets are there",
			circleText(g.around(circle, e, true)), e.from.Name, strings.Join(paths, ", "))})
}

// node is the place of the first reference.
func (e *edge) node() *yaml.Node {
	if len(e.refs) == 0 {
		return e.from.body.file.patient
	}
	return e.refs[0].node
}

// path is a circle of edges that are not late, nil if there is none. It is the same each time.
func (g graph) path(circle []*Mapping) []*edge {
	for _, m := range circle {
		for _, e := range g[m] {
			if !e.late && slices.Contains(circle, e.to) {
				if path := g.around(circle, e, false); path != nil {
					return path
				}
			}
		}
	}
	return nil
}

// around is the shortest way from an edge back to where it begins, over late edges too if late: nil if there is none.
func (g graph) around(circle []*Mapping, first *edge, late bool) []*edge {
	came := map[*Mapping]*edge{first.to: nil}
	for queue := []*Mapping{first.to}; len(queue) > 0; queue = queue[1:] {
		m := queue[0]
		if m == first.from {
			var path []*edge
			for e := came[m]; e != nil; e = came[e.from] {
				path = append(path, e)
			}
			path = append(path, first)
			slices.Reverse(path)
			return path
		}
		for _, e := range g[m] {
			if _, seen := came[e.to]; !seen && (late || !e.late) && slices.Contains(circle, e.to) {
				came[e.to] = e
				queue = append(queue, e.to)
			}
		}
	}
	return nil
}

// circleText is a circle in words: a → b → a.
func circleText(path []*edge) string {
	var b strings.Builder
	for _, e := range path {
		fmt.Fprintf(&b, "%s → ", e.from.Name)
	}
	if len(path) > 0 {
		b.WriteString(path[len(path)-1].to.Name)
	}
	return b.String()
}
