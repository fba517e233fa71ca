package mapping

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// file is one mapping file as parsed: its parts with their places, nothing resolved.
type file struct {
	pack  *Pack
	path  string
	lines []string // of the source, to place faults inside formulas
	root  *yaml.Node

	name       string
	from, to   textAt
	ids        textAt
	profiles   []textAt
	key        []textAt
	groupBy    []textAt
	optional   []textAt
	rename     []ruleAt // name: the column as found; value: the name it gets
	duplicates Duplicates
	patient    *yaml.Node
	references []ruleAt // path ("" for all) and refuse or drop
	forEach    *yaml.Node
	forEachKey *yaml.Node
	skip       []ruleAt
	refuse     []ruleAt
	find       []ruleAt
	resource   *yaml.Node
	unused     []ruleAt
	allowEmpty []ruleAt
	with       []withAt
}

// textAt is a text with its place.
type textAt struct {
	text string
	node *yaml.Node
}

// ruleAt is a key with a value, both with their places.
type ruleAt struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// caseSuffix ends the name of a file of cases.
const caseSuffix = ".cases.yaml"

func readPack(fsys fs.FS, name string, beside []fs.FS) (*Pack, Faults) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, Faults{{File: name, Message: "the mapping folder cannot be read: " + plainError(err)}}
	}
	p := &Pack{Name: name, Maps: map[string]*terminology.ConceptMap{}}
	var faults Faults
	for _, e := range entries {
		switch file := e.Name(); {
		case e.IsDir():
		case strings.HasSuffix(file, ".yml"):
			faults = append(faults, Fault{File: p.file(file), Message: "mapping files end in .yaml", Hint: "rename it to " + strings.TrimSuffix(file, ".yml") + ".yaml"})
		case strings.HasSuffix(file, ".yaml"):
			data, fault := readFile(fsys, file, p.file(file), document.MaxBytes)
			if fault != nil {
				faults = append(faults, *fault)
				continue
			}
			root, found := document.Parse(p.file(file), data)
			lines := strings.Split(string(data), "\n")
			faults = append(faults, explain(found, lines)...)
			if root == nil {
				if len(found) == 0 {
					faults = append(faults, Fault{File: p.file(file), Line: 1, Column: 1, Message: "the file is empty"})
				}
				continue
			}
			if strings.HasSuffix(file, caseSuffix) {
				c := &caseFile{pack: p, path: p.file(file), name: file, lines: lines, mapping: strings.TrimSuffix(file, caseSuffix)}
				p.cases = append(p.cases, c)
				faults = append(faults, c.read(root)...)
				continue
			}
			r := newReader(p, file, lines, root)
			r.read()
			p.files = append(p.files, r.file)
			faults = append(faults, r.faults...)
		}
	}
	faults = append(faults, p.readMaps(fsys, beside)...)
	seen := map[string]*file{}
	for _, f := range p.files {
		if first := seen[f.name]; first != nil {
			faults = append(faults, document.At(f.path, f.root, "the mapping %q is there twice, first in %s", f.name, first.path))
		}
		seen[f.name] = f
	}
	slices.SortFunc(p.files, func(a, b *file) int { return strings.Compare(a.name, b.name) })
	return p, faults.Sort()
}

// file is how faults name a file of the pack.
func (p *Pack) file(name string) string { return path.Join(p.Name, name) }

func readFile(fsys fs.FS, name, shown string, most int64) ([]byte, *Fault) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, &Fault{File: shown, Message: "cannot be read: " + plainError(err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, &Fault{File: shown, Message: "cannot be read: " + plainError(err)}
	}
	if int64(len(data)) > most {
		return nil, &Fault{File: shown, Message: fmt.Sprintf("the file has more than %d bytes", most)}
	}
	return data, nil
}

