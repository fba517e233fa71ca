package rest

import (
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// pair is delivery `split`: two servers by hand, under the keys of the first.
type pair struct{ clinical, identity *bench }

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{clinical: newBench(t, func(o *Options) { o.Delivery, o.Opener = load.DeliveryClinical, nil })}
	p.identity = newBench(t, func(o *Options) { o.Delivery, o.Opener = load.DeliveryIdentity, p.clinical.ring })
	return p
}

// batches are two patients, and an observation from which nothing is taken out, as far as each store holds them.
func (p *pair) batches(t *testing.T) (clinical, identity []phi.Sealed) {
	t.Helper()
	n, err := fhir.Parse([]byte(`{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.clinical.sealer.SealNode(&phi.Resource{Patient: "p"}, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(p.clinical.sealed(2), s) {
		if p.clinical.target.Holds(s) {
			clinical = append(clinical, s)
		}
		if p.identity.target.Holds(s) {
			identity = append(identity, s)
		}
	}
	return clinical, identity
}

func TestSplitSendsEachStoreItsForm(t *testing.T) {
	p := newPair(t)
	clinical, identity := p.batches(t)
	for _, store := range []struct {
		b     *bench
		batch []phi.Sealed
		name  string
	}{{p.clinical, clinical, load.StoreClinical}, {p.identity, identity, load.StoreIdentity}} {
		outcomes, err := store.b.target.Send(t.Context(), fresh(store.batch))
		if err != nil || kinds(outcomes)["created"] != len(store.batch) {
			t.Fatalf("%v, %v", kinds(outcomes), err)
		}
		if got := store.b.target.Name(); got != store.name {
			t.Errorf("a store is called %q, want %q", got, store.name)
		}
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
}

// Each of two stores is introduced to its own form, edited.
func TestIntroduceToBoth(t *testing.T) {
	p := newPair(t)
	clinical, identity := p.batches(t)
	for _, store := range []struct {
		b     *bench
		batch []phi.Sealed
		whole bool
	}{{p.clinical, clinical, false}, {p.identity, identity, true}} {
		outcomes, err := store.b.target.Introduce(t.Context(), introduced(store.batch))
		if err != nil || kinds(outcomes)["created"] != len(store.batch) {
			t.Fatalf("%v, %v", kinds(outcomes), err)
		}
		for name, n := range store.b.held {
			text := string(n.AppendCanonical(nil))
			if strings.Contains(text, "birthDate") || strings.Contains(text, secretName) != store.whole {
				t.Errorf("%s has not its first form", name)
			}
		}
	}
}

// TestSealedIsSentWithoutKeys: under delivery sealed the loader has no keys, and what was sent is recognised after a lost
// answer.
func TestSealedIsSentWithoutKeys(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Delivery, o.Opener = load.DeliverySealed, nil })
	batch := b.sealed(3)
	b.broken = func(n int64) bool { return n == 1 }
	outcomes, err := b.target.Send(t.Context(), fresh(batch))
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
