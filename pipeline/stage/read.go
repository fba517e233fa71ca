package stage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/phi"
)

func openBatch(ctx context.Context, p Place, k Keys, info Info) (*chunkReader, error) {
	if err := CheckName(info.ID); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	if len(info.SHA256) != 64 || info.Bytes <= 0 || info.Count < 0 {
		return nil, fmt.Errorf("batch %s: its size and SHA-256 are needed to read it", info.ID)
	}
	name := info.ID + batchSuffix
	aead, err := k.BatchKey(name)
	if err != nil {
		return nil, fmt.Errorf("batch %s: %w", info.ID, err)
	}
	r, err := openChunks(ctx, p, name, batchMagic, aead, info.Bytes)
	if err != nil {
		return nil, blockfile.Missing(name, err)
	}
	var meta batchMeta
	if err := json.Unmarshal(r.meta, &meta); err != nil || meta.ID != info.ID {
		r.close()
		return nil, r.damage(blockfile.MagicBytes, "the head is that of another batch")
	}
	return r, nil
}

// empty tells whether an Info is that of a writer without a resource, which has no files.
func (i Info) empty() bool { return i.Count == 0 && i.SHA256 == "" && i.Bytes == 0 }

// Read reads a batch in order of Add. Size and sum of the file are held against info: the size at once, the sum
// after the last resource. Each chunk is authenticated before anything of it is yielded. Damage anywhere is a [*Damage]
// and ends the sequence. It takes the memory of one chunk, about 512 KiB.
//
// A batch without a resource (Count 0, no sum) has no file and yields nothing.
func Read(ctx context.Context, p Place, k Keys, info Info) iter.Seq2[phi.Sealed, error] {
	return func(yield func(phi.Sealed, error) bool) {
		if info.empty() {
			return
		}
		r, err := openBatch(ctx, p, k, info)
		if err != nil {
			yield(phi.Sealed{}, err)
			return
		}
		defer r.close()
		total := 0
		for {
			start := r.off
			records, loose, raw, err := r.next(nil)
			if err == io.EOF {
				break
			}
			if err != nil {
				yield(phi.Sealed{}, err)
				return
			}
			c := chunkRecords{loose: blockfile.Cursor{B: loose}, clinical: raw}
			for range records {
				if err != nil {
					break
				}
				var s phi.Sealed
				if s, err = c.next(); err == nil && !yield(s, nil) {
					return
				}
			}
			if err != nil || !c.done() {
				yield(phi.Sealed{}, r.damage(start, errContent.Error()))
				return
			}
			total += records
		}
		if total != info.Count {
			yield(phi.Sealed{}, r.damage(r.off, fmt.Sprintf("%d resources, not %d", total, info.Count)))
			return
		}
		if hex.EncodeToString(r.sum.Sum(nil)) != info.SHA256 {
			yield(phi.Sealed{}, r.damage(r.off, "the sum of the file is not the one it was recorded with"))
		}
	}
}

// Pick reads the resources at the given positions, which must ascend. Chunks without any of them are not read: what is
// checked is the size of the file and every chunk that is read, not the sum of the whole.
func Pick(ctx context.Context, p Place, k Keys, info Info, positions []int) iter.Seq2[phi.Sealed, error] {
	return func(yield func(phi.Sealed, error) bool) {
		for i, at := range positions {
			if at < 0 || at >= info.Count || i > 0 && at <= positions[i-1] {
				yield(phi.Sealed{}, fmt.Errorf("batch %s has %d resources; position %d is not one, or does not ascend", info.ID, info.Count, at))
				return
			}
		}
		if len(positions) == 0 {
			return
		}
		r, err := openBatch(ctx, p, k, info)
		if err != nil {
			yield(phi.Sealed{}, err)
			return
		}
		defer r.close()
		first := 0 // position of the chunk's first resource
		for len(positions) > 0 {
			start := r.off
			records, loose, raw, err := r.next(func(records int) bool { return positions[0] < first+records })
			if err == io.EOF {
				err = r.damage(start, fmt.Sprintf("%d resources, not %d", first, info.Count))
			}
			if err != nil {
				yield(phi.Sealed{}, err)
				return
			}
			if raw != nil {
				var bad error
				c := chunkRecords{loose: blockfile.Cursor{B: loose}, clinical: raw}
				for i := first; bad == nil && i < first+records && len(positions) > 0; i++ {
					if i != positions[0] {
						_, _, _, bad = c.part()
						continue
					}
					var s phi.Sealed
					if s, bad = c.next(); bad == nil {
						positions = positions[1:]
						if !yield(s, nil) {
							return
						}
					}
				}
				if bad != nil {
					yield(phi.Sealed{}, r.damage(start, bad.Error()))
					return
				}
			}
			first += records
		}
	}
}
