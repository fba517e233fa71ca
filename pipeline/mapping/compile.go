package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// compiler turns packs into a program and gathers all that is wrong with them.
type compiler struct {
	o       Options
	packs   []*Pack
	files   []*file
	targets map[string]*refTarget
	faults  Faults
	notices []Notice
	program *Program
	slots   map[*terminology.ConceptMap]*mapSlot
	read    map[tableKey]map[string]bool // columns read, per table, over all its mappings
	unused  map[tableKey]map[string]bool
	beside  map[*fhirpath.Env]*Index       // the tables that formulas read beside the mapping's own
	shared  map[*Pack]map[string]*constant // the packs' constants
	open    bool                           // cases: tables are made up, so coverage says nothing
}

type tableKey struct{ source, table string }

func compile(packs []*Pack, o Options) (*Program, []Notice, Faults) {
	c := &compiler{o: o, packs: packs, targets: map[string]*refTarget{}, slots: newSlots(),
		beside: map[*fhirpath.Env]*Index{}, read: map[tableKey]map[string]bool{}, unused: map[tableKey]map[string]bool{}, open: o.NoCoverage}
	c.program = &Program{migration: o.Migration, idKey: slices.Clone(o.IDKey)}
	c.packConstants()
	c.gather()
	for _, f := range c.files {
		c.mapping(f)
	}
	c.checkConstants()
	c.levels()
	c.collisions()
	if !c.open {
		c.coverage()
	}
	for i := range c.notices {
		if c.notices[i].Rule == "" {
			c.notices[i].Rule = "notice"
		}
	}
	slices.SortStableFunc(c.notices, func(a, b Notice) int { return comparePlaces(a.Fault, b.Fault) })
	c.notices = slices.CompactFunc(c.notices, func(a, b Notice) bool { return a == b })
	if len(c.faults) > 0 {
		return nil, c.notices, c.faults.Sort()
	}
	c.finish()
	return c.program, c.notices, nil
}

