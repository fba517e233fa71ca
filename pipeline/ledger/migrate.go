package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

type migration struct {
	number int
	text   string
}

// schemas returns the migration files of a folder in their order. The numbers must follow one another: a gap would mean
// that a file was lost while building. Both engines end with the same number, but need not begin with the same.
func schemas(folder string) ([]migration, error) {
	names, err := fs.Glob(migrations, folder+"/*.sql")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("read the ledger's schema: nothing in %s: %w", folder, errors.Join(err, fs.ErrNotExist))
	}
	var list []migration
	for i, name := range names { // fs.Glob sorts
		digits, _, _ := strings.Cut(path.Base(name), "_")
		number, err := strconv.Atoi(digits)
		if err != nil || i > 0 && number != list[i-1].number+1 {
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

// schema reads the migration files, and the number of the schema that is there; 0: none. Errors: ErrNewer, ErrForeign.
func (l *Ledger) schema(ctx context.Context, q handle) (list []migration, have, newest int, err error) {
	if list, err = schemas(l.engine.schemas()); err != nil {
		return nil, 0, 0, err
	}
	newest = list[len(list)-1].number
	have, err = l.engine.version(ctx, q)
	if err == nil && have > newest {
		err = fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewer, have, newest)
	}
	return list, have, newest, err
}

// migrate brings the schema up to date and names the migration, within the transaction that opens the ledger: a crash
// leaves the old schema.
func (l *Ledger) migrate(ctx context.Context, tx handle, name string) error {
	if err := l.engine.prepare(ctx, tx); err != nil {
		return err
	}
	list, have, newest, err := l.schema(ctx, tx)
	if err != nil {
		return err
	}
	if have > 0 { // Before any change: a ledger of another migration is left as it is.
		if err := l.identify(ctx, tx, name); err != nil {
			return err
		}
	}
	if have == newest {
		return nil
	}
	for _, m := range list {
		if m.number > have {
			// As it stands, without parameters: a file is many statements.
			if _, err := tx.pool.ExecContext(ctx, m.text); err != nil {
				return kept(err)
			}
		}
	}
	if have == 0 {
		if l.id, err = randomName(); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "INSERT INTO ledger (one, id, migration, created) VALUES (1, ?, ?, ?)", l.id, name, l.stamp()); err != nil {
			return err
		}
	}
	if err := l.engine.setVersion(ctx, tx, newest); err != nil {
		return err
	}
	return l.audit(ctx, tx, "ledger schema", fmt.Sprintf("from %d to %d", have, newest))
}

// examine checks, without changing anything, that this is a ledger of this migration with this program's schema.
func (l *Ledger) examine(ctx context.Context, q handle, name string) error {
	_, have, newest, err := l.schema(ctx, q)
	if err != nil {
		return err
	}
	if have == 0 {
		return fmt.Errorf("it is just being made: %w", fs.ErrNotExist) // another process has opened it for the first time
	}
	if have < newest {
		return fmt.Errorf("its schema is %d and this program's is %d; a run or reconcile brings it up to date", have, newest)
	}
	return l.identify(ctx, q, name)
}

// identify reads the ledger's id and refuses one of another migration.
func (l *Ledger) identify(ctx context.Context, q handle, name string) error {
	var owner string
	err := q.row(ctx, "SELECT id, migration FROM ledger").Scan(&l.id, &owner)
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
