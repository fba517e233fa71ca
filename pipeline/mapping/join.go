package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Index is a table that mappings read beside their own, by the columns that they look in: for the children of `with:`,
// or for lookup(). The caller reads the table, keys its records with [Index.Key] and gives them to the workers as a
// [Finder].
type Index struct {
	Source, Table string
	Columns       []string // in the table's order
	Number        int      // its place in Program.Indexes
	Mappings      []string // those that use it

	body   *body // the table with all its columns
	at     []int // of Columns
	env    *fhirpath.Env
	absent bool // the export lacks the table: it is as if it were empty
}

// Absent tells whether the export lacks the table, so that there is nothing to read.
func (x *Index) Absent() bool { return x.absent }

// Key appends the key under which a record of the table is found. False if all its parts are blank: such a record
// belongs to nothing.
func (x *Index) Key(dst []byte, r *extract.Record) (key []byte, ok bool) {
	for _, i := range x.at {
		cell := x.body.cell(r.Cells, i)
		ok = ok || cell != ""
		dst = appendPart(dst, cell)
	}
	return dst, ok
}

// With is the join of a mapping with one table of children.
type With struct {
	Name    string // of the collection in formulas
	Index   *Index
	Orphans string // the reason why rows may join nothing; "" makes each a finding

	on []int // the record's columns, in the order of Index.Columns; for a group, places in Mapping.Group
}

// Key appends the key of the children of a record of the mapping's own table. False if it has none: all parts are blank.
func (x *With) Key(dst []byte, m *Mapping, r *extract.Record) (key []byte, ok bool) {
	for _, i := range x.on {
		if m.Grouped {
			i = m.body.group[i]
		}
		cell := m.body.cell(r.Cells, i)
		ok = ok || cell != ""
		dst = appendPart(dst, cell)
	}
	return dst, ok
}

// Finder returns the records of an index under a key, in source order; none is not an error. A worker has its own.
type Finder interface {
	Find(x *Index, key []byte) ([]Row, error)
}

// SetFinder gives the worker the tables that its mappings read beside their own. Without one, mapping a record that
// needs it is an error of the program.
func (w *Worker) SetFinder(f Finder) { w.finder = f }

var errNoFinder = errors.New("map: the tables of with: and lookup() were not given")

// foundSlots is how many results a worker keeps: dictionaries are asked for the same few codes again and again.
const foundSlots = 512

// foundRows is what an index holds under a key.
type foundRows struct {
	index *Index
	key   string
	rows  []*fhirpath.Row
	found []Row // the same as they were found
}

var foundSeed = maphash.MakeSeed()

// rowsOf are the records of an index under a key, for formulas and as they were found. They stay as they are as long as
// somebody holds them.
func (w *Worker) rowsOf(x *Index, key []byte) ([]*fhirpath.Row, []Row, error) {
	if x.absent {
		return nil, nil, nil
	}
	if w.known == nil {
		w.known = make([]foundRows, foundSlots)
	}
	slot := &w.known[(maphash.Bytes(foundSeed, key)+uint64(x.Number))%foundSlots]
	if slot.index == x && slot.key == string(key) {
		return slot.rows, slot.found, nil
	}
	if w.finder == nil {
		return nil, nil, errNoFinder
	}
	found, err := w.finder.Find(x, key)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]*fhirpath.Row, len(found))
	for i, r := range found {
		if len(r.Cells) < len(x.body.table.Columns) {
			return nil, nil, errRecord
		}
		rows[i] = &fhirpath.Row{Cells: w.load(nil, x.body, r.Cells), Ordinal: r.Ordinal}
	}
	*slot = foundRows{x, string(key), rows, found}
	return rows, found, nil
}

// note keeps what lookup() found for the source row of the record at hand.
func (w *Worker) note(x *Index, found []Row) {
	if len(found) == 0 {
		return
	}
	// Most formulas ask for the same again, and soon; the rest is sorted out at the end.
	for _, known := range w.looked[max(0, len(w.looked)-16):] {
		if known.index == x && &known.found[0] == &found[0] {
			return
		}
	}
	w.looked = append(w.looked, foundRows{index: x, found: found})
}

// join puts the children of the record at hand into its row, and behind its source row as JSON, so that the PHI part
// holds all that the resource was made of. cells are those that With.on counts.
func (w *Worker) join(cells []string) error {
	for i := range w.m.With {
		x := &w.m.With[i]
		w.joinKey = w.joinKey[:0]
		some := false
		for _, c := range x.on {
			some = some || cells[c] != ""
			w.joinKey = appendPart(w.joinKey, cells[c])
		}
		var rows []*fhirpath.Row
		if some {
			var found []Row
			var err error
			if rows, found, err = w.rowsOf(x.Index, w.joinKey); err != nil {
				return err
			}
			if len(found) > 0 {
				w.rowJSON = appendMember(w.rowJSON, x.Name, func(dst []byte) []byte { return appendRows(dst, x.Index.body, found) })
			}
		}
		w.row.Children = append(w.row.Children, rows)
	}
	return nil
}

