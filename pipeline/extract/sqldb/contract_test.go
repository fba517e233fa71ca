package sqldb

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// visits makes a table of n rows, some of which hold a text that is too long for a source with MaxField 1000.
func visits(t testing.TB, db database, n int) {
	t.Helper()
	must(t, db.run, `CREATE TABLE visits (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, note VARCHAR(5000), at TIMESTAMP NULL)`)
	switch db.engine {
	case Postgres:
		must(t, db.run, fmt.Sprintf(`INSERT INTO visits SELECT i, i %% 97, CASE WHEN i %% 500 = 7 THEN repeat('x', 1001)
			WHEN i %% 5 = 0 THEN NULL ELSE 'note ' || i || E' with "quotes", commas\nand lines' END,
			timestamp '2012-01-01' + i * interval '1 minute' FROM generate_series(1, %d) i`, n))
	case MySQL:
		must(t, db.run, fmt.Sprintf(`INSERT INTO visits SELECT seq, seq %% 97, CASE WHEN seq %% 500 = 7 THEN repeat('x', 1001)
			WHEN seq %% 5 = 0 THEN NULL ELSE concat('note ', seq, ' with "quotes", commas\nand lines') END,
			timestamp '2012-01-01 00:00:00' + interval seq minute FROM seq_1_to_%d`, n))
	case SQLite:
		must(t, db.run, fmt.Sprintf(`WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d)
			INSERT INTO visits SELECT i, i %% 97, CASE WHEN i %% 500 = 7 THEN replace(hex(zeroblob(501)), '00', 'xx')
			WHEN i %% 5 = 0 THEN NULL ELSE 'note ' || i || ' with "quotes", commas' || char(10) || 'and lines' END,
			datetime('2012-01-01', i || ' minutes') FROM s`, n))
	}
}

func TestContract(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		visits(t, db, 3000)
		must(t, db.run, "CREATE TABLE empty_one (a INTEGER, b VARCHAR(10))", "CREATE TABLE two (a VARCHAR(10))",
			"INSERT INTO two VALUES ('a'), ('b')")
		extracttest.Run(t, func(t testing.TB) extract.Source {
			return db.source(t, func(o *Options) {
				o.ShardSize, o.MaxField = 64<<10, 1000
				o.Tables = []Table{{Name: "visits"}, {Name: "empty_one"}, {Name: "two"},
					{Name: "by patient", Query: "SELECT pid, count(*) AS n FROM visits GROUP BY pid ORDER BY pid"}}
			})
		})
	})
}

func TestShardsOfPostgresHoldEachRecordOnce(t *testing.T) {
	db := fresh(t, Postgres)
	visits(t, db, 20_000)
	must(t, db.run, "DELETE FROM visits WHERE id % 3 = 0", "UPDATE visits SET pid = -1 WHERE id % 7 = 0")
	s := db.source(t, func(o *Options) { o.ShardSize = 32 << 10 })
	v := table(t, s, "visits")
	shards, err := s.Shards(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if len(shards) < 20 {
		t.Errorf("%d shards only", len(shards))
	}
	seen := map[string]bool{}
	for _, c := range cells(t, s, "visits") {
		if seen[c[0]] {
			t.Fatalf("a record came twice")
		}
		seen[c[0]] = true
	}
	if want := 20_000 - 20_000/3; len(seen) != want {
		t.Errorf("%d records, want %d", len(seen), want)
	}
}

// What another session writes after Open is not seen, in tables that are looked at later too.
func TestOneStateOfTheDatabase(t *testing.T) {
	for _, e := range []Engine{Postgres, MySQL} {
		t.Run(string(e), func(t *testing.T) {
			db := fresh(t, e)
			visits(t, db, 2000)
			s := db.source(t, func(o *Options) { o.ShardSize, o.MaxField = 64<<10, 2000 })
			v := table(t, s, "visits")
			must(t, db.run, "INSERT INTO visits VALUES (100000, 1, 'late', NULL)", "UPDATE visits SET note = 'changed' WHERE id = 3")
			shards, err := s.Shards(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			must(t, db.run, "INSERT INTO visits VALUES (100001, 1, 'later', NULL)", "DELETE FROM visits WHERE id < 1000")
			n := 0
			for _, shard := range shards {
				some, err := extracttest.ShardRows(t.Context(), s, shard, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range some {
					if r.Cells[2] == "late" || r.Cells[2] == "later" || r.Cells[2] == "changed" {
						t.Errorf("record %d was written after the snapshot", r.Ordinal)
					}
				}
				n += len(some)
			}
			if n != 2000 {
				t.Errorf("%d records, want 2000", n)
			}
			if s.Snapshot() == "" {
				t.Error("the snapshot has no name")
			}
			if again := db.source(t); again.Snapshot() == s.Snapshot() {
				t.Error("two states have one name")
			}
		})
	}
}

// hostile names of tables and columns.
var hostile = []string{`a"b`, "a;drop table visits", "a`b", "a]b", "naïve 表", "a'b", `a\b`, "select", "a--b", "a.b", "%s", "A", "${x}"}

func TestHostileNames(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		for i, name := range hostile {
			q := db.engine.quote(name)
			if db.engine == SQLite && name == "A" {
				continue // names of SQLite know no case
			}
			must(t, db.run, fmt.Sprintf("CREATE TABLE %s (%s INTEGER PRIMARY KEY, other INTEGER)", q, q),
				fmt.Sprintf("INSERT INTO %s VALUES (%d, 1), (%d, 2)", q, i, i+100))
		}
		s := db.source(t)
		tables, err := s.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(tables) < len(hostile)-1 {
			t.Errorf("%d tables", len(tables))
		}
		for i, name := range hostile {
			if db.engine == SQLite && name == "A" {
				continue
			}
			want := [][]string{{fmt.Sprint(i), "1"}, {fmt.Sprint(i + 100), "2"}}
			if diff := cmp.Diff(want, cells(t, s, name)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
			if c := table(t, s, name).Columns[0]; c != name {
				t.Errorf("column %q became %q", name, c)
			}
		}
	})
}
