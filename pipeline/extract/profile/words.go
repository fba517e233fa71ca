package profile

import (
	"strings"
	"unicode"
)

// Words splits a name of a table or column into its words, in small letters: PATIENT_ID, patientId and `Patient ID` are
// all [patient id].
func Words(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
			word = word[:0]
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsDigit(r) && len(word) > 0 && !unicode.IsDigit(word[0]): // address2
			end()
		case unicode.IsLetter(r) && len(word) > 0 && unicode.IsDigit(word[0]):
			end()
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || // patientId
			unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])): // MRNumber
			end()
		}
		word = append(word, r)
	}
	end()
	return words
}

// Singular is a word without the ending of the plural, as English tables are named.
func Singular(word string) string {
	switch {
	case len(word) > 4 && strings.HasSuffix(word, "ies"):
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "ses") && len(word) > 5: // diagnoses, addresses
		if strings.HasSuffix(word, "sses") {
			return word[:len(word)-2]
		}
		return word[:len(word)-2] + "is"
	case len(word) > 3 && strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && !strings.HasSuffix(word, "is") && !strings.HasSuffix(word, "us"):
		return word[:len(word)-1]
	}
	return word
}

func hasAny(words []string, any ...string) bool {
	for _, w := range words {
		for _, a := range any {
			if w == a {
				return true
			}
		}
	}
	return false
}

// IsPatients says whether a table's name speaks of patients themselves, so that each row is one.
func IsPatients(table string) bool {
	words := Words(table)
	if len(words) == 0 {
		return false
	}
	last := Singular(words[len(words)-1])
	return hasAny([]string{last}, "patient", "pat", "person", "member", "subject") || len(words) > 1 && hasAny([]string{Singular(words[0])}, "patient") &&
		hasAny([]string{last}, "demographic", "master", "datum", "data", "list", "registry", "table", "tbl", "export")
}

// patientColumn is the index of the column that evidently says whose row it is, or -1.
func patientColumn(columns []string) int {
	best, rank := -1, 0
	for i, c := range columns {
		words := Words(c)
		joined := strings.Join(words, "")
		r := 0
		switch {
		case hasAny([]string{joined}, "mrn", "patientid", "patid", "patient", "pid", "patientno", "patientnumber", "patientkey", "patientuuid", "personid", "memberid", "subjectid",
			"medicalrecordnumber", "patientmrn", "patno", "patnum", "chartno", "chartnumber"):
			r = 3
		case hasAny(words, "patient", "mrn") && hasAny(words, "id", "no", "number", "key", "ref", "nr", "num", "code"):
			r = 2
		case hasAny(words, "mrn"):
			r = 1
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}

// speaksOfDates says whether a column's name lets one expect dates.
func speaksOfDates(name string) bool {
	words := Words(name)
	for _, w := range words {
		if strings.HasSuffix(w, "date") || strings.HasPrefix(w, "date") {
			return true
		}
	}
	return hasAny(words, "dob", "dod", "born", "birth", "died", "death", "start", "started", "stop", "stopped", "end", "ended", "onset", "noted", "recorded", "created",
		"updated", "modified", "admitted", "discharged", "taken", "given", "expires", "expiry", "time", "datetime", "timestamp", "day", "dt", "year", "since", "from", "until")
}
