package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// invariant is a constraint, compiled.
type invariant struct {
	key      string
	human    string
	profile  string
	severity Severity
	expr     *fhirpath.Expr
	unknown  *uncheckedCount // counts what could not be checked
	needs    string          // a member without which the rule holds; "": it is always asked
	each     bool            // it asks for content that shapes leave out, see Judge
}

// native are invariants that the walk decides itself: every value has content, extensions have a value or extensions, a
// reference into the resource finds what it names, narrative holds something and only what it may, what is contained is
// referred to, entries of a Bundle differ in their fullUrl. (By their expressions the last two would take a time that
// grows with the square of the size.)
var native = map[string]bool{"ele-1": true, "ext-1": true, "ref-1": true, "sqty-1": true, "dom-3": true, "bdl-7": true,
	"txt-1": true, "txt-2": true}

// errata are constraints whose published expression does not say what their text says, each with the expression that
// does: R4's que-12 ("more than one enableWhen") counts from three on, its bdl-8 says nothing of an entry without a
// fullUrl, and US Core's pd-1 takes lists for conditions.
var errata = map[string]string{
	"enableWhen.count() > 2 implies enableBehavior.exists()": "enableWhen.count() > 1 implies enableBehavior.exists()",
	"fullUrl.contains('/_history/').not()":                   "fullUrl.exists() implies fullUrl.contains('/_history/').not()",
	"telecom or endpoint":                                    "telecom.exists() or endpoint.exists()",
}

// bestPractice are recommendations that R4 marks so (elementdefinition-bestpractice).
var bestPractice = map[string]bool{"dom-6": true}

// needs names the member without which an invariant of R4 holds, where asking it all the same would be dear: the rules
// about contained resources walk through all that the resource holds.
var needs = map[string]string{"dom-2": "contained", "dom-4": "contained", "dom-5": "contained"}

// invariants compiles constraints over a type; nil means that it is found while evaluating.
func (v *Validator) invariants(list []fhir.Invariant, types ...*fhir.Type) []*invariant {
	var out []*invariant
	for i := range list {
		x := &list[i]
		if native[x.Key] || bestPractice[x.Key] {
			continue
		}
		out = append(out, v.invariant(x.Key, x.Severity, x.Human, x.Expression, "", types...))
	}
	return out
}

// invariant compiles one constraint over the types that its focus may have; none: any, found while evaluating.
func (v *Validator) invariant(key, severity, human, expression, profile string, types ...*fhir.Type) *invariant {
	inv := &invariant{key: key, human: strings.Join(strings.Fields(human), " "), profile: profile, severity: Error, needs: needs[key]}
	if severity == "warning" {
		inv.severity = Warning
	}
	if right, ok := errata[expression]; ok {
		expression = right
	}
	env := &fhirpath.Env{}
	switch len(types) {
	case 0:
	case 1:
		env.Type = types[0]
	default:
		env.Item = &fhirpath.StaticType{Choice: types, Single: true}
	}
	if v.codes != nil {
		env.Terminology = v.codes
	}
	expr, problems := fhirpath.Compile(expression, env)
	why := "its expression cannot be evaluated here"
	for _, p := range problems {
		if !p.Finding {
			why = p.Message
			break
		}
	}
	owner := profile
	if owner == "" {
		owner = structurePrefix + typeName(env.Type)
	}
	// What needs contained resources is never asked of a shape, which has none.
	inv.expr, inv.each = expr, expr != nil && inv.needs == "" && beyond(expr)
	inv.unknown = v.note("constraint", owner+"#"+key, why)
	return inv
}

func typeName(t *fhir.Type) string {
	if t == nil {
		return "Element"
	}
	return t.Name
}

// ask evaluates invariants over a value. While a shape is learned, those of R4 that must be asked of each value are left
// to the [Judge]; one of a profile, or that asks for more than its value, cannot be remembered.
func (c *Checker) ask(list []*invariant, x value) {
	for _, inv := range list {
		if inv.needs != "" && x.node.Get(inv.needs) == nil {
			continue
		}
		if inv.expr == nil {
			c.unknown(inv.unknown)
			continue
		}
		if inv.each && c.learn != nil {
			if inv.profile == "" && !inv.expr.Rooted() {
				continue
			}
			c.learn.never = true
		}
		c.ctx.Resource, c.ctx.RootResource, c.ctx.Undecided = c.resource, c.root, false
		got, err := inv.expr.One(c.ctx, fhirpath.Element(c.ctx, x.node, x.under, x.typ))
		switch {
		case err != nil, c.ctx.Undecided && !holding(got):
			c.unknown(inv.unknown)
		case !holding(got):
			c.report(Issue{Severity: inv.severity, Code: "invariant", Rule: inv.key, Profile: inv.profile, Message: inv.human}, x)
		}
	}
}

// holding tells whether a constraint holds by its result: false does not, and neither does nothing; any other single
// value is as good as true (HL7's own reading of constraints).
func holding(v fhirpath.Value) bool {
	if v.Kind() == fhirpath.KindBoolean {
		return v.Bool()
	}
	return !v.IsEmpty()
}
