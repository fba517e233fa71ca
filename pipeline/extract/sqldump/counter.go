package sqldump

import "strconv"

// counter numbers the rows of a table as the database does in a column of AUTO_INCREMENT (MySQL), IDENTITY (SQL Server) or
// INTEGER PRIMARY KEY (SQLite): a row without a number gets the next behind the highest so far.
type counter struct {
	column int // -1 if the table has none
	next   int64
}

// take counts the current tuple. given says whether it has a number itself; if not, number is the one that it gets.
func (n *counter) take(w *walker, in insertion) (number int64, given bool) {
	v := &w.values
	for i, c := range w.layout(in) {
		if c != n.column {
			continue
		}
		x := v.list[i]
		if x.kind == valueNull || x.kind == valueDefault {
			break
		}
		number, err := strconv.ParseInt(view(v.text(x)), 10, 64)
		if err == nil && number == 0 && !w.zeroIsNumber {
			break
		}
		if err == nil && number >= n.next {
			n.next = number + 1
		}
		return 0, true
	}
	n.next++
	return n.next - 1, false
}

// numbered is what AUTO_INCREMENT or IDENTITY means, whose word was read. Sequences of PostgreSQL and Oracle count by
// themselves, whatever the rows hold, and where they stand is not followed.
func (w *walker) numbered() fallback {
	f := fallback{kind: fallsToNumber, seed: 1}
	switch w.dialect {
	case postgres, oracle:
		return fallback{kind: fallsToComputed}
	case sqlserver:
		if !w.acceptPunct('(') {
			return f
		}
		seed := w.wholeNumber()
		step := int64(1)
		if w.acceptPunct(',') {
			step = w.wholeNumber()
		}
		w.skipParentheses()
		if f.seed = seed; step != 1 {
			return fallback{kind: fallsToComputed}
		}
	}
	return f
}

// wholeNumber reads one.
func (w *walker) wholeNumber() int64 {
	sign := int64(1)
	if w.acceptPunct('-') {
		sign = -1
	}
	w.next()
	n, _ := strconv.ParseInt(string(w.word), 10, 64) // 0 for what is none
	return sign * n
}

// tableOptions passes what stands behind the columns of CREATE TABLE, and returns where AUTO_INCREMENT begins.
func (w *walker) tableOptions() (seed int64) {
	for w.dialect == mysql && w.next() != tokenEOF && w.last != tokenEnd {
		if w.last == tokenWord && w.isWord("AUTO_INCREMENT") {
			w.acceptPunct('=')
			seed = w.wholeNumber()
		}
	}
	if w.dialect == mysql {
		w.hold()
	}
	w.skip()
	return seed
}
