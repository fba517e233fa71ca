package sandbox

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

const (
	usualCount = 100  // entries of a page unless the search says otherwise
	mostCount  = 1000 // however much it says
)

// token is one alternative of a token parameter: system|value, |value, value or system|.
type token struct {
	system, value string
	anySystem     bool // only a value was given
	anyValue      bool // only a system was given
}

func (t token) matches(system, value string) bool {
	return (t.anySystem || t.system == system) && (t.anyValue || t.value == value)
}

// criteria are the conditions of a search: of each list all must hold, and of the alternatives within, one.
type criteria struct {
	typ      string
	ids      [][]string
	tokens   [][]token
	patients [][]string // Type/id
	subjects [][]string
	dates    [][]dateTest
	tags     [][]token
	updated  [][]dateTest

	count    int
	onlyHow  bool // _summary=count
	elements []string
	after    int // how many candidates lie on earlier pages
}

// cursor is the sandbox's own parameter in the links to further pages: how many candidates were looked at.
const cursor = "_after"

// parseCriteria reads the parameters of a search. Unknown ones are refused unless the client is lenient.
func parseCriteria(params *searchable, typ string, query url.Values, lenient bool) (*criteria, *answer) {
	c := &criteria{typ: typ, count: usualCount}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[key] {
			known, ok := c.add(params, key, value)
			switch {
			case !known && !lenient:
				return nil, refuse(http.StatusBadRequest, r4.IssueTypeNotSupported, "a search parameter that the sandbox does not know for this type")
			case known && !ok:
				return nil, refuse(http.StatusBadRequest, r4.IssueTypeValue, "the value of a search parameter cannot be read")
			}
		}
	}
	return c, nil
}

// add enters one parameter. known: there is such a one for the type; ok: its value can be read.
func (c *criteria) add(params *searchable, key, value string) (known, ok bool) {
	switch {
	case key == "_format", key == "_pretty", key == "_total":
		return true, true
	case key == "_id":
		c.ids = append(c.ids, alternatives(value))
		return true, value != ""
	case key == "_tag":
		c.tags = append(c.tags, tokens(value))
		return true, value != ""
	case key == "identifier" && params.identifier:
		c.tokens = append(c.tokens, tokens(value))
		return true, value != ""
	case (key == "patient" || key == "patient:Patient") && params.patient != nil:
		refs, ok := references(value, "Patient")
		c.patients = append(c.patients, refs)
		return true, ok
	case key == "subject" && params.subject != nil:
		refs, ok := references(value, "")
		c.subjects = append(c.subjects, refs)
		return true, ok
	case key == "subject:Patient" && params.subject != nil:
		refs, ok := references(value, "Patient")
		c.subjects = append(c.subjects, refs)
		return true, ok
	case key == "date" && params.date != "":
		tests, ok := dateTests(value)
		c.dates = append(c.dates, tests)
		return true, ok
	case key == "_lastUpdated":
		tests, ok := dateTests(value)
		c.updated = append(c.updated, tests)
		return true, ok
	case key == "_count":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return true, false
		}
		c.onlyHow = c.onlyHow || n == 0 // search.html#count: as _summary=count
		c.count = min(max(n, 1), mostCount)
		return true, true
	case key == "_summary":
		c.onlyHow = c.onlyHow || value == "count"
		return value == "count" || value == "false", true
	case key == "_elements":
		c.elements = append(c.elements, alternatives(value)...)
		return true, true
	case key == cursor:
		n, err := strconv.Atoi(value)
		c.after = n
		return true, err == nil && n >= 0
	}
	return false, false
}

