package workbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// ExportOptions says what Export writes.
type ExportOptions struct {
	Dir        string
	Identified bool   // join both parts: patient data in plain text; audited
	Run        string // "" is the latest, dry or not
}

// Export writes the staged resources of a run as <Type>.ndjson, in the order of their batches, and places.ndjson, which
// says of each record what became of it. It answers the number of resources per type.
func Export(ctx context.Context, s *plan.Session, o ExportOptions) (map[string]int64, error) {
	of, err := run.Find(ctx, s, o.Run, "")
	if err != nil {
		return nil, err
	}
	if err := sameSource(ctx, s, of); err != nil {
		return nil, err
	}
	if o.Identified {
		if err := s.Ledger.Append(ctx, "export identified", of.ID); err != nil {
			return nil, err
		}
	}
	// An identified export is plain patient data: nobody else may read it.
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	e := &exporter{session: s, options: o, run: of, staged: s.Staged(of.ID), files: map[string]*ndjson{}, counts: map[string]int64{}}
	err = e.resources(ctx)
	if err == nil {
		err = e.places(ctx)
	}
	if err == nil {
		err = e.publish()
	}
	for _, f := range e.files {
		err = errors.Join(err, f.discard())
	}
	s.Progress.Done()
	return e.counts, err
}

// placesName is the file that is taken away first and put in place last: while it is there the folder holds one export,
// and a whole one.
const placesName = "places"

// publish puts the files into their places, once all of them are on disk.
func (e *exporter) publish() error {
	for _, f := range e.files {
		if err := f.sync(); err != nil {
			return err
		}
	}
	crash.At(crash.ExportFiles)
	last := e.files[placesName]
	if err := os.Remove(last.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(e.files)) {
		if name == placesName {
			continue
		}
		if err := e.files[name].rename(); err != nil {
			return err
		}
		crash.At(crash.ExportRename)
	}
	return last.rename()
}

// sameSource makes sure that what export reads again is what the run read.
func sameSource(ctx context.Context, s *plan.Session, of ledger.Run) error {
	pins, err := s.Pins(ctx, of.Target)
	if err != nil {
		return err
	}
	if sample, ok := of.Pins["sample"]; ok {
		pins["sample"] = sample
	}
	if lines := ledger.Differences(of.Pins, pins); lines != nil {
		return plan.Usage(&ledger.ChangedError{Run: of.ID, Differences: lines})
	}
	return nil
}

type exporter struct {
	session *plan.Session
	options ExportOptions
	run     ledger.Run
	staged  plan.Staged
	out     run.Exclusions
	infos   []stage.Info
	files   map[string]*ndjson
	counts  map[string]int64
}

// ndjson is a file that takes the place of an older one only when it is whole.
type ndjson struct {
	path string
	file *os.File
	w    *bufio.Writer
	done bool
}

func (e *exporter) file(name string) (*ndjson, error) {
	if f := e.files[name]; f != nil {
		return f, nil
	}
	path := filepath.Join(e.options.Dir, name+".ndjson")
	file, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	f := &ndjson{path: path, file: file, w: bufio.NewWriterSize(file, 1<<18)}
	e.files[name] = f
	return f, nil
}

// sync makes what was written durable, under its temporary name.
func (f *ndjson) sync() error {
	err := errors.Join(f.w.Flush(), f.file.Sync(), f.file.Close())
	f.file = nil
	return err
}

func (f *ndjson) rename() error {
	err := os.Rename(f.path+".part", f.path)
	f.done = err == nil
	return err
}

// discard removes what did not come into its place: a half file, and of an identified export plain patient data.
func (f *ndjson) discard() error {
	if f.done {
		return nil
	}
	var err error
	if f.file != nil {
		err = f.file.Close()
	}
	return errors.Join(err, os.Remove(f.path+".part"))
}

