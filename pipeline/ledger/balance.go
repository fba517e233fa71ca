package ledger

import (
	"fmt"
	"maps"
	"slices"
)

// Balance checks the sums of conservation and names each that does not hold, in a stable order; nil if all hold. A sum
// that does not balance is an error of the program, not of the data.
//
//   - per table and mapping: read = mapped + skipped + refused + other wave (+ joined + never joined)
//   - per mapping: it reads no more records than its table has
//   - per type: made = loaded + unchanged + merged + rejected + in doubt + held + pending
//   - per type: not applied is part of unchanged, rekeyed of vanished
//   - per type in the target: loaded + unchanged = matched + different + missing + edited since + not compared
//   - per formula: reads = writes + empties
func Balance(s *Summary) []string {
	var faults []string
	unequal := func(subject, left string, l int64, right string, r int64) {
		if l != r {
			faults = append(faults, fmt.Sprintf("%s: %s is %d, %s is %d (difference %+d)", subject, left, l, right, r, r-l))
		}
	}
	within := func(subject, part string, p int64, whole string, w int64) {
		if p > w {
			faults = append(faults, fmt.Sprintf("%s: %s is %d, more than %s, which is %d", subject, part, p, whole, w))
		}
	}
	const records = "mapped + skipped + refused + other wave"
	for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
		t := s.Tables[name]
		unequal("table "+name, "read", t.Read, records, t.Accounted())
	}
	for _, m := range s.Mappings {
		subject := fmt.Sprintf("mapping %s of table %s", m.Mapping, m.Table)
		unequal(subject, "read", m.Read, records+" + joined + never joined", m.Accounted()+m.Joined+m.NeverJoined)
		if t, ok := s.Tables[m.Table]; !ok || m.Read > t.Read {
			faults = append(faults, fmt.Sprintf("%s: it read %d records, the table has %d", subject, m.Read, t.Read))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		r := s.Resources[name]
		unequal("type "+name, "made", r.Made, "loaded + unchanged + merged + rejected + in doubt + held + pending", r.Accounted())
		within("type "+name, "not applied", r.NotApplied, "unchanged", r.Unchanged)
		within("type "+name, "rekeyed", r.Rekeyed, "vanished", r.Vanished)
	}
	types := slices.Concat(slices.Collect(maps.Keys(s.Resources)), slices.Collect(maps.Keys(s.Verified)))
	slices.Sort(types)
	for _, name := range slices.Compact(types) {
		r, v := s.Resources[name], s.Verified[name]
		unequal("type "+name+" in the target", "loaded + unchanged", r.Loaded+r.Unchanged, "matched + different + missing + edited since + not compared", v.Accounted())
	}
	for _, f := range s.Formulas {
		unequal(fmt.Sprintf("formula of %s in mapping %s", f.Path, f.Mapping), "read", f.Reads, "written + empty", f.Writes+f.Empties)
	}
	return faults
}

// Accounted is the right side of a table's sum.
func (t TableRow) Accounted() int64 { return t.Mapped + sum(t.Skipped) + sum(t.Refused) + t.OtherWave }

// SkippedSum is the number of records left out by rules.
func (t TableRow) SkippedSum() int64 { return sum(t.Skipped) }

// RefusedSum is the number of records that could not be mapped.
func (t TableRow) RefusedSum() int64 { return sum(t.Refused) }

// Accounted is the right side of a type's sum.
func (r ResourceRow) Accounted() int64 {
	return r.Loaded + r.Unchanged + r.Merged + r.Rejected + r.InDoubt + r.Held + r.Pending
}

// Accounted is the right side of a type's sum in the target.
func (v VerifiedRow) Accounted() int64 { return v.compared() + v.NotCompared }

func sum(m map[string]int64) int64 {
	var total int64
	for _, n := range m {
		total += n
	}
	return total
}
