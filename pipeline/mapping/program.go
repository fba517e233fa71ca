package mapping

import (
	"sync"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// Program is all mappings of a plan, compiled against its tables. It is immutable but for its counters and may be
// used by any number of goroutines, each with a [Worker] of its own.
type Program struct {
	Mappings []*Mapping // in the order of levels, then names
	Types    []string   // the resource types, sorted; Ref.Type is an index into it
	Indexes  []*Index   // the tables that mappings read beside their own, and how

	migration   string
	idKey       []byte
	policy      *phi.Policy
	terminology fhirpath.Terminology
	validator   *validate.Validator // nil: nothing is checked
	digest      string
	zones       []*time.Location
	refs        int // ref()s that have a place in the workers' memory
	maps        []*mapSlot
	formulas    []programFormula
	targets     map[string]*refTarget
	packs       []*Pack
	sources     []Source
	files       []*file
	constants   map[string]fhirpath.Constant // of all packs, the first pack's first

	mu      sync.Mutex
	workers []*Worker
	total   tally
}

type programFormula struct {
	mapping string
	*formula
}

// Digest pins what decides bytes: mappings, concept maps, tables, policy, zones and definitions. Comments and the
// layout of files are not part of it.
func (p *Program) Digest() string { return p.digest }

// ForTable lists the mappings of a table, by `table` or `source/table`, in the program's order.
func (p *Program) ForTable(name string) (out []*Mapping) {
	for _, m := range p.Mappings {
		if m.Table == name || m.Source+"/"+m.Table == name {
			out = append(out, m)
		}
	}
	return out
}

// Mapping finds a mapping by name, nil if there is none.
func (p *Program) Mapping(name string) *Mapping {
	for _, m := range p.Mappings {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Condition is a formula over the records of one mapping, such as a wave's.
type Condition struct {
	mapping *Mapping
	f       *formula
}

// Condition compiles a formula (without its `=`) over the records of a mapping. Faults have the line 1 and the column
// within the expression; the caller knows where it stands.
func (p *Program) Condition(m *Mapping, expression string) (*Condition, Faults) {
	env := &fhirpath.Env{Columns: m.body.columns, Strict: true, Record: true, Constants: p.constants}
	expr, problems := fhirpath.Compile(expression, env)
	var faults Faults
	for _, x := range problems {
		if !x.Finding {
			faults = append(faults, Fault{Line: 1, Column: runes(expression[:min(x.Offset, len(expression))]) + 1, Message: x.Message, Hint: x.Hint})
		}
	}
	if expr == nil {
		return nil, faults
	}
	if st := expr.Static(); !st.Kinds.Has(fhirpath.KindBoolean) {
		return nil, Faults{{Line: 1, Column: 1, Message: "the condition must be a Boolean, not " + describe(st)}}
	}
	return &Condition{m, &formula{expr: expr, index: -1, own: expr.Columns()}}, nil
}

// Test tells whether the record meets the condition; empty is false. The error names what failed, never a value.
func (w *Worker) Test(c *Condition, r *extract.Record) (bool, error) {
	w.begin(c.mapping)
	b := c.mapping.body
	w.cells = w.load(w.cells, b, r.Cells)
	for _, i := range c.f.own {
		w.cells[i] = b.cell(r.Cells, i)
	}
	w.row = fhirpath.Row{Cells: w.cells, Ordinal: r.Ordinal}
	return c.f.expr.True(w.ctx, fhirpath.RowValue(&w.row))
}

// suggest is the nearest mapping name, for messages.
func (p *Program) suggest(name string) string {
	names := make([]string, len(p.Mappings))
	for i, m := range p.Mappings {
		names[i] = m.Name
	}
	return document.Hint(name, names)
}
