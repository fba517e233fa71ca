package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLError is what is kept of an error of the database: its code and, if one was broken, the constraint's name.
// SQLite's own message is left behind, because it may quote values.
type SQLError struct {
	// Code is SQLite's extended result code.
	Code int
	// Constraint names the constraint, or the unique columns, as in the schema; empty if none was broken.
	Constraint string
}

// Error names the primary code in words, the extended one as a number, and the constraint.
func (e *SQLError) Error() string {
	text := sqlite.ErrorCodeString[e.Code&0xff]
	if text == "" {
		text = "unknown error of the database"
	}
	if e.Constraint != "" {
		return fmt.Sprintf("%s (code %d): %s", text, e.Code, e.Constraint)
	}
	return fmt.Sprintf("%s (code %d)", text, e.Code)
}

// Full says that the disk or quota is full: the same command may be started again once there is room.
func (e *SQLError) Full() bool { return e.Code&0xff == sqlite3.SQLITE_FULL }

// Damaged says that the file is not a sound database.
func (e *SQLError) Damaged() bool {
	return e.Code&0xff == sqlite3.SQLITE_CORRUPT || e.Code&0xff == sqlite3.SQLITE_NOTADB
}

// constraintName finds what the schema calls a broken constraint: names and columns only, so no value can match.
var constraintName = regexp.MustCompile(`(?:CHECK|UNIQUE|NOT NULL|FOREIGN KEY) constraint failed(?:: ([a-z_0-9]+(?:\.[a-z_0-9]+)?(?:, [a-z_0-9]+\.[a-z_0-9]+)*))?`)

// scrub is the one way by which errors of the database leave the package: op, the code and the constraint's name.
// Errors that are ours, or the context's, pass with op before them.
func scrub(op string, err error) error {
	if err == nil {
		return nil
	}
	var foreign *sqlite.Error
	if errors.As(err, &foreign) {
		if foreign.Code()&0xff == sqlite3.SQLITE_INTERRUPT {
			return fmt.Errorf("%s: %w", op, context.Canceled)
		}
		kept := &SQLError{Code: foreign.Code()}
		if match := constraintName.FindStringSubmatch(foreign.Error()); match != nil {
			kept.Constraint = match[1]
		}
		return fmt.Errorf("%s: %w", op, kept)
	}
	if errors.Is(err, sql.ErrTxDone) {
		// Only a context that ends makes a transaction end under whoever works in it: database/sql rolls it back.
		return fmt.Errorf("%s: %w (%w)", op, context.Canceled, sql.ErrTxDone)
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, sql.ErrConnDone} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", op, known)
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}
