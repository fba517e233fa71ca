package ledger

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTasksOfOneKindInTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		tasks := []Task{
			{Kind: Extract, Subject: "a", Wave: "main"}, {Kind: Extract, Subject: "b", Wave: "pilot"}, {Kind: Load, Subject: "x", Wave: "main", Level: 1},
		}
		for range 2 { // the second call finds them all there
			must(t, l.AddTasks(t.Context(), run.ID, tasks))
		}
		wave, level := "pilot", 1
		for _, test := range []struct {
			filter TaskFilter
			want   string
		}{{TaskFilter{Kind: Extract, Wave: &wave}, "b"}, {TaskFilter{Level: &level}, "x"}, {TaskFilter{Kind: Extract}, "a"}, {TaskFilter{Kind: Extract}, ""}, {TaskFilter{}, ""}} {
			task, ok, err := l.Claim(t.Context(), run.ID, test.filter)
			if err != nil || ok != (test.want != "") || task.Subject != test.want {
				t.Errorf("claimed %+v, %v, %v; want %q", task, ok, err, test.want)
			}
			switch task.Subject {
			case "a":
				must(t, l.Finish(t.Context(), task, Report{Digest: "dd"}))
				if err := l.Finish(t.Context(), task, Report{}); !errors.Is(err, ErrFenced) {
					t.Errorf("finished twice: %v", err)
				}
			case "b":
				must(t, l.Fail(t.Context(), task, "shard changed"))
			case "x":
				must(t, l.Release(t.Context(), task))
				if err := l.Fail(t.Context(), task, "late"); !errors.Is(err, ErrFenced) {
					t.Errorf("failed after its release: %v", err)
				}
				again, ok, err := l.Claim(t.Context(), run.ID, TaskFilter{Kind: Load})
				if err != nil || !ok || again.Fence != 2 {
					t.Errorf("claimed again: %+v, %v, %v", again, ok, err)
				}
			}
		}
		progress, err := l.Progress(t.Context(), run.ID)
		must(t, err)
		want := []Progress{{Kind: Extract, Wave: "main", Done: 1}, {Kind: Extract, Wave: "pilot", Failed: 1}, {Kind: Load, Wave: "main", Level: 1, Running: 1}}
		if diff := cmp.Diff(want, progress); diff != "" {
			t.Error(diff)
		}
		done, err := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskDone})
		if err != nil || len(done) != 1 || done[0].Digest != "dd" || done[0].Owner != "" {
			t.Errorf("got %+v, %v", done, err)
		}
		if _, err := l.Resume(t.Context(), run.ID, run.Pins); err != nil {
			t.Fatal(err)
		}
		if failed, _ := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskFailed}); len(failed) != 0 {
			t.Errorf("still failed after a resume: %+v", failed)
		}
		if mine, _ := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskRunning}); len(mine) != 1 {
			t.Errorf("a resume took a living worker's task: %+v", mine)
		}
	})
}

