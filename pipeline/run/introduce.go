package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Where mappings refer to each other in a circle, a resource is introduced first: what the target does not have yet is
// sent without the references whose targets come later, so that these can refer to it. It has no outcome before it has
// been sent whole, as the batch holds it; a run that is cut off in between introduces what is missing, and goes on.

// introduction is what a batch introduces.
type introduction struct {
	late  map[int]map[string]bool // the ids of late references, by position
	items [mostStores][]load.Item
	at    [mostStores][]int // positions of items
}

// note keeps an entry's late references.
func (n *introduction) note(e *stage.Entry) {
	for _, ref := range e.Refs {
		if !ref.Late {
			continue
		}
		if n.late == nil {
			n.late = map[int]map[string]bool{}
		}
		if n.late[e.Position] == nil {
			n.late[e.Position] = map[string]bool{}
		}
		n.late[e.Position][mapping.ID(ref.ID).String()] = true
	}
}

// first makes the first form of what has late references; nil for what has none.
func (n *introduction) first(position int) load.Edit {
	ids := n.late[position]
	if ids == nil {
		return nil
	}
	return func(_ phi.Sealed, form []byte) ([]byte, error) { return withoutLate(form, ids) }
}

// add leaves a resource to be sent whole when its batch ends, and gathers it to be introduced.
func (n *introduction) add(store, position int, it load.Item) {
	n.items[store], n.at[store] = append(n.items[store], it), append(n.at[store], position)
}

// full tells whether so much is gathered that it should be sent.
func (n *introduction) full() bool { return len(n.items[0]) >= sendResources }

// errWhole says that a resource cannot do without its late references, which the compiler has ruled out.
var errWhole = errors.New("a resource is nothing without its late references")

// introduce sends the first forms of what has gathered.
func (s *sending) introduce(ctx context.Context) error {
	n := &s.begin
	for i, store := range s.loading.stores {
		if len(n.items[i]) == 0 {
			continue
		}
		outcomes, err := store.Introduce(ctx, n.items[i])
		for k, o := range outcomes {
			id := s.ids[n.at[i][k]]
			if !o.There() {
				s.lost = append(s.lost, id)
			} else if o.ID != o.Ours {
				s.loading.resolver.introduce(store.Name(), id, o.ID)
			}
		}
		if err != nil {
			return err
		}
		n.items[i], n.at[i] = n.items[i][:0], n.at[i][:0]
	}
	return nil
}

// withoutLate is a resource's JSON without the references to some ids, and without what requires one of them.
func withoutLate(form []byte, ids map[string]bool) ([]byte, error) {
	node, err := fhir.Parse(form)
	if err != nil {
		return nil, fmt.Errorf("a staged resource is not JSON: %w", err)
	}
	d := dropper{ids: ids, around: true}
	first := d.object(node, fhir.Lookup(node.ResourceType()), node.ResourceType())
	if first == nil {
		return nil, errWhole
	}
	return first.AppendCanonical(nil), nil
}
