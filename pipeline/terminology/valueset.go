package terminology

import (
	"slices"
	"strings"
)

// Verdict says whether something belongs to a set.
type Verdict uint8

// The verdicts. In and NotIn are certain; NotKnown is what cannot be decided with the definitions at hand.
const (
	NotKnown Verdict = iota
	In
	NotIn
)

// String returns the verdict as words.
func (v Verdict) String() string {
	switch v {
	case In:
		return "in"
	case NotIn:
		return "not in"
	}
	return "not known"
}

// and is In only if both are, and NotIn if one is.
func (v Verdict) and(o Verdict) Verdict {
	if v == NotIn || o == NotIn {
		return NotIn
	}
	return min(v, o)
}

// or is In if one is, and NotIn only if both are.
func (v Verdict) or(o Verdict) Verdict {
	if v == In || o == In {
		return In
	}
	if v == NotKnown || o == NotKnown {
		return NotKnown
	}
	return NotIn
}

// not turns In and NotIn round.
func (v Verdict) not() Verdict {
	switch v {
	case In:
		return NotIn
	case NotIn:
		return In
	}
	return NotKnown
}

// ValueSet is a value set, compiled for questions. It is immutable and may be used concurrently. Of the nil value set
// nothing is known.
type ValueSet struct {
	url, version     string
	include, exclude []selection
	systems          []string // those that codes in the set may be of
	openSystems      bool     // there may be others

	listed map[string]map[string]struct{} // the expansion, if it is needed: system → codes
	whole  bool                           // what is not listed is not in the set
	why    []string
	asks   int // how many sets a question may have to go through
}

// selection is one include or exclude.
type selection struct {
	system, version string
	codes           map[string]struct{} // listed ones; nil if the selection is not by list
	fold            bool                // of the listed codes
	from            *CodeSystem         // nil: not at hand
	filters         []filter
	sets            []*ValueSet // nil entry: not at hand
	values          bool        // only codes that may be values: abstract ones are left out
	active          bool        // only active ones
	open            bool        // cannot be decided at all
}

// URL is the canonical URL, without a version.
func (v *ValueSet) URL() string {
	if v == nil {
		return ""
	}
	return v.url
}

// Version is the version of the definition, or "".
func (v *ValueSet) Version() string {
	if v == nil {
		return ""
	}
	return v.version
}

// Why says what stands in the way of deciding every code; "" if nothing does.
func (v *ValueSet) Why() string {
	if v == nil {
		return "there is no definition of it"
	}
	return strings.Join(v.why, "; ")
}

// Of tells whether all codes of the set are of that one system.
func (v *ValueSet) Of(system string) bool {
	return v != nil && !v.openSystems && len(v.systems) == 1 && v.systems[0] == system
}

// Has tells whether a code of a system is in the set. The version is that of the coding, usually "". Codes are compared
// as written, unless their system says that case makes no difference; abstract codes, which only group others, are in
// no set but where it lists them. It does not allocate.
func (v *ValueSet) Has(system, version, code string) Verdict {
	if v == nil {
		return NotKnown
	}
	verdict := NotIn
	if len(v.include) == 0 {
		verdict = NotKnown
	}
	for i := range v.include {
		if verdict = verdict.or(v.include[i].has(system, version, code)); verdict == In {
			break
		}
	}
	if verdict != NotIn {
		for i := range v.exclude {
			verdict = verdict.and(v.exclude[i].has(system, version, code).not())
		}
	}
	if verdict == NotKnown && v.listed != nil {
		if _, ok := v.listed[system][code]; ok {
			return In
		}
		if v.whole {
			return NotIn
		}
	}
	return verdict
}

// HasCode tells whether the code is in the set, in whichever system: for elements of type code, which carry none. It
// does not allocate.
func (v *ValueSet) HasCode(code string) Verdict {
	if v == nil {
		return NotKnown
	}
	verdict := NotIn
	if v.openSystems && !v.whole {
		verdict = NotKnown
	}
	for _, system := range v.systems {
		if verdict = verdict.or(v.Has(system, "", code)); verdict == In {
			break
		}
	}
	return verdict
}

func (s *selection) has(system, version, code string) Verdict {
	if s.open {
		return NotKnown
	}
	verdict := In
	if s.system != "" {
		if system != s.system {
			return NotIn
		}
		if verdict = s.selected(version, code); verdict == NotIn {
			return NotIn
		}
		if s.version != "" && version != "" && !sameVersion(version, s.version) {
			verdict = NotKnown
		}
	}
	for _, set := range s.sets {
		verdict = verdict.and(set.Has(system, version, code))
	}
	return verdict
}

// selected tells whether a code of the system is selected.
func (s *selection) selected(version, code string) Verdict {
	at := int32(-1)
	if s.from != nil && s.from.grammar == nil {
		at = s.from.at(code)
	}
	if s.active && at >= 0 && s.from.concepts[at].inactive {
		return NotIn
	}
	if s.codes != nil {
		if !s.listed(code) {
			return NotIn
		}
	} else if s.from == nil {
		return NotKnown
	}
	verdict := In
	if s.codes == nil {
		switch verdict = s.from.has(code); {
		case verdict == NotIn && version != "" && s.from.version != "" && !sameVersion(s.from.version, version):
			return NotKnown // another version of the system may have the code
		case verdict == NotKnown && s.from.complete && slices.ContainsFunc(s.filters, func(f filter) bool { return f.valued }):
			return NotIn // a code beyond those at hand has no such property
		case verdict != In:
			return verdict
		case s.values && at >= 0 && s.from.concepts[at].abstract:
			return NotIn
		}
	}
	for i := range s.filters {
		verdict = verdict.and(s.filters[i].has(s.from, code, at))
	}
	return verdict
}

func (s *selection) listed(code string) bool {
	if s.fold {
		var buffer [64]byte
		_, ok := s.codes[string(folded(buffer[:0], code))]
		return ok
	}
	_, ok := s.codes[code]
	return ok
}

// sameVersion tells whether a version is the wanted one, or one of it: an edition of SNOMED CT has dated versions below
// it (snomedct.html#versions).
func sameVersion(have, want string) bool {
	return have == want || strings.HasPrefix(have, want) && have[len(want)] == '/'
}

// addWhy notes a reason once.
func (v *ValueSet) addWhy(reason string) {
	if !slices.Contains(v.why, reason) {
		v.why = append(v.why, reason)
	}
}
