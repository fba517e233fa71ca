package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// name is type and id of a resource.
type name struct{ typ, id string }

func (n name) String() string { return n.typ + "/" + n.id }

// version is one version of a resource. Its text is stored without versionId and lastUpdated, which are put in at the
// mark when it is read: so a text does not depend on when and how often it was written.
type version struct {
	place   place
	mark    uint32 // offset in the text, right after the `{` of meta
	number  uint32
	updated int64 // Unix milliseconds
	deleted bool  // place and mark mean nothing
	created bool  // there was no resource before this version
	posted  bool  // created by a POST: the id is the server's
}

// etag is the version as an ETag (http.html#versioning).
func (v *version) etag() string { return `W/"` + strconv.FormatUint(uint64(v.number), 10) + `"` }

func (v *version) time() time.Time { return time.UnixMilli(v.updated).UTC() }

// instant is when the version was made, in the form of R4.
func (v *version) instant() string { return v.time().Format(instantForm) }

const instantForm = "2006-01-02T15:04:05.000Z"

// resource is all that is known of one type and id.
type resource struct {
	name
	now   version
	old   []version // earlier ones, oldest first
	tags  uint32    // set of tags of the current version: an index into store.tagSets
	known bool      // it was entered in the indexes, perhaps by a change that was undone
	shown int64     // number of writes at which searches begin to see it (fault search-lag)
}

// exists tells whether there is a current version that is not a deletion. A resource whose creation was undone has no
// version at all.
func (r *resource) exists() bool { return r.now.number > 0 && !r.now.deleted }

// at is the version of that number, or nil.
func (r *resource) at(number uint32) *version {
	if r.now.number == number && number > 0 {
		return &r.now
	}
	for i := range r.old {
		if r.old[i].number == number {
			return &r.old[i]
		}
	}
	return nil
}

// store holds all resources and finds them. Its methods do not lock: who writes holds mu, who reads holds it for
// reading, over as many calls as have to be seen as one.
type store struct {
	mu      sync.RWMutex
	texts   *blocks
	all     map[name]*resource
	byType  map[string][]*resource // in the order in which they were first written: the order of searches
	byToken map[uint64][]*resource // by hash of identifier; candidates, to be compared
	byTag   map[uint64][]*resource // by hash of a tag; candidates
	byWhom  map[uint64][]*resource // by hash of a reference to a patient; candidates
	seed    maphash.Seed
	params  map[string]*searchable

	tagSets []string          // each "system|code\nsystem|code\n…"
	tagSet  map[string]uint32 // and back

	serverIDs bool           // only the server gives ids
	given     map[string]int // then: how many ids it gave, by type

	writes int64 // versions made, ever
	log    *log  // nil: in memory only
	undo   []func()
	record []byte // of the change under way, for the log
}

func newStore(serverIDs bool) (*store, error) {
	texts, err := newBlocks()
	if err != nil {
		return nil, err
	}
	return &store{texts: texts, all: map[name]*resource{}, byType: map[string][]*resource{}, byToken: map[uint64][]*resource{},
		byTag: map[uint64][]*resource{}, byWhom: map[uint64][]*resource{}, seed: maphash.MakeSeed(), params: searchables(),
		tagSets: []string{""}, tagSet: map[string]uint32{"": 0}, serverIDs: serverIDs, given: map[string]int{}}, nil
}

// find returns the resource, or nil if there never was one. It may be deleted.
func (s *store) find(n name) *resource {
	r := s.all[n]
	if r == nil || r.now.number == 0 {
		return nil
	}
	return r
}

// body is a version's text with the server's meta in it, appended to dst.
func (s *store) body(dst []byte, v *version) ([]byte, error) {
	text, err := s.texts.get(v.place)
	if err != nil {
		return dst, err
	}
	dst = slices.Grow(dst, len(text)+80)
	dst = append(dst, text[:v.mark]...)
	dst = append(dst, `"lastUpdated":"`...)
	dst = v.time().AppendFormat(dst, instantForm)
	dst = append(dst, `","versionId":"`...)
	dst = strconv.AppendUint(dst, uint64(v.number), 10)
	dst = append(dst, '"')
	if text[v.mark] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, text[v.mark:]...), nil
}

// tree is a version's text as JSON, without the server's meta.
func (s *store) tree(v *version) (*fhir.Node, error) {
	text, err := s.texts.get(v.place)
	if err != nil {
		return nil, err
	}
	return fhir.Parse(text)
}

// draft is a resource as it will be stored: checked, and with its text ready, so that little is left to do while
// everyone waits.
type draft struct {
	name
	text []byte
	mark int
	node *fhir.Node

	posted bool // the id is the server's
}

// newID returns an id of the server's own choice, which nobody has. It belongs to the change under way: if that is
// undone, the next one gets the same id.
func (s *store) newID(typ string) string {
	if !s.serverIDs {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		return hex.EncodeToString(b[:])
	}
	was := s.given[typ]
	s.undo = append(s.undo, func() { s.given[typ] = was })
	s.given[typ] = was + 1
	return fmt.Sprintf("%s%06d", ownID, was+1)
}

// ownID begins the ids that the server counts. They do not look like numbers: Patient/s-000001 and Encounter/s-000001
// are different resources, and what takes one for the other, or an id for a row, fails in a test.
const ownID = "s-"

// put makes a new version. It belongs to the change under way and counts only when commit has returned nil.
func (s *store) put(d *draft, at time.Time) *resource {
	r := s.touch(d.name)
	v := s.next(r, at)
	v.place, v.mark, v.posted = s.texts.add(d.text), uint32(d.mark), d.posted && v.created
	s.replace(r, v)
	s.index(r, d.node)
	s.record = appendPut(s.record, d.name, v, d.text)
	return r
}

