package terminology

import (
	"bufio"
	"bytes"
	"strings"
	"unicode/utf8"
)

// SNOMED CT's release format 2 (SNOMED CT Release File Specifications, 4.2): tab-separated files with a header.
const (
	snomedSystem = "http://snomed.info/sct"

	rf2Columns          = "id\teffectiveTime\tactive\tmoduleId\t" // that all files have
	conceptColumns      = rf2Columns + "definitionStatusId"
	descriptionColumns  = rf2Columns + "conceptId\tlanguageCode\ttypeId\tterm"
	relationshipColumns = rf2Columns + "sourceId\tdestinationId\trelationshipGroup\ttypeId\tcharacteristicTypeId"

	isA      = "116680003"          // the relationship
	inferred = "900000000000011006" // the kind of relationship that a release states
	fsn      = "900000000000003001" // the kind of description: fully specified name
)

// snomed is SNOMED CT while its files are read: concepts first, then what belongs to them.
type snomed struct {
	b       *builder
	file    string // the first one
	counts  [3]int // files of concepts, descriptions, relationships
	lost    Fault  // the first relationship to a concept that is not there
	lostAll int
	version string
	mixed   bool // files of several releases
}

func newSnomed() *snomed {
	b := newBuilder(snomedSystem, "")
	// An expression of several concepts is a code too (snomedct.html#syntax); whether it is sound is not worked out.
	b.c.beyond = func(code string) bool { return strings.ContainsAny(code, ":+=|") }
	return &snomed{b: b}
}

func (s *snomed) used() bool { return s.file != "" }

// recogniseRF2 tells the files that count. Files of other things have the same header, so the name counts too.
func recogniseRF2(base, header string) (kind, string) {
	found := unrecognised
	switch {
	case strings.HasPrefix(header, conceptColumns):
		found = snomedConcepts
	case strings.HasPrefix(header, descriptionColumns) && !strings.HasPrefix(base, "sct2_TextDefinition"):
		found = snomedDescriptions
	case strings.HasPrefix(header, relationshipColumns) && !strings.HasPrefix(base, "sct2_StatedRelationship"):
		found = snomedRelationships
	}
	switch {
	case found == unrecognised:
		return found, "of SNOMED CT's release the files of concepts, descriptions and relationships count"
	case strings.Contains(base, "_Full") || strings.Contains(base, "Full-") || strings.Contains(base, "_Delta") || strings.Contains(base, "Delta-"):
		return unrecognised, "of SNOMED CT the files of the snapshot are needed, not of the full release or the delta"
	}
	return found, ""
}

// editions are the modules that name an edition in a version (snomedct.html#versions), by the place in a file's name.
var editions = map[string]string{"INT": "900000000000207008", "US1000124": "731000124108"}

// noteVersion takes the version from the file's name: sct2_Concept_Snapshot_US1000124_20230901.txt.
func (s *snomed) noteVersion(name string) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	base, _, _ = strings.Cut(base, ".")
	parts := strings.Split(base, "_")
	version := ""
	if len(parts) >= 2 {
		date := parts[len(parts)-1]
		if module := editions[parts[len(parts)-2]]; module != "" && len(date) == 8 {
			version = snomedSystem + "/" + module + "/version/" + date
		}
	}
	if s.version != "" && s.version != version {
		s.mixed = true
	}
	s.version = version
}

// read reads one of the files.
func (s *snomed) read(r *fileReader, f source, in *bufio.Reader) {
	if s.file == "" {
		s.file = f.name
	}
	s.noteVersion(f.name)
	s.counts[f.kind-snomedConcepts]++
	width := map[kind]int{snomedConcepts: 5, snomedDescriptions: 9, snomedRelationships: 10}[f.kind]
	var fields [10][]byte
	r.eachLine(f.name, in, func(line int, text []byte) bool {
		if line == 1 {
			return true
		}
		if n := cut(text, '\t', fields[:]); n != width {
			r.fault(f.name, line, 0, "", "the line has %d values instead of %d", n, width)
			return true
		}
		switch f.kind {
		case snomedConcepts:
			s.concept(r, f.name, line, fields[0], fields[2])
		case snomedDescriptions:
			if string(fields[2]) == "1" && string(fields[6]) == fsn {
				s.description(r, f.name, line, fields[4], fields[7])
			}
		case snomedRelationships:
			if string(fields[2]) == "1" && string(fields[7]) == isA && string(fields[8]) == inferred {
				s.relationship(f.name, line, fields[4], fields[5])
			}
		}
		return true
	})
}

