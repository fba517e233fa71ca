package mapping

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// Explanation is what one mapping makes of one record, or of the records of one group, and why. It comes out of the very
// run of the mapping: the worker notes what it does while it does it, so nothing is worked out a second time.
type Explanation struct {
	Mapping   *Mapping
	Result    Result
	Rules     []Rule     // of skip, refuse and find, as far as they were asked, in that order
	Computed  []Computed // formulas outside of the resources: patient, forEach, forEach key
	Resources []Explained
}

// Rule is a rule that was asked.
type Rule struct {
	Name  string
	Kind  string // skipped, refused or found: what it does if it says true
	Acted bool
	Computed
}

// Explained is one resource. Of a refused record it is as far as it came: it has no elements then.
type Explained struct {
	Type, ID string
	Ordinal  int
	Computed []Computed // every formula of the template that was evaluated, in that order
	Elements []Element  // every value of the resource, in canonical order
}

// Status is what a formula came to.
type Status string

// What a formula can come to. Of those that only decide, such as forEach, is said that they wrote.
const (
	Wrote    Status = "wrote"
	WasEmpty Status = "empty"
	Failed   Status = "failed" // the record is refused for it
)

// Computed is one evaluation of a formula.
type Computed struct {
	Path    string // of the element it is for, with indexes; of a list that stayed empty, the list
	Text    string // the formula without its `=`
	Place   Fault  // where it stands; no message
	Status  Status
	Reads   []Cell
	Lookups []Lookup
	Items   int // of a forEach

	paths []string // of the entries, where a formula gives several
}

// Cell is a column that a formula reads, with what stands in it.
type Cell struct {
	Column string
	Of     string       // the collection or table it is a column of; "" for the record's own
	Texts  []phi.Secret // one, of the record itself; one for each row of a collection
	Looked bool         // it is of rows that lookup() finds; which these are is not told
}

// Lookup is a question to a concept map.
type Lookup struct {
	Map     string // pack/map
	Source  phi.Secret
	Known   bool
	Unknown string // what the map does about codes it does not know: refuse, text or keep
	Targets []terminology.Coding
}

// Element is one value of a resource.
type Element struct {
	Path    string
	Value   phi.Secret // JSON
	Formula int        // of Explained.Computed; -1 for a literal
	Place   Fault      // of a literal; without a line if Chartlift writes it by itself: id, resourceType, meta.tag
	Method  phi.Method // what the policy does with it
	Rule    string     // the rule of the policy that says so
	Cut     string     // the path of the piece that is taken as one; "" if it is kept
	Became  phi.Secret // JSON: what stands in its place; empty where nothing does, or the value itself
}

// Explain maps the records (one, or those of one group) as Map and MapGroup do and says why they become what they
// become. at says which of the records is asked about: of a group the others' skip rules are not told. The sealer tells
// what the policy does; without one all elements seem to be kept. A grouped record that is skipped is explained by
// itself. Errors as of Map.
func (w *Worker) Explain(m *Mapping, records []*extract.Record, at, ordinal int, s *phi.Sealer) (*Explanation, error) {
	t := &trace{out: &Explanation{Mapping: m}, at: at}
	w.trace = t
	defer func() { w.trace = nil }()
	made := 0
	res, err := w.mapAll(m, records, ordinal, func(r *Resource) error {
		err := t.elements(w, r, made, s)
		made++
		return err
	})
	if err != nil {
		return nil, err
	}
	t.settle(res)
	t.out.Result = res
	t.out.Result.Findings = append([]Finding(nil), res.Findings...)
	return t.out, nil
}

// mapAll maps one record, or the records of one group.
func (w *Worker) mapAll(m *Mapping, records []*extract.Record, ordinal int, emit func(*Resource) error) (Result, error) {
	if len(records) == 0 {
		return Result{}, errors.New("map: no record")
	}
	if !m.Grouped {
		return w.Map(m, records[0], ordinal, emit)
	}
	var rows []Row
	for i, rec := range records {
		t := w.trace
		if t != nil && t.at != i {
			w.trace = nil
		}
		_, res, err := w.GroupKey(m, rec)
		w.trace = t
		if err != nil {
			return res, err
		}
		if res.Outcome == Mapped {
			rows = append(rows, Row{Cells: rec.Cells, Place: rec.Place(), Ordinal: rec.Ordinal})
		} else if len(records) == 1 || res.Outcome == Refused {
			return res, nil
		}
	}
	if len(rows) == 0 {
		return Result{Outcome: Skipped, Rule: "every row"}, nil
	}
	return w.MapGroup(m, rows, ordinal, emit)
}

