package profile

import (
	"cmp"
	"context"
	"slices"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// mostPaired is how many columns of a table are tried in pairs: 28 pairs, the price of some columns more.
const mostPaired = 8

// pair is two columns of a table that together may identify a record.
type pair struct {
	a, b   int
	sketch sketch
}

// pairs looks for keys of two columns in the tables that have none of one. It reads those tables once more.
func (s *scanner) pairs(ctx context.Context, p *Profile) error {
	tried := map[*job][]pair{}
	var jobs []*job
	for i, j := range s.tables {
		if found := s.candidates(&p.Tables[i]); len(found) > 0 {
			tried[j] = found
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	err := s.pass(ctx, "keys", jobs, func(ctx context.Context, j *job, shard extract.Shard) error {
		mine := s.candidatesLike(tried[j])
		err := j.read(ctx, shard, func(r *extract.Record) {
			for _, pair := range mine {
				pair.sketch.add(combine(hash(r.Cells[pair.a]), hash(r.Cells[pair.b])), 1)
			}
		}, func(*extract.Fault) {})
		if err != nil {
			return err
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		for i := range mine {
			tried[j][i].sketch.merge(&mine[i].sketch)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, j := range s.tables {
		t := &p.Tables[i]
		for _, pair := range tried[j] {
			if pair.sketch.repeated() == 0 {
				t.Keys = append(t.Keys, Key{Columns: []string{t.Columns[pair.a].Name, t.Columns[pair.b].Name}, Sampled: !pair.sketch.exact()})
			}
		}
	}
	return nil
}

// candidates are the pairs that have values enough to tell the rows apart, of columns that are never blank.
func (s *scanner) candidates(t *Table) []pair {
	if t.Rows < 2 || len(t.Keys) > 0 {
		return nil
	}
	var columns []int
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Filled == t.Rows && c.Distinct.Count > 1 && !slices.ContainsFunc(c.PHI, func(s Suspect) bool { return s.Category == "*" }) {
			columns = append(columns, i)
		}
	}
	slices.SortStableFunc(columns, func(a, b int) int { return cmp.Compare(t.Columns[b].Distinct.Count, t.Columns[a].Distinct.Count) })
	columns = columns[:min(len(columns), mostPaired)]
	slices.Sort(columns)
	var out []pair
	for i, a := range columns {
		for _, b := range columns[i+1:] {
			if float64(t.Columns[a].Distinct.Count)*float64(t.Columns[b].Distinct.Count) >= float64(t.Rows) {
				out = append(out, pair{a, b, newSketch(s.limit)})
			}
		}
	}
	return out
}

// candidatesLike are the same pairs, seen nowhere yet.
func (s *scanner) candidatesLike(pairs []pair) []*pair {
	out := make([]*pair, len(pairs))
	for i, p := range pairs {
		out[i] = &pair{p.a, p.b, newSketch(s.limit)}
	}
	return out
}
