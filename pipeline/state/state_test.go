package state

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/stage/placetest"
)

var testKeys = sync.OnceValues(func() (*phi.Keyring, error) {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		return nil, err
	}
	kek := "file:" + filepath.Join(dir, "kek")
	if err := phi.InitKeys(context.Background(), phi.KeyPlace{KEK: kek, Migration: "test"}); err != nil {
		return nil, err
	}
	k, err := phi.OpenKeys(context.Background(), phi.KeyPlace{KEK: kek, Migration: "test"})
	return k, errors.Join(err, os.RemoveAll(dir)) // the keys are in memory
})

type failer interface {
	Helper()
	Fatal(...any)
}

func keys(t failer) Keys {
	t.Helper()
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// memory is a place in memory whose files can be looked at and put back.
type memory struct{ stage.Place }

func newMemory() *memory { return &memory{placetest.NewMemory()} }

// files are copies of the files.
func (m *memory) files(t failer) map[string][]byte {
	t.Helper()
	names, err := m.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		f, err := m.Open(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if files[name], err = io.ReadAll(io.NewSectionReader(f, 0, f.Size())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// put makes the place one with these files and no others. What is open goes on reading what it was opened on.
func (m *memory) put(t failer, files map[string][]byte) {
	t.Helper()
	m.Place = placetest.NewMemory()
	for name, content := range files {
		err := stage.WriteFile(context.Background(), m.Place, name, func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func homeIn(t failer, place stage.Place) Home {
	t.Helper()
	return Home{Place: place, Keys: keys(t), Target: "https://example.test/fhir"}
}

func open(t failer, h Home, known Known) *State {
	t.Helper()
	s, err := h.Open(context.Background(), known)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func merge(t failer, s *State, run string, list []Placement) *State {
	t.Helper()
	next, err := s.Merge(context.Background(), run, nil, sequence(list))
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func sequence(list []Placement) iter.Seq2[Placement, error] {
	return func(yield func(Placement, error) bool) {
		for _, p := range list {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func collect[T any](t failer, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var list []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

func idOf(n int) (id stage.ID) {
	for i := range id { // spread, as those of an HMAC are
		id[i] = byte(n*7919>>(8*(i%3)) + i*n)
	}
	id[18], id[19] = byte(n>>8), byte(n)
	return id
}

var types = []string{"Condition", "Observation", "Patient"}

// placementOf is the n-th placement as a run writes it.
func placementOf(n int, run string) Placement {
	return Placement{
		Type: types[n%3], ID: idOf(n), Patient: idOf(9000 + n%7), Digest: [16]byte{byte(n), 1}, Version: "1", Made: run, Written: run, Seen: run,
		Batch: fmt.Sprintf("%s.b%d", run, n%5), Position: int64(n), Wave: "main", Table: "table" + types[n%3], Line: int64(n) + 2, Status: Stored,
	}
}

func placementsOf(run string, from, to int) []Placement {
	var list []Placement
	for n := from; n < to; n++ {
		list = append(list, placementOf(n, run))
	}
	sortPlacements(list)
	return list
}

func sortPlacements(list []Placement) {
	slices.SortFunc(list, func(a, b Placement) int { return compare(&a, &b) })
}

// key is a placement's key in a model.
type key struct {
	typ   string
	id    stage.ID
	store string
}

func keyOf(p *Placement) key { return key{p.Type, p.ID, p.Store} }

// model is what a state is: a map.
type model map[key]Placement

func (m model) merge(run string, list []Placement) {
	for i := range list {
		c := &list[i]
		var old *Placement
		if p, ok := m[keyOf(c)]; ok {
			old = &p
		}
		if p, ok := c.over(old, run); ok {
			m[keyOf(c)] = p
		} else {
			delete(m, keyOf(c))
		}
	}
}

func (m model) sorted() []Placement {
	list := slices.Collect(maps.Values(m))
	sortPlacements(list)
	return list
}

// drawChanges draws what a run may know of some placements.
func drawChanges(t *rapid.T, run string) []Placement {
	var list []Placement
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 0, 40, rapid.ID[int]).Draw(t, "numbers") {
		p := placementOf(n, run)
		p.Made = ""
		p.Store = rapid.SampledFrom([]string{"", "clinical", "identity"}).Draw(t, "store")
		p.Patient = idOf(rapid.IntRange(0, 5).Draw(t, "patient"))
		p.Version = rapid.SampledFrom([]string{"", "1", "MTY4"}).Draw(t, "version")
		p.Replaced = rapid.SampledFrom([]string{"", "0"}).Draw(t, "replaced")
		p.Server = rapid.SampledFrom([]string{"", "srv-1"}).Draw(t, "server")
		p.Status = rapid.SampledFrom([]Status{Stored, Stored, Stored, Removed, Rejected, InDoubt, Vanished, Undone, Shredded, Kept}).Draw(t, "status")
		switch rapid.IntRange(0, 2).Draw(t, "part") {
		case 0:
			p.Written = ""
		case 1:
			p.Written, p.Seen = "", ""
		}
		list = append(list, p)
	}
	sortPlacements(list)
	return list
}

// A state behaves like a map, over any number of merges, to all of its readers; a merge that is done again changes
// nothing, and the digest depends on the content alone.
func TestStateIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := homeIn(t, newMemory())
		m := model{}
		known := Known{}
		for round := range rapid.IntRange(1, 4).Draw(t, "rounds") {
			run := fmt.Sprint("run-", round)
			changes := drawChanges(t, run)
			m.merge(run, changes)
			want := m.sorted()
			state := open(t, h, known)
			next := merge(t, state, run, changes)
			if next.Generation() != state.Generation()+1 {
				t.Fatalf("generation %d after %d", next.Generation(), state.Generation())
			}
			checkState(t, next, want)
			again := merge(t, next, run, changes)
			if again.Digest() != next.Digest() {
				t.Fatal("the same merge once more makes another state")
			}
			known = again.Known()
			reopened := open(t, h, known)
			checkState(t, reopened, want)
			direct := merge(t, open(t, homeIn(t, newMemory()), Known{}), "another", want)
			if direct.Digest() != next.Digest() || len(direct.Digest()) != 64 {
				t.Fatal("the digest depends on the way")
			}
			if names, _ := h.Place.List(context.Background(), ""); len(names) != 3 {
				t.Fatalf("files: %v", names)
			}
		}
	})
}

func checkState(t failer, s *State, want []Placement) {
	t.Helper()
	if s.Len() != int64(len(want)) {
		t.Fatal(s.Len(), " placements, not ", len(want))
	}
	same := func(what string, got []Placement, keep func(*Placement) bool) {
		t.Helper()
		var part []Placement
		for i := range want {
			if keep(&want[i]) {
				part = append(part, want[i])
			}
		}
		if diff := cmp.Diff(part, got); diff != "" {
			t.Fatal(what, " (-want +got):\n", diff)
		}
	}
	same("all", collect(t, s.All("")), func(*Placement) bool { return true })
	for _, typ := range append(types, "A", "None", "Z") {
		same(typ, collect(t, s.All(typ)), func(p *Placement) bool { return p.Type == typ })
	}
	for n := range 70 {
		patient := idOf(n)
		if n >= 60 {
			patient = idOf(9000 + n - 60)
		}
		same("patient", collect(t, s.ByPatient(patient)), func(p *Placement) bool { return p.Patient == patient })
	}
	byKey := map[key]Placement{}
	for _, p := range want {
		byKey[keyOf(&p)] = p
	}
	for n := range 61 {
		for _, store := range []string{"", "clinical", "identity", "z"} {
			p := placementOf(n, "")
			got, ok, err := s.Lookup(p.Type, p.ID, store)
			if want, there := byKey[key{p.Type, p.ID, store}]; err != nil || ok != there || got != want {
				t.Fatal("lookup: ", ok, err)
			}
		}
	}
}

// What a change of a run leaves of a placement.
func TestChangeRules(t *testing.T) {
	old := placementOf(1, "run-1")
	old.Server, old.Version, old.Replaced = "srv", "5", "3"
	with := func(p Placement, set func(*Placement)) Placement {
		set(&p)
		return p
	}
	wrote := placementOf(1, "run-2")
	wrote.Made, wrote.Digest, wrote.Version, wrote.Replaced, wrote.Patient, wrote.Line = "run-9", [16]byte{9}, "6", "5", idOf(3), 77
	seen := with(wrote, func(p *Placement) { p.Written = "" })
	same := with(seen, func(p *Placement) { p.Digest = old.Digest })
	none := Placement{}
	written := with(wrote, func(p *Placement) { p.Made, p.Replaced, p.Server = "run-1", "3", "srv" })
	justSeen := with(old, func(p *Placement) { p.Seen, p.Line = "run-2", 77 })
	for name, c := range map[string]struct{ old, change, want Placement }{
		"made":                     {none, wrote, with(wrote, func(p *Placement) { p.Made = "run-2" })},
		"rejected at once":         {none, with(wrote, func(p *Placement) { p.Status = Rejected }), with(wrote, func(p *Placement) { p.Made, p.Status = "", Rejected })},
		"in doubt at once":         {none, with(wrote, func(p *Placement) { p.Status = InDoubt }), with(wrote, func(p *Placement) { p.Made, p.Status = "run-2", InDoubt })},
		"found there":              {none, seen, with(wrote, func(p *Placement) { p.Made = "run-2" })},
		"found in another form":    {with(old, func(p *Placement) { p.Digest = [16]byte{1} }), seen, written},
		"found, earlier in doubt":  {with(old, func(p *Placement) { p.Digest, p.Status = seen.Digest, InDoubt }), seen, written},
		"put as it is":             {none, old, old},
		"kept where none is":       {none, with(seen, func(p *Placement) { p.Status = Kept }), none},
		"removed where none is":    {none, with(seen, func(p *Placement) { p.Status = Removed }), none},
		"written":                  {old, wrote, written},
		"another id of the server": {old, with(wrote, func(p *Placement) { p.Server = "new" }), with(written, func(p *Placement) { p.Server = "new" })},
		"written, no version told": {old, with(wrote, func(p *Placement) { p.Version = "" }), with(written, func(p *Placement) { p.Version = "" })},
		"written, in doubt": {old, with(wrote, func(p *Placement) { p.Version, p.Status = "", InDoubt }),
			with(written, func(p *Placement) { p.Version, p.Status = "5", InDoubt })},
		"unchanged":                   {old, same, justSeen},
		"unchanged, and no more told": {old, with(seen, func(p *Placement) { p.Digest = [16]byte{} }), justSeen},
		"held back":                   {old, with(wrote, func(p *Placement) { p.Status = Kept }), justSeen},
		"rejected, old remains":       {old, with(wrote, func(p *Placement) { p.Status = Rejected }), justSeen},
		"rejected, earlier in doubt": {with(old, func(p *Placement) { p.Status = InDoubt }), with(wrote, func(p *Placement) { p.Status = Rejected }),
			with(justSeen, func(p *Placement) { p.Status = InDoubt })},
		"rejected, in doubt since this run made it": {with(old, func(p *Placement) { p.Status, p.Made = InDoubt, "run-2" }),
			with(wrote, func(p *Placement) { p.Status = Rejected }), with(wrote, func(p *Placement) { p.Status, p.Made = Rejected, "" })},
		"vanished":                    {old, with(none, func(p *Placement) { p.Status = Vanished }), with(old, func(p *Placement) { p.Status = Vanished })},
		"back again":                  {with(old, func(p *Placement) { p.Status = Vanished }), same, justSeen},
		"undone":                      {old, with(none, func(p *Placement) { p.Status = Undone }), with(old, func(p *Placement) { p.Status = Undone })},
		"undone by a write":           {old, with(wrote, func(p *Placement) { p.Status = Undone }), with(justSeen, func(p *Placement) { p.Status = Undone })},
		"made again":                  {with(old, func(p *Placement) { p.Status = Undone }), wrote, with(wrote, func(p *Placement) { p.Made = "run-2" })},
		"stored after a rejection":    {with(old, func(p *Placement) { p.Status, p.Made = Rejected, "" }), wrote, with(wrote, func(p *Placement) { p.Made = "run-2" })},
		"written over what was found": {with(old, func(p *Placement) { p.Made, p.Written = "", "" }), wrote, with(wrote, func(p *Placement) { p.Made = "run-2" })},
		"removed":                     {old, with(wrote, func(p *Placement) { p.Status = Removed }), none},
	} {
		t.Run(name, func(t *testing.T) {
			var before *Placement
			if c.old != none {
				before = &c.old
			}
			got, ok := c.change.over(before, "run-2")
			if diff := cmp.Diff(c.want, got); diff != "" || ok != (c.want != none) {
				t.Fatalf("%v (-want +got):\n%s", ok, diff)
			}
			if !ok {
				return
			}
			if again, _ := c.change.over(&got, "run-2"); again != got {
				t.Errorf("once more (-want +got):\n%s", cmp.Diff(got, again))
			}
		})
	}
}

func TestLargeState(t *testing.T) {
	h := homeIn(t, newMemory())
	list := placementsOf("run-1", 0, 60_000) // more blocks than are held
	full := merge(t, open(t, h, Known{}), "run-1", list)
	if len(full.placements.refs) <= heldBlocks {
		t.Fatalf("%d blocks", len(full.placements.refs))
	}
	read := func() {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := g; i < len(list); i += 61 {
					if got, ok, err := full.Lookup(list[i].Type, list[i].ID, ""); err != nil || !ok || got != list[i] {
						t.Errorf("placement %d: %v, %v", i, ok, err)
						return
					}
				}
				if _, ok, err := full.Lookup("Observation", idOf(-g-1), ""); ok || err != nil {
					t.Errorf("what is not there is found: %v", err)
				}
				i := 0
				for p, err := range full.All(types[g%3]) {
					for list[i].Type != types[g%3] {
						i++
					}
					if err != nil || p != list[i] {
						t.Errorf("placement %d: %v", i, err)
						return
					}
					i++
				}
			})
		}
		wg.Wait()
	}
	read()
	if full.recent.Len() != heldBlocks || len(full.blocks) != heldBlocks {
		t.Errorf("%d, %d blocks held", full.recent.Len(), len(full.blocks))
	}
	// The old state stays readable while, and after, a new one takes its place.
	var next *State
	var wg sync.WaitGroup
	wg.Go(func() { next = merge(t, full, "run-2", placementsOf("run-2", 59_000, 61_000)) })
	read()
	wg.Wait()
	read()
	if full.Len() != 60_000 || next.Len() != 61_000 {
		t.Errorf("%d, %d placements", full.Len(), next.Len())
	}
	if _, err := full.Merge(t.Context(), "run-3", nil, sequence(nil)); err == nil {
		t.Error("a second merge of an old state is not refused")
	}
	if n := len(collect(t, next.ByPatient(idOf(9003)))); n != 61_000/7 && n != 61_000/7+1 {
		t.Errorf("a patient has %d placements", n)
	}
}

// A merge that nobody's patient changes in keeps the second file.
func TestSecondFileIsKept(t *testing.T) {
	h := homeIn(t, stage.NewDisk(t.TempDir()))
	first := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 30))
	second := merge(t, first, "run-2", placementsOf("run-2", 0, 20))
	third := merge(t, second, "run-3", placementsOf("run-3", 0, 31))
	for i, c := range []struct {
		s    *State
		want string
	}{{first, "state.00000001.patients"}, {second, "state.00000001.patients"}, {third, "state.00000003.patients"}} {
		if c.s.manifest.Patients.Name != c.want {
			t.Errorf("%d: %s", i, c.s.manifest.Patients.Name)
		}
	}
	names, err := h.Place.List(t.Context(), "")
	if diff := cmp.Diff([]string{"state", "state.00000003", "state.00000003.patients"}, names); diff != "" || err != nil {
		t.Errorf("%v, files (-want +got):\n%s", err, diff)
	}
	if err := errors.Join(first.Close(), second.Close(), third.Close(), third.Close()); err != nil {
		t.Error(err)
	}
	_, _, err = third.Lookup(types[0], idOf(0), "")
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed state: %v", err)
	}
}

// A merge that cannot be done leaves the state as it was, and can be done again.
func TestMergeRefuses(t *testing.T) {
	h := homeIn(t, newMemory())
	s := open(t, h, Known{})
	list := placementsOf("run-1", 0, 10)
	change := func(set func([]Placement) []Placement) []Placement { return set(slices.Clone(list)) }
	for what, changes := range map[string]iter.Seq2[Placement, error]{
		"swapped":  sequence(change(func(l []Placement) []Placement { l[3], l[4] = l[4], l[3]; return l })),
		"twice":    sequence(change(func(l []Placement) []Placement { return slices.Insert(l, 3, l[3]) })),
		"untyped":  sequence(change(func(l []Placement) []Placement { l[0].Type = ""; return l })),
		"odd type": sequence(change(func(l []Placement) []Placement { l[9].Type = "Z\x00"; return l })),
		"status":   sequence(change(func(l []Placement) []Placement { l[5].Status = 7; return l })),
		"formless": sequence(change(func(l []Placement) []Placement { l[5].Digest, l[5].Written = [16]byte{}, ""; return l })),
		"failing": func(yield func(Placement, error) bool) {
			_ = yield(list[0], nil) && yield(Placement{}, os.ErrDeadlineExceeded)
		},
	} {
		_, err := s.Merge(t.Context(), "run-1", nil, changes)
		if err == nil || what == "failing" && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		if again := open(t, h, Known{}); again.Len() != 0 || again.Generation() != 0 {
			t.Errorf("%s: after it %d placements", what, again.Len())
		}
	}
	if _, err := s.Merge(t.Context(), "", nil, sequence(list)); err == nil {
		t.Error("a merge of no run")
	}
	if next := merge(t, s, "run-1", list); next.Len() != 10 {
		t.Error(next.Len())
	}
}

// Changes sorts whatever comes.
func TestChangesAreSorted(t *testing.T) {
	list := placementsOf("run-1", 0, 200)
	list[7].Store, list[8].Position, list[9].Line = "identity", NoPosition, -4
	sortPlacements(list)
	c := NewChanges(stage.NewScratch(t.TempDir()), 1<<20)
	for i := range list {
		if err := c.Add(list[(i*71)%len(list)]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(list, collect(t, c.All())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	b := list[7].append(nil)
	var p Placement
	for n := range b {
		if p.parse(b[:n]) == nil {
			t.Errorf("a placement cut at byte %d is read", n)
		}
	}
	if p.parse(append(b, 0)) == nil {
		t.Error("a placement with something behind it is read")
	}
}

// A state that is not what the ledger knows is named.
func TestLost(t *testing.T) {
	place := newMemory()
	h := homeIn(t, place)
	states := []*State{open(t, h, Known{})}
	files := []map[string][]byte{{}}
	for i := 1; i < 4; i++ {
		run := fmt.Sprint("run-", i)
		states = append(states, merge(t, open(t, h, states[i-1].Known()), run, placementsOf(run, 0, 10*i)))
		files = append(files, place.files(t))
	}
	for _, c := range []struct {
		name  string
		files int
		known Known
		lost  bool
		ahead bool
	}{
		{"the same", 3, states[3].Known(), false, false},
		{"ahead by one", 3, states[2].Known(), false, true},
		{"ahead by two", 3, states[1].Known(), true, false},
		{"older", 2, states[3].Known(), true, false},
		{"missing", 0, states[3].Known(), true, false},
		{"missing, and never recorded", 0, Known{}, false, false},
		{"never recorded", 3, Known{}, false, true},
		{"of another content", 2, Known{2, states[3].Digest()}, true, false},
		{"after another content", 3, Known{2, states[1].Digest()}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			place.put(t, files[c.files])
			s, err := h.Open(t.Context(), c.known)
			var lost *Lost
			if errors.As(err, &lost) != c.lost || c.lost != (err != nil) {
				t.Fatal(err)
			}
			if c.lost {
				want := Lost{Target: h.Target, Wanted: c.known}
				if c.files > 0 {
					want.Found = states[c.files].Known()
				}
				if *lost != want || !strings.Contains(err.Error(), h.Target) {
					t.Errorf("%v", lost)
				}
				return
			}
			if s.Ahead() != c.ahead || s.Len() != states[c.files].Len() {
				t.Errorf("ahead: %v", s.Ahead())
			}
		})
	}
}

// A process that dies after its merge, before it tells the ledger, may do so again and again.
func TestDeathsInARow(t *testing.T) {
	h := homeIn(t, newMemory())
	first := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 10))
	older := first.Known()
	known := merge(t, open(t, h, older), "run-2", placementsOf("run-2", 0, 20)).Known()
	for range 3 {
		s := open(t, h, known)
		merge(t, s, "run-3", placementsOf("run-3", 0, 30))
	}
	s := open(t, h, known)
	if !s.Ahead() || s.Generation() != known.Generation+3 || s.Len() != 30 {
		t.Errorf("generation %d", s.Generation())
	}
	var lost *Lost
	if _, err := h.Open(t.Context(), older); !errors.As(err, &lost) {
		t.Errorf("a ledger that was put back: %v", err)
	}
}

// A reader that comes while another process merges gets one of the two states, whole.
func TestReadersDuringMerges(t *testing.T) {
	dir := t.TempDir()
	h := homeIn(t, stage.NewDisk(dir))
	s := merge(t, open(t, h, Known{}), "run-0", placementsOf("run-0", 0, 300))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s, err := h.Open(context.Background(), Known{})
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for _, err := range s.All("") {
					if err != nil {
						t.Error(err)
					}
					n++
				}
				if int64(n) != s.Len() || s.Close() != nil {
					t.Errorf("%d placements of %d", n, s.Len())
				}
			}
		})
	}
	for i := 1; i < 30; i++ {
		run := fmt.Sprint("run-", i)
		next := merge(t, s, run, placementsOf(run, 10*i, 10*i+300))
		_ = s.Close()
		s = next
	}
	close(done)
	wg.Wait()
	_ = s.Close()
}

