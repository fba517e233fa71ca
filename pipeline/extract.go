package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// A batch ends at whichever comes first: it is the unit of work, retry and resume, so it must be neither a file per
// resource nor an hour of loading.
const (
	batchResources = 10_000
	batchBytes     = 16 << 20
)

// tableWork is one table of the run: its shards, and the mappings that read it.
type tableWork struct {
	table  *extract.Table
	source extract.Source
	*cutTable
	rows    []*mapping.Mapping // a resource (or several) from each record
	groups  []*mapping.Mapping // a resource from several records
	numbers map[*mapping.Mapping]ordinals
}

// planTables lists the tables that mappings read, with their shards. They are the same for any number of workers.
func (r *runner) planTables(ctx context.Context) error {
	if _, err := r.cut(ctx); err != nil {
		return err
	}
	for _, t := range r.usedTables() {
		if len(r.mappingsOf(t)) == 0 {
			continue // read beside others only
		}
		w := r.work(t)
		for _, m := range r.mappingsOf(t) {
			if m.Grouped {
				w.groups = append(w.groups, m)
			} else {
				w.rows = append(w.rows, m)
			}
		}
		r.tables = append(r.tables, w)
	}
	return r.number(ctx)
}

// work is a table that has been cut, before it is known which mappings read it.
func (s *Session) work(t *extract.Table) *tableWork {
	return &tableWork{table: t, source: s.sources[t.Source], cutTable: s.cuts[t], numbers: map[*mapping.Mapping]ordinals{}}
}

func tableBytes(tables ...*tableWork) (n int64) {
	for _, w := range tables {
		for _, s := range w.shards {
			n += s.Bytes
		}
	}
	return n
}

// extract turns every shard into batches, concurrently. A shard is plain sequential code; only the choice of the next
// one is shared.
func (r *runner) extract(ctx context.Context) error {
	var tasks []ledger.Task
	shards := map[string]func() (*tableWork, extract.Shard){}
	for _, w := range r.tables {
		for _, shard := range w.shards {
			subject := fmt.Sprintf("%s/%s#%d", w.table.Source, w.table.Name, shard.Index)
			tasks = append(tasks, ledger.Task{Kind: ledger.Extract, Subject: subject})
			shards[subject] = func() (*tableWork, extract.Shard) { return w, shard }
		}
	}
	if err := r.Ledger.AddTasks(ctx, r.run.ID, tasks); err != nil {
		return err
	}
	r.Session.options.Progress.Stage("extract", "bytes", tableBytes(r.tables...))
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range min(r.workers, len(tasks)) {
		p.Go(func(ctx context.Context) error {
			x := r.newExtractor()
			for {
				task, ok, err := r.Ledger.Claim(ctx, r.run.ID, ledger.TaskFilter{Kind: ledger.Extract})
				if err != nil || !ok {
					return err
				}
				find := shards[task.Subject]
				if find == nil { // a task of another station
					if err := r.Ledger.Release(ctx, task); err != nil {
						return err
					}
					return fmt.Errorf("%s is a task of this run, but not in the source", task.Subject)
				}
				w, shard := find()
				report, err := x.shard(ctx, w, shard)
				if err != nil {
					return errors.Join(fmt.Errorf("%s: %w", task.Subject, err), r.Ledger.Release(context.WithoutCancel(ctx), task))
				}
				if err := r.Ledger.Finish(ctx, task, report); err != nil {
					return err
				}
				r.Session.options.Progress.Add(shard.Bytes)
			}
		})
	}
	err := p.Wait()
	for _, w := range r.tables {
		if source, ok := w.source.(commented); ok {
			if n := source.Comments(w.table.Name); n > 0 {
				r.log.Warn("comment lines were left out", zap.String("table", w.table.Name), zap.Int64("lines", n))
			}
		}
	}
	return err
}

// commented is a source that leaves comments out: they are no records, so only their count says that they were there.
type commented interface {
	Comments(table string) int64
}

// extractor is one goroutine's tools: a mapping worker, a sealer, and the batches it is writing.
type extractor struct {
	*runner
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

func (r *runner) newExtractor() *extractor {
	x := &extractor{runner: r, worker: r.newWorker(), sealer: r.sealer()}
	x.worker.SetDeep(r.options.Deep)
	return x
}

// start begins a task's report. Batches are named for run, task and mapping, so that a task done again after a crash
// writes the same names, and whatever the first attempt left is overwritten.
func (x *extractor) start(name string) {
	x.name = name
	x.writers = map[writerKey]*batchWriter{}
	x.report = ledger.Report{}
	x.counts = map[string]*ledger.RecordCount{}
	x.made = map[string]int64{}
	x.refused = stage.NewQuarantine(x.dir, fileName(x.run.ID+"."+name+".refused"), x.keys)
}

// longestName leaves room for what stage puts behind a name.
const longestName = 120

// fileName keeps what every file system takes. Where it has to change or cut a name a digest follows it, so that two
// names never become one file.
func fileName(s string) string {
	name := plainName(s)
	if name != s || len(name) > longestName {
		sum := sha256.Sum256([]byte(s))
		name = name[:min(len(name), longestName)] + "-" + hex.EncodeToString(sum[:8])
	}
	return name
}

func plainName(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, s)
}

func (x *extractor) count(mapping, table string) *ledger.RecordCount {
	c := x.counts[mapping]
	if c == nil {
		c = &ledger.RecordCount{Mapping: mapping, Table: table, Skipped: map[string]int64{}, Refused: map[string]int64{}}
		x.counts[mapping] = c
	}
	return c
}

