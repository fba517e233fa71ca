package sqldb

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// Partitions are read as one table, in shards; children of old-style inheritance are tables of their own; views and
// materialised views are read when they are named.
func TestRelationsOfPostgres(t *testing.T) {
	db := fresh(t, Postgres)
	must(t, db.run,
		"CREATE TABLE results (id int, at date, note text) PARTITION BY RANGE (at)",
		"CREATE TABLE results_old PARTITION OF results FOR VALUES FROM (MINVALUE) TO ('2020-01-01')",
		"CREATE TABLE results_new (note text, gone int, at date, id int)", "ALTER TABLE results_new DROP COLUMN gone",
		"ALTER TABLE results ATTACH PARTITION results_new FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
		`INSERT INTO results SELECT i, date '2010-01-01' + i, 'note ' || i FROM generate_series(1, 8000) i`,
		"CREATE TABLE nothing (id int) PARTITION BY RANGE (id)",
		"CREATE TABLE parent (id int)", "CREATE TABLE child (more int) INHERITS (parent)",
		"INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (2, 3)",
		"CREATE VIEW few AS SELECT id FROM results WHERE id <= 3 ORDER BY id",
		"CREATE MATERIALIZED VIEW kept AS SELECT id FROM results WHERE id > 7998 ORDER BY id",
		"CREATE SCHEMA other", "CREATE TABLE other.hidden (id int)", "CREATE TEMPORARY TABLE passing (id int)")
	s := db.source(t, func(o *Options) { o.ShardSize = 64 << 10 })
	if diff := cmp.Diff([]string{"child", "nothing", "parent", "results"}, names(t, s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	shards, err := s.Shards(t.Context(), table(t, s, "results"))
	if err != nil || len(shards) < 4 {
		t.Errorf("%d shards, %v", len(shards), err)
	}
	seen := map[string]bool{}
	for _, c := range cells(t, s, "results") {
		if !strings.HasSuffix(c[2], " "+c[0]) {
			t.Fatalf("a cell is in the wrong column")
		}
		seen[c[0]] = true
	}
	if len(seen) != 8000 {
		t.Errorf("%d records", len(seen))
	}
	for name, want := range map[string][][]string{"nothing": nil, "parent": {{"1"}}, "child": {{"2", "3"}}} {
		if diff := cmp.Diff(want, cells(t, s, name)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	named := db.source(t, func(o *Options) { o.Tables = []Table{{Name: "few"}, {Name: "kept"}} })
	if diff := cmp.Diff([][]string{{"1"}, {"2"}, {"3"}}, cells(t, named, "few")); diff != "" {
		t.Errorf("view (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"7999"}, {"8000"}}, cells(t, named, "kept")); diff != "" {
		t.Errorf("materialised view (-want +got)\n%s", diff)
	}
}

// Rows that a policy hides must not be missed in silence, nor tables that the user may not read.
func TestHiddenRowsAreAnError(t *testing.T) {
	db := fresh(t, Postgres)
	user := strings.ReplaceAll(db.dsn[strings.LastIndexByte(db.dsn, '/')+1:strings.IndexByte(db.dsn, '?')], "test", "user")
	must(t, db.run, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'x'", user), "CREATE TABLE t (id int)",
		"INSERT INTO t VALUES (1), (2)", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (id = 1)",
		"GRANT SELECT ON t TO "+user, "CREATE TABLE closed (id int)")
	t.Cleanup(func() { must(t, db.run, "DROP OWNED BY "+user, "DROP ROLE "+user) })
	o := db.options()
	o.DSN = NewDSN("postgres://" + user + ":x" + db.dsn[strings.IndexByte(db.dsn, '@'):])
	for _, name := range []string{"t", "closed"} {
		o.Tables = []Table{{Name: name}}
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err == nil {
			_, err = extracttest.Rows(t.Context(), s, tables[0])
		}
		if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
	}
}

// A shard that was cut in an earlier snapshot is not taken for the same when the table has changed since.
func TestAShardOfAnotherStateIsRefused(t *testing.T) {
	db := fresh(t, Postgres)
	visits(t, db, 3000)
	small := func(o *Options) { o.ShardSize, o.MaxField = 64<<10, 2000 }
	before := db.source(t, small)
	shards, err := before.Shards(t.Context(), table(t, before, "visits"))
	if err != nil {
		t.Fatal(err)
	}
	must(t, db.run, "DELETE FROM visits WHERE id = 5")
	after := db.source(t, small)
	if _, err := extracttest.ShardRows(t.Context(), after, shards[0], nil); err == nil || !strings.Contains(err.Error(), "start anew") {
		t.Errorf("fewer: %v", err)
	}
	_ = after.Close()
	must(t, db.run, "INSERT INTO visits SELECT 10000 + i, 1, 'x', NULL FROM generate_series(1, 100) i")
	after = db.source(t, small)
	last := shards[len(shards)-1]
	if _, err := extracttest.ShardRows(t.Context(), after, last, nil); err == nil || !strings.Contains(err.Error(), "start anew") {
		t.Errorf("more: %v", err)
	}
	last.Position = "nonsense"
	if _, err := extracttest.ShardRows(t.Context(), before, last, nil); err == nil {
		t.Error("a malformed position is read")
	}
	_, _ = before.Close(), after.Close() // a table that is being read cannot be altered
	must(t, db.run, "ALTER TABLE visits ADD COLUMN more int")
	after = db.source(t, small)
	if _, err := extracttest.ShardRows(t.Context(), after, shards[0], nil); err == nil || !strings.Contains(err.Error(), "other columns") {
		t.Errorf("other columns: %v", err)
	}
}

// More Reads than connections wait for each other.
func TestFewConnectionsSuffice(t *testing.T) {
	db := fresh(t, Postgres)
	visits(t, db, 5000)
	s := db.source(t, func(o *Options) { o.ShardSize, o.Connections = 32<<10, 1 })
	if n := len(rows(t, s, "visits")); n != 5000 {
		t.Errorf("%d records", n)
	}
}

func TestTablesWithoutSnapshotsAreNoticed(t *testing.T) {
	db := fresh(t, MySQL)
	must(t, db.run, "CREATE TABLE old_one (id INT) ENGINE=MyISAM", "CREATE TABLE new_one (id INT) ENGINE=InnoDB",
		"CREATE VIEW seen AS SELECT id FROM new_one")
	got := db.source(t).Notices()
	if len(got) != 1 || !strings.Contains(got[0], "old_one") {
		t.Errorf("notices %q", got)
	}
	only := db.source(t, func(o *Options) { o.Tables = []Table{{Name: "new_one"}} })
	if got := only.Notices(); len(got) != 0 {
		t.Errorf("notices on tables that are not read: %q", got)
	}
	if diff := cmp.Diff([]string{"new_one", "old_one"}, names(t, db.source(t))); diff != "" {
		t.Errorf("tables (-want +got)\n%s", diff)
	}
}

// names are those of the tables.
func names(t *testing.T, s *Source) (all []string) {
	t.Helper()
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		all = append(all, table.Name)
	}
	return all
}
