package sandbox

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// actor does the interactions on single resources, over one store, or what the faults make of them.
type actor struct {
	store     *store
	faults    *faults
	finder    *finder
	integrity bool // references must point at something
	now       func() time.Time
}

// alone does one operation and makes it durable.
func (a *actor) alone(o *operation) *answer {
	at := a.now()
	if !o.writes() {
		a.store.mu.RLock()
		defer a.store.mu.RUnlock()
		return a.act(o, at)
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	done := a.act(o, at)
	if refused := settle(a.store); refused != nil {
		return refused
	}
	if done.body == nil && done.version != nil && done.status < 300 && !done.version.deleted {
		body, err := a.store.body(nil, done.version)
		if err != nil {
			return broken()
		}
		done.body = body
	}
	return done
}

// settle makes the change under way durable. Nil: it is.
func settle(st *store) *answer {
	if err := st.commit(); err != nil {
		return refuse(http.StatusInsufficientStorage, r4.IssueTypeNoStore, "the sandbox's file cannot be written")
	}
	return nil
}

// act does one operation that was prepared. The store is locked by the caller: for reading, or for writing if the
// operation writes. What is written belongs to the change under way.
func (a *actor) act(o *operation, at time.Time) *answer {
	if f := a.faults.entry(o.method, o.name); f != nil {
		return struck(f)
	}
	switch o.interaction {
	case read:
		return a.read(o)
	case vread:
		return a.vread(o)
	case history:
		return a.history(o)
	case search:
		return a.finder.search(o)
	case create:
		return a.create(o, at)
	case update:
		return a.update(o, at)
	case remove:
		return a.remove(o, at)
	}
	return refuse(http.StatusMethodNotAllowed, r4.IssueTypeNotSupported, "the sandbox does not do this")
}

// struck is the answer of a fault with a status.
func struck(f *fault) *answer {
	code := r4.IssueTypeTransient
	switch {
	case f.status == http.StatusTooManyRequests:
		code = r4.IssueTypeThrottled
	case f.status < 500:
		code = r4.IssueTypeProcessing
	}
	return refuse(f.status, code, "a fault that was asked for")
}

func broken() *answer {
	return refuse(http.StatusInternalServerError, r4.IssueTypeException, "the sandbox cannot read its own memory")
}

// show is the answer with a version of a resource, status 200 unless another is given.
func (a *actor) show(r *resource, v *version, status int) *answer {
	body, err := a.store.body(nil, v)
	if err != nil {
		return broken()
	}
	shown := *v
	return &answer{status: status, name: r.name, version: &shown, body: body}
}

func (a *actor) read(o *operation) *answer {
	r := a.store.find(o.name)
	switch {
	case r == nil:
		return refuse(http.StatusNotFound, r4.IssueTypeNotFound, "there is no such resource")
	case r.now.deleted:
		gone := refuse(http.StatusGone, r4.IssueTypeDeleted, "the resource was deleted")
		v := r.now
		gone.name, gone.version = r.name, &v
		return gone
	case o.ifNoneMatch != "" && matchesETag(o.ifNoneMatch, &r.now):
		v := r.now
		return &answer{status: http.StatusNotModified, name: r.name, version: &v}
	}
	return a.show(r, &r.now, http.StatusOK)
}

func (a *actor) vread(o *operation) *answer {
	number, err := strconv.ParseUint(o.version, 10, 32)
	r := a.store.find(o.name)
	if err != nil || r == nil || r.at(uint32(number)) == nil {
		return refuse(http.StatusNotFound, r4.IssueTypeNotFound, "there is no such version")
	}
	v := r.at(uint32(number))
	if v.deleted {
		return refuse(http.StatusGone, r4.IssueTypeDeleted, "the version is a deletion")
	}
	return a.show(r, v, http.StatusOK)
}

func (a *actor) history(o *operation) *answer {
	r := a.store.find(o.name)
	if r == nil {
		return refuse(http.StatusNotFound, r4.IssueTypeNotFound, "there is no such resource")
	}
	total := len(r.old) + 1
	w := fhir.NewBundle(nil, r4.BundleTypeHistory, fhir.BundleHead{Total: &total,
		Links: []fhir.Link{{Relation: "self", URL: o.base + "/" + r.name.String() + "/_history"}}})
	for i := total - 1; i >= 0; i-- {
		v := &r.now
		if i < len(r.old) {
			v = &r.old[i]
		}
		request, status := fhir.PutRequest(r.typ, r.id), http.StatusOK
		var body []byte
		switch {
		case v.posted:
			request, status = fhir.PostRequest(r.typ), http.StatusCreated
		case v.deleted:
			request, status = fhir.DeleteRequest(r.typ, r.id), http.StatusNoContent
		case v.created:
			status = http.StatusCreated
		}
		if !v.deleted {
			var err error
			if body, err = a.store.body(nil, v); err != nil {
				return broken()
			}
		}
		w.Version(o.base+"/"+r.name.String(), body, request, fhir.Response{Status: status, ETag: v.etag(), LastModified: v.instant()})
	}
	bundle, err := w.Close()
	if err != nil {
		return broken()
	}
	return &answer{status: http.StatusOK, body: bundle}
}

func (a *actor) create(o *operation, at time.Time) *answer {
	if o.ifNoneExist != "" {
		if there := a.existing(o); there != nil {
			return there
		}
	}
	called := o.name
	if called.id == "" { // a transaction has chosen it already
		called.id = a.store.newID(o.typ)
	}
	return a.write(o, called, at)
}

// existing settles the condition of a create: the answer with what exists, or nil.
func (a *actor) existing(o *operation) *answer {
	query, err := url.ParseQuery(o.ifNoneExist)
	if err != nil {
		return refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "If-None-Exist cannot be read")
	}
	found, refused := a.finder.matches(o.typ, query)
	switch {
	case refused != nil:
		return refused
	case len(found) > 1:
		return several()
	case len(found) == 1:
		return a.show(found[0], &found[0].now, http.StatusOK)
	}
	return nil
}

