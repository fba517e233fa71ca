// Package terminology translates codes: concept maps as CSV or as FHIR ConceptMap JSON.
//
// A concept map says what each code of a legacy system becomes, and what becomes of a code that it does not know. It
// never picks in silence: a code with several targets keeps them all, and whoever looks it up sees that.
package terminology

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Fault is something wrong in the file of a map, at its place.
type Fault = document.Fault

// Faults is all that is wrong in the file of a map, as one error.
type Faults = document.Faults

// Unknown says what becomes of a code that the map does not list.
type Unknown uint8

// What a map says about codes it does not know.
const (
	Refuse Unknown = iota // the record is refused; the default
	Text                  // a CodeableConcept with text only
	Keep                  // the source's own code in the source's own system
)

// String is the word that stands in a map for it.
func (u Unknown) String() string {
	switch u {
	case Text:
		return "text"
	case Keep:
		return "keep"
	default:
		return "refuse"
	}
}

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
	System  string  // URI of the source's own code system; "" if the map names none
	Unknown Unknown // what becomes of a code that is not in the map
	codes   map[string][]Coding
	sorted  []string
	digest  string
}

// Lookup answers the targets of a code, in the order of the file. The code must match exactly. It does not allocate.
//
// ok is false for a code that the map does not list; then Unknown applies. A listed code may have no target (it is
// `unmatched`, on purpose: nil, true) or several, of which the caller must not pick in silence. The result is shared:
// read it only.
func (m *ConceptMap) Lookup(code string) (targets []Coding, ok bool) {
	targets, ok = m.codes[code]
	return targets, ok
}

// Len is the number of source codes.
func (m *ConceptMap) Len() int { return len(m.sorted) }

// Codes yields each source code with its targets, sorted by code.
func (m *ConceptMap) Codes() iter.Seq2[string, []Coding] {
	return func(yield func(string, []Coding) bool) {
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

// finish sorts and hashes the map. It is immutable from here on.
func (m *ConceptMap) finish() *ConceptMap {
	m.sorted = slices.Sorted(maps.Keys(m.codes))
	h := sha256.New()
	put := func(fields ...string) {
		for _, f := range fields {
			_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(f)))) // a hash never fails
			_, _ = h.Write([]byte(f))
		}
	}
	put("chartlift concept map 1", m.System, m.Unknown.String())
	for _, code := range m.sorted {
		targets := m.codes[code]
		put(code)
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(targets))))
		for _, c := range targets {
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
