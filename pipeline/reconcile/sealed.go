package reconcile

import (
	"errors"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// errNotJoined: the clinical part that came back has lost what a piece of the encrypted part belongs into.
var errNotJoined = errors.New("the parts do not join")

// faults are what can be wrong with the encrypted part of a resource in a store, and their codes in a discrepancy.
var faults = []struct {
	err  error
	code string
}{
	{phi.ErrLost, "ciphertext-lost"},
	{phi.ErrTwice, "ciphertext-twice"},
	{phi.ErrEnvelope, "ciphertext-damaged"},
	{phi.ErrOtherKey, "wrong-key"},
	{phi.ErrStale, "stale-digest"},
	{phi.ErrNotAuthentic, "foreign-ciphertext"},
	{phi.ErrResealed, "other-ciphertext"},
	{errNotJoined, "not-joined"},
}

func sealedFault(err error) string {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f.code
		}
	}
	return "ciphertext-damaged"
}

// earlier tells whether what is wrong with an encrypted part is only that it is an earlier one of the resource.
func earlier(fault error) bool {
	return errors.Is(fault, phi.ErrStale) || errors.Is(fault, phi.ErrResealed)
}

// compareSealed takes apart what came back: the clinical part is compared with the one that was sent, the encrypted part
// must be the one that was sent, and both together must make the resource that was sealed. fault is what is wrong with
// the encrypted part.
func (l *look) compareSealed(got *fhir.Node) (c Comparison, fault, err error) {
	sent, err := l.sent()
	if err != nil {
		return c, nil, err
	}
	received, err := l.reader.keys.Receive(l.sealed, sent, got, l.written.Exact)
	if err != nil {
		return c, nil, err
	}
	c = Compare(sent, received.Clinical, l.store.Identity())
	switch {
	case received.Fault != nil:
		return c, received.Fault, nil
	case received.Proven, len(c.Differences) > 0:
		return c, nil, nil
	case received.Whole == nil:
		return c, errNotJoined, nil
	}
	// The content is not the same to the byte. What the server wrote in another form is no difference.
	whole, err := l.reader.keys.Whole(l.sealed, nil)
	if err != nil {
		return c, nil, err
	}
	all, err := l.parse(whole)
	if err != nil {
		return c, nil, err
	}
	joined := Compare(all, received.Whole, l.store.Identity())
	joined.Rules = append(joined.Rules, c.Rules...)
	return joined, nil, nil
}
