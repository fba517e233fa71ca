package csv

import (
	"bytes"
	"io"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// firstBuffer fits the second-level cache of common machines. It grows only for a record that is longer, up to the cap.
const firstBuffer = 128 << 10

// form is what the splitter and the parser know of the dialect. A byte of 0 is none.
type form struct {
	delimiter    byte
	quote        byte
	quoting      bool
	quoteAtStart bool
	escape       byte
	comment      byte
	eol          byte
	places       []place // columns of fixed width; then there is no delimiter, quote or escape
	extraBlank   bool
	missingBlank bool
	maxField     int
	maxRecord    int
	maxCells     int
}

func (s *Source) form(table string) form {
	o := s.options
	f := form{delimiter: byte(o.Delimiter), quoting: o.Quote != NoQuote, quoteAtStart: o.QuoteAtStart, escape: byte(o.Escape),
		comment: byte(o.Comment), eol: byte(o.LineEnd), extraBlank: o.ExtraBlank, missingBlank: o.MissingBlank,
		maxField: o.MaxField, maxRecord: o.MaxRecord, maxCells: o.MaxColumns}
	if fixed := s.layout(table).Fixed; len(fixed) > 0 {
		f.places, f.quoting, f.escape = places(fixed), false, 0
	}
	if f.quoting {
		f.quote = byte(o.Quote)
	}
	return f
}

// splitter walks over a stream of text from record to record. The planning pass and the reader both use it, so they
// agree on where records begin.
//
// It holds a window of the stream: buf[pos:end] is read and not yet passed. The record that next found starts at pos.
type splitter struct {
	form
	in       io.Reader
	buf      []byte
	pos, end int
	eof      bool

	offset   int64 // of pos in the stream
	line     int64 // physical line at pos
	comments int64 // passed so far
	wide     bool  // the stream was UTF-16; then source is kept
	source   int64 // of pos in the bytes that the stream was decoded from

	// A record that goes on beyond its first line was followed to before this offset and could not be read. What lies before
	// it is not searched again, which keeps the walk linear.
	stuck int64

	// Of the record at pos, set by next.
	start  int64  // offset in the stream
	origin int64  // offset in the bytes that the stream was decoded from, if it is wide
	size   int    // bytes up to the next record; already passed if the rule is that the line is too long
	lines  int64  // physical lines it covers
	text   int    // bytes without the line end
	quotes bool   // it has quotes or escapes, so it must be parsed with care
	last   bool   // it ends with the stream, without a line end
	rule   string // refused for its extent already
	reach  int64  // offset up to which the decision looked: no shard may be cut before it

	// Lower bounds: no such byte in buf[pos:bound].
	noQuote, noEscape, noHigh, noNUL int
}

func newSplitter(f form, in io.Reader, size int64) *splitter {
	n := firstBuffer
	if size >= 0 && size < int64(n) {
		n = int(size) + 1
	}
	return &splitter{form: f, in: in, buf: make([]byte, n), line: 1}
}

// fill reads more into the window. It returns false at the end of the stream.
func (s *splitter) fill() (bool, error) {
	if s.eof {
		return false, nil
	}
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:s.end])
		s.end -= s.pos
		s.noQuote = max(0, s.noQuote-s.pos)
		s.noEscape = max(0, s.noEscape-s.pos)
		s.noHigh = max(0, s.noHigh-s.pos)
		s.noNUL = max(0, s.noNUL-s.pos)
		s.pos = 0
	}
	if s.end == len(s.buf) {
		grown := make([]byte, max(min(2*len(s.buf), s.maxRecord+firstBuffer), len(s.buf)+firstBuffer))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	for empty := 0; ; empty++ {
		n, err := s.in.Read(s.buf[s.end:])
		s.end += n
		if err == io.EOF {
			s.eof = true
			return n > 0, nil
		}
		if err != nil {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
		if empty == 100 {
			return false, io.ErrNoProgress
		}
	}
}

// advance passes the record that next found.
func (s *splitter) advance() {
	s.pass(s.size)
	s.line += s.lines
	s.size, s.lines = 0, 0
}

// pass moves on by n bytes.
func (s *splitter) pass(n int) {
	if s.wide {
		s.source += 2 * charset.Units(s.buf[s.pos:s.pos+n])
	}
	s.pos += n
	s.offset += int64(n)
}

// next passes the record before and finds the extent of the following one; empty lines and comments are passed too. It
// returns false at the end of the stream.
func (s *splitter) next() (bool, error) {
	s.advance()
	for {
		e := bytes.IndexByte(s.buf[s.pos:s.end], s.eol)
		size := e + 1
		if e < 0 {
			var err error
			e, size, err = s.lineEnd()
			if err != nil || size == 0 {
				return false, err
			}
		}
		s.start, s.origin, s.rule, s.quotes, s.lines, s.last = s.offset, s.source, "", false, 1, size == e
		comment := s.comment != 0 && s.buf[s.pos] == s.comment
		if e > s.maxRecord {
			if err := s.tooLong(e, size); err != nil || !comment {
				return true, err
			}
			s.comments++
			s.advance()
			continue
		}
		text := e
		if s.eol == '\n' && text > 0 && s.buf[s.pos+text-1] == '\r' {
			text--
		}
		s.size, s.text = size, text
		if text == 0 || comment {
			if comment {
				s.comments++
			}
			s.advance()
			continue
		}
		s.reach = s.offset + int64(size)
		if s.escape != 0 && s.has(&s.noEscape, s.escape, e) {
			s.quotes = true
			return true, s.severalLines(e)
		}
		if s.quoting && s.has(&s.noQuote, s.quote, e) {
			s.quotes = true
			if s.quoteAtStart || s.escape != 0 {
				return true, s.severalLines(e)
			}
			line := s.buf[s.noQuote : s.pos+e]
			if bytes.Count(line, []byte{s.quote})&1 != 0 {
				return true, s.severalLines(e)
			}
		}
		return true, nil
	}
}

// has says whether the byte is in the n bytes from pos on. The bound moves to its first place, or to the end.
func (s *splitter) has(bound *int, b byte, n int) bool {
	if *bound < s.pos {
		*bound = s.pos
	}
	if *bound >= s.pos+n {
		return false
	}
	i := bytes.IndexByte(s.buf[*bound:s.end], b)
	if i < 0 {
		*bound = s.end
		return false
	}
	*bound += i
	return *bound < s.pos+n
}

// hasHigh says whether a byte that is not ASCII is in the n bytes from pos on.
func (s *splitter) hasHigh(n int) bool {
	if s.noHigh < s.pos {
		s.noHigh = s.pos
	}
	if s.noHigh >= s.pos+n {
		return false
	}
	s.noHigh += charset.IndexHigh(s.buf[s.noHigh:s.end])
	return s.noHigh < s.pos+n
}

// lineEnd finds the end of a line that is not whole in the window yet: its length without and with the line end. The
// length without may be just above the cap, for a line that is longer than that. 0, 0 is the end of the stream.
func (s *splitter) lineEnd() (e, size int, err error) {
	for {
		seen := s.end - s.pos
		if seen > s.maxRecord {
			return seen, seen, nil
		}
		more, err := s.fill()
		if err != nil {
			return 0, 0, err
		}
		if !more {
			return seen, seen, nil
		}
		if i := bytes.IndexByte(s.buf[s.pos+seen:s.end], s.eol); i >= 0 {
			return seen + i, seen + i + 1, nil
		}
	}
}

// tooLong passes a physical line over the cap, whose end may not have been seen. Nothing of it is kept.
func (s *splitter) tooLong(e, size int) error {
	s.rule, s.text, s.size = extract.RuleRecordTooLong, 0, 0
	for size == e { // the line end is not among what was seen
		s.pass(s.end - s.pos)
		more, err := s.fill()
		if err != nil {
			return err
		}
		if !more {
			size = 0
			break
		}
		if i := bytes.IndexByte(s.buf[s.pos:s.end], s.eol); i >= 0 {
			size = i + 1
			break
		}
	}
	s.pass(size)
	s.reach = s.offset
	return nil
}

// skipLine passes a physical line, whatever it holds.
func (s *splitter) skipLine() error {
	s.advance()
	e := bytes.IndexByte(s.buf[s.pos:s.end], s.eol)
	size := e + 1
	if e < 0 {
		e, size = s.end-s.pos, s.end-s.pos
	}
	err := s.tooLong(e, size)
	s.line++
	return err
}

// severalLines finds the extent of a record whose first physical line, e bytes long, may not be all of it: it has an odd
// number of quotes, or quotes or escapes that must be looked at one by one. Such a line is malformed in itself, or
// whole, or it ends inside a field.
//
// Without escapes and with quotes that count everywhere, a search that fails ends on the next line with an odd number
// of quotes, so it is never repeated for the same lines. Elsewhere it could be, line for line; so a line within the
// reach of a failed search that does not end its record is refused at once.
func (s *splitter) severalLines(e int) error {
	i := 0       // from pos
	covered := 0 // the last escape covers what is before
	at := func(i int) (byte, bool, error) {
		for s.pos+i >= s.end {
			if more, err := s.fill(); err != nil || !more {
				return 0, false, err
			}
		}
		return s.buf[s.pos+i], true, nil
	}
	refuse := func(rule string, seen int) error {
		if seen > e {
			if rule == extract.RuleRecordTooLong {
				seen = s.maxRecord + 1
			}
			s.rule = rule
			s.stuck = max(s.stuck, s.offset+int64(seen)+1) // the byte that decided was looked at too
			s.reach = s.stuck
			return nil
		}
		s.text = max(s.text, min(covered, e)) // an escaped CR is not a line end
		// The parser finds the fault in the first line, and its name.
		return nil
	}
	searched := func() bool { return i > e && s.offset+int64(e) < s.stuck }
	found := func(end int) error {
		if end > s.maxRecord {
			return refuse(extract.RuleRecordTooLong, end)
		}
		s.text, s.size = end, end
		s.last = s.pos+end >= s.end
		if !s.last {
			s.size++
		}
		if s.eol == '\n' && end > covered && s.buf[s.pos+end-1] == '\r' {
			s.text--
		}
		s.lines = int64(bytes.Count(s.buf[s.pos:s.pos+s.size], []byte{s.eol}))
		if s.last {
			s.lines++
		}
		s.reach = s.offset + int64(s.size)
		return nil
	}
	// escaped passes an escape and what it covers.
	escaped := func() error {
		i++
		c, ok, err := at(i)
		if err != nil || !ok {
			return err
		}
		i++
		if c == '\r' && s.eol == '\n' {
			if c, ok, err = at(i); ok && c == '\n' {
				i++
			}
		}
		covered = i
		return err
	}
	for {
		c, ok, err := at(i)
		if err != nil {
			return err
		}
		if !ok {
			return found(i)
		}
		if !s.quoting || c != s.quote { // an unquoted field
			blank := true
			for ok && c != s.delimiter && c != s.eol {
				switch {
				case s.escape != 0 && c == s.escape:
					err = escaped()
					if err == nil && searched() {
						return refuse(extract.RuleUnterminatedQuote, i)
					}
				case s.quoting && c == s.quote && (blank || !s.quoteAtStart):
					return refuse(extract.RuleUnterminatedQuote, i)
				default:
					i++
				}
				if err != nil {
					return err
				}
				blank = blank && (c == ' ' || c == '\t')
				if c, ok, err = at(i); err != nil {
					return err
				}
				if i > s.maxRecord {
					return refuse(extract.RuleRecordTooLong, i)
				}
			}
			if !ok || c == s.eol {
				return found(i)
			}
			i++
			continue
		}
		i++
		for open := true; open; { // inside quotes
			j := s.indexQuote(s.buf[s.pos+i : s.end])
			if j < 0 {
				i = s.end - s.pos
				if searched() {
					return refuse(extract.RuleUnterminatedQuote, i)
				}
				if i > s.maxRecord {
					return refuse(extract.RuleRecordTooLong, i)
				}
				more, err := s.fill()
				if err != nil {
					return err
				}
				if !more {
					return refuse(extract.RuleUnterminatedQuote, i)
				}
				continue
			}
			i += j
			if searched() {
				return refuse(extract.RuleUnterminatedQuote, i)
			}
			if i > s.maxRecord {
				return refuse(extract.RuleRecordTooLong, i)
			}
			if s.buf[s.pos+i] != s.quote {
				if err := escaped(); err != nil {
					return err
				}
				continue
			}
			i++
			c, ok, err := at(i)
			if err != nil {
				return err
			}
			switch {
			case ok && c == s.quote:
				i++
			case ok && c == s.delimiter:
				i++
				open = false
			case !ok || c == s.eol:
				return found(i)
			case c == '\r' && s.eol == '\n':
				d, ok, err := at(i + 1)
				if err != nil {
					return err
				}
				if ok && d != s.eol {
					return refuse(extract.RuleUnterminatedQuote, i)
				}
				return found(i + 1)
			default:
				return refuse(extract.RuleUnterminatedQuote, i)
			}
		}
	}
}

// indexQuote is the place of the first quote or escape, or -1.
func (s *splitter) indexQuote(b []byte) int {
	if s.escape == 0 {
		return bytes.IndexByte(b, s.quote)
	}
	for i, c := range b { // one pass: two searches would look at the same bytes again for each escape
		if c == s.quote || c == s.escape {
			return i
		}
	}
	return -1
}
