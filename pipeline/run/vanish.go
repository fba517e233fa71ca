package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// vanishings is what the station of vanished resources needs of the ledger.
type vanishings interface {
	batchList
	Refusals(ctx context.Context, run string) iter.Seq2[ledger.Refusal, error]
	Append(ctx context.Context, action, detail string) error
}

// vanishing is the station that names what is in the target and is made by no record of the source any more, and deals
// with it as the plan says.
type vanishing struct {
	once     *once
	ledger   vanishings
	run      ledger.Run
	staged   func(run string) plan.Staged
	program  *mapping.Program
	reading  *Reading
	stores   []plan.Store
	state    *state.State
	merging  *merging
	changed  func(*state.State) // is told of the state after something was taken back
	policy   string             // one of plan's Vanished constants
	limits   []plan.Limit       // the plan's gates
	progress plan.Progress
}

// Codes of discrepancies about what vanished.
const (
	codeGone     = "not-in-source"  // nothing was done about it
	codeNotTaken = "not-taken-back" // the target would not have it
	codeEdited   = "edited-since"   // somebody has changed it there, so it was left
	codeUnsure   = "unsure"         // records of its table were refused whose key nobody could read: it may be one of them
	codeTooMany  = "too-many"       // so much vanished that nothing is taken back without a person
)

// vanished is one resource, with all its placements.
type vanished struct {
	placements []state.Placement
	code       string
}

func (s *vanishing) do(ctx context.Context) error {
	return s.once.do(ctx, ledger.Check, "vanished", func(ctx context.Context) (ledger.Report, error) {
		s.progress.Stage("vanished", "resources", 0)
		refused, err := s.refused(ctx)
		if err != nil {
			return ledger.Report{}, err
		}
		again, err := s.rekeyed(ctx, refused)
		if err != nil {
			return ledger.Report{}, err
		}
		left := map[stage.ID]string{} // what could not be taken back, with the code that says why
		acts := s.policy != plan.VanishedReport
		if acts {
			if acts, err = s.few(refused); err != nil {
				return ledger.Report{}, err
			}
		}
		if acts {
			if left, err = s.takeBack(ctx, refused); err != nil {
				return ledger.Report{}, err
			}
		}
		return s.name(ctx, refused, again, left, acts)
	})
}

// all iterates over what vanished, each resource once, in the order of the state.
func (s *vanishing) all(refused *refusedKeys) iter.Seq2[vanished, error] {
	return func(yield func(vanished, error) bool) {
		var v vanished
		flush := func() bool {
			out := v
			v = vanished{}
			return len(out.placements) == 0 || yield(out, nil)
		}
		for c, err := range s.state.Diff(s.run.ID, s.inScope) {
			if err != nil {
				yield(vanished{}, err)
				return
			}
			p := c.Placement
			if c.Kind != state.Gone || refused.ids[p.ID] {
				continue
			}
			if len(v.placements) > 0 && (v.placements[0].ID != p.ID || v.placements[0].Type != p.Type) && !flush() {
				return
			}
			v.placements = append(v.placements, p)
			v.code = codeGone
			if refused.unknown[p.Table] {
				v.code = codeUnsure
			}
		}
		flush()
	}
}

// An export that was cut short looks like one from which much was deleted. So nothing is taken back where more vanished of
// a type than this share of what is there of it, and more than a few, unless the plan's own gate allows as many.
const (
	mostShare = 0.1
	aFew      = 10
)

// few tells whether so little vanished that it may be taken back without a person.
func (s *vanishing) few(refused *refusedKeys) (bool, error) {
	gone, there := map[string]int64{}, map[string]int64{}
	all := int64(0)
	for v, err := range s.all(refused) {
		if err != nil {
			return false, err
		}
		gone[v.placements[0].Type]++
		all++
	}
	if all == 0 {
		return true, nil
	}
	for p, err := range s.state.All("") {
		if err != nil {
			return false, err
		}
		if p.Status.There() && p.Store == s.stores[0].Name() && s.inScope(p) {
			there[p.Type]++
		}
	}
	for typ, n := range gone {
		if n > aFew && float64(n) > mostShare*float64(there[typ]) {
			// The plan's gate can allow more; a strict one is held against what is left, and keeps nothing from being taken back.
			return slices.ContainsFunc(s.limits, func(l plan.Limit) bool {
				return l.Name == "vanished" && !l.Share && float64(all) <= l.Value
			}), nil
		}
	}
	return true, nil
}

