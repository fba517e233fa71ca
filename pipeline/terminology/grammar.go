package terminology

import (
	"mime"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ucum"
)

// grammar is a code system whose codes are made by rules, so that no list could hold them.
type grammar struct {
	has    func(code string) Verdict
	filter func(property, op, value string) func(code string) Verdict // nil: not known
}

// grammars are the systems of that kind (R4 terminologies-systems.html).
func grammars() map[string]*CodeSystem {
	all := map[string]*CodeSystem{}
	for url, g := range map[string]*grammar{
		"http://unitsofmeasure.org": {unit, unitFilter}, "urn:ietf:bcp:13": {mimeType, noFilter}, "urn:ietf:bcp:47": {language, languageFilter},
	} {
		all[url] = &CodeSystem{url: url, complete: true, grammar: g}
	}
	return all
}

func noFilter(_, _, _ string) func(string) Verdict { return nil }

func verdict(in bool) Verdict {
	if in {
		return In
	}
	return NotIn
}

// unit decides UCUM by parsing. The parser knows the units of clinical data; a code that it does not read is taken as none.
func unit(code string) Verdict {
	_, ok := ucum.Parse(code)
	return verdict(ok)
}

// unitFilter knows `canonical = m`: the units that measure the same as that one.
func unitFilter(property, op, value string) func(string) Verdict {
	want, ok := ucum.Parse(value)
	if !ok || property != "canonical" || op != "=" {
		return nil
	}
	return func(code string) Verdict {
		u, ok := ucum.Parse(code)
		return verdict(ok && ucum.Comparable(u, want))
	}
}

// mimeType decides `type/subtype` with or without parameters (RFC 6838, 4.2). The bare words that FHIR allows in places
// (`json`, `xml`) are not known.
func mimeType(code string) Verdict {
	essence, parameters, _ := strings.Cut(code, ";")
	kind, subtype, ok := strings.Cut(strings.TrimRight(essence, " "), "/")
	switch {
	case !ok && token(code):
		return NotKnown
	case !token(kind) || !token(subtype):
		return NotIn
	case parameters == "":
		return In
	}
	if _, _, err := mime.ParseMediaType(code); err != nil {
		return NotKnown
	}
	return In
}

// token is a restricted-name of RFC 6838, 4.2.
func token(s string) bool {
	if s == "" || len(s) > 127 || !alphanumeric(s[0]) {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && !strings.ContainsRune("!#$&-^_.+", rune(s[i])) {
			return false
		}
	}
	return true
}

func letter(c byte) bool       { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool        { return c >= '0' && c <= '9' }
func alphanumeric(c byte) bool { return letter(c) || digit(c) }

// tag holds which parts a language tag has.
type tag struct {
	extlang, script, region, variant, extension, private bool
}

// language decides by form (RFC 5646, 2.1): whether the subtags are registered is not looked at.
func language(code string) Verdict {
	_, ok := parseTag(code)
	return verdict(ok)
}

// languageFilter knows `PART exists true|false` (R4 terminologies-systems.html, BCP 47).
func languageFilter(property, op, value string) func(string) Verdict {
	parts := map[string]func(tag) bool{
		"ext-lang": func(t tag) bool { return t.extlang }, "script": func(t tag) bool { return t.script },
		"region": func(t tag) bool { return t.region }, "variant": func(t tag) bool { return t.variant },
		"extension": func(t tag) bool { return t.extension }, "private-use": func(t tag) bool { return t.private },
	}
	part := parts[property]
	if part == nil || op != "exists" {
		return nil
	}
	return func(code string) Verdict {
		t, ok := parseTag(code)
		return verdict(ok && part(t) == (value == "true"))
	}
}

// irregular are the tags of before RFC 4646 that do not follow the grammar, in lower case.
var irregular = []string{"en-gb-oed", "i-ami", "i-bnn", "i-default", "i-enochian", "i-hak", "i-klingon", "i-lux", "i-mingo",
	"i-navajo", "i-pwn", "i-tao", "i-tay", "i-tsu", "sgn-be-fr", "sgn-be-nl", "sgn-ch-de"}

// parseTag reads a language tag.
func parseTag(code string) (t tag, ok bool) {
	if len(code) > 100 || strings.HasPrefix(code, "-") || strings.HasSuffix(code, "-") {
		return t, false
	}
	if slices.ContainsFunc(irregular, func(tag string) bool { return strings.EqualFold(tag, code) }) {
		return t, true
	}
	p := tagParser{rest: code}
	p.next()
	if strings.EqualFold(p.sub, "x") {
		t.private = true
		return t, p.run(1)
	}
	if !p.letters(2, 3) { // more are reserved, or were never registered
		return t, false
	}
	p.next()
	for i := 0; i < 3 && p.letters(3, 3); i++ {
		t.extlang = true
		p.next()
	}
	if p.letters(4, 4) {
		t.script = true
		p.next()
	}
	if p.letters(2, 2) || len(p.sub) == 3 && p.all(digit) {
		t.region = true
		p.next()
	}
	for len(p.sub) >= 5 && len(p.sub) <= 8 && p.all(alphanumeric) || len(p.sub) == 4 && digit(p.sub[0]) && p.all(alphanumeric) {
		t.variant = true
		p.next()
	}
	for len(p.sub) == 1 && p.all(alphanumeric) && !strings.EqualFold(p.sub, "x") {
		t.extension = true
		count := 0
		for p.next(); len(p.sub) >= 2 && len(p.sub) <= 8 && p.all(alphanumeric); p.next() {
			count++
		}
		if count == 0 {
			return t, false
		}
	}
	if strings.EqualFold(p.sub, "x") {
		t.private = true
		return t, p.run(1)
	}
	return t, p.sub == "" && p.rest == ""
}

// tagParser goes through the subtags.
type tagParser struct{ sub, rest string }

func (p *tagParser) next() { p.sub, p.rest, _ = strings.Cut(p.rest, "-") }

func (p *tagParser) all(is func(byte) bool) bool {
	for i := range len(p.sub) {
		if !is(p.sub[i]) {
			return false
		}
	}
	return true
}

func (p *tagParser) letters(least, most int) bool {
	return len(p.sub) >= least && len(p.sub) <= most && p.all(letter)
}

// run takes the subtags to the end, each of least to eight characters, at least one.
func (p *tagParser) run(least int) bool {
	count := 0
	for p.rest != "" {
		if p.next(); len(p.sub) < least || len(p.sub) > 8 || !p.all(alphanumeric) {
			return false
		}
		count++
	}
	return count > 0
}
