package sqldump

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// key is a primary key or a unique one: no two rows have the same values in its columns.
type key struct {
	columns []string
	primary bool
}

// constraint reads a constraint of a table, whose first word was read, and passes its rest. It returns false for one
// that is no key, and for a key whose values are not those of columns.
func (w *walker) constraint() (k key, ok bool) {
	if w.isWord("CONSTRAINT") {
		if w.next() != tokenName {
			if !w.isOne("PRIMARY", "UNIQUE", "FOREIGN", "CHECK") {
				w.next()
			}
		} else {
			w.next()
		}
	}
	if w.last != tokenWord || !w.isOne("PRIMARY", "UNIQUE") {
		if w.last != tokenWord {
			w.hold()
		}
		w.attributes()
		return k, false
	}
	k.primary = w.isWord("PRIMARY")
	for w.next() == tokenWord || w.last == tokenName { // KEY, its name, CLUSTERED
	}
	if !w.isPunct('(') {
		w.hold()
		w.attributes()
		return k, false
	}
	k.columns, ok = w.keyColumns()
	w.attributes()
	return k, ok
}

// keyColumns reads the columns of a key or an index, behind the parenthesis, with the closing one. It returns false for
// an expression and for the first characters of a column.
func (w *walker) keyColumns() (names []string, ok bool) {
	ok = true
	for first := true; ; {
		switch w.nextName() {
		case tokenEOF, tokenEnd:
			w.hold()
			return nil, false
		case tokenPunct:
			switch w.word[0] {
			case '(':
				w.skipParentheses()
				ok = false
			case ',':
				first = true
			case ')':
				return names, ok && len(names) > 0
			}
		case tokenWord, tokenName:
			if first {
				names, first = append(names, w.identifier()), false
			}
		}
	}
}

// uniqueIndex reads CREATE UNIQUE INDEX, behind its second word. One of some rows only is no key.
func (w *walker) uniqueIndex() {
	for w.next() != tokenEOF && w.last != tokenEnd && !w.isWord("ON") {
	}
	w.accept("ONLY")
	schema, name, ok := w.name()
	for ok && (w.next() == tokenWord || w.last == tokenName) { // USING btree
	}
	if !ok || !w.isPunct('(') {
		w.hold()
		w.skip()
		return
	}
	names, ok := w.keyColumns()
	t := w.catalog.find(w, schema, name)
	if w.accept("WHERE") {
		ok = false
	}
	if ok && t != nil && w.builds {
		t.keys = append(t.keys, key{columns: names})
	}
	w.skip()
}

// merges notes an INSERT that drops or replaces rows whose key is in the table. Nobody executes it here; so no key may be
// there twice.
func (t *table) merges(w *walker, at mark, what string) {
	if t != nil && w.builds && t.merged == nil {
		t.merged = t.fault(w, at, what)
	}
}

// judgeKeys makes a table unreadable that has an INSERT which merges rows, and rows to merge.
func (s *Source) judgeKeys(ctx context.Context, p *plan, d *extract.Table) error {
	t := p.tables[d.Name]
	if t.merged == nil || t.blocked != nil || t.count < 2 {
		return nil
	}
	if t.implicit {
		t.blocked = fmt.Errorf("%w; and no CREATE TABLE says what its key is", t.merged)
		return nil
	}
	at := make([][]int, 0, len(t.keys))
	for _, k := range t.keys {
		var columns []int
		for _, name := range k.columns {
			if c := t.place(s.dialect, name); c >= 0 && !t.columns[c].hidden() {
				columns = append(columns, d.Column(t.columns[c].name))
			}
		}
		if len(columns) == len(k.columns) {
			at = append(at, columns)
		}
	}
	folds := s.dialect == mysql || s.dialect == sqlserver // their usual collations do not tell upper from lower case
	seen := map[[16]byte]struct{}{}
	var text []byte
	for i, g := range t.pieces() {
		err := s.readPiece(ctx, p, t, g, d, nil, func(r *extract.Record, err error) bool {
			if err != nil {
				var f *extract.Fault
				return errors.As(err, &f)
			}
			for i, columns := range at {
				text = binary.AppendUvarint(text[:0], uint64(i))
				null := false
				for _, c := range columns {
					cell := r.Cells[c]
					null = null || cell == ""
					if folds {
						cell = strings.ToLower(strings.TrimRight(cell, " "))
					}
					text = append(binary.AppendUvarint(text, uint64(len(cell))), cell...)
				}
				if null {
					continue // equal to no other
				}
				sum := sha256.Sum256(text)
				known := [16]byte(sum[:16])
				if _, twice := seen[known]; twice {
					t.blocked = t.merged
					return false
				}
				seen[known] = struct{}{}
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("sql dump %s: piece %d of table %s: %w", s.options.Name, i+1, d.Name, err)
		}
		if t.blocked != nil {
			break
		}
	}
	return nil
}
