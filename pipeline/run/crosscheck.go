package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// crosschecks is what the check over all ids needs of the ledger.
type crosschecks interface {
	batchList
	refusedLines
}

// placements tells what an earlier run or wave has put into the target.
type placements interface {
	Lookup(typ string, id stage.ID, store string) (state.Placement, bool, error)
}

// crosscheck is the station that looks over all ids of a run.
type crosscheck struct {
	once     *once
	ledger   crosschecks
	run      string
	wave     string // the only one that is done; "": all
	sample   int64
	types    map[string]string // by mapping
	program  *mapping.Program
	reading  *Reading
	making   *making
	state    placements
	progress plan.Progress
}

// do looks over all ids of the run, when every record has been read: second records with one key, and
// references to what was never made. What it takes out is named in the ledger; the batches stay as they are.
func (s *crosscheck) do(ctx context.Context) error {
	return s.once.do(ctx, ledger.Check, checkAllIDs, func(ctx context.Context) (ledger.Report, error) {
		infos, err := Infos(ctx, s.ledger, s.run, ledger.BatchFilter{})
		if err != nil {
			return ledger.Report{}, err
		}
		c := &checker{of: s, infos: infos, out: Exclusions{}}
		s.progress.Stage("check", "resources", 0)
		if err := c.duplicates(ctx); err != nil {
			return ledger.Report{}, err
		}
		if s.sample == 0 {
			if err := c.allReferences(ctx); err != nil {
				return ledger.Report{}, err
			}
		}
		return c.finish(ctx)
	})
}

// checker is the work of one crosscheck.
type checker struct {
	of      *crosscheck
	infos   []stage.Info
	out     Exclusions
	struck  []struckEntry
	dropped map[dropKey][]stage.ID // references to leave out
	merged  map[string]int64       // by type
}

type dropKey struct{ batch, position int }

// struckEntry is a resource taken out for a fault, and the record it was made of.
type struckEntry struct {
	batch  int
	id     stage.ID
	line   int64
	reason uint8
}

// index iterates over the ids of some batches, in their order.
func (c *checker) index(ctx context.Context, infos []stage.Info) iter.Seq2[*stage.Entry, error] {
	at := c.of.making.staged
	return stage.Index(ctx, at.Place, at.Scratch, at.Keys, infos)
}

func (c *checker) deepest() (level int) {
	for _, i := range c.infos {
		level = max(level, i.Level)
	}
	return level
}

func (c *checker) strike(e *stage.Entry, reason uint8) {
	c.out.set(c.infos[e.Batch].ID, e.Position, reason)
	if excludedRule(reason) != "" {
		c.struck = append(c.struck, struckEntry{e.Batch, e.ID, e.Line, reason})
	}
}

