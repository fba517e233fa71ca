package extract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// BlankIn are texts that count as empty in single columns: by table, then column.
type BlankIn map[string]map[string][]string

// Check lists the tables and columns that are not there, as one error.
func (b BlankIn) Check(tables []*Table) error {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		i := slices.IndexFunc(tables, func(t *Table) bool { return t.Name == name })
		if i < 0 {
			faults = append(faults, "there is no table "+name)
			continue
		}
		for _, column := range slices.Sorted(maps.Keys(b[name])) {
			if tables[i].Column(column) < 0 {
				faults = append(faults, "there is no column "+name+"."+column)
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("blank: %s", strings.Join(faults, "; "))
}

// Columns are the texts by the table's columns; nil if there are none.
func (b BlankIn) Columns(t *Table) (out [][]string) {
	for column, texts := range b[t.Name] {
		if i := t.Column(column); i >= 0 {
			if out == nil {
				out = make([][]string, len(t.Columns))
			}
			out[i] = texts
		}
	}
	return out
}
