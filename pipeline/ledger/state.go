package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// TargetState is what the ledger knows of the state of a target, whose files lie elsewhere: a folder that is missing,
// older or another one is told from one that is empty.
type TargetState struct {
	Target     string // the target's identity, without credentials
	Run        string // the run that wrote this generation; set by StateOf
	Generation int64  // counts up, from 0
	Digest     string // of the generation, hexadecimal
	Entries    int64  // placements in it
}

// ErrOlderState says that a generation of a target's state was to be recorded that is not after the one known.
var ErrOlderState = errors.New("the state is not newer than the one that the ledger knows")

// SetStateOf records the state that a run has brought a target to, once its files are durable. The same generation may
// be recorded twice if it is the same in all. Errors: ErrNoRun, ErrOlderState.
func (l *Ledger) SetStateOf(ctx context.Context, run, target string, generation int64, digest string, entries int64) error {
	return l.Record(ctx, run, Report{States: []TargetState{{Target: target, Generation: generation, Digest: digest, Entries: entries}}})
}

// StateOf returns what is known of a target's state; false if no run has recorded one.
func (l *Ledger) StateOf(ctx context.Context, target string) (TargetState, bool, error) {
	s := TargetState{Target: target}
	err := l.reader.row(ctx, `SELECT runs.id, states.generation, states.digest, states.entries
		FROM states JOIN runs ON runs.seq = states.run WHERE states.target = ?`, target).Scan(&s.Run, &s.Generation, &s.Digest, &s.Entries)
	if errors.Is(err, sql.ErrNoRows) {
		return TargetState{}, false, nil
	}
	if err != nil {
		return TargetState{}, false, during("read state of target", err)
	}
	return s, true, nil
}

func (r *Report) recordStates(ctx context.Context, tx handle, run int64) error {
	for _, s := range r.States {
		fault := fmt.Errorf("generation %d of %s: %w", s.Generation, s.Target, ErrOlderState)
		if err := tx.one(ctx, fault, `INSERT INTO states (target, run, generation, digest, entries) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (target) DO UPDATE SET run = excluded.run, generation = excluded.generation, digest = excluded.digest, entries = excluded.entries
			WHERE states.generation < excluded.generation
			OR states.generation = excluded.generation AND states.digest = excluded.digest AND states.entries = excluded.entries`,
			s.Target, run, s.Generation, s.Digest, s.Entries); err != nil {
			return err
		}
	}
	return nil
}
