package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// memoryStore is a store's file in memory into which faults can be put.
type memoryStore struct {
	*content
	exists      bool
	nextFails   content // the faults of the file that is to take the place
	failReplace bool
	replaced    *content
}

type content struct {
	data      []byte
	synced    []byte // what a power loss leaves for sure
	failSync  int    // fails the n-th sync from now
	failWrite int
	syncs     int
}

var errFault = errors.New("planted fault")

func newMemory() *memoryStore { return &memoryStore{content: &content{}} }

// holding is a file that is there.
func holding(data []byte) *memoryStore {
	return &memoryStore{content: &content{data: bytes.Clone(data)}, exists: true}
}

func (m *memoryStore) read() (storeFile, error) {
	if !m.exists {
		return nil, fs.ErrNotExist
	}
	return m.content, nil
}
func (m *memoryStore) write() (storeFile, error) { m.exists = true; return m.content, nil }
func (m *memoryStore) next() (storeFile, error) {
	c := m.nextFails
	return &c, nil
}
func (m *memoryStore) replace(old, next storeFile) (storeFile, error) {
	if m.failReplace {
		return nil, errFault
	}
	m.replaced, m.content = old.(*content), next.(*content)
	return next, nil
}
func (m *content) Size() (int64, error)   { return int64(len(m.data)), nil }
func (m *content) Close() error           { return nil }
func (m *content) Truncate(n int64) error { m.data = m.data[:n]; return nil }
func (m *content) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(b, at)
}
func (m *content) WriteAt(b []byte, at int64) (int, error) {
	if m.failWrite > 0 {
		if m.failWrite--; m.failWrite == 0 {
			return 0, errFault
		}
	}
	if end := int(at) + len(b); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[at:], b), nil
}
func (m *content) Sync() error {
	m.syncs++
	if m.failSync > 0 {
		if m.failSync--; m.failSync == 0 {
			return errFault
		}
	}
	m.synced = append(m.synced[:0], m.data...)
	return nil
}

func openMemory(t testing.TB, m *memoryStore) (*File, error) {
	t.Helper()
	return openFile(m, "test.keys", [32]byte{2})
}

