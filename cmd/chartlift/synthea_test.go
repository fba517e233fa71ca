package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// Types of identifiers that are not among R4's.
const (
	memberNumber   = "coverage: identifier[0].type: binding"
	socialSecurity = "patient: identifier[1].type: binding"
)

// The three real exports, and the share of facts that must be equal to Synthea's own FHIR of the same patients.
var syntheaSets = []struct {
	name, fhir string
	share      float64
	without    []string
	warnings   []string
}{
	{"synthea-ca-2022", "fhir.tar.gz", 0.999, nil, []string{memberNumber, socialSecurity}},
	{"synthea-ri-2022", "fhir.tar.zst", 0.996, []string{"--without", "Observation"}, []string{socialSecurity}},
	{"synthea-ma-2025", "fhir.tar.zst", 0.999, []string{"--without", "Observation"}, []string{memberNumber, socialSecurity}},
}

func TestSyntheaEqualsItsOwnFHIR(t *testing.T) {
	for _, set := range syntheaSets {
		t.Run(set.name, func(t *testing.T) {
			data := sharedtest.Path(t, "data", set.name)
			tool := sharedtest.Path(t, "tools", "synthea_compare.py")
			python, err := exec.LookPath("python3")
			if err != nil {
				sharedtest.Missing(t, "data", "python3, which the comparison needs, is not here")
			}
			h := newSynthea(t, set.name)
			h.mustRun(exitDone, exitReview, "dry-run", "--json")
			h.conforms(set.warnings...)
			out := filepath.Join(h.dir, "out")
			h.mustRun(exitDone, exitDone, "export", "-o", out, "--identified")
			theirs := filepath.Join(h.dir, "fhir")
			unpack(t, filepath.Join(data, set.fhir), theirs)
			cmd := exec.Command(python, append([]string{tool, out, theirs}, set.without...)...)
			text, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			found := regexp.MustCompile(`(?m)^([0-9.]+) of \d+ facts equal`).FindSubmatch(text)
			if found == nil {
				t.Fatalf("no share in:\n%s", text)
			}
			share, err := strconv.ParseFloat(string(found[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("share %.4f, wanted %.4f", share, set.share)
			if share < set.share {
				t.Errorf("share %.4f is below %.4f:\n%s", share, set.share, text)
			}
		})
	}
}

// The whole way of issue "First light" on a real export: load, balance, load nothing twice, prove, and find what hands
// changed in the server.
func TestSyntheaIntoSandbox(t *testing.T) {
	sharedtest.Path(t, "data", "synthea-ca-2022")
	h := newSynthea(t, "synthea-ca-2022")
	first := h.summary(exitDone, exitReview, "run", "--json")
	var made, loaded int64
	for typ, r := range first.Resources {
		made += r.Made
		loaded += r.Loaded
		if sum := r.Loaded + r.Unchanged + r.Merged + r.Rejected + r.InDoubt + r.Held + r.Pending; sum != r.Made {
			t.Errorf("%s: made %d, accounted for %d", typ, r.Made, sum)
		}
		if v := first.Verified[typ]; v.Matched != r.Loaded || v.Unexpected != 0 {
			t.Errorf("%s: loaded %d, matched %d, unexpected %d", typ, r.Loaded, v.Matched, v.Unexpected)
		}
	}
	if made == 0 || loaded != made {
		t.Errorf("made %d, loaded %d", made, loaded)
	}
	for table, want := range h.rows() {
		got, ok := first.Tables[table]
		if !ok {
			continue // no mapping reads it: a finding names it
		}
		if got.Read != want || got.Read != got.Mapped+total(got.Skipped)+total(got.Refused)+got.OtherWave {
			t.Errorf("%s: %d rows, account %+v", table, want, got)
		}
	}
	second := h.summary(exitDone, exitReview, "run", "--json")
	for typ, r := range second.Resources {
		if r.Loaded != 0 || r.Unchanged != first.Resources[typ].Loaded {
			t.Errorf("second run, %s: loaded %d, unchanged %d of %d", typ, r.Loaded, r.Unchanged, first.Resources[typ].Loaded)
		}
	}
	h.tamper()
	last := h.summary(exitReview, exitReview, "reconcile", "--json")
	var different, gone, unexpected, matched int64
	for _, v := range last.Verified {
		different, gone, unexpected, matched = different+v.Different, gone+v.Missing, unexpected+v.Unexpected, matched+v.Matched
	}
	if different != 1 || gone != 1 || unexpected != 1 || matched != made-2 {
		t.Errorf("after one change, one deletion and one addition: different %d, missing %d, unexpected %d, matched %d of %d", different, gone, unexpected, matched, made)
	}
}

// places.ndjson names every resource of the export, and no other; those that many rows make, too.
func TestSyntheaPlacesNameWhatIsExported(t *testing.T) {
	h := newSynthea(t, "synthea-ca-2022")
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	out := filepath.Join(h.dir, "out")
	h.mustRun(exitDone, exitDone, "export", "-o", out, "--identified")
	placed := map[string]bool{}
	for line := range strings.Lines(readFile(t, filepath.Join(out, "places.ndjson"))) {
		if p := decode[struct{ Type, ID, Outcome string }](t, line); p.Outcome == "made" {
			placed[p.Type+"/"+p.ID] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(out, "[A-Z]*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatal("no export", err)
	}
	unplaced := map[string]int{}
	for _, file := range files {
		for line := range strings.Lines(readFile(t, file)) {
			r := decode[struct{ ResourceType, ID string }](t, line)
			if name := r.ResourceType + "/" + r.ID; placed[name] {
				delete(placed, name)
			} else {
				unplaced[r.ResourceType]++
			}
		}
	}
	if len(unplaced) > 0 {
		t.Errorf("resources without a place, by type: %v", unplaced)
	}
	absent := map[string]int{}
	for name := range placed {
		typ, _, _ := strings.Cut(name, "/")
		absent[typ]++
	}
	if len(absent) > 0 {
		t.Errorf("places of resources that are not there, by type: %v", absent)
	}
}

// Copies of one record each have a resource of their own, under ids that do not depend on the number of workers.
func TestSyntheaCopiesKeepTheirIDs(t *testing.T) {
	sharedtest.Path(t, "data", "synthea-ca-2022")
	ids := func(workers string) map[string]bool {
		h := newSynthea(t, "synthea-ca-2022")
		h.copyKeys(t, "one set of keys for both")
		h.mustRun(exitDone, exitReview, "dry-run", "--workers", workers, "--json")
		out := filepath.Join(h.dir, "out")
		h.mustRun(exitDone, exitDone, "export", "-o", out)
		set := map[string]bool{}
		for line := range strings.Lines(readFile(t, filepath.Join(out, "Procedure.ndjson"))) {
			var r struct{ ID string }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			set[r.ID] = true
		}
		return set
	}
	one, eight := ids("1"), ids("8")
	if len(one) != 4637 || len(eight) != len(one) {
		t.Errorf("4637 procedures, %d ids with one worker, %d with eight", len(one), len(eight))
	}
	for id := range one {
		if !eight[id] {
			t.Fatal("an id of one worker is not among those of eight")
		}
	}
}

// hospital is a folder with a plan, and a server to load into.
type hospital struct {
	t       *testing.T
	dir     string
	server  *httptest.Server
	sandbox *sandbox.Server // what the server serves
	renamed bool            // the server gives ids of its own
}

func newSynthea(t *testing.T, set string) *hospital {
	t.Helper()
	return newSyntheaWith(t, set, sandbox.Options{})
}

func newSyntheaWith(t *testing.T, set string, o sandbox.Options) *hospital {
	t.Helper()
	if testing.Short() {
		t.Skip("tens of thousands of resources, over HTTP")
	}
	h := newHospitalWith(t, o)
	unpack(t, sharedtest.Path(t, "data", set, "csv.tar.gz"), filepath.Join(h.dir, "export"))
	h.plan(fmt.Sprintf(`migration: %s
sources:
  ehr: {csv: export/csv/*.csv}
mappings: [synthea]
phi: {policy: limited-data-set, delivery: identified}
targets:
  clinical: {sandbox: %q}
`, set, h.server.URL+"/fhir") + guides(t))
	h.mustRun(exitDone, exitDone, "keys", "init")
	return h
}

func newHospital(t *testing.T) *hospital {
	t.Helper()
	return newHospitalWith(t, sandbox.Options{})
}

// newHospitalWith is a hospital whose server is another.
func newHospitalWith(t *testing.T, o sandbox.Options) *hospital {
	t.Helper()
	server, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &hospital{t: t, dir: t.TempDir(), server: httptest.NewServer(server), sandbox: server, renamed: o.ServerIDs}
	t.Cleanup(func() {
		h.server.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *hospital) plan(text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "migration.yaml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// keysFor keeps one keyring per purpose, so that two runs can be compared.
var keysFor = map[string]string{}

func (h *hospital) copyKeys(t *testing.T, purpose string) {
	t.Helper()
	here := filepath.Join(h.dir, "keys")
	from, ok := keysFor[purpose]
	if !ok {
		keep := filepath.Join(t.TempDir(), "keys")
		if err := os.CopyFS(keep, os.DirFS(here)); err != nil {
			t.Fatal(err)
		}
		keysFor[purpose] = keep
		return
	}
	if err := os.RemoveAll(here); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(here, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(here)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(here, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// command runs chartlift as a user would, in this process.
func (h *hospital) command(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	var out, faults bytes.Buffer
	code = chartlift(h.t.Context(), append([]string{"-f", filepath.Join(h.dir, "migration.yaml")}, args...), strings.NewReader(""), &out, &faults)
	return code, out.String(), faults.String()
}

// mustRun runs a command that must end with one of two codes, and answers its stdout.
func (h *hospital) mustRun(either, or int, args ...string) string {
	h.t.Helper()
	code, out, faults := h.command(args...)
	if code != either && code != or {
		h.t.Fatalf("chartlift %s: exit %d\n%s\n%s", strings.Join(args, " "), code, out, faults)
	}
	return out
}

// account is the JSON of a run, as a user of it reads it.
type account struct {
	Run, State string
	Tables     map[string]struct {
		Read, Mapped, OtherWave int64
		Skipped, Refused        map[string]int64
	}
	Resources map[string]struct {
		Made, Loaded, Unchanged, Merged, Rejected, InDoubt, Held, Pending, Vanished, NotApplied int64
	}
	Verified map[string]struct {
		Matched, Different, Missing, Unexpected, EditedSince, NotCompared int64
	}
	Gates []struct {
		Name, Limit, Value string
		Met                bool
	}
}

func (h *hospital) summary(either, or int, args ...string) account {
	h.t.Helper()
	out := h.mustRun(either, or, args...)
	var a account
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		h.t.Fatalf("%v in %s", err, out)
	}
	return a
}

// rows counts the records of every table by another reader than ours.
func (h *hospital) rows() map[string]int64 {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "export", "csv", "*.csv"))
	if err != nil || len(files) == 0 {
		h.t.Fatal("no files", err)
	}
	out := map[string]int64{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			h.t.Fatal(err)
		}
		r := csv.NewReader(f)
		n := int64(-1) // the header
		for {
			if _, err := r.Read(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				h.t.Fatal(err)
			}
			n++
		}
		if err := f.Close(); err != nil {
			h.t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".csv")] = n
	}
	return out
}

// tamper changes one value, deletes one resource and adds one, in the server.
func (h *hospital) tamper() {
	h.t.Helper()
	editor := &targetEditor{base: h.server.URL + "/fhir"}
	for _, p := range []plantedTarget{
		{Type: "Condition", Do: "set", Path: "code.text", Value: "another"},
		{Type: "AllergyIntolerance", Do: "delete"},
		{Type: "Patient", Do: "copy", ID: "planted"},
	} {
		if err := p.plant(h.t.Context(), editor); err != nil {
			h.t.Fatal(err)
		}
	}
}

func total(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// unpack unpacks a .tar.gz or .tar.zst into a folder.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader
	if strings.HasSuffix(archive, ".zst") {
		z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	} else {
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	}
	files := tar.NewReader(r)
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag != tar.TypeReg || !filepath.IsLocal(head.Name) {
			continue
		}
		path := filepath.Join(dir, head.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, files); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
