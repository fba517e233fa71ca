package main

import (
	"bufio"
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// HL7's own validator, written in Java, looks at what the mappings make: a sample of each mapping and type, over every
// export that is at hand. scripts/services/validator/with brings it.

const (
	sampleSize = 2000
	sampleSeed = 5
)

var keepOpinions = flag.String("opinions", "", "keep the sample and the opinions in this folder")

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
		if strings.HasSuffix(name, ".cases.yaml") {
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

// fill reads the texts of the sample out of the exports.
func fill(t *testing.T, sample []sampled, outputs []output) {
	t.Helper()
	at := map[string]*sampled{}
	types := map[string]map[string]bool{}
	for i := range sample {
		s := &sample[i]
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

// withoutRows are the mappings of which no export has a row, each with the reason.
var withoutRows = map[string]string{}

func TestSecondOpinion(t *testing.T) {
	java := os.Getenv("CHARTLIFT_JAVA_VALIDATOR")
	if java == "" {
		sharedtest.Missing(t, "services", "CHARTLIFT_JAVA_VALIDATOR names no validator")
	}
	guide := sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-6.1.0.tgz")
	terminology := sharedtest.Path(t, "data", "us-core", "hl7.terminology-subset.json.gz")
	dir := *keepOpinions
	if dir == "" {
		dir = t.TempDir()
	}
	sets := outputs(t)
	strata := map[string][]sampled{}
	for _, o := range sets {
		made := o.made(t)
		for _, m := range o.mappings {
			name := sampled{set: o.set, mapping: m.Name}.stratum()
			if len(made[name]) == 0 && withoutRows[name] == "" {
				t.Errorf("%s made nothing", name)
			}
		}
		maps.Copy(strata, made)
	}
	sample := draw(strata, sampleSize)
	fill(t, sample, sets)
	var text, names bytes.Buffer
	for _, s := range sample {
		fmt.Fprintln(&text, s.text)
		fmt.Fprintln(&names, s.set, s.mapping, s.typ, s.id)
	}
	file := filepath.Join(dir, "sample.ndjson")
	for name, b := range map[string]*bytes.Buffer{file: &text, filepath.Join(dir, "sample.names"): &names} {
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), java, "--package", guide, "--terminology", terminology, file)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	theirs, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, faults.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "theirs.ndjson"), theirs, 0o600); err != nil {
		t.Fatal(err)
	}
}
