package blockfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

const magic = "CLTESTS1"

func newKey(t testing.TB) cipher.AEAD {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// write writes a file, and returns where each of its parts begins, and where it ends.
func write(t testing.TB, key cipher.AEAD, meta string, payload ...string) (file []byte, cuts []int64) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, magic, []byte(meta), key)
	cuts = []int64{0}
	for _, p := range payload {
		cuts = append(cuts, w.Offset())
		err = errors.Join(err, w.Block([]byte(p)))
	}
	cuts = append(cuts, w.Offset())
	if err := errors.Join(err, w.End(7, 8)); err != nil {
		t.Fatal(err)
	}
	if w.Offset() != int64(out.Len()) || w.Blocks() != uint64(len(payload)) {
		t.Fatalf("%d bytes and %d blocks, want %d and %d", w.Offset(), w.Blocks(), out.Len(), len(payload))
	}
	return out.Bytes(), append(cuts, w.Offset())
}

// read reads a file in sequence and at random; both must agree.
func read(file []byte, key cipher.AEAD) (payload []string, err error) {
	r, err := Open(bytes.NewReader(file), int64(len(file)), "f", magic, key)
	if err != nil {
		return nil, err
	}
	tail := *r
	off := r.Offset()
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return payload, err
		}
		again, err := r.Block(uint64(len(payload)), off, uint32(len(p)))
		if err != nil || !bytes.Equal(again, p) {
			return payload, fmt.Errorf("block %d at random: %w", len(payload), err)
		}
		payload, off = append(payload, string(p)), r.Offset()
	}
	if err := tail.ReadEnd(); err != nil || tail.Blocks() != r.Blocks() || tail.Records() != r.Records() || tail.Mark() != r.Mark() {
		return payload, fmt.Errorf("the end at random: %w", err)
	}
	if r.Records() != 7 || r.Mark() != 8 || r.Blocks() != uint64(len(payload)) || r.Offset() != r.Size() {
		return payload, errors.New("what the end says is not what was written")
	}
	return payload, nil
}

func isDamage(err error) bool {
	var d *Damage
	return errors.As(err, &d) && d.File == "f" && d.What != ""
}

func TestBlocksComeBack(t *testing.T) {
	key := newKey(t)
	rapid.Check(t, func(rt *rapid.T) {
		meta := rapid.StringN(0, 20, 40).Draw(rt, "meta")
		payload := rapid.SliceOfN(rapid.StringN(0, 300, 10_000), 0, 9).Draw(rt, "payload")
		file, cuts := write(t, key, meta, payload...)
		got, err := read(file, key)
		if err != nil || !slices.Equal(got, payload) {
			rt.Fatalf("%q, %v", got, err)
		}
		if want := cuts[len(cuts)-2] - cuts[1]; len(payload) > 0 {
			for _, p := range payload {
				want -= Overhead + int64(len(p))
			}
			if want != 0 || cuts[len(cuts)-1]-cuts[len(cuts)-2] != EndBytes {
				rt.Fatalf("Overhead or EndBytes is wrong: %v", cuts)
			}
		}
	})
}

// Cut at every byte, with any bit flipped, with something behind the end, or written with other keys: nothing that is
// returned is other than what was written, and what is wrong is named.
func TestDamageIsNamed(t *testing.T) {
	key := newKey(t)
	want := []string{"one", "", "three"}
	file, _ := write(t, key, "meta", want...)
	check := func(what string, at int, content []byte, key cipher.AEAD) {
		t.Helper()
		got, err := read(content, key)
		if !isDamage(err) || len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s at %d: %q, %v", what, at, got, err)
		}
	}
	for n := range file {
		check("cut", n, file[:n], key)
		for bit := range 8 {
			bad := slices.Clone(file)
			bad[n] ^= 1 << bit
			check("flipped", n, bad, key)
			if r, err := Open(bytes.NewReader(bad), int64(len(bad)), "f", magic, key); err == nil && n >= len(file)-EndBytes {
				if err := r.ReadEnd(); !isDamage(err) {
					t.Errorf("end flipped at %d: %v", n, err)
				}
			}
		}
	}
	check("longer", len(file), append(slices.Clone(file), 0), key)
	check("doubled", len(file), slices.Concat(file, file), key)
	check("other keys", 0, file, newKey(t))
}

