package workbench

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
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// recount maps the records of a run once more and keeps nothing but what the workers count: the values that no concept map
// knows are nowhere at rest, so whoever may see them has them read again. The source must be what the run read.
func recount(ctx context.Context, s *plan.Session, of ledger.Run) (err error) {
	reading, err := openReading(ctx, s, of, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reading.Close()) }()
	defer s.Progress.Done()
	s.Progress.Stage("read again", "bytes", run.Bytes(reading.Tables...))
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	for _, w := range reading.Tables {
		for _, shard := range w.Shards {
			p.Go(func(ctx context.Context) error {
				defer s.Progress.Add(shard.Bytes)
				return recountShard(ctx, reading, w, shard)
			})
		}
		for _, m := range w.Groups {
			p.Go(func(ctx context.Context) error {
				return recountGroups(ctx, reading, s.Scratch(of.ID), w, m)
			})
		}
	}
	return p.Wait()
}

// openReading reads the source as a run read it, which must not have changed since. Close it.
func openReading(ctx context.Context, s *plan.Session, of ledger.Run, workers int) (*run.Reading, error) {
	if err := sameSource(ctx, s, of); err != nil {
		return nil, err
	}
	o := run.ReadingOptions{Waves: s.Plan.Waves, Wave: of.Wave, Workers: workers, Scratch: s.Scratch(of.ID), PlanFile: s.Plan.File, Progress: s.Progress}
	if sample, ok := of.Pins["sample"]; ok {
		var err error
		if o.Sample, err = strconv.ParseInt(sample, 10, 64); err != nil {
			return nil, fmt.Errorf("run %s: its sample is not a number", of.ID)
		}
	}
	r, err := run.NewReading(ctx, s, s.Program, o)
	if err != nil {
		return nil, err
	}
	return r, r.OpenBeside(ctx)
}

func drop(*mapping.Resource) error { return nil }

func recountShard(ctx context.Context, r *run.Reading, w *run.Table, shard extract.Shard) error {
	worker := r.NewWorker()
	return r.Records(ctx, w, shard, func(rec *extract.Record) error {
		for _, m := range w.Rows {
			if _, err := worker.Map(m, rec, 1, drop); err != nil {
				return err
			}
		}
		return nil
	})
}

func recountGroups(ctx context.Context, r *run.Reading, scratch *stage.Scratch, w *run.Table, m *mapping.Mapping) (err error) {
	worker := r.NewWorker()
	sorter := stage.NewSorter(scratch, run.SortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	var key, value []byte
	for _, shard := range w.Shards {
		if err := r.Records(ctx, w, shard, func(rec *extract.Record) error {
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
	return run.EachGroup(sorter, w, func(rows []mapping.Row) error {
		_, err := worker.MapGroup(m, rows, 1, drop)
		return err
	})
}
