package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteEngine keeps a ledger in one file. One process writes it, and holds an OS file lock as long as it lives.
type sqliteEngine struct {
	path  string // absolute
	lock  *fileLock
	whole bool // it was found sound: its sum may be taken when it is closed
}

// busy is how long a statement waits for a reader's or checkpoint's lock inside SQLite before it fails: generous,
// because the only other users of the file are readers that hold it for milliseconds.
const busy = 10 * time.Second

// readers is the number of connections for reading; they run beside the writer.
const readers = 4

// applicationID marks the SQLite file as a ledger of ours: "CHLT" as a big-endian number.
const applicationID = 0x43484c54

func openSQLite(path string) (engine, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return &sqliteEngine{path: path}, nil
}

var sqliteMarks = strings.NewReplacer(
	"{now}", "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
	" {hold}", "", " {lock}", "", " {skip locked}", "", // one transaction writes at a time
)

func (e *sqliteEngine) text(statement string) string          { return sqliteMarks.Replace(statement) }
func (e *sqliteEngine) schemas() string                       { return "migrations/sqlite" }
func (e *sqliteEngine) prepare(context.Context, handle) error { return nil }
func (e *sqliteEngine) exclusively(string) string             { return "" }
func (e *sqliteEngine) renews() bool                          { return false }
func (e *sqliteEngine) sound()                                { e.whole = true }

// dead are all: who holds the file lock knows that nobody else lives.
func (e *sqliteEngine) dead(role) string { return "DELETE FROM sessions" }

func (e *sqliteEngine) begin(ctx context.Context, operator string, _ time.Duration) (*sql.DB, error) {
	if err := os.MkdirAll(filepath.Dir(e.path), 0o700); err != nil {
		return nil, err
	}
	var err error
	if e.lock, err = lockFile(e.path+".lock", operator); err != nil {
		return nil, err
	}
	sealed, err := checkSeal(e.path)
	if err != nil {
		return nil, err
	}
	if err := breakSeal(e.path); err != nil {
		return nil, err
	}
	e.whole = sealed
	// SQLite gives its side files the mode of the main file, so the main file is made here, closed to others.
	file, err := os.OpenFile(e.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	db, err := connectSQLite(e.path, "rw", 1)
	if err == nil && !sealed {
		err = e.integrity(ctx, db)
	}
	if err != nil && db != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, err
}

func (e *sqliteEngine) view(context.Context) (*sql.DB, error) {
	if _, err := os.Stat(e.path); err != nil {
		return nil, err
	}
	if e.lock == nil {
		if _, err := checkSeal(e.path); err != nil {
			return nil, err
		}
	}
	return connectSQLite(e.path, "ro", readers)
}

// connectSQLite opens path in SQLite's mode "rw" or "ro". Every writing transaction takes the write lock at its start,
// so that two never deadlock over an upgrade; synchronous=FULL makes each commit durable, also in WAL.
func connectSQLite(path, mode string, connections int) (*sql.DB, error) {
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
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func (e *sqliteEngine) version(ctx context.Context, q handle) (number int, err error) {
	var application, tables int
	// In this order, so that a ledger that another process makes between two of these statements is not taken for foreign:
	// all three change with one commit.
	for _, read := range []struct {
		statement string
		value     *int
	}{{"SELECT count(*) FROM sqlite_schema", &tables}, {"PRAGMA user_version", &number}, {"PRAGMA application_id", &application}} {
		if err := q.row(ctx, read.statement).Scan(read.value); err != nil {
			return 0, err
		}
	}
	if application == applicationID && (number > 0 || tables == 0) || application == 0 && number == 0 && tables == 0 {
		return number, nil
	}
	return 0, fmt.Errorf("%w: the file is a database of something else", ErrForeign)
}

// setVersion: PRAGMA takes no parameters; both numbers are constants of this program.
func (e *sqliteEngine) setVersion(ctx context.Context, tx handle, number int) error {
	_, err := tx.exec(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, number))
	return err
}

func (e *sqliteEngine) end(clean bool) error {
	if e.lock == nil {
		return nil
	}
	var errs []error
	if clean && e.whole {
		errs = append(errs, seal(e.path))
	}
	errs = append(errs, e.lock.free())
	e.lock = nil
	return errors.Join(errs...)
}

// integrity asks SQLite whether the file fits together.
func (e *sqliteEngine) integrity(ctx context.Context, db *sql.DB) error {
	var answer string
	if err := kept(db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&answer)); err != nil {
		var cause *SQLError
		if errors.As(err, &cause) && cause.Damaged {
			return fmt.Errorf("%s: %w: %w", filepath.Base(e.path), err, ErrDamaged)
		}
		return err
	}
	if answer != "ok" {
		return damaged(e.path, "its pages do not fit together")
	}
	return nil
}

// constraintName finds what the schema calls a broken constraint: names and columns only, so no value can match.
var constraintName = regexp.MustCompile(`(?:CHECK|UNIQUE|NOT NULL|FOREIGN KEY) constraint failed(?:: ([a-z_0-9]+(?:\.[a-z_0-9]+)?(?:, [a-z_0-9]+\.[a-z_0-9]+)*))?`)

// keptOfSQLite is what may be known of an error of SQLite, whose messages quote values.
func keptOfSQLite(err *sqlite.Error) error {
	primary := err.Code() & 0xff
	if primary == sqlite3.SQLITE_INTERRUPT {
		return context.Canceled
	}
	e := &SQLError{
		Code: fmt.Sprint("code ", err.Code()), Meaning: sqlite.ErrorCodeString[primary],
		Damaged: primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB,
	}
	if match := constraintName.FindStringSubmatch(err.Error()); match != nil {
		e.Constraint = match[1]
	}
	return e
}
