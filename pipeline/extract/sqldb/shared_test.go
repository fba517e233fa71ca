package sqldb

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// gunzip reads a dump.
func gunzip(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// restore loads a dump with the engine's own client.
func restore(t *testing.T, db database, dump string) {
	t.Helper()
	var client *exec.Cmd
	switch db.engine {
	case Postgres:
		client = exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", db.dsn)
		must(t, db.run, `DO $$ BEGIN CREATE ROLE postgres; EXCEPTION WHEN duplicate_object THEN END $$`) // who owns the tables of the dump
	case MySQL:
		u, err := url.Parse("mysql://" + strings.NewReplacer("tcp(", "", ")", "").Replace(db.dsn))
		if err != nil {
			t.Fatal("the service's address cannot be parsed")
		}
		secret, _ := u.User.Password()
		client = exec.Command("mariadb", "--no-defaults", "--binary-mode", "-h", u.Hostname(), "-P", u.Port(), "-u", u.User.Username(), strings.TrimPrefix(u.Path, "/"))
		client.Env = append(os.Environ(), "MYSQL_PWD="+secret)
	default:
		must(t, db.run, dump)
		return
	}
	client.Stdin = strings.NewReader(dump)
	if out, err := client.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%.500s", client.Args[0], err, out)
	}
}

// wanted is the number of rows of each table.
func wanted(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", "legacy-sql-made", "rows.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, l := range lines[1:] {
		if counts[l[0]], err = strconv.Atoi(l[1]); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

// same brings a cell into the form in which the engines must agree. MariaDB and SQLite have no type for an instant, a
// UUID or, SQLite, a date or decimal: the dumps were loaded with instants in UTC.
func same(t *testing.T, k extract.Kind, cell string) string {
	t.Helper()
	switch {
	case cell == "":
		return ""
	case k == extract.Decimal:
		f, err := strconv.ParseFloat(cell, 64)
		if err != nil {
			t.Fatalf("no decimal: %v", err)
		}
		return strconv.FormatFloat(f, 'f', 10, 64) // what numeric(18,10) of the schema keeps; SQLite's REAL has kept more
	case k == extract.Bytes:
		raw, err := base64.StdEncoding.DecodeString(cell)
		if err != nil {
			t.Fatalf("no base64: %v", err)
		}
		return string(raw)
	case k == extract.Text:
		// The dumps of PostgreSQL hold some notes with CRLF where the others hold LF: so they are in the files.
		return strings.ReplaceAll(cell, "\r\n", "\n")
	case k == momentAsText:
		return strings.Replace(cell, " ", "T", 1)
	case k == extract.DateTime:
		return strings.TrimSuffix(cell, "Z")
	}
	return cell
}

// One database, restored from its dumps into the three engines, has the same rows in each.
func TestOneSchemaInThreeEngines(t *testing.T) {
	dumps := map[Engine][]string{Postgres: {"postgres-copy", "postgres-column-inserts"},
		MySQL: {"mariadb-default", "mariadb-hex-complete-rowwise"}, SQLite: {"sqlite-dump"}}
	counts := wanted(t)
	type content map[string][]string // rows by table, sorted
	all := map[string]content{}
	for e, names := range dumps {
		for _, name := range names {
			db := fresh(t, e)
			restore(t, db, gunzip(t, sharedtest.Path(t, "data", "legacy-sql-made", name+".sql.gz")))
			s := db.source(t, func(o *Options) { o.ShardSize = 256 << 10 })
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(tables) != len(counts) {
				t.Errorf("%s: %d tables, want %d", name, len(tables), len(counts))
			}
			here := content{}
			for _, table := range tables {
				for _, row := range cells(t, s, table.Name) {
					for i, c := range row {
						row[i] = same(t, kindOf(table, i), c)
					}
					here[table.Name] = append(here[table.Name], fmt.Sprintf("%q", row))
				}
				if got := len(here[table.Name]); got != counts[table.Name] {
					t.Errorf("%s: %s has %d rows, want %d", name, table.Name, got, counts[table.Name])
				}
				slices.Sort(here[table.Name])
			}
			all[name] = here
		}
	}
	for name, here := range all {
		for table, want := range all["postgres-copy"] {
			got := here[table]
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Errorf("%s: row %d of %s is another than in postgres-copy:\n%s\n%s", name, i+1, table, want[i], got[min(i, len(got)-1)])
					break
				}
			}
		}
	}
}

// kindOf is the kind of a column, or what an engine without that type keeps in its column.
func kindOf(t *extract.Table, i int) extract.Kind {
	name := t.Columns[i]
	if t.Kinds[i] == extract.Text && (strings.HasSuffix(name, "_dt") || strings.HasSuffix(name, "_at")) {
		return momentAsText
	}
	return t.Kinds[i]
}

// momentAsText stands for a moment that is kept as text.
const momentAsText extract.Kind = "dateTime as text"
