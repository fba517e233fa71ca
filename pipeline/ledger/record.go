package ledger

import (
	"context"
	"iter"
	"strings"
)

// Report is what a piece of work found, recorded all or none by Finish (with a task) or Record (without). Every part
// may be left out. Counters are added to what is there; a negative one takes back what was counted before, and a sum
// below zero is refused. Outcomes replace what was known of their batch.
type Report struct {
	// Digest is the SHA-256 of the input as read, kept with the task; Record has no use for it.
	Digest string
	// Batches are new, and their files are durable already.
	Batches []Batch
	// Excluded takes resources out of batches that are durable already.
	Excluded []BatchExclusion
	// Outcomes say what is known of batches that were sent.
	Outcomes []BatchOutcome
	// Tables account for the records of a table, each counted once however many mappings read it.
	Tables []RecordCount
	// Mappings account for the records of a table as each mapping saw them.
	Mappings []RecordCount
	// Resources count what was made, per type.
	Resources []ResourceCount
	// States replace what is known of the targets' states.
	States []TargetState
	// Verified counts what was found in the target, per type.
	Verified []VerifiedCount
	// Normalised counts resources that were equal only after a named rule of the comparison, by that rule.
	Normalised    map[string]int64
	Refusals      []Refusal
	Findings      []Finding
	Discrepancies []Discrepancy
	Formulas      []Formula
	Issues        []Issue
	Unmapped      []Unmapped
	// UnmappedOfRun completes codes that other reports have counted, when the whole run is mapped: the number of patients,
	// and the value where it may be shown. Its counts are not added.
	UnmappedOfRun []Unmapped
	Translations  []Translation
}

// RecordCount accounts for records: read = mapped + skipped + refused + otherWave, and for the rows of a child table
// (`with:`) joined + neverJoined. Mapping is empty in the account of a table.
type RecordCount struct {
	Table, Mapping      string
	Read, Mapped        int64
	Skipped, Refused    map[string]int64 // by the skip rule's name, by reason code
	OtherWave           int64
	Joined, NeverJoined int64 // mappings only
}

// ResourceCount counts the resources of a type that mapping made, and those that it makes no more. Merged ones are
// among the made and in no batch.
type ResourceCount struct {
	Type         string
	Made, Merged int64
	// Vanished are in the state of the target, and no record of this run makes them.
	Vanished int64
	// Rekeyed are those of Vanished whose content came back under a new key.
	Rekeyed int64
}

// VerifiedCount counts resources of a type by what reading back said. Unexpected ones are ours by their mark but not
// in the state, so they are not among those loaded.
type VerifiedCount struct {
	Type                                                              string
	Matched, Different, Missing, Unexpected, EditedSince, NotCompared int64
}

// Record records a report without a task, all or none.
func (l *Ledger) Record(ctx context.Context, run string, report Report) error {
	return l.write(ctx, "record", func(tx handle) error {
		seq, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		return report.record(ctx, tx, seq)
	})
}

