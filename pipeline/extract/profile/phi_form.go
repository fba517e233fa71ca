package profile

import (
	"net/netip"
	"regexp"
	"strings"
)

// What a value may look like, whatever its column is called.
const (
	formEmail = iota
	formURL
	formIP
	formSSN
	formPhone
	forms // how many there are
)

// The forms are looked for inside texts too. Each is asked for only where a byte that it needs is there.
var (
	emailForm = regexp.MustCompile(`[^\s@<>()\[\],;:"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	urlForm   = regexp.MustCompile(`(?i)\b(https?|ftp|file)://\S|\bwww\.[a-z0-9-]+\.[a-z]`)
	ssnForm   = regexp.MustCompile(`(^|[^0-9-])[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}($|[^0-9-])`)
	phoneForm = regexp.MustCompile(`(^|[^0-9.-])((\+?1[ .-]?)?(\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}|\+[0-9]{1,3}([ ./()-]{0,2}[0-9]{2,5}){2,5})($|[^0-9.-])`)
)

// longestSearch bounds the time that one value takes; who hides a number behind so much text is found in the next one.
const longestSearch = 4096

// formsOf says which forms occur in a text of that type.
func formsOf(s, kind string) (found [forms]bool) {
	switch kind {
	case TypeInteger, TypeDecimal, TypeDecimalComma, TypeComparator, TypeDate, TypeDateTime, TypeTime, TypeBoolean, TypeUUID:
		return found
	}
	s = s[:min(len(s), longestSearch)]
	digits, dots, colons, at := 0, 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c == '@':
			at = true
		}
	}
	found[formEmail] = at && emailForm.MatchString(s)
	found[formURL] = (colons > 0 || dots > 1) && urlForm.MatchString(s)
	found[formSSN] = digits >= 9 && ssnForm.MatchString(s)
	found[formPhone] = digits >= 8 && phoneForm.MatchString(s)
	if dots >= 3 && digits >= 4 || colons >= 2 {
		for word := range strings.FieldsSeq(s) {
			if _, err := netip.ParseAddr(strings.Trim(word, "()[],;")); err == nil {
				found[formIP] = true
			}
		}
	}
	return found
}
