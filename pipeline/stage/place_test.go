package stage_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/phi"
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

// Every file of the stage comes back from a place that is not a disk, and is the same there.
func TestFilesLieInAnyKindOfPlace(t *testing.T) {
	kek := "file:" + filepath.Join(t.TempDir(), "kek")
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	keys, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: kek, Migration: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		t.Fatal(err)
	}
	sealer := phi.NewSealer("test", keys, policy)
	var sealed []phi.Sealed
	for i := range 3 {
		r := &phi.Resource{Type: "Observation", ID: fmt.Sprint("o", i), Patient: "p", Mark: -1,
			Whole: fmt.Appendf(nil, `{"id":"o%d","resourceType":"Observation","status":"final"}`, i)}
		if err := sealer.Cut(r); err != nil {
			t.Fatal(err)
		}
		one, err := sealer.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, one)
	}
	var texts []string
	for _, p := range []stage.Place{stage.NewDisk(t.TempDir()), placetest.NewMemory()} {
		texts = append(texts, everything(t, p.Sub("run-1"), keys, sealed))
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "o2") {
		t.Errorf("on a disk:\n%s\nin memory:\n%s", texts[0], texts[1])
	}
}

// everything writes each kind of file to a place, and returns what is read from it.
func everything(t *testing.T, p stage.Place, keys *phi.Keyring, sealed []phi.Sealed) string {
	t.Helper()
	ctx := t.Context()
	w := stage.NewWriter(p, keys, stage.Info{ID: "b"})
	var errs []error
	for i, s := range sealed {
		errs = append(errs, w.Add(ctx, s, stage.Key{ID: stage.ID{byte(9 - i)}, Ordinal: int64(i)}))
	}
	info, err := w.Close(ctx)
	errs = append(errs, err)
	for i := range 3 {
		errs = append(errs, stage.AppendSegment(ctx, p, keys, "b", [][]byte{fmt.Append(nil, "outcome ", i)}))
	}
	errs = append(errs, stage.CompactSegments(ctx, p, keys, "b"), stage.AppendSegment(ctx, p, keys, "b", [][]byte{[]byte("more")}),
		stage.WriteExclusions(ctx, p, keys, "run-1", []stage.Exclusion{{Batch: "b", Position: 1, Reason: 2}}))
	q := stage.NewQuarantine(p, keys, "q")
	errs = append(errs, q.Add(ctx, extract.Place{Table: "t", Line: 7}, "p1", "rule", []byte("row")), q.Close(ctx))
	var b strings.Builder
	for s, err := range stage.Read(ctx, p, keys, info) {
		errs = append(errs, err)
		fmt.Fprintln(&b, s.ID(), string(s.Clinical()))
	}
	for s, err := range stage.Pick(ctx, p, keys, info, []int{2}) {
		errs = append(errs, err)
		fmt.Fprintln(&b, "picked", s.ID())
	}
	for e, err := range stage.Index(ctx, p, stage.NewScratch(t.TempDir()), keys, []stage.Info{info}) {
		errs = append(errs, err)
		fmt.Fprintln(&b, e.ID[0], e.Position)
	}
	for e, err := range stage.IndexOf(ctx, p, keys, info) {
		errs = append(errs, err)
		fmt.Fprintln(&b, e.Position, e.ID[0])
	}
	for payload, err := range stage.Segments(ctx, p, keys, "b") {
		errs = append(errs, err)
		fmt.Fprintln(&b, string(payload))
	}
	list, err := stage.ReadExclusions(ctx, p, keys, "run-1")
	errs = append(errs, err)
	for row, err := range stage.ReadQuarantine(ctx, p, keys, "q") {
		errs = append(errs, err)
		fmt.Fprintln(&b, row.Place, row.Rule, string(row.Row.Reveal()))
	}
	names, err := p.List(ctx, "")
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, list, names)
	return b.String()
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
