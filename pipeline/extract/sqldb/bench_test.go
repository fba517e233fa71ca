//go:build unix

package sqldb

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// observations makes a table of the form of an observations table.
func observations(b *testing.B, db database, n int) {
	b.Helper()
	must(b, db.run, `CREATE TABLE observations (id bigint PRIMARY KEY, at timestamptz NOT NULL, patient uuid NOT NULL, encounter uuid,
		category text, code text, description text, value numeric(12,3), units text, final boolean)`,
		fmt.Sprintf(`INSERT INTO observations SELECT i, timestamptz '2012-01-01 00:00Z' + i * interval '61.5 seconds',
			md5((i / 100)::text)::uuid, md5((i / 10)::text)::uuid, 'vital-signs', '8302-2', 'Body Height', (i %% 2000) / 10.0, 'cm', i %% 7 > 0
			FROM generate_series(1, %d) i`, n), "ANALYZE observations")
}

// Our reader beside a bare loop of pgx over the same table, both on one connection and one core: per row the loop takes
// rows.RawValues and copies each value to a string.
func BenchmarkPostgres(b *testing.B) {
	db := fresh(b, Postgres)
	const n = 1_000_000
	observations(b, db, n)
	o := db.options()
	o.ShardSize = 1 << 40
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	shards, err := s.Shards(b.Context(), table(b, s, "observations"))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), db.dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	text := make(pgx.QueryResultFormats, len(shards[0].Table.Columns))
	query := "SELECT " + Postgres.list("", shards[0].Table.Columns) + " FROM observations"
	rate := func(b *testing.B, began time.Duration) {
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64((processor(b)-began).Nanoseconds())/float64(n)/float64(b.N), "cpu-ns/row")
	}
	for round := range 3 { // interleaved, so that a change of the machine's mood meets both
		for _, digest := range []*extract.Digest{nil, new(extract.Digest)} {
			b.Run(fmt.Sprintf("%d/ours digest=%v", round, digest != nil), func(b *testing.B) {
				began := processor(b)
				for b.Loop() {
					size := 0
					for r, err := range s.Read(b.Context(), shards[0], digest) {
						if err != nil {
							b.Fatal(err)
						}
						size += len(r.Cells[6])
					}
					if size != n*len("Body Height") {
						b.Fatal(size)
					}
				}
				rate(b, began)
			})
		}
		b.Run(fmt.Sprintf("%d/pgx", round), func(b *testing.B) {
			began := processor(b)
			for b.Loop() {
				rows, err := conn.Query(b.Context(), query, text)
				if err != nil {
					b.Fatal(err)
				}
				size := 0
				cells := make([]string, len(text))
				for rows.Next() {
					for i, v := range rows.RawValues() {
						cells[i] = string(v)
					}
					size += len(cells[6])
				}
				if rows.Err() != nil || size != n*len("Body Height") {
					b.Fatal(size, rows.Err())
				}
			}
			rate(b, began)
		})
	}
}

// processor is the time that this process has had of the cores: the server's is not in it.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkMariaDB(b *testing.B) {
	db := fresh(b, MySQL)
	const n = 300_000
	must(b, db.run, `CREATE TABLE observations (id BIGINT PRIMARY KEY, at TIMESTAMP NULL, patient CHAR(36), code VARCHAR(20), value DECIMAL(12,3))`,
		fmt.Sprintf(`INSERT INTO observations SELECT seq, timestamp '2012-01-01 00:00:00' + interval seq minute, uuid(), '8302-2', seq %% 2000 / 10
			FROM seq_1_to_%d`, n))
	benchmarkRead(b, db, n)
}

func BenchmarkSQLite(b *testing.B) {
	db := fresh(b, SQLite)
	const n = 300_000
	must(b, db.run, `CREATE TABLE observations (id INTEGER PRIMARY KEY, at DATETIME, patient TEXT, code TEXT, value REAL)`,
		fmt.Sprintf(`WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d)
			INSERT INTO observations SELECT i, datetime('2012-01-01', i || ' minutes'), '%s', '8302-2', i %% 2000 / 10.0 FROM s`,
			n, strings.Repeat("a", 36)))
	benchmarkRead(b, db, n)
}

func benchmarkRead(b *testing.B, db database, n int) {
	o := db.options()
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	shards, err := s.Shards(b.Context(), table(b, s, "observations"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		seen := 0
		for _, err := range s.Read(b.Context(), shards[0], new(extract.Digest)) {
			if err != nil {
				b.Fatal(err)
			}
			seen++
		}
		if seen != n {
			b.Fatal(seen)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
