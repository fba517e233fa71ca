package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// batchList is what is asked of the ledger about the batches of a run.
type batchList interface {
	Batches(ctx context.Context, run string, filter ledger.BatchFilter) ([]ledger.Batch, error)
	Tasks(ctx context.Context, run string, filter ledger.TaskFilter) ([]ledger.Task, error)
}

// Why a resource that is in a batch does not go on. The numbers are written to disk.
const (
	ExcludedDuplicate uint8 = iota + 1 // a second record with the key, under `duplicates: refuse`
	ExcludedConflict                   // a second, unequal record, under `duplicates: merge`
	ExcludedMissing                    // it refers to a record that was refused, skipped or never existed
	ExcludedMerged                     // a second, equal record, under `duplicates: merge`: no loss
	ExcludedReplaced                   // written anew without a reference to nothing, under `references: drop`
)

// excludedRule is the refusal code of a reason; "" for reasons that refuse nothing.
func excludedRule(reason uint8) mapping.Code {
	switch reason {
	case ExcludedDuplicate:
		return mapping.Duplicate
	case ExcludedConflict:
		return mapping.MergeConflict
	case ExcludedMissing:
		return mapping.Missing
	}
	return ""
}

// checkAllIDs is the task of the check over all ids.
const checkAllIDs = "all ids"

// Exclusions is what the check took out, by batch and position. It grows with the faults, not with the data.
type Exclusions map[string]map[int]uint8

// ErrUnchecked says that a run has not come as far as its check over all ids.
var ErrUnchecked = errors.New("the check over all ids is not done")

// ReadExclusions reads what a run's check took out. The ledger is the authority: a list that it does not know of yet is not
// read, and one that it knows of must be there and agree with it. Errors: ErrUnchecked, *stage.Damage.
func ReadExclusions(ctx context.Context, l batchList, at plan.Staged) (Exclusions, error) {
	tasks, err := l.Tasks(ctx, at.Run, ledger.TaskFilter{Kind: ledger.Check, State: ledger.TaskDone})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(tasks, func(t ledger.Task) bool { return t.Subject == checkAllIDs }) {
		return nil, fmt.Errorf("%s: %w", at.Run, ErrUnchecked)
	}
	list, err := stage.ReadExclusions(ctx, at.Place, at.Keys, at.Run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &stage.Damage{File: at.Run + ".excluded", What: "the file is missing"}
	}
	if err != nil {
		return nil, err
	}
	out := Exclusions{}
	for _, e := range list {
		out.set(e.Batch, e.Position, e.Reason)
	}
	batches, err := l.Batches(ctx, at.Run, ledger.BatchFilter{})
	if err != nil {
		return nil, err
	}
	named := 0
	for _, b := range batches {
		if int64(len(out[b.ID])) != b.Excluded {
			return nil, &stage.Damage{File: at.Run + ".excluded", What: fmt.Sprintf("it takes %d resources out of batch %s, the ledger %d", len(out[b.ID]), b.ID, b.Excluded)}
		}
		if b.Excluded > 0 {
			named++
		}
	}
	if named != len(out) {
		return nil, &stage.Damage{File: at.Run + ".excluded", What: "it names batches that the ledger does not have"}
	}
	return out, nil
}

func (e Exclusions) set(batch string, position int, reason uint8) {
	if e[batch] == nil {
		e[batch] = map[int]uint8{}
	}
	e[batch][position] = reason
}

// Infos lists the batches of a run in the order of the ledger.
func Infos(ctx context.Context, l batchList, run string, filter ledger.BatchFilter) ([]stage.Info, error) {
	batches, err := l.Batches(ctx, run, filter)
	if err != nil {
		return nil, err
	}
	infos := make([]stage.Info, len(batches))
	for i, b := range batches {
		infos[i] = infoOf(run, b)
	}
	return infos, nil
}

func infoOf(run string, b ledger.Batch) stage.Info {
	return stage.Info{
		ID: b.ID, Run: run, Wave: b.Wave, Mapping: b.Mapping, Type: b.Type, Table: b.Table, Level: b.Level,
		Count: int(b.Count), Bytes: b.Bytes, SHA256: b.SHA256,
	}
}
