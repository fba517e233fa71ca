package mapping

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// mentionedBeside lists every name that may be a column of another table.
func (f *file) mentionedBeside() (names []string) {
	for _, u := range f.unused {
		if _, column, ok := strings.Cut(u.name, "."); ok && column != "*" {
			names = append(names, column)
		}
	}
	f.formulas(func(text string) {
		bare, members := namesIn(text)
		names = append(append(names, bare...), members...)
	})
	return names
}

// formulas calls visit with each formula of the file.
func (f *file) formulas(visit func(text string)) {
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if text, _, ok := isFormula(n); ok {
			visit(text)
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(f.root)
}

var (
	lookupForm = regexp.MustCompile(`\blookup\(\s*'([^']+)'`)
	quotedForm = regexp.MustCompile(`^'((?:[^'\\]|\\.)*)'`)
)

// lookups calls visit with each lookup() of a formula, those inside of others too: its table, and the texts in quotes
// among its other arguments, of which some are its columns.
func lookups(text string, visit func(table string, quoted []string)) {
	for _, m := range lookupForm.FindAllStringSubmatchIndex(text, -1) {
		var quoted []string
		rest := text[m[1]:]
		for depth := 1; depth > 0 && rest != ""; {
			size := 1
			switch rest[0] {
			case '(':
				depth++
			case ')':
				depth--
			case '\'':
				if q := quotedForm.FindStringSubmatch(rest); q != nil {
					size = len(q[0])
					if q[1] != "" {
						quoted = append(quoted, q[1])
					}
				}
			}
			rest = rest[size:]
		}
		visit(text[m[2]:m[3]], quoted)
	}
}

// tablesBeside are the tables that the mapping reads beside its own, with the columns that they should have when they
// are made up. A name that stands alone in a formula may be a column of either; own are those of the record.
func (f *file) tablesBeside(own []string) map[string][]string {
	own = append(own, f.mentionedLists()...)
	out := map[string][]string{}
	for _, x := range f.with {
		for _, on := range x.on {
			out[x.table.text] = append(out[x.table.text], on.name)
			own = append(own, on.value.Value)
		}
		f.formulas(func(text string) {
			bare, members := namesIn(text)
			for _, name := range bare {
				if !slices.Contains(own, name) && name != x.name {
					members = append(members, name)
				}
			}
			out[x.table.text] = append(out[x.table.text], members...)
		})
	}
	f.formulas(func(text string) {
		lookups(text, func(table string, quoted []string) {
			bare, members := namesIn(text)
			for _, name := range bare {
				if !slices.Contains(own, name) {
					members = append(members, name)
				}
			}
			out[table] = slices.Concat(out[table], quoted, members)
		})
	})
	return out
}

// rowTable is an index held in memory, for the cases of a mapping.
type rowTables map[*Index]map[string][]Row

// Find returns the rows under a key.
func (t rowTables) Find(x *Index, key []byte) ([]Row, error) { return t[x][string(key)], nil }

// fill puts the rows of one table into the indexes over it.
func (t rowTables) fill(p *Program, table *extract.Table, rows []Row) {
	for _, x := range p.Indexes {
		if x.body.table != table {
			continue
		}
		if t[x] == nil {
			t[x] = map[string][]Row{}
		}
		for _, r := range rows {
			if key, ok := x.Key(nil, &extract.Record{Table: table, Cells: r.Cells}); ok {
				t[x][string(key)] = append(t[x][string(key)], r)
			}
		}
	}
}
