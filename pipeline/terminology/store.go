package terminology

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Store holds code systems and value sets: those of FHIR packages, and those that users bring. Of one canonical the
// later package wins, and what was added wins over every package. Definitions are compiled when they are first asked
// for. It may be used concurrently; what is added while questions are asked may come too late for them.
type Store struct {
	packages []*fhir.Package
	grammars map[string]*CodeSystem

	mu           sync.RWMutex
	ownSets      map[string][]*fhir.Node
	ownSystems   map[string][]*CodeSystem
	systems      map[*fhir.Node]*CodeSystem
	sets         map[*fhir.Node]*ValueSet
	implicitSets map[string]*ValueSet
	compiling    map[*fhir.Node]bool
}

// NewStore makes a store of packages, the standard's own first: NewStore(fhir.Core(), guide).
func NewStore(packages ...*fhir.Package) *Store {
	s := &Store{packages: packages, grammars: grammars(), ownSets: map[string][]*fhir.Node{}, ownSystems: map[string][]*CodeSystem{}}
	s.forget()
	return s
}

// forget drops what was compiled.
func (s *Store) forget() {
	s.systems, s.sets, s.implicitSets = map[*fhir.Node]*CodeSystem{}, map[*fhir.Node]*ValueSet{}, map[string]*ValueSet{}
	s.compiling = map[*fhir.Node]bool{}
}

// Add adds what users bring. What is added later wins.
func (s *Store) Add(d *Definitions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	for _, c := range d.systems {
		s.ownSystems[c.url] = append(s.ownSystems[c.url], c)
	}
	for _, n := range slices.Concat(d.whole, d.sets) { // where a set is spelled out, that counts
		url := n.Get("url").Str()
		s.ownSets[url] = append(s.ownSets[url], n)
	}
}

// split takes a version off a canonical URL.
func split(canonical string) (url, version string) {
	url, version, _ = strings.Cut(canonical, "|")
	return url, version
}

// CodeSystem is the code system of that URI, which may carry a version after `|`; nil if its codes are not at hand.
func (s *Store) CodeSystem(url string) *CodeSystem {
	if s == nil {
		return nil
	}
	plain, version := split(url)
	s.mu.RLock()
	c, ok := s.system(plain, version, nil)
	s.mu.RUnlock()
	if ok {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.codeSystem(plain, version)
}

// codeSystem finds or compiles a code system, or returns nil. The lock is held.
func (s *Store) codeSystem(url, version string) *CodeSystem {
	c, _ := s.system(url, version, func(n *fhir.Node) *CodeSystem {
		c := compileSystem(n)
		s.systems[n] = c
		return c
	})
	return c
}

// system finds a code system. It is not ok if that takes compiling one and compile is nil.
func (s *Store) system(url, version string, compile func(*fhir.Node) *CodeSystem) (c *CodeSystem, ok bool) {
	own := s.ownSystems[url]
	for i := len(own) - 1; i >= 0; i-- {
		if version == "" || own[i].version == "" || sameVersion(own[i].version, version) {
			return own[i], true
		}
	}
	if g := s.grammars[url]; g != nil {
		return g, true
	}
	if version != "" {
		url += "|" + version
	}
	for i := len(s.packages) - 1; i >= 0; i-- {
		n := s.packages[i].Find("CodeSystem", url)
		if n == nil {
			continue
		}
		c, known := s.systems[n]
		switch {
		case known:
		case compile == nil:
			return nil, false
		default:
			c = compile(n)
		}
		if c != nil { // else it lists no codes, and an earlier package may
			return c, true
		}
	}
	return nil, true
}

// ValueSet is the value set of that canonical URL, which may carry a version after `|`. Nil, of which nothing is known,
// if there is no definition at hand. Beside what is defined there are the value sets of whole code systems: those that a
// CodeSystem names, and for SNOMED CT, LOINC and UCUM the implicit ones of R4 (snomedct.html#implicit, loinc.html, ucum.html).
func (s *Store) ValueSet(url string) *ValueSet {
	if s == nil {
		return nil
	}
	n := s.definition(url)
	s.mu.RLock()
	v := s.sets[n]
	if n == nil {
		v = s.implicitSets[url]
	}
	s.mu.RUnlock()
	if v != nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.valueSet(url)
}

// HasCode tells whether a code is in a value set, in whichever system. With HasCoding and Subsumes a store answers what
// expressions ask (fhirpath.Terminology). What cannot be decided is not known.
func (s *Store) HasCode(valueSet, code string) (in, known bool) {
	v := s.ValueSet(valueSet).HasCode(code)
	return v == In, v != NotKnown
}

// HasCoding tells whether a code of a system is in a value set.
func (s *Store) HasCoding(valueSet, system, version, code string) (in, known bool) {
	v := s.ValueSet(valueSet).Has(system, version, code)
	return v == In, v != NotKnown
}

// Subsumes tells whether b is a or a kind of it.
func (s *Store) Subsumes(system, a, b string) (subsumes, known bool) {
	outcome, ok := s.CodeSystem(system).Subsumes(a, b)
	return outcome == Equivalent || outcome == Subsumes, ok
}

// definition finds the resource of a value set.
func (s *Store) definition(url string) *fhir.Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.find(url)
}

