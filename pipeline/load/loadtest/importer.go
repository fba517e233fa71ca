package loadtest

import (
	"errors"
	"testing"

	"github.com/chartlift/chartlift/pipeline/load"
)

// Importer is the contract of load.Importer: one key is one job, whoever submits it and however often; a handle is all
// that is needed to go on; each item has one outcome. reopen makes the importer anew, as after a restart, to the same
// target. items are the items of the job, valid ones.
func Importer(t *testing.T, reopen func() load.Importer, items []load.Item) {
	job := load.Job{Key: "loadtest-1", Items: func(yield func(load.Item, error) bool) {
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
	}}
	handle, err := reopen().Submit(t.Context(), job)
	if err != nil || handle == "" {
		t.Fatalf("handle %q, %v", handle, err)
	}
	if again, err := reopen().Submit(t.Context(), job); err != nil || again != handle {
		t.Errorf("submitted again: another job, %v", err)
	}
	for over := false; !over; {
		p, err := reopen().Poll(t.Context(), handle)
		if err != nil {
			t.Fatal(err)
		}
		over = p.Over
	}
	want := map[string]bool{}
	for _, it := range items {
		want[it.Sealed.Type()+"/"+it.Sealed.ID()] = true
	}
	for o, err := range reopen().Results(t.Context(), handle) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[o.Type+"/"+o.Ours] {
			t.Errorf("%s/%s is not of the job, or has two outcomes", o.Type, o.Ours)
		}
		delete(want, o.Type+"/"+o.Ours)
		if o.Kind == load.Pending {
			t.Errorf("%s/%s has no outcome", o.Type, o.Ours)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d have no outcome", len(want))
	}
	if _, err := reopen().Poll(t.Context(), "loadtest-nothing"); !errors.Is(err, load.ErrUnknownJob) {
		t.Errorf("a handle of nothing: %v", err)
	}
}
