package rest

import (
	"context"
	"fmt"
	"net/http"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// undoSize is how many resources one batch takes back. Each is read before.
const undoSize = 100

// undoer takes back what lies at one server.
type undoer struct {
	conn      *connection
	preflight *preflight
	reader    *reader
}

// delete deletes what nobody has changed; see [load.Undoer].
func (t *undoer) delete(ctx context.Context, list []load.Existing) ([]load.Outcome, error) {
	return t.undo(ctx, "delete", list, func(u *undoing, s *seen) (fhir.Request, []byte) {
		if s.status != load.Present {
			u.settle(load.Deleted, "", "")
		}
		return fhir.DeleteRequest(u.at.typ, u.at.id), nil
	})
}

// mark marks as vanished what nobody has changed; see [load.Undoer].
func (t *undoer) mark(ctx context.Context, list []load.Existing) ([]load.Outcome, error) {
	return t.undo(ctx, "mark", list, func(u *undoing, s *seen) (fhir.Request, []byte) {
		if s.status != load.Present {
			u.settle(load.Edited, "", load.CodeDeleted)
			return fhir.Request{}, nil
		}
		marked := s.resource.Clone()
		switch changed, ok := load.MarkVanished(marked); {
		case !ok:
			u.settle(load.Rejected, "", load.CodeUnmarked)
		case !changed && u.asked:
			u.settle(load.Updated, s.version, "")
			u.outcome.Replaced = u.version
		case !changed:
			u.settle(load.Unchanged, s.version, "")
		}
		return fhir.PutRequest(u.at.typ, u.at.id), marked.AppendCanonical(nil)
	})
}

// undoing is one resource on its way back.
type undoing struct {
	at      key
	version string // of our last write
	outcome load.Outcome
	settled bool
	asked   bool // a request may have reached the server
	refused bool // the last answer was the server's no
}

// settle gives the resource its outcome.
func (u *undoing) settle(kind load.Kind, version, code string) {
	u.settled = true
	u.outcome.Kind, u.outcome.Version, u.outcome.Code = kind, version, code
	if code == "" {
		u.outcome.Path = ""
	}
}

// undo takes the resources back, some at a time. plan says, of a resource that a look has found in our version, or not at
// all, what to ask for, or settles it.
func (t *undoer) undo(ctx context.Context, op string, list []load.Existing, plan func(*undoing, *seen) (fhir.Request, []byte)) ([]load.Outcome, error) {
	outcomes := make([]load.Outcome, len(list))
	all := make([]*undoing, len(list))
	for i, e := range list {
		outcomes[i] = load.Outcome{Type: e.Type, ID: e.ID}
		if !addressable(e.Type, e.ID) || e.Version != "" && !fhir.ValidID(e.Version) {
			return outcomes, fmt.Errorf("%s resource %d of %d: neither type, id nor version of R4", op, i+1, len(list))
		}
		all[i] = &undoing{at: key{e.Type, e.ID}, version: e.Version, outcome: outcomes[i]}
		if e.Version == "" {
			all[i].settle(load.Rejected, "", load.CodeVersion)
		}
	}
	t.conn.pace.Again()
	if err := t.preflight.confirm(ctx); err != nil {
		return outcomes, err
	}
	err := t.conn.parts(ctx, len(all), undoSize, func(ctx context.Context, from, to int) error {
		return t.undoPart(ctx, op, all[from:to], plan)
	})
	for i, u := range all {
		outcomes[i] = u.outcome
	}
	return outcomes, err
}

// undoPart goes on until each has its outcome. It looks before each attempt, and after the last: what is done shows by
// what is there, whatever was answered.
func (t *undoer) undoPart(ctx context.Context, op string, part []*undoing, plan func(*undoing, *seen) (fhir.Request, []byte)) error {
	failed := false
	for attempt, throttles := 0, 0; ; attempt++ {
		open, body, err := t.undoRequests(ctx, part, plan)
		switch {
		case err != nil || len(open) == 0:
			return err
		case attempt >= t.conn.attempts || throttles > mostThrottles:
			return nil // in doubt
		case failed:
			if err := t.conn.pace.Pause(ctx, attempt); err != nil {
				return err
			}
		}
		failed = true
		for _, u := range open {
			u.outcome.Kind, u.asked, u.refused = load.InDoubt, true, false
		}
		r, err := t.conn.ask(ctx, op, http.MethodPost, t.conn.base.String(), body, minimal)
		if err != nil {
			return err
		}
		if r.unsent || r.throttled() {
			attempt--
			throttles++
			continue
		}
		answers, ok := []entryAnswer(nil), false
		if r.whole() && r.status < 300 {
			answers, ok = readAnswers(r, len(open))
		}
		if !ok {
			for _, u := range open {
				u.outcome.Status, u.outcome.Code, u.outcome.Path = r.status, r.code, ""
			}
			continue
		}
		failed = false
		throttled := false
		for i, u := range open {
			a := &answers[i]
			u.outcome.Status, u.outcome.Code, u.outcome.Path = a.status, a.code, a.path
			switch {
			case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, a.code == "throttled":
				throttled = true
			case a.status >= 400 && a.status < 500 && a.status != http.StatusRequestTimeout:
				u.refused = true
			case a.status < 200 || a.status >= 300:
				failed = true
			}
		}
		if throttled {
			t.conn.pace.EntriesThrottled(r.started, load.RetryAfter(r.header, t.conn.now()))
			attempt--
			throttles++
		}
	}
}

// undoRequests looks at what is there, settles what needs no request, and writes the requests of the rest.
func (t *undoer) undoRequests(ctx context.Context, part []*undoing, plan func(*undoing, *seen) (fhir.Request, []byte)) (open []*undoing, body []byte, err error) {
	var questions []question
	var asked []*undoing
	for _, u := range part {
		if !u.settled {
			asked, questions = append(asked, u), append(questions, question{key: u.at})
		}
	}
	if len(asked) == 0 {
		return nil, nil, nil
	}
	found, err := t.reader.fetch(ctx, questions)
	if err != nil {
		return nil, nil, err
	}
	w := fhir.NewBundle(nil, r4.BundleTypeBatch, fhir.BundleHead{})
	for i, u := range asked {
		s := &found[i]
		if s.status == load.Unknown {
			u.settle(load.InDoubt, "", s.code)
			continue
		}
		request, resource := plan(u, s)
		switch {
		case u.settled:
			continue
		case s.version != u.version:
			u.settle(load.Edited, s.version, load.CodeChanged)
			continue
		case u.refused:
			u.settle(load.Rejected, "", u.outcome.Code)
			continue
		}
		request.IfMatch = fhir.VersionETag(u.version)
		w.Request(request, resource)
		open = append(open, u)
	}
	body, err = w.Close()
	return open, body, err
}
