package mapping

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// templates compiles the formulas and the template of one mapping.
type templates struct {
	c       *compiler
	m       *Mapping
	b       *body
	f       *formulaCompiler
	seen    []bool                  // columns that something reads
	now     []int                   // columns read by the formula at hand
	columns map[*fhirpath.Env][]int // what the columns of an environment are in the table, under the mapping's names
	feeds   map[int]string          // column → the first clinical element it feeds
	root    *fhirpath.Env           // of the resource's formulas outside any item
	paths   []string                // of all formulas, for `allow empty`
}

// place is where in the resource a part of the template stands.
type place struct {
	path   string // without indexes
	rules  phi.Rules
	free   bool // nothing here or below is cut one by one: the policy keeps it, or cuts it as one further up
	env    *fhirpath.Env
	inFlow bool
	elem   *fhir.Element
}

// compile compiles everything of the mapping. typ may be nil if the type was faulted.
func (t *templates) compile(typ *fhir.Type) {
	f, b := t.b.file, t.b
	if len(f.groupBy) > 0 {
		for _, g := range f.groupBy {
			b.group = append(b.group, t.c.column(b, g, "group by"))
		}
		for _, k := range f.key {
			if !slices.ContainsFunc(f.groupBy, func(g textAt) bool { return g.text == k.text }) {
				t.c.fault(f, k.node, "add it to `group by`, or leave `key` out", "the key of a group names its columns only; %q is not in `group by`", k.text)
			}
		}
	}
	for _, k := range f.keyColumns() {
		if i := t.c.column(b, k, "key"); i >= 0 {
			b.key = append(b.key, i)
			t.seen[i] = true
		}
	}
	for _, g := range b.group {
		if g >= 0 {
			t.seen[g] = true
		}
	}
	b.prefix = t.c.targets[f.name].prefix
	filled := map[int]bool{}
	rows := &fhirpath.Env{Columns: b.columns, Strict: true, Record: true, MayBeBlank: func(col int) bool { return !filled[col] }}
	same := make([]int, len(b.columns))
	for i := range same {
		same[i] = i
	}
	t.columns[rows] = same
	record := rows
	if len(f.groupBy) > 0 {
		// The group's columns come first, so that a column has the same index in the group as in b.group.
		record = &fhirpath.Env{Strict: true, Record: true, MayBeBlank: func(col int) bool { return b.group[col] < 0 || !filled[b.group[col]] },
			Children: []fhirpath.Child{{Name: "rows", Env: rows}}}
		for _, g := range f.groupBy {
			record.Columns = append(record.Columns, g.text)
		}
		t.columns[record] = b.group
	}
	b.skip = t.rules(f.skip, "skip", rows)
	b.refuse = t.rules(f.refuse, "refuse", record)
	prove := func(list []ruleAt) {
		for _, r := range list {
			if i := slices.Index(b.columns, provesFilled(r.value)); i >= 0 {
				filled[i] = true
			}
		}
	}
	prove(f.skip)
	if len(f.groupBy) == 0 {
		prove(f.refuse)
	}
	t.patient(record, typ)
	env := record
	if f.forEach != nil {
		env = t.top(record)
	}
	t.root = env
	b.find = t.rules(f.find, "find", record)
	if f.resource != nil && typ != nil {
		b.root = t.resource(f.resource, typ, env)
	}
	t.allowed()
	t.refers()
	t.warnKeys()
}

// reads notes a column that a formula reads.
func (t *templates) reads(env *fhirpath.Env, column int) {
	columns := t.columns[env]
	if column < len(columns) && columns[column] >= 0 {
		t.seen[columns[column]] = true
		t.now = append(t.now, columns[column])
	}
}

// rules compiles skip, refuse and find.
func (t *templates) rules(list []ruleAt, what string, env *fhirpath.Env) (out []rule) {
	for _, r := range list {
		f := t.f.compile(r.value, env, what+" "+r.name, false)
		if f == nil {
			continue
		}
		st := f.expr.Static()
		if !st.Kinds.Has(fhirpath.KindBoolean) {
			t.c.faultFormula(f, "compare it with something, or ask .exists()", "%s %q must be a Boolean, not %s", what, r.name, describe(st))
		}
		out = append(out, rule{r.name, f})
	}
	return out
}

