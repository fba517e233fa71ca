package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// drawn is a hospital whose records have each been given a fate, and what must become of them.
type drawn struct {
	t      *rapid.T
	files  map[string]*strings.Builder
	lines  map[string]int
	want   []string // "table:line outcome", in the order of the tables and lines
	tables map[string]*wantedTable
}

// wantedTable is the account of a table: records by what must become of them.
type wantedTable struct {
	read             int64
	mapped           int64
	skipped, refused map[string]int64
	merged           int64
}

// row writes a record and notes its fate: made, merged, "skipped RULE" or "refused RULE".
func (d *drawn) row(table, record, fate string) {
	w := d.tables[table]
	d.lines[table]++
	fmt.Fprintln(d.files[table], record)
	outcome, rule, _ := strings.Cut(fate, " ")
	w.read++
	switch outcome {
	case "made":
		w.mapped++
	case "merged":
		w.mapped++
		w.merged++
	case "skipped":
		w.skipped[rule]++
	case "refused":
		w.refused[rule]++
	}
	d.want = append(d.want, fmt.Sprintf("%s:%d %s", table, d.lines[table], outcome))
}

func (d *drawn) table(name, header string) {
	d.files[name] = &strings.Builder{}
	d.lines[name] = 1
	d.tables[name] = &wantedTable{skipped: map[string]int64{}, refused: map[string]int64{}}
	fmt.Fprintln(d.files[name], header)
}

// fate draws one of the fates, the first being by far the most common.
func (d *drawn) fate(label string, fates ...string) string {
	if d.t == nil || rapid.IntRange(0, 2).Draw(d.t, label+" is fine") > 0 {
		return fates[0]
	}
	return rapid.SampledFrom(fates).Draw(d.t, label)
}

func (d *drawn) pick(label string, from []string) string {
	return rapid.SampledFrom(from).Draw(d.t, label)
}

// drawHospital draws the export.
func drawHospital(t *rapid.T) *drawn {
	d := &drawn{t: t, files: map[string]*strings.Builder{}, lines: map[string]int{}, tables: map[string]*wantedTable{}}
	doctors := d.doctors()
	patients, nobodies := d.patients(doctors)
	visits := d.visits(patients, nobodies)
	d.notes(patients, nobodies, visits)
	d.values(patients, nobodies)
	return d
}

func (d *drawn) doctors() []string {
	d.table("doctors", "ID,NAME")
	known := []string{"d0"}
	d.row("doctors", "d0,Name d0", "made")
	for i := range rapid.IntRange(0, 5).Draw(d.t, "doctors") {
		id := fmt.Sprintf("d%d", i+1)
		switch d.fate("doctor", "fine", "copy", "conflict", "ragged") {
		case "fine":
			d.row("doctors", id+",Name "+id, "made")
			known = append(known, id)
		case "copy":
			id := d.pick("copied", known)
			d.row("doctors", id+",Name "+id, "merged")
		case "conflict":
			d.row("doctors", d.pick("contradicted", known)+",Another", "refused merge-conflict")
		case "ragged":
			d.row("doctors", id, "refused ragged-row")
		}
	}
	return known
}

