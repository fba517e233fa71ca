package profile

import (
	"strings"
	"unicode"
)

// damage is what is wrong with the characters of a value.
type damage struct{ mojibake, replaced, controls, bidi bool }

func damageOf(s string) (d damage) {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7F {
			plain = false
			break
		}
	}
	if plain {
		return d
	}
	var before rune
	for _, r := range s {
		switch {
		case r == unicode.ReplacementChar:
			d.replaced = true
		case r == '\t' || r == '\n' || r == '\r':
		case unicode.IsControl(r):
			d.controls = true
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F:
			d.bidi = true
		}
		// UTF-8 that was once read as Windows-1252: the lead byte of two or three, and a character that stands for a byte
		// from 0x80 to 0xBF.
		if (before == 'Â' || before == 'Ã' || before == 'â' || before == 'Å') &&
			(r >= 0x80 && r < 0xC0 || strings.ContainsRune("€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ", r)) {
			d.mojibake = true
		}
		before = r
	}
	return d
}