// patient compiles `patient:`.
func (t *templates) patient(env *fhirpath.Env, typ *fhir.Type) {
	n := t.b.file.patient
	if n == nil {
		return
	}
	_, _, ok := isFormula(n)
	switch {
	case ok:
		f := t.f.compile(n, env, "patient", false)
		if f == nil {
			return
		}
		t.b.patient = f
		st := f.expr.Static()
		if st.FHIR == nil || !st.FHIR.Is("Reference") {
			t.c.faultFormula(f, "= ref('patient', COLUMN)", "patient must be a Reference made by ref(), not %s", describe(st))
		}
		for _, r := range f.refs {
			if r.target.typ != "Patient" && r.target.typ != "" {
				t.c.faultFormula(f, "", "patient refers to the mapping %s, which makes %s, not Patient", r.target.file.name, r.target.typ)
			}
		}
	case n.Kind == yaml.ScalarNode && n.Value == "self":
		t.b.self, t.m.Self = true, true
		if typ != nil && typ.Name != "Patient" {
			t.c.fault(t.b.file, n, "= ref('patient', COLUMN)", "`patient: self` is for mappings that make Patient, not %s", typ.Name)
		}
	case n.Kind == yaml.ScalarNode && n.Value == "none":
		t.m.Shared = true
	default:
		t.c.fault(t.b.file, n, "= ref('patient', COLUMN), or self, or none for what belongs to no patient", "patient must be a formula, self or none")
	}
}

// top compiles a forEach at the top and returns the environment of its items.
func (t *templates) top(record *fhirpath.Env) *fhirpath.Env {
	f := t.b.file
	each := t.f.compile(f.forEach, record, "forEach", false)
	if each == nil {
		return record
	}
	t.b.forEach = each
	env := t.itemEnv(each.expr.Static(), record)
	if f.forEachKey != nil {
		t.b.itemKey = t.f.compile(f.forEachKey, env, "forEach key", false)
	} else if each.expr.Static().Env != nil {
		t.c.fault(f, f.forEach, "add `forEach key: = COLUMN`", "the items are rows: which of them is which must be told by a `forEach key`")
	}
	return env
}

// itemEnv is the environment of formulas over the items of a forEach.
func (t *templates) itemEnv(st fhirpath.StaticType, outer *fhirpath.Env) *fhirpath.Env {
	for outer.Outer != nil {
		outer = outer.Outer // names are looked for in the item, then in the record
	}
	if st.Env != nil {
		env := *st.Env
		env.Outer = outer
		t.columns[&env] = t.columns[st.Env]
		return &env
	}
	item := st
	item.Single, item.MayBeEmpty, item.Blank = true, false, false
	return &fhirpath.Env{Item: &item, Outer: outer, Strict: true, Record: true}
}

// resource compiles the template as a whole.
func (t *templates) resource(n *yaml.Node, typ *fhir.Type, env *fhirpath.Env) *plan {
	var rules phi.Rules
	if t.c.o.Policy != nil {
		rules = t.c.o.Policy.Rules(typ.Name)
	}
	p := &plan{typ: typ, node: n, always: true, mark: -1}
	at := place{rules: rules, free: t.c.o.Policy == nil, env: env}
	members := []*plan{
		{kind: planID, label: "id", name: []byte(`"id":`), mark: -1},
		{kind: planConst, label: "resourceType", name: []byte(`"resourceType":`), text: fhir.AppendString(nil, typ.Name), mark: -1},
	}
	var meta *yaml.Node
	own := &yaml.Node{Kind: yaml.MappingNode, Style: n.Style, Line: n.Line, Column: n.Column}
	for _, pair := range document.Pairs(n) {
		switch pair.Key {
		case "id", "resourceType":
			t.c.fault(t.b.file, pair.Node, "take it out", "%s is written by Chartlift: the id is derived from the key", pair.Key)
		case "meta":
			meta = pair.Value
		default:
			own.Content = append(own.Content, pair.Node, pair.Value)
		}
	}
	members = append(members, t.meta(meta, typ, at))
	t.members(p, own, typ, at, members)
	p.tracking()
	return p
}

