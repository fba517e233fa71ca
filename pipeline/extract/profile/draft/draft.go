package draft

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
)

// Options of a draft.
type Options struct {
	Migration string // its name; what a plan does not take in one is replaced
	Zone      string // of times that carry none; "" if it is not known: then of such times only the day is taken
}

// File is one file of the draft, by its path relative to the plan's folder, with slashes.
type File struct {
	Path string
	Text string
}

// Table says what became of a table of the source.
type Table struct {
	Name, Type string // Type is "" if no mapping was written
}

// unseen is the reason that stands beside what nobody has looked at.
const unseen = "not yet looked at"

// Write drafts the plan and a mapping for each table whose name and columns tell what it holds. The other tables stand
// under `unused-tables:`, so that nothing is left out in silence. A value of the source stands in a file only if the
// profile shows it.
func Write(sources []Source, p *profile.Profile, o Options) ([]File, []Table) {
	d := &drafter{profile: p, zone: o.Zone}
	d.choose()
	var files []File
	var tables []Table
	unused := map[string]string{}
	for _, t := range d.tables {
		reason := unseen
		if t.kind != "" {
			m := &mapping{drafter: d, planned: t}
			text, why := m.write()
			if why == "" {
				files = append(files, File{path.Join("mappings", t.name+".yaml"), text})
				files = append(files, m.maps...)
				tables = append(tables, Table{t.Name, t.kind})
				continue
			}
			reason += ": " + why
		}
		unused[t.Name] = reason
		tables = append(tables, Table{t.Name, ""})
	}
	plan := File{"migration.yaml", d.plan(sources, o, unused)}
	return append([]File{plan}, files...), tables
}

type drafter struct {
	profile *profile.Profile
	zone    string
	tables  []*planned
}

// planned is a table, what it is to become, and the column or columns that identify its records.
type planned struct {
	*profile.Table
	kind    string // the R4 type, or ""
	name    string // of the mapping
	key     []string
	keyNote string
	number  bool // duplicates: number
}

// kindsByWord is the type that a table's name speaks of.
var kindsByWord = map[string]string{
	"patient": "Patient", "person": "Patient", "member": "Patient",
	"encounter": "Encounter", "visit": "Encounter", "admission": "Encounter", "stay": "Encounter",
	"condition": "Condition", "problem": "Condition", "diagnosis": "Condition", "dx": "Condition",
	"observation": "Observation", "result": "Observation", "lab": "Observation", "vital": "Observation", "measurement": "Observation",
	"medication": "MedicationRequest", "prescription": "MedicationRequest", "rx": "MedicationRequest", "drug": "MedicationRequest",
	"allergy": "AllergyIntolerance", "intolerance": "AllergyIntolerance",
	"immunization": "Immunization", "immunisation": "Immunization", "vaccination": "Immunization", "vaccine": "Immunization",
	"procedure": "Procedure", "surgery": "Procedure", "operation": "Procedure",
	"provider": "Practitioner", "doctor": "Practitioner", "practitioner": "Practitioner", "physician": "Practitioner", "clinician": "Practitioner",
	"organization": "Organization", "organisation": "Organization", "department": "Organization", "facility": "Organization", "hospital": "Organization",
}

// fillers are words that say nothing at the end of a table's name: condition_occurrence, drug_exposure, visit_data.
var fillers = map[string]bool{"occurrence": true, "exposure": true, "record": true, "datum": true, "data": true, "table": true, "tbl": true, "list": true, "export": true, "event": true, "entry": true}

// choose decides what each table becomes, and which of its columns identify a record.
func (d *drafter) choose() {
	var patients *planned
	names := map[string]bool{}
	for i := range d.profile.Tables {
		t := &planned{Table: &d.profile.Tables[i]}
		d.tables = append(d.tables, t)
		words := profile.Words(t.Name)
		for len(words) > 1 && fillers[profile.Singular(words[len(words)-1])] {
			words = words[:len(words)-1]
		}
		if len(words) > 0 {
			t.kind = kindsByWord[profile.Singular(words[len(words)-1])]
		}
		if profile.IsPatients(t.Name) {
			t.kind = "Patient"
		}
		t.name = slug(t.Name)
		for n := 2; names[t.name]; n++ {
			t.name = fmt.Sprintf("%s-%d", slug(t.Name), n)
		}
		names[t.name] = true
		d.identify(t)
		if t.key == nil {
			t.kind = ""
		}
		if t.kind == "Patient" && (patients == nil || d.referred(t) > d.referred(patients)) {
			patients = t
		}
	}
	for _, t := range d.tables {
		if t.kind == "Patient" && t != patients {
			t.kind = "" // one table has the patients; what the others add is for a person to see
		}
	}
}

// referred counts the columns of other tables that refer to a table.
func (d *drafter) referred(t *planned) (n int) {
	for _, r := range d.profile.References {
		if r.ParentSource == t.Source && r.ParentTable == t.Name {
			n++
		}
	}
	return n
}

