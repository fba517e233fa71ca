// Package rest loads into servers that speak plain R4 REST: the kinds `fhir` (HAPI FHIR and others) and `sandbox`.
//
// Resources go in batch Bundles to the base URL (http.html#transaction): by PUT under our own ids where the server lets
// us choose them, so that a repetition changes nothing but the version; else by POST, under a condition on a tag that
// names our id, and from then on by PUT to the id that the server gave. Whatever is written over something carries
// If-Match. Reading goes by GET in batches, listing by a search for the migration's tag.
//
// A [Store] is made of types of one subject each: the connection, with requests and their deadlines, in exchange.go; the
// forms of resources in form.go; the sender in send.go, with the judging of answers in bundle.go and what a look at the
// server means in look.go; the reader in read.go, the lister in list.go, the undoer in undo.go, the marker in marker.go.
package rest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Options configure a store. Zero values mean the defaults named with each field.
type Options struct {
	Kind      string      // load.KindFHIR or load.KindSandbox
	URL       string      // base URL, http or https, without user, query or fragment
	Opener    load.Opener // may be nil where no whole resource is sent
	Migration string
	Delivery  string // one of the Delivery constants, which must be said

	// Resolve finds the server's ids of our resources where it gives ids of its own. Without it ids are ours, whatever the
	// server says of itself.
	Resolve   load.Resolve
	ServerIDs bool // the server gives ids of its own, whatever it says of itself

	TokenEnv  string // environment variable that holds a bearer token; read when first needed and again after a 401
	TokenFile string // file that holds one

	Client *http.Client // nil: one with deadlines on every phase. Its redirect policy is replaced by ours

	BundleSize    int           // entries in a Bundle; 500, which is also Azure's limit
	BundleBytes   int           // bytes of a Bundle, unless one resource alone is larger; 16 MiB
	ResponseBytes int64         // greatest answer, after decompression; 256 MiB
	Parallel      int           // most requests at once; 8. The pace finds the number that the target bears
	Attempts      int           // how often a request that failed is repeated before its bundle is halved; 3
	Timeout       time.Duration // of one request, from dialling to the last byte; 3 minutes
	Patience      time.Duration // how long a target that fails altogether is waited for; 10 minutes
	MaxWait       time.Duration // longest Retry-After that is obeyed in full; 1 minute

	Now    func() time.Time                                 // nil: time.Now
	Wait   func(ctx context.Context, d time.Duration) error // nil: a timer. Returns ctx's error if that comes first
	Random func() float64                                   // jitter in [0,1); nil: math/rand/v2

	Logger *zap.Logger // nil: none. Statuses, counts and durations only
}

// Store is one server. It is a [load.Store], [load.Sender], [load.Reader], [load.History], [load.Lister] and
// [load.Undoer].
type Store struct {
	conn      *connection
	forms     *forms
	preflight *preflight
	marker    *marker
	sender    *sender
	reader    *reader
	lister    *lister
	undoer    *undoer
}

var _ interface {
	load.Store
	load.Sender
	load.Reader
	load.History
	load.Lister
	load.Undoer
} = (*Store)(nil)

// New makes a store of the kind that the options name. It does not reach out: [Store.Preflight] does.
func New(o Options) (*Store, error) {
	switch o.Kind {
	case load.KindFHIR, load.KindSandbox:
	case "":
		return nil, errors.New("target: no kind given")
	default:
		return nil, fmt.Errorf("target: unknown kind %q (fhir or sandbox)", o.Kind)
	}
	switch o.Delivery {
	case load.DeliverySealed, load.DeliveryClinical:
	case load.DeliveryIdentified, load.DeliveryIdentity:
		if o.Opener == nil {
			return nil, errors.New("target: no opener for sealed resources")
		}
	default:
		return nil, fmt.Errorf("target: delivery %q is not one this target knows (identified, sealed, clinical, identity)", o.Delivery)
	}
	if o.ServerIDs && o.Resolve == nil {
		return nil, errors.New("target: ids are the server's, and nothing tells which they are")
	}
	o = withDefaults(o)
	conn, err := newConnection(o)
	if err != nil {
		return nil, err
	}
	forms := &forms{delivery: o.Delivery, opener: o.Opener, resolve: o.Resolve, serverIDs: o.ServerIDs}
	preflight := &preflight{conn: conn, forms: forms, sandbox: o.Kind == load.KindSandbox}
	reader := &reader{conn: conn}
	return &Store{conn: conn, forms: forms, preflight: preflight, reader: reader,
		marker: &marker{conn, forms, preflight, o.Migration}, lister: &lister{conn, forms}, undoer: &undoer{conn, preflight, reader},
		sender: &sender{conn: conn, forms: forms, preflight: preflight, reader: reader, bundleSize: o.BundleSize,
			bundleBytes: o.BundleBytes, bodies: sync.Pool{New: func() any { return new(body) }}}}, nil
}

