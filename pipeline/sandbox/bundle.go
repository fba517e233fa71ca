package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// bundler does batches and transactions over one store.
type bundler struct {
	store  *store
	faults *faults
	finder *finder
	actor  *actor
}

// bundle does a batch or transaction (http.html#transaction). full: the answer holds what was written.
func (b *bundler) bundle(body []byte, base string, full, lenient bool, struck map[string]*fault) *answer {
	in, err := fhir.ReadBundle(body)
	if err != nil {
		if _, refused := parse(body); refused != nil {
			return refused
		}
		return refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the body is not a Bundle", "Bundle")
	}
	var typ r4.BundleType
	switch in.Type {
	case "batch":
		typ = r4.BundleTypeBatchResponse
	case "transaction":
		typ = r4.BundleTypeTransactionResponse
	default:
		return refuse(http.StatusBadRequest, r4.IssueTypeNotSupported, "a Bundle to be processed is a batch or a transaction", "Bundle.type")
	}
	operations := make([]*operation, len(in.Entries))
	answers := make([]*answer, len(in.Entries))
	for i := range in.Entries {
		operations[i], answers[i] = parseEntry(&in.Entries[i], base, lenient)
		if o := operations[i]; o != nil && b.faults.poisoned(o) {
			return refuse(http.StatusInternalServerError, r4.IssueTypeException, "a fault that was asked for")
		}
	}
	var refused *answer
	if typ == r4.BundleTypeBatchResponse {
		refused = b.batch(operations, answers)
	} else {
		refused = b.transaction(operations, answers)
	}
	if refused != nil {
		return refused
	}
	return b.bundleAnswer(typ, base, operations, answers, full, struck)
}

// poisoned tells whether the fault poison befalls what the operation writes.
func (f *faults) poisoned(o *operation) bool {
	return len(f.list) > 0 && (o.interaction == create || o.interaction == update) && f.write("poison", o.fate(o.name)) != nil
}

// parseEntry understands one entry. Without an operation there is the answer that says why.
func parseEntry(entry *fhir.Entry, base string, lenient bool) (*operation, *answer) {
	if entry.Request == nil {
		return nil, refuse(http.StatusBadRequest, r4.IssueTypeRequired, "the entry has no request", "Bundle.entry.request")
	}
	target, err := url.Parse(strings.TrimPrefix(entry.Request.URL, base+"/"))
	if err != nil || target.Host != "" || !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE"}, entry.Request.Method) {
		return nil, refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the entry's request is none that the sandbox takes", "Bundle.entry.request")
	}
	o, refused := parseOperation(entry.Request.Method, target.Path, target.RawQuery)
	if refused != nil {
		return nil, refused
	}
	if o.interaction == search && entry.Request.Method == http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, r4.IssueTypeNotSupported, "a search by POST stands alone")
	}
	o.base, o.lenient, o.fullURL = base, lenient, entry.FullURL
	o.conditions(entry.Request.IfMatch, entry.Request.IfNoneMatch, entry.Request.IfNoneExist, entry.Resource)
	return o, nil
}

// batch does each entry for itself, in order. What they wrote is made durable at the end, all at once.
func (b *bundler) batch(operations []*operation, answers []*answer) *answer {
	writes := false
	for i, o := range operations {
		if o == nil {
			continue
		}
		if answers[i] = o.prepare(); answers[i] == nil && o.writes() {
			writes = true
		}
	}
	at := b.actor.now()
	if !writes {
		b.store.mu.RLock()
		defer b.store.mu.RUnlock()
	} else {
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
	}
	for i, o := range operations {
		if answers[i] == nil {
			answers[i] = b.actor.act(o, at)
		}
	}
	if writes {
		return settle(b.store)
	}
	return nil
}

// order is the standard's order of a transaction: deletes, creates, updates, reads.
func order(o *operation) int {
	switch o.interaction {
	case remove:
		return 0
	case create:
		return 1
	case update:
		return 2
	}
	return 3
}

