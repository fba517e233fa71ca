// Package document reads the YAML files that people write (plans, mappings, policies, cases) strictly and with places.
//
// YAML has conveniences that turn into traps in files that decide about patients: aliases (also as bombs), tags,
// merge keys, duplicate keys. They are refused here, once, for every kind of file. What the scalars mean is left to
// the reader of the file, which gets the source text of each scalar and its place.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of one file. A plan or mapping is some kilobytes; what is beyond these limits is an accident or an attack.
const (
	MaxBytes = 4 << 20
	MaxDepth = 64
	MaxNodes = 200_000
)

// Fault is something wrong in a file, at a place a person can go to. Line and Column count from 1; 0 is unknown.
// Message never holds a patient's value.
type Fault struct {
	File         string
	Line, Column int
	Message      string
	Hint         string // what to do, such as the nearest right name; may be empty
	From         string // where the file at fault was included, file:line:column; empty if it was not
}

func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
		if f.Column > 0 {
			fmt.Fprintf(&b, ":%d", f.Column)
		}
	}
	b.WriteString(": ")
	b.WriteString(f.Message)
	if f.From != "" {
		b.WriteString(", included in " + f.From)
	}
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Faults is all that is wrong, as one error with a line for each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// Sort puts faults in the order of file, line and column, and drops exact repeats. Of faults that differ only in where
// they were included from, one is left that counts them.
func (f Faults) Sort() Faults {
	sort.SliceStable(f, func(i, j int) bool {
		a, b := f[i], f[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	type seen struct {
		index int
		from  map[string]bool
	}
	known := map[Fault]*seen{}
	out := f[:0]
	for _, x := range f {
		bare := x
		bare.From = ""
		if first := known[bare]; first != nil {
			first.from[x.From] = true
			continue
		}
		known[bare] = &seen{len(out), map[string]bool{x.From: true}}
		out = append(out, x)
	}
	for _, s := range known {
		switch n := len(s.from) - 1; {
		case n == 1:
			out[s.index].From += " and 1 place more"
		case n > 1:
			out[s.index].From = fmt.Sprintf("%s and %d places more", out[s.index].From, n)
		}
	}
	return out
}

// Err is f as an error, nil if there is none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// At makes a fault at a node.
func At(file string, n *yaml.Node, format string, args ...any) Fault {
	f := Fault{File: file, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	return f
}

// Parse reads one YAML document and returns its root node (not the document node), or nil for an empty file. Aliases,
// anchors, tags, merge keys, duplicate or non-scalar keys, a second document and files over the limits are faults.
func Parse(file string, data []byte) (*yaml.Node, Faults) {
	if len(data) > MaxBytes {
		return nil, Faults{{File: file, Message: fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), MaxBytes)}}
	}
	if fault, ok := deep(file, data); ok {
		return nil, Faults{fault}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, Faults{syntax(file, err)}
	}
	var faults Faults
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		faults = append(faults, At(file, &second, "a second YAML document: one file holds one"))
	} else if !errors.Is(err, io.EOF) {
		faults = append(faults, syntax(file, err))
	}
	if len(doc.Content) == 0 {
		return nil, faults
	}
	root := doc.Content[0]
	nodes := 0
	check(file, root, 0, &nodes, &faults)
	return root, faults.Sort()
}

// deep refuses flow collections nested beyond any use before the parser recurses into them.
func deep(file string, data []byte) (Fault, bool) {
	depth, line := 0, 1
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
			if depth > 10*MaxDepth {
				return Fault{File: file, Line: line, Message: "brackets nested too deeply"}, true
			}
		case ']', '}':
			if depth > 0 {
				depth--
			}
		case '\n':
			line++
		}
	}
	return Fault{}, false
}

func check(file string, n *yaml.Node, depth int, nodes *int, faults *Faults) {
	*nodes++
	if *nodes == MaxNodes {
		*faults = append(*faults, At(file, n, "more than %d values in one file", MaxNodes))
	}
	if *nodes >= MaxNodes || len(*faults) > 100 {
		return
	}
	if depth > MaxDepth {
		*faults = append(*faults, At(file, n, "nested more than %d deep", MaxDepth))
		return
	}
	if n.Kind == yaml.AliasNode {
		*faults = append(*faults, At(file, n, "YAML aliases (*name) are not allowed; write the value out"))
		return
	}
	if n.Anchor != "" {
		*faults = append(*faults, At(file, n, "YAML anchors (&name) are not allowed; write the value out"))
	}
	if n.Style&yaml.TaggedStyle != 0 {
		*faults = append(*faults, At(file, n, "YAML tags (!name) are not allowed"))
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			switch {
			case key.Kind != yaml.ScalarNode:
				*faults = append(*faults, At(file, key, "a key must be a single word or text"))
			case key.Value == "<<" && key.Style == 0:
				*faults = append(*faults, At(file, key, "YAML merge keys (<<) are not allowed; write the values out"))
			case seen[key.Value] != nil:
				*faults = append(*faults, At(file, key, "the key %q is there twice, first in line %d", key.Value, seen[key.Value].Line))
			default:
				seen[key.Value] = key
			}
		}
	}
	for _, c := range n.Content {
		check(file, c, depth+1, nodes, faults)
	}
}

// syntax turns the parser's error into a place and a message.
func syntax(file string, err error) Fault {
	f := Fault{File: file, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	var line, column int
	rest := strings.TrimPrefix(err.Error(), "yaml: ")
	for _, marker := range []string{"line "} {
		if i := strings.Index(rest, marker); i >= 0 {
			if n, _ := fmt.Sscanf(rest[i:], "line %d, column %d", &line, &column); n >= 1 {
				f.Line, f.Column = line, column
			}
		}
	}
	if strings.Contains(f.Message, "mapping values are not allowed") {
		f.Hint = "a value that holds `: ` or ` #` must stand in quotes"
	}
	return f
}

// Pair is one key of a mapping node with its value.
type Pair struct {
	Key   string
	Node  *yaml.Node // of the key
	Value *yaml.Node
}

// Pairs lists the keys of a mapping node in the order of the file; nil for another kind of node.
func Pairs(n *yaml.Node) []Pair {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	out := make([]Pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, Pair{n.Content[i].Value, n.Content[i], n.Content[i+1]})
	}
	return out
}

// IsNull tells a value left blank, as in `key:`.
func IsNull(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.Style == 0 && (n.Value == "" || n.Value == "null" || n.Value == "~")
}

// Hint is `did you mean "x"?` for the candidate nearest to name, or "" if none is near.
func Hint(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// Nearest is the candidate that a person most likely meant by name: the smallest edit distance, letter case aside, of
// at most a third of the name's length (at least 2); "" if there is none.
func Nearest(name string, candidates []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the edit distance with swaps of neighbours (optimal string alignment); any number >= limit means "far".
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
