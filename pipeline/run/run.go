package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// Options says what kind of run is wanted.
type Options struct {
	Dry          bool    // send nothing
	Wave         string  // only this wave's patients and what belongs to no patient; empty: all
	Sample       int64   // only the first records of each table; 0: all. Dry runs only
	Rejected     bool    // also try again what the target rejected
	AcceptChange bool    // end an unfinished run that a change has cut off, and start a new one
	Workers      int     // concurrent extractors; 0: one per core
	Memory       int64   // bytes that tables read beside others may hold in memory; 0: DefaultMemory
	Deep         float64 // share of the resources that are validated once more, from their bytes alone; 0: none
}

// execution is one process's work on one run: it opens what the stations need, lets one after the other work, and
// records how the run stands.
type execution struct {
	session *plan.Session
	run     ledger.Run
	options Options
	staged  plan.Staged
	types   map[string]string
	target  *plan.Opened // nil in a dry run
	state   *state.State // of the target; nil in a dry run
	reading *Reading
	making  *making

	resolver resolver
	watch    time.Time // start of the time not yet recorded
}

// Run does the plan, or goes on with a run that was stopped. The account is returned also when the run was interrupted
// or failed on its way; then err says why. The session is opened with Tables, Keys and Write.
func Run(ctx context.Context, s *plan.Session, o Options) (*ledger.Summary, error) {
	if err := checkOptions(s.Plan, o); err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	e := &execution{session: s, options: o, watch: s.Now()}
	besides := int64(0)
	if len(s.Program.Indexes) > 0 {
		besides = o.Memory
	}
	defer tuneMemory(besides)()
	identity := ""
	if !o.Dry {
		if err := checkBackup(ctx, s.Plan, s.Keys); err != nil {
			return nil, err
		}
		target, err := s.OpenTarget(ctx, e.resolver.of)
		if err != nil {
			return nil, err
		}
		if err := marking(s).claim(ctx, target.Stores); err != nil {
			return nil, err
		}
		e.target, identity = target, target.Identity()
	}
	if err := e.begin(ctx, identity); err != nil {
		return nil, err
	}
	err := e.stations(ctx)
	return e.end(ctx, err)
}

func checkOptions(p *plan.Plan, o Options) error {
	if o.Sample > 0 && !o.Dry {
		return plan.Usagef("a sample is for dry runs: what a run leaves out would look like a loss")
	}
	if !o.Dry && p.Clinical == nil {
		return plan.Usagef("%s: the plan has no targets.clinical to load into", p.File)
	}
	if o.Wave == "" {
		return nil
	}
	var names []string
	for _, w := range p.Waves {
		names = append(names, w.Name)
	}
	if !slices.Contains(names, o.Wave) {
		return plan.Usagef("the plan has no wave %q; it has %s", o.Wave, strings.Join(names, ", "))
	}
	return nil
}

// begin starts a run, or takes up the unfinished one of its kind.
func (e *execution) begin(ctx context.Context, identity string) error {
	kind := ledger.Real
	if e.options.Dry {
		kind = ledger.Dry
	}
	pins, err := e.session.Pins(ctx, identity)
	if err != nil {
		return err
	}
	if e.options.Sample > 0 {
		pins["sample"] = strconv.FormatInt(e.options.Sample, 10)
	}
	unfinished, found, err := e.session.Ledger.Resumable(ctx, kind, e.options.Wave)
	if err != nil {
		return err
	}
	if found {
		e.run, err = e.session.Ledger.Resume(ctx, unfinished.ID, pins)
		var changed *ledger.ChangedError
		if errors.As(err, &changed) {
			if !e.options.AcceptChange {
				return plan.Usagef("%w\nput it back as it was, or start a new run with --accept-change", err)
			}
			if err := e.giveUp(ctx, unfinished); err != nil {
				return err
			}
			found = false
		} else if err != nil {
			return err
		}
	}
	if !found {
		e.run, err = e.session.Ledger.BeginRun(ctx, ledger.RunSpec{Kind: kind, Wave: e.options.Wave, Target: identity, Pins: pins})
		if err != nil {
			return err
		}
	}
	if err := recordSnapshots(ctx, e.session, e.run.ID); err != nil {
		return err
	}
	e.staged = e.session.Staged(e.run.ID)
	e.types = plan.MadeTypes(e.run.Pins)
	// What a killed process was writing is of no use to anyone; the ledger's lock says that nobody writes now.
	if err := errors.Join(e.staged.Place.Clean(ctx), e.staged.Scratch.Clean()); err != nil {
		return err
	}
	if e.options.Dry {
		return nil
	}
	if err := e.session.StateOf(identity).Place.Clean(ctx); err != nil {
		return err
	}
	return e.openState(ctx, identity)
}

