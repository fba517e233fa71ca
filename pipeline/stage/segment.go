package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Outcome segments of a batch are numbered from 1. Number 1 may cover more than itself: compacting rewrites it, and
// says so in its head, before the others are removed; what is left of them then does not count any more.

const segmentMagic = "CLSEGMT1"

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
func openSegment(dir, batch string, number int) (*blockReader, segmentMeta, error) {
	r, err := openBlocks(filepath.Join(dir, segmentName(batch, number)), segmentMagic, nil)
	if err != nil {
		return nil, segmentMeta{}, err
	}
	var meta segmentMeta
	if err := json.Unmarshal(r.meta, &meta); err != nil || meta.Batch != batch || meta.From != number ||
		meta.To < number || number != 1 && meta.To != number {
		r.close()
		return nil, meta, r.damage(magicBytes, "the head is that of another segment")
	}
	return r, meta, nil
}

// AppendSegment makes the next outcome segment of a batch, with one block for each payload; it is durable when
// AppendSegment returns. Segments of one batch are written by one goroutine at a time. After an error it is not known
// whether the segment is there: nothing more may be appended by this process.
func AppendSegment(dir, batch string, payload [][]byte) error {
	return appendSegment(osDisk{}, dir, batch, payload)
}

func appendSegment(d disk, dir, batch string, payload [][]byte) error {
	if err := CheckName(batch); err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	number, err := nextSegment(dir, batch)
	if err != nil {
		return fmt.Errorf("outcomes of batch %s: %w", batch, err)
	}
	err = writeSegment(d, dir, segmentMeta{batch, number, number}, func(w *blockWriter) error {
		for _, p := range payload {
			if err := w.block(p); err != nil {
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

func writeSegment(d disk, dir string, meta segmentMeta, blocks func(*blockWriter) error) error {
	head, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	return writeFile(d, filepath.Join(dir, segmentName(meta.Batch, meta.From)), func(out io.Writer) error {
		w, err := newBlockWriter(out, segmentMagic, head)
		if err != nil {
			return err
		}
		if err := blocks(w); err != nil {
			return err
		}
		return w.end(w.blocks, 0)
	})
}

// nextSegment finds the first free number. It does not list the folder, which may hold the files of very many batches:
// numbers are dense, so it gallops.
func nextSegment(dir, batch string) (int, error) {
	r, meta, err := openSegment(dir, batch, 1)
	if errors.Is(err, fs.ErrNotExist) {
		meta.To = 0
	} else if err != nil {
		return 0, err
	} else {
		r.close()
	}
	there := func(number int) (bool, error) {
		_, err := os.Stat(filepath.Join(dir, segmentName(batch, number)))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
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
func listSegments(dir, batch string) ([]int, error) {
	if err := CheckName(batch); err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, n := range names {
		digits, ok := strings.CutPrefix(n.Name(), batch+".out.")
		number, err := strconv.Atoi(digits)
		if ok && err == nil && number > 0 && segmentName(batch, number) == n.Name() {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Segments reads the payloads of all outcome segments of a batch in the order they were appended. A payload is valid
// until the next one. A batch without outcomes yields nothing. What was never made durable is not there; damage to
// what was, or a number that is missing before the last, is a [*Damage] and ends the sequence.
func Segments(dir, batch string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		numbers, err := listSegments(dir, batch)
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
			r, meta, err := openSegment(dir, batch, number)
			if err != nil {
				yield(nil, missing(filepath.Join(dir, segmentName(batch, number)), err))
				return
			}
			if !yieldBlocks(r, yield) {
				return
			}
			covered = meta.To
		}
	}
}

func yieldBlocks(r *blockReader, yield func([]byte, error) bool) bool {
	defer r.close()
	for {
		payload, err := r.next()
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
func CompactSegments(dir, batch string) error { return compactSegments(osDisk{}, dir, batch) }

func compactSegments(d disk, dir, batch string) error {
	numbers, err := listSegments(dir, batch)
	if err != nil || len(numbers) < 2 {
		return err
	}
	r, meta, err := openSegment(dir, batch, 1)
	if err != nil {
		return missing(filepath.Join(dir, segmentName(batch, 1)), err)
	}
	r.close()
	if last := numbers[len(numbers)-1]; last > meta.To {
		err := writeSegment(d, dir, segmentMeta{batch, 1, last}, func(w *blockWriter) error {
			for payload, err := range Segments(dir, batch) {
				if err != nil {
					return err
				}
				if err := w.block(payload); err != nil {
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
		if err := d.remove(filepath.Join(dir, segmentName(batch, number))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("outcomes of batch %s: %w", batch, err)
		}
	}
	return nil
}
