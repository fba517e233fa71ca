package sqldump

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// A packed file that unpacks to far more than dumps do is refused where the bound is reached, not read to its end.
func TestBomb(t *testing.T) {
	dir := t.TempDir()
	text := "CREATE TABLE t (a int, b text);\nINSERT INTO t VALUES (1,'x');\n-- " + strings.Repeat("0", 4<<20) + "\n"
	for _, name := range []string{"d.sql", "d.sql.gz", "d.sql.zst"} {
		t.Run(name, func(t *testing.T) {
			pack(t, filepath.Join(dir, name), text)
			o := Options{Name: "x", Dir: dir, Files: []string{name}, Dialect: "mysql", MaxUnpacked: 1 << 20, MaxRatio: 20}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = s.Tables(t.Context()); name == "d.sql" {
				if err != nil {
					t.Errorf("not packed: %v", err)
				}
				return
			}
			if !errors.Is(err, packed.ErrBomb) || !strings.Contains(err.Error(), name) {
				t.Errorf("a small bound: %v", err)
			}
			o.MaxUnpacked = 5 << 20
			if s, err = Open(o); err != nil {
				t.Fatal(err)
			}
			if _, err = s.Tables(t.Context()); err != nil {
				t.Errorf("within the bound: %v", err)
			}
		})
	}
}
