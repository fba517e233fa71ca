package profile

import (
	"slices"
	"strings"
)

const (
	// shareByName is the share of a column's values that must be in the parent where the names agree: an export may lack
	// many parents. Without the names it takes nearly all, and enough different ones, to be no accident.
	shareByName  = 0.5
	shareByValue = 0.98
	leastByValue = 20
	// firstLook is how many hashes are compared before the rest: most pairs of columns have nothing in common.
	firstLook = 64
)

// end is one column with its hashes in order.
type end struct {
	table, column int
	hashes        []uint64
	state         *column
}

// references finds the columns whose values are keys of another table.
func (s *scanner) references(p *Profile) []Reference {
	var parents, children []end
	for i, t := range p.Tables {
		for k, c := range t.Columns {
			state := s.tables[i].state.columns[k]
			e := end{i, k, nil, state}
			if slices.ContainsFunc(t.Keys, func(key Key) bool { return key.Columns[0] == c.Name }) {
				e.hashes = state.sketch.hashes()
				parents = append(parents, e)
			}
			if c.Filled > 0 && !c.Is(shareOfDates, TypeDate, TypeDateTime, TypeDecimal, TypeBoolean) {
				if e.hashes == nil {
					e.hashes = state.sketch.hashes()
				}
				children = append(children, e)
			}
		}
	}
	out := []Reference{}
	for _, child := range children {
		var best Reference
		var most float64
		for _, parent := range parents {
			if parent.table == child.table {
				continue // a column that refers to its own table is rare, and looks like one that counts rows
			}
			r, score, ok := s.compare(p, child, parent)
			if ok && score > most {
				best, most = r, score
			}
		}
		if most > 0 {
			out = append(out, best)
		}
	}
	return out
}

// compare holds a column against a key. The score orders the parents of one column.
func (s *scanner) compare(p *Profile, child, parent end) (Reference, float64, bool) {
	ct, pt := &p.Tables[child.table], &p.Tables[parent.table]
	cc, pc := &ct.Columns[child.column], &pt.Columns[parent.column]
	level := max(child.state.sketch.level, parent.state.sketch.level)
	hashes := child.hashes
	if n, _ := slices.BinarySearchFunc(hashes, level, func(h uint64, level int) int {
		if holds(h, level) {
			return -1
		}
		return 1
	}); n < len(hashes) {
		hashes = hashes[:n]
	}
	if len(hashes) == 0 {
		return Reference{}, 0, false
	}
	likeness := namesAgree(cc.Name, pt.Name, pc.Name)
	named := likeness > 0
	need := shareByValue
	if named {
		need = shareByName
	}
	missing := func(hashes []uint64) (values, rows int64) {
		for _, h := range hashes {
			if _, ok := parent.state.sketch.counts[h]; !ok {
				values++
				rows += int64(child.state.sketch.counts[h])
			}
		}
		return values, rows
	}
	if first := hashes[:min(len(hashes), firstLook)]; len(first) == firstLook {
		if n, _ := missing(first); float64(n) > 2*(1-need)*float64(len(first))+2 {
			return Reference{}, 0, false
		}
	}
	values, rows := missing(hashes)
	share := 1 - float64(values)/float64(len(hashes))
	if share < need || !named && (len(hashes) < leastByValue || cc.Is(shareOfDates, TypeInteger) || keyOf(ct, cc.Name)) {
		return Reference{}, 0, false
	}
	if keyOf(ct, cc.Name) && !IsPatients(pt.Name) && (IsPatients(ct.Name) || ct.Rows > pt.Rows || ct.Rows == pt.Rows && ct.Name < pt.Name) {
		return Reference{}, 0, false // two tables share a key: the one with fewer rows refers to the other
	}
	score := share + float64(likeness)
	if IsPatients(pt.Name) {
		score++ // one record for each patient is in other tables too, say their last address
	}
	return Reference{
		Source: ct.Source, Table: ct.Name, Column: cc.Name, ParentSource: pt.Source, ParentTable: pt.Name, ParentColumn: pc.Name,
		ByName: named, Orphans: values << level, OrphanRows: rows << level, Exact: level == 0,
	}, score, true
}

func keyOf(t *Table, column string) bool {
	return slices.ContainsFunc(t.Keys, func(k Key) bool { return len(k.Columns) == 1 && k.Columns[0] == column })
}

// namesAgree is 2 if a column is named for a table (PATIENT or patient_id for patients.Id), 1 if it has the name of its
// key (MRN for patients.MRN), else 0.
func namesAgree(child, table, key string) int {
	c, k := strings.Join(Words(child), ""), strings.Join(Words(key), "")
	words := Words(table)
	if len(words) == 0 {
		return 0
	}
	last := Singular(words[len(words)-1])
	whole := strings.Join(words[:len(words)-1], "") + last
	for _, name := range []string{last, whole} {
		rest, ok := strings.CutPrefix(c, name)
		if ok && (rest == "" || rest == k || slices.Contains([]string{"id", "no", "nr", "key", "number", "ref", "uuid", "fk", "num", "code"}, rest)) {
			return 2
		}
	}
	if c == k && !slices.Contains([]string{"id", "no", "code", "key"}, c) {
		return 1
	}
	return 0
}
