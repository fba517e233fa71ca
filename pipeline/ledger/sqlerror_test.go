package ledger

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"
)

// What the database says when the operator interrupts it is an interruption: database/sql rolls the transaction back
// under whoever still works in it, and SQLite breaks a statement off with a code of its own.
func TestInterruptedDatabaseIsCanceled(t *testing.T) {
	if err := kept(sql.ErrTxDone); !errors.Is(err, context.Canceled) || !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("a transaction that was rolled back under its user: %v", err)
	}
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, context.Canceled)
	defer cancel()
	const forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
	var n int64
	err = kept(db.QueryRowContext(ctx, forever).Scan(&n))
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a statement that was broken off: %v", err)
	}
}