// Many workers claim and finish; each task is done by exactly one, and every count arrives.
func TestWorkersShareTheWork(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		const n, workers = 60, 8
		var tasks []Task
		for i := range n {
			tasks = append(tasks, Task{Kind: Extract, Subject: fmt.Sprint("shard ", i), Wave: "main"})
		}
		must(t, l.AddTasks(t.Context(), run.ID, tasks))
		var mu sync.Mutex
		seen := map[int64]int{}
		var wait sync.WaitGroup
		for range workers {
			wait.Go(func() {
				for {
					task, ok, err := l.Claim(t.Context(), run.ID, TaskFilter{Kind: Extract})
					if err != nil || !ok {
						if err != nil {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					seen[task.ID]++
					mu.Unlock()
					if _, err := l.Summary(t.Context(), run.ID); err != nil {
						t.Error(err)
					}
					if err := l.Finish(t.Context(), task, Report{
						Batches:   []Batch{batch(fmt.Sprint("batch-", task.ID), "Patient", 10)},
						Tables:    []RecordCount{{Table: "patients", Read: 11, Mapped: 10, Refused: map[string]int64{"bad-date": 1}}},
						Resources: []ResourceCount{{Type: "Patient", Made: 10}},
						Refusals:  []Refusal{{Table: "patients", Line: task.ID, Rule: "bad-date"}},
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		for id, times := range seen {
			if times != 1 {
				t.Errorf("task %d was claimed %d times", id, times)
			}
		}
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if len(seen) != n || s.Tables["patients"].Read != 11*n || s.Resources["Patient"].Pending != 10*n || s.Refusals != n {
			t.Errorf("%d tasks, %+v, %+v, %d refusals", len(seen), s.Tables, s.Resources, s.Refusals)
		}
		if faults := Balance(s); faults != nil {
			t.Error(faults)
		}
		if _, err := l.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A report whose last part cannot be stored leaves nothing of its first parts, and the task is still held.
func TestFinishIsAllOrNone(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.AddTasks(t.Context(), run.ID, []Task{{Kind: Extract, Subject: "a"}}))
		task, _, err := l.Claim(t.Context(), run.ID, TaskFilter{})
		must(t, err)
		good := Report{
			Batches: []Batch{batch("b1", "Patient", 2)}, Tables: []RecordCount{{Table: "patients", Read: 3, Mapped: 2, Refused: map[string]int64{"bad-date": 1}}},
			Mappings:  []RecordCount{{Mapping: "patient", Table: "patients", Read: 3, Mapped: 2, Refused: map[string]int64{"bad-date": 1}}},
			Resources: []ResourceCount{{Type: "Patient", Made: 2}}, Refusals: make3Refusals()[:1], Findings: []Finding{{Rule: "f", Severity: FindingNeedsEye}},
		}
		bad := good
		bad.Formulas = []Formula{{Mapping: "patient", Path: "name", Reads: -1}}
		if err := l.Finish(t.Context(), task, bad); err == nil {
			t.Fatal("a negative count was taken")
		}
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if len(s.Tables)+len(s.Resources)+len(s.Mappings) > 0 || s.Refusals+s.Findings+s.Batches > 0 {
			t.Errorf("something was left: %+v", s)
		}
		must(t, l.Finish(t.Context(), task, good))
		must(t, l.Close())
		l = at.open(t)
		s, err = l.Summary(t.Context(), run.ID)
		must(t, err)
		if s.Resources["Patient"].Pending != 2 || s.Refusals != 1 || s.Findings != 1 || s.Notices != 0 || s.Bytes != 200 {
			t.Errorf("after opening again: %+v", s)
		}
	})
}

func TestListsAreInPlaceOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		var many []Refusal
		for i := range 3 * rowsPerInsert {
			many = append(many, Refusal{Table: "z", Line: int64(3*rowsPerInsert - i), Rule: "r"})
		}
		must(t, l.Record(t.Context(), run.ID, Report{Refusals: append(make3Refusals(), many...)}))
		var got []Refusal
		for r, err := range l.Refusals(t.Context(), run.ID) {
			must(t, err)
			got = append(got, r)
		}
		want := []Refusal{{Table: "a", Line: 9, Rule: "r"}, {Table: "a", Line: 10, Column: "C", Rule: "r", Mapping: "m"}, {Table: "b", Line: 9, Rule: "r"}, {Table: "z", Line: 1, Rule: "r"}}
		if diff := cmp.Diff(want, got[:4]); diff != "" || len(got) != 3+len(many) {
			t.Errorf("%d refusals (-want +got):\n%s", len(got), diff)
		}
		for f, err := range l.Findings(t.Context(), run.ID) {
			t.Error("there is no finding", f, err)
		}
	})
}

// A stream whose ledger is closed under it ends with an error and not as if it were complete.
func TestStreamSaysThatItBroke(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		list := l.Refusals(t.Context(), run.ID)
		must(t, l.readers.Close())
		n := 0
		for _, err := range list {
			n++
			if err == nil {
				t.Error("a row came out of a closed ledger")
			}
		}
		if n != 1 {
			t.Errorf("%d steps", n)
		}
	})
}

func TestBatchFromStagedToVerified(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{
			Batches:   []Batch{batch("b1", "Patient", 10), batch("b2", "Patient", 5), batch("b3", "Condition", 4)},
			Resources: []ResourceCount{{Type: "Patient", Made: 16, Merged: 1}, {Type: "Condition", Made: 4}},
		}))
		row := func(want ResourceRow) {
			t.Helper()
			s, err := l.Summary(t.Context(), run.ID)
			must(t, err)
			if diff := cmp.Diff(want, s.Resources["Patient"]); diff != "" {
				t.Errorf("Patient (-want +got):\n%s", diff)
			}
			if faults := Balance(s); faults != nil {
				t.Error(faults)
			}
		}
		row(ResourceRow{Made: 16, Merged: 1, Pending: 15})
		if err := l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Loaded, Outcomes: Outcomes{Loaded: 9}}}}); err == nil {
			t.Error("a batch with a resource without an outcome was loaded")
		}
		if err := l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Loading, Outcomes: Outcomes{Loaded: 11}}}}); err == nil {
			t.Error("eleven of ten were loaded")
		}
		if err := l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Staged, Outcomes: Outcomes{Loaded: 1}}}}); err == nil {
			t.Error("a batch that was not started loaded something")
		}
		must(t, l.StartBatch(t.Context(), "b1"))
		row(ResourceRow{Made: 16, Merged: 1, InDoubt: 10, Pending: 5}) // started, and no answer: in doubt
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Loaded, Outcomes: Outcomes{Loaded: 6, Unchanged: 1, Rejected: 1, InDoubt: 2}}}}))
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b2", State: Staged, Outcomes: Outcomes{Held: 1}}}}))
		row(ResourceRow{Made: 16, Merged: 1, Loaded: 6, Unchanged: 1, Rejected: 1, InDoubt: 2, Held: 1, Pending: 4})
		ids := func(f BatchFilter) (list []string) {
			t.Helper()
			batches, err := l.Batches(t.Context(), run.ID, f)
			must(t, err)
			for _, b := range batches {
				list = append(list, b.ID)
			}
			return list
		}
		must(t, l.StartBatch(t.Context(), "b3"))
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b3", State: Loaded, Outcomes: Outcomes{Loaded: 3, Rejected: 1}}}}))
		other := "other"
		for _, test := range []struct {
			filter BatchFilter
			want   []string
		}{
			{BatchFilter{}, []string{"b1", "b2", "b3"}}, {BatchFilter{Open: true}, []string{"b1", "b2"}}, {BatchFilter{Open: true, Rejected: true}, []string{"b1", "b2", "b3"}},
			{BatchFilter{State: Staged}, []string{"b2"}}, {BatchFilter{Wave: &other}, nil},
		} {
			if diff := cmp.Diff(test.want, ids(test.filter)); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", test.filter, diff)
			}
		}
		must(t, l.StartBatch(t.Context(), "b1")) // tried again: what was in doubt is known now
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Verified, Outcomes: Outcomes{Loaded: 8, Unchanged: 1, Rejected: 1}}}}))
		row(ResourceRow{Made: 16, Merged: 1, Loaded: 8, Unchanged: 1, Rejected: 1, Held: 1, Pending: 4})
		b, owner, ok, err := l.Batch(t.Context(), "b1")
		if err != nil || !ok || owner != run.ID || b.State != Verified || b.Outcome.Sum() != b.Count {
			t.Errorf("got %+v of %s, %v, %v", b, owner, ok, err)
		}
		if _, _, ok, err := l.Batch(t.Context(), "b9"); ok || err != nil {
			t.Error(ok, err)
		}
		if err := l.StartBatch(t.Context(), "b9"); err == nil {
			t.Error("a batch that there is not was started")
		}
		if err := l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b9", State: Loaded}}}); err == nil {
			t.Error("a batch that there is not has an outcome")
		}
	})
}

