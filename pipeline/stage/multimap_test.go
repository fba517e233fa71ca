package stage

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMultimapFindsWhatWasAdded holds a multimap, in memory and spilled, against a map.
func TestMultimapFindsWhatWasAdded(t *testing.T) {
	dir := t.TempDir()
	spilled := 0
	rapid.Check(t, func(t *rapid.T) {
		budget := rapid.SampledFrom([]int64{256, 4 << 10, 1 << 30}).Draw(t, "budget")
		s := newSorter(NewScratch(dir), budget, rapid.IntRange(2, 5).Draw(t, "fan in"))
		want := map[string][]string{}
		size := rapid.SampledFrom([]int{3, 900, 9000}).Draw(t, "bytes of a value")
		n := rapid.IntRange(0, 60).Draw(t, "records")
		for i := range n {
			key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00é")), 0, 12, -1).Draw(t, "key")
			value := binary.BigEndian.AppendUint64(nil, uint64(i))
			value = append(value, make([]byte, size)...)
			if err := s.Add([]byte(key), value); err != nil {
				t.Fatal(err)
			}
			want[key] = append(want[key], string(value))
		}
		m, err := s.Multimap()
		if err != nil {
			t.Fatal(err)
		}
		if m.spill != nil {
			spilled++
		}
		if m.Len() != int64(n) {
			t.Fatalf("%d records, want %d", m.Len(), n)
		}
		keys := []string{"", "a", "zz", "\x00", "ab\x00"}
		for key := range want {
			keys = append(keys, key)
		}
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() {
				r := m.NewReader()
				for _, key := range keys {
					var got []string
					for v, err := range r.Find([]byte(key)) {
						if err != nil {
							t.Errorf("find: %v", err)
						}
						got = append(got, string(v))
					}
					if !slices.Equal(got, want[key]) {
						t.Errorf("key %q: %d values, want %d", key, len(got), len(want[key]))
					}
				}
			})
		}
		wait.Wait()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if spilled == 0 {
		t.Error("no multimap was spilled, so half of it was not tested")
	}
	if diff := cmp.Diff([]string{}, append([]string{}, listing(t, dir)...)); diff != "" {
		t.Errorf("files left (-want +got):\n%s", diff)
	}
}

func TestDamageOfASpilledMultimapIsNamed(t *testing.T) {
	s := newSorter(NewScratch(t.TempDir()), 1<<10, 4)
	for i := range 2000 {
		if err := s.Add(fmt.Appendf(nil, "key %04d", i), make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := s.Multimap()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	data, err := os.ReadFile(m.run.path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-5] ^= 1
	if err := os.WriteFile(m.run.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range m.NewReader().Find([]byte("key 1999")) {
		if !isDamage(err) {
			t.Errorf("a flipped bit: %v", err)
		}
		return
	}
	t.Error("a flipped bit went unseen")
}
