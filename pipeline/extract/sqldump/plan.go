package sqldump

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

const (
	// minGap is how much of other tables a shard may run over rather than end.
	minGap = 256 << 10
	// maxPieces bounds how many pieces of a table a file can have for that reason.
	maxPieces = 1 << 10
	// maxFaults bounds how much of what is wrong with a dump is listed.
	maxFaults = 20
)

// plan is what one pass over the files has found.
type plan struct {
	files   []planned
	catalog *catalog
	listed  []*extract.Table
	tables  map[string]*table // by the name that is listed
	faults  []error
	kept    int        // bytes of unpacked text in memory
	begun   *beginning // the dump whose trailer is not read yet
}

// planned is a file as it was found.
type planned struct {
	stamp stamp
	text  *charset.Charset
	size  int64 // unpacked
	lines int64
	kept  []byte // its unpacked bytes, if it is packed and small
}

// segment is a piece of a file in which rows of a table lie: a shard. Rows of other tables may lie there too.
type segment struct {
	file       int
	start, end int64
	line       int64
	ordinal    int64
	in         insertion
	session    session
}

// plan returns what the files hold. The first call reads them all, once; the others wait for it.
func (s *Source) plan(ctx context.Context) (*plan, error) {
	select {
	case s.planning <- struct{}{}:
		defer func() { <-s.planning }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read dump %s: %w", s.options.Name, ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read dump %s: %w", s.options.Name, err)
	}
	if s.planned != nil {
		return s.planned, nil
	}
	p := &plan{catalog: newCatalog(), tables: map[string]*table{}}
	for i := range s.files {
		if err := s.planFile(ctx, p, i); err != nil {
			return nil, err
		}
	}
	p.judgeEnd()
	p.list(s)
	if len(p.faults) > 0 {
		return nil, fmt.Errorf("sql dump %s: %w", s.options.Name, errors.Join(p.faults...))
	}
	s.planned = p
	return p, nil
}

func (p *plan) fault(err error) {
	switch {
	case len(p.faults) < maxFaults:
		p.faults = append(p.faults, err)
	case len(p.faults) == maxFaults:
		p.faults = append(p.faults, errors.New("and more"))
	}
}

// planFile reads one file.
func (s *Source) planFile(ctx context.Context, p *plan, i int) error {
	f := s.files[i]
	in, err := s.open(ctx, f, 0, -1, nil, nil)
	if err != nil {
		return err
	}
	defer in.close()
	found := &ends{r: in.bytes}
	keep := &keeper{r: found, left: maxKept - p.kept}
	var raw io.Reader = found
	if f.packed != packed.Plain {
		raw = keep
	}
	text, begin, stream, err := s.decode(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(err))
	}
	w := newWalker(s.dialect, stream, s.declared, s.options)
	w.session = initial(s.dialect, text)
	w.wide, w.offset, w.whole, w.builds = text.Wide(), begin, true, true
	w.catalog, w.file, w.shown = p.catalog, i, f.Shown
	w.fault = func(at mark, text string) { p.fault(fmt.Errorf("%s:%d: %s", f.Shown, at.line, text)) }
	gap, size := int64(minGap), s.options.ShardSize
	if f.packed == packed.Plain {
		gap = max(gap, in.stamp.size/maxPieces)
	}
	w.rows = func(r *row) bool {
		r.table.note(w, r, gap, size)
		return true
	}
	before := len(p.faults)
	w.walk(insertion{})
	end := w.here()
	if w.err != nil {
		return fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(w.err))
	}
	if w.unclosed {
		w.complain(end, "the file ends inside a string or a comment that no quote or */ closes")
	}
	if w.transaction {
		w.complain(end, "the file ends inside a transaction: the database would take back what it wrote. The dump is not whole")
	}
	p.judgeOrigin(s.dialect, f.Shown, found.first, found.last, end.line, before)
	result := planned{stamp: in.stamp, text: text, size: in.bytes.Bytes(), lines: end.line}
	if f.packed != packed.Plain {
		if keep.over {
			for _, t := range p.catalog.tables {
				t.mergePieces(i)
			}
		} else {
			result.kept = append(make([]byte, 0, len(keep.text)+1), keep.text...) // not nil, if empty
			p.kept += len(keep.text)
		}
	}
	if w.wide && in.bytes.Bytes()%2 != 0 { // half a code unit at the end, which was counted as a whole one
		for _, t := range p.catalog.tables {
			for j := range t.segments {
				t.segments[j].end = min(t.segments[j].end, max(in.bytes.Bytes(), t.segments[j].start))
			}
		}
	}
	p.files = append(p.files, result)
	return nil
}

// ends remembers how a stream begins and ends.
type ends struct {
	r           io.Reader
	first, last []byte
}

