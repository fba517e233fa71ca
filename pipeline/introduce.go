package pipeline

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
	late   map[int]map[string]bool // the ids of late references, by position
	items  []load.Item
	places []int
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

// postpone leaves a resource to be sent whole when its batch ends, and introduces it.
func (s *sending) postpone(ctx context.Context, position int, item load.Item) error {
	s.begin.items = append(s.begin.items, item)
	s.begin.places = append(s.begin.places, position)
	delete(s.known, position) // what an earlier process knew of it says nothing about its first form
	if len(s.begin.items) < sendResources {
		return nil
	}
	return s.introduce(ctx)
}

// first makes the first form of what has late references; nil for what has none.
func (n *introduction) first(position int) load.Edit {
	ids := n.late[position]
	if ids == nil {
		return nil
	}
	return func(_ phi.Sealed, form []byte) ([]byte, error) { return withoutLate(form, ids) }
}

// errWhole says that a resource cannot do without its late references, which the compiler has ruled out.
var errWhole = errors.New("a resource is nothing without its late references")

// introduce sends the first forms of what has gathered.
func (s *sending) introduce(ctx context.Context) error {
	n := &s.begin
	if len(n.items) == 0 {
		return nil
	}
	outcomes, err := s.target.Introduce(ctx, n.items)
	for i, o := range outcomes {
		if !o.There() {
			s.lost = append(s.lost, s.ids[n.places[i]])
		}
	}
	n.items, n.places = n.items[:0], n.places[:0]
	return err
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
