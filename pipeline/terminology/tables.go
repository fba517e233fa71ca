package terminology

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// table is a CSV file with a header, of code systems.
type table struct {
	r       *fileReader
	file    string
	in      *bufio.Reader
	budget  *budget
	csv     *csv.Reader
	skipped int // lines before the header
	index   map[string]int
	names   int
	first   int // number of faults before
}

func (r *fileReader) table(file string, in *bufio.Reader) *table {
	t := &table{r: r, file: file, in: in, budget: &budget{r: in}, index: map[string]int{}, first: len(r.faults)}
	t.csv = csv.NewReader(t.budget)
	t.csv.FieldsPerRecord = -1
	t.csv.ReuseRecord = true
	return t
}

// budget bounds what one record may take, which package csv does not.
type budget struct {
	r    io.Reader
	used int
}

var errRecord = fmt.Errorf("a record is longer than %d bytes; perhaps a quote is missing", 4*mostLine)

func (b *budget) Read(p []byte) (int, error) {
	if b.used > 4*mostLine {
		return 0, errRecord
	}
	n, err := b.r.Read(p)
	b.used += n
	return n, err
}

// settings reads the comments before the header: `# name: value`. A remark that nearly is a setting is a fault.
func (t *table) settings(names ...string) map[string]setting {
	given := map[string]setting{}
	for {
		start, err := t.in.Peek(1)
		if err != nil || start[0] != '#' && start[0] != '\n' && start[0] != '\r' {
			return given // what is wrong shows when the header is read
		}
		line, err := t.in.ReadString('\n')
		if err != nil && err != io.EOF {
			return given
		}
		t.skipped++
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		column := strings.Index(line, name) + 1
		switch {
		case !ok || name == "" || strings.ContainsAny(name, " \t"):
			continue
		case !contains(names, name):
			if hint := document.Hint(name, names); hint != "" {
				t.r.fault(t.file, t.skipped, column, hint, "`%s:` is none of the settings of a code system", name)
			}
			continue
		case given[name].line > 0:
			t.r.fault(t.file, t.skipped, column, "", "`%s` is given twice", name)
		}
		given[name] = setting{value, t.skipped, strings.LastIndex(line, value) + 1}
	}
}

type setting struct {
	value        string
	line, column int
}

// header reads the names of the columns. allowed are the only ones, if it is not nil.
func (t *table) header(required, allowed []string) bool {
	cells, line, ok := t.next()
	if !ok {
		if len(t.r.faults) == t.first {
			t.r.fault(t.file, t.skipped+1, 0, "", "there is no header line")
		}
		return false
	}
	before := len(t.r.faults)
	t.names = len(cells)
	for i, cell := range cells {
		name := strings.TrimSpace(cell)
		at, column := t.place(i)
		if allowed != nil && !contains(allowed, name) {
			hint := document.Hint(name, allowed)
			if hint == "" {
				hint = "the columns are " + strings.Join(allowed, ", ")
			}
			t.r.fault(t.file, at, column, hint, "a code system has no column %q", name)
		}
		if _, ok := t.index[name]; ok {
			t.r.fault(t.file, at, column, "", "the column %q is there twice", name)
		}
		t.index[name] = i
	}
	for _, name := range required {
		if _, ok := t.index[name]; !ok {
			t.r.fault(t.file, line, 0, "", "the column %q is missing", name)
		}
	}
	return len(t.r.faults) == before
}

// next reads a record. It returns false at the end; what is malformed is a fault.
func (t *table) next() (cells []string, line int, ok bool) {
	for len(t.r.faults)-t.first < maxFaults {
		t.budget.used = 0
		cells, err := t.csv.Read()
		if err == io.EOF {
			return nil, 0, false
		}
		var parse *csv.ParseError
		switch {
		case errors.As(err, &parse):
			t.r.fault(t.file, parse.Line+t.skipped, parse.Column, "", "not valid CSV: %s", parse.Err)
			continue
		case err != nil:
			t.r.fault(t.file, 0, 0, "", "cannot be read: %s", cause(err))
			return nil, 0, false
		}
		line, _ := t.place(0)
		if t.names > 0 && len(cells) != t.names {
			t.r.fault(t.file, line, 0, "a value with a comma stands in quotes", "the line has %d values, the header %d", len(cells), t.names)
			continue
		}
		if i := slices.IndexFunc(cells, func(cell string) bool { return !utf8.ValidString(cell) }); i >= 0 {
			at, column := t.place(i)
			t.r.fault(t.file, at, column, "save the file as UTF-8", "the text is not UTF-8")
			continue
		}
		return cells, line, true
	}
	t.r.fault(t.file, 0, 0, "", "perhaps more: reading stopped after %d faults", maxFaults)
	return nil, 0, false
}

// place is the place of a cell of the last record.
func (t *table) place(i int) (line, column int) {
	line, column = t.csv.FieldPos(i)
	return line + t.skipped, column
}

// cell is the text of a column, "" if the table does not have it.
func (t *table) cell(cells []string, name string) string {
	if i, ok := t.index[name]; ok {
		return cells[i]
	}
	return ""
}

// The columns of a code system in CSV, and its settings.
const (
	columnCode   = "code"
	columnParent = "parent"
	tableSystem  = "system"
	tableVersion = "version"
	tableContent = "content"
)

