package sqldump

import "github.com/chartlift/chartlift/pipeline/extract"

// copy reads COPY of PostgreSQL, and the lines behind COPY … FROM stdin.
func (w *walker) copy() {
	begin := w.start
	schema, name, ok := w.name()
	if !ok { // COPY (query) TO
		w.skip()
		return
	}
	t := w.catalog.find(w.dialect, w.schema, schema, name)
	var names []string
	listed := w.acceptPunct('(')
	if listed {
		names, _ = w.nameList()
	}
	if !w.accept("FROM") {
		if w.next() == tokenEOF {
			w.truncated(t, begin)
			return
		}
		w.hold()
		w.skip()
		return
	}
	if !w.accept("STDIN") {
		w.refuseStatement(t, begin, schema, name)
		return
	}
	in := w.insertion(t, begin, schema, name, names, listed)
	in.where = inCopy
	readable := true // in the form that pg_dump writes
	for w.next() != tokenEnd {
		if w.last == tokenEOF {
			w.truncated(t, begin)
			return
		}
		readable = readable && (w.isPunct('(') || w.isPunct(')') || w.last == tokenWord && w.isOne("WITH", "FORMAT", "TEXT"))
	}
	w.restOfLine()
	if w.has(1) {
		w.pos++
	}
	if readable {
		w.lines(in)
		return
	}
	for w.has(1) && !w.endOfCopy() {
		w.restOfLine()
		if w.has(1) {
			w.pos++
		}
	}
	w.emit(in.table, insertion{table: in.table}, begin, extract.RuleStatement, -1)
}

// endOfCopy passes the line that ends the data, if it stands here.
func (w *walker) endOfCopy() bool {
	if w.at(0) != '\\' || w.at(1) != '.' {
		return false
	}
	if c := w.at(2); c != '\n' && c != '\r' && w.has(3) {
		return false
	}
	w.pos += 2
	w.restOfLine()
	return true
}

// lines reads the rows behind COPY, one a line.
func (w *walker) lines(in insertion) {
	for {
		start := w.here()
		if !w.has(1) {
			if w.whole {
				w.emit(in.table, in, start, extract.RuleTruncated, -1)
			}
			return
		}
		if w.endOfCopy() {
			return
		}
		f := w.values.line()
		rule, column := w.judge(in, f, start)
		if !w.emit(in.table, in, start, rule, column) {
			return
		}
		if f == cutOff {
			return
		}
	}
}

// line reads the fields of a line of COPY, with its end. A line that the stream cuts is cutOff.
func (v *values) line() flaw {
	s := v.s
	v.reset()
	x := value{kind: valueText}
	field := 0  // bytes of it so far, as written
	cr := false // the last of them is a CR that is not escaped
	push := func() {
		x.end = len(v.arena)
		v.push(x)
		x = value{kind: valueText, start: len(v.arena)}
		field, cr = 0, false
	}
	for {
		b := s.buf[s.pos:s.end]
		i := indexAny(b, '\t', '\n', '\\')
		if i > 0 {
			v.add(b[:i])
			cr = b[i-1] == '\r'
			field += i
			s.pos += i
		}
		if i == len(b) {
			if !s.fill() {
				return cutOff
			}
			continue
		}
		s.pos++
		switch b[i] {
		case '\t':
			push()
		case '\n':
			if cr && !v.over { // of CRLF: one in the data is escaped
				v.arena = v.arena[:len(v.arena)-1]
			}
			push()
			return flawless
		case '\\':
			if field == 0 && s.at(0) == 'N' {
				if c := s.at(1); c == '\t' || c == '\n' || c == '\r' {
					x.kind = valueNull
					s.pos++
					field = 2
					continue
				}
			}
			if !s.escape(v) {
				return cutOff
			}
			field++
			cr = false
		}
	}
}
