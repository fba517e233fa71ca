package load

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/chartlift/chartlift/pipeline/phi"
)

// splitTarget is the two servers of delivery `split` as one target. The clinical store gets the clinical part of every
// resource; the identity store the whole, under the same id, of those from which something was taken out. A resource is
// loaded when every store that is to hold it took it.
type splitTarget struct{ clinical, identity Target }

// NewSplit makes one target of the two stores of delivery `split`: one made with DeliveryClinical, one with
// DeliveryIdentity. They must be different servers, or nothing would be separated.
func NewSplit(clinical, identity Target) (Target, error) {
	if clinical.Identity() == identity.Identity() {
		return nil, fmt.Errorf("targets clinical and identity are both %s: delivery split keeps them apart", clinical.Identity())
	}
	c, i := clinical.Stores(), identity.Stores()
	if len(c) != 1 || c[0].Delivery() != DeliveryClinical || len(i) != 1 || i[0].Delivery() != DeliveryIdentity {
		return nil, errors.New("delivery split needs one store for clinical parts and one for whole resources")
	}
	return &splitTarget{clinical, identity}, nil
}

// Identity names both.
func (t *splitTarget) Identity() string {
	return t.clinical.Identity() + " and " + t.identity.Identity()
}

// Stores are the two servers, the clinical one first.
func (t *splitTarget) Stores() []Store {
	return append(t.clinical.Stores(), t.identity.Stores()...)
}

// Preflight asks both. What is answered is what the clinical store can do, with the notices of both.
func (t *splitTarget) Preflight(ctx context.Context) (Capabilities, error) {
	both, err := t.clinical.Preflight(ctx)
	if err != nil {
		return both, fmt.Errorf("%s: %w", StoreClinical, err)
	}
	other, err := t.identity.Preflight(ctx)
	if err != nil {
		return both, fmt.Errorf("%s: %w", StoreIdentity, err)
	}
	for _, notice := range other.Notices {
		both.Notices = append(both.Notices, StoreIdentity+": "+notice)
	}
	return both, nil
}

// Send delivers to both stores; see [Target].
func (t *splitTarget) Send(ctx context.Context, batch []phi.Sealed) ([]Outcome, error) {
	return t.send(ctx, batch, Target.Send)
}

// Resume is Send for what may have arrived; see [Target].
func (t *splitTarget) Resume(ctx context.Context, batch []phi.Sealed) ([]Outcome, error) {
	return t.send(ctx, batch, Target.Resume)
}

// Introduce sends first forms to both stores; see [Target].
func (t *splitTarget) Introduce(ctx context.Context, batch []phi.Sealed, edit Edit) ([]Outcome, error) {
	return t.send(ctx, batch, func(store Target, ctx context.Context, batch []phi.Sealed) ([]Outcome, error) {
		return store.Introduce(ctx, batch, edit)
	})
}

// send delivers to the clinical store, and then to the identity store what the clinical store took: a whole resource is
// never left alone with nothing clinical to it.
func (t *splitTarget) send(ctx context.Context, batch []phi.Sealed, deliver func(Target, context.Context, []phi.Sealed) ([]Outcome, error)) ([]Outcome, error) {
	outcomes, err := deliver(t.clinical, ctx, batch)
	if err != nil {
		// What the clinical store took and the identity store was not asked about yet is in doubt: the next run looks
		// at both.
		for i := range outcomes {
			if outcomes[i].Kind.Stored() && t.identityHolds(batch[i]) {
				outcomes[i] = Outcome{Type: outcomes[i].Type, ID: outcomes[i].ID, Kind: InDoubt, Code: StoreIdentity + "/" + CodeLost}
			}
		}
		return outcomes, fmt.Errorf("%s: %w", StoreClinical, err)
	}
	var rest []phi.Sealed
	var places []int
	for i, s := range batch {
		if outcomes[i].Kind.Stored() && t.identityHolds(s) {
			rest, places = append(rest, s), append(places, i)
		} else if outcomes[i].Code != "" {
			outcomes[i].Code = StoreClinical + "/" + outcomes[i].Code
		}
	}
	if len(rest) == 0 {
		return outcomes, nil
	}
	second, err := deliver(t.identity, ctx, rest)
	for n, o := range second {
		outcomes[places[n]] = both(outcomes[places[n]], o)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", StoreIdentity, err)
	}
	return outcomes, err
}

func (t *splitTarget) identityHolds(s phi.Sealed) bool { return t.identity.Stores()[0].Holds(s) }

// both is the one outcome of a resource that the clinical store took and the identity store answered about.
func both(clinical, identity Outcome) Outcome {
	out := clinical
	switch {
	case identity.Kind.Stored():
		out.Version = clinical.Version + versionSeparator + identity.Version
		if identity.Kind != clinical.Kind {
			out.Kind = Updated // new in one, replaced or known in the other
		}
		return out
	case identity.Kind == Pending:
		// Half of it was sent: to be looked for, not simply sent.
		identity.Kind = InDoubt
	}
	identity.Version = ""
	if identity.Code != "" {
		identity.Code = StoreIdentity + "/" + identity.Code
	}
	return identity
}

// versionSeparator stands in the version of an outcome between those of the two stores. No version id of FHIR has it.
const versionSeparator = "/"

// VersionAt is the part of an outcome's version that belongs to a store.
func VersionAt(version string, s Store) string {
	first, second, _ := strings.Cut(version, versionSeparator)
	if s.Name() == StoreIdentity {
		return second
	}
	return first
}

// Read reads from the clinical store, which holds every resource; see [Target]. Who compares reads from both stores.
func (t *splitTarget) Read(ctx context.Context, typ string, ids []string) ([]Found, error) {
	return t.clinical.Read(ctx, typ, ids)
}

// Version reads from the history of the clinical store.
func (t *splitTarget) Version(ctx context.Context, typ, id, version string) (Found, error) {
	first, _, _ := strings.Cut(version, versionSeparator)
	return t.clinical.Version(ctx, typ, id, first)
}

// List yields the ids of the clinical store, and then those that only the identity store has.
func (t *splitTarget) List(ctx context.Context, typ, tag string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := map[digest16]struct{}{}
		for _, store := range t.Stores() {
			for id, err := range store.List(ctx, typ, tag) {
				if err != nil {
					yield("", fmt.Errorf("%s: %w", store.Name(), err))
					return
				}
				d := digestOf(id)
				if _, twice := seen[d]; twice {
					continue
				}
				seen[d] = struct{}{}
				if !yield(id, nil) {
					return
				}
			}
		}
	}
}
