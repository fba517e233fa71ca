package stage

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A state behaves like a map, over any number of merges, and its digest depends on its content alone.
func TestStateIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "state")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		model := map[string]StateEntry{}
		for round := range rapid.IntRange(1, 4).Draw(t, "rounds") {
			state, err := OpenState(filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			ids := rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 0, 40, rapid.ID[int]).Draw(t, "ids")
			fresh := stateOf(fmt.Sprint("v", round), ids...)
			for i := range fresh {
				if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
					fresh[i].Status = 0
				}
				key := fresh[i].Type + string(fresh[i].ID[:])
				if model[key] = fresh[i]; fresh[i].Status == 0 {
					delete(model, key)
				}
			}
			next, err := state.Merge(sequence(fresh))
			if err != nil {
				t.Fatal(err)
			}
			var want []StateEntry
			for _, e := range model {
				want = append(want, e)
			}
			slices.SortFunc(want, func(a, b StateEntry) int { return compareKeys(a.Type, &a.ID, b.Type, &b.ID) })
			checkState(t, next, want)
			reopened, err := OpenState(filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			checkState(t, reopened, want)
			once, err := OpenState(filepath.Join(dir, fmt.Sprint("once", round)))
			if err != nil {
				t.Fatal(err)
			}
			if len(want) == 0 && once.Digest() != next.Digest() {
				t.Fatal("an empty state has another digest than one that was never there")
			}
			direct, err := once.Merge(sequence(want))
			if err != nil {
				t.Fatal(err)
			}
			if direct.Digest() != next.Digest() || len(direct.Digest()) != 64 {
				t.Fatal("the digest depends on the way")
			}
			if err := errors.Join(state.Close(), next.Close(), reopened.Close(), reopened.Close(), once.Close(), direct.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func checkState(t *rapid.T, s *State, want []StateEntry) {
	if s.Len() != int64(len(want)) {
		t.Fatalf("%d entries, not %d", s.Len(), len(want))
	}
	for _, typ := range []string{"", "Condition", "Observation", "Patient", "None"} {
		i := 0
		for e, err := range s.All(typ) {
			for typ != "" && i < len(want) && want[i].Type != typ {
				i++
			}
			if err != nil || i == len(want) || e != want[i] {
				t.Fatalf("%q: entry %d is another: %v", typ, i, err)
			}
			i++
		}
		for i < len(want) && typ != "" && want[i].Type != typ {
			i++
		}
		if i < len(want) {
			t.Fatalf("%q: %d of %d entries", typ, i, len(want))
		}
	}
	for _, e := range stateOf("", numbers(0, 61)...) {
		got, ok, err := s.Lookup(e.Type, e.ID)
		at := slices.IndexFunc(want, func(w StateEntry) bool { return w.Type == e.Type && w.ID == e.ID })
		if err != nil || ok != (at >= 0) || ok && got != want[at] {
			t.Fatalf("lookup: %v, %v", ok, err)
		}
	}
}

func TestLargeState(t *testing.T) {
	dir := t.TempDir()
	state, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := stateOf("1", numbers(0, 100_000)...) // more blocks than are cached
	full, err := state.Merge(sequence(list))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if len(full.refs) <= cachedBlocks {
		t.Fatalf("%d blocks", len(full.refs))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := g; i < len(list); i += 37 {
				if got, ok, err := full.Lookup(list[i].Type, list[i].ID); err != nil || !ok || got != list[i] {
					t.Errorf("entry %d: %v, %v", i, ok, err)
					return
				}
			}
			if _, ok, err := full.Lookup("Observation", idOf(-g-1)); ok || err != nil {
				t.Errorf("what is not there is found: %v", err)
			}
		})
	}
	wg.Wait()
	if full.recent.Len() != cachedBlocks || len(full.blocks) != cachedBlocks {
		t.Errorf("%d, %d blocks cached", full.recent.Len(), len(full.blocks))
	}

	// The old state stays readable while, and after, a new one takes its place.
	next, err := full.Merge(sequence(stateOf("2", numbers(99_000, 101_000)...)))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if full.Len() != 100_000 || next.Len() != 101_000 {
		t.Errorf("%d, %d entries", full.Len(), next.Len())
	}
	i := 0
	for e, err := range full.All("") {
		if err != nil || e != list[i] {
			t.Fatalf("entry %d of the old state: %v", i, err)
		}
		i++
	}
	if diff := cmp.Diff([]string{"state", "state.00000003"}, listing(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := full.Merge(sequence(list)); err == nil {
		t.Error("a second merge of an old state is not refused")
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range []error{second(collect(next.All(""), stateText)), second(collect(next.All("Patient"), stateText)), lookupError(next)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("a closed state: %v", err)
		}
	}
}

func lookupError(s *State) error {
	_, _, err := s.Lookup("Patient", idOf(2))
	return err
}

// A merge that cannot be done leaves the state as it was, and can be done again.
func TestMergeRefuses(t *testing.T) {
	dir := t.TempDir()
	state, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := stateOf("1", numbers(0, 10)...)
	swapped := slices.Clone(list)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	untyped := slices.Clone(list)
	untyped[0].Type = ""
	for what, entries := range map[string]iter.Seq2[StateEntry, error]{
		"swapped": sequence(swapped), "twice": sequence(append(list[:3:3], list[2:]...)), "untyped": sequence(untyped),
		"failing": func(yield func(StateEntry, error) bool) {
			_ = yield(list[0], nil) && yield(StateEntry{}, io.ErrUnexpectedEOF)
		},
	} {
		_, err := state.Merge(entries)
		if err == nil || what == "failing" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", what, err)
		}
		if again, err := OpenState(dir); err != nil || again.Len() != 0 {
			t.Errorf("%s: after it: %v", what, err)
		}
	}
	next, err := state.Merge(sequence(list))
	if err != nil || next.Len() != 10 {
		t.Fatal(err)
	}
	defer next.Close()
	if left := listing(t, dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

func TestStateEntryForms(t *testing.T) {
	for _, e := range append(stateOf(strings.Repeat("v", 300), numbers(0, 20)...), StateEntry{}, StateEntry{Line: -1, Status: 255}) {
		b := e.Append(nil)
		got, err := ParseStateEntry(b)
		if err != nil || got != e {
			t.Errorf("%v, %v", got, err)
		}
		for n := range b {
			if _, err := ParseStateEntry(b[:n]); err == nil {
				t.Errorf("cut at %d", n)
			}
		}
		if _, err := ParseStateEntry(append(b, 0)); err == nil {
			t.Error("longer")
		}
	}
}
