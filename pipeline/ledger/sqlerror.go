package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// SQLError is what is kept of an error of the database: its code and, if one was broken, the constraint's name. The
// database's own message is left behind, because it may quote values.
type SQLError struct {
	// Code is SQLite's extended result code or PostgreSQL's SQLSTATE.
	Code string
	// Meaning is the code in words.
	Meaning string
	// Constraint names the constraint, or the columns, as in the schema; empty if none was broken.
	Constraint string
	// Damaged says that the file is not a sound database.
	Damaged bool
}

// Error says what the code means, the code, and the constraint.
func (e *SQLError) Error() string {
	meaning := e.Meaning
	if meaning == "" {
		meaning = "error of the database"
	}
	if e.Constraint != "" {
		return fmt.Sprintf("%s (%s): %s", meaning, e.Code, e.Constraint)
	}
	return fmt.Sprintf("%s (%s)", meaning, e.Code)
}

// kept is the one way by which errors of a database leave this package. Of an error that it does not know it keeps the
// type, since drivers quote values and addresses.
func kept(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if errors.Is(err, sql.ErrTxDone) {
		// Only a context that ends makes a transaction end under whoever works in it: database/sql rolls it back.
		return fmt.Errorf("%w (%w)", context.Canceled, sql.ErrTxDone)
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, sql.ErrConnDone} {
		if errors.Is(err, known) {
			return known
		}
	}
	var file *sqlite.Error
	if errors.As(err, &file) {
		return keptOfSQLite(file)
	}
	if e := keptOfPostgres(err); e != nil {
		return e
	}
	return fmt.Errorf("the database failed (%T)", err)
}

// during names what was being done when an error came up.
func during(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}
