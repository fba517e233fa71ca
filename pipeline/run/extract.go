package run

import (
	"context"
	"fmt"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// claims is what extraction needs of the ledger.
type claims interface {
	AddTasks(ctx context.Context, run string, tasks []ledger.Task) error
	Claim(ctx context.Context, run string, filter ledger.TaskFilter) (ledger.Task, bool, error)
	Finish(ctx context.Context, task ledger.Task, report ledger.Report) error
	Release(ctx context.Context, task ledger.Task) error
}

// extraction is the station that makes batches of all records.
type extraction struct {
	ledger   claims
	run      string
	reading  *Reading
	making   *making
	workers  int
	progress plan.Progress
	log      *zap.Logger
}

// do turns every shard into batches, concurrently. A shard is plain sequential code; only the choice of the next
// one is shared.
func (s *extraction) do(ctx context.Context) error {
	var tasks []ledger.Task
	shards := map[string]func() (*Table, extract.Shard){}
	for _, w := range s.reading.Tables {
		for _, shard := range w.Shards {
			subject := fmt.Sprintf("%s/%s#%d", w.Source, w.Name, shard.Index)
			tasks = append(tasks, ledger.Task{Kind: ledger.Extract, Subject: subject})
			shards[subject] = func() (*Table, extract.Shard) { return w, shard }
		}
	}
	if err := s.ledger.AddTasks(ctx, s.run, tasks); err != nil {
		return err
	}
	s.progress.Stage("extract", "bytes", Bytes(s.reading.Tables...))
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range min(s.workers, len(tasks)) {
		p.Go(func(ctx context.Context) error {
			x := s.making.maker()
			return claimAll(ctx, s.ledger, s.run, ledger.TaskFilter{Kind: ledger.Extract}, func(ctx context.Context, task ledger.Task) (ledger.Report, error) {
				find := shards[task.Subject]
				if find == nil {
					return ledger.Report{}, fmt.Errorf("%s is a task of this run, but not in the source", task.Subject)
				}
				w, shard := find()
				report, err := x.shard(ctx, w, shard)
				if err != nil {
					return report, fmt.Errorf("%s: %w", task.Subject, err)
				}
				s.progress.Add(shard.Bytes)
				return report, nil
			})
		})
	}
	err := p.Wait()
	for _, w := range s.reading.Tables {
		if source, ok := w.source.(commented); ok {
			if n := source.Comments(w.Name); n > 0 {
				s.log.Warn("comment lines were left out", zap.String("table", w.Name), zap.Int64("lines", n))
			}
		}
	}
	return err
}

// commented is a source that leaves comments out: they are no records, so only their count says that they were there.
type commented interface {
	Comments(table string) int64
}
