package mapping

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// wanted reads a resource or datatype of `want:`; scalars by the type of their element.
func (r *caseRun) wanted(n *yaml.Node, typ *fhir.Type, path string) *fhir.Node {
	out := r.wantedValue(n, typ, path)
	if out != nil {
		r.lines[out] = n.Line
	}
	return out
}

func (r *caseRun) wantedValue(n *yaml.Node, typ *fhir.Type, path string) *fhir.Node {
	switch {
	case n.Kind == yaml.ScalarNode && typ.Name == "Reference":
		ref, ok := r.reference(n)
		if !ok {
			r.fault(n, "ref:patient(KEY)", "a Reference is an object, or ref:MAPPING(KEY)")
			return nil
		}
		return fhir.NewObject(fhir.Member{Name: "reference", Value: fhir.NewString(ref)})
	case n.Kind == yaml.ScalarNode && typ.Kind == fhir.KindPrimitive:
		text := n.Value
		if ref, ok := r.reference(n); ok && path == "reference" {
			text = ref
		}
		if !typ.Valid(text) {
			r.fault(n, formHint(typ, text), "%s is %s, and this has not its form", path, article(typ.Name))
			return nil
		}
		if rawType(typ) {
			if typ.Name == "boolean" {
				return fhir.NewBoolean(text == "true")
			}
			return fhir.NewNumber(text)
		}
		return fhir.NewString(text)
	case n.Kind != yaml.MappingNode:
		r.fault(n, "", "%s is %s: its elements are wanted", path, article(typ.Name))
		return nil
	}
	if typ.Name == "Resource" {
		name := find(n, "resourceType")
		if name == nil || fhir.Lookup(name.Value) == nil {
			r.fault(n, "", "a contained resource names its type with `resourceType:`")
			return nil
		}
		typ = fhir.Lookup(name.Value)
	}
	out := &fhir.Node{Kind: fhir.Object}
	for _, p := range document.Pairs(n) {
		if p.Key == "resourceType" {
			if r.t.meta || path != "" {
				out.Members = append(out.Members, fhir.Member{Name: p.Key, Value: fhir.NewString(p.Value.Value)})
			}
			continue
		}
		bare, under := strings.CutPrefix(p.Key, "_")
		e, et := typ.Element(bare)
		if e == nil || et == nil {
			hint := document.Hint(p.Key, elementNames(typ))
			if e != nil {
				hint = "write " + choices(e)
			}
			r.fault(p.Node, hint, "%s has no element %q", typ.Name, p.Key)
			continue
		}
		if !r.t.meta && path == "" && (p.Key == "id" || p.Key == "meta") {
			continue // compared only under `with meta: true`
		}
		out.Members = append(out.Members, fhir.Member{Name: p.Key, Value: r.element(p.Value, e, et, under, p.Key)})
	}
	return out
}

// element reads the value of one element; one value alone stands for a list of one.
func (r *caseRun) element(n *yaml.Node, e *fhir.Element, typ *fhir.Type, under bool, name string) *fhir.Node {
	if under {
		// The id and extensions of a primitive are typed like those of any element.
		out := &fhir.Node{Kind: fhir.Object}
		for _, p := range document.Pairs(n) {
			e, et := typ.Element(p.Key)
			if e == nil {
				r.fault(p.Node, "", "%s has no element %q", name, p.Key)
				continue
			}
			out.Members = append(out.Members, fhir.Member{Name: p.Key, Value: r.element(p.Value, e, et, false, p.Key)})
		}
		return out
	}
	if !e.Repeats() {
		return r.wanted(n, typ, name)
	}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	list := &fhir.Node{Kind: fhir.Array}
	for _, c := range nodes {
		if item := r.wanted(c, typ, name); item != nil {
			list.Items = append(list.Items, item)
		}
	}
	return list
}

// reference reads ref:MAPPING(KEY,KEY…) into the reference that ref() gives for that key.
func (r *caseRun) reference(n *yaml.Node) (string, bool) {
	text, ok := strings.CutPrefix(n.Value, "ref:")
	if !ok {
		return "", false
	}
	name, args, ok := strings.Cut(text, "(")
	if !ok || !strings.HasSuffix(args, ")") {
		r.fault(n, "ref:patient(KEY)", "a wanted reference is written ref:MAPPING(KEY,KEY…)")
		return "", true
	}
	m := r.p.Mapping(name)
	if m == nil {
		r.fault(n, r.p.suggest(name), "there is no mapping %q", name)
		return "", true
	}
	parts := splitKey(args[:len(args)-1])
	want := len(m.body.key)
	if m.Many {
		want++
	}
	if len(parts) != want {
		r.fault(n, "", "the key of mapping %q has %d parts, not %d", name, want, len(parts))
		return "", true
	}
	msg := slices.Clone(m.body.prefix)
	for i, part := range parts {
		if m.Many && i == len(parts)-1 {
			msg = appendItem(msg, part)
		} else {
			msg = appendPart(msg, part)
		}
	}
	ref := m.Type + "/" + newHasher(r.p.idKey).id(msg).String()
	r.refs[ref] = n.Value
	return ref, true
}

// splitKey splits a key at commas; a part in single quotes may hold anything, a quote doubled.
func splitKey(s string) (parts []string) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\'' && quoted && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte(c)
			i++
		case c == '\'':
			quoted = !quoted
		case c == ',' && !quoted:
			parts = append(parts, b.String())
			b.Reset()
		case c == ' ' && !quoted && b.Len() == 0:
		default:
			b.WriteByte(c)
		}
	}
	return append(parts, b.String())
}

// diff lists how two values differ, one entry for each place. line is that of the nearest thing wanted.
func (r *caseRun) diff(path string, want, got *fhir.Node, line int, out *[]Difference) {
	if at, ok := r.lines[want]; ok {
		line = at
	}
	name := path
	if name == "" {
		name = "resource"
	}
	differ := func() { *out = append(*out, Difference{name, line, r.show(want), r.show(got)}) }
	switch {
	case want == nil && got == nil:
	case want == nil || got == nil || want.Kind != got.Kind:
		differ()
	case want.Kind == fhir.Object:
		var names []string
		for _, m := range want.Members {
			names = append(names, m.Name)
		}
		for _, m := range got.Members {
			if want.Get(m.Name) == nil {
				names = append(names, m.Name)
			}
		}
		slices.Sort(names)
		for _, member := range names {
			r.diff(join(path, member), want.Get(member), got.Get(member), line, out)
		}
	case want.Kind == fhir.Array:
		for i := range max(len(want.Items), len(got.Items)) {
			r.diff(fmt.Sprintf("%s[%d]", path, i), want.Item(i), got.Item(i), line, out)
		}
	case want.Text != got.Text:
		differ()
	}
}

// show is a value as the case would write it. Cases hold made-up values only.
func (r *caseRun) show(n *fhir.Node) string {
	if n == nil {
		return "nothing"
	}
	if n.Kind == fhir.String {
		if written, ok := r.refs[n.Text]; ok {
			return written
		}
	}
	text := string(n.AppendCanonical(nil))
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return text
}