func mustOpen(t testing.TB, m *memoryStore) *File {
	t.Helper()
	s, err := openMemory(t, m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func handleOf(name string) Handle {
	sum := sha256.Sum256([]byte(name))
	return Handle(sum[:16])
}

// data finds the entry of a patient, or makes one.
func data(s *File, name string, create bool) (Entry, error) {
	if !create {
		return s.Get(context.Background(), handleOf(name))
	}
	e := Entry{Handle: handleOf(name)}
	_, _ = rand.Read(e.ID[:])
	_, _ = rand.Read(e.Wrapped[:])
	return s.PutIfAbsent(context.Background(), e)
}

// fill makes entries for patients from to to, or finds them.
func fill(t testing.TB, s *File, from, to int, create bool) map[string]Entry {
	t.Helper()
	out := map[string]Entry{}
	for i := from; i < to; i++ {
		name := fmt.Sprintf("p%d", i)
		if i == 0 {
			name = ""
		}
		e, err := data(s, name, create)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = e
	}
	return out
}

func TestKeyStoreCutAtEveryByte(t *testing.T) {
	m := newMemory()
	s := mustOpen(t, m)
	first := fill(t, s, 0, 3, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	durable := len(m.data)
	second := fill(t, s, 3, 6, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(m.data)
	for cut := range whole {
		// A write is cut off only behind what was synced: here, behind the first commit, and everywhere before there was one.
		m := holding(whole[:cut])
		s, err := openMemory(t, m)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if cut >= durable {
			for name, want := range fill(t, s, 0, 3, false) {
				if first[name] != want {
					t.Fatalf("cut at %d: another key for %q", cut, name)
				}
			}
		}
		if (s.torn != 0) != (cut%recordSize != 0) {
			t.Fatalf("cut at %d: %d torn", cut, s.torn)
		}
		// Going on heals the file.
		third := fill(t, s, 0, 9, true)
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := mustOpen(t, m)
		if again.torn != 0 {
			t.Fatalf("cut at %d: still torn", cut)
		}
		for name, want := range fill(t, again, 0, 9, false) {
			if third[name] != want {
				t.Fatalf("cut at %d: another key for %q", cut, name)
			}
			if old, ok := first[name]; ok && cut >= durable && old != want {
				t.Fatalf("cut at %d: the key of %q was made anew", cut, name)
			}
		}
	}
	_ = second
}

func TestKeyStoreBitFlips(t *testing.T) {
	m := newMemory()
	s := mustOpen(t, m)
	keys := fill(t, s, 0, 4, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := len(m.data) - recordSize // the commit
	for at := range m.data {
		bad := holding(m.data)
		bad.data[at] ^= 0x10
		s, err := openMemory(t, bad)
		if at >= last {
			// A broken commit leaves its keys readable: they are whole by their own checksums.
			if err != nil || s.torn != 1 {
				t.Fatalf("byte %d: %v", at, err)
			}
			for name, got := range fill(t, s, 0, 4, false) {
				if keys[name] != got {
					t.Fatalf("byte %d: another key", at)
				}
			}
			fill(t, s, 0, 5, true)
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, got := range fill(t, mustOpen(t, bad), 0, 4, false) {
				if keys[name] != got {
					t.Fatalf("byte %d: another key after repair", at)
				}
			}
			continue
		}
		var damage *Damage
		if !errors.As(err, &damage) || damage.Offset != int64(at/recordSize*recordSize) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// TestKeyStoreReordered plays a power loss that keeps later writes and loses earlier ones.
func TestKeyStoreReordered(t *testing.T) {
	m := newMemory()
	s := mustOpen(t, m)
	first := fill(t, s, 0, 3, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	durable := len(m.data)
	second := fill(t, s, 3, 6, true)
	if err := s.flush(); err != nil { // in the file, not synced
		t.Fatal(err)
	}
	clear(m.data[durable : durable+recordSize])
	s = mustOpen(t, m)
	if s.torn != 1 {
		t.Fatalf("%d torn", s.torn)
	}
	if _, err := data(s, "p3", false); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	fill(t, s, 3, 4, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, m)
	for name, got := range fill(t, s, 0, 6, false) {
		if want, ok := first[name]; ok && got != want {
			t.Errorf("another key for %q", name)
		}
		if want := second[name]; name > "p3" && got != want {
			t.Errorf("another key for %q", name)
		}
	}
}

func TestKeyStoreFaults(t *testing.T) {
	t.Run("a failed sync is final", func(t *testing.T) {
		for n := 1; n <= 2; n++ {
			m := newMemory()
			s := mustOpen(t, m)
			fill(t, s, 0, 3, true)
			m.failSync = n
			if err := s.Sync(t.Context()); !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			syncs := m.syncs
			if err := s.Sync(t.Context()); !errors.Is(err, errFault) {
				t.Error("the second sync says", err)
			}
			if m.syncs != syncs {
				t.Error("a failed sync was tried again")
			}
			if _, err := data(s, "new", true); !errors.Is(err, errFault) {
				t.Error("a key was made after a failed sync:", err)
			}
		}
	})
	t.Run("a failed write is final", func(t *testing.T) {
		m := newMemory()
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		m.failWrite = 1
		if err := s.Sync(t.Context()); !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		if _, err := data(s, "new", true); !errors.Is(err, errFault) {
			t.Error(err)
		}
	})
	t.Run("nothing new, no sync", func(t *testing.T) {
		m := newMemory()
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		for range 3 {
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			fill(t, s, 0, 3, true)
		}
		if m.syncs != 2 {
			t.Errorf("%d syncs, want 2", m.syncs)
		}
	})
	t.Run("another keyring's store", func(t *testing.T) {
		m := newMemory()
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := openFile(m, "x", [32]byte{3}); err == nil {
			t.Error("a foreign store was opened")
		}
	})
}

func TestHandleIndexFindsAll(t *testing.T) {
	s := mustOpen(t, newMemory())
	keys := fill(t, s, 0, 5000, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, got := range fill(t, s, 0, 5000, false) {
		if keys[name] != got {
			t.Fatalf("another key for %q", name)
		}
	}
}

// each lists what Each yields.
func each(t *testing.T, s *File) (list []Entry) {
	t.Helper()
	for e, err := range s.Each(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func TestEachYieldsWhatIsDurableInOrder(t *testing.T) {
	m := newMemory()
	s := mustOpen(t, m)
	want := []Entry{}
	for i := range 2500 {
		want = append(want, fill(t, s, i, i+1, true)[fmt.Sprintf("p%d", i)])
		if i == 0 {
			want[0] = fill(t, s, 0, 1, false)[""]
		}
		if i%700 == 0 {
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := each(t, s); len(got) != 2101 || s.Len() != 2500 {
		t.Errorf("%d entries of %d, want the 2101 durable ones of 2500", len(got), s.Len())
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, e := range each(t, mustOpen(t, m)) {
		if e != want[i] {
			t.Fatalf("entry %d is another", i)
		}
	}
}

func TestRewrapAllOrNothing(t *testing.T) {
	made := func() (*memoryStore, *File, []Entry) {
		m := newMemory()
		s := mustOpen(t, m)
		fill(t, s, 0, 1500, true)
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := each(t, s)
		fill(t, s, 1500, 1503, true) // not durable yet
		return m, s, before
	}
	change := func(e Entry) (Entry, error) {
		e.Root, e.Handle = 1, Handle{} // the handle stays, whatever a change says
		e.Wrapped[0] ^= 1
		return e, nil
	}
	m, s, before := made()
	if err := s.Rewrap(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*File{s, mustOpen(t, m)} {
		after := each(t, s)
		if len(after) != 1503 || s.Len() != 1503 {
			t.Fatalf("%d entries, %d counted, want 1503", len(after), s.Len())
		}
		for i, old := range before {
			if old.Root, old.Wrapped[0] = 1, old.Wrapped[0]^1; old != after[i] {
				t.Fatalf("entry %d is another", i)
			}
		}
	}
	if again := fill(t, s, 1400, 1600, true); again["p1400"].Root != 1 {
		t.Error("an entry was made anew")
	}
	if err := s.Sync(t.Context()); err != nil || mustOpen(t, m).Len() != 1600 {
		t.Error("the store takes no entries after a change:", err)
	}

	for name, plant := range map[string]func(*memoryStore){
		"write":  func(m *memoryStore) { m.nextFails.failWrite = 1 },
		"write2": func(m *memoryStore) { m.nextFails.failWrite = 2 },
		"sync":   func(m *memoryStore) { m.nextFails.failSync = 1 },
		"place":  func(m *memoryStore) { m.failReplace = true },
		"change": func(*memoryStore) {},
	} {
		m, s, before := made()
		plant(m)
		err := s.Rewrap(t.Context(), func(e Entry) (Entry, error) {
			if name == "change" && e.Handle == before[1000].Handle {
				return e, errFault
			}
			return change(e)
		})
		if !errors.Is(err, errFault) {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := data(s, "new", true); !errors.Is(err, errFault) {
			t.Errorf("%s: an entry was made after a failure: %v", name, err)
		}
		for i, e := range each(t, mustOpen(t, m)) {
			if i < len(before) && e != before[i] {
				t.Fatalf("%s: entry %d was changed", name, i)
			}
		}
	}
}

func TestTombstones(t *testing.T) {
	m := newMemory()
	s := mustOpen(t, m)
	keys := fill(t, s, 1, 6, true)
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	destroyed, err := s.Tombstone(t.Context(), handleOf("p2"), handleOf("p4"), handleOf("p2"), handleOf("unknown"))
	if err != nil || destroyed != 2 {
		t.Fatalf("%d keys destroyed: %v", destroyed, err)
	}
	again, err := s.Tombstone(t.Context(), handleOf("p2"))
	if err != nil || again != 0 {
		t.Errorf("%d keys destroyed again: %v", again, err)
	}
	for _, s := range []*File{s, mustOpen(t, m)} {
		for name, old := range keys {
			e, err := data(s, name, false)
			if gone := name == "p2" || name == "p4"; gone != errors.Is(err, ErrShredded) || gone && e != old.Tombstone() || !gone && e != old {
				t.Errorf("%s: %+v %v", name, e, err)
			}
		}
		for _, name := range []string{"p2", "unknown"} {
			if _, err := data(s, name, true); !errors.Is(err, ErrShredded) {
				t.Errorf("%s: a key was made for a patient who was shredded: %v", name, err)
			}
		}
		if s.Len() != 6 || len(each(t, s)) != 6 {
			t.Errorf("%d entries, want 6", s.Len())
		}
	}
	for name, file := range map[string][]byte{"new": m.data, "old": m.replaced.synced} {
		for _, p := range []string{"p2", "p4"} {
			if e := keys[p]; bytes.Contains(file, e.Wrapped[:]) {
				t.Errorf("the key of %s is still in the %s file", p, name)
			}
		}
		if e := keys["p3"]; !bytes.Contains(file, e.Wrapped[:]) {
			t.Errorf("the key of p3 is not in the %s file", name)
		}
	}
	if err := s.Rewrap(t.Context(), func(e Entry) (Entry, error) { e.Shredded = false; return e, nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := data(s, "p2", false); !errors.Is(err, ErrShredded) {
		t.Error("a change brought a tombstone back:", err)
	}
}

func TestRecordsOfEntries(t *testing.T) {
	for _, e := range []Entry{{Handle: Handle{1}, ID: ID{2}, Root: 7, Wrapped: [WrappedBytes]byte{3}}, Entry{Handle: Handle{1}, ID: ID{2}}.Tombstone()} {
		record := e.AppendRecord(nil)
		if got, ok, err := ParseRecord(record); got != e || !ok || err != nil || len(record) != RecordBytes {
			t.Errorf("%+v, want %+v: %v", got, e, err)
		}
		for i := range record {
			bad := bytes.Clone(record)
			bad[i] ^= 1
			if _, _, err := ParseRecord(bad); err == nil {
				t.Errorf("byte %d changed and nobody noticed", i)
			}
		}
	}
	if _, ok, err := ParseRecord(commit()); ok || err != nil {
		t.Error("a commit is an entry", err)
	}
}
