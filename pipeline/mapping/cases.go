package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// caseFile is a NAME.cases.yaml as read.
type caseFile struct {
	pack    *Pack
	path    string
	mapping string
	name    string // below the pack
	lines   []string
	cases   []testCase
}

type testCase struct {
	name     string
	node     *yaml.Node
	rows     []map[string]textAt
	tables   []caseTable // beside the mapping's own
	grouped  bool
	want     *yaml.Node
	refused  string
	skipped  string
	findings []string
	hasFinds bool
	meta     bool
	zone     *time.Location
	open     *Fault // it says no outcome: what is wrong with that, unless it is to be filled in
}

// caseTable is what a case says of a table that the mapping reads beside its own.
type caseTable struct {
	name string
	key  *yaml.Node
	rows []map[string]textAt
}

// caseKeys are the keys of one case.
var caseKeys = []string{"name", "record", "rows", "tables", "want", "refused", "skipped", "findings", "with meta", "zone"}

// read reads the cases; what a resource should look like is checked when they run.
func (c *caseFile) read(root *yaml.Node) (faults Faults) {
	if root.Kind != yaml.SequenceNode {
		return Faults{document.At(c.path, root, "a file of cases is a list of {name, record, want | refused | skipped}")}
	}
	for _, n := range root.Content {
		t := testCase{node: n}
		outcomes := 0
		fault := func(n *yaml.Node, hint, format string, args ...any) {
			f := document.At(c.path, n, format, args...)
			f.Hint = hint
			faults = append(faults, f)
		}
		if n.Kind != yaml.MappingNode {
			fault(n, "", "a case must be keys with values: name, record, want")
			continue
		}
		for _, p := range document.Pairs(n) {
			switch v := p.Value; p.Key {
			case "name":
				t.name = v.Value
			case "record":
				t.rows = append(t.rows, c.record(v, &faults))
			case "rows":
				t.grouped = true
				if v.Kind != yaml.SequenceNode {
					fault(v, "", "rows must be a list of records")
				}
				for _, r := range v.Content {
					t.rows = append(t.rows, c.record(r, &faults))
				}
			case "tables":
				if v.Kind != yaml.MappingNode {
					fault(v, "tables: {concept: [{concept_id: 8507}]}", "tables must be names, each with a list of records")
				}
				for _, q := range document.Pairs(v) {
					x := caseTable{name: q.Key, key: q.Node}
					if q.Value.Kind != yaml.SequenceNode {
						fault(q.Value, "", "the table %q must be a list of records", q.Key)
					}
					for _, r := range q.Value.Content {
						x.rows = append(x.rows, c.record(r, &faults))
					}
					t.tables = append(t.tables, x)
				}
			case "want":
				if t.want = v; v.Kind != yaml.SequenceNode {
					fault(v, "one resource: - code: …", "want must be a list of resources")
				}
				outcomes++
			case "refused":
				t.refused = v.Value
				outcomes++
			case "skipped":
				t.skipped = v.Value
				outcomes++
			case "findings":
				t.hasFinds = true
				for _, f := range v.Content {
					t.findings = append(t.findings, f.Value)
				}
				if v.Kind != yaml.SequenceNode {
					fault(v, "", "findings must be a list of names")
				}
			case "with meta":
				t.meta = v.Value == "true"
			case "zone":
				zone, err := time.LoadLocation(v.Value)
				if err != nil || v.Value == "" || v.Value == "Local" {
					fault(v, "such as America/Chicago", "there is no time zone %q", v.Value)
				}
				t.zone = zone
			default:
				fault(p.Node, document.Hint(p.Key, caseKeys), "a case has no key %q", p.Key)
			}
		}
		switch {
		case t.name == "":
			fault(n, "", "a case needs a name")
		case len(t.rows) == 0:
			fault(n, "", "the case %q has no record", t.name)
		case outcomes > 1:
			fault(n, "", "the case %q must have one of want, refused and skipped", t.name)
		case outcomes == 0:
			f := document.At(c.path, n, "the case %q must have one of want, refused and skipped", t.name)
			f.Hint = "`chartlift test --update` writes what the mapping makes of it"
			t.open = &f
		}
		c.cases = append(c.cases, t)
	}
	return faults
}