// HasKey tells whether the record's key has these parts, in the order of `key:`.
func (m *Mapping) HasKey(r *extract.Record, parts []string) bool {
	if len(parts) != len(m.body.key) || len(r.Cells) < len(m.body.table.Columns) {
		return false
	}
	for i, at := range m.body.key {
		if m.body.cell(r.Cells, at) != parts[i] {
			return false
		}
	}
	return true
}

// trace notes what a worker does with one record.
type trace struct {
	out    *Explanation
	nodes  []map[string]templateNode // by resource: where the parts of the template stand, by path
	at     int                       // the record of a group that is asked about
	inside bool                      // a formula of the template is being evaluated
	refs   map[string]string         // references that ref() gave, as cases write them: Patient/… → ref:patient(p1)
	open   *Computed                 // the formula at hand
	last   *Computed                 // the same, outside of the template
}

// computed is a formula that begins to be evaluated.
func computed(w *Worker, f *formula, focus fhirpath.Value) Computed {
	return Computed{Path: f.path, Text: f.text, Place: f.place, Status: Failed, Reads: w.cellsOf(f, focus)}
}

// begin notes that a formula of the template is evaluated.
func (t *trace) begin(w *Worker, f *formula, focus fhirpath.Value) {
	c := computed(w, f, focus)
	c.Path = string(w.path)
	list := &t.out.Resources[len(t.out.Resources)-1].Computed
	*list = append(*list, c)
	t.open = &(*list)[len(*list)-1]
}

// outside notes that a formula outside of the template is evaluated. It went well if something comes after it.
func (t *trace) outside(w *Worker, f *formula, focus fhirpath.Value) {
	t.done()
	t.out.Computed = append(t.out.Computed, computed(w, f, focus))
	t.open = &t.out.Computed[len(t.out.Computed)-1]
	t.last = t.open
}

// done ends a formula outside of the template.
func (t *trace) done() {
	if t.last != nil {
		t.last.Status = Wrote
	}
	t.open, t.last = nil, nil
}

// end notes what the formula at hand came to, for one of the values that it may give.
func (t *trace) end(w *Worker, s status) {
	if t.open == nil {
		return
	}
	switch s {
	case nothing:
		if t.open.Status != Wrote {
			t.open.Status = WasEmpty
		}
	case failed:
		t.open.Status = Failed
	default:
		t.open.Status = Wrote
		t.open.paths = append(t.open.paths, string(w.path))
	}
}

// each notes how many items a forEach has.
func (t *trace) each(w *Worker, items int) {
	if t.open == nil {
		return
	}
	t.open.Items, t.open.Status = items, Wrote
	if items == 0 {
		t.open.Status = WasEmpty
	}
	t.open = nil
}

// rule notes that a rule is asked.
func (t *trace) rule(w *Worker, kind string, r *rule, focus fhirpath.Value) {
	t.done()
	c := computed(w, r.formula, focus)
	c.Status = Wrote
	t.out.Rules = append(t.out.Rules, Rule{Name: r.name, Kind: kind, Computed: c})
	t.open = &t.out.Rules[len(t.out.Rules)-1].Computed
}

// resource begins a resource.
func (t *trace) resource(w *Worker, b *body) {
	t.done()
	t.out.Resources = append(t.out.Resources, Explained{Type: w.m.Type, ID: w.idText})
	t.nodes = append(t.nodes, map[string]templateNode{"": {b.root.node, b.file}})
}

// enter notes that a part of the template is written; true if it is a formula, which ends with leave.
func (t *trace) enter(w *Worker, p *plan, focus fhirpath.Value) bool {
	if t.inside {
		return false
	}
	if p.f == nil {
		if p.node != nil {
			t.nodes[len(t.nodes)-1][string(w.path)] = templateNode{p.node, w.m.body.file}
		}
		return false
	}
	t.inside = true
	t.begin(w, p.f, focus)
	return true
}

