package terminology

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// extension begins the URLs of the extensions that hold a map's settings in JSON, where R4 has no element for them:
// concept-map-unknown, concept-map-narrower and concept-map-alternatives, each with a valueCode or valueString as in CSV.
const extension = "https://github.com/chartlift/chartlift/fhir/concept-map-"

// ReadFHIR reads a concept map from a FHIR R4 ConceptMap in JSON (R4 conceptmap.html). All its groups must have one
// source system, since a cell of a source holds a bare code. What it says about unknown codes is group.unmapped:
// `provided` is Keep, `fixed` is Fixed, `other-map` names another map of the pack by its URL or name; all groups that say
// anything must say the same. Mappings that depend on other elements, or make others, are faults: they would be ignored
// otherwise, and a code translated wrongly. An element without a target has none on purpose. Units are checked as by
// [ReadCSV], and so is everything else: a map in both forms has one digest.
//
// Faults name the element by its path and its place. The map is nil if there is one.
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
	j := &jsonMap{data: data, m: &ConceptMap{Name: name, codes: map[string]Entry{}}, pool: pool{}, given: map[string]bool{}}
	if root.ResourceType() != "ConceptMap" {
		return nil, Faults{{File: name, Message: "the resource is not a ConceptMap"}}
	}
	j.refuse(root, "", "implicitRules", "modifierExtension")
	j.settings(root)
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
	data     []byte
	m        *ConceptMap
	pool     pool
	given    map[string]bool // pairs of source code and target
	target   string          // system of the group at hand
	sources  int             // groups so far
	unmapped string          // what the groups so far say about unknown codes
	faults   Faults
}

func (j *jsonMap) fault(path, hint, format string, args ...any) {
	if len(j.faults) == maxFaults {
		j.faults = append(j.faults, Fault{File: j.m.Name, Message: fmt.Sprintf("and more: %d faults are shown", maxFaults)})
	}
	if len(j.faults) > maxFaults {
		return
	}
	line, column := locate(j.data, path)
	j.faults = append(j.faults, Fault{File: j.m.Name, Line: line, Column: column, Message: path + ": " + fmt.Sprintf(format, args...), Hint: hint})
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
		j.fault(path+"."+name, "", "is not a list")
		return nil
	}
	return list.Items
}

// settings reads the map's URL and extensions.
func (j *jsonMap) settings(root *fhir.Node) {
	set := func(path, setting, value string) {
		if message, hint := j.m.set(setting, value, reference{path: path}); message != "" {
			j.fault(path, hint, "%s", message)
		}
	}
	if url := root.Get("url").Str(); url != "" {
		set("url", settingURL, url)
	}
	for i, e := range j.items(root, "", "extension") {
		name, ours := strings.CutPrefix(e.Get("url").Str(), extension)
		if !ours {
			continue
		}
		path := fmt.Sprintf("extension[%d]", i)
		known := []string{settingUnknown, settingNarrower, settingAlternatives}
		if !slices.Contains(known, name) {
			j.fault(path, nearest(name, known), "%q is none of the settings of a concept map", name)
			continue
		}
		set(path, name, e.Get("valueCode").Str()+e.Get("valueString").Str())
	}
}

// unmappedOf reads what a group says about unknown codes.
func (j *jsonMap) unmappedOf(u *fhir.Node, path string) {
	j.refuse(u, path, "modifierExtension")
	mode := u.Get("mode").Str()
	code, display, url := u.Get("code").Str(), u.Get("display").Str(), u.Get("url").Str()
	says := strings.Join([]string{mode, code, display, url}, "|")
	if j.unmapped != "" && j.unmapped != says {
		j.fault(path, "make a map of its own for each", "it says something else about unknown codes than the groups before")
	}
	j.unmapped = says
	var message, hint string
	switch mode {
	case "provided":
		j.m.Unknown = Keep
	case "fixed":
		if j.m.Unknown == Fixed && j.m.Fixed.System != j.target {
			j.fault(path, "make a map of its own for each", "groups with several target systems cannot each have a fixed code for what is unknown")
		}
		j.m.Unknown, j.m.Fixed = Fixed, Coding{System: j.target, Code: code, Display: display, Relationship: fixedRelationship}
		message, hint = j.m.checkFixed()
	case "other-map":
		if url == "" {
			message = "the other map is not named"
			break
		}
		j.m.next = reference{text: url, path: path}
		j.m.next.line, j.m.next.column = locate(j.data, path)
	default:
		message, hint = fmt.Sprintf("%q is not supported, and must not be ignored", mode), nearest(mode, []string{"provided", "fixed", "other-map"})
	}
	if message != "" {
		j.fault(path, hint, "%s", message)
	}
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
	j.target = target
	if u := g.Get("unmapped"); u != nil {
		j.unmappedOf(u, path+".unmapped")
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
		j.m.addNone(code)
	}
	none, before := false, len(j.m.codes[code].Targets)
	for i, t := range j.items(e, path, "target") {
		at := fmt.Sprintf("%s.target[%d]", path, i)
		j.refuse(t, at, "modifierExtension", "dependsOn", "product")
		relationship := t.Get("equivalence").Str()
		if !known(relationship) {
			hint := document.Hint(relationship, equivalences)
			if relationship == "" && t.Get("relationship") != nil {
				hint = "this is the R5 form; R4 has `equivalence`"
			}
			j.fault(at+".equivalence", hint, "%q is not a relationship of FHIR R4", relationship)
			continue
		}
		if noTarget(relationship) {
			none = true
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
		if c.Display != strings.TrimSpace(c.Display) {
			j.fault(at+".display", "", "the display has white space around it")
			continue
		}
		if system == UCUM && t.Get("comment").Str() == "" {
			if message, hint, grave := unitFault(code, c.Code); grave {
				j.fault(at, hint, "%s", message)
				continue
			} else if message != "" {
				line, column := locate(j.data, at)
				j.m.Doubts = append(j.m.Doubts, Fault{Line: line, Column: column, Message: at + ": " + message, Hint: hint})
			}
		}
		key := fmt.Sprintf("%d:%s%d:%s%s", len(code), code, len(c.System), c.System, c.Code)
		if j.given[key] {
			j.fault(at, "", "the same source code is mapped to the same target twice")
			continue
		}
		j.given[key] = true
		j.m.add(code, c)
	}
	if none && len(j.m.codes[code].Targets) > before { // another group speaks of another target system
		j.fault(path, "", "the source code is said to have no target, and has one")
	}
}
