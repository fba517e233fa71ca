package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/chartlift/chartlift/pipeline/load"
)

// server is one store, with what a run needs of it.
type server interface {
	load.Store
	load.Sender
	load.Reader
	load.Lister
}

// target is what a run loads into: one store, or the two of delivery `split` with one outcome for both. The clinical
// store gets the clinical part of every resource; the identity store the whole, under the same id, of those from which
// something was taken out. A resource is loaded when every store that is to hold it took it.
type target struct{ stores []server }

// newSplit makes one target of the two stores of delivery `split`: one made with load.DeliveryClinical, one with
// load.DeliveryIdentity. They must be different servers, or nothing would be separated.
func newSplit(clinical, identity server) (*target, error) {
	if clinical.Identity() == identity.Identity() {
		return nil, fmt.Errorf("targets clinical and identity are both %s: delivery split keeps them apart", clinical.Identity())
	}
	if clinical.Delivery() != load.DeliveryClinical || identity.Delivery() != load.DeliveryIdentity {
		return nil, errors.New("delivery split needs one store for clinical parts and one for whole resources")
	}
	return &target{[]server{clinical, identity}}, nil
}

// Identity names all stores.
func (t *target) Identity() string {
	var names []string
	for _, store := range t.stores {
		names = append(names, store.Identity())
	}
	return strings.Join(names, " and ")
}

// Stores are the servers, the clinical one first.
func (t *target) Stores() []server { return t.stores }

// Preflight asks every store whether it can be used.
func (t *target) Preflight(ctx context.Context) error {
	for _, store := range t.stores {
		if _, err := store.Preflight(ctx); err != nil {
			return inStoreError(store, err)
		}
	}
	return nil
}

func inStoreError(store load.Store, err error) error {
	if store.Name() == "" {
		return err
	}
	return fmt.Errorf("%s: %w", store.Name(), err)
}

// Send delivers to every store; see [load.Sender].
func (t *target) Send(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.send(ctx, items, load.Sender.Send)
}

// Resume is Send for what may have arrived; see [load.Sender].
func (t *target) Resume(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.send(ctx, items, load.Sender.Resume)
}

// Introduce sends first forms to every store; see [load.Sender].
func (t *target) Introduce(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.send(ctx, items, load.Sender.Introduce)
}

// send delivers to the clinical store, and then to the identity store what the clinical store took: a whole resource is
// never left alone with nothing clinical to it.
func (t *target) send(ctx context.Context, items []load.Item, deliver func(load.Sender, context.Context, []load.Item) ([]load.Outcome, error)) ([]load.Outcome, error) {
	if len(t.stores) == 1 {
		return deliver(t.stores[0], ctx, items)
	}
	outcomes, err := deliver(t.stores[0], ctx, t.itemsFor(t.stores[0], items))
	if err != nil {
		// What the clinical store took and the identity store was not asked about yet is in doubt: the next run looks
		// at both.
		for i := range outcomes {
			if outcomes[i].Kind.Stored() && t.stores[1].Holds(items[i].Sealed) {
				outcomes[i] = load.Outcome{Type: outcomes[i].Type, Ours: outcomes[i].Ours, ID: outcomes[i].ID, Kind: load.InDoubt, Code: load.StoreIdentity + "/" + load.CodeLost}
			}
		}
		return outcomes, inStoreError(t.stores[0], err)
	}
	var rest []load.Item
	var places []int
	for i, it := range items {
		if outcomes[i].Kind.Stored() && t.stores[1].Holds(it.Sealed) {
			rest, places = append(rest, it), append(places, i)
		} else if outcomes[i].Code != "" {
			outcomes[i].Code = load.StoreClinical + "/" + outcomes[i].Code
		}
	}
	if len(rest) == 0 {
		return outcomes, nil
	}
	second, err := deliver(t.stores[1], ctx, t.itemsFor(t.stores[1], rest))
	for n, o := range second {
		outcomes[places[n]] = both(outcomes[places[n]], o)
	}
	if err != nil {
		err = inStoreError(t.stores[1], err)
	}
	return outcomes, err
}

// itemsFor are the items with the versions that belong to a store.
func (t *target) itemsFor(store server, items []load.Item) []load.Item {
	own := make([]load.Item, len(items))
	for i, it := range items {
		own[i] = it
		own[i].Version = versionAt(it.Version, store)
	}
	return own
}

// both is the one outcome of a resource that the clinical store took and the identity store answered about.
func both(clinical, identity load.Outcome) load.Outcome {
	out := clinical
	switch {
	case identity.Kind.Stored():
		out.Version = clinical.Version + versionSeparator + identity.Version
		if identity.Kind != clinical.Kind {
			out.Kind = load.Updated // new in one, replaced or known in the other
		}
		return out
	case identity.Kind == load.Pending:
		// Half of it was sent: to be looked for, not simply sent.
		identity.Kind = load.InDoubt
	}
	identity.Version = ""
	if identity.Code != "" {
		identity.Code = load.StoreIdentity + "/" + identity.Code
	}
	return identity
}

// versionSeparator stands in the version of an outcome between those of the two stores. No version id of FHIR has it.
const versionSeparator = "/"

// versionAt is the part of an outcome's version that belongs to a store.
func versionAt(version string, s load.Store) string {
	first, second, _ := strings.Cut(version, versionSeparator)
	if s.Name() == load.StoreIdentity {
		return second
	}
	return first
}

// List yields what the clinical store lists, and then what only the identity store has.
func (t *target) List(ctx context.Context, typ, tag string) iter.Seq2[load.Listed, error] {
	return func(yield func(load.Listed, error) bool) {
		seen := map[string]struct{}{}
		for i, store := range t.stores {
			for listed, err := range store.List(ctx, typ, tag) {
				if err != nil {
					yield(load.Listed{}, inStoreError(store, err))
					return
				}
				if _, twice := seen[listed.Ours]; twice {
					continue
				}
				if i < len(t.stores)-1 {
					seen[listed.Ours] = struct{}{}
				}
				if !yield(listed, nil) {
					return
				}
			}
		}
	}
}
