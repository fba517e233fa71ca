package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// text prints all that can be read of a state, in every way there is.
func text(h Home, known Known) (string, error) {
	s, err := h.Open(context.Background(), known)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, typ := range append(types, "", "A", "Z") {
		for p, err := range s.All(typ) {
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&b, p)
		}
	}
	for n := range 7 {
		for p, err := range s.ByPatient(idOf(9000 + n)) {
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&b, p.ID)
		}
	}
	for n := range 30 {
		p, ok, err := s.Lookup(types[n%3], idOf(n), "")
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&b, ok, p)
	}
	return b.String() + s.Digest(), s.Close()
}

// Any byte of any file changed, any file cut at any byte, with something behind its end, or missing: it is named as
// damaged. A draw of the bytes is tried with -short, all of them without.
func TestDamageIsNamed(t *testing.T) {
	place := newMemory()
	h := homeIn(t, place)
	known := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 25)).Known()
	whole := place.files(t)
	draw := rand.New(rand.NewPCG(1, 2))
	for name, b := range whole {
		try := func(what string, content []byte) {
			t.Helper()
			files := maps.Clone(whole)
			if files[name] = content; content == nil {
				delete(files, name)
			}
			place.put(t, files)
			if _, err := text(h, known); !isDamage(err) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		try("missing", nil)
		try("empty", []byte{})
		try("longer", append(slices.Clone(b), 0))
		for at := range b {
			if testing.Short() && draw.IntN(16) > 0 {
				continue
			}
			changed := slices.Clone(b)
			changed[at] ^= 1 << draw.IntN(8)
			try(fmt.Sprintf("byte %d changed", at), changed)
			try(fmt.Sprintf("cut at byte %d", at), b[:at:at])
		}
	}
}

// A state cannot be changed by someone who has no keys but knows the form: not with sums computed anew, not with parts of
// another generation, and not as a whole, since the ledger knows better.
func TestForgery(t *testing.T) {
	place := newMemory()
	h := homeIn(t, place)
	first := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 25))
	old := place.files(t)
	second := merge(t, first, "run-2", placementsOf("run-2", 0, 12))
	now := place.files(t)

	// The manifest with another digest in it: nothing in the file is a sum that he could set right.
	forged := maps.Clone(now)
	forged[manifestName] = []byte(strings.Replace(string(now[manifestName]), second.Digest(), first.Digest(), 1))
	// Old files, under the names that the manifest of today has.
	swapped := maps.Clone(now)
	swapped[second.manifest.Placements.Name] = old[first.manifest.Placements.Name]
	for what, files := range map[string]map[string][]byte{"manifest": forged, "swapped": swapped} {
		place.put(t, files)
		if _, err := text(h, second.Known()); !isDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A file of the same name that was written with the same keys at another time: a merge that died, and was done again.
	other := newMemory()
	merge(t, open(t, homeIn(t, other), Known{}), "run-1", placementsOf("run-1", 0, 25))
	mixed := maps.Clone(old)
	name := first.manifest.Placements.Name
	mixed[name] = other.files(t)[name]
	place.put(t, mixed)
	if _, err := text(h, first.Known()); !isDamage(err) {
		t.Errorf("of another time: %v", err)
	}
	place.put(t, old)
	var lost *Lost
	if _, err := text(h, second.Known()); !errors.As(err, &lost) {
		t.Errorf("all of another time: %v", err)
	}
}

// A merge names damage also of the file that it keeps.
func TestMergeReadsWhatItKeeps(t *testing.T) {
	place := newMemory()
	h := homeIn(t, place)
	s := merge(t, open(t, h, Known{}), "run-1", placementsOf("run-1", 0, 2000))
	name := s.manifest.Patients.Name
	files := place.files(t)
	files[name][len(files[name])/2] ^= 1
	place.put(t, files)
	s = open(t, h, s.Known()) // its ends are whole
	if _, err := s.Merge(t.Context(), "run-2", nil, sequence(placementsOf("run-2", 0, 2000))); !isDamage(err) {
		t.Error(err)
	}
}

// faultPlace fails at one step, once or for good, before or after the step had its effect.
type faultPlace struct {
	*memory
	at    int
	late  bool // the step has its effect, and fails all the same
	dead  bool // no step after it has any
	steps int
}

func (p *faultPlace) step() (does bool, err error) {
	p.steps++
	switch {
	case p.at == 0 || p.steps < p.at || p.steps > p.at && !p.dead:
		return true, nil
	case p.steps == p.at:
		return p.late, syscall.EIO
	}
	return false, syscall.EIO
}

type faultDraft struct {
	stage.Draft
	p *faultPlace
}

func (d faultDraft) Write(b []byte) (int, error) {
	does, err := d.p.step()
	if !does {
		return 0, err
	}
	n, _ := d.Draft.Write(b)
	return n, err
}

