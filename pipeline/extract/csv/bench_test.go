package csv

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// observations writes made-up rows of the form of an observations table.
func observations(b *testing.B, n int, quoted bool) string {
	var text strings.Builder
	text.WriteString("DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE\n")
	quote := func(s string) string {
		if quoted {
			return `"` + s + `"`
		}
		return s
	}
	for i := range n {
		v := strconv.Itoa(i)
		for j, c := range []string{"2021-08-23T03:26:50Z", "593aaa05-d864-1df7-5b96-155fbdb19f28",
			"33dc326d-4b64-921b-4afe-6456415a2e78", "vital-signs", "8302-2", "Body Height", v, "cm", "numeric"} {
			if j > 0 {
				text.WriteByte(',')
			}
			text.WriteString(quote(c))
		}
		text.WriteByte('\n')
	}
	path := filepath.Join(b.TempDir(), "observations.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkRead(b *testing.B) {
	for _, form := range []string{"plain", "quoted"} {
		path := observations(b, 100_000, form == "quoted")
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		s, err := Open(Options{Name: "ehr", Files: []string{path}, ShardSize: 1 << 40})
		if err != nil {
			b.Fatal(err)
		}
		tables, err := s.Tables(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		ours := func(done *extract.Digest) func(b *testing.B) {
			return func(b *testing.B) {
				b.SetBytes(info.Size())
				for b.Loop() {
					shards, err := s.Shards(b.Context(), tables[0])
					if err != nil {
						b.Fatal(err)
					}
					n := 0
					for r, err := range s.Read(b.Context(), shards[0], done) {
						if err != nil {
							b.Fatal(err)
						}
						n += len(r.Cells[6])
					}
				}
			}
		}
		b.Run(form+"/ours without digest", ours(nil))
		b.Run(form+"/ours", ours(new(extract.Digest)))
		for _, hashed := range []bool{false, true} {
			name := form + "/encoding csv"
			if hashed {
				name += " with digest"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(info.Size())
				for b.Loop() {
					f, err := os.Open(path)
					if err != nil {
						b.Fatal(err)
					}
					var in io.Reader = f
					if hashed {
						in = io.TeeReader(f, sha256.New())
					}
					r := csv.NewReader(bufio.NewReaderSize(in, 128<<10))
					r.ReuseRecord = true
					n := 0
					for {
						cells, err := r.Read()
						if err == io.EOF {
							break
						}
						if err != nil {
							b.Fatal(err)
						}
						n += len(cells[6])
					}
					_ = f.Close()
				}
			})
		}
	}
}

func BenchmarkShards(b *testing.B) {
	for _, form := range []string{"plain", "quoted"} {
		b.Run(form, func(b *testing.B) {
			path := observations(b, 100_000, form == "quoted")
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			s, err := Open(Options{Name: "ehr", Files: []string{path}, ShardSize: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			tables, err := s.Tables(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(info.Size())
			for b.Loop() {
				if _, err := s.Shards(b.Context(), tables[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
