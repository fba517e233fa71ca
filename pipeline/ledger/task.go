package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// TaskKind is what a task does. Every task is idempotent.
type TaskKind string

// The kinds of task.
const (
	Extract TaskKind = "extract" // read a shard and make its batches
	Check   TaskKind = "check"   // look over all ids of a wave: duplicates, dangling references
	Load    TaskKind = "load"    // send a batch
	Verify  TaskKind = "verify"  // read a batch back
)

// TaskState is the state of a task.
type TaskState string

// The states of a task.
const (
	TaskPending TaskState = "pending"
	TaskRunning TaskState = "running"
	TaskDone    TaskState = "done"
	TaskFailed  TaskState = "failed" // tried again when the run resumes
)

// Task is one piece of work of a run. Kind, Wave, Level and Subject together are unique in a run.
type Task struct {
	ID      int64
	Run     string
	Kind    TaskKind
	Subject string // what it works on, without patient data: a shard as JSON, a batch's id, a wave
	Wave    string
	Level   int
	State   TaskState
	// Owner and Fence are the lease: Fence counts the claims, and only the last claimant can finish.
	Owner string
	Fence int64
	// Digest is what Finish recorded of the input as read (SHA-256 of a shard); empty until then.
	Digest string
	Reason string // why it failed
}

// TaskFilter chooses tasks; a zero field chooses all.
type TaskFilter struct {
	Kind  TaskKind
	State TaskState // not used by Claim
	Wave  *string
	Level *int
}

func (f TaskFilter) where(run int64) (string, []any) {
	where, args := " WHERE run = ?", []any{run}
	if f.Kind != "" {
		where, args = where+" AND kind = ?", append(args, f.Kind)
	}
	if f.State != "" {
		where, args = where+" AND state = ?", append(args, f.State)
	}
	if f.Wave != nil {
		where, args = where+" AND wave = ?", append(args, *f.Wave)
	}
	if f.Level != nil {
		where, args = where+" AND level = ?", append(args, *f.Level)
	}
	return where, args
}

const taskColumns = "id, kind, subject, wave, level, state, owner, fence, digest, reason"

func scanTask(row scanner, run string) (Task, error) {
	t := Task{Run: run}
	err := row.Scan(&t.ID, &t.Kind, &t.Subject, &t.Wave, &t.Level, &t.State, &t.Owner, &t.Fence, &t.Digest, &t.Reason)
	return t, err
}

// AddTasks adds pending tasks to a run, in this order. A task that the run has already is left as it is, so the same
// call after a resume changes nothing.
func (l *Ledger) AddTasks(ctx context.Context, run string, tasks []Task) error {
	return l.write(ctx, "add tasks", func(tx *sql.Tx) error {
		seq, err := seqOf(ctx, tx, run)
		if err != nil {
			return err
		}
		rows := newInserter("INSERT INTO tasks (run, kind, subject, wave, level) VALUES", 5, "ON CONFLICT (run, kind, wave, level, subject) DO NOTHING")
		for _, t := range tasks {
			if err := rows.add(ctx, tx, seq, string(t.Kind), t.Subject, t.Wave, t.Level); err != nil {
				return err
			}
		}
		return rows.flush(ctx, tx)
	})
}

// Claim takes the first pending task that the filter chooses, in the order in which they were added; false if there is
// none. No two callers get the same task.
func (l *Ledger) Claim(ctx context.Context, run string, filter TaskFilter) (task Task, ok bool, err error) {
	filter.State = TaskPending
	err = l.write(ctx, "claim task", func(tx *sql.Tx) error {
		seq, err := seqOf(ctx, tx, run)
		if err != nil {
			return err
		}
		where, args := filter.where(seq)
		row := tx.QueryRowContext(ctx, "UPDATE tasks SET state = 'running', owner = ?, fence = fence + 1 WHERE id = (SELECT id FROM tasks"+where+
			" ORDER BY id LIMIT 1) RETURNING "+taskColumns, append([]any{l.owner}, args...)...)
		task, err = scanTask(row, run)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		ok = err == nil
		return err
	})
	if err != nil {
		return Task{}, false, err
	}
	return task, ok, nil
}

