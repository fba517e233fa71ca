package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// FuzzReaders gives any bytes to every reader: none panics, and what is not damage is content.
func FuzzReaders(f *testing.F) {
	all := kinds(newSealing(f, testKeys(f)))
	for _, k := range all {
		dir := f.TempDir()
		if err := k.make(f, durable.OS{}, dir); err != nil {
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
		c := chunkRecords{loose: blockfile.Cursor{B: b}, clinical: b}
		for range 100 {
			if _, err := c.next(); err != nil {
				break
			}
		}
		var e Entry
		for c := (blockfile.Cursor{B: b}); readEntry(&c, &e); {
			_ = e
		}
	})
}

// FuzzBehindSums gives readers any content behind sums and tags that are right, as a program with a fault would write
// it: none panics, and what cannot be is damage.
func FuzzBehindSums(f *testing.F) {
	k := testKeys(f)
	dir := f.TempDir()
	p := NewDisk(dir)
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
		blocks := func(name, magic, meta string) {
			t.Helper()
			err := writeBlocks(t.Context(), p, k, name, magic, []byte(meta), func(w *blockfile.Writer) (uint64, error) {
				return 2, errors.Join(w.Block(a), w.Block(b))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ok := func(what string, err error) {
			t.Helper()
			if err != nil && !isDamage(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		blocks("b.index", indexMagic, `{"id":"b","sha256":"`+info.SHA256+`"}`)
		ok("index", second(collect(Index(t.Context(), p, NewScratch(dir), k, []Info{info}), entryText)))
		ok("index", second(collect(IndexOf(t.Context(), p, k, info), entryText)))
		blocks("r.excluded", exclusionMagic, `{"name":"r"}`)
		ok("exclusions", second(ReadExclusions(t.Context(), p, k, "r")))
		for _, name := range []string{"b.batch", "b.quarantine"} {
			aead, err := k.BatchKey(name)
			if err != nil {
				t.Fatal(err)
			}
			magic := map[string]string{"b.batch": batchMagic, "b.quarantine": quarantineMagic}[name]
			w, err := newChunkWriter(t.Context(), p, name, magic, []byte(`{"id":"b"}`), aead)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.chunk(2, true, append(make([]byte, plainHead), a...), b); err != nil {
				t.Fatal(err)
			}
			info.Bytes, info.SHA256 = w.size, hex.EncodeToString(w.sum.Sum(nil))
			if err := p.Publish(t.Context(), w.draft); err != nil {
				t.Fatal(err)
			}
		}
		ok("batch", second(collect(Read(t.Context(), p, k, info), sealedText)))
		ok("batch", second(collect(Pick(t.Context(), p, k, info, []int{1}), sealedText)))
		ok("quarantine", second(collect(ReadQuarantine(t.Context(), p, k, "b"), rowText)))
	})
}
