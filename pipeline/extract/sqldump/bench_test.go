package sqldump

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// results makes a table of laboratory results of about 20 MB in most dialects.
func results() []made {
	text := func(s string) *string { return &s }
	m := made{name: "result", columns: []madeColumn{{"res_no", extract.Integer}, {"pt_no", extract.Integer}, {"obs_dt", extract.DateTime},
		{"category", extract.Text}, {"loinc", extract.Text}, {"descr", extract.Text}, {"value", extract.Text}, {"units", extract.Text},
		{"note", extract.Text}}}
	for i := range 120_000 {
		m.rows = append(m.rows, []*string{text(fmt.Sprint(i)), text(fmt.Sprint(100_000 + i/300)), text("2021-08-23 03:26:50"), text("vital-signs"),
			text("72514-3"), text("Pain severity - 0-10 verbal numeric rating [Score] - Reported"), text(fmt.Sprintf("%d.0", i%10)),
			nil, text("it's in order; see the note\nof the day before")})
	}
	return []made{m}
}

// BenchmarkRead reads every row, as text cells, with and without the digest of the shard.
func BenchmarkRead(b *testing.B) {
	for _, w := range writers {
		path := filepath.Join(b.TempDir(), "d.sql")
		text := w.write(results())
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		s, err := Open(Options{Name: "x", Files: []string{path}, Dialect: w.dialect, ShardSize: 1 << 40})
		if err != nil {
			b.Fatal(err)
		}
		tables, err := s.Tables(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		shards, err := s.Shards(b.Context(), tables[0])
		if err != nil {
			b.Fatal(err)
		}
		for name, done := range map[string]*extract.Digest{"rows": nil, "rows and digest": {}} {
			b.Run(w.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					n := 0
					for r, err := range s.Read(b.Context(), shards[0], done) {
						if err != nil {
							b.Fatal(err)
						}
						n += len(r.Cells[5])
					}
					if n == 0 {
						b.Fatal("no rows")
					}
				}
			})
		}
		b.Run(w.name+"/plan", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s, err := Open(Options{Name: "x", Files: []string{path}, Dialect: w.dialect})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Tables(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStateMachine is the yardstick: a loop over the bytes of a file that knows quotes and escapes and counts
// tuples, and makes nothing of them.
func BenchmarkStateMachine(b *testing.B) {
	for _, w := range writers {
		path := filepath.Join(b.TempDir(), "d.sql")
		text := []byte(w.write(results()))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(w.name, func(b *testing.B) {
			buf := make([]byte, window)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				tuples, quoted, escaped := 0, false, false
				for {
					n, err := f.Read(buf)
					for _, c := range buf[:n] {
						switch {
						case escaped:
							escaped = false
						case quoted:
							switch c {
							case '\\':
								escaped = true
							case '\'':
								quoted = false
							}
						case c == '\'':
							quoted = true
						case c == '(' || c == '\n':
							tuples++
						}
					}
					if err != nil {
						break
					}
				}
				if err := f.Close(); err != nil || tuples < 1000 {
					b.Fatal(tuples, err)
				}
			}
		})
	}
}
