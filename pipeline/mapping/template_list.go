package mapping

import (
	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// decide applies the policy's decision to a member. A decision that depends on the value is settled for single values
// by their literals, and for lists entry by entry.
func (t *templates) decide(p *plan, in *place, d phi.Decision, n *yaml.Node) {
	if in.free {
		return
	}
	if len(d.Tests) > 0 {
		if p.elem.Repeats() {
			return // each entry for itself
		}
		settled, ok := settle(d, n)
		if !ok {
			p.decide = &deferred{d, p.typ}
			in.free = true
			return
		}
		d = settled
	}
	switch {
	case d.Method != phi.Keep && (d.Whole || p.typ.Kind == fhir.KindPrimitive):
		p.cut, p.method, p.required, in.free = true, d.Method, p.elem.Min > 0, true
	case d.Whole:
		in.free = true
	default:
		in.rules = d.Below
	}
}

// settle decides by the literals of the template; false if a formula has a say.
func settle(d phi.Decision, n *yaml.Node) (phi.Decision, bool) {
	known := true
	out := d.Decide(func(test *phi.Test) bool {
		result := true
		for _, e := range test.Equals {
			match, sure := literalMatch(n, e.Path, e.Value)
			if sure && !match {
				return false
			}
			if !sure {
				known, result = false, false
			}
		}
		return result
	})
	return out, known
}

// literalMatch tells whether some value at the path is the text, and whether the template alone says so.
func literalMatch(n *yaml.Node, path []string, value string) (match, sure bool) {
	switch n.Kind {
	case yaml.SequenceNode:
		sure = true
		for _, c := range n.Content {
			m, s := literalMatch(c, path, value)
			if s && m {
				return true, true
			}
			sure = sure && s
		}
		return false, sure
	case yaml.MappingNode:
		for _, p := range document.Pairs(n) {
			if p.Key == "forEach" {
				return false, false
			}
			if len(path) > 0 && p.Key == path[0] {
				return literalMatch(p.Value, path[1:], value)
			}
		}
		return false, true
	}
	if _, _, ok := isFormula(n); ok {
		return false, false
	}
	return len(path) == 0 && literalText(n) == value, true
}

// list compiles the value of an element that repeats.
func (t *templates) list(p *plan, n *yaml.Node, at place, d phi.Decision) {
	p.max = p.elem.Max
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
		at.inFlow = at.inFlow || n.Style&yaml.FlowStyle != 0
		if len(nodes) == 0 {
			t.c.fault(t.b.file, n, "take it out", "%s is an empty list", p.elem.Path)
			return
		}
	}
	var entries []*entry
	for _, c := range nodes {
		e := &entry{plan: &plan{elem: p.elem, typ: p.typ, node: c, path: p.path, mark: -1}}
		in := at
		body := c
		if each := find(c, "forEach"); each != nil {
			if e.forEach = t.compileFormula(each, in, p.path+" forEach"); e.forEach == nil {
				continue
			}
			in.env = t.itemEnv(e.forEach.expr.Static(), in.env)
			body = t.itemBody(c, p)
			if body == nil {
				continue
			}
		}
		if c.Kind == yaml.SequenceNode {
			t.c.fault(t.b.file, c, "", "%s is a list of %s, not of lists", p.elem.Path, p.typ.Name)
			continue
		}
		if len(d.Tests) > 0 && !in.free {
			t.entryDecision(e.plan, &in, d, body)
		}
		t.value(e.plan, body, in)
		if e.plan.kind == planConst && e.plan.text == nil || (e.plan.kind == planScalar || e.plan.kind == planComplex) && e.plan.f == nil {
			continue
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return
	}
	finishList(p, entries)
	if p.kind == planConst && p.max > 0 && len(entries) > p.max {
		t.c.fault(t.b.file, n, "", "%s takes at most %d values", p.elem.Path, p.max)
	}
}

// entryDecision settles what the policy does with one entry of a list.
func (t *templates) entryDecision(p *plan, in *place, d phi.Decision, n *yaml.Node) {
	settled, ok := settle(d, n)
	switch {
	case !ok:
		p.decide = &deferred{d, p.typ}
		in.free = true
	case settled.Method != phi.Keep && settled.Whole:
		p.cut, p.method, in.free = true, settled.Method, true
	case settled.Whole:
		in.free = true
	default:
		in.rules = settled.Below
	}
}

// find is the value of a key of a mapping node, or nil.
func find(n *yaml.Node, key string) *yaml.Node {
	for _, p := range document.Pairs(n) {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}

// itemBody is an entry without its forEach: for primitives its `value`, else the rest of the object.
func (t *templates) itemBody(n *yaml.Node, p *plan) *yaml.Node {
	if p.typ.Kind == fhir.KindPrimitive {
		value := find(n, "value")
		if value == nil || len(n.Content) != 4 {
			t.c.fault(t.b.file, n, "{forEach: = …, value: = …}", "an entry of %s with forEach has a `value` and nothing else", p.elem.Path)
			return nil
		}
		return value
	}
	if value := find(n, "value"); value != nil && len(n.Content) == 4 {
		if e, _ := p.typ.Element("value"); e == nil || e.Choice {
			return value // a formula that gives the whole datatype
		}
	}
	body := *n
	body.Content = nil
	for _, pair := range document.Pairs(n) {
		if pair.Key != "forEach" {
			body.Content = append(body.Content, pair.Node, pair.Value)
		}
	}
	return &body
}
