package phi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Rules is a place in a resource and what the policy says from there on: the view of a compiler that walks down
// element by element. Equal values mean equal rules. It may be used by several goroutines at once.
type Rules struct{ at *state }

// Decision is what a policy says about one element.
type Decision struct {
	// Method is what happens with the value, if it is a primitive or the decision is Whole; for other values it is what
	// holds where nothing below says otherwise.
	Method Method

	// Whole: nothing below differs, so the value is kept or cut as one. A value that a method changes is one, too.
	Whole bool

	// Below are the rules for what is inside the value; for a primitive that is kept, for its id and extensions in
	// `_name`. The `_name` of a primitive that is not kept is cut with it (Required then belongs to the cut of `_name`).
	Below Rules

	// Tests: the decision depends on the value (on each entry of a list). The other fields say nothing; see Decide.
	Tests []*Test

	decide func(match func(*Test) bool) *state
}

// Decide settles a decision with Tests: match is asked about each test, for the value or entry at hand.
func (d Decision) Decide(match func(*Test) bool) Decision {
	if d.decide == nil {
		return d
	}
	return d.decide(match).decision()
}

// Rules is what the policy says about resources of a type. For a type that R4 does not have, only structure is kept
// (or everything, under `*: keep`).
func (p *Policy) Rules(resource string) Rules {
	return Rules{p.root(resourceType(resource), nil)}
}

// resourceType is the type of a resource by its name; for one that R4 does not have, what all have in common.
func resourceType(name string) *fhir.Type {
	if t := fhir.Lookup(name); t != nil && t.Kind == fhir.KindResource {
		return t
	}
	return fhir.Lookup("DomainResource")
}

// Child is what the policy says about an element. t is the type of the value: for a choice the one chosen, for a
// contained resource that resource's own. A nil e or t stands for an element that R4 does not know.
func (r Rules) Child(e *fhir.Element, t *fhir.Type) Decision {
	if r.at == nil {
		return Decision{Method: Seal, Whole: true}
	}
	return r.at.child(e, t)
}

// state is a place in a resource as far as the policy can tell places apart. States are made once per policy.
type state struct {
	policy *Policy
	typ    *fhir.Type // nil: unknown
	best   *rule      // the rule that covers this value, nil: none but *
	up     int        // how many levels above best's anchor is; -1: no matter any more
	active []progress // rules of which a part has been walked
	meta   bool       // the meta of a resource
	soft   bool       // the url of an extension

	children sync.Map // childKey → Decision
}

type progress struct {
	rule *rule
	pos  int // the step to take next
	up   int // how many levels above its anchor is
}

type childKey struct {
	element *fhir.Element
	typ     *fhir.Type
}

// Rules of the program's own.
var (
	structureRule = &rule{text: "structure", method: Keep, class: classStructure}
	hullRule      = &rule{text: "contained", method: Seal, class: classStructure}
	unnamedRule   = &rule{text: "unnamed", method: Seal, class: classType}
)

