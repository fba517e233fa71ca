package workbench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// ExplainOptions names a record, in one of three ways, and says how much of it may be seen.
type ExplainOptions struct {
	Table string // and Line; Nth of the records that begin there, from 1, 0 for all
	Line  int64
	Nth   int

	Type, ID string // a resource that the latest run has made

	Mapping string   // and Key: the parts of the record's key, in the order of `key:`
	Key     []string // they are patient data

	ShowValues bool // audited, if the plan has a ledger
}

// Explain tells what becomes of a record and why, by mapping it: one Record for each record that has the name. audited
// says that values are shown and the ledger has an entry of it. A record that is not there is ErrUsage.
func Explain(ctx context.Context, s *plan.Session, o ExplainOptions) (out []*report.Record, audited bool, err error) {
	if o.ShowValues {
		if audited, err = auditShown(ctx, s.Plan, "explain with values", s.Operator, s.Now); err != nil {
			return nil, false, err
		}
	}
	var places []recordPlace
	switch {
	case o.Mapping != "":
		places, err = placesOfKey(ctx, s, o.Mapping, o.Key)
	case o.ID != "":
		places, err = placesOfResource(ctx, s, o.Type, o.ID)
	default:
		var t *extract.Table
		if t, err = s.Table(o.Table); err == nil {
			places = []recordPlace{{table: t, line: o.Line, nth: o.Nth}}
		}
	}
	if err != nil {
		return nil, audited, err
	}
	x := &explaining{session: s, view: recordView{o.ShowValues}, sealer: phi.NewSealer(s.Plan.Migration, s.Keys, s.Policy)}
	defer func() { err = errors.Join(err, x.Close()) }()
	for _, p := range places {
		records, err := recordsAt(ctx, s.SourceOf(p.table), p)
		if err != nil {
			return nil, audited, err
		}
		for _, r := range records {
			explained, err := x.record(ctx, p.table, r)
			if err != nil {
				return nil, audited, err
			}
			out = append(out, explained)
		}
	}
	return out, audited, nil
}

// recordPlace is where a record stands. Several records of a dump may begin on one line; then the ordinal tells which is
// meant, or nth which of them, from 1. 0: any.
type recordPlace struct {
	table   *extract.Table
	line    int64
	ordinal int64
	nth     int
}

