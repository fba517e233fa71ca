package reconcile

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Store is what reading back needs of one server of a target. A load.Store is one.
type Store interface {
	// Name is "" where there is one store.
	Name() string
	// Identity is the base URL in normal form, as in references that the server makes absolute.
	Identity() string
	// Delivery is the form in which the store gets resources: one of load's Delivery constants.
	Delivery() string
	// Holds tells whether the resource is sent to this store at all.
	Holds(s phi.Sealed) bool
	// Read reads resources of one type by id, in the order of ids.
	Read(ctx context.Context, typ string, ids []string) ([]load.Found, error)
}

// Keys opens what was sealed, and makes digests of values. phi.Keyring is one.
type Keys interface {
	Receive(s phi.Sealed, sent, got *fhir.Node, exact bool) (phi.Received, error)
	Whole(s phi.Sealed, dst []byte) ([]byte, error)
	ValueDigest(resource string, value []byte) (string, error)
}

// Sent is one resource that the stores are to hold.
type Sent struct {
	Sealed phi.Sealed
	// In is what is known of it in each store, in the order of the Reader's stores.
	In []Written
}

// Written is what is known of a resource in one store.
type Written struct {
	// Version is that of our last write, "" if the store did not say.
	Version string
	// Exact says that our last write sent this very sealing: the encrypted part must come back byte for byte. Otherwise an
	// earlier sealing of the same content is there.
	Exact bool
	// Edited says that the resource was not sent, since somebody had changed it after our last write.
	Edited bool
	// ID is the id under which the store holds it, "" if that is ours.
	ID string
	// Ours turns what the store holds into our form: with our id, and references by our ids. Nil where the store's ids are
	// ours.
	Ours func(got *fhir.Node) (*fhir.Node, error)
}

// Findings is what reading some resources back has shown.
type Findings struct {
	Verdicts      []Verdict // of each resource, in the order in which they were given
	Discrepancies []ledger.Discrepancy
	// Normalised counts the resources that matched only after a named rule of [Compare], by the rule. A resource under
	// several rules counts for each.
	Normalised map[string]int64
}

// Codes of discrepancies that no comparison of elements gives.
const (
	// CodeOtherVersion: the store holds another version than the one that we wrote last.
	CodeOtherVersion = "other-version"
	// CodeNotApplied: somebody had changed the resource before, so a change of the source was not sent.
	CodeNotApplied = "not-applied"
	// ByOther ends the code of a difference in a resource of which the store holds another version than the one that we
	// wrote last: "changed/other-version". Somebody else made the difference, and nothing may overwrite it.
	ByOther = "/" + CodeOtherVersion
)

// Reader reads back what was sent and compares. It may be used concurrently.
type Reader struct {
	stores []Store
	keys   Keys
	live   time.Time
}

// NewReader makes a reader of the stores of a target. live is the moment from which people work in the target; zero: not
// yet. It decides only what a change by somebody else is called: a difference before it, an edit from then on.
func NewReader(stores []Store, keys Keys, live time.Time) *Reader {
	return &Reader{stores, keys, live}
}

// Compare reads resources of one type back from every store that holds them, and judges each. An error means that a
// store cannot be read any more, or that the keys cannot be had.
func (r *Reader) Compare(ctx context.Context, typ string, sent []Sent) (Findings, error) {
	f := Findings{Verdicts: make([]Verdict, len(sent)), Normalised: map[string]int64{}}
	rules := make([][]string, len(sent))
	for n, store := range r.stores {
		var looks []*look
		var ids []string
		var at []int
		for i, s := range sent {
			if !store.Holds(s.Sealed) {
				continue
			}
			l := &look{reader: r, store: store, sealed: s.Sealed}
			if n < len(s.In) {
				l.written = s.In[n]
			}
			looks, ids, at = append(looks, l), append(ids, cmp.Or(l.written.ID, s.Sealed.ID())), append(at, i)
		}
		if len(ids) == 0 {
			continue
		}
		found, err := store.Read(ctx, typ, ids)
		if err != nil {
			return Findings{}, err
		}
		for k, l := range looks {
			verdict := NotCompared
			if k < len(found) {
				l.found = found[k]
				if verdict, err = l.judge(); err != nil {
					return Findings{}, err
				}
			}
			i := at[k]
			f.Verdicts[i] = max(f.Verdicts[i], verdict)
			f.Discrepancies = append(f.Discrepancies, l.discrepancies...)
			rules[i] = append(rules[i], l.rules...)
		}
	}
	for i, v := range f.Verdicts {
		if v != Matched {
			continue
		}
		slices.Sort(rules[i])
		for _, rule := range slices.Compact(rules[i]) {
			f.Normalised[rule]++
		}
	}
	return f, nil
}

// Rejected is the discrepancy of a resource that a store would not take. code says why; store is "" where there is one.
func (r *Reader) Rejected(s phi.Sealed, store, code string) (ledger.Discrepancy, error) {
	digest := s.Digest()
	return r.discrepancy(ledger.Rejected, s, store, code, digest[:], nil)
}

// discrepancy makes one about a resource. sent and found are the two values, nil where there is none.
func (r *Reader) discrepancy(kind ledger.Kind, s phi.Sealed, path, code string, sent, found []byte) (ledger.Discrepancy, error) {
	resource := s.Type() + "/" + s.ID()
	sentDigest, err := r.keys.ValueDigest(resource, sent)
	if err != nil {
		return ledger.Discrepancy{}, err
	}
	foundDigest, err := r.keys.ValueDigest(resource, found)
	if err != nil {
		return ledger.Discrepancy{}, err
	}
	place := s.Place()
	return ledger.Discrepancy{
		Kind: kind, Type: s.Type(), ID: s.ID(), Path: path, Table: place.Table, Line: place.Line, Code: code,
		Sent: sentDigest, Found: foundDigest,
	}, nil
}
