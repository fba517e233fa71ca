package stage

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzReaders gives any bytes to every reader: none panics, and what is not damage is content.
func FuzzReaders(f *testing.F) {
	all := kinds(f)
	for _, k := range all {
		dir := f.TempDir()
		if err := k.make(f, osDisk{}, dir); err != nil {
			f.Fatal(err)
		}
		for _, name := range listing(f, dir) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"b.batch", "b.index", "b.out.0001", "run-1.excluded", "q.quarantine", "state"} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range all {
			_, _ = k.read(dir)
		}
		// Readers behind a sum see only what this package wrote; they must not panic all the same.
		_, _ = readStateBlock(b)
		_, _ = ParseStateEntry(b)
		if c, err := newChunkRecords(b, b); err == nil {
			for range 100 {
				if _, err := c.next(); err != nil {
					break
				}
			}
		}
		var e Entry
		for c := (cursor{b: b}); readEntry(&c, &e); {
			_ = e
		}
	})
}

// FuzzStateFile gives any bytes to the reader of the data file of a state, with a manifest that agrees.
func FuzzStateFile(f *testing.F) {
	dir := f.TempDir()
	state, err := OpenState(dir)
	if err != nil {
		f.Fatal(err)
	}
	if state, err = state.Merge(sequence(stateOf("1", numbers(0, 9)...))); err != nil {
		f.Fatal(err)
	}
	m := state.manifest
	path := filepath.Join(dir, m.File)
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := m
		m.Bytes = int64(len(b))
		if err := writeManifest(osDisk{}, dir, m); err != nil {
			t.Fatal(err)
		}
		_, _ = readState(dir)
	})
}
