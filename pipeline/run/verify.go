package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const (
	verifiers     = 4
	readResources = 200 // resources asked for at once
	// mostDifferences bounds how many elements of one resource are listed: beyond it the resource is simply another.
	mostDifferences = 20
)

// verifications is what verification needs of the ledger.
type verifications interface {
	batchList
	Record(ctx context.Context, run string, report ledger.Report) error
}

// verification is the station that reads everything back.
type verification struct {
	once      *once
	ledger    verifications
	run       ledger.Run
	place     stage.Place // of the run's batches
	keys      *phi.Keyring
	target    load.Target
	state     *stage.State
	types     map[string]string // by mapping
	migration string
	live      time.Time // from when on people work in the target
	progress  plan.Progress
}

// do reads back every batch, the gravest domain first, and then looks for what should not be there.
func (s *verification) do(ctx context.Context) error {
	if err := inspect(ctx, s.place, s.keys); err != nil {
		return err
	}
	out, err := ReadExclusions(ctx, s.ledger, s.run.ID, s.place, s.keys)
	if errors.Is(err, ErrUnchecked) {
		return nil // nothing was loaded yet
	}
	if err != nil {
		return err
	}
	batches, err := s.ledger.Batches(ctx, s.run.ID, ledger.BatchFilter{State: ledger.Loaded})
	if err != nil {
		return err
	}
	slices.SortStableFunc(batches, func(a, b ledger.Batch) int {
		return int(ledger.DomainOf(a.Type)) - int(ledger.DomainOf(b.Type))
	})
	var total int64
	for _, b := range batches {
		total += b.Outcome.Loaded + b.Outcome.Unchanged
	}
	s.progress.Stage("verify", "resources", total)
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(verifiers)
	for _, b := range batches {
		p.Go(func(ctx context.Context) error { return s.verifyBatch(ctx, b, out[b.ID]) })
	}
	if err := p.Wait(); err != nil {
		return err
	}
	return s.once.do(ctx, ledger.Verify, "unexpected", s.unexpected)
}

// checking is the verification of one batch.
type checking struct {
	of     *verification
	info   stage.Info
	count  ledger.VerifiedCount
	report ledger.Report
	sent   []phi.Sealed
	states []outcome
}

func (s *verification) verifyBatch(ctx context.Context, b ledger.Batch, excluded map[int]uint8) error {
	known, err := outcomesOf(ctx, s.place, s.keys, b)
	if err != nil {
		return err
	}
	c := &checking{of: s, info: infoOf(s.run.ID, b), count: ledger.VerifiedCount{Type: b.Type}}
	position := -1
	for sealed, err := range stage.Read(ctx, s.place, s.keys, c.info) {
		if err != nil {
			return err
		}
		position++
		if _, out := excluded[position]; out {
			continue
		}
		o := known[position]
		switch {
		case o.kind.Stored():
			c.sent, c.states = append(c.sent, sealed), append(c.states, o)
		case o.kind == load.Rejected:
			store, code, both := strings.Cut(o.code, "/")
			if !both {
				store, code = "", o.code
			}
			c.note(ledger.Rejected, sealed, store, code)
		}
		if len(c.sent) == readResources {
			if err := c.compare(ctx); err != nil {
				return err
			}
		}
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	c.report.Verified = []ledger.VerifiedCount{c.count}
	c.report.Outcomes = []ledger.BatchOutcome{{Batch: b.ID, State: ledger.Verified, Outcomes: b.Outcome}}
	s.progress.Add(b.Outcome.Loaded + b.Outcome.Unchanged)
	return s.ledger.Record(ctx, s.run.ID, c.report)
}

// note records a discrepancy about a resource of ours.
func (c *checking) note(kind ledger.Kind, sealed phi.Sealed, path, code string) {
	place := sealed.Place()
	c.report.Discrepancies = append(c.report.Discrepancies, ledger.Discrepancy{
		Kind: kind, Type: sealed.Type(), ID: sealed.ID(), Path: path, Table: place.Table, Line: place.Line, Code: code,
	})
}

// compare reads back what is gathered, from every store that holds it, and judges each resource.
func (c *checking) compare(ctx context.Context) error {
	if len(c.sent) == 0 {
		return nil
	}
	verdicts := make([]verdict, len(c.sent))
	for _, store := range c.of.target.Stores() {
		var ids []string
		var at []int
		for i, s := range c.sent {
			if store.Holds(s) {
				ids, at = append(ids, s.ID()), append(at, i)
			}
		}
		if len(ids) == 0 {
			continue
		}
		found, err := store.Read(ctx, c.info.Type, ids)
		if err != nil {
			return err
		}
		for n, i := range at {
			v := notCompared
			if n < len(found) {
				if v, err = c.judge(store, c.sent[i], c.states[i], found[n]); err != nil {
					return err
				}
			}
			verdicts[i] = max(verdicts[i], v)
		}
	}
	for _, v := range verdicts {
		v.count(&c.count)
	}
	c.sent, c.states = c.sent[:0], c.states[:0]
	return nil
}

// editedSince tells a clinician's edit from damage: another version than ours, made after the moment from which the
// plan says that people work in the target. Before it nobody should have changed anything, so a change is a difference.
func (c *checking) editedSince(store load.Store, o outcome, f load.Found, got *fhir.Node) bool {
	version := load.VersionAt(o.version, store)
	if c.of.live.IsZero() || version == "" || f.Version == version {
		return false
	}
	updated, err := time.Parse(time.RFC3339Nano, got.At("meta", "lastUpdated").Str())
	return err == nil && !updated.Before(c.of.live)
}

// safeVersion keeps a server's version id only in the form that FHIR gives it.
func safeVersion(v string) string {
	if fhir.ValidID(v) {
		return v
	}
	return "unknown"
}

// unexpected lists what carries this migration's mark in the target and is not in its state.
func (s *verification) unexpected(ctx context.Context) (ledger.Report, error) {
	var report ledger.Report
	types := map[string]bool{}
	for _, typ := range s.types {
		types[typ] = true
	}
	for _, typ := range fhir.Resources() {
		if !types[typ] {
			continue
		}
		count := ledger.VerifiedCount{Type: typ}
		for id, err := range s.target.List(ctx, typ, s.migration) {
			if err != nil {
				return report, fmt.Errorf("list %s: %w", typ, err)
			}
			ours := false
			if parsed, ok := mapping.ParseID(id); ok {
				if _, ours, err = s.state.Lookup(typ, stage.ID(parsed)); err != nil {
					return report, err
				}
			}
			if !ours {
				count.Unexpected++
				report.Discrepancies = append(report.Discrepancies, ledger.Discrepancy{Kind: ledger.Unexpected, Type: typ, ID: id, Code: "not-in-state"})
			}
		}
		report.Verified = append(report.Verified, count)
	}
	return report, nil
}
