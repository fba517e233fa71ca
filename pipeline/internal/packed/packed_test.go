package packed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestBy(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		rest string
	}{
		{"a.csv", Plain, "a.csv"}, {"a.csv.gz", Gzip, "a.csv"}, {"A.SQL.GZ", Gzip, "A.SQL"}, {"a.sql.zst", Zstandard, "a.sql"},
		{"gz", Plain, "gz"}, {".gz", Gzip, ""}, {"a.gz.csv", Plain, "a.gz.csv"},
	} {
		if kind, rest := By(c.name); kind != c.kind || rest != c.rest {
			t.Errorf("%s: %v, %q", c.name, kind, rest)
		}
	}
}

// pack packs a text.
func pack(t *testing.T, k Kind, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch k {
	case Plain:
		return []byte(text)
	case Gzip:
		w = gzip.NewWriter(&b)
	case Zstandard:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReader(t *testing.T) {
	text := strings.Repeat("what a legacy system has exported\n", 10_000)
	for _, k := range []Kind{Plain, Gzip, Zstandard} {
		raw := pack(t, k, text)
		r, err := Reader(k, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(k, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != text {
			t.Errorf("kind %d: %d bytes, %v", k, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(k, err)
		}
		if k == Plain {
			continue
		}
		if r, err = Reader(k, bytes.NewReader(raw[:len(raw)/2])); err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("kind %d: half of a file is read as a whole", k)
		}
		if r, err = Reader(k, strings.NewReader(text)); err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("kind %d: plain text is unpacked", k)
		}
	}
}

func TestLimit(t *testing.T) {
	l := Limit{Unpacked: 1000, Ratio: 10}
	for size, want := range map[int64]int64{0: 1000, 100: 1000, 101: 1010, 1 << 40: 10 << 40} {
		if got := l.Of(size); got != want {
			t.Errorf("%d bytes may unpack to %d, want %d", size, got, want)
		}
	}
	if got, err := io.ReadAll(l.Reader(strings.NewReader(strings.Repeat("x", 1000)), 5)); len(got) != 1000 || err != nil {
		t.Errorf("up to the limit: %d bytes, %v", len(got), err)
	}
	if got, err := io.ReadAll(l.Reader(strings.NewReader(strings.Repeat("x", 1001)), 5)); !errors.Is(err, ErrBomb) || len(got) > 1000 {
		t.Errorf("beyond the limit: %d bytes, %v", len(got), err)
	}
}
