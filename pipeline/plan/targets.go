package plan

import (
	"context"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/load"
)

// The deliveries of a plan: which parts of a resource leave, and where to.
const (
	DeliverIdentified   = "identified"   // whole resources
	DeliverSealed       = "sealed"       // clinical parts that carry the encrypted part in an extension
	DeliverSplit        = "split"        // clinical parts to one server, whole resources to another
	DeliverDeidentified = "deidentified" // clinical parts alone, under other ids
)

// Separates tells whether the delivery leaves patient data in the target that only our keys can open, or apart from
// what it belongs to.
func (p *Plan) Separates() bool {
	return p.PHI.Delivery == DeliverSealed || p.PHI.Delivery == DeliverSplit
}

// OpenTarget makes the target of the plan's delivery and asks what it can do.
func (s *Session) OpenTarget(ctx context.Context) (load.Target, error) {
	if s.Plan.Clinical == nil {
		return nil, Usagef("%s: the plan has no targets.clinical", s.Plan.File)
	}
	var target load.Target
	var err error
	switch s.Plan.PHI.Delivery {
	case DeliverIdentified:
		target, err = s.store(s.Plan.Clinical, load.DeliveryIdentified)
	case DeliverSealed:
		target, err = s.store(s.Plan.Clinical, load.DeliverySealed)
	case DeliverSplit:
		if s.Plan.Identity == nil {
			return nil, Usagef("%s: delivery split needs targets.identity for the whole resources", s.Plan.File)
		}
		var clinical, identity load.Target
		if clinical, err = s.store(s.Plan.Clinical, load.DeliveryClinical); err != nil {
			return nil, err
		}
		if identity, err = s.store(s.Plan.Identity, load.DeliveryIdentity); err != nil {
			return nil, err
		}
		if target, err = load.NewSplit(clinical, identity); err != nil {
			err = Usage(err)
		}
	default:
		return nil, Usagef("%s: delivery %q is not there yet", s.Plan.File, s.Plan.PHI.Delivery)
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
func (s *Session) store(t *Target, delivery string) (load.Target, error) {
	return load.New(load.Options{
		Kind: t.Kind, URL: t.URL, Opener: s.Keys, Migration: s.Plan.Migration, Delivery: delivery,
		TokenEnv: t.TokenEnv, TokenFile: t.TokenFile, BundleSize: t.Bundle, Parallel: t.Parallel, Logger: s.Log,
	})
}
