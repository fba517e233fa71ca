package main

import (
	"encoding/csv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// changeable names, for each table of Synthea's, a column that belongs to no key, and the type of the resource whose
// content it is.
var changeable = map[string]struct{ column, typ string }{
	"allergies":         {"DESCRIPTION", "AllergyIntolerance"},
	"careplans":         {"DESCRIPTION", "CarePlan"},
	"claims":            {"DIAGNOSIS1", "Claim"},
	"conditions":        {"DESCRIPTION", "Condition"},
	"devices":           {"DESCRIPTION", "Device"},
	"encounters":        {"DESCRIPTION", "Encounter"},
	"imaging_studies":   {"BODYSITE_DESCRIPTION", "ImagingStudy"},
	"immunizations":     {"DESCRIPTION", "Immunization"},
	"medications":       {"DESCRIPTION", "MedicationRequest"},
	"observations":      {"DESCRIPTION", "Observation"},
	"organizations":     {"PHONE", "Organization"},
	"patients":          {"ADDRESS", "Patient"},
	"payer_transitions": {"MEMBERID", "Coverage"},
	"procedures":        {"DESCRIPTION", "Procedure"},
	"providers":         {"ADDRESS", "Practitioner"},
	"supplies":          {"QUANTITY", "SupplyDelivery"},
}

// nothingRefersTo lists the tables whose rows can go without another row's losing what it refers to.
var nothingRefersTo = []string{
	"allergies", "careplans", "claims", "conditions", "devices", "imaging_studies", "immunizations", "medications", "observations",
	"payer_transitions", "procedures", "supplies",
}

// export is the source of a hospital, which a test changes.
type export struct {
	t      *testing.T
	dir    string
	tables map[string][][]string // with the header
}

func openExport(t *testing.T, dir string) *export {
	t.Helper()
	e := &export{t: t, dir: dir, tables: map[string][][]string{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range files {
		rows, err := csv.NewReader(strings.NewReader(readFile(t, name))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		e.tables[strings.TrimSuffix(filepath.Base(name), ".csv")] = rows
	}
	return e
}

// cell is a place of a row, which can be written to. line counts from 1, the header's.
func (e *export) cell(table string, line int, column string) *string {
	e.t.Helper()
	i := slices.Index(e.tables[table][0], column)
	if i < 0 {
		e.t.Fatalf("%s has no column %s", table, column)
	}
	return &e.tables[table][line-1][i]
}

// write writes the tables without the rows that are given, by table and line.
func (e *export) write(without map[string]map[int]bool) {
	e.t.Helper()
	for name, rows := range e.tables {
		f, err := os.Create(filepath.Join(e.dir, name+".csv"))
		if err != nil {
			e.t.Fatal(err)
		}
		w := csv.NewWriter(f)
		for i, row := range rows {
			if !without[name][i+1] {
				if err := w.Write(row); err != nil {
					e.t.Fatal(err)
				}
			}
		}
		w.Flush()
		if err := w.Error(); err != nil {
			e.t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			e.t.Fatal(err)
		}
	}
}

// place is a line of places.ndjson.
type whereabouts struct {
	Table, Type, ID, Outcome string
	Line                     int
}

func (p whereabouts) name() string { return p.Type + "/" + p.ID }

// places exports the latest run and returns what its records have become.
func (h *hospital) places() []whereabouts {
	h.t.Helper()
	out := filepath.Join(h.t.TempDir(), "out")
	h.mustRun(exitDone, exitDone, "export", "-o", out)
	var list []whereabouts
	for line := range strings.Lines(readFile(h.t, filepath.Join(out, "places.ndjson"))) {
		list = append(list, decode[whereabouts](h.t, line))
	}
	return list
}

// delta is what happens between two runs, in the source and in the target, and so what the second has to say.
type delta struct {
	changed map[string]bool   // what has another content in the source: Type/id
	removed map[string]bool   // what the source has no record for any more
	refused map[string]bool   // what refers to something removed
	edited  map[string]string // what a hand changed in the target, and how the server gives it since
	deleted map[string]bool   // what a hand deleted there
	held    map[string]bool   // what changed and refers to what changed and was deleted there

	refusals map[string]int64 // rows that refer to something removed, by table
}

// drawDelta changes and removes a share of the rows of each table, and removes one encounter with whose rows the rest of
// its tables is refused. It goes by the places of the run before, not by what the program thinks of a delta.
func drawDelta(e *export, places []whereabouts, random *rand.Rand, share float64) *delta {
	e.t.Helper()
	d := &delta{changed: map[string]bool{}, removed: map[string]bool{}, refused: map[string]bool{}, edited: map[string]string{},
		deleted: map[string]bool{}, held: map[string]bool{}, refusals: map[string]int64{}}
	made := map[string]map[int][]whereabouts{} // by table and line
	rows := map[string]int{}                   // of each resource
	for _, p := range places {
		if p.Outcome != "made" && p.Outcome != "merged" {
			continue
		}
		if made[p.Table] == nil {
			made[p.Table] = map[int][]whereabouts{}
		}
		made[p.Table][p.Line] = append(made[p.Table][p.Line], p)
		rows[p.name()]++
	}
	without := map[string]map[int]bool{}
	remove := func(table string, line int) {
		if without[table] == nil {
			without[table] = map[int]bool{}
		}
		without[table][line] = true
	}
	touched := map[string]map[int]bool{}
	for _, table := range slices.Sorted(maps.Keys(made)) {
		touched[table] = map[int]bool{}
	}
	e.loseEncounter(d, made, rows, touched, random, remove)
	for _, table := range slices.Sorted(maps.Keys(changeable)) {
		at := changeable[table]
		lone := e.lone(table, made[table], rows)
		n := max(3, int(share*float64(len(e.tables[table]))))
		left := n
		for _, i := range random.Perm(len(lone)) {
			line := lone[i]
			value := e.cell(table, line, at.column)
			if left == 0 {
				break
			}
			if touched[table][line] || *value == "" {
				continue
			}
			of := slices.IndexFunc(made[table][line], func(p whereabouts) bool { return p.Type == at.typ })
			if of < 0 {
				continue
			}
			switch table {
			case "claims":
				*value += "1"
			case "supplies":
				*value += "0"
			default:
				*value += " (corrected)"
			}
			d.changed[made[table][line][of].name()] = true
			touched[table][line] = true
			left--
		}
		if left > 0 {
			e.t.Errorf("%s: %d of %d rows could not be changed", table, left, n)
		}
		if !slices.Contains(nothingRefersTo, table) {
			continue
		}
		left = n
		for _, i := range random.Perm(len(lone)) {
			line := lone[i]
			if left == 0 {
				break
			}
			if touched[table][line] {
				continue
			}
			for _, p := range made[table][line] {
				d.removed[p.name()] = true
			}
			remove(table, line)
			touched[table][line] = true
			left--
		}
		if left > 0 {
			e.t.Errorf("%s: %d of %d rows could not be removed", table, left, n)
		}
	}
	e.write(without)
	return d
}

// lone lists the lines that alone make what they make, and of which no other has the key: numbered copies of one another
// change their numbers when one of them goes.
func (e *export) lone(table string, made map[int][]whereabouts, rows map[string]int) []int {
	keys := map[string]int{}
	key := func(line int) string {
		var parts []string
		for _, column := range []string{"Id", "PATIENT", "ENCOUNTER", "CODE", "START", "DATE", "START_YEAR", "UDI"} {
			if i := slices.Index(e.tables[table][0], column); i >= 0 {
				parts = append(parts, e.tables[table][line-1][i])
			}
		}
		return strings.Join(parts, "|")
	}
	for line := 2; line <= len(e.tables[table]); line++ {
		keys[key(line)]++
	}
	var lines []int
	for line, of := range made {
		if keys[key(line)] == 1 && !slices.ContainsFunc(of, func(p whereabouts) bool { return rows[p.name()] > 1 }) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// loseEncounter removes an encounter to which some rows refer. They are refused.
func (e *export) loseEncounter(d *delta, made map[string]map[int][]whereabouts, rows map[string]int, touched map[string]map[int]bool, random *rand.Rand, remove func(string, int)) {
	e.t.Helper()
	referring := map[string]map[string][]int{} // by encounter and table
	for table, all := range e.tables {
		column := slices.Index(all[0], "ENCOUNTER")
		if table == "claims" {
			column = slices.Index(all[0], "APPOINTMENTID")
		}
		if column < 0 {
			continue
		}
		for i, row := range all[1:] {
			if referring[row[column]] == nil {
				referring[row[column]] = map[string][]int{}
			}
			referring[row[column]][table] = append(referring[row[column]][table], i+2)
		}
	}
	for _, i := range random.Perm(len(e.tables["encounters"]) - 1) {
		line := i + 2
		of := referring[*e.cell("encounters", line, "Id")]
		if len(of["observations"]) < 5 || len(of["claims"]) == 0 || len(of["immunizations"]) == 0 {
			continue
		}
		d.removed[made["encounters"][line][0].name()] = true
		remove("encounters", line)
		touched["encounters"][line] = true
		for table, lines := range of {
			d.refusals[table] += int64(len(lines))
			for _, line := range lines {
				touched[table][line] = true
				for _, p := range made[table][line] {
					d.refused[p.name()] = true
				}
			}
		}
		return
	}
	e.t.Fatal("no encounter has observations, claims and immunizations")
}

// edits says what a clinician would change of a type.
var edits = map[string][2]string{
	"AllergyIntolerance": {"criticality", "high"},
	"Condition":          {"recordedDate", "2023-01-01"},
	"Encounter":          {"status", "cancelled"},
	"Immunization":       {"status", "not-done"},
	"MedicationRequest":  {"status", "stopped"},
	"Observation":        {"status", "amended"},
	"Patient":            {"gender", "other"},
	"Procedure":          {"status", "not-done"},
}

// raw is a resource as the server gives it, byte for byte; "" if there is none.
func (h *hospital) raw(name string) string {
	h.t.Helper()
	resp, err := http.Get(h.server.URL + "/fhir/" + name)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return string(data)
	case http.StatusNotFound, http.StatusGone:
		return ""
	}
	h.t.Fatalf("%s: %s", name, resp.Status)
	return ""
}

// byHand changes some resources in the target, and deletes others. at says under which id one lies there.
func (h *hospital) byHand(d *delta, edited, deleted []string, at func(string) string) {
	h.t.Helper()
	for _, name := range edited {
		typ, _, _ := strings.Cut(name, "/")
		change, ok := edits[typ]
		if !ok {
			change = [2]string{"language", "fr"}
		}
		edit(h.t, h.server, at(name), func(n *fhir.Node) { n.Set(change[0], fhir.NewString(change[1])) })
		d.edited[name] = h.raw(at(name))
	}
	editor := &targetEditor{base: h.server.URL + "/fhir"}
	for _, name := range deleted {
		if _, err := editor.do(h.t.Context(), http.MethodDelete, at(name), nil); err != nil {
			h.t.Fatal(err)
		}
		d.deleted[name] = true
	}
}

// spread takes n of the names, one type after the other in turn, and those of one type in random order.
func spread(names []string, n int, random *rand.Rand) []string {
	slices.Sort(names)
	byType := map[string][]string{}
	for _, i := range random.Perm(len(names)) {
		typ, _, _ := strings.Cut(names[i], "/")
		byType[typ] = append(byType[typ], names[i])
	}
	var out []string
	for round := 0; len(out) < n; round++ {
		before := len(out)
		for _, typ := range slices.Sorted(maps.Keys(byType)) {
			if len(byType[typ]) > round && len(out) < n {
				out = append(out, byType[typ][round])
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}

// wanted is what the run over a delta must say of a type.
type wanted struct {
	Made, Loaded, Unchanged, NotApplied, Vanished, Rekeyed, Rejected, InDoubt, Held, Pending int64
	Matched, Different, Missing, Unexpected, EditedSince, NotCompared                        int64
}

// want is what each type's account must be, if it began with so many made.
func (d *delta) want(first map[string]int64) map[string]wanted {
	out := map[string]wanted{}
	for typ, n := range first {
		out[typ] = wanted{Made: n, Unchanged: n, Matched: n}
	}
	each := func(names map[string]bool, do func(name string, w *wanted)) {
		for name := range names {
			typ, _, _ := strings.Cut(name, "/")
			w := out[typ]
			do(name, &w)
			out[typ] = w
		}
	}
	gone := func(name string) bool { return d.removed[name] || d.refused[name] }
	edited := map[string]bool{}
	for name := range d.edited {
		edited[name] = true
	}
	each(d.removed, func(_ string, w *wanted) { w.Made--; w.Unchanged--; w.Matched--; w.Vanished++ })
	each(d.refused, func(_ string, w *wanted) { w.Made--; w.Unchanged--; w.Matched-- })
	each(d.changed, func(name string, w *wanted) {
		switch {
		case d.held[name]:
			w.Held++
			w.Unchanged--
			w.Matched--
		case edited[name] || d.deleted[name]:
			w.NotApplied++
		default:
			w.Loaded++
			w.Unchanged--
		}
	})
	// The plan does not say since when people work in the target, so an edit is named as that where a change of the source
	// was not applied for it, and is a difference elsewhere.
	each(edited, func(name string, w *wanted) {
		switch {
		case gone(name) || d.held[name]:
		case d.changed[name]:
			w.Matched--
			w.EditedSince++
		default:
			w.Matched--
			w.Different++
		}
	})
	each(d.deleted, func(name string, w *wanted) {
		if !gone(name) && !d.held[name] {
			w.Matched--
			w.Missing++
		}
	})
	return out
}

// hold finds what changed and refers to what changed and was deleted in the target. It is asked before anything is deleted.
func (h *hospital) hold(d *delta, deleted []string, at func(string) string) {
	h.t.Helper()
	for name := range d.changed {
		text := h.raw(at(name))
		for _, lost := range deleted {
			if d.changed[lost] && name != lost && strings.Contains(text, `"`+at(lost)+`"`) {
				d.held[name] = true
			}
		}
	}
}

// secondRun is the account of a run, with what a delta says.
type secondRun struct {
	Resources map[string]struct {
		Made, Loaded, Unchanged, Merged, Rejected, InDoubt, Held, Pending, Vanished, Rekeyed, NotApplied int64
	}
	Verified map[string]struct{ Matched, Different, Missing, Unexpected, EditedSince, NotCompared int64 }
	Tables   map[string]struct {
		Read, Mapped, OtherWave int64
		Skipped, Refused        map[string]int64
	}
}

func (a secondRun) got() map[string]wanted {
	out := map[string]wanted{}
	for typ, r := range a.Resources {
		v := a.Verified[typ]
		out[typ] = wanted{
			r.Made - r.Merged, r.Loaded, r.Unchanged, r.NotApplied, r.Vanished, r.Rekeyed, r.Rejected, r.InDoubt, r.Held, r.Pending,
			v.Matched, v.Different, v.Missing, v.Unexpected, v.EditedSince, v.NotCompared,
		}
	}
	return out
}

func (h *hospital) again(args ...string) secondRun {
	h.t.Helper()
	out := h.mustRun(exitReview, exitDone, append(args, "--json")...)
	return decode[secondRun](h.t, out)
}

// TestSecondRunsOfSynthea takes a real export through its second life: rows change and go, and hands change and delete in
// the target. Each count is exactly what was done, no edit is touched, a repair brings back what was lost, and a third run
// writes nothing.
func TestSecondRunsOfSynthea(t *testing.T) {
	h := newSynthea(t, "synthea-ca-2022")
	first := h.again("run")
	made := map[string]int64{}
	for typ, w := range first.got() {
		made[typ] = w.Made
	}
	random := rand.New(rand.NewPCG(2022, 10))
	e := openExport(t, filepath.Join(h.dir, "export", "csv"))
	places := h.places()
	d := drawDelta(e, places, random, 0.01)
	var quiet []string
	for _, p := range places {
		if name := p.name(); p.Outcome == "made" && !d.changed[name] && !d.removed[name] && !d.refused[name] {
			quiet = append(quiet, name)
		}
	}
	slices.Sort(quiet)
	quiet = slices.Compact(quiet)
	pool := spread(quiet, 64, random)
	changed := spread(slices.Collect(maps.Keys(d.changed)), 16, random)
	removed := spread(slices.Collect(maps.Keys(d.removed)), 8, random)
	here := func(name string) string { return name }
	// 40 edits: of what is as it was, of what changed and of what is gone. 40 deletions of what is as it was, and some more.
	edited, deleted := slices.Concat(pool[:24], changed[:12], removed[:4]), slices.Concat(pool[24:], changed[12:], removed[4:])
	h.hold(d, deleted, here)
	h.byHand(d, edited, deleted, here)
	t.Logf("%d changed, %d removed, %d refused for what they refer to, %d edited, %d deleted, %d held back", len(d.changed), len(d.removed), len(d.refused), len(d.edited), len(d.deleted), len(d.held))

	before := h.sandbox.Writes()
	second := h.again("run")
	want := d.want(made)
	if diff := cmp.Diff(want, second.got()); diff != "" {
		t.Errorf("the second run (-want +got):\n%s", diff)
	}
	var loaded int64
	for _, w := range want {
		loaded += w.Loaded
	}
	if n := h.sandbox.Writes() - before; n != loaded {
		t.Errorf("%d versions were written, %d changes were to be sent", n, loaded)
	}
	for table, n := range d.refusals {
		if got := second.Tables[table].Refused["missing-reference"]; got != n {
			t.Errorf("%s: %d rows refer to the encounter that is gone, %d are refused", table, n, got)
		}
	}
	h.checkVanished(d)
	h.untouched(d, here)

	// What was lost comes back, in the form that the source has now; what the source does not have any more does not.
	var back []string
	for name := range d.deleted {
		if !d.removed[name] && !d.refused[name] {
			back = append(back, name)
		}
	}
	before = h.sandbox.Writes()
	repaired := h.again("run", "--repair")
	if n := h.sandbox.Writes() - before; n != int64(len(back)) {
		t.Errorf("the repair wrote %d versions, %d were lost", n, len(back))
	}
	for _, name := range back {
		if h.raw(name) == "" {
			t.Errorf("%s is not back", name)
		}
	}
	for name := range d.deleted {
		if d.removed[name] && h.raw(name) != "" {
			t.Errorf("%s is back, and no record makes it any more", name)
		}
	}
	for typ, w := range want { // nothing is missing any more
		w.Matched += w.Missing
		w.Missing = 0
		want[typ] = w
	}
	for name := range d.deleted { // and what changed is there as changed, by this run's hand
		if typ, _, _ := strings.Cut(name, "/"); d.changed[name] {
			w := want[typ]
			w.NotApplied--
			want[typ] = w
		}
	}
	for _, name := range back { // the repair belongs to the run that it repairs
		typ, _, _ := strings.Cut(name, "/")
		w := want[typ]
		w.Loaded++
		w.Unchanged--
		want[typ] = w
	}
	if diff := cmp.Diff(want, repaired.got()); diff != "" {
		t.Errorf("the repair (-want +got):\n%s", diff)
	}
	h.untouched(d, here)

	// What was held back is sent by the same command, now that what it refers to is there.
	before = h.sandbox.Writes()
	h.again("run")
	if n := h.sandbox.Writes() - before; n != int64(len(d.held)) {
		t.Errorf("%d versions were written, %d had been held back", n, len(d.held))
	}
	before = h.sandbox.Writes()
	third := h.again("run")
	if n := h.sandbox.Writes() - before; n != 0 {
		t.Errorf("the third run wrote %d versions", n)
	}
	for typ, w := range want {
		w.Unchanged += w.Loaded + w.Held
		w.Matched += w.Held
		w.Loaded, w.Held = 0, 0
		want[typ] = w
	}
	if diff := cmp.Diff(want, third.got()); diff != "" {
		t.Errorf("the third run (-want +got):\n%s", diff)
	}
	h.untouched(d, here)
}

// checkVanished checks that exactly what was removed is named as vanished.
func (h *hospital) checkVanished(d *delta) {
	h.t.Helper()
	named := map[string]bool{}
	for _, f := range h.discrepancies() {
		if f.Kind == "vanished" || f.Kind == "rekeyed" {
			named[f.Type+"/"+f.ID] = true
			if f.Code != "not-in-source" {
				h.t.Errorf("%s %s/%s: code %s", f.Kind, f.Type, f.ID, f.Code)
			}
		}
	}
	if diff := cmp.Diff(d.removed, named); diff != "" {
		h.t.Errorf("what vanished (-want +named):\n%s", diff)
	}
}

// untouched checks that every edit is there byte for byte, version and all.
func (h *hospital) untouched(d *delta, at func(string) string) {
	h.t.Helper()
	touched := 0
	for name, text := range d.edited {
		if h.raw(at(name)) != text {
			touched++
			h.t.Errorf("the edit of %s is touched", name)
		}
	}
	if touched > 0 {
		h.t.Errorf("%d of %d edits were touched", touched, len(d.edited))
	}
}
