package state

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// What a run changed is what its rules say of each placement by itself.
func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := open(t, homeIn(t, newMemory()), Known{})
		m := model{}
		run := ""
		for round := range rapid.IntRange(1, 3).Draw(t, "rounds") {
			run = fmt.Sprint("run-", round)
			changes := drawChanges(t, run)
			m.merge(run, changes)
			s = merge(t, s, run, changes)
		}
		patient := idOf(rapid.IntRange(0, 5).Draw(t, "in scope"))
		scope := func(p Placement) bool { return p.Patient == patient }
		var want []Change
		groups := map[string]*Candidates{}
		for _, p := range m.sorted() {
			var kind Kind
			switch there := p.Status == Stored || p.Status == InDoubt; {
			case there && p.Made == run:
				kind = New
			case there && p.Written == run:
				kind = Changed
			case there && p.Seen != run && scope(p):
				kind = Gone
			default:
				continue
			}
			want = append(want, Change{kind, p})
			key := fmt.Sprintf("%x %s %s", p.Patient, p.Type, p.Store)
			c := groups[key]
			if c == nil {
				c = &Candidates{Patient: p.Patient, Type: p.Type, Store: p.Store}
				groups[key] = c
			}
			switch kind {
			case New:
				c.New = append(c.New, p)
			case Gone:
				c.Gone = append(c.Gone, p)
			}
		}
		if diff := cmp.Diff(want, collect(t, s.Diff(run, scope))); diff != "" {
			t.Fatal("(-want +got):\n", diff)
		}
		got := collect(t, s.Candidates(run, nil, scope))
		for _, c := range got {
			key := fmt.Sprintf("%x %s %s", c.Patient, c.Type, c.Store)
			if diff := cmp.Diff(*groups[key], c); diff != "" {
				t.Fatal("(-want +got):\n", diff)
			}
			delete(groups, key)
		}
		for key, c := range groups {
			if len(c.Gone) > 0 && len(c.New) > 0 {
				t.Fatal(key, " has candidates, and they are not offered")
			}
		}
	})
}

// A group that is too large says how much of it was left out.
func TestCandidatesAreBounded(t *testing.T) {
	of := func(run string, from, to int) []Placement {
		list := placementsOf(run, from, to)
		for i := range list {
			list[i].Type, list[i].Patient = "Observation", stage.ID{}
		}
		sortPlacements(list)
		return list
	}
	s := merge(t, open(t, homeIn(t, newMemory()), Known{}), "run-1", of("run-1", 0, maxCandidates+10))
	s = merge(t, s, "run-2", of("run-2", 2000, 2000+maxCandidates+5))
	all := func(Placement) bool { return true }
	got := collect(t, s.Candidates("run-2", nil, all))
	if len(got) != 1 || len(got[0].Gone) != maxCandidates || len(got[0].New) != maxCandidates || got[0].Left != 15 {
		t.Errorf("%d groups", len(got))
	}
	for range s.Candidates("run-2", nil, all) {
		break // a consumer may stop
	}
	for range s.Diff("run-2", all) {
		break
	}
}

// An error of the files reaches who reads differences.
func TestDiffFails(t *testing.T) {
	h := homeIn(t, stage.NewDisk(t.TempDir()))
	s := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 5))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all := func(Placement) bool { return true }
	var errs []error
	for _, err := range s.Diff("run-1", all) {
		errs = append(errs, err)
	}
	for _, err := range s.Candidates("run-1", nil, all) {
		errs = append(errs, err)
	}
	for _, err := range s.ByPatient(idOf(9000)) {
		errs = append(errs, err)
	}
	if len(errs) != 3 || slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, os.ErrClosed) }) {
		t.Errorf("%v", errs)
	}
}

func TestPair(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name  string
		least float64
		likes [][]float64 // by gone, then by new
		want  []Match
	}{
		{"nothing", 0.5, nil, nil},
		{"the best first", 0.5, [][]float64{{0.8, 0.9}, {0.6, 1}}, []Match{{0, 0, 0.8}, {1, 1, 1}}},
		{"too little alike", 0.5, [][]float64{{0.49, 0.9}, {0.4, 1}}, []Match{{1, 1, 1}}},
		{"just alike enough", 0.5, [][]float64{{0.5}}, []Match{{0, 0, 0.5}}},
		{"equally alike", 0.5, [][]float64{{1, 1, 1}, {1, 1, 1}}, []Match{{0, 0, 1}, {1, 1, 1}}},
		{"no number", 0.5, [][]float64{{nan, 0.6}, {nan, nan}}, []Match{{0, 1, 0.6}}},
	} {
		fresh := 0
		if len(c.likes) > 0 {
			fresh = len(c.likes[0])
		}
		got := Pair(len(c.likes), fresh, c.least, func(g, n int) float64 { return c.likes[g][n] })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Pairs are a matching: nothing twice, nothing below the limit, and nothing left that could still be paired; whatever is
// left beside a pair is not more alike than that pair.
func TestPairIsGreedy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gone, fresh := rapid.IntRange(0, 6).Draw(t, "gone"), rapid.IntRange(0, 6).Draw(t, "new")
		likes := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.4, 0.6, 0.7, 1}), 36, 36).Draw(t, "likes")
		like := func(g, n int) float64 { return likes[g*6+n] }
		ofGone, ofNew := map[int]float64{}, map[int]float64{}
		for _, p := range Pair(gone, fresh, 0.5, like) {
			_, a := ofGone[p.Gone]
			_, b := ofNew[p.New]
			if a || b || p.Likeness < 0.5 || p.Likeness != like(p.Gone, p.New) {
				t.Fatal(p)
			}
			ofGone[p.Gone], ofNew[p.New] = p.Likeness, p.Likeness
		}
		for g := range gone {
			for n := range fresh {
				if l := like(g, n); l >= 0.5 && l > max(ofGone[g], ofNew[n]) {
					t.Fatal(g, n, l)
				}
			}
		}
	})
}
