package profile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// BaselineVersion is the version of the JSON form of a baseline.
const BaselineVersion = 1

// Baseline is what is kept of a profile, so that a later export can be compared with it. It holds counts, names of
// tables and columns, and three more things. Codes of columns with few values: by a digest under the migration's key, and
// never as text. Distributions: of numbers by their first two digits and of dates by their month, in at most twenty bins
// of at least FewPatients rows each, of which the first and the last are open, so that no rarest value can be read off.
// Date forms.
type Baseline struct {
	Schema    int         `json:"schema"`
	Migration string      `json:"migration"`
	Key       string      `json:"key"` // identifies the key of the digests
	Tables    []BaseTable `json:"tables"`
}

// BaseTable is one table.
type BaseTable struct {
	Source  string       `json:"source"`
	Name    string       `json:"name"`
	Rows    int64        `json:"rows"`
	Keys    [][]string   `json:"keys"` // unique in every row
	Columns []BaseColumn `json:"columns"`
}

// BaseColumn is one column.
type BaseColumn struct {
	Name     string           `json:"name"`
	Filled   int64            `json:"filled"`
	Distinct int64            `json:"distinct"`
	Types    map[string]int64 `json:"types"`
	Dates    []BaseForm       `json:"dates"`
	Points   bool             `json:"points,omitempty"` // it identifies records, or refers to one that does
	Codes    []Code           `json:"codes,omitempty"`  // none if there are too many
	Grid     string           `json:"grid,omitempty"`   // numbers or months
	Bins     []Bin            `json:"bins,omitempty"`
}

// BaseForm is a way in which dates are written, and how many values it reads.
type BaseForm struct {
	Layout string `json:"layout"`
	Fits   int64  `json:"fits"`
}

// Code is one value of a column with few.
type Code struct {
	Digest string `json:"digest"`
	Text   string `json:"-"` // where it may be shown; it is not kept
	Rows   int64  `json:"rows"`
}

// Bin is a range of a distribution: from the cell after the bin before, up to and with Last.
type Bin struct {
	Last int   `json:"last"`
	Rows int64 `json:"rows"`
}

// Baseline is what is kept of the profile. It must have been made with Options.Digest.
func (p *Profile) Baseline(migration, key string) *Baseline {
	out := &Baseline{Schema: BaselineVersion, Migration: migration, Key: key, Tables: []BaseTable{}}
	points := p.points()
	for i := range p.Tables {
		t := &p.Tables[i]
		b := BaseTable{Source: t.Source, Name: t.Name, Rows: t.Rows, Keys: [][]string{}, Columns: []BaseColumn{}}
		for _, k := range t.Keys {
			if k.Repeated == 0 {
				b.Keys = append(b.Keys, k.Columns)
			}
		}
		for j := range t.Columns {
			c := &t.Columns[j]
			x := BaseColumn{Name: c.Name, Filled: c.Filled, Distinct: c.Distinct.Count, Types: c.Types, Dates: []BaseForm{}, Codes: c.codes,
				Points: points[place{t.Source, t.Name, c.Name}]}
			if x.Points || int64(len(x.Codes))*perCode > x.Filled {
				x.Codes = nil // names and numbers, and no codes
			}
			for _, d := range c.Dates {
				x.Dates = append(x.Dates, BaseForm{d.Layout, d.Fits})
			}
			if kind, cells := c.spread.main(c.Filled); kind != "" {
				x.Grid, x.Bins = kind, binsOf(cells)
			}
			b.Columns = append(b.Columns, x)
		}
		out.Tables = append(out.Tables, b)
	}
	return out
}

type place struct{ source, table, column string }

// dictionary is how many rows a table has at most to be one of codes, so that what refers to it is one of them.
const dictionary = 20

// points are the columns that identify records or refer to such: what their values are says nothing. What refers to a
// dictionary is a code.
func (p *Profile) points() map[place]bool {
	out := map[place]bool{}
	for _, t := range p.Tables {
		for _, k := range t.Keys {
			if len(k.Columns) == 1 {
				out[place{t.Source, t.Name, k.Columns[0]}] = true
			}
		}
	}
	for _, r := range p.References {
		for _, t := range p.Tables {
			if t.Source == r.ParentSource && t.Name == r.ParentTable && t.Rows > dictionary {
				out[place{r.Source, r.Table, r.Column}] = true
			}
		}
		out[place{r.ParentSource, r.ParentTable, r.ParentColumn}] = true
	}
	return out
}

// mostBins is how finely a distribution is kept.
const mostBins = 20

// binsOf joins neighbouring cells until each bin has its share of the rows.
func binsOf(cells map[int]int64) (bins []Bin) {
	total := int64(0)
	for _, n := range cells {
		total += n
	}
	least := max(FewPatients, total/mostBins)
	rows := int64(0)
	for _, cell := range slices.Sorted(maps.Keys(cells)) {
		if rows += cells[cell]; rows >= least {
			bins = append(bins, Bin{cell, rows})
			rows = 0
		}
	}
	if len(bins) == 0 {
		return nil // too few rows to say anything
	}
	bins[len(bins)-1].Rows += rows
	return bins
}

// count counts cells into bins that were made of others.
func count(bins []Bin, cells map[int]int64) []int64 {
	out := make([]int64, len(bins))
	for cell, n := range cells {
		i, _ := slices.BinarySearchFunc(bins, cell, func(b Bin, cell int) int { return cmp.Compare(b.Last, cell) })
		out[min(i, len(bins)-1)] += n
	}
	return out
}

// codes are the values of a column with few, by digest; in plain text those that the column shows.
func (c *column) codes(out *Column, patients bool, digest func(string) string) []Code {
	if c.values == nil {
		return nil
	}
	list := []Code{}
	for text, v := range c.values {
		code := Code{Digest: digest(text), Rows: v.count}
		// What --show-values shows is for the eye, and not to be kept.
		if len(out.PHI) == 0 && slices.ContainsFunc(out.Values, func(x Value) bool { return x.Text == text }) && v.enough(patients) {
			code.Text = text
		}
		list = append(list, code)
	}
	slices.SortFunc(list, func(a, b Code) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Digest, b.Digest)) })
	return list
}

// enough says whether the value was seen for enough patients, or rows where the table has no column of patients.
func (s *seen) enough(patients bool) bool {
	if patients {
		return len(s.patients) >= FewPatients
	}
	return s.count >= FewPatients
}

// Write writes the baseline to a file that only its owner may read; the folder is made if need be.
func (b *Baseline) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return replace(path, append(text, '\n'))
}

// ReadBaseline reads what Write wrote. The error is fs.ErrNotExist if there is none.
func ReadBaseline(path string) (*Baseline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b Baseline
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return nil, fmt.Errorf("%s is not a baseline of a profile, or a damaged one", path)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || b.Schema != BaselineVersion {
		return nil, fmt.Errorf("%s is not a baseline of version %d", path, BaselineVersion)
	}
	return &b, nil
}
