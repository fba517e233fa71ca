package mapping

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// CaseUpdate is a file of cases as it should be, so that cases that failed pass. All but the `want:` of these stays byte
// for byte as it is. Where only the text of values changes, nothing else of `want:` changes either; where elements come
// or go, that `want:` is laid out anew by the YAML library, with its comments.
type CaseUpdate struct {
	Pack     *Pack
	File     string // below the pack's folder
	Path     string // as faults show it
	Old, New []byte
}

// fileUpdate gathers the changes of one file.
type fileUpdate struct {
	file  *caseFile
	edits []edit
	cases []string // the names of those that change
}

// edit replaces a range of bytes.
type edit struct {
	start, end int
	text       string
}

// add readies one failed case. What it cannot write it leaves, and says why.
func (u *fileUpdate) add(r *caseRun, out *CaseResult, got caseGot) {
	switch {
	case !u.file.pack.Own:
		out.Kept = "the pack is inside the program: its cases are not changed"
		return
	case r.t.node.Style&yaml.FlowStyle != 0:
		out.Kept = "a case inside {} is not written anew: write its keys on lines of their own"
		return
	case r.t.want == nil && r.t.open == nil:
		out.Kept = "it wants no resources: change it by hand if the mapping is right"
		return
	case r.t.want != nil && got.result.Outcome != Mapped:
		out.Kept = "the record was " + got.result.Outcome.String() + ": write that into the case by hand if the mapping is right"
		return
	case slices.ContainsFunc(out.Differences, Difference.ofFindings):
		out.Kept = "its findings differ: change them by hand if the mapping is right, then bring it up to date"
		return
	}
	if r.t.open != nil {
		u.edits = append(u.edits, u.fill(r, got))
	} else {
		u.edits = append(u.edits, u.rewrite(r, got)...)
	}
	u.cases = append(u.cases, r.t.name)
}

// ofFindings tells a difference between findings, which stand in the case for a person to change.
func (d Difference) ofFindings() bool { return strings.HasPrefix(d.Want, "findings ") }

// fill writes the outcome of a case that has none.
func (u *fileUpdate) fill(r *caseRun, got caseGot) edit {
	key := r.t.node.Content[0]
	pad := strings.Repeat(" ", key.Column-1)
	var text string
	switch got.result.Outcome {
	case Mapped:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, n := range got.resources {
			r.leaveOut(&fhir.Node{Kind: fhir.Object}, n)
			list.Content = append(list.Content, r.render(n, true))
		}
		text = u.want(list, key.Column-1)
	default:
		text = pad + got.result.Outcome.String() + ": " + scalarText(got.result.Rule) + "\n"
	}
	last := r.t.node.Content[len(r.t.node.Content)-2]
	at := u.lineStart(u.blockEnd(last.Line, last.Column-1))
	if at == len(u.data()) && at > 0 && u.data()[at-1] != '\n' {
		text = "\n" + strings.TrimSuffix(text, "\n")
	}
	return edit{at, at, u.lineEnds(text)}
}

// rewrite brings a `want:` up to date.
func (u *fileUpdate) rewrite(r *caseRun, got caseGot) []edit {
	m := &merger{r: r, top: true}
	list := *r.t.want
	list.Content = nil
	for i, n := range got.resources {
		var have *yaml.Node
		if i < len(r.t.want.Content) {
			have = r.t.want.Content[i]
			if w := r.wanted(have, fhir.Lookup(r.m.Type), ""); w != nil {
				r.leaveOut(w, n)
			}
		} else {
			r.leaveOut(&fhir.Node{Kind: fhir.Object}, n)
		}
		m.top = true
		list.Content = append(list.Content, m.merge(have, n))
	}
	m.rebuilt = m.rebuilt || len(got.resources) != len(r.t.want.Content)
	if !m.rebuilt {
		var edits []edit
		for _, c := range m.scalars {
			e, ok := u.scalarEdit(c)
			if !ok {
				edits = nil
				m.rebuilt = true
				break
			}
			edits = append(edits, e)
		}
		if !m.rebuilt {
			return edits
		}
	}
	if len(r.t.want.Content) == 0 || len(list.Content) > 0 && list.Style&yaml.FlowStyle == 0 {
		list.Style &^= yaml.FlowStyle
	}
	var key *yaml.Node
	for i := 0; i+1 < len(r.t.node.Content); i += 2 {
		if r.t.node.Content[i+1] == r.t.want {
			key = r.t.node.Content[i]
		}
	}
	start, end := u.lineStart(key.Line), u.lineStart(u.blockEnd(key.Line, key.Column-1))
	u.ownComments(&list, string(u.data()[start:end]))
	head := string(u.data()[start : start+byteAt(u.file.lines[key.Line-1], key.Column-1)]) // `- ` before a key that comes first
	text := head + strings.TrimLeft(u.want(&list, key.Column-1), " ")
	if end == len(u.data()) && !bytes.HasSuffix(u.data(), []byte("\n")) {
		text = strings.TrimSuffix(text, "\n")
	}
	return []edit{{start, end, u.lineEnds(text)}}
}

