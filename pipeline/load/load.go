// Package load is what every target shares: what is sent ([Item]), what became of it ([Outcome]), what a kind of target
// can do (the small interfaces in target.go), the pace, and the pure parts of the protocol. Below it lies one package per
// kind; [rest], plain R4, serves the kinds `fhir` and `sandbox`. Package loadtest is the contract: a suite per interface,
// which each kind runs.
//
// A server's word is not trusted further than it goes. An HTTP 200 says nothing about the entries of a batch, so each
// entry is judged by its own answer; an answer that cannot be parsed, has the wrong number of entries or speaks of
// another resource is no success. A request whose answer was lost is in doubt: the target is looked at first, and what
// is not there is sent again, the same bytes to the same id, so that no repetition makes a second resource.
//
// Nobody's edit is overwritten. A write over something that is known to be there carries the version that it builds on
// (If-Match, in whatever form the target has it), in every path; where that is no longer the current version, theirs
// stays and the outcome is Edited.
//
// One store is one target. Under delivery `split` there are two, and whoever sends keeps an outcome for each.
//
// The package never sees a resource that phi has not sealed, writes nothing to disk, and keeps of a server's answer the
// status, the code and the path of an OperationOutcome, nothing else: diagnostics quote patient data.
//
// [rest]: https://pkg.go.dev/github.com/chartlift/chartlift/pipeline/load/rest
package load

import (
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/phi"
)

// Kind is what the target said about one resource.
type Kind uint8

// The kinds of outcome. The zero value is no outcome: the resource was not sent, or was refused before the target took
// any notice of it, and is still to be sent. The numbers are written to disk: a new kind goes to the end.
const (
	Pending   Kind = iota
	Created        // acknowledged as new, or found after a lost acknowledgement in its first version
	Updated        // acknowledged in place of an earlier version
	Unchanged      // the target says that it held exactly this already
	Rejected       // the target will not take it; sending it again would change nothing
	InDoubt        // it may have arrived or not; to be looked for, then sent again, by the next run
	Held           // held back, never sent: by a check of the caller's, or for a reference that has no id yet (CodeUnresolved)
	Edited         // somebody changed or deleted it since our last write, and theirs stays; never to be sent again blindly
	Deleted        // of [Undoer.Delete]: it is not there any more
)

var kindNames = [...]string{"pending", "created", "updated", "unchanged", "rejected", "in doubt", "held", "edited", "deleted"}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Stored tells whether the target acknowledged that it holds the resource as sent.
func (k Kind) Stored() bool { return k == Created || k == Updated || k == Unchanged }

// Item is one resource on its way to a store.
type Item struct {
	Sealed phi.Sealed

	// ID is the store's id of the resource where it is not ours; "" where it is, and where the store has not given one.
	ID string

	// Version is the version of the resource in the store as we last wrote it. If set, the resource is written over that
	// version and no other. "" says that nothing of ours is known to be there.
	Version string

	// First makes the form in which [Sender.Introduce] sends the resource, and by which Send and Resume know it again
	// when they write the whole over it. Nil for a resource that is not introduced.
	First Edit
}

// Edit changes the form in which a resource would be sent; references in it are by our ids. It may be called
// concurrently, and again for one resource; it must return the same each time.
type Edit func(s phi.Sealed, form []byte) ([]byte, error)

// Outcome is what became of one sealed resource. It holds nothing of the resource's content: Code and Path are those
// of the OperationOutcome's first error, reduced to the standard's own words.
type Outcome struct {
	Type     string
	Ours     string // our id; "" in an outcome of [Undoer], which goes by the store's
	ID       string // the id under which it lies in the store: ours, or the store's own; "" if it gave none yet
	Kind     Kind
	Version  string // as the target counts them, for Edited theirs; "" if it did not say, or nothing is there
	Replaced string // the version in whose place ours was written; "" if there was none or nobody can tell
	Status   int    // HTTP status of the entry, or of the request where there was no entry; 0 without an answer
	Code     string // IssueType code ("invalid", "throttled"), a google.rpc code, or one of the Code constants
	Path     string // FHIRPath of the element, as far as it names elements of R4: "Patient.name[0].given"
}

// There tells whether something lies under the id, whosever version it is, so that what refers to it does not dangle.
func (o Outcome) There() bool { return o.Kind.Stored() || o.Kind == Edited && o.Version != "" }

// Codes of outcomes that no server's answer provides.
const (
	CodeDuplicate  = "duplicate"   // 412: something else answers to the same condition
	CodeTooLarge   = "too-costly"  // 413: the resource alone exceeds what the target takes
	CodeLost       = "lost-answer" // the connection broke, or the deadline passed, before the answer was whole
	CodeUnread     = "unreadable"  // an answer that is not FHIR JSON, or not the answer to what was asked
	CodeMismatch   = "other-id"    // the answer speaks of another resource
	CodeUnresolved = "unresolved"  // of Held: it refers to a resource to which the store has given no id
	CodeChanged    = "changed"     // of Edited: somebody wrote another version
	CodeDeleted    = "deleted"     // of Edited: somebody deleted it
	CodeUnmarked   = "unmarkable"  // of [Undoer.Mark]: Rejected, since the type has no place for the mark
	CodeVersion    = "no-version"  // of [Undoer]: Rejected, since nobody knows whether it is still as we wrote it
)

// Opener gives the whole plaintext of a sealed resource. [phi.Keyring] is one. It appends to dst and may be called
// concurrently.
type Opener interface {
	Whole(s phi.Sealed, dst []byte) ([]byte, error)
}

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

// Errors that end a run. They are wrapped in what was tried; errors.Is finds them.
var (
	// ErrUnauthorized: 401 also with fresh credentials, or 403. Nothing more is sent.
	ErrUnauthorized = errors.New("the target refuses the credentials")
	// ErrUnavailable: nothing succeeded for longer than the target's patience. The same command again goes on from here.
	ErrUnavailable = errors.New("the target has been failing for too long")
	// ErrUnsupported: the target does not speak the protocol (no batch at its base URL, a redirect, no R4).
	ErrUnsupported = errors.New("the target does not offer what is needed")
	// ErrNotSandbox: kind sandbox, but the server does not say that it is one.
	ErrNotSandbox = errors.New("the server is not a Chartlift sandbox")
	// ErrPaging: the pages of a search repeat, lead elsewhere or cannot be read.
	ErrPaging = errors.New("the pages of the search cannot be followed")
	// ErrNotSealed: the zero value of phi.Sealed, which holds no resource.
	ErrNotSealed = errors.New("not a sealed resource")
	// ErrUnknownJob: the target has no job of that handle.
	ErrUnknownJob = errors.New("the target does not know the job")
	// ErrUnresolved: a form has a reference to a resource to which the store has given no id.
	ErrUnresolved = errors.New("a reference leads to a resource that is not in the store")
)

// Error is a request that ended the run. It says what was tried and what came back as status and code, and nothing that
// a server said: neither its text nor the text of net/http's errors, which quote both.
type Error struct {
	Op     string // "send bundle", "read", "metadata"
	Status int    // HTTP status; 0 without an answer
	Code   string // IssueType code, or one of the transport codes: refused, reset, timeout, tls, no-such-host, lost-answer
	Err    error  // ErrUnauthorized, ErrUnsupported, …
}

// Error returns operation, status and code.
func (e *Error) Error() string {
	text := e.Op
	if e.Status != 0 {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
