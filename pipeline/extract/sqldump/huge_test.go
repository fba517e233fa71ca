package sqldump

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// A value of a gigabyte is passed, not held: its row is refused and the next one read.
func TestHugeValue(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 1 << 27
	}
	path := filepath.Join(t.TempDir(), "d.sql")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("CREATE TABLE t (a int, b longblob);\nINSERT INTO t VALUES (1,'"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("'),(2,'x');\n"), size); err != nil { // a hole before it
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, err := Open(Options{Name: "x", Files: []string{path}, Dialect: "mysql"})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := extracttest.Rows(t.Context(), s, tables[0])
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	want := []extracttest.Row{{Table: "t", Line: 2, Ordinal: 1, Rule: extract.RuleRecordTooLong}, {Table: "t", Cells: []string{"2", "eA=="}, Line: 2, Ordinal: 2}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 300<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}