func TestUnmappedAndFormulasAddUp(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		for i := range 2 {
			r := Report{
				Formulas:     []Formula{{Mapping: "m", Path: "code", Place: "m.yaml:3:5", Reads: 10, Writes: 8, Empties: 2}},
				Translations: []Translation{{Map: "sex", Relationship: "wider", Count: 5}, {Map: "sex", Relationship: "choice", Count: 1}},
				Unmapped:     []Unmapped{{Map: "sex", Code: "k1", Count: 4, Patients: int64(3 - i)}, {Map: "sex", Code: "k2", Count: 9, Patients: 9}},
			}
			if i == 1 {
				r.Unmapped[0].Value = "X"
			}
			must(t, l.Record(t.Context(), run.ID, r))
		}
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if diff := cmp.Diff([]Formula{{Mapping: "m", Path: "code", Place: "m.yaml:3:5", Reads: 20, Writes: 16, Empties: 4}}, s.Formulas); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]Translation{{Map: "sex", Relationship: "choice", Count: 2}, {Map: "sex", Relationship: "wider", Count: 10}}, s.Translations); diff != "" {
			t.Errorf("translations (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]Unmapped{{Map: "sex", Code: "k2", Count: 18, Patients: 9}, {Map: "sex", Code: "k1", Value: "X", Count: 8, Patients: 3}}, s.Unmapped); diff != "" {
			t.Error(diff)
		}
	})
}

