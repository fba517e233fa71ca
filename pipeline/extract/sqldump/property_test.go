package sqldump

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// pack writes a file as its name says.
func pack(t testing.TB, path string, text string) {
	t.Helper()
	data := []byte(text)
	var b bytes.Buffer
	switch filepath.Ext(path) {
	case ".gz":
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data)
		_ = z.Close()
		data = b.Bytes()
	case ".zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = z.Write(data)
		_ = z.Close()
		data = b.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every dialect reads back what was written, however it is packed and split into shards.
func TestAllDialectsReadTheSameRows(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		tables := drawTables().Draw(rt, "tables")
		size := rapid.SampledFrom([]int64{1, 100, 0}).Draw(rt, "shard size")
		name := rapid.SampledFrom([]string{"d.sql", "d.sql.gz", "d.sql.zst"}).Draw(rt, "file")
		for _, w := range writers {
			pack(t, filepath.Join(dir, name), w.write(tables))
			s, err := Open(Options{Name: "x", Dir: dir, Files: []string{name}, Dialect: w.dialect, ShardSize: size})
			if err != nil {
				rt.Fatal(err)
			}
			listed, err := s.Tables(t.Context())
			if err != nil {
				rt.Fatalf("%s: %v", w.name, err)
			}
			if len(listed) != len(tables) {
				rt.Fatalf("%s: %d tables of %d", w.name, len(listed), len(tables))
			}
			for i, m := range tables {
				rows, err := extracttest.Rows(t.Context(), s, listed[i])
				if err != nil {
					rt.Fatalf("%s: %v", w.name, err)
				}
				var got [][]string
				for _, r := range rows {
					if r.Rule != "" {
						rt.Fatalf("%s: line %d: %s in %q", w.name, r.Line, r.Rule, r.Column)
					}
					got = append(got, r.Cells)
				}
				if diff := cmp.Diff(m.cells(), got); diff != "" {
					rt.Fatalf("%s: table %s (-written +read)\n%s", w.name, m.name, diff)
				}
			}
		}
	})
}

// sample is a fixed database for the contract suite, with faults planted by the caller.
func sample() []made {
	text := func(s string) *string { return &s }
	m := made{name: "a", columns: []madeColumn{{"id", extract.Integer}, {"note", extract.Text}, {"photo", extract.Bytes}, {"born", extract.Date}}}
	z := made{name: "z", columns: []madeColumn{{"id", extract.Integer}, {"at", extract.DateTime}}}
	for i := range 40 {
		id := string(rune('0'+i/10)) + string(rune('0'+i%10))
		m.rows = append(m.rows, []*string{text("1" + id), text(nasty[i%len(nasty)] + " of " + id), text("\x00\xff'\\" + id), text("1950-01-07")})
		z.rows = append(z.rows, []*string{text("2" + id), text("2020-02-29 12:00:00")})
	}
	return []made{m, {name: "empty", columns: []madeColumn{{"id", extract.Integer}}}, z}
}

// Each dialect keeps the contract of a source, plain and packed, with records that are refused.
func TestContract(t *testing.T) {
	for _, w := range writers {
		faults := map[string]string{
			"mysql":     "INSERT INTO `z` VALUES (1,NOW()),(2),(3,NULL);\n-- Dump completed\n",
			"postgres":  "INSERT INTO public.z VALUES (1, now()), (2), (3, NULL);\n",
			"sqlite":    "INSERT INTO z VALUES(1,datetime('now')),(2),(3,NULL);\n",
			"sqlserver": "INSERT z VALUES (1, GETDATE()), (2), (3, NULL)\n",
			"oracle":    "INSERT INTO \"z\" VALUES (1, SYSDATE);\nINSERT INTO \"z\" VALUES (2);\nINSERT INTO \"z\" VALUES (3, NULL);\n",
		}[w.dialect]
		if w.name == "script of SQL Server" {
			faults = utf16le(faults)[len(charset.MarkLittle):]
		}
		text := w.write(sample()) + faults
		for _, file := range []string{"d.sql", "d.sql.gz"} {
			t.Run(w.name+" "+file, func(t *testing.T) {
				dir := t.TempDir()
				pack(t, filepath.Join(dir, file), text)
				extracttest.Run(t, func(t testing.TB) extract.Source {
					s, err := Open(Options{Name: "x", Dir: dir, Files: []string{file}, Dialect: w.dialect, ShardSize: 300})
					if err != nil {
						t.Fatal(err)
					}
					return s
				})
				s, err := Open(Options{Name: "x", Dir: dir, Files: []string{file}, Dialect: w.dialect, ShardSize: 300})
				if err != nil {
					t.Fatal(err)
				}
				tables, err := s.Tables(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				rows, err := extracttest.Rows(t.Context(), s, tables[2])
				if err != nil {
					t.Fatal(err)
				}
				var rules []string
				for _, r := range rows[40:] {
					rules = append(rules, r.Rule)
				}
				if diff := cmp.Diff([]string{extract.RuleExpression, extract.RuleRaggedRow, ""}, rules); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				shards, err := s.Shards(t.Context(), tables[0])
				if err != nil || len(shards) < 5 {
					t.Errorf("%d shards, %v", len(shards), err)
				}
				for _, shard := range shards {
					var read extract.Digest
					if _, err := extracttest.ShardRows(t.Context(), s, shard, &read); err != nil {
						t.Fatal(err)
					}
					sum, err := s.Sum(t.Context(), shard)
					if err != nil || sum.Sum != read.Sum || sum.Bytes != read.Bytes || !sum.Complete {
						t.Errorf("Sum %+v, %v; Read %+v", sum, err, read)
					}
				}
			})
		}
	}
}
