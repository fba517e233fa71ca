package draft

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
)

// mapping is the draft of one mapping file.
type mapping struct {
	*drafter
	*planned
	used  map[string]bool
	drops []string // references that are left out where they lead nowhere
	may   []string // formulas that may write nothing, with the reason
	maps  []File
}

// shared are the types that belong to no patient.
var shared = map[string]bool{"Practitioner": true, "Organization": true}

// write drafts the file, or says why there can be none.
func (m *mapping) write() (text, why string) {
	m.used = map[string]bool{}
	patient := "self"
	switch {
	case shared[m.kind]:
		patient = "none"
	case m.kind != "Patient":
		if patient, _ = m.ref("Patient"); patient == "" {
			return "", "no column refers to the patients"
		}
	}
	body, why := m.resource()
	if why != "" {
		return "", why
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Drafted by `chartlift init`: each row of %s as one %s. Look at every line; `chartlift help mapping` explains them.\n", scalar(m.Name), m.kind)
	fmt.Fprintf(&b, "from: %s\nto: %s\n", scalar(m.from(m.planned)), m.kind)
	var key []string
	for _, k := range m.key {
		m.used[k] = true
		key = append(key, quoted(k))
	}
	fmt.Fprintf(&b, "key: [%s]  # %s\n", strings.Join(key, ", "), m.keyNote)
	if m.number {
		b.WriteString("duplicates: number  # guess\n")
	}
	if patient != "self" && patient != "none" {
		patient = formula(patient)
	}
	fmt.Fprintf(&b, "patient: %s\n", patient)
	if len(m.drops) > 0 {
		fmt.Fprintf(&b, "references: {%s}  # guess: some values lead nowhere; each is a finding\n", strings.Join(m.drops, ", "))
	}
	b.WriteString("resource:\n")
	for _, line := range body {
		b.WriteString("  " + line + "\n")
	}
	var rest []string
	for _, c := range m.Columns {
		if !m.used[c.Name] {
			reason := unseen
			if _, _, why := m.date(&c, true); why != "" {
				reason += "; " + why
			}
			rest = append(rest, fmt.Sprintf("  %s: %s\n", scalar(c.Name), scalar(reason)))
		}
	}
	if len(rest) > 0 {
		b.WriteString("unused:\n" + strings.Join(rest, ""))
	}
	if len(m.may) > 0 {
		b.WriteString("allow empty:\n  " + strings.Join(m.may, "\n  ") + "\n")
	}
	return b.String(), ""
}

// ref is the formula that refers from this table to the resource of that type, or "", and how many of its values lead
// nowhere. The column may be used for other things too.
func (m *mapping) ref(kind string) (f string, orphans int64) {
	for _, r := range m.profile.References {
		if r.Source != m.Source || r.Table != m.Name {
			continue
		}
		parent := m.find(r.ParentSource, r.ParentTable)
		if parent == nil || parent.kind != kind || len(parent.key) != 1 || parent.key[0] != r.ParentColumn || !m.written(parent) {
			continue
		}
		m.used[r.Column] = true
		return "ref(" + text(parent.name) + ", " + name(r.Column) + ")", r.Orphans
	}
	return "", 0
}

// link is the line of an element that refers to the resource of that type, if a column does. path is the element's
// whole path. Where values lead nowhere, what is not the patient is left out, with a finding, rather than the record.
func (m *mapping) link(path, kind string) []string {
	f, orphans := m.ref(kind)
	if f == "" {
		return nil
	}
	if orphans > 0 && kind != "Patient" {
		m.drops = append(m.drops, path+": drop")
	}
	_, last, nested := strings.Cut(path, ".")
	if !nested {
		last = path
	}
	return value(last, f)
}

// written says whether a mapping is written for a table.
func (m *mapping) written(t *planned) bool {
	if t.kind == "Patient" || shared[t.kind] {
		return true
	}
	_, why := (&mapping{drafter: m.drafter, planned: t}).write()
	return why == ""
}

// take finds the first column, in the order of the wishes, whose name has all the words of one, that is not used yet and
// fits. nil if there is none.
func (m *mapping) take(fits func(*profile.Column) bool, wishes ...string) *profile.Column {
	for _, wish := range wishes {
		words := strings.Fields(wish)
		for i := range m.Columns {
			c := &m.Columns[i]
			have := profile.Words(c.Name)
			have = append(have, strings.Join(have, ""))
			if m.used[c.Name] || c.Filled == 0 || slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(have, w) }) {
				continue
			}
			if fits == nil || fits(c) {
				m.used[c.Name] = true
				return c
			}
		}
	}
	return nil
}

// notDate, isCode and so on are what a column must be like to be taken.
func notDate(c *profile.Column) bool {
	return !c.Is(0.5, profile.TypeDate, profile.TypeDateTime, profile.TypeTime)
}

func isCode(c *profile.Column) bool {
	return c.Is(0.9, profile.TypeCode, profile.TypeInteger, profile.TypeUUID)
}

func isNumber(c *profile.Column) bool {
	return c.Is(1, profile.TypeInteger, profile.TypeDecimal, profile.TypeComparator)
}

