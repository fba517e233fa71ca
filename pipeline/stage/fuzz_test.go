package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
		for _, name := range []string{"b.batch", "b.index", "b.out.0001", "run-1.excluded", "q.quarantine"} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range all {
			_, _ = k.read(dir)
		}
		// Readers behind a sum see only what this package wrote; they must not panic all the same.
		c := chunkRecords{loose: cursor{b: b}, clinical: b}
		for range 100 {
			if _, err := c.next(); err != nil {
				break
			}
		}
		var e Entry
		for c := (cursor{b: b}); readEntry(&c, &e); {
			_ = e
		}
	})
}

// FuzzBehindSums gives readers any content behind sums and tags that are right, as a program with a fault would write
// it: none panics, and what cannot be is damage.
func FuzzBehindSums(f *testing.F) {
	k := testKeys(f)
	dir := f.TempDir()
	e := Entry{ID: idOf(1), Refs: []Ref{{ID: idOf(2)}}}
	f.Add(appendEntry(nil, &e), appendEntry(nil, &e))
	s := newSealing(f, k)
	var h headerWriter
	first := s.seal(f, 1, "")
	f.Add(append(h.append(nil, first), 4, 4, 1, 2, 3, 4), []byte("{  }"))
	f.Add([]byte("\x01b\x02\x00\x01\x07\x02"), []byte{})

	f.Fuzz(func(t *testing.T, a, b []byte) {
		sum := sha256.Sum256(nil)
		info := Info{ID: "b", Count: 2, Bytes: 1, SHA256: hex.EncodeToString(sum[:])}
		blocks := func(name, magic, meta string) int64 {
			t.Helper()
			out, err := os.Create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			w, err := newBlockWriter(out, magic, []byte(meta))
			if err != nil {
				t.Fatal(err)
			}
			err = w.block(a)
			mark := w.off
			if err := errors.Join(err, w.block(b), w.end(2, uint64(mark))); err != nil {
				t.Fatal(err)
			}
			return w.off
		}
		ok := func(what string, err error) {
			t.Helper()
			if err != nil && !isDamage(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		blocks("b.index", indexMagic, `{"id":"b","sha256":"`+info.SHA256+`"}`)
		ok("index", second(collect(Index(dir, []Info{info}), entryText)))
		ok("index", second(collect(IndexOf(dir, info), entryText)))
		blocks("r.excluded", exclusionMagic, `{"name":"r"}`)
		ok("exclusions", second(ReadExclusions(dir, "r")))
		for _, name := range []string{"b.batch", "b.quarantine"} {
			aead, err := k.BatchKey(name)
			if err != nil {
				t.Fatal(err)
			}
			magic := map[string]string{"b.batch": batchMagic, "b.quarantine": quarantineMagic}[name]
			w, err := newChunkWriter(osDisk{}, filepath.Join(dir, name), magic, []byte(`{"id":"b"}`), aead)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.chunk(2, true, append(make([]byte, plainHead), a...), b); err != nil {
				t.Fatal(err)
			}
			info.Bytes, info.SHA256 = w.size, hex.EncodeToString(w.sum.Sum(nil))
			if err := errors.Join(w.p.f.Close(), os.Rename(w.p.tmp, w.p.path)); err != nil {
				t.Fatal(err)
			}
		}
		ok("batch", second(collect(Read(dir, k, info), sealedText)))
		ok("batch", second(collect(Pick(dir, k, info, []int{1}), sealedText)))
		ok("quarantine", second(collect(ReadQuarantine(dir, "b", k), rowText)))
	})
}