// want is the key with its value, indented.
func (u *fileUpdate) want(list *yaml.Node, indent int) string {
	key := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "want"}, list}}
	text, err := yaml.Dump(key, yaml.WithIndent(2), yaml.WithLineWidth(-1), yaml.WithCompactSeqIndent(false))
	if err != nil {
		return "" // the check of the new file finds it
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(string(text), "\n") {
		if strings.TrimSpace(line) != "" {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(line)
	}
	return b.String()
}

// ownComments takes comments off the nodes that do not stand in the text that is replaced: the library hangs a comment
// that follows on what comes before.
func (u *fileUpdate) ownComments(n *yaml.Node, text string) {
	for _, c := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		if first, _, _ := strings.Cut(*c, "\n"); first != "" && !strings.Contains(text, first) {
			*c = ""
		}
	}
	for _, c := range n.Content {
		u.ownComments(c, text)
	}
}

func (u *fileUpdate) data() []byte { return []byte(strings.Join(u.file.lines, "\n")) }

// lineStart is the offset of a line, from 1.
func (u *fileUpdate) lineStart(line int) int {
	at := 0
	for _, l := range u.file.lines[:min(line-1, len(u.file.lines))] {
		at += len(l) + 1
	}
	return min(at, len(u.data()))
}

// blockEnd is the line after the value of a key that stands at an indent.
func (u *fileUpdate) blockEnd(line, indent int) int {
	end := line + 1
	for i := line; i < len(u.file.lines); i++ {
		text := strings.TrimRight(u.file.lines[i], " \r")
		inner := strings.TrimLeft(text, " ")
		depth := len(text) - len(inner)
		switch {
		case inner == "":
			continue
		case depth > indent, depth == indent && (strings.HasPrefix(inner, "- ") || inner == "-" || strings.HasPrefix(inner, "]") || strings.HasPrefix(inner, "}")):
			end = i + 2
		default:
			return end
		}
	}
	return end
}

// lineEnds writes the line ends of the file.
func (u *fileUpdate) lineEnds(text string) string {
	if strings.HasSuffix(u.file.lines[0], "\r") {
		return strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// scalarEdit replaces one scalar on its line; false if it goes over several or is written in a way of its own.
func (u *fileUpdate) scalarEdit(c scalarChange) (edit, bool) {
	line := u.file.lines[c.node.Line-1]
	at := byteAt(line, c.node.Column-1)
	rest := line[at:]
	size := 0
	switch {
	case c.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || c.node.Value == "":
		return edit{}, false
	case c.node.Style&yaml.SingleQuotedStyle != 0:
		size = len("''") + len(strings.ReplaceAll(c.node.Value, "'", "''"))
		if !strings.HasPrefix(rest, "'"+strings.ReplaceAll(c.node.Value, "'", "''")+"'") {
			return edit{}, false
		}
	case c.node.Style&yaml.DoubleQuotedStyle != 0:
		size = len(c.node.Value) + 2
		if !strings.HasPrefix(rest, `"`+c.node.Value+`"`) {
			return edit{}, false
		}
	default:
		size = len(c.node.Value)
		if !strings.HasPrefix(rest, c.node.Value) {
			return edit{}, false
		}
	}
	start := u.lineStart(c.node.Line) + at
	return edit{start, start + size, c.text}, true
}

// finish makes the new file, if it holds what it should: every other case as before, and those that changed pass.
func (u *fileUpdate) finish(s *caseSuite, results []CaseResult) *CaseUpdate {
	old := u.data()
	slices.SortFunc(u.edits, func(a, b edit) int { return cmp.Compare(b.start, a.start) })
	text := slices.Clone(old)
	for _, e := range u.edits {
		text = slices.Concat(text[:e.start], []byte(e.text), text[e.end:])
	}
	ok := u.holds(s, text)
	for i := range results {
		r := &results[i]
		if r.Difference == "" || r.Pack != u.file.pack.Name || r.Mapping != u.file.mapping || !slices.Contains(u.cases, r.Case) {
			continue
		}
		if r.Updated = ok; !ok {
			r.Kept = "what the mapping makes cannot be written so that the file stays as it is otherwise: change it by hand"
		}
	}
	if !ok {
		return nil
	}
	return &CaseUpdate{u.file.pack, u.file.name, u.file.path, old, text}
}

// holds checks a new file.
func (u *fileUpdate) holds(s *caseSuite, text []byte) bool {
	root, faults := document.Parse(u.file.path, text)
	if root == nil || len(faults) > 0 {
		return false
	}
	cf := &caseFile{pack: u.file.pack, path: u.file.path, name: u.file.name, mapping: u.file.mapping, lines: strings.Split(string(text), "\n")}
	if len(cf.read(root)) > 0 || len(cf.cases) != len(u.file.cases) {
		return false
	}
	for i := range cf.cases {
		changed := slices.Contains(u.cases, cf.cases[i].name)
		if !sameCase(u.file.cases[i].node, cf.cases[i].node, changed) {
			return false
		}
		if !changed {
			continue
		}
		r, _ := s.caseRun(cf, &cf.cases[i])
		if r == nil {
			return false
		}
		if out, _ := r.run(); len(r.faults) > 0 || len(out.Differences) > 0 {
			return false
		}
	}
	return true
}

// sameCase compares two cases; of one that changed all but its outcome.
func sameCase(a, b *yaml.Node, changed bool) bool {
	own := func(n *yaml.Node) (list []*yaml.Node) {
		for _, p := range document.Pairs(n) {
			if !changed || p.Key != "want" && p.Key != "refused" && p.Key != "skipped" {
				list = append(list, p.Node, p.Value)
			}
		}
		return list
	}
	return slices.EqualFunc(own(a), own(b), sameNode)
}

func sameNode(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.Value == b.Value && a.Style == b.Style && slices.EqualFunc(a.Content, b.Content, sameNode)
}
