package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
	"pgregory.net/rapid"
)

// kind is one kind of file: how a folder with it is made, and all that can be read from it.
type kind struct {
	name string
	make func(t testing.TB, d disk, dir string) error
	read func(dir string) (string, error)
	// again makes the files anew where they are (a second try after a crash), or nil for make.
	again func(t testing.TB, d disk, dir string) error
}

func kinds(t testing.TB) []kind {
	s := newSealing(t, testKeys(t))
	var info Info // of the last batch that was made
	batch := func(t testing.TB, d disk, dir string) error {
		i, err := writeBatch(t, d, dir, "b", s, "", numbers(0, 9)...)
		if err == nil {
			info = i
		}
		return err
	}
	list := []Exclusion{{"a", 0, 1}, {"a", 7, 2}, {"b", 1 << 20, 255}, {"a", 3, 1}}
	return []kind{
		{"batch", batch, func(dir string) (string, error) { return collect(read(dir, s, info), sealedText) }, nil},
		{"index", batch, func(dir string) (string, error) {
			text, err := collect(Index(dir, []Info{{}, info}), entryText)
			if err != nil {
				return text, err
			}
			more, err := collect(IndexOf(dir, info), entryText)
			return text + more, err
		}, nil},
		{"segments", func(t testing.TB, d disk, dir string) error {
			for i := range 3 {
				if err := appendSegment(d, dir, "b", [][]byte{fmt.Append(nil, "outcome ", i), {}, fmt.Append(nil, "more ", i)}); err != nil {
					return err
				}
			}
			return nil
		}, func(dir string) (string, error) { return collect(Segments(dir, "b"), bytesText) }, nil},
		{"exclusions", func(t testing.TB, d disk, dir string) error {
			return writeExclusions(d, dir, "run-1", list)
		}, func(dir string) (string, error) {
			list, err := ReadExclusions(dir, "run-1")
			return fmt.Sprint(list), err
		}, nil},
		{"quarantine", func(t testing.TB, d disk, dir string) error {
			q := newQuarantine(d, dir, "q", s)
			for i := range 5 {
				if err := q.Add(extract.Place{Table: "t", File: "t.csv", Line: int64(i)}, "ragged-row", fmt.Append(nil, canary, i)); err != nil {
					_ = q.Abort()
					return err
				}
			}
			return q.Close()
		}, func(dir string) (string, error) { return collect(readQuarantine(dir, "q", s), rowText) }, nil},
		{"state", func(t testing.TB, d disk, dir string) error {
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

// suffix tells which of the files in a folder a kind reads: a batch is read without its index.
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
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := k.make(t, osDisk{}, dir); err != nil {
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
	want, err := collect(read(dir, s, info), sealedText)
	if err != nil {
		t.Fatal(err)
	}
	wantIndex, err := collect(Index(dir, []Info{info}), entryText)
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
			got, err := collect(read(dir, s, info), sealedText)
			whole := want
			if name == "b.index" {
				got, err = collect(Index(dir, []Info{info}), entryText)
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
	want, err := collect(read(dir, s, info), sealedText)
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
	r, err := openChunks(path, batchMagic, aead, -1)
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
			if got, err := collect(read(dir, s, forged), sealedText); !isDamage(err) || !strings.HasPrefix(want, got) {
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
		if _, err := collect(read(dir, s, forged), sealedText); !isDamage(err) {
			t.Errorf("%d resources: %v", count, err)
		}
	}
	w, err := newChunkWriter(osDisk{}, path, batchMagic, []byte(`{"id":"c"}`), aead)
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(osDisk{}, w.p); err != nil {
		t.Fatal(err)
	}
	forged := info
	forged.Bytes = w.size
	var d *Damage
	if _, err := collect(read(dir, s, forged), sealedText); !errors.As(err, &d) || d.Offset != magicBytes {
		t.Errorf("the head of another batch: %v", err)
	}
}

// Blocks that are swapped, left out, or of another file have sums that are right for them, and are still named.
func TestBlocksKeepTheirPlace(t *testing.T) {
	dir := t.TempDir()
	cut := func(name string, first int) (parts [][]byte) {
		t.Helper()
		var list []Exclusion
		for i := range 60_000 {
			list = append(list, Exclusion{"b", first + i, 1})
		}
		if err := WriteExclusions(dir, name, list); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+exclusionSuffix)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := openBlocks(path, exclusionMagic, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		for start := int64(0); err == nil; {
			parts = append(parts, content[start:r.off])
			start = r.off
			if _, err = r.next(); err != nil {
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
		if _, err := ReadExclusions(dir, "a"); !isDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
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

func TestHeadersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		headers := rapid.SliceOfN(rapid.SliceOfN(rapid.ByteRange(0, 2), 0, 70), 1, 10).Draw(t, "headers")
		var last, all []byte
		for _, h := range headers {
			all = appendHeader(all, last, h)
			last = h
		}
		c := cursor{b: all}
		var got []byte
		for i, h := range headers {
			if got = readHeader(&c, got); c.bad || !bytes.Equal(got, h) {
				t.Fatalf("header %d is %v", i, got)
			}
		}
		if !c.done() {
			t.Fatal("something is left")
		}
	})
	// Words that came neither now nor before, or stand behind the end.
	for _, b := range [][]byte{{9, 1, 1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 1}, {1, 0}, {1}, {8, 1, 1}} {
		c := cursor{b: b}
		if readHeader(&c, nil); !c.bad {
			t.Errorf("%v passes", b)
		}
	}
}
