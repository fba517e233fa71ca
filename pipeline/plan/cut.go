package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// summer is a source that can tell the digest of a shard without making records of it.
type summer interface {
	Sum(context.Context, extract.Shard) (extract.Digest, error)
}

// Cut is a table cut into shards, with the digest that each had when the run was pinned.
type Cut struct {
	Shards []extract.Shard
	Sums   [][sha256.Size]byte
}

// Cuts cuts the tables that mappings read into shards and takes the digest of each. It does so once in a session: all
// that is read afterwards is held against these digests.
func (s *Session) Cuts(ctx context.Context) (map[*extract.Table]*Cut, error) {
	if s.cuts != nil {
		return s.cuts, nil
	}
	tables := s.UsedTables()
	cuts := make([]*Cut, len(tables))
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	for i, t := range tables {
		p.Go(func(ctx context.Context) error {
			var err error
			if cuts[i], err = cutOne(ctx, s.sources[t.Source], t); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	s.cuts = map[*extract.Table]*Cut{}
	for i, t := range tables {
		s.cuts[t] = cuts[i]
	}
	return s.cuts, nil
}

func cutOne(ctx context.Context, source extract.Source, t *extract.Table) (*Cut, error) {
	shards, err := source.Shards(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &Cut{Shards: shards, Sums: make([][sha256.Size]byte, len(shards))}
	for i, shard := range shards {
		d, err := sumOf(ctx, source, shard)
		if err != nil {
			return nil, err
		}
		c.Sums[i] = d.Sum
	}
	return c, nil
}

// sumOf is the digest of a shard: told by the source, or found by reading it.
func sumOf(ctx context.Context, source extract.Source, shard extract.Shard) (extract.Digest, error) {
	if quick, ok := source.(summer); ok {
		return quick.Sum(ctx, shard)
	}
	var d extract.Digest
	for _, err := range source.Read(ctx, shard, &d) {
		if err != nil && !IsFault(err) {
			return d, err
		}
	}
	if !d.Complete {
		return d, fmt.Errorf("piece %d of table %s could not be read to its end", shard.Index+1, shard.Table.Name)
	}
	return d, nil
}

// IsFault tells whether an error is the fault of one record, after which reading goes on.
func IsFault(err error) bool {
	_, ok := err.(*extract.Fault)
	return ok
}

// Digest pins a table: how many pieces, how many bytes, and the SHA-256 over the digests of all pieces in order.
func (c *Cut) Digest() string {
	all := sha256.New()
	var bytes int64
	for i := range c.Sums {
		all.Write(c.Sums[i][:])
		bytes += c.Shards[i].Bytes
	}
	return fmt.Sprintf("SHA-256 %s, %d bytes in %d pieces", hex.EncodeToString(all.Sum(nil)), bytes, len(c.Shards))
}

// UsedTables lists the tables that some mapping reads, as its own or beside it, in a stable order.
func (s *Session) UsedTables() []*extract.Table {
	var out []*extract.Table
	for _, t := range s.Tables {
		beside := slices.ContainsFunc(s.Program.Indexes, func(x *mapping.Index) bool {
			return !x.Absent() && x.Source == t.Source && x.Table == t.Name
		})
		if beside || len(s.MappingsOf(t)) > 0 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, CompareTables)
	return out
}

// CompareTables orders tables by source and name.
func CompareTables(a, b *extract.Table) int {
	return slices.Compare([]string{a.Source, a.Name}, []string{b.Source, b.Name})
}