func (s *Store) find(url string) *fhir.Node {
	plain, version := split(url)
	own := s.ownSets[plain]
	for i := len(own) - 1; i >= 0; i-- {
		if have := own[i].Get("version").Str(); version == "" || have == "" || have == version {
			return own[i]
		}
	}
	for i := len(s.packages) - 1; i >= 0; i-- {
		if n := s.packages[i].Find("ValueSet", url); n != nil {
			return n
		}
	}
	return nil
}

// mostImplicit bounds what is remembered of URLs that may come from data.
const mostImplicit = 1000

// valueSet finds or compiles a value set. The lock is held.
func (s *Store) valueSet(url string) *ValueSet {
	if n := s.find(url); n != nil {
		if v := s.sets[n]; v != nil {
			return v
		}
		v := s.compile(n)
		s.sets[n] = v
		return v
	}
	if v := s.implicitSets[url]; v != nil {
		return v
	}
	n := implicit(url)
	if n == nil {
		return nil
	}
	v := s.compile(n)
	if len(s.implicitSets) < mostImplicit {
		s.implicitSets[url] = v
	}
	return v
}

// implicit makes the definition of a value set that needs none, or nil.
func implicit(url string) *fhir.Node {
	base, query, _ := strings.Cut(url, "?")
	switch {
	case url == "http://loinc.org/vs", url == "http://unitsofmeasure.org/vs":
		return fhir.AllCodes(url, strings.TrimSuffix(url, "/vs"))
	case base != "http://snomed.info/sct":
		return nil
	case query == "fhir_vs":
		return fhir.AllCodes(url, base)
	}
	root, ok := strings.CutPrefix(query, "fhir_vs=isa/")
	if !ok || root == "" {
		return nil
	}
	all := fhir.AllCodes(url, base)
	all.At("compose", "include").Item(0).Set("filter", fhir.NewArray(fhir.NewObject(
		fhir.Member{Name: "property", Value: fhir.NewString("concept")},
		fhir.Member{Name: "op", Value: fhir.NewString("is-a")},
		fhir.Member{Name: "value", Value: fhir.NewString(root)},
	)))
	return all
}

// maxImports bounds how deeply value sets may include each other, and maxAsks how many a question may go through: sets
// that each include the next one twice would double it at every step.
const (
	maxImports = 50
	maxAsks    = 10_000
)

// compile makes a value set of its definition. The lock is held.
func (s *Store) compile(n *fhir.Node) *ValueSet {
	s.compiling[n] = true
	defer delete(s.compiling, n)
	v := &ValueSet{url: n.Get("url").Str(), version: n.Get("version").Str()}
	compose := n.Get("compose")
	active := compose.Get("inactive") != nil && compose.Get("inactive").Text == "false"
	for _, item := range items(compose, "include") {
		v.include = append(v.include, s.selection(v, item, true, active))
	}
	for _, item := range items(compose, "exclude") {
		v.exclude = append(v.exclude, s.selection(v, item, false, false))
	}
	if len(v.include) == 0 {
		v.openSystems = true
		v.addWhy("its definition says nothing of what is in it")
	}
	if len(v.why) > 0 {
		v.expand(n.Get("expansion"))
	}
	slices.Sort(v.systems)
	v.systems = slices.Compact(v.systems)
	return v
}

func (s *Store) selection(v *ValueSet, n *fhir.Node, include, active bool) selection {
	sel := selection{system: n.Get("system").Str(), version: n.Get("version").Str(), values: include, active: active}
	imports, listed, filters := items(n, "valueSet"), items(n, "concept"), items(n, "filter")
	if sel.system == "" && (len(imports) == 0 || len(listed) > 0 || len(filters) > 0) {
		sel.open, v.openSystems = true, true
		v.addWhy("an include names no system")
		return sel
	}
	if sel.system != "" {
		s.ofSystem(v, &sel, listed, filters)
	}
	for _, item := range imports {
		sel.sets = append(sel.sets, s.imported(v, item.Str()))
	}
	if !include {
		return sel
	}
	if sel.system != "" {
		v.systems = append(v.systems, sel.system)
		return sel
	}
	// What is in all of several sets is of systems that the first one has.
	if first := sel.sets[0]; first != nil {
		v.systems = append(v.systems, first.systems...)
		v.openSystems = v.openSystems || first.openSystems && !first.whole
	} else {
		v.openSystems = true
	}
	return sel
}

