package terminology

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The classifications that General Equivalence Mappings (GEM) translate, as FHIR names them.
const (
	ICD9CM   = "http://hl7.org/fhir/sid/icd-9-cm"
	ICD10CM  = "http://hl7.org/fhir/sid/icd-10-cm"
	ICD9PCS  = "urn:oid:2.16.840.1.113883.6.104" // ICD-9-CM, volume 3: procedures
	ICD10PCS = "http://www.cms.gov/Medicare/Coding/ICD10"
)

// classification knows how its codes look without the dot, as GEM files have them, and where the dot belongs.
type classification struct {
	name string
	form *regexp.Regexp
	dot  func(code string) int // characters before the dot; 0: there is none
}

var classifications = map[string]classification{
	ICD9CM: {"ICD-9-CM", regexp.MustCompile(`^([0-9]{3,5}|V[0-9]{2,4}|E[0-9]{3,4})$`), func(code string) int {
		if code[0] == 'E' {
			return 4
		}
		return 3
	}},
	ICD10CM:  {"ICD-10-CM", regexp.MustCompile(`^[A-Z][0-9][0-9A-Z][0-9A-Z]{0,4}$`), func(string) int { return 3 }},
	ICD9PCS:  {"ICD-9-CM volume 3", regexp.MustCompile(`^[0-9]{2,4}$`), func(string) int { return 2 }},
	ICD10PCS: {"ICD-10-PCS", regexp.MustCompile(`^[0-9A-HJ-NP-Z]{7}$`), func(string) int { return 0 }},
}

// dotted is a code with its dot.
func (c *classification) dotted(code string) string {
	if n := c.dot(code); n > 0 && n < len(code) {
		return code[:n] + "." + code[n:]
	}
	return code
}

// GEM is the file of general equivalence mappings that the map names in its header (`# gem: FILE`), "" for most maps.
func (m *ConceptMap) GEM() string { return m.gem.text }

// FaultGEM is a fault at the place where the map names its GEM file.
func (m *ConceptMap) FaultGEM(hint, format string, args ...any) Faults {
	f := m.gem.fault(m.Name, fmt.Sprintf(format, args...))
	f.Hint = hint
	return Faults{f}
}

// gemRow is one line of a GEM file.
type gemRow struct {
	target                      string
	approximate, noMap, combine bool
	scenario, list              byte
}

// AddGEM completes a map with the file that it names: CMS's General Equivalence Mappings as text, each line a source code,
// a target code (both without their dots) and five flags: approximate, no map, combination, scenario, choice list. Lines
// of the map itself stand, and take the place of all that the file says about their source code, so that a person can
// decide where the file leaves a choice.
//
// The map's `system` and `target` say which classifications the codes belong to; each code is checked against its form,
// and gets its dot, and its letters in upper case. A source code is known with and without its dot. What the flags say is kept: an exact entry is
// `equivalent`, an approximate one `relatedto` (the file does not say in which direction it differs), one without a map
// is `unmatched`. Several entries of one source code, or several scenarios, or several codes in one choice list, are
// alternatives. A single scenario with one code in each of its lists is a combination: all of them hold, together.
//
// fault places what is wrong in the file that holds the reference or in the GEM file, whose name stands in the fault.
func (m *ConceptMap) AddGEM(file string, r io.Reader) Faults {
	var faults Faults
	system, okSource := classifications[m.System]
	target, okTarget := classifications[m.target]
	if !okSource || !okTarget {
		names := []string{ICD9CM, ICD10CM, ICD9PCS, ICD10PCS}
		for _, x := range []struct {
			ok   bool
			name string
		}{{okSource, settingSystem}, {okTarget, settingTarget}} {
			if !x.ok {
				f := m.gem.fault(m.Name, fmt.Sprintf("a map with a GEM file says in `# %s:` what its codes belong to", x.name))
				f.Hint = "one of " + strings.Join(names, ", ")
				faults = append(faults, f)
			}
		}
		return faults
	}
	rows, order, faults := readGEM(file, r, &system, &target)
	if len(faults) > 0 {
		return faults
	}
	for _, code := range order {
		source := system.dotted(code)
		_, own := m.codes[source]
		_, bare := m.codes[code]
		if own || bare {
			continue
		}
		m.codes[source] = gemEntry(source, m.target, &target, rows[code])
	}
	for _, code := range slices.Collect(maps.Keys(m.codes)) { // a source may write its codes without dots
		e := m.codes[code]
		if bare := strings.ReplaceAll(code, ".", ""); bare != code && system.form.MatchString(bare) && system.dotted(bare) == code {
			if _, ok := m.codes[bare]; !ok {
				m.codes[bare] = e
			}
		} else if dotted := system.dotted(code); dotted != code && system.form.MatchString(code) && code == e.Code {
			e.Code = dotted // of the map's own lines
			m.codes[code] = e
			if _, ok := m.codes[dotted]; !ok {
				m.codes[dotted] = e
			}
		}
	}
	m.gem = reference{}
	m.finish()
	return nil
}

