package pipeline

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/load"
)

// The deliveries of a plan: which parts of a resource leave, and where to.
const (
	deliverIdentified   = "identified"   // whole resources
	deliverSealed       = "sealed"       // clinical parts that carry the encrypted part in an extension
	deliverSplit        = "split"        // clinical parts to one server, whole resources to another
	deliverDeidentified = "deidentified" // clinical parts alone, under other ids
)

// openTarget makes the target of the plan's delivery and asks what it can do.
func (s *Session) openTarget(ctx context.Context) (load.Target, error) {
	if s.Plan.Clinical == nil {
		return nil, usagef("%s: the plan has no targets.clinical", s.Plan.File)
	}
	var target load.Target
	var err error
	switch s.Plan.PHI.Delivery {
	case deliverIdentified:
		target, err = s.store(s.Plan.Clinical, load.DeliveryIdentified)
	case deliverSealed:
		target, err = s.store(s.Plan.Clinical, load.DeliverySealed)
	case deliverSplit:
		if s.Plan.Identity == nil {
			return nil, usagef("%s: delivery split needs targets.identity for the whole resources", s.Plan.File)
		}
		var clinical, identity load.Target
		if clinical, err = s.store(s.Plan.Clinical, load.DeliveryClinical); err != nil {
			return nil, err
		}
		if identity, err = s.store(s.Plan.Identity, load.DeliveryIdentity); err != nil {
			return nil, err
		}
		if target, err = load.NewSplit(clinical, identity); err != nil {
			err = usageError{err}
		}
	default:
		return nil, usagef("%s: delivery %q is not there yet", s.Plan.File, s.Plan.PHI.Delivery)
	}
	if err != nil {
		return nil, err
	}
	if _, err := target.Preflight(ctx); err != nil {
		return nil, fmt.Errorf("target %s: %w", target.Identity(), err)
	}
	return target, nil
}

// store makes one server of the plan, which gets resources in the form that delivery says.
func (s *Session) store(t *TargetPlan, delivery string) (load.Target, error) {
	return load.New(load.Options{
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
