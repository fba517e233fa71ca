package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

// Outcome segments of a batch are numbered from 1. Number 1 may cover more than itself: compacting rewrites it, and
// says so in its head, before the others are removed; what is left of them then does not count any more.

const segmentMagic = "CLSEGMT2"

// segmentMeta is the head of a segment.
type segmentMeta struct {
	Batch string `json:"batch"`
	From  int    `json:"from"`
	To    int    `json:"to"`
}

func segmentName(batch string, number int) string {
	return fmt.Sprintf("%s.out.%04d", batch, number)
}

// openSegment opens a segment. A missing file is fs.ErrNotExist.
func openSegment(ctx context.Context, p Place, k Keys, batch string, number int) (*blocks, segmentMeta, error) {
	r, err := openBlocks(ctx, p, k, segmentName(batch, number), segmentMagic)
	if err != nil {
		return nil, segmentMeta{}, err
	}
	var meta segmentMeta
	if err := json.Unmarshal(r.Meta(), &meta); err != nil || meta.Batch != batch || meta.From != number ||
		meta.To < number || number != 1 && meta.To != number {
		r.close()
		return nil, meta, r.Damage(blockfile.MagicBytes, "the head is that of another segment")
	}
	return r, meta, nil
}

// AppendSegment makes the next outcome segment of a batch, with one block for each payload; it is durable when
// AppendSegment returns. Segments of one batch are written by one goroutine at a time. After an error it is not known
// whether the segment is there: nothing more may be appended by this process.
func AppendSegment(ctx context.Context, p Place, k Keys, batch string, payload [][]byte) error {
	if err := CheckName(batch); err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	number, err := nextSegment(ctx, p, k, batch)
	if err != nil {
		return fmt.Errorf("outcomes of batch %s: %w", batch, err)
	}
	err = writeSegment(ctx, p, k, segmentMeta{batch, number, number}, func(w *blockfile.Writer) error {
		for _, b := range payload {
			if err := w.Block(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outcomes of batch %s: %w", batch, err)
	}
	return nil
}

func writeSegment(ctx context.Context, p Place, k Keys, meta segmentMeta, fill func(*blockfile.Writer) error) error {
	head, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	name := segmentName(meta.Batch, meta.From)
	return writeBlocks(ctx, p, k, name, segmentMagic, head, func(w *blockfile.Writer) (uint64, error) {
		err := fill(w)
		return w.Blocks(), err
	})
}

// nextSegment finds the first free number. It does not list the place, which may hold the files of very many batches:
// numbers are dense, so it gallops.
func nextSegment(ctx context.Context, p Place, k Keys, batch string) (int, error) {
	r, meta, err := openSegment(ctx, p, k, batch, 1)
	if errors.Is(err, fs.ErrNotExist) {
		meta.To = 0
	} else if err != nil {
		return 0, err
	} else {
		r.close()
	}
	there := func(number int) (bool, error) { return p.Exists(ctx, segmentName(batch, number)) }
	// low is there (or covered), high is not.
	low, high := meta.To, meta.To+1
	for {
		ok, err := there(high)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, high+(high-meta.To)
	}
	for low+1 < high {
		middle := (low + high) / 2
		ok, err := there(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	// One more look: a hole would let the new segment pass for the lost one.
	if ok, err := there(high + 1); err != nil || ok {
		if err == nil {
			err = &Damage{File: segmentName(batch, high), What: "the file is missing, and the next one is there", Cause: fs.ErrNotExist}
		}
		return 0, err
	}
	return high, nil
}

// listSegments returns the numbers of the segments that are there, sorted.
func listSegments(ctx context.Context, p Place, batch string) ([]int, error) {
	if err := CheckName(batch); err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	prefix := batch + ".out."
	names, err := p.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		number, err := strconv.Atoi(name[len(prefix):])
		if err == nil && number > 0 && segmentName(batch, number) == name {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Segments reads the payloads of all outcome segments of a batch in the order they were appended. A payload is valid
// until the next one. A batch without outcomes yields nothing. What was never made durable is not there; damage to
// what was, or a number that is missing before the last, is a [*Damage] and ends the sequence.
func Segments(ctx context.Context, p Place, k Keys, batch string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		numbers, err := listSegments(ctx, p, batch)
		if err != nil {
			yield(nil, err)
			return
		}
		covered := 0
		for _, number := range numbers {
			if number <= covered {
				continue // left over from compacting
			}
			if number != covered+1 {
				yield(nil, &Damage{File: segmentName(batch, covered+1), What: "the file is missing, and a later one is there", Cause: fs.ErrNotExist})
				return
			}
			r, meta, err := openSegment(ctx, p, k, batch, number)
			if err != nil {
				yield(nil, blockfile.Missing(segmentName(batch, number), err))
				return
			}
			if !yieldBlocks(r, yield) {
				return
			}
			covered = meta.To
		}
	}
}

func yieldBlocks(r *blocks, yield func([]byte, error) bool) bool {
	defer r.close()
	for {
		payload, err := r.Next()
		if err == io.EOF {
			return true
		}
		if !yield(payload, err) || err != nil {
			return false
		}
	}
}

// CompactSegments makes one segment of all that a batch has, with the same payloads. It may be stopped anywhere and
// called again.
func CompactSegments(ctx context.Context, p Place, k Keys, batch string) error {
	numbers, err := listSegments(ctx, p, batch)
	if err != nil || len(numbers) < 2 {
		return err
	}
	r, meta, err := openSegment(ctx, p, k, batch, 1)
	if err != nil {
		return blockfile.Missing(segmentName(batch, 1), err)
	}
	r.close()
	if last := numbers[len(numbers)-1]; last > meta.To {
		err := writeSegment(ctx, p, k, segmentMeta{batch, 1, last}, func(w *blockfile.Writer) error {
			for payload, err := range Segments(ctx, p, k, batch) {
				if err != nil {
					return err
				}
				if err := w.Block(payload); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("outcomes of batch %s: %w", batch, err)
		}
	}
	for _, number := range numbers[1:] {
		if err := p.Remove(ctx, segmentName(batch, number)); err != nil {
			return fmt.Errorf("outcomes of batch %s: %w", batch, err)
		}
	}
	return nil
}