// Two mappings of one table refuse one record, and the check over all ids takes resources out of a durable batch.
func TestExclusions(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{Batches: []Batch{batch("b1", "Patient", 10), batch("b2", "Patient", 1)}, Resources: []ResourceCount{{Type: "Patient", Made: 11}}}))
		must(t, l.Record(t.Context(), run.ID, Report{
			Excluded:  []BatchExclusion{{Batch: "b1", Count: 2}, {Batch: "b1", Count: 1}, {Batch: "b2", Count: 1}},
			Resources: []ResourceCount{{Type: "Patient", Merged: 1}, {Type: "Patient", Made: -3}},
		}))
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if want := (ResourceRow{Made: 8, Merged: 1, Pending: 7}); s.Resources["Patient"] != want || Balance(s) != nil {
			t.Errorf("got %+v, %q", s.Resources["Patient"], Balance(s))
		}
		must(t, l.StartBatch(t.Context(), "b1"))
		for n, fits := range map[int64]bool{6: false, 8: false, 7: true} {
			err := l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b1", State: Loaded, Outcomes: Outcomes{Loaded: n}}}})
			if (err == nil) != fits {
				t.Errorf("%d loaded of 10 with 3 excluded: %v", n, err)
			}
		}
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: "b2", State: Loaded}}}))
		if b, _, _, err := l.Batch(t.Context(), "b1"); err != nil || b.Excluded != 3 || b.Count != 10 {
			t.Errorf("got %+v, %v", b, err)
		}
		for name, bad := range map[string]BatchExclusion{"too many": {"b1", 8}, "after the outcomes": {"b1", 1}, "no such batch": {"b9", 1}} {
			if err := l.Record(t.Context(), run.ID, Report{Excluded: []BatchExclusion{bad}}); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
	})
}

func TestRefusedLines(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{Refusals: append(make3Refusals(), make3Refusals()...)}))
		lines := []int64{9, 10}
		for i := range int64(2 * rowsPerInsert) {
			lines = append(lines, 100+i)
		}
		for table, want := range map[string]map[int64]bool{"a": {9: true, 10: true}, "b": {9: true}, "c": {}} {
			got, err := l.Refused(t.Context(), run.ID, table, lines)
			must(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("table %s (-want +got):\n%s", table, diff)
			}
		}
		if got, err := l.Refused(t.Context(), run.ID, "a", nil); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
	})
}

func TestClaimTask(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.AddTasks(t.Context(), run.ID, []Task{{Kind: Check, Subject: "a"}, {Kind: Check, Subject: "b"}}))
		list, err := l.Tasks(t.Context(), run.ID, TaskFilter{})
		must(t, err)
		task, err := l.ClaimTask(t.Context(), list[1].ID)
		if err != nil || task.Subject != "b" || task.Run != run.ID || task.State != TaskRunning || task.Fence != 1 {
			t.Fatalf("claimed %+v, %v", task, err)
		}
		if _, err := l.ClaimTask(t.Context(), task.ID); !errors.Is(err, ErrFenced) {
			t.Errorf("claimed twice: %v", err)
		}
		must(t, l.Finish(t.Context(), task, Report{}))
		if _, err := l.ClaimTask(t.Context(), task.ID); !errors.Is(err, ErrFenced) {
			t.Errorf("claimed after its end: %v", err)
		}
	})
}
