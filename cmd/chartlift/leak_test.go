package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// The marks inside planted values. Each stands in every value of its kind, so that a search for a few marks is a search
// for all values. What a policy may keep (towns, dates, the words of codes, places of care) has marks of its own: at rest
// it must not be readable either, in the clinical part it may.
const (
	markSealed = "Zq7Xv9Kt"             // names, addresses, free text, numbers of licences, members and devices
	markNumber = "917-83-4"             // social security and telephone numbers
	markKey    = "c0ffee5a-1ad0"        // ids of records in the source
	markPlace  = "48.61873"             // where a patient lives
	markUID    = "1.2.840.91783461.873" // of images
	markKept   = "Kp8Ww3Rm"             // the words of codes
	markTown   = "Tw5Rh2Nb"             // towns, and the names of places of care and of clinicians
	markDay    = "1913-02-0"            // days of birth
	markVisit  = "2016-01-15"           // days of care
	markEnd    = "2017-01-1"
)

var (
	sealedMarks = []string{markSealed, markNumber, markKey, markPlace, markUID}
	// What a limited data set may keep, and the safe harbor takes out.
	limitedMarks = []string{markTown, markDay, markVisit, markEnd}
	allMarks     = slices.Concat([]string{markKept}, limitedMarks, sealedMarks)
)

// planting writes an export in Synthea's layout whose PHI columns hold planted values.
type planting struct {
	files  map[string]*strings.Builder
	values map[string][]string // planted values of records that are fine, by type
}

func (p *planting) table(name, header string) {
	p.files[name] = &strings.Builder{}
	fmt.Fprintln(p.files[name], header)
}

func (p *planting) row(table string, cells ...string) {
	fmt.Fprintln(p.files[table], strings.Join(cells, ","))
}

// plant notes that the value must come back in a resource of the type, and answers it.
func (p *planting) plant(typ, value string) string {
	p.values[typ] = append(p.values[typ], value)
	return value
}

func plantHospital() *planting {
	p := &planting{files: map[string]*strings.Builder{}, values: map[string][]string{}}
	p.table("organizations", "Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,UTILIZATION")
	p.row("organizations", plantedKey("org", 0), markTown+" clinic", markSealed+" Street 1", markTown+"ville", "MA", "01420", "42.5", "-71.8", markNumber+"900", "0.0", "9")
	p.table("providers", "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,ENCOUNTERS,PROCEDURES")
	p.row("providers", plantedKey("pro", 0), plantedKey("org", 0), markTown+" Reilly", "M", "GENERAL PRACTICE", markSealed+" Street 2", markTown+"ville", "MA", "01420", "42.5", "-71.8", "9", "0")
	p.table("patients", "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,MIDDLE,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,FIPS,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE,INCOME")
	p.table("encounters", "Id,START,STOP,PATIENT,ORGANIZATION,PROVIDER,PAYER,ENCOUNTERCLASS,CODE,DESCRIPTION,BASE_ENCOUNTER_COST,TOTAL_CLAIM_COST,PAYER_COVERAGE,REASONCODE,REASONDESCRIPTION")
	p.table("conditions", "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION")
	p.table("allergies", "START,STOP,PATIENT,ENCOUNTER,CODE,SYSTEM,DESCRIPTION,TYPE,CATEGORY,REACTION1,DESCRIPTION1,SEVERITY1,REACTION2,DESCRIPTION2,SEVERITY2")
	p.table("observations", "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE")
	p.table("devices", "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,UDI")
	p.moreTables()
	for i := range 8 {
		p.patient(i)
		p.morePatient(i)
	}
	p.faults()
	return p
}

func plantedKey(kind string, i int) string {
	return fmt.Sprintf("%s-4%02x%x-8000-%012d", markKey, []byte(kind)[0], []byte(kind)[1]&15, i)
}

