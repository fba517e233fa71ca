// Package terminology translates codes: concept maps as CSV, as FHIR ConceptMap JSON, or out of GEM files.
//
// A concept map says what each code of a legacy system becomes, and what becomes of a code that it does not know. It
// never picks in silence: a code with several targets keeps them all, and whoever looks it up sees that.
//
// # What a relationship means here
//
// Relationships are those of FHIR R4 (valueset-concept-map-equivalence), read from source to target: `wider` says that the
// target means more things than the source.
//
//	equal, equivalent          a translation; nothing more to say
//	wider, subsumes            a translation that loses detail: true of every patient, so it is written beside the
//	                           source's own coding, which keeps the detail
//	inexact, relatedto         source and target overlap, nobody knows how far; likewise
//	narrower, specializes      the target asserts more than the source said. Never silent: `# narrower:` says whether the
//	                           record is refused or gets a finding (R4: to be used with care)
//	unmatched, disjoint        no target, on purpose
package terminology

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Fault is something wrong in the file of a map, at its place.
type Fault = document.Fault

// Faults is all that is wrong in the file of a map, as one error.
type Faults = document.Faults

// Unknown says what becomes of a code that the map does not list, or for which it has several targets to choose from.
type Unknown uint8

// What a map says about codes for which it has no one answer.
const (
	Refuse Unknown = iota // the record is refused; the default
	Text                  // a CodeableConcept with text only
	Keep                  // the source's own code in the source's own system
	Fixed                 // the code that the map gives for all of them; of unknown codes only
)

// unknownWords stand in a map for each Unknown.
var unknownWords = [...]string{Refuse: "refuse", Text: "text", Keep: "keep", Fixed: "fixed"}

// String is the word that stands in a map for it.
func (u Unknown) String() string { return unknownWords[u] }

// Coding is one target of a source code.
type Coding struct {
	System       string // URI of the target's code system
	Code         string
	Display      string // may be empty
	Relationship string // of source to target, a code of FHIR R4's ConceptMapEquivalence, `equivalent` by default
}

// ConceptMap is an immutable table from codes to codings. It may be used concurrently.
type ConceptMap struct {
	Name    string  // the name that formulas use: translate('Name')
	File    string  // where it was read, for people
	URL     string  // its canonical URL, by which other maps name it; may be empty
	System  string  // URI of the source's own code system; "" if the map names none
	Unknown Unknown // what becomes of a code that is not in the map
	Fixed   Coding  // under Unknown Fixed, what it becomes
	// Alternatives is what becomes of a code with several targets that are a choice and not all of them true.
	Alternatives Unknown
	// Doubts are lines that a person should look at, without the file's name.
	Doubts []Fault
	// RefuseNarrower refuses records whose code has only a target that asserts more; else that is a finding.
	RefuseNarrower bool

	next   reference // the map that is asked for what this one does not know; resolved by Link
	gem    reference // the GEM file that the map's own lines amend; resolved by AddGEM
	target string    // URI of the target's code system, for the GEM file
	codes  map[string]Entry
	sorted []string
	digest string
}

// reference is a text that names something else, with its place in the file.
type reference struct {
	text         string
	line, column int
	path         string // in a JSON file
}

// Entry is what a map says about one source code.
type Entry struct {
	Code    string   // the source code as its system writes it: 250.00 for a source's 25000, where the map knows the rule
	Targets []Coding // in the order of the file; none: the code is `unmatched`, on purpose
	// Choice tells that the targets are alternatives, none of which may be picked in silence. Without it, several targets
	// all hold.
	Choice bool
}

// Narrower tells whether one of the targets asserts more than the source code does.
func (e *Entry) Narrower() bool {
	for i := range e.Targets {
		if asserts(e.Targets[i].Relationship) {
			return true
		}
	}
	return false
}

// Loose tells whether one of the targets means something else than the source code, so that this must stand beside it.
func Loose(targets []Coding) bool {
	for i := range targets {
		if r := targets[i].Relationship; r != "equivalent" && r != "equal" {
			return true
		}
	}
	return false
}

// asserts tells relationships whose target says more than the source.
func asserts(relationship string) bool {
	return relationship == "narrower" || relationship == "specializes"
}

// Lookup answers what the map says about a code, which must match exactly. It does not allocate.
//
// ok is false for a code that the map does not list; then Unknown applies. The result is shared: read it only.
func (m *ConceptMap) Lookup(code string) (e Entry, ok bool) {
	e, ok = m.codes[code]
	return e, ok
}

