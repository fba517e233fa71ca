package csv

import (
	"bufio"
	"context"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
	"github.com/chartlift/chartlift/pipeline/internal/digest"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// splittable says whether a byte range of the file can be read by itself.
func (f file) splittable() bool { return f.packed == packed.Plain && f.member == "" }

// input is an opened file, or a range of one, as a stream of text.
type input struct {
	text   io.Reader
	raw    *digest.Reader // the bytes that the text is made of
	mark   int            // bytes of a byte order mark that were passed before the text
	closes []func() error
}

func (in *input) close() {
	for i := len(in.closes) - 1; i >= 0; i-- {
		_ = in.closes[i]() // nothing was written
	}
}

// open opens the bytes from start up to end of a file (of a file that cannot be split: all of it; an end of -1 is that
// of the file) and returns its size on disk. The size is wanted by the caller to see that a file is still the one that
// was split into shards.
func (s *Source) open(ctx context.Context, f file, start, end int64, h hash.Hash) (_ *input, size int64, err error) {
	in := &input{}
	defer func() {
		if err != nil {
			in.close()
			err = fmt.Errorf("open %s: %w", f.Shown, extract.Pathless(err))
		}
	}()
	fd, err := os.Open(f.Path)
	if err != nil {
		return nil, 0, err
	}
	in.closes = append(in.closes, fd.Close)
	info, err := fd.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	var raw io.Reader
	if f.splittable() {
		raw = fd
		if start > 0 || end >= 0 && end < size {
			raw = io.NewSectionReader(fd, start, end-start)
		}
	} else {
		z, err := f.unpack(fd, size)
		if err != nil {
			return nil, 0, err
		}
		in.closes = append(in.closes, z.Close)
		raw = s.options.unpacking().Reader(z, size)
	}
	in.raw = digest.NewReader(ctx, raw, h)
	in.text = in.raw
	if s.charset.Wide() {
		if in.text, in.mark, err = s.wide(in.raw, fd, start); err != nil {
			return nil, 0, err
		}
	}
	return in, size, nil
}

// unpack opens what is packed in a file of that size.
func (f file) unpack(fd *os.File, size int64) (io.ReadCloser, error) {
	if f.member != "" {
		return openMember(fd, size, f.member)
	}
	return packed.Reader(f.packed, fd)
}

// wide decodes UTF-16, whose byte order mark decides where the declaration leaves it open. The mark stands at the start
// of the file, also where the range that is read begins further on. It returns how many bytes of it were passed.
func (s *Source) wide(r io.Reader, file io.ReaderAt, from int64) (_ io.Reader, mark int, err error) {
	var start []byte
	b := bufio.NewReaderSize(r, 32<<10)
	if from == 0 {
		start, err = b.Peek(charset.LongestMark)
	} else {
		start = make([]byte, charset.LongestMark)
		_, err = file.ReadAt(start, 0)
	}
	if err != nil && err != io.EOF {
		return nil, 0, err
	}
	text, n, err := s.charset.Resolve(start)
	if err != nil {
		return nil, 0, err
	}
	if from == 0 {
		mark, err = b.Discard(n)
	}
	return text.Reader(b), mark, err
}
