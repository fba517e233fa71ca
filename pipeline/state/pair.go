package state

import (
	"cmp"
	"slices"
)

// Match is a pair: numbers of a vanished and of a new thing, and how like they are.
type Match struct {
	Gone, New int
	Likeness  float64
}

// Pair finds which of gone vanished things are which of fresh new ones, under other keys. like says how like two are, from
// 0 to 1; it must not depend on the order in which it is asked. A pair has at least the likeness least. The pair that is
// most alike is taken first, then the most alike of what is left; of those that are equally alike, the one that comes
// first. Pairs are sorted by Gone, and nothing is in two.
func Pair(gone, fresh int, least float64, like func(gone, fresh int) float64) []Match {
	var all []Match
	for g := range gone {
		for f := range fresh {
			if l := like(g, f); l >= least { // never so of NaN
				all = append(all, Match{g, f, l})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Match) int { return cmp.Compare(b.Likeness, a.Likeness) })
	takenGone, takenNew := make([]bool, gone), make([]bool, fresh)
	var pairs []Match
	for _, m := range all {
		if takenGone[m.Gone] || takenNew[m.New] {
			continue
		}
		takenGone[m.Gone], takenNew[m.New] = true, true
		pairs = append(pairs, m)
	}
	slices.SortFunc(pairs, func(a, b Match) int { return cmp.Compare(a.Gone, b.Gone) })
	return pairs
}
