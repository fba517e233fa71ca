package mapping

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// A mapping file is expanded before it is read: what it includes stands in its tree as if it had been written there, and
// nothing behind knows of fragments. So that faults find their way back, lines are numbered through: those of each
// inclusion follow the file's own, as positions do in go/token, and a span tells whose they are.

// maxIncludes bounds how deep fragments may include each other.
const maxIncludes = 16

// span is a run of numbered lines that belongs to another file than the mapping's.
type span struct {
	first int // number of the line before its first
	path  string
	from  string // where it was included
}

// piece is a part of a formula that was put together: from here on its text is that of the node from the offset on.
type piece struct {
	start  int
	node   *yaml.Node
	offset int
}

// place is the place of a numbered line, for faults.
func (f *file) place(line, column int) Fault {
	x := Fault{File: f.path, Line: line, Column: column}
	for i := len(f.spans) - 1; i >= 0; i-- {
		if s := &f.spans[i]; line > s.first {
			x.File, x.Line, x.From = s.path, line-s.first, s.from
			break
		}
	}
	return x
}

// at makes a fault at a node.
func (f *file) at(n *yaml.Node, hint, format string, args ...any) Fault {
	x := Fault{File: f.path}
	if n != nil {
		x = f.place(n.Line, n.Column)
	}
	x.Message, x.Hint = fmt.Sprintf(format, args...), hint
	return x
}

// where is a place in words: file:line:column, and from where it was included.
func (f *file) where(n *yaml.Node) string {
	x := f.place(n.Line, n.Column)
	text := fmt.Sprintf("%s:%d:%d", x.File, x.Line, x.Column)
	if x.From != "" {
		text += ", from " + x.From
	}
	return text
}

// span numbers the lines of another file.
func (f *file) span(path string, lines []string, from string) int {
	first := len(f.lines)
	f.spans = append(f.spans, span{first, path, from})
	f.lines = append(f.lines, lines...)
	return first
}

func copyTree(n *yaml.Node, shift int) *yaml.Node {
	c := *n
	c.Line += shift
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = copyTree(child, shift)
	}
	return &c
}

// expander puts fragments in the place of the includes of one mapping file.
type expander struct {
	*reader
	open  []string // the fragments being expanded, outermost first
	nodes int
}

// mapping expands the mapping file.
func (x *expander) mapping() {
	if includes(x.root, nil) {
		x.include(x.root, nil)
	}
	for _, p := range document.Pairs(x.root) {
		var typ *fhir.Type
		if to := find(x.root, "to"); p.Key == "resource" && to != nil {
			typ = fhir.Lookup(to.Value)
		}
		x.expand(p.Value, typ)
	}
}

// expand expands a tree in place. typ is the type of the object in the template, nil where there is none: the element
// `include` of ValueSet.compose is not an inclusion.
func (x *expander) expand(n *yaml.Node, typ *fhir.Type) {
	switch n.Kind {
	case yaml.MappingNode:
		if includes(n, typ) {
			x.include(n, typ)
		}
		if n.Kind != yaml.MappingNode {
			return // a fragment that is not an object has taken its place, and is expanded
		}
		if typ != nil && typ.Name == "Resource" {
			if name := find(n, "resourceType"); name != nil {
				typ = fhir.Lookup(name.Value)
			}
		}
		for _, p := range document.Pairs(n) {
			x.expand(p.Value, memberType(typ, p.Key))
		}
	case yaml.SequenceNode:
		content := make([]*yaml.Node, 0, len(n.Content))
		for _, c := range n.Content {
			alone := includes(c, typ) && len(c.Content) == 2
			if x.expand(c, typ); alone && c.Kind == yaml.SequenceNode {
				content = append(content, c.Content...) // a fragment that is a list gives its entries
			} else {
				content = append(content, c)
			}
		}
		n.Content = content
	}
}

// includes tells whether an object includes something.
func includes(n *yaml.Node, typ *fhir.Type) bool {
	if n.Kind != yaml.MappingNode || find(n, "include") == nil {
		return false
	}
	if typ == nil {
		return true
	}
	e, _ := typ.Element("include")
	return e == nil
}

// memberType is the type of a member of the template.
func memberType(typ *fhir.Type, key string) *fhir.Type {
	if typ == nil {
		return nil
	}
	_, t := typ.Element(strings.TrimPrefix(key, "_"))
	return t
}

// inclusion is a fragment that is asked for, with what fills its holes.
type inclusion struct {
	name *yaml.Node
	args *yaml.Node // nil: none
}

