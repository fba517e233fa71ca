package stage_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/stage/placetest"
)

func TestDiskIsAPlace(t *testing.T) {
	placetest.Run(t, func(t *testing.T) (stage.Place, func() []string) {
		dir := filepath.Join(t.TempDir(), "not", "there", "yet")
		return stage.NewDisk(dir), func() []string {
			entries, _ := os.ReadDir(dir)
			var names []string
			for _, e := range entries {
				if !e.IsDir() {
					names = append(names, e.Name())
				}
			}
			return names
		}
	})
}

func TestWriteFileKeepsWhatWas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	p := stage.NewDisk(dir)
	write := func(text string, fail error) error {
		return stage.WriteFile(t.Context(), p, "report", func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, fail)
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("half", io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	path := filepath.Join(dir, "report")
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, path := range []string{path, dir} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %v", path, info.Mode())
		}
	}
}