// transaction does all entries or none. The answer to the first entry that fails is the answer to all.
func (b *bundler) transaction(operations []*operation, answers []*answer) *answer {
	byOrder := make([]int, len(operations))
	for i := range byOrder {
		byOrder[i] = i
		if answers[i] != nil {
			return within(i, answers[i])
		}
	}
	slices.SortStableFunc(byOrder, func(a, b int) int { return order(operations[a]) - order(operations[b]) })
	at := b.actor.now()
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if refused := b.resolve(operations, answers); refused != nil {
		b.store.rollback()
		return refused
	}
	touched := map[name]bool{}
	for _, i := range byOrder {
		o := operations[i]
		o.among = true
		if answers[i] == nil {
			answers[i] = b.transact(o, at)
		}
		a := answers[i]
		if a.status >= 400 && o.writes() {
			b.store.rollback()
			return within(i, a)
		}
		if o.writes() && a.name.typ != "" && a.version != nil {
			if touched[a.name] {
				b.store.rollback()
				return within(i, refuse(http.StatusBadRequest, r4.IssueTypeBusinessRule, "two entries change one resource"))
			}
			touched[a.name] = true
		}
	}
	for i, o := range operations {
		if stored := touched[answers[i].name] && answers[i].body == nil; stored && o.body != nil {
			if refused := b.actor.dangling(o.body, answers[i].name); refused != nil {
				b.store.rollback()
				return within(i, refused)
			}
		}
	}
	return settle(b.store)
}

func (b *bundler) transact(o *operation, at time.Time) *answer {
	if refused := o.prepare(); refused != nil {
		return refused
	}
	return b.actor.act(o, at)
}

// within says to which entry of the Bundle an answer belongs.
func within(i int, a *answer) *answer {
	for j := range a.issues {
		a.issues[j].path = fmt.Sprintf("Bundle.entry[%d].resource", i)
	}
	return a
}

// resolve gives the resources that are to be made their ids, settles the conditions, and replaces the references within
// the transaction (to a fullUrl) and those by condition (Patient?identifier=…).
func (b *bundler) resolve(operations []*operation, answers []*answer) *answer {
	urls := map[string]string{}
	for i, o := range operations {
		switch {
		case o.interaction == create && o.ifNoneExist == "":
			o.id = b.store.newID(o.typ)
		case o.interaction == create:
			// Settled now, before the entry before it can have changed what the condition matches.
			if answers[i] = b.actor.existing(o); answers[i] == nil {
				o.id, o.ifNoneExist = b.store.newID(o.typ), ""
			} else if answers[i].status >= 400 {
				return within(i, answers[i])
			} else {
				o.name = answers[i].name
			}
		case o.interaction == update && o.id == "" && o.body != nil:
			found, refused := b.finder.matches(o.typ, o.query)
			if refused != nil {
				return within(i, refused)
			}
			given := o.body.ID()
			switch {
			case len(found) > 1:
				return within(i, several())
			case len(found) == 1:
				o.id = found[0].id
			case given != "" && b.store.find(name{o.typ, given}) != nil:
				return within(i, refuse(http.StatusConflict, r4.IssueTypeConflict, "the id belongs to a resource that the condition does not match"))
			case given != "":
				o.id = given
			default:
				o.id, o.chosen = b.store.newID(o.typ), true
			}
			if given == "" {
				o.body = fhir.NewObject(slices.Clone(o.body.Members)...).Set("id", fhir.NewString(o.id))
			}
		}
		if o.fullURL != "" && o.id != "" {
			urls[o.fullURL] = o.name.String()
		}
	}
	for i, o := range operations {
		if o.body == nil || answers[i] != nil {
			continue
		}
		var refused *answer
		base := restBase(o.fullURL)
		o.body = rewrite(o.body, func(member, text string) string {
			if member == "div" {
				return relink(text, urls)
			}
			reference := member == "reference"
			bare, fragment, _ := strings.Cut(text, "#")
			if fragment != "" {
				fragment = "#" + fragment
			}
			to, ok := urls[bare]
			if !ok && reference && base != "" && bare != "" {
				to, ok = urls[base+bare]
			}
			// A value (of an Identifier, say) is a string, whatever it looks like.
			if ok && (reference || strings.HasPrefix(text, "urn:") && member != "value") {
				return to + fragment
			}
			if !reference || refused != nil {
				return text
			}
			to, problem := b.conditional(text)
			refused = problem
			return to
		})
		if refused != nil {
			return within(i, refused)
		}
	}
	return nil
}

