package loadtest

import (
	"context"
	"iter"
	"testing"

	"github.com/chartlift/chartlift/pipeline/load"
)

// depot is a target in memory that works off one item of a job with each question how far it is.
type depot struct{ jobs map[load.Handle]*deposit }

type deposit struct {
	items []load.Item
	done  int
}

// clerk is an importer to a depot.
type clerk struct{ *depot }

func (c clerk) Submit(_ context.Context, job load.Job) (load.Handle, error) {
	h := load.Handle("job/" + job.Key)
	if c.jobs[h] != nil {
		return h, nil
	}
	d := &deposit{}
	for it, err := range job.Items {
		if err != nil {
			return "", err
		}
		d.items = append(d.items, it)
	}
	c.jobs[h] = d
	return h, nil
}

func (c clerk) Poll(_ context.Context, h load.Handle) (load.Progress, error) {
	d := c.jobs[h]
	if d == nil {
		return load.Progress{}, load.ErrUnknownJob
	}
	if d.done < len(d.items) {
		d.done++
	}
	return load.Progress{Over: d.done == len(d.items), Done: int64(d.done)}, nil
}

func (c clerk) Results(_ context.Context, h load.Handle) iter.Seq2[load.Outcome, error] {
	return func(yield func(load.Outcome, error) bool) {
		d := c.jobs[h]
		if d == nil {
			yield(load.Outcome{}, load.ErrUnknownJob)
			return
		}
		for _, it := range d.items {
			if !yield(load.Outcome{Type: it.Sealed.Type(), Ours: it.Sealed.ID(), ID: it.Sealed.ID(), Kind: load.InDoubt}, nil) {
				return
			}
		}
	}
}

func TestImporterContract(t *testing.T) {
	_, sealer := newKeys(t)
	items, _ := patients(t, sealer)
	d := &depot{jobs: map[load.Handle]*deposit{}}
	Importer(t, func() load.Importer { return clerk{d} }, items)
}
