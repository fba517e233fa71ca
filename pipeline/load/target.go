package load

import (
	"context"
	"iter"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// A kind of target is a type that implements [Store], and of the interfaces below it those for which the kind has a way.
// Who needs one asks by a type assertion. What a server of the kind may lack all the same is for its [Capabilities] to
// say.
//
// What holds for every method of every implementation:
//
//   - It may be called concurrently. However many callers there are, the store as a whole keeps to one pace.
//   - It does not retry without a bound, and keeps no plaintext after it returned.
//   - It returns an error only when the run cannot go on with this store: ctx is done, the credentials are refused, the
//     store has been failing for longer than its patience, or what was asked makes no sense (a zero phi.Sealed, no id of
//     R4). What goes wrong with one resource is that resource's outcome.
//   - Errors never contain what a server or a resource said; see [Error].

// Store is one server, or whatever else holds resources under ids.
type Store interface {
	// Name is "" where there is one store; under delivery `split` StoreClinical or StoreIdentity.
	Name() string

	// Identity names the store for good: its base URL in normal form, without credentials. Outcomes and state belong
	// to it; another URL is another target.
	Identity() string

	// Delivery is the form in which the store gets resources: one of the Delivery constants.
	Delivery() string

	// Holds tells whether the resource is sent to this store at all.
	Holds(s phi.Sealed) bool

	// Form appends the resource in the form in which it is sent to this store, as JSON: under the id that the store knows
	// it by (none where the store is still to give one) and with references rewritten to the store's ids. A reference
	// that cannot be is ErrUnresolved. Of an item's fields it looks at Sealed and ID.
	Form(it Item, dst []byte) ([]byte, error)

	// Ours turns what the store holds of an item back: under our id, with references by our ids, without the tag that
	// names our id. It is for comparing with what was sealed. got is not changed; where ids are ours it is returned.
	Ours(it Item, got *fhir.Node) (*fhir.Node, error)

	// Preflight asks what the store can do. It fails if the store cannot be used at all: no R4, or for kind sandbox
	// no sandbox. What it lacks for certain types is for [Capabilities.Lacking] to say. It comes before everything else:
	// until then ids are taken to be ours.
	Preflight(ctx context.Context) (Capabilities, error)

	// Marker reads the marker that says to which ledger the store belongs; false if there is none for the migration.
	// SetMarker writes it. A store that takes none returns ErrUnsupported.
	Marker(ctx context.Context) (Marker, bool, error)
	SetMarker(ctx context.Context, m Marker) error
}

// Sender sends resources now. Each method returns one outcome per item, in the same order, also together with an error:
// what was not tried is then Pending. No two items of one call may have the same type and id.
//
// An item with a Version is written over that version and no other. Otherwise nothing of ours is known to be there, and
// after anything that leaves doubt Sender looks before it sends again: what is there as sent has arrived, what is there
// in the item's First form is written over, and what is there in any other form is Edited.
type Sender interface {
	// Send delivers the resources.
	Send(ctx context.Context, items []Item) ([]Outcome, error)

	// Resume is Send for resources that may have arrived already: a batch that was started and has no outcome. It looks
	// first, and sends only what is not there as it should be.
	Resume(ctx context.Context, items []Item) ([]Outcome, error)

	// Introduce makes sure that there is something under each id, so that others can refer to it: what is missing is sent
	// in its First form, what is there already in that form, whole or in the item's Version is Unchanged, and anything
	// else is Edited. An item that was introduced is not loaded: Send or Resume follows, over the outcome's Version, when
	// what First left out is there. Every item must have a First.
	Introduce(ctx context.Context, items []Item) ([]Outcome, error)
}

// Reader reads back.
type Reader interface {
	// Read reads resources of one type by the store's ids and returns them in the order of ids. A single resource that
	// cannot be read is Unknown; an error means that nothing more can be read at all.
	Read(ctx context.Context, typ string, ids []string) ([]Found, error)
}

// History reads what was.
type History interface {
	// Version reads one version of a resource: Missing if the store does not have it (any more).
	Version(ctx context.Context, typ, id, version string) (Found, error)
}

// Listed is one resource of a [Lister].
type Listed struct {
	ID   string // the store's
	Ours string // our id: the same where ids are ours, else from the tag; "" if a resource of ours does not say
}

// Lister finds what carries our mark, known to us or not.
type Lister interface {
	// List yields all resources of the type that carry the tag code under [fhir.TagSystem], each once, in the store's
	// order. Totals are not looked at. Pages that loop end the stream with an error, as does anything else that leaves the
	// list incomplete.
	List(ctx context.Context, typ, tag string) iter.Seq2[Listed, error]
}

// Existing is a resource as we last wrote it.
type Existing struct {
	Type    string
	ID      string // the store's
	Version string // of our last write
}

// Undoer takes back. Each method returns one outcome per resource, in the same order; what is no longer in the given
// version is Edited and stays as it is. A resource of which we do not know the version is Rejected (CodeVersion). What
// must go before what (children before what they refer to) is for the caller to say, by calling in that order.
type Undoer interface {
	// Delete deletes. What is not there any more, for whichever reason, is Deleted: it may be called again.
	Delete(ctx context.Context, list []Existing) ([]Outcome, error)

	// Mark says in the resource itself that it no longer counts ([MarkVanished]): Updated, or Unchanged where it says so
	// already. What was deleted is Edited.
	Mark(ctx context.Context, list []Existing) ([]Outcome, error)
}

// Importer loads in bulk: a job that the target works off by itself, for hours, while we may be stopped and started.
//
// What makes a job durable is on the caller's side. The caller writes down Job.Key, then submits, then writes down the
// handle; a handle is all that is needed to go on, in another process too. If the caller dies between the two, it
// submits again under the same key.
type Importer interface {
	// Submit hands over the job and returns without waiting for it. Submitting again under one key, with the same items,
	// starts no second job: it returns the handle of the first, whatever has become of it.
	Submit(ctx context.Context, job Job) (Handle, error)

	// Poll tells how far a job is. A handle that the target does not know is an error, [ErrUnknownJob].
	Poll(ctx context.Context, h Handle) (Progress, error)

	// Results yields the outcome of each item of a job that is over, in any order, each once. A target's counters prove
	// nothing: what the job does not name as stored or refused is InDoubt, to be read back. An error ends the stream.
	Results(ctx context.Context, h Handle) iter.Seq2[Outcome, error]
}

// Job is what an [Importer] is given.
type Job struct {
	Key   string // names the job for good: 1 to 64 letters, digits and hyphens, no patient data
	Items iter.Seq2[Item, error]
}

// Handle is a job by the target's own name for it: a URL, an operation's name. It holds no credentials and no patient
// data, and may be written down.
type Handle string

// Progress is how far a job is.
type Progress struct {
	Over   bool  // nothing more will come; Results may be read
	Failed bool  // it is over and the target says that it did not do all of it; what it did stays
	Done   int64 // resources, as the target counts them; for showing only
}

// The names of the stores of delivery `split`.
const (
	StoreClinical = "clinical"
	StoreIdentity = "identity"
)

// The kinds of targets.
const (
	KindFHIR    = "fhir"    // plain R4 REST: HAPI FHIR and others
	KindSandbox = "sandbox" // the server inside this binary, for rehearsals and tests
)

// SandboxName is the software.name by which a sandbox is known. Kind sandbox sends nothing to a server that does not
// carry it, so that test data cannot reach a real store by a mistyped URL.
const SandboxName = "Chartlift Sandbox"

// What a store is sent of a resource.
const (
	// DeliveryIdentified: the whole, joined in memory.
	DeliveryIdentified = "identified"
	// DeliverySealed: the clinical part with the encrypted part in an extension (phi.AppendWire).
	DeliverySealed = "sealed"
	// DeliveryClinical: the clinical part alone, for the clinical store of delivery `split`.
	DeliveryClinical = "clinical"
	// DeliveryIdentity: the whole, and only of resources that have a PHI part, for its identity store.
	DeliveryIdentity = "identity"
)