// patient plants a patient whose records are all fine.
func (p *planting) patient(i int) {
	text := func(column string) string { return fmt.Sprintf("%s%s%d", markSealed, column, i) }
	in := func(column string) string { return p.plant("Patient", text(column)) }
	id, visit := p.plant("Patient", plantedKey("pat", i)), p.plant("Encounter", plantedKey("enc", i))
	p.row("patients", id, p.plant("Patient", fmt.Sprintf("%s%d", markDay, i+1)), "", p.plant("Patient", fmt.Sprintf("%s%d", markNumber, i)), in("drivers"),
		in("passport"), in("prefix"), in("first"), in("middle"), in("last"), in("suffix"), in("maiden"), "M", "asian", "nonhispanic", "M",
		in("birthplace"), in("address"), p.plant("Patient", fmt.Sprintf("%stown%d", markTown, i)), "Massachusetts", in("county"), "25017", "02180",
		p.plant("Patient", fmt.Sprintf("%s%d", markPlace, i)), p.plant("Patient", fmt.Sprintf("-%s%d", markPlace, 10+i)), "1.0", "1.0", "1")
	p.row("encounters", visit, "2016-01-15T08:44:57Z", "2016-01-15T08:59:57Z", id, plantedKey("org", 0), plantedKey("pro", 0), "", "wellness", "410620009",
		p.plant("Encounter", fmt.Sprintf("%s visit %d", markKept, i)), "1.0", "1.0", "0.0", "", p.plant("Encounter", text("reason")))
	p.row("conditions", "2016-01-15", "", id, visit, "http://snomed.info/sct", "446096008", p.plant("Condition", fmt.Sprintf("%s condition %d", markKept, i)))
	p.row("allergies", "2016-01-15", p.plant("AllergyIntolerance", fmt.Sprintf("2017-01-1%d", i)), id, visit, "609328004", "SNOMED-CT", p.plant("AllergyIntolerance", fmt.Sprintf("%s allergy %d", markKept, i)), "allergy", "environment", "", "", "", "", "", "")
	p.row("observations", "2016-01-15T08:44:57Z", id, visit, "survey", "93025-5", markKept+" survey", p.plant("Observation", text("note")), "", "text")
	p.row("observations", "2016-01-15T08:45:57Z", id, visit, "vital-signs", "8302-2", "Body Height", "165.3", "cm", "numeric")
	p.row("devices", "2016-01-15T08:44:57Z", "", id, visit, "706298007", markKept+" device", p.plant("Device", fmt.Sprintf("(01)42687838560934(11)150925(17)401009(10)25663(21)%s", text("serial"))))
}

// faults plants records that are refused in every way there is, with planted values where the fault is.
func (p *planting) faults() {
	patient := func(id, birth, first, gender, marital string) []string {
		return []string{id, birth, "", markNumber + "8", markSealed + "d", markSealed + "p", "", first, "", markSealed + "last", "", "", marital, "asian", "nonhispanic", gender,
			markSealed + "birthplace", markSealed + "address", markKept + "town", "Massachusetts", markSealed + "county", "", "02180", markPlace, markPlace, "1.0", "1.0", "1"}
	}
	p.row("patients", patient(plantedKey("pat", 20), markSealed+"day", "a", "M", "M")...)
	p.row("patients", patient(plantedKey("pat", 21), markDay+"9", "b", markSealed+"gender", "M")...)
	p.row("patients", patient(plantedKey("pat", 22), markDay+"9", "c", "M", markSealed+"marital")...)
	p.row("patients", patient(plantedKey("pat", 0), markDay+"9", markSealed+"again", "M", "M")...)
	p.row("patients", plantedKey("pat", 23), markDay+"9", markSealed+"ragged")
	p.row("patients", patient(plantedKey("pat", 24), markDay+"9", markSealed+`qu"ote`, "M", "M")...)
	p.row("patients", patient(plantedKey("pat", 25), markDay+"9", markSealed+"\xff\xfe", "M", "M")...)
	p.row("patients", patient(plantedKey("pat", 26), "1913-02-08", "d", "M", "M")...)
	p.row("encounters", plantedKey("enc", 30), markSealed+"start", "", plantedKey("pat", 0), plantedKey("org", 0), plantedKey("pro", 0), "", "wellness", "410620009", "x", "1.0", "1.0", "0.0", "", "")
	p.row("encounters", plantedKey("enc", 31), "2016-01-15T08:44:57Z", "", plantedKey("pat", 99), plantedKey("org", 0), plantedKey("pro", 0), "", markSealed+"class", "410620009", "x", "1.0", "1.0", "0.0", "", "")
	p.row("encounters", plantedKey("enc", 32), "2016-01-15T08:44:57Z", "", plantedKey("pat", 99), plantedKey("org", 0), plantedKey("pro", 0), "", "wellness", "410620009", "x", "1.0", "1.0", "0.0", "", "")
	p.row("observations", "2016-01-15T08:44:57Z", plantedKey("pat", 0), plantedKey("enc", 0), "vital-signs", "8302-2", "Body Height", markSealed+"value", markSealed+"unit", "numeric")
	p.row("conditions", "2016-01-15", "", plantedKey("pat", 0), plantedKey("enc", 0), markSealed+"system", "446096008", markKept)
}

