// Package ledger remembers what a migration did: its runs, tasks, batches, counts, refusals, findings, discrepancies,
// gates and audit log, in SQLite or PostgreSQL. It is the authority on how far the work got: a batch file without a row
// here is garbage, a row without its file is damage. There is no row per resource, only per batch, refusal and
// discrepancy.
//
// The life of a run:
//
//	l, err := ledger.Open(ctx, "sqlite:ledger.db", ledger.Options{Migration: "riverside-2026", Operator: "jo", Now: time.Now})
//	run, ok, err := l.Resumable(ctx, ledger.Real, "")      // an unfinished run of this kind and wave?
//	run, err = l.Resume(ctx, run.ID, pins)                 // *ChangedError lists what differs; frees the tasks of the dead
//	run, err = l.BeginRun(ctx, ledger.RunSpec{Kind: ledger.Real, Target: identity, Pins: pins})
//	err = l.AddTasks(ctx, run.ID, tasks)                   // again after a resume: known tasks stay as they are
//	task, ok, err := l.Claim(ctx, run.ID, ledger.TaskFilter{Kind: ledger.Extract})
//	err = l.Finish(ctx, task, ledger.Report{Batches: …, Tables: …, Mappings: …, Resources: …, Refusals: …})  // all or none
//	err = l.StartBatch(ctx, batch.ID)                      // before its first byte is sent
//	err = l.Finish(ctx, task, ledger.Report{Outcomes: …})  // what the target said, per batch
//	err = l.Record(ctx, run.ID, report)                    // the same without a task
//	job, err := l.AddJob(ctx, ledger.Job{Run: run.ID, Store: …, Handle: …, Batch: …})  // a target works on started batches
//	jobs, err := l.Jobs(ctx, run.ID, ledger.JobSubmitted)  // also after a crash: ask the target by their handles
//	err = l.FinishJob(ctx, job, ledger.Report{Outcomes: …})
//	err = l.Reopen(ctx, run.ID)                            // before reading back anew: forgets the last verification
//	err = l.CloseVerification(ctx, run.ID, gates)          // every type was read back; the gates as they stand
//	err = l.SetState(ctx, run.ID, ledger.Finished, elapsed, "")
//	s, err := l.Summary(ctx, run.ID)                       // JSON as in the manual; ledger.Balance(s) checks every sum
//
// Counters of a Report are added to what is there (a negative one takes back); the outcomes of a batch replace what
// was known of it, because in doubt becomes loaded. What is not yet known follows: resources of a batch that has not
// been started are pending, those of a batch that was started and has no answer are in doubt, and what was loaded and
// not yet read back is not compared.
//
// One operator at a time writes. With SQLite, in one file, that is an OS file lock that is free the moment its holder
// dies. With PostgreSQL, in one schema, it is a lease that the holder renews and that ends by the server's clock; beside
// the operator any number of workers may open the ledger, each with a lease of its own. Whoever has lost his lease is
// told ErrFenced at his next write, and his tasks go to others. View reads beside all of them and is never made to wait;
// Snapshot gives several lists of one moment.
//
// All methods may be called concurrently. Order is decided by sequence numbers, never by a clock: times are notes for
// people, and durations are handed in by callers who measured them monotonically.
//
// Errors of SQL pass through one function that keeps the code and the constraint's name and nothing else, because
// databases quote values in their messages. The address of a PostgreSQL database is a secret and in no error.
package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

var (
	// ErrLocked says that another process works on this plan. The error that wraps it is a *LockedError.
	ErrLocked = errors.New("another process works on this plan")
	// ErrNewer says that the ledger was written by a newer program than this one.
	ErrNewer = errors.New("the ledger was written by a newer version of chartlift")
	// ErrForeign says that the file or schema is a ledger of another migration, or no ledger at all.
	ErrForeign = errors.New("not the ledger of this migration")
	// ErrReadOnly is the answer of every writing method of a ledger that View opened.
	ErrReadOnly = errors.New("the ledger was opened for reading")
	// ErrUnfinished says that a run of this kind and wave has not ended yet: resume it, or end it with SetState.
	ErrUnfinished = errors.New("an unfinished run of this kind exists")
	// ErrNoRun says that the ledger holds no such run.
	ErrNoRun = errors.New("no such run")
	// ErrFenced says that what this process wants to write about is no longer its own: another has taken it over, or it
	// has ended.
	ErrFenced = errors.New("it is held by another process or has ended")
)

// Options are what Open needs. Migration and Operator are required.
type Options struct {
	// Migration is the plan's `migration:`; a ledger belongs to one.
	Migration string
	// Operator is the named person or service account in whose name the audit log is written.
	Operator string
	// Now gives the time notes of runs and of the audit log; nil: time.Now. It decides no order.
	Now func() time.Time
	// Lease is how long the dead are taken for living, with PostgreSQL; zero: half a minute. It is renewed three times
	// while it lasts. With SQLite the system tells at once.
	Lease time.Duration
	// Worker opens the ledger beside its operator, to claim tasks. It needs PostgreSQL, and a ledger that is there.
	Worker bool
}

// Ledger is an open ledger, or a view or snapshot of one. Its methods may be called concurrently.
type Ledger struct {
	engine   engine
	id       string
	operator string
	owner    string // names this process's session; new for each Open, so that the dead are told apart; empty in a view
	now      func() time.Time
	writer   *sql.DB // nil when opened by View
	readers  *sql.DB // nil in a snapshot
	reader   handle  // of the pool of readers, or of the transaction of a snapshot
	release  func()  // ends the renewal of the lease; nil without one
	snapshot *sql.Tx // nil but in a snapshot
}

