package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/internal/durable/faulty"
)

func pairText(p Pair) string { return fmt.Sprintf("%q=%q", p.Key, p.Value) }

// Sorting is the same with any budget and any number of passes, and the same as sorting in memory.
func TestSorterSorts(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		bytesOf := rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 12)
		records := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Pair {
			return Pair{bytesOf.Draw(t, "key"), bytesOf.Draw(t, "value")}
		}), 0, 300).Draw(t, "records")
		budget := rapid.SampledFrom([]int64{1, 200, 2000, 1 << 20}).Draw(t, "budget")
		fanIn := rapid.IntRange(2, 9).Draw(t, "fan in")
		s := newSorter(NewScratch(dir), budget, fanIn)
		key, value := make([]byte, 0, 16), make([]byte, 0, 16)
		for _, r := range records {
			key, value = append(key[:0], r.Key...), append(value[:0], r.Value...)
			if err := s.Add(key, value); err != nil {
				t.Fatal(err)
			}
			clear(key) // copied, so this must not matter
			clear(value)
		}
		want := slices.Clone(records)
		slices.SortFunc(want, comparePairs)
		for range s.Sorted() {
			break
		}
		for range 2 {
			i := 0
			for p, err := range s.Sorted() {
				if err != nil {
					t.Fatal(err)
				}
				if i >= len(want) || pairText(p) != pairText(want[i]) {
					t.Fatalf("record %d is %s", i, pairText(p))
				}
				i++
			}
			if i != len(want) {
				t.Fatalf("%d of %d records", i, len(want))
			}
		}
		if err := s.Add(nil, nil); err == nil {
			t.Fatal("a record after the end")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
		if _, err := collect(s.Sorted(), pairText); err == nil {
			t.Fatal("a closed sorter sorts")
		}
	})
}

func TestSorterSpillsLargeRecords(t *testing.T) {
	s := NewSorter(NewScratch(filepath.Join(t.TempDir(), "new")), 0)
	var want []string
	for i := range 40 {
		v := bytes.Repeat([]byte{byte('a' + i%3)}, i*10_000)
		if i%7 == 0 {
			v = bytes.Repeat(v, 9) // larger than a slab
		}
		if err := s.Add(fmt.Append(nil, i%4), v); err != nil {
			t.Fatal(err)
		}
		want = append(want, pairText(Pair{fmt.Append(nil, i%4), v}))
	}
	if len(s.runs) < 3 {
		t.Fatalf("%d runs", len(s.runs))
	}
	slices.Sort(want)
	got, err := collect(s.Sorted(), pairText)
	if err != nil || got != strings.Join(want, "\n")+"\n" {
		t.Errorf("other records: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What is spilled cannot be read without the sorter, is named when it is damaged, and goes with Clean.
func TestSpillIsSealed(t *testing.T) {
	dir := t.TempDir()
	s := newSorter(NewScratch(dir), 300, 4)
	defer s.Close()
	for i := range 12 {
		if err := s.Add([]byte(canary), fmt.Append(nil, canary, i)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := collect(s.Sorted(), pairText)
	if err != nil || len(s.runs) == 0 {
		t.Fatal(err, len(s.runs))
	}
	noCanary(t, dir)
	path := s.runs[0].path
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		bad := slices.Clone(good)
		bad[n] ^= 1
		for what, content := range map[string][]byte{"cut": good[:n], "flipped": bad} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := collect(s.Sorted(), pairText); !isDamage(err) && got != want {
				t.Errorf("%s at %d: %v", what, n, err)
			}
		}
	}
	if err := os.WriteFile(path, append(slices.Clone(good), 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(s.Sorted(), pairText); !isDamage(err) {
		t.Errorf("longer: %v", err)
	}
	// Another process would find these files, were this one killed now.
	if err := os.WriteFile(filepath.Join(dir, "b.batch.0123456789ab.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewScratch(dir).Clean(); err != nil {
		t.Fatal(err)
	}
	if left := listing(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if _, err := collect(s.Sorted(), pairText); !isDamage(err) {
		t.Errorf("missing: %v", err)
	}
	if err := NewDisk(dir).Clean(t.Context()); err != nil || len(listing(t, dir)) != 0 {
		t.Errorf("left: %v, %v", listing(t, dir), err)
	}
	if err := errors.Join(NewDisk(filepath.Join(dir, "none")).Clean(t.Context()), NewScratch(filepath.Join(dir, "none")).Clean()); err != nil {
		t.Error(err)
	}
}

// Frames of a run that are cut off, swapped, or said to be the last are each genuine, and still named.
func TestFramesKeepTheirPlace(t *testing.T) {
	dir := t.TempDir()
	s := newSorter(NewScratch(dir), 250_000, 4)
	defer s.Close()
	for i := range 6 {
		if err := s.Add(fmt.Append(nil, i), bytes.Repeat([]byte{byte(i)}, 50_000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := collect(s.Sorted(), pairText); err != nil {
		t.Fatal(err)
	}
	r, err := s.spill.open(s.runs[0])
	if err != nil {
		t.Fatal(err)
	}
	cuts := []int64{0}
	for !r.last {
		if err := r.readFrame(); err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, r.off)
	}
	r.close()
	good, err := os.ReadFile(s.runs[0].path)
	if err != nil || len(cuts) < 4 {
		t.Fatal(err, cuts)
	}
	ended := slices.Clone(good[:cuts[1]])
	ended[8] = 1
	swapped := slices.Concat(good[cuts[1]:cuts[2]], good[:cuts[1]], good[cuts[2]:])
	for what, content := range map[string][]byte{"cut": good[:cuts[2]], "ended early": ended, "swapped": swapped} {
		if err := os.WriteFile(s.runs[0].path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := collect(s.Sorted(), pairText); !isDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSorterOnFullDisk(t *testing.T) {
	for at, more := 1, true; more; at++ {
		dir := t.TempDir()
		d := &faulty.Disk{At: at}
		s := newSorter(&Scratch{d, dir}, 200, 3)
		for i := range 40 {
			if err := s.Add(fmt.Append(nil, i), nil); err != nil {
				break
			}
		}
		_, err := collect(s.Sorted(), pairText)
		if more = d.Steps >= at; more != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d (%s): %v", at, d.Fails, err)
		}
		_ = s.Close()
		if left := listing(t, dir); len(left) != 0 {
			t.Errorf("step %d (%s): left: %v", at, d.Fails, left)
		}
	}
}

func TestIndexOnFullDisk(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	var infos []Info
	for i := range 9 {
		infos = append(infos, mustBatch(t, dir, fmt.Sprint("b", i), s, "", i, i+1, i+2))
	}
	before := len(listing(t, dir))
	for at, more := 1, true; more; at++ {
		d := &faulty.Disk{At: at}
		_, err := collect(mergeIndexes(t.Context(), NewDiskOn(d, dir), &Scratch{d, dir}, s, infos, 2), entryText)
		if more = d.Steps >= at; more != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d (%s): %v", at, d.Fails, err)
		}
		if left := listing(t, dir); len(left) != before {
			t.Errorf("step %d (%s): left: %v", at, d.Fails, left)
		}
	}
}
