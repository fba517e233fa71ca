package csv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// read yields the records of a shard. It returns nil if the consumer broke off.
func (s *Source) read(ctx context.Context, f file, shard extract.Shard, done *extract.Digest,
	yield func(*extract.Record, error) bool) error {
	fail := func(err error) error { return fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(err)) }
	at, err := parsePosition(shard.Position)
	if err != nil {
		return fail(err)
	}
	var sum hash.Hash
	if done != nil {
		*done = extract.Digest{}
		sum = sha256.New()
	}
	in, size, err := s.open(ctx, f, at.start, at.end, sum)
	if err != nil {
		return err
	}
	defer in.close()
	if size != at.size {
		return fail(extract.ErrChanged)
	}
	expected := at.end - at.start
	hint := expected
	if !f.splittable() {
		hint = -1
	}
	sp := newSplitter(s.form(f.table), in.text, hint)
	sp.line = shard.FirstLine
	columns := shard.Table.Columns
	if at.start == 0 {
		found, err := s.preamble(sp, f)
		if err != nil {
			return err
		}
		if !slices.Equal(found, columns) {
			return fail(fmt.Errorf("%w: its header is another", extract.ErrChanged))
		}
	}
	p := newParser(sp.form, s.charset, len(columns))
	record := extract.Record{Table: shard.Table, Cells: p.cells}
	ordinal := shard.FirstOrdinal - 1
	for {
		ok, err := sp.next()
		if err != nil {
			return fail(err)
		}
		if !ok {
			break
		}
		ordinal++
		rule, column := sp.rule, -1
		if rule == "" {
			rule, column = p.record(sp)
		}
		if rule != "" {
			fault := &extract.Fault{Place: extract.Place{Table: shard.Table.Name, Line: sp.line, File: shard.Table.File},
				Ordinal: ordinal, Rule: rule}
			if column >= 0 && column < len(columns) {
				fault.Column = columns[column]
			}
			if !yield(nil, fault) {
				return nil
			}
			continue
		}
		record.Line, record.Ordinal, record.Bytes = sp.line, ordinal, sp.size
		if !yield(&record, nil) {
			return nil
		}
	}
	if hint >= 0 && in.raw.Bytes() != expected {
		return fail(extract.ErrChanged)
	}
	s.countComments(f.table, shard.Index, sp.comments)
	if done != nil {
		done.Bytes, done.Records, done.Complete = in.raw.Bytes(), ordinal-shard.FirstOrdinal+1, true
		sum.Sum(done.Sum[:0])
	}
	return nil
}

// parser splits one record into cells. The cells point into the record's own bytes, of which doubled quotes are mended
// in place, or, decoded, into the arena.
type parser struct {
	form
	cells []string
	extra bool // a cell for which there is no column holds more than blanks
	table *[256]string
	arena []byte
}

func newParser(f form, c *charset.Charset, columns int) *parser {
	return &parser{form: f, cells: make([]string, columns), table: c.Table}
}

// record parses the record at the splitter's place and returns the rule that refuses it, if one does, and the column.
func (p *parser) record(sp *splitter) (rule string, column int) {
	nul, high := sp.has(&sp.noNUL, 0, sp.text), sp.hasHigh(sp.text)
	text := sp.buf[sp.pos : sp.pos+sp.text]
	n := len(p.cells)
	if p.places != nil {
		rule, column = p.parseFixed(text, high, sp.last)
	} else {
		n, rule, column = p.parse(text, sp.quotes)
	}
	if rule != "" {
		return rule, column
	}
	if n != len(p.cells) {
		if n, rule = p.ragged(n, sp.last); rule != "" {
			return rule, -1
		}
	}
	if nul || high || len(text) > p.maxField {
		return p.check(n, len(text), nul, high)
	}
	return "", -1
}

// ragged checks a row that has more or fewer cells than there are columns, and returns how many of them count. A short
// row at the end of a file without a line end is never let pass: it is what a file looks like that was cut off.
func (p *parser) ragged(n int, last bool) (int, string) {
	columns := len(p.cells)
	switch {
	case n > p.maxCells:
		return n, extract.RuleTooManyColumns
	case n > columns && p.extraBlank && !p.extra:
		return columns, ""
	case n < columns && p.missingBlank && !last:
		clear(p.cells[n:])
		return columns, ""
	}
	return n, extract.RuleRaggedRow
}

