package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// markerQuery finds the markers of a migration where the server gives ids of its own.
func markerQuery(migration string) string {
	return "identifier=" + url.QueryEscape(fhir.TagSystem+"|"+migration)
}

// Marker reads the marker of Options.Migration; see [load.Store].
func (t *Store) Marker(ctx context.Context) (load.Marker, bool, error) {
	const op = "read marker"
	address := t.address(load.MarkerType, load.MarkerID(t.migration))
	given := t.givesIDs(load.MarkerType)
	if given {
		address = t.address(load.MarkerType) + "?" + markerQuery(t.migration)
	}
	r, err := t.insist(ctx, op, http.MethodGet, address, nil, nil)
	if err != nil {
		return load.Marker{}, false, err
	}
	switch {
	case !given && (r.status == http.StatusNotFound || r.status == http.StatusGone):
		return load.Marker{}, false, nil
	case r.status != http.StatusOK:
		code, _ := r.reason()
		return load.Marker{}, false, &load.Error{Op: op, Status: r.status, Code: code, Err: load.ErrUnsupported}
	case !given:
		if m, ok := load.ReadMarker(r.tree()); ok {
			return m, true, nil
		}
		return load.Marker{}, false, &load.Error{Op: op, Status: r.status, Code: load.CodeUnread,
			Err: fmt.Errorf("%s/%s is there and is not a marker of ours", load.MarkerType, load.MarkerID(t.migration))}
	}
	bundle := r.bundle("searchset")
	if bundle == nil || bundle.Link("next") != "" {
		return load.Marker{}, false, &load.Error{Op: op, Status: r.status, Code: load.CodeUnread, Err: load.ErrUnsupported}
	}
	var found load.Marker
	for _, entry := range bundle.Entries {
		m, ok := load.ReadMarker(entry.Resource)
		if !ok || m.Migration != t.migration || found.Ledger != "" && m.Ledger != found.Ledger {
			return load.Marker{}, false, &load.Error{Op: op, Status: r.status, Code: load.CodeUnread,
				Err: errors.New("what is found by the migration's name is not one marker of ours")}
		}
		found = m
	}
	return found, found.Ledger != "", nil
}

// SetMarker writes the marker; see [load.Store].
func (t *Store) SetMarker(ctx context.Context, m load.Marker) error {
	const op = "write marker"
	if err := t.confirm(ctx); err != nil {
		return err
	}
	id := load.MarkerID(m.Migration)
	method, address, header := http.MethodPut, t.address(load.MarkerType, id), http.Header(nil)
	if t.givesIDs(load.MarkerType) {
		id = ""
		method, address, header = http.MethodPost, t.address(load.MarkerType), http.Header{"If-None-Exist": {markerQuery(m.Migration)}}
	}
	r, err := t.insist(ctx, op, method, address, m.Resource(id), header)
	if err != nil {
		return err
	}
	if r.status != http.StatusOK && r.status != http.StatusCreated {
		code, _ := r.reason()
		why := load.ErrUnsupported
		if method == http.MethodPut && (r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed) {
			why = fmt.Errorf("%w; if the server takes no ids but its own, say so in the plan: ids: server", why)
		}
		return &load.Error{Op: op, Status: r.status, Code: code, Err: why}
	}
	return nil
}

// insist asks until there is a whole answer, within the bounds that the other requests have. It is for requests that may
// be repeated without harm.
func (t *Store) insist(ctx context.Context, op, method, address string, body []byte, header http.Header) (*reply, error) {
	t.pace.Again()
	var r *reply
	for attempt, throttles := 1, 0; attempt <= t.attempts && throttles <= mostThrottles; attempt++ {
		var err error
		if r, err = t.ask(ctx, op, method, address, body, header); err != nil {
			return nil, err
		}
		switch {
		case r.unsent, r.throttled():
			attempt--
			throttles++
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
		case method == http.MethodGet && r.status == http.StatusOK && r.tree() == nil:
			// A page of something that stands before the server says nothing about what the server holds.
			r.code = load.CodeUnread
		default:
			return r, nil
		}
	}
	return nil, &load.Error{Op: op, Status: r.status, Code: r.code, Err: load.ErrUnavailable}
}
