package mapping

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// assemble puts a resource together from what its explanation says of its elements.
func assemble(t *testing.T, e *Explained) []byte {
	t.Helper()
	root := &fhir.Node{Kind: fhir.Object}
	for _, x := range e.Elements {
		value, err := fhir.Parse(x.Value.Reveal())
		if err != nil {
			t.Fatalf("%s: %v", x.Path, err)
		}
		put(root, x.Path, value)
	}
	return root.AppendCanonical(nil)
}

func put(n *fhir.Node, path string, value *fhir.Node) {
	name, rest, _ := strings.Cut(path, ".")
	name, index, list := strings.Cut(name, "[")
	child := n.Get(name)
	if !list {
		if rest == "" {
			n.Set(name, value)
			return
		}
		if child == nil {
			child = &fhir.Node{Kind: fhir.Object}
			n.Set(name, child)
		}
		put(child, rest, value)
		return
	}
	if child == nil {
		child = &fhir.Node{Kind: fhir.Array}
		n.Set(name, child)
	}
	i := 0
	fmt.Sscanf(index, "%d]", &i)
	for len(child.Items) <= i {
		child.Items = append(child.Items, &fhir.Node{Kind: fhir.Object})
	}
	if rest == "" {
		child.Items[i] = value
		return
	}
	put(child.Items[i], rest, value)
}

