package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// RunKind tells a rehearsal from a cutover.
type RunKind string

// The kinds of run.
const (
	Dry  RunKind = "dry" // sends nothing
	Real RunKind = "run"
)

// State is the state of a run.
type State string

// The states of a run. Running, interrupted and partial runs are resumed; finished and failed ones have ended.
// A run that a full disk or a lost connection stopped is partial, so that the same command goes on; failed is for
// what no second start can mend.
const (
	Running     State = "running"
	Interrupted State = "interrupted"
	Partial     State = "partial"
	Finished    State = "finished"
	Failed      State = "failed"
)

// Ended says that the run cannot be resumed.
func (s State) Ended() bool { return s == Finished || s == Failed }

// Run is one execution of a plan, over all its resumes.
type Run struct {
	// Seq orders runs: a later run has a higher number.
	Seq int64
	// ID is the kind and the number, such as "run-3" or "dry-1".
	ID     string
	Kind   RunKind
	Wave   string // the one wave that was asked for; empty: all
	Target string // the target's identity, without credentials; empty in a dry run
	// Repair are the kinds of discrepancy that the run sends again, sorted; empty: it is not a repair.
	Repair []Kind
	State  State
	Reason string // why it failed or stopped, without patient data
	// Resumes counts the starts after the first.
	Resumes int
	// Elapsed is the sum of what callers measured, over all resumes.
	Elapsed time.Duration
	// Reconciled says that everything this run loaded has been read back (CloseVerification).
	Reconciled bool
	Began      string // time note, RFC 3339
	Ended      string // time note; empty while it has not ended
	// Pins are the digests of all that must not change between a stop and a resume.
	Pins map[string]string
}

// RunSpec is what a new run is begun with.
type RunSpec struct {
	Kind   RunKind
	Wave   string
	Target string
	Repair []Kind // for a repair: the kinds of discrepancy that it sends again, Missing and Different
	Pins   map[string]string
}

// ChangedError says that a resume would mix two plans, sources or engines. Its differences are readable lines.
type ChangedError struct {
	Run         string
	Differences []string
}

// Error lists the differences, one per line.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s cannot go on, because something changed since it began:\n  %s", e.Run, strings.Join(e.Differences, "\n  "))
}

