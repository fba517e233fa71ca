package stage

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/internal/durable"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// kind is one kind of file: how a folder with it is made, and all that can be read from it.
type kind struct {
	name string
	make func(t testing.TB, d durable.FS, dir string) error
	read func(dir string) (string, error)
}

func kinds(s *sealing) []kind {
	ctx := context.Background()
	var info Info // of the last batch that was made
	batch := func(t testing.TB, d durable.FS, dir string) error {
		i, err := writeBatch(t, d, dir, "b", s, "", numbers(0, 9)...)
		if err == nil {
			info = i
		}
		return err
	}
	list := []Exclusion{{"a", 0, 1}, {"a", 7, 2}, {"b", 1 << 20, 255}, {"a", 3, 1}}
	return []kind{
		{"batch", batch, func(dir string) (string, error) { return collect(Read(ctx, NewDisk(dir), s, info), sealedText) }},
		{"index", batch, func(dir string) (string, error) {
			text, err := collect(Index(ctx, NewDisk(dir), NewScratch(dir), s, []Info{{}, info}), entryText)
			if err != nil {
				return text, err
			}
			more, err := collect(IndexOf(ctx, NewDisk(dir), s, info), entryText)
			return text + more, err
		}},
		{"segments", func(t testing.TB, d durable.FS, dir string) error {
			for i := range 3 {
				if err := AppendSegment(ctx, NewDiskOn(d, dir), s, "b", [][]byte{fmt.Append(nil, "outcome ", i), {}, fmt.Append(nil, "more ", i)}); err != nil {
					return err
				}
			}
			return nil
		}, func(dir string) (string, error) { return collect(Segments(ctx, NewDisk(dir), s, "b"), bytesText) }},
		{"exclusions", func(t testing.TB, d durable.FS, dir string) error {
			return WriteExclusions(ctx, NewDiskOn(d, dir), s, "run-1", list)
		}, func(dir string) (string, error) {
			list, err := ReadExclusions(ctx, NewDisk(dir), s, "run-1")
			return fmt.Sprint(list), err
		}},
		{"quarantine", func(t testing.TB, d durable.FS, dir string) error {
			q := NewQuarantine(NewDiskOn(d, dir), s, "q")
			for i := range 5 {
				if err := q.Add(ctx, extract.Place{Table: "t", File: "t.csv", Line: int64(i)}, "p1", "ragged-row", fmt.Append(nil, canary, i)); err != nil {
					_ = q.Abort()
					return err
				}
			}
			return q.Close(ctx)
		}, func(dir string) (string, error) { return collect(ReadQuarantine(ctx, NewDisk(dir), s, "q"), rowText) }},
	}
}

// owns tells which of the files in a folder a kind reads: a batch is read without its index.
func (k kind) owns(name string) bool {
	switch k.name {
	case "batch", "index":
		return filepath.Ext(name) == "."+k.name
	}
	return true
}