// plainError is an error of the file system without the path of this machine.
func plainError(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// explain gives YAML's own faults the words of this language: the commonest is a formula that should be quoted.
func explain(faults Faults, lines []string) Faults {
	for i := range faults {
		f := &faults[i]
		if f.Line < 1 || f.Line > len(lines) || !strings.HasPrefix(f.Message, "not YAML: ") {
			continue
		}
		line := lines[f.Line-1]
		start := formulaStart(line)
		if start < 0 {
			continue
		}
		quote := "write it as '= …', with '' for each ' in it, or in the next line after `|`"
		if at := strings.Index(line[start:], ": "); at >= 0 {
			f.Column = runes(line[:start+at]) + 1
			f.Message, f.Hint = "a formula that holds `: ` must be quoted: YAML takes what stands before it for a key", quote
		} else if strings.HasSuffix(strings.TrimRight(line, " \r"), ":") {
			f.Column = runes(strings.TrimRight(line, " \r"))
			f.Message, f.Hint = "a formula that ends in `:` must be quoted", quote
		} else if strings.ContainsAny(line[:start], "{[") {
			f.Column = runes(line[:start]) + 1
			f.Message, f.Hint = "a formula inside {} or [] that holds a comma or a bracket must be quoted", quote
		}
	}
	return faults
}

// formulaStart is where an unquoted formula begins in a line, or -1.
func formulaStart(line string) int {
	for i := 0; i < len(line); i++ {
		if line[i] != '=' {
			continue
		}
		before := strings.TrimRight(line[:i], " ")
		if before == "" || strings.HasSuffix(before, ":") || strings.HasSuffix(before, "-") || strings.HasSuffix(before, "[") || strings.HasSuffix(before, ",") || strings.HasSuffix(before, "{") {
			return i
		}
		return -1
	}
	return -1
}

// reader reads one mapping file and gathers faults.
type reader struct {
	*file
	faults Faults
}

func newReader(p *Pack, name string, lines []string, root *yaml.Node) *reader {
	return &reader{file: &file{pack: p, path: p.file(name), lines: lines, root: root, name: strings.TrimSuffix(name, ".yaml")}}
}

func (r *reader) fault(n *yaml.Node, hint, format string, args ...any) {
	f := document.At(r.path, n, format, args...)
	f.Hint = hint
	r.faults = append(r.faults, f)
}

// mappingKeys are the keys of a mapping file.
var mappingKeys = []string{"name", "from", "to", "profile", "ids", "key", "duplicates", "optional", "rename", "patient", "references",
	"with", "group by", "forEach", "forEach key", "skip", "refuse", "find", "resource", "unused", "allow empty"}

// laterKeys are keys of the language that this version does not have yet.
var laterKeys = []string{"include", "constants"}

func (r *reader) read() {
	if r.root.Kind != yaml.MappingNode {
		r.fault(r.root, "", "a mapping file must be keys with values: from, to, key, patient, resource")
		return
	}
	seen := map[string]bool{}
	for _, p := range document.Pairs(r.root) {
		seen[p.Key] = true
		if document.IsNull(p.Value) {
			r.fault(p.Node, "", "%q has no value", p.Key)
			continue
		}
		switch v := p.Value; p.Key {
		case "name":
			if name := r.text(v, p.Key); name != "" {
				r.name = name
			}
		case "from":
			r.from = textAt{r.text(v, p.Key), v}
		case "to":
			r.to = textAt{r.text(v, p.Key), v}
		case "ids":
			r.ids = textAt{r.text(v, p.Key), v}
		case "profile":
			r.profiles = r.texts(v, p.Key)
		case "key":
			r.key = r.texts(v, p.Key)
		case "group by":
			r.groupBy = r.texts(v, p.Key)
		case "optional":
			r.optional = r.texts(v, p.Key)
		case "rename":
			r.rename = r.rules(v, p.Key)
		case "duplicates":
			words := []string{"refuse", "merge", "number"}
			word := r.text(v, p.Key)
			if i := slices.Index(words, word); i >= 0 {
				r.duplicates = Duplicates(i)
			} else {
				r.fault(v, document.Hint(word, words), "duplicates must be refuse, merge or number")
			}
		case "patient":
			r.patient = v
		case "references":
			r.readReferences(v)
		case "forEach":
			r.forEach = v
		case "forEach key":
			r.forEachKey = v
		case "skip":
			r.skip = r.rules(v, p.Key)
		case "refuse":
			r.refuse = r.rules(v, p.Key)
		case "find":
			r.find = r.rules(v, p.Key)
		case "with":
			r.readWith(v)
		case "unused":
			r.unused = r.rules(v, p.Key)
		case "allow empty":
			r.allowEmpty = r.rules(v, p.Key)
		case "resource":
			r.resource = v
			if v.Kind != yaml.MappingNode {
				r.fault(v, "", "resource must have the shape of the FHIR resource")
				r.resource = nil
			}
		default:
			hint := document.Hint(p.Key, mappingKeys)
			if slices.Contains(laterKeys, p.Key) {
				hint = "this version does not read it yet"
			} else if hint == "" {
				hint = "known: " + strings.Join(mappingKeys, ", ")
			}
			r.fault(p.Node, hint, "a mapping has no key %q", p.Key)
		}
	}
	needed := []string{"from", "to", "patient", "resource"}
	if !seen["group by"] {
		needed = append(needed, "key")
	}
	slices.Sort(needed)
	for _, name := range needed {
		if !seen[name] {
			hint := map[string]string{
				"patient": "= ref('patient', COLUMN), or self, or none for what belongs to no patient",
				"key":     "the columns that identify a record; the id is derived from them",
			}[name]
			r.fault(r.root, hint, "the mapping has no %q", name)
		}
	}
	if seen["forEach key"] && !seen["forEach"] {
		r.fault(r.forEachKey, "", "`forEach key` without `forEach`")
	}
}

func (r *reader) readReferences(v *yaml.Node) {
	words := []string{"refuse", "drop"}
	word := func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
			r.fault(n, document.Hint(n.Value, words), "references must be refuse or drop")
		}
	}
	if v.Kind == yaml.ScalarNode {
		word(v)
		r.references = []ruleAt{{"", v, v}}
		return
	}
	r.references = r.rules(v, "references")
	for _, x := range r.references {
		word(x.value)
	}
}

// text is a scalar's text.
func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode {
		r.fault(n, "", "%s must be a text", what)
		return ""
	}
	if document.IsNull(n) || strings.TrimSpace(n.Value) == "" {
		r.fault(n, "", "%s is blank", what)
		return ""
	}
	return n.Value
}

// texts is a list of texts, or one text.
func (r *reader) texts(n *yaml.Node, what string) []textAt {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	out := make([]textAt, 0, len(nodes))
	for _, c := range nodes {
		if text := r.text(c, what); text != "" {
			if i := slices.IndexFunc(out, func(t textAt) bool { return t.text == text }); i >= 0 {
				r.fault(c, "", "%s names %q twice", what, text)
				continue
			}
			out = append(out, textAt{text, c})
		}
	}
	return out
}

// rules is a list of names with a scalar each.
func (r *reader) rules(n *yaml.Node, what string) []ruleAt {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "", "%s must be names, each with a value", what)
		return nil
	}
	var out []ruleAt
	for _, p := range document.Pairs(n) {
		if r.text(p.Value, fmt.Sprintf("%s: %q", what, p.Key)) != "" {
			out = append(out, ruleAt{p.Key, p.Node, p.Value})
		}
	}
	return out
}
