package mapping

import (
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
	if len(f.with) > 0 && len(f.groupBy) == 0 {
		record = &fhirpath.Env{Columns: rows.Columns, Strict: true, Record: true, MayBeBlank: rows.MayBeBlank}
		t.columns[record] = same
	}
	t.withs(record)
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
	b.find = t.rules(f.find, "find", record)
	if f.resource != nil && typ != nil {
		b.root = t.resource(f.resource, typ, env)
	}
	t.allowed()
	t.refers()
	t.warnKeys()
	t.claims()
}

// reads notes a column that a formula reads.
func (t *templates) reads(env *fhirpath.Env, column int) {
	if t.c.readsBeside(env, column) {
		return
	}
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
		if end, ok := f.expr.Tail(); ok && end.Bare && !t.c.o.evaluate {
			if target, ok := end.Mark.(*refTarget); ok {
				t.b.patientRef = t.c.ref(target, end.Args)
			}
		}
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
		if x := t.c.beside[st.Env]; x != nil {
			t.c.beside[&env] = x
		}
		return &env
	}
	item := st
	item.Single, item.MayBeEmpty, item.Blank = true, false, false
	return &fhirpath.Env{Item: &item, Outer: outer, Strict: true, Record: true}
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
	if typ.Name == "Meta" && at.path == "meta" {
		t.mark(members)
	}
	finishObject(p, members)
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

// member compiles one key of an object. The element is returned even if the plan failed, so that it does not also
// count as missing.
func (t *templates) member(pair document.Pair, typ *fhir.Type, at place) (*plan, *fhir.Element) {
	name := pair.Key
	bare, under := strings.CutPrefix(name, "_")
	e, et := typ.Element(bare)
	switch {
	case e == nil:
		if !t.rest(pair.Node, at) && !(document.IsNull(pair.Value) && pair.Node.Line == t.f.cut) {
			t.c.fault(t.b.file, pair.Node, elementHint(typ, name), "%s has no element %q", typ.Name, name)
		}
		return nil, nil
	case et == nil:
		t.c.fault(t.b.file, pair.Node, "write "+choices(e), "%s is a choice: its JSON name carries the type", e.Path)
		return nil, e
	case under && et.Kind != fhir.KindPrimitive:
		t.c.fault(t.b.file, pair.Node, "write "+bare, "%s is not a primitive, so it has no %q", e.Path, name)
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
