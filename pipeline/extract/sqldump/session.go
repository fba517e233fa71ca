package sqldump

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// initial is the session that each file of a dump begins with.
func initial(d dialect, text *charset.Charset) session {
	return session{delimiter: ";", noBackslash: d != mysql, charset: text}
}

// set reads SET, as far as it says how the rest is to be read.
func (w *walker) set() {
	for {
		switch w.next() {
		case tokenEOF, tokenEnd:
			return
		case tokenWord, tokenName:
			if w.dialect == sqlserver {
				if w.newline && w.isOne(starters...) {
					w.hold()
					return
				}
				continue
			}
			name := strings.ToLower(string(w.word))
			name = strings.TrimPrefix(strings.TrimPrefix(name, "@@"), "session.")
			switch {
			case name == "session" || name == "local" || name == "global":
			case name == "names":
				w.setCharset(w.settingValue())
			case w.acceptPunct('='), w.accept("TO"):
				w.setting(name, w.settingValue())
			case w.acceptPunct(':'):
				if w.acceptPunct('=') {
					w.setting(name, w.settingValue())
				}
			}
		}
	}
}

// settingValue reads a value of SET; "" for what is none, and for a variable, as which scripts keep what was before.
func (w *walker) settingValue() string {
	c := w.blank()
	switch {
	case c == '\'' || c == '"' && w.dialect == mysql:
		w.values.reset()
		if x, f := w.values.literal(prefixNone); f == flawless {
			return string(w.values.arena[x.start:x.end])
		}
		return ""
	case c == ';':
		return ""
	}
	if w.next() == tokenWord || w.last == tokenName {
		if name := string(w.word); !strings.HasPrefix(name, "@") {
			return name
		}
	}
	return ""
}

// setting is one assignment of SET.
func (w *walker) setting(name, value string) {
	switch {
	case w.dialect == mysql && name == "sql_mode":
		modes := "," + strings.ToUpper(strings.ReplaceAll(value, " ", "")) + ","
		w.noBackslash = strings.Contains(modes, ",NO_BACKSLASH_ESCAPES,")
		w.ansiQuotes = strings.Contains(modes, ",ANSI_QUOTES,") || strings.Contains(modes, ",ANSI,")
	case w.dialect == mysql && name == "time_zone":
		w.zone = ""
		if len(value) > 0 && (value[0] == '+' || value[0] == '-') {
			w.zone = value
		} else if strings.EqualFold(value, "UTC") {
			w.zone = "+00:00"
		}
	case w.dialect == postgres && name == "standard_conforming_strings":
		w.noBackslash = !strings.EqualFold(value, "off") && !strings.EqualFold(value, "false") && value != "0"
	case w.dialect == postgres && name == "client_encoding":
		w.setCharset(value)
	case w.dialect == postgres && name == "search_path":
		w.schema = value
	}
}

// setCharset takes over what the dump declares its text to be, unless the plan does.
func (w *walker) setCharset(name string) {
	if name == "" || w.declared != nil || w.wide {
		return
	}
	c, err := declaredCharset(w.dialect, name)
	if err != nil {
		w.complain(w.start, "the dump declares its character set; "+err.Error())
		return
	}
	w.charset = c
}

// use reads USE, after which names belong to another database. SQL Server's databases hold schemas, which the names
// tell; its scripts write one database.
func (w *walker) use() {
	_, name, ok := w.name()
	if ok && w.dialect == mysql {
		w.schema = name
	}
	if w.next(); w.last != tokenEnd && w.newline { // the client takes it without an end too
		w.hold()
		return
	}
	if w.last != tokenEnd {
		w.skip()
	}
}

// selects reads SELECT. pg_dump sets the search path in one.
func (w *walker) selects() {
	if w.dialect == postgres {
		for w.next() == tokenWord || w.isPunct('.') {
			if w.isWord("SET_CONFIG") {
				w.setConfig()
				break
			}
		}
		w.hold()
	}
	w.skip()
}

func (w *walker) setConfig() {
	if w.next(); !w.isPunct('(') || w.blank() != '\'' {
		return
	}
	name := w.settingValue()
	if w.next(); !w.isPunct(',') || w.blank() != '\'' {
		return
	}
	w.setting(name, w.settingValue())
	w.next()
}

// with reads WITH …, which a query or a statement that changes rows follows.
func (w *walker) with() {
	for depth := 0; ; {
		switch w.next() {
		case tokenEOF, tokenEnd:
			return
		case tokenPunct:
			switch w.word[0] {
			case '(':
				depth++
			case ')':
				depth--
			}
		case tokenWord:
			if depth == 0 && w.isOne("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT") {
				w.keyword()
				return
			}
		}
	}
}

