package glob

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `new [2] *`)
	for _, name := range []string{"export/b.csv", "export/a.csv", "export/a.txt", "export/c.csv/d.csv", "other.csv"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	absolute := filepath.ToSlash(filepath.Join(dir, "export", "a.csv"))
	for _, c := range []struct {
		name, dir, pattern string
		want               []string
	}{
		{"a glob, in order, without folders", dir, "export/*.csv", []string{"export/a.csv", "export/b.csv"}},
		{"a name", dir, "export/a.txt", []string{"export/a.txt"}},
		{"above the folder", filepath.Join(dir, "export"), "../other.csv", []string{"../other.csv"}},
		{"nothing", dir, "*.xlsx", nil},
		{"only a folder", dir, "exp*", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, err := Find(c.dir, c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			var shown []string
			for _, f := range files {
				shown = append(shown, f.Shown)
				if _, err := os.Stat(f.Path); err != nil {
					t.Error(err)
				}
			}
			if d := cmp.Diff(c.want, shown); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	t.Run("an absolute path", func(t *testing.T) {
		t.Chdir(dir)
		relative, err := Find("", "export/a.csv")
		if err != nil || len(relative) != 1 || relative[0].Shown != "export/a.csv" {
			t.Errorf("from the working folder: %v %v", relative, err)
		}
		// The folder of the file is named with characters of globs here, so it is escaped as a plan would.
		files, err := Find("elsewhere", filepath.ToSlash(escape(filepath.FromSlash(absolute))))
		if err != nil || len(files) != 1 || files[0].Shown != absolute {
			t.Errorf("%v %v", files, err)
		}
	})
	t.Run("no pattern", func(t *testing.T) {
		if files, err := Find(dir, "a[.csv"); err == nil {
			t.Errorf("found %v", files)
		}
	})
}
