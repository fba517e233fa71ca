package csv

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// folder writes files and returns options over all of them.
func folder(t testing.TB, files map[string]string) Options {
	t.Helper()
	o := Options{Name: "ehr", Dir: t.TempDir(), Files: []string{"*"}}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

// threeParts is a table in three files, of which one is packed, one has a malformed record and one ends without a line
// end, beside a table of its own.
func threeParts(t testing.TB) Options {
	o := folder(t, map[string]string{
		"patients-1.csv":    "id,name\n1,a\n2,\"b\nc\"\n3,x,y",
		"patients-2.csv.gz": gzipped("id,name\r\n4,d\r\n\r\n5,e\r\n"),
		"patients-3.csv":    "id,name\n6,f\n7,g\n8,h\n9,i\n",
		"visits.csv":        "id,day\n1,2020-01-01\n",
	})
	o.Tables = map[string]Layout{"patients": {Files: []string{"patients-*"}}}
	return o
}

func TestSeveralFilesAsOneTable(t *testing.T) {
	for _, size := range []int64{0, 9} {
		o := threeParts(t)
		o.ShardSize = size
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []*extract.Table{{Source: "ehr", Name: "patients", Columns: []string{"id", "name"}},
			{Source: "ehr", Name: "visits", File: "visits.csv", Columns: []string{"id", "day"}}}
		if d := cmp.Diff(want, tables); d != "" {
			t.Fatalf("tables (-want +got):\n%s", d)
		}
		shards, err := s.Shards(t.Context(), tables[0])
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, shard := range shards {
			for r, err := range s.Read(t.Context(), shard, nil) {
				at, id, ordinal := extract.Place{}, "refused", int64(0)
				if fault, ok := err.(*extract.Fault); ok {
					at, ordinal = fault.Place, fault.Ordinal
				} else if err != nil {
					t.Fatal(err)
				} else {
					at, id, ordinal = r.Place(), r.Cells[0], r.Ordinal
				}
				line := at.Line
				if at.FileLine > 0 {
					line = at.FileLine
				}
				got = append(got, fmt.Sprintf("%s %d: %s, %s:%d", at, ordinal, id, at.File, line))
			}
		}
		if d := cmp.Diff([]string{
			"patients:2 1: 1, patients-1.csv:2", "patients:3 2: 2, patients-1.csv:3", "patients:5 3: refused, patients-1.csv:5",
			"patients:7 4: 4, patients-2.csv.gz:2", "patients:9 5: 5, patients-2.csv.gz:4",
			"patients:11 6: 6, patients-3.csv:2", "patients:12 7: 7, patients-3.csv:3", "patients:13 8: 8, patients-3.csv:4", "patients:14 9: 9, patients-3.csv:5",
		}, got); d != "" {
			t.Errorf("records (-want +got):\n%s", d)
		}
	}
}

func TestContractOfSeveralFiles(t *testing.T) {
	o := threeParts(t)
	o.ShardSize = 9
	extracttest.Run(t, func(t testing.TB) extract.Source {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestPartsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name   string
		tables map[string]Layout
		want   string
	}{
		{"another header", map[string]Layout{"t": {Files: []string{"?.csv"}}}, "b.csv: it is a part of table t, but its header is another than that of a.csv"},
		{"no such file", map[string]Layout{"t": {Files: []string{"x-*.csv"}}}, "table t: no file of the source is x-*.csv"},
		{"a part of two tables", map[string]Layout{"t": {Files: []string{"a.csv"}}, "u": {Files: []string{"?.csv"}}}, "a.csv is a part of two tables by the plan: t and u"},
		{"the name of another file", map[string]Layout{"b": {Files: []string{"a.csv"}}}, "table b is in two files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := folder(t, map[string]string{"a.csv": "id,name\n1,a\n", "b.csv": "name,id\na,1\n"})
			o.Tables = c.tables
			s, err := Open(o)
			if err == nil {
				_, err = s.Tables(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}