// duplicates walks over all ids in order. Of several resources with one id the first in the source stays.
func (c *checker) duplicates(ctx context.Context) error {
	byName := map[string]*mapping.Mapping{}
	for _, m := range c.of.program.Mappings {
		byName[m.Name] = m
	}
	var first stage.Entry
	have := false
	c.merged = map[string]int64{}
	for e, err := range c.index(ctx, c.infos) {
		if err != nil {
			return err
		}
		if !have || e.ID != first.ID {
			first, have = *e, true
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		m := byName[c.infos[e.Batch].Mapping]
		other := byName[c.infos[first.Batch].Mapping]
		if m == nil || other == nil {
			return fmt.Errorf("batch %s is of a mapping that the plan does not have", c.infos[e.Batch].ID)
		}
		switch {
		case m.Duplicates == mapping.MergeDuplicates && e.Digest == first.Digest:
			c.strike(e, ExcludedMerged)
			c.merged[m.Type]++
		case m.Duplicates == mapping.MergeDuplicates:
			c.strike(e, ExcludedConflict)
		case m != other && m.Duplicates != other.Duplicates, m.Duplicates == mapping.NumberDuplicates:
			return fmt.Errorf("mappings %s and %s made one id of two records; give one of them an `ids:` of its own", other.Name, m.Name)
		default:
			c.strike(e, ExcludedDuplicate)
		}
	}
	return nil
}

// allReferences finds the references to what is not there. Levels go upward, so that what is taken out at one takes out
// what refers to it at the next. Where mappings refer to each other in a circle there is no such order: then all levels
// are gone through until nothing more is taken out.
func (c *checker) allReferences(ctx context.Context) error {
	circular := slices.ContainsFunc(c.of.program.Mappings, func(m *mapping.Mapping) bool { return m.Late })
	for {
		before := len(c.struck)
		for level := range c.deepest() + 1 {
			var here, known []int
			for i, info := range c.infos {
				if info.Level == level {
					here = append(here, i)
				}
				if info.Level < level || circular {
					known = append(known, i)
				}
			}
			if err := c.references(ctx, here, known); err != nil {
				return err
			}
		}
		if !circular || len(c.struck) == before {
			return nil
		}
	}
}

// references finds, for the resources of some batches, the references to what is in none of the known ones.
//
// Sorted are the ids that a batch refers to, not the references: thousands of results refer to a few dozen patients and
// visits. Only where an id turns out to be missing is the batch's index read again, for the resources that name it.
func (c *checker) references(ctx context.Context, here, known []int) (err error) {
	if len(here) == 0 || len(known) == 0 {
		return nil
	}
	sorter := stage.NewSorter(c.of.making.staged.Scratch, SortBudget)
	defer func() { err = errors.Join(err, sorter.Close()) }()
	var value [4]byte
	var recent recentIDs
	for _, batch := range here {
		recent.clear()
		binary.BigEndian.PutUint32(value[:], uint32(batch))
		out := c.out[c.infos[batch].ID]
		for e, err := range c.index(ctx, c.infos[batch:batch+1]) {
			if err != nil {
				return err
			}
			if len(out) > 0 {
				if _, gone := out[e.Position]; gone {
					continue
				}
			}
			for i := range e.Refs {
				if ref := &e.Refs[i]; recent.add(&ref.ID) {
					if err := sorter.Add(ref.ID[:], value[:]); err != nil {
						return err
					}
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	missing, err := c.join(ctx, sorter, pick(c.infos, known), known)
	if err != nil {
		return err
	}
	for _, batch := range slices.Sorted(maps.Keys(missing)) {
		if err := c.strikeReferrers(ctx, batch, missing[batch]); err != nil {
			return err
		}
	}
	return nil
}

// recentIDs forgets: an id that it has is one that was added, but not every id that was added is still there.
type recentIDs [1 << 12]stage.ID

// add tells whether the id is new, as far as is known.
func (r *recentIDs) add(id *stage.ID) bool {
	slot := &r[binary.LittleEndian.Uint16(id[:])%uint16(len(r))]
	if *slot == *id {
		return false
	}
	*slot = *id
	return true
}

func (r *recentIDs) clear() { *r = recentIDs{} }

// strikeReferrers takes out, or marks for mending, what refers from one batch to ids that are not there.
func (c *checker) strikeReferrers(ctx context.Context, batch int, missing map[stage.ID]bool) error {
	name := c.infos[batch].ID
	for e, err := range c.index(ctx, c.infos[batch:batch+1]) {
		if err != nil {
			return err
		}
		if _, out := c.out[name][e.Position]; out {
			continue
		}
		var dropped []stage.ID
		strike := false
		for _, ref := range e.Refs {
			switch {
			case !missing[ref.ID]:
			case ref.Drop:
				dropped = append(dropped, ref.ID)
			default:
				strike = true
			}
		}
		switch {
		case strike:
			c.strike(&stage.Entry{ID: e.ID, Batch: batch, Position: e.Position, Line: e.Line}, ExcludedMissing)
		case len(dropped) > 0:
			if c.dropped == nil {
				c.dropped = map[dropKey][]stage.ID{}
			}
			c.dropped[dropKey{batch, e.Position}] = dropped
		}
	}
	return nil
}

func pick(infos []stage.Info, at []int) []stage.Info {
	out := make([]stage.Info, len(at))
	for i, n := range at {
		out[i] = infos[n]
	}
	return out
}

// join walks over sorted references and sorted ids side by side, and answers which ids are missing, by the batch that
// refers to them. That grows with the faults, not with the data.
func (c *checker) join(ctx context.Context, sorter *stage.Sorter, infos []stage.Info, at []int) (map[int]map[stage.ID]bool, error) {
	next, stop := pull(c.index(ctx, infos))
	defer stop()
	have, err := c.nextID(next, at)
	if err != nil {
		return nil, err
	}
	missing := map[int]map[stage.ID]bool{}
	for entry, err := range sorter.Sorted() {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ref := stage.ID(entry.Key)
		for have != nil && bytes.Compare(have[:], ref[:]) < 0 {
			if have, err = c.nextID(next, at); err != nil {
				return nil, err
			}
		}
		if have != nil && *have == ref || c.inState(ref) {
			continue
		}
		batch := int(binary.BigEndian.Uint32(entry.Value))
		if missing[batch] == nil {
			missing[batch] = map[stage.ID]bool{}
		}
		missing[batch][ref] = true
	}
	return missing, nil
}

// nextID is the next id that a resource still has, nil at the end.
func (c *checker) nextID(next func() (*stage.Entry, error, bool), at []int) (*stage.ID, error) {
	for {
		e, err, ok := next()
		if err != nil || !ok {
			return nil, err
		}
		if _, out := c.out[c.infos[at[e.Batch]].ID][e.Position]; !out {
			id := e.ID
			return &id, nil
		}
	}
}

// inState tells whether an earlier wave or run has put the resource there. A run over all waves reads everything
// anew, so only what it makes itself counts.
func (c *checker) inState(id stage.ID) bool {
	if c.of.wave == "" || c.of.state == nil {
		return false
	}
	for _, typ := range slices.Sorted(maps.Values(c.of.types)) {
		for _, store := range []string{"", load.StoreClinical} {
			if p, ok, err := c.of.state.Lookup(typ, id, store); ok && err == nil && p.Status.There() {
				return true
			}
		}
	}
	return false
}

// mergedIntoNothing refuses the copies of what was itself taken out for a reference to nothing: they were merged into a
// resource that was never made. They are equal to it, so their reason is its own.
func (c *checker) mergedIntoNothing(ctx context.Context) error {
	lost := map[stage.ID]bool{}
	for _, s := range c.struck {
		if s.reason == ExcludedMissing {
			lost[s.id] = true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	for batch, info := range c.infos {
		out := c.out[info.ID]
		if c.merged[info.Type] == 0 || len(out) == 0 {
			continue
		}
		for e, err := range c.index(ctx, c.infos[batch:batch+1]) {
			if err != nil {
				return err
			}
			if lost[e.ID] && out[e.Position] == ExcludedMerged {
				c.strike(&stage.Entry{ID: e.ID, Batch: batch, Position: e.Position, Line: e.Line}, ExcludedMissing)
				c.merged[info.Type]--
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the exclusions and puts the account right.
func (c *checker) finish(ctx context.Context) (ledger.Report, error) {
	report, err := c.mend(ctx)
	if err != nil {
		return report, err
	}
	if err := c.mergedIntoNothing(ctx); err != nil {
		return report, err
	}
	var list []stage.Exclusion
	for _, batch := range slices.Sorted(maps.Keys(c.out)) {
		for _, position := range slices.Sorted(maps.Keys(c.out[batch])) {
			list = append(list, stage.Exclusion{Batch: batch, Position: position, Reason: c.out[batch][position]})
		}
		report.Excluded = append(report.Excluded, ledger.BatchExclusion{Batch: batch, Count: int64(len(c.out[batch]))})
	}
	at := c.of.making.staged // the list is named for its run, so that no other can stand in its place
	if err := stage.WriteExclusions(ctx, at.Place, at.Keys, at.Run, list); err != nil {
		return report, err
	}
	made := map[string]int64{}
	for _, s := range c.struck {
		made[c.infos[s.batch].Type]--
	}
	for typ, n := range c.merged {
		report.Resources = append(report.Resources, ledger.ResourceCount{Type: typ, Merged: n})
	}
	for typ, n := range made {
		report.Resources = append(report.Resources, ledger.ResourceCount{Type: typ, Made: n})
	}
	return report, c.refuseRecords(ctx, &report)
}

// refuseRecords counts the records whose resources were taken out as refused, each once per mapping and per table.
func (c *checker) refuseRecords(ctx context.Context, report *ledger.Report) error {
	type record struct {
		mapping string
		line    int64
	}
	rules := map[record]string{}
	grouped := map[*mapping.Mapping]map[int64]uint8{} // by the first line of the group
	var order []record
	add := func(at record, rule string) {
		if _, ok := rules[at]; !ok {
			rules[at] = rule
			order = append(order, at)
		}
	}
	for _, s := range c.struck {
		m := c.of.program.Mapping(c.infos[s.batch].Mapping)
		if m.Grouped {
			if grouped[m] == nil {
				grouped[m] = map[int64]uint8{}
			}
			grouped[m][s.line] = s.reason
			continue
		}
		add(record{m.Name, s.line}, string(excludedRule(s.reason)))
	}
	for m, first := range grouped {
		err := c.groupLines(ctx, m, first, func(line int64, reason uint8) {
			add(record{m.Name, line}, string(excludedRule(reason)))
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(order, func(a, b record) int {
		if a.mapping != b.mapping {
			return slices.Compare([]string{a.mapping}, []string{b.mapping})
		}
		return int(a.line - b.line)
	})
	mappings := map[string]*ledger.RecordCount{}
	tables := map[string]map[int64]string{}
	for _, at := range order {
		m := c.of.program.Mapping(at.mapping)
		count := mappings[m.Name]
		if count == nil {
			count = &ledger.RecordCount{Mapping: m.Name, Table: m.Table, Refused: map[string]int64{}}
			mappings[m.Name] = count
		}
		rule := rules[at]
		count.Mapped--
		count.Refused[rule]++
		report.Refusals = append(report.Refusals, ledger.Refusal{Table: m.Table, Line: at.line, Rule: rule, Mapping: m.Name})
		if tables[m.Table] == nil {
			tables[m.Table] = map[int64]string{}
		}
		if _, ok := tables[m.Table][at.line]; !ok {
			tables[m.Table][at.line] = rule
		}
	}
	for _, name := range slices.Sorted(maps.Keys(mappings)) {
		report.Mappings = append(report.Mappings, *mappings[name])
	}
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		lines := slices.Sorted(maps.Keys(tables[table]))
		known, err := c.of.ledger.Refused(ctx, c.of.run, table, lines)
		if err != nil {
			return err
		}
		count := ledger.RecordCount{Table: table, Refused: map[string]int64{}}
		for _, line := range lines {
			if !known[line] {
				count.Mapped--
				count.Refused[tables[table][line]]++
			}
		}
		report.Tables = append(report.Tables, count)
	}
	return nil
}

// groupLines finds the records of the groups that were taken out: a batch keeps only the first line of a group, and
// reading the table once more is rare and cheap. The id of a resource does not tell its group: `key:` may be fewer
// columns than `group by`, and then it is two groups of one key that brought it here.
func (c *checker) groupLines(ctx context.Context, m *mapping.Mapping, first map[int64]uint8, found func(int64, uint8)) error {
	groups := map[mapping.ID]uint8{}
	worker := c.of.program.NewWorker()
	for _, w := range c.of.reading.Tables {
		if w.Name != m.Table || w.Source != m.Source {
			continue
		}
		for _, shard := range w.Shards {
			for rec, err := range w.Read(ctx, shard) {
				var fault *extract.Fault
				if errors.As(err, &fault) {
					continue
				}
				if err != nil {
					return err
				}
				id, res, err := worker.GroupKey(m, rec)
				if err != nil {
					return err
				}
				if res.Outcome != mapping.Mapped {
					continue
				}
				if reason, ok := first[rec.Line]; ok {
					groups[id] = reason
				}
				if reason, ok := groups[id]; ok {
					found(rec.Line, reason)
				}
			}
		}
	}
	return nil
}
