package sqldb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyASingleSelectIsSent(t *testing.T) {
	for _, c := range []struct {
		engines string // "" for all
		query   string
		fails   string
	}{
		{"", "SELECT 1", ""},
		{"", "  -- why\n /* and how */ with x as (select 1 as a) select a from x", ""},
		{"", "SELECT 'a;b', \"c;d\" FROM t", ""},
		{"", "SELECT 'it''s; INTO' FROM t", ""},
		{"", "SELECT 1;", "one statement"},
		{"", "SELECT 1; DROP TABLE t", "one statement"},
		{"", "DELETE FROM t", "must begin with SELECT"},
		{"", "", "must begin with SELECT"},
		{"", "SELECT * INTO copy FROM t", "INTO"},
		{"", "SELECT 'open", "does not end"},
		{"", "SELECT 1 /* open", "does not end"},
		{"", "SELECT 1 /* a /* b */ c */", "inside a comment"},
		{"", "EXPLAIN SELECT 1", "must begin with SELECT"},
		{"mysql", "SELECT 'x' INTO OUTFILE '/tmp/x'", "INTO"},
		{"mysql", "SELECT 5--5 INTO OUTFILE '/tmp/x'", "INTO"},
		{"mysql", "SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "executes"},
		{"mysql", "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */", "executes"},
		{"mysql", `SELECT 'a\' ; INTO' FROM t`, ""},
		{"mysql", "SELECT `a;b` FROM t # INTO", ""},
		{"postgres", "SELECT $$a;b$$, $x$INTO$x$", ""},
		{"postgres", `SELECT E'a\';INTO'`, ""},
		{"postgres", `SELECT 'a\' INTO copy`, "INTO"},
		{"postgres", `SELECT date'a\' INTO copy`, "INTO"},
		{"sqlserver", "SELECT 1 DROP TABLE t", "DROP"},
		{"sqlserver", "WITH x AS (SELECT 1 AS a) DELETE FROM x", "DELETE"},
		{"sqlserver", "SELECT [delete] FROM t", ""},
		{"sqlserver", "SELECT [a]]; DROP] FROM t", ""},
		{"sqlserver", "SELECT 1 EXEC xp_cmdshell 'x'", "EXEC"},
		{"sqlserver", "SELECT deleted, updated FROM t", ""},
		{"postgres", "SELECT deleted, update FROM t", ""},
	} {
		for e := range rules {
			if c.engines != "" && c.engines != string(e) {
				continue
			}
			err := checkQuery(e, c.query)
			switch {
			case c.fails == "" && err != nil:
				t.Errorf("%s: %q: %v", e, c.query, err)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("%s: %q: error %v, want one with %q", e, c.query, err, c.fails)
			}
		}
	}
}

func FuzzCheckQuery(f *testing.F) {
	f.Add("SELECT 1")
	f.Add("with x as (select 'a;' \"b\" `c` [d] $$e$$ /*f*/ --g\n) select 1")
	f.Fuzz(func(t *testing.T, query string) {
		for e := range rules {
			if checkQuery(e, query) == nil {
				if err := checkQuery(e, query+" INTO x"); err == nil && !strings.Contains(query, "--") && !strings.Contains(query, "#") {
					t.Errorf("%s: INTO behind a query that is in order is not seen", e)
				}
			}
		}
	})
}

func TestAQueryIsATable(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		must(t, db.run, "CREATE TABLE t (k INTEGER PRIMARY KEY, d DATE, n NUMERIC(10,2))",
			"INSERT INTO t VALUES (1, '2012-05-01', 1.5), (2, '2012-05-02', NULL), (3, NULL, 3)")
		number, none := "1.50", ""
		if db.engine == SQLite {
			number = "1.5"
		}
		s := db.source(t, func(o *Options) {
			o.Tables = []Table{{Name: "newest first", Query: "WITH x AS (SELECT k, d AS day, n FROM t) SELECT day, n, k FROM x WHERE k < 3 ORDER BY k DESC -- why"}}
		})
		want := [][]string{{"2012-05-02", none, "2"}, {"2012-05-01", number, "1"}}
		if diff := cmp.Diff(want, cells(t, s, "newest first")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got := table(t, s, "newest first").Columns; !cmp.Equal(got, []string{"day", "n", "k"}) {
			t.Errorf("columns %q", got)
		}
	})
}

func TestFaultsOfTablesComeTogether(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		must(t, db.run, "CREATE TABLE t (k INTEGER PRIMARY KEY)", "CREATE VIEW v AS SELECT k FROM t")
		s := db.source(t, func(o *Options) {
			o.Tables = []Table{{Name: "t"}, {Name: "v"}, {Name: "gone"}, {Name: "twice", Query: "SELECT k AS a, k AS a FROM t"},
				{Name: "wrong", Query: "SELECT nothing_such FROM t"}}
		})
		_, err := s.Tables(t.Context())
		if err == nil {
			t.Fatal("no error")
		}
		for _, part := range []string{`"gone"`, `"twice"`, `"wrong"`, "not a table or view"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s is not named in: %v", part, err)
			}
		}
		if strings.Contains(err.Error(), `"t"`) || strings.Contains(err.Error(), `"v"`) {
			t.Errorf("what is in order is named: %v", err)
		}
	})
}

func TestAQueryCannotWrite(t *testing.T) {
	db := fresh(t, Postgres)
	must(t, db.run, "CREATE TABLE t (k int)", "INSERT INTO t VALUES (1)",
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING k'")
	for _, query := range []string{"WITH d AS (DELETE FROM t RETURNING k) SELECT k FROM d", "SELECT f() AS k"} {
		s := db.source(t, func(o *Options) { o.Tables = []Table{{Name: "q", Query: query}} })
		tables, err := s.Tables(t.Context())
		if err == nil {
			var shards, _ = s.Shards(t.Context(), tables[0])
			for _, e := range s.Read(t.Context(), shards[0], nil) {
				err = e
			}
		}
		if err == nil || !strings.Contains(err.Error(), "25006") {
			t.Errorf("%s: %v", query, err)
		}
	}
	if got := cells(t, db.source(t), "t"); len(got) != 1 {
		t.Errorf("%d rows are left", len(got))
	}
}

func TestUnnamedExpressions(t *testing.T) {
	db := fresh(t, SQLite)
	must(t, db.run, "CREATE TABLE t (k INTEGER, d DATE)", "INSERT INTO t VALUES (1, '2012-05-01'), (2, NULL)")
	s := db.source(t, func(o *Options) { o.Tables = []Table{{Name: "q", Query: "SELECT count(*), max(d), 'a' || k FROM t"}} })
	if diff := cmp.Diff([][]string{{"2", "2012-05-01", "a1"}}, cells(t, s, "q")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
