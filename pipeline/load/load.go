// Package load sends sealed resources to a FHIR API and says, one resource at a time, what became of each.
//
// A server's word is not trusted further than it goes. An HTTP 200 says nothing about the entries of a batch, so each
// entry is judged by its own answer; an answer that cannot be parsed, has the wrong number of entries or speaks of
// another resource is no success. A request whose answer was lost is in doubt: the target is looked at first, and what
// is not there is sent again, the same bytes to the same id, so that no repetition makes a second resource.
//
// The package never sees a resource that phi has not sealed, writes nothing to disk, and keeps of a server's answer the
// status, the code and the path of an OperationOutcome, nothing else: diagnostics quote patient data.
//
// Each kind of target has a file of its own ([New] lists them). What they share: the request and its deadlines
// (exchange.go), the pace (pace.go), the bundle and the judging of its answer (bundle.go), the delivery of a batch with
// all its repetitions (send.go), reading back (read.go, list.go).
package load

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/phi"
)

// Kind is what the target said about one resource.
type Kind uint8

// The kinds of outcome. The zero value is no outcome: the resource was not sent, or was refused before the target took
// any notice of it, and is still to be sent.
const (
	Pending   Kind = iota
	Created        // acknowledged as new, or found after a lost acknowledgement in its first version
	Updated        // acknowledged in place of an earlier version
	Unchanged      // the target says that it held exactly this already
	Rejected       // the target will not take it; sending it again would change nothing
	InDoubt        // it may have arrived or not; to be looked for, then sent again, by the next run
	Held           // held back by a check, never sent; set by the caller, not by this package
)

var kindNames = [...]string{"pending", "created", "updated", "unchanged", "rejected", "in doubt", "held"}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Stored tells whether the target acknowledged that it holds the resource as sent.
func (k Kind) Stored() bool { return k == Created || k == Updated || k == Unchanged }

// Outcome is what became of one sealed resource. It holds nothing of the resource's content: Code and Path are those
// of the OperationOutcome's first error, reduced to the standard's own words.
type Outcome struct {
	Type    string
	ID      string
	Kind    Kind
	Version string // as the target counts them; "" if it did not say
	Status  int    // HTTP status of the entry, or of the request where there was no entry; 0 without an answer
	Code    string // IssueType code ("invalid", "throttled"), a google.rpc code, or one of the Code constants
	Path    string // FHIRPath of the element, as far as it names elements of R4: "Patient.name[0].given"
}

// Codes of outcomes that no server's answer provides.
const (
	CodeDuplicate = "duplicate"   // 412: something else answers to the same condition
	CodeTooLarge  = "too-costly"  // 413: the resource alone exceeds what the target takes
	CodeLost      = "lost-answer" // the connection broke, or the deadline passed, before the answer was whole
	CodeUnread    = "unreadable"  // an answer that is no FHIR JSON, or not the answer to what was asked
	CodeMismatch  = "other-id"    // the answer speaks of another resource
)

// Opener gives the whole plaintext of a sealed resource. [phi.Keyring] is one. It appends to dst and may be called
// concurrently.
type Opener interface {
	Whole(s phi.Sealed, dst []byte) ([]byte, error)
}

// Edit changes the form in which a resource would be sent. It may be called concurrently, and again for one resource; it
// must answer the same each time.
type Edit func(s phi.Sealed, form []byte) ([]byte, error)

// FoundStatus says what a read found.
type FoundStatus uint8

// What a read finds. The zero value is Unknown: nothing is proven.
const (
	Unknown FoundStatus = iota // the target did not answer, or not what was asked
	Present
	Missing // 404: never there, as far as the target knows
	Gone    // 410: it was there and was deleted
)

// String returns the status as a word.
func (s FoundStatus) String() string {
	switch s {
	case Present:
		return "present"
	case Missing:
		return "missing"
	case Gone:
		return "gone"
	}
	return "unknown"
}

// Found is what the target holds under one id. Body is the resource as canonical JSON, numbers as the target wrote
// them; it holds patient data, so Found prints as its status alone.
type Found struct {
	ID      string
	Status  FoundStatus
	Version string
	Body    []byte
	Code    string // why the status is Unknown
}

// Format prints the status alone, under every verb.
func (f Found) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[redacted] " + f.Status.String())) }

// MarshalJSON is the status alone.
func (f Found) MarshalJSON() ([]byte, error) {
	return []byte(`"[redacted] ` + f.Status.String() + `"`), nil
}

