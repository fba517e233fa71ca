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

// The columns of a map in CSV.
const (
	columnSource       = "source code"
	columnSystem       = "target system"
	columnTarget       = "target code"
	columnDisplay      = "display"
	columnRelationship = "relationship"
	columnComment      = "comment"
)

var columns = []string{columnSource, columnSystem, columnTarget, columnDisplay, columnRelationship, columnComment}

// maxFaults ends the reading of a file that is not a concept map at all.
const maxFaults = 100

// ReadCSV reads a concept map from CSV:
//
//	# Anything may be said in lines that begin with `#` before the header. Some of them are settings:
//	# unknown: text
//	# system: http://legacy.example/gender
//	source code,target system,target code,display,relationship
//	M,http://hl7.org/fhir/administrative-gender,male,Male,equivalent
//	X,,,,unmatched
//
// The settings are `unknown` (refuse, the default; text; keep; fixed SYSTEM|CODE|DISPLAY; map NAME), `system` (the URI of
// the source's own codes), `narrower` (find, the default; refuse), `alternatives` (refuse, the default; text; keep), `url`
// (the map's canonical URL), and `gem` with `target` (a GEM file that the lines amend, see [ConceptMap.AddGEM]). The
// columns display, relationship and comment may be left out, and the order is free. A relationship is a code of R4's
// ConceptMapEquivalence, blank is equivalent; `unmatched` and `disjoint` state that there is no target, and take none but
// for the sake of documentation. Several lines for one source code are several targets.
//
// A cell that begins with =, +, - or @ may have an apostrophe before it, as [WriteOpen] writes it; it is not part of the text.
//
// A target in UCUM must be a unit. If the source code reads as a unit of another magnitude, the line is a fault, and if it
// reads as one of another dimension it is one of the map's Doubts, unless it has a comment that says why. Doses times a
// thousand harm people.
//
// name is the map's name, and stands as the file in the faults. All faults are found at once; the map is nil if there
// is one.
func ReadCSV(name string, r io.Reader) (*ConceptMap, Faults) {
	c := &csvMap{m: &ConceptMap{Name: name, codes: map[string]Entry{}}, at: map[string]int{}, pool: pool{}}
	in := bufio.NewReader(r)
	if start, _ := in.Peek(3); string(start) == "\uFEFF" {
		_, _ = in.Discard(3) // what was peeked can be discarded
	}
	if err := c.comments(in); err != nil {
		return nil, append(c.faults, Fault{File: name, Line: c.skipped + 1, Message: "the file cannot be read: " + err.Error()})
	}
	if c.m.target != "" && c.m.gem.text == "" {
		c.fault(c.skipped+1, 0, "each line names its target's system", "`target` is given without a GEM file")
	}
	c.r = csv.NewReader(in)
	c.r.FieldsPerRecord = -1
	c.r.ReuseRecord = true
	if c.header() {
		c.lines()
	}
	if len(c.faults) > 0 {
		c.faults = c.faults.Sort()
		if c.stopped {
			c.fault(0, 0, "", "perhaps more: reading stopped after %d faults", maxFaults)
		}
		return nil, c.faults
	}
	return c.m.finish(), nil
}

type csvMap struct {
	m       *ConceptMap
	r       *csv.Reader
	skipped int            // lines before the header
	index   map[string]int // place of a column in a line
	names   int            // columns in the header
	at      map[string]int // line on which a pair of source code and target was first given
	none    map[string]int // line on which a source code was said to have no target
	pool    pool
	faults  Faults
	stopped bool // there were too many
}