// Len is the number of source codes.
func (m *ConceptMap) Len() int { return len(m.sorted) }

// Codes yields each source code with what the map says about it, sorted by code.
func (m *ConceptMap) Codes() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for _, code := range m.sorted {
			if !yield(code, m.codes[code]) {
				return
			}
		}
	}
}

// Digest is the hex SHA-256 of what the map says: two maps with the same digest translate alike, however their files
// are laid out.
func (m *ConceptMap) Digest() string { return m.digest }

// equivalences are the codes of FHIR R4's ConceptMapEquivalence (valueset-concept-map-equivalence), read as there: the
// target is `wider` than the source.
var equivalences = []string{"disjoint", "equal", "equivalent", "inexact", "narrower", "relatedto", "specializes",
	"subsumes", "unmatched", "wider"}

// defaultRelationship is what a line of a CSV says that names none.
const defaultRelationship = "equivalent"

// noTarget tells relationships that state that there is no target.
func noTarget(relationship string) bool {
	return relationship == "unmatched" || relationship == "disjoint"
}

// eachHolds tells whether several targets may all be written: each is a translation of the source, or holds whenever the
// source does.
func eachHolds(targets []Coding) bool {
	for i := range targets {
		switch targets[i].Relationship {
		case "equal", "equivalent", "wider", "subsumes":
		default:
			return false
		}
	}
	return true
}

// Relationships counts the source codes by the relationship of their targets, and under "choice" those whose targets are
// alternatives and under "unmatched" those without a target. A code counts once for each relationship that it has.
func (m *ConceptMap) Relationships() map[string]int {
	counts := map[string]int{}
	for code, e := range m.codes {
		if code != e.Code {
			continue // another spelling
		}
		seen := map[string]bool{}
		for _, t := range e.Targets {
			seen[t.Relationship] = true
		}
		if len(e.Targets) == 0 {
			seen["unmatched"] = true
		}
		if e.Choice {
			seen["choice"] = true
		}
		for r := range seen {
			counts[r]++
		}
	}
	return counts
}

// add adds a target to the entry of a code.
func (m *ConceptMap) add(code string, c Coding) {
	e := m.codes[code]
	e.Code = code
	e.Targets = append(e.Targets, c)
	e.Choice = len(e.Targets) > 1 && !eachHolds(e.Targets)
	m.codes[code] = e
}

// addNone notes a code that has no target on purpose.
func (m *ConceptMap) addNone(code string) { m.codes[code] = Entry{Code: code} }

// finish sorts and hashes the map. It is immutable from here on, until it is linked to others.
func (m *ConceptMap) finish() *ConceptMap {
	m.sorted = slices.Sorted(maps.Keys(m.codes))
	h := sha256.New()
	put := func(fields ...string) {
		for _, f := range fields {
			_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(f)))) // a hash never fails
			_, _ = h.Write([]byte(f))
		}
	}
	put("chartlift concept map 2", m.System, m.Unknown.String(), m.Fixed.System, m.Fixed.Code, m.Fixed.Display, m.Alternatives.String(),
		strconv.FormatBool(m.RefuseNarrower), m.next.text, m.gem.text)
	for _, code := range m.sorted {
		e := m.codes[code]
		put(code, e.Code, strconv.FormatBool(e.Choice))
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(e.Targets))))
		for _, c := range e.Targets {
			put(c.System, c.Code, c.Display, c.Relationship)
		}
	}
	m.digest = hex.EncodeToString(h.Sum(nil))
	return m
}

// pool keeps one copy of texts that repeat in most lines.
type pool map[string]string

func (p pool) keep(s string) string {
	if kept, ok := p[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	p[s] = s
	return s
}

// codeFault says what keeps a text from being a code of FHIR (R4 datatypes.html#code), or "".
func codeFault(code string) string {
	switch {
	case code == "":
		return "is blank"
	case code != strings.TrimSpace(code):
		return "has white space around it"
	}
	return ""
}

// uriFault says what keeps a text from being the URI of a code system, or "".
func uriFault(uri string) string {
	switch {
	case uri == "":
		return "is blank"
	case strings.ContainsAny(uri, " \t\r\n"):
		return "has white space in it"
	case !strings.Contains(uri, ":"):
		return "is no URI"
	}
	return ""
}