func several() *answer {
	return refuse(http.StatusPreconditionFailed, r4.IssueTypeMultipleMatches, "the condition matches several resources")
}

func (a *actor) update(o *operation, at time.Time) *answer {
	called := o.name
	if called.id == "" {
		found, refused := a.finder.matches(o.typ, o.query)
		given := o.body.ID()
		switch {
		case refused != nil:
			return refused
		case len(found) > 1:
			return several()
		case len(found) == 1 && given != "" && given != found[0].id:
			return refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the condition matches a resource with another id", o.typ+".id")
		case len(found) == 1:
			called = found[0].name
		case given == "":
			called.id, o.chosen = a.store.newID(o.typ), true
		case a.store.find(name{o.typ, given}) != nil:
			return refuse(http.StatusConflict, r4.IssueTypeConflict, "the id belongs to a resource that the condition does not match", o.typ+".id")
		default:
			called.id = given
		}
	}
	r := a.store.find(called)
	exists := r != nil && r.exists()
	switch {
	case r == nil && a.store.serverIDs && !o.chosen: // http.html#upsert, before any condition (RFC 9110 13.2.1)
		return refuse(http.StatusMethodNotAllowed, r4.IssueTypeNotSupported, "there is no such resource, and only the server gives ids")
	case o.ifMatch != "" && (!exists || !matchesETag(o.ifMatch, &r.now)):
		return refuse(http.StatusPreconditionFailed, r4.IssueTypeConflict, "the current version is another one")
	case o.ifNoneMatch == "*" && exists:
		return refuse(http.StatusPreconditionFailed, r4.IssueTypeDuplicate, "the resource exists already")
	}
	return a.write(o, called, at)
}

// write stores the body under the name, or what the faults make of it.
func (a *actor) write(o *operation, called name, at time.Time) *answer {
	d := o.drafted
	if d == nil || d.name != called {
		d = newDraft(o.body, called)
	}
	if !o.among {
		if refused := a.dangling(o.body, called); refused != nil {
			return refused
		}
	}
	if len(a.faults.list) > 0 {
		fate := o.fate(called)
		if f := a.faults.write("reject", fate); f != nil {
			return refuse(f.status, r4.IssueTypeBusinessRule, "a fault that was asked for", called.typ)
		}
		if a.faults.write("lose", fate) != nil {
			v := version{number: 1, updated: at.UnixMilli(), created: true}
			return &answer{status: http.StatusCreated, name: called, version: &v, body: d.text}
		}
		d = a.spoil(d, fate)
	}
	d.posted = o.interaction == create
	r := a.store.put(d, at)
	status := http.StatusOK
	if r.now.created {
		status = http.StatusCreated
	}
	v := r.now
	return &answer{status: status, name: r.name, version: &v}
}

