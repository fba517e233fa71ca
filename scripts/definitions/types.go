package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The kinds of package fhir, in its order.
const (
	kindPrimitive = iota
	kindDataType
	kindBackbone
	kindResource
)

const unbounded = -1

type typ struct {
	name       string
	kind       int
	abstract   bool
	base       string
	pattern    string
	elements   []*element
	invariants []rule
}

type element struct {
	name, path                string
	choice, modifier, summary bool
	min, max                  int
	types                     []string
	binding                   *binding
	targets                   []string
	profiles                  []string
	invariants                []rule
}

// types holds every type, bases before what descends from them.
type types struct {
	list   []*typ
	byName map[string]*typ
}

func (t *types) add(n *typ) error {
	if t.byName[n.name] != nil {
		return fmt.Errorf("type %s: defined twice", n.name)
	}
	t.byName[n.name] = n
	t.list = append(t.list, n)
	return nil
}

// required lists the value sets of required bindings, sorted.
func (t *types) required() []string {
	var urls []string
	for _, typ := range t.list {
		for _, e := range typ.elements {
			if e.binding != nil && e.binding.Strength == "required" && e.binding.ValueSet != "" {
				urls = append(urls, e.binding.ValueSet)
			}
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

const structurePrefix = "http://hl7.org/fhir/StructureDefinition/"

func buildTypes(b *bundles) (*types, error) {
	pending := slices.DeleteFunc(slices.Clone(b.structures), func(s structureDefinition) bool { return s.Kind == "logical" })
	slices.SortFunc(pending, func(x, y structureDefinition) int { return strings.Compare(x.ID, y.ID) })
	t := &types{byName: map[string]*typ{}}
	for len(pending) > 0 {
		var later []structureDefinition
		for _, s := range pending {
			base := strings.TrimPrefix(s.BaseDefinition, structurePrefix)
			if base != "" && t.byName[base] == nil {
				later = append(later, s)
				continue
			}
			if err := t.structure(s, base); err != nil {
				return nil, fmt.Errorf("%s: %w", s.ID, err)
			}
		}
		if len(later) == len(pending) {
			return nil, fmt.Errorf("%s: its base %s is not defined", later[0].ID, later[0].BaseDefinition)
		}
		pending = later
	}
	return t, t.finish()
}

// structure adds a type and the backbone types within it.
func (t *types) structure(s structureDefinition, base string) error {
	root := &typ{name: s.ID, abstract: s.Abstract, base: base}
	switch s.Kind {
	case "primitive-type":
		root.kind = kindPrimitive
	case "complex-type":
		root.kind = kindDataType
	case "resource":
		root.kind = kindResource
	default:
		return fmt.Errorf("kind %q is not known", s.Kind)
	}
	// The standard marks Element as not abstract in R4's JSON but calls it so in element.html; it is the type of no value.
	if s.ID == "Element" || s.ID == "BackboneElement" {
		root.abstract = true
	}
	elements := s.Snapshot.Element
	if len(elements) == 0 {
		return fmt.Errorf("no snapshot")
	}
	head := elements[0].Path
	root.invariants = elements[0].Constraint
	if err := t.add(root); err != nil {
		return err
	}
	groups := map[string]*typ{head: root}
	for i, d := range elements[1:] {
		dot := strings.LastIndexByte(d.Path, '.')
		if dot < 0 || groups[d.Path[:dot]] == nil {
			return fmt.Errorf("element %s: no parent", d.Path)
		}
		owner := groups[d.Path[:dot]]
		if root.kind == kindPrimitive && d.Path[dot:] == ".value" {
			for _, ref := range d.Type {
				for _, x := range ref.Extension {
					if x.URL == structurePrefix+"regex" {
						root.pattern = x.ValueString
					}
				}
			}
			continue // the JSON value itself, no property of it
		}
		e, err := newElement(d, root.kind == kindResource && owner == root)
		if err != nil {
			return fmt.Errorf("element %s: %w", d.Path, err)
		}
		next := i + 2 // of the element after this one
		if next < len(elements) && strings.HasPrefix(elements[next].Path, d.Path+".") {
			if len(e.types) != 1 {
				return fmt.Errorf("element %s: a group of %d types", d.Path, len(e.types))
			}
			group := &typ{name: d.Path, kind: kindBackbone, base: e.types[0], invariants: d.Constraint}
			if err := t.add(group); err != nil {
				return err
			}
			groups[d.Path] = group
			e.types = []string{d.Path}
		}
		owner.elements = append(owner.elements, e)
	}
	return nil
}

func newElement(d elementDefinition, ofResource bool) (*element, error) {
	e := &element{
		name: d.Path[strings.LastIndexByte(d.Path, '.')+1:], path: d.Path,
		min: d.Min, modifier: d.IsModifier, summary: d.IsSummary, invariants: d.Constraint,
	}
	e.name, e.choice = strings.CutSuffix(e.name, "[x]")
	if d.Max == "*" {
		e.max = unbounded
	} else {
		n, err := strconv.Atoi(d.Max)
		if err != nil {
			return nil, fmt.Errorf("max: %w", err)
		}
		e.max = n
	}
	if b := d.Binding; b != nil {
		url, _, _ := strings.Cut(b.ValueSet, "|")
		e.binding = &binding{Strength: b.Strength, ValueSet: url}
	}
	if d.ContentReference != "" {
		e.types = []string{strings.TrimPrefix(d.ContentReference, "#")}
	}
	for _, ref := range d.Type {
		code := ref.Code
		if strings.HasPrefix(code, "http://hl7.org/fhirpath/System.") {
			code = "string" // xhtml.id names none
			for _, x := range ref.Extension {
				if x.URL == structurePrefix+"structuredefinition-fhir-type" {
					code = x.ValueURL
				}
			}
			if e.name == "id" && ofResource {
				code = "id" // resource.html#id; the snapshots say string
			}
		}
		e.types = append(e.types, code)
		e.profiles = append(e.profiles, ref.Profile...)
		for _, p := range ref.TargetProfile {
			target := strings.TrimPrefix(p, structurePrefix)
			if target == "Resource" {
				continue // any
			}
			e.targets = append(e.targets, target)
		}
	}
	if len(e.types) == 0 || slices.Contains(e.types, "") || len(e.types) > 1 && !e.choice {
		return nil, fmt.Errorf("types %q", e.types)
	}
	slices.Sort(e.targets)
	e.targets = slices.Compact(e.targets)
	return e, nil
}

// finish hands invariants down from bases, takes from elements those that their types have anyway, and checks every
// name.
func (t *types) finish() error {
	// Backbone types are added after the type they are in, whose base came before; the base of a backbone type itself
	// (Element, BackboneElement) may come later.
	slices.SortStableFunc(t.list, func(a, b *typ) int { return t.depth(a) - t.depth(b) })
	for _, typ := range t.list {
		if typ.base == "" {
			continue
		}
		base := t.byName[typ.base]
		if base == nil {
			return fmt.Errorf("type %s: base %s is not defined", typ.name, typ.base)
		}
		typ.invariants = append(slices.Clone(base.invariants), without(typ.invariants, base.invariants)...)
	}
	for _, typ := range t.list {
		for _, e := range typ.elements {
			shared := []rule(nil)
			for i, name := range e.types {
				of := t.byName[name]
				if of == nil {
					return fmt.Errorf("element %s: type %s is not defined", e.path, name)
				}
				if i == 0 {
					shared = of.invariants
				} else {
					shared = slices.DeleteFunc(slices.Clone(shared), func(r rule) bool { return !hasKey(of.invariants, r.Key) })
				}
			}
			e.invariants = without(e.invariants, shared)
			for _, target := range e.targets {
				if t.byName[target] == nil {
					return fmt.Errorf("element %s: target %s is not defined", e.path, target)
				}
			}
		}
	}
	return nil
}

func (t *types) depth(n *typ) int {
	depth := 0
	for ; n != nil && n.base != ""; n = t.byName[n.base] {
		depth++
	}
	return depth
}

func hasKey(rules []rule, key string) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.Key == key })
}

// without is the rules whose keys are not among the others.
func without(rules, others []rule) []rule {
	var out []rule
	for _, r := range rules {
		if !hasKey(others, r.Key) && !hasKey(out, r.Key) {
			out = append(out, r)
		}
	}
	return out
}
