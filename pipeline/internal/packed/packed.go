// Package packed unpacks files while they are read, within bounds.
package packed

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Kind is how a file is packed.
type Kind uint8

// The kinds.
const (
	Plain Kind = iota // not at all
	Gzip
	Zstandard
)

// By says how a file is packed, by the end of its name, and returns the name without that end.
func By(name string) (Kind, string) {
	lower := strings.ToLower(name)
	switch {
	case strings.HasSuffix(lower, ".gz"):
		return Gzip, name[:len(name)-len(".gz")]
	case strings.HasSuffix(lower, ".zst"):
		return Zstandard, name[:len(name)-len(".zst")]
	}
	return Plain, name
}

// maxWindow bounds what unpacking may hold, in bytes; 128 MiB is what `zstd --long` needs.
const maxWindow = 128 << 20

// Reader unpacks a stream. What is Plain is passed as it is. An error if the stream does not begin as the kind does; one
// that is damaged further on is an error of Read. Closing it does not close the stream.
func Reader(k Kind, r io.Reader) (io.ReadCloser, error) {
	switch k {
	case Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			return nil, err
		}
		return z, nil
	case Zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// ErrBomb stops the reading of a file that only exists to waste time and space.
var ErrBomb = errors.New("max-ratio: it unpacks to far more than any export does, so it may be a decompression bomb; unpack it yourself if it is none")

// Limit is how much a packed file may unpack to: Unpacked bytes, or Ratio times its own size if that is more. Both are
// positive.
type Limit struct {
	Unpacked, Ratio int64
}

// Of is the limit of a file of that size, in bytes.
func (l Limit) Of(size int64) int64 {
	if size > l.Unpacked/l.Ratio {
		return size * l.Ratio
	}
	return l.Unpacked
}

// Reader reads what a file of that size unpacks to. Beyond the limit Read returns ErrBomb.
func (l Limit) Reader(r io.Reader, size int64) io.Reader {
	return &limited{r, l.Of(size)}
}

type limited struct {
	in   io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrBomb
	}
	return n, err
}
