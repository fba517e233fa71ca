package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// formula is a compiled formula and what is known of it.
type formula struct {
	expr    *fhirpath.Expr
	text    string
	place   Fault // file, line and column; no message
	path    string
	index   int    // in the counters; -1 for rules
	own     []int  // columns read of its own environment
	outer   []int  // and of the record around it
	column  string // the one column it reads, if it is one
	inItem  bool   // evaluated over the item of a forEach
	single  bool
	refs    []refUse
	allowed string // the reason of `allow empty`
	maps    []*mapSlot
}

// refUse is a ref() in a formula.
type refUse struct {
	target *refTarget
	offset int
}

// formulaCompiler compiles the formulas of one mapping.
type formulaCompiler struct {
	c    *compiler
	file *file
	zone *time.Location
	refs []refUse                            // of the formula at hand
	read func(env *fhirpath.Env, column int) // is told each column that a formula reads

	maps   []*mapSlot // that the formula at hand asks
	looked []*formula // those that ask any

	constants map[string]fhirpath.Constant
	cut       int // line of the last formula that YAML has cut
}

// isFormula tells formulas from literals: a scalar that begins with one `=`. start is where the expression begins.
func isFormula(n *yaml.Node) (expression string, start int, ok bool) {
	if n == nil || n.Kind != yaml.ScalarNode || !strings.HasPrefix(n.Value, "=") || strings.HasPrefix(n.Value, "==") {
		return "", 0, false
	}
	return n.Value[1:], 1, true
}

// literalText is the text of a scalar that is not a formula: `==x` is `=x`.
func literalText(n *yaml.Node) string {
	if strings.HasPrefix(n.Value, "==") {
		return n.Value[1:]
	}
	return n.Value
}

// compile compiles a formula. Faults are placed inside it. Nil if there are any.
func (f *formulaCompiler) compile(n *yaml.Node, env *fhirpath.Env, path string, inFlow bool) *formula {
	text, start, ok := isFormula(n)
	if !ok {
		f.c.fault(f.file, n, "write it as = formula", "%s must be a formula, which begins with `=`", path)
		return nil
	}
	if message := spoiled(n, text, inFlow); message != "" {
		f.c.fault(f.file, n, "write it as '= …', with '' for each ' in it", "%s", message)
		f.cut = n.Line
		return nil
	}
	f.refs = nil
	withFunctions := *env
	withFunctions.Functions, withFunctions.Constants, withFunctions.Terminology = f.c.functions(f), f.constants, f.c.o.Terminology
	expr, problems := fhirpath.Compile(text, &withFunctions)
	f.c.problems(f.file, n, start, problems)
	if expr == nil {
		return nil
	}
	for _, r := range expr.Reads() {
		from := r.Env
		if from == &withFunctions {
			from = env
		}
		if f.read != nil {
			f.read(from, r.Column)
		}
	}
	out := &formula{expr: expr, text: strings.TrimSpace(text), place: f.file.placeIn(n, start+len(text)-len(strings.TrimLeft(text, " "))), path: path, index: -1,
		own: expr.Columns(), outer: expr.OuterColumns(), inItem: env.Outer != nil, single: expr.Static().Single, refs: f.refs}
	switch {
	case len(out.own) == 1 && len(out.outer) == 0:
		out.column = env.Columns[out.own[0]]
	case len(out.own) == 0 && len(out.outer) == 1 && env.Outer != nil:
		out.column = env.Outer.Columns[out.outer[0]]
	}
	if out.maps, f.maps = f.maps, nil; len(out.maps) > 0 {
		f.looked = append(f.looked, out)
	}
	return out
}

// problems notes what is wrong with a formula, each in its place in the node. start is where the expression begins.
func (c *compiler) problems(f *file, n *yaml.Node, start int, list []fhirpath.Problem) {
	for _, x := range list {
		fault := f.placeIn(n, start+x.Offset)
		fault.Message, fault.Hint = x.Message, x.Hint
		if x.Finding {
			c.notices = append(c.notices, Notice{Severity: IsFinding, Rule: "blank", Fault: fault})
		} else {
			c.faults = append(c.faults, fault)
		}
	}
}

// placeIn is the place of a byte offset in a node's value, which may have been put together.
func (f *file) placeIn(n *yaml.Node, offset int) Fault {
	pieces := f.pieces[n]
	for i := len(pieces) - 1; i >= 0; i-- {
		if p := &pieces[i]; offset >= p.start {
			return f.placeIn(p.node, p.offset+offset-p.start)
		}
	}
	return f.place((&placer{f.lines, n}).at(offset))
}

// spoiled recognises formulas that YAML has cut, because they should have been quoted.
func spoiled(n *yaml.Node, text string, inFlow bool) string {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 || balanced(text) {
		return ""
	}
	if n.LineComment != "" {
		return "a formula that holds ` #` must be quoted: YAML takes the rest for a comment"
	}
	if inFlow {
		return "a formula inside {} or [] that holds a comma or a bracket must be quoted: YAML cuts it there"
	}
	return ""
}

// balanced tells whether all quotes and brackets of an expression close.
func balanced(text string) bool {
	var open []byte
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '`' || c == '"':
			quote = c
		case c == '(':
			open = append(open, ')')
		case c == '[':
			open = append(open, ']')
		case c == '{':
			open = append(open, '}')
		case c == ')' || c == ']' || c == '}':
			if len(open) == 0 || open[len(open)-1] != c {
				return true // too many: FHIRPath says so with the place
			}
			open = open[:len(open)-1]
		}
	}
	return quote == 0 && len(open) == 0
}

