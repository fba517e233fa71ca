package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// These tests run chartlift as a process of its own, against a server in this one, and kill it: at every point that
// run.CrashPoints lists, and at random moments. Whatever was killed is started again with the same command until it ends;
// then the target must hold what an unbroken run leaves there, the sums must balance, and another run must load nothing.

// killsVariable says how many runs are killed at random moments; the default suits `make test`.
const killsVariable = "CHARTLIFT_KILLS"

// program builds chartlift once, without the race detector: what is under test is the disk, not the memory.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chartlift-crash")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "chartlift")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// end is how a process ended.
type end struct {
	code           int
	killed         bool
	stdout, stderr string
}

func (e end) String() string {
	return fmt.Sprintf("exit %d, killed %t\n%s", e.code, e.killed, e.stderr)
}

// start runs a command as a process, with a point to die at, or until ctx kills it.
func (h *hospital) start(ctx context.Context, point string, args ...string) end {
	h.t.Helper()
	path, err := program()
	if err != nil {
		h.t.Fatal(err)
	}
	var out, faults bytes.Buffer
	cmd := exec.CommandContext(ctx, path, append([]string{"-f", filepath.Join(h.dir, "migration.yaml")}, args...)...)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "CHARTLIFT_OPERATOR=tester", run.CrashVariable+"="+point)
	cmd.Stdout, cmd.Stderr = &out, &faults
	err = cmd.Run()
	e := end{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: faults.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, ok := exit.Sys().(syscall.WaitStatus)
		e.killed = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	} else if err != nil && ctx.Err() == nil {
		h.t.Fatal(err)
	}
	return e
}

// finishes runs a command that must end by itself, as one that has done its work.
func (h *hospital) finishes(args ...string) end {
	h.t.Helper()
	e := h.start(h.t.Context(), "", args...)
	if e.code != exitDone && e.code != exitReview {
		h.t.Fatalf("chartlift %s: %v", strings.Join(args, " "), e)
	}
	return e
}

// newRiverside is a hospital of the demo's kind, with the keys that all hospitals of this purpose have in common.
func newRiverside(t *testing.T) *hospital { return newRiversideWith(t, sandbox.Options{}) }

func newRiversideServerIDs(t *testing.T) *hospital {
	return newRiversideWith(t, sandbox.Options{ServerIDs: true})
}

func newRiversideWith(t *testing.T, o sandbox.Options) *hospital {
	t.Helper()
	h := newHospitalWith(t, o)
	if err := os.CopyFS(h.dir, fixtures.Riverside()); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(h.dir, "migration.yaml")
	text := strings.Replace(readFile(t, plan), "http://127.0.0.1:8410/fhir", h.server.URL+"/fhir", 1)
	if err := os.Chmod(plan, 0o600); err != nil {
		t.Fatal(err)
	}
	h.plan(text)
	return h
}