// meta compiles meta: profile and tag are ours, the rest is the template's.
func (t *templates) meta(n *yaml.Node, typ *fhir.Type, at place) *plan {
	e, metaType := typ.Element("meta")
	d := t.c.decision(at.rules, e, metaType)
	p := &plan{typ: metaType, elem: e, path: "meta", label: "meta", name: []byte(`"meta":`), node: n, mark: -1, always: true}
	inner := at
	inner.path, inner.rules, inner.elem = "meta", d.Below, e
	var members []*plan
	if profile := t.profiles(metaType, inner); profile != nil {
		members = append(members, profile)
	}
	tag := []byte(`[{"code":`)
	tag = append(fhir.AppendString(tag, t.c.o.Migration), `,"system":`...)
	tag = append(fhir.AppendString(tag, fhir.TagSystem), "}]"...)
	members = append(members, &plan{kind: planConst, label: "tag", name: []byte(`"tag":`), text: tag, mark: -1})
	own := &yaml.Node{Kind: yaml.MappingNode}
	if n != nil {
		own.Style, own.Line, own.Column = n.Style, n.Line, n.Column
		if n.Kind != yaml.MappingNode {
			t.c.fault(t.b.file, n, "", "meta is an object")
		}
	}
	for _, pair := range document.Pairs(n) {
		switch pair.Key {
		case "profile":
			t.c.fault(t.b.file, pair.Node, "write `profile:` at the top of the mapping", "meta.profile is written by Chartlift")
		case "tag", "versionId", "lastUpdated":
			t.c.fault(t.b.file, pair.Node, "take it out", "meta.%s is written by Chartlift or the server", pair.Key)
		default:
			own.Content = append(own.Content, pair.Node, pair.Value)
		}
	}
	t.members(p, own, metaType, inner, members)
	return p
}

// profiles compiles `profile:` into meta.profile: URLs, or formulas that give one each.
func (t *templates) profiles(metaType *fhir.Type, at place) *plan {
	if len(t.b.file.profiles) == 0 {
		return nil
	}
	e, typ := metaType.Element("profile")
	list := &yaml.Node{Kind: yaml.SequenceNode, Line: t.b.file.profiles[0].node.Line, Column: t.b.file.profiles[0].node.Column}
	for _, x := range t.b.file.profiles {
		list.Content = append(list.Content, x.node)
		if _, _, ok := isFormula(x.node); ok {
			continue
		}
		if !strings.Contains(x.text, ":") || !typ.Valid(x.text) {
			t.c.fault(t.b.file, x.node, "such as http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", "a profile is an absolute URL, not %q", x.text)
			return nil
		}
		t.c.noticeProfile(t.b.file, x)
	}
	p := &plan{elem: e, typ: typ, node: list, path: "meta.profile", label: "profile", name: []byte(`"profile":`), mark: -1}
	at.path, at.elem, at.free = p.path, e, true // structure: no policy cuts it
	t.list(p, list, at, phi.Decision{Method: phi.Keep, Whole: true})
	if p.kind == planConst && p.text == nil {
		return nil
	}
	return p
}

// noticeProfile says once that a profile's definition is not at hand.
func (c *compiler) noticeProfile(f *file, x textAt) {
	for _, n := range c.notices {
		if n.Rule == "not-checked" && strings.Contains(n.Message, x.text) {
			return
		}
	}
	c.notice(Remark, "not-checked", f, x.node, "", "the profile %s is written, but its definition is not at hand, so it is not checked", x.text)
}