// every yields the records of a table; malformed ones are left out.
func every(ctx context.Context, source extract.Source, t *extract.Table) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		shards, err := source.Shards(ctx, t)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, shard := range shards {
			for r, err := range source.Read(ctx, shard, nil) {
				if err != nil && plan.IsFault(err) {
					continue
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func cloneRecord(r *extract.Record) *extract.Record {
	out := &extract.Record{Table: r.Table, Line: r.Line, Ordinal: r.Ordinal, Bytes: r.Bytes}
	for _, c := range r.Cells {
		out.Cells = append(out.Cells, strings.Clone(c))
	}
	return out
}

// mostRecords is how many records of one line are explained at once.
const mostRecords = 5

// recordsAt finds the records that begin on a line, or the one that goes over it.
func recordsAt(ctx context.Context, source extract.Source, p recordPlace) ([]*extract.Record, error) {
	shards, err := source.Shards(ctx, p.table)
	if err != nil {
		return nil, err
	}
	var found []*extract.Record
	var over *extract.Record // the last one before the line in the same stretch of the file
	on, refused := 0, ""
	for _, shard := range shards {
		for r, err := range source.Read(ctx, shard, nil) {
			var fault *extract.Fault
			switch {
			case errors.As(err, &fault):
				if fault.Line == p.line {
					refused = fault.Rule
				}
			case err != nil:
				return nil, err
			case r.Line == p.line && (p.ordinal == 0 || p.ordinal == r.Ordinal):
				on++
				if (p.nth == 0 || p.nth == on) && len(found) < mostRecords {
					found = append(found, cloneRecord(r))
				}
			case r.Line < p.line && p.line <= r.Line+lineBreaks(r):
				over = cloneRecord(r)
			}
		}
	}
	switch {
	case p.nth == 0 && on > mostRecords:
		return nil, plan.Usagef("%d records begin on line %d of table %s: %s:%d#1 names the first of them", on, p.line, p.table.Name, p.table.Name, p.line)
	case len(found) > 0:
		return found, nil
	case p.nth > 0 && on > 0:
		return nil, plan.Usagef("%d records begin on line %d of table %s", on, p.line, p.table.Name)
	case refused != "":
		return nil, plan.Usagef("%s:%d is no record: it was refused while it was read, by the rule %s", p.table.Name, p.line, refused)
	case over != nil:
		return []*extract.Record{over}, nil
	}
	return nil, plan.Usagef("table %s has no record on line %d", p.table.Name, p.line)
}

// lineBreaks counts the line ends in the cells of a record.
func lineBreaks(r *extract.Record) (n int64) {
	for _, c := range r.Cells {
		n += int64(strings.Count(c, "\n"))
	}
	return n
}

// placesOfKey finds the records that have a key.
func placesOfKey(ctx context.Context, s *plan.Session, name string, key []string) (out []recordPlace, err error) {
	m := s.Program.Mapping(name)
	if m == nil {
		var names []string
		for _, m := range s.Program.Mappings {
			names = append(names, m.Name)
		}
		return nil, plan.Usagef("there is no mapping %q%s", name, hint(document.Hint(name, names)))
	}
	if len(key) != len(m.Key) {
		return nil, plan.Usagef("the key of mapping %s has %d parts, [%s], one on each line of stdin; %d lines came", name, len(m.Key), strings.Join(m.Key, ", "), len(key))
	}
	t, err := s.Table(m.Source + "/" + m.Table)
	if err != nil {
		return nil, err
	}
	for r, err := range every(ctx, s.SourceOf(t), t) {
		if err != nil {
			return nil, err
		}
		if m.HasKey(r, key) && (len(out) == 0 || !m.Grouped) {
			out = append(out, recordPlace{table: t, line: r.Line, ordinal: r.Ordinal})
		}
	}
	if len(out) == 0 {
		return nil, plan.Usagef("no record of table %s has this key", m.Table)
	}
	return out, nil
}

func hint(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// placesOfResource finds the records of which the latest run has made a resource.
func placesOfResource(ctx context.Context, s *plan.Session, typ, id string) (out []recordPlace, err error) {
	want, ok := mapping.ParseID(id)
	if !ok {
		return nil, plan.Usagef("%s/%s is no id of Chartlift's: these are 32 letters and digits", typ, id)
	}
	if !slices.Contains(s.Program.Types, typ) {
		return nil, plan.Usagef("no mapping makes a %s%s", typ, hint(document.Hint(typ, s.Program.Types)))
	}
	latest, err := run.Find(ctx, s, "", "")
	if err != nil {
		return nil, fmt.Errorf("where %s/%s comes from is known after a run or dry run: %w", typ, id, err)
	}
	infos, err := run.Infos(ctx, s.Ledger, latest.ID, ledger.BatchFilter{})
	if err != nil {
		return nil, err
	}
	staged := s.Staged(latest.ID)
	for _, info := range infos {
		if info.Type != typ {
			continue
		}
		m := s.Program.Mapping(info.Mapping)
		if m == nil {
			return nil, plan.Usagef("%s was made with a mapping %s that the plan does not have any more", latest.ID, info.Mapping)
		}
		for e, err := range stage.IndexOf(ctx, staged.Place, staged.Keys, info) {
			if err != nil {
				return nil, err
			}
			if mapping.ID(e.ID) != want {
				continue
			}
			t, err := s.Table(m.Source + "/" + m.Table)
			if err != nil {
				return nil, err
			}
			if p := (recordPlace{table: t, line: e.Line, ordinal: e.Ordinal}); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if len(out) == 0 {
		return nil, plan.Usagef("%s has no %s/%s: another run, another wave, or a record that was refused; TABLE:LINE names a record whatever became of it", latest.ID, typ, id)
	}
	return out, nil
}

// explaining explains records one after the other.
type explaining struct {
	session *plan.Session
	view    recordView
	sealer  *phi.Sealer
	worker  *mapping.Worker
	joined  *run.Joined
}

func (x *explaining) Close() error {
	if x.joined == nil {
		return nil
	}
	return x.joined.Close()
}

// record explains one record.
func (x *explaining) record(ctx context.Context, t *extract.Table, r *extract.Record) (_ *report.Record, err error) {
	if x.worker == nil {
		if x.joined, err = openAll(ctx, x.session, x.session.Program.Indexes); err != nil {
			return nil, err
		}
		x.worker = x.session.Program.NewWorker()
		x.worker.SetFinder(x.joined.Finder())
	}
	out := &report.Record{Migration: x.session.Plan.Migration, Table: t.Name, Line: r.Line, Shown: x.view.show, Cells: x.view.cells(r),
		Mappings: []report.RecordMapping{}, Remarks: []report.RecordRemark{}}
	if t.File != "" {
		out.File = filepath.ToSlash(t.File)
	}
	for _, m := range x.session.MappingsOf(t) {
		records, ordinal, err := x.companions(ctx, m, r)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(records, func(o *extract.Record) bool { return o.Ordinal == r.Ordinal })
		e, err := x.worker.Explain(m, records, at, ordinal, x.sealer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Place(), err)
		}
		out.Mappings = append(out.Mappings, x.view.mapping(e, len(records)))
	}
	return out, x.remarks(ctx, out)
}

// companions are the records that the mapping takes together with one: those of its group, and how many of equal key
// come before it.
func (x *explaining) companions(ctx context.Context, m *mapping.Mapping, r *extract.Record) ([]*extract.Record, int, error) {
	if m.Grouped {
		id, res, err := x.worker.GroupKey(m, r)
		if err != nil || res.Outcome != mapping.Mapped {
			return []*extract.Record{r}, 1, err
		}
		var group []*extract.Record
		for other, err := range every(ctx, x.session.SourceOf(r.Table), r.Table) {
			if err != nil {
				return nil, 0, err
			}
			same, res, err := x.worker.GroupKey(m, other)
			if err != nil {
				return nil, 0, err
			}
			if same == id && res.Outcome == mapping.Mapped {
				group = append(group, cloneRecord(other))
			}
		}
		return group, 1, nil
	}
	ordinal := 1
	if m.Duplicates == mapping.NumberDuplicates {
		id, _ := x.worker.Key(m, r)
		for other, err := range every(ctx, x.session.SourceOf(r.Table), r.Table) {
			if err != nil {
				return nil, 0, err
			}
			if other.Ordinal >= r.Ordinal {
				break
			}
			if same, ok := x.worker.Key(m, other); ok && same == id {
				ordinal++
			}
		}
	}
	return []*extract.Record{r}, ordinal, nil
}

// remarks adds what the latest run said about the record.
func (x *explaining) remarks(ctx context.Context, out *report.Record) error {
	if x.session.Ledger == nil {
		return nil
	}
	latest, ok, err := x.session.Ledger.Latest(ctx, "")
	if err != nil || !ok {
		return err
	}
	out.Run = latest.ID
	for f, err := range x.session.Ledger.Refusals(ctx, latest.ID) {
		if err != nil {
			return err
		}
		if f.Table == out.Table && f.Line == out.Line {
			out.Remarks = append(out.Remarks, report.RecordRemark{Kind: "refused", Refusal: f})
		}
	}
	for f, err := range x.session.Ledger.Findings(ctx, latest.ID) {
		if err != nil {
			return err
		}
		if f.Table == out.Table && f.Line == out.Line {
			out.Remarks = append(out.Remarks, report.RecordRemark{Kind: "finding",
				Refusal: ledger.Refusal{Table: f.Table, Line: f.Line, Column: f.Column, Rule: f.Rule, Mapping: f.Mapping}})
		}
	}
	return nil
}
