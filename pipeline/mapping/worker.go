package mapping

import (
	"errors"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Worker maps records. It is not for concurrent use, and uses its buffers again for every record.
type Worker struct {
	p      *Program
	ctx    *fhirpath.Context
	ids    *hasher
	zones  []zoneReader
	shaper shaper

	m        *Mapping
	cells    []string // under the mapping's names, blank ones as ""
	row      fhirpath.Row
	group    []string
	rows     []*fhirpath.Row
	children [][]*fhirpath.Row // of the record at hand, in the order of Env.Children
	patient  ID

	buf    []byte
	cuts   []phi.Cut
	refs   []Ref
	mark   int
	path   []byte
	id     ID
	idText string
	paths  map[string]string
	vals   []fhirpath.Value

	out      []*Resource // of one record
	outUsed  int
	itemKeys []string
	rowJSON  []byte

	result  Result
	found   []Finding
	current *formula // being evaluated, for findings
	tally   tally
	loose   map[looseKey]int64
	names   idNames

	finder  Finder
	known   []foundRows // what it answered lately
	joinKey []byte
	looked  []foundRows // what lookup() found for the record at hand
	broken  error       // of the finder: no fault of the record

	judgement        // of what it writes
	trace     *trace // where a record is explained, else nil

	codings   []codingText // scratch
	refMemory []refMemory  // by refSource.index
}

// idNames keeps the texts of recent ids: most records in a row belong to one patient.
type idNames [64]struct {
	id   ID
	text string
}

func (n *idNames) text(id ID) string {
	slot := &n[id[0]%64]
	if slot.text == "" || slot.id != id {
		slot.id, slot.text = id, id.String()
	}
	return slot.text
}

// NewWorker makes a worker. Its counters belong to the program from now on.
func (p *Program) NewWorker() *Worker {
	w := &Worker{p: p, ctx: fhirpath.NewContext(), ids: newHasher(p.idKey), paths: map[string]string{}, tally: newTally(p), loose: map[looseKey]int64{}, refMemory: make([]refMemory, p.refs), shaper: shaper{policy: p.policy, shapes: map[shapeKey]*shape{}}}
	for _, z := range p.zones {
		w.zones = append(w.zones, zoneReader{zone: z})
	}
	w.ctx.User = w
	if p.validator != nil {
		w.judge, w.issues = p.validator.Judge(), map[issueKey]*issueCount{}
	}
	p.mu.Lock()
	p.workers = append(p.workers, w)
	p.mu.Unlock()
	return w
}

// SetNow sets the time of now() and today(); without it these functions refuse. It is the time of the plan, not of the
// clock, so that the same input gives the same bytes.
func (w *Worker) SetNow(t time.Time) { w.ctx.Now = t }

func (w *Worker) zone(slot int) *zoneReader {
	if slot < 0 {
		return nil
	}
	return &w.zones[slot]
}

// find notes a finding on the record at hand.
func (w *Worker) find(rule string) {
	f := Finding{Rule: rule}
	if w.current != nil {
		if f.Column = w.current.column; f.Column == "" {
			f.Column = w.current.path
		}
	}
	w.found = append(w.found, f)
}

// begin readies the worker for a record.
func (w *Worker) begin(m *Mapping) {
	w.m = m
	w.ctx.Reset()
	w.result, w.found, w.current = Result{}, w.found[:0], nil
	w.outUsed, w.patient, w.broken = 0, ID{}, nil
	w.itemKeys = w.itemKeys[:0]
	w.vals = w.vals[:0]
	clear(w.looked)
	w.looked = w.looked[:0]
}

// cell is a cell of a record under the mapping's column index: "" if it is blank, or the export lacks the column.
func (b *body) cell(cells []string, i int) string {
	if i >= len(cells) {
		return ""
	}
	s := cells[i]
	if s == "" || s[0] > ' ' && len(b.blank) == 0 && s[0] < 0x80 {
		return s
	}
	if blankText(s) {
		return ""
	}
	for _, x := range b.blank {
		if s == x {
			return ""
		}
	}
	return s
}

// blankText tells white space of ASCII, and the no-break space that spreadsheets leave behind.
func blankText(s string) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ' ' || s[i] >= '\t' && s[i] <= '\r':
		case s[i] == 0xc2 && i+1 < len(s) && s[i+1] == 0xa0:
			i++
		default:
			return false
		}
	}
	return true
}

// load copies the cells that something reads.
func (w *Worker) load(dst []string, b *body, cells []string) []string {
	if cap(dst) < len(b.columns) {
		dst = make([]string, len(b.columns))
	}
	dst = dst[:len(b.columns)]
	for _, i := range b.touched {
		dst[i] = b.cell(cells, i)
	}
	return dst
}

