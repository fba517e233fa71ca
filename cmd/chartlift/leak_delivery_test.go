package main

import (
	"bytes"
	"context"
	"encoding/base64"
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

	"github.com/klauspost/compress/gzip"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// leakPoints are where the run is killed, in the order in which it comes there: whenever a file that may hold patient
// data is written and not yet in its place, and around what is sent.
var leakPoints = []string{
	"quarantine: written", "batch: made", "batch: written", "index: synced", "ledger: before the commit of finish task",
	"target: after send bundle", "segment: written", "run: batch recorded", "state file: written",
}

// TestNothingLeaksInDeliveries takes the planted hospital through the deliveries that keep patient data out of the
// clinical target, under both policies that take something out: killed wherever files are being written, interrupted,
// finished, reconciled and exported. The planted values must be nowhere on disk, in no stream, no name and no request,
// and those that the policy takes out in nothing that target clinical was sent and holds. With the keys they come back,
// and what people treat patients by stays readable.
func TestNothingLeaksInDeliveries(t *testing.T) {
	if testing.Short() {
		t.Skip("four hospitals, each with a dozen processes that are killed")
	}
	if _, err := program(); err != nil { // here, because each house has a temporary folder of its own
		t.Fatal(err)
	}
	for _, policy := range []string{"limited-data-set", "safe-harbor-elements"} {
		for _, delivery := range []string{"sealed", "split"} {
			t.Run(delivery+" "+policy, func(t *testing.T) { newLeakDelivery(t, policy, delivery).all() })
		}
	}
}

// leakDelivery is a planted hospital under a delivery that separates patient data.
type leakDelivery struct {
	*leakHouse
	planted  *planting
	policy   string
	delivery string
	taken    *searcher // finds what the policy takes out
	identity *identityServer
}

// identityServer holds whole resources. Of the requests it notes what must hold no patient data even so.
type identityServer struct {
	*httptest.Server
	mu   sync.Mutex
	seen bytes.Buffer
}

func newIdentityServer(t *testing.T) *identityServer {
	t.Helper()
	server, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := &identityServer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		fmt.Fprintln(&i.seen, r.Method, r.URL, r.Host, r.Header)
		i.mu.Unlock()
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		i.Close()
		_ = server.Close()
	})
	return i
}

const leakStore = "target/clinical.store"

func newLeakDelivery(t *testing.T, policy, delivery string) *leakDelivery {
	d := &leakDelivery{planted: plantHospital(), policy: policy, delivery: delivery, taken: newSearcher(sealedMarks...)}
	setup := leakSetup{phi: fmt.Sprintf("{policy: %s, delivery: %s, as-of: 2026-01-01}", policy, delivery), store: leakStore}
	if policy == "safe-harbor-elements" {
		d.taken = newSearcher(slices.Concat(sealedMarks, limitedMarks)...)
	}
	if delivery == "split" {
		d.identity = newIdentityServer(t)
		setup.identity = d.identity.URL + "/fhir"
	}
	d.leakHouse = newLeakHouse(t, d.planted, setup)
	return d
}

func (d *leakDelivery) all() {
	finished := []int{exitDone, exitReview}
	d.must([]int{exitDone}, "keys", "init")
	d.must(finished, "check")
	d.killed("keys: records written", "dry-run")
	d.watched("dry-run")
	for _, point := range leakPoints {
		d.killed(point, "run")
	}
	d.watched("run", "--workers", "2")
	d.must(finished, "reconcile")
	d.must(finished, "status", "--json")
	var account account
	if err := json.Unmarshal([]byte(d.said), &account); err != nil {
		d.t.Fatal(err)
	}
	into := filepath.Join(d.dir, "report")
	formats := []string{"report", "-o", into, "--format", strings.Join(report.Formats(), ",")}
	d.killed("report: written, not in its place", formats...)
	d.must([]int{exitDone}, formats...)
	if left, err := filepath.Glob(filepath.Join(into, ".report.*")); err != nil || len(left) > 0 {
		d.t.Errorf("the killed report left %d files that the next one did not sweep (%v)", len(left), err)
	}
	clinical, identified := filepath.Join(d.dir, "clinical"), filepath.Join(d.dir, "identified")
	d.killed("export: files written, none in its place", "export", "-o", clinical)
	for _, hit := range d.taken.under(clinical) {
		d.t.Errorf("clinical part, cut off: %s", hit)
	}
	d.must([]int{exitDone}, "export", "-o", clinical)
	d.must([]int{exitDone}, "export", "-o", identified, "--identified")
	d.rest("after everything")
	d.planted.comeBack(d.t, identified)
	for _, hit := range d.taken.under(clinical) {
		d.t.Errorf("clinical part: %s", hit)
	}

	types := slices.Sorted(maps.Keys(account.Resources))
	content, _ := d.hospital(d.web).content(types)
	for name, text := range content {
		for _, hit := range d.taken.in([]byte(name + " " + text)) {
			d.t.Errorf("target clinical holds in a %s: %s", strings.SplitN(name, "/", 2)[0], hit)
		}
	}
	d.hospital(d.web).readable(content, "planted-"+d.policy)
	d.planted.backIn(d.t, d.joined(content, types))
	d.requests()
	d.failsWhenItMust()
}