// record writes the parts, batches before their exclusions and outcomes.
func (r *Report) record(ctx context.Context, tx handle, run int64) error {
	for _, write := range []func(context.Context, handle, int64) error{
		r.recordBatches, r.recordExclusions, r.recordOutcomes, r.recordCounts, r.recordStates, r.recordRefusals, r.recordFindings, r.recordDiscrepancies, r.recordFormulas,
	} {
		if err := write(ctx, tx, run); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) recordCounts(ctx context.Context, tx handle, run int64) error {
	// Two statements and not an upsert: the row to be inserted is checked before the conflict is looked for, which
	// would refuse a negative counter that only takes back part of a sum.
	add := func(mapping, table, outcome, reason string, n int64) error {
		if n == 0 && outcome != "read" {
			return nil
		}
		if _, err := tx.exec(ctx, "INSERT INTO record_counts (run, mapping, tbl, outcome, reason, n) VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING", run, mapping, table, outcome, reason); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "UPDATE record_counts SET n = n + ? WHERE run = ? AND mapping = ? AND tbl = ? AND outcome = ? AND reason = ?", n, run, mapping, table, outcome, reason)
		return err
	}
	account := func(c RecordCount, mapping string) error {
		for _, part := range []struct {
			outcome string
			n       int64
		}{{"read", c.Read}, {"mapped", c.Mapped}, {"otherWave", c.OtherWave}, {"joined", c.Joined}, {"neverJoined", c.NeverJoined}} {
			if err := add(mapping, c.Table, part.outcome, "", part.n); err != nil {
				return err
			}
		}
		for reason, n := range c.Skipped {
			if err := add(mapping, c.Table, "skipped", reason, n); err != nil {
				return err
			}
		}
		for reason, n := range c.Refused {
			if err := add(mapping, c.Table, "refused", reason, n); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range r.Tables {
		if err := account(c, ""); err != nil {
			return err
		}
	}
	for _, c := range r.Mappings {
		if err := account(c, c.Mapping); err != nil {
			return err
		}
	}
	for _, c := range r.Resources {
		if _, err := tx.exec(ctx, "INSERT INTO resource_counts (run, type, made, merged) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING", run, c.Type); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE resource_counts SET made = made + ?, merged = merged + ?, vanished = vanished + ?, rekeyed = rekeyed + ? WHERE run = ? AND type = ?", c.Made, c.Merged, c.Vanished, c.Rekeyed, run, c.Type); err != nil {
			return err
		}
	}
	for _, c := range r.Verified {
		if _, err := tx.exec(ctx, "INSERT INTO verified_counts (run, type, matched, different, missing, unexpected, edited_since, not_compared) VALUES (?, ?, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING", run, c.Type); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `UPDATE verified_counts SET matched = matched + ?, different = different + ?, missing = missing + ?,
			unexpected = unexpected + ?, edited_since = edited_since + ?, not_compared = not_compared + ? WHERE run = ? AND type = ?`,
			c.Matched, c.Different, c.Missing, c.Unexpected, c.EditedSince, c.NotCompared, run, c.Type); err != nil {
			return err
		}
	}
	for rule, n := range r.Normalised {
		if _, err := tx.exec(ctx, "INSERT INTO normalised_counts (run, rule, n) VALUES (?, ?, ?) ON CONFLICT (run, rule) DO UPDATE SET n = normalised_counts.n + excluded.n", run, rule, n); err != nil {
			return err
		}
	}
	return nil
}

// inserter gathers rows and writes many with one statement: a statement per row costs most of the time of a bulk
// insert.
type inserter struct {
	head, tail string
	width      int
	args       []any
}

// rowsPerInsert keeps a statement far below the limits of 32,766 parameters (SQLite) and 65,535 (PostgreSQL).
const rowsPerInsert = 200

func newInserter(head string, width int, tail string) *inserter {
	return &inserter{head: head, tail: tail, width: width}
}

func (i *inserter) add(ctx context.Context, tx handle, row ...any) error {
	i.args = append(i.args, row...)
	if len(i.args) >= rowsPerInsert*i.width {
		return i.flush(ctx, tx)
	}
	return nil
}

func (i *inserter) flush(ctx context.Context, tx handle) error {
	if len(i.args) == 0 {
		return nil
	}
	row := "(?" + strings.Repeat(", ?", i.width-1) + ")"
	values := strings.Repeat(", "+row, len(i.args)/i.width)[2:]
	_, err := tx.exec(ctx, i.head+" "+values+" "+i.tail, i.args...)
	i.args = i.args[:0]
	return err
}

// stream runs a query for readers and yields its rows; an error ends it.
func stream[T any](ctx context.Context, l *Ledger, op string, scan func(scanner) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range l.reader.rows(ctx, query, args...) {
			var item T
			if err == nil {
				item, err = scan(row)
			}
			if !yield(item, during(op, err)) || err != nil {
				return
			}
		}
	}
}
