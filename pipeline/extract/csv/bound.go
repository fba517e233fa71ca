package csv

import (
	"errors"
	"io"
)

// errBomb stops the reading of a file that only exists to waste time and space.
var errBomb = errors.New("max-ratio: it unpacks to far more than any export does, so it may be a decompression bomb; unpack it yourself if it is none")

// limit is how much a packed file of that size may unpack to.
func (s *Source) limit(size int64) int64 {
	if size > s.options.MaxUnpacked/s.options.MaxRatio {
		return size * s.options.MaxRatio
	}
	return s.options.MaxUnpacked
}

// bounded reads what a file of that size unpacks to, up to the limit.
func (s *Source) bounded(r io.Reader, size int64) io.Reader {
	return &boundedReader{r, s.limit(size)}
}

type boundedReader struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errBomb
	}
	return n, err
}
