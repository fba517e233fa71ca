package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
)

// tasks is what a station needs of the ledger to do a piece of work once.
type tasks interface {
	AddTasks(ctx context.Context, run string, tasks []ledger.Task) error
	Tasks(ctx context.Context, run string, filter ledger.TaskFilter) ([]ledger.Task, error)
	ClaimTask(ctx context.Context, id int64) (ledger.Task, error)
	Finish(ctx context.Context, task ledger.Task, report ledger.Report) error
	Release(ctx context.Context, task ledger.Task) error
}

// once does pieces of work of one run that are one task each, unless an earlier process has finished them.
type once struct {
	ledger tasks
	run    string
}

func (o *once) do(ctx context.Context, kind ledger.TaskKind, subject string, work func(context.Context) (ledger.Report, error)) error {
	if err := o.ledger.AddTasks(ctx, o.run, []ledger.Task{{Kind: kind, Subject: subject}}); err != nil {
		return err
	}
	list, err := o.ledger.Tasks(ctx, o.run, ledger.TaskFilter{Kind: kind})
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.Subject != subject {
			continue
		}
		if t.State == ledger.TaskDone {
			return nil
		}
		t, err := o.ledger.ClaimTask(ctx, t.ID)
		if err != nil {
			return err
		}
		report, err := work(ctx)
		if err != nil {
			return errors.Join(err, o.ledger.Release(context.WithoutCancel(ctx), t))
		}
		return o.ledger.Finish(ctx, t, report)
	}
	return fmt.Errorf("task %s %s is gone from the ledger", kind, subject)
}

// claimAll claims one task after the other, in the order in which they were added, and does them, until there is none
// left. A task that fails is given back, and ends the work.
func claimAll(ctx context.Context, l claims, run string, filter ledger.TaskFilter, work func(context.Context, ledger.Task) (ledger.Report, error)) error {
	for {
		task, ok, err := l.Claim(ctx, run, filter)
		if err != nil || !ok {
			return err
		}
		report, err := work(ctx, task)
		if err != nil {
			return errors.Join(err, l.Release(context.WithoutCancel(ctx), task))
		}
		if err := l.Finish(ctx, task, report); err != nil {
			return err
		}
		if task.Kind == ledger.Load {
			crash.At(crash.RunBatch)
		}
	}
}
