package sqldump

import (
	"slices"
	"strings"
)

// create reads CREATE.
func (w *walker) create() {
	temporary := false
	for {
		if w.next() == tokenEOF || w.last == tokenEnd {
			return
		}
		switch {
		case w.isOne("OR", "REPLACE", "GLOBAL", "LOCAL", "UNLOGGED", "EDITIONABLE", "NONEDITIONABLE", "PRIVATE", "CONSTRAINT"):
		case w.isOne("TEMP", "TEMPORARY"):
			temporary = true
		case w.isWord("TABLE"):
			w.createTable(temporary)
			return
		case w.isOne("TRIGGER", "FUNCTION", "PROCEDURE", "PROC", "PACKAGE", "LIBRARY"), w.isWord("VIEW") && w.dialect == sqlserver:
			w.skipCode()
			return
		case w.isWord("TYPE") && w.dialect == oracle && w.accept("BODY"):
			w.skipCode()
			return
		default:
			w.hold()
			w.skip()
			return
		}
	}
}

// createTable reads CREATE TABLE, behind that word.
func (w *walker) createTable(temporary bool) {
	begin := w.start
	unlessExists := w.underCondition()
	if w.accept("IF") { // NOT EXISTS
		unlessExists = true
		w.next()
		w.next()
	}
	schema, name, ok := w.name()
	if !ok {
		w.skip()
		return
	}
	t := &table{schema: schema, name: name, ignored: temporary}
	computed := false
	switch w.next() {
	case tokenPunct:
		if w.isPunct('(') {
			t.declared = w.columns(t.declared)
		}
		if w.accept("INHERITS") && w.acceptPunct('(') {
			var inherited []column
			for w.last != tokenEOF && w.last != tokenEnd {
				inherited = merge(w.dialect, inherited, w.like())
				if !w.acceptPunct(',') {
					break
				}
			}
			w.acceptPunct(')')
			t.declared = merge(w.dialect, inherited, t.declared)
		}
	case tokenWord:
		switch {
		case w.isWord("LIKE"):
			t.declared = w.like()
		case w.isWord("PARTITION") && w.dialect == postgres:
			w.accept("OF")
			t.declared = w.like()
		case w.isWord("AS"):
			computed = true
		}
	default:
		w.hold()
	}
	if t.declared == nil || computed {
		// Of a type, or AS a query: neither its columns nor its rows are written here.
		w.hold()
		w.skip()
		return
	}
	w.skip()
	if w.builds {
		w.created(t, begin, unlessExists)
	}
}

// created takes over a table.
func (w *walker) created(t *table, begin mark, unlessExists bool) {
	old := w.catalog.find(w.dialect, w.schema, t.schema, t.name)
	if old != nil && w.catalog.key(w.dialect, old.schema, "", old.name) != w.catalog.key(w.dialect, w.schema, t.schema, t.name) {
		old = nil // of another schema
	}
	switch {
	case old == nil:
		w.catalog.add(w, t)
	case unlessExists || slices.Equal(old.declared, t.declared) && !old.implicit: // the schema was given twice
	case old.implicit || old.ignored:
		w.complain(begin, "table "+t.name+" is created after rows of it: name the file with the schema first")
	default:
		w.complain(begin, "table "+t.name+" is created a second time, with other columns, and not dropped before")
	}
}

// like reads the name of a table and returns its columns.
func (w *walker) like() []column {
	schema, name, ok := w.name()
	if t := w.catalog.find(w.dialect, w.schema, schema, name); ok && t != nil {
		return slices.Clone(t.declared)
	}
	return nil
}

// merge appends columns to others, except those whose name is there already.
func merge(d dialect, columns, more []column) []column {
	for _, c := range more {
		if !slices.ContainsFunc(columns, func(o column) bool { return d.columnKey(o.name) == d.columnKey(c.name) }) {
			columns = append(columns, c)
		}
	}
	return columns
}

