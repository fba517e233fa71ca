package csv

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// EncodingEvidence is what the bytes of a sample say about its encoding. It holds counts only.
type EncodingEvidence struct {
	Bytes       int    `json:"bytes"`         // looked at
	BOM         string `json:"bom,omitempty"` // the encoding whose byte order mark the sample begins with
	High        int    `json:"high"`          // bytes that are not ASCII
	InvalidUTF8 int    `json:"invalidUTF8"`   // sequences that are not UTF-8
	Windows     int    `json:"windows"`       // bytes 0x80 to 0x9F: letters and quotation marks in Windows' code pages, controls in ISO's
	NULEven     int    `json:"nulEven"`       // NUL at even places: ASCII in UTF-16, big endian
	NULOdd      int    `json:"nulOdd"`        // NUL at odd places: ASCII in UTF-16, little endian
	Mojibake    int    `json:"mojibake"`      // in valid UTF-8: pairs such as Ã©, UTF-8 that was once read as Windows-1252
	Replaced    int    `json:"replaced"`      // in valid UTF-8: U+FFFD, where another program lost a character for good
}

// EncodingCandidate is an encoding that decodes a sample without a fault.
type EncodingCandidate struct {
	Encoding string `json:"encoding"` // as Options.Encoding takes it
	// Strange counts the characters that an export hardly has: controls, lines and blocks of old screens, letters of
	// two scripts in one word, capitals behind small letters, letters with accents side by side.
	Strange int `json:"strange"`
}

// SuggestEncoding lists the encodings that a sample from the start of a file may be in, the likeliest first, and the
// evidence. The sample may be cut inside a character. It is a help for who writes the plan: reading uses what the plan
// declares and nothing else. Two encodings of one byte per character often decode a sample alike; which of them it is
// only a person who knows the words can say.
func SuggestEncoding(sample []byte) ([]EncodingCandidate, EncodingEvidence) {
	e := evidenceOf(sample)
	type ranked struct {
		EncodingCandidate
		rank int
	}
	var all []ranked
	for _, c := range charset.All() {
		if text, ok := c.Decode(sample); ok {
			all = append(all, ranked{EncodingCandidate{c.Name, strange(text)}, e.rank(c)})
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Strange, b.Strange), cmp.Compare(habit(a.Encoding), habit(b.Encoding)))
	})
	candidates := make([]EncodingCandidate, len(all))
	for i, r := range all {
		candidates[i] = r.EncodingCandidate
	}
	return candidates, e
}

func evidenceOf(sample []byte) EncodingEvidence {
	e := EncodingEvidence{Bytes: len(sample)}
	if c, _ := charset.Marked(sample); c != nil {
		e.BOM = c.Name
	}
	for i, b := range sample {
		switch {
		case b == 0 && i%2 == 0:
			e.NULEven++
		case b == 0:
			e.NULOdd++
		case b >= 0x80:
			e.High++
			if b < 0xA0 {
				e.Windows++
			}
		}
	}
	whole := charset.Whole(sample)
	for i := 0; i < len(whole); {
		r, n := utf8.DecodeRune(whole[i:])
		if r == utf8.RuneError && n <= 1 {
			e.InvalidUTF8++
		}
		i += n
	}
	if e.InvalidUTF8 == 0 {
		e.Mojibake, e.Replaced = mojibake(string(whole)), bytes.Count(whole, []byte("\uFFFD"))
	}
	return e
}

// mojibake counts the pairs that two bytes of UTF-8 become when they are read as Windows-1252: Â or Ã, and a character
// that stands for a byte from 0x80 to 0xBF.
func mojibake(text string) (n int) {
	var before rune
	for _, r := range text {
		second := r >= 0x80 && r < 0xC0 || strings.ContainsRune("€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ", r)
		if second && (before == 'Â' || before == 'Ã' || before == 'â') {
			n++
		}
		before = r
	}
	return n
}

// rank is lower for an encoding that the evidence speaks for.
func (e EncodingEvidence) rank(c *charset.Charset) int {
	nul := e.NULEven + e.NULOdd
	switch {
	case e.BOM != "" && (c.Name == e.BOM || c.Order == charset.ByMark && e.BOM != "utf-8"):
		return 0
	case c.Wide() && nul*8 < e.Bytes: // most exports hold digits and delimiters at least
		return 5
	case c.Order == charset.Little && e.NULOdd > e.NULEven, (c.Order == charset.Big || c.Order == charset.ByMark) && e.NULEven > e.NULOdd:
		return 1
	case c.Wide():
		return 4
	case c.Name == "utf-8": // if it is valid, chance is not the reason
		return 2
	}
	return 3
}

// strange counts what an export hardly holds.
func strange(text string) (n int) {
	var before rune
	mojibake := false // before is the Ã of a pair such as Ã©
	for i, r := range text {
		if mojibake {
			mojibake, before = false, ' '
			continue
		}
		if r == 'Ã' || r == 'Â' {
			// UTF-8 that was read as Windows-1252 somewhere before: exports have it, and only that encoding shows it so.
			next, _ := utf8.DecodeRuneInString(text[i+2:])
			if mojibake = next >= 0xA0 && next <= 0xBF || next >= 0x2000 && next < 0x2200; mojibake {
				continue
			}
		}
		switch {
		case r < utf8.RuneSelf:
			if r < ' ' && r != '\t' && r != '\r' && r != '\n' {
				n++
			}
		case unicode.IsControl(r), r >= 0x2500 && r < 0x25A0, unicode.Is(unicode.Co, r):
			n++
		case before >= utf8.RuneSelf && unicode.Is(unicode.Latin, before) && unicode.Is(unicode.Latin, r):
			n++ // rare but for a few words; all of a text in another alphabet looks so
		case unicode.IsLetter(r) && unicode.IsLetter(before) && (otherScript(before, r) || unicode.IsUpper(r) && unicode.IsLower(before)):
			n++
		case !unicode.IsLetter(r) && !unicode.Is(unicode.M, r) && unicode.IsLetter(before) && r < 0x2000 && r != 0xA0 && r != 0xB4:
			n++ // ¤ or ³ within a word
		}
		before = r
	}
	return n
}

// otherScript says whether two letters cannot stand in one word.
func otherScript(a, b rune) bool {
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Hebrew, unicode.Arabic, unicode.Thai} {
		if unicode.Is(script, a) != unicode.Is(script, b) {
			return true
		}
	}
	return false
}

// habit orders what decodes a sample equally well by how common it is among exports.
func habit(name string) int {
	common := []string{"utf-8", "us-ascii", "windows-1252", "iso-8859-1", "iso-8859-15", "cp850", "cp437", "windows-1250", "windows-1251", "macintosh"}
	if i := slices.Index(common, name); i >= 0 {
		return i
	}
	return len(common)
}