func withDefaults(o Options) Options {
	set(&o.BundleSize, 500)
	set(&o.BundleBytes, 16<<20)
	set(&o.ResponseBytes, 256<<20)
	set(&o.Parallel, 8)
	set(&o.Attempts, 3)
	set(&o.Timeout, 3*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
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
func (t *Store) Identity() string { return t.conn.base.String() }

// Name tells the two stores of delivery `split` apart.
func (t *Store) Name() string {
	switch t.forms.delivery {
	case load.DeliveryClinical:
		return load.StoreClinical
	case load.DeliveryIdentity:
		return load.StoreIdentity
	}
	return ""
}

// Delivery is the form in which this server gets resources.
func (t *Store) Delivery() string { return t.forms.delivery }

// Holds tells whether this server gets the resource at all.
func (t *Store) Holds(s phi.Sealed) bool {
	return t.forms.delivery != load.DeliveryIdentity || s.Marked()
}

// Form appends what this server is sent of a resource; see [load.Store].
func (t *Store) Form(it load.Item, dst []byte) ([]byte, error) { return t.forms.append(it, nil, dst) }

// Ours turns what the server holds back to our ids; see [load.Store].
func (t *Store) Ours(it load.Item, got *fhir.Node) (*fhir.Node, error) { return t.forms.ours(it, got) }

// Preflight reads the CapabilityStatement; see [load.Store].
func (t *Store) Preflight(ctx context.Context) (load.Capabilities, error) {
	return t.preflight.ask(ctx)
}

// Marker reads the marker of Options.Migration; see [load.Store].
func (t *Store) Marker(ctx context.Context) (load.Marker, bool, error) { return t.marker.read(ctx) }

// SetMarker writes the marker; see [load.Store].
func (t *Store) SetMarker(ctx context.Context, m load.Marker) error { return t.marker.write(ctx, m) }

// Send delivers the resources; see [load.Sender].
func (t *Store) Send(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.sender.send(ctx, items, false, false)
}

// Resume delivers resources that may be there already; see [load.Sender].
func (t *Store) Resume(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.sender.send(ctx, items, true, false)
}

// Introduce sends a first form of what is missing; see [load.Sender].
func (t *Store) Introduce(ctx context.Context, items []load.Item) ([]load.Outcome, error) {
	return t.sender.send(ctx, items, true, true)
}

// Read reads resources by id; see [load.Reader].
func (t *Store) Read(ctx context.Context, typ string, ids []string) ([]load.Found, error) {
	return t.reader.read(ctx, typ, ids)
}

// Version reads one version; see [load.History].
func (t *Store) Version(ctx context.Context, typ, id, version string) (load.Found, error) {
	return t.reader.version(ctx, typ, id, version)
}

// List yields what carries our tag; see [load.Lister].
func (t *Store) List(ctx context.Context, typ, tag string) iter.Seq2[load.Listed, error] {
	return t.lister.list(ctx, typ, tag)
}

// Delete deletes what nobody has changed; see [load.Undoer].
func (t *Store) Delete(ctx context.Context, list []load.Existing) ([]load.Outcome, error) {
	return t.undoer.delete(ctx, list)
}

// Mark marks as vanished what nobody has changed; see [load.Undoer].
func (t *Store) Mark(ctx context.Context, list []load.Existing) ([]load.Outcome, error) {
	return t.undoer.mark(ctx, list)
}

// addressable tells whether type and id can stand in a URL as they are.
func addressable(typ, id string) bool {
	r := fhir.Lookup(typ)
	return r != nil && r.Kind == fhir.KindResource && fhir.ValidID(id)
}
