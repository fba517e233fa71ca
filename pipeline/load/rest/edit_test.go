package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// theirs is a patient as somebody else wrote it.
func theirs(i int) string { return strings.Replace(patient(i), "1970-01-02", "1955-05-05", 1) }

// older is a patient as an earlier run of ours wrote it.
func older(i int) string { return strings.Replace(patient(i), "1970-01-02", "1971-01-02", 1) }

// TestEditsStay puts one resource into a state, with the version that we know of it, and sends it in every way. What
// somebody else wrote or deleted is Edited and stays, also if the first answer was lost or never came about.
func TestEditsStay(t *testing.T) {
	key := "Patient/p000"
	edited, deleted := func(b *bench) { b.edit(older(0)); b.edit(theirs(0)) }, func(b *bench) { b.edit(older(0)); b.remove(key) }
	for _, test := range []struct {
		name    string
		state   func(*bench)
		known   string // our version
		lost    string // "", "before" or "after" the server did it; then the edit comes
		resume  bool
		want    load.Kind
		version string
		code    string
	}{
		{name: "untouched", state: func(b *bench) { b.edit(older(0)) }, known: "1", want: load.Updated, version: "2"},
		{name: "untouched, resumed", state: func(b *bench) { b.edit(older(0)) }, known: "1", resume: true, want: load.Updated, version: "2"},
		{name: "edited", state: edited, known: "1", want: load.Edited, version: "2", code: load.CodeChanged},
		{name: "edited, resumed", state: edited, known: "1", resume: true, want: load.Edited, version: "2", code: load.CodeChanged},
		{name: "edited before we knew, resumed", state: edited, resume: true, want: load.Edited, version: "2", code: load.CodeChanged},
		{name: "deleted", state: deleted, known: "1", want: load.Edited, code: load.CodeDeleted},
		{name: "deleted, resumed", state: deleted, known: "1", resume: true, want: load.Edited, code: load.CodeDeleted},
		{name: "arrived, resumed", state: func(b *bench) { b.edit(older(0)); b.edit(patient(0)) }, known: "1", resume: true, want: load.Updated, version: "2"},
		{name: "arrived, sent again", state: func(b *bench) { b.edit(older(0)); b.edit(patient(0)) }, known: "1", want: load.Updated, version: "2"},
		{name: "lost before", state: func(b *bench) { b.edit(older(0)) }, known: "1", lost: "before", want: load.Edited, version: "2", code: load.CodeChanged},
		{name: "lost after", state: func(b *bench) { b.edit(older(0)) }, known: "1", lost: "after", want: load.Edited, version: "3", code: load.CodeChanged},
		{name: "new, lost before", state: func(*bench) {}, lost: "before", want: load.Edited, version: "1", code: load.CodeChanged},
		{name: "new, lost after", state: func(*bench) {}, lost: "after", want: load.Edited, version: "2", code: load.CodeChanged},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			test.state(b)
			hit := false
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
				if test.lost == "" || hit || !put(entries) {
					return false
				}
				hit = true
				if test.lost == "after" {
					b.do(entries[0])
				}
				b.edit(theirs(0))
				return hangUp(t, w)
			}
			items := fresh(b.sealed(1))
			items[0].Version = test.known
			send := b.target.Send
			if test.resume {
				send = b.target.Resume
			}
			outcomes, err := send(t.Context(), items)
			if err != nil || outcomes[0].Kind != test.want || outcomes[0].Version != test.version || outcomes[0].Code != test.code {
				t.Fatalf("%+v, %v", outcomes, err)
			}
			switch n := b.held[key]; {
			case test.want == load.Updated:
				if n.Get("birthDate").Str() != "1970-01-02" || outcomes[0].Replaced != "1" {
					t.Errorf("ours is not there, or replaced %q", outcomes[0].Replaced)
				}
			case test.code == load.CodeDeleted:
				if n != nil {
					t.Error("what was deleted is back")
				}
			case n.Get("birthDate").Str() != "1955-05-05":
				t.Error("the edit is gone")
			}
		})
	}
}