func (c *caseFile) record(n *yaml.Node, faults *Faults) map[string]textAt {
	out := map[string]textAt{}
	if n.Kind != yaml.MappingNode {
		*faults = append(*faults, document.At(c.path, n, "a record must be columns with values"))
		return out
	}
	for _, p := range document.Pairs(n) {
		if p.Value.Kind != yaml.ScalarNode {
			*faults = append(*faults, document.At(c.path, p.Value, "the cell %s must be a text", p.Key))
			continue
		}
		text := p.Value.Value
		if document.IsNull(p.Value) {
			text = "" // a blank value is a blank cell
		}
		out[p.Key] = textAt{text, p.Node}
	}
	return out
}

// madeUp are sources with the tables that the mappings of the packs want.
func madeUp(packs []*Pack, zone *time.Location) []Source {
	sources := map[string]map[string][]string{}
	add := func(from string, names []string) {
		source, table, ok := strings.Cut(from, "/")
		if !ok {
			source, table = "case", from
		}
		if sources[source] == nil {
			sources[source] = map[string][]string{}
		}
		columns := sources[source][table]
		for _, name := range names {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
		sources[source][table] = columns
	}
	for _, p := range packs {
		own := map[string][]string{} // what the records of a mapping's cases name
		for _, c := range p.cases {
			for _, t := range c.cases {
				for _, row := range t.rows {
					own[c.mapping] = slices.AppendSeq(own[c.mapping], maps.Keys(row))
				}
				for _, x := range t.tables {
					for _, row := range x.rows {
						add(x.name, slices.Collect(maps.Keys(row)))
					}
				}
			}
		}
		for _, f := range p.files {
			add(f.from.text, f.mentioned())
			for table, columns := range f.tablesBeside(own[f.name]) {
				add(table, columns)
			}
		}
	}
	var out []Source
	for name, tables := range sources {
		s := Source{Name: name, Zone: zone}
		for table, columns := range tables {
			slices.Sort(columns)
			s.Tables = append(s.Tables, &extract.Table{Source: name, Name: table, Columns: columns})
		}
		slices.SortFunc(s.Tables, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// mentioned lists every name that may be a column: those of the file's lists, and the bare names in its formulas.
func (f *file) mentioned() []string {
	names := f.mentionedLists()
	f.formulas(func(text string) { names = append(names, bareNames(text)...) })
	names = slices.DeleteFunc(names, func(name string) bool { // the collections of `with:` are not columns
		return slices.ContainsFunc(f.with, func(x withAt) bool { return x.name == name })
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// mentionedLists lists the columns that the file names outside formulas.
func (f *file) mentionedLists() (names []string) {
	add := func(list []textAt) {
		for _, x := range list {
			names = append(names, x.text)
		}
	}
	add(f.key)
	add(f.groupBy)
	add(f.optional)
	for _, x := range f.with {
		for _, on := range x.on {
			names = append(names, on.value.Value)
		}
	}
	for _, u := range f.unused {
		names = append(names, u.name)
	}
	for _, r := range f.rename {
		names = append(names, r.value.Value)
	}
	return names
}

// bareNames are the identifiers of an expression that are neither functions nor members. Among the words of the
// language and the names of types that slip through, none hurts: a column more is only blank.
func bareNames(s string) []string {
	bare, members := namesIn(s)
	if strings.Contains(s, "rows") {
		bare = append(bare, members...) // columns of rows
	}
	return bare
}

// namesIn are the identifiers of an expression that are not functions: those that stand alone, and those after a dot.
func namesIn(s string) (bare, members []string) {
	words := []string{"and", "or", "xor", "in", "contains", "is", "as", "div", "mod", "implies", "true", "false", "rows"}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\'' || c == '`' || c == '"':
			end := i + 1
			for end < len(s) && s[end] != c {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			if c == '`' && end <= len(s) {
				if name := s[i+1 : end]; strings.HasSuffix(strings.TrimRight(s[:i], " "), ".") {
					members = append(members, name)
				} else {
					bare = append(bare, name)
				}
			}
			i = end + 1
		case c == '@' || c == '%' || c == '$' || isDigit(c):
			for i++; i < len(s) && (nameByte(s[i]) || s[i] == ':' || s[i] == '-' && c == '@'); i++ {
			}
		case nameByte(c):
			end := i
			for end < len(s) && nameByte(s[end]) {
				end++
			}
			word := s[i:end]
			after := strings.TrimLeft(s[end:], " ")
			before := strings.TrimRight(s[:i], " ")
			switch {
			case strings.HasPrefix(after, "("):
			case strings.HasSuffix(before, "."):
				members = append(members, word)
			case !slices.Contains(words, word):
				bare = append(bare, word)
			}
			i = end
		default:
			i++
		}
	}
	return bare, members
}

func nameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

// tables are the tables that the case fills beside the mapping's own.
func (r *caseRun) tables() Finder {
	all := rowTables{}
	for _, x := range r.t.tables {
		var table *extract.Table
		for _, index := range r.p.Indexes {
			if index.Table == x.name || index.Source+"/"+index.Table == x.name {
				table = index.body.table
			}
		}
		if table == nil {
			r.fault(x.key, "", "no mapping reads a table %q by `with:` or lookup()", x.name)
			continue
		}
		rows := make([]Row, len(x.rows))
		for i, cells := range x.rows {
			rows[i] = Row{Cells: make([]string, len(table.Columns)), Ordinal: int64(i + 1)}
			for name, cell := range cells {
				rows[i].Cells[table.Column(name)] = cell.text // the made-up table has every column that a case names
			}
		}
		all.fill(r.p, table, rows)
	}
	return all
}

// record lays the cells of a case out as a record of the made-up table.
func (r *caseRun) record(cells map[string]textAt, i int) *extract.Record {
	t := r.m.body.table
	rec := &extract.Record{Table: t, Cells: make([]string, len(t.Columns)), Line: int64(i + 2), Ordinal: int64(i + 1)}
	for name, x := range cells {
		at := t.Column(name)
		for _, renamed := range r.m.body.file.rename {
			if at < 0 && renamed.name == name {
				at = t.Column(renamed.value.Value)
			}
		}
		if at < 0 {
			r.fault(x.node, document.Hint(name, t.Columns), "the mapping %s reads no column %q", r.m.Name, name)
			continue
		}
		rec.Cells[at] = x.text
	}
	return rec
}

// leaveOut takes what the case does not ask for out of what was written: what Chartlift adds by itself.
func (r *caseRun) leaveOut(want, got *fhir.Node) {
	for _, name := range []string{"id", "resourceType"} {
		if want.Get(name) == nil {
			got.Set(name, nil)
		}
	}
	if !r.t.meta {
		got.Set("meta", nil)
		return
	}
	if want.At("meta", "tag") == nil {
		if meta := got.Get("meta"); meta != nil {
			meta.Set("tag", nil)
			if len(meta.Members) == 0 {
				got.Set("meta", nil)
			}
		}
	}
}

func (r *caseRun) compare(res Result, got []*fhir.Node) (diffs []Difference) {
	say := func(want, got string) { diffs = append(diffs, Difference{Line: r.t.node.Line, Want: want, Got: got}) }
	was := "the record was " + res.Outcome.String()
	if res.Rule != "" {
		was += fmt.Sprintf(" (%s)", res.Rule)
		if res.Column != "" && res.Outcome == Refused {
			was += " at " + res.Column
		}
		if res.Detail != "" {
			was += ": " + res.Detail
		}
	}
	switch {
	case r.t.open != nil:
		say("an outcome", was)
	case r.t.want != nil && res.Outcome != Mapped:
		say(fmt.Sprintf("%d resources", len(r.t.want.Content)), was)
	case r.t.want != nil:
		if len(got) != len(r.t.want.Content) {
			say(fmt.Sprintf("%d resources", len(r.t.want.Content)), fmt.Sprintf("%d resources", len(got)))
		}
		for i, n := range r.t.want.Content {
			want := r.wanted(n, fhir.Lookup(r.m.Type), "")
			if i < len(got) && want != nil {
				r.leaveOut(want, got[i])
				path := ""
				if len(r.t.want.Content) > 1 {
					path = fmt.Sprintf("[%d]", i)
				}
				r.diff(path, want, got[i], n.Line, &diffs)
			}
		}
	case r.t.refused != "" && (res.Outcome != Refused || res.Rule != r.t.refused):
		say(fmt.Sprintf("refused (%s)", r.t.refused), was)
	case r.t.skipped != "" && (res.Outcome != Skipped || res.Rule != r.t.skipped):
		say(fmt.Sprintf("skipped (%s)", r.t.skipped), was)
	}
	if r.t.hasFinds {
		var names []string
		for _, f := range res.Findings {
			names = append(names, f.Rule)
		}
		want := slices.Clone(r.t.findings)
		slices.Sort(want)
		slices.Sort(names)
		if !slices.Equal(want, names) {
			say(fmt.Sprintf("findings [%s]", strings.Join(want, ", ")), fmt.Sprintf("findings [%s]", strings.Join(names, ", ")))
		}
	}
	return diffs
}
