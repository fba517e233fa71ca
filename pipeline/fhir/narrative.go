package fhir

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
)

// What narrative may hold (narrative.html#xhtml): formatting and images, but no scripts, forms or frames.
var (
	htmlElements = strings.Fields(`a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em
		h1 h2 h3 h4 h5 h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var`)
	htmlAttributes = strings.Fields(`abbr align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char
		charoff charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc
		name nowrap rel rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace
		width xmlns`)
)

const xhtmlSpace = "http://www.w3.org/1999/xhtml"

// CheckNarrative checks the div of a Narrative: whether it is well formed and holds only what FHIR allows (txt-1), and
// whether there is something in it to be seen (txt-2).
func CheckNarrative(div string) (allowed, content bool) {
	if plain, content := plainNarrative(div); plain {
		return true, content
	}
	return checkNarrative(div)
}

// checkNarrative decides by a whole XML parser.
func checkNarrative(div string) (allowed, content bool) {
	d := xml.NewDecoder(strings.NewReader(div))
	d.Entity = xml.HTMLEntity
	depth, some := 0, false
	for {
		t, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF) && depth == 0 && some, content
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 0 && (t.Name.Local != "div" || some) || t.Name.Space != xhtmlSpace || depth > MaxDepth ||
				!slices.Contains(htmlElements, t.Name.Local) {
				return false, content
			}
			some = true
			for _, a := range t.Attr {
				name := a.Name.Local
				if a.Name.Space == "xml" {
					continue
				}
				if !slices.Contains(htmlAttributes, name) || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Value)), "javascript:") {
					return false, content
				}
			}
			content = content || t.Name.Local == "img"
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			text := len(strings.TrimSpace(string(t))) > 0
			if text && depth == 0 {
				return false, content // text beside the div
			}
			content = content || text
		case xml.Directive, xml.ProcInst:
			return false, content
		}
	}
}
