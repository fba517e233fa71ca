package run

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// SortBudget is what one external sort may hold in memory before it spills.
const SortBudget = 32 << 20

// ordinals gives the records that are not the first with their key their number among equals, by the record's ordinal
// in its table. All others are the first. Memory grows with the repeats, not with the table.
type ordinals map[int64]int32

func (o ordinals) of(record int64) int {
	if n, ok := o[record]; ok {
		return int(n)
	}
	return 1
}

// number finds, for each mapping with `duplicates: number`, the records that share a key. Their order is that of the
// source, so it is the same for any number of workers.
func (r *Reading) number(ctx context.Context) error {
	type work struct {
		table   *Table
		mapping *mapping.Mapping
	}
	var list []work
	var total int64
	for _, w := range r.Tables {
		for _, m := range w.Rows {
			if m.Duplicates == mapping.NumberDuplicates {
				list = append(list, work{w, m})
				total += Bytes(w)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	r.options.Progress.Stage("number", "bytes", total)
	for _, w := range list {
		numbers, err := r.numberOne(ctx, w.table, w.mapping)
		if err != nil {
			return err
		}
		w.table.numbers[w.mapping] = numbers
	}
	return nil
}

func (r *Reading) numberOne(ctx context.Context, w *Table, m *mapping.Mapping) (numbers ordinals, err error) {
	sorter := stage.NewSorter(r.options.Scratch, SortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	var mu sync.Mutex
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(r.options.Workers)
	for _, shard := range w.Shards {
		p.Go(func(ctx context.Context) error {
			worker := r.program.NewWorker()
			var keys []byte // ids and ordinals of a few thousand records, handed over under one lock
			flush := func() error {
				mu.Lock()
				defer mu.Unlock()
				for ; len(keys) > 0; keys = keys[numberWidth:] {
					if err := sorter.Add(keys[:numberWidth], nil); err != nil {
						return err
					}
				}
				return nil
			}
			buffer := make([]byte, 0, 4096*numberWidth)
			keys = buffer
			for rec, err := range w.Read(ctx, shard) {
				var fault *extract.Fault
				if errors.As(err, &fault) {
					continue
				}
				if err != nil {
					return err
				}
				id, ok := worker.Key(m, rec)
				if !ok {
					continue // it will be refused for its key
				}
				keys = append(keys, id[:]...)
				keys = binary.BigEndian.AppendUint64(keys, uint64(rec.Ordinal))
				if len(keys) == cap(buffer) {
					if err := flush(); err != nil {
						return err
					}
					keys = buffer
				}
			}
			r.options.Progress.Add(shard.Bytes)
			return flush()
		})
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	numbers = ordinals{}
	var last mapping.ID
	n := int32(0)
	for entry, err := range sorter.Sorted() {
		if err != nil {
			return nil, err
		}
		id := mapping.ID(entry.Key[:len(last)])
		if n > 0 && id == last {
			n++
			numbers[int64(binary.BigEndian.Uint64(entry.Key[len(last):]))] = n
			continue
		}
		last, n = id, 1
	}
	return numbers, nil
}

// numberWidth is an id and a record's ordinal.
const numberWidth = len(mapping.ID{}) + 8
