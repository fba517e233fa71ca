package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// mostDifferences bounds how many elements of one resource are listed. Those beyond it are one difference of the whole.
const mostDifferences = 20

// look is one resource in one store, being judged.
type look struct {
	reader  *Reader
	store   Store
	sealed  phi.Sealed
	written Written
	found   load.Found
	updated string // meta.lastUpdated of what was found

	discrepancies []ledger.Discrepancy
	rules         []string
}

// judge compares what the store holds with what it was sent.
func (l *look) judge() (Verdict, error) {
	switch l.found.Status {
	case load.Missing, load.Gone:
		return Missing, l.noteWhole(ledger.Missing, l.found.Status.String(), nil)
	case load.Present:
	default:
		return NotCompared, nil
	}
	got, err := fhir.Parse(l.found.Body)
	if err != nil {
		return NotCompared, nil
	}
	l.updated = got.At("meta", "lastUpdated").Str()
	if l.written.Ours != nil {
		if got, err = l.written.Ours(got); err != nil {
			return 0, fmt.Errorf("%s: read back: %w", l.sealed.Place(), err)
		}
	}
	var c Comparison
	var fault error
	if l.store.Delivery() == load.DeliverySealed {
		c, fault, err = l.compareSealed(got)
	} else {
		c, err = l.compareForm(got)
	}
	l.rules = c.Rules
	switch {
	case err != nil:
		return 0, err
	case l.written.Edited && (earlier(fault) || fault == nil && len(c.Differences) > 0):
		return EditedSince, l.noteWhole(ledger.EditedSince, CodeNotApplied, got)
	case fault != nil:
		digest := l.sealed.Digest()
		return Different, l.note(ledger.Different, l.sealed.Type()+".extension", l.code(sealedFault(fault)), digest[:], canonical(got.Get("extension")))
	case len(c.Differences) == 0:
		return Matched, nil
	case l.byOther() && l.afterLive():
		return EditedSince, l.noteWhole(ledger.EditedSince, CodeOtherVersion, got)
	}
	for i, d := range c.Differences {
		if i == mostDifferences {
			return Different, l.noteWhole(ledger.Different, l.code(Changed), got)
		}
		if err := l.note(ledger.Different, d.Path, l.code(d.Kind), canonical(d.sent), canonical(d.got)); err != nil {
			return 0, err
		}
	}
	return Different, nil
}

// byOther tells whether the store holds another version than the one that we wrote last.
func (l *look) byOther() bool {
	return l.written.Version != "" && l.found.Version != l.written.Version
}

// afterLive tells whether the resource was changed last when people worked in the target already. Before that nobody
// should have changed anything, so a change is a difference.
func (l *look) afterLive() bool {
	updated, err := time.Parse(time.RFC3339Nano, l.updated)
	return err == nil && !l.reader.live.IsZero() && !updated.Before(l.reader.live)
}

// code says in the code of a difference whose version it is in.
func (l *look) code(code string) string {
	if l.byOther() {
		return code + ByOther
	}
	return code
}

// form is what the store was sent, but for the encrypted part.
func (l *look) form() ([]byte, error) {
	switch l.store.Delivery() {
	case load.DeliverySealed, load.DeliveryClinical:
		return l.sealed.Clinical(), nil
	}
	return l.reader.keys.Whole(l.sealed, nil)
}

// sent is the form as a tree.
func (l *look) sent() (*fhir.Node, error) {
	form, err := l.form()
	if err != nil {
		return nil, err
	}
	return l.parse(form)
}

func (l *look) parse(text []byte) (*fhir.Node, error) {
	n, err := fhir.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: a staged resource is not JSON: %w", l.sealed.Place(), err)
	}
	return n, nil
}

// compareForm compares with the form in which the store got the resource.
func (l *look) compareForm(got *fhir.Node) (Comparison, error) {
	sent, err := l.sent()
	if err != nil {
		return Comparison{}, err
	}
	return Compare(sent, got, l.store.Identity()), nil
}

// noteWhole records a discrepancy about the resource as a whole; got is nil if there is nothing.
func (l *look) noteWhole(kind ledger.Kind, code string, got *fhir.Node) error {
	form, err := l.form()
	if err != nil {
		return err
	}
	if l.store.Delivery() == load.DeliverySealed {
		// The encrypted part is another in every sealing; what is in it has one digest.
		digest := l.sealed.Digest()
		form = slices.Concat(form, digest[:])
	}
	return l.note(kind, "", code, form, canonical(withoutServerMarks(got)))
}

// note records a discrepancy. The path also says which of two stores it was found in.
func (l *look) note(kind ledger.Kind, path, code string, sent, found []byte) error {
	if name := l.store.Name(); name != "" && path != "" {
		path = name + ": " + path
	} else if name != "" {
		path = name
	}
	d, err := l.reader.discrepancy(kind, l.sealed, path, code, sent, found)
	if err == nil {
		l.discrepancies = append(l.discrepancies, d)
	}
	return err
}

// canonical is the canonical JSON of a value; nil of none.
func canonical(value *fhir.Node) []byte {
	if value == nil {
		return nil
	}
	return value.AppendCanonical(nil)
}

// withoutServerMarks is a resource without what a server adds to its meta: a write that changes nothing else leaves it
// the same.
func withoutServerMarks(n *fhir.Node) *fhir.Node {
	if n == nil || n.Get("meta") == nil {
		return n
	}
	kept := &fhir.Node{Kind: n.Kind}
	for _, m := range n.Members {
		if m.Name == "meta" {
			m.Value = withoutServerMeta(m.Value)
		}
		kept.Members = append(kept.Members, m)
	}
	return kept
}
