package mapping

import (
	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
)

// Evaluator is one formula over the records of a table, for `chartlift eval`. Not for concurrent use.
type Evaluator struct {
	w    *Worker
	b    *body
	expr *fhirpath.Expr
}

// Evaluator compiles an expression over the records of a table with all functions of the mapping language; the
// concept maps are those of all packs, the first pack's first. Names are checked strictly. The faults have the line 1
// and the column within the expression; findings come back as notices.
func (p *Program) Evaluator(t *extract.Table, expression string) (*Evaluator, []Notice, Faults) {
	// The expression gets a program of its own, since new maps and zones must not change the one that runs.
	own := &Program{migration: p.migration, idKey: p.idKey, Types: p.Types}
	c := &compiler{o: Options{Migration: p.migration, IDKey: p.idKey, Sources: p.sources}, packs: p.packs, files: p.files, targets: p.targets,
		slots: newSlots(), program: own, beside: map[*fhirpath.Env]*Index{}, read: map[tableKey]map[string]bool{}, unused: map[tableKey]map[string]bool{}}
	pack := &Pack{Name: "eval", Maps: allMaps(p.packs)}
	b := &body{file: &file{pack: pack}, table: t, columns: t.Columns}
	f := &formulaCompiler{c: c, file: b.file}
	for _, s := range p.sources {
		if s.Name == t.Source {
			b.blank, f.zone = s.Blank, s.Zone
		}
	}
	env := &fhirpath.Env{Columns: b.columns, Strict: true, Record: true, Functions: c.functions(f), Constants: p.constants, Terminology: p.terminology}
	expr, problems := fhirpath.Compile(expression, env)
	var faults Faults
	var notices []Notice
	for _, x := range problems {
		fault := Fault{Line: 1, Column: runes(expression[:min(x.Offset, len(expression))]) + 1, Message: x.Message, Hint: x.Hint}
		if x.Finding {
			notices = append(notices, Notice{Severity: IsFinding, Rule: "blank", Fault: fault})
		} else {
			faults = append(faults, fault)
		}
	}
	if expr == nil {
		return nil, notices, faults
	}
	b.touched = expr.Columns()
	return &Evaluator{w: own.NewWorker(), b: b, expr: expr}, notices, nil
}

// Run evaluates the expression over a record. The values are valid until the next call. The error names a code and a
// place in the expression, never a value.
func (e *Evaluator) Run(r *extract.Record) ([]fhirpath.Value, error) {
	if len(r.Cells) < len(e.b.table.Columns) {
		return nil, errRecord
	}
	w := e.w
	w.ctx.Reset()
	w.found = w.found[:0]
	if len(w.row.Cells) != len(e.b.columns) {
		w.row.Cells = make([]string, len(e.b.columns))
	}
	for _, i := range e.b.touched {
		w.row.Cells[i] = e.b.cell(r.Cells, i)
	}
	w.row.Ordinal = r.Ordinal
	var err error
	w.vals, err = e.expr.AppendRow(w.ctx, &w.row, w.vals[:0])
	if w.broken != nil {
		err, w.broken = w.broken, nil
	}
	return w.vals, err
}

// Indexes are the tables that the expression looks in.
func (e *Evaluator) Indexes() []*Index { return e.w.p.Indexes }

// SetFinder gives the evaluator the tables of [Evaluator.Indexes].
func (e *Evaluator) SetFinder(f Finder) { e.w.SetFinder(f) }

// Context is the memory of the evaluation, for turning values into JSON.
func (e *Evaluator) Context() *fhirpath.Context { return e.w.ctx }
