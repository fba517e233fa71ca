package phi

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Became is what a policy makes of one piece of a resource.
type Became struct {
	Path   string // of the piece in the whole, as in [Cut]
	Method Method
	Stand  Secret // JSON of what stands in its place, `"name":value` or an entry; empty if nothing does
}

// Preview tells what [Sealer.Seal] would take out of the resource and leave in its place, without a key and without
// sealing anything. An error means that the cuts do not fit.
func (s *Sealer) Preview(r *Resource) ([]Became, error) {
	if err := s.promote(r); err != nil {
		return nil, err
	}
	s.markPlace(r)
	var out []Became
	for i := range s.cuts {
		c := &s.cuts[i]
		stand := c.Replace
		if c.Method.takesOut() {
			stand, _ = s.standIn(r, c)
		}
		out = append(out, Became{c.Path, c.Method, NewSecret(append([]byte(nil), stand...))})
	}
	return out, nil
}

// Rule is the path of the rule that decides about the element at a path of the resource, as it stands in the policy. Of
// what no rule names, and structure that every policy keeps, it says so in words.
func (p *Policy) Rule(resource string, whole *fhir.Node, path string) string {
	if path == "resourceType" || strings.HasSuffix(path, ".resourceType") {
		return structureText
	}
	at, typ, n := p.Rules(resource), resourceType(resource), whole
	underscore := false
	for rest := path; rest != ""; {
		var step part
		step, rest = firstPart(rest)
		if step.list {
			continue
		}
		name := step.name
		// The values at this name: the member, or the entry that the path goes on with.
		value := n.Get(name)
		if strings.HasPrefix(rest, "[") {
			var index part
			index, rest = firstPart(rest)
			value = value.Item(index.index)
		}
		if name, underscore = strings.CutPrefix(name, "_"); underscore {
			// The id and extensions of a primitive follow its own rules.
			value = n.Get("_" + name)
		}
		e, t := typ.Element(name)
		if t != nil && t.Name == "Resource" {
			t = resourceType(value.ResourceType())
		}
		d := at.Child(e, t).Decide(func(test *Test) bool { return test.Match(value) })
		at, typ, n = d.Below, t, value
		if at.at == nil || typ == nil || d.Whole && d.Method != Keep {
			break // what is inside goes with it
		}
	}
	return at.text()
}

// What [Policy.Rule] says where the policy has no rule of its own.
const (
	structureText = "structure, always kept"
	hullText      = "contained resources follow the rules of their own type"
	unnamedText   = "no rule names it"
)

// text names the rule that holds here.
func (r Rules) text() string {
	switch {
	case r.at == nil:
		return unnamedText
	case r.at.best == structureRule:
		return structureText
	case r.at.best == hullRule:
		return hullText
	case r.at.best != nil && r.at.best != unnamedRule:
		return r.at.best.text
	case r.at.best == nil && r.at.policy.star == Keep:
		return "*"
	}
	return unnamedText
}
