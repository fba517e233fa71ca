package sqldump

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// fuzz reads any bytes as a dump of one dialect, in one piece and in many: both must yield the same records, numbered
// without gaps, and never a panic.
func fuzz(f *testing.F, dialect string) {
	for _, w := range writers {
		if w.dialect == dialect {
			f.Add([]byte(w.write(sample())))
			f.Add([]byte(w.write(sample())[:900]))
		}
	}
	for _, text := range []string{"INSERT INTO t (a) VALUES (1),(NOW()),('x", "CREATE TABLE t (a int, b text);INSERT INTO t VALUES (1,'a'b);\nINSERT INTO t VALUES (1,'');",
		"COPY t (a) FROM stdin;\n\\N\n\\.\n", "/*!40101 SET NAMES latin1 */;DELIMITER $$\n", "IF 1=1 BEGIN INSERT t (a) VALUES (1) END\nGO\n", "INSERT ALL INTO t (a) VALUES (1) SELECT 1 FROM dual;"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "d.sql")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var counts [2][]int
		for i, size := range []int64{1 << 20, 1} {
			s, err := Open(Options{Name: "x", Files: []string{path}, Dialect: dialect, ShardSize: size, MaxField: 100, MaxRecord: 1000, MaxColumns: 20})
			if err != nil {
				t.Fatal(err)
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				return // the dump as a whole is refused
			}
			for _, table := range tables {
				shards, err := s.Shards(t.Context(), table)
				if err != nil {
					return // so is the table
				}
				n, accepted := 0, 0
				for _, shard := range shards {
					if shard.FirstOrdinal != int64(n)+1 {
						t.Fatalf("a shard begins with %d behind %d rows", shard.FirstOrdinal, n)
					}
					var done extract.Digest
					rows, err := extracttest.ShardRows(t.Context(), s, shard, &done)
					if err != nil || !done.Complete {
						t.Fatal(err)
					}
					for _, r := range rows {
						n++
						if r.Ordinal != int64(n) {
							t.Fatalf("ordinal %d of row %d", r.Ordinal, n)
						}
						if r.Rule == "" {
							accepted++
						}
					}
				}
				counts[i] = append(counts[i], n, accepted)
			}
		}
		for i := range counts[0] {
			if counts[0][i] != counts[1][i] {
				t.Fatalf("in one piece %v, in many %v", counts[0], counts[1])
			}
		}
	})
}

func FuzzMySQL(f *testing.F)     { fuzz(f, "mysql") }
func FuzzPostgres(f *testing.F)  { fuzz(f, "postgres") }
func FuzzSQLServer(f *testing.F) { fuzz(f, "sqlserver") }
func FuzzSQLite(f *testing.F)    { fuzz(f, "sqlite") }
func FuzzOracle(f *testing.F)    { fuzz(f, "oracle") }