// leakHouse is the planted hospital in a folder, and a server that notes what it sees of requests besides their bodies.
type leakHouse struct {
	t      *testing.T
	dir    string
	web    *httptest.Server
	server *sandbox.Server
	search *searcher
	talk   bytes.Buffer // all of stdout and stderr
	said   string       // stdout of the last command

	mu      sync.Mutex
	seen    bytes.Buffer // request lines and headers
	bodies  bytes.Buffer // what was sent
	writes  int
	quoting bool   // refuse some requests with an answer that quotes what was sent
	stopAt  int    // the request that writes at which stop is called
	stop    func() // and that gets no answer
}

// leakSetup is what differs from house to house.
type leakSetup struct {
	phi      string // of the plan
	faults   string // of the server
	store    string // file in which the server keeps what it holds, below the house's folder
	identity string // base URL of target identity
}

func newLeakHouse(t *testing.T, p *planting, setup leakSetup) *leakHouse {
	t.Helper()
	h := &leakHouse{t: t, dir: t.TempDir(), search: newSearcher(allMarks...)}
	temp := filepath.Join(h.dir, "tmp")
	for _, dir := range []string{temp, filepath.Join(h.dir, "export"), filepath.Join(h.dir, "target")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", temp)
	options := sandbox.Options{Faults: setup.faults}
	if setup.store != "" {
		options.Store = filepath.Join(h.dir, setup.store)
	}
	var err error
	if h.server, err = sandbox.New(options); err != nil {
		t.Fatal(err)
	}
	h.web = httptest.NewServer(h)
	t.Cleanup(func() {
		_ = h.server.Close()
		h.web.Close()
	})
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(h.dir, "export", name+".csv"), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan := fmt.Sprintf("migration: leaks\nsources:\n  ehr: {csv: export/*.csv}\nmappings: [synthea]\nphi: %s\ntargets:\n  clinical: {sandbox: %q, bundle: 5}\n", setup.phi, h.web.URL+"/fhir")
	if setup.identity != "" {
		plan += fmt.Sprintf("  identity: {sandbox: %q}\n", setup.identity)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "migration.yaml"), []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *leakHouse) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	fmt.Fprintln(&h.seen, r.Method, r.URL, r.Host, r.Header)
	quote := false
	if r.Method != http.MethodGet {
		h.writes++
		quote = h.quoting && h.writes%3 == 0
		if h.stop != nil && h.writes == h.stopAt {
			stop := h.stop
			h.stop = nil
			h.mu.Unlock()
			_, _ = io.Copy(io.Discard, r.Body)
			stop()
			<-r.Context().Done()
			return
		}
	}
	h.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.bodies.Write(body)
	h.mu.Unlock()
	// A bundle of one is taken, so that halving ends with everything loaded, whatever the order of the requests.
	if !quote || bytes.Count(body, []byte(`"request"`)) < 2 {
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.server.ServeHTTP(w, r)
		return
	}
	said, _ := json.Marshal(string(body))
	w.Header().Set("Content-Type", "application/fhir+json")
	w.Header().Set("X-Said", strings.Map(func(c rune) rune {
		if c < ' ' {
			return -1
		}
		return c
	}, string(body[:min(len(body), 4000)])))
	w.WriteHeader(http.StatusUnprocessableEntity)
	fmt.Fprintf(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":%s},"diagnostics":%s,"expression":[%s]}]}`, said, said, said)
}

func (h *leakHouse) command(ctx context.Context, args ...string) int {
	var out, faults bytes.Buffer
	code := chartlift(ctx, append([]string{"-f", filepath.Join(h.dir, "migration.yaml"), "--log-level", "debug"}, args...), strings.NewReader(""), &out, &faults)
	for name, stream := range map[string][]byte{"stdout": out.Bytes(), "stderr": faults.Bytes()} {
		for _, hit := range h.search.in(stream) {
			h.t.Errorf("chartlift %s: %s: %s", strings.Join(args, " "), name, hit)
		}
	}
	h.said = out.String()
	h.talk.Write(out.Bytes())
	h.talk.Write(faults.Bytes())
	return code
}

func (h *leakHouse) must(codes []int, args ...string) {
	h.t.Helper()
	before := h.talk.Len()
	if code := h.command(context.Background(), args...); !slices.Contains(codes, code) {
		h.t.Fatalf("chartlift %s: exit %d\n%s", strings.Join(args, " "), code, h.talk.Bytes()[before:])
	}
}

// rest searches everything that lies on disk but for the export itself, exports that were asked for, and what the server
// keeps.
func (h *leakHouse) rest(when string) {
	h.t.Helper()
	for _, hit := range h.search.under(h.dir, "export", "identified", "clinical", "target") {
		h.t.Errorf("%s: %s", when, hit)
	}
}

// watching is a context that is asked many times whether it is done; at every n-th question the disk is searched as
// kill -9 would leave it then.
type watching struct {
	context.Context
	every, asked atomic.Int64
	look         func()
}

func (w *watching) ask() {
	if w.asked.Add(1)%w.every.Load() == 0 {
		w.look()
	}
}

func (w *watching) Err() error            { w.ask(); return w.Context.Err() }
func (w *watching) Done() <-chan struct{} { w.ask(); return w.Context.Done() }

// TestNothingLeaks runs everything on the planted hospital and searches for the planted values wherever they must not
// be: stage, ledger, temporary files also in the middle of the work, logs, streams, reports, requests, names, and the
// clinical parts.
func TestNothingLeaks(t *testing.T) {
	p := plantHospital()
	h := newLeakHouse(t, p, leakSetup{
		phi: "{policy: limited-data-set, delivery: identified}", faults: "reject=Condition/2,reject=Patient/3,cut-string:type=Observation:nth=2",
	})
	finished := []int{exitDone, exitReview}
	h.must([]int{exitDone}, "keys", "init")
	h.must(finished, "check")
	h.must(finished, "dry-run", "--json")
	h.rest("after the dry run")

	h.quoting = true
	ctx := &watching{Context: context.Background()}
	ctx.every.Store(97)
	looks := atomic.Int64{}
	ctx.look = func() { looks.Add(1); h.rest("in the middle of the run") }
	stopped, stop := context.WithCancel(ctx)
	defer stop()
	h.stop, h.stopAt = stop, 6
	if code := h.command(stopped, "run"); code != exitInterrupted {
		t.Fatalf("interrupted run: exit %d\n%s", code, h.talk.Bytes())
	}
	h.rest("after the interrupt")
	if code := h.command(ctx, "run", "--workers", "2"); !slices.Contains(finished, code) {
		t.Fatalf("run: exit %d\n%s", code, h.talk.Bytes())
	}
	h.quoting = false
	if looks.Load() < 5 {
		t.Errorf("the disk was searched %d times in the middle of the run", looks.Load())
	}
	editor := &targetEditor{base: h.web.URL + "/fhir"}
	for _, damage := range []plantedTarget{{Type: "Patient", Do: "set", Path: "birthDate", Value: "1914-03-04"}, {Type: "AllergyIntolerance", Do: "delete"}, {Type: "Patient", Do: "copy", ID: "planted"}} {
		if err := damage.plant(t.Context(), editor); err != nil {
			t.Fatalf("%+v: %v\n%s", damage, err, h.talk.Bytes())
		}
	}
	h.must([]int{exitReview}, "reconcile")
	h.must(finished, "status")
	h.must(finished, "status", "--json")
	h.must([]int{exitDone}, "report", "-o", filepath.Join(h.dir, "report"))
	h.must([]int{exitReview}, "run", "--rejected")
	h.rest("after everything")
	h.mu.Lock()
	for _, hit := range h.search.in(h.seen.Bytes()) {
		t.Errorf("request line or header: %s", hit)
	}
	h.mu.Unlock()

	clinical, identified := filepath.Join(h.dir, "clinical"), filepath.Join(h.dir, "identified")
	h.must([]int{exitDone}, "export", "-o", clinical)
	for _, hit := range newSearcher(sealedMarks...).under(clinical) {
		t.Errorf("clinical part: %s", hit)
	}
	h.must([]int{exitDone}, "export", "-o", identified, "--identified")
	h.rest("after the identified export")
	h.explanations()
	p.comeBack(t, identified)
	h.failures()
}

// explanations look at single records, at all of them from near, and at the next export.
func (h *leakHouse) explanations() {
	page := filepath.Join(h.dir, "record.html")
	for _, place := range []string{"patients:2", "patients:10", "patients:11", "patients:12", "encounters:2", "conditions:2", "allergies:2", "observations:2", "devices:2", "providers:2"} {
		h.must([]int{exitDone}, "explain", place)
		h.must([]int{exitDone}, "explain", place, "--json")
		h.must([]int{exitDone}, "explain", place, "--html", page)
		h.rest("after the page of a record")
	}
	h.must([]int{exitDone}, "profile", "--save")
	h.must([]int{exitDone, exitReview}, "check", "--drift")
	h.must([]int{exitUsage}, "explain", "patients:14")
	h.rest("after the baseline")
}

// failures are commands that fail while they hold planted values.
func (h *leakHouse) failures() {
	h.must([]int{exitUsage}, "eval", "--table", "patients", "--row", "9", "BIRTHDATE.date()")
	h.must([]int{exitUsage}, "eval", "--table", "patients", "--row", "1", "(FIRST | LAST).single()")
	h.must([]int{exitUsage}, "eval", "--table", "patients", "--row", "1", "LAST.toInteger() + FIRST")
	broken := filepath.Join(h.dir, "identified", "Patient.ndjson")
	h.must([]int{exitUsage}, "eval", "name.family", broken) // two resources: no JSON document
}

// comeBack checks that at least 0.95 of the planted values are in the files of an identified export.
func (p *planting) comeBack(t *testing.T, dir string) {
	t.Helper()
	text := map[string]string{}
	for typ := range p.values {
		text[typ] = readFile(t, filepath.Join(dir, typ+".ndjson"))
	}
	p.backIn(t, text)
}

// backIn checks that at least 0.95 of the planted values are in the whole resources, by type. What the clinical part must
// keep is no less part of them.
func (p *planting) backIn(t *testing.T, wholes map[string]string) {
	t.Helper()
	var planted, back int
	for _, typ := range slices.Sorted(maps.Keys(p.values)) {
		for _, v := range p.values[typ] {
			planted++
			if strings.Contains(wholes[typ], v) {
				back++
			} else {
				t.Logf("not back in %s: %s", typ, v)
			}
		}
	}
	share := float64(back) / float64(planted)
	t.Logf("%d of %d planted values came back (%.3f)", back, planted, share)
	if share < 0.95 {
		t.Errorf("%.3f of the planted values came back, at least 0.95 must", share)
	}
}
