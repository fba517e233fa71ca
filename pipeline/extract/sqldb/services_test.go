package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// database is a database of one test's own, empty, and gone after it.
type database struct {
	run
	engine Engine
	dsn    string
}

// run runs statements in a session of its own.
type run func(statements string) error

var databases atomic.Int64

// service is the connection string of a server that scripts/services/with has started.
func service(t testing.TB, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		sharedtest.Missing(t, "services", "%s is not set: run the tests by way of scripts/services/with", variable)
	}
	return dsn
}

func open(t testing.TB, driver, dsn string) run {
	t.Helper()
	if driver == "pgx" {
		c, err := pgconn.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithoutCancel(t.Context())
		t.Cleanup(func() { _ = c.Close(ctx) })
		return func(text string) error {
			_, err := c.Exec(ctx, text).ReadAll()
			return err
		}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return func(text string) error {
		_, err := db.Exec(text)
		return err
	}
}

func fresh(t testing.TB, e Engine) database {
	t.Helper()
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	switch e {
	case Postgres:
		dsn := service(t, "CHARTLIFT_POSTGRES")
		server := open(t, "pgx", dsn)
		must(t, server, "CREATE DATABASE "+name)
		t.Cleanup(func() { must(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
		dsn = strings.Replace(dsn, "/postgres?", "/"+name+"?", 1)
		return database{open(t, "pgx", dsn), e, dsn}
	case MySQL:
		dsn := service(t, "CHARTLIFT_MARIADB")
		server := open(t, "mysql", dsn)
		must(t, server, "CREATE DATABASE "+name)
		t.Cleanup(func() { must(t, server, "DROP DATABASE "+name) })
		dsn = dsn[:strings.LastIndexByte(dsn, '/')+1] + name
		return database{open(t, "mysql", dsn+"?multiStatements=true&interpolateParams=true"), e, dsn}
	default:
		path := filepath.Join(t.TempDir(), "a b%c?#.db") // what has a meaning in a URI has none in a path
		uri := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23", " ", "%20").Replace(path)
		db := open(t, "sqlite", uri)
		must(t, db, "PRAGMA user_version = 1") // so that the file is there
		return database{db, SQLite, path}
	}
}

func must(t testing.TB, db run, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if err := db(s); err != nil {
			t.Fatalf("%.200s: %v", s, err)
		}
	}
}

// live are the engines that tests can have.
var live = []Engine{Postgres, MySQL, SQLite}

func each(t *testing.T, f func(t *testing.T, db database)) {
	for _, e := range live {
		t.Run(string(e), func(t *testing.T) { f(t, fresh(t, e)) })
	}
}

func (d database) options() Options {
	return Options{Name: "old", Engine: d.engine, DSN: NewDSN(d.dsn)}
}

// source opens the database, with some options changed.
func (d database) source(t testing.TB, change ...func(*Options)) *Source {
	t.Helper()
	o := d.options()
	for _, c := range change {
		c(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// table finds a table of a source.
func table(t testing.TB, s *Source, name string) *extract.Table {
	t.Helper()
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == name {
			return table
		}
	}
	t.Fatalf("there is no table %q", name)
	return nil
}

// rows reads a table.
func rows(t testing.TB, s *Source, name string) []extracttest.Row {
	t.Helper()
	all, err := extracttest.Rows(t.Context(), s, table(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// cells are the cells of a table, of which no record may be refused.
func cells(t testing.TB, s *Source, name string) [][]string {
	t.Helper()
	var all [][]string
	for _, r := range rows(t, s, name) {
		if r.Rule != "" {
			t.Fatalf("record %d is refused: %s in %s", r.Ordinal, r.Rule, r.Column)
		}
		all = append(all, r.Cells)
	}
	return all
}
