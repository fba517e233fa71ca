package rest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// pageSize is what a search asks for on one page; a server may give less.
const pageSize = 1000

// emptyPages is how many pages in a row may bring nothing new before the search is taken to loop.
const emptyPages = 3

// digest16 stands for a string in a set: sixteen bytes of SHA-256, so that millions of ids fit into memory.
type digest16 [16]byte

func digestOf(text string) (d digest16) {
	sum := sha256.Sum256([]byte(text))
	copy(d[:], sum[:])
	return d
}

// lister finds what carries our tag.
type lister struct {
	conn  *connection
	forms *forms
}

// list yields what carries the tag; see [load.Lister].
func (t *lister) list(ctx context.Context, typ, tag string) iter.Seq2[load.Listed, error] {
	return func(yield func(load.Listed, error) bool) {
		if !addressable(typ, "x") {
			yield(load.Listed{}, fmt.Errorf("list: no type of R4"))
			return
		}
		t.conn.pace.Again()
		query := url.Values{"_tag": {fhir.TagSystem + "|" + tag}, "_elements": {"id,meta"}, "_count": {fmt.Sprint(pageSize)}}
		page := t.conn.address(typ) + "?" + query.Encode()
		pages, ids := map[digest16]struct{}{}, map[digest16]struct{}{}
		stale := 0
		for page != "" {
			if _, loop := pages[digestOf(page)]; loop {
				yield(load.Listed{}, listError(http.StatusOK, "a page comes twice"))
				return
			}
			pages[digestOf(page)] = struct{}{}
			bundle, err := t.page(ctx, page)
			if err != nil {
				yield(load.Listed{}, err)
				return
			}
			fresh := 0
			for _, entry := range bundle.Entries {
				if entry.Mode != "" && entry.Mode != "match" {
					continue
				}
				resource := entry.Resource
				if resource.ResourceType() != typ || !fhir.ValidID(resource.ID()) {
					yield(load.Listed{}, listError(http.StatusOK, "an entry is no "+typ))
					return
				}
				if !tagged(resource, tag) {
					yield(load.Listed{}, listError(http.StatusOK, "an entry lacks the tag that was searched for"))
					return
				}
				d := digestOf(resource.ID())
				if _, twice := ids[d]; twice {
					continue
				}
				ids[d] = struct{}{}
				fresh++
				// The ids alone are kept, not the page they are part of.
				listed := load.Listed{ID: strings.Clone(resource.ID())}
				listed.Ours = listed.ID
				if t.forms.givesIDs(typ) {
					listed.Ours = strings.Clone(load.OurID(resource))
				}
				if !yield(listed, nil) {
					return
				}
			}
			if stale++; fresh > 0 {
				stale = 0
			}
			if page, err = nextPage(page, bundle); err != nil {
				yield(load.Listed{}, err)
				return
			}
			if page != "" && stale >= emptyPages {
				yield(load.Listed{}, listError(http.StatusOK, "pages bring nothing new"))
				return
			}
		}
	}
}

func listError(status int, why string) error {
	return &load.Error{Op: "list", Status: status, Err: fmt.Errorf("%w: %s", load.ErrPaging, why)}
}

// tagged tells whether the resource carries our tag. A server that does not know _tag may ignore it and answer with
// everything it has.
func tagged(resource *fhir.Node, tag string) bool {
	tags := resource.At("meta", "tag")
	if tags == nil {
		return false
	}
	for _, coding := range tags.Items {
		if coding.Get("system").Str() == fhir.TagSystem && coding.Get("code").Str() == tag {
			return true
		}
	}
	return false
}

// page reads one page of a search.
func (t *lister) page(ctx context.Context, address string) (*fhir.Bundle, error) {
	last := &load.Error{Op: "list", Err: load.ErrPaging}
	for attempt, throttles := 1, 0; attempt <= t.conn.attempts && throttles <= mostThrottles; attempt++ {
		r, err := t.conn.ask(ctx, "list", http.MethodGet, address, nil, nil)
		if err != nil {
			return nil, err
		}
		last.Status, last.Code = r.status, r.code
		switch {
		case r.unsent, r.throttled():
			attempt--
			throttles++
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
		case r.status == http.StatusOK:
			if b := r.bundle("searchset"); b != nil {
				return b, nil
			}
			last.Code = load.CodeUnread
		default:
			last.Code, _ = r.reason()
			return nil, last
		}
	}
	return nil, last
}

// nextPage is the address of the next page, "" at the end. It must lie on the same host, because the credentials go
// with the request.
func nextPage(current string, bundle *fhir.Bundle) (string, error) {
	link := bundle.Link("next")
	if link == "" {
		return "", nil
	}
	from, err := url.Parse(current)
	if err != nil {
		return "", listError(http.StatusOK, "a page has no address")
	}
	next, err := from.Parse(link)
	if err != nil || next.Scheme != from.Scheme || !strings.EqualFold(next.Host, from.Host) || next.User != nil {
		return "", listError(http.StatusOK, "the next page lies elsewhere")
	}
	return next.String(), nil
}