// restBase is the server's base in a fullUrl of the form base/Type/id, with the slash, from where relative references of
// that entry count (bundle.html#references); "" for a URN.
func restBase(fullURL string) string {
	typ, id, _ := fhir.SplitLocation(fullURL)
	if base, ok := strings.CutSuffix(fullURL, typ+"/"+id); typ != "" && ok {
		return base
	}
	return ""
}

var links = regexp.MustCompile(`(?:href|src)="[^"#]*`)

// relink replaces the links of a narrative to resources of the transaction (http.html#trules).
func relink(div string, urls map[string]string) string {
	return links.ReplaceAllStringFunc(div, func(link string) string {
		start := strings.IndexByte(link, '"') + 1
		if to, ok := urls[link[start:]]; ok {
			return link[:start] + to
		}
		return link
	})
}

// conditional resolves a reference by condition, which must match one resource.
func (b *bundler) conditional(text string) (string, *answer) {
	typ, query, found := strings.Cut(text, "?")
	if t := fhir.Lookup(typ); !found || t == nil || t.Kind != fhir.KindResource {
		return text, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return text, refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "a reference by condition cannot be read")
	}
	matched, refused := b.finder.matches(typ, values)
	if refused != nil {
		return text, refused
	}
	if len(matched) != 1 {
		return text, refuse(http.StatusPreconditionFailed, r4.IssueTypeMultipleMatches, "a reference by condition does not match one resource")
	}
	return matched[0].name.String(), nil
}

// bundleAnswer writes the answer to a Bundle.
func (b *bundler) bundleAnswer(typ r4.BundleType, base string, operations []*operation, answers []*answer, full bool, struck map[string]*fault) *answer {
	if struck["entry-missing"] != nil && len(answers) > 0 {
		answers = answers[:len(answers)-1]
	}
	if struck["entry-added"] != nil && len(answers) > 0 {
		answers = append(answers, answers[0])
		operations = append(operations, operations[0])
	}
	if struck["entry-reordered"] != nil {
		slices.Reverse(answers)
		slices.Reverse(operations[:len(answers)])
	}
	w := fhir.NewBundle(nil, typ, fhir.BundleHead{})
	for i, a := range answers {
		response := fhir.Response{Status: a.status}
		wrote := operations[i] != nil && operations[i].writes()
		if wrote && struck["no-location"] == nil {
			response.Location = a.location()
		}
		fullURL := ""
		if a.name.typ != "" {
			fullURL = base + "/" + a.name.String()
		}
		if a.version != nil {
			response.ETag, response.LastModified = a.version.etag(), a.version.instant()
		}
		resource := a.body
		switch {
		case wrote && !full, a.status >= 300:
			resource = nil
		case wrote && resource == nil && a.version != nil && !a.version.deleted:
			b.store.mu.RLock()
			body, err := b.store.body(nil, a.version)
			b.store.mu.RUnlock()
			if err != nil {
				return broken()
			}
			resource = body
		}
		w.Response(response, fullURL, resource, a.outcome())
	}
	text, err := w.Close()
	if err != nil {
		return broken()
	}
	return &answer{status: http.StatusOK, body: text}
}
