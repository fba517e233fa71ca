// Package terminology translates codes, by concept maps as CSV, as FHIR ConceptMap JSON, or out of GEM files, and knows
// which codes there are: a [Store] holds the code systems and value sets of R4, of FHIR packages, and of the files that
// users bring.
//
// A concept map says what each code of a legacy system becomes, and what becomes of a code that it does not know. It
// never picks in silence: a code with several targets keeps them all, and whoever looks it up sees that.
//
// # Concept maps
//
// A concept map lies in the folder maps/ of a mapping pack and goes by the name of its file: maps/conditions.csv is
// 'conditions' in CODE.translated('conditions'). Codes match exactly, as they stand in the source.
//
//	# Anything may be said in lines that begin with `#` before the header. Some of them are settings:
//	# system: http://legacy.example/conditions
//	# unknown: text
//	source code,target system,target code,display,relationship,comment
//	DM2,http://snomed.info/sct,44054006,Diabetes mellitus type 2,equivalent,
//	HTN,http://snomed.info/sct,38341003,Hypertension,wider,
//	TEST,,,,unmatched,made by the old system's own checks
//
// display, relationship and comment may be left out, and the order of the columns is free. The settings:
//
//	system        URI of the source's own codes; translated() keeps the source's coding only if it is given
//	unknown       what becomes of a code that is not in the map: refuse (default; the record is refused) | text (a concept
//	              with text only) | keep (the source's own code) | fixed SYSTEM|CODE|DISPLAY (this one; counted as unknown
//	              all the same) | map NAME (another map of the pack is asked, by name or URL, and its settings for unknown
//	              codes hold)
//	narrower      find (default) | refuse, see below
//	alternatives  refuse (default) | text | keep, see below
//	url           the map's canonical URL
//	gem, target   a GEM file and the system of its targets, see below
//
// # Relationships
//
// Relationships are those of FHIR R4 (valueset-concept-map-equivalence), read from source to target: `wider` says that the
// target means more things than the source. Blank is equivalent.
//
//	equal, equivalent       a translation; nothing more to say
//	wider, subsumes         a translation that loses detail: true of every patient who has the source's code. It is written
//	                        beside the source's coding, which keeps the detail
//	inexact, relatedto      source and target overlap, and nobody knows how far; likewise
//	narrower, specializes   the target asserts more than the source said, so it can be wrong for a patient. Never silent:
//	                        the record gets the finding `narrower-code`, or is refused under `# narrower: refuse`
//	unmatched, disjoint     there is no target, on purpose: translate() is empty, translated() keeps the source's coding
//
// Where a target is not equal or equivalent and the map names no `system`, translated() writes the source's code as text.
// `check` lists how many codes of each map in use have such targets.
//
// # Several targets
//
// Several lines for one source code are several targets. They are all written by translated() if each of them holds
// whenever the source's code does: equal, equivalent, wider, subsumes. Otherwise they are alternatives, and none is picked:
// `# alternatives:` says whether the record is refused with `several-targets` (default), or gets the finding of that name
// and text alone, or the source's own coding alone. translate(), which gives one code, refuses whatever has several.
//
// # FHIR ConceptMap
//
// maps/NAME.json is a ConceptMap of R4, and says the same as a CSV file with the same content: both have one digest. All
// groups have one source system. group.unmapped is `unknown`: provided (keep), fixed, other-map (by the map's url or name);
// groups must not contradict each other. dependsOn, product, implicitRules and modifierExtension are faults, since a code
// would be translated wrongly without them. What R4 has no element for stands in extensions of the map, with the words of
// the settings: https://github.com/chartlift/chartlift/fhir/concept-map-unknown, -narrower and -alternatives.
//
// # Units
//
// The map `units` translates what a source writes for units into UCUM (http://unitsofmeasure.org); quantity() looks there.
// Each target must be a unit. A source text that is itself a unit of UCUM, but of another magnitude than its target (mg to
// g), or a mass where the target is an amount of substance (mg/dL to mmol/L), is a fault: every number would change its
// meaning. One that measures something else altogether (K/uL for thousands, F for Fahrenheit; UCUM reads kelvin and farad)
// is the finding `doubtful-unit`. A text in the line's column `comment` says that it is meant so, and ends both. A text
// that differs from its target in case alone (MG for mg) is not a likeness.
//
// # ICD-9 to ICD-10 by GEM files
//
// CMS's General Equivalence Mappings are text files: source code, target code, five flags. The user supplies the file; it
// lies in maps/ or in the plan's own folder, may be packed (.gz, .zst), and is named by a map:
//
//	# gem: 2018_I9gem.txt.gz
//	# system: http://hl7.org/fhir/sid/icd-9-cm
//	# target: http://hl7.org/fhir/sid/icd-10-cm
//	# alternatives: keep
//	# unknown: text
//	source code,target system,target code,display,relationship
//	250.02,http://hl7.org/fhir/sid/icd-10-cm,E11.65,Type 2 diabetes mellitus with hyperglycemia,narrower
//
// The map's own lines take the place of all that the file says about their source code: so a person decides where the file
// leaves a choice. Systems are ICD-9-CM and ICD-10-CM as above, or for procedures urn:oid:2.16.840.1.113883.6.104 and
// http://www.cms.gov/Medicare/Coding/ICD10. Dots are put in by the rule of each classification (250.00, E950.0, V01.81), and
// a source code is known with its dot and without.
//
//	exact entry             equivalent
//	approximate             relatedto, never equivalent: the file does not say in which direction it differs
//	no map                  unmatched
//	combination             if the only scenario has one code in each of its choice lists, all of them are written, since
//	                        together they say what the source said; each is relatedto
//	anything else           several entries, scenarios, or codes in one choice list: alternatives
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

// Lookup returns what the map says about a code, which must match exactly. It does not allocate.
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
		return "is not a URI"
	}
	return ""
}