func comparePlaces(a, b Fault) int {
	if d := strings.Compare(a.File, b.File); d != 0 {
		return d
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}

// gather lists the files of all packs and what ref() can name.
func (c *compiler) gather() {
	first := map[string]*file{}
	for _, p := range c.packs {
		for _, f := range p.files {
			if other := first[f.name]; other != nil {
				c.fault(f, f.root, "give one of them another `name:`", "the mapping %q is in two packs: also in %s", f.name, other.path)
				continue
			}
			first[f.name] = f
			c.files = append(c.files, f)
		}
	}
	slices.SortFunc(c.files, func(a, b *file) int { return strings.Compare(a.name, b.name) })
	for _, f := range c.files {
		source, table := c.bind(f)
		c.targets[f.name] = &refTarget{file: f, typ: f.to.text, start: f.to.text + "/", parts: len(f.keyColumns()), item: f.forEach != nil,
			prefix: idPrefix(c.o.Migration, f.to.text, c.space(f, source, table))}
	}
}

// space is the id space of a mapping: the name it was given, or source and table.
func (c *compiler) space(f *file, source string, table *extract.Table) []string {
	if f.ids.text != "" {
		return []string{f.ids.text}
	}
	name := f.from.text
	if table != nil {
		name = table.Name
	} else if source == "" && len(c.o.Sources) > 0 {
		source = c.o.Sources[0].Name // a table that is absent: what refers to it will be missing, in the same id space
	}
	return []string{source, name}
}

// bind finds the table of a mapping. Ambiguity is told by mapping().
func (c *compiler) bind(f *file) (source string, table *extract.Table) {
	found := c.tables(f.from.text)
	if len(found) == 0 {
		source, _, _ = strings.Cut(f.from.text, "/")
		if !strings.Contains(f.from.text, "/") {
			source = ""
		}
		return source, nil
	}
	return found[0].Source, found[0].Table
}

type boundTable struct {
	*extract.Table
	Source string
	source *Source
}

// tables are the tables that `from:` can mean.
func (c *compiler) tables(from string) (out []boundTable) {
	for i := range c.o.Sources {
		s := &c.o.Sources[i]
		for _, t := range s.Tables {
			if t.Name == from || s.Name+"/"+t.Name == from {
				out = append(out, boundTable{t, s.Name, s})
			}
		}
	}
	return out
}

func (c *compiler) target(name string) *refTarget { return c.targets[name] }

func (c *compiler) mappingNames() []string {
	names := make([]string, len(c.files))
	for i, f := range c.files {
		names[i] = f.name
	}
	return names
}

func (c *compiler) zoneSlot(zone *time.Location) int {
	if zone == nil {
		return -1
	}
	for i, z := range c.program.zones {
		if z == zone || z.String() == zone.String() {
			return i
		}
	}
	c.program.zones = append(c.program.zones, zone)
	return len(c.program.zones) - 1
}

// mapSlot is the concept map of that name in the mapping's pack, or nil.
func (f *formulaCompiler) mapSlot(name string) *mapSlot {
	m := f.file.pack.Maps[name]
	if m == nil {
		return nil
	}
	slot := f.c.slots[m]
	defer func() { f.maps = append(f.maps, slot) }()
	if slot == nil {
		slot = &mapSlot{index: len(f.c.program.maps), pack: f.file.pack.Name, m: m}
		f.c.slots[m] = slot
		f.c.program.maps = append(f.c.program.maps, slot)
	}
	return slot
}

// body is a compiled mapping as the worker runs it.
type body struct {
	file       *file
	typ        *fhir.Type
	table      *extract.Table
	columns    []string // the table's columns under the mapping's names, then optional ones that are absent
	touched    []int    // those that something reads
	blank      []string // texts that count as blank besides white space
	prefix     []byte
	key        []int
	group      []int
	skip       []rule
	refuse     []rule
	find       []rule
	patient    *formula
	patientRef *refSource // of patient, where it is ref()
	forEach    *formula
	itemKey    *formula
	root       *plan
	self       bool
	looked     []*formula // those that ask a concept map
	rowHead    [][]byte   // for the source row as JSON: `{"A":`, `,"B":`, in the table's order
}

type rule struct {
	name string
	*formula
}

// mapping compiles one mapping file.
func (c *compiler) mapping(f *file) {
	typ := fhir.Lookup(f.to.text)
	b := &body{file: f, typ: typ}
	switch {
	case f.to.text == "":
	case typ == nil || typ.Kind != fhir.KindResource || typ.Abstract:
		c.fault(f, f.to.node, document.Hint(f.to.text, fhir.Resources()), "R4 has no resource type %q", f.to.text)
		typ = nil
	}
	found := c.tables(f.from.text)
	if f.from.text == "" {
		return
	}
	if len(found) == 0 {
		var names []string
		for _, s := range c.o.Sources {
			for _, t := range s.Tables {
				names = append(names, t.Name)
			}
		}
		switch {
		case f.pack.Own:
			c.fault(f, f.from.node, document.Hint(f.from.text, names), "there is no table %q", f.from.text)
		default:
			c.notice(Remark, "absent-table", f, f.from.node, document.Hint(f.from.text, names), "there is no table %q: the mapping %s is left out", f.from.text, f.name)
		}
		return
	}
	if len(found) > 1 {
		c.fault(f, f.from.node, "write source/table, such as "+found[0].Source+"/"+found[0].Name, "the table %q is in %d sources", f.from.text, len(found))
		return
	}
	table := found[0]
	b.table, b.blank = table.Table, table.source.Blank
	c.columns(b)
	key := c.useTable(table)
	m := &Mapping{Name: f.name, Pack: f.pack.Name, Table: table.Name, Source: table.Source, Type: f.to.text, Duplicates: f.duplicates,
		Grouped: len(f.groupBy) > 0, Many: f.forEach != nil, body: b, program: c.program}
	for _, g := range f.groupBy {
		m.Group = append(m.Group, g.text)
	}
	for _, k := range f.keyColumns() {
		m.Key = append(m.Key, k.text)
	}
	t := &templates{c: c, m: m, b: b, f: &formulaCompiler{c: c, file: f, zone: table.source.Zone, constants: constantValues(c.constants(f))}, seen: make([]bool, len(b.columns)), feeds: map[int]string{}, columns: map[*fhirpath.Env][]int{}}
	t.f.read = t.reads
	t.compile(typ)
	b.looked = t.f.looked
	for i, name := range b.columns {
		if t.seen[i] {
			b.touched = append(b.touched, i)
			c.read[key][name] = true
			if i < len(b.table.Columns) {
				c.read[key][b.table.Columns[i]] = true
			}
		}
	}
	for _, u := range f.unused {
		if c.unusedBeside(f, u) {
			continue
		}
		c.unused[key][u.name] = true
		if f.pack.Own && !slices.Contains(b.columns, u.name) && f.place(u.key.Line, 0).From == "" {
			c.notice(Remark, "absent-column", f, u.key, document.Hint(u.name, b.columns), "unused: the table %s has no column %q", b.table.Name, u.name)
		}
		if i := slices.Index(b.columns, u.name); i >= 0 && t.seen[i] && f.place(u.key.Line, 0).From == "" {
			c.notice(Remark, "used-column", f, u.key, "take it out of `unused`", "the column %q is listed as unused but is read", u.name)
		}
	}
	m.index = len(c.program.Mappings)
	c.program.Mappings = append(c.program.Mappings, m)
}

// useTable notes that a table is read.
func (c *compiler) useTable(table boundTable) tableKey {
	key := tableKey{table.Source, table.Name}
	if c.read[key] == nil {
		c.read[key], c.unused[key] = map[string]bool{}, map[string]bool{}
	}
	return key
}

// columns gives the table's columns the mapping's names.
func (c *compiler) columns(b *body) {
	f := b.file
	b.columns = slices.Clone(b.table.Columns)
	for _, r := range f.rename {
		to := r.value.Value
		i := slices.Index(b.columns, r.name)
		if i < 0 || slices.Contains(b.columns, to) {
			continue // this export has the column under its name, or (then it must be optional) not at all
		}
		b.columns[i] = to
	}
	for _, o := range f.optional {
		if !slices.Contains(b.columns, o.text) {
			b.columns = append(b.columns, o.text)
		}
	}
	b.heads()
}

// heads prepares the names of the source row's JSON.
func (b *body) heads() {
	for i, name := range b.table.Columns {
		head := `,`
		if i == 0 {
			head = `{`
		}
		b.rowHead = append(b.rowHead, append(fhir.AppendString([]byte(head), name), ':'))
	}
}

// column is the index of a column named outside formulas; it faults one that is not there.
func (c *compiler) column(b *body, name textAt, what string) int {
	i := slices.Index(b.columns, name.text)
	if i < 0 {
		hint := document.Hint(name.text, b.columns)
		if hint == "" {
			hint = "list it under `optional` if only some exports have it"
		}
		c.fault(b.file, name.node, hint, "%s: the table %s has no column %q", what, b.table.Name, name.text)
	}
	return i
}

// collisions faults two mappings that would give different resources one id.
func (c *compiler) collisions() {
	type space struct{ typ, space string }
	seen := map[space]*Mapping{}
	for _, m := range c.program.Mappings {
		f := m.body.file
		s := space{m.Type, strings.Join(c.space(f, m.Source, m.body.table), "\x00")}
		first := seen[s]
		if first == nil {
			seen[s] = m
			continue
		}
		if f.ids.text != "" && first.body.file.ids.text != "" {
			if len(f.keyColumns()) != len(first.body.file.keyColumns()) {
				c.fault(f, f.ids.node, "", "the mappings %s and %s share the id space %q but their keys have %d and %d parts", first.Name, m.Name, f.ids.text, len(first.body.file.keyColumns()), len(f.keyColumns()))
			}
			continue
		}
		c.fault(f, f.to.node, "give them different `ids:`, or the same if they are to agree on ids", "the mappings %s and %s both make %s from the table %s", first.Name, m.Name, m.Type, m.Table)
	}
}

// unusedTable tells whether the plan gives a reason for a table that nobody reads: by its name, or by a pattern such as
// log_*.
func (c *compiler) unusedTable(name string) bool {
	if _, ok := c.o.UnusedTables[name]; ok {
		return true
	}
	for pattern := range c.o.UnusedTables {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// coverage finds columns and tables that nobody reads.
func (c *compiler) coverage() {
	for i := range c.o.Sources {
		s := &c.o.Sources[i]
		for _, t := range s.Tables {
			key := tableKey{s.Name, t.Name}
			read := c.read[key]
			if read == nil {
				if !c.unusedTable(t.Name) {
					c.notices = append(c.notices, Notice{IsFinding, FindUnusedTable, t.Name, Fault{File: t.Name, Message: fmt.Sprintf("no mapping reads the table %s", t.Name), Hint: "map it, or give a reason under `unused-tables:` in the plan"}})
				}
				continue
			}
			for _, column := range t.Columns {
				if !read[column] && !c.unused[key][column] {
					c.notices = append(c.notices, Notice{IsFinding, FindUnusedColumn, t.Name + "." + column, Fault{File: t.Name, Message: fmt.Sprintf("no formula reads the column %s.%s", t.Name, column), Hint: "use it, or give a reason under `unused:` in a mapping of the table"}})
				}
			}
		}
	}
}

// finish orders the program and pins it.
func (c *compiler) finish() {
	p := c.program
	slices.SortStableFunc(p.Mappings, func(a, b *Mapping) int {
		if a.Level != b.Level {
			return a.Level - b.Level
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i, m := range p.Mappings {
		m.index = i
		if !slices.Contains(p.Types, m.Type) {
			p.Types = append(p.Types, m.Type)
		}
	}
	for _, t := range c.targets { // a type whose own table is absent can still be referred to
		if !slices.Contains(p.Types, t.typ) {
			p.Types = append(p.Types, t.typ)
		}
	}
	slices.Sort(p.Types)
	p.policy, p.terminology, p.validator = c.o.Policy, c.o.Terminology, c.o.Validator
	p.targets, p.packs, p.sources, p.files = c.targets, c.packs, c.o.Sources, c.files
	p.constants = c.allConstants()
	p.digest = c.digest()
}

// digest is the hash of all that decides bytes: mappings (without comments and layout), maps, tables, policy, zones.
func (c *compiler) digest() string {
	h := sha256.New()
	part := func(texts ...string) {
		for _, s := range texts {
			h.Write(appendPart(nil, s))
		}
	}
	part("program 1", c.o.Migration, fhir.DefinitionsDigest())
	if c.o.Policy != nil {
		part(c.o.Policy.Name(), c.o.Policy.Digest())
	}
	for _, f := range c.files {
		part("mapping", f.name, f.pack.Name)
		hashNode(part, f.root)
	}
	for _, x := range c.o.Constants {
		part("constant", x.Name)
		hashNode(part, x.Value)
	}
	for _, p := range c.packs {
		if p.settings != nil {
			for _, x := range p.settings.constants {
				part("constant", p.Name, x.Name)
				hashNode(part, x.Value)
			}
		}
		names := make([]string, 0, len(p.Maps))
		for name := range p.Maps {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			part("map", p.Name, name, p.Maps[name].Digest())
		}
	}
	for _, s := range c.o.Sources {
		zone := ""
		if s.Zone != nil {
			zone = s.Zone.String()
		}
		part("source", s.Name, zone)
		part(s.Blank...)
		for _, t := range s.Tables {
			part("table", t.Name)
			part(t.Columns...)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashNode(part func(...string), n *yaml.Node) {
	kind := "scalar"
	switch n.Kind {
	case yaml.MappingNode:
		kind = "{"
	case yaml.SequenceNode:
		kind = "["
	}
	part(kind, n.Value)
	for _, child := range n.Content {
		hashNode(part, child)
	}
	part("end")
}

// decision is what the policy says about an element; without a policy everything is kept.
func (c *compiler) decision(r phi.Rules, e *fhir.Element, typ *fhir.Type) phi.Decision {
	if c.o.Policy == nil {
		return phi.Decision{Method: phi.Keep, Whole: true}
	}
	return r.Child(e, typ)
}

func newSlots() map[*terminology.ConceptMap]*mapSlot { return map[*terminology.ConceptMap]*mapSlot{} }
