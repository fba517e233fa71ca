package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"testing/fstest"
	"text/tabwriter"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	gofhir "github.com/gofhir/fhirpath"
	gofhireval "github.com/gofhir/fhirpath/eval"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// formula is the same work in three languages. Where FHIRPath alone cannot build an object, gofhir joins its parts as
// text, which is less work; what CEL builds are maps. The third is empty where gofhir has no answer (its toDateTime()
// yields nothing for a text with a zone).
type formula struct {
	ours, cel, gofhir string
	answers           string // what all sides answer, where it is one plain value
}

// typical are formulas as mappings have them.
var typical = []formula{
	{"DESCRIPTION", "DESCRIPTION", "DESCRIPTION", "Body Height"},
	{"DATE.dateTime()", "timestamp(DATE)", "", ""},
	{"VALUE.decimal()", "double(VALUE)", "VALUE.toDecimal()", "171.5"},
	{"VALUE.quantity(UNITS)", `{'value': double(VALUE), 'unit': UNITS, 'system': 'http://unitsofmeasure.org', 'code': UNITS}`,
		`(VALUE & ' \'' & UNITS & '\'').toQuantity()`, ""},
	{"CODE.coding('http://loinc.org', DESCRIPTION)", `{'system': 'http://loinc.org', 'code': CODE, 'display': DESCRIPTION}`,
		`'http://loinc.org|' & CODE & '|' & DESCRIPTION`, ""},
	{"CODE.coding('http://loinc.org', DESCRIPTION).concept(DESCRIPTION)",
		`{'coding': [{'system': 'http://loinc.org', 'code': CODE, 'display': DESCRIPTION}], 'text': DESCRIPTION}`,
		`'http://loinc.org|' & CODE & '|' & DESCRIPTION & '|' & DESCRIPTION`, ""},
	{"ref('patient', PATIENT)", `{'reference': 'Patient/' + PATIENT}`, `'Patient/' & PATIENT`, ""},
	{"iif(CATEGORY ~ 'laboratory', 'laboratory', 'vital-signs')", `CATEGORY.lowerAscii() == 'laboratory' ? 'laboratory' : 'vital-signs'`,
		"iif(CATEGORY ~ 'laboratory', 'laboratory', 'vital-signs')", "vital-signs"},
	{"CODE in ('8302-2' | '29463-7' | '39156-5')", "CODE in ['8302-2', '29463-7', '39156-5']", "CODE in ('8302-2' | '29463-7' | '39156-5')", "true"},
	{"VALUE.decimal() > 100 and UNITS ~ 'cm' or DESCRIPTION.startsWith('Body')",
		`double(VALUE) > 100.0 && UNITS.lowerAscii() == 'cm' || DESCRIPTION.startsWith('Body')`,
		"VALUE.toDecimal() > 100 and UNITS ~ 'cm' or DESCRIPTION.startsWith('Body')", "true"},
}

// The columns are those of Synthea's observations.
var columns = []string{"DATE", "PATIENT", "ENCOUNTER", "CATEGORY", "CODE", "DESCRIPTION", "VALUE", "UNITS", "TYPE"}

// rowCount is a power of two, so that turning to the next row costs nothing.
const rowCount = 64

// records are rows of a table, as a reader hands them out: each evaluation sees another one, and a patient has eight.
func records() *[rowCount][]string {
	rows := new([rowCount][]string)
	for i := range rows {
		rows[i] = []string{fmt.Sprintf("2020-02-%02dT10:00:00Z", i%28+1), fmt.Sprintf("593aaa05-0000-4000-8000-%012d", i/8),
			fmt.Sprintf("593aaa05-0000-4000-8001-%012d", i), "vital-signs", "8302-2", "Body Height", "171.5", "cm", "numeric"}
	}
	return rows
}

// result is a line of the table: nanoseconds of one evaluation, its value built.
type result struct {
	Formula    string  `json:"formula"`
	Chartlift  int64   `json:"chartlift"`
	CEL        int64   `json:"cel"`
	GoFHIR     int64   `json:"gofhir"`
	OverCEL    float64 `json:"overCel"`
	OverGoFHIR float64 `json:"overGofhir"`
}

