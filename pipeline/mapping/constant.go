package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Constant is a value that a plan gives in place of a pack's own: the nodes of its name and of its value, a text, a
// formula that reads no record, or a list of these.
type Constant struct {
	Name       string
	Key, Value *yaml.Node
}

// constantAt is a constant as written.
type constantAt = Constant

// constant is a constant as compiled.
type constant struct {
	at    constantAt
	home  *file
	value fhirpath.Constant
}

func (r *reader) readConstants(n *yaml.Node) (out []constantAt) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "constants: {mrn_system: https://…}", "constants must be names, each with a value")
		return nil
	}
	for _, p := range document.Pairs(n) {
		if message, hint := badName(p.Key); message != "" {
			r.fault(p.Node, hint, "constants: %s", message)
			continue
		}
		out = append(out, constantAt{p.Key, p.Node, p.Value})
	}
	return out
}

// constants compiles what a mapping's formulas can use as %name: the pack's constants, as the plan overrides them, and
// the mapping's own, which win.
func (c *compiler) constants(f *file) map[string]*constant {
	known := c.shared[f.pack]
	if len(f.constants) == 0 {
		return known
	}
	known = maps.Clone(known)
	c.define(f, f.constants, known, nil)
	return known
}

// packConstants compiles the constants of all packs.
func (c *compiler) packConstants() {
	c.shared = map[*Pack]map[string]*constant{}
	for _, p := range c.packs {
		c.shared[p] = map[string]*constant{}
		if s := p.settings; s != nil {
			c.define(s.file, s.constants, c.shared[p], c.o.Constants)
		}
	}
}

// allConstants are those of all packs, for formulas that belong to none; the first pack's come first.
func (c *compiler) allConstants() map[string]fhirpath.Constant {
	all := map[string]*constant{}
	for _, p := range slices.Backward(c.packs) {
		maps.Copy(all, c.shared[p])
	}
	return constantValues(all)
}

// define compiles constants in their order; each may use those before it.
func (c *compiler) define(home *file, list []constantAt, known map[string]*constant, over []Constant) {
	for _, at := range list {
		x := &constant{at: at, home: home}
		ok := c.evaluate(x, known)
		if i := slices.IndexFunc(over, func(o Constant) bool { return o.Name == at.Name }); i >= 0 && ok {
			own := x.value.Static.Kinds
			x.at, x.home = over[i], &file{pack: home.pack, path: c.o.PlanFile}
			if ok = c.evaluate(x, known); ok && x.value.Static.Kinds != own {
				c.fault(x.home, x.at.Value, "as in the pack", "the constant %q is %s in %s, here it is %s", at.Name, kindList(own), home.path, kindList(x.value.Static.Kinds))
				ok = false
			}
		}
		if !ok { // faulted: what uses it is not faulted as well
			x.value = fhirpath.Constant{Static: fhirpath.StaticType{MayBeEmpty: true}}
		}
		known[at.Name] = x
	}
}

// evaluate computes a constant's values.
func (c *compiler) evaluate(x *constant, known map[string]*constant) bool {
	st := fhirpath.StaticType{}
	var values []fhirpath.Value
	before := len(c.faults)
	nodes := entries(x.at.Value)
	for _, n := range nodes {
		switch text, _, ok := isFormula(n); {
		case n.Kind != yaml.ScalarNode:
			c.fault(x.home, n, "a text, a formula such as = @2010-01-01, or a list of them", "the constant %q is %s", x.at.Name, kindWords(n))
		case ok:
			vals, kinds := c.constantFormula(x, n, text, known)
			values, st.Kinds = append(values, vals...), st.Kinds|kinds
		case strings.TrimSpace(n.Value) == "" || document.IsNull(n):
			c.fault(x.home, n, "", "the constant %q is blank", x.at.Name)
		default:
			values, st.Kinds = append(values, fhirpath.String(literalText(n))), st.Kinds|fhirpath.Set(fhirpath.KindString)
		}
	}
	st.Single = len(values) == 1
	x.value = fhirpath.Constant{Static: st, Values: values}
	if len(c.faults) == before && len(values) == 0 {
		c.fault(x.home, x.at.Key, "", "the constant %q has no value", x.at.Name)
	}
	return len(c.faults) == before
}

func (c *compiler) constantFormula(x *constant, n *yaml.Node, text string, known map[string]*constant) ([]fhirpath.Value, fhirpath.Kinds) {
	expr, problems := fhirpath.Compile(text, &fhirpath.Env{Strict: true, Record: true, Constants: constantValues(known)})
	c.problems(x.home, n, 1, problems)
	if expr == nil {
		return nil, 0
	}
	vals, ok := expr.Constant()
	if !ok {
		c.fault(x.home, n, "", "the constant %q cannot be computed before a record is read", x.at.Name)
	}
	return vals, expr.Static().Kinds
}

// constantValues is what formulas see of constants.
func constantValues(known map[string]*constant) map[string]fhirpath.Constant {
	if len(known) == 0 {
		return nil
	}
	out := make(map[string]fhirpath.Constant, len(known))
	for name, x := range known {
		out[name] = x.value
	}
	return out
}

// checkConstants faults what the plan overrides and nobody has, and tells constants that no formula uses.
func (c *compiler) checkConstants() {
	var names []string
	for _, p := range c.packs {
		if p.settings == nil {
			continue
		}
		used := map[string]bool{}
		p.settings.uses(used)
		for _, f := range p.files {
			f.uses(used)
		}
		for _, x := range p.settings.constants {
			if names = append(names, x.Name); !used[x.Name] {
				c.notice(Remark, "unused-constant", p.settings.file, x.Key, "", "no formula of the pack uses the constant %q", x.Name)
			}
		}
	}
	for _, f := range c.files {
		used := map[string]bool{}
		f.uses(used)
		for _, x := range f.constants {
			if !used[x.Name] {
				c.notice(Remark, "unused-constant", f, x.Key, "", "no formula of the mapping uses the constant %q", x.Name)
			}
		}
	}
	for _, x := range c.o.Constants {
		if slices.Contains(names, x.Name) {
			continue
		}
		hint := document.Hint(x.Name, names)
		if hint == "" && len(names) > 0 {
			hint = "there are " + strings.Join(names, ", ")
		}
		c.fault(&file{path: c.o.PlanFile}, x.Key, hint, "no pack has a constant %q", x.Name)
	}
	for _, p := range c.packs {
		for _, name := range slices.Sorted(maps.Keys(p.fragments)) {
			if x := p.fragments[name]; !x.used {
				c.notices = append(c.notices, Notice{Severity: Remark, Rule: "unused-fragment", Subject: name,
					Fault: Fault{File: x.path, Line: 1, Column: 1, Message: fmt.Sprintf("no mapping includes the fragment %s", name)}})
			}
		}
	}
}

// uses notes the %names that the formulas of a file use.
func (f *file) uses(used map[string]bool) {
	eachScalar(f.root, func(n *yaml.Node) {
		if text, _, ok := isFormula(n); ok {
			for _, u := range fhirpath.Uses(text) {
				used[u.Name] = true
			}
		}
	})
}