// cut fills the fields and returns how many there are, of which those that have no room are not kept.
func cut(text []byte, by byte, fields [][]byte) (n int) {
	for more := true; more; n++ {
		var field []byte
		field, text, more = bytes.Cut(text, []byte{by})
		if n < len(fields) {
			fields[n] = field
		}
	}
	return n
}

func (s *snomed) concept(r *fileReader, file string, line int, id, active []byte) {
	if !digits(id) {
		r.fault(file, line, 1, "", "the id is not a number")
		return
	}
	at, fresh := s.b.add(string(id), "")
	if !fresh {
		r.fault(file, line, 1, "give the files of one snapshot", "the concept is given twice")
		return
	}
	s.b.c.concepts[at].inactive = string(active) != "1"
}

func (s *snomed) description(r *fileReader, file string, line int, id, term []byte) {
	at := s.b.c.at(string(id))
	switch {
	case at < 0:
		s.miss(file, line)
	case !utf8.Valid(term):
		r.fault(file, line, 0, "", "the text is not UTF-8")
	default:
		s.b.c.concepts[at].display = s.b.keep(string(term))
	}
}

func (s *snomed) relationship(file string, line int, from, to []byte) {
	child, parent := s.b.c.at(string(from)), s.b.c.at(string(to))
	if child < 0 || parent < 0 {
		s.miss(file, line)
		return
	}
	s.b.parents = append(s.b.parents, link{child, parent})
}

// miss notes a line about a concept that no file has.
func (s *snomed) miss(file string, line int) {
	if s.lostAll++; s.lostAll == 1 {
		s.lost = Fault{File: file, Line: line}
	}
}

// finish makes the code system.
func (s *snomed) finish(r *fileReader) *CodeSystem {
	before := len(r.faults)
	for i, what := range []string{"concepts (sct2_Concept_Snapshot_…)", "descriptions (sct2_Description_Snapshot…)", "relationships (sct2_Relationship_Snapshot_…)"} {
		if s.counts[i] == 0 {
			r.fault(s.file, 0, 0, "", "the file of the %s is missing for SNOMED CT", what)
		}
	}
	if s.lostAll > 0 && s.counts[0] > 0 {
		r.fault(s.lost.File, s.lost.Line, 0, "an extension needs the files of the International Edition too",
			"the line is about a concept that no file of concepts has, and so are %d more", s.lostAll-1)
	}
	if !s.mixed {
		s.b.c.version = s.version
	}
	return r.finished(s.file, s.b, before)
}

func digits(text []byte) bool {
	for _, c := range text {
		if !digit(c) {
			return false
		}
	}
	return len(text) > 0
}

// RxNorm's rich release format (RxNorm Technical Documentation, 12.4): fields between bars, without a header.
const (
	rxnormSystem = "http://www.nlm.nih.gov/research/umls/rxnorm"

	rxnormFields                                     = 19 // the bar at the end makes one more, empty
	rxcui, rxSAB, rxTTY, rxName, rxSuppress, rxOwner = 0, 11, 12, 14, 16, "RXNORM"
)

// rxnormSynonyms are the kinds of names that do not name a concept of their own.
var rxnormSynonyms = []string{"SY", "TMSY", "PSN", "ET"}

// readRxNorm reads RXNCONSO.RRF: the concepts that have a name of RxNorm's own, with the kinds of their names as the
// property TTY.
func (r *fileReader) readRxNorm(file string, in *bufio.Reader) *CodeSystem {
	b := newBuilder(rxnormSystem, "")
	before := len(r.faults)
	var fields [rxnormFields][]byte
	r.eachLine(file, in, func(line int, text []byte) bool {
		if n := cut(text, '|', fields[:]); n != rxnormFields {
			r.fault(file, line, 0, "", "the line has %d values instead of %d", n-1, rxnormFields-1)
			return true
		}
		if string(fields[rxSAB]) != rxOwner {
			return true
		}
		if !digits(fields[rxcui]) {
			r.fault(file, line, 1, "", "the RXCUI is not a number")
			return true
		}
		if !utf8.Valid(text) {
			r.fault(file, line, 0, "", "the text is not UTF-8")
			return true
		}
		at, fresh := b.add(string(fields[rxcui]), "")
		c := &b.c.concepts[at]
		kind, suppressed := string(fields[rxTTY]), string(fields[rxSuppress]) != "N"
		c.inactive = suppressed && (fresh || c.inactive)
		if c.display.size == 0 && !contains(rxnormSynonyms, kind) {
			c.display = b.keep(string(fields[rxName]))
		}
		b.value(at, "TTY", kind)
		return true
	})
	return r.finished(file, b, before)
}
