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

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// file is one mapping file as parsed: its parts with their places, nothing resolved.
type file struct {
	pack   *Pack
	path   string
	lines  []string // of the source and of what it includes, to place faults inside formulas
	root   *yaml.Node
	spans  []span                 // whose the lines are that are not the file's own
	pieces map[*yaml.Node][]piece // of formulas that were put together

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
	constants  []constantAt
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
	faults := p.readFragments(fsys)
	var readers []*reader
	for _, e := range entries {
		switch file := e.Name(); {
		case e.IsDir():
		case strings.HasSuffix(file, ".yml"):
			faults = append(faults, Fault{File: p.file(file), Message: "mapping files end in .yaml", Hint: "rename it to " + strings.TrimSuffix(file, ".yml") + ".yaml"})
		case strings.HasSuffix(file, ".yaml"):
			root, lines, found := readYAML(fsys, file, p.file(file))
			faults = append(faults, found...)
			switch {
			case root == nil:
			case strings.HasSuffix(file, caseSuffix):
				c := &caseFile{pack: p, path: p.file(file), name: file, lines: lines, mapping: strings.TrimSuffix(file, caseSuffix)}
				p.cases = append(p.cases, c)
				faults = append(faults, c.read(root)...)
			case file == packFile:
				p.settings, found = readSettings(p, lines, root)
				faults = append(faults, found...)
			default:
				readers = append(readers, newReader(p, file, lines, root))
			}
		}
	}
	for _, r := range readers {
		r.read()
		p.files = append(p.files, r.file)
		faults = append(faults, r.faults...)
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

// readYAML reads and parses a file of the pack. The root is nil after a fault, and of an empty file, which is one.
func readYAML(fsys fs.FS, name, shown string) (root *yaml.Node, lines []string, faults Faults) {
	data, fault := readFile(fsys, name, shown, document.MaxBytes)
	if fault != nil {
		return nil, nil, Faults{*fault}
	}
	root, found := document.Parse(shown, data)
	lines = splitLines(string(data))
	if root == nil && len(found) == 0 {
		return nil, lines, Faults{{File: shown, Line: 1, Column: 1, Message: "the file is empty"}}
	}
	return root, lines, explain(found, lines)
}

// splitLines splits a text where YAML counts lines, so that places agree.
func splitLines(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(text), "\n")
}

// readFolder lists a folder of the pack; one that is not there has no files.
func readFolder(fsys fs.FS, name, shown, what string) ([]fs.DirEntry, *Fault) {
	entries, err := fs.ReadDir(fsys, name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return entries, nil
	}
	return nil, &Fault{File: shown, Message: "the folder of " + what + " cannot be read: " + plainError(err)}
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

// reader reads one mapping file and gathers faults.
type reader struct {
	*file
	faults Faults
}

func newReader(p *Pack, name string, lines []string, root *yaml.Node) *reader {
	return &reader{file: &file{pack: p, path: p.file(name), lines: lines, root: root, name: strings.TrimSuffix(name, ".yaml"), pieces: map[*yaml.Node][]piece{}}}
}

func (r *reader) fault(n *yaml.Node, hint, format string, args ...any) {
	r.faults = append(r.faults, r.at(n, hint, format, args...))
}

// mappingKeys are the keys of a mapping file.
func mappingKeys() []keySpec[*reader] {
	return []keySpec[*reader]{
		{"name", "text", "The mapping's name; by default the file's without .yaml.", func(r *reader, v *yaml.Node) {
			if name := r.text(v, "name"); name != "" {
				r.name = name
			}
		}},
		{"from", "text", "The table; source/table where two sources have one of that name.", func(r *reader, v *yaml.Node) { r.from = textAt{r.text(v, "from"), v} }},
		{"to", "type", "The R4 resource type.", func(r *reader, v *yaml.Node) { r.to = textAt{r.text(v, "to"), v} }},
		{"profile", "texts", "Profiles of the resource: URLs or formulas.", func(r *reader, v *yaml.Node) { r.profiles = r.texts(v, "profile") }},
		{"ids", "text", "The id space; by default source and table.", func(r *reader, v *yaml.Node) { r.ids = textAt{r.text(v, "ids"), v} }},
		{"key", "texts", "The columns that identify a record; the id is derived from them.", func(r *reader, v *yaml.Node) { r.key = r.texts(v, "key") }},
		{"duplicates", "duplicates", "What a second record with the same key means.", (*reader).readDuplicates},
		{"optional", "texts", "Columns that some exports lack; they are blank then.", func(r *reader, v *yaml.Node) { r.optional = r.texts(v, "optional") }},
		{"rename", "reasons", "Columns by the name found, each with the name that the mapping gives it.", func(r *reader, v *yaml.Node) { r.rename = r.rules(v, "rename") }},
		{"constants", "constants", "Values that formulas use as %name.", func(r *reader, v *yaml.Node) { r.constants = r.readConstants(v) }},
		{"patient", "patient", "Whose record it is: = ref('patient', COLUMN), self, or none.", func(r *reader, v *yaml.Node) { r.patient = v }},
		{"references", "references", "What becomes of ref() to a record that is not there: refuse or drop, for all or by element path.", (*reader).readReferences},
		{"with", "with", "Rows of other tables, as children of the record.", (*reader).readWith},
		{"group by", "texts", "Columns whose equal values make a group of records one resource.", func(r *reader, v *yaml.Node) { r.groupBy = r.texts(v, "group by") }},
		{"forEach", "formula", "One resource for each item of this collection.", func(r *reader, v *yaml.Node) { r.forEach = v }},
		{"forEach key", "formula", "What tells the items of forEach apart; part of the id.", func(r *reader, v *yaml.Node) { r.forEachKey = v }},
		{"skip", "rules", "Named formulas; a record for which one is true is left out.", func(r *reader, v *yaml.Node) { r.skip = r.rules(v, "skip") }},
		{"refuse", "rules", "Named formulas; a record for which one is true cannot be mapped.", func(r *reader, v *yaml.Node) { r.refuse = r.rules(v, "refuse") }},
		{"find", "rules", "Named formulas; a record for which one is true is remarked on.", func(r *reader, v *yaml.Node) { r.find = r.rules(v, "find") }},
		{"resource", "resource", "The template: the shape of the FHIR resource.", func(r *reader, v *yaml.Node) {
			if r.resource = v; v.Kind != yaml.MappingNode {
				r.fault(v, "elements with their values, such as status: final, without a dash", "resource must have the shape of the FHIR resource")
				r.resource = nil
			}
		}},
		{"unused", "reasons", "Columns left behind on purpose, each with its reason.", func(r *reader, v *yaml.Node) { r.unused = r.rules(v, "unused") }},
		{"allow empty", "reasons", "Formulas, by element path, that may read something and write nothing, each with its reason.", func(r *reader, v *yaml.Node) { r.allowEmpty = r.rules(v, "allow empty") }},
	}
}

// read reads the file as its fragments and its pack's defaults make it.
func (r *reader) read() {
	(&expander{reader: r}).mapping()
	r.pack.settings.apply(r.file)
	seen := readKeys(mappingKeys(), r, r.root, "a mapping", r.keyFault)
	if r.root.Kind != yaml.MappingNode {
		return
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

// keyFault is fault, with a better word about elements that stand beside `resource:` instead of below it.
func (r *reader) keyFault(n *yaml.Node, hint, format string, args ...any) {
	if n.Kind == yaml.ScalarNode && n.Value != "resource" && find(r.root, "to") != nil {
		if e, _ := fhir.Lookup(find(r.root, "to").Value).Element(n.Value); e != nil && strings.HasPrefix(hint, "known:") {
			hint = "elements of the resource are indented, below `resource:`"
		}
	}
	r.fault(n, hint, format, args...)
}

func (r *reader) readDuplicates(v *yaml.Node) {
	word := r.text(v, "duplicates")
	if i := slices.Index(duplicatesWords, word); i >= 0 {
		r.duplicates = Duplicates(i)
	} else if word != "" {
		r.fault(v, document.Hint(word, duplicatesWords), "duplicates must be refuse, merge or number")
	}
}

// The words of `duplicates:`, in the order of their values, and of `references:`.
var (
	duplicatesWords = []string{"refuse", "merge", "number"}
	referencesWords = []string{"refuse", "drop"}
)

func (r *reader) readReferences(v *yaml.Node) {
	words := referencesWords
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
		r.fault(n, what+": {NAME: value}", "%s must be names, each with a value", what)
		return nil
	}
	var out []ruleAt
	for _, p := range document.Pairs(n) {
		if document.IsNull(p.Value) {
			r.fault(p.Node, "a name, a colon and a blank, then the value", "%s: %q has no value", what, p.Key)
			continue
		}
		if r.text(p.Value, fmt.Sprintf("%s: %q", what, p.Key)) != "" {
			out = append(out, ruleAt{p.Key, p.Node, p.Value})
		}
	}
	return out
}
