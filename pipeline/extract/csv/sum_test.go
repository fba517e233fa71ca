package csv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// Sum tells what Read tells, for every shard, also where the file is packed or in UTF-16.
func TestSumIsThatOfRead(t *testing.T) {
	var text bytes.Buffer
	text.WriteString("\ufeffID,NOTE\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,\"a %d, \"\"b\"\"\nc\"\n", i, i)
	}
	var wide []byte
	for _, u := range utf16.Encode([]rune(text.String())) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	for _, c := range []struct {
		name, encoding string
		data           []byte
	}{{"plain", "utf-8", text.Bytes()}, {"wide", "utf-16", wide}} {
		dir := t.TempDir()
		file := filepath.Join(dir, "t.csv")
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Name: "s", Dir: dir, Files: []string{"*.csv"}, Encoding: c.encoding, ShardSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		shards := extracttest.Shards(t, s)
		for _, shard := range shards {
			var read extract.Digest
			for _, err := range s.Read(t.Context(), shard, &read) {
				if err != nil {
					t.Fatal(err)
				}
			}
			sum, err := s.Sum(t.Context(), shard)
			if err != nil || sum.Sum != read.Sum || sum.Bytes != read.Bytes || !sum.Complete {
				t.Errorf("%s, shard %d: %v, %v", c.name, shard.Index, sum, err)
			}
		}
		changed := bytes.Clone(c.data)
		changed[len(changed)-4]++
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		last := shards[len(shards)-1]
		before := extract.Digest{}
		for _, err := range s.Read(t.Context(), last, &before) {
			if err != nil {
				break
			}
		}
		if sum, err := s.Sum(t.Context(), last); err != nil || before.Complete && sum.Sum != before.Sum {
			t.Errorf("%s, changed: %v, %v", c.name, sum, err)
		}
		if err := os.WriteFile(file, append(changed, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sum(t.Context(), last); err == nil {
			t.Errorf("%s: a file that has grown has a sum", c.name)
		}
	}
}