// columns reads what stands between the parentheses of CREATE TABLE, behind the first. The result is not nil.
func (w *walker) columns(all []column) []column {
	all = append([]column{}, all...)
	for {
		switch w.next() {
		case tokenEOF, tokenEnd:
			w.complain(w.start, "the statement ends inside a CREATE TABLE; the dump is not whole")
			w.hold()
			return all
		case tokenPunct:
			if w.isPunct(')') {
				return all
			}
		case tokenWord:
			if w.isWord("LIKE") && w.dialect == postgres {
				all = merge(w.dialect, all, w.like())
				w.attributes()
				continue
			}
			if w.isConstraint() {
				w.attributes()
				continue
			}
			all = w.addColumn(all, w.dialect.fold(string(w.word)))
		case tokenName:
			all = w.addColumn(all, string(w.word))
		}
	}
}

// addColumn reads the definition of a column, behind its name.
func (w *walker) addColumn(all []column, name string) []column {
	c, _ := w.definition(name)
	if slices.ContainsFunc(all, func(o column) bool { return w.dialect.columnKey(o.name) == w.dialect.columnKey(name) }) {
		w.complain(w.start, "a table has two columns of the name "+quoted(name))
		return all
	}
	if len(all) > w.values.most {
		return all // refused when the tables are listed
	}
	return append(all, c)
}

func quoted(name string) string { return `"` + name + `"` }

// isConstraint says whether the word that was read begins a constraint or an index, not a column.
func (w *walker) isConstraint() bool {
	if w.isOne("PRIMARY", "UNIQUE", "CONSTRAINT", "FOREIGN", "CHECK", "EXCLUDE", "SUPPLEMENTAL") {
		return true
	}
	switch w.dialect {
	case mysql:
		return w.isOne("KEY", "INDEX", "FULLTEXT", "SPATIAL", "PERIOD")
	case sqlserver:
		return w.isOne("INDEX", "PERIOD")
	}
	return false
}

// attributes passes the rest of a definition, up to a comma or the parenthesis that closes the list. It returns whether
// the column is generated, and in front of or behind which other MySQL puts it.
func (w *walker) attributes() (generated bool, position string) {
	for depth := 0; ; {
		switch w.next() {
		case tokenEOF, tokenEnd:
			w.hold()
			return generated, position
		case tokenPunct:
			switch w.word[0] {
			case '(':
				depth++
			case ')':
				if depth == 0 {
					w.hold()
					return generated, position
				}
				depth--
			case ',':
				if depth == 0 {
					w.hold()
					return generated, position
				}
			}
		case tokenWord:
			if depth > 0 {
				continue
			}
			switch {
			case w.isWord("AS"):
				w.next()
				generated = generated || w.isPunct('(') || w.isWord("ROW")
				w.hold()
			case w.dialect == mysql && w.isWord("FIRST"):
				position = "\x00"
			case w.dialect == mysql && w.isWord("AFTER"):
				if w.next() == tokenWord || w.last == tokenName {
					position = string(w.word)
				}
			case w.dialect == sqlserver && w.newline && w.isOne(starters...):
				w.hold()
				return generated, position
			}
		}
	}
}

// definition reads the type and the attributes of a column.
func (w *walker) definition(name string) (c column, position string) {
	t := w.columnType()
	generated, position := w.attributes()
	return column{name: name, form: t.form(w.dialect), generated: generated}, position
}

