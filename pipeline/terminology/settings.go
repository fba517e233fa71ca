package terminology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// The settings of a map: comments before the header of a CSV file, extensions of a ConceptMap in JSON.
const (
	settingUnknown      = "unknown"
	settingSystem       = "system"
	settingNarrower     = "narrower"
	settingAlternatives = "alternatives"
	settingURL          = "url"
	settingGEM          = "gem"
	settingTarget       = "target"
)

// fixedRelationship is that of the one code for all unknown ones: nobody knows what it has to do with each.
const fixedRelationship = "relatedto"

var settings = []string{settingUnknown, settingSystem, settingNarrower, settingAlternatives, settingURL, settingGEM, settingTarget}

// set takes one setting. The message says what is wrong with the value, "" if nothing is.
func (m *ConceptMap) set(setting, value string, at reference) (message, hint string) {
	at.text = value
	switch setting {
	case settingUnknown:
		return m.setUnknown(value, at)
	case settingAlternatives:
		words := unknownWords[:Fixed]
		i := slices.Index(words, value)
		if i < 0 {
			return fmt.Sprintf("%q does not say what becomes of codes with several targets to choose from", value), nearest(value, words)
		}
		m.Alternatives = Unknown(i)
	case settingNarrower:
		words := []string{"find", "refuse"}
		i := slices.Index(words, value)
		if i < 0 {
			return fmt.Sprintf("%q does not say what becomes of codes whose target asserts more than they do", value), nearest(value, words)
		}
		m.RefuseNarrower = i == 1
	case settingSystem:
		if what := uriFault(value); what != "" {
			return "the source's system " + what, ""
		}
		m.System = value
	case settingURL:
		if what := uriFault(value); what != "" {
			return "the map's URL " + what, ""
		}
		m.URL = value
	case settingTarget:
		if what := uriFault(value); what != "" {
			return "the target's system " + what, ""
		}
		m.target = value
	case settingGEM:
		if value == "" {
			return "the GEM file is not named", "such as # gem: 2018_I9gem.txt.gz"
		}
		m.gem = at
	}
	return "", ""
}

// setUnknown reads what becomes of unknown codes: a word, `fixed SYSTEM|CODE|DISPLAY`, or `map NAME`.
func (m *ConceptMap) setUnknown(value string, at reference) (message, hint string) {
	word, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case word == "map" && rest != "":
		at.text = rest
		m.next = at
		return "", ""
	case word == unknownWords[Fixed] && rest != "":
		parts := append(strings.SplitN(rest, "|", 3), "", "")
		m.Unknown, m.Fixed = Fixed, Coding{System: parts[0], Code: parts[1], Display: parts[2], Relationship: fixedRelationship}
		return m.checkFixed()
	}
	words := unknownWords[:Fixed]
	if i := slices.Index(words, value); i >= 0 {
		m.Unknown = Unknown(i)
		return "", ""
	}
	return fmt.Sprintf("%q does not say what becomes of unknown codes", value), nearest(value, append(slices.Clone(words), "fixed SYSTEM|CODE", "map NAME"))
}

// checkFixed says what is wrong with the coding of all unknown codes.
func (m *ConceptMap) checkFixed() (message, hint string) {
	hint = "write # unknown: fixed SYSTEM|CODE"
	if what := uriFault(m.Fixed.System); what != "" {
		return "the system of the fixed code " + what, hint
	}
	if what := codeFault(m.Fixed.Code); what != "" {
		return "the fixed code " + what, hint
	}
	return "", ""
}

// nearest is the hint for a word that is none of those that may stand there.
func nearest(word string, words []string) string {
	if hint := document.Hint(word, words); hint != "" {
		return hint
	}
	return "one of " + strings.Join(words, ", ")
}

// Link gives a map the codes of the map that it names for what it does not know itself (`# unknown: map NAME`, or
// group.unmapped `other-map`), and of the map that this one names. find finds a map by its name or URL, nil if there is
// none. A map that names none is left as it is. Call it once for each map, before any of them is used.
func (m *ConceptMap) Link(find func(string) *ConceptMap) Faults {
	var chain []*ConceptMap
	for at := m; at.next.text != ""; {
		other := find(at.next.text)
		fault := func(hint, format string, args ...any) Faults {
			f := m.next.fault(m.Name, fmt.Sprintf(format, args...))
			f.Hint = hint
			return Faults{f}
		}
		switch {
		case other == nil && at != m:
			return nil // a fault of the other map
		case other == nil:
			return fault("maps of the same pack can be named, by name or URL", "there is no concept map %q for the codes that this one does not know", at.next.text)
		case other == m || slices.Contains(chain, other):
			return fault("", "the concept maps send unknown codes to each other in a circle")
		case other.System != m.System:
			return fault("", "the concept map %q translates codes of another system", at.next.text)
		}
		chain = append(chain, other)
		at = other
	}
	if len(chain) == 0 {
		return nil
	}
	codes := make(map[string]Entry, len(m.codes))
	for _, other := range append([]*ConceptMap{m}, chain...) {
		for code, e := range other.codes {
			if _, ok := codes[code]; !ok {
				codes[code] = e
			}
		}
	}
	last := chain[len(chain)-1]
	linked := *m
	linked.codes, linked.Unknown, linked.Fixed, linked.next = codes, last.Unknown, last.Fixed, reference{}
	*m = *linked.finish()
	return nil
}

func (r reference) fault(file, message string) Fault {
	if r.path != "" {
		message = r.path + ": " + message
	}
	return Fault{File: file, Line: r.line, Column: r.column, Message: message}
}

// Settings are the map's settings as the lines that stand before the header of a CSV file, without their `#`. What the map
// takes from a GEM file or from another map is not among them.
func (m *ConceptMap) Settings() (lines []string) {
	say := func(setting, value string) { lines = append(lines, setting+": "+value) }
	if m.System != "" {
		say(settingSystem, m.System)
	}
	switch {
	case m.Unknown == Fixed:
		say(settingUnknown, fmt.Sprintf("%s %s|%s|%s", m.Unknown, m.Fixed.System, m.Fixed.Code, m.Fixed.Display))
	case m.Unknown != Refuse:
		say(settingUnknown, m.Unknown.String())
	}
	if m.RefuseNarrower {
		say(settingNarrower, "refuse")
	}
	if m.Alternatives != Refuse {
		say(settingAlternatives, m.Alternatives.String())
	}
	return lines
}