// Differences compares the pins of a run with those of now, as readable lines sorted by name; nil if equal.
func Differences(was, now map[string]string) []string {
	var lines []string
	names := slices.Concat(slices.Collect(maps.Keys(was)), slices.Collect(maps.Keys(now)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		before, had := was[name]
		after, has := now[name]
		switch {
		case had && !has:
			lines = append(lines, fmt.Sprintf("%s: was %s, is gone", name, short(before)))
		case !had && has:
			lines = append(lines, fmt.Sprintf("%s: is new (%s)", name, short(after)))
		case before != after:
			lines = append(lines, fmt.Sprintf("%s: was %s, is %s", name, short(before), short(after)))
		}
	}
	return lines
}

// short keeps enough of a digest to tell two apart, so that a line of differences can be read.
func short(value string) string {
	const enough = 24
	if value == "" {
		return "empty"
	}
	if r := []rune(value); len(r) > enough {
		return string(r[:enough]) + "…"
	}
	return value
}

const runColumns = "seq, id, kind, wave, target, repair, state, reason, resumes, elapsed, reconciled, began, coalesce(ended, '')"

func scanRun(row scanner) (Run, error) {
	var r Run
	var repair string
	err := row.Scan(&r.Seq, &r.ID, &r.Kind, &r.Wave, &r.Target, &repair, &r.State, &r.Reason, &r.Resumes, &r.Elapsed, &r.Reconciled, &r.Began, &r.Ended)
	for kind := range strings.SplitSeq(repair, ",") {
		if kind != "" {
			r.Repair = append(r.Repair, Kind(kind))
		}
	}
	return r, err
}

// joinKinds is the text in which the kinds of a repair are stored: sorted, each once.
func joinKinds(kinds []Kind) string {
	var names []string
	for _, kind := range kinds {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// BeginRun begins a run and pins it. Errors: ErrUnfinished if a run of this kind and wave has not ended.
func (l *Ledger) BeginRun(ctx context.Context, spec RunSpec) (run Run, err error) {
	err = l.write(ctx, "begin run", func(tx handle) error {
		for _, kind := range spec.Repair {
			if kind != Missing && kind != Different {
				return fmt.Errorf("a repair cannot send again what is %s", kind)
			}
		}
		var unfinished, repair string
		err := tx.row(ctx, "SELECT id, repair FROM runs WHERE kind = ? AND wave = ? AND state IN ('running', 'interrupted', 'partial')", spec.Kind, spec.Wave).Scan(&unfinished, &repair)
		if err == nil && repair != "" {
			return fmt.Errorf("%w: %s, a repair of %s", ErrUnfinished, unfinished, repair)
		}
		if err == nil {
			return fmt.Errorf("%w: %s", ErrUnfinished, unfinished)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var last sql.NullInt64
		if err := tx.row(ctx, "SELECT max(seq) FROM runs").Scan(&last); err != nil {
			return err
		}
		seq := last.Int64 + 1
		id := fmt.Sprintf("%s-%d", spec.Kind, seq)
		if _, err := tx.exec(ctx, "INSERT INTO runs (seq, id, kind, wave, target, repair, state, began) VALUES (?, ?, ?, ?, ?, ?, 'running', ?)",
			seq, id, spec.Kind, spec.Wave, spec.Target, joinKinds(spec.Repair), l.stamp()); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(spec.Pins)) {
			if _, err := tx.exec(ctx, "INSERT INTO pins (run, name, value) VALUES (?, ?, ?)", seq, name, spec.Pins[name]); err != nil {
				return err
			}
		}
		if err := l.audit(ctx, tx, "run begun", describe(id, spec.Wave, spec.Target, spec.Repair)); err != nil {
			return err
		}
		run, err = scanRun(tx.row(ctx, "SELECT "+runColumns+" FROM runs WHERE seq = ?", seq))
		run.Pins = maps.Clone(spec.Pins)
		return err
	})
	if err != nil {
		return Run{}, err
	}
	return run, nil
}

// describe writes the detail of an audit record about a run.
func describe(id, wave, target string, repair []Kind) string {
	parts := []string{id}
	if wave != "" {
		parts = append(parts, "wave "+wave)
	}
	if target != "" {
		parts = append(parts, "target "+target)
	}
	if len(repair) > 0 {
		parts = append(parts, "repair of "+strings.ReplaceAll(joinKinds(repair), ",", " and "))
	}
	return strings.Join(parts, ", ")
}

// Resumable finds the unfinished run of a kind and wave, with its pins; false if there is none. With repair it finds a
// repair of just those kinds, without it none that is a repair. A run that is `running` here belongs to a process that
// died, because the caller holds the lock.
func (l *Ledger) Resumable(ctx context.Context, kind RunKind, wave string, repair ...Kind) (Run, bool, error) {
	return l.findRun(ctx, "WHERE kind = ? AND wave = ? AND repair = ? AND state IN ('running', 'interrupted', 'partial')", kind, wave, joinKinds(repair))
}

// Run finds a run by its id, with its pins. Errors: ErrNoRun.
func (l *Ledger) Run(ctx context.Context, id string) (Run, error) {
	run, ok, err := l.findRun(ctx, "WHERE id = ?", id)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %q", ErrNoRun, id)
	}
	return run, err
}

// Latest finds the run that began last, of any of the kinds (none, or "": of all), with its pins; false if there is none.
func (l *Ledger) Latest(ctx context.Context, kinds ...RunKind) (Run, bool, error) {
	if len(kinds) == 0 || slices.Contains(kinds, "") {
		kinds = []RunKind{Dry, Real}
	}
	args := make([]any, len(kinds))
	for i, kind := range kinds {
		args[i] = kind
	}
	return l.findRun(ctx, "WHERE kind IN (?"+strings.Repeat(", ?", len(kinds)-1)+") ORDER BY seq DESC LIMIT 1", args...)
}

// Runs lists all runs in the order in which they began, without pins.
func (l *Ledger) Runs(ctx context.Context) ([]Run, error) {
	return collect(ctx, l, "list runs", scanRun,
		"SELECT "+runColumns+" FROM runs ORDER BY seq")
}

func (l *Ledger) findRun(ctx context.Context, where string, args ...any) (Run, bool, error) {
	run, err := scanRun(l.reader.row(ctx, "SELECT "+runColumns+" FROM runs "+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, during("find run", err)
	}
	run.Pins = map[string]string{}
	for row, err := range l.reader.rows(ctx, "SELECT name, value FROM pins WHERE run = ?", run.Seq) {
		var name, value string
		if err == nil {
			err = row.Scan(&name, &value)
		}
		if err != nil {
			return Run{}, false, during("find run", err)
		}
		run.Pins[name] = value
	}
	return run, true, nil
}

// Resume takes up an unfinished run: it compares the pins, sets the run running, and frees the tasks that a dead or
// failed worker left, so that they are claimed again. Errors: *ChangedError if a pin differs, ErrNoRun.
func (l *Ledger) Resume(ctx context.Context, id string, pins map[string]string) (Run, error) {
	run, err := l.Run(ctx, id)
	if err != nil {
		return Run{}, err
	}
	if lines := Differences(run.Pins, pins); lines != nil {
		return Run{}, &ChangedError{Run: id, Differences: lines}
	}
	err = l.write(ctx, "resume run", func(tx handle) error {
		if err := tx.one(ctx, fmt.Errorf("%s has ended", id),
			"UPDATE runs SET state = 'running', reason = '', resumes = resumes + 1 WHERE seq = ? AND state IN ('running', 'interrupted', 'partial')", run.Seq); err != nil {
			return err
		}
		if err := l.free(ctx, tx, run.Seq); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE tasks SET state = 'pending', reason = '' WHERE run = ? AND state = 'failed'", run.Seq); err != nil {
			return err
		}
		return l.audit(ctx, tx, "run resumed", describe(id, run.Wave, run.Target, run.Repair))
	})
	if err != nil {
		return Run{}, err
	}
	return l.Run(ctx, id)
}

// SetState moves a run to a state and adds elapsed, the time measured (monotonically) since the last call. A run that
// has ended keeps its state. reason says why, without patient data; it is required for Failed.
func (l *Ledger) SetState(ctx context.Context, id string, state State, elapsed time.Duration, reason string) error {
	return l.write(ctx, "set state of run", func(tx handle) error {
		run, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		var ended any
		if state.Ended() {
			ended = l.stamp()
		}
		if err := tx.one(ctx, fmt.Errorf("%s has ended already", id),
			"UPDATE runs SET state = ?, reason = ?, elapsed = elapsed + ?, ended = ? WHERE seq = ? AND state NOT IN ('finished', 'failed')",
			state, reason, int64(elapsed), ended, run); err != nil {
			return err
		}
		detail := id
		if reason != "" {
			detail += ": " + reason
		}
		return l.audit(ctx, tx, "run "+string(state), detail)
	})
}

// AddElapsed adds measured time to a run in any state, so that a killed process loses at most the last interval.
func (l *Ledger) AddElapsed(ctx context.Context, id string, elapsed time.Duration) error {
	return l.write(ctx, "add time to run", func(tx handle) error {
		run, err := lockRun(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, "UPDATE runs SET elapsed = elapsed + ? WHERE seq = ?", int64(elapsed), run)
		return err
	})
}

// seqOf finds the number of a run by its id. Errors: ErrNoRun.
func seqOf(ctx context.Context, q handle, id string) (int64, error) { return findSeq(ctx, q, id, "") }

// lockRun finds the number of a run by its id and locks it. Whoever adds to counters or takes work back locks the run
// first, so that two of them never wait for each other. Errors: ErrNoRun.
func lockRun(ctx context.Context, tx handle, id string) (int64, error) {
	return findSeq(ctx, tx, id, " {lock}")
}

func findSeq(ctx context.Context, q handle, id, mark string) (int64, error) {
	var seq int64
	err := q.row(ctx, "SELECT seq FROM runs WHERE id = ?"+mark, id).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%w: %q", ErrNoRun, id)
	}
	return seq, err
}

// collect runs a query on a reading connection and returns its rows, never nil.
func collect[T any](ctx context.Context, l *Ledger, op string, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	list := []T{}
	for item, err := range stream(ctx, l, op, scan, query, args...) {
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}
