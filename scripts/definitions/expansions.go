package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// cutAt is how many codes HL7's server listed at most of one include. An expansion with so many codes of a system is
// taken as cut off, since not all of them say so.
const cutAt = 1000

// unclosed is the extension of an expansion that does not list all that is in the set.
const unclosed = structurePrefix + "valueset-unclosed"

// ruled are the systems whose codes follow a grammar that the program knows.
var ruled = map[string]bool{"http://unitsofmeasure.org": true, "urn:ietf:bcp:13": true, "urn:ietf:bcp:47": true}

// addExpansions gives the value sets that cannot be worked out from the code systems at hand HL7's own expansion. Where
// a set is defined over a terminology that grows, as SNOMED CT, an expansion of 2019 says what is in the set and not
// what is not, so it is marked as not closed; the ISO lists are the ones taken as whole, as the compiled table takes them.
func addExpansions(dir string, list []*coreResource) (remarks []string, err error) {
	d := decider{sets: map[string]*fhir.Node{}, systems: map[string]bool{}}
	for _, r := range list {
		switch r.typ {
		case "ValueSet":
			d.sets[r.url] = r.node
		case "CodeSystem":
			d.systems[r.url] = r.node.Get("content").Str() == "complete"
		}
	}
	err = eachResource(dir, "expansions", func(typ string, raw json.RawMessage) error {
		node, err := fhir.Parse(raw)
		if err != nil {
			return err
		}
		url := node.Get("url").Str()
		set := d.sets[url]
		if set == nil || len(d.missing(url, 0)) == 0 {
			return nil
		}
		expansion := node.Get("expansion")
		if expansion.Get("contains") == nil {
			return nil
		}
		for _, p := range listOf(expansion, "parameter") {
			if p.Get("name").Str() == "expansion-source" {
				return nil // that of another set, as an example
			}
		}
		counts := map[string]int{}
		countCodes(expansion, counts)
		for system, n := range counts {
			if n >= cutAt {
				remarks = append(remarks, fmt.Sprintf("the expansion of %s is left out: it stops after %d codes of %s", url, n, system))
				return nil
			}
		}
		cut := keep(expansion, "contains")
		replace(cut, "contains", cutContains)
		for _, system := range d.missing(url, 0) {
			if !strings.HasPrefix(system, "urn:iso:std:iso:") {
				mark := fhir.NewObject(fhir.Member{Name: "url", Value: fhir.NewString(unclosed)}, fhir.Member{Name: "valueBoolean", Value: fhir.NewBoolean(true)})
				cut.Set("extension", &fhir.Node{Kind: fhir.Array, Items: []*fhir.Node{mark}})
				break
			}
		}
		set.Set("expansion", cut)
		return nil
	})
	return remarks, err
}

func listOf(n *fhir.Node, name string) []*fhir.Node {
	if list := n.Get(name); list != nil {
		return list.Items
	}
	return nil
}

func cutContains(n *fhir.Node) *fhir.Node {
	out := keep(n, "system", "code", "abstract", "contains")
	replace(out, "contains", cutContains)
	return out
}

func countCodes(n *fhir.Node, counts map[string]int) {
	for _, c := range listOf(n, "contains") {
		counts[c.Get("system").Str()]++
		countCodes(c, counts)
	}
}

// decider tells which value sets can be worked out.
type decider struct {
	sets    map[string]*fhir.Node
	systems map[string]bool // url → all codes are at hand
}

// missing are the systems and value sets that working out a value set would need and that are not at hand.
func (d decider) missing(url string, depth int) (out []string) {
	set := d.sets[url]
	if set == nil || depth > 10 {
		return []string{url}
	}
	compose := set.Get("compose")
	for _, side := range []string{"include", "exclude"} {
		for _, inc := range listOf(compose, side) {
			system := inc.Get("system").Str()
			if system != "" && inc.Get("concept") == nil && !d.systems[system] && !(ruled[system] && inc.Get("filter") == nil) {
				out = append(out, system)
			}
			for _, other := range listOf(inc, "valueSet") {
				plain, _, _ := strings.Cut(other.Str(), "|")
				out = append(out, d.missing(plain, depth+1)...)
			}
		}
	}
	return out
}