func (c *csvMap) fault(line, column int, hint, format string, args ...any) {
	c.faults = append(c.faults, Fault{File: c.m.Name, Line: line, Column: column, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// comments reads the lines before the header.
func (c *csvMap) comments(in *bufio.Reader) error {
	given := map[string]bool{}
	for {
		start, err := in.Peek(1)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if start[0] != '#' && start[0] != '\n' && start[0] != '\r' {
			return nil
		}
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		c.skipped++
		comment, _ := strings.CutPrefix(line, "#")
		key, value, ok := strings.Cut(comment, ":")
		key = strings.TrimSpace(key)
		value = strings.TrimSpace(strings.TrimRight(strings.TrimSpace(value), ",")) // a spreadsheet fills the line up with commas
		if !ok || key == "" || strings.ContainsAny(key, " \t") {
			continue // a remark
		}
		column := strings.Index(line, key) + 1
		if !slices.Contains(settings, key) {
			if hint := document.Hint(key, settings); hint != "" {
				c.fault(c.skipped, column, hint, "`%s:` is none of the settings of a concept map", key)
			}
			continue
		}
		if given[key] {
			c.fault(c.skipped, column, "", "`%s` is given twice", key)
		}
		given[key] = true
		at := reference{line: c.skipped, column: strings.LastIndex(line, value) + 1}
		if message, hint := c.m.set(key, value, at); message != "" {
			c.fault(at.line, at.column, hint, "%s", message)
		}
	}
}

// next reads a line of the CSV. It returns false at the end; a malformed line is a fault.
func (c *csvMap) next() (cells []string, line int, ok bool) {
	for len(c.faults) < maxFaults {
		cells, err := c.r.Read()
		if err == io.EOF {
			return nil, 0, false
		}
		var parse *csv.ParseError
		switch {
		case errors.As(err, &parse):
			c.fault(parse.Line+c.skipped, parse.Column, "", "not valid CSV: %s", parse.Err)
			continue
		case err != nil:
			c.fault(0, 0, "", "the file cannot be read: %s", err)
			return nil, 0, false
		}
		line, _ := c.r.FieldPos(0)
		return cells, line + c.skipped, true
	}
	c.stopped = true
	return nil, 0, false
}

// place is the place of a cell in its line, in bytes from 1.
func (c *csvMap) place(i int) (line, column int) {
	line, column = c.r.FieldPos(i)
	return line + c.skipped, column
}

// header reads the names of the columns and returns whether the lines can be read by them.
func (c *csvMap) header() bool {
	cells, _, ok := c.next()
	if !ok {
		if len(c.faults) == 0 {
			c.fault(c.skipped+1, 0, "it should be: "+strings.Join(columns, ","), "there is no header line")
		}
		return false
	}
	before := len(c.faults)
	c.index, c.names = map[string]int{}, len(cells)
	for i, cell := range cells {
		line, column := c.place(i)
		name := strings.TrimSpace(cell)
		known := false
		for _, k := range columns {
			known = known || k == name
		}
		if !known {
			hint := document.Hint(name, columns)
			if hint == "" {
				hint = "the columns are " + strings.Join(columns, ", ")
			}
			c.fault(line, column, hint, "a concept map has no column %q", name)
			continue
		}
		if _, ok := c.index[name]; ok {
			c.fault(line, column, "", "the column %q is there twice", name)
		}
		c.index[name] = i
	}
	for _, k := range []string{columnSource, columnSystem, columnTarget} {
		if _, ok := c.index[k]; !ok {
			line, _ := c.place(0)
			c.fault(line, 0, "", "the column %q is missing", k)
		}
	}
	return len(c.faults) == before
}

func (c *csvMap) lines() {
	c.none = map[string]int{}
	for {
		cells, line, ok := c.next()
		if !ok {
			return
		}
		if len(cells) != c.names {
			c.fault(line, 0, "a value with a comma stands in quotes", "the line has %d values, the header %d", len(cells), c.names)
			continue
		}
		c.line(cells, line)
	}
}

func (c *csvMap) line(cells []string, line int) {
	before := len(c.faults)
	get := func(name string) (string, int, int) {
		i, ok := c.index[name]
		if !ok {
			return "", line, 0
		}
		at, column := c.place(i)
		return cells[i], at, column
	}
	for i, cell := range cells {
		if !utf8.ValidString(cell) {
			at, column := c.place(i)
			c.fault(at, column, "save the file as UTF-8", "the text is not UTF-8")
			return
		}
	}
	for i := range cells {
		cells[i] = unescape(cells[i])
	}
	source, at, column := get(columnSource)
	if what := codeFault(source); what != "" {
		c.fault(at, column, "", "the source code %s", what)
	}
	relationship, at, column := get(columnRelationship)
	system, systemAt, systemColumn := get(columnSystem)
	code, codeAt, codeColumn := get(columnTarget)
	display, displayAt, displayColumn := get(columnDisplay)
	if relationship == "" && system == "" && code == "" && source != "" {
		c.fault(line, 1, "give a target, or the relationship `unmatched`", "the line is not filled in")
		return
	}
	if relationship == "" {
		relationship = defaultRelationship
	}
	if !known(relationship) {
		hint := document.Hint(relationship, equivalences)
		if hint == "" {
			hint = "one of " + strings.Join(equivalences, ", ")
		}
		c.fault(at, column, hint, "%q is not a relationship of FHIR R4", relationship)
	}
	if display != strings.TrimSpace(display) {
		c.fault(displayAt, displayColumn, "", "the display has white space around it")
	}
	if noTarget(relationship) && system == "" && code == "" {
		c.addNone(source, line, before)
		return
	}
	if what := uriFault(system); what != "" {
		c.fault(systemAt, systemColumn, "", "the target system %s", what)
	}
	if what := codeFault(code); what != "" {
		hint := ""
		if code == "" {
			hint = "a source code without a target is `unmatched`"
		}
		c.fault(codeAt, codeColumn, hint, "the target code %s", what)
	}
	if noTarget(relationship) {
		c.addNone(source, line, before)
		return
	}
	if comment, _, _ := get(columnComment); system == UCUM && code != "" && comment == "" {
		if message, hint, grave := unitFault(source, code); grave {
			c.fault(line, 1, hint, "%s", message)
		} else if message != "" {
			c.m.Doubts = append(c.m.Doubts, Fault{Line: line, Column: 1, Message: message, Hint: hint})
		}
	}
	key := fmt.Sprintf("%d:%s%d:%s%s", len(source), source, len(system), system, code)
	if first, ok := c.at[key]; ok {
		c.fault(line, 1, "", "line %d maps the same source code to the same target", first)
	}
	if first, ok := c.none[source]; ok {
		c.fault(line, 1, "", "line %d says that this source code has no target", first)
	}
	if len(c.faults) > before {
		return
	}
	c.at[key] = line
	source = c.pool.keep(source)
	c.m.add(source, Coding{System: c.pool.keep(system), Code: strings.Clone(code),
		Display: strings.Clone(display), Relationship: c.pool.keep(relationship)})
}

// addNone notes a source code without a target.
func (c *csvMap) addNone(source string, line, before int) {
	if first, ok := c.none[source]; ok {
		c.fault(line, 1, "", "line %d says already that this source code has no target", first)
	} else if len(c.m.codes[source].Targets) > 0 {
		c.fault(line, 1, "", "another line gives a target for this source code")
	}
	if len(c.faults) > before {
		return
	}
	source = c.pool.keep(source)
	c.none[source] = line
	c.m.addNone(source)
}

func known(relationship string) bool { return slices.Contains(equivalences, relationship) }
