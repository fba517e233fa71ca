package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// These tests load into a real HAPI FHIR server, which scripts/services/hapi/with starts: what the sandbox does as the
// specification says, HAPI does as HAPI does.

// hapi is the clinic of testdata before a HAPI server, under a migration of its own, so that the same server
// can be used again.
type hapi struct {
	*hospital
	base      string
	migration string
	text      string // of the plan, but for what vanished
}

func newHAPI(t *testing.T, variable, name, delivery, target string) *hapi {
	t.Helper()
	base := os.Getenv(variable)
	if base == "" {
		sharedtest.Missing(t, "services", "%s is not set: run the tests by way of scripts/services/hapi/with", variable)
	}
	h := &hapi{hospital: &hospital{t: t, dir: t.TempDir()}, base: base, migration: fmt.Sprintf("hapi-%s-%08x", name, rand.Uint32())}
	if err := copyMissing(h.dir, os.DirFS(filepath.Join("testdata", "clinic"))); err != nil {
		t.Fatal(err)
	}
	h.text = fmt.Sprintf(`migration: %s
sources:
  ehr: {csv: export/*.csv, timezone: America/Chicago}
mappings: [./mappings]
phi: {policy: limited-data-set, delivery: %s}
targets:
  clinical: {fhir: %q, %s}
`, h.migration, delivery, base, target)
	h.plan(h.text)
	h.finishes("keys", "init")
	if delivery == "sealed" {
		backup := filepath.Join(t.TempDir(), "keys.backup")
		h.finishes("keys", "backup", "-o", backup)
		h.finishes("keys", "restore", backup)
	}
	return h
}

