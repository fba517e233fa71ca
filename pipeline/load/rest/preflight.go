package rest

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// preflight asks a server what it is and can do.
type preflight struct {
	conn      *connection
	forms     *forms      // is told what was found
	sandbox   bool        // the metadata must say that it is one
	confirmed atomic.Bool // it did
}

// ask reads the CapabilityStatement; see [load.Store].
func (t *preflight) ask(ctx context.Context) (load.Capabilities, error) {
	const op = "metadata"
	var r *reply
	for attempt := 1; ; attempt++ {
		var err error
		if r, err = t.conn.ask(ctx, op, http.MethodGet, t.conn.address("metadata"), nil, nil); err != nil {
			return load.Capabilities{}, err
		}
		if r.whole() && r.status < 500 && !r.throttled() || attempt > t.conn.attempts {
			break
		}
	}
	if !r.whole() || r.status != http.StatusOK {
		code, _ := r.reason()
		return load.Capabilities{}, &load.Error{Op: op, Status: r.status, Code: code, Err: load.ErrUnsupported}
	}
	statement, err := fhir.ReadCapabilities(r.body)
	if err != nil {
		return load.Capabilities{}, &load.Error{Op: op, Status: r.status, Code: load.CodeUnread, Err: load.ErrUnsupported}
	}
	c := load.Capabilities{Capabilities: *statement, IDs: t.forms.givesIDs}
	if !strings.HasPrefix(c.FHIRVersion, "4.0") {
		return c, &load.Error{Op: op, Status: r.status, Code: "not-supported", Err: load.ErrUnsupported}
	}
	if t.sandbox {
		if c.Software != load.SandboxName {
			return c, &load.Error{Op: op, Status: r.status, Err: load.ErrNotSandbox}
		}
		t.confirmed.Store(true)
	}
	t.forms.ways.Store(waysOf(&c))
	if !c.Batch {
		// Some servers take batches and do not say so; the first bundle will tell.
		c.Notices = append(c.Notices, "the target does not say that it takes batches")
	}
	if plain(t.conn.base) {
		c.Notices = append(c.Notices, "the target is reached over plain http: patient data would travel unencrypted")
	}
	return c, nil
}

// confirm makes sure that kind sandbox talks to a sandbox. Other kinds need no confirmation.
func (t *preflight) confirm(ctx context.Context) error {
	if !t.sandbox || t.confirmed.Load() {
		return nil
	}
	_, err := t.ask(ctx)
	return err
}
