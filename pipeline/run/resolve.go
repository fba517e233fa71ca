package run

import (
	"sync"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// resolver finds the ids that stores have given to our resources: in the state, which is brought up to date before what
// refers to a level is sent, and among what was introduced and is in no state yet. It may be used concurrently.
type resolver struct {
	state atomic.Pointer[state.State]

	mu         sync.Mutex
	introduced map[introducedID]string
}

type introducedID struct {
	store string
	id    stage.ID
}

// of resolves for the store of a name.
func (r *resolver) of(store string) load.Resolve {
	return func(typ, ours string) (string, bool) {
		id, ok := mapping.ParseID(ours)
		if !ok {
			return "", false
		}
		if s := r.state.Load(); s != nil {
			// What cannot be read is not resolved: it is held back, and the next to read the state says what is wrong.
			if p, there, err := s.Lookup(typ, stage.ID(id), store); err == nil && there && surely(p) {
				if p.Server == "" {
					return ours, true
				}
				return p.Server, true
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		server, ok := r.introduced[introducedID{store, stage.ID(id)}]
		return server, ok
	}
}

// introduce keeps the id that a store has given to a resource that was introduced.
func (r *resolver) introduce(store string, id stage.ID, server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.introduced == nil {
		r.introduced = map[introducedID]string{}
	}
	r.introduced[introducedID{store, id}] = server
}

// surely tells whether a resource of ours is in the store for all we know: one that is in doubt is there only if an earlier
// version of it was.
func surely(p state.Placement) bool {
	return p.Status.There() && (p.Status != state.InDoubt || p.Version != "")
}
