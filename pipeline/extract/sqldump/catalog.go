package sqldump

import (
	"fmt"
	"slices"
	"strings"
)

// maxTables bounds what the schema of a dump may take; the largest hospital systems have some ten thousand.
const maxTables = 50_000

// table is one table of the dump, as the planning pass has built it up.
type table struct {
	schema, name string
	columns      []column       // those whose values are in the dump
	places       map[string]int // of columns by dialect.columnKey
	declared     []column       // all, with generated ones
	implicit     bool           // no CREATE TABLE: the columns are those that INSERTs name
	ignored      bool           // temporary, or the database's own
	file         int            // where it was created
	blocked      error          // why its rows are not those that the database had
	segments     []segment
	count        int64 // rows so far
}

// catalog holds the tables by name. After the planning pass it does not change.
type catalog struct {
	tables map[string]*table   // by key
	byName map[string][]*table // by the name without its schema
}

func newCatalog() *catalog {
	return &catalog{tables: map[string]*table{}, byName: map[string][]*table{}}
}

// defaultSchema is left out of names, as most dumps do.
func defaultSchema(d dialect) string {
	switch d {
	case postgres:
		return "public"
	case sqlserver:
		return "dbo"
	case sqlite:
		return "main"
	}
	return ""
}

func (c *catalog) key(d dialect, current, schema, name string) string {
	if schema == "" {
		schema = current
	}
	schema, name = d.tableKey(schema), d.tableKey(name)
	if schema == defaultSchema(d) {
		schema = ""
	}
	return schema + "\x00" + name
}

// find returns the table of that name, or nil. A name without a schema means the current one, or else the only table of
// that name; a name with one also means a table that was created without.
func (c *catalog) find(d dialect, current, schema, name string) *table {
	if t := c.tables[c.key(d, current, schema, name)]; t != nil {
		return t
	}
	same := c.byName[d.tableKey(name)]
	if len(same) == 1 && (schema == "" && current == "" || same[0].schema == "") {
		return same[0]
	}
	return nil
}

// add puts a table in the catalog.
func (c *catalog) add(w *walker, t *table) {
	if len(c.tables) >= maxTables {
		if len(c.tables) == maxTables {
			w.complain(w.start, fmt.Sprintf("the dump has more than %d tables", maxTables))
		}
		t.ignored = true
	}
	t.index(w.dialect)
	t.file = w.file
	key := c.key(w.dialect, w.schema, t.schema, t.name)
	if t.schema == "" {
		t.schema = w.schema
	}
	c.tables[key] = t
	name := w.dialect.tableKey(t.name)
	c.byName[name] = append(c.byName[name], t)
}

// remove takes a table out of the catalog, with its rows.
func (c *catalog) remove(d dialect, t *table) {
	for key, other := range c.tables {
		if other == t {
			delete(c.tables, key)
			break
		}
	}
	name := d.tableKey(t.name)
	c.byName[name] = slices.DeleteFunc(c.byName[name], func(other *table) bool { return other == t })
}

// rows says whether any table has rows.
func (c *catalog) rows() bool {
	for _, t := range c.tables {
		if t.count > 0 && !t.ignored {
			return true
		}
	}
	return false
}

// index sorts the declared columns.
func (t *table) index(d dialect) {
	t.columns, t.places = nil, map[string]int{}
	for _, c := range t.declared {
		if !c.generated {
			t.places[d.columnKey(c.name)] = len(t.columns)
			t.columns = append(t.columns, c)
		}
	}
}

// place is the column of that name as an index, or -1 for one whose values are left out.
func (t *table) place(d dialect, name string) int {
	if i, ok := t.places[d.columnKey(name)]; ok {
		return i
	}
	return -1
}

// layouts are the columns of values in an INSERT that names none: all but generated ones, or all.
func (t *table) layouts() (at, all []int) {
	at = make([]int, len(t.columns))
	for i := range at {
		at[i] = i
	}
	if len(t.declared) == len(t.columns) {
		return at, nil
	}
	next := 0
	for _, c := range t.declared {
		if c.generated {
			all = append(all, -1)
			continue
		}
		all = append(all, next)
		next++
	}
	return at, all
}

// empty forgets the rows so far, as the database does.
func (t *table) empty() { t.segments, t.count, t.blocked = nil, 0, nil }

// block says that from here on the rows read are not those that the database had.
func (t *table) block(w *walker, what string) { t.blockAt(w, w.start, what) }

func (t *table) blockAt(w *walker, at mark, what string) {
	if t.blocked == nil && t.count > 0 {
		t.blocked = t.fault(w, at, what)
	}
}

func (t *table) fault(w *walker, at mark, what string) error {
	return fmt.Errorf("%s:%d: %s changes table %s, and nothing here executes SQL: load the dump into a database and dump it "+
		"again, or take the statement out", w.shown, at.line, what, t.name)
}

// systemColumn says whether a name that no column has is one that the database itself gives each row.
func systemColumn(d dialect, name string) bool {
	switch d {
	case mysql:
		return strings.EqualFold(name, "_tidb_rowid")
	case sqlite:
		return strings.EqualFold(name, "rowid") || strings.EqualFold(name, "_rowid_") || strings.EqualFold(name, "oid")
	}
	return false
}

// forInsert returns the table that an INSERT is into. A table that was not created takes its columns from the INSERT.
func (c *catalog) forInsert(w *walker, t *table, begin mark, schema, name string, names []string, listed bool) *table {
	switch {
	case t == nil && w.dialect == sqlite && strings.HasPrefix(strings.ToLower(name), "sqlite_"):
		t = &table{schema: schema, name: name, ignored: true}
		c.add(w, t)
		return t
	case t == nil && !listed:
		c.orphan(w, begin, schema, name)
		return nil
	case t == nil:
		t = &table{schema: schema, name: name, implicit: true}
		c.add(w, t)
	}
	if !listed || t.ignored {
		return t
	}
	seen := map[string]bool{}
	for _, n := range names {
		key := w.dialect.columnKey(n)
		if seen[key] {
			t.complainColumn(w, begin, n, "twice")
		}
		seen[key] = true
		if _, ok := t.places[key]; ok {
			continue
		}
		if t.implicit {
			t.declared = append(t.declared, column{name: n})
			t.index(w.dialect)
			continue
		}
		generated := slices.ContainsFunc(t.declared, func(d column) bool { return w.dialect.columnKey(d.name) == key })
		if !generated && !systemColumn(w.dialect, n) {
			t.complainColumn(w, begin, n, "which it does not have")
		}
	}
	return t
}

// complainColumn: the statement and the table do not fit, so nobody knows what its values mean.
func (t *table) complainColumn(w *walker, begin mark, name, what string) {
	if t.blocked == nil {
		t.blocked = fmt.Errorf("%s:%d: an INSERT into table %s names column %q, %s", w.shown, begin.line, t.name, name, what)
	}
}

// orphan reports rows of a table whose columns nobody knows.
func (c *catalog) orphan(w *walker, begin mark, schema, name string) {
	w.complain(begin, fmt.Sprintf("rows of table %s, but neither a CREATE TABLE before them nor a list of columns: "+
		"name the file with the schema first", name))
	t := &table{schema: schema, name: name, ignored: true}
	c.add(w, t)
}