// identify chooses the key: the column that other tables refer to most, else the one that is named like a key, else the
// first pair, else the columns that are never blank, each record numbered among its like.
func (d *drafter) identify(t *planned) {
	best, most := -1, -1
	for i, k := range t.Keys {
		if len(k.Columns) > 1 {
			continue
		}
		score := 0
		for _, r := range d.profile.References {
			if r.ParentSource == t.Source && r.ParentTable == t.Name && r.ParentColumn == k.Columns[0] {
				score += 10
			}
		}
		words := profile.Words(k.Columns[0])
		for _, w := range words {
			if slices.Contains([]string{"id", "no", "nr", "number", "key", "uuid", "mrn", "num"}, w) {
				score += 3
				break
			}
		}
		if c := t.Column(k.Columns[0]); slices.ContainsFunc(c.PHI, func(s profile.Suspect) bool { return strings.Contains("ABDEFGIJK*", s.Category) }) {
			score -= 2
		}
		if score > most || best < 0 {
			best, most = i, score
		}
	}
	switch {
	case best >= 0:
		t.key = t.Keys[best].Columns
		t.keyNote = "guess: never blank, never twice"
		if n := t.Keys[best].Repeated; n > 0 {
			t.keyNote = fmt.Sprintf("guess: never blank; %d rows repeat a value and will be refused", n)
		}
	case len(t.Keys) > 0:
		t.key, t.keyNote = t.Keys[0].Columns, "guess: together never twice"
	default:
		var filled []*profile.Column
		for i := range t.Columns {
			if c := &t.Columns[i]; t.Rows > 0 && c.Filled == t.Rows {
				filled = append(filled, c)
			}
		}
		slices.SortStableFunc(filled, func(a, b *profile.Column) int {
			return cmp.Or(cmp.Compare(t.weight(a), t.weight(b)), cmp.Compare(b.Distinct.Count, a.Distinct.Count))
		})
		for _, c := range filled[:min(len(filled), 3)] {
			t.key = append(t.key, c.Name)
		}
		t.keyNote, t.number = "guess: no column and no pair identifies a record", true
	}
}

// weight is less for a column that says better which record is meant: whose, when, what; last what it holds.
func (t *planned) weight(c *profile.Column) int {
	switch {
	case c.Name == t.PatientColumn:
		return 0
	case !notDate(c):
		return 1
	case isCode(c):
		return 2
	}
	return 3
}

// find looks a table up.
func (d *drafter) find(source, name string) *planned {
	for _, t := range d.tables {
		if t.Source == source && t.Name == name {
			return t
		}
	}
	return nil
}

// from is how a mapping names the table: with its source where another source has a table of that name.
func (d *drafter) from(t *planned) string {
	for _, o := range d.tables {
		if o != t && o.Name == t.Name {
			return t.Source + "/" + t.Name
		}
	}
	return t.Name
}

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slug is a file's name that every system takes.
func slug(name string) string {
	s := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return cmp.Or(s[:min(len(s), 60)], "table")
}

var notInMigration = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Migration makes a name that a plan takes.
func Migration(name string) string {
	s := strings.TrimLeft(notInMigration.ReplaceAllString(name, "-"), "._-")
	return cmp.Or(s[:min(len(s), 64)], "migration")
}

// plan drafts migration.yaml.
func (d *drafter) plan(sources []Source, o Options, unused map[string]string) string {
	var b strings.Builder
	b.WriteString("# Drafted by `chartlift init`. What is guessed says so; `chartlift help plan` explains each line.\n")
	fmt.Fprintf(&b, "migration: %s  # goes into every id: never change it once something is loaded\n", scalar(Migration(o.Migration)))
	b.WriteString("sources:\n" + YAML(sources, o.Zone))
	if o.Zone == "" && d.localTimes() {
		b.WriteString("    # timezone: America/Chicago  # some times carry no zone; until one stands here only their day can be taken\n")
	}
	if blanks := d.blanks(); len(blanks) > 0 {
		fmt.Fprintf(&b, "    # guess: blank: [%s]  # texts in the source that may stand for nothing\n", strings.Join(blanks, ", "))
	}
	b.WriteString(`mappings: [./mappings]
phi:
  policy: limited-data-set
  delivery: sealed  # choose: sealed, split or identified, see ` + "`chartlift help phi`" + `. This one gives no target a patient's name
  keys: file:keys/kek
targets:
  # The server inside the program (` + "`chartlift sandbox`" + `). Nothing is sent anywhere else until you name it here.
  clinical: {sandbox: "http://127.0.0.1:8090/fhir"}
`)
	if len(unused) > 0 {
		b.WriteString("unused-tables:\n")
		written := map[string]bool{}
		for _, t := range d.tables {
			if reason, ok := unused[t.Name]; ok && !written[t.Name] {
				fmt.Fprintf(&b, "  %s: %s\n", scalar(t.Name), scalar(reason))
				written[t.Name] = true
			}
		}
	}
	return b.String()
}

// localTimes says whether some column holds times without a zone.
func (d *drafter) localTimes() bool {
	for _, t := range d.tables {
		for _, c := range t.Columns {
			for _, f := range c.Dates {
				if f.Time && !f.Zone {
					return true
				}
			}
		}
	}
	return false
}

// blanks are the sentinels that some systems write for nothing at all.
func (d *drafter) blanks() []string {
	var out []string
	for _, s := range []string{"NULL", `\N`, "N/A", "#N/A", "NIL", "NONE"} {
		if slices.ContainsFunc(d.tables, func(t *planned) bool {
			return slices.ContainsFunc(t.Columns, func(c profile.Column) bool { return c.Sentinels[s] > 0 })
		}) {
			out = append(out, quoted(s))
		}
	}
	return out
}