func (p *faultPlace) Create(ctx context.Context, name string) (stage.Draft, error) {
	if _, err := p.step(); err != nil {
		return nil, err
	}
	d, err := p.memory.Create(ctx, name)
	return faultDraft{d, p}, err
}

// Publish fails between two drafts, too.
func (p *faultPlace) Publish(ctx context.Context, drafts ...stage.Draft) error {
	for _, d := range drafts {
		does, err := p.step()
		if does {
			_ = p.memory.Publish(ctx, d.(faultDraft).Draft)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *faultPlace) Remove(ctx context.Context, name string) error {
	does, err := p.step()
	if does {
		_ = p.memory.Remove(ctx, name)
	}
	return err
}

func (p *faultPlace) List(ctx context.Context, prefix string) ([]string, error) {
	if _, err := p.step(); err != nil {
		return nil, err
	}
	return p.memory.List(ctx, prefix)
}

// A merge may fail at any step, or the process die there: what is there then is the old state or the new one, whole, the
// ledger's knowledge fits both, and the same merge done again ends in the same content.
func TestEveryStepMayFail(t *testing.T) {
	changes := placementsOf("run-2", 10, 35)
	for i := range changes {
		changes[i].Patient = idOf(9000 + i%3) // so that both files change
	}
	for _, first := range []int{0, 25} {
		for _, mode := range []struct {
			name       string
			late, dead bool
		}{{"once", false, false}, {"once, too late", true, false}, {"killed", false, true}, {"killed after it", true, true}} {
			t.Run(fmt.Sprintf("%s after %d", mode.name, first), func(t *testing.T) {
				for at := 1; ; at++ {
					if at > 200 {
						t.Fatal("no end of steps")
					}
					place := &faultPlace{memory: newMemory(), late: mode.late, dead: mode.dead}
					h := homeIn(t, place)
					s := open(t, h, Known{})
					if first > 0 {
						s = merge(t, s, "run-1", placementsOf("run-1", 0, first))
					}
					known := s.Known()
					old, err := text(h, known)
					if err != nil {
						t.Fatal(err)
					}
					place.at, place.steps = at, 0
					next, err := s.Merge(t.Context(), "run-2", nil, sequence(changes))
					done := place.steps < at
					if err != nil && !errors.Is(err, syscall.EIO) || done && err != nil {
						t.Fatalf("step %d: %v", at, err)
					}
					place.at = 0
					got, err := text(h, known)
					if err != nil {
						t.Fatalf("step %d: %v", at, err)
					}
					if next != nil && next.Digest() != got[len(got)-64:] {
						t.Fatalf("step %d: the merge succeeded, and another state is there", at)
					}
					s = open(t, h, known)
					if !s.Ahead() && got != old {
						t.Fatalf("step %d: neither the old state nor ahead of it", at)
					}
					again := merge(t, s, "run-2", changes)
					want := model{}
					want.merge("run-1", placementsOf("run-1", 0, first))
					want.merge("run-2", changes)
					checkState(t, again, want.sorted())
					names, _ := h.Place.List(t.Context(), "")
					if len(names) != 3 {
						t.Fatalf("step %d: files %v", at, names)
					}
					if done {
						return
					}
				}
			})
		}
	}
}

// FuzzRead gives readers any content under tags that are right, as a program with a fault would write it: none panics,
// and what cannot be is damage.
func FuzzRead(f *testing.F) {
	var w placementsWriter
	w.out = &tableWriter{numbers: map[string]uint64{}}
	for _, p := range placementsOf("run-1", 0, 9) {
		if err := w.add(&p); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(w.out.block, w.out.names, 8, true)
	v := patientsWriter{out: &tableWriter{numbers: map[string]uint64{}}}
	if err := v.add(&owned{idOf(1), "Patient", idOf(1), ""}); err != nil {
		f.Fatal(err)
	}
	f.Add(v.out.block, v.out.names, 2, false)
	f.Fuzz(func(t *testing.T, block, names []byte, count int, sealed bool) {
		place := newMemory()
		h := homeIn(t, place)
		w := writing{home: h, manifest: &manifest{Generation: 1, Count: 9}}
		fill := func(w *tableWriter) error {
			w.block, w.names, w.count = slices.Clone(block), names, 9
			w.first = append(w.first, "Condition\x00"...)
			for n := range max(0, min(count, 100)) {
				w.numbers[fmt.Sprint(n)] = 0
			}
			return nil
		}
		var err error
		m := w.manifest
		if m.Placements, m.Digest, _, err = w.table(t.Context(), fileName(1), placementsMagic, fill); err != nil {
			t.Fatal(err)
		}
		if m.Patients, _, _, err = w.table(t.Context(), fileName(1)+patientsSuffix, patientsMagic, fill); err != nil {
			t.Fatal(err)
		}
		if err := w.publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := text(h, Known{}); err != nil && !isDamage(err) {
			t.Error(err)
		}
		var p Placement
		_ = p.parse(block)
		_, _, _ = readOldBlock(block, func(*Placement) error { return nil })
	})
}
