package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// extension checks an extension: that its value or its extensions are there (ext-1), that it is one or the other sort,
// and, where its definition is at hand, what the definition says and where it may stand.
func (c *Checker) extension(e *elementRule, x value) {
	n := x.node
	nested, valued := n.Get("extension") != nil, false
	for i := range n.Members {
		valued = valued || strings.HasPrefix(strings.TrimPrefix(n.Members[i].Name, "_"), "value")
	}
	if nested == valued {
		c.report(Issue{Severity: Error, Code: "invariant", Rule: "ext-1", Message: "Must have either extensions or value[x], not both"}, x)
	}
	url := n.Get("url").Str()
	if url == "" {
		return
	}
	if !absolute(url) {
		if len(c.parents) < 2 || c.parents[len(c.parents)-2].typ.Name != "Extension" {
			c.report(Issue{Severity: Error, Code: "value", Rule: RuleReference, Message: "the url of an extension is absolute, but for one within another"}, x)
		}
		return
	}
	p := c.v.profile(url)
	if p == nil || p.typ == nil || p.typ.Name != "Extension" {
		c.unknown(c.v.noProfile("extension", url))
		return
	}
	if p.modifier != (e.Name == "modifierExtension") {
		c.report(Issue{Severity: Error, Code: "structure", Rule: RuleModifier, Profile: p.url, Message: "whether an extension modifies decides whether it is one of extension or of modifierExtension"}, x)
	}
	c.context(p, x)
	c.parts(p, x)
	c.conform(p, x)
}

// parts checks that an extension which is made of others has those only that its definition names: their urls mean
// nothing elsewhere (extensibility.html#extension).
func (c *Checker) parts(p *profile, x value) {
	list := x.node.Get("extension")
	if p.parts == nil || list == nil {
		return
	}
	for i, item := range list.Items {
		if url := item.Get("url").Str(); url != "" && !absolute(url) && !p.parts[url] {
			c.path = append(c.path, step{name: "extension", index: i})
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleSlice, Profile: p.url, Message: "the definition of the extension has no part of this url"}, value{node: item})
			c.pop()
		}
	}
}

// context checks whether an extension may stand where it does (StructureDefinition.context and contextInvariant).
func (c *Checker) context(p *profile, x value) {
	if len(c.parents) < 2 {
		return
	}
	holder := &c.parents[len(c.parents)-2]
	if len(p.contexts) > 0 && !c.stands(p, c.parents[:len(c.parents)-1]) {
		c.report(Issue{Severity: Error, Code: "extension", Rule: RuleContext, Profile: p.url, Message: "the extension may not stand here"}, x)
		return
	}
	if len(p.conditions) == 0 {
		return
	}
	c.beyondShape()
	c.ctx.Resource, c.ctx.RootResource = c.resource, c.root
	c.ctx.Set("extension", []fhirpath.Value{fhirpath.Object(x.node, x.typ)})
	for _, inv := range p.conditions {
		if inv.expr == nil {
			c.unknown(inv.unknown)
			continue
		}
		got, err := inv.expr.One(c.ctx, c.focus(holder))
		switch {
		case err != nil:
			c.unknown(inv.unknown)
		case got.Kind() == fhirpath.KindBoolean && !got.Bool():
			c.report(Issue{Severity: Error, Code: "extension", Rule: RuleContext, Profile: p.url, Message: "the condition under which the extension may stand here does not hold"}, x)
		}
	}
}

// focus is what holds an extension, for FHIRPath.
func (c *Checker) focus(p *place) fhirpath.Value {
	if p.typ.Kind == fhir.KindPrimitive {
		return fhirpath.Element(c.ctx, p.literal, p.node, p.typ)
	}
	return fhirpath.Object(p.node, p.typ)
}

// stands tells whether one of the contexts of an extension is the place that holds it, the last of those around it.
func (c *Checker) stands(p *profile, around []place) bool {
	holder := &around[len(around)-1]
	for i := range p.contexts {
		switch ctx := &p.contexts[i]; ctx.kind {
		case "extension":
			of := holder
			if of.path == "Extension.value[x]" && len(around) > 1 {
				of = &around[len(around)-2] // on the value of an extension is on the extension
			}
			if of.typ.Name == "Extension" && of.node.Get("url").Str() == ctx.expression {
				return true
			}
		case "element":
			if holder.allows(ctx.expression) {
				return true
			}
		case "fhirpath":
			if ctx.expr == nil {
				c.unknown(ctx.unknown)
				return true
			}
			if ctx.of != nil && ctx.of.Kind == fhir.KindResource && !c.resource.FHIRType().Is(ctx.of.Name) {
				continue
			}
			c.beyondShape()
			c.ctx.Resource, c.ctx.RootResource = c.resource, c.root
			found, err := ctx.expr.Append(c.ctx, c.resource, nil)
			if err != nil {
				c.unknown(ctx.unknown)
				return true
			}
			for _, v := range found {
				if n := v.Node(); n == holder.node || n != nil && len(n.Members) > 0 && &n.Members[0] == &holder.node.Members[0] {
					return true // the very object, or the primitive that it stands beside
				}
			}
		default:
			return true
		}
	}
	return false
}

// allows tells whether a context names this place: the type of what stands here, one it descends from, or its path.
func (p place) allows(expression string) bool {
	if p.typ.Is(expression) || expression == "Element" {
		return true
	}
	if url := strings.TrimPrefix(expression, structurePrefix); url != expression && p.typ.Is(url) {
		return true
	}
	path := p.path
	if path == expression {
		return true
	}
	// A choice is named with [x], without, or with its type.
	base, choice := strings.CutSuffix(path, "[x]")
	if !choice {
		return false
	}
	return expression == base || strings.HasPrefix(expression, base) && strings.EqualFold(expression[len(base):], p.typ.Name)
}
