package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// deltaOf are the tables of Riverside that a delta touches, with a column that belongs to no key.
var deltaOf = map[string]string{
	"allergies": "SUBSTANCE", "prescriptions": "DRUG", "problems": "LABEL", "results": "TEST_NAME", "immunizations": "LOT",
}

// unreadable are the types of tables that hold rows without a readable key: what vanished from them may be one of those, so
// it is never deleted.
var unreadable = map[string]bool{"Condition": true, "MedicationRequest": true}

// secondLife is a hospital before its second run: loaded, and then changed in the source and in the target.
type secondLife struct {
	*hospital
	delta *delta
	ids   map[string]string // by ours, how the server names it

	patients map[string]string // whose each is, by the number that the source gives
}

// liveOn runs Riverside once and then changes and removes rows of five tables, edits in the target what changed, what was
// removed and what stays, and deletes there what stays.
func liveOn(h *hospital, keys string) *secondLife {
	h.t.Helper()
	plan := readFile(h.t, filepath.Join(h.dir, "migration.yaml"))
	h.plan(plan + "vanished: delete\n")
	h.mustRun(exitDone, exitDone, "keys", "init")
	h.sameKeys(keys)
	h.mustRun(exitDone, exitReview, "run", "--json")
	s := &secondLife{hospital: h, ids: map[string]string{}, patients: map[string]string{},
		delta: &delta{changed: map[string]bool{}, removed: map[string]bool{}, edited: map[string]string{}, deleted: map[string]bool{}}}
	quiet := s.changeSource()
	s.listIDs()
	removed := slices.Sorted(maps.Keys(s.delta.removed))
	changed := slices.Sorted(maps.Keys(s.delta.changed))
	s.byHand(s.delta, []string{changed[0], changed[5], changed[10], removed[1], removed[4], quiet[0], quiet[3]}, []string{quiet[1], quiet[2], removed[2]}, s.at)
	return s
}

func (s *secondLife) at(name string) string { return s.ids[name] }

// listIDs learns how the server names what it holds.
func (s *secondLife) listIDs() {
	s.t.Helper()
	renamed := s.renamed
	s.renamed = false
	all, _ := s.content([]string{"AllergyIntolerance", "MedicationRequest", "Condition", "Observation", "Immunization"})
	s.renamed = renamed
	for name, text := range all {
		typ, _, _ := strings.Cut(name, "/")
		ours := name
		if renamed {
			ours = typ + "/" + load.OurID(parseNode(s.t, text))
		}
		s.ids[ours] = name
	}
}