// ClaimTask takes one given task. Errors: ErrFenced if it is not pending: another worker holds it, or it has ended.
func (l *Ledger) ClaimTask(ctx context.Context, id int64) (task Task, err error) {
	err = l.write(ctx, "claim task", func(tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, "UPDATE tasks SET state = 'running', owner = ?, fence = fence + 1 WHERE id = ? AND state = 'pending' RETURNING "+taskColumns, l.owner, id)
		task, err = scanTask(row, "")
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("task %d: %w", id, ErrFenced)
		}
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT runs.id FROM tasks JOIN runs ON runs.seq = tasks.run WHERE tasks.id = ?", id).Scan(&task.Run)
	})
	if err != nil {
		return Task{}, err
	}
	return task, nil
}

// Finish ends a claimed task as done and records what it found: all of the report, or none. Errors: ErrFenced if the
// task is no longer the caller's; then nothing was recorded.
func (l *Ledger) Finish(ctx context.Context, task Task, report Report) error {
	return l.write(ctx, "finish task", func(tx *sql.Tx) error {
		run, err := end(ctx, tx, task, TaskDone, report.Digest, "")
		if err != nil {
			return err
		}
		return report.record(ctx, tx, run)
	})
}

// Fail ends a claimed task as failed, with a reason without patient data. A resume of the run tries it again.
func (l *Ledger) Fail(ctx context.Context, task Task, reason string) error {
	return l.write(ctx, "fail task", func(tx *sql.Tx) error {
		_, err := end(ctx, tx, task, TaskFailed, "", reason)
		return err
	})
}

// Release gives a claimed task back as pending, for a clean stop.
func (l *Ledger) Release(ctx context.Context, task Task) error {
	return l.write(ctx, "release task", func(tx *sql.Tx) error {
		_, err := end(ctx, tx, task, TaskPending, "", "")
		return err
	})
}

// end closes the lease of a task and returns the number of its run. The fence and the owner must be those of the claim.
func end(ctx context.Context, tx *sql.Tx, task Task, state TaskState, digest, reason string) (int64, error) {
	var run int64
	err := tx.QueryRowContext(ctx, "UPDATE tasks SET state = ?, owner = '', digest = ?, reason = ? WHERE id = ? AND state = 'running' AND owner = ? AND fence = ? RETURNING run",
		state, digest, reason, task.ID, task.Owner, task.Fence).Scan(&run)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%s task %d: %w", task.Kind, task.ID, ErrFenced)
	}
	return run, err
}

// Tasks lists the tasks that the filter chooses, in the order in which they were added.
func (l *Ledger) Tasks(ctx context.Context, run string, filter TaskFilter) ([]Task, error) {
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, scrub("list tasks", err)
	}
	where, args := filter.where(seq)
	return collect(ctx, l, "list tasks", func(rows *sql.Rows) (Task, error) { return scanTask(rows, run) },
		"SELECT "+taskColumns+" FROM tasks"+where+" ORDER BY id", args...)
}

// Progress counts the tasks of a run by state, for one kind, wave and level.
type Progress struct {
	Kind                           TaskKind
	Wave                           string
	Level                          int
	Pending, Running, Done, Failed int
}

// Progress tells how far each kind, wave and level of a run is, in the order of the work.
func (l *Ledger) Progress(ctx context.Context, run string) ([]Progress, error) {
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, scrub("read progress", err)
	}
	scan := func(rows *sql.Rows) (Progress, error) {
		var p Progress
		err := rows.Scan(&p.Kind, &p.Wave, &p.Level, &p.Pending, &p.Running, &p.Done, &p.Failed)
		return p, err
	}
	return collect(ctx, l, "read progress", scan, `SELECT kind, wave, level,
		sum(state = 'pending'), sum(state = 'running'), sum(state = 'done'), sum(state = 'failed')
		FROM tasks WHERE run = ? GROUP BY kind, wave, level ORDER BY min(id)`, seq)
}