// inScope tells whether this run would have had a record for a placement, if the source still had one.
func (s *vanishing) inScope(p state.Placement) bool {
	return s.reading.Waves.Reads(mapping.ID(p.Patient))
}

// name lists what vanished. What looks like another resource of the same patient under a new key is named as that.
func (s *vanishing) name(ctx context.Context, refused *refusedKeys, again map[stage.ID]stage.ID, left map[stage.ID]string, acted bool) (ledger.Report, error) {
	var report ledger.Report
	counts := map[string]*ledger.ResourceCount{}
	for v, err := range s.all(refused) {
		if err != nil {
			return report, err
		}
		if err := ctx.Err(); err != nil {
			return report, err
		}
		p := v.placements[0]
		if s.policy != plan.VanishedReport && !acted {
			v.code = codeTooMany
		} else if acted && v.code != codeUnsure {
			code, ok := left[p.ID]
			if !ok {
				continue
			}
			v.code = code
		}
		count := counts[p.Type]
		if count == nil {
			count = &ledger.ResourceCount{Type: p.Type}
			counts[p.Type] = count
		}
		count.Vanished++
		d := ledger.Discrepancy{Kind: ledger.Vanished, Type: p.Type, ID: mapping.ID(p.ID).String(), Table: p.Table, Line: p.Line, Code: v.code}
		if now, ok := again[p.ID]; ok {
			count.Rekeyed++
			d.Kind, d.Code = ledger.Rekeyed, "now "+mapping.ID(now).String()
		}
		report.Discrepancies = append(report.Discrepancies, d)
	}
	for _, c := range counts {
		report.Resources = append(report.Resources, *c)
	}
	return report, nil
}

// refusedKeys are the ids of the records that this run has refused: the source still has them, so what an earlier run made
// of them did not vanish. It grows with the refusals.
type refusedKeys struct {
	ids     map[stage.ID]bool
	unknown map[string]bool // tables with refused records whose key could not be read
}

// refused reads the quarantined rows of the run.
func (s *vanishing) refused(ctx context.Context) (*refusedKeys, error) {
	out := &refusedKeys{ids: map[stage.ID]bool{}, unknown: map[string]bool{}}
	lines := map[string]map[int64]bool{}
	for r, err := range s.ledger.Refusals(ctx, s.run.ID) {
		if err != nil {
			return nil, err
		}
		if byCheck(r.Rule) {
			continue // it has an id, and so it was seen
		}
		if lines[r.Table] == nil {
			lines[r.Table] = map[int64]bool{}
		}
		lines[r.Table][r.Line] = true
	}
	if len(lines) == 0 {
		return out, nil
	}
	at := s.staged(s.run.ID)
	names, err := at.Place.List(ctx, "")
	if err != nil {
		return nil, err
	}
	worker := s.program.NewWorker()
	for _, name := range names {
		id, ok := strings.CutSuffix(name, quarantineSuffix)
		if !ok {
			continue
		}
		for row, err := range stage.ReadQuarantine(ctx, at.Place, at.Keys, id) {
			if err != nil {
				return nil, err
			}
			if !s.keysOf(worker, row, out.ids) {
				out.unknown[row.Place.Table] = true
			}
			delete(lines[row.Place.Table], row.Place.Line)
		}
	}
	for table, left := range lines {
		if len(left) > 0 {
			out.unknown[table] = true
		}
	}
	return out, nil
}

// byCheck tells whether a refusal is one of the check over all ids: it took out a resource that was made.
func byCheck(rule string) bool {
	for _, reason := range []uint8{ExcludedDuplicate, ExcludedConflict, ExcludedMissing} {
		if rule == string(excludedRule(reason)) {
			return true
		}
	}
	return false
}