// sameKeys gives the hospital the key-encryption key and keyring of the others, so that ids can be compared. The keys of
// the patients are not among them: those each run makes.
func (h *hospital) sameKeys(dir string) {
	h.t.Helper()
	here := filepath.Join(h.dir, "keys")
	if _, err := os.Stat(dir); err != nil {
		if err := os.CopyFS(dir, os.DirFS(here)); err != nil {
			h.t.Fatal(err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(here, n.Name()), []byte(readFile(h.t, filepath.Join(dir, n.Name()))), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// content is all that the target holds, without what the server adds of its own, and the highest version it counts.
func (h *hospital) content(types []string) (map[string]string, int) {
	h.t.Helper()
	all, highest := map[string]string{}, 0
	editor := &targetEditor{base: h.server.URL + "/fhir"}
	for _, typ := range types {
		next := typ + "?_count=1000"
		for next != "" {
			page, err := editor.do(h.t.Context(), http.MethodGet, next, nil)
			if err != nil {
				h.t.Fatal(err)
			}
			next = ""
			for _, link := range page.Get("link").Items {
				if link.Get("relation").Str() == "next" {
					u, err := url.Parse(link.Get("url").Str())
					if err != nil {
						h.t.Fatal(err)
					}
					next = "?" + u.RawQuery
					if _, path, ok := strings.Cut(u.Path, "/fhir/"); ok {
						next = path + next
					}
				}
			}
			for _, entry := range entries(page) {
				r := entry.Get("resource")
				name := r.ResourceType() + "/" + r.ID()
				if _, twice := all[name]; twice {
					h.t.Errorf("%s is listed twice", name)
				}
				if n, err := strconv.Atoi(r.At("meta", "versionId").Str()); err == nil {
					highest = max(highest, n)
				}
				all[name] = string(withoutServerMeta(r).AppendCanonical(nil))
			}
		}
	}
	if h.renamed {
		all = h.underOurIDs(all)
	}
	return all, highest
}

// underOurIDs names what a server holds under ids of its own by those that we know it by, in references, too. No two may
// have one of ours, and no reference may lead nowhere.
func (h *hospital) underOurIDs(all map[string]string) map[string]string {
	h.t.Helper()
	ours, taken := map[string]string{}, map[string]bool{}
	for name, text := range all {
		typ, _, _ := strings.Cut(name, "/")
		id := load.OurID(parseNode(h.t, text))
		if typ == "Basic" {
			id = "marker"
		}
		if id == "" || taken[typ+"/"+id] {
			h.t.Errorf("%s has no id of ours, or one that another has", name)
		}
		ours[name] = typ + "/" + id
		taken[typ+"/"+id] = true
	}
	out := map[string]string{}
	for name, text := range all {
		n := parseNode(h.t, text).Clone()
		_, id, _ := strings.Cut(ours[name], "/")
		n.Set("id", fhir.NewString(id))
		rename(n, ours, func(reference string) { h.t.Errorf("%s refers to %s, which is not there", name, reference) })
		out[ours[name]] = string(n.AppendCanonical(nil))
	}
	return out
}

// rename changes the references in a tree.
func rename(n *fhir.Node, names map[string]string, dangling func(string)) {
	for _, m := range n.Members {
		if m.Name == "reference" && strings.Contains(m.Value.Text, "/") {
			to, ok := names[m.Value.Text]
			if !ok {
				dangling(m.Value.Text)
			}
			m.Value.Text = to
		}
		rename(m.Value, names, dangling)
	}
	for _, item := range n.Items {
		rename(item, names, dangling)
	}
}

func parseNode(t *testing.T, text string) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// withoutServerMeta leaves out what a server adds.
func withoutServerMeta(r *fhir.Node) *fhir.Node {
	out := r.Clone()
	for i, m := range out.Members {
		if m.Name != "meta" {
			continue
		}
		meta := &fhir.Node{Kind: fhir.Object}
		for _, member := range m.Value.Members {
			if member.Name != "versionId" && member.Name != "lastUpdated" {
				meta.Members = append(meta.Members, member)
			}
		}
		out.Members[i].Value = meta
	}
	return out
}

// unbroken is what a run that nobody killed says and leaves behind.
type unbroken struct {
	keys    string // folder of the keys that all have in common
	types   []string
	account account
	content map[string]string
	took    time.Duration
}

func parseAccount(t *testing.T, e end) account {
	t.Helper()
	var a account
	if err := json.Unmarshal([]byte(e.stdout), &a); err != nil {
		t.Fatalf("%v\n%v", err, e)
	}
	return a
}

// runUnbroken runs the hospital once, whole.
func runUnbroken(t *testing.T, h *hospital) *unbroken {
	t.Helper()
	u := &unbroken{keys: filepath.Join(t.TempDir(), "keys"), types: []string{"Basic"}}
	h.finishes("keys", "init")
	h.sameKeys(u.keys)
	began := time.Now()
	u.account = parseAccount(t, h.finishes("run", "--json"))
	u.took = time.Since(began)
	if u.account.State != "finished" {
		t.Fatalf("the unbroken run is %s", u.account.State)
	}
	u.types = append(u.types, slices.Sorted(maps.Keys(u.account.Resources))...)
	u.content, _ = h.content(u.types)
	if len(u.content) < 2 {
		t.Fatal("the unbroken run left nothing in the target")
	}
	return u
}

// compare holds a hospital whose processes were killed against the unbroken one.
func (u *unbroken) compare(t *testing.T, h *hospital, last account) {
	t.Helper()
	got, highest := h.content(u.types)
	if highest > 1 {
		// Not wrong: the server may be told to do something, and told again before it has done it.
		t.Logf("the target counts up to version %d", highest)
	}
	lost, doubled, other := 0, 0, 0
	for name, want := range u.content {
		switch text, ok := got[name]; {
		case strings.HasPrefix(name, "Basic/"): // names the ledger, which is another
			if !ok {
				t.Error("the marker is not there")
			}
		case !ok:
			lost++
		case text != want:
			other++
		}
	}
	for name := range got {
		if _, ok := u.content[name]; !ok {
			doubled++
		}
	}
	if lost+doubled+other > 0 {
		t.Errorf("of %d resources %d are lost, %d are another; %d more are there", len(u.content), lost, other, doubled)
	}
	if last.Run != u.account.Run {
		// The first run had said that it was finished when it was killed, so this was another, over what it left.
		for typ, r := range last.Resources {
			r.Loaded, r.Unchanged = r.Unchanged, r.Loaded
			last.Resources[typ] = r
		}
	}
	last.Run, last.State = u.account.Run, u.account.State
	if diff := cmp.Diff(u.account, last); diff != "" {
		t.Errorf("the account is not that of an unbroken run (-unbroken +killed):\n%s", diff)
	}
	second := parseAccount(t, h.finishes("run", "--json"))
	for typ, r := range second.Resources {
		before := u.account.Resources[typ]
		if r.Loaded != 0 || r.Unchanged != before.Loaded+before.Unchanged {
			t.Errorf("another run, %s: loaded %d, unchanged %d of %d", typ, r.Loaded, r.Unchanged, before.Loaded+before.Unchanged)
		}
	}
}

// prelude is a point at which the run is killed first, where a point is only passed by a process that goes on with
// another's work.
var prelude = map[string]string{
	"ledger: before the commit of resume run": "run: segment written",
	"ledger: after the commit of resume run":  "run: segment written",
}

// Where a run passes a point many times, dying at a later time is another case.
var again = []string{
	"segment: renamed:3", "batch: renamed:4", "index: synced:5", "ledger: before the commit of finish task:6",
	"ledger: after the commit of record:2", "target: after send bundle:4", "target: before send bundle:3",
	"target: after read:2", "ledger: after the commit of start batch:5", "manifest: renamed:2", "keys: records synced:2",
}

// ofDeltas are the points that only a run over what an earlier one left can pass.
var ofDeltas = []string{"target: before delete", "target: after delete", "target: before mark", "target: after mark"}

func TestKilledAtEachPoint(t *testing.T) { killedAtEachPoint(t, newRiverside, 12) }

// A server that gives ids of its own, too, holds nothing twice.
func TestKilledAtEachPointWithServerIDs(t *testing.T) {
	killedAtEachPoint(t, newRiversideServerIDs, 6)
}

func killedAtEachPoint(t *testing.T, newRiverside func(*testing.T) *hospital, some int) {
	if testing.Short() {
		t.Skip("about a hundred processes are run and killed")
	}
	reference := runUnbroken(t, newRiverside(t))
	points := slices.DeleteFunc(slices.Concat(run.CrashPoints(), again), func(p string) bool { return slices.Contains(ofDeltas, p) })
	for _, i := range sharedtest.Drawn(t, len(points), some) {
		point := points[i]
		t.Run(strings.NewReplacer(": ", "/", " ", "-").Replace(point), func(t *testing.T) {
			t.Parallel()
			h := newRiverside(t)
			died := 0
			// until starts a command again and again until it ends by itself.
			until := func(point string, args ...string) end {
				for range 3 {
					at := point
					if died > 0 {
						at = ""
					}
					e := h.start(t.Context(), at, args...)
					if !e.killed {
						if e.code != exitDone && e.code != exitReview {
							t.Fatalf("chartlift %s: %v", strings.Join(args, " "), e)
						}
						return e
					}
					died++
				}
				t.Fatalf("chartlift %s is killed each time", strings.Join(args, " "))
				return end{}
			}
			until(point, "keys", "init")
			h.sameKeys(reference.keys)
			if first := prelude[point]; first != "" {
				if e := h.start(t.Context(), first, "run", "--json"); !e.killed {
					t.Fatalf("not killed at %s: %v", first, e)
				}
			}
			last := parseAccount(t, until(point, "run", "--json"))
			for _, args := range [][]string{
				{"reconcile", "--json"}, {"export", "-o", filepath.Join(h.dir, "out")}, {"report", "-o", filepath.Join(h.dir, "report")},
				{"keys", "rotate"},
			} {
				if died == 0 { // the point is not one of run
					until(point, args...)
				}
			}
			if died != 1 {
				t.Error("the point was passed in none of keys init, run, reconcile, export, report and keys rotate")
			}
			if strings.HasPrefix(point, "export") || strings.HasPrefix(point, "report") {
				h.finishes("export", "-o", filepath.Join(h.dir, "out"))
				h.finishes("report", "-o", filepath.Join(h.dir, "report"))
				h.wholeFiles(reference)
			}
			reconciled := parseAccount(t, h.finishes("reconcile", "--json"))
			if diff := cmp.Diff(last.Verified, reconciled.Verified); diff != "" {
				t.Errorf("reconcile says otherwise (-run +reconcile):\n%s", diff)
			}
			reference.compare(t, h, last)
			h.leavesNoHalves()
		})
	}
}

// wholeFiles checks that export and report left whole files.
func (h *hospital) wholeFiles(u *unbroken) {
	h.t.Helper()
	for typ, r := range u.account.Resources {
		if r.Made == 0 {
			continue
		}
		text := readFile(h.t, filepath.Join(h.dir, "out", typ+".ndjson"))
		if n := int64(strings.Count(text, "\n")); n != r.Made-r.Merged || !strings.HasSuffix(text, "}\n") {
			h.t.Errorf("%s.ndjson holds %d lines of %d", typ, n, r.Made-r.Merged)
		}
	}
	if !json.Valid([]byte(readFile(h.t, filepath.Join(h.dir, "report", "report.json")))) {
		h.t.Error("report.json is cut off")
	}
}

// leavesNoHalves checks that no unfinished file outlives the run that was taken up again.
func (h *hospital) leavesNoHalves() {
	h.t.Helper()
	err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".tmp") || strings.HasSuffix(path, ".part")) {
			h.t.Errorf("%s is left", filepath.Base(path))
		}
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
}

// TestKilledAtRandom kills at random moments: a few runs of the small hospital, more of them in a sweep, or as many as
// CHARTLIFT_KILLS says of a real export.
func TestKilledAtRandom(t *testing.T) { killedAtRandom(t, newRiverside, sandbox.Options{}) }

func TestKilledAtRandomWithServerIDs(t *testing.T) {
	killedAtRandom(t, newRiversideServerIDs, sandbox.Options{ServerIDs: true})
}

func killedAtRandom(t *testing.T, make func(*testing.T) *hospital, o sandbox.Options) {
	n := 2
	if sharedtest.Sweeps() {
		n = 20
	}
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		sharedtest.Path(t, "data", "synthea-ca-2022")
		make = func(t *testing.T) *hospital { return newSyntheaWith(t, "synthea-ca-2022", o) }
	}
	reference := runUnbroken(t, make(t))
	kills := 0
	for i := range n {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(i), 2022))
			h := make(t)
			h.finishes("keys", "init")
			h.sameKeys(reference.keys)
			var e end
			for left := 1 + random.IntN(4); ; left-- {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if left > 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(reference.took))))
				}
				e = h.start(ctx, "", "run", "--json")
				cancel()
				if !e.killed {
					break
				}
				kills++
			}
			if e.code != exitDone && e.code != exitReview {
				t.Fatal(e)
			}
			reference.compare(t, h, parseAccount(t, e))
			h.leavesNoHalves()
		})
	}
	t.Logf("%d runs, killed %d times; an unbroken run took %v", n, kills, reference.took.Round(time.Millisecond))
}
