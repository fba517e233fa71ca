package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/load/rest"
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

// Store is one server of a target, with what a run needs of it.
type Store interface {
	load.Store
	load.Sender
	load.Reader
	load.Lister
	load.Undoer
}

// Opened is what a run loads into: one store, or under delivery split two, the clinical one first. The clinical store gets
// the clinical part of every resource; the identity store the whole, of those from which something was taken out.
type Opened struct {
	Stores    []Store
	ServerIDs bool // some store gives resources ids of its own
}

// Identity names all stores.
func (t *Opened) Identity() string {
	var names []string
	for _, store := range t.Stores {
		names = append(names, store.Identity())
	}
	return strings.Join(names, " and ")
}

// OpenTarget makes the stores of the plan's delivery and asks what they can do. resolve finds the ids that the store of a
// name has given to our resources; it is asked only where a store gives ids of its own.
func (s *Session) OpenTarget(ctx context.Context, resolve func(store string) load.Resolve) (*Opened, error) {
	p := s.Plan
	if p.Clinical == nil {
		return nil, Usagef("%s: the plan has no targets.clinical", p.File)
	}
	var t Opened
	add := func(target *Target, delivery, name string) error {
		store, err := rest.New(rest.Options{
			Kind: target.Kind, URL: target.URL, Opener: s.Keys, Migration: p.Migration, Delivery: delivery, Resolve: resolve(name), ServerIDs: target.ServerIDs,
			TokenEnv: target.TokenEnv, TokenFile: target.TokenFile, BundleSize: target.Bundle, Parallel: target.Parallel, Logger: s.Log,
		})
		if err == nil {
			t.Stores = append(t.Stores, store)
		}
		return err
	}
	var err error
	switch p.PHI.Delivery {
	case DeliverIdentified:
		err = add(p.Clinical, load.DeliveryIdentified, "")
	case DeliverSealed:
		err = add(p.Clinical, load.DeliverySealed, "")
	case DeliverSplit:
		if p.Identity == nil {
			return nil, Usagef("%s: delivery split needs targets.identity for the whole resources", p.File)
		}
		if err = add(p.Clinical, load.DeliveryClinical, load.StoreClinical); err == nil {
			err = add(p.Identity, load.DeliveryIdentity, load.StoreIdentity)
		}
		if err == nil && t.Stores[0].Identity() == t.Stores[1].Identity() {
			err = Usagef("targets clinical and identity are both %s: delivery split keeps them apart", t.Stores[0].Identity())
		}
	default:
		return nil, Usagef("%s: delivery %q is not there yet", p.File, p.PHI.Delivery)
	}
	if err != nil {
		return nil, err
	}
	for _, store := range t.Stores {
		can, err := store.Preflight(ctx)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", store.Identity(), err)
		}
		t.ServerIDs = t.ServerIDs || slices.ContainsFunc(fhir.Resources(), can.ServerIDs)
	}
	return &t, nil
}
