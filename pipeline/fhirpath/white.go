package fhirpath

import "unicode"

// White says whether a character shows nothing: white space as Unicode has it, the no-break spaces that web pages and
// spreadsheets leave behind and the wide one of Chinese and Japanese among them, and those of no width. trim() takes it
// off, and a cell of nothing else is blank.
func White(r rune) bool {
	return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff'
}
