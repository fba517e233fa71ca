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

// marker keeps the marker of a migration at its server.
type marker struct {
	conn      *connection
	forms     *forms
	preflight *preflight
	migration string
}

// read reads the marker; see [load.Store].
func (t *marker) read(ctx context.Context) (load.Marker, bool, error) {
	const op = "read marker"
	address := t.conn.address(load.MarkerType, load.MarkerID(t.migration))
	given := t.forms.givesIDs(load.MarkerType)
	if given {
		address = t.conn.address(load.MarkerType) + "?" + markerQuery(t.migration)
	}
	r, err := t.conn.insist(ctx, op, http.MethodGet, address, nil, nil)
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

// write writes a marker; see [load.Store].
func (t *marker) write(ctx context.Context, m load.Marker) error {
	const op = "write marker"
	if err := t.preflight.confirm(ctx); err != nil {
		return err
	}
	id := load.MarkerID(m.Migration)
	method, address, header := http.MethodPut, t.conn.address(load.MarkerType, id), http.Header(nil)
	if t.forms.givesIDs(load.MarkerType) {
		id = ""
		method, address, header = http.MethodPost, t.conn.address(load.MarkerType), http.Header{"If-None-Exist": {markerQuery(m.Migration)}}
	}
	r, err := t.conn.insist(ctx, op, method, address, m.Resource(id), header)
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
