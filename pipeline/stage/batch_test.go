package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/phi"
)

func TestBatchComesBack(t *testing.T) {
	k := testKeys(t)
	s := newSealing(t, k)
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	w := NewWriter(NewDisk(dir), k, Info{ID: "run-1.observations_0001", Run: "r", Wave: "w", Mapping: "m", Type: "Observation", Table: "observations", Level: 3, Count: 99})
	var want []string
	for n := range 3000 { // several chunks
		note := ""
		if n == 1500 {
			note = strings.Repeat("a resource larger than a chunk ", 3*chunkBytes/31)
		}
		sealed := s.seal(t, n, note)
		key := keyOf(n)
		if err := w.Add(t.Context(), sealed, key); err != nil {
			t.Fatal(err)
		}
		for i := range key.Refs {
			key.Refs[i] = Ref{} // copied, so this must not matter
		}
		want = append(want, sealedText(sealed))
	}
	if w.Count() != 3000 || w.Size() < 3*chunkBytes/10 {
		t.Errorf("count %d, size %d", w.Count(), w.Size())
	}
	if len(listing(t, dir)) != 1 {
		t.Errorf("before Close: %v", listing(t, dir))
	}
	info, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.Close(t.Context()); err != nil || again != info {
		t.Errorf("second Close: %v, %v", again, err)
	}
	stat, err := os.Stat(filepath.Join(dir, info.ID+".batch"))
	if err != nil {
		t.Fatal(err)
	}
	wantInfo := Info{ID: "run-1.observations_0001", Run: "r", Wave: "w", Mapping: "m", Type: "Observation", Table: "observations", Level: 3,
		Count: 3000, Bytes: stat.Size(), SHA256: info.SHA256}
	if diff := cmp.Diff(wantInfo, info); diff != "" || len(info.SHA256) != 64 {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{info.ID + ".batch", info.ID + ".index"}, listing(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	noCanary(t, dir)

	n := 0
	for sealed, err := range Read(t.Context(), NewDisk(dir), k, info) {
		if err != nil {
			t.Fatal(err)
		}
		if sealedText(sealed) != want[n] {
			t.Fatalf("resource %d is another", n)
		}
		if n%500 == 1 {
			if got, err := k.Whole(sealed, nil); err != nil || string(got) != whole(n, "") {
				t.Fatalf("resource %d does not open: %v", n, err)
			}
		}
		n++
	}
	if n != 3000 {
		t.Errorf("%d resources", n)
	}
	for range Read(t.Context(), NewDisk(dir), k, info) {
		break // stopping early is no error
	}

	positions := []int{0, 1, 2, 700, 1499, 1500, 1501, 2999}
	var picked []string
	for sealed, err := range Pick(t.Context(), NewDisk(dir), k, info, positions) {
		if err != nil {
			t.Fatal(err)
		}
		picked = append(picked, sealedText(sealed))
	}
	var wantPicked []string
	for _, p := range positions {
		wantPicked = append(wantPicked, want[p])
	}
	if !slices.Equal(picked, wantPicked) {
		t.Errorf("picked %d others", len(picked))
	}
	for _, wrong := range [][]int{{-1}, {3000}, {4, 4}, {5, 4}} {
		if _, err := collect(Pick(t.Context(), NewDisk(dir), k, info, wrong), sealedText); err == nil {
			t.Errorf("positions %v are not refused", wrong)
		}
	}

	// In order of Add, with everything that was given.
	n = 0
	for e, err := range IndexOf(t.Context(), NewDisk(dir), s, info) {
		if err != nil {
			t.Fatal(err)
		}
		key := keyOf(n)
		wantEntry := &Entry{ID: key.ID, Patient: key.Patient, Digest: e.Digest, Position: n, Line: int64(n + 2), Ordinal: key.Ordinal, Refs: key.Refs}
		if entryText(e) != entryText(wantEntry) || e.Digest == ([16]byte{}) {
			t.Fatalf("entry %d: %s, not %s", n, entryText(e), entryText(wantEntry))
		}
		n++
	}
	if n != 3000 {
		t.Errorf("%d entries", n)
	}
}

func TestBatchWithoutResource(t *testing.T) {
	k := testKeys(t)
	dir := filepath.Join(t.TempDir(), "stage")
	w := NewWriter(NewDisk(dir), k, Info{ID: "b", Type: "Patient"})
	info, err := w.Close(t.Context())
	if err != nil || info != (Info{ID: "b", Type: "Patient"}) {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written")
	}
	for range Read(t.Context(), NewDisk(dir), k, info) {
		t.Error("something was read")
	}
	for range Index(t.Context(), NewDisk(dir), NewScratch(dir), k, []Info{info}) {
		t.Error("something was indexed")
	}
	for range IndexOf(t.Context(), NewDisk(dir), k, info) {
		t.Error("something was indexed")
	}
}

func TestWriterRefuses(t *testing.T) {
	k := testKeys(t)
	s := newSealing(t, k)
	dir := t.TempDir()
	w := NewWriter(NewDisk(dir), k, Info{ID: "b"})
	if err := w.Add(t.Context(), phi.Sealed{}, keyOf(1)); !errors.Is(err, errZero) {
		t.Errorf("the zero Sealed: %v", err)
	}
	if err := w.Add(t.Context(), s.seal(t, 1, ""), keyOf(1)); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := w.Close(t.Context()); err == nil {
		t.Error("an aborted batch closes")
	}
	if err := w.Add(t.Context(), s.seal(t, 1, ""), keyOf(1)); err == nil {
		t.Error("an aborted batch takes more")
	}
	if left := listing(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	for _, id := range []string{"", "../b", "a/b", ".b", "b.tmp", "a b", "é", strings.Repeat("b", 151), "a\x00"} {
		w := NewWriter(NewDisk(dir), k, Info{ID: id})
		if err := w.Add(t.Context(), s.seal(t, 1, ""), keyOf(1)); err == nil {
			t.Errorf("batch %q is not refused", id)
		}
		info := Info{ID: id, Count: 1, Bytes: 1, SHA256: strings.Repeat("0", 64)}
		for _, err := range []error{
			second(collect(Read(t.Context(), NewDisk(dir), k, info), sealedText)), second(collect(IndexOf(t.Context(), NewDisk(dir), s, info), entryText)),
			second(collect(Segments(t.Context(), NewDisk(dir), k, id), bytesText)), AppendSegment(t.Context(), NewDisk(dir), k, id, nil), WriteExclusions(t.Context(), NewDisk(dir), k, id, nil),
			NewQuarantine(NewDisk(dir), k, id).Add(t.Context(), extract.Place{}, "", "rule", nil),
		} {
			if err == nil || isDamage(err) {
				t.Errorf("name %q: %v", id, err)
			}
		}
	}
	info := mustBatch(t, dir, "b", s, "", 1, 2)
	info.SHA256 = ""
	if _, err := collect(Read(t.Context(), NewDisk(dir), k, info), sealedText); err == nil {
		t.Error("a batch is read without its sum")
	}
}

func second[T any](_ T, err error) error { return err }

// A batch that is lost, exchanged or read with other keys is named, also where each file by itself is whole.
func TestBatchOfAnotherPlace(t *testing.T) {
	k := testKeys(t)
	s := newSealing(t, k)
	dir, other := t.TempDir(), t.TempDir()
	a := mustBatch(t, dir, "a", s, "", 1, 2, 3)
	b := mustBatch(t, dir, "b", s, "", 4, 5, 6)
	earlier := mustBatch(t, other, "a", s, "", 1, 2, 3) // the same batch, written by another try
	if a.SHA256 == earlier.SHA256 {
		t.Fatal("two tries have the same bytes")
	}
	read := func(dir string, info Info) error {
		_, err := collect(Read(t.Context(), NewDisk(dir), k, info), sealedText)
		_, err2 := collect(Index(t.Context(), NewDisk(dir), NewScratch(dir), s, []Info{info}), entryText)
		if err2 == nil || err == nil {
			return errors.Join(fmt.Errorf("read %v, index %v", err, err2))
		}
		if !isDamage(err2) {
			return err2
		}
		return err
	}
	if err := read(other, a); !isDamage(err) {
		t.Errorf("another try: %v", err)
	}
	for _, suffix := range []string{".batch", ".index"} {
		if err := os.Rename(filepath.Join(dir, "b"+suffix), filepath.Join(dir, "a"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	b.ID = "a"
	if err := read(dir, b); !isDamage(err) {
		t.Errorf("another batch under this name: %v", err)
	}
	if err := read(t.TempDir(), a); !isDamage(err) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lost batch: %v", err)
	}
	if _, err := collect(Read(t.Context(), NewDisk(other), testKeys(t), earlier), sealedText); !isDamage(err) {
		t.Errorf("other keys: %v", err)
	}
}

func TestIndexMerges(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	var infos []Info
	var want []string
	type wanted struct {
		e    Entry
		text string
	}
	var all []wanted
	sealed := s.seal(t, 1, "")
	for b := range 23 {
		w := NewWriter(NewDisk(dir), s, Info{ID: fmt.Sprintf("b%d", b)})
		for p := range b * 5 % 17 {
			key := keyOf((b*31 + p*7) % 90) // many ids come twice, some with the same ordinal
			if p%3 == 0 {
				key.Ordinal = int64(1000 - b)
			}
			if err := w.Add(t.Context(), sealed, key); err != nil {
				t.Fatal(err)
			}
			e := Entry{ID: key.ID, Patient: key.Patient, Digest: sealed.Digest(), Batch: b, Position: p, Line: 3, Ordinal: key.Ordinal, Refs: key.Refs}
			all = append(all, wanted{e, entryText(&e)})
		}
		info, err := w.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	slices.SortFunc(all, func(a, b wanted) int { return compareEntries(&a.e, &b.e) })
	for _, a := range all {
		want = append(want, a.text)
	}
	before := listing(t, dir)
	for _, fanIn := range []int{2, 3, 22, 23, fanIn} {
		got, err := collect(mergeIndexes(t.Context(), NewDisk(dir), NewScratch(dir), s, infos, fanIn), entryText)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Join(want, "\n")+"\n", got); diff != "" {
			t.Errorf("%d at once (-want +got):\n%s", fanIn, diff)
		}
		for range mergeIndexes(t.Context(), NewDisk(dir), NewScratch(dir), s, infos, fanIn) {
			break
		}
		if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
			t.Errorf("%d at once: files left (-want +got):\n%s", fanIn, diff)
		}
	}
	short := slices.Clone(infos)
	short[7].Count++
	if _, err := collect(Index(t.Context(), NewDisk(dir), NewScratch(dir), s, short), entryText); !isDamage(err) {
		t.Errorf("a wrong count: %v", err)
	}
}
