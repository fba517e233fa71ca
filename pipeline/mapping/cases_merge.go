package mapping

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// merger brings what a case wants up to what was made, and leaves as much as it can as it is written.
type merger struct {
	r       *caseRun
	top     bool // the resource itself is next
	rebuilt bool // more than the text of scalars changes
	scalars []scalarChange
}

// scalarChange is a scalar that gets another text.
type scalarChange struct {
	node *yaml.Node
	text string
}

// merge is the node that says what was made.
func (m *merger) merge(have *yaml.Node, got *fhir.Node) *yaml.Node {
	top := m.top
	m.top = false
	if have == nil {
		m.rebuilt = true
		return m.r.render(got, top)
	}
	switch {
	case got.Kind == fhir.Object && have.Kind == yaml.MappingNode:
		return m.object(have, got, top)
	case got.Kind == fhir.Array:
		return m.list(have, got)
	case have.Kind == yaml.ScalarNode && (got.Kind != fhir.Object || m.r.refOf(got) != ""):
		text := got.Text
		if got.Kind == fhir.Object {
			text = m.r.refOf(got)
		}
		if m.r.sameScalar(have, text) {
			return have
		}
		fresh := m.r.scalar(text, got.Kind)
		m.scalars = append(m.scalars, scalarChange{have, scalarSource(fresh)})
		fresh.LineComment, fresh.HeadComment, fresh.FootComment = have.LineComment, have.HeadComment, have.FootComment
		return fresh
	}
	m.rebuilt = true
	return m.r.render(got, false)
}

func (m *merger) object(have *yaml.Node, got *fhir.Node, top bool) *yaml.Node {
	out := *have
	out.Content = nil
	for _, p := range document.Pairs(have) {
		value := got.Get(p.Key)
		switch {
		case value != nil:
			out.Content = append(out.Content, p.Node, m.merge(p.Value, value))
		case top && !m.r.t.meta && (p.Key == "id" || p.Key == "meta"), p.Key == "resourceType":
			out.Content = append(out.Content, p.Node, p.Value) // not compared
		default:
			m.rebuilt = true
		}
	}
	for _, x := range got.Members {
		if find(have, x.Name) == nil {
			m.rebuilt = true
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: x.Name}, m.r.render(x.Value, false))
		}
	}
	return &out
}

func (m *merger) list(have *yaml.Node, got *fhir.Node) *yaml.Node {
	if have.Kind != yaml.SequenceNode {
		if len(got.Items) == 1 {
			return m.merge(have, got.Items[0])
		}
		m.rebuilt = true
		return m.r.render(got, false)
	}
	out := *have
	out.Content = nil
	for i, item := range got.Items {
		var old *yaml.Node
		if i < len(have.Content) {
			old = have.Content[i]
		}
		out.Content = append(out.Content, m.merge(old, item))
	}
	m.rebuilt = m.rebuilt || len(have.Content) != len(got.Items)
	return &out
}

// refOf is a Reference that says only what ref() gave, as cases write it; "" if it is anything else.
func (r *caseRun) refOf(n *fhir.Node) string {
	if n.Kind == fhir.Object && len(n.Members) == 1 && n.Members[0].Name == "reference" {
		return r.refs[n.Members[0].Value.Str()]
	}
	return ""
}

// sameScalar tells whether a scalar of the case says a text already.
func (r *caseRun) sameScalar(have *yaml.Node, text string) bool {
	if have.Value == text {
		return true
	}
	ref, ok := r.reference(have)
	return ok && (ref == text || r.refs[ref] == text || r.trace.refs[ref] == text)
}

// render writes a value as cases have it: objects on lines of their own, what is inside of datatypes in braces.
func (r *caseRun) render(n *fhir.Node, block bool) *yaml.Node {
	if ref := r.refOf(n); ref != "" {
		return r.scalar(ref, fhir.String)
	}
	switch n.Kind {
	case fhir.Object:
		out := &yaml.Node{Kind: yaml.MappingNode}
		if !block {
			out.Style = yaml.FlowStyle
		}
		for _, m := range n.Members {
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: m.Name}, r.render(m.Value, false))
		}
		return out
	case fhir.Array:
		out := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range n.Items {
			out.Content = append(out.Content, r.render(item, false))
		}
		return out
	case fhir.String:
		if ref := r.trace.refs[n.Text]; ref != "" {
			return r.scalar(ref, fhir.String)
		}
	}
	return r.scalar(n.Text, n.Kind)
}

// scalar is a scalar that reads back as the text.
func (r *caseRun) scalar(text string, kind fhir.NodeKind) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if kind == fhir.String && !plain(text) {
		n.Style = yaml.SingleQuotedStyle
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }) {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

// plain tells whether a text can stand without quotes, inside {} and [] too.
func plain(text string) bool {
	root, faults := document.Parse("", []byte("["+text+"]"))
	return root != nil && len(faults) == 0 && root.Kind == yaml.SequenceNode && len(root.Content) == 1 && root.Content[0].Kind == yaml.ScalarNode &&
		root.Content[0].Value == text && root.Content[0].Style == 0 && !document.IsNull(root.Content[0]) && root.Content[0].LineComment == ""
}

// scalarSource is a scalar as it is written.
func scalarSource(n *yaml.Node) string {
	switch n.Style {
	case yaml.SingleQuotedStyle:
		return "'" + strings.ReplaceAll(n.Value, "'", "''") + "'"
	case yaml.DoubleQuotedStyle:
		return string(fhir.AppendString(nil, n.Value))
	}
	return n.Value
}

func scalarText(text string) string {
	if plain(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// joinKey writes the parts of a key as splitKey reads them.
func joinKey(parts []string) string {
	out := slices.Clone(parts)
	for i, p := range out {
		if strings.ContainsAny(p, ",')") || strings.HasPrefix(p, " ") {
			out[i] = "'" + strings.ReplaceAll(p, "'", "''") + "'"
		}
	}
	return strings.Join(out, ",")
}
