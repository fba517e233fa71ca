package validate

import (
	"strings"
)

// extension judges an extension: that its value or its extensions are there (ext-1), that it is one or the other sort,
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
	c.conform(p, x)
}

// context judges whether an extension may stand where it does (StructureDefinition.context).
func (c *Checker) context(p *profile, x value) {
	if len(p.contexts) == 0 || len(c.parents) < 2 {
		return
	}
	holder := c.parents[len(c.parents)-2]
	for _, ctx := range p.contexts {
		switch ctx.kind {
		case "extension":
			if holder.typ.Name == "Extension" && holder.node.Get("url").Str() == ctx.expression {
				return
			}
		case "element":
			if holder.allows(ctx.expression) {
				return
			}
		default:
			return // an expression of FHIRPath: it is not judged
		}
	}
	c.report(Issue{Severity: Error, Code: "extension", Rule: RuleContext, Profile: p.url, Message: "the extension may not stand here"}, x)
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
