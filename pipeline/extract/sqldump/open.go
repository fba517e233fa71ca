package sqldump

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/digest"
	"github.com/chartlift/chartlift/pipeline/internal/glob"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// maxKept bounds the unpacked text of packed files that a Source keeps in memory, all files together.
const maxKept = 64 << 20

// file is one file of the dump.
type file struct {
	glob.File
	packed packed.Kind
}

// stamp tells whether a file is still the one that was planned.
type stamp struct {
	size int64
	time time.Time
}

// input is an opened file as a stream of bytes, unpacked.
type input struct {
	bytes  *digest.Reader
	stamp  stamp
	closes []func() error
}

func (in *input) close() {
	for i := len(in.closes) - 1; i >= 0; i-- {
		_ = in.closes[i]() // nothing was written
	}
}

// open opens a file from a place in its unpacked bytes on, up to another (-1: its end). Of a packed file that is not
// kept in memory, all before the place is unpacked and dropped.
func (s *Source) open(ctx context.Context, f file, start, end int64, kept []byte, h hash.Hash) (_ *input, err error) {
	in := &input{}
	defer func() {
		if err != nil {
			in.close()
			err = fmt.Errorf("open %s: %w", f.Shown, extract.Pathless(err))
		}
	}()
	fd, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	in.closes = append(in.closes, fd.Close)
	info, err := fd.Stat()
	if err != nil {
		return nil, err
	}
	in.stamp = stamp{info.Size(), info.ModTime()}
	var raw io.Reader = fd
	switch {
	case kept != nil:
		raw = bytes.NewReader(kept[start:])
	case f.packed == packed.Plain:
		if _, err := fd.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
	default:
		z, err := packed.Reader(f.packed, fd)
		if err != nil {
			return nil, err
		}
		in.closes = append(in.closes, z.Close)
		raw = packed.Limit{Unpacked: s.options.MaxUnpacked, Ratio: s.options.MaxRatio}.Reader(z, info.Size())
		if _, err := io.CopyN(io.Discard, digest.NewReader(ctx, raw, nil), start); err != nil {
			return nil, err
		}
	}
	if end >= 0 {
		raw = io.LimitReader(raw, end-start)
	}
	in.bytes = digest.NewReader(ctx, raw, h)
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
