package sqldump

import (
	"bytes"
	"io"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// walker goes from statement to statement of one file, or of a piece of one, and reports each row. The planning pass and
// the reader of a shard are both walkers, so they agree on what a row is and where it begins.
type walker struct {
	*scanner
	values   values
	catalog  *catalog
	builds   bool             // statements that change the catalog do so: the planning pass
	file     int              // of the source
	shown    string           // its name
	declared *charset.Charset // of the plan; then the dump's own declarations count for nothing
	whole    bool             // the stream ends where the file does
	rows     func(*row) bool
	fault    func(at mark, text string) // what is wrong with the dump itself; not nil in the planning pass
	stopped  bool                       // rows asked for no more

	row         row
	conditional bool // the next statement is under an IF of T-SQL
	transaction bool // BEGIN without COMMIT so far
	insertHead  head
	intoHead    head // of INSERT ALL
	behind      bool // of the next row
	several     bool // within INSERT ALL
}

// head is the start of the last INSERT, or INTO, up to and with its VALUES: mostly the next one begins the same.
type head struct {
	text []byte
	in   insertion
}

// beginning is where in the window a head begins: at the word that was read last.
func (w *walker) beginning() (first, moves int) {
	first = w.pos - len(w.word)
	if first < 0 || !bytes.Equal(w.buf[first:w.pos], w.word) { // the window has moved within the word
		return 0, -1
	}
	return first, w.moves
}

// keep remembers a head that began there and ends here, if it is still in the window.
func (w *walker) keep(h *head, first, moves int, in insertion) {
	if w.moves == moves && !w.held {
		h.text, h.in = append(h.text[:0], w.buf[first:w.pos]...), in
	}
}

// row is a record as the walker finds it. Its values are the walker's, unless a rule refuses it.
type row struct {
	table *table
	in    insertion
	start mark
	end   int64 // offset behind it
	rule  string
	// column is of the fault, as an index of the values; -1 if it lies in none
	column int
	// behind: it is what stands behind another row, so no shard can begin with it
	behind bool
}

// where says what surrounds a row.
type where uint8

const (
	inFile   where = iota // nothing: the row is a statement that cannot be read
	inValues              // VALUES (…), (…)
	inAll                 // INSERT ALL INTO … VALUES (…) of Oracle
	inCopy                // the lines behind COPY … FROM stdin
)

// insertion is what the values of a statement are for.
type insertion struct {
	where       where
	table       *table
	at          []int // the column of each value; -1 for those that are left out
	all         []int // the same if values for generated columns are written too; nil if there are none
	conditional bool
}

func newWalker(d dialect, in io.Reader, declared *charset.Charset, o Options) *walker {
	w := &walker{scanner: newScanner(d, in, make([]byte, window)), declared: declared}
	w.values = values{s: w.scanner, most: o.MaxColumns, limit: o.MaxRecord}
	return w
}

// walk reads up to the end of the stream, beginning within the insertion.
func (w *walker) walk(in insertion) {
	switch in.where {
	case inValues:
		w.tuples(in)
	case inAll:
		w.tuples(in)
		w.insertAll(in.conditional)
	case inCopy:
		w.lines(in)
	}
	for !w.stopped && w.statement() {
	}
}

// statement reads one statement. It returns false at the end of the stream.
func (w *walker) statement() bool {
	if !w.held && w.headed(&w.insertHead) {
		w.start = w.here()
		w.pos += len(w.insertHead.text)
		w.insertHead.in.conditional = w.underCondition()
		w.conditional = false
		w.tuples(w.insertHead.in)
		return true
	}
	switch w.next() {
	case tokenEOF:
		return false
	case tokenEnd:
		if w.isWord("GO") {
			w.blocks, w.conditional = 0, false
		}
		return true
	case tokenWord:
		if w.newline && w.clientCommand() {
			return true
		}
		w.keyword()
	case tokenPunct:
		switch {
		case w.isPunct('\\') && (w.dialect == postgres || w.dialect == mysql):
			w.next()
			w.includes("I", "IR", "INCLUDE", "INCLUDE_RELATIVE", "COPY", ".")
			w.restOfLine()
		case w.isPunct('.') && w.dialect == sqlite:
			w.next()
			w.includes("READ", "IMPORT", "RESTORE")
			w.restOfLine()
		case w.isPunct(':') && w.dialect == sqlserver: // sqlcmd
			w.next()
			w.includes("R")
			w.restOfLine()
		case w.isPunct('('): // a query in parentheses
			w.hold()
			w.skip()
		}
	case tokenName, tokenString:
		w.skip()
	}
	return true
}

// headed says whether the head stands here again, and not only the first letters of its last word: VALUE, VALUES.
func (w *walker) headed(h *head) bool {
	if len(h.text) == 0 {
		return false
	}
	w.blank()
	return w.ahead(view(h.text)) && class[w.at(len(h.text))]&isWordPart == 0
}

// includes reports a command that reads another file.
func (w *walker) includes(commands ...string) {
	if w.last != tokenEOF && w.isOne(commands...) {
		w.complain(w.start, "the dump reads another file here; name that file in `dump:` instead")
	}
}

func (w *walker) complain(at mark, text string) {
	if w.fault != nil && w.err == nil {
		w.fault(at, text)
	}
}

// clientCommand reads a line that is meant for the client, not for the database.
func (w *walker) clientCommand() bool {
	switch w.dialect {
	case mysql:
		switch {
		case w.isWord("DELIMITER"):
			w.setDelimiter()
			return true
		case w.isWord("SOURCE"):
			w.includes("SOURCE")
			w.restOfLine()
			return true
		}
	case oracle: // SQL*Plus
		if w.word[0] == '@' || w.isWord("START") {
			w.complain(w.start, "the dump reads another file here; name that file in `dump:` instead")
			w.restOfLine()
			return true
		}
		if w.isWord("SET") {
			if w.next(); w.isOne("TRANSACTION", "ROLE", "CONSTRAINT", "CONSTRAINTS") {
				w.skip()
				return true
			}
			if w.last != tokenEnd && !w.newline {
				w.restOfLine()
			}
			return true
		}
		if w.isOne("REM", "REMARK", "PROMPT", "SPOOL", "WHENEVER", "DEFINE", "UNDEFINE", "COLUMN", "ECHO", "EXIT", "QUIT",
			"CONNECT", "CONN", "DISCONNECT", "ACCEPT", "PAUSE", "SHOW", "VARIABLE", "PRINT", "EXEC", "EXECUTE", "TTITLE",
			"BTITLE", "CLEAR", "TIMING", "HOST", "HO") {
			w.restOfLine()
			return true
		}
	}
	return false
}

// setDelimiter reads the argument of the mysql client's DELIMITER: the rest of the line.
func (w *walker) setDelimiter() {
	var text []byte
	for w.has(1) && w.buf[w.pos] != '\n' && len(text) < 64 {
		text = append(text, w.buf[w.pos])
		w.pos++
	}
	if d, _, _ := strings.Cut(strings.TrimSpace(string(text)), " "); d != "" {
		w.delimiter = d
	}
}

// keyword reads a statement by its first word.
func (w *walker) keyword() {
	conditional := w.conditional
	if w.isWord("INSERT") || w.isWord("REPLACE") && (w.dialect == mysql || w.dialect == sqlite) {
		w.insert()
		w.conditional = w.conditional && !conditional
		return
	}
	w.insertHead.text, w.intoHead.text = w.insertHead.text[:0], w.intoHead.text[:0] // they may mean other tables from here on
	switch {
	case w.isWord("COPY") && w.dialect == postgres:
		w.copy()
	case w.isWord("COPY"):
		w.complain(w.start, "COPY … FROM stdin is a statement of PostgreSQL: is the dialect right?")
		w.skip()
	case w.isWord("CREATE"):
		w.create()
	case w.isWord("ALTER"):
		w.alter()
	case w.isWord("DROP"):
		w.drop()
	case w.isWord("TRUNCATE"):
		w.truncate()
	case w.isWord("DELETE"):
		w.deleteRows()
	case w.isWord("UPDATE"), w.isWord("MERGE"):
		w.change(string(bytes.ToUpper(w.word)))
	case w.isWord("RENAME") && w.dialect == mysql:
		w.change("RENAME")
	case w.isWord("LOAD") && w.dialect == mysql, w.isWord("BULK") && w.dialect == sqlserver, w.isWord("IMPORT") && w.dialect == mysql:
		w.load()
	case w.isWord("SET"):
		w.set()
	case w.isWord("USE"):
		w.use()
	case w.isWord("SELECT"):
		w.selects()
	case w.isWord("WITH"):
		w.with()
	case w.isWord("BEGIN"), w.isWord("START"), w.isWord("COMMIT"), w.isWord("ROLLBACK"), w.isWord("END"),
		w.isWord("SAVE"), w.isWord("DECLARE") && w.dialect == oracle:
		w.transact()
		return // it keeps w.conditional itself
	case w.dialect == sqlserver && w.isOne("IF", "WHILE", "ELSE"):
		w.condition()
		return
	default:
		w.skip()
	}
	w.conditional = w.conditional && !conditional
}

// underCondition says whether the statement is one that the database runs or not, depending on what it holds.
func (w *walker) underCondition() bool {
	return w.conditional || w.blocks&(w.blocks-1) != 0 // a bit besides the one that marks the bottom
}

// starters begin statements in T-SQL, where nothing need end the one before.
var starters = []string{"INSERT", "CREATE", "ALTER", "DROP", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "SET", "USE", "IF", "WHILE",
	"ELSE", "BEGIN", "END", "DECLARE", "EXEC", "EXECUTE", "PRINT", "RAISERROR", "COMMIT", "ROLLBACK", "SAVE", "BULK", "GRANT",
	"DENY", "REVOKE", "DBCC", "CHECKPOINT", "RETURN"}

// skip passes the rest of a statement.
func (w *walker) skip() {
	begin := w.start
	for depth := 0; ; {
		switch w.next() {
		case tokenEOF:
			if w.whole && (depth > 0 || w.delimiter != ";" || w.unclosed || w.versioned) {
				w.complain(begin, "the file ends inside a statement that begins about here; the dump is not whole")
			}
			return
		case tokenEnd:
			return
		case tokenPunct:
			switch w.word[0] {
			case '(':
				depth++
			case ')':
				depth--
			}
		case tokenWord:
			if w.dialect == sqlserver && depth <= 0 && w.newline && w.isOne(starters...) {
				w.hold()
				return
			}
		}
	}
}

// skipTo passes everything up to the end of a statement that is marked in this way: `/` or GO.
func (w *walker) skipTo(end string) {
	begin := w.start
	for {
		switch w.next() {
		case tokenEOF:
			if w.whole && (end != "GO" || w.unclosed) { // the end of the file ends a batch too
				w.complain(begin, "the file ends inside stored code that begins about here, which a line with `"+end+"` would end")
			}
			return
		case tokenEnd:
			if w.isWord(end) {
				if end == "GO" {
					w.blocks, w.conditional = 0, false
				}
				return
			}
		}
	}
}

// skipCode passes the rest of a CREATE of stored code.
func (w *walker) skipCode() {
	switch w.dialect {
	case mysql: // DELIMITER says where it ends
		w.skip()
	case sqlserver:
		w.skipTo("GO")
	case oracle:
		w.skipTo("/")
	case sqlite: // BEGIN …; …; END;
		for behindStatement, end := false, false; ; {
			switch w.next() {
			case tokenEOF:
				if w.whole {
					w.complain(w.start, "the file ends inside a trigger; the dump is not whole")
				}
				return
			case tokenEnd:
				if end {
					return
				}
				behindStatement = true
			default:
				end = behindStatement && w.isWord("END")
				behindStatement = false
			}
		}
	case postgres: // a string, or since version 14 BEGIN ATOMIC …; …; END
		for depth := 0; ; {
			switch w.next() {
			case tokenEOF:
				if w.whole && (depth > 0 || w.unclosed) {
					w.complain(w.start, "the file ends inside a function; the dump is not whole")
				}
				return
			case tokenEnd:
				if depth <= 0 {
					return
				}
			case tokenWord:
				switch {
				case w.isWord("ATOMIC"), depth > 0 && w.isOne("BEGIN", "CASE"):
					depth++
				case depth > 0 && w.isWord("END"):
					depth--
				}
			}
		}
	}
}

// name reads the name of a table: the last two of its parts. ok is false for what is none, or a temporary table of
// SQL Server.
func (w *walker) name() (schema, name string, ok bool) {
	for {
		switch w.next() {
		case tokenWord:
			name = w.dialect.fold(string(w.word))
		case tokenName:
			name = string(w.word)
		case tokenString: // "x" in MySQL is one; SQL Server's 'x' too
			return "", "", false
		default:
			w.hold()
			return "", "", false
		}
		if !w.acceptPunct('.') {
			return schema, name, name != ""
		}
		schema = name
		if w.acceptPunct('.') { // db..table
			schema = ""
		}
	}
}

// insert reads INSERT or REPLACE.
func (w *walker) insert() {
	begin := w.start
	first, moves := w.beginning()
	if w.accept("OR") { // REPLACE, IGNORE, … of SQLite
		w.next()
	}
	for w.next() == tokenWord && w.isOne("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO") {
	}
	if w.dialect == oracle && w.isWord("ALL") {
		w.insertAll(false)
		return
	}
	w.hold()
	in, ok := w.target(begin)
	if !ok {
		return
	}
	in.where = inValues
	w.keep(&w.insertHead, first, moves, in)
	w.tuples(in)
}

// target reads the table and columns of an INSERT, up to and with VALUES. What has no VALUES is reported, passed, and
// returned as false.
func (w *walker) target(begin mark) (in insertion, ok bool) {
	schema, name, ok := w.name()
	if !ok {
		if w.last == tokenEOF && w.whole {
			w.complain(begin, "the file ends inside a statement; the dump is not whole")
		} else {
			w.complain(begin, "what this INSERT writes to is not a name of a table in "+dialectNames[w.dialect]+": is the dialect right?")
		}
		w.skip()
		return in, false
	}
	var names []string
	listed := false
	t := w.catalog.find(w.dialect, w.schema, schema, name)
	for {
		switch w.next() {
		case tokenPunct:
			if !w.isPunct('(') || listed {
				w.hold()
				w.refuseStatement(t, begin, schema, name)
				return in, false
			}
			var query bool
			if names, query = w.nameList(); query {
				w.refuseStatement(t, begin, schema, name)
				return in, false
			}
			listed = true
		case tokenWord, tokenName:
			switch {
			case w.isOne("VALUES", "VALUE"):
				return w.insertion(t, begin, schema, name, names, listed), true
			case w.isWord("PARTITION"), w.isWord("WITH"): // (p), (TABLOCK)
				if w.acceptPunct('(') {
					w.skipParentheses()
				}
			case w.isWord("AS"), w.isWord("OVERRIDING"), w.isWord("SYSTEM"), w.isWord("USER"):
			case w.isOne("SELECT", "EXEC", "EXECUTE", "SET", "DEFAULT", "TABLE", "OUTPUT"):
				w.refuseStatement(t, begin, schema, name)
				return in, false
			}
		default:
			if w.last == tokenEOF {
				w.truncated(t, begin)
				return in, false
			}
			w.hold()
			w.refuseStatement(t, begin, schema, name)
			return in, false
		}
	}
}

// nameList reads names up to a closing parenthesis. query: it is a query instead.
func (w *walker) nameList() (names []string, query bool) {
	for {
		switch w.next() {
		case tokenWord:
			if len(names) == 0 && w.isOne("SELECT", "WITH", "VALUES") {
				w.skipParentheses()
				return nil, true
			}
			names = append(names, w.dialect.fold(string(w.word)))
		case tokenName:
			names = append(names, string(w.word))
		case tokenPunct:
			if w.isPunct('.') && len(names) > 0 {
				names = names[:len(names)-1] // t.column
			} else if w.isPunct(')') {
				return names, false
			}
		default:
			w.hold()
			return names, false
		}
		if len(names) > w.values.most+1 {
			names = names[:w.values.most+1] // refused below; held in bounds here
		}
	}
}

// skipParentheses passes everything up to the parenthesis that closes the one that was read.
func (w *walker) skipParentheses() {
	for depth := 1; depth > 0; {
		switch w.next() {
		case tokenEOF, tokenEnd:
			w.hold()
			return
		case tokenPunct:
			switch w.word[0] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
	}
}

// insertion says which column each value is of.
func (w *walker) insertion(t *table, begin mark, schema, name string, names []string, listed bool) insertion {
	if w.builds {
		t = w.catalog.forInsert(w, t, begin, schema, name, names, listed)
	}
	in := insertion{table: t, conditional: w.underCondition()}
	switch {
	case t == nil:
	case listed:
		for _, n := range names {
			in.at = append(in.at, t.place(w.dialect, n))
		}
	default:
		in.at, in.all = t.layouts()
	}
	return in
}

// emit reports a row.
func (w *walker) emit(t *table, in insertion, start mark, rule string, column int) bool {
	if t == nil || t.ignored {
		return true
	}
	if w.err != nil { // not the end of the file, but of reading it
		w.stopped = true
		return false
	}
	w.row = row{table: t, in: in, start: start, end: w.here().offset, rule: rule, column: column, behind: w.behind}
	if !w.rows(&w.row) {
		w.stopped = true
		return false
	}
	return true
}

// refuseStatement passes the rest of a statement that adds rows which are not written in it, and reports it as one
// refused record.
func (w *walker) refuseStatement(t *table, begin mark, schema, name string) {
	if w.several {
		w.complain(begin, "an INSERT ALL whose rows are not all written as VALUES")
		w.skip()
		return
	}
	if t == nil && w.builds {
		w.catalog.orphan(w, begin, schema, name)
	}
	w.skip()
	w.emit(t, insertion{table: t}, begin, extract.RuleStatement, -1)
}

// truncated reports a statement that the end of the file cuts.
func (w *walker) truncated(t *table, begin mark) {
	if !w.whole {
		return
	}
	if t == nil || w.several { // a shard cannot begin within INSERT ALL
		w.complain(begin, "the file ends inside a statement; the dump is not whole")
		return
	}
	w.emit(t, insertion{table: t}, begin, extract.RuleTruncated, -1)
}

// tuples reads the rows behind VALUES.
func (w *walker) tuples(in insertion) {
	v := &w.values
	for {
		c := w.blank()
		start := w.here()
		if w.dialect == mysql && c|0x20 == 'r' && w.ahead("ROW") {
			w.pos += 3
			c = w.blank()
		}
		if c != '(' || w.pos == w.end {
			if w.pos < w.end {
				w.skip()
			} else if !w.whole {
				return
			}
			w.emit(in.table, in, start, extract.RuleTruncated, -1)
			return
		}
		f := v.tuple()
		switch f {
		case afterText:
			w.recover()
		case unclosed:
			w.unclosed = false // the row says so
		}
		rule, column := w.judge(in, f, start)
		if !w.emit(in.table, in, start, rule, column) || f != flawless && f != expression {
			return
		}
		if in.where == inAll {
			return
		}
		w.crossed = false
		if w.blank() == ',' {
			w.pos++
			continue
		}
		if w.crossed && w.headed(&w.insertHead) { // nothing need stand between statements of T-SQL
			return
		}
		w.afterTuples(in)
		return
	}
}

// judge names the rule that a tuple breaks by its form.
func (w *walker) judge(in insertion, f flaw, start mark) (rule string, column int) {
	v := &w.values
	size := w.here().offset - start.offset
	switch {
	case v.over || size > int64(v.limit):
		return extract.RuleRecordTooLong, -1
	case f == cutOff:
		return extract.RuleTruncated, -1
	case f == unclosed:
		return extract.RuleUnterminatedQuote, v.n
	case f == afterText:
		return extract.RuleTextAfterQuote, v.n
	case f == expression:
		return extract.RuleExpression, v.n
	case v.n > v.most:
		return extract.RuleTooManyColumns, -1
	case in.conditional:
		return extract.RuleStatement, -1
	}
	at := w.layout(in)
	if at == nil && v.n > 0 || v.n != len(at) {
		return extract.RuleRaggedRow, -1
	}
	for i, x := range v.list {
		if x.kind == valueDefault && at[i] >= 0 {
			return extract.RuleExpression, i
		}
	}
	return "", -1
}

// layout is which column each value of the current tuple is of.
func (w *walker) layout(in insertion) []int {
	if in.all != nil && w.values.n == len(in.all) {
		return in.all
	}
	return in.at
}

// recover goes on at the next line that begins like a statement. It is used where a string closed in the wrong place, so
// that from there on nothing tells text from code.
func (w *walker) recover() {
	w.versioned, w.crossed = false, true
	for {
		w.restOfLine()
		if !w.has(1) {
			return
		}
		w.pos++
		for _, head := range []string{"INSERT ", "REPLACE INTO ", "COPY ", "CREATE ", "DROP ", "ALTER ", "LOCK TABLES ",
			"UNLOCK TABLES", "COMMIT", "insert ", "GO\n", "GO\r\n"} {
			if w.ahead(head) {
				return
			}
		}
	}
}

// afterTuples reads what stands behind the last row of an INSERT.
func (w *walker) afterTuples(in insertion) {
	switch w.next() {
	case tokenEnd:
		if w.isWord("GO") {
			w.blocks, w.conditional = 0, false
		}
		return
	case tokenEOF:
		return
	case tokenWord:
		switch {
		case w.isWord("ON"): // DUPLICATE KEY UPDATE, CONFLICT DO NOTHING, CONFLICT DO UPDATE
			updates := false
			for w.next() != tokenEOF && w.last != tokenEnd {
				updates = updates || w.last == tokenWord && w.isWord("UPDATE")
			}
			if updates && w.builds && in.table != nil {
				in.table.block(w, "an INSERT that updates rows instead")
			}
			return
		case w.isOne("RETURNING", "AS", "LOG"):
			w.skip()
			return
		case w.newline && w.isOne(starters...), w.dialect == sqlserver && w.isOne(starters...):
			w.hold()
			return
		}
	}
	start := w.start
	w.skip()
	w.behind = true
	w.emit(in.table, in, start, extract.RuleStatement, -1)
	w.behind = false
}

// insertAll reads INTO t (…) VALUES (…) INTO … SELECT … of Oracle.
func (w *walker) insertAll(conditional bool) {
	for !w.stopped {
		if !w.held && w.headed(&w.intoHead) {
			w.start = w.here()
			w.pos += len(w.intoHead.text)
			w.intoHead.in.conditional = w.underCondition() || conditional
			w.tuples(w.intoHead.in)
			continue
		}
		switch {
		case w.accept("INTO"):
			first, moves := w.beginning()
			w.several = true
			in, ok := w.target(w.start)
			w.several = false
			if !ok {
				return
			}
			in.where = inAll
			in.conditional = in.conditional || conditional
			w.keep(&w.intoHead, first, moves, in)
			w.tuples(in)
		case w.accept("WHEN"): // … THEN INTO
			conditional = true
			for w.next() != tokenEOF && w.last != tokenEnd && !w.isWord("THEN") {
			}
		case w.accept("ELSE"):
		case w.accept("SELECT"):
			w.insertAllSource()
			return
		default:
			w.skip()
			return
		}
	}
}

// insertAllSource passes the query of INSERT ALL: anything but one row of dual would add the rows as often as the query
// has rows.
func (w *walker) insertAllSource() {
	begin := w.start
	words, dual := 0, true
	for w.next() != tokenEOF && w.last != tokenEnd {
		switch words++; words {
		case 2:
			dual = dual && equalFold(w.word, "FROM")
		case 3:
			dual = dual && equalFold(w.word, "DUAL")
		}
	}
	if words != 3 || !dual {
		w.complain(begin, "an INSERT ALL takes its rows from a query other than `SELECT … FROM dual`; its rows are not written in the dump")
	}
}
