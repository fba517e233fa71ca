package load

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Marker says in the target itself to which migration and ledger it belongs, so that a second ledger, which knows
// nothing of what the first has loaded, is noticed.
//
// It is one Basic resource under an id that follows from the migration's name. It holds no patient data and does not
// carry the migration's tag: it is not among what was made, and [Store.List] does not list it.
type Marker struct {
	Migration string
	Ledger    string // the ledger's id
}

// The systems of the marker's code and identifiers; the migration's name stands under [fhir.TagSystem].
const (
	markerSystem = "https://github.com/chartlift/chartlift/marker"
	ledgerSystem = "https://github.com/chartlift/chartlift/ledger"
	markerCode   = "migration"
	markerType   = "Basic"
)

// markerID is the id of a migration's marker: 42 characters that every target takes.
func markerID(migration string) string {
	sum := sha256.Sum256([]byte("chartlift marker " + migration))
	return "chartlift-" + hex.EncodeToString(sum[:16])
}

// resource is the marker as FHIR, in canonical form.
func (m Marker) resource() []byte {
	b := append([]byte(nil), `{"code":{"coding":[{"code":"`+markerCode+`","system":"`+markerSystem+`"}],"text":"Chartlift marks what it loads into"},"id":"`...)
	b = append(b, markerID(m.Migration)...)
	b = append(b, `","identifier":[{"system":"`+fhir.TagSystem+`","value":`...)
	b = fhir.AppendString(b, m.Migration)
	b = append(b, `},{"system":"`+ledgerSystem+`","value":`...)
	b = fhir.AppendString(b, m.Ledger)
	return append(b, `}],"resourceType":"`+markerType+`"}`...)
}

// readMarker takes a marker apart; false if the resource is none.
func readMarker(n *fhir.Node) (m Marker, ok bool) {
	if n.ResourceType() != markerType || n.Get("identifier") == nil {
		return m, false
	}
	for _, identifier := range n.Get("identifier").Items {
		switch identifier.Get("system").Str() {
		case fhir.TagSystem:
			m.Migration = identifier.Get("value").Str()
		case ledgerSystem:
			m.Ledger = identifier.Get("value").Str()
		}
	}
	return m, m.Migration != "" && m.Ledger != ""
}

// Marker reads the marker of Options.Migration; see [Store].
func (t *restTarget) Marker(ctx context.Context) (Marker, bool, error) {
	const op = "read marker"
	r, err := t.insist(ctx, op, http.MethodGet, t.address(markerType, markerID(t.migration)), nil)
	if err != nil {
		return Marker{}, false, err
	}
	switch r.status {
	case http.StatusNotFound, http.StatusGone:
		return Marker{}, false, nil
	case http.StatusOK:
		if m, ok := readMarker(r.tree()); ok {
			return m, true, nil
		}
		return Marker{}, false, &Error{Op: op, Status: r.status, Code: CodeUnread, Err: fmt.Errorf("%s/%s is there and is no marker of ours", markerType, markerID(t.migration))}
	}
	code, _ := r.reason()
	return Marker{}, false, &Error{Op: op, Status: r.status, Code: code, Err: ErrUnsupported}
}

// SetMarker writes the marker; see [Store].
func (t *restTarget) SetMarker(ctx context.Context, m Marker) error {
	const op = "write marker"
	if err := t.confirm(ctx); err != nil {
		return err
	}
	r, err := t.insist(ctx, op, http.MethodPut, t.address(markerType, markerID(m.Migration)), m.resource())
	if err != nil {
		return err
	}
	if r.status != http.StatusOK && r.status != http.StatusCreated {
		code, _ := r.reason()
		return &Error{Op: op, Status: r.status, Code: code, Err: ErrUnsupported}
	}
	return nil
}

// insist asks until there is a whole answer, within the bounds that the other requests have. It is for requests that may
// be repeated without harm.
func (t *restTarget) insist(ctx context.Context, op, method, address string, body []byte) (*reply, error) {
	t.pace.again()
	var r *reply
	for attempt, throttles := 1, 0; attempt <= t.attempts && throttles <= mostThrottles; attempt++ {
		var err error
		if r, err = t.ask(ctx, op, method, address, body, nil); err != nil {
			return nil, err
		}
		switch {
		case r.unsent, r.throttled():
			attempt--
			throttles++
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
		case method == http.MethodGet && r.status == http.StatusOK && r.tree() == nil:
			// A page of something that stands before the server says nothing about what the server holds.
			r.code = CodeUnread
		default:
			return r, nil
		}
	}
	return nil, &Error{Op: op, Status: r.status, Code: r.code, Err: ErrUnavailable}
}
