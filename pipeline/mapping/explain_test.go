package mapping

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
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
	e, err := w.Explain(m, records, 1, s)
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
	for _, f := range p.files {
		if f.path == at.File && at.Line <= len(f.lines) {
			line := f.lines[at.Line-1]
			return strings.TrimPrefix(strings.TrimLeft(string([]rune(line)[at.Column-1:]), `'"`), "=")
		}
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