// patients answers the keys of those who are there, and of those who are not.
func (d *drawn) patients(doctors []string) (known, nobodies []string) {
	d.table("patients", "ID,NAME,SEX,DOCTOR")
	known, nobodies = []string{"p0"}, []string{"never"}
	d.row("patients", "p0,Arden,F,d0", "made")
	for i := range rapid.IntRange(0, 12).Draw(d.t, "patients") {
		id := fmt.Sprintf("p%d", i+1)
		doctor := d.pick("doctor of", doctors)
		switch d.fate("patient", "fine", "skip", "unmapped", "again", "no doctor", "ragged", "quote") {
		case "fine":
			d.row("patients", id+",Birch,M,"+doctor, "made")
			known = append(known, id)
		case "no doctor": // the reference is dropped
			d.row("patients", id+",Cole,F,gone", "made")
			known = append(known, id)
		case "again":
			d.row("patients", d.pick("again", known)+",Dale,M,"+doctor, "refused duplicate-key")
		case "skip":
			d.row("patients", id+",ZZTEST,M,"+doctor, "skipped test patient")
			nobodies = append(nobodies, id)
		case "unmapped":
			d.row("patients", id+",Elm,X,"+doctor, "refused unmapped-code")
			nobodies = append(nobodies, id)
		case "ragged":
			d.row("patients", id+",Fir", "refused ragged-row")
			nobodies = append(nobodies, id)
		case "quote":
			d.row("patients", id+`,Gr"y,F,`+doctor, "refused bare-quote")
			nobodies = append(nobodies, id)
		}
	}
	return known, nobodies
}

func (d *drawn) visits(patients, nobodies []string) []string {
	d.table("visits", "ID,PATIENT,KIND,DAY")
	known := []string{"v0"}
	d.row("visits", "v0,p0,AMB,2024-01-01", "made")
	for i := range rapid.IntRange(0, 20).Draw(d.t, "visits") {
		id := fmt.Sprintf("v%d", i+1)
		patient := d.pick("patient of", patients)
		switch d.fate("visit", "fine", "skip", "refuse", "again", "orphan", "ragged", "date") {
		case "fine":
			d.row("visits", id+","+patient+",AMB,2024-02", "made")
			known = append(known, id)
		case "skip":
			d.row("visits", id+","+patient+",CANCELLED,2024", "skipped cancelled")
		case "refuse":
			d.row("visits", id+","+patient+",,2024", "refused no kind")
		case "again":
			d.row("visits", d.pick("again", known)+","+patient+",IMP,2024", "refused duplicate-key")
		case "orphan":
			d.row("visits", id+","+d.pick("nobody", nobodies)+",AMB,2024", "refused missing-reference")
		case "ragged":
			d.row("visits", id+","+patient+",AMB,2024,more", "refused ragged-row")
		case "date":
			d.row("visits", id+","+patient+",AMB,yesterday", "refused bad-date")
		}
	}
	return known
}

func (d *drawn) notes(patients, nobodies, visits []string) {
	d.table("notes", "PATIENT,VISIT,WORD")
	for range rapid.IntRange(0, 12).Draw(d.t, "notes") {
		patient, visit := d.pick("patient of", patients), d.pick("visit of", visits)
		word := d.pick("word", []string{"tall", "well"})
		switch d.fate("note", "fine", "no visit", "orphan") {
		case "fine": // two with one key are two resources
			d.row("notes", patient+","+visit+","+word, "made")
		case "no visit":
			d.row("notes", patient+",gone,"+word, "made")
		case "orphan":
			d.row("notes", d.pick("nobody", nobodies)+","+visit+","+word, "refused missing-reference")
		}
	}
}

func (d *drawn) values(patients, nobodies []string) {
	d.table("values", "PATIENT,DAY,NAME,VALUE")
	for range rapid.IntRange(0, 12).Draw(d.t, "values") {
		day := d.pick("day", []string{"2024-01-01", "2024-01-02"})
		switch d.fate("value", "fine", "orphan") {
		case "fine":
			d.row("values", d.pick("patient of", patients)+","+day+",pulse,72", "made")
		case "orphan":
			d.row("values", d.pick("nobody", nobodies)+","+day+",pulse,72", "refused missing-reference")
		}
	}
}

// house is one copy of a drawn hospital, with a server before which requests can be counted and stopped.
type house struct {
	t      *testing.T
	dir    string
	store  string
	web    *httptest.Server
	mu     sync.Mutex
	server *sandbox.Server
	stop   func() // called at the request that stop counts down to
	left   int
	commit bool // that request is done before nobody hears of it
}

