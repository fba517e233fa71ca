package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// place is where a test keeps a ledger: a file in a folder of its own, or a schema of its own on a real server.
type place struct {
	source string // as a plan names it
	path   string // of the file; empty with PostgreSQL
}

func inFile(t testing.TB) place {
	path := filepath.Join(t.TempDir(), "ledger.db")
	return place{"sqlite:" + path, path}
}

var schemasMade atomic.Int64

func onServer(t testing.TB) place {
	t.Helper()
	dsn := os.Getenv("CHARTLIFT_POSTGRES")
	if dsn == "" {
		sharedtest.Missing(t, "services", "CHARTLIFT_POSTGRES names no server; scripts/services/with starts one")
	}
	schema := fmt.Sprintf("test_%d_%d", os.Getpid(), schemasMade.Add(1))
	at := place{source: dsn + "&search_path=" + schema}
	t.Cleanup(func() { at.statements(t, "DROP SCHEMA IF EXISTS "+schema+" CASCADE") })
	return at
}

// onBoth runs a test over both engines.
func onBoth(t *testing.T, test func(t *testing.T, at place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, inFile(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, onServer(t)) })
}

// another is a second place of the same kind.
func (at place) another(t testing.TB) place {
	if at.path != "" {
		return inFile(t)
	}
	return onServer(t)
}

func (at place) options() Options {
	// A lease that no test outlives: where one has to end, the test ends it.
	return Options{Migration: "riverside", Operator: "jo", Now: newClock().Now, Lease: time.Hour}
}

func (at place) openAs(t testing.TB, o Options) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), at.source, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (at place) open(t testing.TB) *Ledger {
	t.Helper()
	return at.openAs(t, at.options())
}

func (at place) view(t testing.TB) *Ledger {
	t.Helper()
	v, err := View(t.Context(), at.source, "riverside")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// statements changes a database behind the program's back. Of two texts with a | between them, the first is for SQLite.
func (at place) statements(t testing.TB, statements ...string) {
	t.Helper()
	var db *sql.DB
	if at.path != "" {
		var err error
		if db, err = sql.Open("sqlite", at.path); err != nil {
			t.Fatal(err)
		}
	} else {
		e, err := openPostgres(at.source)
		if err != nil {
			t.Fatal(err)
		}
		db = e.(*postgresEngine).connect(1, nil)
	}
	defer db.Close()
	for _, s := range statements {
		first, second, two := strings.Cut(s, "|||")
		if two && at.path == "" {
			first = second
		}
		if _, err := db.Exec(first); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
	}
	// Who changes a ledger on purpose takes its sum away too.
	if err := os.Remove(at.path + sealSuffix); at.path != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Both engines have the same tables with the same columns under the same number: a statement that one has is one for both.
func TestSchemasAgree(t *testing.T) {
	columns := map[string][]string{}
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		list, err := schemas(l.engine.schemas())
		must(t, err)
		query := "SELECT m.name || '.' || c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY 1"
		if at.path == "" {
			query = `SELECT CAST(table_name || '.' || column_name AS TEXT) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'ledger_schema' ORDER BY 1`
		}
		found := []string{fmt.Sprint("schema ", list[len(list)-1].number)}
		for row, err := range l.reader.rows(t.Context(), query) {
			must(t, err)
			var name string
			must(t, row.Scan(&name))
			found = append(found, name)
		}
		slices.Sort(found)
		columns[t.Name()] = found
	})
	if len(columns) < 2 {
		t.Skip("one engine only")
	}
	if diff := cmp.Diff(columns["TestSchemasAgree/sqlite"], columns["TestSchemasAgree/postgres"]); diff != "" {
		t.Errorf("columns (-sqlite +postgres):\n%s", diff)
	}
}

func TestTextOfPostgres(t *testing.T) {
	e := &postgresEngine{}
	for statement, want := range map[string]string{
		"SELECT 1": "SELECT 1",
		"UPDATE t SET a = ? WHERE b = ? AND c IN (?, ?)": "UPDATE t SET a = $1 WHERE b = $2 AND c IN ($3, $4)",
		"SELECT seq FROM runs WHERE id = ? {lock}":       "SELECT seq FROM runs WHERE id = $1 FOR NO KEY UPDATE",
	} {
		if got := e.text(statement); got != want {
			t.Errorf("%s: %s, want %s", statement, got, want)
		}
	}
}
