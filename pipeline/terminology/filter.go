package terminology

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// filter is one condition of an include (R4 valueset-filter-operator), over the concepts of a complete code system or
// over the grammar of one.
type filter struct {
	concept func(c *CodeSystem, at int32) bool
	code    func(code string) Verdict // of a grammar
	valued  bool                      // only a concept with a value of the property passes
}

func (f *filter) has(c *CodeSystem, code string, at int32) Verdict {
	if f.code != nil {
		return f.code(code)
	}
	if at < 0 || f.concept == nil {
		return NotKnown
	}
	if f.concept(c, at) {
		return In
	}
	return NotIn
}

// maxPattern bounds the regular expression of a filter. Go's take time linear in the text, whatever the pattern.
const maxPattern = 1000

// newFilter compiles a filter; why says what keeps it from being decided.
func newFilter(c *CodeSystem, name, op, value string) (f filter, why string) {
	if c.grammar != nil {
		if made := c.grammar.filter(name, op, value); made != nil {
			return filter{code: made}, ""
		}
		return f, fmt.Sprintf("the filter %s %s is not one the program knows of %s", name, op, c.url)
	}
	if !c.complete {
		return f, "not all codes of " + c.url + " are at hand"
	}
	switch name {
	case "concept", "code":
		f.concept, why = conceptFilter(c, op, value)
	case "display":
		f.concept, why = textFilter(op, value, func(c *CodeSystem, at int32) []string { return []string{c.displayAt(at)} }, c.fold)
	case propertyParent, propertyChild:
		f.concept, why = neighbourFilter(c, name, op, value)
	default:
		p := c.properties[name]
		if p == nil {
			return f, fmt.Sprintf("the property %s of %s is not at hand", name, c.url)
		}
		f.concept, why = propertyFilter(c, p, op, value)
		f.valued = op == "=" && value != "false" || op == "in"
	}
	switch {
	case f.concept == nil && why == "":
		why = fmt.Sprintf("the filter %s %s is not one the program knows", name, op)
	case c.lacks != "" && !f.valued:
		why = c.lacks
	}
	return f, why
}

type conceptTest = func(c *CodeSystem, at int32) bool

func conceptFilter(c *CodeSystem, op, value string) (conceptTest, string) {
	switch op {
	case "is-a", "is-not-a", "descendent-of", "generalizes":
		root := c.at(value)
		if root < 0 {
			return nil, fmt.Sprintf("%s has no code %s, which a filter names", c.url, value)
		}
		switch op {
		case "is-a":
			return func(c *CodeSystem, at int32) bool { return c.under(at, root) }, ""
		case "is-not-a":
			return func(c *CodeSystem, at int32) bool { return !c.under(at, root) }, ""
		case "descendent-of":
			return func(c *CodeSystem, at int32) bool { return at != root && c.under(at, root) }, ""
		}
		return func(c *CodeSystem, at int32) bool { return c.under(root, at) }, ""
	}
	return textFilter(op, value, func(c *CodeSystem, at int32) []string { return []string{c.codeAt(at)} }, c.fold)
}

// neighbourFilter looks at the parents, which the hierarchy gives as well as a property does.
func neighbourFilter(c *CodeSystem, name, op, value string) (conceptTest, string) {
	switch op {
	case "=":
		other := c.at(value)
		if other < 0 {
			return nil, fmt.Sprintf("%s has no code %s, which a filter names", c.url, value)
		}
		if name == propertyParent {
			return func(c *CodeSystem, at int32) bool { return slices.Contains(c.parents.of(at), other) }, ""
		}
		return func(c *CodeSystem, at int32) bool { return slices.Contains(c.parents.of(other), at) }, ""
	case "exists":
		if name == propertyParent {
			return func(c *CodeSystem, at int32) bool { return (len(c.parents.of(at)) > 0) == (value == "true") }, ""
		}
	}
	return nil, ""
}

func propertyFilter(c *CodeSystem, p *property, op, value string) (conceptTest, string) {
	if op == "exists" {
		return func(_ *CodeSystem, at int32) bool { return (len(p.values.of(at)) > 0) == (value == "true") }, ""
	}
	// The values are few and the concepts many: each value is tested once, here.
	test, why := textTest(op, value, c.fold)
	if test == nil {
		return nil, why
	}
	fits := make([]bool, len(p.texts))
	for i, text := range p.texts {
		fits[i] = test(text)
	}
	// `not-in` asks that no value be in the list, the others that one value fit.
	if op == "not-in" {
		return func(_ *CodeSystem, at int32) bool {
			return !slices.ContainsFunc(p.values.of(at), func(i int32) bool { return !fits[i] })
		}, ""
	}
	// A boolean that is not given is false (R4 codesystem.html#defined-props says so of inactive and notSelectable).
	absent := op == "=" && value == "false"
	return func(_ *CodeSystem, at int32) bool {
		values := p.values.of(at)
		if len(values) == 0 {
			return absent
		}
		return slices.ContainsFunc(values, func(i int32) bool { return fits[i] })
	}, ""
}

func textFilter(op, value string, texts func(*CodeSystem, int32) []string, fold bool) (conceptTest, string) {
	test, why := textTest(op, value, fold)
	if test == nil {
		return nil, why
	}
	return func(c *CodeSystem, at int32) bool { return slices.ContainsFunc(texts(c, at), test) }, ""
}

// textTest tests a value by `=`, in, not-in or regex; nil if the operator is another.
func textTest(op, value string, fold bool) (func(string) bool, string) {
	same := func(a, b string) bool { return a == b || fold && strings.EqualFold(a, b) }
	switch op {
	case "=":
		return func(text string) bool { return same(text, value) }, ""
	case "in", "not-in":
		list := strings.Split(value, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		want := op == "in"
		return func(text string) bool {
			return slices.ContainsFunc(list, func(entry string) bool { return same(entry, text) }) == want
		}, ""
	case "regex":
		if len(value) > maxPattern {
			return nil, "the regular expression of a filter is too long"
		}
		r, err := regexp.Compile(`\A(?:` + value + `)\z`)
		if err != nil {
			return nil, "the regular expression of a filter cannot be read"
		}
		return r.MatchString, ""
	}
	return nil, ""
}
