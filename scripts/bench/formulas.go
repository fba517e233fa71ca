package main

import (
	"fmt"
	"io"
	"testing/fstest"
	"text/tabwriter"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// typical are formulas as mappings have them.
var typical = []string{
	"DESCRIPTION",
	"DATE.dateTime()",
	"VALUE.decimal()",
	"VALUE.quantity(UNITS)",
	"CODE.coding('http://loinc.org', DESCRIPTION)",
	"CODE.coding('http://loinc.org', DESCRIPTION).concept(DESCRIPTION)",
	"ref('patient', PATIENT)",
	"iif(CATEGORY ~ 'laboratory', 'laboratory', 'vital-signs')",
	"CODE in ('8302-2' | '29463-7' | '39156-5')",
	"VALUE.decimal() > 100 and UNITS ~ 'cm' or DESCRIPTION.startsWith('Body')",
}

// formulas prints what one evaluation of each typical formula takes, its value built: `chartlift eval` does that, the
// writer of a resource takes shorter ways for the last call.
func formulas(out io.Writer) error {
	pack, faults := mapping.Read(fstest.MapFS{"patient.yaml": {Data: []byte("from: patients\nto: Patient\nkey: [Id]\npatient: self\nresource: {active: true}\n")}}, "bench")
	if len(faults) > 0 {
		return faults
	}
	t, err := tableOf("observations")
	if err != nil {
		return err
	}
	table := &extract.Table{Source: "ehr", Name: t.name, Columns: t.columns}
	p, _, faults := mapping.Compile([]*mapping.Pack{pack}, mapping.Options{Migration: "bench", IDKey: make([]byte, 32), NoCoverage: true,
		Sources: []mapping.Source{{Name: "ehr", Zone: time.UTC, Tables: []*extract.Table{{Source: "ehr", Name: "patients", Columns: []string{"Id"}}, table}}}})
	if len(faults) > 0 {
		return faults
	}
	record := &extract.Record{Table: table, Line: 2, Ordinal: 1, Cells: []string{"2020-02-29T10:00:00Z", "593aaa05-0000-4000-8000-000000000001",
		"593aaa05-0000-4000-8000-000000000002", "vital-signs", "8302-2", "Body Height", "171.5", "cm", "numeric"}}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nns\tformula, value built, one core")
	for _, text := range typical {
		e, _, faults := p.Evaluator(table, text)
		if len(faults) > 0 {
			return faults
		}
		best := time.Duration(1 << 62)
		for range 5 {
			const turns = 50_000
			start := time.Now()
			for range turns {
				if _, err := e.Run(record); err != nil {
					return err
				}
			}
			best = min(best, time.Since(start)/turns)
		}
		fmt.Fprintf(w, "%d\t%s\n", best.Nanoseconds(), text)
	}
	return w.Flush()
}