// LookedUp is the member of a source row's JSON under which stand the rows that lookup() found, by table. No column of
// a table is called so.
const LookedUp = "lookup()"

// appendLooked puts what lookup() found into the JSON of a source row: by table, each row once, in source order. So it
// does not matter in which order formulas asked, nor how often.
func appendLooked(dst []byte, looked []foundRows) []byte {
	if len(looked) == 0 {
		return dst
	}
	slices.SortStableFunc(looked, func(a, b foundRows) int {
		return cmp.Or(strings.Compare(a.index.Table, b.index.Table), strings.Compare(a.index.Source, b.index.Source))
	})
	return appendMember(dst, LookedUp, func(dst []byte) []byte {
		dst = append(dst, '{')
		for i := 0; i < len(looked); {
			x, name, rows := looked[i].index, looked[i].index.Table, looked[i].found
			if i > 0 {
				dst = append(dst, ',')
				if looked[i-1].index.Table == name { // a table of that name of another source
					name = x.Source + "/" + name
				}
			}
			for i++; i < len(looked) && looked[i].index.Table == x.Table && looked[i].index.Source == x.Source; i++ {
				rows = append(rows[:len(rows):len(rows)], looked[i].found...)
			}
			dst = append(fhir.AppendString(dst, name), ':')
			dst = appendRows(dst, x.body, inSourceOrder(rows))
		}
		return append(dst, '}')
	})
}

// inSourceOrder returns the rows in source order, each once.
func inSourceOrder(rows []Row) []Row {
	compare := func(a, b Row) int { return cmp.Or(cmp.Compare(a.Ordinal, b.Ordinal), slices.Compare(a.Cells, b.Cells)) }
	rows = slices.SortedFunc(slices.Values(rows), compare)
	return slices.CompactFunc(rows, func(a, b Row) bool { return compare(a, b) == 0 })
}

// appendRows appends rows as a JSON list.
func appendRows(dst []byte, b *body, rows []Row) []byte {
	dst = append(dst, '[')
	for i, r := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = b.appendRow(dst, r.Cells)
	}
	return append(dst, ']')
}

// appendMember puts a value into the JSON of a source row: as a member of the object, or, where a group is a list of
// rows, as one more entry of it.
func appendMember(dst []byte, name string, value func([]byte) []byte) []byte {
	end := dst[len(dst)-1]
	dst = dst[:len(dst)-1]
	if last := dst[len(dst)-1]; last != '{' && last != '[' {
		dst = append(dst, ',')
	}
	if end == ']' {
		dst = append(dst, '{')
	}
	dst = value(append(fhir.AppendString(dst, name), ':'))
	if end == ']' {
		dst = append(dst, '}')
	}
	return append(dst, end)
}

// withAt is one entry of `with:` as read.
type withAt struct {
	name    string
	key     *yaml.Node
	table   textAt
	on      []ruleAt // name: the child's column; value: the record's
	orphans string
}

// withReader reads one entry of `with:`.
type withReader struct {
	*reader
	with *withAt
}

// withKeys are the keys of an entry of `with:`.
func withKeys() []keySpec[*withReader] {
	return []keySpec[*withReader]{
		{"table", "text", "The table whose rows are the children.", func(r *withReader, v *yaml.Node) { r.with.table = textAt{r.text(v, "table"), v} }},
		{"on", "reasons", "Columns of the child, each with the column of the record that it must equal.", func(r *withReader, v *yaml.Node) { r.with.on = r.rules(v, "on") }},
		{"orphans", "text", "Why rows that join nothing are not a finding.", func(r *withReader, v *yaml.Node) { r.with.orphans = r.text(v, "orphans") }},
	}
}

