package digest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	const text = "some bytes of a file"
	sum := sha256.New()
	r := NewReader(t.Context(), iotest.DataErrReader(iotest.HalfReader(strings.NewReader(text))), sum)
	got, err := io.ReadAll(r)
	if err != nil || string(got) != text || r.Bytes() != int64(len(text)) {
		t.Errorf("%q, %d bytes, %v", got, r.Bytes(), err)
	}
	if want := sha256.Sum256([]byte(text)); string(sum.Sum(nil)) != string(want[:]) {
		t.Error("another sum")
	}
	if err := iotest.TestReader(NewReader(t.Context(), strings.NewReader(text), nil), []byte(text)); err != nil {
		t.Error("without a hash:", err)
	}
}

func TestReaderStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := NewReader(ctx, strings.NewReader("abc"), nil)
	if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	cancel()
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) || r.Bytes() != 1 {
		t.Errorf("%d bytes after the end, %v", n, err)
	}
}
