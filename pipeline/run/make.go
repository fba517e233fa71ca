package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// A batch ends at whichever comes first: it is the unit of work, retry and resume, so it must be neither a file per
// resource nor an hour of loading.
const (
	batchResources = 10_000
	batchBytes     = 16 << 20
)

// making is how this process makes the resources of a run.
type making struct {
	migration string
	staged    plan.Staged
	policy    *phi.Policy
	program   *mapping.Program
	reading   *Reading
	deep      float64 // share of the resources that are validated once more
	unchecked unchecked
}

// sealer makes a sealer for one goroutine.
func (m *making) sealer() *phi.Sealer { return phi.NewSealer(m.migration, m.staged.Keys, m.policy) }

// maker makes resources in one goroutine: a mapping worker, a sealer, and the batches it is writing.
type maker struct {
	making *making
	worker *mapping.Worker
	sealer *phi.Sealer

	name    string // of the task, for batch names
	writers map[writerKey]*batchWriter
	report  ledger.Report
	counts  map[string]*ledger.RecordCount // by mapping; "" is the table's own account
	made    map[string]int64
	row     []byte      // scratch for refused rows
	refs    []stage.Ref // scratch
	refused *stage.Quarantine

	// The record at hand, and what its resources turned out to be.
	ordinal         int64
	here, elsewhere int
}

type writerKey struct {
	mapping *mapping.Mapping
	wave    string
}

type batchWriter struct {
	*stage.Writer
	part int
}

// maker makes the tools of one goroutine.
func (m *making) maker() *maker {
	x := &maker{making: m, worker: m.reading.NewWorker(), sealer: m.sealer()}
	x.worker.SetDeep(m.deep)
	return x
}

// start begins a task's report. Batches are named for run, task and mapping, so that a task done again after a crash
// writes the same names, and whatever the first attempt left is overwritten.
func (x *maker) start(name string) {
	x.name = name
	x.writers = map[writerKey]*batchWriter{}
	x.report = ledger.Report{}
	x.counts = map[string]*ledger.RecordCount{}
	x.made = map[string]int64{}
	x.refused = stage.NewQuarantine(x.making.staged.Place, x.making.staged.Keys, plan.FileName(x.making.staged.Run+"."+name+".refused"))
}

func (x *maker) count(mapping, table string) *ledger.RecordCount {
	c := x.counts[mapping]
	if c == nil {
		c = &ledger.RecordCount{Mapping: mapping, Table: table, Skipped: map[string]int64{}, Refused: map[string]int64{}}
		x.counts[mapping] = c
	}
	return c
}

// shard maps one shard with all mappings of its table and answers what the ledger is to record.
func (x *maker) shard(ctx context.Context, w *Table, shard extract.Shard) (report ledger.Report, err error) {
	x.start(fmt.Sprintf("%s.%s.%d", w.Source, w.Name, shard.Index))
	defer func() {
		if err != nil {
			err = errors.Join(err, x.abort())
		}
	}()
	table := x.count("", w.Name)
	for _, m := range w.Rows {
		x.count(m.Name, w.Name)
	}
	for rec, err := range w.Read(ctx, shard) {
		var fault *extract.Fault
		switch {
		case errors.As(err, &fault):
			if x.making.reading.BeyondSample(fault.Ordinal) {
				continue
			}
			table.Read++
			table.Refused[fault.Rule]++
			for _, m := range w.Rows {
				c := x.counts[m.Name]
				c.Read++
				c.Refused[fault.Rule]++
			}
			x.refuse(ledger.Refusal{Table: w.Name, Line: fault.Line, Column: fault.Column, Rule: fault.Rule, Mapping: firstName(w)})
		case err != nil:
			return ledger.Report{}, err
		case x.making.reading.BeyondSample(rec.Ordinal):
		default:
			table.Read++
			if err := x.record(ctx, w, rec, table); err != nil {
				return ledger.Report{}, err
			}
		}
	}
	x.report.Digest = fmt.Sprintf("%x", w.Sums[shard.Index])
	return x.finish(ctx)
}

// firstName is the mapping that a malformed record is laid to: it belongs to none, and must still count in a domain.
func firstName(w *Table) string {
	if len(w.Rows) > 0 {
		return w.Rows[0].Name
	}
	return w.Groups[0].Name
}

