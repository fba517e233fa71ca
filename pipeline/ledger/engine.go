package ledger

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strings"
	"time"
)

// engine is what differs between SQLite and PostgreSQL. Statements stand once in this package, in the language that both
// understand, with ? for parameters and the marks of text; only schemas are written twice.
type engine interface {
	// text turns a statement of this package into one of the engine. The marks:
	//
	//	{now}          the engine's clock, in milliseconds since 1970
	//	{hold}         after a SELECT: nobody deletes these rows before this transaction ends
	//	{lock}         after a SELECT: nobody changes these rows before this transaction ends
	//	{skip locked}  after a SELECT: as {lock}, and rows that others have locked are left out
	text(statement string) string
	// schemas is the folder of the engine's migration files.
	schemas() string
	// begin makes everything ready for writing and keeps other operators out, as far as that is not done by sessions.
	// It returns the pool that writes.
	begin(ctx context.Context, operator string, lease time.Duration) (*sql.DB, error)
	// view returns a pool that reads. Errors: fs.ErrNotExist if there is no ledger.
	view(ctx context.Context) (*sql.DB, error)
	// prepare is called first in the transaction that brings the schema up to date.
	prepare(ctx context.Context, tx handle) error
	// version reads the number of the schema, 0 if there is none yet. Errors: ErrForeign.
	version(ctx context.Context, q handle) (int, error)
	// setVersion records the number of the schema.
	setVersion(ctx context.Context, tx handle, number int) error
	// dead is a statement that deletes sessions of processes that are dead, before one of this role begins; empty if
	// there is nothing to do.
	dead(role role) string
	// renews says that sessions must be renewed, because nothing else tells that a process has died.
	renews() bool
	// exclusively is a statement that lets no other transaction write to the table; empty if none can.
	exclusively(table string) string
	// sound is called when the ledger was found, or brought, in order.
	sound()
	// end is called when the pools are closed; clean says that there was a pool
	// that wrote, and that this went well.
	end(clean bool) error
}

// engineOf finds the engine of a source as the plan names it: sqlite:PATH or postgres://….
func engineOf(source string) (engine, error) {
	scheme, rest, _ := strings.Cut(source, ":")
	switch {
	case scheme == "sqlite" && rest != "":
		return openSQLite(rest)
	case scheme == "postgres" || scheme == "postgresql":
		return openPostgres(source)
	}
	// The source is not repeated: it may be a secret, wrongly written.
	return nil, errors.New("the ledger must be sqlite:PATH or postgres://…")
}

// pool is a connection, a pool of them, or a transaction.
type pool interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// handle runs statements of this package on a pool or transaction of an engine.
type handle struct {
	pool   pool
	engine engine
}

func (h handle) exec(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	done, err := h.pool.ExecContext(ctx, h.engine.text(statement), args...)
	return done, kept(err)
}

// row runs a query of which one row is wanted; Scan of it returns sql.ErrNoRows if there is none.
func (h handle) row(ctx context.Context, statement string, args ...any) scanner {
	return row{h.pool.QueryRowContext(ctx, h.engine.text(statement), args...)}
}

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

type row struct{ of scanner }

func (r row) Scan(dest ...any) error { return kept(r.of.Scan(dest...)) }

// one runs a statement that must change exactly one row; otherwise it returns fault.
func (h handle) one(ctx context.Context, fault error, statement string, args ...any) error {
	done, err := h.exec(ctx, statement, args...)
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return fault
	}
	return nil
}

// rows runs a query and yields its rows; an error ends them.
func (h handle) rows(ctx context.Context, query string, args ...any) iter.Seq2[scanner, error] {
	return func(yield func(scanner, error) bool) {
		rows, err := h.pool.QueryContext(ctx, h.engine.text(query), args...)
		if err != nil {
			yield(nil, kept(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			if !yield(row{rows}, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, kept(err))
		}
	}
}
