package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// readSize is how many resources one batch of GETs asks for. Their answers are many times larger than the questions.
const readSize = 250

// seen is what a read found, with the resource as a tree.
type seen struct {
	status   load.FoundStatus
	version  string
	code     string
	resource *fhir.Node
}

// reader reads from one server. Safe for concurrent use.
type reader struct {
	conn    *connection
	singles atomic.Bool // the server does not read in batches
}

// question is what is asked of the server: a resource by where it lies, or, without an id, by the tag that names ours.
type question struct {
	key
	ours string
}

func (q question) path() string {
	if q.id == "" {
		return q.typ + "?" + tagQuery(q.ours) + "&_count=2"
	}
	return q.typ + "/" + q.id
}

// read reads resources by id; see [load.Reader].
func (t *reader) read(ctx context.Context, typ string, ids []string) ([]load.Found, error) {
	questions := make([]question, len(ids))
	for i, id := range ids {
		if !addressable(typ, id) {
			return nil, fmt.Errorf("read resource %d of %d: neither type nor id of R4", i+1, len(ids))
		}
		questions[i].key = key{typ, id}
	}
	t.conn.pace.Again()
	found := make([]load.Found, len(ids))
	err := t.conn.parts(ctx, len(questions), readSize, func(ctx context.Context, from, to int) error {
		all, err := t.fetch(ctx, questions[from:to])
		for i, s := range all {
			found[from+i] = s.found(ids[from+i])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (s *seen) found(id string) load.Found {
	f := load.Found{ID: id, Status: s.status, Version: s.version, Code: s.code}
	if s.status == load.Present {
		f.Body = s.resource.AppendCanonical(nil)
	}
	return f
}

// version reads one version; see [load.History].
func (t *reader) version(ctx context.Context, typ, id, version string) (load.Found, error) {
	if !addressable(typ, id) || !fhir.ValidID(version) {
		return load.Found{}, fmt.Errorf("read a version: neither type, id nor version of R4")
	}
	s, err := t.fetchOne(ctx, question{key: key{typ, id}}, t.conn.address(typ, id, "_history", version))
	if err != nil {
		return load.Found{}, err
	}
	if s.status == load.Present && s.version != version {
		s = seen{code: load.CodeMismatch}
	}
	return s.found(id), nil
}

// fetch reads the resources in batches, and singly where the target does not read in batches or a batch keeps failing.
// An error means that the run cannot go on.
func (t *reader) fetch(ctx context.Context, all []question) ([]seen, error) {
	found := make([]seen, len(all))
	for from := 0; from < len(all); from += readSize {
		to := min(from+readSize, len(all))
		if err := t.fetchBatch(ctx, all[from:to], found[from:to]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// fetchBatch fills all. What a batch does not answer is asked for again, and in the end one by one.
func (t *reader) fetchBatch(ctx context.Context, questions []question, all []seen) error {
	open := make([]int, len(questions)) // what is still to be read
	for i := range open {
		open[i] = i
	}
	for attempt := 1; attempt <= t.conn.attempts && len(open) > 1 && !t.singles.Load(); attempt++ {
		asked := make([]question, len(open))
		for i, at := range open {
			asked[i] = questions[at]
		}
		body, err := readRequests(asked)
		if err != nil {
			return err
		}
		r, err := t.conn.ask(ctx, "read", http.MethodPost, t.conn.base.String(), body, nil)
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
			t.conn.pace.EntriesThrottled(r.started, load.RetryAfter(r.header, t.conn.now()))
		}
		open = rest
	}
	for _, at := range open {
		s, err := t.fetchOne(ctx, questions[at], t.conn.address(questions[at].path()))
		if err != nil {
			return err
		}
		all[at] = s
	}
	return nil
}

// readRequests is a batch of GETs.
func readRequests(questions []question) ([]byte, error) {
	w := fhir.NewBundle(nil, r4.BundleTypeBatch, fhir.BundleHead{})
	for _, q := range questions {
		w.Request(fhir.GetRequest(q.path()), nil)
	}
	return w.Close()
}

// judgeRead says what the answer to a GET within a batch means. Not done: ask again.
func judgeRead(a entryAnswer, asked question) (s seen, done bool) {
	switch {
	case a.status == http.StatusOK && asked.id == "":
		return judgeSearch(a.resource, asked)
	case a.status == http.StatusOK:
		if a.resource == nil {
			return seen{code: load.CodeUnread}, false
		}
		if (key{a.resource.ResourceType(), a.resource.ID()}) != asked.key {
			return seen{code: load.CodeMismatch}, false
		}
		return seen{status: load.Present, version: a.version, resource: a.resource}, true
	case a.named != (key{}) && asked.id != "" && a.named != asked.key:
		return seen{code: load.CodeMismatch}, false
	case a.status == http.StatusNotFound:
		return seen{status: load.Missing, code: a.code}, true
	case a.status == http.StatusGone:
		return seen{status: load.Gone, code: a.code}, true
	}
	return seen{code: a.code}, false
}

// judgeSearch says what the search for our tag found. Two resources that carry it are a duplicate, and neither is taken
// for ours.
func judgeSearch(bundle *fhir.Node, asked question) (s seen, done bool) {
	if bundle.ResourceType() != "Bundle" || bundle.Get("type").Str() != "searchset" {
		return seen{code: load.CodeUnread}, false
	}
	s = seen{status: load.Missing}
	entries := bundle.Get("entry")
	if entries == nil {
		return s, true
	}
	for _, entry := range entries.Items {
		if mode := entry.At("search", "mode").Str(); mode != "" && mode != "match" {
			continue
		}
		resource := entry.Get("resource")
		if resource.ResourceType() != asked.typ || !fhir.ValidID(resource.ID()) || load.OurID(resource) != asked.ours {
			return seen{code: load.CodeUnread}, false // a server that does not know _tag may return all that it has
		}
		if s.status == load.Present {
			return seen{code: load.CodeDuplicate}, true
		}
		s = seen{status: load.Present, version: versionOf(resource), resource: resource}
	}
	return s, true
}

// versionOf is the version that a resource says it is of; "" if none of FHIR's.
func versionOf(resource *fhir.Node) string {
	if version := resource.At("meta", "versionId").Str(); fhir.ValidID(version) {
		return strings.Clone(version)
	}
	return ""
}

// fetchOne reads one resource from the given address.
func (t *reader) fetchOne(ctx context.Context, asked question, address string) (seen, error) {
	last := seen{code: load.CodeUnread}
	for attempt, throttles := 1, 0; attempt <= t.conn.attempts && throttles <= mostThrottles; attempt++ {
		r, err := t.conn.ask(ctx, "read", http.MethodGet, address, nil, nil)
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
			version := versionOf(resource)
			if version == "" {
				version = strings.Clone(fhir.ETagVersion(r.header.Get("ETag")))
			}
			s, done := judgeRead(entryAnswer{status: r.status, resource: resource, version: version}, asked)
			if done {
				return s, nil
			}
			last = s
		case r.status == http.StatusNotFound:
			return seen{status: load.Missing}, nil
		case r.status == http.StatusGone:
			return seen{status: load.Gone}, nil
		default:
			code, _ := r.reason()
			return seen{code: code}, nil
		}
	}
	return last, nil
}
