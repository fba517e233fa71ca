package mappings_test

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// account is what became of the records of an export, mapping by mapping.
type account struct {
	read     map[string]int            // records per table
	outcomes map[string]map[string]int // by mapping: mapped, or skipped or refused by a rule
	refused  map[string]string         // table:line → rule
	findings map[string]string         // table:line → rule
	made     map[string]int            // resources per type
	ids      map[mapping.ID]string     // place of each resource
	refs     map[mapping.ID]string     // place of the first resource that refers to it and may not do without
	drops    map[mapping.ID]string     // the same of references that may be dropped
	twice    []string                  // places of resources whose id is there already
}

func (a *account) note(m *mapping.Mapping, place string, r mapping.Result) {
	key := r.Outcome.String()
	if r.Rule != "" {
		key += ": " + r.Rule
	}
	if a.outcomes[m.Name] == nil {
		a.outcomes[m.Name] = map[string]int{}
	}
	a.outcomes[m.Name][key]++
	if r.Outcome == mapping.Refused {
		a.refused[place] = r.Rule
	}
	for _, f := range r.Findings {
		a.findings[place] = f.Rule
	}
}

// mapExport maps every record of the CSV files in dir, in one goroutine and in memory: the pipeline's job, without its
// batches. write gets each resource as canonical JSON.
func mapExport(t *testing.T, packs []*mapping.Pack, dir string, zone *time.Location, blank []string, write func(typ string, whole []byte)) (*account, []mapping.FormulaCount, []mapping.Notice) {
	t.Helper()
	ctx := context.Background()
	source, err := csv.Open(csv.Options{Name: "export", Dir: dir, Files: []string{"*.csv"}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := source.Tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	program, notices, faults := mapping.Compile(packs, options(t, zone, blank, tables))
	if program == nil {
		t.Fatal(faults)
	}
	a := &account{read: map[string]int{}, outcomes: map[string]map[string]int{}, refused: map[string]string{}, findings: map[string]string{},
		made: map[string]int{}, ids: map[mapping.ID]string{}, refs: map[mapping.ID]string{}, drops: map[mapping.ID]string{}}
	w := program.NewWorker()
	place := ""
	emit := func(r *mapping.Resource) error {
		if _, ok := a.ids[r.ID]; ok {
			a.twice = append(a.twice, place)
			return nil
		}
		a.ids[r.ID] = place
		a.made[r.Type]++
		for _, ref := range r.Refs {
			refs := a.refs
			if ref.Drop {
				refs = a.drops
			}
			if _, ok := refs[ref.ID]; !ok {
				refs[ref.ID] = place
			}
		}
		write(r.Type, r.Whole)
		return nil
	}
	for _, table := range tables {
		ordinals := map[string]map[mapping.ID]int{}
		groups := map[string]map[mapping.ID][]mapping.Row{}
		var order []func() // groups in the order of their first records
		maps := program.ForTable(table.Name)
		for _, m := range maps {
			ordinals[m.Name], groups[m.Name] = map[mapping.ID]int{}, map[mapping.ID][]mapping.Row{}
		}
		shards, err := source.Shards(ctx, table)
		if err != nil {
			t.Fatal(err)
		}
		for _, shard := range shards {
			var done extract.Digest
			for r, err := range source.Read(ctx, shard, &done) {
				var fault *extract.Fault
				if errors.As(err, &fault) {
					a.read[table.Name]++
					a.refused[fmt.Sprintf("%s:%d", fault.Table, fault.Line)] = fault.Rule
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				a.read[table.Name]++
				place = fmt.Sprintf("%s:%d", table.Name, r.Line)
				for _, m := range maps {
					if m.Grouped {
						id, res, err := w.GroupKey(m, r)
						if err != nil {
							t.Fatal(err)
						}
						if res.Outcome != mapping.Mapped {
							a.note(m, place, res)
							continue
						}
						if groups[m.Name][id] == nil {
							order = append(order, func() {
								rows := groups[m.Name][id]
								place = fmt.Sprintf("%s:%d", table.Name, rows[0].Place.Line)
								res, err := w.MapGroup(m, rows, 1, emit)
								if err != nil {
									t.Fatal(err)
								}
								for range rows {
									a.note(m, place, res)
								}
							})
						}
						cells := make([]string, len(r.Cells)) // a record's text is gone with the next record
						for i, c := range r.Cells {
							cells[i] = strings.Clone(c)
						}
						groups[m.Name][id] = append(groups[m.Name][id], mapping.Row{Cells: cells, Place: r.Place(), Ordinal: r.Ordinal})
						continue
					}
					ordinal := 1
					if m.Duplicates == mapping.NumberDuplicates {
						if id, ok := w.Key(m, r); ok {
							ordinals[m.Name][id]++
							ordinal = ordinals[m.Name][id]
						}
					}
					res, err := w.Map(m, r, ordinal, emit)
					if err != nil {
						t.Fatal(err)
					}
					a.note(m, place, res)
				}
			}
			if !done.Complete {
				t.Fatalf("%s was not read to its end", table.Name)
			}
		}
		for _, f := range order {
			f()
		}
	}
	counts, _ := w.TakeCounters()
	return a, counts, notices
}

// wroteNothing lists the formulas that read something and wrote nothing, without a reason.
func wroteNothing(counts []mapping.FormulaCount) (out []string) {
	for _, c := range counts {
		if c.Empties > 0 && c.Reason == "" {
			out = append(out, fmt.Sprintf("%s: %s of %s: %d of %d", c.Place, c.Path, c.Mapping, c.Empties, c.Reads))
		}
	}
	return out
}

// What we make of Synthea's CSV equals Synthea's own FHIR of the same patients, as the judge in the shared data counts.
func TestSyntheaTruth(t *testing.T) {
	sets := []struct {
		name, fhir string
		least      float64
		without    []string
		refused    int // records; each is explained below
	}{
		{"synthea-ca-2022", "fhir.tar.gz", 0.999, nil, 0},
		{"synthea-ri-2022", "fhir.tar.zst", 0.996, []string{"--without", "Observation"}, 0},
		{"synthea-ma-2025", "fhir.tar.zst", 0.999, []string{"--without", "Observation"}, 0},
	}
	for _, set := range sets {
		t.Run(set.name, func(t *testing.T) {
			folder := sharedPath(t, "data", set.name)
			judge := sharedPath(t, "tools", "synthea_compare.py")
			python, err := exec.LookPath("python3")
			if err != nil {
				missing(t, "python3, which runs the judge, is not here")
			}
			ours, csvs, theirs := t.TempDir(), t.TempDir(), t.TempDir()
			unpack(t, filepath.Join(folder, "csv.tar.gz"), csvs)
			unpack(t, filepath.Join(folder, set.fhir), theirs)

			files := map[string]*bufio.Writer{}
			a, counts, notices := mapExport(t, []*mapping.Pack{read(t, "synthea")}, filepath.Join(csvs, "csv"), nil, nil, func(typ string, whole []byte) {
				if files[typ] == nil {
					f, err := os.Create(filepath.Join(ours, typ+".ndjson"))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { f.Close() })
					files[typ] = bufio.NewWriter(f)
				}
				files[typ].Write(whole)
				files[typ].WriteByte('\n')
			})
			for _, f := range files {
				if err := f.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range notices {
				if n.Severity == mapping.IsFinding && n.Rule != mapping.FindUnusedTable {
					t.Errorf("%s: %v", n.Rule, n.Fault)
				}
			}
			if len(a.refused) != set.refused {
				t.Errorf("%d records refused, want %d: %v", len(a.refused), set.refused, a.outcomes)
			}
			if len(a.twice) > 0 {
				t.Errorf("%d resources whose id is there already, the first at %s", len(a.twice), a.twice[0])
			}
			for id, place := range a.refs {
				if _, ok := a.ids[id]; !ok {
					t.Errorf("%s refers to nothing", place)
					break
				}
			}
			for _, s := range wroteNothing(counts) {
				t.Errorf("read something and wrote nothing: %s", s)
			}
			findings := map[string]int{}
			for _, rule := range a.findings {
				findings[rule]++
			}
			t.Logf("made %v; findings %v", a.made, findings)

			out, err := exec.Command(python, append([]string{judge, ours, filepath.Join(theirs, "fhir")}, set.without...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			m := regexp.MustCompile(`(?m)^([0-9.]+) of \d+ facts equal`).FindSubmatch(out)
			if m == nil {
				t.Fatalf("the judge said nothing:\n%s", out)
			}
			share, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", m[0])
			if share < set.least {
				t.Errorf("share %v, want %v or more:\n%s", share, set.least, out)
			}
		})
	}
}

// sharedPath and missing are package pipeline/internal/shared, which Go keeps from packages outside pipeline.
func sharedPath(t *testing.T, elem ...string) string {
	t.Helper()
	root := os.Getenv("CHARTLIFT_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		missing(t, "the shared data "+filepath.Join(elem...)+" is not here")
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("CHARTLIFT_REQUIRE"), ","), "data") {
		t.Fatal(what + " (required by CHARTLIFT_REQUIRE)")
	}
	t.Skip(what)
}

// unpack unpacks a tar, packed by gzip or zstd, into dir.
func unpack(t *testing.T, name, dir string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	} else if r, err = gzip.NewReader(f); err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What was planted in the export of Riverside General is found by mapping it, at its place, under its rule; and nothing
// else is. What only the check over all ids finds (duplicate keys, references to nothing) is looked for here as the
// pipeline does.
func TestRiverside(t *testing.T) {
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, fixtures.Riverside()); err != nil {
		t.Fatal(err)
	}
	a, counts, notices := mapExport(t, []*mapping.Pack{riverside(t)}, filepath.Join(dir, "export"), zone, []string{"", "NULL"}, func(string, []byte) {})
	for _, n := range notices {
		if n.Severity == mapping.IsFinding {
			t.Errorf("%s: %v", n.Rule, n.Fault)
		}
	}
	for _, s := range wroteNothing(counts) {
		t.Errorf("read something and wrote nothing: %s", s)
	}
	type planted struct {
		Table string
		Line  int
		Rule  string
	}
	var expected struct {
		Tables                     map[string]int
		Refused, Skipped, Findings []planted
	}
	data, err := fs.ReadFile(fixtures.Riverside(), "expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &expected); err != nil {
		t.Fatal(err)
	}
	for table, n := range expected.Tables {
		if a.read[table] != n {
			t.Errorf("%s: %d records read, want %d", table, a.read[table], n)
		}
	}
	for _, place := range a.twice {
		a.refused[place] = string(mapping.Duplicate)
	}
	for id, place := range a.refs {
		if _, ok := a.ids[id]; !ok {
			a.refused[place] = string(mapping.Missing)
		}
	}
	for id, place := range a.drops {
		if _, ok := a.ids[id]; !ok {
			a.findings[place] = mapping.FindDroppedRef
		}
	}
	check := func(what string, want []planted, got map[string]string) {
		for _, p := range want {
			place := fmt.Sprintf("%s:%d", p.Table, p.Line)
			if got[place] != p.Rule {
				t.Errorf("%s %s: %q, want %q", place, what, got[place], p.Rule)
			}
			delete(got, place)
		}
		for place, rule := range got {
			t.Errorf("%s %s: %q, which nobody planted", place, what, rule)
		}
	}
	for place := range a.refused { // a finding on a refused record is part of the refusal
		delete(a.findings, place)
	}
	check("refused", expected.Refused, a.refused)
	check("found", expected.Findings, a.findings)
	for _, p := range expected.Skipped {
		if a.outcomes["patient"]["skipped: "+p.Rule] != 1 {
			t.Errorf("%v skipped, want 1 by %q", a.outcomes["patient"], p.Rule)
		}
	}
}