// spoil applies the faults that change what is stored.
func (a *actor) spoil(d *draft, fate name) *draft {
	node, called := d.node, d.name
	if f := a.faults.write("cut-string", fate); f != nil {
		node = cutStrings(node, f.length)
	}
	if a.faults.write("drop-extension", fate) != nil {
		node = without(node, "extension")
	}
	if a.faults.write("wrong-id", fate) != nil {
		called.id = a.store.newID(called.typ)
	}
	if node == d.node && called == d.name {
		return d
	}
	return newDraft(node, called)
}

// dangling refuses a resource that refers to one which does not exist, if references must point at something.
func (a *actor) dangling(n *fhir.Node, itself name) *answer {
	if !a.integrity {
		return nil
	}
	var missing bool
	rewrite(n, func(member, text string) string {
		if member == "reference" && !strings.Contains(text, ":") && !strings.HasPrefix(text, "#") && !strings.Contains(text, "?") {
			typ, id, _ := fhir.SplitLocation(text)
			r := a.store.find(name{typ, id})
			missing = missing || (name{typ, id}) != itself && (r == nil || !r.exists())
		}
		return text
	})
	if missing {
		return refuse(http.StatusUnprocessableEntity, r4.IssueTypeNotFound, "a reference points at nothing", itself.typ)
	}
	return nil
}

func (a *actor) remove(o *operation, at time.Time) *answer {
	r := a.store.find(o.name)
	if r == nil || !r.exists() {
		if o.ifMatch != "" {
			return refuse(http.StatusPreconditionFailed, r4.IssueTypeConflict, "there is no such resource")
		}
		return &answer{status: http.StatusNoContent}
	}
	if o.ifMatch != "" && !matchesETag(o.ifMatch, &r.now) {
		return refuse(http.StatusPreconditionFailed, r4.IssueTypeConflict, "the current version is another one")
	}
	a.store.remove(r, at)
	v := r.now
	return &answer{status: http.StatusNoContent, name: r.name, version: &v}
}

// matchesETag tells whether one of the entity tags of a header is the version's.
func matchesETag(header string, v *version) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || fhir.ETagVersion(tag) == strconv.FormatUint(uint64(v.number), 10) {
			return true
		}
	}
	return false
}

// cutStrings cuts strings that are longer than so many characters; with 0 the longest string that looks like words or
// codes loses its last character. Type, id and meta stay.
func cutStrings(n *fhir.Node, length int) *fhir.Node {
	longest := ""
	content := func(f func(member, text string) string) *fhir.Node {
		changed := &fhir.Node{Kind: fhir.Object}
		for _, m := range n.Members {
			if m.Name != "resourceType" && m.Name != "id" && m.Name != "meta" {
				m.Value = rewriteMember(m.Name, m.Value, f)
			}
			changed.Members = append(changed.Members, m)
		}
		return changed
	}
	if length == 0 {
		content(func(member, text string) string {
			if member != "reference" && len(text) > len(longest) && !strings.ContainsAny(text, ":/<") {
				longest = text
			}
			return text
		})
	}
	return content(func(_, text string) string {
		runes := []rune(text)
		switch {
		case length > 0 && len(runes) > length:
			return string(runes[:length])
		case length == 0 && text == longest && len(runes) > 1:
			return string(runes[:len(runes)-1])
		}
		return text
	})
}

// without returns the resource without the members of that name, wherever they are.
func without(n *fhir.Node, member string) *fhir.Node {
	switch n.Kind {
	case fhir.Array:
		list := make([]*fhir.Node, len(n.Items))
		for i, item := range n.Items {
			list[i] = without(item, member)
		}
		return fhir.NewArray(list...)
	case fhir.Object:
		var members []fhir.Member
		for _, m := range n.Members {
			if m.Name != member {
				members = append(members, fhir.Member{Name: m.Name, Value: without(m.Value, member)})
			}
		}
		return fhir.NewObject(members...)
	}
	return n
}
