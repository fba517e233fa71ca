package mapping

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// packFile holds what the mappings of a pack have in common: constants, and defaults of their keys.
const packFile = "pack.yaml"

// settings is a pack.yaml as read. Its file is the home of its nodes, for faults.
type settings struct {
	*file
	constants []constantAt
	defaults  []document.Pair
}

// settingsReader reads a pack.yaml.
type settingsReader struct {
	*reader
	settings *settings
}

// settingsKeys are the keys of pack.yaml.
func settingsKeys() []keySpec[*settingsReader] {
	return []keySpec[*settingsReader]{
		{"constants", "constants", "Values that formulas of all mappings of the pack use as %name. A plan may override them.", func(r *settingsReader, v *yaml.Node) { r.settings.constants = r.readConstants(v) }},
		{"defaults", "defaults", "What a mapping of the pack has where it does not say otherwise.", (*settingsReader).readDefaults},
	}
}

// defaultKeys are the keys that a pack gives its mappings. How each is merged is said in apply.
func defaultKeys() []keySpec[*settingsReader] {
	keep := func(*settingsReader, *yaml.Node) {} // read as keys of the mapping that they go into
	return []keySpec[*settingsReader]{
		{"duplicates", "duplicates", "For mappings without `duplicates:`.", keep},
		{"references", "references", "For mappings without `references:`.", keep},
		{"patient", "patient", "For mappings without `patient:`, but those that make Patient.", keep},
		{"optional", "texts", "Columns that some exports lack, beside those of the mapping.", keep},
		{"unused", "reasons", "Columns left behind on purpose wherever they occur, beside those of the mapping.", keep},
		{"profile", "profilesByType", "For mappings without `profile:`, by the type that they make.", (*settingsReader).readProfiles},
		{"meta", "meta", "Elements of `meta` for resources whose template does not have them.", func(r *settingsReader, v *yaml.Node) {
			if v.Kind != yaml.MappingNode {
				r.fault(v, "meta: {source: …}", "meta is an object")
			}
		}},
	}
}

func (r *settingsReader) readDefaults(n *yaml.Node) {
	readKeys(defaultKeys(), r, n, "`defaults:`", r.fault)
	for _, p := range document.Pairs(n) {
		if slices.Contains(keyNames(defaultKeys()), p.Key) && !document.IsNull(p.Value) {
			r.settings.defaults = append(r.settings.defaults, p)
		}
	}
}

func (r *settingsReader) readProfiles(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "profile: {Patient: http://…}", "the default profiles are named by the type that a mapping makes")
		return
	}
	for _, p := range document.Pairs(n) {
		if typ := fhir.Lookup(p.Key); typ == nil || typ.Kind != fhir.KindResource || typ.Abstract {
			r.fault(p.Node, document.Hint(p.Key, fhir.Resources()), "R4 has no resource type %q", p.Key)
		}
	}
}

// readSettings reads a pack.yaml.
func readSettings(p *Pack, lines []string, root *yaml.Node) (*settings, Faults) {
	r := &settingsReader{reader: newReader(p, packFile, lines, root)}
	r.settings = &settings{file: r.file}
	readKeys(settingsKeys(), r, root, "a pack", r.fault)
	return r.settings, r.faults
}

// apply gives a mapping file, before it is read, what its pack says by default. The mapping's own key wins; the lists
// `optional` and `unused` and the elements of `meta` are filled up, entry by entry.
func (s *settings) apply(f *file) {
	if s == nil || len(s.defaults) == 0 || f.root.Kind != yaml.MappingNode {
		return
	}
	shift := f.span(s.path, s.lines, fmt.Sprintf("%s:1:1", f.path))
	to := ""
	if n := find(f.root, "to"); n != nil {
		to = n.Value
	}
	for _, d := range s.defaults {
		value := copyTree(d.Value, shift)
		switch d.Key {
		case "patient":
			if to == "Patient" {
				continue
			}
		case "profile":
			if value = find(value, to); value == nil {
				continue
			}
		case "meta":
			if resource := find(f.root, "resource"); resource != nil && resource.Kind == yaml.MappingNode {
				fillUp(resource, "meta", copyTree(d.Node, shift), value)
			}
			continue
		case "optional", "unused":
			fillUp(f.root, d.Key, copyTree(d.Node, shift), value)
			continue
		}
		if find(f.root, d.Key) == nil {
			f.root.Content = append(f.root.Content, copyTree(d.Node, shift), value)
		}
	}
}

// fillUp adds to an object's or list's entries those that it does not have.
func fillUp(n *yaml.Node, key string, keyNode, value *yaml.Node) {
	own := find(n, key)
	switch {
	case own == nil:
		n.Content = append(n.Content, keyNode, value)
	case own.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
		for _, p := range document.Pairs(value) {
			if find(own, p.Key) == nil {
				own.Content = append(own.Content, p.Node, p.Value)
			}
		}
	case own.Kind != yaml.MappingNode && value.Kind != yaml.MappingNode:
		mine := entries(own)
		list := &yaml.Node{Kind: yaml.SequenceNode, Line: own.Line, Column: own.Column, Content: slices.Clone(mine)}
		for _, c := range entries(value) {
			if !slices.ContainsFunc(mine, func(m *yaml.Node) bool { return m.Value == c.Value }) {
				list.Content = append(list.Content, c)
			}
		}
		for i := 1; i < len(n.Content); i += 2 {
			if n.Content[i] == own {
				n.Content[i] = list
			}
		}
	}
}

// entries are the entries of a list, or one value alone.
func entries(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}