// resources writes what the batches hold, the check's exclusions left out.
func (e *exporter) resources(ctx context.Context) (err error) {
	if e.out, err = run.ReadExclusions(ctx, e.session.Ledger, e.staged); errors.Is(err, run.ErrUnchecked) {
		return plan.Usagef("%w: nobody knows yet which of its resources go on; the command that began it goes on with it", err)
	} else if err != nil {
		return err
	}
	if e.infos, err = run.Infos(ctx, e.session.Ledger, e.run.ID, ledger.BatchFilter{}); err != nil {
		return err
	}
	var total int64
	for _, i := range e.infos {
		total += int64(i.Count)
	}
	e.session.Progress.Stage("export", "resources", total)
	var line []byte
	for _, info := range e.infos {
		f, err := e.file(info.Type)
		if err != nil {
			return err
		}
		position := -1
		for sealed, err := range stage.Read(ctx, e.staged.Place, e.staged.Keys, info) {
			if err != nil {
				return err
			}
			position++
			if _, out := e.out[info.ID][position]; out {
				continue
			}
			if e.options.Identified {
				line, err = e.session.Keys.Whole(sealed, line[:0])
			} else {
				line = append(line[:0], sealed.Clinical()...)
			}
			if err != nil {
				return err
			}
			if _, err := f.w.Write(append(line, '\n')); err != nil {
				return err
			}
			e.counts[info.Type]++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		e.session.Progress.Add(int64(info.Count))
	}
	return nil
}

// fate is what became of one resource: whether the check took it out.
type fate struct {
	id   stage.ID
	line int64
}

// places writes a line for each record and resource. The ledger keeps no row per record, so the source is read once
// more; sameSource has made sure that it is the same.
func (e *exporter) places(ctx context.Context) (err error) {
	f, err := e.file(placesName)
	if err != nil {
		return err
	}
	struck, err := e.struck(ctx)
	if err != nil {
		return err
	}
	refused, err := e.refusedLines(ctx)
	if err != nil {
		return err
	}
	r, err := openReading(ctx, e.session, e.run, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.AssignWaves(ctx); err != nil {
		return err
	}
	children := newChildPlaces(r, f)
	for _, w := range r.Tables {
		p := &placer{reading: r, worker: r.NewWorker(), w: w, out: f, struck: struck, refused: refused[w.Name], children: children}
		for _, shard := range w.Shards {
			for rec, err := range w.Read(ctx, shard) {
				var fault *extract.Fault
				switch {
				case errors.As(err, &fault):
					if !r.BeyondSample(fault.Ordinal) {
						err = p.write(fault.Line, "", "", "refused")
					} else {
						err = nil
					}
				case err == nil && !r.BeyondSample(rec.Ordinal):
					err = p.record(rec)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return children.rest(ctx)
}

// struck indexes what the check took out by id and line; true: merged, false: refused. What was written anew is there
// under the same id.
func (e *exporter) struck(ctx context.Context) (map[fate]bool, error) {
	out := map[fate]bool{}
	for _, info := range e.infos {
		positions := e.out[info.ID]
		if len(positions) == 0 {
			continue
		}
		for entry, err := range stage.IndexOf(ctx, e.staged.Place, e.staged.Keys, info) {
			if err != nil {
				return nil, err
			}
			if reason, ok := positions[entry.Position]; ok && reason != run.ExcludedReplaced {
				out[fate{entry.ID, entry.Line}] = reason == run.ExcludedMerged
			}
		}
	}
	return out, nil
}

// refusedLines lists the refused records by table, line and mapping.
func (e *exporter) refusedLines(ctx context.Context) (map[string]map[int64][]string, error) {
	out := map[string]map[int64][]string{}
	for f, err := range e.session.Ledger.Refusals(ctx, e.run.ID) {
		if err != nil {
			return nil, err
		}
		if out[f.Table] == nil {
			out[f.Table] = map[int64][]string{}
		}
		out[f.Table][f.Line] = append(out[f.Table][f.Line], f.Mapping)
	}
	return out, nil
}

// placer writes the places of one table.
type placer struct {
	reading *run.Reading
	worker  *mapping.Worker
	w       *run.Table
	out     *ndjson
	struck  map[fate]bool
	refused map[int64][]string
	line    []byte
	written int
	other   bool

	children *childPlaces
}

// appendPlace appends one line of places.ndjson; typ and id may be empty.
func appendPlace(b []byte, table string, line int64, typ, id, outcome string) []byte {
	b = append(b, `{"table":`...)
	b = fhir.AppendString(b, table)
	b = append(b, `,"line":`...)
	b = strconv.AppendInt(b, line, 10)
	if typ != "" {
		b = append(b, `,"type":"`+typ+`","id":"`+id+`"`...)
	}
	return append(b, `,"outcome":"`+outcome+"\"}\n"...)
}

func (p *placer) write(line int64, typ, id, outcome string) error {
	p.line = appendPlace(p.line[:0], p.w.Name, line, typ, id, outcome)
	p.written++
	_, err := p.out.w.Write(p.line)
	return err
}

// resource writes the place of one resource, unless the check refused it.
func (p *placer) resource(line int64, typ string, id mapping.ID, first int64) error {
	merged, out := p.struck[fate{stage.ID(id), first}]
	switch {
	case !out:
		return p.write(line, typ, id.String(), "made")
	case merged:
		return p.write(line, typ, id.String(), "merged")
	}
	return nil
}

// record writes what became of one record: a line for each resource, or one line that says that there is none.
func (p *placer) record(rec *extract.Record) error {
	p.written, p.other = 0, false
	skipped := false
	for _, m := range p.w.Rows {
		res, err := p.worker.Map(m, rec, p.w.Ordinal(m, rec), func(res *mapping.Resource) error {
			if _, selected := p.reading.Waves.Of(m, res.PatientID); !selected {
				p.other = true
				return nil
			}
			if _, out := p.struck[fate{stage.ID(res.ID), rec.Line}]; !out {
				if err := p.children.made(m, rec, m.Type, res.ID.String(), true); err != nil {
					return err
				}
			}
			return p.resource(rec.Line, m.Type, res.ID, rec.Line)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", rec.Place(), err)
		}
		skipped = skipped || res.Outcome == mapping.Skipped
	}
	for _, m := range p.w.Groups {
		_, res, err := p.worker.GroupKey(m, rec)
		if err != nil {
			return fmt.Errorf("%s: %w", rec.Place(), err)
		}
		skipped = skipped || res.Outcome == mapping.Skipped
		id, _ := p.worker.Key(m, rec) // what `key:` says, which may be fewer columns than `group by`
		if res.Outcome == mapping.Mapped && !slices.Contains(p.refused[rec.Line], m.Name) {
			if err := p.children.made(m, rec, m.Type, id.String(), false); err != nil {
				return err
			}
			if err := p.write(rec.Line, m.Type, id.String(), "made"); err != nil {
				return err
			}
		}
	}
	switch {
	case p.written > 0:
		return nil
	case len(p.refused[rec.Line]) > 0:
		return p.write(rec.Line, "", "", "refused")
	case p.other:
		return p.write(rec.Line, "", "", "otherWave")
	case skipped:
		return p.write(rec.Line, "", "", "skipped")
	}
	// A record that was mapped to nothing (`forEach` without an item) made nothing and lost nothing.
	return p.write(rec.Line, "", "", "skipped")
}

// childPlaces writes the places of tables that no mapping reads by itself: a row of a `with:` is where its parents'
// resources are, a row that joined nothing and a dictionary's are skipped.
type childPlaces struct {
	reading *run.Reading
	out     *ndjson
	finder  mapping.Finder
	tables  map[*mapping.Index]*run.Beside
	placed  map[*run.Beside][]uint64 // by ordinal
	key     []byte
	line    []byte
}

func newChildPlaces(r *run.Reading, out *ndjson) *childPlaces {
	c := &childPlaces{reading: r, out: out, tables: map[*mapping.Index]*run.Beside{}, placed: map[*run.Beside][]uint64{}}
	if r.Beside == nil {
		return c
	}
	c.finder = r.Beside.Finder()
	for _, b := range r.Beside.Tables {
		if r.Own(b) {
			continue
		}
		c.placed[b] = make([]uint64, b.Read/64+1)
		for _, x := range b.Indexes {
			c.tables[x] = b
		}
	}
	return c
}

// made writes the rows that a resource of the record was made with. The records of a group have their children in
// common; without again a row that has a place gets no other.
func (c *childPlaces) made(m *mapping.Mapping, rec *extract.Record, typ, id string, again bool) error {
	for i := range m.With {
		x := &m.With[i]
		b := c.tables[x.Index]
		if b == nil {
			continue
		}
		var ok bool
		if c.key, ok = x.Key(c.key[:0], m, rec); !ok {
			continue
		}
		rows, err := c.finder.Find(x.Index, c.key)
		if err != nil {
			return err
		}
		for _, row := range rows {
			word, bit := &c.placed[b][row.Ordinal/64], uint64(1)<<(row.Ordinal%64)
			if *word&bit != 0 && !again {
				continue
			}
			*word |= bit
			if err := c.write(b, row.Place.Line, typ, id, "made"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *childPlaces) write(b *run.Beside, line int64, typ, id, outcome string) error {
	c.line = appendPlace(c.line[:0], b.Table.Name, line, typ, id, outcome)
	_, err := c.out.w.Write(c.line)
	return err
}

// rest writes the rows that are nowhere.
func (c *childPlaces) rest(ctx context.Context) error {
	if c.reading.Beside == nil {
		return nil
	}
	for _, b := range c.reading.Beside.Tables {
		placed, ok := c.placed[b]
		if !ok {
			continue
		}
		w, err := c.reading.TableBeside(ctx, b)
		if err != nil {
			return err
		}
		for _, shard := range w.Shards {
			for rec, err := range w.Read(ctx, shard) {
				var fault *extract.Fault
				switch {
				case errors.As(err, &fault):
					err = c.write(b, fault.Line, "", "", "refused")
				case err == nil && placed[rec.Ordinal/64]&(1<<(rec.Ordinal%64)) == 0:
					err = c.write(b, rec.Line, "", "", "skipped")
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}