// checkExplained compares an explanation with what a worker that explains nothing makes of the same records, and every
// element of it with the mapping file.
func checkExplained(t *testing.T, p *Program, m *Mapping, records []*extract.Record, finder Finder, s *phi.Sealer) *Explanation {
	t.Helper()
	w := p.NewWorker()
	w.SetFinder(finder)
	e, err := w.Explain(m, records, 0, 1, s)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	plain := p.NewWorker()
	plain.SetFinder(finder)
	res, err := plain.mapAll(m, records, 1, func(r *Resource) error {
		if len(want) < len(e.Resources) {
			checkPolicy(t, &e.Resources[len(want)], s, r)
		}
		want = append(want, bytes.Clone(r.Whole))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Result.Outcome != res.Outcome || e.Result.Rule != res.Rule || e.Result.Element != res.Element || len(e.Result.Findings) != len(res.Findings) {
		t.Fatalf("%s: explained as %s (%s), mapped as %s (%s)", m.Name, e.Result.Outcome, e.Result.Rule, res.Outcome, res.Rule)
	}
	if res.Outcome != Mapped {
		return e
	}
	if len(e.Resources) != len(want) {
		t.Fatalf("%s: %d resources explained, %d made", m.Name, len(e.Resources), len(want))
	}
	for i := range e.Resources {
		x := &e.Resources[i]
		if got := assemble(t, x); !bytes.Equal(got, want[i]) {
			t.Errorf("%s: put together from the explanation\n%s\nmapped\n%s", m.Name, got, want[i])
		}
		made := map[int]bool{}
		for _, el := range x.Elements {
			switch {
			case el.Formula >= 0:
				made[el.Formula] = true
			case el.Place.Line == 0:
				if !slices.ContainsFunc([]string{"id", "resourceType", "meta.tag"}, func(own string) bool { return within(el.Path, own) }) {
					t.Errorf("%s: %s is of nothing", m.Name, el.Path)
				}
			default:
				if text := literalAt(t, p, el.Place); !strings.HasPrefix(text, strings.Trim(string(el.Value.Reveal()), `"`)) && !strings.Contains(string(el.Value.Reveal()), `\`) {
					t.Errorf("%s: %s is %s, and at %s stands %q", m.Name, el.Path, el.Value.Reveal(), el.Place, text)
				}
			}
		}
		for j, c := range x.Computed {
			if (c.Status == Wrote && c.Items == 0) != made[j] {
				t.Errorf("%s: the formula of %s %s, and has elements: %t", m.Name, c.Path, c.Status, made[j])
			}
		}
	}
	return e
}

// checkPolicy compares what an explanation says of the policy with what the sealer leaves in the clinical part: every
// kept value, what stands in the place of the others, the mark that something was taken out, and nothing else.
func checkPolicy(t *testing.T, e *Explained, s *phi.Sealer, r *Resource) {
	t.Helper()
	sealed, err := s.Seal(&r.Resource)
	if err != nil {
		t.Fatal(err)
	}
	count := func(n *fhir.Node, into map[string]int, by int) {
		leaves(n, "", func(path string, n *fhir.Node) {
			name := strings.TrimRight(path[strings.LastIndexByte(path, '.')+1:], "[]0123456789")
			into[name+"="+string(n.AppendCanonical(nil))] += by
		})
	}
	diff := map[string]int{}
	stands := map[string]bool{}
	for _, x := range e.Elements {
		if x.Method == phi.Keep {
			value, _ := fhir.Parse(x.Value.Reveal())
			one := &fhir.Node{Kind: fhir.Object}
			put(one, strings.TrimRight(x.Path[strings.LastIndexByte(x.Path, '.')+1:], "[]0123456789"), value)
			count(one, diff, 1)
			continue
		}
		if stand := string(x.Became.Reveal()); stand != "" && !stands[x.Cut] {
			stands[x.Cut] = true
			if !strings.HasPrefix(stand, "{") {
				stand = "{" + stand + "}"
			}
			n, err := fhir.Parse([]byte(stand))
			if err != nil {
				t.Fatalf("%s: in its place stands %s", x.Path, stand)
			}
			count(n, diff, 1)
		}
	}
	clinical, err := fhir.Parse(sealed.Clinical())
	if err != nil {
		t.Fatal(err)
	}
	if labels := clinical.At("meta", "security"); sealed.Marked() && labels != nil {
		labels.Items = slices.DeleteFunc(labels.Items, func(n *fhir.Node) bool { return n.Get("code").Str() == "REDACTED" })
		if len(labels.Items) == 0 {
			clinical.Get("meta").Set("security", nil)
		}
	}
	count(clinical, diff, -1)
	for leaf, n := range diff {
		if n != 0 {
			t.Errorf("%s: the explanation and the clinical part differ by %d of %s", e.Type, n, leaf)
		}
	}
}

// literalAt is the text of the file at a place, without an opening quote.
func literalAt(t *testing.T, p *Program, at Fault) string {
	t.Helper()
	files := map[string][]string{}
	for _, f := range p.files {
		files[f.path] = f.lines
		for _, x := range f.pack.fragments {
			files[x.path] = x.lines
		}
	}
	if lines := files[at.File]; at.Line <= len(lines) {
		return strings.TrimPrefix(strings.TrimLeft(string([]rune(lines[at.Line-1])[at.Column-1:]), `'"`), "=")
	}
	t.Fatalf("no file %s", at.File)
	return ""
}

// TestExplanationIsWhatIsMapped explains every case of every shipped pack, under two policies.
func TestExplanationIsWhatIsMapped(t *testing.T) {
	folders, err := os.ReadDir(filepath.Join(sharedtest.ModuleRoot(t), "mappings"))
	if err != nil {
		t.Fatal(err)
	}
	explained := 0
	for _, d := range folders {
		if !d.IsDir() {
			continue
		}
		pack, faults := Read(os.DirFS(filepath.Join(sharedtest.ModuleRoot(t), "mappings", d.Name())), d.Name())
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		for _, policyName := range []string{"limited-data-set", "safe-harbor-elements"} {
			seal, _, policy := sealer(t, policyName)
			p, _, faults := Compile([]*Pack{pack}, Options{Migration: "case", IDKey: []byte("cases have no secrets"), Policy: policy,
				Sources: madeUp([]*Pack{pack}, nil), NoCoverage: true})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			for _, cf := range pack.cases {
				m := p.Mapping(cf.mapping)
				for i := range cf.cases {
					r := caseRun{file: cf, t: &cf.cases[i], p: p, m: m}
					var records []*extract.Record
					for j, cells := range r.t.rows {
						records = append(records, r.record(cells, j))
					}
					e := checkExplained(t, p, m, records, r.tables(), seal)
					for i := range e.Resources {
						explained += len(e.Resources[i].Elements)
					}
				}
			}
		}
	}
	if explained < 5000 {
		t.Errorf("only %d elements were explained", explained)
	}
	t.Logf("%d elements explained", explained)
}

// checkFormulas evaluates the formulas of an explanation by themselves, as `chartlift eval` does, and looks that what each
// gives is what stands at the path that the explanation says it wrote. It returns how many could be tried: not those over
// items.
func checkFormulas(t *testing.T, p *Program, table *extract.Table, r *extract.Record, e *Explanation, known map[string]*Evaluator, tables func(*Program) Finder) (tried int) {
	t.Helper()
	for i := range e.Resources {
		x := &e.Resources[i]
		whole, err := fhir.Parse(assemble(t, x))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range x.Computed {
			key := table.Name + "\x00" + c.Text
			ev, ok := known[key]
			if !ok {
				if ev, _, _ = p.Evaluator(table, c.Text); ev != nil && len(ev.Indexes()) > 0 {
					ev.SetFinder(tables(ev.w.p))
				}
				known[key] = ev
			}
			if ev == nil || c.Status == Failed || c.Items > 0 {
				continue
			}
			tried++
			values, err := ev.Run(r)
			if err != nil || (len(values) > 0) != (c.Status == Wrote) {
				t.Errorf("%s: %s by itself gives %d values, and the explanation says %s (%v)", r.Place(), c.Path, len(values), c.Status, err)
				continue
			}
			for j, path := range c.paths {
				at := valueAt(whole, path)
				if at == nil || j >= len(values) {
					t.Errorf("%s: nothing stands at %s", r.Place(), path)
					continue
				}
				want, got := values[j].Text(), at.Text
				if n := values[j].Node(); n != nil {
					want, got = string(n.AppendCanonical(nil)), string(at.AppendCanonical(nil))
				}
				if want != got {
					t.Errorf("%s: at %s stands %s, and the formula gives %s", r.Place(), path, got, want)
				}
			}
		}
	}
	return tried
}

// valueAt is the value at a path with indexes.
func valueAt(n *fhir.Node, path string) *fhir.Node {
	for _, step := range strings.Split(path, ".") {
		name, index, list := strings.Cut(step, "[")
		n = n.Get(name)
		if list {
			i := 0
			fmt.Sscanf(index, "%d]", &i)
			n = n.Item(i)
		}
	}
	return n
}

// TestExplanationOfRecords explains the records of the made-up hospital, and some of a real export, by the packs that are
// for them.
func TestExplanationOfRecords(t *testing.T) {
	root := sharedtest.ModuleRoot(t)
	for _, c := range []struct {
		name, pack, dir, encoding string
		every                     int64
	}{
		{"riverside", filepath.Join(root, "fixtures", "riverside", "mappings"), filepath.Join(root, "fixtures", "riverside", "export"), "utf-8", 1},
		{"synthea-ca-2022", filepath.Join(root, "mappings", "synthea"), "", "utf-8", 61},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir
			if dir == "" {
				dir = untar(t, c.name)
			}
			src, err := csv.Open(csv.Options{Name: "ehr", Dir: dir, Files: []string{"*.csv"}, Encoding: c.encoding})
			if err != nil {
				t.Fatal(err)
			}
			tables, err := src.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pack, faults := Read(os.DirFS(c.pack), c.name)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			seal, _, policy := sealer(t, "limited-data-set")
			zone, err := time.LoadLocation("America/Chicago")
			if err != nil {
				t.Fatal(err)
			}
			p, _, faults := Compile([]*Pack{pack}, Options{Migration: "test", IDKey: make([]byte, 32), Policy: policy,
				Sources: []Source{{Name: "ehr", Zone: zone, Blank: []string{"NULL"}, Tables: tables}}, NoCoverage: true})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			outcomes, tried, evaluators := map[Outcome]int{}, 0, map[string]*Evaluator{}
			finder := beside(t, p, src, tables)
			for _, table := range tables {
				shards, err := src.Shards(t.Context(), table)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range p.ForTable(table.Name) {
					if len(m.With) > 0 {
						continue
					}
					for _, shard := range shards {
						for r, err := range src.Read(t.Context(), shard, nil) {
							if err != nil || r.Ordinal%c.every != 0 {
								continue
							}
							e := checkExplained(t, p, m, []*extract.Record{r}, finder, seal)
							outcomes[e.Result.Outcome]++
							if e.Result.Outcome == Mapped && m.body.forEach == nil && !m.Grouped {
								tried += checkFormulas(t, p, table, r, e, evaluators, func(p *Program) Finder { return beside(t, p, src, tables) })
							}
						}
					}
				}
			}
			t.Log(outcomes, tried, "formulas evaluated by themselves")
			if tried < 2000 {
				t.Errorf("only %d formulas were evaluated by themselves", tried)
			}
			if outcomes[Mapped] < 500 || c.name == "riverside" && outcomes[Refused] < 5 {
				t.Errorf("explained %v", outcomes)
			}
		})
	}
}
