package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/reconcile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// RunOptions says what kind of run is wanted.
type RunOptions struct {
	Dry          bool    // send nothing
	Wave         string  // only this wave's patients and what belongs to no patient; empty: all
	Sample       int64   // only the first records of each table; 0: all. Dry runs only
	Rejected     bool    // also try again what the target rejected
	AcceptChange bool    // end an unfinished run that a change has cut off, and start a new one
	Workers      int     // concurrent extractors; 0: one per core
	Memory       int64   // bytes that tables read beside others may hold in memory; 0: DefaultMemory
	Deep         float64 // share of the resources that are validated once more, from their bytes alone; 0: none
}

// runner is one process's work on one run.
type runner struct {
	*Session
	run     ledger.Run
	options RunOptions
	workers int
	dir     string // of this run's staged files
	types   map[string]string
	tables  []*tableWork
	joined  *joined // nil if no mapping reads a table beside its own
	waves   *waves
	target  *target      // nil in a dry run
	state   *stage.State // of the target; empty in a dry run without one
	watch   time.Time    // start of the time not yet recorded

	uncheckedMu sync.Mutex
	unchecked   map[string]int64 // how often what could not be judged was recorded
}

// Run does the plan, or goes on with a run that was stopped. The account is answered also when the run was interrupted
// or failed on its way; then err says why.
func (s *Session) Run(ctx context.Context, o RunOptions) (*ledger.Summary, error) {
	if err := s.checkOptions(o); err != nil {
		return nil, err
	}
	r := &runner{Session: s, options: o, workers: o.Workers, watch: s.options.Now()}
	besides := int64(0)
	if len(s.Program.Indexes) > 0 {
		besides = r.memory()
	}
	defer tuneMemory(besides)()
	if r.workers <= 0 {
		r.workers = runtime.GOMAXPROCS(0)
	}
	identity := ""
	if !o.Dry {
		if err := s.checkBackup(); err != nil {
			return nil, err
		}
		target, err := s.openTarget(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.claimTarget(ctx, target); err != nil {
			return nil, err
		}
		r.target, identity = target, target.Identity()
	}
	if err := r.begin(ctx, identity); err != nil {
		return nil, err
	}
	err := r.stations(ctx)
	return r.end(ctx, err)
}

func (s *Session) checkOptions(o RunOptions) error {
	if o.Sample > 0 && !o.Dry {
		return usagef("a sample is for dry runs: what a run leaves out would look like a loss")
	}
	if !o.Dry && s.Plan.Clinical == nil {
		return usagef("%s: the plan has no targets.clinical to load into", s.Plan.File)
	}
	if o.Wave == "" {
		return nil
	}
	var names []string
	for _, w := range s.Plan.Waves {
		names = append(names, w.Name)
	}
	if !slices.Contains(names, o.Wave) {
		return usagef("the plan has no wave %q; it has %s", o.Wave, strings.Join(names, ", "))
	}
	return nil
}

// begin starts a run, or takes up the unfinished one of its kind.
func (r *runner) begin(ctx context.Context, identity string) error {
	kind := ledger.Real
	if r.options.Dry {
		kind = ledger.Dry
	}
	pins, err := r.pins(ctx, identity)
	if err != nil {
		return err
	}
	if r.options.Sample > 0 {
		pins["sample"] = strconv.FormatInt(r.options.Sample, 10)
	}
	unfinished, found, err := r.Ledger.Resumable(ctx, kind, r.options.Wave)
	if err != nil {
		return err
	}
	if found {
		r.run, err = r.Ledger.Resume(ctx, unfinished.ID, pins)
		var changed *ledger.ChangedError
		if errors.As(err, &changed) {
			if !r.options.AcceptChange {
				return usageError{fmt.Errorf("%w\nput it back as it was, or start a new run with --accept-change", err)}
			}
			if err := r.giveUp(ctx, unfinished); err != nil {
				return err
			}
			found = false
		} else if err != nil {
			return err
		}
	}
	if !found {
		r.run, err = r.Ledger.BeginRun(ctx, ledger.RunSpec{Kind: kind, Wave: r.options.Wave, Target: identity, Pins: pins})
		if err != nil {
			return err
		}
	}
	if err := r.recordSnapshots(ctx); err != nil {
		return err
	}
	r.dir = r.stageDir(r.run.ID)
	if err := stage.MakeFolder(r.dir); err != nil {
		return err
	}
	// What a killed process was writing is of no use to anyone; the ledger's lock says that nobody writes now.
	if err := errors.Join(stage.CleanTemp(r.dir), stage.CleanTemp(r.stateDir(identity))); err != nil {
		return err
	}
	r.types = madeTypes(r.run.Pins)
	if r.state, err = stage.OpenState(r.stateDir(identity)); err != nil {
		return err
	}
	if err := r.checkKeys(); err != nil {
		return errors.Join(err, r.state.Close())
	}
	return nil
}

// giveUp ends an unfinished run that cannot go on. What it loaded is in the target all the same, so it goes into the
// target's state first: the next run is to know it. What cannot be read is named; the next run loads it anew.
func (r *runner) giveUp(ctx context.Context, run ledger.Run) (err error) {
	if run.Kind == ledger.Real {
		old := &runner{Session: r.Session, run: run, dir: r.stageDir(run.ID)}
		if old.state, err = stage.OpenState(r.stateDir(run.Target)); err != nil {
			return err
		}
		err = old.mergeState(ctx)
		var damage *stage.Damage
		if errors.As(err, &damage) {
			r.log.Warn("what an abandoned run loaded is not known in full; it is loaded again", zap.String("run", run.ID), zap.String("damage", damage.Error()))
			err = nil
		}
		if err = errors.Join(err, old.state.Close()); err != nil {
			return err
		}
	}
	return r.Ledger.SetState(ctx, run.ID, ledger.Failed, 0, "cut off by a change that was accepted")
}

// stageDir holds the batches of a run.
func (s *Session) stageDir(run string) string { return filepath.Join(s.Plan.Stage, run) }

// stateDir holds the state of a target. Another URL is another target. A dry run has none, and reads an empty one.
func (s *Session) stateDir(identity string) string {
	if identity == "" {
		identity = "none"
	}
	return filepath.Join(s.Plan.Stage, "state", fileName(identity))
}

// station is one step of a run.
type station struct {
	name string
	do   func(context.Context) error
}

// stations goes from one station to the next. Each records what it did before it ends, so a resume passes quickly
// through those that are done.
func (r *runner) stations(ctx context.Context) error {
	list := []station{
		{"coverage", r.recordCoverage},
		{"plan", r.planTables},
		{"join", r.join},
		{"waves", r.assignWaves},
		{"extract", r.extract},
		{"group", r.group},
		{"check", r.crosscheck},
		{"formulas", r.recordFormulas},
	}
	if !r.options.Dry {
		list = append(list, station{"load", r.load}, station{"verify", r.verify})
	}
	list = append(list, station{"backup", r.checkNewKeys}, station{"account", r.account})
	for _, s := range list {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := r.Ledger.AddElapsed(ctx, r.run.ID, r.lap()); err != nil {
			return err
		}
	}
	return nil
}

// lap is the time since the last lap. It is measured on the monotonic clock that time.Now carries.
func (r *runner) lap() time.Duration {
	now := r.Session.options.Now()
	d := now.Sub(r.watch)
	r.watch = now
	return max(d, 0)
}

// end records how the run stands and answers its account.
func (r *runner) end(ctx context.Context, err error) (*ledger.Summary, error) {
	r.Session.options.Progress.Done()
	if r.joined != nil {
		err = errors.Join(err, r.joined.Close())
	}
	if r.state != nil {
		err = errors.Join(err, r.state.Close())
	}
	state, reason := ledger.Finished, ""
	switch {
	case err == nil:
		open, openErr := r.openWork(ctx)
		if openErr != nil {
			err = openErr
		}
		if open {
			state, reason = ledger.Partial, "some resources are in doubt or held back"
		}
	case ctx.Err() != nil:
		state, reason = ledger.Interrupted, "stopped by the operator"
	default:
		state, reason = ledger.Partial, "stopped by an error"
	}
	// What is recorded now must be recorded also when the operator has interrupted.
	ctx = context.WithoutCancel(ctx)
	if err == nil { // before anything says that the run has finished
		if err = r.balance(ctx); err != nil {
			state, reason = ledger.Failed, "the account does not balance"
		}
	}
	if e := r.Ledger.SetState(ctx, r.run.ID, state, r.lap(), reason); e != nil {
		return nil, errors.Join(err, e)
	}
	summary, e := r.Ledger.Summary(ctx, r.run.ID)
	return summary, errors.Join(err, e)
}

// balance checks the sums of the run's account. One that does not balance is an error of this program.
func (r *runner) balance(ctx context.Context) error {
	summary, err := r.Ledger.Summary(ctx, r.run.ID)
	if err != nil {
		return err
	}
	if faults := ledger.Balance(summary); len(faults) > 0 {
		return fmt.Errorf("the account of %s does not balance; this is an error of chartlift, please report it:\n  %s", r.run.ID, strings.Join(faults, "\n  "))
	}
	return nil
}

// openWork tells whether something was left to be tried again.
func (r *runner) openWork(ctx context.Context) (bool, error) {
	if r.options.Dry {
		return false, nil
	}
	batches, err := r.Ledger.Batches(ctx, r.run.ID, ledger.BatchFilter{Open: true})
	return len(batches) > 0, err
}

// recordCoverage puts what `check` found into the run's account, once.
func (r *runner) recordCoverage(ctx context.Context) error {
	return r.once(ctx, ledger.Check, "coverage", func(context.Context) (ledger.Report, error) {
		var report ledger.Report
		for _, n := range r.Notices {
			severity := ledger.NoticeSeverity
			if n.Severity == mapping.IsFinding {
				severity = ledger.FindingNeedsEye
			}
			report.Findings = append(report.Findings, ledger.Finding{Table: n.File, Column: n.Subject, Rule: n.Rule, Severity: severity})
		}
		return report, nil
	})
}

// once does a piece of work that is one task, unless an earlier process has finished it.
func (r *runner) once(ctx context.Context, kind ledger.TaskKind, subject string, do func(context.Context) (ledger.Report, error)) error {
	wave, level := "", 0
	task := ledger.Task{Kind: kind, Subject: subject, Wave: wave, Level: level}
	if err := r.Ledger.AddTasks(ctx, r.run.ID, []ledger.Task{task}); err != nil {
		return err
	}
	tasks, err := r.Ledger.Tasks(ctx, r.run.ID, ledger.TaskFilter{Kind: kind})
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.Subject != subject {
			continue
		}
		if t.State == ledger.TaskDone {
			return nil
		}
		t, err := r.Ledger.ClaimTask(ctx, t.ID)
		if err != nil {
			return err
		}
		report, err := do(ctx)
		if err != nil {
			return errors.Join(err, r.Ledger.Release(context.WithoutCancel(ctx), t))
		}
		return r.Ledger.Finish(ctx, t, report)
	}
	return fmt.Errorf("task %s %s is gone from the ledger", kind, subject)
}

