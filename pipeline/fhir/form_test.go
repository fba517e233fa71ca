package fhir

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// asGo makes a pattern of the standard one of Go that means the same: anchored, and with the white space of ASCII,
// vertical tab included, that `\s` is elsewhere.
func asGo(pattern string) string {
	pattern = strings.ReplaceAll(pattern, `[^\s]`, `[^\t-\r ]`)
	pattern = strings.ReplaceAll(pattern, `[ \r\n\t\S]`, `(?:[ \r\n\t]|[^\t-\r ])`)
	pattern = strings.ReplaceAll(pattern, `\s`, `[\t-\r ]`)
	return `\A(?s:` + strings.ReplaceAll(pattern, `\S`, `[^\t-\r ]`) + `)\z`
}

// beyond is what Valid refuses of what a pattern allows, as the comment of Valid names it.
func beyond(typ, s string) bool {
	switch typ {
	case "date", "dateTime", "instant":
		if len(s) < 10 {
			return false
		}
		_, err := time.Parse("2006-01-02", s[:10])
		return err != nil
	case "integer", "positiveInt", "unsignedInt":
		return s == "-0" || len(s) > 9 // not tried so near the limit; see TestForms
	case "string", "markdown":
		return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' })
	case "base64Binary":
		return strings.Contains(s, "=")
	}
	return s == "" // uri, url, canonical
}

// TestFormsAreThePatterns compares every form with the regular expression of the definitions, over texts that fit, that
// nearly fit, and that do not.
func TestFormsAreThePatterns(t *testing.T) {
	for _, name := range allTypes(t) {
		typ := Lookup(name)
		if typ.Kind != KindPrimitive || typ.Pattern == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			pattern, err := regexp.Compile(asGo(typ.Pattern))
			if err != nil {
				t.Fatal(err)
			}
			// rapid cannot draw from anchored patterns; drawn texts may be anything that the pattern says.
			fitting := rapid.StringMatching(strings.NewReplacer(`\S`, `[!-~é]`, `\s`, `[ \t\n]`, `[^\s]`, `[!-~é]`).Replace(typ.Pattern))
			const near = `0123456789-+:.TZeEab/=urnoid \t\n` + "\x00\v\f\u00a0é"
			counts := map[bool]int{}
			rapid.Check(t, func(t *rapid.T) {
				s := fitting.Draw(t, "fitting")
				switch rapid.IntRange(0, 3).Draw(t, "change") {
				case 0:
				case 1:
					i := rapid.IntRange(0, len(s)).Draw(t, "at")
					s = s[:i] + string(rapid.SampledFrom([]rune(near)).Draw(t, "put in")) + s[i:]
				case 2:
					if i := rapid.IntRange(0, len(s)).Draw(t, "at"); i < len(s) {
						s = s[:i] + s[i+1:]
					}
				case 3:
					s = rapid.StringOf(rapid.RuneFrom([]rune(near))).Draw(t, "other")
				}
				s = strings.ToValidUTF8(s, "")
				got, matched := typ.Valid(s), pattern.MatchString(s)
				counts[got]++
				if got && !matched || !got && matched && !beyond(name, s) {
					t.Fatalf("%q: valid is %v, the pattern says %v", s, got, matched)
				}
			})
			drawn := counts[true] + counts[false] // -short draws too few for both sides to be sure
			if drawn >= 100 && (counts[true] == 0 || counts[false] == 0 && name != "markdown") {
				t.Errorf("only one side was tried: %v", counts)
			}
		})
	}
}

