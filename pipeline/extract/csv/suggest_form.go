package csv

import (
	"bytes"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// Form is a dialect that a sample may be written in, with what speaks for it. It holds no text of the sample.
type Form struct {
	Delimiter    rune `json:"delimiter"`
	Quote        rune `json:"quote"` // or NoQuote
	QuoteAtStart bool `json:"quoteAtStart"`
	Escape       rune `json:"escape"` // 0: none
	LineEnd      rune `json:"lineEnd"`

	Columns int `json:"columns"` // cells that most records have
	Records int `json:"records"` // in the sample, the first included, a last one that may be cut off not
	Agree   int `json:"agree"`   // of them, so many have that many cells and no fault

	// Header says whether the first record looks like names rather than data: all cells hold text, no two the same, none
	// a number; and (sure) some column below is of numbers or dates.
	Header     bool `json:"header"`
	HeaderSure bool `json:"headerSure"`
}

// SuggestForm tries the common dialects on a sample from the start of a file, in the encoding of that name, and returns
// the one in which the most records have the same number of cells, at least two. If there is none the file may have one
// column, or columns of fixed width: Columns is 1. It is a help for who writes the plan: reading uses what the plan
// declares and nothing else. An unknown encoding is an error.
func SuggestForm(sample []byte, encoding string) (Form, error) {
	c, err := charset.Lookup(encoding)
	if err != nil {
		return Form{}, err
	}
	text := sample
	if c.Wide() { // delimiters are found in the raw bytes of all other encodings
		decoded, _ := c.Decode(sample)
		text = []byte(decoded)
	}
	text = bytes.TrimPrefix(text, []byte(charset.MarkUTF8))
	f := Form{Delimiter: ',', Quote: '"', LineEnd: '\n'}
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') >= 0 {
		f.LineEnd = '\r'
	}
	if i := bytes.LastIndexByte(text, byte(f.LineEnd)); i >= 0 {
		text = text[:i+1]
	}
	escapes := []rune{0}
	if bytes.IndexByte(text, '\\') >= 0 {
		escapes = append(escapes, '\\')
	}
	var best Form
	var most float64
	var rows [][]string
	for _, f.Delimiter = range []rune{',', ';', '\t', '|', '^', '~', 0x1F} {
		for _, f.Escape = range escapes {
			for _, q := range []struct {
				quote   rune
				atStart bool
			}{{'"', false}, {'"', true}, {'\'', false}, {NoQuote, false}} {
				f.Quote, f.QuoteAtStart = q.quote, q.atStart
				tried, cells := f.try(text)
				// A record more that agrees weighs more than a column more.
				score := float64(tried.Agree) / float64(max(tried.Records, 1)) * (1 - 1/float64(max(tried.Columns, 1)))
				if score > most || best.LineEnd == 0 {
					best, most, rows = tried, score, cells
				}
			}
		}
	}
	if best.Columns > 1 || len(rows) > 1 {
		best.Header, best.HeaderSure = looksLikeHeader(rows)
	}
	return best, nil
}

// try reads the text in a dialect, and returns the cells of the records that agree.
func (f Form) try(text []byte) (Form, [][]string) {
	o := Options{Delimiter: f.Delimiter, Quote: f.Quote, QuoteAtStart: f.QuoteAtStart, Escape: f.Escape, LineEnd: f.LineEnd}
	o.complete() // there is nothing to complain of
	s := &Source{options: o}
	sp := newSplitter(s.form(""), bytes.NewReader(text), int64(len(text)))
	p := newParser(sp.form, charset.UTF8, o.MaxColumns)
	var records [][]string
	counts := map[int]int{}
	f.Records = 0
	for {
		ok, err := sp.next()
		if err != nil || !ok {
			break // a reader of bytes gives no error
		}
		f.Records++
		if sp.rule != "" {
			continue
		}
		n, rule, _ := p.parse(sp.buf[sp.pos:sp.pos+sp.text], sp.quotes)
		if rule != "" || n > o.MaxColumns {
			continue
		}
		cells := make([]string, n)
		for i := range cells {
			cells[i] = strings.Clone(p.cells[i])
		}
		records = append(records, cells)
		counts[n]++
	}
	f.Columns, f.Agree = 0, 0
	for n, times := range counts {
		if times > f.Agree || times == f.Agree && n > f.Columns {
			f.Columns, f.Agree = n, times
		}
	}
	agree := records[:0]
	for i, r := range records {
		if len(r) == f.Columns {
			agree = append(agree, r)
		} else if i == 0 {
			agree = append(agree, nil) // the first record is not a header of these
		}
	}
	return f, agree
}

// looksLikeHeader tells whether the first of some rows looks like a header.
func looksLikeHeader(rows [][]string) (header, sure bool) {
	if len(rows) == 0 || rows[0] == nil {
		return false, false
	}
	if checkColumns(rows[0], len(rows[0])) != nil {
		return false, true
	}
	for _, name := range rows[0] {
		if numeric(name) {
			return false, true
		}
	}
	for column := range rows[0] {
		full, numbers := 0, 0
		for _, r := range rows[1:] {
			if c := strings.TrimSpace(r[column]); c != "" {
				full++
				if numeric(c) {
					numbers++
				}
			}
		}
		if full > 0 && numbers == full {
			return true, true
		}
	}
	return true, false
}

// numeric says whether a cell is a number, a date or a time as far as its characters go.
func numeric(cell string) bool {
	return strings.ContainsAny(cell, "0123456789") && strings.Trim(cell, "0123456789+-.,:/ TZ") == ""
}