// changeSource changes four rows of each table and removes three. It returns some of what stays.
func (s *secondLife) changeSource() (quiet []string) {
	s.t.Helper()
	made := map[string][]whereabouts{}
	for _, p := range s.places() {
		if p.Outcome == "made" && deltaOf[p.Table] != "" {
			made[p.Table] = append(made[p.Table], p)
		}
	}
	for _, table := range slices.Sorted(maps.Keys(deltaOf)) {
		path := filepath.Join(s.dir, "export", table+".csv")
		lines := strings.SplitAfter(readFile(s.t, path), "\n")
		header, err := csv.NewReader(strings.NewReader(lines[0])).Read()
		if err != nil {
			s.t.Fatal(err)
		}
		column := slices.Index(header, deltaOf[table])
		done := 0
		for _, p := range made[table] {
			row, err := csv.NewReader(strings.NewReader(lines[p.Line-1])).Read()
			if err != nil || len(row) != len(header) || row[column] == "" {
				continue // a planted fault
			}
			s.patients[p.name()] = row[slices.Index(header, "MRN")]
			switch {
			case done < 4:
				row[column] += " corrected"
				var b bytes.Buffer
				w := csv.NewWriter(&b)
				if err := w.Write(row); err != nil {
					s.t.Fatal(err)
				}
				w.Flush()
				lines[p.Line-1] = b.String()
				s.delta.changed[p.name()] = true
			case done < 7:
				lines[p.Line-1] = ""
				s.delta.removed[p.name()] = true
			case done == 7:
				quiet = append(quiet, p.name())
			}
			done++
		}
		if err := os.Chmod(path, 0o600); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if len(s.delta.changed) != 20 || len(s.delta.removed) != 15 {
		s.t.Fatalf("%d changed, %d removed", len(s.delta.changed), len(s.delta.removed))
	}
	return quiet
}

// unbrokenDelta is what a delta that nobody killed says and leaves behind.
type unbrokenDelta struct {
	keys    string
	types   []string
	run     secondRun
	content map[string]string
	writes  int64
	took    time.Duration
}

func runUnbrokenDelta(t *testing.T, h *hospital) *unbrokenDelta {
	t.Helper()
	u := &unbrokenDelta{keys: filepath.Join(t.TempDir(), "keys"), types: []string{"Basic"}}
	s := liveOn(h, u.keys)
	if _, err := program(); err != nil { // it is built now, and not while the time is taken
		t.Fatal(err)
	}
	before := s.sandbox.Writes()
	began := time.Now()
	u.run = decode[secondRun](t, s.finishes("run", "--json").stdout)
	u.took = time.Since(began)
	u.writes = s.sandbox.Writes() - before
	u.types = append(u.types, slices.Sorted(maps.Keys(u.run.Resources))...)
	u.content, _ = s.content(u.types)
	// 17 of 20 changes are sent, as three were edited. 7 of 15 are deleted: of Allergies one was edited and one is gone
	// already, and six are of tables of which nobody can say.
	if u.writes != 24 {
		t.Errorf("%d versions were written", u.writes)
	}
	s.ends(t, u)
	// What was gone already counts as taken back.
	if got := s.audited("vanished: delete"); !slices.Equal(got, []string{"run-2, 8 resources"}) {
		t.Errorf("the audit log says of what was deleted: %q", got)
	}
	return u
}

// audited lists the details of what the audit log says of an action.
func (h *hospital) audited(action string) (details []string) {
	h.t.Helper()
	l, err := ledger.View(h.t.Context(), "sqlite:"+filepath.Join(h.dir, ".chartlift", "ledger.db"), "riverside-demo")
	if err != nil {
		h.t.Fatal(err)
	}
	for r, err := range l.Audit(h.t.Context()) {
		if err != nil {
			h.t.Fatal(err)
		}
		if r.Action == action {
			details = append(details, r.Detail)
		}
	}
	if err := l.Close(); err != nil {
		h.t.Fatal(err)
	}
	return details
}

// ends checks what the end of a delta must be, killed or not.
func (s *secondLife) ends(t *testing.T, u *unbrokenDelta) {
	t.Helper()
	s.untouched(s.delta, s.at)
	content, _ := s.content(u.types)
	if diff := cmp.Diff(names(u.content), names(content)); diff != "" {
		t.Errorf("what is there is not what an unbroken run leaves (-unbroken +killed):\n%s", diff)
	}
	for name, text := range content {
		if want := u.content[name]; want != text && !strings.HasPrefix(name, "Basic/") {
			t.Errorf("%s is not as an unbroken run leaves it", name)
		}
	}
	for name := range s.delta.removed {
		typ, _, _ := strings.Cut(name, "/")
		_, edited := s.delta.edited[name]
		if stays := edited || unreadable[typ]; stays != (s.raw(s.at(name)) != "") {
			t.Errorf("%s: it is there or not against what it must be, %t", name, stays)
		}
	}
}

func names(content map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(content)), func(name string) bool { return strings.HasPrefix(name, "Basic/") })
}

// ended checks a delta that was killed and has come to its end.
func (u *unbrokenDelta) ended(t *testing.T, s *secondLife, last secondRun, more int64, anew bool) {
	t.Helper()
	s.ends(t, u)
	if more != u.writes {
		t.Errorf("%d versions were written, %d by an unbroken run", more, u.writes)
	}
	want := u.run.got()
	if anew { // the killed run had said that it was finished, so this was another over what it left
		for typ, w := range want {
			w.Unchanged += w.Loaded
			w.Loaded = 0
			want[typ] = w
		}
	}
	if diff := cmp.Diff(want, last.got()); diff != "" {
		t.Errorf("the account is not that of an unbroken run (-unbroken +killed):\n%s", diff)
	}
	before := s.sandbox.Writes()
	s.finishes("run", "--json")
	if n := s.sandbox.Writes() - before; n != 0 {
		t.Errorf("another run wrote %d versions", n)
	}
	s.untouched(s.delta, s.at)
	s.leavesNoHalves()
}