// TestEditsAmongMany: of a batch some were edited and some deleted; a lost answer, and a bundle that is refused as a whole
// for one of them, change nothing about it.
func TestEditsAmongMany(t *testing.T) {
	for _, how := range []string{"plain", "lost", "poison"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, nil)
			items := fresh(b.sealed(60))
			for i := range items {
				b.edit(older(i))
				items[i].Version = "1"
				switch i % 10 {
				case 3:
					b.edit(theirs(i))
				case 7:
					b.remove(fmt.Sprintf("Patient/p%03d", i))
				}
			}
			b.broken = func(n int64) bool { return how == "lost" && n == 1 }
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
				for _, e := range entries {
					if how == "poison" && e.method == http.MethodPut && e.id == "p044" {
						return answer(w, 400, issue("invalid", ""))
					}
				}
				return false
			}
			outcomes, err := b.target.Send(t.Context(), items)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				want, year := load.Updated, "1970"
				switch {
				case i%10 == 3:
					want, year = load.Edited, "1955"
				case i%10 == 7:
					want, year = load.Edited, ""
				case how == "poison" && i == 44:
					want, year = load.Rejected, "1971"
				}
				got, _, _ := strings.Cut(b.held["Patient/"+o.Ours].Get("birthDate").Str(), "-")
				if o.Kind != want || got != year {
					t.Errorf("%s: %s, %q is there", o.Ours, o.Kind, got)
				}
			}
		})
	}
}

