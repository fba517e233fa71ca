// Package ledger remembers what a migration did: its runs, tasks, batches, counts, refusals, findings, discrepancies,
// gates and audit log, in one SQLite file. It is the authority on how far the work got: a batch file without a row
// here is garbage, a row without its file is damage. There is no row per resource, only per batch, refusal and
// discrepancy.
//
// The life of a run:
//
//	l, err := ledger.Open(ctx, path, ledger.Options{Migration: "riverside-2026", Operator: "jo", Now: time.Now})
//	run, ok, err := l.Resumable(ctx, ledger.Real, "")      // an unfinished run of this kind and wave?
//	run, err = l.Resume(ctx, run.ID, pins)                 // *ChangedError lists what differs; frees the tasks of the dead
//	run, err = l.BeginRun(ctx, ledger.RunSpec{Kind: ledger.Real, Target: identity, Pins: pins})
//	err = l.AddTasks(ctx, run.ID, tasks)                   // again after a resume: known tasks stay as they are
//	task, ok, err := l.Claim(ctx, run.ID, ledger.TaskFilter{Kind: ledger.Extract})
//	err = l.Finish(ctx, task, ledger.Report{Batches: …, Tables: …, Mappings: …, Resources: …, Refusals: …})  // all or none
//	err = l.StartBatch(ctx, batch.ID)                      // before its first byte is sent
//	err = l.Finish(ctx, task, ledger.Report{Outcomes: …})  // what the target said, per batch
//	err = l.Record(ctx, run.ID, report)                    // the same without a task
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
// One process at a time writes: Open takes an OS file lock that is free the moment its holder dies. View reads beside
// it. All methods may be called concurrently. Order is decided by sequence numbers, never by a clock: times are notes
// for people, and durations are handed in by callers who measured them monotonically.
//
// Errors of SQL pass through one function that keeps the code and the constraint's name and nothing else, because
// SQLite quotes values in its messages.
package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

var (
	// ErrLocked says that another process works on this plan. The error that wraps it is a *LockedError.
	ErrLocked = errors.New("another process works on this plan")
	// ErrNewer says that the ledger was written by a newer program than this one.
	ErrNewer = errors.New("the ledger was written by a newer version of chartlift")
	// ErrForeign says that the file is a ledger of another migration, or no ledger at all.
	ErrForeign = errors.New("not the ledger of this migration")
	// ErrReadOnly is the answer of every writing method of a ledger that View opened.
	ErrReadOnly = errors.New("the ledger was opened for reading")
	// ErrUnfinished says that a run of this kind and wave has not ended yet: resume it, or end it with SetState.
	ErrUnfinished = errors.New("an unfinished run of this kind exists")
	// ErrNoRun says that the ledger holds no such run.
	ErrNoRun = errors.New("no such run")
	// ErrFenced says that the task is no longer this claimant's: someone else holds it now, or it has ended.
	ErrFenced = errors.New("the task is held by another worker or has ended")
)

// Options are what Open needs. Migration and Operator are required.
type Options struct {
	// Migration is the plan's `migration:`; a ledger belongs to one.
	Migration string
	// Operator is the named person or service account in whose name the audit log is written.
	Operator string
	// Now gives the time notes of runs and of the audit log; nil: time.Now. It decides no order.
	Now func() time.Time
}

// Ledger is an open ledger. Its methods may be called concurrently; writes happen one after the other.
type Ledger struct {
	path     string
	id       string
	operator string
	owner    string // names this process's leases; new for each Open, so that leases of the dead are told apart
	now      func() time.Time
	writer   *sql.DB // one connection; nil when opened by View
	reader   *sql.DB
	lock     *fileLock
	whole    bool // it was found sound: its sum may be taken when it is closed
}

// busy is how long a statement waits for a reader's or checkpoint's lock inside SQLite before it fails: generous,
// because the only other users of the file are readers that hold it for milliseconds.
const busy = 10 * time.Second

// readers is the number of connections for reading; WAL lets them run beside the writer.
const readers = 4

