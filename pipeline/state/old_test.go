package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// oldState are the files of a state in a folder of testdata, which the version before this one wrote.
func oldState(t *testing.T, name string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join("testdata", name, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// homeOf is a home of files.
func homeOf(t *testing.T, files map[string][]byte) Home {
	t.Helper()
	place := newMemory()
	place.put(t, files)
	return homeIn(t, place)
}

// A state in the form of the version before is refused with a name, and read by Upgrade.
func TestUpgrade(t *testing.T) {
	h := homeOf(t, oldState(t, "old"))
	if _, err := h.Open(t.Context(), Known{}); !errors.Is(err, ErrOldForm) {
		t.Fatal(err)
	}
	var want []Placement
	for n := range 700 {
		run := fmt.Sprintf("run-%d", 1+n%2)
		p := Placement{
			Type: types[n%3], ID: stage.ID{byte(n >> 8), byte(n), 7}, Patient: stage.ID{byte(n % 7)}, Digest: [16]byte{byte(n), 1},
			Version: fmt.Sprint(n % 4), Made: Earlier, Written: Earlier, Seen: run, Batch: fmt.Sprintf("%s.condition.b%d", run, n%5),
			Position: NoPosition, Table: "t", Line: int64(n), Status: Status(1 + n%11/9),
		}
		if p.Status == Rejected {
			p.Made = ""
		}
		want = append(want, p)
	}
	sortPlacements(want)
	for range 2 { // the second time there is nothing to do
		if err := h.Upgrade(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		s := open(t, h, Known{})
		if s.Generation() != 4 {
			t.Errorf("generation %d", s.Generation())
		}
		if diff := cmp.Diff(want, collect(t, s.All(""))); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if n := len(collect(t, s.ByPatient(stage.ID{3}))); n != 100 {
			t.Errorf("%d placements of a patient", n)
		}
	}
	names, _ := h.Place.List(t.Context(), "")
	if diff := cmp.Diff([]string{"state", "state.00000004", "state.00000004.patients"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	h = homeOf(t, oldState(t, "old-empty"))
	if err := h.Upgrade(t.Context(), nil); err != nil || open(t, h, Known{}).Len() != 0 {
		t.Errorf("an empty one: %v", err)
	}
	h = homeIn(t, newMemory())
	if err := h.Upgrade(t.Context(), nil); err != nil || open(t, h, Known{}).Generation() != 0 {
		t.Errorf("none: %v", err)
	}
}

// What is wrong with an old state is named, and it stays as it was.
func TestUpgradeNamesDamage(t *testing.T) {
	for _, name := range []string{"state", "state.00000003"} {
		for _, at := range []int{1, 60, 200} {
			files := oldState(t, "old")
			files[name][at] ^= 4
			h := homeOf(t, files)
			if err := h.Upgrade(t.Context(), nil); !isDamage(err) {
				t.Errorf("%s, byte %d: %v", name, at, err)
			}
			if names, _ := h.Place.List(t.Context(), ""); len(names) != 2 {
				t.Errorf("files: %v", names)
			}
		}
	}
	files := oldState(t, "old")
	delete(files, "state.00000003")
	if err := homeOf(t, files).Upgrade(t.Context(), nil); !isDamage(err) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