// element is the line of an element, or nothing.
func element(path string, c *profile.Column) []string {
	if c == nil {
		return nil
	}
	return []string{path + ": " + formula(name(c.Name)) + "  # guess"}
}

// value is the line of an element with a formula, or nothing if there is none.
func value(path, f string) []string {
	if f == "" {
		return nil
	}
	return []string{path + ": " + formula(f) + "  # guess"}
}

// object is an element with others in it, if it has any.
func object(path string, parts ...[]string) []string {
	lines := slices.Concat(parts...)
	if len(lines) == 0 {
		return nil
	}
	out := []string{path + ":"}
	for _, l := range lines {
		out = append(out, "  "+l)
	}
	return out
}

// entry is an entry of a list, if it has anything in it.
func entry(parts ...[]string) []string {
	lines := slices.Concat(parts...)
	for i := range lines {
		if i == 0 {
			lines[i] = "- " + lines[i]
		} else {
			lines[i] = "  " + lines[i]
		}
	}
	return lines
}

// when takes a column of dates for an element that takes days, or days and times.
func (m *mapping) when(path string, times bool, wishes ...string) []string {
	lines, _ := m.whenColumn(path, times, wishes...)
	return lines
}

// whenColumn is when, and the column.
func (m *mapping) whenColumn(path string, times bool, wishes ...string) ([]string, *profile.Column) {
	var f, note string
	c := m.take(func(c *profile.Column) bool {
		f, note, _ = m.date(c, times)
		return f != ""
	}, wishes...)
	if c == nil {
		return nil, nil
	}
	return []string{path + ": " + formula(f) + "  # guess" + note}, c
}

// shareOfDates is how much of a column must be dates to be read as such; the rest is refused when it is mapped.
const shareOfDates = 0.9

// date is the formula that reads a column of dates. note says what it leaves out, why what stands against it.
func (m *mapping) date(c *profile.Column, times bool) (f, note, why string) {
	if !c.Is(shareOfDates, profile.TypeDate, profile.TypeDateTime) || len(c.Dates) == 0 {
		return "", "", ""
	}
	total := c.Types[profile.TypeDate] + c.Types[profile.TypeDateTime]
	if len(c.Dates) > 1 && c.AmbiguousDates > 0 && c.Dates[1].Fits == c.Dates[0].Fits {
		return "", "", "its dates fit " + c.Dates[0].Layout + " and " + c.Dates[1].Layout + " alike"
	}
	// Forms are added as long as they cannot be second readings of the same values.
	var layouts []string
	var read int64
	iso, local, clock := true, false, false
	for _, d := range c.Dates {
		if len(layouts) > 0 && read+d.Fits > total {
			continue
		}
		read += d.Fits
		layouts = append(layouts, text(d.Layout))
		iso = iso && (strings.HasPrefix(d.Layout, "yyyy-MM-dd") || d.Layout == "yyyy-MM" || d.Layout == "yyyy")
		clock = clock || d.Time
		local = local || d.Time && !d.Zone
	}
	function := "date"
	if clock && times {
		if local && m.zone == "" {
			note = ", the day only: its times carry no zone, and the plan names none"
		} else {
			function = "dateTime"
		}
	}
	arguments := strings.Join(layouts, ", ")
	if iso {
		arguments = ""
	}
	if read < c.Filled {
		note += fmt.Sprintf(", reads %d of %d values", read, c.Filled)
	}
	return name(c.Name) + "." + function + "(" + arguments + ")", note, ""
}

// genders are the words that mean one of FHIR's administrative genders in most systems; numbers mean different things
// in each.
var genders = map[string]string{
	"m": "male", "male": "male", "f": "female", "female": "female", "o": "other", "other": "other", "u": "unknown", "unknown": "unknown", "unk": "unknown",
}

// gender takes a column of genders, and drafts a concept map of the codes that may be shown.
func (m *mapping) gender() []string {
	c := m.take(func(c *profile.Column) bool { return c.Hidden.Reason != profile.HiddenMany }, "gender", "sex")
	if c == nil {
		return nil
	}
	mapName := m.name + "-" + slug(c.Name)
	var b strings.Builder
	b.WriteString("# Drafted by `chartlift init`: what " + scalar(m.Name) + " says in " + scalar(c.Name) + ". The targets are guessed.\n")
	var rows [][]string
	for _, v := range c.Values {
		if target, ok := genders[strings.ToLower(v.Text)]; ok {
			rows = append(rows, []string{v.Text, "http://hl7.org/fhir/administrative-gender", target, "", ""})
		} else {
			b.WriteString("# not yet mapped: " + quoted(v.Text) + "\n")
		}
	}
	if c.Hidden.Values > 0 {
		fmt.Fprintf(&b, "# %d more codes are not shown here (%s): `chartlift profile --show-values`\n", c.Hidden.Values, c.Hidden.Reason)
	}
	b.WriteString("# Codes without a line leave the gender out, and are counted as findings.\n# unknown: text\n")
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"source code", "target system", "target code", "display", "relationship"}) // into memory
	_ = w.WriteAll(rows)
	m.maps = append(m.maps, File{"mappings/maps/" + mapName + ".csv", b.String()})
	return []string{"gender: " + formula(name(c.Name)+".translate("+text(mapName)+")") + "  # guess"}
}
