package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

const password = "S3cr3t/Canary"

// escaped are the forms in which the password must not appear.
var escaped = []string{password, "S3cr3t%2FCanary", "S3cr3t", "Canary"}

func clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, form := range escaped {
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), form) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestNoErrorOfOpeningShowsThePassword(t *testing.T) {
	// A port that nobody listens on, and one where somebody listens and never says a word.
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for e, forms := range map[Engine][]string{
		Postgres: {"postgres://canary:%s@%s/db?sslmode=disable"}, MySQL: {"mysql://canary:%s@%s/db", "canary:%s@tcp(%s)/db"},
		SQLServer: {"sqlserver://canary:%s@%s?database=db&encrypt=disable"}, Oracle: {"oracle://canary:%s@%s/db"},
	} {
		for _, form := range forms {
			for name, c := range map[string]struct{ address, says string }{
				"closed": {closed.Addr().String(), "connection refused"},
				"silent": {silent.Addr().String(), "no answer within"},
				"name":   {"no-such-host.invalid:1234", "name is not found"},
			} {
				t.Run(string(e)+" "+name, func(t *testing.T) {
					t.Parallel()
					secret := "S3cr3t%2FCanary"
					if strings.HasPrefix(form, "canary") {
						secret = password
					}
					o := Options{Name: "old", Engine: e, DSN: NewDSN(fmt.Sprintf(form, secret, c.address)),
						Timeouts: Timeouts{Connect: time.Second}}
					_, err := Open(t.Context(), o)
					clean(t, err)
					host, _, _ := net.SplitHostPort(c.address)
					if !strings.Contains(err.Error(), host) {
						t.Errorf("the host is not named: %v", err)
					}
					if name != "name" && !strings.Contains(err.Error(), c.says) { // without a resolver a name is sought in vain
						t.Errorf("%v, want %q", err, c.says)
					}
				})
			}
		}
	}
}