// Parts that are swapped, left out, or of another file with the same name, head and keys are each genuine, and still
// named.
func TestPartsKeepTheirPlace(t *testing.T) {
	key := newKey(t)
	parts := func(payload ...string) (parts [][]byte) {
		file, cuts := write(t, key, "meta", payload...)
		for i := range len(cuts) - 1 {
			parts = append(parts, file[cuts[i]:cuts[i+1]])
		}
		return parts
	}
	a, b := parts("one", "two", "six"), parts("old", "2..", "6..") // one is earlier than the other
	if _, err := read(slices.Concat(a...), key); err != nil {
		t.Fatal(err)
	}
	for what, order := range map[string][][]byte{
		"swapped": {a[0], a[2], a[1], a[3], a[4]}, "left out": {a[0], a[1], a[3], a[4]}, "last left out": {a[0], a[1], a[2], a[4]},
		"repeated": {a[0], a[1], a[1], a[2], a[3], a[4]}, "all left out": {a[0], a[4]}, "of another file": {a[0], b[1], a[2], a[3], a[4]},
		"end of another file": {a[0], a[1], a[2], a[3], b[4]}, "head of another file": {b[0], a[1], a[2], a[3], a[4]},
		"without an end": {a[0], a[1], a[2], a[3]}, "two ends": {a[0], a[1], a[2], a[3], a[4], a[4]},
	} {
		if got, err := read(slices.Concat(order...), key); !isDamage(err) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	r, err := Open(bytes.NewReader(slices.Concat(a...)), int64(len(slices.Concat(a...))), "f", magic, key)
	if err != nil {
		t.Fatal(err)
	}
	first := int64(len(a[0]))
	for what, err := range map[string]error{
		"another number": second(r.Block(1, first, 3)), "another length": second(r.Block(0, first, 2)), "before the file": second(r.Block(0, -1, 3)),
		"behind the file": second(r.Block(0, r.Size()-3, 3)), "a huge one": second(r.Block(0, first, 1<<31)),
		"the end as a block": second(r.Block(3, r.Size()-EndBytes, 24)),
	} {
		if !isDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other, _ := write(t, key, "meta", "one", "two", "six")
	r2, err := Open(bytes.NewReader(other), int64(len(other)), "f", magic, key)
	if err != nil || r.Seal() == r2.Seal() {
		t.Errorf("two files have one seal: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOtherKindsAreNamed(t *testing.T) {
	key := newKey(t)
	file, _ := write(t, key, "")
	for other, at := range map[string]int64{"CLTESTS2": MagicBytes - 1, "CLOTHER1": 0} {
		var d *Damage
		if _, err := Open(bytes.NewReader(file), int64(len(file)), "f", other, key); !errors.As(err, &d) || d.Offset != at {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestBlocksAreReadConcurrently(t *testing.T) {
	key := newKey(t)
	var payload []string
	for i := range 100 {
		payload = append(payload, fmt.Sprintf("%0500d", i))
	}
	file, cuts := write(t, key, "", payload...)
	r, err := Open(bytes.NewReader(file), int64(len(file)), "f", magic, key)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for from := range 4 {
		wait.Go(func() {
			for i := from; i < 100; i += 3 {
				if p, err := r.Block(uint64(i), cuts[i+1], 500); err != nil || string(p) != payload[i] {
					t.Errorf("block %d: %v", i, err)
				}
			}
		})
	}
	wait.Wait()
}

// A failed write is an error of the call that made it.
func TestWritesFail(t *testing.T) {
	key := newKey(t)
	for at := range 3 {
		w, err := NewWriter(&failing{at}, magic, nil, key)
		if err == nil {
			err = w.Block([]byte("text"))
		}
		if err == nil {
			err = w.End(1, 0)
		}
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write %d: %v", at, err)
		}
	}
}

type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func FuzzReader(f *testing.F) {
	key := newKey(f)
	file, _ := write(f, key, "meta", "one", "two")
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := read(b, key); err != nil && !isDamage(err) {
			t.Errorf("%v", err)
		}
		c := Cursor{B: b}
		_, _, _, _ = c.Uvarint(), c.Varint(), c.Byte(), c.Text()
	})
}

// BenchmarkTag is the cost of an index: blocks of 16 KiB.
func BenchmarkTag(b *testing.B) {
	key := newKey(b)
	payload := string(make([]byte, 16<<10))
	var list []string
	for range 256 {
		list = append(list, payload)
	}
	file, _ := write(b, key, "", list...)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		w, err := NewWriter(io.Discard, magic, nil, key)
		if err != nil {
			b.Fatal(err)
		}
		block := []byte(payload)
		for b.Loop() {
			if err := w.Block(block); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		var r *Reader
		for i := 0; b.Loop(); i++ {
			var err error
			if i%len(list) == 0 {
				if r, err = Open(bytes.NewReader(file), int64(len(file)), "f", magic, key); err != nil {
					b.Fatal(err)
				}
			}
			if _, err = r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