// transact reads statements about transactions, and the blocks that begin and end with the same words.
func (w *walker) transact() {
	begin := w.start
	switch {
	case w.dialect == oracle && w.isOne("BEGIN", "DECLARE"):
		w.block(begin)
	case w.isWord("ROLLBACK"):
		conditional := w.underCondition()
		if w.skip(); w.builds && !conditional && w.catalog.rows() {
			w.complain(begin, "ROLLBACK takes back rows that stand before it, so they are not in the database")
		}
		w.conditional = false
	case w.isOne("COMMIT", "END") && w.dialect != sqlserver:
		w.transaction = false
		w.skip()
	case w.isOne("BEGIN", "START") && w.dialect != sqlserver:
		w.transaction = w.isWord("BEGIN") || w.accept("TRANSACTION")
		w.skip()
	case w.isWord("BEGIN"):
		switch {
		case w.accept("TRAN"), w.accept("TRANSACTION"):
			w.transaction = true
			w.skip()
			return
		case w.accept("TRY"):
		case w.accept("CATCH"):
			w.conditional = true
		}
		if w.blocks == 0 {
			w.blocks = 1
		}
		w.blocks <<= 1
		if w.conditional {
			w.blocks |= 1
		}
		w.conditional = false
	case w.isWord("END"):
		if w.blocks >>= 1; w.blocks == 1 {
			w.blocks = 0
		}
		if !w.accept("TRY") {
			w.accept("CATCH")
		}
	case w.isWord("COMMIT"):
		w.transaction = false
		w.skip()
	default:
		w.skip()
	}
}

// condition reads IF, WHILE or ELSE of T-SQL up to the statement that it decides about.
func (w *walker) condition() {
	w.conditional = true
	for depth := 0; ; {
		switch w.next() {
		case tokenEOF:
			return
		case tokenEnd:
			if w.isWord("GO") {
				w.blocks, w.conditional = 0, false
			}
			return
		case tokenPunct:
			switch w.word[0] {
			case '(':
				depth++
			case ')':
				depth--
			}
		case tokenWord:
			if depth <= 0 && w.isOne(starters...) {
				w.hold()
				return
			}
		}
	}
}

// block passes a block of PL/SQL. It may change rows, of tables that are named behind these words.
func (w *walker) block(begin mark) {
	for w.next() != tokenEOF && (w.last != tokenEnd || !w.isWord("/")) {
		if w.last != tokenWord || !w.isOne("INTO", "UPDATE", "FROM", "TABLE", "MERGE") {
			continue
		}
		what := strings.ToUpper(string(w.word))
		schema, name, ok := w.name()
		if t := w.catalog.find(w.dialect, w.schema, schema, name); ok && t != nil && w.builds {
			if what == "INTO" && t.blocked == nil { // it adds rows, whether others stand before it or not
				t.blocked = t.fault(w, begin, "a block of PL/SQL")
			}
			t.blockAt(w, begin, "a block of PL/SQL")
		}
	}
	if w.last == tokenEOF && w.whole {
		w.complain(begin, "the file ends inside a block of PL/SQL, which a line with `/` would end")
	}
}

// change reads a statement that changes rows: a table with rows that it changes can no longer be read. Those are the
// tables named up to SET, USING, WHERE or FROM, or, where only an alias stands there, the first that is named.
func (w *walker) change(what string) {
	begin := w.start
	target, found := true, false
	for {
		switch w.next() {
		case tokenEOF, tokenEnd:
			return
		case tokenWord, tokenName:
			if w.last == tokenWord {
				if w.dialect == sqlserver && w.newline && w.isOne(starters...) && !w.isOne("SET", "UPDATE", "DELETE", "INSERT") {
					w.hold()
					return
				}
				if w.isOne("SET", "USING", "WHERE", "FROM") {
					target = false
					continue
				}
			}
			if !w.builds || found && !target {
				continue
			}
			name := string(w.word)
			if w.last == tokenWord {
				name = w.dialect.fold(name)
			}
			if t := w.catalog.find(w.dialect, w.schema, "", name); t != nil {
				t.blockAt(w, begin, what)
				found = true
			}
		}
	}
}

// deleteRows reads DELETE: of all rows, or of some.
func (w *walker) deleteRows() {
	begin := w.start
	w.accept("FROM")
	w.accept("ONLY")
	schema, name, ok := w.name()
	if !ok {
		w.skip()
		return
	}
	t := w.catalog.find(w.dialect, w.schema, schema, name)
	if w.next() == tokenEnd || w.last == tokenEOF || w.dialect == sqlserver && w.newline && w.isOne(starters...) {
		if w.last == tokenWord {
			w.hold()
		}
		if t != nil && w.builds {
			t.empty()
		}
		return
	}
	w.hold()
	if t == nil { // an alias, and the table behind FROM
		w.change("DELETE")
		return
	}
	if w.builds {
		t.blockAt(w, begin, "DELETE")
	}
	w.skip()
}

// truncate reads TRUNCATE: the rows so far are gone.
func (w *walker) truncate() {
	w.accept("TABLE")
	w.accept("ONLY")
	for {
		schema, name, ok := w.name()
		if !ok {
			break
		}
		if t := w.catalog.find(w.dialect, w.schema, schema, name); t != nil && w.builds {
			t.empty()
		}
		if !w.acceptPunct(',') {
			break
		}
	}
	w.skip()
}

// load reads LOAD DATA or BULK INSERT: rows that lie in another file.
func (w *walker) load() {
	begin := w.start
	for w.next() == tokenWord && !w.isOne("INTO", "INSERT") || w.last == tokenString {
	}
	w.accept("TABLE")
	schema, name, ok := w.name()
	if !ok {
		w.skip()
		return
	}
	w.refuseStatement(w.catalog.find(w.dialect, w.schema, schema, name), begin, schema, name)
}