// readWith reads `with: {notes: {table: condition_notes, on: {patient: PATIENT}, orphans: reason}}`.
func (r *reader) readWith(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "notes: {table: condition_notes, on: {patient: PATIENT}}", "with must be names, each with a table and the columns that join it")
		return
	}
	for _, p := range document.Pairs(n) {
		x := withAt{name: p.Key, key: p.Node}
		if p.Value.Kind != yaml.MappingNode {
			r.fault(p.Value, "{table: condition_notes, on: {patient: PATIENT}}", "with: %q must have a table and `on:`", p.Key)
			continue
		}
		readKeys(withKeys(), &withReader{r, &x}, p.Value, fmt.Sprintf("with: %q", p.Key), r.fault)
		switch {
		case x.table.text == "":
			r.fault(p.Node, "", "with: %q names no table", p.Key)
		case len(x.on) == 0:
			r.fault(p.Node, "on: {COLUMN OF THE CHILD: COLUMN OF THE RECORD}", "with: %q does not say on which columns it joins", p.Key)
		default:
			r.with = append(r.with, x)
		}
	}
}

// index finds or makes the index of a table by some of its columns, nil after a fault. The columns are named in the
// caller's order; at gives their places in Index.Columns.
func (c *compiler) index(f *file, name string, columns []string, fault func(hint, format string, args ...any)) (x *Index, places []int) {
	found := c.tables(name)
	var table boundTable
	absent := false
	switch {
	case len(found) > 1:
		fault("write source/table, such as "+found[0].Source+"/"+found[0].Name, "the table %q is in %d sources", name, len(found))
		return nil, nil
	case len(found) == 1:
		table = found[0]
	case f.pack.Own || len(c.o.Sources) == 0:
		fault(document.Hint(name, c.tableNames()), "there is no table %q", name)
		return nil, nil
	default:
		c.notice(Remark, "absent-table", f, f.from.node, document.Hint(name, c.tableNames()), "there is no table %q: to the mapping %s it is empty", name, f.name)
		absent = true
		source, plain := c.o.Sources[0].Name, name
		if s, t, ok := strings.Cut(name, "/"); ok {
			source, plain = s, t
		}
		all := append(slices.Clone(columns), f.mentionedBeside()...)
		slices.Sort(all)
		table = boundTable{&extract.Table{Source: source, Name: plain, Columns: slices.Compact(all)}, source, &c.o.Sources[0]}
	}
	ok := true
	var at []int
	for _, column := range columns {
		i := table.Column(column)
		if i < 0 {
			ok = false
			fault(document.Hint(column, table.Columns), "the table %s has no column %q", table.Name, column)
		}
		if slices.Contains(at, i) {
			ok = false
			fault("", "the column %q of %s is named twice", column, table.Name)
		}
		at = append(at, i)
	}
	if !ok {
		return nil, nil
	}
	sorted := slices.Clone(at)
	slices.Sort(sorted)
	for _, i := range at {
		places = append(places, slices.Index(sorted, i))
	}
	for _, x := range c.program.Indexes {
		if x.Source == table.Source && x.Table == table.Name && slices.Equal(x.at, sorted) && x.absent == absent {
			if !slices.Contains(x.Mappings, f.name) {
				x.Mappings = append(x.Mappings, f.name)
			}
			return x, places
		}
	}
	x = &Index{Source: table.Source, Table: table.Name, Number: len(c.program.Indexes), Mappings: []string{f.name}, at: sorted, absent: absent,
		body: &body{table: table.Table, columns: table.Columns, blank: table.source.Blank},
		env:  &fhirpath.Env{Columns: table.Columns, Strict: true, Record: true}}
	for _, i := range sorted {
		x.Columns = append(x.Columns, table.Columns[i])
	}
	for i := range table.Columns {
		x.body.touched = append(x.body.touched, i)
	}
	x.body.heads()
	c.program.Indexes = append(c.program.Indexes, x)
	if !absent {
		c.useTable(table)
		for _, column := range x.Columns {
			c.read[tableKey{x.Source, x.Table}][column] = true
		}
	}
	c.beside[x.env] = x
	return x, places
}

// readsBeside notes that a formula reads a column of another table. False if the environment is not that of one.
func (c *compiler) readsBeside(env *fhirpath.Env, column int) bool {
	x := c.beside[env]
	if x == nil {
		return false
	}
	if !x.absent && column < len(x.body.columns) {
		c.read[tableKey{x.Source, x.Table}][x.body.columns[column]] = true
	}
	return true
}

func (c *compiler) tableNames() (names []string) {
	for _, s := range c.o.Sources {
		for _, t := range s.Tables {
			names = append(names, t.Name)
		}
	}
	return names
}