var systemColumns = []string{columnCode, columnDisplay, columnParent}

// readSystemCSV reads a code system from CSV:
//
//	# system: http://hospital.example/wards
//	# version: 2026-01
//	# content: complete
//	code,display,parent
//	W,All wards,
//	W1,Ward 1,W
//
// `content` is complete (default) or fragment: whether a code that is not in the file is none of the system. display and
// parent may be left out, and the order is free; a parent is the code of what a code is a kind of.
func (r *fileReader) readSystemCSV(file string, in *bufio.Reader) *CodeSystem {
	t := r.table(file, in)
	given := t.settings(tableSystem, tableVersion, tableContent)
	system, content := given[tableSystem], given[tableContent]
	if what := uriFault(system.value); what != "" {
		hint := ""
		if system.line == 0 {
			hint = "write it above the header: # system: http://…"
		}
		r.fault(file, max(system.line, 1), max(system.column, 1), hint, "the code system's URI %s", what)
	}
	b := newBuilder(system.value, given[tableVersion].value)
	switch content.value {
	case "", "complete":
	case "fragment":
		b.c.complete = false
	default:
		r.fault(file, content.line, content.column, "complete or fragment", "%q does not say how much of the code system is there", content.value)
	}
	type pending struct {
		at           int32
		parent       string
		line, column int
	}
	var parents []pending
	if t.header([]string{columnCode}, systemColumns) {
		for cells, line, ok := t.next(); ok; cells, line, ok = t.next() {
			code, parent := t.cell(cells, columnCode), t.cell(cells, columnParent)
			if what := codeFault(code); what != "" {
				_, column := t.place(t.index[columnCode])
				r.fault(file, line, column, "", "the code %s", what)
				continue
			}
			at, fresh := b.add(code, strings.TrimSpace(t.cell(cells, columnDisplay)))
			if !fresh {
				r.fault(file, line, 1, "", "the code is given twice")
				continue
			}
			if parent != "" {
				line, column := t.place(t.index[columnParent])
				parents = append(parents, pending{at, strings.Clone(parent), line, column})
			}
		}
	}
	for _, p := range parents {
		to := b.c.at(p.parent)
		if to < 0 {
			r.fault(file, p.line, p.column, "", "the parent is not a code of this file")
			continue
		}
		b.parents = append(b.parents, link{p.at, to})
	}
	if len(b.c.concepts) == 0 && len(r.faults) == t.first {
		r.fault(file, 0, 0, "", "there is no code in it")
	}
	c := b.finish()
	for _, p := range parents {
		if to := c.at(p.parent); to >= 0 && c.under(to, p.at) {
			r.fault(file, p.line, p.column, "", "the code is its own ancestor")
		}
	}
	if len(r.faults) > t.first {
		return nil
	}
	return c
}

// LOINC, and the column by which its table is known.
const (
	loincSystem = "http://loinc.org"
	columnLOINC = "LOINC_NUM"
)

// loincProperties are the columns of Loinc.csv that R4 makes properties of (loinc.html), by the same names.
var loincProperties = []string{"STATUS", "COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS",
	"CLASSTYPE", "ORDER_OBS"}

// readLOINC reads Loinc.csv, the table of LOINC's terms. The system's other codes, of answers, answer lists and parts,
// are not in it, so of those nothing is known. Case makes no difference in LOINC (loinc.html).
func (r *fileReader) readLOINC(file string, in *bufio.Reader) *CodeSystem {
	const name, status = "LONG_COMMON_NAME", "STATUS"
	t := r.table(file, in)
	if !t.header([]string{columnLOINC, name, status}, nil) {
		return nil
	}
	b := newBuilder(loincSystem, "")
	b.c.fold = true
	b.c.beyond = func(code string) bool { return len(code) > 1 && (code[0] == 'L' || code[0] == 'l') && letter(code[1]) }
	b.c.lacks = "of " + loincSystem + " the terms are at hand, and not the answers, lists and parts (LA…, LL…, LP…)"
	for cells, line, ok := t.next(); ok; cells, line, ok = t.next() {
		code := t.cell(cells, columnLOINC)
		if what := codeFault(code); what != "" {
			r.fault(file, line, 1, "", "the LOINC number %s", what)
			continue
		}
		at, fresh := b.add(code, t.cell(cells, name))
		if !fresh {
			r.fault(file, line, 1, "", "the LOINC number is given twice")
			continue
		}
		b.c.concepts[at].inactive = t.cell(cells, status) == "DEPRECATED"
		for _, property := range loincProperties {
			if text := t.cell(cells, property); text != "" {
				b.value(at, property, text)
			}
		}
	}
	return r.finished(file, b, t.first)
}

// finished is the code system of a builder, or nil if there were faults since then.
func (r *fileReader) finished(file string, b *builder, faults int) *CodeSystem {
	switch {
	case len(r.faults) > faults:
		return nil
	case b.full:
		r.fault(file, 0, 0, "", "there is more text in it than any code system has")
		return nil
	case len(b.c.concepts) == 0:
		r.fault(file, 0, 0, "", "there is no code in it")
		return nil
	}
	return b.finish()
}

func contains(list []string, text string) bool { return slices.Contains(list, text) }
