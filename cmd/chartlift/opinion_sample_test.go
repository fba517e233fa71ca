package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// The sample that two validators look at: what the mappings make of every export at hand, the same number of each.

const (
	sampleSize = 2000
	sampleSeed = 5
)

// sampled is one resource of the sample, and what made it.
type sampled struct{ set, mapping, typ, id, text string }

func (s sampled) stratum() string { return s.set + " " + s.mapping }

// mappingFile is what a mapping says of itself.
type mappingFile struct {
	Name string
	From any // a table, or several
	To   string
}

func (m mappingFile) reads(table string) bool {
	list, ok := m.From.([]any)
	return m.From == table || ok && slices.Contains(list, any(table))
}

// mappingFiles reads the mappings of a folder.
func mappingFiles(t *testing.T, dir fs.FS) (list []mappingFile) {
	t.Helper()
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".cases.yaml") || name == "pack.yaml" {
			continue
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		m := mappingFile{Name: strings.TrimSuffix(name, ".yaml")}
		if err := yaml.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, m)
	}
	return list
}

// output is an export of one set, and the mappings that made it.
type output struct {
	set, dir string
	mappings []mappingFile
}

// made answers what each mapping made, in the order of the source. Where two mappings make one type from one table, they
// are a blood pressure panel and other measurements.
func (o output) made(t *testing.T) map[string][]sampled {
	t.Helper()
	out, seen := map[string][]sampled{}, map[string]bool{}
	panels := map[string]bool{}
	for line := range strings.Lines(readFile(t, filepath.Join(o.dir, "places.ndjson"))) {
		p := decode[struct{ Table, Type, ID, Outcome string }](t, line)
		if p.Outcome != "made" || seen[p.Type+"/"+p.ID] {
			continue
		}
		var makers []mappingFile
		for _, m := range o.mappings {
			if m.To == p.Type && m.reads(p.Table) {
				makers = append(makers, m)
			}
		}
		if len(makers) == 0 {
			continue // a row of a child table, which stands where its parent's resource is
		}
		seen[p.Type+"/"+p.ID] = true
		if len(makers) > 1 {
			if len(panels) == 0 {
				panels = o.panels(t)
			}
			makers = slices.DeleteFunc(makers, func(m mappingFile) bool { return (m.Name == "blood-pressure") != panels[p.ID] })
		}
		if len(makers) != 1 {
			t.Fatalf("%s: which of %d mappings made a %s of table %s?", o.set, len(makers), p.Type, p.Table)
		}
		s := sampled{set: o.set, mapping: makers[0].Name, typ: p.Type, id: p.ID}
		out[s.stratum()] = append(out[s.stratum()], s)
	}
	return out
}

// panels are the ids of blood pressure panels.
func (o output) panels(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	o.each(t, "Observation", func(id, text string) {
		out[id] = strings.Contains(text, `"code":"85354-9"`)
	})
	return out
}

// each visits the resources of a type.
func (o output) each(t *testing.T, typ string, visit func(id, text string)) {
	t.Helper()
	f, err := os.Open(filepath.Join(o.dir, typ+".ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		visit(decode[struct{ ID string }](t, lines.Text()).ID, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// draw draws the same number of each stratum, as far as it has as many, until there are size; always the same ones.
func draw(strata map[string][]sampled, size int) (out []sampled) {
	random := rand.New(rand.NewPCG(sampleSeed, sampleSeed))
	names := slices.SortedFunc(maps.Keys(strata), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(strata[a]), len(strata[b])), cmp.Compare(a, b))
	})
	for i, name := range names {
		list := slices.Clone(strata[name])
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		share := (size - len(out)) / (len(names) - i)
		out = append(out, list[:min(share, len(list))]...)
	}
	return out
}

// fill reads the texts of the sample out of the exports. What a case made has its text.
func fill(t *testing.T, sample []sampled, outputs []output) {
	t.Helper()
	at := map[string]*sampled{}
	types := map[string]map[string]bool{}
	for i := range sample {
		s := &sample[i]
		if s.text != "" {
			continue
		}
		at[s.set+" "+s.typ+"/"+s.id] = s
		if types[s.set] == nil {
			types[s.set] = map[string]bool{}
		}
		types[s.set][s.typ] = true
	}
	for _, o := range outputs {
		for typ := range types[o.set] {
			o.each(t, typ, func(id, text string) {
				if s := at[o.set+" "+typ+"/"+id]; s != nil {
					s.text = text
				}
			})
		}
	}
	for _, s := range sample {
		if s.text == "" {
			t.Fatalf("%s: a %s has a place, and is not in the export", s.stratum(), s.typ)
		}
	}
}

