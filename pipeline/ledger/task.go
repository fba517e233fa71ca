package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
	// Owner and Fence are the lease: Owner is the session that holds the task, for as long as the session lives; Fence
	// counts the claims, and only the last claimant can finish.
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
	return l.write(ctx, "add tasks", func(tx handle) error {
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
// none. No two callers get the same task. If none is pending, tasks of processes that are dead are taken over.
func (l *Ledger) Claim(ctx context.Context, run string, filter TaskFilter) (Task, bool, error) {
	tasks, err := l.ClaimSome(ctx, run, filter, 1)
	if err != nil || len(tasks) == 0 {
		return Task{}, false, err
	}
	return tasks[0], true, nil
}

// ClaimSome is Claim for up to n tasks at once, which costs hardly more than one; it returns none if there is none.
func (l *Ledger) ClaimSome(ctx context.Context, run string, filter TaskFilter, n int) (tasks []Task, err error) {
	filter.State = TaskPending
	err = l.write(ctx, "claim task", func(tx handle) error {
		seq, err := seqOf(ctx, tx, run)
		if err != nil {
			return err
		}
		if tasks, err = l.claim(ctx, tx, run, seq, filter, n); err != nil || len(tasks) > 0 {
			return err
		}
		if err := l.free(ctx, tx, seq); err != nil {
			return err
		}
		tasks, err = l.claim(ctx, tx, run, seq, filter, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return tasks, nil
}

func (l *Ledger) claim(ctx context.Context, tx handle, run string, seq int64, filter TaskFilter, n int) (tasks []Task, err error) {
	where, args := filter.where(seq)
	for row, err := range tx.rows(ctx, "WITH chosen AS MATERIALIZED (SELECT id AS task FROM tasks"+where+" ORDER BY id LIMIT ? {skip locked}) "+
		"UPDATE tasks SET state = 'running', owner = ?, fence = fence + 1 WHERE id IN (SELECT task FROM chosen) RETURNING "+taskColumns,
		append(args, n, l.owner)...) {
		var task Task
		if err == nil {
			task, err = scanTask(row, run)
		}
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
	return tasks, nil
}

// ClaimTask takes one given task. Errors: ErrFenced if it is not to be had: another process holds it, or it has ended.
func (l *Ledger) ClaimTask(ctx context.Context, id int64) (task Task, err error) {
	err = l.write(ctx, "claim task", func(tx handle) error {
		fenced := fmt.Errorf("task %d: %w", id, ErrFenced)
		var seq int64
		var run string
		err := tx.row(ctx, "SELECT runs.seq, runs.id FROM tasks JOIN runs ON runs.seq = tasks.run WHERE tasks.id = ?", id).Scan(&seq, &run)
		if errors.Is(err, sql.ErrNoRows) {
			return fenced
		}
		if err != nil {
			return err
		}
		if err := l.free(ctx, tx, seq); err != nil {
			return err
		}
		task, err = scanTask(tx.row(ctx, "UPDATE tasks SET state = 'running', owner = ?, fence = fence + 1 WHERE id = ? AND state = 'pending' RETURNING "+taskColumns, l.owner, id), run)
		if errors.Is(err, sql.ErrNoRows) {
			return fenced
		}
		return err
	})
	if err != nil {
		return Task{}, err
	}
	return task, nil
}

// Finish ends a claimed task as done and records what it found: all of the report, or none. Errors: ErrFenced if the
// task is no longer the caller's; then nothing was recorded.
func (l *Ledger) Finish(ctx context.Context, task Task, report Report) error {
	return l.write(ctx, "finish task", func(tx handle) error {
		run, err := lockRun(ctx, tx, task.Run)
		if err != nil {
			return err
		}
		if err := end(ctx, tx, task, TaskDone, report.Digest, ""); err != nil {
			return err
		}
		return report.record(ctx, tx, run)
	})
}

// Fail ends a claimed task as failed, with a reason without patient data. A resume of the run tries it again.
func (l *Ledger) Fail(ctx context.Context, task Task, reason string) error {
	return l.write(ctx, "fail task", func(tx handle) error {
		return end(ctx, tx, task, TaskFailed, "", reason)
	})
}

// Release gives a claimed task back as pending, for a clean stop.
func (l *Ledger) Release(ctx context.Context, task Task) error {
	return l.write(ctx, "release task", func(tx handle) error {
		return end(ctx, tx, task, TaskPending, "", "")
	})
}

// end closes the lease of a task. The fence and the owner must be those of the claim.
func end(ctx context.Context, tx handle, task Task, state TaskState, digest, reason string) error {
	return tx.one(ctx, fmt.Errorf("%s task %d: %w", task.Kind, task.ID, ErrFenced),
		"UPDATE tasks SET state = ?, owner = '', digest = ?, reason = ? WHERE id = ? AND state = 'running' AND owner = ? AND fence = ?",
		state, digest, reason, task.ID, task.Owner, task.Fence)
}

// Tasks lists the tasks that the filter chooses, in the order in which they were added.
func (l *Ledger) Tasks(ctx context.Context, run string, filter TaskFilter) ([]Task, error) {
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, during("list tasks", err)
	}
	where, args := filter.where(seq)
	return collect(ctx, l, "list tasks", func(rows scanner) (Task, error) { return scanTask(rows, run) },
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
		return nil, during("read progress", err)
	}
	scan := func(rows scanner) (Progress, error) {
		var p Progress
		err := rows.Scan(&p.Kind, &p.Wave, &p.Level, &p.Pending, &p.Running, &p.Done, &p.Failed)
		return p, err
	}
	return collect(ctx, l, "read progress", scan, `SELECT kind, wave, level,
		count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
		count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed')
		FROM tasks WHERE run = ? GROUP BY kind, wave, level ORDER BY min(id)`, seq)
}