func TestForms(t *testing.T) {
	for typ, texts := range map[string]struct{ good, bad []string }{
		"date": {
			[]string{"1990", "1990-01", "2000-02-29", "2024-02-29", "0001-01-01", "9999-12-31"},
			[]string{"", "0000", "199", "1990-", "1990-1", "1990-13", "1990-00", "1990-01-", "1990-02-29", "1900-02-29", "1990-04-31", "1990-01-32", "1990-01-00", "1990-01-01T", "1990-01-01T00:00:00Z", "1990/01/01", "19900101", "+1990"},
		},
		"dateTime": {
			[]string{"1990", "1990-01", "1990-01-01", "1990-01-01T23:59:60Z", "1990-01-01T00:00:00.000+14:00", "1990-01-01T00:00:00-13:59"},
			[]string{"1990-01-01T00:00Z", "1990-01-01T00:00:00", "1990-01T00:00:00Z", "1990-02-30T00:00:00Z", "1990-01-01T24:00:00Z", "1990-01-01T00:60:00Z", "1990-01-01T00:00:61Z", "1990-01-01T00:00:00.Z", "1990-01-01T00:00:00+14:01", "1990-01-01T00:00:00+15:00", "1990-01-01T00:00:00+0000", "1990-01-01T00:00:00z", "1990-01-01 00:00:00Z", "1990-01-01T00:00:00ZZ", "1990-01-01T00:00:00+13:60"},
		},
		"instant":      {[]string{"2015-02-07T13:28:17.239+02:00", "2015-02-07T13:28:17Z"}, []string{"2015-02-07", "2015-02-07T13:28Z", "2015-02-29T13:28:17Z", "2015"}},
		"time":         {[]string{"00:00:00", "23:59:60.5"}, []string{"24:00:00", "00:00", "0:00:00", "00:00:00Z", "00:00:00.", ""}},
		"decimal":      {[]string{"0", "-0", "0.010", "1e5", "-1.50E-3", "123456789012345678901234567890"}, []string{"", "-", ".5", "5.", "01", "+1", "1e", "1e+", "1,5", "NaN", " 1", "0x1", "1.e2"}},
		"integer":      {[]string{"0", "-1", "2147483647", "-2147483648"}, []string{"", "-", "01", "2147483648", "-2147483649", "+1", "1.0", "99999999999999999999", "--1"}},
		"unsignedInt":  {[]string{"0", "1", "2147483647"}, []string{"-1", "00", "2147483648", ""}},
		"positiveInt":  {[]string{"1", "2147483647"}, []string{"0", "-1", "01", "2147483648", ""}},
		"boolean":      {[]string{"true", "false"}, []string{"True", "1", "", "yes", "truefalse"}},
		"code":         {[]string{"a", "a b", "a\u00a0b", "<="}, []string{"", " a", "a ", "a  b", " ", "\t"}},
		"id":           {[]string{"a", "A-1.b", strings.Repeat("x", 64)}, []string{"", strings.Repeat("x", 65), "a_b", "a b", "é", "a/b"}},
		"uri":          {[]string{"http://x", "urn:oid:1.2", "#a"}, []string{"", "a b", "a\n"}},
		"oid":          {[]string{"urn:oid:1.2.3", "urn:oid:0.0"}, []string{"1.2.3", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.", "urn:oid:1.02", "urn:oid:1..2", "urn:oid:1.2.", "urn:oid:12.3"}},
		"uuid":         {[]string{"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, []string{"c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873d-ec9a-4326-a141-556f43239520", "urn:uuid:c757873dec9a-4326-a141-556f43239520-", "urn:uuid:"}},
		"string":       {[]string{"a", " a ", "a\r\n\tb", " ", "é"}, []string{"", "a\x00", "\x1f", "\v", strings.Repeat("x", maxString+1)}},
		"base64Binary": {[]string{"AAAA", "AA==", "AAA=", " AAAA\nBBBB ", "ab+/"}, []string{"", "A", "AAAAA", "====", "A===", "AA==AAAA", "AA=A", "AA A", "AAA-", "    "}},
		"xhtml":        {[]string{"<div/>"}, []string{""}},
	} {
		for _, s := range texts.good {
			if !Lookup(typ).Valid(s) {
				t.Errorf("%s %q is refused", typ, s)
			}
		}
		for _, s := range texts.bad {
			if Lookup(typ).Valid(s) {
				t.Errorf("%s %.80q is accepted", typ, s)
			}
		}
	}
	if (*Type)(nil).Valid("x") || Lookup("HumanName").Valid("x") {
		t.Errorf("a type that is not a primitive has a form")
	}
	if DaysIn(2023, 2) != 28 || DaysIn(2000, 2) != 29 || DaysIn(2023, 13) != 0 || DaysIn(2023, 0) != 0 {
		t.Errorf("days in a month")
	}
}

// TestFormsTakeOddBytes: no text makes a check panic.
func TestFormsTakeOddBytes(t *testing.T) {
	var primitives []*Type
	for _, name := range allTypes(t) {
		if typ := Lookup(name); typ.Kind == KindPrimitive {
			primitives = append(primitives, typ)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		for _, typ := range primitives {
			typ.Valid(s)
		}
	})
}
