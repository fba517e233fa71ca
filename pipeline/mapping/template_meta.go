package mapping

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// resource compiles the template as a whole.
func (t *templates) resource(n *yaml.Node, typ *fhir.Type, env *fhirpath.Env) *plan {
	var rules phi.Rules
	if t.c.o.Policy != nil {
		rules = t.c.o.Policy.Rules(typ.Name)
	}
	p := &plan{typ: typ, node: n, always: true, mark: -1}
	at := place{rules: rules, free: t.c.o.Policy == nil, env: env}
	members := []*plan{
		{kind: planID, label: "id", name: []byte(`"id":`), mark: -1},
		{kind: planConst, label: "resourceType", name: []byte(`"resourceType":`), text: fhir.AppendString(nil, typ.Name), mark: -1},
	}
	var meta *yaml.Node
	own := &yaml.Node{Kind: yaml.MappingNode, Style: n.Style, Line: n.Line, Column: n.Column}
	for _, pair := range document.Pairs(n) {
		switch pair.Key {
		case "id", "resourceType":
			t.c.fault(t.b.file, pair.Node, "take it out", "%s is written by Chartlift: the id is derived from the key", pair.Key)
		case "meta":
			meta = pair.Value
		default:
			own.Content = append(own.Content, pair.Node, pair.Value)
		}
	}
	members = append(members, t.meta(meta, typ, at))
	t.members(p, own, typ, at, members)
	p.tracking()
	return p
}

// meta compiles meta: profile and tag are ours, the rest is the template's.
func (t *templates) meta(n *yaml.Node, typ *fhir.Type, at place) *plan {
	e, metaType := typ.Element("meta")
	d := t.c.decision(at.rules, e, metaType)
	p := &plan{typ: metaType, elem: e, path: "meta", label: "meta", name: []byte(`"meta":`), node: n, mark: -1, always: true}
	inner := at
	inner.path, inner.rules, inner.elem = "meta", d.Below, e
	var members []*plan
	if profile := t.profiles(metaType, inner); profile != nil {
		members = append(members, profile)
	}
	tag := []byte(`[{"code":`)
	tag = append(fhir.AppendString(tag, t.c.o.Migration), `,"system":`...)
	tag = append(fhir.AppendString(tag, fhir.TagSystem), "}]"...)
	members = append(members, &plan{kind: planConst, label: "tag", name: []byte(`"tag":`), text: tag, mark: -1})
	own := &yaml.Node{Kind: yaml.MappingNode}
	if n != nil {
		own.Style, own.Line, own.Column = n.Style, n.Line, n.Column
		if n.Kind != yaml.MappingNode {
			t.c.fault(t.b.file, n, "", "meta is an object")
		}
	}
	for _, pair := range document.Pairs(n) {
		switch pair.Key {
		case "profile":
			t.c.fault(t.b.file, pair.Node, "write `profile:` at the top of the mapping", "meta.profile is written by Chartlift")
		case "tag", "versionId", "lastUpdated":
			t.c.fault(t.b.file, pair.Node, "take it out", "meta.%s is written by Chartlift or the server", pair.Key)
		default:
			own.Content = append(own.Content, pair.Node, pair.Value)
		}
	}
	t.members(p, own, metaType, inner, members)
	return p
}

// profiles compiles `profile:` into meta.profile: URLs, or formulas that give one each.
func (t *templates) profiles(metaType *fhir.Type, at place) *plan {
	if len(t.b.file.profiles) == 0 {
		return nil
	}
	e, typ := metaType.Element("profile")
	list := &yaml.Node{Kind: yaml.SequenceNode, Line: t.b.file.profiles[0].node.Line, Column: t.b.file.profiles[0].node.Column}
	for _, x := range t.b.file.profiles {
		list.Content = append(list.Content, x.node)
		if _, _, ok := isFormula(x.node); ok {
			continue
		}
		if !strings.Contains(x.text, ":") || !typ.Valid(x.text) {
			t.c.fault(t.b.file, x.node, "such as http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", "a profile is an absolute URL, not %q", x.text)
			return nil
		}
		if v := t.c.o.Validator; v == nil || !v.HasProfile(x.text) {
			t.c.noticeProfile(t.b.file, x)
		}
	}
	p := &plan{elem: e, typ: typ, node: list, path: "meta.profile", label: "profile", name: []byte(`"profile":`), mark: -1}
	at.path, at.elem, at.free = p.path, e, true // structure: no policy cuts it
	t.list(p, list, at, phi.Decision{Method: phi.Keep, Whole: true})
	if p.kind == planConst && p.text == nil {
		return nil
	}
	return p
}

// noticeProfile says once that a profile's definition is not at hand.
func (c *compiler) noticeProfile(f *file, x textAt) {
	for _, n := range c.notices {
		if n.Rule == "not-checked" && strings.Contains(n.Message, x.text) {
			return
		}
	}
	c.notice(Remark, "not-checked", f, x.node, "name the package that defines it under `guides:` in the plan", "the profile %s is written, but its definition is not at hand, so it is not checked", x.text)
}

// mark notes before which member of meta the security labels belong. Where the template has labels of its own, the
// sealer looks for their list: a second one would be a second member of the same name.
func (t *templates) mark(members []*plan) {
	var first *plan
	for _, m := range members {
		if m.label == "security" {
			return
		}
		if m.label > "security" && (first == nil || m.label < first.label) {
			first = m
		}
	}
	if first != nil {
		first.late = true
	}
}

// ours tells elements that Chartlift writes.
func (t *templates) ours(typ *fhir.Type, e *fhir.Element) bool {
	return typ.Kind == fhir.KindResource && (e.Name == "id" || e.Name == "meta")
}
