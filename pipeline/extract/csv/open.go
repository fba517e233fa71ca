package csv

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow bounds what unpacking may hold; 128 MiB is what `zstd --long` needs.
const maxZstdWindow = 128 << 20

type packed uint8

const (
	plain packed = iota
	gzipped
	zstandard
)

// packing strips the extension of a packed file.
func packing(name string) (string, packed) {
	lower := strings.ToLower(name)
	switch {
	case strings.HasSuffix(lower, ".gz"):
		return name[:len(name)-3], gzipped
	case strings.HasSuffix(lower, ".zst"):
		return name[:len(name)-4], zstandard
	}
	return name, plain
}

// splittable says whether a byte range of the file can be read by itself.
func (s *Source) splittable(f file) bool {
	_, p := packing(f.path)
	return p == plain && s.charset.wide == narrow
}

// input is an opened file, or a range of one, as a stream of text.
type input struct {
	text   io.Reader
	hash   *hashReader
	closes []func() error
}

func (in *input) close() {
	for i := len(in.closes) - 1; i >= 0; i-- {
		_ = in.closes[i]() // nothing was written
	}
}

// hashReader passes bytes through and hashes them, if there is a hash.
type hashReader struct {
	ctx  context.Context
	r    io.Reader
	hash hash.Hash
	n    int64
}

// Read implements io.Reader. It is where a cancelled context is noticed.
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

// open opens the bytes from start up to end of a file (of a file that cannot be split: all of it) and returns its
// size on disk. The size is wanted by the caller to see that a file is still the one that was cut into shards.
func (s *Source) open(ctx context.Context, f file, start, end int64, h hash.Hash) (*input, int64, error) {
	fd, err := os.Open(f.path)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", f.shown, pathless(err))
	}
	in := &input{closes: []func() error{fd.Close}}
	info, err := fd.Stat()
	if err != nil {
		in.close()
		return nil, 0, fmt.Errorf("open %s: %w", f.shown, pathless(err))
	}
	var raw io.Reader = fd
	switch _, p := packing(f.path); p {
	case gzipped:
		z, err := gzip.NewReader(bufio.NewReaderSize(fd, 64<<10))
		if err != nil {
			in.close()
			return nil, 0, fmt.Errorf("open %s: %w", f.shown, err)
		}
		in.closes = append(in.closes, z.Close)
		raw = z
	case zstandard:
		z, err := zstd.NewReader(fd, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			in.close()
			return nil, 0, fmt.Errorf("open %s: %w", f.shown, err)
		}
		in.closes = append(in.closes, func() error { z.Close(); return nil })
		raw = z
	default:
		if s.charset.wide == narrow && (start > 0 || end >= 0 && end < info.Size()) {
			raw = io.NewSectionReader(fd, start, end-start)
		}
	}
	in.hash = &hashReader{ctx: ctx, r: raw, hash: h}
	in.text = in.hash
	if s.charset.wide != narrow {
		text, err := s.wide(in.hash)
		if err != nil {
			in.close()
			return nil, 0, fmt.Errorf("open %s: %w", f.shown, err)
		}
		in.text = text
	}
	return in, info.Size(), nil
}

// wide decodes UTF-16, whose byte order mark decides where the declaration leaves it open.
func (s *Source) wide(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 32<<10)
	start, err := b.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	n, err := s.charset.bom(start)
	if err != nil {
		return nil, err
	}
	big := s.charset.wide != wideLittle
	if n > 0 && s.charset.wide == wideByBOM {
		big = string(start[:2]) == bomBig
	}
	if _, err := b.Discard(n); err != nil {
		return nil, err
	}
	return newWideReader(b, big), nil
}

// pathless takes the folder out of an error of the file system: the caller names the file as the plan does.
func pathless(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}