// errRecord says that a record does not belong to the mapping's table: an error of the caller, not of the data.
var errRecord = errors.New("map: the record has fewer cells than its table has columns")

// Key is the id that the record's key gives, without ordinal and forEach key: what `duplicates:` compares. False if the
// key is blank as a whole, which Map refuses.
func (w *Worker) Key(m *Mapping, r *extract.Record) (ID, bool) {
	if len(r.Cells) < len(m.body.table.Columns) {
		return ID{}, false
	}
	msg := append(w.ids.msg[:0], m.body.prefix...)
	some := false
	for _, i := range m.body.key {
		cell := m.body.cell(r.Cells, i)
		some = some || cell != ""
		msg = appendPart(msg, cell)
	}
	w.ids.msg = msg
	return w.ids.id(msg), some
}

// Map maps one record of a mapping without `group by`. ordinal is the record's number among those with an equal key, in
// source order, from 1; it counts only under `duplicates: number` (pass 1 otherwise). emit gets each resource, valid
// until it returns, after the whole record has been mapped: a refused record emits nothing. The error is emit's, or an
// error of the program; bad data is a Result.
func (w *Worker) Map(m *Mapping, r *extract.Record, ordinal int, emit func(*Resource) error) (Result, error) {
	if m.Grouped {
		return Result{}, errors.New("map: " + m.Name + " groups its records: use MapGroup")
	}
	if len(r.Cells) < len(m.body.table.Columns) {
		return Result{}, errRecord
	}
	w.begin(m)
	b := m.body
	w.cells = w.load(w.cells, b, r.Cells)
	w.row = fhirpath.Row{Cells: w.cells, Ordinal: r.Ordinal}
	focus := fhirpath.RowValue(&w.row)
	if w.ruled(b.skip, focus, Skipped) {
		return w.ended(w.owned(w.done()), nil)
	}
	w.rowJSON = b.appendRow(w.rowJSON[:0], r.Cells)
	if len(m.With) > 0 {
		w.row.Children = w.children[:0]
		if err := w.join(w.cells); err != nil {
			return Result{}, err
		}
		w.children = w.row.Children
	}
	res, err := w.run(focus, r.Place(), ordinal, emit)
	return w.ended(w.owned(res), err)
}

// ended puts an error of the finder before what the record seems to have come to without its tables.
func (w *Worker) ended(res Result, err error) (Result, error) {
	if w.broken != nil {
		return Result{}, w.broken
	}
	return res, err
}

// GroupKey says to which group a record of a mapping with `group by` belongs: an id to sort by. An outcome of Mapped
// means that it belongs to one; else it is skipped or refused, and belongs to none.
func (w *Worker) GroupKey(m *Mapping, r *extract.Record) (ID, Result, error) {
	if len(r.Cells) < len(m.body.table.Columns) {
		return ID{}, Result{}, errRecord
	}
	w.begin(m)
	b := m.body
	w.cells = w.load(w.cells, b, r.Cells)
	w.row = fhirpath.Row{Cells: w.cells, Ordinal: r.Ordinal}
	if w.ruled(b.skip, fhirpath.RowValue(&w.row), Skipped) {
		res, err := w.ended(w.done(), nil)
		return ID{}, res, err
	}
	msg := append(w.ids.msg[:0], b.prefix...)
	for _, i := range b.group {
		msg = appendPart(msg, w.cells[i])
	}
	w.ids.msg = msg
	w.result.Outcome = Mapped
	return w.ids.id(msg), w.done(), nil
}

// MapGroup maps the records of one group, in source order. The result holds for all of them. Skipping was asked by
// GroupKey.
func (w *Worker) MapGroup(m *Mapping, rows []Row, ordinal int, emit func(*Resource) error) (Result, error) {
	if len(rows) == 0 || !m.Grouped {
		return Result{}, errors.New("map: MapGroup wants the rows of a mapping with `group by`")
	}
	w.begin(m)
	b := m.body
	for len(w.rows) < len(rows) {
		w.rows = append(w.rows, &fhirpath.Row{})
	}
	w.rowJSON = append(w.rowJSON[:0], '[')
	for i, r := range rows {
		if len(r.Cells) < len(b.table.Columns) {
			return Result{}, errRecord
		}
		w.rows[i].Cells = w.load(w.rows[i].Cells, b, r.Cells)
		w.rows[i].Ordinal = r.Ordinal
		if i > 0 {
			w.rowJSON = append(w.rowJSON, ',')
		}
		w.rowJSON = b.appendRow(w.rowJSON, r.Cells)
	}
	w.rowJSON = append(w.rowJSON, ']')
	w.cells = append(w.cells[:0], w.rows[0].Cells...)
	w.group = w.group[:0]
	for _, i := range b.group {
		w.group = append(w.group, w.cells[i])
	}
	w.children = append(w.children[:0], w.rows[:len(rows)])
	w.row = fhirpath.Row{Cells: w.group, Children: w.children, Ordinal: rows[0].Ordinal}
	if err := w.join(w.group); err != nil {
		return Result{}, err
	}
	w.children = w.row.Children
	res, err := w.run(fhirpath.RowValue(&w.row), rows[0].Place, ordinal, emit)
	return w.ended(w.owned(res), err)
}

