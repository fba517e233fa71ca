package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/phi"
)

func TestSegments(t *testing.T) {
	dir, keys := filepath.Join(t.TempDir(), "new"), testKeys(t)
	p := NewDisk(dir)
	want := ""
	check := func(what string, files int) {
		t.Helper()
		got, err := collect(Segments(t.Context(), p, keys, "b"), bytesText)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if n := len(listing(t, dir)); n != files {
			t.Errorf("%s: files %v", what, listing(t, dir))
		}
	}
	appendTo := func(batch string, payload ...string) {
		t.Helper()
		var b [][]byte
		for _, p := range payload {
			b = append(b, []byte(p))
			if batch == "b" {
				want += bytesText([]byte(p)) + "\n"
			}
		}
		if err := AppendSegment(t.Context(), p, keys, batch, b); err != nil {
			t.Fatal(err)
		}
	}
	check("nothing", 0)
	if err := CompactSegments(t.Context(), p, keys, "b"); err != nil {
		t.Fatal(err)
	}
	appendTo("b", "one", "two")
	appendTo("b.out.0001", "a batch with a name like a segment")
	appendTo("b2", "another batch")
	if err := CompactSegments(t.Context(), p, keys, "b"); err != nil {
		t.Fatal(err)
	}
	check("one", 3)
	for i := range 30 {
		appendTo("b", fmt.Sprint("outcome ", i), "")
	}
	appendTo("b") // without a payload
	check("many", 34)
	if err := CompactSegments(t.Context(), p, keys, "b"); err != nil {
		t.Fatal(err)
	}
	check("compacted", 3)
	appendTo("b", "after")
	appendTo("b", "more")
	check("goes on", 5)
	if diff := cmp.Diff([]string{"b.out.0001", "b.out.0001.out.0001", "b.out.0033", "b.out.0034", "b2.out.0001"}, listing(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := CompactSegments(t.Context(), p, keys, "b"); err != nil {
		t.Fatal(err)
	}
	check("compacted again", 3)
	for range Segments(t.Context(), p, keys, "b") {
		break
	}
}

func TestLostSegment(t *testing.T) {
	dir, keys := t.TempDir(), testKeys(t)
	p := NewDisk(dir)
	for i := range 4 {
		if err := AppendSegment(t.Context(), p, keys, "b", [][]byte{{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	third := filepath.Join(dir, "b.out.0003")
	if err := os.Remove(third); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"read": second(collect(Segments(t.Context(), p, keys, "b"), bytesText)), "append": AppendSegment(t.Context(), p, keys, "b", nil), "compact": CompactSegments(t.Context(), p, keys, "b"),
	} {
		if !isDamage(err) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Another segment in its place is found as well.
	b, err := os.ReadFile(filepath.Join(dir, "b.out.0002"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(third, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(Segments(t.Context(), p, keys, "b"), bytesText); !isDamage(err) {
		t.Errorf("exchanged: %v", err)
	}
}

func TestExclusions(t *testing.T) {
	dir, keys := filepath.Join(t.TempDir(), "new"), testKeys(t)
	p := NewDisk(dir)
	if _, err := ReadExclusions(t.Context(), p, keys, "r"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	var many []Exclusion
	for i := range 200_000 {
		many = append(many, Exclusion{fmt.Sprint("batch-", i/70_000), i, uint8(i)})
	}
	for _, list := range [][]Exclusion{many, nil, {{"b", 1, 2}, {"a", 0, 0}, {"b", 1, 2}}} {
		if err := WriteExclusions(t.Context(), p, keys, "r", list); err != nil {
			t.Fatal(err)
		}
		got, err := ReadExclusions(t.Context(), p, keys, "r")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list, got); diff != "" {
			t.Errorf("(-want +got):\n%.2000s", diff)
		}
	}
	if err := WriteExclusions(t.Context(), p, keys, "r", []Exclusion{{"b", -1, 0}}); err == nil {
		t.Error("a position below zero is not refused")
	}
	if got, err := ReadExclusions(t.Context(), p, keys, "r"); err != nil || len(got) != 3 {
		t.Errorf("after a refusal: %v, %v", got, err)
	}
	if err := os.Rename(filepath.Join(dir, "r.excluded"), filepath.Join(dir, "s.excluded")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadExclusions(t.Context(), p, keys, "s"); !isDamage(err) {
		t.Errorf("another list: %v", err)
	}
}

// TestQuarantineUnderThePatientsKey shreds a patient: what was refused of that patient is gone with the key, in a file of
// which the rest stays readable, and a row that is moved to another patient or place opens under no key.
func TestQuarantineUnderThePatientsKey(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	k := openTestKeys(t, keys)
	dir, ctx := t.TempDir(), t.Context()
	q := NewQuarantine(NewDisk(dir), k, "q")
	for i, patient := range []string{"p1", "p2", "", "p1"} {
		if err := q.Add(ctx, extract.Place{Table: "t", Line: int64(i)}, patient, "rule", fmt.Append(nil, "row ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	list := func(k Keys) string {
		t.Helper()
		text, err := collect(ReadQuarantine(ctx, NewDisk(dir), k, "q"), func(r QuarantinedRow) string {
			return fmt.Sprintf("%q %s %t", r.Patient, r.Row.Reveal(), r.Shredded)
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	want := "\"p1\" row 0 false\n\"p2\" row 1 false\n\"\" row 2 false\n\"p1\" row 3 false\n"
	if got := list(k); got != want {
		t.Errorf("%s", got)
	}
	again := openTestKeys(t, keys)
	if got := list(again); got != want {
		t.Errorf("the keys were not durable with the file: %s", got)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := k.Shred(ctx, "p1"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if got := list(k); got != "\"p1\"  true\n\"p2\" row 1 false\n\"\" row 2 false\n\"p1\"  true\n" {
		t.Errorf("%s", got)
	}
	q = NewQuarantine(NewDisk(dir), k, "late")
	if err := q.Add(ctx, extract.Place{}, "p1", "rule", []byte("x")); !errors.Is(err, phi.ErrShredded) {
		t.Errorf("a row of a patient who was shredded was kept: %v", err)
	}
}

func TestQuarantine(t *testing.T) {
	k := testKeys(t)
	dir := filepath.Join(t.TempDir(), "new")
	q := NewQuarantine(NewDisk(dir), k, "none")
	if err := q.Close(t.Context()); err != nil || len(listing(t, dir)) != 0 {
		t.Errorf("an empty one: %v, %v", err, listing(t, dir))
	}
	if _, err := collect(ReadQuarantine(t.Context(), NewDisk(dir), k, "none"), rowText); !errors.Is(err, fs.ErrNotExist) || isDamage(err) {
		t.Errorf("%v", err)
	}
	q = NewQuarantine(NewDisk(dir), k, "q")
	want := ""
	row := make([]byte, 0, 1000)
	for i := range 5000 { // several chunks
		row = fmt.Appendf(row[:0], "%s;%d;%0300d", canary, i, i)
		place := extract.Place{Table: fmt.Sprint("t", i%3), File: "f.csv", Line: int64(i) - 5}
		if err := q.Add(t.Context(), place, []string{"", "p1", "p2"}[i%3], "ragged-row", row); err != nil {
			t.Fatal(err)
		}
		want += fmt.Sprintf("%s ragged-row %s\n", place, row)
	}
	if err := errors.Join(q.Close(t.Context()), q.Close(t.Context()), q.Abort()); err != nil {
		t.Fatal(err)
	}
	noCanary(t, dir)
	got, err := collect(ReadQuarantine(t.Context(), NewDisk(dir), k, "q"), rowText)
	if err != nil || got != want {
		t.Errorf("other rows: %v", err)
	}
	for r := range ReadQuarantine(t.Context(), NewDisk(dir), k, "q") {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if text := fmt.Sprintf(verb+verb, r, &r); containsCanary(text) {
				t.Errorf("%s shows the row", verb)
			}
		}
		break
	}
	if err := q.Add(t.Context(), extract.Place{}, "", "rule", nil); err == nil {
		t.Error("a closed one takes more")
	}
	q = NewQuarantine(NewDisk(dir), k, "aborted")
	if err := q.Add(t.Context(), extract.Place{}, "", "rule", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := q.Abort(); err != nil || len(listing(t, dir)) != 1 {
		t.Errorf("%v, %v", err, listing(t, dir))
	}
	if err := q.Close(t.Context()); err == nil {
		t.Error("an aborted one closes")
	}
}