// ofSystem compiles what a selection says of its system.
func (s *Store) ofSystem(v *ValueSet, sel *selection, listed, filters []*fhir.Node) {
	sel.from = s.codeSystem(sel.system, sel.version)
	if len(listed) > 0 {
		sel.fold = sel.from != nil && sel.from.fold
		sel.codes = make(map[string]struct{}, len(listed))
		for _, item := range listed {
			code := item.Get("code").Str()
			if sel.fold {
				code = string(folded(nil, code))
			}
			sel.codes[code] = struct{}{}
		}
		if len(filters) == 0 {
			return
		}
	}
	switch {
	case sel.from == nil && sel.version != "" && s.codeSystem(sel.system, "") != nil:
		v.addWhy(fmt.Sprintf("version %s of %s is not at hand", sel.version, sel.system))
		return
	case sel.from == nil:
		v.addWhy("the codes of " + sel.system + " are not at hand")
		return
	case !sel.from.complete && len(filters) == 0:
		v.addWhy("not all codes of " + sel.system + " are at hand")
	case sel.from.lacks != "" && len(filters) == 0:
		v.addWhy(sel.from.lacks)
	}
	for _, item := range filters {
		f, why := newFilter(sel.from, item.Get("property").Str(), item.Get("op").Str(), item.Get("value").Str())
		if why != "" {
			v.addWhy(why)
		}
		sel.filters = append(sel.filters, f)
	}
}

// imported is a value set that another one includes, or nil.
func (s *Store) imported(v *ValueSet, url string) *ValueSet {
	n := s.find(url)
	switch {
	case n != nil && s.compiling[n]:
		v.addWhy("it includes itself by way of " + url)
		return nil
	case len(s.compiling) > maxImports:
		v.addWhy("value sets include each other too deeply")
		return nil
	}
	set := s.valueSet(url)
	if set == nil {
		v.addWhy("the value set " + url + " is not at hand")
		return nil
	}
	if v.asks += 1 + set.asks; v.asks > maxAsks {
		v.asks = maxAsks
		v.addWhy("value sets include each other too often")
		return nil
	}
	for _, why := range set.why {
		v.addWhy(why)
	}
	return set
}

// expand takes in the expansion that a definition carries, for what its own rules leave open.
func (v *ValueSet) expand(n *fhir.Node) {
	if n == nil {
		return
	}
	count := 0
	v.listed = map[string]map[string]struct{}{}
	var list func(n *fhir.Node)
	list = func(n *fhir.Node) {
		for _, item := range items(n, "contains") {
			system, code := item.Get("system").Str(), item.Get("code").Str()
			if abstract := item.Get("abstract"); code != "" && (abstract == nil || abstract.Text != "true") {
				if v.listed[system] == nil {
					v.listed[system] = map[string]struct{}{}
					v.systems = append(v.systems, system)
				}
				v.listed[system][code] = struct{}{}
			}
			count++
			list(item)
		}
	}
	list(n)
	if v.whole = wholeExpansion(n, count); v.whole {
		v.why = nil
	}
}

const structureDefinition = "http://hl7.org/fhir/StructureDefinition/"

// wholeExpansion tells whether an expansion lists all that is in the set (R4 valueset.html#expansion): it is not a page
// of one, not cut off, and not marked as one that cannot be closed.
func wholeExpansion(n *fhir.Node, count int) bool {
	if total := n.Get("total"); count == 0 || total != nil && total.Text != fmt.Sprint(count) {
		return false
	}
	if offset := n.Get("offset"); offset != nil && offset.Text != "0" {
		return false
	}
	for _, x := range items(n, "extension") {
		switch strings.TrimPrefix(x.Get("url").Str(), structureDefinition) {
		case "valueset-unclosed", "valueset-toocostly":
			return false
		}
	}
	for _, p := range items(n, "parameter") {
		switch p.Get("name").Str() {
		case "expansion-source", "filter":
			return false
		case "limitedExpansion":
			if b := p.Get("valueBoolean"); b != nil && b.Text == "true" {
				return false
			}
		case "count", "offset":
			return n.Get("total") != nil && (n.Get("offset") == nil || n.Get("offset").Text == "0") // then it is all that was asked for
		}
	}
	return true
}
