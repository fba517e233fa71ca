package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// outcome is what is known of one resource in one store, as kept in the segments of its batch.
type outcome struct {
	kind     load.Kind
	id       string // the store's, if it is another than ours
	version  string // of what is there
	replaced string // the version that ours took the place of
	code     string
}

// spot is a resource of a batch in one store.
type spot struct {
	position int
	store    int // among the target's stores, from 0
}

// outcomes is what is known of a batch. All stores of a resource are recorded together, so what is there of it is whole.
type outcomes map[spot]outcome

// weight orders outcomes: of a resource in two stores the heavier one counts.
var weight = [...]int{load.Unchanged: 1, load.Created: 2, load.Updated: 2, load.Edited: 3, load.Held: 4, load.Rejected: 5, load.InDoubt: 6}

func (o outcome) heavier(than outcome) bool { return weight[o.kind] > weight[than.kind] }

// of is the outcome of a resource over all its stores; false if it has none.
func (o outcomes) of(position int) (worst outcome, ok bool) {
	for n := range mostStores {
		if x, known := o[spot{position, n}]; known && (!ok || x.heavier(worst)) {
			worst, ok = x, true
		}
	}
	return worst, ok
}

// mostStores is how many stores a target can have.
const mostStores = 2

// counts adds up the outcomes of a batch.
func (o outcomes) counts() (counts ledger.Outcomes) {
	for at := range o {
		if x, _ := o.of(at.position); at.store == o.first(at.position) {
			tally(&counts, x)
		}
	}
	return counts
}

// first is the first store that has an outcome of a resource.
func (o outcomes) first(position int) int {
	for n := range mostStores {
		if _, ok := o[spot{position, n}]; ok {
			return n
		}
	}
	return -1
}

// tally counts the outcome of one resource. What was left as somebody has edited it is unchanged by us.
func tally(counts *ledger.Outcomes, o outcome) {
	switch o.kind {
	case load.Created, load.Updated:
		counts.Loaded++
	case load.Unchanged:
		counts.Unchanged++
	case load.Edited:
		counts.Unchanged++
		counts.NotApplied++
	case load.Rejected:
		counts.Rejected++
	case load.Held:
		counts.Held++
	default:
		counts.InDoubt++
	}
}

// appendOutcome writes spot, kind, id, versions and code.
func appendOutcome(dst []byte, at spot, o outcome) []byte {
	dst = binary.AppendUvarint(dst, uint64(at.position))
	dst = append(dst, byte(at.store), byte(o.kind))
	for _, text := range []string{o.id, o.version, o.replaced} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return append(dst, o.code...)
}

var errSegment = errors.New("an outcome segment cannot be read")

// parseOutcome reads what appendOutcome wrote.
func parseOutcome(b []byte) (at spot, o outcome, err error) {
	position, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+2 || b[n] >= mostStores || int(b[n+1]) >= len(weight) {
		return at, o, errSegment
	}
	at = spot{int(position), int(b[n])}
	o.kind = load.Kind(b[n+1])
	b = b[n+2:]
	for _, text := range []*string{&o.id, &o.version, &o.replaced} {
		size, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < size {
			return at, o, errSegment
		}
		*text, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	o.code = string(b)
	return at, o, nil
}

// outcomesOf reads what is known of a batch and holds it against the ledger: a segment that is gone from the end leaves
// no gap by itself.
func outcomesOf(ctx context.Context, at plan.Staged, b ledger.Batch) (outcomes, error) {
	known, err := readOutcomes(ctx, at, b.ID)
	if err != nil || b.State != ledger.Loaded && b.State != ledger.Verified {
		return known, err
	}
	if known.counts() != b.Outcome {
		return nil, &stage.Damage{File: b.ID + ".out", What: "the outcomes in its segments are not those that the ledger counts"}
	}
	return known, nil
}

// readOutcomes reads what is known of a batch; a later segment replaces an earlier one.
func readOutcomes(ctx context.Context, at plan.Staged, batch string) (outcomes, error) {
	known := outcomes{}
	for b, err := range stage.Segments(ctx, at.Place, at.Keys, batch) {
		if err != nil {
			return nil, err
		}
		where, o, err := parseOutcome(b)
		if err != nil {
			return nil, fmt.Errorf("batch %s: %w", batch, err)
		}
		known[where] = o
	}
	return known, nil
}
