package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the SQLite file as a ledger of ours: "CHLT" as a big-endian number.
const applicationID = 0x43484c54

type migration struct {
	number int
	text   string
}

// schemas returns the migration files in their order. The numbers must run 1, 2, 3, …: a gap would mean that a file
// was lost while building.
func schemas() ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("read the ledger's schema: %w", err)
	}
	var list []migration
	for i, name := range names { // fs.Glob sorts
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		number, err := strconv.Atoi(digits)
		if err != nil || number != i+1 {
			return nil, fmt.Errorf("read the ledger's schema: %s is out of order", name)
		}
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, fmt.Errorf("read the ledger's schema: %w", err)
		}
		list = append(list, migration{number, string(text)})
	}
	return list, nil
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// version reads the schema number and refuses what is not a ledger of ours or is newer than this program.
func version(ctx context.Context, q querier, newest int) (int, error) {
	var application, number, tables int
	if err := q.QueryRowContext(ctx, "PRAGMA application_id").Scan(&application); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&number); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return 0, err
	}
	switch {
	case application == applicationID && number > newest:
		return 0, fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewer, number, newest)
	case application == applicationID && number > 0:
		return number, nil
	case application == 0 && number == 0 && tables == 0:
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: the file is a database of something else", ErrForeign)
	}
}

// migrate brings the schema up to date and names the migration, in one transaction: a crash leaves the old schema.
func (l *Ledger) migrate(ctx context.Context, name string) error {
	list, err := schemas()
	if err != nil {
		return err
	}
	return l.write(ctx, "open ledger", func(tx *sql.Tx) error {
		have, err := version(ctx, tx, len(list))
		if err != nil {
			return err
		}
		if have > 0 { // Before any change: a ledger of another migration is left as it is.
			if err := l.identify(ctx, tx, name); err != nil {
				return err
			}
		}
		for _, m := range list[have:] {
			if _, err := tx.ExecContext(ctx, m.text); err != nil {
				return err
			}
		}
		if have == len(list) {
			return nil
		}
		if have == 0 {
			if l.id, err = randomName(); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO ledger (one, id, migration, created) VALUES (1, ?, ?, ?)", l.id, name, l.stamp()); err != nil {
				return err
			}
		}
		// PRAGMA takes no parameters; both numbers are constants of this program.
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(list))); err != nil {
			return err
		}
		return l.audit(ctx, tx, "ledger schema", fmt.Sprintf("from %d to %d", have, len(list)))
	})
}

// examine checks, without changing anything, that the file is a ledger of this migration with this program's schema.
func (l *Ledger) examine(ctx context.Context, name string) error {
	list, err := schemas()
	if err != nil {
		return err
	}
	have, err := version(ctx, l.reader, len(list))
	if err != nil {
		return scrub("view ledger", err)
	}
	if have == 0 {
		return fmt.Errorf("view ledger: %w: the file is empty", ErrForeign)
	}
	if have < len(list) {
		return fmt.Errorf("view ledger: its schema is %d and this program's is %d; a run or reconcile brings it up to date", have, len(list))
	}
	return scrub("view ledger", l.identify(ctx, l.reader, name))
}

// identify reads the ledger's id and refuses one of another migration.
func (l *Ledger) identify(ctx context.Context, q querier, name string) error {
	var owner string
	err := q.QueryRowContext(ctx, "SELECT id, migration FROM ledger").Scan(&l.id, &owner)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: it names none", ErrForeign)
	}
	if err != nil {
		return err
	}
	if owner != name {
		return fmt.Errorf("%w: it belongs to %q, the plan says %q", ErrForeign, owner, name)
	}
	return nil
}
