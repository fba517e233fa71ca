package main

import (
	"fmt"
	"slices"
	"strings"
)

// codeSet is the listed content of a value set.
type codeSet struct {
	url     string
	systems []systemCodes // sorted by system
}

type systemCodes struct {
	system string
	codes  []string // sorted
}

// codeSets lists the content of the value sets, from HL7's expansion or else from the definition. Sets that cannot be
// listed (all of MIME types, all of UCUM) are left out and named in the remarks.
func codeSets(b *bundles, urls []string) (sets []codeSet, remarks []string) {
	for _, url := range urls {
		codes, why := b.expand(url, 0)
		if why != "" {
			remarks = append(remarks, fmt.Sprintf("value set %s is not listed: %s", url, why))
			continue
		}
		bySystem := map[string][]string{}
		for _, c := range codes {
			bySystem[c.System] = append(bySystem[c.System], c.Code)
		}
		set := codeSet{url: url}
		for system, codes := range bySystem {
			slices.Sort(codes)
			set.systems = append(set.systems, systemCodes{system, slices.Compact(codes)})
		}
		slices.SortFunc(set.systems, func(x, y systemCodes) int { return strings.Compare(x.system, y.system) })
		sets = append(sets, set)
	}
	return sets, remarks
}

// expand lists a value set; why says what stands in the way.
func (b *bundles) expand(url string, depth int) (codes []contains, why string) {
	if depth > 10 {
		return nil, "value sets include each other"
	}
	if v, ok := b.expansions[url]; ok && v.Expansion != nil {
		for _, p := range v.Expansion.Parameter {
			if p.Name == "expansion-source" {
				return nil, "its expansion is that of another set, as an example"
			}
		}
		if codes = flatten(codes, v.Expansion.Contains); len(codes) > 0 {
			return codes, ""
		}
	}
	v, ok := b.valueSets[url]
	if !ok {
		return nil, "its definition is not at hand"
	}
	for _, inc := range v.Compose.Include {
		listed, why := b.included(inc, depth)
		if why != "" {
			return nil, why
		}
		codes = append(codes, listed...)
	}
	for _, exc := range v.Compose.Exclude {
		listed, why := b.included(exc, depth)
		if why != "" {
			return nil, why
		}
		codes = slices.DeleteFunc(codes, func(c contains) bool {
			return slices.ContainsFunc(listed, func(o contains) bool { return o.System == c.System && o.Code == c.Code })
		})
	}
	if len(codes) == 0 {
		return nil, "nothing is in it"
	}
	return codes, ""
}

func (b *bundles) included(inc include, depth int) (codes []contains, why string) {
	switch {
	case len(inc.Filter) > 0:
		return nil, "it is defined by a filter"
	case len(inc.Concept) > 0:
		for _, c := range inc.Concept {
			codes = append(codes, contains{System: inc.System, Code: c.Code})
		}
	case inc.System != "":
		system, ok := b.codeSystems[inc.System]
		if !ok || system.Content != "complete" {
			return nil, "the codes of " + inc.System + " are not at hand"
		}
		codes = concepts(nil, inc.System, system.Concept)
	}
	for i, url := range inc.ValueSet {
		listed, why := b.expand(url, depth+1)
		if why != "" {
			return nil, why
		}
		if i == 0 && inc.System == "" {
			codes = listed
			continue
		}
		codes = slices.DeleteFunc(codes, func(c contains) bool {
			return !slices.ContainsFunc(listed, func(o contains) bool { return o.System == c.System && o.Code == c.Code })
		})
	}
	return codes, ""
}

// flatten collects the codes that may be used; abstract ones only group others.
func flatten(out, list []contains) []contains {
	for _, c := range list {
		if !c.Abstract && c.Code != "" {
			out = append(out, contains{System: c.System, Code: c.Code})
		}
		out = flatten(out, c.Contains)
	}
	return out
}

func concepts(out []contains, system string, list []concept) []contains {
	for _, c := range list {
		abstract := false
		for _, p := range c.Property {
			abstract = abstract || p.Code == "notSelectable" && p.ValueBoolean
		}
		if !abstract {
			out = append(out, contains{System: system, Code: c.Code})
		}
		out = concepts(out, system, c.Concept)
	}
	return out
}
