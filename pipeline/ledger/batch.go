package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// BatchState is the state of a batch.
type BatchState string

// The states of a batch. A batch goes from loaded back to loading when what was rejected or in doubt is tried again.
const (
	Staged    BatchState = "staged"
	Loading   BatchState = "loading"   // its first byte may have been sent
	Submitted BatchState = "submitted" // a server has taken it as part of a job and will say later what came of it
	Loaded    BatchState = "loaded"    // every resource has an outcome, in doubt included
	Verified  BatchState = "verified"
)

// Batch is a durable file of sealed resources of one wave and level.
type Batch struct {
	ID, Mapping, Type, Table, Wave string
	Level                          int
	Count                          int64 // resources in the file
	Excluded                       int64 // of them, taken out by the check over all ids: they are never sent
	Bytes                          int64
	SHA256                         string // of the file, hexadecimal
	State                          BatchState
	Outcome                        Outcomes
}

// Outcomes count the resources of a batch by what the target said. Those without an outcome follow from the count.
type Outcomes struct {
	Loaded, Unchanged, Rejected, InDoubt, Held int64
	// NotApplied are those of Unchanged that were left because somebody has edited them in the target: our change is
	// not there.
	NotApplied int64
}

// Sum is the number of resources that have an outcome.
func (o Outcomes) Sum() int64 { return o.Loaded + o.Unchanged + o.Rejected + o.InDoubt + o.Held }

// BatchExclusion takes resources of a durable batch out of the account: the check over all ids refused or merged them.
// Counts of several exclusions of a batch are added.
type BatchExclusion struct {
	Batch string
	Count int64
}

// BatchOutcome replaces what is known of a batch. State Loaded or Verified needs an outcome for each resource that is
// not excluded.
type BatchOutcome struct {
	Batch string
	State BatchState
	Outcomes
}

// BatchFilter chooses batches; a zero field chooses all.
type BatchFilter struct {
	State BatchState
	Wave  *string
	Level *int
	// Open chooses the batches that have something left to do: not yet loaded, or with resources in doubt or held.
	Open bool
	// Rejected, with Open, also chooses those with rejected resources.
	Rejected bool
}

const batchColumns = "id, mapping, type, tbl, wave, level, count, excluded, bytes, sha256, state, loaded, unchanged, rejected, in_doubt, held, not_applied"

func scanBatch(row scanner) (Batch, error) {
	var b Batch
	o := &b.Outcome
	err := row.Scan(&b.ID, &b.Mapping, &b.Type, &b.Table, &b.Wave, &b.Level, &b.Count, &b.Excluded, &b.Bytes, &b.SHA256, &b.State,
		&o.Loaded, &o.Unchanged, &o.Rejected, &o.InDoubt, &o.Held, &o.NotApplied)
	return b, err
}

func (r *Report) recordBatches(ctx context.Context, tx handle, run int64) error {
	rows := newInserter("INSERT INTO batches (run, id, mapping, type, tbl, wave, level, count, bytes, sha256) VALUES", 10, "")
	for _, b := range r.Batches {
		if err := rows.add(ctx, tx, run, b.ID, b.Mapping, b.Type, b.Table, b.Wave, b.Level, b.Count, b.Bytes, b.SHA256); err != nil {
			return err
		}
	}
	return rows.flush(ctx, tx)
}

func (r *Report) recordExclusions(ctx context.Context, tx handle, run int64) error {
	for _, e := range r.Excluded {
		fault := fmt.Errorf("batch %s is not in this run", e.Batch)
		if err := tx.one(ctx, fault, "UPDATE batches SET excluded = excluded + ? WHERE run = ? AND id = ?", e.Count, run, e.Batch); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) recordOutcomes(ctx context.Context, tx handle, run int64) error {
	for _, o := range r.Outcomes {
		fault := fmt.Errorf("batch %s is not in this run", o.Batch)
		if err := tx.one(ctx, fault, "UPDATE batches SET state = ?, loaded = ?, unchanged = ?, rejected = ?, in_doubt = ?, held = ?, not_applied = ? WHERE run = ? AND id = ?",
			o.State, o.Loaded, o.Unchanged, o.Rejected, o.InDoubt, o.Held, o.NotApplied, run, o.Batch); err != nil {
			return err
		}
	}
	return nil
}

// StartBatch marks a batch as loading, durably. Call it before the first byte is sent: from then on whatever has no
// outcome is in doubt. It may be called again for a batch that is tried again.
func (l *Ledger) StartBatch(ctx context.Context, id string) error {
	return l.write(ctx, "start batch", func(tx handle) error {
		return tx.one(ctx, fmt.Errorf("there is no batch %s", id), "UPDATE batches SET state = 'loading' WHERE id = ?", id)
	})
}

// Batches lists the batches of a run that the filter chooses, in the order in which they were recorded.
func (l *Ledger) Batches(ctx context.Context, run string, filter BatchFilter) ([]Batch, error) {
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, during("list batches", err)
	}
	where, args := " WHERE run = ?", []any{seq}
	if filter.State != "" {
		where, args = where+" AND state = ?", append(args, filter.State)
	}
	if filter.Wave != nil {
		where, args = where+" AND wave = ?", append(args, *filter.Wave)
	}
	if filter.Level != nil {
		where, args = where+" AND level = ?", append(args, *filter.Level)
	}
	if filter.Open {
		where += " AND (state IN ('staged', 'loading', 'submitted') OR in_doubt + held > 0"
		if filter.Rejected {
			where += " OR rejected > 0"
		}
		where += ")"
	}
	return collect(ctx, l, "list batches", scanBatch,
		"SELECT "+batchColumns+" FROM batches"+where+" ORDER BY seq", args...)
}

// Batch finds a batch by its id, and the id of its run; false if there is none.
func (l *Ledger) Batch(ctx context.Context, id string) (batch Batch, run string, ok bool, err error) {
	err = l.reader.row(ctx, "SELECT runs.id FROM batches JOIN runs ON runs.seq = batches.run WHERE batches.id = ?", id).Scan(&run)
	if err == nil {
		batch, err = scanBatch(l.reader.row(ctx, "SELECT "+batchColumns+" FROM batches WHERE id = ?", id))
	}
	if errors.Is(err, sql.ErrNoRows) {
		return Batch{}, "", false, nil
	}
	return batch, run, err == nil, during("find batch", err)
}
