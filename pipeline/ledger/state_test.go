package ledger

import (
	"errors"
	"testing"
)

func TestStateOfATargetOnlyGoesForward(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		if s, ok, err := l.StateOf(t.Context(), "fhir"); ok || err != nil {
			t.Fatalf("before the first: %+v, %v", s, err)
		}
		for _, step := range []struct {
			generation int64
			digest     string
			entries    int64
			taken      bool
		}{
			{1, "aa", 10, true},
			{1, "aa", 10, true}, // once more after a crash
			{1, "bb", 10, false},
			{1, "aa", 11, false},
			{0, "cc", 10, false},
			{3, "dd", 12, true},
			{2, "ee", 12, false},
		} {
			err := l.SetStateOf(t.Context(), run.ID, "fhir", step.generation, step.digest, step.entries)
			if (err == nil) != step.taken || !step.taken && !errors.Is(err, ErrOlderState) {
				t.Errorf("%+v: %v", step, err)
			}
		}
		must(t, l.SetStateOf(t.Context(), run.ID, "another", 0, "ff", 0))
		got, ok, err := l.StateOf(t.Context(), "fhir")
		if want := (TargetState{"fhir", run.ID, 3, "dd", 12}); err != nil || !ok || got != want {
			t.Errorf("got %+v, %v, %v; want %+v", got, ok, err, want)
		}
		// A report that cannot be recorded leaves the state as it was.
		err = l.Record(t.Context(), run.ID, Report{States: []TargetState{{Target: "fhir", Generation: 4, Digest: "aa"}}, Findings: []Finding{{Severity: "odd"}}})
		if got, _, _ := l.StateOf(t.Context(), "fhir"); err == nil || got.Generation != 3 {
			t.Errorf("half of a report was kept: %+v, %v", got, err)
		}
	})
}
