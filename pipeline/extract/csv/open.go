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
	zipped
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
func (f file) splittable() bool { return f.packed == plain }

// input is an opened file, or a range of one, as a stream of text.
type input struct {
	text   io.Reader
	hash   *hashReader
	mark   int // bytes of a byte order mark that were passed before the text
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

// open opens the bytes from start up to end of a file (of a file that cannot be split: all of it; an end of -1 is that
// of the file) and returns its size on disk. The size is wanted by the caller to see that a file is still the one that
// was cut into shards.
func (s *Source) open(ctx context.Context, f file, start, end int64, h hash.Hash) (_ *input, size int64, err error) {
	in := &input{}
	defer func() {
		if err != nil {
			in.close()
			err = fmt.Errorf("open %s: %w", f.shown, pathless(err))
		}
	}()
	fd, err := os.Open(f.path)
	if err != nil {
		return nil, 0, err
	}
	in.closes = append(in.closes, fd.Close)
	info, err := fd.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	var raw io.Reader = fd
	switch f.packed {
	case gzipped:
		z, err := gzip.NewReader(bufio.NewReaderSize(fd, 64<<10))
		if err != nil {
			return nil, 0, err
		}
		in.closes = append(in.closes, z.Close)
		raw = s.bounded(z, size)
	case zstandard:
		z, err := zstd.NewReader(fd, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, 0, err
		}
		in.closes = append(in.closes, func() error { z.Close(); return nil })
		raw = s.bounded(z, size)
	case zipped:
		z, err := openMember(fd, size, f.member)
		if err != nil {
			return nil, 0, err
		}
		in.closes = append(in.closes, z.Close)
		raw = s.bounded(z, size)
	case plain:
		if start > 0 || end >= 0 && end < size {
			raw = io.NewSectionReader(fd, start, end-start)
		}
	}
	in.hash = &hashReader{ctx: ctx, r: raw, hash: h}
	in.text = in.hash
	if s.charset.wide != narrow {
		if in.text, in.mark, err = s.wide(in.hash, fd, start); err != nil {
			return nil, 0, err
		}
	}
	return in, size, nil
}

// wide decodes UTF-16, whose byte order mark decides where the declaration leaves it open. The mark stands at the start
// of the file, also where the range that is read begins further on. It answers how many bytes of it were passed.
func (s *Source) wide(r io.Reader, file io.ReaderAt, from int64) (_ io.Reader, mark int, err error) {
	var start []byte
	b := bufio.NewReaderSize(r, 32<<10)
	if from == 0 {
		start, err = b.Peek(3)
	} else {
		start = make([]byte, 3)
		_, err = file.ReadAt(start, 0)
	}
	if err != nil && err != io.EOF {
		return nil, 0, err
	}
	n, err := s.charset.bom(start)
	if err != nil {
		return nil, 0, err
	}
	big := s.charset.wide != wideLittle
	if n > 0 && s.charset.wide == wideByBOM {
		big = string(start[:2]) == bomBig
	}
	if from == 0 {
		mark, err = b.Discard(n)
	}
	return newWideReader(b, big), mark, err
}

// pathless takes the folder out of an error of the file system: the caller names the file as the plan does.
func pathless(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}