// owned says of a refused record whose it is, as far as its own columns tell.
func (w *Worker) owned(res Result) Result {
	b := w.m.body
	if res.Outcome != Refused || w.broken != nil {
		return res
	}
	res.PatientID = w.patient
	switch {
	case !w.patient.IsZero() || w.trace != nil:
	case b.self:
		msg, some := append(w.ids.msg[:0], b.prefix...), false
		for _, i := range b.key {
			some = some || w.cells[i] != ""
			msg = appendPart(msg, w.cells[i])
		}
		if w.ids.msg = msg; some {
			res.PatientID = w.ids.id(msg)
		}
	case b.patientRef != nil:
		if ref, err := b.patientRef.get(w, fhirpath.RowValue(&w.row)); err == nil && ref != nil {
			res.PatientID = ref.id
		}
	}
	return res
}

// appendRow appends the record as it was found, as JSON with the table's own names.
func (b *body) appendRow(dst []byte, cells []string) []byte {
	if len(b.rowHead) == 0 {
		return append(dst, "{}"...)
	}
	for i, head := range b.rowHead {
		dst = append(dst, head...)
		dst = fhir.AppendString(dst, cells[i])
	}
	return append(dst, '}')
}

// ruled asks the rules of skip or refuse, in their order; the first that says true decides.
func (w *Worker) ruled(rules []rule, focus fhirpath.Value, outcome Outcome) bool {
	for i := range rules {
		r := &rules[i]
		w.current = r.formula
		if w.trace != nil {
			w.trace.rule(w, outcome.String(), r, focus)
		}
		yes, err := r.expr.True(w.ctx, focus)
		if err != nil {
			w.refuseError(r.formula, err)
			return true
		}
		if yes {
			w.result = Result{Outcome: outcome, Rule: r.name, Column: r.column}
			return true
		}
	}
	return false
}

// run does what records and groups have in common, after skipping.
func (w *Worker) run(focus fhirpath.Value, at extract.Place, ordinal int, emit func(*Resource) error) (Result, error) {
	b := w.m.body
	w.ctx.Record = &w.row // items of a forEach find the record's columns there
	if w.ruled(b.refuse, focus, Refused) {
		return w.done(), nil
	}
	blank := true
	for _, i := range b.key {
		blank = blank && w.cells[i] == ""
	}
	if blank {
		w.refuse(BlankKey, nil, "")
		return w.done(), nil
	}
	if w.trace != nil && b.patient != nil {
		w.trace.outside(w, b.patient, focus)
	}
	if b.patientRef != nil {
		w.current = b.patient
		ref, err := b.patientRef.get(w, focus)
		switch {
		case err != nil:
			w.refuseError(b.patient, err)
			return w.done(), nil
		case ref == nil:
			w.refuse(NoPatient, b.patient, "patient")
			return w.done(), nil
		}
		w.patient = ref.id
	} else if b.patient != nil {
		w.current = b.patient
		v, err := b.patient.expr.One(w.ctx, focus)
		if err != nil {
			w.refuseError(b.patient, err)
			return w.done(), nil
		}
		ref, ok := parseReference(v.Node().Get("reference").Str())
		if !ok {
			w.refuse(NoPatient, b.patient, "patient")
			return w.done(), nil
		}
		w.patient = ref
	}
	if w.m.Duplicates != NumberDuplicates {
		ordinal = 1
	}
	if b.forEach == nil {
		if !w.resource(focus, at, ordinal, "", false) {
			return w.done(), nil
		}
	} else {
		w.current = b.forEach
		if w.trace != nil {
			w.trace.outside(w, b.forEach, focus)
		}
		var err error
		w.vals, err = b.forEach.expr.Append(w.ctx, focus, w.vals)
		if err != nil {
			w.refuseError(b.forEach, err)
			return w.done(), nil
		}
		for _, item := range w.vals[:len(w.vals):len(w.vals)] {
			key, ok := w.itemKey(item)
			if !ok || !w.resource(item, at, ordinal, key, true) {
				return w.done(), nil
			}
		}
	}
	for i := range b.find {
		r := &b.find[i]
		w.current = r.formula
		if w.trace != nil {
			w.trace.rule(w, "found", r, focus)
		}
		yes, err := r.expr.True(w.ctx, focus)
		if err != nil {
			w.refuseError(r.formula, err)
			return w.done(), nil
		}
		if yes {
			w.found = append(w.found, Finding{Rule: r.name, Column: r.column})
		}
	}
	w.result.Outcome = Mapped
	w.rowJSON = appendLooked(w.rowJSON, w.looked)
	for _, r := range w.out[:w.outUsed] {
		r.Row = w.rowJSON
		if err := emit(r); err != nil {
			return w.done(), err
		}
	}
	return w.done(), nil
}