// Open opens the ledger at source (sqlite:PATH or postgres://…) for writing, makes it if there is none, and brings it to
// this program's schema.
//
// Errors: ErrLocked while another process has it open for writing, ErrNewer, ErrForeign, ErrDamaged.
func Open(ctx context.Context, source string, o Options) (l *Ledger, err error) {
	const op = "open ledger"
	if o.Migration == "" || o.Operator == "" {
		return nil, errors.New("open ledger: a migration and an operator must be named")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	l = &Ledger{operator: o.Operator, now: o.Now}
	defer func() {
		if err != nil {
			err = errors.Join(during(op, err), l.Close())
			l = nil
		}
	}()
	if l.owner, err = randomName(); err != nil {
		return l, err
	}
	if l.engine, err = engineOf(source); err != nil {
		return l, err
	}
	if o.Worker && !l.engine.renews() {
		return l, errors.New("several processes can share the work only with a ledger in PostgreSQL")
	}
	if l.writer, err = l.engine.begin(ctx, o.Operator, o.Lease); err != nil {
		return l, err
	}
	if err := l.begin(ctx, op, o); err != nil {
		return l, err
	}
	l.engine.sound()
	if l.engine.renews() {
		l.release = l.keepRenewing(ctx, o.Lease)
	}
	if l.readers, err = l.engine.view(ctx); err != nil {
		return l, err
	}
	l.reader = handle{l.readers, l.engine}
	return l, nil
}

// begin brings the schema up to date and begins the session of this process, all or none.
func (l *Ledger) begin(ctx context.Context, op string, o Options) error {
	return l.transact(ctx, op, func(tx handle) error {
		if o.Worker {
			if err := l.examine(ctx, tx, o.Migration); err != nil {
				return err
			}
			return l.join(ctx, tx, workerRole, o.Lease)
		}
		if err := l.migrate(ctx, tx, o.Migration); err != nil {
			return err
		}
		return l.join(ctx, tx, operatorRole, o.Lease)
	})
}

// View opens an existing ledger for reading, beside processes that write it. The schema must be exactly this program's.
// Errors: ErrNewer, ErrForeign, ErrDamaged, fs.ErrNotExist.
func View(ctx context.Context, source, migration string) (l *Ledger, err error) {
	l = &Ledger{now: time.Now}
	defer func() {
		if err != nil {
			err = errors.Join(during("view ledger", err), l.Close())
			l = nil
		}
	}()
	if l.engine, err = engineOf(source); err != nil {
		return l, err
	}
	if l.readers, err = l.engine.view(ctx); err != nil {
		return l, err
	}
	l.reader = handle{l.readers, l.engine}
	return l, l.examine(ctx, l.reader, migration)
}

// Snapshot returns a view of the ledger as it is at its first read, however long it is read and whatever is written
// meanwhile. Only one list of it can be read at a time. Close it.
func (l *Ledger) Snapshot(ctx context.Context) (*Ledger, error) {
	s := &Ledger{engine: l.engine, id: l.id, operator: l.operator, now: l.now, reader: l.reader}
	if l.snapshot != nil { // it is one; its own Close ends it
		return s, nil
	}
	tx, err := l.readers.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, during("read ledger", kept(err))
	}
	s.snapshot, s.reader = tx, handle{tx, l.engine}
	return s, nil
}

// Close ends all work with the ledger and frees the lock or lease. A second call does nothing.
func (l *Ledger) Close() error {
	var errs []error
	if l.snapshot != nil {
		// It only read. Where its context has ended it is rolled back already.
		if err := l.snapshot.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			errs = append(errs, kept(err))
		}
		l.snapshot = nil
	}
	if l.readers != nil {
		errs = append(errs, kept(l.readers.Close()))
		l.readers = nil
	}
	wrote := l.writer != nil
	if l.release != nil {
		l.release()
		l.release = nil
		errs = append(errs, l.leave())
	}
	if l.writer != nil {
		errs = append(errs, kept(l.writer.Close())) // with SQLite this moves the log into the main file
		l.writer = nil
	}
	if l.engine != nil && l.owner != "" {
		errs = append(errs, l.engine.end(wrote && errors.Join(errs...) == nil))
	}
	return during("close ledger", errors.Join(errs...))
}

// ID names this ledger: 32 hexadecimal digits, random, made once. The marker in the target carries it, so that a
// second ledger for the same migration is noticed.
func (l *Ledger) ID() string { return l.id }

func randomName() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("open ledger: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// write runs f in one transaction, in the name of op: all of it or none. Errors: ErrReadOnly, ErrFenced.
func (l *Ledger) write(ctx context.Context, op string, f func(tx handle) error) error {
	if l.writer == nil {
		return during(op, ErrReadOnly)
	}
	return during(op, l.transact(ctx, op, func(tx handle) error {
		if err := l.held(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	}))
}

// transact is write without a look at the session.
func (l *Ledger) transact(ctx context.Context, op string, f func(tx handle) error) error {
	tx, err := l.writer.BeginTx(ctx, nil)
	if err != nil {
		return kept(err)
	}
	if err := f(handle{tx, l.engine}); err != nil {
		// A rollback that fails changes nothing: without a commit the database discards the transaction.
		_ = tx.Rollback()
		return err
	}
	crash.Commit(op, crash.Before)
	if err := tx.Commit(); err != nil {
		return kept(err)
	}
	crash.Commit(op, crash.After)
	return nil
}

// stamp is the time note of now.
func (l *Ledger) stamp() string { return l.now().UTC().Format(time.RFC3339Nano) }
