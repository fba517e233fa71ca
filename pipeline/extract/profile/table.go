package profile

import (
	"cmp"
	"slices"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// mostPlaces is how many places are named of the records that one rule has refused.
const mostPlaces = 3

// refusals counts the records that a rule has refused, and keeps the first places.
type refusals struct {
	count  int64
	places []faultAt
}

type faultAt struct {
	at
	column string
}

func (r *refusals) add(n int64, places ...faultAt) {
	r.count += n
	r.places = append(r.places, places...)
	slices.SortFunc(r.places, func(a, b faultAt) int { return cmp.Compare(a.ordinal, b.ordinal) })
	r.places = r.places[:min(len(r.places), mostPlaces)]
}

// table gathers what the records of one table, or of one shard of it, are like.
type table struct {
	of      *extract.Table
	patient int // index of the column that says whose row it is, or -1
	rows    int64
	refused map[string]*refusals
	columns []*column
}

func newTable(t *extract.Table, blanks []string, limit int) *table {
	out := &table{of: t, patient: patientColumn(t.Columns), refused: map[string]*refusals{}, columns: make([]*column, len(t.Columns))}
	for i, name := range t.Columns {
		out.columns[i] = newColumn(name, blanks, limit)
	}
	return out
}

func (t *table) add(r *extract.Record) {
	t.rows++
	where := at{r.Ordinal, r.Line}
	var patient uint64
	known := t.patient >= 0 && r.Cells[t.patient] != ""
	if known {
		patient = hash(r.Cells[t.patient])
	}
	for i, cell := range r.Cells {
		t.columns[i].add(cell, where, patient, known)
	}
}

func (t *table) refuse(f *extract.Fault) {
	t.rule(f.Rule).add(1, faultAt{at{f.Ordinal, f.Line}, f.Column})
}

func (t *table) rule(name string) *refusals {
	r := t.refused[name]
	if r == nil {
		r = &refusals{}
		t.refused[name] = r
	}
	return r
}

// merge adds what another shard of the same table has gathered.
func (t *table) merge(o *table) {
	t.rows += o.rows
	for rule, r := range o.refused {
		t.rule(rule).add(r.count, r.places...)
	}
	for i, c := range o.columns {
		t.columns[i].merge(c)
	}
}