// The state of another target, under other keys, is no state.
func TestStateOfAnother(t *testing.T) {
	h := homeIn(t, newMemory())
	merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 10))
	other := h
	other.Target = "https://other.test/fhir"
	if _, err := other.Open(t.Context(), Known{}); !isDamage(err) {
		t.Errorf("of another target: %v", err)
	}
	h.Keys = failingKeys{}
	if _, err := h.Open(t.Context(), Known{}); !errors.Is(err, phi.ErrNoKey) {
		t.Errorf("without keys: %v", err)
	}
}

type failingKeys struct{}

func (failingKeys) BatchKey(string) (cipher.AEAD, error) { return nil, phi.ErrNoKey }

func isDamage(err error) bool {
	var d *stage.Damage
	return errors.As(err, &d) && d.File != "" && d.What != ""
}

// The numbers of statuses are written to disk, and people see their names.
func TestStatusNames(t *testing.T) {
	for s, name := range statusNames {
		if s.String() != name {
			t.Errorf("%d: %s", s, s)
		}
	}
	numbers := []Status{Removed, Stored, Rejected, InDoubt, Vanished, Undone, Shredded}
	for i, s := range numbers {
		if int(s) != i {
			t.Errorf("%s has number %d, not %d", s, s, i)
		}
	}
	if Status(99).String() != "status 99" {
		t.Error(Status(99))
	}
}
