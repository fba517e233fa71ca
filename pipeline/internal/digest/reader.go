// Package digest watches the bytes that a source reads: how many they are and what they hash to.
package digest

import (
	"context"
	"hash"
	"io"
)

// Reader passes bytes through, counts them, and hashes them if there is a hash. It is also where a cancelled context is
// noticed: then Read returns ctx.Err().
type Reader struct {
	ctx  context.Context
	in   io.Reader
	hash hash.Hash
	n    int64
}

// NewReader watches in; h may be nil. Like any reader of a stream it serves one goroutine.
func NewReader(ctx context.Context, in io.Reader, h hash.Hash) *Reader {
	return &Reader{ctx: ctx, in: in, hash: h}
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if n > 0 && r.hash != nil {
		r.hash.Write(p[:n])
	}
	r.n += int64(n)
	return n, err
}

// Bytes is how many have passed.
func (r *Reader) Bytes() int64 { return r.n }