// TestWholeIsWrittenOverTheFirstForm: what was introduced is written over, in whichever process, and what somebody wrote
// over it stays.
func TestWholeIsWrittenOverTheFirstForm(t *testing.T) {
	b := newBench(t, nil)
	items := introduced(b.sealed(2))
	first, err := b.target.Introduce(t.Context(), items)
	if err != nil || kinds(first)["created"] != 2 || first[0].Version != "1" {
		t.Fatalf("%+v, %v", first, err)
	}
	b.edit(theirs(1))
	// The versions of the introduction are forgotten, as after a crash.
	outcomes, err := b.target.Resume(t.Context(), items)
	if err != nil || outcomes[0].Kind != load.Updated || outcomes[0].Replaced != "1" || outcomes[1].Kind != load.Edited || !outcomes[1].There() {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	if again, err := b.target.Introduce(t.Context(), items); err != nil || again[0].Kind != load.Unchanged || again[0].Version != "2" || again[1].Kind != load.Edited {
		t.Errorf("introduced again: %+v, %v", again, err)
	}
}

// TestReplacedUnknown: what nobody knew to be there is replaced by a first load, and the outcome says which version.
func TestReplacedUnknown(t *testing.T) {
	b := newBench(t, nil)
	b.edit(theirs(0))
	outcomes, err := b.send(1)
	if err != nil || outcomes[0].Kind != load.Updated || outcomes[0].Version != "2" || outcomes[0].Replaced != "1" {
		t.Errorf("%+v, %v", outcomes, err)
	}
}

func TestUndo(t *testing.T) {
	b := newBench(t, nil)
	outcomes, err := b.send(5)
	if err != nil {
		t.Fatal(err)
	}
	b.edit(theirs(1))
	b.remove("Patient/p002")
	var list []load.Existing
	for _, o := range outcomes {
		list = append(list, load.Existing{Type: o.Type, ID: o.ID, Version: o.Version})
	}
	list[4].Version = ""
	marked, err := b.target.Mark(t.Context(), list[:2])
	if err != nil || marked[0].Kind != load.Updated || marked[0].Version != "2" || marked[0].Replaced != "1" || marked[1].Kind != load.Edited {
		t.Fatalf("%+v, %v", marked, err)
	}
	if marked, err = b.target.Mark(t.Context(), list[:1]); err != nil || marked[0].Kind != load.Unchanged {
		t.Errorf("marked again: %+v, %v", marked, err)
	}
	list[0].Version = "2"
	for range 2 { // once more changes nothing
		b.broken = func(int64) bool { return false }
		deleted, err := b.target.Delete(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []load.Kind{load.Deleted, load.Edited, load.Deleted, load.Deleted, load.Rejected} {
			if deleted[i].Kind != want {
				t.Errorf("%+v, want %s", deleted[i], want)
			}
		}
	}
	if len(b.held) != 2 || b.held["Patient/p001"].Get("birthDate").Str() != "1955-05-05" {
		t.Errorf("%d are left", len(b.held))
	}
}

// given is a bench whose server gives the ids.
func given(t *testing.T, ids map[string]string) *bench {
	b := newBench(t, func(o *Options) {
		o.Resolve = func(typ, ours string) (string, bool) { id, ok := ids[typ+"/"+ours]; return id, ok }
	})
	b.given = true
	c, err := b.target.Preflight(t.Context())
	if err != nil || !c.ServerIDs("Patient") || len(c.Lacking("Patient")) != 0 {
		t.Fatalf("%v, %v", c.Lacking("Patient"), err)
	}
	return b
}

// TestServerIDs: new resources get the server's ids, each once, also when an answer is lost or in disorder; they are then
// written over in their place, and come back in our ids.
func TestServerIDs(t *testing.T) {
	for _, how := range []string{"plain", "lost", "reversed", "no resources"} {
		t.Run(how, func(t *testing.T) {
			b := given(t, map[string]string{})
			n := 0
			b.after = func(entries []entry, answers []string) []string {
				if put(entries) && how == "reversed" {
					for i, j := 0, len(answers)-1; i < j; i, j = i+1, j-1 {
						answers[i], answers[j] = answers[j], answers[i]
					}
				}
				if put(entries) && how == "no resources" {
					for i := range answers {
						_, response, _ := strings.Cut(answers[i], `"response":`)
						answers[i] = `{"response":` + response
					}
				}
				return answers
			}
			b.broken = func(int64) bool { n++; return how == "lost" && n == 1 }
			batch := b.sealed(6)
			items := fresh(batch)
			outcomes, err := b.target.Send(t.Context(), items)
			if err != nil || kinds(outcomes)["created"] != 6 || len(b.held) != 6 {
				t.Fatalf("%+v, %v, %d are there", outcomes, err, len(b.held))
			}
			for i, o := range outcomes {
				got := b.held["Patient/"+o.ID]
				if load.OurID(got) != o.Ours || o.Ours != batch[i].ID() {
					t.Fatalf("%s lies under the id of %s", o.Ours, load.OurID(got))
				}
				items[i].ID, items[i].Version = o.ID, o.Version
				ours, err := b.target.Ours(items[i], got)
				whole, _ := b.ring.Whole(batch[i], nil)
				if err != nil || string(ours.AppendCanonical(nil)) != string(whole) {
					t.Errorf("%s comes back as %s", o.Ours, ours.AppendCanonical(nil))
				}
			}
			if again, err := b.target.Resume(t.Context(), fresh(batch)); err != nil || kinds(again)["created"] != 6 || len(b.held) != 6 {
				t.Errorf("resumed: %+v, %v, %d are there", again, err, len(b.held))
			}
			b.after = nil
			again, err := b.target.Send(t.Context(), items)
			if err != nil || kinds(again)["updated"] != 6 || len(b.held) != 6 {
				t.Errorf("over it: %+v, %v, %d are there", again, err, len(b.held))
			}
		})
	}
}

// TestUnresolvedIsHeld: what refers to something that has no id yet is not sent, and the rest of its batch is.
func TestUnresolvedIsHeld(t *testing.T) {
	ids := map[string]string{}
	b := given(t, ids)
	n, err := fhir.Parse([]byte(`{"resourceType":"Patient","id":"p900","managingOrganization":{"reference":"Organization/o1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.sealer.SealNode(&phi.Resource{Patient: "p"}, n)
	if err != nil {
		t.Fatal(err)
	}
	items := fresh(append(b.sealed(2), s))
	for _, send := range []func(context.Context, []load.Item) ([]load.Outcome, error){b.target.Send, b.target.Resume} {
		outcomes, err := send(t.Context(), items)
		if err != nil || !outcomes[0].Kind.Stored() || outcomes[2].Kind != load.Held || outcomes[2].Code != load.CodeUnresolved || outcomes[2].Path != "Patient.managingOrganization" {
			t.Fatalf("%+v, %v", outcomes, err)
		}
	}
	if _, err := b.target.Form(items[2], nil); !errors.Is(err, load.ErrUnresolved) {
		t.Errorf("its form: %v", err)
	}
	ids["Organization/o1"] = "s77"
	outcomes, err := b.target.Resume(t.Context(), items[2:])
	if err != nil || outcomes[0].Kind != load.Created {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	if got := b.held["Patient/"+outcomes[0].ID].At("managingOrganization", "reference").Str(); got != "Organization/s77" {
		t.Errorf("it refers to %s", got)
	}
}

// TestIDsAreOursUnlessSaid: HAPI takes our ids and says nothing of it.
func TestIDsAreOursUnlessSaid(t *testing.T) {
	yes, no := true, false
	b := newBench(t, func(o *Options) { o.Resolve = func(_, ours string) (string, bool) { return ours, true } })
	for _, c := range []struct {
		said  *bool
		given bool
	}{{nil, false}, {&yes, false}, {&no, true}} {
		b.target.forms.ways.Store(waysOf(&load.Capabilities{Capabilities: fhir.Capabilities{
			Resources: []fhir.ResourceCapability{{Type: "Patient", UpdateCreate: c.said}}}}))
		if b.target.forms.givesIDs("Patient") != c.given || b.target.forms.rewrites() != c.given {
			t.Errorf("updateCreate %v: ids are the server's: %t", c.said, b.target.forms.givesIDs("Patient"))
		}
	}
}
