package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// restTarget is the plain R4 protocol: PUT by our own ids in batch Bundles at the base URL (http.html#transaction), GET
// by id in batch Bundles, search by tag. Repeating a PUT of the same bytes changes nothing but the version, which is
// what makes every retry safe.
type restTarget struct {
	*connection
	opener      Opener
	delivery    string
	bundleSize  int
	bundleBytes int
	parallel    int
	attempts    int
	migration   string
	bodies      sync.Pool // *body

	sandbox   bool        // its metadata must say that it is one
	confirmed atomic.Bool // it did
	singles   atomic.Bool // the target does not read in batches
}

// newFHIR makes a target of kind fhir.
func newFHIR(o Options) (*restTarget, error) {
	switch o.Delivery {
	case DeliverySealed, DeliveryClinical:
	case DeliveryIdentified, DeliveryIdentity:
		if o.Opener == nil {
			return nil, errors.New("target: no opener for sealed resources")
		}
	default:
		return nil, fmt.Errorf("target: delivery %q is not one this target knows (identified, sealed, clinical, identity)", o.Delivery)
	}
	o = withDefaults(o)
	connection, err := newConnection(o)
	if err != nil {
		return nil, err
	}
	return &restTarget{connection: connection, opener: o.Opener, delivery: o.Delivery, bundleSize: o.BundleSize, bundleBytes: o.BundleBytes,
		parallel: o.Parallel, attempts: o.Attempts, migration: o.Migration, bodies: sync.Pool{New: func() any { return new(body) }}}, nil
}

// newSandbox makes a target of kind sandbox: the same protocol, to a server that must say that it is ours before
// anything is sent.
func newSandbox(o Options) (*restTarget, error) {
	t, err := newFHIR(o)
	if err != nil {
		return nil, err
	}
	t.sandbox = true
	return t, nil
}

func withDefaults(o Options) Options {
	set(&o.BundleSize, 500)
	set(&o.BundleBytes, 16<<20)
	set(&o.ResponseBytes, 256<<20)
	set(&o.Parallel, 8)
	set(&o.Attempts, 3)
	set(&o.Timeout, 3*time.Minute)
	set(&o.Patience, 10*time.Minute)
	set(&o.MaxWait, time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = timer
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// set gives a setting its default where it is zero or makes no sense.
func set[T int | int64 | time.Duration](setting *T, usual T) {
	if *setting <= 0 {
		*setting = usual
	}
}

// Identity is the base URL in normal form.
func (t *restTarget) Identity() string { return t.base.String() }

// Stores is the one server there is.
func (t *restTarget) Stores() []Store { return []Store{t} }

// Name tells the two stores of delivery `split` apart.
func (t *restTarget) Name() string {
	switch t.delivery {
	case DeliveryClinical:
		return StoreClinical
	case DeliveryIdentity:
		return StoreIdentity
	}
	return ""
}

// Delivery is the form in which this server gets resources.
func (t *restTarget) Delivery() string { return t.delivery }

// Holds tells whether this server gets the resource at all.
func (t *restTarget) Holds(s phi.Sealed) bool { return t.delivery != DeliveryIdentity || s.Marked() }

// Form appends what this server is sent of a resource.
func (t *restTarget) Form(s phi.Sealed, dst []byte) ([]byte, error) {
	switch t.delivery {
	case DeliverySealed:
		return phi.AppendWire(dst, s)
	case DeliveryClinical:
		return append(dst, s.Clinical()...), nil
	}
	return t.opener.Whole(s, dst)
}

// address is the base URL with a path below it. Types and ids are checked by their callers to need no escaping.
func (t *restTarget) address(elem ...string) string {
	text := t.base.String()
	for _, e := range elem {
		text += "/" + e
	}
	return text
}

// addressable tells whether type and id can stand in a URL as they are.
func addressable(typ, id string) bool {
	r := fhir.Lookup(typ)
	return r != nil && r.Kind == fhir.KindResource && fhir.ValidID(id)
}