// columnType reads a type. Words behind it that belong to other attributes do no harm, as only the first ones count.
func (w *walker) columnType() columnType {
	var t columnType
	for {
		switch w.next() {
		case tokenWord:
			if w.isOne("NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "KEY", "CHECK", "REFERENCES", "CONSTRAINT", "COLLATE",
				"AUTO_INCREMENT", "AUTOINCREMENT", "IDENTITY", "GENERATED", "AS", "COMMENT", "ON", "FIRST", "AFTER", "USING", "ENCODING") ||
				w.dialect == sqlserver && w.newline && w.isOne(starters...) {
				w.hold()
				return t
			}
			if len(t.words) < 8 {
				t.words = append(t.words, strings.ToUpper(string(w.word)))
			}
		case tokenName:
			if len(t.words) < 8 {
				t.words = append(t.words, strings.ToUpper(string(w.word)))
			}
		case tokenPunct:
			switch w.word[0] {
			case '.': // of a schema
				if n := len(t.words); n > 0 {
					t.words = t.words[:n-1]
				}
			case '(':
				for w.next() != tokenEOF && w.last != tokenEnd && !w.isPunct(')') {
					if w.last != tokenString && !w.isPunct(',') && len(t.args) < 8 {
						t.args = append(t.args, string(w.word))
					}
				}
				if !w.isPunct(')') {
					w.hold()
					return t
				}
			case '[':
				t.array = true
			case ']':
			default:
				w.hold()
				return t
			}
		default:
			w.hold()
			return t
		}
	}
}

// alter reads ALTER. What changes the columns of a table without rows is honoured; of one with rows it is reported when
// that table is read.
func (w *walker) alter() {
	if w.next(); w.dialect == sqlserver && w.isOne("PROCEDURE", "PROC", "FUNCTION", "TRIGGER", "VIEW") {
		w.skipCode()
		return
	}
	if !w.isWord("TABLE") {
		if w.dialect == oracle && w.isOne("TRIGGER", "PACKAGE") { // ENABLE, COMPILE
			w.skip()
			return
		}
		w.hold()
		w.skip()
		return
	}
	if w.accept("IF") {
		w.next()
	}
	w.accept("ONLY")
	schema, name, ok := w.name()
	if !ok {
		w.skip()
		return
	}
	t := w.catalog.find(w.dialect, w.schema, schema, name)
	if t == nil || !w.builds {
		t = &table{} // parsed all the same, so that both passes end the statement in one place
	}
	for {
		if !w.alteration(t) {
			break
		}
		if !w.acceptPunct(',') {
			break
		}
	}
	t.index(w.dialect)
	w.skip()
}

// alteration reads one action of ALTER TABLE. It returns false where the rest of the statement does not matter.
func (w *walker) alteration(t *table) bool {
	w.next()
	switch {
	case w.isWord("WITH") && w.dialect == sqlserver: // CHECK ADD CONSTRAINT
	case w.isWord("ADD"):
		return w.alterAdd(t)
	case w.isWord("DROP"):
		if w.next(); w.isOne("CONSTRAINT", "PRIMARY", "INDEX", "KEY", "FOREIGN", "CHECK", "DEFAULT", "PARTITION", "IDENTITY", "SYSTEM") {
			break
		}
		if !w.isWord("COLUMN") {
			w.hold()
		}
		if w.accept("IF") {
			w.next()
		}
		w.changed(t, "DROP COLUMN")
		if w.next() == tokenWord || w.last == tokenName {
			key := w.dialect.columnKey(w.identifier())
			t.declared = slices.DeleteFunc(t.declared, func(c column) bool { return w.dialect.columnKey(c.name) == key })
		}
		w.attributes()
		return true
	case w.isOne("MODIFY", "ALTER"):
		w.accept("COLUMN")
		return w.alterColumn(t)
	case w.isWord("CHANGE"):
		w.accept("COLUMN")
		w.next()
		from := w.identifier()
		w.next()
		if !strings.EqualFold(from, w.identifier()) {
			w.rename(t, from, w.identifier())
		}
		return w.retype(t, w.identifier())
	case w.isWord("RENAME"):
		if w.next(); w.isOne("CONSTRAINT", "INDEX", "KEY") {
			break
		}
		if w.isWord("COLUMN") {
			w.next()
			from := w.identifier()
			w.accept("TO")
			w.next()
			w.rename(t, from, w.identifier())
			return true
		}
		w.changed(t, "RENAME")
		if t.count == 0 && t.name != "" {
			w.complain(w.start, "table "+t.name+" is renamed, which is not read")
		}
	case w.isOne("SWITCH", "EXCHANGE"):
		w.changed(t, string(w.word))
	}
	w.hold()
	return false
}

