package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/load/rest"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/reconcile"
)

// The deliveries of a plan: which parts of a resource leave, and where to.
const (
	deliverIdentified   = "identified"   // whole resources
	deliverSealed       = "sealed"       // clinical parts that carry the encrypted part in an extension
	deliverSplit        = "split"        // clinical parts to one server, whole resources to another
	deliverDeidentified = "deidentified" // clinical parts alone, under other ids
)

// openTarget makes the target of the plan's delivery and asks what it can do.
func (s *Session) openTarget(ctx context.Context) (*target, error) {
	if s.Plan.Clinical == nil {
		return nil, usagef("%s: the plan has no targets.clinical", s.Plan.File)
	}
	var one server
	var t *target
	var err error
	switch s.Plan.PHI.Delivery {
	case deliverIdentified:
		one, err = s.store(s.Plan.Clinical, load.DeliveryIdentified)
	case deliverSealed:
		one, err = s.store(s.Plan.Clinical, load.DeliverySealed)
	case deliverSplit:
		if s.Plan.Identity == nil {
			return nil, usagef("%s: delivery split needs targets.identity for the whole resources", s.Plan.File)
		}
		var clinical, identity server
		if clinical, err = s.store(s.Plan.Clinical, load.DeliveryClinical); err != nil {
			return nil, err
		}
		if identity, err = s.store(s.Plan.Identity, load.DeliveryIdentity); err != nil {
			return nil, err
		}
		if t, err = newSplit(clinical, identity); err != nil {
			err = usageError{err}
		}
	default:
		return nil, usagef("%s: delivery %q is not there yet", s.Plan.File, s.Plan.PHI.Delivery)
	}
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = &target{[]server{one}}
	}
	if err := t.Preflight(ctx); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Identity(), err)
	}
	return t, nil
}

// store makes one server of the plan, which gets resources in the form that delivery says.
func (s *Session) store(t *TargetPlan, delivery string) (server, error) {
	return rest.New(rest.Options{
		Kind: t.Kind, URL: t.URL, Opener: s.keys, Migration: s.Plan.Migration, Delivery: delivery,
		TokenEnv: t.TokenEnv, TokenFile: t.TokenFile, BundleSize: t.Bundle, Parallel: t.Parallel, Logger: s.log,
	})
}

// formDigest is what the state of a target holds of a resource: the digest of its content, and what was made of it. A
// resource that a run would send in another form than the one that is there (after a change of delivery, or of the
// policy that says what the clinical part shows) is not unchanged, although its content is. Whole resources have one
// form whatever the policy.
func formDigest(pins map[string]string, digest [16]byte) [16]byte {
	if pins["delivery"] == deliverIdentified {
		return digest
	}
	form := sha256.Sum256([]byte(pins["delivery"] + "\x00" + pins["policy"]))
	for i := range digest {
		digest[i] ^= form[i]
	}
	return digest
}

// verdict is what reading a resource back from one store, or from all, has shown. The greater outweighs the lesser:
// damage in one store is damage, and what was not compared in one is no match.
type verdict uint8

const (
	matched verdict = iota + 1 // the zero value is no verdict: no store was asked
	editedSince
	notCompared
	different
	missing
)

func (v verdict) count(c *ledger.VerifiedCount) {
	switch v {
	case matched:
		c.Matched++
	case editedSince:
		c.EditedSince++
	case different:
		c.Different++
	case missing:
		c.Missing++
	default:
		c.NotCompared++
	}
}

// inStore says in a discrepancy's path which of two stores it was found in.
func inStore(store load.Store, path string) string {
	switch {
	case store.Name() == "":
		return path
	case path == "":
		return store.Name()
	}
	return store.Name() + ": " + path
}

