package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
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

// cutTable is a table cut into shards, with the digest that each had when the run was pinned.
type cutTable struct {
	shards []extract.Shard
	sums   [][sha256.Size]byte
}

// SourceChanged says that a file of the source is no longer what it was when the run began, whatever its size and time
// say. The run stops: a delivery must not mix two states of a source.
type SourceChanged struct {
	File  string // as the plan names it
	Table string
	Shard int
}

// Error names the file.
func (e *SourceChanged) Error() string {
	return fmt.Sprintf("%s (table %s, piece %d) changed while the run was reading it; it is not what the run began with", e.File, e.Table, e.Shard+1)
}

// cut cuts the tables that mappings read into shards and takes the digest of each. It does so once in a session: all
// that is read afterwards is held against these digests.
func (s *Session) cut(ctx context.Context) (map[*extract.Table]*cutTable, error) {
	if s.cuts != nil {
		return s.cuts, nil
	}
	tables := s.usedTables()
	cuts := make([]*cutTable, len(tables))
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
	s.cuts = map[*extract.Table]*cutTable{}
	for i, t := range tables {
		s.cuts[t] = cuts[i]
	}
	return s.cuts, nil
}

func cutOne(ctx context.Context, source extract.Source, t *extract.Table) (*cutTable, error) {
	shards, err := source.Shards(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &cutTable{shards: shards, sums: make([][sha256.Size]byte, len(shards))}
	for i, shard := range shards {
		d, err := sumOf(ctx, source, shard)
		if err != nil {
			return nil, err
		}
		c.sums[i] = d.Sum
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
		if err != nil && !isFault(err) {
			return d, err
		}
	}
	if !d.Complete {
		return d, fmt.Errorf("piece %d of table %s could not be read to its end", shard.Index+1, shard.Table.Name)
	}
	return d, nil
}

func isFault(err error) bool {
	_, ok := err.(*extract.Fault)
	return ok
}

// digest pins a table: how many pieces, how many bytes, and the SHA-256 over the digests of all pieces in order.
func (c *cutTable) digest() string {
	all := sha256.New()
	var bytes int64
	for i := range c.sums {
		all.Write(c.sums[i][:])
		bytes += c.shards[i].Bytes
	}
	return fmt.Sprintf("SHA-256 %s, %d bytes in %d pieces", hex.EncodeToString(all.Sum(nil)), bytes, len(c.shards))
}

// read reads a shard and holds what was read against the digest that the run is pinned to. All stations read the
// source through it. A difference is the last thing it yields, as a *SourceChanged.
func (w *tableWork) read(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		var got extract.Digest
		for rec, err := range w.source.Read(ctx, shard, &got) {
			if !yield(rec, err) {
				return
			}
		}
		if got.Complete && got.Sum != w.sums[shard.Index] {
			yield(nil, &SourceChanged{File: w.table.File, Table: w.table.Name, Shard: shard.Index})
		}
	}
}

// usedTables lists the tables that some mapping reads, as its own or beside it, in a stable order.
func (s *Session) usedTables() []*extract.Table {
	var out []*extract.Table
	for _, t := range s.tables {
		beside := slices.ContainsFunc(s.Program.Indexes, func(x *mapping.Index) bool {
			return !x.Absent() && x.Source == t.Source && x.Table == t.Name
		})
		if beside || len(s.mappingsOf(t)) > 0 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, compareTables)
	return out
}

func compareTables(a, b *extract.Table) int {
	return slices.Compare([]string{a.Source, a.Name}, []string{b.Source, b.Name})
}
