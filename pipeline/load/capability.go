package load

import (
	"context"
	"net/http"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Capabilities is what a target's CapabilityStatement says, as far as loading needs it. Servers differ, and so do their
// statements: what is not mentioned is not offered.
type Capabilities struct {
	fhir.Capabilities

	// Notices are remarks for the person who starts the run.
	Notices []string
}

// Lacking names what loading resources of the type and reading them back needs and the target does not offer. Empty:
// nothing.
func (c *Capabilities) Lacking(typ string) []string {
	r := c.Resource(typ)
	if r == nil {
		return []string{"the type"}
	}
	var lacking []string
	for _, need := range [][2]string{{"update", "update"}, {"read", "read"}, {"search-type", "search"}} {
		if !r.Can(need[0]) {
			lacking = append(lacking, need[1])
		}
	}
	if !r.UpdateCreate {
		lacking = append(lacking, "update as create, without which our ids cannot be kept")
	}
	return lacking
}

// Preflight reads the CapabilityStatement.
func (t *restTarget) Preflight(ctx context.Context) (Capabilities, error) {
	const op = "metadata"
	var r *reply
	for attempt := 1; ; attempt++ {
		var err error
		if r, err = t.ask(ctx, op, http.MethodGet, t.address("metadata"), nil, nil); err != nil {
			return Capabilities{}, err
		}
		if r.whole() && r.status < 500 && !r.throttled() || attempt > t.attempts {
			break
		}
	}
	if !r.whole() || r.status != http.StatusOK {
		code, _ := r.reason()
		return Capabilities{}, &Error{Op: op, Status: r.status, Code: code, Err: ErrUnsupported}
	}
	statement, err := fhir.ReadCapabilities(r.body)
	if err != nil {
		return Capabilities{}, &Error{Op: op, Status: r.status, Code: CodeUnread, Err: ErrUnsupported}
	}
	c := Capabilities{Capabilities: *statement}
	if !strings.HasPrefix(c.FHIRVersion, "4.0") {
		return c, &Error{Op: op, Status: r.status, Code: "not-supported", Err: ErrUnsupported}
	}
	if t.sandbox {
		if c.Software != SandboxName {
			return c, &Error{Op: op, Status: r.status, Err: ErrNotSandbox}
		}
		t.confirmed.Store(true)
	}
	if !c.Batch {
		// Some servers take batches and do not say so; the first bundle will tell.
		c.Notices = append(c.Notices, "the target does not say that it takes batches")
	}
	if t.base.Scheme != "https" && !loopback(t.base.Hostname()) {
		c.Notices = append(c.Notices, "the target is reached over plain http: patient data would travel unencrypted")
	}
	return c, nil
}

// confirm makes sure that kind sandbox talks to a sandbox. Other kinds need no confirmation.
func (t *restTarget) confirm(ctx context.Context) error {
	if !t.sandbox || t.confirmed.Load() {
		return nil
	}
	_, err := t.Preflight(ctx)
	return err
}
