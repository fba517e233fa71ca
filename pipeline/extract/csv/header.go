package csv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// header reads the names of a file's columns.
func (s *Source) header(ctx context.Context, f file) ([]string, error) {
	in, _, err := s.open(ctx, f, 0, -1, nil)
	if err != nil {
		return nil, err
	}
	defer in.close()
	return s.preamble(newSplitter(s.form(), in.text, -1), f)
}

// preamble reads from the start of a file up to its first record: a byte order mark, lines to skip, the header.
func (s *Source) preamble(sp *splitter, f file) ([]string, error) {
	for sp.end-sp.pos < len(bomUTF8) {
		more, err := sp.fill()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.shown, pathless(err))
		}
		if !more {
			break
		}
	}
	if s.charset.wide == narrow {
		n, err := s.charset.bom(sp.buf[sp.pos:sp.end])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.shown, err)
		}
		sp.pos += n
		sp.offset += int64(n)
	}
	if len(s.options.Columns) > 0 {
		return s.options.Columns, nil
	}
	for sp.line < int64(s.options.Header) {
		if err := sp.skipLine(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.shown, pathless(err))
		}
		if sp.eof && sp.pos == sp.end {
			break
		}
	}
	ok, err := sp.next()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.shown, pathless(err))
	}
	if !ok {
		return nil, fmt.Errorf("%s: the file has no header line", f.shown)
	}
	at := fmt.Sprintf("%s:%d: header", f.shown, sp.line)
	if sp.rule != "" {
		return nil, fmt.Errorf("%s: %s", at, sp.rule)
	}
	text := sp.buf[sp.pos : sp.pos+sp.text]
	cr := s.options.LineEnd == '\n' && bytes.IndexByte(text, '\r') >= 0
	nul, high := sp.has(&sp.noNUL, 0, sp.text), sp.hasHigh(sp.text)
	p := newParser(sp.form, s.charset, s.options.MaxColumns)
	n, rule, column := p.parse(text, sp.quotes)
	if rule == "" && n <= sp.maxCells {
		rule, column = p.check(n, len(text), nul, high)
	}
	if cr && (rule != "" || !sp.quotes) {
		return nil, fmt.Errorf("%s: it has CR without LF: if the file's lines end with CR alone, the plan must say so", at)
	}
	if sp.eol == '\r' && sp.pos+sp.size < sp.end && sp.buf[sp.pos+sp.size] == '\n' {
		return nil, fmt.Errorf("%s: it ends with CRLF, not with CR alone", at)
	}
	if rule == "" && n > sp.maxCells {
		return nil, fmt.Errorf("%s: %s: %d, at most %d are allowed", at, extract.RuleTooManyColumns, n, sp.maxCells)
	}
	if rule != "" {
		return nil, fmt.Errorf("%s: column %d: %s", at, column+1, rule)
	}
	columns := make([]string, n)
	for i := range columns {
		columns[i] = strings.Clone(p.cells[i])
	}
	if err := checkColumns(columns, sp.maxCells); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return columns, nil
}

// checkColumns lists all blank and doubled names.
func checkColumns(columns []string, most int) error {
	var faults []string
	if len(columns) > most {
		faults = append(faults, fmt.Sprintf("%s: %d, at most %d are allowed", extract.RuleTooManyColumns, len(columns), most))
	}
	first := map[string]int{}
	for i, c := range columns {
		if strings.TrimSpace(c) == "" {
			faults = append(faults, fmt.Sprintf("column %d has no name", i+1))
			continue
		}
		if j, ok := first[c]; ok {
			faults = append(faults, fmt.Sprintf("column %d has the name of column %d, %q", i+1, j+1, c))
			continue
		}
		first[c] = i
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}
