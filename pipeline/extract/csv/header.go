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
	return s.preamble(newSplitter(s.form(f.table), in.text, -1), f)
}

// preamble reads from the start of a file up to its first record: a byte order mark, lines to skip, the header.
func (s *Source) preamble(sp *splitter, f file) ([]string, error) {
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(err))
	}
	for sp.end-sp.pos < longestMagic {
		more, err := sp.fill()
		if err != nil {
			return fail(err)
		}
		if !more {
			break
		}
	}
	if what := magic(sp.buf[sp.pos:sp.end]); what != "" {
		return nil, fmt.Errorf("%s:1: it is %s, not text", f.Shown, what)
	}
	if !s.charset.Wide() {
		_, n, err := s.charset.Resolve(sp.buf[sp.pos:sp.end])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Shown, err)
		}
		sp.pass(n)
	}
	for skip := int64(max(s.options.Skip, s.options.Header-1)); sp.line <= skip; {
		if err := sp.skipLine(); err != nil {
			return fail(err)
		}
		if sp.eof && sp.pos == sp.end {
			break
		}
	}
	layout := s.layout(f.table)
	switch {
	case len(layout.Fixed) > 0:
		return names(layout.Fixed), nil
	case s.options.Header == NoHeader && len(layout.Columns) == 0:
		return nil, fmt.Errorf("%s: there is no header, so the plan must name the columns", f.Shown)
	case s.options.Header == NoHeader:
		return layout.Columns, nil
	}
	ok, err := sp.next()
	if err != nil {
		return fail(err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: the file has no header line", f.Shown)
	}
	at := fmt.Sprintf("%s:%d: header", f.Shown, sp.line)
	columns, err := s.columns(sp)
	if err == nil {
		columns, err = named(columns, layout.Columns)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return columns, nil
}

// columns parses the record at the splitter's place as a header.
func (s *Source) columns(sp *splitter) ([]string, error) {
	if sp.rule != "" {
		return nil, errors.New(sp.rule)
	}
	text := bytes.Clone(sp.buf[sp.pos : sp.pos+sp.text]) // parsing mends it in place, and the splitter still measures it
	cr := s.options.LineEnd == '\n' && bytes.IndexByte(text, '\r') >= 0
	nul, high := sp.has(&sp.noNUL, 0, sp.text), sp.hasHigh(sp.text)
	p := newParser(sp.form, s.charset, s.options.MaxColumns)
	n, rule, column := p.parse(text, sp.quotes)
	if rule == "" && n <= sp.maxCells {
		rule, column = p.check(n, len(text), nul, high)
	}
	switch {
	case cr && (rule != "" || !sp.quotes):
		return nil, errors.New("it has CR without LF: if the file's lines end with CR alone, the plan must say so")
	case sp.eol == '\r' && sp.pos+sp.size < sp.end && sp.buf[sp.pos+sp.size] == '\n':
		return nil, errors.New("it ends with CRLF, not with CR alone")
	case rule == "" && n > sp.maxCells:
		return nil, fmt.Errorf("%s: %d, at most %d are allowed", extract.RuleTooManyColumns, n, sp.maxCells)
	case rule != "":
		return nil, fmt.Errorf("column %d: %s", column+1, rule)
	}
	for sp.extraBlank && n > 1 && strings.Trim(p.cells[n-1], " ") == "" { // as the rows have them; what lies below must be blank
		n--
	}
	columns := make([]string, n)
	for i := range columns {
		columns[i] = strings.Clone(p.cells[i])
	}
	return columns, nil
}

// named mends the names of a header with those of the plan. Where the header's own name is good, the plan must say the
// same: then an export whose columns were moved is not read under wrong names.
func named(header, plan []string) ([]string, error) {
	if len(plan) == 0 {
		if err := checkColumns(header, len(header)); err != nil {
			return nil, fmt.Errorf("%w; the plan can name them: columns, in their order", err)
		}
		return header, nil
	}
	if len(plan) != len(header) {
		return nil, fmt.Errorf("it has %d columns, the plan names %d", len(header), len(plan))
	}
	times := map[string]int{}
	for _, c := range header {
		times[c]++
	}
	var faults []string
	for i, c := range header {
		if strings.TrimSpace(c) != "" && times[c] == 1 && c != plan[i] {
			faults = append(faults, fmt.Sprintf("column %d is %q, the plan names it %q", i+1, c, plan[i]))
		}
	}
	if len(faults) > 0 {
		return nil, errors.New(strings.Join(faults, "; "))
	}
	return plan, nil
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
