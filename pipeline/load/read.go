package load

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// readSize is how many resources one batch of GETs asks for. Their answers are many times larger than the questions.
const readSize = 250

// seen is what a read found, with the resource as a tree.
type seen struct {
	status   FoundStatus
	version  string
	code     string
	resource *fhir.Node
}

// Read reads resources by id; see [Target].
func (t *restTarget) Read(ctx context.Context, typ string, ids []string) ([]Found, error) {
	keys := make([]key, len(ids))
	for i, id := range ids {
		if !addressable(typ, id) {
			return nil, fmt.Errorf("read resource %d of %d: neither type nor id of R4", i+1, len(ids))
		}
		keys[i] = key{typ, id}
	}
	t.pace.again()
	found := make([]Found, len(ids))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := pool.New().WithMaxGoroutines(t.parallel).WithErrors().WithFirstError()
	for from := 0; from < len(keys) && ctx.Err() == nil; from += readSize {
		to := min(from+readSize, len(keys))
		p.Go(func() error {
			all, err := t.fetch(ctx, keys[from:to])
			if err != nil {
				cancel()
				return err
			}
			for i, s := range all {
				found[from+i] = s.found(ids[from+i])
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	return found, ctx.Err()
}

func (s *seen) found(id string) Found {
	f := Found{ID: id, Status: s.status, Version: s.version, Code: s.code}
	if s.status == Present {
		f.Body = s.resource.AppendCanonical(nil)
	}
	return f
}

// Version reads one version; see [Target].
func (t *restTarget) Version(ctx context.Context, typ, id, version string) (Found, error) {
	if !addressable(typ, id) || !fhir.ValidID(version) {
		return Found{}, fmt.Errorf("read a version: neither type, id nor version of R4")
	}
	s, err := t.fetchOne(ctx, key{typ, id}, t.address(typ, id, "_history", version))
	if err != nil {
		return Found{}, err
	}
	if s.status == Present && s.version != version {
		s = seen{code: CodeMismatch}
	}
	return s.found(id), nil
}

// fetch reads the resources in batches, and singly where the target does not read in batches or a batch keeps failing.
// An error means that the run cannot go on.
func (t *restTarget) fetch(ctx context.Context, keys []key) ([]seen, error) {
	all := make([]seen, len(keys))
	for from := 0; from < len(keys); from += readSize {
		to := min(from+readSize, len(keys))
		if err := t.fetchBatch(ctx, keys[from:to], all[from:to]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// fetchBatch fills all. What a batch does not answer is asked for again, and in the end one by one.
func (t *restTarget) fetchBatch(ctx context.Context, keys []key, all []seen) error {
	open := make([]int, len(keys)) // what is still to be read
	for i := range open {
		open[i] = i
	}
	for attempt := 1; attempt <= t.attempts && len(open) > 1 && !t.singles.Load(); attempt++ {
		asked := make([]key, len(open))
		for i, at := range open {
			asked[i] = keys[at]
		}
		body, err := readRequests(asked)
		if err != nil {
			return err
		}
		r, err := t.ask(ctx, "read", http.MethodPost, t.base.String(), body, nil)
		if err != nil {
			return err
		}
		switch {
		case r.unsent, r.throttled():
			attempt-- // the pace waits and gives up in time
			continue
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
			continue
		case r.status >= 300:
			t.singles.Store(true)
			continue
		}
		answers, ok := readAnswers(r, len(asked))
		if !ok {
			continue
		}
		var rest []int
		throttled := false
		for i, a := range answers {
			s, done := judgeRead(a, asked[i])
			all[open[i]] = s
			if !done {
				rest = append(rest, open[i])
			}
			throttled = throttled || a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
		}
		if throttled {
			t.pace.entriesThrottled(r.started, retryAfter(r.header, t.now()))
		}
		open = rest
	}
	for _, at := range open {
		s, err := t.fetchOne(ctx, keys[at], t.address(keys[at].typ, keys[at].id))
		if err != nil {
			return err
		}
		all[at] = s
	}
	return nil
}

// readRequests is a batch of GETs.
func readRequests(keys []key) ([]byte, error) {
	w := fhir.NewBundle(nil, r4.BundleTypeBatch, fhir.BundleHead{})
	for _, k := range keys {
		w.Request(fhir.GetRequest(k.typ+"/"+k.id), nil)
	}
	return w.Close()
}

// judgeRead says what the answer to a GET within a batch means. Not done: ask again.
func judgeRead(a entryAnswer, asked key) (s seen, done bool) {
	switch {
	case a.status == http.StatusOK:
		if a.resource == nil {
			return seen{code: CodeUnread}, false
		}
		if (key{a.resource.ResourceType(), a.resource.ID()}) != asked {
			return seen{code: CodeMismatch}, false
		}
		return seen{status: Present, version: a.version, resource: a.resource}, true
	case a.named != (key{}) && a.named != asked:
		return seen{code: CodeMismatch}, false
	case a.status == http.StatusNotFound:
		return seen{status: Missing, code: a.code}, true
	case a.status == http.StatusGone:
		return seen{status: Gone, code: a.code}, true
	}
	return seen{code: a.code}, false
}

// fetchOne reads one resource from the given address.
func (t *restTarget) fetchOne(ctx context.Context, asked key, address string) (seen, error) {
	last := seen{code: CodeUnread}
	for attempt, throttles := 1, 0; attempt <= t.attempts && throttles <= mostThrottles; attempt++ {
		r, err := t.ask(ctx, "read", http.MethodGet, address, nil, nil)
		if err != nil {
			return seen{}, err
		}
		switch {
		case r.unsent, r.throttled():
			attempt--
			throttles++
			last = seen{code: "throttled"}
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
			last = seen{code: r.code}
		case r.status == http.StatusOK:
			resource := r.tree()
			version := resource.At("meta", "versionId").Str()
			if !fhir.ValidID(version) {
				version = fhir.ETagVersion(r.header.Get("ETag"))
			}
			s, done := judgeRead(entryAnswer{status: r.status, resource: resource, version: strings.Clone(version)}, asked)
			if done {
				return s, nil
			}
			last = s
		case r.status == http.StatusNotFound:
			return seen{status: Missing}, nil
		case r.status == http.StatusGone:
			return seen{status: Gone}, nil
		default:
			code, _ := r.reason()
			return seen{code: code}, nil
		}
	}
	return last, nil
}