// TestDeltaKilledAtEachPoint kills the second run of a hospital in which rows were changed and removed, and in whose
// target people have edited and deleted: what vanished is deleted once, and no edit is touched.
func TestDeltaKilledAtEachPoint(t *testing.T) {
	for _, ids := range []bool{false, true} {
		t.Run(fmt.Sprintf("server ids %t", ids), func(t *testing.T) { deltaKilled(t, sandbox.Options{ServerIDs: ids}) })
	}
}

func deltaKilled(t *testing.T, o sandbox.Options) {
	if testing.Short() {
		t.Skip("about a hundred processes are run and killed")
	}
	u := runUnbrokenDelta(t, newRiversideWith(t, o))
	points := slices.DeleteFunc(run.CrashPoints(), func(p string) bool {
		for _, other := range []string{"export", "report", "keys: key-encryption key", "target: before mark", "target: after mark"} {
			if strings.HasPrefix(p, other) {
				return true // no run passes these
			}
		}
		return false
	})
	points = append(points, "run: state merged:2", "manifest: renamed:2", "state: switched to, the old one still there:2", "segment: renamed:3", "target: after send bundle:3",
		"target: before delete:2", "target: after delete:2", "target: after delete:3", "ledger: after the commit of record:4")
	killed := 0
	tried := sharedtest.Drawn(t, len(points), 4)
	for _, i := range tried {
		point := points[i]
		t.Run(strings.NewReplacer(": ", "/", " ", "-").Replace(point), func(t *testing.T) {
			s := liveOn(newRiversideWith(t, o), u.keys)
			before := s.sandbox.Writes()
			if first := prelude[point]; first != "" {
				if e := s.start(t.Context(), first, "run", "--json"); !e.killed {
					t.Fatalf("not killed at %s: %v", first, e)
				}
			}
			e := s.start(t.Context(), point, "run", "--json")
			if e.killed {
				killed++
				e = s.finishes("run", "--json")
			}
			id := decode[struct{ Run string }](t, e.stdout).Run
			u.ended(t, s, decode[secondRun](t, e.stdout), s.sandbox.Writes()-before, id != "run-2")
		})
	}
	t.Logf("killed at %d of %d points", killed, len(tried))
	if sharedtest.Sweeps() && killed < 80 {
		t.Errorf("a delta passes only %d of %d points", killed, len(tried))
	}
}

// TestDeltaKilledAtRandom kills second runs at random moments.
func TestDeltaKilledAtRandom(t *testing.T) {
	for _, ids := range []bool{false, true} {
		t.Run(fmt.Sprintf("server ids %t", ids), func(t *testing.T) { deltaKilledAtRandom(t, sandbox.Options{ServerIDs: ids}) })
	}
}

func deltaKilledAtRandom(t *testing.T, o sandbox.Options) {
	if testing.Short() {
		t.Skip("processes are run and killed")
	}
	u := runUnbrokenDelta(t, newRiversideWith(t, o))
	n := 2
	if sharedtest.Sweeps() {
		n = 20
	}
	kills := 0
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(i), 10))
			s := liveOn(newRiversideWith(t, o), u.keys)
			before := s.sandbox.Writes()
			var e end
			for left := 1 + random.IntN(4); ; left-- {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if left > 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(u.took))))
				}
				e = s.start(ctx, "", "run", "--json")
				cancel()
				if !e.killed {
					break
				}
				kills++
			}
			if e.code != exitDone && e.code != exitReview {
				t.Fatal(e)
			}
			id := decode[struct{ Run string }](t, e.stdout).Run
			u.ended(t, s, decode[secondRun](t, e.stdout), s.sandbox.Writes()-before, id != "run-2")
		})
	}
	t.Logf("%d runs, killed %d times; an unbroken run took %v", n, kills, u.took.Round(time.Millisecond))
}
