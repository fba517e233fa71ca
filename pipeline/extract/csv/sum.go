package csv

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// Sum is the digest that Read would fill for the shard, its number of records aside, without the cost of making
// records. An error if the file is not the one that was split into shards.
func (s *Source) Sum(ctx context.Context, shard extract.Shard) (extract.Digest, error) {
	f, err := s.file(shard.Table)
	if err != nil {
		return extract.Digest{}, err
	}
	fail := func(err error) (extract.Digest, error) {
		return extract.Digest{}, fmt.Errorf("read %s: %w", f.Shown, extract.Pathless(err))
	}
	at, err := parsePosition(shard.Position)
	if err != nil {
		return fail(err)
	}
	hash := sha256.New()
	in, size, err := s.open(ctx, f, at.start, at.end, hash)
	if err != nil {
		return extract.Digest{}, err
	}
	defer in.close()
	if size != at.size {
		return fail(extract.ErrChanged)
	}
	// What the decoder of UTF-16 has taken already went through the hash too.
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{in.raw}, make([]byte, 256<<10)); err != nil {
		return fail(err)
	}
	if f.splittable() && in.raw.Bytes() != at.end-at.start {
		return fail(extract.ErrChanged)
	}
	d := extract.Digest{Bytes: in.raw.Bytes(), Complete: true}
	hash.Sum(d.Sum[:0])
	return d, nil
}
