package pipeline

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// shownFromPatients is how many patients must share a value that no concept map knows before it is written down: what
// fewer have may name one of them.
const shownFromPatients = 5

// unmappedOfRun says of the unmapped values what no single task can: how many patients of the run have one, and the
// value itself, where so many have it and the policy keeps what its column feeds. Both are of what this process mapped,
// so after a resume they are "at least", and a value stays hidden rather than be shown too early.
func (r *runner) unmappedOfRun() (out []ledger.Unmapped) {
	_, unmapped := r.Program.Counters()
	for _, u := range unmapped {
		if u.Patients < shownFromPatients || !r.shown[u.Map] {
			u.Value = ""
		}
		out = append(out, ledger.Unmapped(u))
	}
	return out
}

// shownMaps lists the concept maps, as pack/map, whose unknown values may be written down once enough patients have
// them: every column that is looked up there feeds an element that the policy keeps in the clear. What cannot be decided
// by the text of the mapping files is not shown.
func (s *Session) shownMaps() (map[string]bool, error) {
	shown := map[string]bool{}
	for _, name := range s.Plan.Mappings {
		looked := &lookups{kept: map[string]map[string]bool{}}
		if err := looked.pack(name, s.policy); err != nil {
			return nil, fmt.Errorf("read the mappings %s: %w", relative(s.Plan.Dir, name), err)
		}
		for m, columns := range looked.kept {
			if !looked.opaque && allKept(columns) {
				shown[relative(s.Plan.Dir, name)+"/"+m] = true
			}
		}
	}
	return shown, nil
}

func allKept(columns map[string]bool) bool {
	for _, kept := range columns {
		if !kept {
			return false
		}
	}
	return true
}

// lookups are the columns of a pack that are looked up in concept maps.
type lookups struct {
	kept   map[string]map[string]bool // by map and column: does the policy keep an element that it feeds?
	opaque bool                       // there is a lookup whose map or column cannot be told
}

// pack goes through the mapping files of a pack.
func (l *lookups) pack(name string, policy *phi.Policy) error {
	fsys, ok := mappings.Pack(name)
	if filepath.IsAbs(name) {
		root, err := os.OpenRoot(name)
		if err != nil {
			return err
		}
		defer root.Close()
		fsys, ok = root.FS(), true
	}
	if !ok {
		return fs.ErrNotExist
	}
	files, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".cases.yaml") {
			continue
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		root, faults := document.Parse(file, data)
		if err := faults.Err(); err != nil {
			return err
		}
		l.file(file, root, policy)
	}
	return nil
}

// file goes through one mapping file. What is looked up outside of the resource, as in a rule, feeds nothing.
func (l *lookups) file(name string, root *yaml.Node, policy *phi.Policy) {
	typ := ""
	for _, p := range document.Pairs(root) {
		if p.Key == "to" {
			typ = p.Value.Value
		}
	}
	for _, p := range document.Pairs(root) {
		var at element
		if p.Key == "resource" {
			at = element{fhir.Lookup(typ), phi.Decision{Below: policy.Rules(typ)}}
		}
		l.part(name, p.Value, at)
	}
}

// part goes through a part of a template that stands for the element.
func (l *lookups) part(file string, n *yaml.Node, at element) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			l.part(file, item, at)
		}
	case yaml.MappingNode:
		at = at.settled(n)
		for _, p := range document.Pairs(n) {
			l.part(file, p.Value, at.child(p.Key))
		}
	case yaml.ScalarNode:
		if strings.HasPrefix(n.Value, "=") && !strings.HasPrefix(n.Value, "==") {
			l.formula(fmt.Sprintf("%s:%d:%d", file, n.Line, n.Column), file, n.Value, at)
		}
	}
}

var (
	translateName = regexp.MustCompile(`translate`)
	translateCall = regexp.MustCompile("(?:(?:^|[^.`A-Za-z0-9_$%])([A-Za-z_][A-Za-z0-9_]*)\\.)?\\btranslated?\\(\\s*'([^'\\\\]*)'")
	quantityName  = regexp.MustCompile(`\bquantity\b`)
)

// formula notes the lookups of a formula. A column is known by its name if the lookup follows it at once, else the
// formula's place stands for it.
func (l *lookups) formula(place, file, text string, at element) {
	calls := translateCall.FindAllStringSubmatch(text, -1)
	if len(calls) != len(translateName.FindAllString(text, -1)) {
		l.opaque = true
	}
	note := func(name, column string) {
		if l.kept[name] == nil {
			l.kept[name] = map[string]bool{}
		}
		l.kept[name][column] = l.kept[name][column] || at.kept()
	}
	for _, call := range calls {
		column := place
		if call[1] != "" {
			column = file + " " + call[1]
		}
		note(call[2], column)
	}
	if quantityName.MatchString(text) {
		note("units", place)
	}
}

// element is a place in a resource and what the policy says of it. The zero value is one that nothing is known of, so it
// is not kept.
type element struct {
	typ      *fhir.Type
	decision phi.Decision
}

// child is the place of a member. A resource inside the resource is a place that nothing is known of.
func (e element) child(name string) element {
	elem, typ := e.typ.Element(name)
	if elem == nil || typ == nil || typ.Kind == fhir.KindResource {
		return element{}
	}
	if e.decision.Whole {
		return element{typ, e.decision}
	}
	return element{typ, e.decision.Below.Child(elem, typ)}
}

// settled is the place with a decision that looks at the value made by the literals of the template; where these do not
// decide, nothing is known.
func (e element) settled(n *yaml.Node) element {
	sure := true
	decision := e.decision.Decide(func(t *phi.Test) bool {
		for _, equal := range t.Equals {
			text, ok := literalAt(n, equal.Path)
			if !ok {
				sure = false
			}
			if !ok || text != equal.Value {
				return false
			}
		}
		return true
	})
	if !sure {
		return element{}
	}
	return element{e.typ, decision}
}

// literalAt is the literal of a member of an object of the template.
func literalAt(n *yaml.Node, path []string) (string, bool) {
	for _, p := range document.Pairs(n) {
		if len(path) == 1 && p.Key == path[0] && p.Value.Kind == yaml.ScalarNode && !strings.HasPrefix(p.Value.Value, "=") {
			return p.Value.Value, true
		}
	}
	return "", false
}

// kept tells whether the policy leaves in the clear what a lookup gives to the element: of a coded one the code, of a
// quantity the unit.
func (e element) kept() bool {
	switch d := e.decision; {
	case e.typ == nil || len(d.Tests) > 0:
		return false
	case d.Whole || e.typ.Kind == fhir.KindPrimitive:
		return d.Method == phi.Keep
	case e.typ.Is("CodeableConcept"):
		return e.child("coding").kept()
	case e.typ.Is("Coding"):
		return e.child("code").kept()
	case e.typ.Is("Quantity"):
		return e.child("unit").kept()
	}
	return false
}