func formulas(args []string, stdout io.Writer) error {
	s, err := parse("formulas", args)
	if err != nil {
		return err
	}
	program, table, err := ourProgram()
	if err != nil {
		return err
	}
	rows := records()
	var results []result
	for _, f := range typical {
		own, err := ours(program, table, rows, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.ours, err)
		}
		other, err := celSide(rows, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.cel, err)
		}
		third, err := gofhirSide(rows[0], f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.gofhir, err)
		}
		runtime.GC()
		times, err := interleave(s.rounds, []func() error{own, other, third})
		if err != nil {
			return err
		}
		r := result{Formula: f.ours, Chartlift: times[0].Nanoseconds(), CEL: times[1].Nanoseconds(), GoFHIR: times[2].Nanoseconds()}
		r.OverCEL, r.OverGoFHIR = float64(times[1])/float64(times[0]), float64(times[2])/float64(times[0])
		results = append(results, r)
	}
	if s.json {
		out := json.NewEncoder(stdout)
		out.SetIndent("", " ")
		return out.Encode(results)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(stdout, "ns per formula over a record, value built, one core, medians of %d rounds in turns\n", s.rounds)
	fmt.Fprintln(w, "chartlift\tcel-go\tgofhir\tcel-go ratio\tgofhir ratio\t  formula")
	for _, r := range results {
		third, over := "–", "–"
		if r.GoFHIR > 0 {
			third, over = fmt.Sprint(r.GoFHIR), fmt.Sprintf("%.1f", r.OverGoFHIR)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%.1f\t%s\t  %s\n", r.Chartlift, r.CEL, third, r.OverCEL, over, r.Formula)
	}
	return w.Flush()
}

// ourProgram is a mapping of patients, for references, over a source with observations.
func ourProgram() (*mapping.Program, *extract.Table, error) {
	pack, faults := mapping.Read(fstest.MapFS{"patient.yaml": {Data: []byte("from: patients\nto: Patient\nkey: [Id]\npatient: self\nresource: {active: true}\n")}}, "bench")
	if len(faults) > 0 {
		return nil, nil, faults
	}
	table := &extract.Table{Source: "ehr", Name: "observations", Columns: columns}
	p, _, faults := mapping.Compile([]*mapping.Pack{pack}, mapping.Options{Migration: "bench", IDKey: make([]byte, 32), NoCoverage: true,
		Sources: []mapping.Source{{Name: "ehr", Zone: time.UTC, Tables: []*extract.Table{{Source: "ehr", Name: "patients", Columns: []string{"Id"}}, table}}}})
	if len(faults) > 0 {
		return nil, nil, faults
	}
	return p, table, nil
}

func ours(p *mapping.Program, table *extract.Table, rows *[rowCount][]string, f formula) (func() error, error) {
	e, _, faults := p.Evaluator(table, f.ours)
	if len(faults) > 0 {
		return nil, faults
	}
	record := &extract.Record{Table: table, Line: 2, Ordinal: 1, Cells: rows[0]}
	values, err := e.Run(record)
	if err != nil {
		return nil, err
	}
	if len(values) != 1 {
		return nil, fmt.Errorf("%d values", len(values))
	}
	if err := f.check(values[0].Text()); err != nil {
		return nil, err
	}
	next := 0
	return func() error {
		next++
		record.Cells = rows[next%rowCount]
		_, err := e.Run(record)
		return err
	}, nil
}

// row lends the cells of a record to CEL, without a map for each record: the cheapest way it has.
type row struct {
	places map[string]int
	cells  []string
}

func (r *row) ResolveName(name string) (any, bool) {
	i, ok := r.places[name]
	if !ok {
		return nil, false
	}
	return r.cells[i], true
}

func (r *row) Parent() cel.Activation { return nil }

func celSide(rows *[rowCount][]string, f formula) (func() error, error) {
	options := []cel.EnvOption{ext.Strings()}
	vars := &row{places: map[string]int{}, cells: rows[0]}
	for i, name := range columns {
		options = append(options, cel.Variable(name, cel.StringType))
		vars.places[name] = i
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(f.cel)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	value, _, err := program.Eval(vars)
	if err != nil {
		return nil, err
	}
	if err := f.check(fmt.Sprint(value.Value())); err != nil {
		return nil, err
	}
	next := 0
	return func() error {
		next++
		vars.cells = rows[next%rowCount]
		_, _, err := program.Eval(vars)
		return err
	}, nil
}

// gofhirSide evaluates over one resource that was parsed before, since it reads JSON: the columns are its elements.
func gofhirSide(cells []string, f formula) (func() error, error) {
	resource := map[string]string{"resourceType": "Basic"}
	for i, name := range columns {
		resource[name] = cells[i]
	}
	text, err := json.Marshal(resource)
	if err != nil {
		return nil, err
	}
	if f.gofhir == "" {
		return nil, nil
	}
	e, err := gofhir.Compile(f.gofhir)
	if err != nil {
		return nil, err
	}
	ctx := gofhireval.NewContext(text)
	values, err := e.EvaluateWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if len(values) != 1 {
		return nil, fmt.Errorf("%d values", len(values))
	}
	if err := f.check(values[0].String()); err != nil {
		return nil, err
	}
	return func() error {
		_, err := e.EvaluateWithContext(ctx)
		return err
	}, nil
}

// check compares an answer with the wanted one, so that all sides do the work.
func (f formula) check(got string) error {
	if f.answers != "" && got != f.answers {
		return fmt.Errorf("it answers %q", got)
	}
	return nil
}