// shard maps one shard with all mappings of its table and answers what the ledger is to record.
func (x *extractor) shard(ctx context.Context, w *tableWork, shard extract.Shard) (report ledger.Report, err error) {
	x.start(fmt.Sprintf("%s.%s.%d", w.table.Source, w.table.Name, shard.Index))
	defer func() {
		if err != nil {
			err = errors.Join(err, x.abort())
		}
	}()
	table := x.count("", w.table.Name)
	for _, m := range w.rows {
		x.count(m.Name, w.table.Name)
	}
	for rec, err := range w.read(ctx, shard) {
		var fault *extract.Fault
		switch {
		case errors.As(err, &fault):
			if x.beyondSample(fault.Ordinal) {
				continue
			}
			table.Read++
			table.Refused[fault.Rule]++
			for _, m := range w.rows {
				c := x.counts[m.Name]
				c.Read++
				c.Refused[fault.Rule]++
			}
			x.refuse(ledger.Refusal{Table: w.table.Name, Line: fault.Line, Column: fault.Column, Rule: fault.Rule, Mapping: firstName(w)})
		case err != nil:
			return ledger.Report{}, err
		case x.beyondSample(rec.Ordinal):
		default:
			table.Read++
			if err := x.record(w, rec, table); err != nil {
				return ledger.Report{}, err
			}
		}
	}
	x.report.Digest = fmt.Sprintf("%x", w.sums[shard.Index])
	return x.finish()
}

func (r *runner) beyondSample(ordinal int64) bool {
	return r.options.Sample > 0 && ordinal > r.options.Sample
}

// firstName is the mapping that a malformed record is laid to: it belongs to none, and must still count in a domain.
func firstName(w *tableWork) string {
	if len(w.rows) > 0 {
		return w.rows[0].Name
	}
	return w.groups[0].Name
}

// record maps one record with every mapping of the table. For the table it counts once: refused if any mapping refused
// it, else mapped if any mapped it, else of another wave, else skipped.
func (x *extractor) record(w *tableWork, rec *extract.Record, table *ledger.RecordCount) error {
	var mapped, elsewhere bool
	skipRule, refuseRule := "", ""
	for _, m := range w.rows {
		ordinal := 1
		if numbers, ok := w.numbers[m]; ok {
			ordinal = numbers.of(rec.Ordinal)
		}
		x.ordinal, x.here, x.elsewhere = rec.Ordinal, 0, 0
		res, err := x.worker.Map(m, rec, ordinal, func(res *mapping.Resource) error { return x.add(m, res) })
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
			x.refuse(ledger.Refusal{Table: w.table.Name, Line: rec.Line, Column: placeOf(res), Rule: res.Rule, Mapping: m.Name})
			if err := x.keep(rec, res.Rule); err != nil {
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
			x.find(w.table.Name, rec.Line, m.Name, res.Findings)
		}
	}
	for _, m := range w.groups {
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

func (x *extractor) refuse(f ledger.Refusal) { x.report.Refusals = append(x.report.Refusals, f) }

func (x *extractor) find(table string, line int64, m string, findings []mapping.Finding) {
	for _, f := range findings {
		x.report.Findings = append(x.report.Findings, ledger.Finding{
			Table: table, Line: line, Column: f.Column, Rule: f.Rule, Mapping: m, Severity: ledger.FindingNeedsEye,
		})
	}
}

// keep puts a refused row into the quarantine, sealed, so that it can be looked at and tried again.
func (x *extractor) keep(rec *extract.Record, rule string) error {
	x.row = appendRow(x.row[:0], rec.Table.Columns, rec.Cells)
	return x.refused.Add(rec.Place(), rule, x.row)
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
func (x *extractor) add(m *mapping.Mapping, res *mapping.Resource) error {
	wave, selected := x.waves.of(m, res.PatientID)
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
	return x.put(m, wave, sealed, key)
}

func appendRefs(dst []stage.Ref, refs []mapping.Ref) []stage.Ref {
	for i := range refs {
		dst = append(dst, stage.Ref{ID: stage.ID(refs[i].ID), Type: refs[i].Type, Drop: refs[i].Drop, Late: refs[i].Late})
	}
	return dst
}

func (x *extractor) put(m *mapping.Mapping, wave string, sealed phi.Sealed, key stage.Key) error {
	at := writerKey{m, wave}
	w := x.writers[at]
	if w != nil && (w.Count() >= batchResources || w.Size() >= batchBytes) {
		if err := x.closeBatch(w); err != nil {
			return err
		}
		w = &batchWriter{part: w.part + 1}
	}
	if w == nil {
		w = &batchWriter{}
	}
	if w.Writer == nil {
		w.Writer = stage.NewWriter(x.dir, x.keys, stage.Info{
			ID:  fileName(fmt.Sprintf("%s.%s.%s.%s.%d", x.run.ID, x.name, m.Name, wave, w.part)),
			Run: x.run.ID, Wave: wave, Mapping: m.Name, Type: m.Type, Table: m.Table, Level: m.Level,
		})
		x.writers[at] = w
	}
	x.made[m.Type]++
	return w.Add(sealed, key)
}

func (x *extractor) closeBatch(w *batchWriter) error {
	info, err := w.Close()
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
func (x *extractor) finish() (ledger.Report, error) {
	for _, m := range x.Program.Mappings {
		for _, wave := range x.waves.names() {
			if w := x.writers[writerKey{m, wave}]; w != nil {
				if err := x.closeBatch(w); err != nil {
					return ledger.Report{}, err
				}
			}
		}
	}
	if err := x.refused.Close(); err != nil {
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

func (x *extractor) abort() error {
	var errs []error
	for _, w := range x.writers {
		if w.Writer != nil {
			errs = append(errs, w.Abort())
		}
	}
	return errors.Join(append(errs, x.refused.Abort())...)
}