// identifier is the name that was read.
func (w *walker) identifier() string {
	if w.last == tokenWord {
		return w.dialect.fold(string(w.word))
	}
	return string(w.word)
}

// changed: rows that were written before no longer fit the columns.
func (w *walker) changed(t *table, what string) { t.block(w, "ALTER TABLE … "+what) }

// alterAdd reads columns to add, behind ADD.
func (w *walker) alterAdd(t *table) bool {
	w.next()
	if w.isConstraint() || w.last == tokenWord && w.isOne("KEY", "INDEX", "PARTITION", "DEFAULT", "OVERFLOW", "VALUE", "PERIOD", "SYSTEM") {
		w.attributes()
		return true
	}
	if !w.isWord("COLUMN") {
		w.hold()
	}
	if w.accept("IF") { // NOT EXISTS
		w.next()
		w.next()
	}
	listed := w.acceptPunct('(')
	for {
		if w.next() != tokenWord && w.last != tokenName {
			w.hold()
			return false
		}
		name := w.identifier()
		c, position := w.definition(name)
		w.changed(t, "ADD COLUMN")
		at := len(t.declared)
		if position != "" {
			at = 1 + slices.IndexFunc(t.declared, func(o column) bool { return strings.EqualFold(o.name, position) })
		}
		if !slices.ContainsFunc(t.declared, func(o column) bool { return w.dialect.columnKey(o.name) == w.dialect.columnKey(name) }) {
			t.declared = slices.Insert(t.declared, at, c)
		}
		if !listed && w.dialect != sqlserver {
			return true
		}
		if !w.acceptPunct(',') {
			w.acceptPunct(')')
			return true
		}
	}
}

// alterColumn reads a change of one column, behind MODIFY or ALTER COLUMN.
func (w *walker) alterColumn(t *table) bool {
	w.acceptPunct('(') // Oracle
	w.next()
	name := w.identifier()
	switch w.next() {
	case tokenWord:
		if w.isWord("SET") && w.accept("DATA") || w.isWord("TYPE") {
			if !w.isWord("TYPE") {
				w.accept("TYPE")
			}
			return w.retype(t, name)
		}
		if w.isOne("SET", "DROP", "ADD", "RESTART", "DEFAULT", "NOT", "NULL", "INVISIBLE", "VISIBLE") || w.last == tokenEnd {
			if w.last != tokenEnd {
				w.attributes()
			}
			return true
		}
	}
	w.hold()
	return w.retype(t, name)
}

// retype reads a new type of a column. Where its cells are written as before, nothing changes.
func (w *walker) retype(t *table, name string) bool {
	c, _ := w.definition(name)
	i := slices.IndexFunc(t.declared, func(o column) bool { return w.dialect.columnKey(o.name) == w.dialect.columnKey(name) })
	if i < 0 || t.declared[i].form == c.form {
		return true
	}
	w.changed(t, "a column to another type")
	t.declared[i].form = c.form
	return true
}

// rename gives a column another name.
func (w *walker) rename(t *table, from, to string) {
	w.changed(t, "RENAME COLUMN")
	i := slices.IndexFunc(t.declared, func(o column) bool { return w.dialect.columnKey(o.name) == w.dialect.columnKey(from) })
	if i >= 0 {
		t.declared[i].name = to
	}
}

// drop reads DROP. A table that is dropped is not in the database, and neither are its rows.
func (w *walker) drop() {
	if w.next(); !w.isWord("TABLE") {
		if w.last == tokenEnd || w.last == tokenEOF {
			w.hold()
		}
		w.skip()
		return
	}
	if w.accept("IF") {
		w.next()
	}
	for {
		schema, name, ok := w.name()
		if !ok {
			break
		}
		if t := w.catalog.find(w.dialect, w.schema, schema, name); t != nil && w.builds {
			w.catalog.remove(w.dialect, t)
		}
		if !w.acceptPunct(',') {
			break
		}
	}
	w.skip()
}
