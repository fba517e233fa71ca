package phi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
)

// memoryStore is a key store in memory into which faults can be put.
type memoryStore struct {
	data      []byte
	synced    []byte // what a power loss leaves for sure
	exists    bool
	failSync  int // fails the n-th sync from now
	failWrite int
	syncs     int
}

var errFault = errors.New("planted fault")

func (m *memoryStore) read() (storeFile, error) {
	if !m.exists {
		return nil, fs.ErrNotExist
	}
	return m, nil
}
func (m *memoryStore) write() (storeFile, error) { m.exists = true; return m, nil }
func (m *memoryStore) Size() (int64, error)      { return int64(len(m.data)), nil }
func (m *memoryStore) Close() error              { return nil }
func (m *memoryStore) Truncate(n int64) error    { m.data = m.data[:n]; return nil }
func (m *memoryStore) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(b, at)
}
func (m *memoryStore) WriteAt(b []byte, at int64) (int, error) {
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
func (m *memoryStore) Sync() error {
	m.syncs++
	if m.failSync > 0 {
		if m.failSync--; m.failSync == 0 {
			return errFault
		}
	}
	m.synced = append(m.synced[:0], m.data...)
	return nil
}

var _ io.ReaderAt = (*memoryStore)(nil)

func openMemory(t testing.TB, m *memoryStore) (*keyStore, error) {
	t.Helper()
	wrap, err := newAEAD(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return openKeyStore(m, "test.keys", "test", wrap, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
}

func mustOpen(t testing.TB, m *memoryStore) *keyStore {
	t.Helper()
	s, err := openMemory(t, m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill makes keys for patients from to to, and returns a digest of each.
func fill(t testing.TB, s *keyStore, from, to int, create bool) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	for i := from; i < to; i++ {
		name := fmt.Sprintf("p%d", i)
		if i == 0 {
			name = ""
		}
		id, key, err := s.data(name, create)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = sha256.Sum256(append(id[:], key...))
	}
	return out
}

func TestKeyStoreCutAtEveryByte(t *testing.T) {
	m := &memoryStore{}
	s := mustOpen(t, m)
	first := fill(t, s, 0, 3, true)
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	durable := len(m.data)
	second := fill(t, s, 3, 6, true)
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(m.data)
	for cut := range whole {
		// A write is cut off only behind what was synced: here, behind the first commit, and everywhere before there was one.
		m := &memoryStore{data: bytes.Clone(whole[:cut]), exists: true}
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
		if err := s.sync(); err != nil {
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
	m := &memoryStore{}
	s := mustOpen(t, m)
	keys := fill(t, s, 0, 4, true)
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	last := len(m.data) - recordSize // the commit
	for at := range m.data {
		bad := &memoryStore{data: bytes.Clone(m.data), exists: true}
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
			if err := s.sync(); err != nil {
				t.Fatal(err)
			}
			for name, got := range fill(t, mustOpen(t, bad), 0, 4, false) {
				if keys[name] != got {
					t.Fatalf("byte %d: another key after repair", at)
				}
			}
			continue
		}
		var damage *StoreDamage
		if !errors.As(err, &damage) || damage.Offset != int64(at/recordSize*recordSize) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// TestKeyStoreReordered plays a power loss that keeps later writes and loses earlier ones.
func TestKeyStoreReordered(t *testing.T) {
	m := &memoryStore{}
	s := mustOpen(t, m)
	first := fill(t, s, 0, 3, true)
	if err := s.sync(); err != nil {
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
	if _, _, err := s.data("p3", false); !errors.Is(err, ErrNoKey) {
		t.Fatal(err)
	}
	fill(t, s, 3, 4, true)
	if err := s.sync(); err != nil {
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
			m := &memoryStore{}
			s := mustOpen(t, m)
			fill(t, s, 0, 3, true)
			m.failSync = n
			if err := s.sync(); !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			syncs := m.syncs
			if err := s.sync(); !errors.Is(err, errFault) {
				t.Error("the second sync says", err)
			}
			if m.syncs != syncs {
				t.Error("a failed sync was tried again")
			}
			if _, _, err := s.data("new", true); !errors.Is(err, errFault) {
				t.Error("a key was made after a failed sync:", err)
			}
		}
	})
	t.Run("a failed write is final", func(t *testing.T) {
		m := &memoryStore{}
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		m.failWrite = 1
		if err := s.sync(); !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		if _, _, err := s.data("new", true); !errors.Is(err, errFault) {
			t.Error(err)
		}
	})
	t.Run("nothing new, no sync", func(t *testing.T) {
		m := &memoryStore{}
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		for range 3 {
			if err := s.sync(); err != nil {
				t.Fatal(err)
			}
			fill(t, s, 0, 3, true)
		}
		if m.syncs != 2 {
			t.Errorf("%d syncs, want 2", m.syncs)
		}
	})
	t.Run("another keyring's store", func(t *testing.T) {
		m := &memoryStore{}
		s := mustOpen(t, m)
		fill(t, s, 0, 3, true)
		if err := s.sync(); err != nil {
			t.Fatal(err)
		}
		wrap, err := newAEAD(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openKeyStore(m, "x", "test", wrap, make([]byte, 32), make([]byte, 32)); err == nil {
			t.Error("a foreign store was opened")
		}
	})
	t.Run("a record moved to another patient", func(t *testing.T) {
		m := &memoryStore{}
		s := mustOpen(t, m)
		fill(t, s, 1, 3, true)
		if err := s.sync(); err != nil {
			t.Fatal(err)
		}
		one, two := m.data[recordSize:2*recordSize], m.data[2*recordSize:3*recordSize]
		copy(one[atKeyID:], two[atKeyID:atCRC])
		putCRC(one)
		if _, _, err := mustOpen(t, m).data("p1", false); !errors.Is(err, ErrNotAuthentic) {
			t.Error(err)
		}
	})
}

func TestHandleIndexFindsAll(t *testing.T) {
	s := mustOpen(t, &memoryStore{})
	keys := fill(t, s, 0, 5000, true)
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	for name, got := range fill(t, s, 0, 5000, false) {
		if keys[name] != got {
			t.Fatalf("another key for %q", name)
		}
	}
}