// placer finds the place in the file of an offset in a scalar's value, through quotes, escapes and folded lines.
type placer struct {
	lines []string
	node  *yaml.Node
}

// at is line and column, from 1, of a byte offset in the node's value.
func (p *placer) at(offset int) (line, column int) {
	n := p.node
	if n.Line < 1 || n.Line > len(p.lines) {
		return n.Line, n.Column
	}
	l, pos, base := n.Line-1, byteAt(p.lines[n.Line-1], n.Column-1), 0
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		l++
		for l < len(p.lines) && strings.TrimSpace(p.lines[l]) == "" {
			l++
		}
		if l >= len(p.lines) {
			return n.Line, n.Column
		}
		pos = indentOf(p.lines[l])
		base = pos
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		pos++
	}
	value := n.Value
	for i := 0; i < offset && i < len(value); {
		src := p.lines[l][min(pos, len(p.lines[l])):]
		c := value[i]
		if (c == ' ' || c == '\n') && strings.TrimSpace(src) == "" {
			if l+1 >= len(p.lines) {
				break
			}
			l++
			for l+1 < len(p.lines) && strings.TrimSpace(p.lines[l]) == "" {
				l++
			}
			pos = indentOf(p.lines[l])
			if n.Style&yaml.LiteralStyle != 0 {
				pos = min(pos, base) // deeper indentation is part of the text
			}
			i++
			continue
		}
		_, size := utf8.DecodeRuneInString(value[i:])
		switch {
		case n.Style&yaml.SingleQuotedStyle != 0 && c == '\'':
			pos += 2
		case n.Style&yaml.DoubleQuotedStyle != 0 && strings.HasPrefix(src, `\`):
			pos += escapeLength(src)
		default:
			pos += size
		}
		i += size
	}
	return l + 1, runes(p.lines[l][:min(pos, len(p.lines[l]))]) + 1
}

// escapeLength is the length of an escape of YAML's double quotes.
func escapeLength(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case 'x':
		return min(4, len(s))
	case 'u':
		return min(6, len(s))
	case 'U':
		return min(10, len(s))
	}
	return 2
}

func indentOf(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// byteAt is the byte offset of a column counted in characters.
func byteAt(s string, column int) int {
	for i := range s {
		if column == 0 {
			return i
		}
		column--
	}
	return len(s)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// codeOf is the refusal code for an error of a formula.
func codeOf(err error) (Code, string) {
	var e *fhirpath.Error
	if errors.As(err, &e) {
		switch code := Code(e.Code); code {
		case BadDate, AmbiguousDate, NoZone, NonexistentTime, AmbiguousTime, BadNumber, BadUnit, UnmappedCode, SeveralTargets, NarrowerCode, WrongType:
			return code, ""
		}
		return BadFormula, e.Code
	}
	return BadFormula, ""
}

// emptyForm is the form of a rule that proves a column filled: COLUMN.empty() or COLUMN.exists().not().
var emptyForm = regexp.MustCompile("^\\s*(?:`([^`]+)`|([A-Za-z_][A-Za-z0-9_]*))\\s*\\.\\s*(?:empty\\(\\s*\\)|exists\\(\\s*\\)\\s*\\.\\s*not\\(\\s*\\))\\s*$")

// provesFilled is the column that is not blank where the rule did not act, or "".
func provesFilled(n *yaml.Node) string {
	text, _, ok := isFormula(n)
	if !ok {
		return ""
	}
	m := emptyForm.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// describe names a static type for people.
func describe(st fhirpath.StaticType) string {
	if st.FHIR != nil {
		return article(st.FHIR.Name)
	}
	if st.Cell {
		return "the text of a cell"
	}
	if st.Kinds == 0 {
		return "something unknown"
	}
	return kindList(st.Kinds)
}

func kindList(k fhirpath.Kinds) string {
	var names []string
	for kind := fhirpath.KindBoolean; kind <= fhirpath.KindRow; kind++ {
		if k&fhirpath.Set(kind) != 0 {
			names = append(names, article(kind.String()))
		}
	}
	return strings.Join(names, " or ")
}

func article(noun string) string {
	if noun != "" && strings.ContainsRune("AEIOaeio", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func (c *compiler) fault(f *file, n *yaml.Node, hint, format string, args ...any) {
	c.faults = append(c.faults, f.at(n, hint, format, args...))
}

func (c *compiler) notice(s Severity, rule string, f *file, n *yaml.Node, hint, format string, args ...any) {
	c.notices = append(c.notices, Notice{Severity: s, Rule: rule, Fault: f.at(n, hint, format, args...)})
}

// keyText is the key of the target as people read it.
func (t *refTarget) keyText() string {
	names := make([]string, 0, len(t.file.keyColumns())+1)
	for _, k := range t.file.keyColumns() {
		names = append(names, k.text)
	}
	if t.item {
		names = append(names, "the forEach key")
	}
	return fmt.Sprintf("[%s]", strings.Join(names, ", "))
}

// keyColumns are the columns of the key: those of the group where `key:` is left out.
func (f *file) keyColumns() []textAt {
	if len(f.key) == 0 {
		return f.groupBy
	}
	return f.key
}