func TestMalformedConnectionStrings(t *testing.T) {
	for e, bad := range map[Engine][]string{
		Postgres:  {"postgres://canary:" + password + "@[/x", "S3cr3t=Canary S3cr3t", "host=a port=" + password},
		MySQL:     {"mysql://canary:" + password + "@[/x", "canary:" + password, "canary:" + password + "@tcp(h/x"},
		SQLServer: {"sqlserver://canary:" + password + "@[/x"},
		Oracle:    {"oracle://canary:" + password + "@[/x", password, "oracle://canary:Canary@h/x?TRACE+FILE=/tmp/x"},
		SQLite:    {"file:" + password},
	} {
		for i, dsn := range bad {
			_, err := Open(t.Context(), Options{Name: "old", Engine: e, DSN: NewDSN(dsn)})
			clean(t, err)
			if !strings.Contains(err.Error(), e.Form()) {
				t.Errorf("%s %d: the form is not shown: %v", e, i, err)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(t.Context(), Options{Name: "old", Engine: "db2", MaxField: -1,
		Tables: []Table{{}, {Name: "a"}, {Name: "a", Query: "DROP TABLE a"}}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"db2", "empty", "negative", "no name", "listed twice", "SELECT"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	_, err = Open(t.Context(), Options{Name: "old", Engine: SQLite, DSN: NewDSN(filepath.Join(t.TempDir(), "none.db"))})
	if err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestDSNShowsNothing(t *testing.T) {
	d := NewDSN(password)
	text, err := json.Marshal(Options{DSN: d})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ hidden DSN }
	for _, shown := range []string{fmt.Sprint(d), fmt.Sprintf("%v %+v %#v %s %q %x", d, d, d, d, d, d), string(text),
		fmt.Sprintf("%v %+v %#v", holder{d}, holder{d}, &holder{d}),
		fmt.Sprintf("%v %+v %#v %x", Options{DSN: d}, Options{DSN: d}, Options{DSN: d}, []DSN{d})} {
		if strings.Contains(shown, "S3cr3t") || strings.Contains(shown, fmt.Sprintf("%x", "S3cr3t")) {
			t.Errorf("it shows: %s", shown)
		}
	}
}

func TestAWrongPasswordIsNotRepeated(t *testing.T) {
	for _, e := range []Engine{Postgres, MySQL} {
		db := fresh(t, e)
		at, colon := strings.IndexByte(db.dsn, '@'), strings.LastIndexByte(db.dsn[:strings.IndexByte(db.dsn, '@')], ':')
		db.dsn = db.dsn[:colon+1] + "S3cr3t" + db.dsn[at:]
		_, err := Open(t.Context(), db.options())
		clean(t, err)
		if !strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), "refuses the user") {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// The servers' messages quote the values they stumble on.
func TestErrorsOfTheServerAreCodes(t *testing.T) {
	for e, query := range map[Engine]string{
		Postgres: "SELECT v::int AS n FROM t",
		MySQL:    "SELECT extractvalue('<a/>', concat('!', v)) AS n FROM t",
		SQLite:   "SELECT json_extract(v, '$') AS n FROM t",
	} {
		t.Run(string(e), func(t *testing.T) {
			db := fresh(t, e)
			must(t, db.run, "CREATE TABLE t (v VARCHAR(20))", "INSERT INTO t VALUES ('S3cr3t')")
			s := db.source(t, func(o *Options) { o.Tables = []Table{{Name: "q", Query: query}, {Name: "t"}} })
			tables, err := s.Tables(t.Context())
			if err == nil {
				_, err = extracttest.Rows(t.Context(), s, tables[0])
			}
			clean(t, err)
			var code *Error
			if !errors.As(err, &code) || code.Code == "" || code.Engine != e {
				t.Errorf("it has no code: %v", err)
			}
		})
	}
}

func TestALostSnapshotIsSaid(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		db := fresh(t, Postgres)
		visits(t, db, 100)
		s := db.source(t)
		must(t, db.run, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chartlift'")
		if _, err := s.Tables(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("mysql", func(t *testing.T) {
		db := fresh(t, MySQL)
		visits(t, db, 100)
		s := db.source(t)
		v := table(t, s, "visits")
		must(t, db.run, fmt.Sprintf("BEGIN NOT ATOMIC DECLARE i INT; SELECT id INTO i FROM information_schema.processlist "+
			"WHERE db = DATABASE() AND id <> CONNECTION_ID() LIMIT 1; KILL i; END"))
		for range 2 {
			if _, err := extracttest.Rows(t.Context(), s, v); !errors.Is(err, ErrLost) {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("closed", func(t *testing.T) {
		each(t, func(t *testing.T, db database) {
			visits(t, db, 10)
			s := db.source(t)
			v := table(t, s, "visits")
			shards, err := s.Shards(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			_ = s.Close()
			if _, err := extracttest.ShardRows(t.Context(), s, shards[0], nil); !errors.Is(err, ErrLost) {
				t.Errorf("error %v", err)
			}
		})
	})
}

// A connection that breaks in the middle of a shard ends it with an error and without a digest.
func TestABrokenConnectionEndsTheShard(t *testing.T) {
	for _, e := range []Engine{Postgres, MySQL} {
		t.Run(string(e), func(t *testing.T) {
			db := fresh(t, e)
			visits(t, db, 200_000)
			s := db.source(t, func(o *Options) { o.ShardSize = 1 << 30 })
			shards, err := s.Shards(t.Context(), table(t, s, "visits"))
			if err != nil {
				t.Fatal(err)
			}
			kill := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chartlift'"
			if e == MySQL {
				kill = "BEGIN NOT ATOMIC DECLARE i INT; SELECT id INTO i FROM information_schema.processlist " +
					"WHERE db = DATABASE() AND id <> CONNECTION_ID() LIMIT 1; KILL i; END"
			}
			var done extract.Digest
			var last error
			for r, err := range s.Read(t.Context(), shards[0], &done) {
				if r != nil && r.Ordinal == 10 {
					must(t, db.run, kill)
				}
				last = err
			}
			if last == nil || done.Complete {
				t.Errorf("error %v, digest complete: %v", last, done.Complete)
			}
			if _, err := extracttest.ShardRows(t.Context(), s, shards[0], nil); !errors.Is(err, ErrLost) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// Whoever breaks a Read off, or cancels it, can go on reading.
func TestABrokenOffReadCostsNothing(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		visits(t, db, 50_000)
		s := db.source(t, func(o *Options) { o.ShardSize, o.MaxField = 1<<30, 2000 })
		shards, err := s.Shards(t.Context(), table(t, s, "visits"))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for range s.Read(t.Context(), shards[0], nil) {
				break
			}
			ctx, cancel := context.WithCancel(t.Context())
			var last error
			for r, err := range s.Read(ctx, shards[0], nil) {
				if r != nil && r.Ordinal == 5 {
					cancel()
				}
				last = err
			}
			if !errors.Is(last, context.Canceled) {
				t.Errorf("cancelled: %v", last)
			}
			cancel()
		}
		if n := len(cells(t, s, "visits")); n != 50_000 {
			t.Errorf("%d records", n)
		}
	})
}

func TestStatementTimeout(t *testing.T) {
	for e, query := range map[Engine]string{
		Postgres: "SELECT count(*) AS n FROM generate_series(1, 1000000000)",
		MySQL:    "SELECT sum(a.seq * b.seq) AS n FROM seq_1_to_1000000 a, seq_1_to_1000000 b",
	} {
		t.Run(string(e), func(t *testing.T) {
			db := fresh(t, e)
			s := db.source(t, func(o *Options) {
				o.Tables, o.Timeouts.Statement = []Table{{Name: "long", Query: query}}, 300*time.Millisecond
			})
			tables, err := s.Tables(t.Context())
			if err == nil {
				_, err = extracttest.Rows(t.Context(), s, tables[0])
			}
			if err == nil || !strings.Contains(err.Error(), "statement timeout") {
				t.Errorf("error %v", err)
			}
		})
	}
}
