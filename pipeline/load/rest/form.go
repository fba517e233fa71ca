package rest

import (
	"fmt"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// forms are those in which one server is sent resources, under its ids. Safe for concurrent use.
type forms struct {
	delivery  string
	opener    load.Opener
	resolve   load.Resolve
	serverIDs bool                 // of every type, whatever the server says
	ways      atomic.Pointer[ways] // what a preflight found; nil before
}

// ways is what a preflight found out about types of resources.
type ways struct {
	given       map[string]bool // new ones get ids of the server's own
	any         bool            // some type's do
	conditional map[string]bool // the server creates under a condition
}

// waysOf reads them from what the server says of itself.
func waysOf(c *load.Capabilities) *ways {
	w := &ways{given: map[string]bool{}, conditional: map[string]bool{}}
	for i := range c.Resources {
		r := &c.Resources[i]
		given := r.UpdateCreate != nil && !*r.UpdateCreate
		w.given[r.Type], w.conditional[r.Type] = given, r.ConditionalCreate
		w.any = w.any || given
	}
	return w
}

// givesIDs tells whether the server gives new resources of the type ids of its own.
func (t *forms) givesIDs(typ string) bool {
	w := t.ways.Load()
	return t.serverIDs || t.resolve != nil && w != nil && w.given[typ]
}

// rewrites tells whether resources of any type have ids of the server's own, so that references are to be rewritten.
func (t *forms) rewrites() bool {
	w := t.ways.Load()
	return t.serverIDs || t.resolve != nil && w != nil && w.any
}

// conditional tells whether the server creates under a condition.
func (t *forms) conditional(typ string) bool {
	w := t.ways.Load()
	return w != nil && w.conditional[typ]
}

// creates tells whether an item is still to be given an id by the server.
func (t *forms) creates(it load.Item) bool {
	return it.ID == "" && it.Version == "" && t.givesIDs(it.Sealed.Type())
}

// unresolved is a form that cannot be sent.
type unresolved struct{ path string }

// Error says why, and nothing of the form.
func (u *unresolved) Error() string { return load.ErrUnresolved.Error() }

// Is makes it an ErrUnresolved.
func (u *unresolved) Is(err error) bool { return err == load.ErrUnresolved }

// append appends what the server is sent of a resource as an edit leaves it; nil: whole.
func (t *forms) append(it load.Item, edit load.Edit, dst []byte) ([]byte, error) {
	start := len(dst)
	dst, err := t.delivered(it.Sealed, dst)
	if err != nil {
		return nil, err
	}
	text := dst[start:]
	if edit != nil {
		if text, err = edit(it.Sealed, text); err != nil {
			return nil, err
		}
	}
	if !t.rewrites() {
		return append(dst[:start], text...), nil
	}
	n, err := fhir.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("as sealed: %w", err)
	}
	if path, ok := load.RewriteReferences(n, t.resolve); !ok {
		return nil, &unresolved{path}
	}
	if ours := it.Sealed.ID(); t.creates(it) || it.ID != "" && it.ID != ours {
		load.SetID(n, ours, it.ID)
	}
	return n.AppendCanonical(dst[:start]), nil
}

// delivered appends the parts of a resource that the delivery lets out, by our ids.
func (t *forms) delivered(s phi.Sealed, dst []byte) ([]byte, error) {
	switch t.delivery {
	case load.DeliverySealed:
		return phi.AppendWire(dst, s)
	case load.DeliveryClinical:
		return append(dst, s.Clinical()...), nil
	}
	return t.opener.Whole(s, dst)
}

// ours turns what the server holds back to our ids. A reference to something that the resource as sent does not refer to
// stays as it is.
func (t *forms) ours(it load.Item, got *fhir.Node) (*fhir.Node, error) {
	if !t.rewrites() {
		return got, nil
	}
	form, err := t.delivered(it.Sealed, nil)
	if err != nil {
		return nil, err
	}
	sent, err := fhir.Parse(form)
	if err != nil {
		return nil, fmt.Errorf("as sealed: %w", err)
	}
	back := map[key]string{}
	load.RewriteReferences(sent, func(typ, ours string) (string, bool) {
		if id, ok := t.resolve(typ, ours); ok {
			back[key{typ, id}] = ours
		}
		return ours, true
	})
	n := got.Clone()
	load.RewriteReferences(n, func(typ, id string) (string, bool) {
		if ours, ok := back[key{typ, id}]; ok {
			return ours, true
		}
		return id, true
	})
	if ours := it.Sealed.ID(); it.ID != "" && it.ID != ours {
		load.ResetID(n, ours)
	}
	return n, nil
}