// Read implements io.Reader.
func (e *ends) Read(b []byte) (int, error) {
	const most = 1 << 10
	n, err := e.r.Read(b)
	if room := most - len(e.first); room > 0 {
		e.first = append(e.first, b[:min(n, room)]...)
	}
	if n >= most {
		e.last = append(e.last[:0], b[n-most:n]...)
	} else if e.last = append(e.last, b[:n]...); len(e.last) > most {
		e.last = e.last[:copy(e.last, e.last[len(e.last)-most:])]
	}
	return n, err
}

// decode says what a file is written in and passes its mark, whose length it returns.
func (s *Source) decode(raw io.Reader) (*charset.Charset, int64, io.Reader, error) {
	b := bufio.NewReaderSize(raw, 32<<10)
	start, err := b.Peek(charset.LongestMark)
	if err != nil && err != io.EOF {
		return nil, 0, nil, err
	}
	text, n, err := resolve(s.declared, start)
	if err != nil {
		return nil, 0, nil, err
	}
	if _, err := b.Discard(n); err != nil {
		return nil, 0, nil, err
	}
	return text, int64(n), text.Reader(b), nil
}

// note adds a row to the pieces of its table.
func (t *table) note(w *walker, r *row, gap, size int64) {
	t.count++
	if n := len(t.segments); n > 0 {
		last := &t.segments[n-1]
		near := r.start.offset-last.end <= gap && r.start.offset-last.start < size
		if last.file == w.file && (near || r.behind || r.start.offset == r.end) {
			last.end = r.end
			return
		}
	}
	t.segments = append(t.segments, segment{file: w.file, start: r.start.offset, end: r.end, line: r.start.line,
		ordinal: t.count, in: r.in, session: w.session})
}

// mergePieces makes the pieces of a file one: it can only be read from its start, so each would cost that.
func (t *table) mergePieces(file int) {
	first := slices.IndexFunc(t.segments, func(s segment) bool { return s.file == file })
	if first >= 0 {
		t.segments[first].end = t.segments[len(t.segments)-1].end
		t.segments = t.segments[:first+1]
	}
}

// list names the tables: without their schema, where that leaves no doubt.
func (p *plan) list(s *Source) {
	for _, same := range p.catalog.byName {
		var shown []*table
		for _, t := range same {
			if !t.ignored {
				shown = append(shown, t)
			}
		}
		for _, t := range shown {
			name := t.name
			if len(shown) > 1 && t.schema != "" {
				name = t.schema + "." + t.name
			}
			if p.tables[name] != nil {
				p.fault(fmt.Errorf("%s: two tables have the name %s", s.files[t.file].Shown, name))
			}
			p.tables[name] = t
			p.listed = append(p.listed, p.describe(s, t, name))
		}
	}
	slices.SortFunc(p.listed, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) })
}

// describe is the table as mappings see it. Where its rows lie in several files, the lines of the files before are
// counted too, so that a line still tells a record.
func (p *plan) describe(s *Source, t *table, name string) *extract.Table {
	d := &extract.Table{Source: s.options.Name, Name: name, Columns: make([]string, len(t.columns))}
	typed := false
	for i, c := range t.columns {
		d.Columns[i] = c.name
		typed = typed || c.form != asFound
		if strings.TrimSpace(c.name) == "" {
			p.fault(fmt.Errorf("%s: table %s: column %d has no name", s.files[t.file].Shown, name, i+1))
		}
	}
	if len(t.columns) > s.options.MaxColumns {
		p.fault(fmt.Errorf("%s: table %s: %s: at most %d are allowed", s.files[t.file].Shown, name, extract.RuleTooManyColumns,
			s.options.MaxColumns))
	}
	if typed {
		for _, c := range t.columns {
			d.Kinds = append(d.Kinds, kinds[c.form])
		}
	}
	file := t.file
	if len(t.segments) > 0 {
		file = t.segments[0].file
		if t.segments[len(t.segments)-1].file != file {
			for i := range t.segments {
				for _, before := range p.files[:t.segments[i].file] {
					t.segments[i].line += before.lines
				}
			}
			return d
		}
	}
	d.File = s.files[file].Shown
	return d
}

// shard is a piece as the rest of the program sees it.
func (p *plan) shard(t *extract.Table, index int, g segment) extract.Shard {
	return extract.Shard{Table: t, Index: index, Bytes: g.end - g.start, FirstLine: g.line, FirstOrdinal: g.ordinal,
		Position: fmt.Sprintf("%d:%d-%d/%d", g.file, g.start, g.end, p.files[g.file].stamp.size)}
}

// pieces are the segments of a table; an empty one has one, of nothing.
func (t *table) pieces() []segment {
	if len(t.segments) == 0 {
		return []segment{{file: t.file, line: 1, ordinal: 1}}
	}
	return t.segments
}
