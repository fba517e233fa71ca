package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// outcome is what is known of one resource of a batch, as kept in its segments.
type outcome struct {
	kind    load.Kind
	version string
	code    string
}

// appendOutcome writes position, kind, version and code.
func appendOutcome(dst []byte, position int, o outcome) []byte {
	dst = binary.AppendUvarint(dst, uint64(position))
	dst = append(dst, byte(o.kind))
	dst = binary.AppendUvarint(dst, uint64(len(o.version)))
	dst = append(dst, o.version...)
	return append(dst, o.code...)
}

var errSegment = errors.New("an outcome segment cannot be read")

// outcomesOf reads what is known of a batch and holds it against the ledger: a segment that is gone from the end leaves
// no gap by itself.
func outcomesOf(ctx context.Context, place stage.Place, keys *phi.Keyring, b ledger.Batch) (map[int]outcome, error) {
	known, err := readOutcomes(ctx, place, keys, b.ID)
	if err != nil || b.State != ledger.Loaded && b.State != ledger.Verified {
		return known, err
	}
	var counts ledger.Outcomes
	for _, o := range known {
		tally(&counts, o)
	}
	if counts != b.Outcome {
		return nil, &stage.Damage{File: b.ID + ".out", What: "the outcomes in its segments are not those that the ledger counts"}
	}
	return known, nil
}

// readOutcomes reads what is known of a batch, by position; a later segment replaces an earlier one.
func readOutcomes(ctx context.Context, place stage.Place, keys *phi.Keyring, batch string) (map[int]outcome, error) {
	known := map[int]outcome{}
	for b, err := range stage.Segments(ctx, place, keys, batch) {
		if err != nil {
			return nil, err
		}
		position, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+2 {
			return nil, fmt.Errorf("batch %s: %w", batch, errSegment)
		}
		kind := load.Kind(b[n])
		b = b[n+1:]
		size, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < size {
			return nil, fmt.Errorf("batch %s: %w", batch, errSegment)
		}
		known[int(position)] = outcome{kind, string(b[n : n+int(size)]), string(b[n+int(size):])}
	}
	return known, nil
}

// tally counts an outcome.
func tally(counts *ledger.Outcomes, o outcome) {
	switch o.kind {
	case load.Created, load.Updated:
		counts.Loaded++
	case load.Unchanged:
		counts.Unchanged++
	case load.Rejected:
		counts.Rejected++
	case load.Held:
		counts.Held++
	default:
		counts.InDoubt++
	}
}