// remove makes a version that is a deletion. The resource exists.
func (s *store) remove(r *resource, at time.Time) {
	v := s.next(r, at)
	v.deleted = true
	s.replace(r, v)
	s.record = appendDelete(s.record, r.name, v)
}

// replay makes a version again that the file tells of.
func (s *store) replay(c change) error {
	if s.params[c.typ] == nil {
		return errRecord
	}
	r := s.touch(c.name)
	v := c.version
	v.created = !r.exists()
	if v.number != r.now.number+1 || v.posted && !v.created {
		return errRecord
	}
	if s.serverIDs {
		digits, own := strings.CutPrefix(c.id, ownID)
		n, err := strconv.Atoi(digits)
		if !own || err != nil {
			return errRecord
		}
		s.given[c.typ] = max(s.given[c.typ], n)
	}
	if !v.deleted {
		n, err := fhir.Parse(c.text)
		if err != nil {
			return errRecord
		}
		v.place = s.texts.add(c.text)
		s.replace(r, v)
		s.index(r, n)
	} else {
		s.replace(r, v)
	}
	s.forget()
	return nil
}

// touch finds or makes the resource.
func (s *store) touch(n name) *resource {
	r := s.all[n]
	if r == nil {
		// The strings may be parts of a whole request, which must not stay in memory for their sake.
		n = name{fhir.Lookup(n.typ).Name, strings.Clone(n.id)}
		r = &resource{name: n}
		s.all[n] = r
		s.byType[n.typ] = append(s.byType[n.typ], r)
		// A creation that is undone leaves a resource without versions in its place, which nothing shows.
	}
	return r
}

func (s *store) next(r *resource, at time.Time) version {
	return version{number: r.now.number + 1, updated: max(at.UnixMilli(), r.now.updated), created: !r.exists()}
}

// replace makes v the current version.
func (s *store) replace(r *resource, v version) {
	was, tags, shown, old := r.now, r.tags, r.shown, len(r.old)
	s.undo = append(s.undo, func() { r.now, r.tags, r.shown, r.old = was, tags, shown, r.old[:old] })
	if was.number > 0 {
		r.old = append(r.old, was)
	}
	r.now = v
	s.writes++
	r.shown = s.writes
}

// commit makes the change under way durable, all of it, or undoes it and says why.
func (s *store) commit() error {
	var err error
	if s.log != nil && len(s.record) > 0 {
		err = s.log.append(s.record)
	}
	if err != nil {
		s.rollback()
		return err
	}
	s.forget()
	return nil
}

// rollback undoes the change under way. What it added to the indexes stays, as candidates that turn out not to match.
func (s *store) rollback() {
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
	s.forget()
}

func (s *store) forget() {
	clear(s.undo)
	s.undo, s.record = s.undo[:0], s.record[:0]
	if cap(s.record) > 64<<20 {
		s.record = nil
	}
}

// index enters the resource under what it can be searched by.
func (s *store) index(r *resource, n *fhir.Node) {
	tags := s.tagsOf(n)
	if !r.known || tags != r.tags {
		for _, tag := range items(n.At("meta", "tag")) {
			system, code := tag.Get("system").Str(), tag.Get("code").Str()
			s.enterToken(s.byTag, r, system, code)
		}
	}
	r.tags = tags
	forIdentifiers(n, func(system, value string) { s.enterToken(s.byToken, r, system, value) })
	params := s.params[r.typ]
	for _, paths := range [][][]string{params.patient, params.subject} {
		for _, path := range paths {
			forReferences(n, path, func(reference string) { s.enter(s.byWhom, s.hash(r.typ, reference), r) })
		}
	}
	r.known = true
}

func (s *store) enterToken(index map[uint64][]*resource, r *resource, system, value string) {
	s.enter(index, s.tokenKey(r.typ, token{system: system, value: value}), r)
	s.enter(index, s.tokenKey(r.typ, token{anySystem: true, value: value}), r)
}

// tokenKey is where an index keeps what a token with a value can match.
func (s *store) tokenKey(typ string, t token) uint64 {
	if t.anySystem {
		return s.hash(typ, "\x00", t.value)
	}
	return s.hash(typ, t.system, t.value)
}

func (s *store) enter(index map[uint64][]*resource, key uint64, r *resource) {
	list := index[key]
	// A new resource can only be at the end, a known one anywhere.
	if n := len(list); n > 0 && list[n-1] == r || r.known && slices.Contains(list, r) {
		return
	}
	index[key] = append(list, r)
}

func (s *store) hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, part := range parts {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0xff) // in no UTF-8 text
	}
	return h.Sum64()
}

// tagsOf is the number of the set of tags that the resource carries. There are few sets and many resources.
func (s *store) tagsOf(n *fhir.Node) uint32 {
	var set string
	for _, tag := range items(n.At("meta", "tag")) {
		set += tag.Get("system").Str() + "|" + tag.Get("code").Str() + "\n"
	}
	number, ok := s.tagSet[set]
	if !ok {
		number = uint32(len(s.tagSets))
		s.tagSets = append(s.tagSets, set)
		s.tagSet[set] = number
	}
	return number
}

// items are the entries of an array, none of anything else.
func items(n *fhir.Node) []*fhir.Node {
	if n == nil {
		return nil
	}
	return n.Items
}

// forIdentifiers calls f for each identifier of the resource itself.
func forIdentifiers(n *fhir.Node, f func(system, value string)) {
	identifier := n.Get("identifier")
	if identifier == nil {
		return
	}
	list := identifier.Items
	if identifier.Kind == fhir.Object { // Bundle, Composition: at most one
		list = []*fhir.Node{identifier}
	}
	for _, i := range list {
		if value := i.Get("value").Str(); value != "" {
			f(i.Get("system").Str(), value)
		}
	}
}