// Target is a FHIR API that takes sealed resources. The contract of every implementation:
//
//   - All methods may be called concurrently. However many callers there are, the target as a whole keeps to one pace.
//   - Send and Resume answer one outcome per resource, in the same order, also together with an error: what was not
//     tried is then Pending. They return an error only when the run cannot go on: ctx is done, the credentials are
//     refused, the target has been failing for longer than Options.Patience, or a Sealed is its zero value.
//   - No two resources of one call may have the same type and id.
//   - No method retries without a bound, and none keeps plaintext after it returned.
//   - Errors never contain what a server or a resource said; see [Error].
type Target interface {
	// Identity names the target for good: its base URL in normal form, without credentials. Outcomes and state belong
	// to it; another URL is another target.
	Identity() string

	// Preflight asks what the target can do. It fails if the target cannot be used at all: no R4, or for kind sandbox
	// no sandbox. What it lacks for certain types is for [Capabilities.Lacking] to say.
	Preflight(ctx context.Context) (Capabilities, error)

	// Send delivers the resources, each under its own id.
	Send(ctx context.Context, batch []phi.Sealed) ([]Outcome, error)

	// Resume is Send for resources that may have arrived already: a batch that was started and has no outcome. It looks
	// first, and sends only what is not there as it should be.
	Resume(ctx context.Context, batch []phi.Sealed) ([]Outcome, error)

	// Introduce makes sure that there is something under each id, so that others can refer to it: what is missing is sent
	// in the form that edit makes of it, and what is there already, in whichever form, is Unchanged. A resource that was
	// introduced is not loaded: Send follows, when what edit left out is there.
	Introduce(ctx context.Context, batch []phi.Sealed, edit Edit) ([]Outcome, error)

	// Read reads resources of one type by id and answers in the order of ids. A single resource that cannot be read is
	// Unknown; an error means that nothing more can be read at all.
	Read(ctx context.Context, typ string, ids []string) ([]Found, error)

	// Version reads one version of a resource from the target's history, if it offers that.
	Version(ctx context.Context, typ, id, version string) (Found, error)

	// List yields the ids of all resources of the type that carry the tag code under [fhir.TagSystem], each once, in
	// the target's order. Totals are not looked at. Pages that loop end the stream with an error, as does anything else
	// that leaves the list incomplete.
	List(ctx context.Context, typ, tag string) iter.Seq2[string, error]

	// Stores are the servers that the target consists of: one, or under delivery `split` two. What reads back and
	// compares goes by them, since each was sent its own form of a resource.
	Stores() []Store
}

// Store is one server behind a [Target]. Its methods may be called concurrently.
type Store interface {
	// Name is "" where there is one store; under delivery `split` StoreClinical or StoreIdentity.
	Name() string

	// Identity is the base URL in normal form, as in references that the server makes absolute.
	Identity() string

	// Delivery is the form in which the store gets resources: one of the Delivery constants.
	Delivery() string

	// Holds tells whether the resource is sent to this store at all.
	Holds(s phi.Sealed) bool

	// Form appends the resource in the form in which it is sent to this store: JSON.
	Form(s phi.Sealed, dst []byte) ([]byte, error)

	// Read, Version and List are those of Target.
	Read(ctx context.Context, typ string, ids []string) ([]Found, error)
	Version(ctx context.Context, typ, id, version string) (Found, error)
	List(ctx context.Context, typ, tag string) iter.Seq2[string, error]

	// Marker reads the marker that says to which ledger the store belongs; false if there is none for
	// Options.Migration. SetMarker writes it. A store that takes none answers ErrUnsupported.
	Marker(ctx context.Context) (Marker, bool, error)
	SetMarker(ctx context.Context, m Marker) error
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

// What a server is sent of a resource.
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

// Options configure a target. Zero values mean the defaults named with each field.
type Options struct {
	Kind      string // KindFHIR or KindSandbox
	URL       string // base URL, http or https, without user, query or fragment
	Opener    Opener // may be nil where no whole resource is sent
	Migration string
	Delivery  string // one of the Delivery constants, which must be said

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

// Errors that end a run. They are wrapped in what was tried; errors.Is finds them.
var (
	// ErrUnauthorized: 401 also with fresh credentials, or 403. Nothing more is sent.
	ErrUnauthorized = errors.New("the target refuses the credentials")
	// ErrUnavailable: nothing succeeded for longer than Options.Patience. The same command again goes on from here.
	ErrUnavailable = errors.New("the target has been failing for too long")
	// ErrUnsupported: the target does not speak the protocol (no batch at its base URL, a redirect, no R4).
	ErrUnsupported = errors.New("the target does not offer what is needed")
	// ErrNotSandbox: kind sandbox, but the server does not say that it is one.
	ErrNotSandbox = errors.New("the server is not a Chartlift sandbox")
	// ErrPaging: the pages of a search repeat, lead elsewhere or cannot be read.
	ErrPaging = errors.New("the pages of the search cannot be followed")
	// ErrNotSealed: the zero value of phi.Sealed, which holds no resource.
	ErrNotSealed = errors.New("not a sealed resource")
)

// New makes a target of the kind that the options name. It does not reach out: [Target.Preflight] does.
func New(o Options) (Target, error) {
	switch o.Kind {
	case KindFHIR:
		return newFHIR(o)
	case KindSandbox:
		return newSandbox(o)
	case "":
		return nil, errors.New("target: no kind given")
	}
	return nil, fmt.Errorf("target: unknown kind %q (fhir or sandbox)", o.Kind)
}