// intern returns the one state that is like s.
func (p *Policy) intern(s *state) *state {
	slices.SortFunc(s.active, func(a, b progress) int {
		return cmp.Or(cmp.Compare(a.rule.order, b.rule.order), cmp.Compare(a.pos, b.pos), cmp.Compare(a.up, b.up))
	})
	s.active = slices.Compact(s.active)
	if !slices.ContainsFunc(s.active, func(a progress) bool { return a.up == s.up }) {
		s.up = -1
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%p %p %d %t %t", s.typ, s.best, s.up, s.meta, s.soft)
	for _, a := range s.active {
		fmt.Fprintf(&key, " %d.%d.%d", a.rule.order, a.pos, a.up)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.states[key.String()]; ok {
		return old
	}
	s.policy = p
	p.states[key.String()] = s
	return s
}

// root is the state of a whole resource. cover is a rule from outside that decides about all of it, or nil.
func (p *Policy) root(t *fhir.Type, cover *rule) *state {
	s := &state{typ: t, best: cover, up: -1}
	if cover == nil {
		for a := t; a != nil; a = a.Base {
			for _, r := range p.anchors[a] {
				if len(r.steps) > 0 {
					s.active = append(s.active, progress{r, 0, 0})
				} else if s.best == nil || r.class > s.best.class {
					s.best, s.up = r, 0
				}
			}
		}
	}
	return p.intern(s)
}

func (s *state) child(e *fhir.Element, t *fhir.Type) Decision {
	key := childKey{e, t}
	if found, ok := s.children.Load(key); ok {
		return found.(Decision)
	}
	d := s.decide(e, t)
	s.children.Store(key, d)
	return d
}

// decide works out the decision for an element; it is asked once for each.
func (s *state) decide(e *fhir.Element, t *fhir.Type) Decision {
	if e == nil || t == nil {
		return s.unknown().decision()
	}
	var tests []*Test
	add := func(t *Test) bool {
		if !slices.Contains(tests, t) {
			tests = append(tests, t)
		}
		return true
	}
	next := s.step(e, t, add)
	if len(tests) == 0 {
		return next.decision()
	}
	var known sync.Map
	return Decision{Tests: tests, decide: func(match func(*Test) bool) *state {
		answers := make([]byte, len(tests))
		for i, t := range tests {
			if match(t) {
				answers[i] = 1
			}
		}
		if found, ok := known.Load(string(answers)); ok {
			return found.(*state)
		}
		next := s.step(e, t, func(t *Test) bool { return answers[slices.Index(tests, t)] == 1 })
		known.Store(string(answers), next)
		return next
	}}
}

// decision is what holds at the state itself.
func (s *state) decision() Decision {
	d := Decision{Method: s.method(), Below: Rules{s}}
	switch {
	case s.soft && d.Method == Keep:
		d.Method = Soft
	case s.policy.only, s.typ == nil, s.typ.Name == "Narrative", d.Method.transforms():
		d.Whole = true
	case d.Method.takesOut() && (s.typ.Kind == fhir.KindPrimitive || s.best != nil):
		d.Whole = s.typ.Kind != fhir.KindResource && !s.meta && !slices.ContainsFunc(s.active, func(a progress) bool {
			return a.rule.class >= s.best.classOr() && !a.rule.method.takesOut()
		})
	}
	return d
}

// classOr is the class of a rule, that of `*` for none.
func (r *rule) classOr() class {
	if r == nil {
		return classStar
	}
	return r.class
}

// method is what happens with a value that ends here.
func (s *state) method() Method {
	if s.best != nil {
		return s.best.method
	}
	return s.policy.star
}

// unknown is the state of something that R4 does not have here. A keep from above does not reach it.
func (s *state) unknown() *state {
	next := &state{up: -1}
	if s.best != nil && s.best.method.takesOut() {
		next.best = s.best
	}
	return s.policy.intern(next)
}

// candidate is a rule that names the very value a step leads to.
type candidate struct {
	rule     *rule
	up       int
	distance int // from the value's type up to the rule's anchor, where they are not the same
}

// step walks to an element. match is asked about the tests on the way.
func (s *state) step(e *fhir.Element, t *fhir.Type, match func(*Test) bool) *state {
	if s.typ != nil && s.typ.Kind == fhir.KindResource {
		switch e.Name {
		case "id":
			return s.policy.intern(&state{typ: t, best: structureRule, up: -1})
		case "meta":
			if s.best == hullRule {
				return s.policy.intern(&state{typ: t, best: hullRule, up: -1, meta: true})
			}
		}
	}
	if s.meta {
		switch e.Name {
		case "profile", "tag", "security", "versionId":
			return s.policy.intern(&state{typ: t, best: structureRule, up: -1})
		}
	}
	next := &state{typ: t, up: -1, meta: e.Name == "meta" && s.typ != nil && s.typ.Kind == fhir.KindResource}
	var found []candidate
	for _, a := range s.active {
		st := a.rule.steps[a.pos]
		if st.name != e.Name || st.typ != nil && st.typ != t || st.test != nil && !match(st.test) {
			continue
		}
		if a.pos+1 == len(a.rule.steps) {
			found = append(found, candidate{a.rule, a.up + 1, 0})
		} else {
			next.active = append(next.active, progress{a.rule, a.pos + 1, a.up + 1})
		}
	}
	inherited, up := s.inherited(t)
	if t.Kind == fhir.KindResource {
		// Another resource: its own rules, unless this one's seal it as a whole.
		if top := choose(inherited, up, found); top.rule != nil && top.rule.method.takesOut() {
			return s.policy.root(t, hullRule)
		}
		return s.policy.root(t, nil)
	}
	for a, distance := t, 0; a != nil; a, distance = a.Base, distance+1 {
		if t.Kind == fhir.KindPrimitive && distance > 0 && a.Kind == fhir.KindPrimitive {
			continue // a rule for string is not one for code
		}
		for _, r := range s.policy.anchors[a] {
			if r.test != nil && !match(r.test) {
				continue
			}
			if len(r.steps) == 0 {
				found = append(found, candidate{r, 0, distance})
			} else {
				next.active = append(next.active, progress{r, 0, 0})
			}
		}
	}
	top := choose(inherited, up, found)
	next.best, next.up = top.rule, top.up
	if next.best == nil && t.Name == "Extension" && s.policy.star != Keep {
		next.best, next.up = unnamedRule, -1
	}
	next.soft = e.Name == "url" && s.typ != nil && s.typ.Name == "Extension"
	if next.soft && !s.method().takesOut() {
		next.best, next.up = structureRule, -1
	}
	return s.policy.intern(next)
}

// inherited is the rule that covers this value, as far as it covers a value of type t inside it, and how far above its
// anchor is from there.
func (s *state) inherited(t *fhir.Type) (*rule, int) {
	if s.best == nil || s.best.method.transforms() {
		return nil, -1
	}
	if s.best.method == Keep {
		switch t.Name {
		case "Extension":
			if s.typ == nil || s.typ.Name != "Extension" {
				return nil, -1
			}
		case "Narrative", "Attachment":
			return nil, -1
		}
		if t.Kind == fhir.KindResource {
			return nil, -1
		}
	}
	if s.up < 0 {
		return s.best, -1
	}
	return s.best, s.up + 1
}

// choose picks the rule that counts: the most specific of those that name the value, against the one that covers it
// from above.
func choose(inherited *rule, up int, found []candidate) candidate {
	if len(found) == 0 {
		return candidate{rule: inherited, up: up}
	}
	top := slices.MinFunc(found, func(a, b candidate) int {
		return cmp.Or(
			-cmp.Compare(a.rule.class, b.rule.class),
			-cmp.Compare(len(a.rule.steps), len(b.rule.steps)),
			cmp.Compare(a.distance, b.distance),
			-cmp.Compare(a.rule.tests(), b.rule.tests()),
			cmp.Compare(a.rule.order, b.rule.order))
	})
	switch {
	case inherited == nil || top.rule.class > inherited.class:
		return top
	case top.rule.class < inherited.class:
		return candidate{rule: inherited, up: up}
	case top.rule.class >= classBase, top.up == up && up >= 0:
		return top // both count from the same value: the longer path
	case protection(inherited.method) > protection(top.rule.method):
		return candidate{rule: inherited, up: up}
	}
	return top
}

// protection orders methods by how much they hide.
func protection(m Method) int {
	switch {
	case m.takesOut():
		return 2
	case m.transforms():
		return 1
	}
	return 0
}