// outputs maps and exports every set.
func outputs(t *testing.T) (list []output) {
	t.Helper()
	export := func(set string, h *hospital, pack fs.FS) {
		out := filepath.Join(h.dir, "opinion")
		h.mustRun(exitDone, exitDone, "export", "-o", out, "--identified")
		list = append(list, output{set, out, mappingFiles(t, pack)})
	}
	shipped := func(name string) fs.FS {
		pack, ok := mappings.Pack(name)
		if !ok {
			t.Fatalf("there is no pack %q", name)
		}
		return pack
	}
	for _, set := range syntheaSets {
		h := newSynthea(t, set.name)
		h.mustRun(exitDone, exitReview, "dry-run", "--json")
		export(set.name, h, shipped("synthea"))
	}
	export("omop", newCDM(t, func(string, int, map[string]string) {}).hospital, shipped("omop"))
	ours, err := filepath.Abs(filepath.Join("testdata", "openemr", "clinical.sql"))
	if err != nil {
		t.Fatal(err)
	}
	h := legacy(t, "openemr", "mysql", "openemr", sharedtest.Path(t, "data", "openemr", "database.sql.gz"),
		sharedtest.Path(t, "data", "openemr", "example_patient_data.sql.gz"), ours)
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	export("openemr", h, shipped("openemr"))
	h = legacy(t, "clinic", "sqlserver", "./tsql", sharedtest.Path(t, "data", "tsql-patients", "Patients.sql"))
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	export("tsql", h, os.DirFS(filepath.Join(h.dir, "tsql")))
	h = newLegacy(t, filepath.Join(t.TempDir(), "keys"), fmt.Sprintf("{dump: %q, dialect: postgres, timezone: UTC}",
		sharedtest.Path(t, "data", "legacy-sql-made", "postgres-copy.sql.gz")))
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	export("legacy", h, os.DirFS(filepath.Join(h.dir, "mappings")))
	h = newHospital(t)
	if err := os.CopyFS(h.dir, fixtures.Riverside()); err != nil {
		t.Fatal(err)
	}
	h.mustRun(exitDone, exitDone, "keys", "init")
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	export("riverside", h, os.DirFS(filepath.Join(h.dir, "mappings")))
	return list
}

// fromCases are the resources that the cases of a pack make: rarer than what exports hold, and of every mapping.
func fromCases(t *testing.T, set string, dir fs.FS, out map[string][]sampled) {
	t.Helper()
	pack, faults := mapping.Read(dir, set)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	ran, err := mapping.RunCases([]*mapping.Pack{pack}, mapping.CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, m := range mappingFiles(t, dir) {
		types[m.Name] = m.To
	}
	for _, r := range ran.Results {
		for _, made := range r.Made {
			s := sampled{set: set + "-cases", mapping: r.Mapping, typ: types[r.Mapping], id: strings.ReplaceAll(r.Case, " ", "-"), text: string(made)}
			out[s.stratum()] = append(out[s.stratum()], s)
		}
	}
}

// drawSample maps everything, and draws. Each mapping that ships is in it.
func drawSample(t *testing.T) []sampled {
	t.Helper()
	sets := outputs(t)
	strata := map[string][]sampled{}
	for _, o := range sets {
		maps.Copy(strata, o.made(t))
	}
	for _, name := range mappings.Names() {
		pack, ok := mappings.Pack(name)
		if !ok {
			t.Fatalf("there is no pack %q", name)
		}
		fromCases(t, name, pack, strata)
		for _, m := range mappingFiles(t, pack) {
			if len(strata[sampled{set: name + "-cases", mapping: m.Name}.stratum()]) == 0 {
				t.Errorf("no case of the mapping %s of %s makes anything", m.Name, name)
			}
		}
	}
	sample := draw(strata, sampleSize)
	fill(t, sample, sets)
	types, drawn := map[string]bool{}, map[string]bool{}
	for _, s := range sample {
		types[s.typ], drawn[s.stratum()] = true, true
	}
	for name := range strata {
		if !drawn[name] {
			t.Errorf("%s is not in the sample", name)
		}
	}
	if len(sample) != sampleSize {
		t.Errorf("the sample has %d resources, want %d", len(sample), sampleSize)
	}
	t.Logf("%d resources of %d types, by %d mappings of %d sets and of cases", len(sample), len(types), len(strata), len(sets))
	return sample
}

// The same resources are drawn each time, the same number of each, and all where there are few.
func TestDraw(t *testing.T) {
	strata := map[string][]sampled{}
	for name, n := range map[string]int{"few": 3, "some": 40, "many": 1000} {
		for i := range n {
			strata[name] = append(strata[name], sampled{set: name, id: fmt.Sprint(i)})
		}
	}
	one, two := draw(strata, 103), draw(strata, 103)
	if !slices.Equal(one, two) {
		t.Error("two samples differ")
	}
	got, seen := map[string]int{}, map[sampled]bool{}
	for _, s := range one {
		got[s.set]++
		if seen[s] {
			t.Errorf("%s %s was drawn twice", s.set, s.id)
		}
		seen[s] = true
	}
	if want := map[string]int{"few": 3, "some": 40, "many": 60}; !maps.Equal(got, want) {
		t.Errorf("drawn %v, want %v", got, want)
	}
}