// account ends the run's account: what was refused and rejected becomes a discrepancy that someone decides on, and the
// gates are held against it.
func (r *runner) account(ctx context.Context) error {
	return r.closeAccount(ctx, r.run, r.types)
}

// closeAccount evaluates the gates of a run and closes its verification.
func (s *Session) closeAccount(ctx context.Context, run ledger.Run, types map[string]string) error {
	refused := map[string]int64{}
	var report ledger.Report
	for f, err := range s.Ledger.Refusals(ctx, run.ID) {
		if err != nil {
			return err
		}
		refused[types[f.Mapping]]++
		report.Discrepancies = append(report.Discrepancies, ledger.Discrepancy{
			Kind: ledger.Refused, Type: types[f.Mapping], Table: f.Table, Line: f.Line, Path: f.Column, Code: f.Rule,
		})
		if len(report.Discrepancies) >= 10_000 {
			if err := s.Ledger.Record(ctx, run.ID, report); err != nil {
				return err
			}
			report.Discrepancies = report.Discrepancies[:0]
		}
	}
	if err := s.Ledger.Record(ctx, run.ID, report); err != nil {
		return err
	}
	summary, err := s.Ledger.Summary(ctx, run.ID)
	if err != nil {
		return err
	}
	gates := reconcile.Evaluate(summary, refused, s.limits(), run.Kind == ledger.Dry)
	if run.Kind == ledger.Dry {
		return s.Ledger.SetGates(ctx, run.ID, gates)
	}
	if err := s.Ledger.CloseVerification(ctx, run.ID, gates); err != nil {
		return err
	}
	crash.At(crash.RunAccount)
	return nil
}

func (s *Session) limits() []reconcile.Limit {
	var out []reconcile.Limit
	for _, l := range s.Plan.Gates {
		out = append(out, reconcile.Limit(l))
	}
	return out
}

// madePrefix marks the pins that say which type a mapping makes: they are part of what a run is, and reconcile needs
// them when the source is long gone.
const madePrefix = "makes "

func madeTypes(pins map[string]string) map[string]string {
	types := map[string]string{}
	for name, typ := range pins {
		if m, ok := strings.CutPrefix(name, madePrefix); ok {
			types[m] = typ
		}
	}
	return types
}

// sealerFor makes a sealer for one goroutine.
func (r *runner) sealer() *phi.Sealer { return phi.NewSealer(r.Plan.Migration, r.keys, r.policy) }

// NeedsReview tells whether a person has to look at something: exit code 3. Notices do not count.
func NeedsReview(s *ledger.Summary) bool {
	if s.Refusals > 0 || s.Findings > 0 || len(s.Unmapped) > 0 || s.State != ledger.Finished {
		return true
	}
	for _, bySeverity := range s.Discrepancies {
		for _, n := range bySeverity {
			if n > 0 {
				return true
			}
		}
	}
	return len(reconcile.Unmet(s.Gates)) > 0
}
