package sharedtest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDraw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.IntRange(2, 200).Draw(t, "of")
		some := rapid.IntRange(1, of-1).Draw(t, "some")
		all := make([]int, of)
		for i := range all {
			all[i] = i
		}
		seed := rapid.Uint64().Draw(t, "seed")
		list := draw(rand.New(rand.NewPCG(seed, 1)), all, some)
		if len(list) != some || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != some || list[0] < 0 || list[some-1] >= of {
			t.Fatalf("%d of %d: %v", some, of, list)
		}
		if some >= 2 && (list[0] != 0 || list[some-1] != of-1) {
			t.Fatalf("%d of %d: %v", some, of, list)
		}
		if again := draw(rand.New(rand.NewPCG(seed, 1)), all, some); !slices.Equal(list, again) {
			t.Fatalf("%v, and again %v", list, again)
		}
	})
}

// quiet is a test that says nothing: its samples are none that a report should list.
type quiet struct{ testing.TB }

func (quiet) Logf(string, ...any) {}

func TestSweepsTryEverything(t *testing.T) {
	t.Setenv(sweepsVariable, "1")
	if got := Drawn(quiet{t}, 1000, 3); len(got) != 1000 || got[0] != 0 || got[999] != 999 {
		t.Errorf("%d of 1000", len(got))
	}
	t.Setenv(sweepsVariable, "")
	if got := Drawn(quiet{t}, 1000, 8); len(got) != 8 && !testing.Short() || len(got) != 2 && testing.Short() {
		t.Errorf("%d of 1000, wanted 8", len(got))
	}
	if got := Drawn(quiet{t}, 0, 8); len(got) != 0 {
		t.Errorf("%v of none", got)
	}
}