// members compiles the members of an object into p. ready are those that are there already.
func (t *templates) members(p *plan, n *yaml.Node, typ *fhir.Type, at place, ready []*plan) {
	members := ready
	bit := uint64(1)
	for _, m := range members {
		m.bit = bit
		bit <<= 1
	}
	have := map[*fhir.Element][]*plan{}
	dynamic, bits := map[*fhir.Element]uint64{}, map[string]uint64{}
	at.inFlow = at.inFlow || n.Style&yaml.FlowStyle != 0
	for _, pair := range document.Pairs(n) {
		m, e := t.member(pair, typ, at)
		if e != nil {
			have[e] = append(have[e], m)
		}
		if m == nil {
			continue
		}
		if bit == 0 {
			t.c.fault(t.b.file, pair.Node, "", "more than 64 elements in one object")
			return
		}
		// A primitive and its `_` sibling are one value.
		bare := strings.TrimPrefix(pair.Key, "_")
		if m.bit = bits[bare]; m.bit == 0 {
			m.bit, bits[bare] = bit, bit
			bit <<= 1
		}
		dynamic[e] |= m.bit
		members = append(members, m)
	}
	for _, e := range typ.Elements {
		list, there := have[e]
		path := join(at.path, e.Name)
		constant := slices.ContainsFunc(list, func(m *plan) bool { return m != nil && m.kind == planConst })
		switch {
		case e.Min > 0 && !there && !t.ours(typ, e):
			hint := ""
			if e.Choice {
				hint = "one of " + choices(e)
			}
			t.c.fault(t.b.file, n, hint, "%s is required and is not in the template", e.Path)
		case e.Min > 0 && there && !constant:
			p.checks = append(p.checks, check{mask: dynamic[e], path: path, least: true})
		}
		if e.Choice && len(list) > 1 {
			p.checks = append(p.checks, check{mask: dynamic[e], path: path, atMost: true})
		}
	}
	p.mark = -1
	p.late = false
	if typ.Name == "Meta" && at.path == "meta" {
		t.mark(members)
	}
	finishObject(p, members)
	if p.kind == planObject && len(t.unfinished(p)) > 0 {
		p.siblings = true
	}
}

// unfinished lists members that could not be compiled; they have been faulted.
func (t *templates) unfinished(p *plan) (out []*plan) {
	for _, m := range p.members {
		if (m.kind == planScalar || m.kind == planComplex) && m.f == nil {
			out = append(out, m)
		}
	}
	return out
}

// mark notes before which member of meta the security labels belong.
func (t *templates) mark(members []*plan) {
	var first *plan
	for _, m := range members {
		if m.label > "security" && (first == nil || m.label < first.label) {
			first = m
		}
	}
	if first != nil {
		first.late = true
	}
}

// ours tells elements that Chartlift writes.
func (t *templates) ours(typ *fhir.Type, e *fhir.Element) bool {
	return typ.Kind == fhir.KindResource && (e.Name == "id" || e.Name == "meta")
}

// choices lists the JSON names of a choice.
func choices(e *fhir.Element) string {
	var names []string
	for i, typ := range e.Types {
		if i == 6 {
			names = append(names, "…")
			break
		}
		names = append(names, e.JSONName(typ))
	}
	return strings.Join(names, ", ")
}

