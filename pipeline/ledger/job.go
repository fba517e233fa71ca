package ledger

import (
	"context"
	"fmt"
)

// JobState is the state of a job.
type JobState string

// The states of a job.
const (
	JobSubmitted JobState = "submitted" // the target works on it, or has ended it and was not asked yet
	JobDone      JobState = "done"      // its outcomes are recorded
	JobFailed    JobState = "failed"    // the target gave it up; what it loaded before that is in doubt
)

// Job is work that a target has taken and does by itself, such as a bulk import. Its handle is durable: whoever resumes
// the run asks the target by it.
type Job struct {
	Seq    int64 // counts up in the order of AddJob
	Run    string
	Store  string // the store's identity, without credentials
	Handle string // by which the target knows it, without credentials or patient data; unique in its store
	State  JobState
	Reason string   // why it failed, without patient data
	Batch  []string // the batches it loads, in the order in which they were recorded
}

// AddJob records that a target has taken batches as a job: they are submitted from here on. Each must have been started
// (StartBatch) before it was handed over, so that it is in doubt should the process die before this call.
// Of the job it reads Run, Store, Handle and Batch.
func (l *Ledger) AddJob(ctx context.Context, job Job) (Job, error) {
	job.State, job.Reason = JobSubmitted, ""
	err := l.write(ctx, "add job", func(tx handle) error {
		seq, err := lockRun(ctx, tx, job.Run)
		if err != nil {
			return err
		}
		if err := tx.row(ctx, "INSERT INTO jobs (run, store, handle) VALUES (?, ?, ?) RETURNING seq", seq, job.Store, job.Handle).Scan(&job.Seq); err != nil {
			return err
		}
		for _, id := range job.Batch {
			fault := fmt.Errorf("batch %s is not one that this run is loading", id)
			if err := tx.one(ctx, fault, "UPDATE batches SET state = 'submitted' WHERE run = ? AND id = ? AND state = 'loading'", seq, id); err != nil {
				return err
			}
			if _, err := tx.exec(ctx, "INSERT INTO job_batches (job, batch) SELECT ?, seq FROM batches WHERE id = ?", job.Seq, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Job{}, err
	}
	return job, nil
}

// Jobs lists the jobs of a run in a state, or with "" all of them, in the order in which they were added.
func (l *Ledger) Jobs(ctx context.Context, run string, state JobState) ([]Job, error) {
	const op = "list jobs"
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, during(op, err)
	}
	jobs := []Job{}
	for row, err := range l.reader.rows(ctx, `SELECT jobs.seq, jobs.store, jobs.handle, jobs.state, jobs.reason, coalesce(batches.id, '')
		FROM jobs LEFT JOIN job_batches ON job_batches.job = jobs.seq LEFT JOIN batches ON batches.seq = job_batches.batch
		WHERE jobs.run = ? AND (jobs.state = ? OR ? = '') ORDER BY jobs.seq, batches.seq`, seq, state, state) {
		j := Job{Run: run}
		var batch string
		if err == nil {
			err = row.Scan(&j.Seq, &j.Store, &j.Handle, &j.State, &j.Reason, &batch)
		}
		if err != nil {
			return nil, during(op, err)
		}
		if len(jobs) == 0 || jobs[len(jobs)-1].Seq != j.Seq {
			jobs = append(jobs, j)
		}
		if last := &jobs[len(jobs)-1]; batch != "" {
			last.Batch = append(last.Batch, batch)
		}
	}
	return jobs, nil
}

// FinishJob ends a job as done, with what came of its batches in the report, all or none: each of them needs an outcome.
// Errors: ErrFenced if the job has ended already.
func (l *Ledger) FinishJob(ctx context.Context, job Job, report Report) error {
	return l.endJob(ctx, "finish job", job, JobDone, "", report, func(tx handle) error {
		var open int64
		err := tx.row(ctx, "SELECT count(*) FROM batches JOIN job_batches ON job_batches.batch = batches.seq WHERE job = ? AND state = 'submitted'", job.Seq).Scan(&open)
		if err == nil && open > 0 {
			err = fmt.Errorf("%d of its batches have no outcome", open)
		}
		return err
	})
}

// FailJob ends a job that the target gave up. Its batches are loading again: what it had come to is in doubt, and is
// looked for before it is sent again. Errors: ErrFenced if the job has ended already.
func (l *Ledger) FailJob(ctx context.Context, job Job, reason string) error {
	return l.endJob(ctx, "fail job", job, JobFailed, reason, Report{}, func(tx handle) error {
		_, err := tx.exec(ctx, "UPDATE batches SET state = 'loading' WHERE state = 'submitted' AND seq IN (SELECT batch FROM job_batches WHERE job = ?)", job.Seq)
		return err
	})
}

func (l *Ledger) endJob(ctx context.Context, op string, job Job, state JobState, reason string, report Report, then func(tx handle) error) error {
	return l.write(ctx, op, func(tx handle) error {
		run, err := lockRun(ctx, tx, job.Run)
		if err != nil {
			return err
		}
		if err := tx.one(ctx, fmt.Errorf("job %d: %w", job.Seq, ErrFenced),
			"UPDATE jobs SET state = ?, reason = ? WHERE seq = ? AND run = ? AND state = 'submitted'", state, reason, job.Seq, run); err != nil {
			return err
		}
		if err := report.record(ctx, tx, run); err != nil {
			return err
		}
		return then(tx)
	})
}
