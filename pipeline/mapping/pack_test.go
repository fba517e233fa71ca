package mapping

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// shippedPack reads the pack synthea from its folder.
func shippedPack(t testing.TB) *Pack {
	t.Helper()
	p, faults := Read(os.DirFS(filepath.Join(sharedtest.ModuleRoot(t), "mappings", "synthea")), "synthea")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

// untar unpacks the CSV files of one of Synthea's exports.
func untar(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", name, "csv.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".csv") {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// sealer makes a sealer with keys in a temporary folder.
func sealer(t testing.TB, policy string) (*phi.Sealer, *phi.Keyring, *phi.Policy) {
	t.Helper()
	p, err := phi.LoadPolicy(policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	kek := "file:" + filepath.Join(t.TempDir(), "keys", "kek")
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	k, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return phi.NewSealer("test", k, p), k, p
}

// TestShippedPackOverRealData maps three layouts of Synthea whole and checks every resource: canonical, in order, cuts in
// range, and (on a sample) cut exactly where the policy's own generic path cuts.
func TestShippedPackOverRealData(t *testing.T) {
	for _, name := range []string{"synthea-ca-2022", "synthea-ri-2022", "synthea-ma-2025"} {
		t.Run(name, func(t *testing.T) {
			dir := untar(t, name)
			src, err := csv.Open(csv.Options{Name: "ehr", Dir: dir, Files: []string{"*.csv"}})
			if err != nil {
				t.Fatal(err)
			}
			tables, err := src.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seal, _, policy := sealer(t, "limited-data-set")
			unused := map[string]string{"claims": "", "claims_transactions": "", "imaging_studies": "", "supplies": "", "payers": "", "payer_transitions": ""}
			o := Options{Migration: "test", IDKey: make([]byte, 32), Policy: policy, Sources: []Source{{Name: "ehr", Tables: tables}}, UnusedTables: unused}
			p, notices, faults := Compile([]*Pack{shippedPack(t)}, o)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			for _, n := range notices {
				if n.Severity == IsFinding {
					t.Errorf("finding: %s", n.Fault)
				}
			}
			var lines []string
			finder := beside(t, p, src, tables)
			for _, table := range tables {
				for _, m := range p.ForTable(table.Name) {
					counts := mapTable(t, p, m, src, table, finder, seal)
					lines = append(lines, fmt.Sprintf("%s level %d: %v", m.Name, m.Level, counts))
				}
			}
			sort.Strings(lines)
			t.Log("\n" + strings.Join(lines, "\n"))
			formulas, unmapped := p.Counters()
			for _, f := range formulas {
				if f.Empties > 0 && f.Reason == "" {
					t.Logf("%s: %s read %d times and wrote nothing %d times", f.Place, f.Path, f.Reads, f.Empties)
				}
			}
			for _, u := range unmapped {
				t.Logf("unmapped %s: %d records, %d patients", u, u.Count, u.Patients)
			}
		})
	}
}

// beside reads the tables that a program looks in beside those of its mappings.
func beside(t *testing.T, p *Program, src *csv.Source, tables []*extract.Table) Finder {
	t.Helper()
	all := rowTables{}
	for _, table := range tables {
		if !slices.ContainsFunc(p.Indexes, func(x *Index) bool { return x.Table == table.Name && !x.Absent() }) {
			continue
		}
		shards, err := src.Shards(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		var rows []Row
		for _, shard := range shards {
			for r, err := range src.Read(t.Context(), shard, nil) {
				if err != nil {
					t.Fatal(err)
				}
				cells := make([]string, len(r.Cells))
				for i, c := range r.Cells {
					cells[i] = strings.Clone(c)
				}
				rows = append(rows, Row{Cells: cells, Place: r.Place(), Ordinal: r.Ordinal})
			}
		}
		all.fill(p, table, rows)
	}
	return all
}

func mapTable(t *testing.T, p *Program, m *Mapping, src *csv.Source, table *extract.Table, finder Finder, seal *phi.Sealer) map[string]int {
	t.Helper()
	counts := map[string]int{}
	w := p.NewWorker()
	w.SetFinder(finder)
	n := 0
	emit := func(r *Resource) error {
		n++
		counts["made"]++
		if n%7 == 0 {
			checkResource(t, r)
		}
		if n%23 == 0 && seal != nil {
			checkCuts(t, r, seal)
		}
		return nil
	}
	ordinals := map[ID]int{}
	groups := map[ID][]Row{}
	var order []ID
	tell := func(res Result) {
		key := res.Outcome.String()
		if res.Rule != "" {
			key += " " + res.Rule
			if res.Outcome == Refused {
				key += " " + res.Column + " " + res.Detail
			}
		}
		counts[key]++
		for _, f := range res.Findings {
			counts["finding "+f.Rule]++
		}
	}
	shards, err := src.Shards(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		for r, err := range src.Read(t.Context(), s, nil) {
			if err != nil {
				t.Fatal(err)
			}
			counts["read"]++
			if m.Grouped {
				id, res, err := w.GroupKey(m, r)
				if err != nil {
					t.Fatal(err)
				}
				if res.Outcome != Mapped {
					tell(res)
					continue
				}
				if groups[id] == nil {
					order = append(order, id)
				}
				cells := make([]string, len(r.Cells))
				for i, c := range r.Cells {
					cells[i] = strings.Clone(c)
				}
				groups[id] = append(groups[id], Row{Cells: cells, Place: r.Place(), Ordinal: r.Ordinal})
				continue
			}
			id, _ := w.Key(m, r)
			ordinals[id]++
			res, err := w.Map(m, r, ordinals[id], emit)
			if err != nil {
				t.Fatal(err)
			}
			tell(res)
		}
	}
	for _, id := range order {
		res, err := w.MapGroup(m, groups[id], 1, emit)
		if err != nil {
			t.Fatal(err)
		}
		for range groups[id] {
			tell(res)
		}
	}
	return counts
}

// checkResource checks what must hold for every resource written.
func checkResource(t testing.TB, r *Resource) {
	t.Helper()
	n, err := fhir.Parse(r.Whole)
	if err != nil {
		t.Fatalf("%s: %v", r.Place, err)
	}
	if canonical := n.AppendCanonical(nil); string(canonical) != string(r.Whole) {
		t.Fatalf("%s is not canonical:\n%s\n%s", r.Place, r.Whole, canonical)
	}
	if n.ID() != r.Resource.ID || n.ID() != r.ID.String() || n.ResourceType() != r.Type {
		t.Fatalf("%s: identity", r.Place)
	}
	if _, err := fhir.Parse(r.Row); err != nil {
		t.Fatalf("%s: the row is not JSON: %v", r.Place, err)
	}
	end := 0
	for _, c := range r.Cuts {
		if c.Start < end || c.End <= c.Start || c.End > len(r.Whole) {
			t.Fatalf("%s: cut %s [%d,%d) after %d of %d", r.Place, c.Path, c.Start, c.End, end, len(r.Whole))
		}
		end = c.End
	}
	if r.Mark >= 0 && !strings.HasPrefix(string(r.Whole[r.Mark:]), `"`) {
		t.Fatalf("%s: mark", r.Place)
	}
}

// checkCuts compares the cuts of the compiled writer with those of the policy's generic path.
func checkCuts(t testing.TB, r *Resource, seal *phi.Sealer) {
	t.Helper()
	mine := phi.Resource{Type: r.Type, ID: r.Resource.ID, Patient: r.Patient, Whole: slices.Clone(r.Whole), Cuts: slices.Clone(r.Cuts), Mark: r.Mark, Place: r.Place, Row: slices.Clone(r.Row)}
	oracle := mine
	oracle.Cuts = nil
	if err := seal.Cut(&oracle); err != nil {
		t.Fatal(err)
	}
	a, err := seal.Seal(&mine)
	if err != nil {
		t.Fatalf("%s: %v", r.Place, err)
	}
	b, err := seal.Seal(&oracle)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b.Clinical()), string(a.Clinical())); diff != "" {
		t.Fatalf("%s: the clinical part differs (-generic +compiled):\n%s", r.Place, diff)
	}
}

func TestShippedCases(t *testing.T) {
	ran, err := RunCases([]*Pack{shippedPack(t)}, CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ran.Results {
		if r.Difference != "" {
			t.Errorf("%s: %s: %s\n%s", r.Place, r.Mapping, r.Case, r.Difference)
		}
	}
	t.Logf("%d cases", len(ran.Results))
}
