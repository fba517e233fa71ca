package load

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// pair is delivery `split` with two servers by hand, under the keys of the first.
type pair struct {
	clinical, identity *bench
	target             Target
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{clinical: newBench(t, func(o *Options) { o.Delivery, o.Opener = DeliveryClinical, nil })}
	p.identity = newBench(t, func(o *Options) { o.Delivery, o.Opener = DeliveryIdentity, p.clinical.ring })
	var err error
	if p.target, err = NewSplit(p.clinical.target, p.identity.target); err != nil {
		t.Fatal(err)
	}
	return p
}

// batch is two patients, and an observation from which nothing is taken out.
func (p *pair) batch(t *testing.T) []phi.Sealed {
	t.Helper()
	n, err := fhir.Parse([]byte(`{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.clinical.sealer.SealNode(&phi.Resource{Patient: "p"}, n)
	if err != nil {
		t.Fatal(err)
	}
	return append(p.clinical.sealed(2), s)
}

func TestSplitSendsEachStoreItsForm(t *testing.T) {
	p := newPair(t)
	outcomes, err := p.target.Send(t.Context(), p.batch(t))
	if err != nil || kinds(outcomes)["created"] != 3 {
		t.Fatalf("%v, %v", kinds(outcomes), err)
	}
	if len(p.clinical.held) != 3 || len(p.identity.held) != 2 {
		t.Errorf("%d in the clinical store, %d in the identity store; want 3 and 2", len(p.clinical.held), len(p.identity.held))
	}
	for name, n := range p.clinical.held {
		if text := string(n.AppendCanonical(nil)); strings.Contains(text, secretName) || strings.Contains(text, fhir.SealedExtension) {
			t.Errorf("%s shows what it must not", name)
		}
	}
	for name, n := range p.identity.held {
		if !strings.Contains(string(n.AppendCanonical(nil)), secretName) {
			t.Errorf("%s is not whole", name)
		}
	}
	stores := p.target.Stores()
	if VersionAt(outcomes[0].Version, stores[0]) == "" || VersionAt(outcomes[0].Version, stores[1]) == "" || VersionAt(outcomes[2].Version, stores[1]) != "" {
		t.Errorf("versions %q and %q", outcomes[0].Version, outcomes[2].Version)
	}
}

// TestSplitIsLoadedWhenBothTookIt lets either store refuse one patient, and lets the identity store break down.
func TestSplitIsLoadedWhenBothTookIt(t *testing.T) {
	refuse := func(id string) func(entry) string {
		return func(e entry) string {
			if e.method == http.MethodPut && e.id == id {
				return `{"response":{"status":"422","outcome":{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}}}`
			}
			return ""
		}
	}
	p := newPair(t)
	p.clinical.each, p.identity.each = refuse("p000"), refuse("p001")
	outcomes, err := p.target.Send(t.Context(), p.batch(t))
	if err != nil || outcomes[0].Kind != Rejected || outcomes[0].Code != "clinical/invalid" || outcomes[1].Kind != Rejected || outcomes[1].Code != "identity/invalid" || outcomes[2].Kind != Created {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	if p.identity.held["Patient/p000"] != nil {
		t.Error("a whole resource lies in the identity store alone")
	}

	q := newPair(t)
	q.identity.before = func(w http.ResponseWriter, r *http.Request, n int64, entries []entry) bool {
		answer(w, http.StatusForbidden, `{}`)
		return true
	}
	batch := q.batch(t)
	outcomes, err = q.target.Send(t.Context(), batch)
	if !errors.Is(err, ErrUnauthorized) || outcomes[0].Kind != InDoubt || outcomes[2].Kind != Created {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	q.identity.before = nil
	outcomes, err = q.target.Resume(t.Context(), batch)
	if err != nil || !outcomes[0].Kind.Stored() || !outcomes[1].Kind.Stored() || len(q.identity.held) != 2 {
		t.Fatalf("after healing: %+v, %v", outcomes, err)
	}
	q.clinical.writtenOnce()
}

func TestSplitNeedsTwoServers(t *testing.T) {
	p := newPair(t)
	if _, err := NewSplit(p.clinical.target, p.clinical.target); err == nil {
		t.Error("one server for both parts")
	}
	if _, err := NewSplit(p.identity.target, p.clinical.target); err == nil {
		t.Error("whole resources to the clinical store")
	}
}

// TestSealedIsSentWithoutKeys: under delivery sealed the loader has no keys, and what was sent is recognised after a lost
// answer.
func TestSealedIsSentWithoutKeys(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Delivery, o.Opener = DeliverySealed, nil })
	batch := b.sealed(3)
	b.broken = func(n int64) bool { return n == 1 }
	outcomes, err := b.target.Send(t.Context(), batch)
	if k := kinds(outcomes); err != nil || k["created"]+k["updated"] != 3 {
		t.Fatalf("%v, %v", k, err)
	}
	b.writtenOnce()
	for _, s := range batch {
		clinical, err := fhir.Parse(s.Clinical())
		if err != nil {
			t.Fatal(err)
		}
		got := b.held["Patient/"+s.ID()]
		if strings.Contains(string(got.AppendCanonical(nil)), secretName) {
			t.Errorf("%s shows a name", s.ID())
		}
		if r, err := b.ring.Receive(s, clinical, got, true); err != nil || r.Fault != nil || !r.Proven {
			t.Errorf("%s: %v, %v, proven %t", s.ID(), err, r.Fault, r.Proven)
		}
	}
}