func newHouse(t *testing.T, d *drawn, keys, faults string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.store = filepath.Join(h.dir, "server.log")
	h.web = httptest.NewServer(h)
	t.Cleanup(h.close)
	h.serve(faults)
	if err := copyMissing(h.dir, os.DirFS(filepath.Join("testdata", "fates"))); err != nil {
		t.Fatal(err)
	}
	plan := strings.ReplaceAll(readFile(t, h.plan()), "SERVER", h.web.URL+"/fhir")
	h.write("migration.yaml", plan)
	for name, text := range d.files {
		h.write(filepath.Join("export", name+".csv"), text.String())
	}
	if keys == "" {
		h.must(exitDone, "keys", "init")
	} else if err := copyMissing(filepath.Join(h.dir, "keys"), os.DirFS(keys)); err != nil {
		t.Fatal(err)
	}
	return h
}

// copyMissing copies the files that are not there yet.
func copyMissing(to string, from fs.FS) error {
	return fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		target := filepath.Join(to, filepath.FromSlash(path))
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if _, err := os.Stat(target); err == nil {
			return nil
		}
		data, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

func (h *house) plan() string { return filepath.Join(h.dir, "migration.yaml") }

func (h *house) write(name, text string) {
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// serve starts the server anew over what it keeps, with other faults.
func (h *house) serve(faults string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		if err := h.server.Close(); err != nil {
			h.t.Fatal(err)
		}
	}
	s, err := sandbox.New(sandbox.Options{Store: h.store, Faults: faults})
	if err != nil {
		h.t.Fatal(err)
	}
	h.server = s
}

func (h *house) close() {
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	_ = server.Close()
	h.web.Close()
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	server, stop, commit := h.server, h.stop, h.commit
	h.left--
	now := stop != nil && h.left == 0
	h.mu.Unlock()
	if !now {
		server.ServeHTTP(w, r)
		return
	}
	if commit {
		server.ServeHTTP(httptest.NewRecorder(), r)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	stop()
	<-r.Context().Done()
}

func (h *house) run(ctx context.Context, args ...string) (int, []byte, string) {
	var out, faults bytes.Buffer
	code := chartlift(ctx, append([]string{"-f", h.plan(), "--json"}, args...), strings.NewReader(""), &out, &faults)
	return code, out.Bytes(), faults.String()
}

func (h *house) must(code int, args ...string) []byte {
	h.t.Helper()
	got, out, faults := h.run(context.Background(), args...)
	if got != code {
		h.t.Fatalf("chartlift %s: exit %d, wanted %d\n%s\n%s", strings.Join(args, " "), got, code, out, faults)
	}
	return out
}

// interrupted runs until the n-th request, or to the end if there are fewer.
func (h *house) interrupted(t *rapid.T, n int, commit bool, args ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.arm(cancel, n, commit)
	code, out, faults := h.run(ctx, args...)
	h.arm(nil, 0, false)
	switch {
	case ctx.Err() == nil && (code == exitDone || code == exitReview):
	case ctx.Err() != nil && code == exitInterrupted:
	default:
		t.Fatalf("interrupted at request %d: exit %d\n%s\n%s", n, code, out, faults)
	}
}

// cutShort runs until the context has been asked n times whether it is done: anywhere, also between two requests.
func (h *house) cutShort(t *rapid.T, n int64, args ...string) {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctx := &countdown{Context: parent, cancel: cancel}
	ctx.left.Store(n)
	code, out, faults := h.run(ctx, args...)
	if code != exitInterrupted && (parent.Err() == nil && code != exitDone && code != exitReview || parent.Err() != nil && code == exitFailed) {
		t.Fatalf("cut short at question %d: exit %d\n%s\n%s", n, code, out, faults)
	}
}

func (h *house) arm(stop func(), n int, commit bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop, h.left, h.commit = stop, n, commit
}

// countdown is a context that is cancelled when it has been asked so many times whether it is.
type countdown struct {
	context.Context
	left   atomic.Int64
	cancel func()
}

func (c *countdown) ask() {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
}

func (c *countdown) Err() error            { c.ask(); return c.Context.Err() }
func (c *countdown) Done() <-chan struct{} { c.ask(); return c.Context.Done() }

// content is everything that the server holds, without what it adds itself.
func (h *house) content() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for _, typ := range []string{"Practitioner", "Patient", "Encounter", "Basic", "Observation"} {
		resp, err := http.Get(h.web.URL + "/fhir/" + typ + "?_count=1000")
		if err != nil {
			h.t.Fatal(err)
		}
		var bundle struct {
			Entry []struct{ Resource map[string]any }
		}
		err = json.NewDecoder(resp.Body).Decode(&bundle)
		_ = resp.Body.Close()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range bundle.Entry {
			if id, _ := e.Resource["id"].(string); strings.HasPrefix(id, "chartlift-") {
				continue // the marker of the migration names its ledger, and each house has its own
			}
			if meta, ok := e.Resource["meta"].(map[string]any); ok {
				delete(meta, "versionId")
				delete(meta, "lastUpdated")
			}
			text, err := json.Marshal(e.Resource)
			if err != nil {
				h.t.Fatal(err)
			}
			out[fmt.Sprintf("%s/%s", typ, e.Resource["id"])] = string(text)
		}
	}
	return out
}

// places exports the latest run, and answers places.ndjson as lines.
func (h *house) places() []string {
	h.t.Helper()
	dir := filepath.Join(h.dir, "out")
	h.must(exitDone, "export", "-o", dir)
	return strings.Split(strings.TrimSpace(readFile(h.t, filepath.Join(dir, "places.ndjson"))), "\n")
}

// TestFates gives every record of a random hospital a fate and checks the account: each record has exactly one outcome,
// the sums balance, and however the server fails and wherever the run is cut off, the target ends as after an unbroken
// run; a second run loads nothing.
func TestFates(t *testing.T) {
	fewer(t, "12")
	rapid.Check(t, func(rt *rapid.T) {
		d := drawHospital(rt)
		whole := newHouse(t, d, "", "")
		first := whole.must(wantedExit(d), "run", "--workers", "1")
		d.check(rt, first, "loaded")
		places := whole.places()
		d.checkPlaces(rt, places)
		content := whole.content()

		broken := newHouse(t, d, filepath.Join(whole.dir, "keys"), drawFaults(rt))
		workers := fmt.Sprint(rapid.IntRange(1, 6).Draw(rt, "workers"))
		for range rapid.IntRange(0, 2).Draw(rt, "interrupts") {
			n := rapid.IntRange(1, 25).Draw(rt, "at request")
			broken.interrupted(rt, n, rapid.Bool().Draw(rt, "done before"), "run", "--workers", workers)
		}
		if n := rapid.Int64Range(0, 3000).Draw(rt, "cut short at"); n > 0 {
			broken.cutShort(rt, n, "run", "--workers", workers)
		}
		_, last, _ := broken.run(context.Background(), "run", "--workers", workers)
		broken.serve("")
		if len(last) == 0 || parse(rt, last).State != "finished" {
			last = broken.must(wantedExit(d), "run")
		}
		d.check(rt, last, "")
		if diff := cmp.Diff(places, broken.places()); diff != "" {
			rt.Errorf("places differ from an unbroken run's (-unbroken +broken)\n%s", diff)
		}
		if diff := cmp.Diff(content, broken.content()); diff != "" {
			rt.Errorf("the target differs from an unbroken run's (-unbroken +broken)\n%s", diff)
		}
		d.check(rt, broken.must(wantedExit(d), "run"), "unchanged")
		if diff := cmp.Diff(content, broken.content()); diff != "" {
			rt.Errorf("the second run changed the target\n%s", diff)
		}
	})
}

// fewer asks for fewer cases than rapid's default, unless the command line says how many.
func fewer(t *testing.T, checks string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if given {
		return
	}
	before := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Lookup("rapid.checks").Value.Set(before) })
}