// view is the bytes as a string, without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parse fills the cells as far as there is room and returns how many the record has. careful says that the record has
// quotes or escapes.
func (p *parser) parse(b []byte, careful bool) (n int, rule string, column int) {
	p.extra = false
	switch {
	case careful && p.escape != 0:
		return p.parseEscaped(b)
	case careful:
		return p.parseQuoted(b)
	}
	rest := view(b)
	for n < len(p.cells) {
		i := strings.IndexByte(rest, p.delimiter)
		if i < 0 {
			p.cells[n] = rest
			return n + 1, "", -1
		}
		p.cells[n] = rest[:i]
		rest = rest[i+1:]
		n++
	}
	if p.extraBlank {
		p.extra = strings.Trim(rest, view([]byte{p.delimiter, ' '})) != ""
	}
	return n + 1 + strings.Count(rest, view([]byte{p.delimiter})), "", -1
}

// cell takes the next cell of the record, which is the nth from 0.
func (p *parser) cell(n int, text []byte) {
	if n < len(p.cells) {
		p.cells[n] = view(text)
	} else if !blank(text) {
		p.extra = true
	}
}

func (p *parser) parseQuoted(b []byte) (n int, rule string, column int) {
	i := 0 // start of the field
	for {
		var cell []byte
		if i < len(b) && b[i] == p.quote {
			from, w := i+1, i+1 // unread text of the field, end of its text so far
			for {
				j := bytes.IndexByte(b[from:], p.quote)
				if j < 0 {
					return n, extract.RuleUnterminatedQuote, n
				}
				at := from + j
				doubled := at+1 < len(b) && b[at+1] == p.quote
				end := at
				if doubled {
					end++ // one of the two is text
				}
				if w != from {
					copy(b[w:], b[from:end])
				}
				w += end - from
				if !doubled {
					cell = b[i+1 : w]
					i = at + 1
					break
				}
				from = at + 2
			}
			if i < len(b) && b[i] != p.delimiter {
				return n, extract.RuleTextAfterQuote, n
			}
		} else {
			j := bytes.IndexByte(b[i:], p.delimiter)
			if j < 0 {
				j = len(b) - i
			}
			cell = b[i : i+j]
			if q := bytes.IndexByte(cell, p.quote); q >= 0 {
				if rule := p.innerQuote(len(bytes.TrimLeft(cell[:q], " \t")) == 0); rule != "" {
					return n, rule, n
				}
			}
			i += j
		}
		p.cell(n, cell)
		n++
		if i >= len(b) {
			return n, "", -1
		}
		i++ // the delimiter
	}
}

// innerQuote checks a quote inside an unquoted field. One behind nothing but blanks is refused even where quotes inside
// fields are text: the writer may have meant to quote.
func (p *parser) innerQuote(behindBlanks bool) (rule string) {
	switch {
	case behindBlanks:
		return extract.RuleQuoteAfterBlank
	case !p.quoteAtStart:
		return extract.RuleBareQuote
	}
	return ""
}

// check looks at the first n cells of a record of that length, and decodes them where need be.
func (p *parser) check(n, length int, nul, high bool) (rule string, column int) {
	cells := p.cells[:n]
	if nul {
		for i, c := range cells {
			if strings.IndexByte(c, 0) >= 0 {
				return extract.RuleNULByte, i
			}
		}
	}
	if length > p.maxField {
		for i, c := range cells {
			if len(c) > p.maxField {
				return extract.RuleFieldTooLong, i
			}
		}
	}
	if !high {
		return "", -1
	}
	if p.table == nil {
		for i, c := range cells {
			if !utf8.ValidString(c) {
				return extract.RuleInvalidEncoding, i
			}
		}
		return "", -1
	}
	if cap(p.arena) < 3*length { // no character of one byte takes more than three in UTF-8; so the arena never moves
		p.arena = make([]byte, 0, max(4096, 4*length))
	}
	p.arena = p.arena[:0]
	for i, c := range cells {
		if charset.IndexHigh(unsafe.Slice(unsafe.StringData(c), len(c))) == len(c) {
			continue
		}
		start := len(p.arena)
		for j := range len(c) {
			t := p.table[c[j]]
			if t == "" {
				return extract.RuleInvalidEncoding, i
			}
			p.arena = append(p.arena, t...)
		}
		cells[i] = view(p.arena[start:])
	}
	return "", -1
}