// alternatives splits a value at its commas; \, is no such one (search.html#escaping).
func alternatives(value string) []string {
	var list []string
	var one strings.Builder
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && i+1 < len(value):
			if i++; strings.IndexByte(`,|$\`, value[i]) < 0 || value[i] == '|' {
				one.WriteByte('\\') // left for those who split at bars
			}
			one.WriteByte(value[i])
		case value[i] == ',':
			list = append(list, one.String())
			one.Reset()
		default:
			one.WriteByte(value[i])
		}
	}
	return append(list, one.String())
}

func tokens(value string) []token {
	var list []token
	for _, text := range alternatives(value) {
		bar := -1
		for i := 0; i < len(text) && bar < 0; i++ {
			if text[i] == '\\' {
				i++
			} else if text[i] == '|' {
				bar = i
			}
		}
		plain := func(s string) string { return strings.ReplaceAll(s, `\|`, "|") }
		if bar < 0 {
			list = append(list, token{value: plain(text), anySystem: true})
			continue
		}
		list = append(list, token{system: plain(text[:bar]), value: plain(text[bar+1:]), anyValue: bar == len(text)-1})
	}
	return list
}

// references reads Patient/x, x (of the given type) and absolute URLs.
func references(value, typ string) ([]string, bool) {
	var list []string
	for _, text := range alternatives(value) {
		if t, id, _ := fhir.SplitLocation(text); t != "" {
			if typ == "" || t == typ {
				list = append(list, t+"/"+id)
			}
			continue
		}
		if !fhir.ValidID(text) {
			return nil, false
		}
		if typ == "" {
			// An id alone may be that of any type (search.html#reference); those that subjects have.
			for _, t := range []string{"Patient", "Group", "Device", "Location", "Practitioner"} {
				list = append(list, t+"/"+text)
			}
			continue
		}
		list = append(list, typ+"/"+text)
	}
	return list, true
}

func dateTests(value string) ([]dateTest, bool) {
	var list []dateTest
	for _, text := range alternatives(value) {
		test, ok := parseDateTest(text)
		if !ok {
			return nil, false
		}
		list = append(list, test)
	}
	return list, true
}

// finder searches a store, or does what the faults make of a search. The store is locked by the caller, for reading at
// least.
type finder struct {
	store  *store
	faults *faults
}

// candidates is the shortest list at hand that holds everything the search can match. It only ever grows at its end, so
// that a number of entries is a place in it that lasts, whatever is written between two pages.
func (f *finder) candidates(c *criteria) []*resource {
	switch {
	case len(c.ids) > 0:
		var list []*resource
		for _, id := range c.ids[0] {
			if r := f.store.find(name{c.typ, id}); r != nil && !slices.Contains(list, r) {
				list = append(list, r)
			}
		}
		return list
	case len(c.tokens) > 0 && len(c.tokens[0]) == 1 && !c.tokens[0][0].anyValue:
		return f.store.byToken[f.store.tokenKey(c.typ, c.tokens[0][0])]
	case len(c.patients) > 0 && len(c.patients[0]) == 1:
		return f.store.byWhom[f.store.hash(c.typ, c.patients[0][0])]
	case len(c.subjects) > 0 && len(c.subjects[0]) == 1:
		return f.store.byWhom[f.store.hash(c.typ, c.subjects[0][0])]
	case len(c.tags) > 0 && len(c.tags[0]) == 1 && !c.tags[0][0].anyValue:
		return f.store.byTag[f.store.tokenKey(c.typ, c.tags[0][0])]
	}
	return f.store.byType[c.typ]
}

// meets tells whether the resource exists and meets the conditions. knownTags remembers what was found of sets of tags.
func (f *finder) meets(r *resource, c *criteria, knownTags map[uint32]bool) (bool, error) {
	if !r.exists() {
		return false, nil
	}
	for _, list := range c.ids {
		if !slices.Contains(list, r.id) {
			return false, nil
		}
	}
	for _, list := range c.updated {
		at := span{r.now.updated, r.now.updated + 1}
		if !slices.ContainsFunc(list, func(t dateTest) bool { return t.holds(at) }) {
			return false, nil
		}
	}
	if len(c.tags) > 0 {
		met, known := knownTags[r.tags]
		if !known {
			met = tagsMeet(f.store.tagSets[r.tags], c.tags)
			knownTags[r.tags] = met
		}
		if !met {
			return false, nil
		}
	}
	if len(c.tokens) == 0 && len(c.patients) == 0 && len(c.subjects) == 0 && len(c.dates) == 0 {
		return true, nil
	}
	n, err := f.store.tree(&r.now)
	if err != nil {
		return false, err
	}
	params := f.store.params[c.typ]
	for _, list := range c.tokens {
		met := false
		forIdentifiers(n, func(system, value string) {
			met = met || slices.ContainsFunc(list, func(t token) bool { return t.matches(system, value) })
		})
		if !met {
			return false, nil
		}
	}
	return refersTo(n, params.patient, c.patients) && refersTo(n, params.subject, c.subjects) && dated(n, params.date, c.dates), nil
}

func tagsMeet(set string, conditions [][]token) bool {
	for _, list := range conditions {
		met := false
		for line := range strings.SplitSeq(strings.TrimSuffix(set, "\n"), "\n") {
			system, code, found := strings.Cut(line, "|")
			met = met || found && slices.ContainsFunc(list, func(t token) bool { return t.matches(system, code) })
		}
		if !met {
			return false
		}
	}
	return true
}

func refersTo(n *fhir.Node, paths [][]string, conditions [][]string) bool {
	for _, list := range conditions {
		met := false
		for _, path := range paths {
			forReferences(n, path, func(reference string) { met = met || slices.Contains(list, reference) })
		}
		if !met {
			return false
		}
	}
	return true
}

func dated(n *fhir.Node, element string, conditions [][]dateTest) bool {
	if len(conditions) == 0 {
		return true
	}
	at, ok := spanAt(n.Get(element))
	if bare, choice := strings.CutSuffix(element, "[x]"); choice {
		for _, of := range []string{"DateTime", "Period", "Timing", "Instant", "Date"} {
			if value := n.Get(bare + of); value != nil {
				at, ok = spanAt(value)
			}
		}
	}
	if !ok {
		return false
	}
	for _, list := range conditions {
		if !slices.ContainsFunc(list, func(t dateTest) bool { return t.holds(at) }) {
			return false
		}
	}
	return true
}

// matches are the resources that meet the conditions of a query, for conditional interactions, at most two.
func (f *finder) matches(typ string, query url.Values) ([]*resource, *answer) {
	c, refused := parseCriteria(f.store.params[typ], typ, query, false)
	if refused != nil {
		return nil, refused
	}
	if len(c.ids)+len(c.tokens)+len(c.patients)+len(c.subjects)+len(c.dates)+len(c.tags)+len(c.updated) == 0 {
		return nil, refuse(http.StatusPreconditionFailed, r4.IssueTypeIncomplete, "the condition selects nothing")
	}
	var found []*resource
	knownTags := map[uint32]bool{}
	for _, r := range f.candidates(c) {
		met, err := f.meets(r, c, knownTags)
		if err != nil {
			return nil, broken()
		}
		if met {
			if found = append(found, r); len(found) == 2 {
				break
			}
		}
	}
	return found, nil
}

// search returns one page of a search.
func (f *finder) search(o *operation) *answer {
	c, refused := parseCriteria(f.store.params[o.typ], o.typ, o.query, o.lenient)
	if refused != nil {
		return refused
	}
	lag := int64(0)
	if one := f.faults.search("search-lag", o.typ); one != nil {
		lag = int64(max(one.length, 1))
	}
	var page []*resource
	total, next := 0, -1
	knownTags := map[uint32]bool{}
	candidates := f.candidates(c)
	first := c.after == 0
	for i, r := range candidates {
		if i < c.after {
			continue
		}
		if lag > 0 && r.shown > f.store.writes-lag {
			continue
		}
		met, err := f.meets(r, c, knownTags)
		if err != nil {
			return broken()
		}
		if !met {
			continue
		}
		if total++; c.onlyHow {
			continue
		}
		if len(page) < c.count {
			page = append(page, r)
			continue
		}
		if next < 0 {
			next = i
		}
		if !first {
			break // the total stands on the first page
		}
	}
	return f.searchset(o, c, page, total, next)
}

// searchset writes one page. next is where the next one begins, -1 if there is none.
func (f *finder) searchset(o *operation, c *criteria, page []*resource, total, next int) *answer {
	link := func(after int) string {
		query := maps.Clone(o.query)
		delete(query, cursor)
		if after > 0 {
			query.Set(cursor, strconv.Itoa(after))
		}
		text := o.base + "/" + o.typ
		if len(query) > 0 {
			text += "?" + query.Encode()
		}
		return text
	}
	head := fhir.BundleHead{Links: []fhir.Link{{Relation: "self", URL: link(c.after)}}}
	switch {
	case next >= 0 && f.faults.search("page-loop", o.typ) != nil:
		head.Links = append(head.Links, fhir.Link{Relation: "next", URL: link(0)})
	case next >= 0 && f.faults.search("page-repeat", o.typ) != nil:
		head.Links = append(head.Links, fhir.Link{Relation: "next", URL: link(c.after)})
	case next >= 0:
		head.Links = append(head.Links, fhir.Link{Relation: "next", URL: link(next)})
	}
	if c.after == 0 && f.faults.search("total-absent", o.typ) == nil {
		if f.faults.search("total-wrong", o.typ) != nil {
			total = total*2 + 1
		}
		head.Total = &total
	}
	w := fhir.NewBundle(nil, r4.BundleTypeSearchset, head)
	var body []byte
	for _, r := range page {
		var err error
		if body, err = f.store.body(body[:0], &r.now); err == nil && len(c.elements) > 0 {
			body, err = onlyElements(body, c.elements)
		}
		if err != nil {
			return broken()
		}
		w.Found(o.base+"/"+r.name.String(), body, r4.SearchEntryModeMatch)
	}
	text, err := w.Close()
	if err != nil {
		return broken()
	}
	return &answer{status: http.StatusOK, body: text}
}

// onlyElements leaves the named elements of a resource, its type, id and meta, and what R4 requires, and marks it as
// incomplete (search.html#elements).
func onlyElements(body []byte, elements []string) ([]byte, error) {
	n, err := fhir.Parse(body)
	if err != nil {
		return nil, err
	}
	t := fhir.Lookup(n.ResourceType())
	kept := &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		bare := strings.TrimPrefix(m.Name, "_")
		e, _ := t.Element(bare)
		switch {
		case m.Name == "meta":
			tags := append(slices.Clone(items(m.Value.Get("tag"))), fhir.NewObject(
				fhir.Member{Name: "system", Value: fhir.NewString("http://terminology.hl7.org/CodeSystem/v3-ObservationValue")},
				fhir.Member{Name: "code", Value: fhir.NewString("SUBSETTED")}))
			m.Value = fhir.NewObject(slices.Clone(m.Value.Members)...).Set("tag", fhir.NewArray(tags...))
		case m.Name == "resourceType", m.Name == "id", slices.Contains(elements, bare):
		case e != nil && (e.Min > 0 || slices.Contains(elements, e.Name)):
		default:
			continue
		}
		kept.Members = append(kept.Members, m)
	}
	return appendNode(nil, kept), nil
}