// judge compares what one store holds with what it was sent.
func (c *checking) judge(store load.Store, sealed phi.Sealed, o outcome, f load.Found) (verdict, error) {
	switch f.Status {
	case load.Missing, load.Gone:
		c.note(ledger.Missing, sealed, inStore(store, ""), f.Status.String())
		return missing, nil
	case load.Present:
	default:
		return notCompared, nil
	}
	got, err := fhir.Parse(f.Body)
	if err != nil {
		return notCompared, nil
	}
	var differences []reconcile.Difference
	fault := ""
	if store.Delivery() == load.DeliverySealed {
		differences, fault, err = c.compareSealed(store, sealed, o, got)
	} else {
		differences, err = c.compareForm(store, sealed, got)
	}
	switch {
	case err != nil:
		return 0, err
	case fault != "":
		c.note(ledger.Different, sealed, inStore(store, sealed.Type()+".extension"), fault)
	case len(differences) == 0:
		return matched, nil
	case c.editedSince(store, o, f, got):
		c.note(ledger.EditedSince, sealed, inStore(store, ""), "version "+safeVersion(f.Version))
		return editedSince, nil
	}
	for _, d := range differences[:min(len(differences), mostDifferences)] {
		c.note(ledger.Different, sealed, inStore(store, d.Path), d.Kind)
	}
	return different, nil
}

// compareForm compares with the form in which the store got the resource.
func (c *checking) compareForm(store load.Store, sealed phi.Sealed, got *fhir.Node) ([]reconcile.Difference, error) {
	form, err := store.Form(load.Item{Sealed: sealed}, nil)
	if err != nil {
		return nil, err
	}
	sent, err := fhir.Parse(form)
	if err != nil {
		return nil, fmt.Errorf("%s: a staged resource is not JSON: %w", sealed.Place(), err)
	}
	return reconcile.Compare(sent, got, store.Identity()).Differences, nil
}

// compareSealed takes apart what came back: the clinical part is compared with the one that was sent, the encrypted part
// must be the one that was sent, and both together must make the resource that was sealed. fault is what is wrong with
// the encrypted part, in a word.
func (c *checking) compareSealed(store load.Store, sealed phi.Sealed, o outcome, got *fhir.Node) (list []reconcile.Difference, fault string, err error) {
	sent, err := fhir.Parse(sealed.Clinical())
	if err != nil {
		return nil, "", fmt.Errorf("%s: a staged resource is not JSON: %w", sealed.Place(), err)
	}
	// What an earlier run sent has the ciphertext of that run; the same content was sealed anew for this one.
	exact := o.kind == load.Created || o.kind == load.Updated
	received, err := c.keys.Receive(sealed, sent, got, exact)
	if err != nil {
		return nil, "", err
	}
	list = reconcile.Compare(sent, received.Clinical, store.Identity()).Differences
	switch {
	case received.Fault != nil:
		return list, sealedFault(received.Fault), nil
	case received.Proven, len(list) > 0:
		return list, "", nil
	case received.Whole == nil:
		return nil, faultNotJoined, nil
	}
	// The content is not the same to the byte. What the server wrote in another form is no difference.
	whole, err := c.keys.Whole(sealed, nil)
	if err != nil {
		return nil, "", err
	}
	all, err := fhir.Parse(whole)
	if err != nil {
		return nil, "", fmt.Errorf("%s: a staged resource is not JSON: %w", sealed.Place(), err)
	}
	return reconcile.Compare(all, received.Whole, store.Identity()).Differences, "", nil
}

// What is wrong with the encrypted part of a resource in a server, as codes of a discrepancy.
const (
	faultLost      = "ciphertext-lost"
	faultTwice     = "ciphertext-twice"
	faultDamaged   = "ciphertext-damaged"
	faultWrongKey  = "wrong-key"
	faultStale     = "stale-digest"
	faultForeign   = "foreign-ciphertext"
	faultResealed  = "other-ciphertext"
	faultNotJoined = "not-joined"
)

func sealedFault(err error) string {
	for _, f := range []struct {
		err  error
		code string
	}{
		{phi.ErrLost, faultLost}, {phi.ErrTwice, faultTwice}, {phi.ErrEnvelope, faultDamaged}, {phi.ErrOtherKey, faultWrongKey},
		{phi.ErrStale, faultStale}, {phi.ErrNotAuthentic, faultForeign}, {phi.ErrResealed, faultResealed},
	} {
		if errors.Is(err, f.err) {
			return f.code
		}
	}
	return faultDamaged
}