// leave ends what enter began.
func (t *trace) leave(w *Worker, _ *plan, s status) status {
	t.inside = false
	t.end(w, s)
	t.open = nil
	return s
}

// lookup notes a question to a concept map.
func (t *trace) lookup(slot *mapSlot, code string, targets []terminology.Coding, known bool) {
	if t.open != nil {
		t.open.Lookups = append(t.open.Lookups, Lookup{Map: slot.pack + "/" + slot.m.Name, Source: secret(code), Known: known,
			Unknown: slot.m.Unknown.String(), Targets: targets})
	}
}

// ref notes a reference, by the parts of its key as they are in the message of the id.
func (t *trace) ref(target *refTarget, key []byte, id ID) {
	if t.refs == nil {
		t.refs = map[string]string{}
	}
	t.refs[target.start+id.String()] = "ref:" + target.file.name + "(" + joinKey(keyParts(key)) + ")"
}

func secret(text string) phi.Secret { return phi.NewSecret([]byte(text)) }

// settle ends the trace: which rules acted, and that a refused record has made nothing.
func (t *trace) settle(res Result) {
	if res.Outcome != Refused {
		t.done()
	}
	for i := range t.out.Rules {
		r := &t.out.Rules[i]
		switch {
		case r.Kind == "found":
			for _, f := range res.Findings {
				r.Acted = r.Acted || f.Rule == r.Name
			}
		case i == len(t.out.Rules)-1:
			r.Acted = res.Rule == r.Name && res.Outcome.String() == r.Kind
			if !r.Acted && res.Outcome == Refused && len(t.out.Computed) == 0 && len(t.out.Resources) == 0 && res.Element == r.Path {
				r.Status = Failed
			}
		}
	}
	if res.Outcome != Mapped {
		for i := range t.out.Resources {
			t.out.Resources[i].Elements = nil
		}
	}
}

// elements notes every value of a resource that was written: which formula or literal it is of, and what the policy
// makes of it.
func (t *trace) elements(w *Worker, r *Resource, at int, s *phi.Sealer) error {
	whole, err := fhir.Parse(r.Whole)
	if err != nil {
		return fmt.Errorf("the resource written is not JSON: %w", err)
	}
	out := &t.out.Resources[at]
	out.Ordinal = r.Ordinal
	by := map[string]int{}
	for i, c := range out.Computed {
		if c.Status == Wrote && c.Items == 0 {
			for _, path := range c.paths {
				by[path] = i
			}
		}
	}
	var became []phi.Became
	if s != nil {
		if became, err = s.Preview(&r.Resource); err != nil {
			return err
		}
	}
	leaves(whole, "", func(path string, n *fhir.Node) {
		e := Element{Path: path, Value: phi.NewSecret(n.AppendCanonical(nil)), Formula: -1, Method: phi.Keep}
		if i, ok := nearest(path, func(p string) (int, bool) { i, ok := by[p]; return i, ok }); ok {
			e.Formula = i
		} else {
			e.Place = t.literal(w.m.body, at, path)
		}
		for _, b := range became {
			if within(path, b.Path) {
				e.Method, e.Cut, e.Became = b.Method, b.Path, b.Stand
			}
		}
		if w.p.policy != nil {
			e.Rule = w.p.policy.Rule(r.Type, whole, path)
		}
		out.Elements = append(out.Elements, e)
	})
	return nil
}

// leaves calls visit with every value that is neither object nor list, and with empty ones of these.
func leaves(n *fhir.Node, path string, visit func(path string, n *fhir.Node)) {
	switch {
	case n.Kind == fhir.Object && len(n.Members) > 0:
		for _, m := range n.Members {
			leaves(m.Value, join(path, m.Name), visit)
		}
	case n.Kind == fhir.Array && len(n.Items) > 0:
		for i, item := range n.Items {
			leaves(item, fmt.Sprintf("%s[%d]", path, i), visit)
		}
	default:
		visit(path, n)
	}
}

// within tells whether a path is another or lies below it.
func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[' || above == "")
}

// nearest finds the longest path that is the given one or above it.
func nearest[T any](path string, find func(string) (T, bool)) (T, bool) {
	for {
		if found, ok := find(path); ok {
			return found, true
		}
		if path == "" {
			var none T
			return none, false
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}