// openState opens the state of the target, which must be the one that the ledger knows, and looks whether all of its
// patients have keys.
func (e *execution) openState(ctx context.Context, identity string) (err error) {
	if e.state, err = openState(ctx, e.session, identity); err != nil {
		return err
	}
	e.resolver.state.Store(e.state)
	if err := checkKeys(e.state, e.session.Keys); err != nil {
		return errors.Join(err, e.state.Close())
	}
	return nil
}

// openState opens the state of a target. A state that an earlier version of this program wrote is written anew.
func openState(ctx context.Context, s *plan.Session, identity string) (*state.State, error) {
	recorded, _, err := s.Ledger.StateOf(ctx, identity)
	if err != nil {
		return nil, err
	}
	home, known := s.StateOf(identity), state.Known{Generation: recorded.Generation, Digest: recorded.Digest}
	opened, err := home.Open(ctx, known)
	if errors.Is(err, state.ErrOldForm) {
		if err = home.Upgrade(ctx, s.Scratch("")); err == nil {
			opened, err = home.Open(ctx, known)
		}
	}
	var lost *state.Lost
	if errors.As(err, &lost) {
		return nil, fmt.Errorf("%w. Without it nobody knows what of ours is in the target, and edits there would be overwritten. "+
			"Put %s back from its backup; if there is none, `chartlift run --rebuild-state` makes it anew from the outcomes of all runs", err,
			plan.Relative(s.Plan.Dir, filepath.Join(s.Plan.Stage, "state")))
	}
	return opened, err
}

// giveUp ends an unfinished run that cannot go on. What it loaded is in the target all the same, so it goes into the
// target's state first: the next run is to know it. What cannot be read is named; the next run loads it anew.
func (e *execution) giveUp(ctx context.Context, run ledger.Run) (err error) {
	if run.Kind == ledger.Real {
		old, err := openState(ctx, e.session, run.Target)
		if err != nil {
			return err
		}
		merged, err := e.merging(run).into(ctx, old)
		var damage *stage.Damage
		if errors.As(err, &damage) {
			e.session.Log.Warn("what an abandoned run loaded is not known in full; it is loaded again", zap.String("run", run.ID), zap.String("damage", damage.Error()))
			err = nil
		}
		if err = errors.Join(err, merged.Close()); err != nil {
			return err
		}
	}
	return e.session.Ledger.SetState(ctx, run.ID, ledger.Failed, 0, "cut off by a change that was accepted")
}

// station is one step of a run.
type station struct {
	name string
	do   func(context.Context) error
}

// stations goes from one station to the next. Each records what it did before it ends, so a resume passes quickly
// through those that are done.
func (e *execution) stations(ctx context.Context) error {
	s := e.session
	once := &once{ledger: s.Ledger, run: e.run.ID}
	list := []station{
		{"coverage", (&coverage{once: once, notices: s.Notices}).do},
		{"plan", e.open},
		{"join", func(ctx context.Context) error {
			return (&joining{once: once, reading: e.reading, program: s.Program, workers: e.options.Workers}).do(ctx)
		}},
		{"waves", func(ctx context.Context) error { return e.reading.AssignWaves(ctx) }},
		{"extract", func(ctx context.Context) error {
			return (&extraction{ledger: s.Ledger, run: e.run.ID, reading: e.reading, making: e.making, workers: e.options.Workers, progress: s.Progress, log: s.Log}).do(ctx)
		}},
		{"group", func(ctx context.Context) error {
			return (&grouping{once: once, ledger: s.Ledger, reading: e.reading, making: e.making, progress: s.Progress}).do(ctx)
		}},
		{"check", func(ctx context.Context) error {
			return (&crosscheck{once: once, ledger: s.Ledger, run: e.run.ID, wave: e.options.Wave, sample: e.options.Sample, types: e.types,
				program: s.Program, reading: e.reading, making: e.making, state: e.state, progress: s.Progress}).do(ctx)
		}},
		{"formulas", (&formulas{once: once, ledger: s.Ledger, run: e.run.ID, program: s.Program}).do},
	}
	if !e.options.Dry {
		list = append(list, station{"load", e.load}, station{"vanished", func(ctx context.Context) error { return e.vanishing(once).do(ctx) }}, station{"verify", func(ctx context.Context) error { return e.verification(once).do(ctx) }})
	}
	list = append(list,
		station{"backup", (&backups{once: once, separates: s.Plan.Separates(), keys: s.Keys, log: s.Log}).do},
		station{"account", (&accounting{ledger: s.Ledger, run: e.run, types: e.types, limits: s.Plan.Gates}).do})
	for _, st := range list {
		if err := st.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		lap := e.lap()
		s.Log.Info("station done", zap.String("run", e.run.ID), zap.String("station", st.name), zap.Duration("took", lap))
		if err := s.Ledger.AddElapsed(ctx, e.run.ID, lap); err != nil {
			return err
		}
	}
	return nil
}