// readGEM reads the lines of a GEM file, by source code in the order of the file.
func readGEM(file string, r io.Reader, system, target *classification) (rows map[string][]gemRow, order []string, faults Faults) {
	rows = map[string][]gemRow{}
	kept := pool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 256), 4096)
	n := 0
	fault := func(hint, format string, args ...any) {
		faults = append(faults, Fault{File: file, Line: n, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	for lines.Scan() && len(faults) < maxFaults {
		n++
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 || len(fields[2]) != 5 || strings.Trim(fields[2], "0123456789") != "" || strings.Trim(fields[2][:3], "01") != "" {
			fault("source code, target code and five digits", "the line is not one of a GEM file")
			continue
		}
		code, to, flags := strings.ToUpper(fields[0]), strings.ToUpper(fields[1]), fields[2] // CMS's own file has one v5889
		if !system.form.MatchString(code) {
			fault("the file of the other direction has them there", "the source code is none of %s", system.name)
			continue
		}
		row := gemRow{approximate: flags[0] == '1', noMap: flags[1] == '1', combine: flags[2] == '1', scenario: flags[3], list: flags[4]}
		switch {
		case row.noMap && row.combine, row.combine != (row.scenario != '0') || row.combine != (row.list != '0'):
			fault("", "the flags contradict each other")
			continue
		case !row.noMap && !target.form.MatchString(to):
			fault("", "the target code is none of %s", target.name)
			continue
		case !row.noMap:
			row.target = kept.keep(to)
		}
		code = kept.keep(code)
		if _, ok := rows[code]; !ok {
			order = append(order, code)
		}
		if slices.Contains(rows[code], row) {
			fault("", "the line is there twice")
			continue
		}
		rows[code] = append(rows[code], row)
	}
	if err := lines.Err(); err != nil {
		n++
		fault("", "the file cannot be read: %s", plain(err))
	}
	if len(rows) == 0 && len(faults) == 0 {
		fault("", "the file is empty")
	}
	return rows, order, faults
}

// plain is an error without what a reader may have put into it.
func plain(err error) string {
	if err == bufio.ErrTooLong {
		return "a line is too long"
	}
	return "it is damaged or no text"
}

// gemEntry is what the rows of one source code say.
func gemEntry(source, system string, target *classification, rows []gemRow) Entry {
	e := Entry{Code: source}
	lists := map[[2]byte]int{} // codes by scenario and choice list
	scenarios := map[byte]bool{}
	single := 0
	for _, r := range rows {
		if r.noMap {
			continue
		}
		relationship := defaultRelationship
		if r.approximate || r.combine {
			relationship = "relatedto"
		}
		if r.combine {
			scenarios[r.scenario] = true
			lists[[2]byte{r.scenario, r.list}]++
		} else {
			single++
		}
		c := Coding{System: system, Code: target.dotted(r.target), Relationship: relationship}
		if !slices.ContainsFunc(e.Targets, func(x Coding) bool { return x.Code == c.Code }) {
			e.Targets = append(e.Targets, c)
		}
	}
	e.Choice = single > 1 || len(scenarios) > 1 || single > 0 && len(scenarios) > 0
	for _, n := range lists {
		e.Choice = e.Choice || n > 1
	}
	return e
}