// Every file, cut at every byte, with any bit flipped, with something behind its end, or missing: it is named as
// damaged, or what is read is what was written.
func TestDamageIsNamed(t *testing.T) {
	for _, k := range kinds(newSealing(t, testKeys(t))) {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := k.make(t, durable.OS{}, dir); err != nil {
				t.Fatal(err)
			}
			want, err := k.read(dir)
			if err != nil || want == "" {
				t.Fatalf("%q, %v", want, err)
			}
			noCanary(t, dir)
			for _, name := range listing(t, dir) {
				if !k.owns(name) {
					continue
				}
				path := filepath.Join(dir, name)
				good, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				try := func(what string, at int, content []byte) {
					t.Helper()
					if err := os.WriteFile(path, content, 0o600); err != nil {
						t.Fatal(err)
					}
					if got, err := k.read(dir); !isDamage(err) && (err != nil || got != want) {
						t.Errorf("%s %s at %d: not named: %v", name, what, at, err)
					} else if err == nil && what != "flipped" {
						t.Errorf("%s %s at %d: not noticed", name, what, at)
					}
				}
				for _, n := range sharedtest.Drawn(t, len(good), 60) {
					try("cut", n, good[:n])
					for bit := range 8 {
						if !sharedtest.Sweeps() && bit != n%8 {
							continue
						}
						bad := append([]byte(nil), good...)
						bad[n] ^= 1 << bit
						try("flipped", n, bad)
					}
				}
				try("longer", len(good), append(good[:len(good):len(good)], 0))
				try("doubled", len(good), append(good[:len(good):len(good)], good...))
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				// The last segment, a list and a quarantine may rightly not be there; the ledger knows better.
				if _, err := k.read(dir); k.name != "exclusions" && k.name != "quarantine" && name != "b.out.0003" && !isDamage(err) {
					t.Errorf("%s missing: not named: %v", name, err)
				}
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := k.read(dir); err != nil || got != want {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// A flipped bit is found before anything of its chunk or block is yielded, in files of several as well.
func TestDamageInTheMiddle(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	info := mustBatch(t, dir, "b", s, "", numbers(0, 4000)...)
	want, err := collect(Read(t.Context(), NewDisk(dir), s, info), sealedText)
	if err != nil {
		t.Fatal(err)
	}
	wantIndex, err := collect(Index(t.Context(), NewDisk(dir), NewScratch(dir), s, []Info{info}), entryText)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.batch", "b.index"} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += len(good)/40 + 1 {
			bad := append([]byte(nil), good...)
			bad[at] ^= 0x10
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := collect(Read(t.Context(), NewDisk(dir), s, info), sealedText)
			whole := want
			if name == "b.index" {
				got, err = collect(Index(t.Context(), NewDisk(dir), NewScratch(dir), s, []Info{info}), entryText)
				whole = wantIndex
			}
			if !isDamage(err) || len(got) > len(whole) || got != whole[:len(got)] {
				t.Errorf("%s at %d of %d: %v", name, at, len(good), err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Chunks that are swapped, repeated or left out are each genuine, and still named.
func TestChunksKeepTheirPlace(t *testing.T) {
	s := newSealing(t, testKeys(t))
	dir := t.TempDir()
	info := mustBatch(t, dir, "b", s, "", numbers(0, 4000)...)
	want, err := collect(Read(t.Context(), NewDisk(dir), s, info), sealedText)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "b.batch")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := s.BatchKey("b.batch")
	if err != nil {
		t.Fatal(err)
	}
	r, err := openChunks(t.Context(), NewDisk(dir), "b.batch", batchMagic, aead, -1)
	if err != nil {
		t.Fatal(err)
	}
	cuts := []int64{0, r.off}
	var counts []int
	for !r.last {
		n, _, _, err := r.next(nil)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n)
		cuts = append(cuts, r.off)
	}
	r.close()
	if len(cuts) < 5 {
		t.Fatalf("%d chunks are too few for this test", len(cuts)-2)
	}
	part := func(order ...int) (out []byte) {
		for _, i := range order {
			out = append(out, good[cuts[i]:cuts[i+1]]...)
		}
		return out
	}
	early := part(0, 1)
	early[cuts[1]+7] |= 0x80 // says: last
	for what, content := range map[string][]byte{
		"swapped": part(0, 2, 1, 3), "doubled": part(0, 1, 1, 2, 3), "left out": part(0, 1, 3), "cut": part(0, 1, 2), "empty": part(0),
		"longer": part(0, 1, 2, 3, 3), "ended early": early,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		// Even if size, sum and count of the ledger agreed.
		sum := sha256.Sum256(content)
		forged := info
		forged.Bytes, forged.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
		for _, forged.Count = range []int{info.Count, counts[0], counts[0] + counts[1]} {
			if got, err := collect(Read(t.Context(), NewDisk(dir), s, forged), sealedText); !isDamage(err) || !strings.HasPrefix(want, got) {
				t.Errorf("chunks %s, %d resources: %v", what, forged.Count, err)
			}
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{1, info.Count - 1, info.Count + 1} {
		forged := info
		forged.Count = count
		if _, err := collect(Read(t.Context(), NewDisk(dir), s, forged), sealedText); !isDamage(err) {
			t.Errorf("%d resources: %v", count, err)
		}
	}
	w, err := newChunkWriter(t.Context(), NewDisk(dir), "b.batch", batchMagic, []byte(`{"id":"c"}`), aead)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewDisk(dir).Publish(t.Context(), w.draft); err != nil {
		t.Fatal(err)
	}
	forged := info
	forged.Bytes = w.size
	var d *Damage
	if _, err := collect(Read(t.Context(), NewDisk(dir), s, forged), sealedText); !errors.As(err, &d) || d.Offset != blockfile.MagicBytes {
		t.Errorf("the head of another batch: %v", err)
	}
}

// Blocks that are swapped, left out, or of another file have sums that are right for them, and are still named.
func TestBlocksKeepTheirPlace(t *testing.T) {
	dir, keys := t.TempDir(), testKeys(t)
	cut := func(name string, first int) (parts [][]byte) {
		t.Helper()
		var list []Exclusion
		for i := range 60_000 {
			list = append(list, Exclusion{"b", first + i, 1})
		}
		if err := WriteExclusions(t.Context(), NewDisk(dir), keys, name, list); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+exclusionSuffix)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := openBlocks(t.Context(), NewDisk(dir), keys, name+exclusionSuffix, exclusionMagic)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		for start := int64(0); err == nil; {
			parts = append(parts, content[start:r.Offset()])
			start = r.Offset()
			if _, err = r.Next(); err != nil {
				parts = append(parts, content[start:])
			}
		}
		return parts
	}
	a, b := cut("a", 1<<20), cut("b", 1<<20+100_000)
	if len(a) < 5 || len(a) != len(b) {
		t.Fatalf("%d and %d parts", len(a), len(b))
	}
	end := len(a) - 1
	for what, order := range map[string][][]byte{
		"swapped": {a[0], a[2], a[1], a[3]}, "left out": {a[0], a[2], a[3]}, "last left out": {a[0], a[1], a[2]}, "of another file": {a[0], a[1], b[2], a[3]},
		"end of another file": {a[0], a[1], a[2], a[3]},
	} {
		last := a[end]
		if strings.HasPrefix(what, "end") {
			last = b[end]
		}
		for i := 4; i < end && len(order) == 4; i++ {
			order = append(order, a[i])
		}
		content := append(bytes.Join(order, nil), last...)
		if err := os.WriteFile(filepath.Join(dir, "a.excluded"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadExclusions(t.Context(), NewDisk(dir), keys, "a"); !isDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Files that somebody without the keys made, with everything right that needs no key; and files that the keys made, but
// for another name, as if one were put in the place of another.
func TestForgedFilesAreNamed(t *testing.T) {
	keys := testKeys(t)
	dir := t.TempDir()
	p := NewDisk(dir)
	info := mustBatch(t, dir, "b", newSealing(t, keys), "", numbers(0, 9)...)
	index := fmt.Sprintf(`{"id":"b","sha256":"%s"}`, info.SHA256)
	for _, file := range []struct {
		name, magic, meta string
		read              func() error
	}{
		{"b.index", indexMagic, index, func() error {
			return second(collect(Index(t.Context(), p, NewScratch(dir), keys, []Info{info}), entryText))
		}},
		{"b.index", indexMagic, index, func() error { return second(collect(IndexOf(t.Context(), p, keys, info), entryText)) }},
		{"b.out.0001", segmentMagic, `{"batch":"b","from":1,"to":1}`, func() error { return second(collect(Segments(t.Context(), p, keys, "b"), bytesText)) }},
		{"b.out.0001", segmentMagic, `{"batch":"b","from":1,"to":1}`, func() error { return AppendSegment(t.Context(), p, keys, "b", nil) }},
		{"r.excluded", exclusionMagic, `{"name":"r"}`, func() error { return second(ReadExclusions(t.Context(), p, keys, "r")) }},
	} {
		for what, k := range map[string]Keys{"other keys": testKeys(t), "another name": named{keys, "a" + file.name[1:]}} {
			err := writeBlocks(t.Context(), p, k, file.name, file.magic, []byte(file.meta), func(w *blockfile.Writer) (uint64, error) { return 0, nil })
			if err != nil {
				t.Fatal(err)
			}
			var d *Damage
			if err := file.read(); !errors.As(err, &d) || d.File != file.name {
				t.Errorf("%s with %s: %v", file.name, what, err)
			}
		}
	}
}

// named gives every file the key of one name.
type named struct {
	Keys
	name string
}

func (n named) BatchKey(string) (cipher.AEAD, error) { return n.Keys.BatchKey(n.name) }

func TestHeadersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		headers := rapid.SliceOfN(rapid.SliceOfN(rapid.ByteRange(0, 2), 0, 70), 1, 10).Draw(t, "headers")
		var last, all []byte
		for _, h := range headers {
			all = appendHeader(all, last, h)
			last = h
		}
		c := blockfile.Cursor{B: all}
		var got []byte
		for i, h := range headers {
			if got = readHeader(&c, got); c.Bad || !bytes.Equal(got, h) {
				t.Fatalf("header %d is %v", i, got)
			}
		}
		if !c.Done() {
			t.Fatal("something is left")
		}
	})
	// Words that came neither now nor before, or stand behind the end.
	for _, b := range [][]byte{{9, 1, 1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 1}, {1, 0}, {1}, {8, 1, 1}} {
		c := blockfile.Cursor{B: b}
		if readHeader(&c, nil); !c.Bad {
			t.Errorf("%v passes", b)
		}
	}
}