// inclusions reads the value of `include:`: a name, a list of them, or names with arguments.
func (x *expander) inclusions(n *yaml.Node) (out []inclusion) {
	const form = "include: NAME, or [NAME, NAME], or {NAME: {hole: = value}}"
	switch n.Kind {
	case yaml.ScalarNode:
		return []inclusion{{n, nil}}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind == yaml.SequenceNode {
				x.fault(c, form, "include takes names of fragments")
				continue
			}
			out = append(out, x.inclusions(c)...)
		}
	case yaml.MappingNode:
		for _, p := range document.Pairs(n) {
			args := p.Value
			switch {
			case document.IsNull(args):
				args = nil
			case args.Kind != yaml.MappingNode:
				x.fault(args, form, "what fills the holes of a fragment must be names, each with a value")
				continue
			}
			out = append(out, inclusion{p.Node, args})
		}
	}
	return out
}

// include puts what fragments give beside an object's own keys. An own key wins, whole; two fragments that give one key
// are a fault. An object that is nothing but one inclusion may become anything that a fragment gives.
func (x *expander) include(n *yaml.Node, typ *fhir.Type) {
	var asked *yaml.Node
	own := *n
	own.Content = nil
	for _, p := range document.Pairs(n) {
		if p.Key == "include" {
			asked = p.Value
			continue
		}
		own.Content = append(own.Content, p.Node, p.Value)
	}
	mine := document.Pairs(&own)
	given := map[string]string{}
	before := len(x.faults)
	list := x.inclusions(asked)
	for _, in := range list {
		body := x.fragment(in, typ)
		switch {
		case body == nil:
		case body.Kind == yaml.MappingNode:
			for _, p := range document.Pairs(body) {
				switch first, twice := given[p.Key]; {
				case slices.ContainsFunc(mine, func(o document.Pair) bool { return o.Key == p.Key }):
				case twice:
					x.fault(in.name, "write the key beside the include: an own key wins", "the fragments %s and %s both give %q", first, in.name.Value, p.Key)
				default:
					given[p.Key] = in.name.Value
					own.Content = append(own.Content, p.Node, p.Value)
				}
			}
		case len(mine) > 0 || len(list) > 1:
			x.fault(in.name, "", "the fragment %s gives %s, which cannot stand beside other keys", in.name.Value, kindWords(body))
		default:
			*n = *body
			x.moved(body, n)
			return
		}
	}
	if len(own.Content) == 0 && len(x.faults) > before && typ != nil {
		own = *emptyFormula(asked) // faulted: that nothing is there is not faulted as well
	}
	*n = own
}

// emptyFormula stands where a fault has left nothing.
func emptyFormula(at *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: "= {}", Line: at.Line, Column: at.Column}
}

// moved keeps the pieces of a formula that has moved to another node.
func (x *expander) moved(from, to *yaml.Node) {
	if pieces, ok := x.pieces[from]; ok {
		x.pieces[to] = pieces
	}
}

func kindWords(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "an object"
	}
	return "a single value"
}