// elementNames are the JSON names that a type has.
func elementNames(typ *fhir.Type) (names []string) {
	for _, e := range typ.Elements {
		if !e.Choice {
			names = append(names, e.Name)
			continue
		}
		for _, x := range e.Types {
			names = append(names, e.JSONName(x))
		}
	}
	return names
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// member compiles one key of an object. The element is answered even if the plan failed, so that it does not also
// count as missing.
func (t *templates) member(pair document.Pair, typ *fhir.Type, at place) (*plan, *fhir.Element) {
	name := pair.Key
	bare, under := strings.CutPrefix(name, "_")
	e, et := typ.Element(bare)
	switch {
	case e == nil:
		hint := document.Hint(name, elementNames(typ))
		if name == "forEach" || name == "value" && typ.Kind != fhir.KindPrimitive {
			hint = "forEach stands in an entry of a list"
		}
		t.c.fault(t.b.file, pair.Node, hint, "%s has no element %q", typ.Name, name)
		return nil, nil
	case et == nil:
		t.c.fault(t.b.file, pair.Node, "write "+choices(e), "%s is a choice: its JSON name carries the type", e.Path)
		return nil, e
	case under && et.Kind != fhir.KindPrimitive:
		t.c.fault(t.b.file, pair.Node, "write "+bare, "%s is no primitive, so it has no %q", e.Path, name)
		return nil, e
	case document.IsNull(pair.Value):
		t.c.fault(t.b.file, pair.Node, "take it out, or quote a text that looks like null", "%s has no value", e.Path)
		return nil, e
	}
	p := &plan{elem: e, typ: et, node: pair.Value, path: join(at.path, name), label: name, name: append(fhir.AppendString(nil, name), ':'), mark: -1}
	in := at
	in.path, in.elem = p.path, e
	d := t.c.decision(at.rules, e, et)
	if under {
		t.underscore(p, pair.Value, in, d)
		return p, e
	}
	t.decide(p, &in, d, pair.Value)
	if e.Repeats() {
		t.list(p, pair.Value, in, d)
	} else {
		t.value(p, pair.Value, in)
	}
	if p.kind == planConst && p.text == nil || (p.kind == planScalar || p.kind == planComplex) && p.f == nil {
		return nil, e
	}
	return p, e
}

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

// value compiles one value: a formula, a literal or an object.
func (t *templates) value(p *plan, n *yaml.Node, at place) {
	if _, _, ok := isFormula(n); ok {
		t.formula(p, n, at)
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		t.c.fault(t.b.file, n, "", "%s takes one value, not a list", p.elem.Path)
	case yaml.MappingNode:
		if p.typ.Kind == fhir.KindPrimitive {
			hint := "a text, number or formula"
			if find(n, "forEach") != nil {
				hint = "forEach stands in an entry of a list"
			}
			t.c.fault(t.b.file, n, hint, "%s is %s, not an object", p.elem.Path, article(p.typ.Name))
			return
		}
		if find(n, "forEach") != nil && !p.elem.Repeats() {
			t.c.fault(t.b.file, n, "", "%s takes one value, so there is nothing to repeat", p.elem.Path)
			return
		}
		t.object(p, n, at)
	default:
		t.literal(p, n)
	}
}

// object compiles an object of a datatype, backbone element or contained resource.
func (t *templates) object(p *plan, n *yaml.Node, at place) {
	typ := p.typ
	var ready []*plan
	body := n
	if typ.Name == "Resource" {
		name := find(n, "resourceType")
		if name == nil || fhir.Lookup(name.Value) == nil || fhir.Lookup(name.Value).Kind != fhir.KindResource || fhir.Lookup(name.Value).Abstract {
			t.c.fault(t.b.file, n, "", "a contained resource names its type with `resourceType:`")
			return
		}
		typ = fhir.Lookup(name.Value)
		if !at.free {
			d := t.c.decision(at.rules, at.elem, typ)
			at.rules = d.Below
			if t.c.o.Policy != nil && d.Method != phi.Keep && d.Whole {
				p.cut, p.method, at.free = true, d.Method, true
			}
		}
		if find(n, "id") == nil {
			t.c.fault(t.b.file, n, "references to it are written #ID", "a contained resource has an id")
		}
		ready = []*plan{{kind: planConst, label: "resourceType", name: []byte(`"resourceType":`), text: fhir.AppendString(nil, typ.Name), mark: -1}}
		copied := *n
		copied.Content = nil
		for _, pair := range document.Pairs(n) {
			if pair.Key != "resourceType" {
				copied.Content = append(copied.Content, pair.Node, pair.Value)
			}
		}
		body = &copied
	}
	if len(n.Content) == 0 {
		t.c.fault(t.b.file, n, "", "%s is an empty object", p.elem.Path)
		return
	}
	label, name, path := p.label, p.name, p.path
	t.members(p, body, typ, at, ready)
	p.label, p.name, p.path = label, name, path
	if codes := requiredCodes(p.elem); codes != nil && (typ.Name == "Coding" || typ.Name == "CodeableConcept") {
		if p.kind == planConst {
			if node, err := fhir.Parse(p.text); err == nil && !conceptIn(codes, node, typ) {
				t.c.fault(t.b.file, n, bindingHint(codes, ""), "%s must have a code of %s", p.elem.Path, p.elem.Binding.ValueSet)
			}
		} else {
			p.coded = codes
		}
	}
}

func requiredCodes(e *fhir.Element) *fhir.CodeSet {
	if e == nil || !e.Binding.Required() {
		return nil
	}
	return e.Binding.Codes
}

// conceptIn tells whether a Coding, or one of a CodeableConcept's, is in the set.
func conceptIn(codes *fhir.CodeSet, n *fhir.Node, typ *fhir.Type) bool {
	if typ.Name == "Coding" {
		return inBinding(codes, n)
	}
	for i := 0; ; i++ {
		c := n.Get("coding").Item(i)
		if c == nil {
			return false
		}
		if inBinding(codes, c) {
			return true
		}
	}
}

func bindingHint(codes *fhir.CodeSet, code string) string {
	if hint := document.Hint(code, codes.Codes()); code != "" && hint != "" {
		return hint
	}
	list := codes.Codes()
	if len(list) > 12 {
		return fmt.Sprintf("one of %s, … (%d codes)", strings.Join(list[:12], ", "), len(list))
	}
	return "one of " + strings.Join(list, ", ")
}

// literal compiles a scalar of a primitive type.
func (t *templates) literal(p *plan, n *yaml.Node) {
	text := literalText(n)
	if p.typ.Kind != fhir.KindPrimitive {
		t.c.fault(t.b.file, n, "an object with its elements, or a formula", "%s is %s, not a text", p.elem.Path, article(p.typ.Name))
		return
	}
	if document.IsNull(n) {
		t.c.fault(t.b.file, n, "take it out, or quote a text that looks like null", "%s has no value", p.elem.Path)
		return
	}
	if !p.typ.Valid(text) {
		t.c.fault(t.b.file, n, formHint(p.typ, text), "%s is %s, and %q has not its form", p.elem.Path, article(p.typ.Name), text)
		return
	}
	if codes := requiredCodes(p.elem); codes != nil && p.typ.Kind == fhir.KindPrimitive && !codes.HasCode(text) {
		t.c.fault(t.b.file, n, bindingHint(codes, text), "%s has no code %q", p.elem.Path, text)
		return
	}
	p.kind = planConst
	if rawType(p.typ) {
		p.text = []byte(text)
	} else {
		p.text = fhir.AppendString(nil, text)
	}
}

func formHint(typ *fhir.Type, text string) string {
	switch typ.Name {
	case "boolean":
		if slices.Contains([]string{"yes", "Yes", "YES", "on", "True", "TRUE", "1", "y"}, text) {
			return "write true"
		}
		return "write true or false"
	case "date":
		return "such as 2026-01-31"
	case "dateTime", "instant":
		return "such as 2026-01-31T09:30:00-05:00"
	case "uri", "url", "canonical":
		return "a URI has no white space"
	}
	return ""
}

// rawType tells the primitives that JSON writes without quotes.
func rawType(typ *fhir.Type) bool {
	switch typ.Name {
	case "boolean", "integer", "positiveInt", "unsignedInt", "decimal":
		return true
	}
	return false
}

// underscore compiles `_name`: the id and extensions of a primitive.
func (t *templates) underscore(p *plan, n *yaml.Node, at place, d phi.Decision) {
	if p.elem.Repeats() {
		t.c.fault(t.b.file, n, "", "%s repeats: extensions of its single values are not in the language", p.elem.Path)
		p.kind, p.text = planConst, []byte("null")
		return
	}
	if n.Kind != yaml.MappingNode {
		t.c.fault(t.b.file, n, "{extension: […]}", "%s is an object with id and extension", p.label)
		p.kind, p.text = planConst, []byte("null")
		return
	}
	if !at.free {
		if d.Method != phi.Keep {
			p.cut, p.method, p.required, at.free = true, phi.Seal, p.elem.Min > 0, true
		} else if d.Whole {
			at.free = true
		} else {
			at.rules = d.Below
		}
	}
	label, name, path := p.label, p.name, p.path
	t.members(p, n, p.typ, at, nil)
	p.label, p.name, p.path = label, name, path
}