// itemKey is the key of a forEach item at the top.
func (w *Worker) itemKey(item fhirpath.Value) (string, bool) {
	b := w.m.body
	key := item.Text()
	if b.itemKey != nil {
		w.current = b.itemKey
		if w.trace != nil {
			w.trace.outside(w, b.itemKey, item)
		}
		v, err := b.itemKey.expr.One(w.ctx, item)
		if err != nil {
			w.refuseError(b.itemKey, err)
			return "", false
		}
		key = v.Text()
	}
	if key == "" {
		w.refuse(BlankKey, b.itemKey, "forEach key")
		return "", false
	}
	for _, other := range w.itemKeys {
		if other == key {
			w.refuse(DuplicateItem, b.itemKey, "forEach key")
			return "", false
		}
	}
	w.itemKeys = append(w.itemKeys, key)
	return key, true
}

// resource writes one resource.
func (w *Worker) resource(focus fhirpath.Value, at extract.Place, ordinal int, item string, hasItem bool) bool {
	b := w.m.body
	msg := append(w.ids.msg[:0], b.prefix...)
	for _, i := range b.key {
		msg = appendPart(msg, w.cells[i])
	}
	if hasItem {
		msg = appendItem(msg, item)
	}
	msg = appendOrdinal(msg, ordinal)
	w.ids.msg = msg
	w.id = w.ids.fresh(msg)
	w.idText = w.id.String()
	if b.self {
		w.patient = w.id
	}
	if w.outUsed == len(w.out) {
		w.out = append(w.out, &Resource{})
	}
	r := w.out[w.outUsed]
	w.buf, w.cuts, w.refs = r.Whole[:0], r.Cuts[:0], r.Refs[:0]
	w.mark, w.path = -1, w.path[:0]
	if w.trace != nil {
		w.trace.resource(w, b)
	}
	s := w.object(b.root, focus)
	r.Whole, r.Cuts, r.Refs = w.buf, w.cuts, w.refs
	if s == failed {
		return false
	}
	if len(w.buf) > MaxResource {
		w.refuse(TooLarge, nil, "")
		return false
	}
	if w.judge != nil && !w.judged(at) {
		return false
	}
	w.outUsed++
	r.Type, r.Resource.ID, r.ID = w.m.Type, w.idText, w.id
	r.PatientID, r.Patient = w.patient, ""
	if b.self {
		r.Patient = w.idText
	} else if !w.patient.IsZero() {
		r.Patient = w.names.text(w.patient)
	}
	r.Mark, r.Place, r.Ordinal = w.mark, at, ordinal
	return true
}

// done finishes the result.
func (w *Worker) done() Result {
	w.current = nil
	if w.result.Outcome == Mapped && len(w.found) > 0 {
		w.result.Findings = w.found
	}
	return w.result
}

// refuse notes why the record is refused.
func (w *Worker) refuse(code Code, f *formula, path string) {
	w.result = Result{Outcome: Refused, Rule: string(code), Element: path}
	if f != nil {
		w.result.Column = f.column
		if path == "" {
			w.result.Element = f.path
		}
	}
	if w.result.Column == "" {
		w.result.Column = w.result.Element
	}
}

func (w *Worker) refuseError(f *formula, err error) {
	code, detail := codeOf(err)
	w.refuse(code, f, f.path)
	w.result.Detail = detail
}

// parseReference reads `Patient/<id>` into one of our ids.
func parseReference(s string) (ID, bool) {
	if len(s) < idLength+2 || s[len(s)-idLength-1] != '/' {
		return ID{}, false
	}
	return ParseID(s[len(s)-idLength:])
}
