package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// recount maps the records of a run once more and keeps nothing but what the workers count: the values that no concept map
// knows are nowhere at rest, so whoever may see them has them read again. The source must be what the run read.
func (s *Session) recount(ctx context.Context, run ledger.Run) (err error) {
	if err := s.sameSource(ctx, run); err != nil {
		return err
	}
	r := &runner{Session: s, run: run, workers: runtime.GOMAXPROCS(0), dir: s.stageDir(run.ID)}
	if sample, ok := run.Pins["sample"]; ok {
		if r.options.Sample, err = strconv.ParseInt(sample, 10, 64); err != nil {
			return fmt.Errorf("run %s: its sample is no number", run.ID)
		}
	}
	if err := stage.MakeFolder(r.dir); err != nil {
		return err
	}
	if err := r.planTables(ctx); err != nil {
		return err
	}
	defer s.options.Progress.Done()
	if err := r.readBeside(ctx); err != nil {
		return err
	}
	if r.joined != nil {
		defer func() { err = errors.Join(err, r.joined.Close()) }()
	}
	s.options.Progress.Stage("read again", "bytes", tableBytes(r.tables...))
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(r.workers)
	for _, w := range r.tables {
		for _, shard := range w.shards {
			p.Go(func(ctx context.Context) error {
				defer s.options.Progress.Add(shard.Bytes)
				return r.recountShard(ctx, w, shard)
			})
		}
		for _, m := range w.groups {
			p.Go(func(ctx context.Context) error { return r.recountGroups(ctx, w, m) })
		}
	}
	return p.Wait()
}

func drop(*mapping.Resource) error { return nil }

// records are the good records of a shard that belong to the run.
func (r *runner) records(ctx context.Context, w *tableWork, shard extract.Shard, each func(*extract.Record) error) error {
	for rec, err := range w.read(ctx, shard) {
		switch {
		case err != nil && isFault(err):
		case err != nil:
			return err
		case !r.beyondSample(rec.Ordinal):
			if err := each(rec); err != nil {
				return fmt.Errorf("%s: %w", rec.Place(), err)
			}
		}
	}
	return nil
}

func (r *runner) recountShard(ctx context.Context, w *tableWork, shard extract.Shard) error {
	worker := r.newWorker()
	return r.records(ctx, w, shard, func(rec *extract.Record) error {
		for _, m := range w.rows {
			if _, err := worker.Map(m, rec, 1, drop); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *runner) recountGroups(ctx context.Context, w *tableWork, m *mapping.Mapping) (err error) {
	worker := r.newWorker()
	sorter := stage.NewSorter(r.dir, sortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	var key, value []byte
	for _, shard := range w.shards {
		if err := r.records(ctx, w, shard, func(rec *extract.Record) error {
			id, res, err := worker.GroupKey(m, rec)
			if err != nil || res.Outcome != mapping.Mapped {
				return err
			}
			key = binary.BigEndian.AppendUint64(append(key[:0], id[:]...), uint64(rec.Ordinal))
			value = mapping.AppendRow(value[:0], rec)
			return sorter.Add(key, value)
		}); err != nil {
			return err
		}
	}
	return eachGroup(sorter, w, func(rows []mapping.Row) error {
		_, err := worker.MapGroup(m, rows, 1, drop)
		return err
	})
}
