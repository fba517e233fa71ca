package mapping

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// columnRead is a column that a formula reads, by the name that people know it by.
type columnRead struct {
	name   string
	of     string // the collection or table
	where  readWhere
	column int
	child  int // of the record's collections
}

type readWhere uint8

const (
	readFocus  readWhere = iota // of the row that the formula is evaluated over
	readRecord                  // of the record around an item
	readChild                   // of the rows of a collection
	readTable                   // of a table that is looked up
)

// columnReads lists the columns that an expression reads, each once.
func (p *Program) columnReads(expr *fhirpath.Expr) (out []columnRead) {
	env := expr.Env()
	outermost := env
	for outermost.Outer != nil {
		outermost = outermost.Outer
	}
	outer := func(e *fhirpath.Env) bool {
		for o := env.Outer; o != nil; o = o.Outer {
			if o == e {
				return true
			}
		}
		return false
	}
	have := map[columnRead]bool{}
	for _, r := range expr.Reads() {
		if r.Column < 0 || r.Column >= len(r.Env.Columns) {
			continue
		}
		read := columnRead{name: r.Env.Columns[r.Column], column: r.Column, where: readTable}
		switch {
		case r.Env == env:
			read.where = readFocus
		case outer(r.Env):
			read.where = readRecord
		default:
			for i, child := range outermost.Children {
				if child.Env == r.Env {
					read.where, read.child, read.of = readChild, i, child.Name
				}
			}
			for _, x := range p.Indexes {
				if x.env == r.Env && read.of == "" {
					read.of = x.Table
				}
			}
		}
		if !have[read] {
			have[read] = true
			out = append(out, read)
		}
	}
	return out
}

// cellsOf are the cells that a formula reads.
func (w *Worker) cellsOf(f *formula, focus fhirpath.Value) (out []Cell) {
	text := func(row *fhirpath.Row, i int) []phi.Secret {
		if row == nil || i >= len(row.Cells) {
			return nil
		}
		return []phi.Secret{secret(row.Cells[i])}
	}
	for _, r := range w.p.columnReads(f.expr) {
		c := Cell{Column: r.name, Of: r.of, Looked: r.where == readTable}
		switch r.where {
		case readFocus:
			c.Texts = text(focus.Row(), r.column)
		case readRecord:
			c.Texts = text(&w.row, r.column)
		case readChild:
			if r.child < len(w.row.Children) {
				for _, row := range w.row.Children[r.child] {
					c.Texts = append(c.Texts, text(row, r.column)...)
				}
			}
		}
		out = append(out, c)
	}
	return out
}

// templateNode is a part of the template and the file it stands in.
type templateNode struct {
	node *yaml.Node
	file *file
}

// literal finds where a literal of the resource stands in the template. Without a line: Chartlift writes it by itself.
func (t *trace) literal(b *body, at int, path string) Fault {
	if i, ok := strings.CutPrefix(path, "meta.profile["); ok {
		if n, err := strconv.Atoi(strings.TrimSuffix(i, "]")); err == nil && n < len(b.file.profiles) {
			return placeOf(templateNode{b.file.profiles[n].node, b.file})
		}
	}
	if path == "id" || path == "resourceType" || within(path, "meta.tag") {
		return Fault{}
	}
	holder := ""
	from, _ := nearest(path, func(p string) (templateNode, bool) {
		n, ok := t.nodes[at][p]
		holder = p
		return n, ok
	})
	n := from.node
	for rest := strings.TrimPrefix(path[len(holder):], "."); rest != "" && n != nil; {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			i, err := strconv.Atoi(rest[1:end])
			rest = strings.TrimPrefix(rest[end+1:], ".")
			if n.Kind == yaml.SequenceNode && err == nil {
				if i >= len(n.Content) {
					n = nil
				} else {
					n = n.Content[i]
				}
			}
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		n = find(n, rest[:end])
		rest = strings.TrimPrefix(rest[end:], ".")
	}
	if n == nil {
		return Fault{}
	}
	return placeOf(templateNode{n, from.file})
}

func placeOf(n templateNode) Fault {
	return n.file.at(n.node, "", "")
}
