package fhir

import (
	"slices"
	"strings"
)

// CodeSet is the expansion of a value set: which codes of which systems belong to it. Codes are compared as written,
// case included. Abstract codes, which only group others, are not in it.
type CodeSet struct {
	url     string
	entries []codeEntry // sorted by code, then system
}

type codeEntry struct{ code, system string }

func (e codeEntry) compare(o codeEntry) int {
	if c := strings.Compare(e.code, o.code); c != 0 {
		return c
	}
	return strings.Compare(e.system, o.system)
}

// URL is the value set's URL, without a version.
func (c *CodeSet) URL() string { return c.url }

// Len is the number of codings in the set.
func (c *CodeSet) Len() int { return len(c.entries) }

// find returns the entries with the code.
func (c *CodeSet) find(code string) []codeEntry {
	if c == nil {
		return nil
	}
	low, high := 0, len(c.entries)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if c.entries[middle].code < code {
			low = middle + 1
		} else {
			high = middle
		}
	}
	end := low
	for end < len(c.entries) && c.entries[end].code == code {
		end++
	}
	return c.entries[low:end]
}

// Has tells whether the coding is in the set.
func (c *CodeSet) Has(system, code string) bool {
	for _, e := range c.find(code) {
		if e.system == system {
			return true
		}
	}
	return false
}

// HasCode tells whether the code is in the set, in whichever system: enough for elements of type code, which carry no
// system.
func (c *CodeSet) HasCode(code string) bool { return len(c.find(code)) > 0 }

// System is the system that the code belongs to. False if the set does not have the code, or has it in more than one
// system.
func (c *CodeSet) System(code string) (string, bool) {
	if found := c.find(code); len(found) == 1 {
		return found[0].system, true
	}
	return "", false
}

// Codes lists the codes, sorted, each once.
func (c *CodeSet) Codes() []string {
	if c == nil {
		return nil
	}
	codes := make([]string, len(c.entries))
	for i, e := range c.entries {
		codes[i] = e.code
	}
	return slices.Compact(codes)
}

// Systems lists the code systems, sorted, each once.
func (c *CodeSet) Systems() []string {
	if c == nil {
		return nil
	}
	systems := make([]string, len(c.entries))
	for i, e := range c.entries {
		systems[i] = e.system
	}
	slices.Sort(systems)
	return slices.Compact(systems)
}