// record maps one record with every mapping of the table. For the table it counts once: refused if any mapping refused
// it, else mapped if any mapped it, else of another wave, else skipped.
func (x *maker) record(ctx context.Context, w *Table, rec *extract.Record, table *ledger.RecordCount) error {
	var mapped, elsewhere bool
	skipRule, refuseRule := "", ""
	for _, m := range w.Rows {
		ordinal := 1
		if numbers, ok := w.numbers[m]; ok {
			ordinal = numbers.of(rec.Ordinal)
		}
		x.ordinal, x.here, x.elsewhere = rec.Ordinal, 0, 0
		res, err := x.worker.Map(m, rec, ordinal, func(res *mapping.Resource) error { return x.add(ctx, m, res) })
		if err != nil {
			return fmt.Errorf("%s: %w", rec.Place(), err)
		}
		c := x.counts[m.Name]
		c.Read++
		switch {
		case res.Outcome == mapping.Skipped:
			c.Skipped[res.Rule]++
			if skipRule == "" {
				skipRule = res.Rule
			}
		case res.Outcome == mapping.Refused:
			c.Refused[res.Rule]++
			if refuseRule == "" {
				refuseRule = res.Rule
			}
			x.refuse(ledger.Refusal{Table: w.Name, Line: rec.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
			if err := x.keep(ctx, rec, res); err != nil {
				return err
			}
		case x.elsewhere > 0 && x.here == 0:
			c.OtherWave++
			elsewhere = true
		default:
			c.Mapped++
			mapped = true
		}
		if res.Outcome == mapping.Mapped && !(x.elsewhere > 0 && x.here == 0) {
			x.find(w.Name, rec.Line, m.Name, res.Findings)
		}
	}
	for _, m := range w.Groups {
		_, res, err := x.worker.GroupKey(m, rec)
		if err != nil {
			return fmt.Errorf("%s: %w", rec.Place(), err)
		}
		if res.Outcome == mapping.Skipped {
			if skipRule == "" {
				skipRule = res.Rule
			}
		} else if res.Outcome == mapping.Mapped {
			mapped = true // the group's station takes it back if the group is refused
		}
	}
	switch {
	case refuseRule != "":
		table.Refused[refuseRule]++
	case mapped:
		table.Mapped++
	case elsewhere:
		table.OtherWave++
	default:
		table.Skipped[skipRule]++
	}
	return nil
}

// placeOf names what a refusal was about: the column, else the element.
func placeOf(res mapping.Result) string {
	if res.Column != "" {
		return res.Column
	}
	return res.Element
}

func (x *maker) refuse(f ledger.Refusal) { x.report.Refusals = append(x.report.Refusals, f) }

func (x *maker) find(table string, line int64, m string, findings []mapping.Finding) {
	for _, f := range findings {
		x.report.Findings = append(x.report.Findings, ledger.Finding{
			Table: table, Line: line, Column: f.Column, Rule: f.Rule, Mapping: m, Severity: ledger.FindingNeedsEye,
		})
	}
}

// keep puts a refused row into the quarantine, sealed, so that it can be looked at and tried again.
func (x *maker) keep(ctx context.Context, rec *extract.Record, res mapping.Result) error {
	x.row = appendRow(x.row[:0], rec.Table.Columns, rec.Cells)
	return x.refused.Add(ctx, rec.Place(), patientOf(res), res.Rule, x.row)
}

// patientOf is the id of the patient whose a refused record is; "" if nobody knows.
func patientOf(res mapping.Result) string {
	if res.PatientID.IsZero() {
		return ""
	}
	return res.PatientID.String()
}

// appendRow writes a record as a JSON object in the order of its columns.
func appendRow(dst []byte, columns, cells []string) []byte {
	dst = append(dst, '{')
	for i, c := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(fhir.AppendString(dst, c), ':')
		dst = fhir.AppendString(dst, strings.ToValidUTF8(cells[i], "\uFFFD"))
	}
	return append(dst, '}')
}

// add seals a resource and puts it into the batch of its mapping and wave.
func (x *maker) add(ctx context.Context, m *mapping.Mapping, res *mapping.Resource) error {
	wave, selected := x.making.reading.Waves.Of(m, res.PatientID)
	if !selected {
		x.elsewhere++
		return nil
	}
	x.here++
	sealed, err := x.sealer.Seal(&res.Resource)
	if err != nil {
		return err
	}
	x.refs = appendRefs(x.refs[:0], res.Refs)
	key := stage.Key{ID: stage.ID(res.ID), Patient: stage.ID(res.PatientID), Ordinal: x.ordinal, Refs: x.refs}
	return x.put(ctx, m, wave, sealed, key)
}

func appendRefs(dst []stage.Ref, refs []mapping.Ref) []stage.Ref {
	for i := range refs {
		dst = append(dst, stage.Ref{ID: stage.ID(refs[i].ID), Type: refs[i].Type, Drop: refs[i].Drop, Late: refs[i].Late})
	}
	return dst
}

func (x *maker) put(ctx context.Context, m *mapping.Mapping, wave string, sealed phi.Sealed, key stage.Key) error {
	at := writerKey{m, wave}
	w := x.writers[at]
	if w != nil && (w.Count() >= batchResources || w.Size() >= batchBytes) {
		if err := x.closeBatch(ctx, w); err != nil {
			return err
		}
		w = &batchWriter{part: w.part + 1}
	}
	if w == nil {
		w = &batchWriter{}
	}
	if w.Writer == nil {
		w.Writer = stage.NewWriter(x.making.staged.Place, x.making.staged.Keys, stage.Info{
			ID:  plan.FileName(fmt.Sprintf("%s.%s.%s.%s.%d", x.making.staged.Run, x.name, m.Name, wave, w.part)),
			Run: x.making.staged.Run, Wave: wave, Mapping: m.Name, Type: m.Type, Table: m.Table, Level: m.Level,
		})
		x.writers[at] = w
	}
	x.made[m.Type]++
	return w.Add(ctx, sealed, key)
}

func (x *maker) closeBatch(ctx context.Context, w *batchWriter) error {
	info, err := w.Close(ctx)
	if err != nil || info.Count == 0 {
		return err
	}
	x.report.Batches = append(x.report.Batches, ledger.Batch{
		ID: info.ID, Mapping: info.Mapping, Type: info.Type, Table: info.Table, Wave: info.Wave, Level: info.Level,
		Count: int64(info.Count), Bytes: info.Bytes, SHA256: info.SHA256,
	})
	return nil
}

// finish makes the batches durable and answers the report; only then may the ledger speak of them.
func (x *maker) finish(ctx context.Context) (ledger.Report, error) {
	for _, m := range x.making.program.Mappings {
		for _, wave := range x.making.reading.Waves.Names() {
			if w := x.writers[writerKey{m, wave}]; w != nil {
				if err := x.closeBatch(ctx, w); err != nil {
					return ledger.Report{}, err
				}
			}
		}
	}
	if err := x.refused.Close(ctx); err != nil {
		return ledger.Report{}, err
	}
	for name, c := range x.counts {
		if name == "" {
			x.report.Tables = append(x.report.Tables, *c)
		} else {
			x.report.Mappings = append(x.report.Mappings, *c)
		}
	}
	for typ, n := range x.made {
		x.report.Resources = append(x.report.Resources, ledger.ResourceCount{Type: typ, Made: n})
	}
	x.takeCounters()
	return x.report, nil
}

func (x *maker) abort() error {
	var errs []error
	for _, w := range x.writers {
		if w.Writer != nil {
			errs = append(errs, w.Abort())
		}
	}
	return errors.Join(append(errs, x.refused.Abort())...)
}

// takeCounters moves what the worker counted into the report. Of unmapped values these are the numbers only: which may be
// shown is known when the whole run is counted.
func (x *maker) takeCounters() {
	for _, t := range x.worker.TakeTranslations() {
		x.report.Translations = append(x.report.Translations, ledger.Translation(t))
	}
	formulas, unmapped := x.worker.TakeCounters()
	for _, f := range formulas {
		x.report.Formulas = append(x.report.Formulas, ledger.Formula(f))
	}
	for _, u := range unmapped {
		u.Value = ""
		x.report.Unmapped = append(x.report.Unmapped, ledger.Unmapped(u))
	}
	for _, i := range x.worker.TakeIssues() {
		x.report.Issues = append(x.report.Issues, ledger.Issue{Mapping: i.Mapping, Severity: i.Severity.String(), Rule: i.Rule, Path: i.Path,
			Profile: i.Profile, Table: i.First.Table, Line: i.First.Line, Count: i.Count})
	}
	x.report.Issues = append(x.report.Issues, x.making.unchecked.take(x.making.program)...)
}

// unchecked counts how often what could not be judged was recorded. It may be used concurrently.
type unchecked struct {
	mu   sync.Mutex
	seen map[string]int64
}

// take is what could not be judged since the last call, by any worker.
func (u *unchecked) take(program *mapping.Program) (out []ledger.Issue) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = map[string]int64{}
	}
	for _, x := range program.NotChecked() {
		key := x.Kind + " " + x.Name
		if n := x.Count - u.seen[key]; n > 0 {
			u.seen[key] = x.Count
			out = append(out, ledger.Issue{Mapping: x.Kind, Severity: ledger.Unchecked, Rule: "not-checked", Path: x.Name, Profile: x.Why, Count: n})
		}
	}
	return out
}