// keysOf adds the ids that the mappings of its table would give to what a refused row makes; false if that cannot be told.
func (s *vanishing) keysOf(worker *mapping.Worker, row stage.QuarantinedRow, ids map[stage.ID]bool) bool {
	known := true
	for _, t := range s.reading.Tables {
		if t.Name != row.Place.Table {
			continue
		}
		var cells map[string]string
		if err := json.Unmarshal(row.Row.Reveal(), &cells); err != nil {
			return false
		}
		rec := &extract.Record{Table: t.Table, Line: row.Place.Line}
		for _, c := range t.Columns {
			rec.Cells = append(rec.Cells, cells[c])
		}
		for _, m := range append(slices.Clone(t.Rows), t.Groups...) {
			id, ok := worker.Key(m, rec)
			ids[stage.ID(id)] = true
			known = known && ok && !m.Many && m.Duplicates != mapping.NumberDuplicates
		}
	}
	return known
}

// takeBack deletes or marks what vanished, what refers to others before what they refer to. It returns what was left, with
// the code that says why.
func (s *vanishing) takeBack(ctx context.Context, refused *refusedKeys) (map[stage.ID]string, error) {
	levels := map[string]int{}
	deepest := 0
	for _, m := range s.program.Mappings {
		levels[m.Type] = max(levels[m.Type], m.Level)
		deepest = max(deepest, m.Level)
	}
	left := map[stage.ID]string{}
	changes := state.NewChanges(s.staged(s.run.ID).Scratch, SortBudget)
	taken := map[stage.ID]bool{}
	var failure error
	for level := deepest; level >= 0 && failure == nil; level-- {
		var batch []vanished
		flush := func() error {
			for n, store := range s.stores {
				if err := s.takeFrom(ctx, n, store, batch, changes, left, taken); err != nil {
					return err
				}
			}
			batch = batch[:0]
			return nil
		}
		for v, err := range s.all(refused) {
			if failure = err; err != nil {
				break
			}
			if v.code == codeUnsure || levels[v.placements[0].Type] != level {
				continue
			}
			if batch = append(batch, v); len(batch) == sendResources {
				if failure = flush(); failure != nil {
					break
				}
			}
		}
		if failure == nil {
			failure = flush()
		}
	}
	if len(taken) > 0 {
		// What was taken back must be known, also when the target failed on the way.
		durable := context.WithoutCancel(ctx)
		now, err := s.merging.apply(durable, s.state, changes)
		s.state = now
		s.changed(now)
		failure = errors.Join(failure, err, s.ledger.Append(durable, "vanished: "+s.policy, fmt.Sprintf("%s, %d resources", s.run.ID, len(taken))))
	}
	return left, errors.Join(failure, changes.Close())
}

// takeFrom takes some resources back from one store.
func (s *vanishing) takeFrom(ctx context.Context, n int, store plan.Store, batch []vanished, changes *state.Changes, left map[stage.ID]string, taken map[stage.ID]bool) error {
	var list []load.Existing
	var of []state.Placement
	for _, v := range batch {
		for _, p := range v.placements {
			if p.Store != store.Name() {
				continue
			}
			id := p.Server
			if id == "" {
				id = mapping.ID(p.ID).String()
			}
			list, of = append(list, load.Existing{Type: p.Type, ID: id, Version: p.Version}), append(of, p)
		}
	}
	if len(list) == 0 {
		return nil
	}
	take := store.Delete
	if s.policy == plan.VanishedMark {
		take = store.Mark
	}
	outcomes, err := take(ctx, list)
	for i, o := range outcomes {
		p := of[i]
		switch o.Kind {
		case load.Deleted:
			p.Status = state.Undone
		case load.Updated, load.Unchanged:
			p.Status, p.Version, p.Written, p.Digest = state.Vanished, o.Version, s.run.ID, [16]byte{}
		case load.Edited:
			left[p.ID] = codeEdited
			continue
		default:
			left[p.ID] = codeNotTaken
			continue
		}
		taken[p.ID] = true
		if e := changes.Add(p); e != nil {
			return errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("what vanished: %w", err)
	}
	return nil
}
