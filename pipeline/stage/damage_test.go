package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
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
				for n := range good {
					try("cut", n, good[:n])
					for bit := range 8 {
						if testing.Short() && bit != n%8 {
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
	for !r.last {
		if _, _, _, err := r.next(nil); err != nil {
			t.Fatal(err)
		}
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
	for _, order := range [][]int{{0, 2, 1, 3}, {0, 1, 1, 2, 3}, {0, 1, 3}, {0, 1, 2}, {0}, {0, 1, 2, 3, 3}} {
		content := part(order...)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		forged := info
		forged.Bytes = int64(len(content)) // even if the ledger's size agreed
		if _, err := collect(read(dir, s, forged), sealedText); !isDamage(err) {
			t.Errorf("chunks %v: %v", order, err)
		}
	}
}