// fragment is what a fragment gives where it is included, its own includes expanded; nil after a fault.
func (x *expander) fragment(in inclusion, typ *fhir.Type) *yaml.Node {
	name := in.name.Value
	fr := x.pack.fragments[name]
	if fr == nil {
		names := make([]string, 0, len(x.pack.fragments))
		for n := range x.pack.fragments {
			names = append(names, n)
		}
		slices.Sort(names)
		hint := document.Hint(name, names)
		switch {
		case strings.ContainsAny(name, `/\`) || strings.HasSuffix(name, ".yaml"):
			hint = "a fragment is named without its folder and ending: NAME is " + fragmentFolder + "/NAME.yaml of the pack"
		case hint == "" && len(names) == 0:
			hint = "a fragment is a file " + fragmentFolder + "/NAME.yaml of the pack"
		case hint == "":
			hint = "there are " + strings.Join(names, ", ")
		}
		x.fault(in.name, hint, "there is no fragment %q", name)
		return nil
	}
	fr.used = true
	if x.nodes > document.MaxNodes {
		return nil // told already
	}
	if i := slices.Index(x.open, name); i >= 0 {
		x.fault(in.name, "", "the fragments include each other in a circle: %s", strings.Join(append(slices.Clone(x.open[i:]), name), " → "))
		return nil
	}
	if len(x.open) >= maxIncludes {
		x.fault(in.name, "", "fragments include each other more than %d deep", maxIncludes)
		return nil
	}
	if fr.gives == nil {
		return nil
	}
	shift := x.span(fr.path, fr.lines, x.where(in.name))
	filled := x.fill(copyTree(fr.gives, shift), fr, x.arguments(in, fr, shift))
	if x.nodes += count(filled); x.nodes > document.MaxNodes {
		x.fault(in.name, "", "the includes of this file make more than %d values", document.MaxNodes)
		return nil
	}
	x.open = append(x.open, name)
	x.expand(filled, typ)
	x.open = x.open[:len(x.open)-1]
	return filled
}

func count(n *yaml.Node) int {
	sum := 1
	for _, c := range n.Content {
		sum += count(c)
	}
	return sum
}

// arguments is what fills each hole.
func (x *expander) arguments(in inclusion, fr *fragment, shift int) map[string]*yaml.Node {
	names := make([]string, len(fr.takes))
	args := map[string]*yaml.Node{}
	cut := false
	for _, p := range document.Pairs(in.args) {
		args[p.Key] = p.Value
		text, _, ok := isFormula(p.Value)
		if message := spoiled(p.Value, text, in.args.Style&yaml.FlowStyle != 0); ok && message != "" {
			x.fault(p.Value, "write it as '= …', with '' for each ' in it", "%s", message)
			args[p.Key], cut = emptyFormula(p.Value), true
		}
	}
	for i, h := range fr.takes {
		names[i] = h.name
		if args[h.name] != nil {
			continue
		}
		if h.value != nil {
			args[h.name] = copyTree(h.value, shift)
			continue
		}
		x.fault(in.name, fmt.Sprintf("include: {%s: {%s: = …}}", fr.name, h.name), "the fragment %s takes %q, and nothing fills it", fr.name, h.name)
		args[h.name] = emptyFormula(in.name)
	}
	for _, p := range document.Pairs(in.args) {
		if !slices.Contains(names, p.Key) && !(cut && (document.IsNull(p.Value) || !balancedRest(p.Key))) {
			hint := document.Hint(p.Key, names)
			switch {
			case hint == "" && len(names) == 0:
				hint = "it takes nothing"
			case hint == "":
				hint = "it takes " + strings.Join(names, ", ")
			}
			x.fault(p.Node, hint, "the fragment %s takes no %q", fr.name, p.Key)
		}
	}
	return args
}

// fill puts the arguments into the holes of a fragment's copy. A value that is nothing but the hole becomes the argument,
// of whatever kind; inside a formula it becomes its text.
func (x *expander) fill(n *yaml.Node, fr *fragment, args map[string]*yaml.Node) *yaml.Node {
	if text, start, ok := isFormula(n); ok {
		return x.fillFormula(n, text, start, fr, args)
	}
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := step - 1; i < len(n.Content); i += step {
		n.Content[i] = x.fill(n.Content[i], fr, args)
	}
	return n
}

func (x *expander) fillFormula(n *yaml.Node, text string, start int, fr *fragment, args map[string]*yaml.Node) *yaml.Node {
	var uses []fhirpath.Use
	for _, u := range fhirpath.Uses(text) {
		if args[u.Name] != nil && slices.ContainsFunc(fr.takes, func(h hole) bool { return h.name == u.Name }) {
			uses = append(uses, u)
		}
	}
	if len(uses) == 0 {
		return n
	}
	if u := uses[0]; len(uses) == 1 && strings.TrimSpace(text) == text[u.Offset:u.Offset+u.Length] {
		arg := copyTree(args[u.Name], 0)
		x.moved(args[u.Name], arg)
		return arg
	}
	// Block style: the text has been read already, and needs no quotes.
	out := &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.LiteralStyle, Line: n.Line, Column: n.Column}
	var b strings.Builder
	b.WriteString("=")
	pieces := []piece{{0, n, 0}}
	at := 0
	for _, u := range uses {
		arg := args[u.Name]
		if arg.Kind != yaml.ScalarNode {
			x.fault(arg, "", "the hole %q of the fragment %s stands inside a formula, so a formula or a text fills it, not %s", u.Name, fr.name, kindWords(arg))
			arg = emptyFormula(arg)
		}
		b.WriteString(text[at:u.Offset])
		at = u.Offset + u.Length
		formula, offset, ok := isFormula(arg)
		if !ok {
			formula, offset = textLiteral(literalText(arg)), 0
		}
		simple := simpleForm.MatchString(formula)
		if !simple {
			b.WriteString("(")
		}
		pieces = append(pieces, piece{b.Len(), arg, offset})
		b.WriteString(formula)
		if !simple {
			b.WriteString(")")
		}
		pieces = append(pieces, piece{b.Len(), n, start + at})
	}
	b.WriteString(text[at:])
	out.Value = b.String()
	x.pieces[out] = pieces
	return out
}

// simpleForm is the form of formulas that need no parentheses where they become part of another.
var simpleForm = regexp.MustCompile("^\\s*(?:[A-Za-z_][A-Za-z0-9_]*|`[^`]+`|%[A-Za-z_][A-Za-z0-9_]*|'[^'\\\\]*')\\s*$")

// textLiteral is a text as FHIRPath writes it.
func textLiteral(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
}