// source changes a file of the export.
func (h *hapi) source(name string, oldAndNew ...string) {
	h.t.Helper()
	path := filepath.Join(h.dir, "export", name)
	before := readFile(h.t, path)
	after := strings.NewReplacer(oldAndNew...).Replace(before)
	if after == before {
		h.t.Fatalf("%s: nothing to change", name)
	}
	if err := os.WriteFile(path, []byte(after), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// do is what another client does: it returns the status, and what the server holds now, not what it found a minute ago.
func (h *hapi) do(method, path string, body *fhir.Node) (int, *fhir.Node) {
	h.t.Helper()
	var data []byte
	if body != nil {
		data = body.AppendCanonical(nil)
	}
	request, err := http.NewRequestWithContext(h.t.Context(), method, h.base+"/"+path, bytes.NewReader(data))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", fhir.ContentType)
	request.Header.Set("Cache-Control", "no-cache")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	n, err := fhir.Parse(answer)
	if err != nil {
		h.t.Fatalf("%s %s: %s: %v", method, path, response.Status, err)
	}
	return response.StatusCode, n
}

// must is do of what the server must agree to.
func (h *hapi) must(method, path string, body *fhir.Node) *fhir.Node {
	h.t.Helper()
	status, n := h.do(method, path, body)
	if status >= 300 {
		h.t.Fatalf("%s %s: %d", method, path, status)
	}
	return n
}

// held is what the server holds of the migration, with its versions.
func (h *hapi) held() map[string]*fhir.Node {
	h.t.Helper()
	all := map[string]*fhir.Node{}
	for _, typ := range []string{"Practitioner", "Patient", "Encounter"} {
		tag := url.QueryEscape(fhir.TagSystem + "|" + h.migration)
		for _, e := range entries(h.must(http.MethodGet, typ+"?_tag="+tag+"&_count=200", nil)) {
			r := e.Get("resource")
			all[typ+"/"+r.ID()] = r
		}
	}
	return all
}

// versions is held without what it says.
func (h *hapi) versions() map[string]string {
	h.t.Helper()
	versions := map[string]string{}
	for name, r := range h.held() {
		versions[name] = r.At("meta", "versionId").Str()
	}
	return versions
}

// one is the resource of a type whose text has a date in it.
func (h *hapi) one(typ, date string) *fhir.Node {
	h.t.Helper()
	for name, r := range h.held() {
		if strings.HasPrefix(name, typ+"/") && strings.Contains(string(r.AppendCanonical(nil)), `"`+date+`"`) {
			return r
		}
	}
	h.t.Fatalf("no %s of %s", typ, date)
	return nil
}

// stays checks that the server holds what somebody wrote there, and that nobody has written it again.
func (h *hapi) stays(theirs *fhir.Node) {
	h.t.Helper()
	there := h.must(http.MethodGet, "Patient/"+theirs.ID(), nil)
	if !load.SameAsSent(theirs, there) || there.At("meta", "versionId").Str() != theirs.At("meta", "versionId").Str() {
		h.t.Error("their edit does not stay as it was")
	}
}

// run runs, and what the account says of each type that is named must be so.
func (h *hapi) run(want map[string]tally, args ...string) {
	h.t.Helper()
	a := parseAccount(h.t, h.finishes(append([]string{"run", "--json"}, args...)...))
	got := map[string]tally{}
	for typ, r := range a.Resources {
		v := a.Verified[typ]
		got[typ] = tally{r.Loaded, r.Unchanged, r.Vanished, r.NotApplied, v.Matched, v.Missing, v.EditedSince,
			r.Made - r.Loaded - r.Unchanged + v.Different + v.Unexpected + v.NotCompared}
	}
	for typ, g := range got {
		if _, ok := want[typ]; !ok && g == (tally{unchanged: g.unchanged, matched: g.unchanged}) {
			delete(got, typ) // nothing happened to it
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tally{})); diff != "" {
		h.t.Errorf("run %s (-want +got):\n%s", strings.Join(args, " "), diff)
	}
}

// tally is what a run says of one type; others is what must be nothing in all of these tests.
type tally struct{ loaded, unchanged, vanished, notApplied, matched, missing, editedSince, others int64 }

func TestHAPI(t *testing.T) {
	for _, c := range []struct{ name, variable, delivery, target string }{
		{"identified", "CHARTLIFT_HAPI", "identified", "bundle: 3, parallel: 1"},
		{"sealed", "CHARTLIFT_HAPI", "sealed", "bundle: 3, parallel: 1"},
		{"given", "CHARTLIFT_HAPI_GIVEN", "identified", "ids: server, bundle: 3, parallel: 1"},
		{"given-sealed", "CHARTLIFT_HAPI_GIVEN", "sealed", "ids: server, bundle: 3, parallel: 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHAPI(t, c.variable, c.name, c.delivery, c.target)
			h.arrivesOnce()
			h.keepsEdits()
			h.restores()
			h.takesBack()
		})
	}
}

// arrivesOnce: killed when the server has answered and nobody has written it down, started again, and again.
func (h *hapi) arrivesOnce() {
	h.t.Helper()
	if e := h.start(h.t.Context(), "target: after send bundle:2", "run"); !e.killed {
		h.t.Fatal(e)
	}
	h.run(map[string]tally{
		"Practitioner": {loaded: 2, matched: 2},
		"Patient":      {loaded: 4, matched: 4},
		"Encounter":    {loaded: 5, matched: 5},
	})
	before := h.versions()
	for name, version := range before {
		if version != "1" {
			h.t.Errorf("%s has version %s", name, version)
		}
	}
	if len(before) != 11 {
		h.t.Errorf("%d resources are there, want 11", len(before))
	}
	h.run(map[string]tally{})
	if diff := cmp.Diff(before, h.versions()); diff != "" {
		h.t.Errorf("the second run wrote (-before +after):\n%s", diff)
	}
	markers := entries(h.must(http.MethodGet, "Basic?identifier="+url.QueryEscape(fhir.TagSystem+"|"+h.migration), nil))
	if len(markers) != 1 {
		h.t.Errorf("%d markers", len(markers))
	}
}

// keepsEdits: somebody changes a patient and deletes a visit, both change in the source, and so do others.
func (h *hapi) keepsEdits() {
	h.t.Helper()
	theirs := h.one("Patient", "1950-01-07")
	theirs = h.must(http.MethodPut, "Patient/"+theirs.ID(), theirs.Clone().Set("gender", fhir.NewString("other")))
	gone := "Encounter/" + h.one("Encounter", "2024-05-06").ID()
	h.must(http.MethodDelete, gone, nil)
	h.source("patients.csv", "Arden", "Ardenson", "Birch", "Birchson", "Cole", "Coleson", "Dale", "Daleson")
	h.source("visits.csv", "2024-05-06", "2024-05-07", "2024-04-05", "2024-04-04")
	want := map[string]tally{
		"Patient":   {loaded: 3, unchanged: 1, notApplied: 1, matched: 3, editedSince: 1},
		"Encounter": {loaded: 1, unchanged: 4, notApplied: 1, matched: 4, missing: 1},
	}
	h.run(want)
	before := h.versions()
	h.stays(theirs)
	if status, _ := h.do(http.MethodGet, gone, nil); status != http.StatusGone {
		h.t.Errorf("GET of what they deleted: %d", status)
	}
	h.run(map[string]tally{
		"Patient":   {unchanged: 4, notApplied: 1, matched: 3, editedSince: 1},
		"Encounter": {unchanged: 5, notApplied: 1, matched: 4, missing: 1},
	})
	if diff := cmp.Diff(before, h.versions()); diff != "" {
		h.t.Errorf("once more, and it wrote (-before +after):\n%s", diff)
	}
}

// restores: what they deleted comes back when that is asked for.
func (h *hapi) restores() {
	h.t.Helper()
	h.run(map[string]tally{
		"Patient":   {unchanged: 4, notApplied: 1, matched: 3, editedSince: 1},
		"Encounter": {loaded: 1, unchanged: 4, matched: 5},
	}, "--repair")
	h.one("Encounter", "2024-05-07")
}

// takesBack: what vanished from the source is deleted, or marked, as the plan says, and not where somebody has changed it.
func (h *hapi) takesBack() {
	h.t.Helper()
	edited := h.one("Patient", "1950-01-07")
	gone := h.one("Encounter", "2024-02-03")
	h.source("visits.csv", "v2,p1,d2,2024-02-03,IMP\n", "")
	h.plan(h.text + "vanished: delete\n")
	h.run(map[string]tally{"Patient": {unchanged: 4, notApplied: 1, matched: 3, editedSince: 1}})
	if status, _ := h.do(http.MethodGet, "Encounter/"+gone.ID(), nil); status != http.StatusGone {
		h.t.Errorf("GET of what was deleted: %d", status)
	}
	h.source("visits.csv", "v3,p2,d1,2024-03-04,AMB\n", "")
	h.plan(h.text + "vanished: mark\n")
	h.run(map[string]tally{"Patient": {unchanged: 4, notApplied: 1, matched: 3, editedSince: 1}})
	if status := h.one("Encounter", "2024-03-04").Get("status").Str(); status != "entered-in-error" {
		h.t.Errorf("what was marked is %s", status)
	}
	h.source("visits.csv", "v4,", "v3,p2,d1,2024-03-04,AMB\nv4,")
	h.run(map[string]tally{
		"Patient":   {unchanged: 4, notApplied: 1, matched: 3, editedSince: 1},
		"Encounter": {loaded: 1, unchanged: 3, matched: 4},
	})
	// Theirs stays.
	h.source("visits.csv", "v1,p1,d1,2024-01-02,AMB\n", "")
	h.source("patients.csv", "p1,Ardenson,F,1950-01-07,d1,North\n", "")
	h.plan(h.text + "vanished: delete\n")
	h.run(map[string]tally{"Patient": {unchanged: 3, vanished: 1, matched: 3}})
	h.stays(edited)
}

// TestHAPIHospital loads the hospital of the demo: hundreds of resources of many types, in Bundles of the usual size.
func TestHAPIHospital(t *testing.T) {
	h := newHAPI(t, "CHARTLIFT_HAPI", "hospital", "identified", "")
	r := newRiverside(t)
	plan := readFile(t, filepath.Join(r.dir, "migration.yaml"))
	for _, change := range [][2]string{{"migration: riverside-demo", "migration: " + h.migration}, {"sandbox: \"" + r.server.URL + "/fhir\"", "fhir: \"" + h.base + "\""}} {
		if !strings.Contains(plan, change[0]) {
			t.Fatalf("the plan has no %s", change[0])
		}
		plan = strings.Replace(plan, change[0], change[1], 1)
	}
	r.plan(plan)
	r.finishes("keys", "init")
	if e := r.start(t.Context(), "target: after send bundle:4", "run"); !e.killed {
		t.Fatal(e)
	}
	first := r.arrives()
	if made := first.Resources["Observation"].Made; made < 200 {
		t.Errorf("only %d observations were made", made)
	}
	r.loadsNothingTwice(first)
}