// withs resolves `with:` and adds the collections to the environment of the record. names are the record's columns as
// formulas see them.
func (t *templates) withs(record *fhirpath.Env) {
	f := t.b.file
	for _, x := range f.with {
		if slices.Contains(record.Columns, x.name) || x.name == "rows" && t.m.Grouped {
			t.c.fault(f, x.key, "give the collection another name", "with: %q is also a column of the record", x.name)
			continue
		}
		var columns []string
		for _, on := range x.on {
			columns = append(columns, on.name)
		}
		index, places := t.c.index(f, x.table.text, columns, func(hint, format string, args ...any) {
			t.c.fault(f, x.table.node, hint, "with: %q: "+format, append([]any{x.name}, args...)...)
		})
		w := With{Name: x.name, Index: index, Orphans: x.orphans, on: make([]int, len(x.on))}
		for i, on := range x.on {
			at := slices.Index(record.Columns, on.value.Value)
			if at < 0 {
				t.c.fault(f, on.value, document.Hint(on.value.Value, record.Columns), "with: %q: the record has no column %q", x.name, on.value.Value)
				index = nil
				continue
			}
			if columns := t.columns[record]; at < len(columns) && columns[at] >= 0 {
				t.seen[columns[at]] = true
			}
			if index != nil {
				w.on[places[i]] = at
			}
		}
		if index != nil {
			t.m.With = append(t.m.With, w)
			record.Children = append(record.Children, fhirpath.Child{Name: x.name, Env: index.env})
		}
	}
}

// compileLookup compiles lookup(table, column, value, …): the rows of a table that have the value in the column, in
// source order.
func (f *formulaCompiler) compileLookup(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticType{Kinds: fhirpath.Set(fhirpath.KindRow), MayBeEmpty: true}
	if len(call.Args)%2 == 0 {
		return nil, result, []fhirpath.Problem{call.Problem("lookup() takes a table, then a column and a value, or several of both", "lookup('concept', 'concept_id', GENDER)")}
	}
	var problems []fhirpath.Problem
	var columns []string
	var values []*fhirpath.Arg
	name, ok := call.Args[0].Literal()
	if !ok {
		problems = append(problems, call.Args[0].Problem("lookup() names its table by a constant text in quotes", "lookup('concept', 'concept_id', GENDER)"))
	}
	for i := 1; i < len(call.Args); i += 2 {
		column, ok := call.Args[i].Literal()
		if !ok {
			problems = append(problems, call.Args[i].Problem("lookup() names its columns by constant texts in quotes", ""))
		}
		st := call.Args[i+1].Static()
		if !st.Kinds.Has(fhirpath.KindString) && !st.Kinds.Has(fhirpath.KindInteger) {
			problems = append(problems, call.Args[i+1].Problem("lookup() compares the text of cells; this is "+describe(st), ""))
		}
		columns, values = append(columns, column), append(values, call.Args[i+1])
	}
	if len(problems) > 0 {
		return nil, result, problems
	}
	index, places := f.c.index(f.file, name, columns, func(hint, format string, args ...any) {
		problems = append(problems, call.Problem(fmt.Sprintf(format, args...), hint))
	})
	if index == nil {
		return nil, result, problems
	}
	result.Env = index.env
	ordered := make([]*fhirpath.Arg, len(values))
	for i, place := range places {
		ordered[place] = values[i]
	}
	failed := call.Error("lookup-failed")
	return func(c *fhirpath.Context, _, out []fhirpath.Value) ([]fhirpath.Value, error) {
		w := c.User.(*Worker)
		var buf [128]byte
		key := buf[:0]
		for _, a := range ordered {
			v, err := a.One(c, c.Focus())
			if err != nil {
				return out, err
			}
			if v.IsEmpty() {
				return out, nil
			}
			key = appendPart(key, v.Text())
		}
		rows, found, err := w.rowsOf(index, key)
		if err != nil {
			w.broken = err
			return out, failed
		}
		w.note(index, found)
		for _, r := range rows {
			out = append(out, fhirpath.RowValue(r))
		}
		return out, nil
	}, result, nil
}

// unusedBeside reads `unused: {table.column: reason}`, where table.* is all that is left of a table read beside the
// mapping's own. False if the name does not speak of such a table.
func (c *compiler) unusedBeside(f *file, u ruleAt) bool {
	name, column, ok := strings.Cut(u.name, ".")
	if !ok {
		return false
	}
	spoken := false
	for _, x := range c.program.Indexes {
		if x.Table != name {
			continue
		}
		spoken = true
		key := tableKey{x.Source, x.Table}
		switch {
		case x.absent:
		case column == "*":
			for _, all := range x.body.columns {
				c.unused[key][all] = true
			}
		case slices.Contains(x.body.columns, column):
			c.unused[key][column] = true
		default:
			c.notice(Remark, "unknown-column", f, u.key, document.Hint(column, x.body.columns), "unused: the table %s has no column %q", name, column)
		}
	}
	return spoken
}