// open lists the tables and shards that the run reads.
func (e *execution) open(ctx context.Context) (err error) {
	s := e.session
	e.reading, err = NewReading(ctx, s, s.Program, ReadingOptions{
		Waves: s.Plan.Waves, Wave: e.options.Wave, Sample: e.options.Sample, Workers: e.options.Workers, Memory: e.options.Memory,
		Scratch: e.staged.Scratch, PlanFile: s.Plan.File, Progress: s.Progress,
	})
	e.making = &making{migration: s.Plan.Migration, staged: e.staged, policy: s.Policy, program: s.Program,
		reading: e.reading, deep: e.options.Deep}
	return err
}

// load loads the batches and brings the state up to date.
func (e *execution) load(ctx context.Context) error {
	s := e.session
	l := &loading{ledger: s.Ledger, run: e.run, staged: e.staged, program: s.Program, stores: e.target.Stores, placed: e, resolver: &e.resolver,
		rejected: e.options.Rejected, markers: marking(s), progress: s.Progress}
	if e.target.ServerIDs {
		l.levels = e.merge // references to what a level has brought need the ids that it was given
	}
	if err := l.do(ctx); err != nil {
		return err
	}
	return e.merge(ctx)
}

// Lookup tells what of ours is where, as of the newest state.
func (e *execution) Lookup(typ string, id stage.ID, store string) (state.Placement, bool, error) {
	return e.state.Lookup(typ, id, store)
}

// merge brings the state of the target up to date with what the run has loaded.
func (e *execution) merge(ctx context.Context) error {
	now, err := e.merging(e.run).into(ctx, e.state)
	e.setState(now)
	return err
}

func (e *execution) merging(run ledger.Run) *merging {
	m := &merging{ledger: e.session.Ledger, run: run, staged: e.session.Staged(run.ID), names: []string{""}}
	if run.Pins["delivery"] == plan.DeliverSplit {
		m.names = []string{load.StoreClinical, load.StoreIdentity}
	}
	return m
}

func (e *execution) vanishing(once *once) *vanishing {
	s := e.session
	return &vanishing{once: once, ledger: s.Ledger, run: e.run, staged: s.Staged, program: s.Program, reading: e.reading, stores: e.target.Stores,
		state: e.state, merging: e.merging(e.run), changed: e.setState, policy: s.Plan.Vanished, limits: s.Plan.Gates, progress: s.Progress}
}

// setState keeps the newest state of the target.
func (e *execution) setState(now *state.State) {
	e.state = now
	e.resolver.state.Store(now)
}

func (e *execution) verification(once *once) *verification {
	s := e.session
	return &verification{once: once, ledger: s.Ledger, run: e.run, staged: e.staged, stores: e.target.Stores, placed: e, types: e.types,
		migration: s.Plan.Migration, live: s.Plan.Live, progress: s.Progress}
}

// lap is the time since the last lap. It is measured on the monotonic clock that time.Now carries.
func (e *execution) lap() time.Duration {
	now := e.session.Now()
	d := now.Sub(e.watch)
	e.watch = now
	return max(d, 0)
}

// end records how the run stands and answers its account.
func (e *execution) end(ctx context.Context, err error) (*ledger.Summary, error) {
	e.session.Progress.Done()
	if e.reading != nil {
		err = errors.Join(err, e.reading.Close())
	}
	if e.state != nil {
		err = errors.Join(err, e.state.Close())
	}
	state, reason := ledger.Finished, ""
	switch {
	case err == nil:
		open, openErr := e.openWork(ctx)
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
		if err = balance(ctx, e.session.Ledger, e.run.ID); err != nil {
			state, reason = ledger.Failed, "the account does not balance"
		}
	}
	if failed := e.session.Ledger.SetState(ctx, e.run.ID, state, e.lap(), reason); failed != nil {
		return nil, errors.Join(err, failed)
	}
	summary, failed := e.session.Ledger.Summary(ctx, e.run.ID)
	return summary, errors.Join(err, failed)
}

// openWork tells whether something was left to be tried again.
func (e *execution) openWork(ctx context.Context) (bool, error) {
	if e.options.Dry {
		return false, nil
	}
	batches, err := e.session.Ledger.Batches(ctx, e.run.ID, ledger.BatchFilter{Open: true})
	return len(batches) > 0, err
}
