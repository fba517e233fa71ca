package ledger

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A job is found again by its handle after the process that submitted it is gone, and ends once.
func TestJobsOutliveTheirProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{
			Batches:   []Batch{batch("b1", "Patient", 3), batch("b2", "Patient", 4), batch("b3", "Patient", 5), batch("b4", "Patient", 6)},
			Resources: []ResourceCount{{Type: "Patient", Made: 18}},
		}))
		add := func(handle string, batches ...string) (Job, error) {
			return l.AddJob(t.Context(), Job{Run: run.ID, Store: "google", Handle: handle, Batch: batches})
		}
		if _, err := add("op/1", "b1"); err == nil {
			t.Error("a batch that was not started was submitted")
		}
		for _, id := range []string{"b1", "b2", "b3"} {
			must(t, l.StartBatch(t.Context(), id))
		}
		first, err := add("op/1", "b1", "b2")
		must(t, err)
		if _, err := add("op/1", "b3"); err == nil {
			t.Error("one handle names two jobs")
		}
		if _, err := add("op/2", "b2"); err == nil {
			t.Error("a batch is in two jobs at a time")
		}
		second, err := add("op/2", "b3")
		must(t, err)
		row := func(want ResourceRow) {
			t.Helper()
			s, err := l.Summary(t.Context(), run.ID)
			must(t, err)
			if s.Resources["Patient"] != want || Balance(s) != nil {
				t.Errorf("got %+v, want %+v; %q", s.Resources["Patient"], want, Balance(s))
			}
		}
		row(ResourceRow{Made: 18, InDoubt: 12, Pending: 6})
		must(t, l.Close())

		l = at.open(t)
		if _, err := l.Resume(t.Context(), run.ID, run.Pins); err != nil {
			t.Fatal(err)
		}
		jobs, err := l.Jobs(t.Context(), run.ID, JobSubmitted)
		must(t, err)
		if diff := cmp.Diff([]Job{first, second}, jobs); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if submitted, err := l.Batches(t.Context(), run.ID, BatchFilter{State: Submitted}); err != nil || len(submitted) != 3 {
			t.Errorf("submitted: %+v, %v", submitted, err)
		}
		done := Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Loaded, Outcomes: Outcomes{Loaded: 3}}}}
		if err := l.FinishJob(t.Context(), first, done); err == nil {
			t.Error("a job ended, and one of its batches has no outcome")
		}
		done.Outcomes = append(done.Outcomes, BatchOutcome{Batch: "b2", State: Loaded, Outcomes: Outcomes{Loaded: 3, Unchanged: 1, NotApplied: 1}})
		must(t, l.FinishJob(t.Context(), first, done))
		must(t, l.FailJob(t.Context(), second, "the target gave it up"))
		for name, err := range map[string]error{"finish": l.FinishJob(t.Context(), first, Report{}), "fail": l.FailJob(t.Context(), second, "again")} {
			if !errors.Is(err, ErrFenced) {
				t.Errorf("%s a second time: %v", name, err)
			}
		}
		row(ResourceRow{Made: 18, Loaded: 6, Unchanged: 1, NotApplied: 1, InDoubt: 5, Pending: 6})
		if open, err := l.Batches(t.Context(), run.ID, BatchFilter{State: Loading}); err != nil || len(open) != 1 || open[0].ID != "b3" {
			t.Errorf("loading: %+v, %v", open, err)
		}
		_, err = l.AddJob(t.Context(), Job{Run: run.ID, Store: "google", Handle: "op/3", Batch: []string{"b3"}}) // tried again
		must(t, err)
		all, err := l.Jobs(t.Context(), run.ID, "")
		if err != nil || len(all) != 3 || all[0].State != JobDone || all[1].Reason != "the target gave it up" || all[2].Batch[0] != "b3" {
			t.Errorf("got %+v, %v", all, err)
		}
	})
}
