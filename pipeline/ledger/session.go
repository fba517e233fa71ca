package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// A session is a process that writes. It holds a lease, by the clock of the database, and renews it. Once the lease has
// ended another process may take what the session holds: the place of the operator, or tasks. To do so it deletes the
// session, and from then on every write of the old owner is refused. Owners are random and never used twice, so an owner
// is a fence.

// role says what a session is for. There is one operator at a time, and any number of workers.
type role string

const (
	operatorRole role = "operator"
	workerRole   role = "worker"
)

// defaultLease is short enough that nobody waits long for the dead, and long enough that a garbage collection or a slow
// network is not taken for a death.
const defaultLease = 30 * time.Second

// renewals is how often a lease is renewed while it lasts.
const renewals = 3

// join makes the session of this process.
func (l *Ledger) join(ctx context.Context, tx handle, role role, lease time.Duration) error {
	if statement := l.engine.dead(role); statement != "" {
		if _, err := tx.exec(ctx, statement); err != nil {
			return err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	holder := printable(fmt.Sprintf("%s %s, process %d on %s", role, l.operator, os.Getpid(), host))
	if role == operatorRole {
		var other string
		var left int64
		err := tx.row(ctx, "SELECT holder, expires - {now} FROM sessions WHERE role = 'operator'").Scan(&other, &left)
		if err == nil {
			return &LockedError{Holder: other, Left: time.Duration(left) * time.Millisecond}
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	_, err = tx.exec(ctx, "INSERT INTO sessions (owner, role, holder, expires) VALUES (?, ?, ?, {now} + ?)", l.owner, role, holder, lease.Milliseconds())
	return err
}

// held returns ErrFenced if the session of this process is gone, and keeps it from going before the transaction ends.
func (l *Ledger) held(ctx context.Context, tx handle) error {
	var one int
	err := tx.row(ctx, "SELECT 1 FROM sessions WHERE owner = ? {hold}", l.owner).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("the lease of this process has ended, and another has taken over: %w", ErrFenced)
	}
	return err
}

// renew prolongs the lease of this process. It does nothing for a session that is gone.
func (l *Ledger) renew(ctx context.Context, lease time.Duration) error {
	_, err := handle{l.writer, l.engine}.exec(ctx, "UPDATE sessions SET expires = {now} + ? WHERE owner = ?", lease.Milliseconds(), l.owner)
	return err
}

// keepRenewing renews the lease until stop is called, which waits for it to end. What goes wrong here is not said: the
// next renewal may succeed, and every write looks whether the session is still there.
func (l *Ledger) keepRenewing(ctx context.Context, lease time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(max(lease/renewals, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				_ = l.renew(ctx, lease)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// leave ends the session of this process, so that nobody waits for its lease.
func (l *Ledger) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_, err := handle{l.writer, l.engine}.exec(ctx, "DELETE FROM sessions WHERE owner = ?", l.owner)
	return err
}

// free takes the tasks of a run back from processes that are dead: those without a session, and those whose lease has
// ended, which lose their session by this. It locks the run.
func (l *Ledger) free(ctx context.Context, tx handle, run int64) error {
	var seq int64
	if err := tx.row(ctx, "SELECT seq FROM runs WHERE seq = ? {lock}", run).Scan(&seq); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM sessions WHERE owner IN (SELECT owner FROM sessions WHERE expires < {now} AND owner <> ?
		AND EXISTS (SELECT 1 FROM tasks WHERE tasks.run = ? AND tasks.state = 'running' AND tasks.owner = sessions.owner) {skip locked})`, l.owner, run); err != nil {
		return err
	}
	// Found by one statement and freed by another: owners that are dead here stay dead, while a task that changes hands
	// meanwhile has another owner.
	var dead []string
	for row, err := range tx.rows(ctx, "SELECT DISTINCT owner FROM tasks WHERE run = ? AND state = 'running' AND owner NOT IN (SELECT owner FROM sessions)", run) {
		var owner string
		if err == nil {
			err = row.Scan(&owner)
		}
		if err != nil {
			return err
		}
		dead = append(dead, owner)
	}
	for _, owner := range dead {
		if _, err := tx.exec(ctx, "UPDATE tasks SET state = 'pending', owner = '' WHERE run = ? AND state = 'running' AND owner = ?", run, owner); err != nil {
			return err
		}
	}
	return nil
}