// drawFaults draws passing faults of the server: none of them may change what the target ends with.
func drawFaults(t *rapid.T) string {
	kinds := []string{"500", "503:retry-after=0", "429:retry-after=0", "drop-before", "drop-after-commit", "half-answer", "html",
		"entry-missing", "entry-added", "entry-reordered", "no-location", "entry=503"}
	faults := []string{fmt.Sprintf("seed=%d", rapid.IntRange(1, 99).Draw(t, "seed"))}
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom(kinds), 0, 3, rapid.ID[string]).Draw(t, "faults") {
		faults = append(faults, fmt.Sprintf("%s:nth=%d", kind, rapid.IntRange(1, 12).Draw(t, "nth")))
	}
	return strings.Join(faults, ",")
}

// wantedExit is 3 if anything was refused or dropped: somebody has to look.
func wantedExit(d *drawn) int {
	for _, w := range d.tables {
		if len(w.refused) > 0 {
			return exitReview
		}
	}
	for _, name := range []string{"patients", "notes"} {
		if strings.Contains(d.files[name].String(), ",gone") {
			return exitReview
		}
	}
	return exitDone
}

func parse(t *rapid.T, data []byte) (a account) {
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return a
}

// check recomputes every sum from the JSON of a run. all names the outcome that every resource must have; "" for any
// that stored it.
func (d *drawn) check(t *rapid.T, data []byte, all string) {
	a := parse(t, data)
	if a.State != "finished" {
		t.Fatalf("state %s\n%s", a.State, data)
	}
	var records, merged int64
	for name, want := range d.tables {
		got := a.Tables[name]
		if got.Read != want.read || got.Mapped != want.mapped || got.OtherWave != 0 || !equal(got.Skipped, want.skipped) || !equal(got.Refused, want.refused) {
			t.Errorf("%s: wanted %+v, got %+v", name, *want, got)
		}
		if got.Read != got.Mapped+total(got.Skipped)+total(got.Refused)+got.OtherWave {
			t.Errorf("%s does not balance: %+v", name, got)
		}
		records += got.Read
		merged += want.merged
	}
	if records != int64(len(d.want)) {
		t.Errorf("%d records read of %d", records, len(d.want))
	}
	var gotMerged int64
	for typ, r := range a.Resources {
		gotMerged += r.Merged
		stored := r.Loaded + r.Unchanged
		if r.Made != stored+r.Merged || r.Rejected+r.InDoubt+r.Held+r.Pending != 0 {
			t.Errorf("%s does not balance: %+v", typ, r)
		}
		if all == "loaded" && r.Unchanged != 0 || all == "unchanged" && r.Loaded != 0 {
			t.Errorf("%s must all be %s: %+v", typ, all, r)
		}
		if v := a.Verified[typ]; v.Matched != stored || v.Different+v.Missing+v.Unexpected+v.EditedSince+v.NotCompared != 0 {
			t.Errorf("%s: %d stored, verified %+v", typ, stored, v)
		}
	}
	if gotMerged != merged {
		t.Errorf("merged %d, wanted %d", gotMerged, merged)
	}
}

func equal(a, b map[string]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, n := range a {
		if b[k] != n {
			return false
		}
	}
	return true
}

// checkPlaces checks that every record has exactly its outcome, once.
func (d *drawn) checkPlaces(t *rapid.T, lines []string) {
	var got []string
	for _, line := range lines {
		var p struct {
			Table, Type, ID, Outcome string
			Line                     int
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if made := p.Outcome == "made" || p.Outcome == "merged"; made != (p.ID != "") || made != (p.Type != "") {
			t.Errorf("a place names a resource exactly if there is one: %s", line)
		}
		got = append(got, fmt.Sprintf("%s:%d %s", p.Table, p.Line, p.Outcome))
	}
	want := slices.Clone(d.want)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got)\n%s", diff)
	}
}
