package mapping

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// fragmentFolder is where a pack keeps what several of its mappings include.
const fragmentFolder = "fragments"

// fragment is a part of mapping files in a file of its own: fragments/NAME.yaml says what it takes and what it gives.
type fragment struct {
	name  string
	path  string
	lines []string
	takes []hole
	gives *yaml.Node // nil after a fault
	used  bool
}

// hole is a place in a fragment, %name, that whoever includes it fills.
type hole struct {
	name  string
	key   *yaml.Node
	value *yaml.Node // what it holds if nobody fills it; nil: it must be filled
}

// nameForm is the form of the %names of holes and constants.
var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// badName says what is wrong with a %name that somebody wants to define, "" if nothing is.
func badName(name string) (message, hint string) {
	switch {
	case !nameForm.MatchString(name):
		return fmt.Sprintf("%q is not a name for a formula to use as %%name", name), "letters, digits and _, such as mrn_system"
	case fhirpath.Reserved(name):
		return fmt.Sprintf("%%%s has a meaning of its own in FHIRPath", name), "take another name"
	}
	return "", ""
}

// readFragments reads the fragments of a pack.
func (p *Pack) readFragments(fsys fs.FS) (faults Faults) {
	p.fragments = map[string]*fragment{}
	entries, fault := readFolder(fsys, fragmentFolder, p.file(fragmentFolder), "fragments")
	if fault != nil {
		return Faults{*fault}
	}
	for _, e := range entries {
		name, isYAML := strings.CutSuffix(e.Name(), ".yaml")
		if e.IsDir() || !isYAML {
			continue
		}
		x := &fragment{name: name, path: p.file(fragmentFolder + "/" + e.Name())}
		p.fragments[name] = x
		root, lines, found := readYAML(fsys, fragmentFolder+"/"+e.Name(), x.path)
		faults = append(faults, found...)
		if x.lines = lines; root != nil {
			faults = append(faults, x.read(root)...)
		}
	}
	return faults
}

// keySpec is a key of a file: its name, how it is read, and what an editor is told about it. T reads the file.
type keySpec[T any] struct {
	name string
	form string // of the value: a definition of the schema, see [Schema]
	help string
	read func(r T, v *yaml.Node)
}

// keyNames lists the names of keys.
func keyNames[T any](keys []keySpec[T]) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// readKeys reads the keys of an object and faults those that it does not have. what names the object. It returns which
// keys were there.
func readKeys[T any](keys []keySpec[T], r T, n *yaml.Node, what string, fault func(n *yaml.Node, hint, format string, args ...any)) map[string]bool {
	seen := map[string]bool{}
	if n.Kind != yaml.MappingNode {
		fault(n, "", "%s must be keys with values: %s", what, strings.Join(keyNames(keys), ", "))
		return seen
	}
	for _, p := range document.Pairs(n) {
		i := slices.IndexFunc(keys, func(k keySpec[T]) bool { return k.name == p.Key })
		switch {
		case i < 0:
			hint := document.Hint(p.Key, keyNames(keys))
			if hint == "" {
				hint = "known: " + strings.Join(keyNames(keys), ", ")
			}
			fault(p.Node, hint, "%s has no key %q", what, p.Key)
		case document.IsNull(p.Value):
			seen[p.Key] = true
			fault(p.Node, "", "%q has no value", p.Key)
		default:
			seen[p.Key] = true
			keys[i].read(r, p.Value)
		}
	}
	return seen
}

// fragmentReader reads one fragment and gathers faults.
type fragmentReader struct {
	*fragment
	faults Faults
}

func (r *fragmentReader) fault(n *yaml.Node, hint, format string, args ...any) {
	f := document.At(r.path, n, format, args...)
	f.Hint = hint
	r.faults = append(r.faults, f)
}

// fragmentKeys are the keys of a fragment.
func fragmentKeys() []keySpec[*fragmentReader] {
	return []keySpec[*fragmentReader]{
		{"takes", "holes", "The holes, used as %name: a list of names, or names with what stands there if nobody fills them (blank: must be filled).", (*fragmentReader).readTakes},
		{"gives", "anything", "What stands in place of the `include:`.", func(r *fragmentReader, v *yaml.Node) { r.gives = v }},
	}
}

func (x *fragment) read(root *yaml.Node) Faults {
	r := &fragmentReader{fragment: x}
	seen := readKeys(fragmentKeys(), r, root, "a fragment", r.fault)
	if root.Kind == yaml.MappingNode && !seen["gives"] {
		r.fault(root, "put what is to be included under `gives:`", "the fragment gives nothing")
	}
	if x.gives != nil {
		used := map[string]bool{}
		eachScalar(x.gives, func(n *yaml.Node) {
			if text, _, ok := isFormula(n); ok {
				for _, u := range fhirpath.Uses(text) {
					used[u.Name] = true
				}
			}
		})
		for _, h := range x.takes {
			if !used[h.name] {
				r.fault(h.key, "write = %"+h.name+" where it belongs", "the fragment takes %q and never uses it", h.name)
			}
		}
	}
	return r.faults
}

func (r *fragmentReader) readTakes(n *yaml.Node) {
	add := func(key, value *yaml.Node) {
		if message, hint := badName(key.Value); message != "" {
			r.fault(key, hint, "takes: %s", message)
			return
		}
		if slices.ContainsFunc(r.takes, func(h hole) bool { return h.name == key.Value }) {
			r.fault(key, "", "the fragment takes %q twice", key.Value)
			return
		}
		r.takes = append(r.takes, hole{key.Value, key, value})
	}
	switch n.Kind {
	case yaml.MappingNode:
		for _, p := range document.Pairs(n) {
			value := p.Value
			if document.IsNull(value) {
				value = nil
			}
			add(p.Node, value)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				r.fault(c, "takes: [street, city], or {street: , use: home} with what stands there if nobody fills it", "takes must be names")
				continue
			}
			add(c, nil)
		}
	default:
		r.fault(n, "takes: [street, city], or {street: , use: home} with what stands there if nobody fills it", "takes must be names")
	}
}

// eachScalar visits every scalar but the keys.
func eachScalar(n *yaml.Node, visit func(*yaml.Node)) {
	switch n.Kind {
	case yaml.ScalarNode:
		visit(n)
	case yaml.MappingNode:
		for _, p := range document.Pairs(n) {
			eachScalar(p.Value, visit)
		}
	default:
		for _, c := range n.Content {
			eachScalar(c, visit)
		}
	}
}
