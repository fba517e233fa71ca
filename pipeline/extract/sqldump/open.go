package sqldump

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxZstdWindow bounds what unpacking may hold; 128 MiB is what `zstd --long` needs.
	maxZstdWindow = 128 << 20
	// maxKept bounds the unpacked text of packed files that a Source keeps in memory, all files together.
	maxKept = 64 << 20
)

// errChanged: what was planned is not what is being read. The run stops; nothing of it may be mixed.
var errChanged = errors.New("the file has changed while it was being read")

// file is one file of the dump.
type file struct {
	path  string // to open it
	shown string // as people see it: relative to Options.Dir if the glob was
}

type packed uint8

const (
	plain packed = iota
	gzipped
	zstandard
)

func (f file) packing() packed {
	lower := strings.ToLower(f.path)
	switch {
	case strings.HasSuffix(lower, ".gz"):
		return gzipped
	case strings.HasSuffix(lower, ".zst"):
		return zstandard
	}
	return plain
}

// stamp tells whether a file is still the one that was planned.
type stamp struct {
	size int64
	time time.Time
}

// input is an opened file as a stream of bytes, unpacked.
type input struct {
	bytes  *hashReader
	stamp  stamp
	closes []func() error
}

func (in *input) close() {
	for i := len(in.closes) - 1; i >= 0; i-- {
		_ = in.closes[i]() // nothing was written
	}
}

// hashReader passes bytes through and hashes them, if there is a hash. It is where a cancelled context is noticed.
type hashReader struct {
	ctx  context.Context
	r    io.Reader
	hash hash.Hash
	n    int64
}

// Read implements io.Reader.
func (h *hashReader) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	if n > 0 && h.hash != nil {
		h.hash.Write(p[:n])
	}
	h.n += int64(n)
	return n, err
}

// open opens a file from a place in its unpacked bytes on, up to another (-1: its end). Of a packed file that is not
// kept in memory, all before the place is unpacked and dropped.
func (f file) open(ctx context.Context, start, end int64, kept []byte, h hash.Hash) (*input, error) {
	fail := func(err error) (*input, error) { return nil, fmt.Errorf("open %s: %w", f.shown, pathless(err)) }
	fd, err := os.Open(f.path)
	if err != nil {
		return fail(err)
	}
	in := &input{closes: []func() error{fd.Close}}
	info, err := fd.Stat()
	if err != nil {
		in.close()
		return fail(err)
	}
	in.stamp = stamp{info.Size(), info.ModTime()}
	in.bytes = &hashReader{ctx: ctx, r: fd, hash: h}
	switch p := f.packing(); {
	case kept != nil:
		in.bytes.r = bytes.NewReader(kept[start:])
	case p == plain:
		if _, err := fd.Seek(start, io.SeekStart); err != nil {
			in.close()
			return fail(err)
		}
	case p == gzipped:
		z, err := gzip.NewReader(bufio.NewReaderSize(fd, 64<<10))
		if err != nil {
			in.close()
			return fail(err)
		}
		in.closes = append(in.closes, z.Close)
		in.bytes.r = z
	case p == zstandard:
		z, err := zstd.NewReader(fd, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			in.close()
			return fail(err)
		}
		in.closes = append(in.closes, func() error { z.Close(); return nil })
		in.bytes.r = z
	}
	if kept == nil && f.packing() != plain && start > 0 {
		skip := &hashReader{ctx: ctx, r: in.bytes.r}
		if _, err := io.CopyN(io.Discard, skip, start); err != nil {
			in.close()
			return fail(err)
		}
	}
	if end >= 0 {
		in.bytes.r = io.LimitReader(in.bytes.r, end-start)
	}
	return in, nil
}

// keeper holds on to what is read, while it stays within a budget.
type keeper struct {
	r    io.Reader
	text []byte
	left int
	over bool
}

// Read implements io.Reader.
func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if len(k.text)+n > k.left {
		k.over, k.text = true, nil
	}
	if !k.over {
		k.text = append(k.text, p[:n]...)
	}
	return n, err
}

// pathless takes the folder out of an error of the file system: the caller names the file as the plan does.
func pathless(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
