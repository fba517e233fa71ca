package sqldump

import (
	"math"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// fallback is what a column holds that an INSERT leaves out.
type fallback struct {
	kind    fallbackKind
	text    string // of a literal
	seed    int64  // of a number
	literal valueKind
	charset *charset.Charset // of the text
	zone    string           // of an instant
}

type fallbackKind uint8

const (
	fallsToNull     fallbackKind = iota
	fallsToLiteral               // DEFAULT 'x'
	fallsToNumber                // the next one: AUTO_INCREMENT, IDENTITY, the rowid of SQLite
	fallsToComputed              // only the database knows: an expression, a sequence
)

// hidden says whether no value of the column is in the dump, though the database has some: mappings do not see it.
func (c *column) hidden() bool {
	return !c.written && (c.generated || c.fallback.kind == fallsToComputed && c.omitted)
}

// defaults says whether the reader knows what the column holds that an INSERT leaves out, or need not know.
func (c *column) defaults() bool {
	return c.fallback.kind == fallsToLiteral || c.fallback.kind == fallsToNumber || c.hidden()
}

// same says whether two definitions are one, whatever rows have been written.
func (c column) same(o column) bool {
	c.written, c.omitted = o.written, o.omitted
	return c == o
}

// wrote notes which columns have values in the dump that only the database could tell otherwise.
func (t *table) wrote(list []value, at []int) {
	t.unseen = false
	for i := range t.columns {
		if c := &t.columns[i]; c.written || !c.generated && c.fallback.kind != fallsToComputed {
			continue
		}
		for j, c := range at {
			if c == i && list[j].kind != valueDefault {
				t.columns[i].written, t.declared[i].written = true, true
			}
		}
		t.unseen = t.unseen || !t.columns[i].written
	}
}

// defaultValue reads what stands behind DEFAULT. open is how many parentheses of it were not closed.
func (w *walker) defaultValue() (f fallback, open int) {
	v := &w.values
	v.reset()
	computed := fallback{kind: fallsToComputed}
	var x value
	if c := w.blank(); c == '"' && w.dialect == sqlite { // a string, where no column can be meant
		w.next()
		v.add(w.word)
		x = value{0, len(v.arena), valueText}
	} else {
		var broken flaw
		if x, broken = v.operand(c, 0); broken != flawless || v.over || x.kind == valueDefault {
			return computed, v.open
		}
	}
	for w.dialect == postgres && w.blank() == ':' && w.at(1) == ':' {
		w.pos += 2
		if !w.castType() {
			return computed, 0
		}
	}
	switch c := w.blank(); {
	case c == ',' || c == ')' || c == 0 || c == ';' || class[c]&isWordStart != 0 || c == '/' || c == '[' || c == '`' || c == '"':
	default:
		return computed, 0 // an operator
	}
	text := string(v.arena[x.start:x.end])
	if w.dialect == postgres && x.kind == valueText {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "now", "today", "tomorrow", "yesterday": // of a time column, which the type behind it need not say
			return computed, 0
		}
	}
	return fallback{kind: fallsToLiteral, text: text, literal: x.kind, charset: w.charset, zone: w.zone}, 0
}

// castType passes the name of a type behind `::`, and not the words of other attributes behind it.
func (w *walker) castType() bool {
	if w.next() != tokenWord && w.last != tokenName {
		return false
	}
	for {
		switch w.next() {
		case tokenWord:
			if w.isOne("VARYING", "PRECISION", "WITH", "WITHOUT", "TIME", "ZONE") {
				continue
			}
		case tokenPunct:
			switch w.word[0] {
			case '(':
				w.skipParentheses()
				continue
			case '.':
				w.next()
				continue
			case '[', ']':
				continue
			}
		}
		w.hold()
		w.pos, w.held = w.pos-len(w.word), false // what follows is looked at as bytes
		return true
	}
}

// setDefault changes what a column holds that is left out. Rows that were written without it hold what it was.
func (w *walker) setDefault(t *table, name string, f fallback) {
	for i := range t.declared {
		c := &t.declared[i]
		if w.dialect.columnKey(c.name) != w.dialect.columnKey(name) || c.fallback == f {
			continue
		}
		if c.omitted {
			w.changed(t, "another DEFAULT, which rows before it do not have,")
		}
		if c.fallback = f; f.kind == fallsToNumber && t.count > 0 {
			c.fallback.kind = fallsToComputed // nobody has counted so far
		}
	}
}

// defaultFor reads DEFAULT … FOR column of SQL Server, behind its first word.
func (w *walker) defaultFor(t *table) {
	f, open := w.defaultValue()
	for open > 0 && w.next() != tokenEOF && w.last != tokenEnd {
		if w.isPunct('(') {
			open++
		} else if w.isPunct(')') {
			open--
		}
	}
	if w.accept("FOR") && (w.next() == tokenWord || w.last == tokenName) {
		w.setDefault(t, w.identifier(), f)
	}
	w.attributes()
}

// alterDefault reads a change of a column that leaves its type: SET DEFAULT …, DROP DEFAULT, ADD GENERATED … AS IDENTITY,
// DEFAULT … of Oracle. Its first word was read.
func (w *walker) alterDefault(t *table, name string) {
	drops := w.isWord("DROP")
	if w.isWord("DEFAULT") {
		w.hold()
	}
	a := w.attributes()
	if drops || a.fallback.kind != fallsToNull {
		w.setDefault(t, name, a.fallback)
	}
}

// defaultCell is the cell of a column that is left out.
func (r *renderer) defaultCell(c column) string {
	f := c.fallback
	if f.kind != fallsToLiteral || f.literal == valueNull {
		return ""
	}
	v := &values{arena: []byte(f.text), limit: math.MaxInt}
	if r.cell(v, value{0, len(f.text), f.literal}, c.form, &session{charset: f.charset, zone: f.zone}) != "" {
		return f.text
	}
	return string(v.arena[len(f.text):])
}