// Open opens the ledger at path for writing, makes it if there is none, and brings it to this program's schema.
//
// Errors: ErrLocked while another process has it open for writing, ErrNewer, ErrForeign.
func Open(ctx context.Context, path string, o Options) (l *Ledger, err error) {
	if o.Migration == "" || o.Operator == "" {
		return nil, errors.New("open ledger: a migration and an operator must be named")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	owner, err := randomName()
	if err != nil {
		return nil, err
	}
	l = &Ledger{path: path, operator: o.Operator, owner: owner, now: o.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
			l = nil
		}
	}()
	if l.lock, err = lockFile(path+".lock", o.Operator); err != nil {
		return l, err
	}
	sealed, err := checkSeal(path)
	if err != nil {
		return l, err
	}
	if err := breakSeal(path); err != nil {
		return l, err
	}
	l.whole = sealed
	// SQLite gives its side files the mode of the main file, so the main file is made here, closed to others.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return l, fmt.Errorf("open ledger: %w", err)
	}
	if err := file.Close(); err != nil {
		return l, fmt.Errorf("open ledger: %w", err)
	}
	if l.writer, err = connect(path, "rw", 1); err != nil {
		return l, err
	}
	if !sealed {
		if err := l.integrity(ctx); err != nil {
			return l, err
		}
	}
	if err := l.migrate(ctx, o.Migration); err != nil {
		return l, err
	}
	l.whole = true
	if l.reader, err = connect(path, "ro", readers); err != nil {
		return l, err
	}
	return l, nil
}

// View opens an existing ledger for reading, beside a process that writes it, and takes no lock. The schema must be
// exactly this program's. Errors: ErrNewer, ErrForeign, fs.ErrNotExist.
func View(ctx context.Context, path, migration string) (l *Ledger, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("view ledger: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("view ledger: %w", err)
	}
	if _, err := checkSeal(path); err != nil {
		return nil, err
	}
	l = &Ledger{path: path, now: time.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
			l = nil
		}
	}()
	if l.reader, err = connect(path, "ro", readers); err != nil {
		return l, err
	}
	return l, l.examine(ctx, migration)
}

// Close ends all work with the ledger and frees the lock. A second call does nothing.
func (l *Ledger) Close() error {
	var errs []error
	if l.reader != nil {
		errs = append(errs, scrub("close ledger", l.reader.Close()))
		l.reader = nil
	}
	if l.writer != nil {
		// Closing moves the log into the main file.
		errs = append(errs, scrub("close ledger", l.writer.Close()))
		l.writer = nil
		if l.whole && errors.Join(errs...) == nil {
			errs = append(errs, seal(l.path))
		}
	}
	if l.lock != nil {
		errs = append(errs, l.lock.free())
		l.lock = nil
	}
	return errors.Join(errs...)
}

// ID names this ledger: 32 hexadecimal digits, random, made once. The marker in the target carries it, so that a
// second ledger for the same migration is noticed.
func (l *Ledger) ID() string { return l.id }

// Operator is the name that the audit log records.
func (l *Ledger) Operator() string { return l.operator }

// Path is the absolute path of the ledger's file.
func (l *Ledger) Path() string { return l.path }

func randomName() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("open ledger: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// connect opens path in SQLite's mode "rw" or "ro". Every transaction takes the write lock at its start, so that two
// never deadlock over an upgrade; synchronous=FULL makes each commit durable, also in WAL.
func connect(path, mode string, connections int) (*sql.DB, error) {
	query := url.Values{"mode": {mode}}
	query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()))
	if mode == "ro" {
		query.Add("_pragma", "query_only(1)")
	} else {
		query.Add("_pragma", "journal_mode(WAL)")
		query.Add("_pragma", "synchronous(FULL)")
		query.Add("_pragma", "foreign_keys(1)")
		query.Add("_txlock", "immediate")
	}
	source := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	connector, err := sqlite.NewConnector(source.String())
	if err != nil {
		return nil, scrub("open ledger", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// write runs f in one transaction, in the name of op: all of it or none.
func (l *Ledger) write(ctx context.Context, op string, f func(tx *sql.Tx) error) error {
	if l.writer == nil {
		return fmt.Errorf("%s: %w", op, ErrReadOnly)
	}
	tx, err := l.writer.BeginTx(ctx, nil)
	if err != nil {
		return scrub(op, err)
	}
	if err := f(tx); err != nil {
		// A rollback that fails changes nothing: without a commit SQLite discards the transaction when it is next opened.
		_ = tx.Rollback()
		return scrub(op, err)
	}
	crash.Commit(op, crash.Before)
	if err := tx.Commit(); err != nil {
		return scrub(op, err)
	}
	crash.Commit(op, crash.After)
	return nil
}

// stamp is the time note of now.
func (l *Ledger) stamp() string { return l.now().UTC().Format(time.RFC3339Nano) }
