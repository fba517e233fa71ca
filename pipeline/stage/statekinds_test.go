package stage

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

func stateKinds() []kind {
	return []kind{
		{"state", func(t testing.TB, d durable.FS, dir string) error {
			state, err := openState(d, dir)
			if err != nil {
				return err
			}
			defer state.Close()
			state, err = state.Merge(sequence(stateOf("1", numbers(0, 20)...)))
			if err != nil {
				return err
			}
			return state.Close()
		}, readState, nil},
	}
}

// readState reads a state in every way there is.
func readState(dir string) (string, error) {
	state, err := OpenState(dir)
	if err != nil {
		return "", err
	}
	defer state.Close()
	text, err := collect(state.All(""), stateText)
	if err != nil {
		return text, err
	}
	for _, typ := range []string{"A", "Condition", "Observation", "Patient", "Z"} {
		more, err := collect(state.All(typ), stateText)
		if err != nil {
			return text, err
		}
		text += more
	}
	for _, e := range stateOf("", numbers(0, 25)...) {
		got, ok, err := state.Lookup(e.Type, e.ID)
		if err != nil {
			return text, err
		}
		text += fmt.Sprintln(ok, stateText(got))
	}
	return text + state.Digest(), nil
}

func secondMerge() kind {
	return kind{name: "second merge", make: func(t testing.TB, d durable.FS, dir string) error {
		state, err := openState(d, dir)
		if err != nil {
			return err
		}
		defer state.Close()
		next, err := state.Merge(sequence(stateOf("2", numbers(5, 30)...)))
		if err != nil {
			return err
		}
		return next.Close()
	}, read: readState}
}

// A state file that is whole, but not the one of the manifest.
func TestStateOfAnotherTime(t *testing.T) {
	var files [2][]byte
	var path string
	for i, version := range []string{"1", "2"} {
		dir := t.TempDir()
		state, err := OpenState(dir)
		if err == nil {
			state, err = state.Merge(sequence(stateOf(version, numbers(0, 20)...)))
		}
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(dir, state.manifest.File)
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		_ = state.Close()
	}
	if err := os.WriteFile(path, files[0], 0o600); err != nil {
		t.Fatal(err)
	}
	state, err := OpenState(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if _, err := collect(state.All(""), stateText); !isDamage(err) {
		t.Errorf("All: %v", err)
	}
	if _, err := state.Merge(sequence[StateEntry](nil)); !isDamage(err) {
		t.Errorf("Merge: %v", err)
	}
}

func stateText(e StateEntry) string {
	return fmt.Sprintf("%s %x %x %x %q %q %q %d %d", e.Type, e.ID, e.Patient, e.Digest, e.Version, e.Batch, e.Table, e.Line, e.Status)
}

// stateOf makes entries in order.
func stateOf(version string, ids ...int) []StateEntry {
	var list []StateEntry
	for _, n := range ids {
		list = append(list, StateEntry{Type: []string{"Condition", "Observation", "Patient"}[n%3], ID: idOf(n), Patient: idOf(1000 + n%7),
			Digest: [16]byte(idOf(n + 5000).slice()), Version: version, Batch: fmt.Sprintf("b%d", n%5), Table: "observations", Line: int64(n), Status: 1})
	}
	slices.SortFunc(list, func(a, b StateEntry) int { return compareKeys(a.Type, &a.ID, b.Type, &b.ID) })
	return list
}

func (id ID) slice() []byte { return id[:16] }

func sequence[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func BenchmarkState(b *testing.B) {
	list := stateOf("1", numbers(0, 200_000)...)
	dir := b.TempDir()
	state, err := OpenState(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("merge", func(b *testing.B) {
		for i := 0; i < b.N; i += len(list) {
			next, err := state.Merge(sequence(list))
			if err != nil {
				b.Fatal(err)
			}
			_ = state.Close()
			state = next
		}
	})
	b.Run("lookup", func(b *testing.B) {
		for i := range b.N {
			e := &list[i%len(list)]
			if _, ok, err := state.Lookup(e.Type, e.ID); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	_ = state.Close()
}