// hospital is the same folder with one of its servers, as other tests know it.
func (d *leakDelivery) hospital(server *httptest.Server) *hospital {
	return &hospital{t: d.t, dir: d.dir, server: server}
}

// watched runs a command to its end, and searches the disk in the middle of the work.
func (d *leakDelivery) watched(args ...string) {
	d.t.Helper()
	ctx := &watching{Context: context.Background()}
	ctx.every.Store(97)
	looks := atomic.Int64{}
	ctx.look = func() { looks.Add(1); d.rest("in the middle of " + args[0]) }
	before := d.talk.Len()
	if code := d.command(ctx, args...); code != exitDone && code != exitReview {
		d.t.Fatalf("chartlift %s: exit %d\n%s", strings.Join(args, " "), code, d.talk.Bytes()[before:])
	}
	if looks.Load() < 3 {
		d.t.Errorf("the disk was searched %d times in the middle of %s", looks.Load(), args[0])
	}
	d.rest("after " + args[0])
}

// killed runs a command as a process that kills itself at a point, and searches what it leaves.
func (d *leakDelivery) killed(point string, args ...string) {
	d.t.Helper()
	e := d.hospital(d.web).start(d.t.Context(), point, append([]string{"--log-level", "debug"}, args...)...)
	if !e.killed {
		d.t.Fatalf("chartlift %s was not killed at %s: %v", args[0], point, e)
	}
	for _, hit := range d.search.in([]byte(e.stdout + e.stderr)) {
		d.t.Errorf("streams of chartlift %s, killed at %s: %s", args[0], point, hit)
	}
	d.rest("killed at " + point)
}

// joined is what the targets hold as whole resources, by type: under `split` those of target identity and the others
// of target clinical, under `sealed` each joined with the part that it carries.
func (d *leakDelivery) joined(content map[string]string, types []string) map[string]string {
	d.t.Helper()
	wholes := map[string]string{}
	add := func(name, text string) {
		typ, _, _ := strings.Cut(name, "/")
		wholes[typ] += text + "\n"
	}
	if d.delivery == "split" {
		identity, _ := d.hospital(d.identity.Server).content(types)
		if len(identity) == 0 {
			d.t.Fatal("target identity holds nothing")
		}
		for name, text := range content {
			if whole, ok := identity[name]; ok {
				text = whole
			}
			add(name, text)
		}
		return wholes
	}
	keys, err := phi.OpenKeys(d.t.Context(), phi.KeyPlace{KEK: "file:" + filepath.Join(d.dir, "keys", "kek"), Migration: "leaks"})
	if err != nil {
		d.t.Fatal(err)
	}
	defer keys.Close()
	for name, text := range content {
		n, err := fhir.Parse([]byte(text))
		if err != nil {
			d.t.Fatal(err)
		}
		whole, _, err := keys.Unseal(patientOf(n), n)
		if err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
		add(name, string(whole.AppendCanonical(nil)))
	}
	return wholes
}

// requests searches what the servers saw: nothing planted beside the bodies, and nothing that the policy takes out in
// the bodies that target clinical was sent.
func (d *leakDelivery) requests() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bodies.Len() == 0 || d.seen.Len() == 0 {
		d.t.Fatal("no request was seen")
	}
	for _, hit := range d.search.in(d.seen.Bytes()) {
		d.t.Errorf("request line or header: %s", hit)
	}
	for _, hit := range d.taken.in(d.bodies.Bytes()) {
		d.t.Errorf("sent to target clinical: %s", hit)
	}
	if d.identity != nil {
		d.identity.mu.Lock()
		defer d.identity.mu.Unlock()
		for _, hit := range d.search.in(d.identity.seen.Bytes()) {
			d.t.Errorf("request line or header to target identity: %s", hit)
		}
	}
}

// failsWhenItMust searches the file in which target clinical keeps everything, and then plants a value there, and in a
// file of each folder that was searched: it must be found.
func (d *leakDelivery) failsWhenItMust() {
	d.t.Helper()
	target := filepath.Join(d.dir, "target")
	for _, hit := range d.taken.under(target) {
		d.t.Errorf("file of target clinical: %s", hit)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.WriteString(w, strings.Repeat(markSealed+" and more ", 20)); err != nil {
		d.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		d.t.Fatal(err)
	}
	bad := fmt.Sprintf(`{"resourceType":"Binary","id":"planted","contentType":"text/plain","data":%q}`, base64.StdEncoding.EncodeToString(packed.Bytes()))
	if _, err := (&targetEditor{base: d.web.URL + "/fhir"}).do(d.t.Context(), http.MethodPut, "Binary/planted", []byte(bad)); err != nil {
		d.t.Fatal(err)
	}
	if len(d.taken.under(target)) == 0 {
		d.t.Error("a packed value that was planted in target clinical is not found")
	}
	for _, dir := range []string{".chartlift", ".chartlift/stage", "keys", "tmp", "report"} {
		path := filepath.Join(d.dir, dir, "planted")
		if err := os.WriteFile(path, []byte(percent(markSealed)), 0o600); err != nil {
			d.t.Fatal(err)
		}
		if len(d.search.under(d.dir, "export", "identified", "clinical", "target")) == 0 {
			d.t.Errorf("a value that was planted in %s is not found", dir)
		}
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}
