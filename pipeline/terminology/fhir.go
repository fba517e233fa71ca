package terminology

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// ReadFHIR reads a concept map from a FHIR R4 ConceptMap in JSON (R4 conceptmap.html). All its groups must have one
// source system, since a cell of a source holds a bare code. What it says about unknown codes is group.unmapped:
// `provided` is Keep; `fixed` and `other-map` are faults, as are mappings that depend on other elements: they would be
// ignored otherwise, and a code translated wrongly. An element without a target has none on purpose.
//
// Faults name the element by its path; their line is known only where the text is no JSON. The map is nil if there is
// one.
func ReadFHIR(name string, data []byte) (*ConceptMap, Faults) {
	root, err := fhir.Parse(data)
	if err != nil {
		f := Fault{File: name, Message: "not valid JSON: " + err.Error()}
		var syntax *fhir.SyntaxError
		if errors.As(err, &syntax) {
			f.Line, f.Column, f.Message = syntax.Line, syntax.Column, "not valid JSON: "+syntax.Problem
		}
		return nil, Faults{f}
	}
	j := &jsonMap{m: &ConceptMap{Name: name, codes: map[string][]Coding{}}, pool: pool{}, given: map[string]bool{}}
	if root.ResourceType() != "ConceptMap" {
		return nil, Faults{{File: name, Message: "the resource is no ConceptMap"}}
	}
	j.refuse(root, "", "implicitRules", "modifierExtension")
	groups := root.Get("group")
	if groups == nil || groups.Kind != fhir.Array || len(groups.Items) == 0 {
		j.fault("group", "", "there is none, so nothing is mapped")
	} else {
		for i, g := range groups.Items {
			j.group(g, fmt.Sprintf("group[%d]", i))
		}
	}
	if len(j.faults) > 0 {
		return nil, j.faults
	}
	return j.m.finish(), nil
}

type jsonMap struct {
	m        *ConceptMap
	pool     pool
	given    map[string]bool // pairs of source code and target
	sources  int             // groups so far
	unmapped string          // the mode of the groups so far
	faults   Faults
}

func (j *jsonMap) fault(path, hint, format string, args ...any) {
	if len(j.faults) == maxFaults {
		j.faults = append(j.faults, Fault{File: j.m.Name, Message: fmt.Sprintf("and more: %d faults are shown", maxFaults)})
	}
	if len(j.faults) > maxFaults {
		return
	}
	j.faults = append(j.faults, Fault{File: j.m.Name, Message: path + ": " + fmt.Sprintf(format, args...), Hint: hint})
}

// refuse makes a fault of each member that would change the meaning and is not supported.
func (j *jsonMap) refuse(n *fhir.Node, path string, names ...string) {
	for _, name := range names {
		if n.Get(name) != nil {
			j.fault(strings.TrimPrefix(path+"."+name, "."), "", "is not supported, and must not be ignored")
		}
	}
}

// items are the entries of a member that is a list.
func (j *jsonMap) items(n *fhir.Node, path, name string) []*fhir.Node {
	list := n.Get(name)
	if list == nil {
		return nil
	}
	if list.Kind != fhir.Array {
		j.fault(path+"."+name, "", "is no list")
		return nil
	}
	return list.Items
}

func (j *jsonMap) group(g *fhir.Node, path string) {
	j.refuse(g, path, "modifierExtension")
	source, target := g.Get("source").Str(), g.Get("target").Str()
	if source != "" {
		if what := uriFault(source); what != "" {
			j.fault(path+".source", "", "the source's system %s", what)
		}
	}
	if j.sources > 0 && source != j.m.System {
		j.fault(path+".source", "make a map of its own for it", "is another system than that of the groups before")
	}
	j.sources++
	j.m.System = source
	if u := g.Get("unmapped"); u != nil {
		mode := u.Get("mode").Str()
		switch {
		case mode != "provided":
			j.fault(path+".unmapped.mode", "only `provided` is supported", "%q is not supported, and must not be ignored", mode)
		case j.unmapped != "" && j.unmapped != mode:
			j.fault(path+".unmapped.mode", "", "is another than in the groups before")
		}
		j.unmapped = mode
		j.m.Unknown = Keep
	}
	for i, e := range j.items(g, path, "element") {
		j.element(e, target, fmt.Sprintf("%s.element[%d]", path, i))
	}
}

func (j *jsonMap) element(e *fhir.Node, system, path string) {
	j.refuse(e, path, "modifierExtension")
	code := e.Get("code").Str()
	if what := codeFault(code); what != "" {
		j.fault(path+".code", "", "the source code %s", what)
		return
	}
	code = j.pool.keep(code)
	if _, ok := j.m.codes[code]; !ok {
		j.m.codes[code] = nil
	}
	for i, t := range j.items(e, path, "target") {
		at := fmt.Sprintf("%s.target[%d]", path, i)
		j.refuse(t, at, "modifierExtension", "dependsOn", "product")
		relationship := t.Get("equivalence").Str()
		if !known(relationship) {
			hint := document.Hint(relationship, equivalences)
			if relationship == "" && t.Get("relationship") != nil {
				hint = "this is the R5 form; R4 has `equivalence`"
			}
			j.fault(at+".equivalence", hint, "%q is no relationship of FHIR R4", relationship)
			continue
		}
		if noTarget(relationship) {
			continue
		}
		c := Coding{System: j.pool.keep(system), Code: t.Get("code").Str(), Display: t.Get("display").Str(),
			Relationship: j.pool.keep(relationship)}
		if what := codeFault(c.Code); what != "" {
			j.fault(at+".code", "", "the target code %s", what)
			continue
		}
		if what := uriFault(system); what != "" {
			j.fault(at, "group.target names it", "its system %s", what)
			continue
		}
		key := fmt.Sprintf("%d:%s%d:%s%s", len(code), code, len(c.System), c.System, c.Code)
		if j.given[key] {
			j.fault(at, "", "the same source code is mapped to the same target twice")
			continue
		}
		j.given[key] = true
		j.m.codes[code] = append(j.m.codes[code], c)
	}
}
