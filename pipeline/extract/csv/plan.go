package csv

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// position is a shard's range of bytes in its file, and the size the file had when it was cut.
type position struct {
	start, end, size int64
}

func (p position) String() string { return fmt.Sprintf("%d-%d/%d", p.start, p.end, p.size) }

func parsePosition(text string) (position, error) {
	var p position
	span, size, ok1 := strings.Cut(text, "/")
	start, end, ok2 := strings.Cut(span, "-")
	var errs [3]error
	p.start, errs[0] = strconv.ParseInt(start, 10, 64)
	p.end, errs[1] = strconv.ParseInt(end, 10, 64)
	p.size, errs[2] = strconv.ParseInt(size, 10, 64)
	if !ok1 || !ok2 || errs != [3]error{} || p.start < 0 || p.end < p.start || p.size < p.end {
		return p, fmt.Errorf("%q is not a position of a shard", text)
	}
	return p, nil
}

// plan splits a file into shards.
func (s *Source) plan(ctx context.Context, f file, t *extract.Table) ([]extract.Shard, error) {
	in, size, err := s.open(ctx, f, 0, -1, nil)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cut %s into shards: %w", f.Shown, err)
	}
	var shards []extract.Shard
	last := extract.Shard{Table: t, FirstLine: 1, FirstOrdinal: 1}
	var start int64
	cut := func(end int64) {
		last.Index = len(shards)
		last.Position = position{start, end, size}.String()
		last.Bytes = end - start
		shards = append(shards, last)
		start = end
	}
	if size <= s.options.ShardSize || !f.splittable() {
		cut(size)
		return shards, nil
	}
	sp := newSplitter(s.form(f.table), in.text, -1)
	sp.wide, sp.source = s.charset.Wide(), int64(in.mark)
	if _, err := s.preamble(sp, f); err != nil {
		return nil, err
	}
	limit := s.options.ShardSize
	var reach, ordinal int64
	for {
		ok, err := sp.next()
		if err != nil {
			return nil, fmt.Errorf("cut %s into shards: %w", f.Shown, extract.Pathless(err))
		}
		if !ok {
			break
		}
		ordinal++
		at := sp.start
		if sp.wide {
			at = sp.origin
		}
		if at >= limit && sp.start >= reach {
			cut(at)
			last = extract.Shard{Table: t, FirstLine: sp.line, FirstOrdinal: ordinal}
			limit = (at/s.options.ShardSize + 1) * s.options.ShardSize
		}
		reach = max(reach, sp.reach)
	}
	if in.raw.Bytes() != size {
		return nil, fmt.Errorf("cut %s into shards: %w", f.Shown, extract.ErrChanged)
	}
	cut(size)
	return shards, nil
}
