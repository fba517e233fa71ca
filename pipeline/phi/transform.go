package phi

import (
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// unfit says why the rule's method cannot be used where the rule points, "" if it can.
func (r *rule) unfit() string {
	if r.method == Keep || r.method == Seal || r.method == Drop {
		return ""
	}
	if r.class == classStar {
		return "* takes keep, seal or drop"
	}
	var fit []string
	switch r.method {
	case Token:
		fit = []string{"string", "id", "uri", "url", "oid", "uuid"}
	case Year:
		fit = []string{"date", "dateTime"}
	case Zip3:
		fit = []string{"string"}
	case Age90:
		fit = []string{"date", "Age"}
	case Shift:
		return "shift belongs to delivery deidentified alone"
	}
	for _, t := range r.ends {
		ok := false
		for _, name := range fit {
			ok = ok || t.Name == name
		}
		if !ok {
			return r.method.String() + " cannot be done to a " + t.Name + "; it is for " + strings.Join(fit, ", ")
		}
	}
	return ""
}

// year is the year of a FHIR date or dateTime.
func year(text string) (string, bool) {
	if len(text) < 4 || !(fhir.ValidDate(text) || fhir.ValidDateTime(text)) {
		return "", false
	}
	return text[:4], true
}

// smallZip3 are the areas of three digits in which at most 20,000 people live, by the census of 2000, as listed in the
// guidance of the Office for Civil Rights on 45 CFR 164.514(b)(2)(i)(B).
const smallZip3 = " 036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893 "

// zip3 is what 45 CFR 164.514(b)(2)(i)(B) leaves of a ZIP code: its first three digits, or 000.
func zip3(text string) (string, bool) {
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	if digits != 5 && digits != 9 || digits < len(text) && text[digits] != '-' {
		return "", false // not a ZIP code; what the rule says about it is not known, so it is sealed
	}
	if strings.Contains(smallZip3, " "+text[:3]+" ") {
		return "000", true
	}
	return text[:3], true
}

// oldest is the age from which all are one category, 45 CFR 164.514(b)(2)(i)(C).
const oldest = 90

// birthYear leaves the year of a birth date, unless it tells that the person is over 89 on the day asOf (YYYY-MM-DD).
// Where the date is less precise than that takes, the person counts as old.
func birthYear(text, asOf string) (string, bool) {
	if !fhir.ValidDate(text) || len(asOf) != 10 {
		return "", false
	}
	born, err1 := strconv.Atoi(text[:4])
	now, err2 := strconv.Atoi(asOf[:4])
	if err1 != nil || err2 != nil {
		return "", false
	}
	age := now - born
	if age == oldest && len(text) == 10 && text[4:] > asOf[4:] {
		age-- // the birthday is still to come
	}
	if age >= oldest {
		return "", false
	}
	return text[:4], true
}

// agedOver tells whether the value of an Age is above 89 years, and whether that can be told at all.
func agedOver(age *fhir.Node) (over, ok bool) {
	value, unit := age.Get("value"), age.Get("code").Str()
	if age.Get("system").Str() != "http://unitsofmeasure.org" || value == nil || value.Kind != fhir.Number {
		return false, false
	}
	if strings.ContainsAny(value.Text, "eE-") {
		return false, false
	}
	whole, _, _ := strings.Cut(value.Text, ".")
	n, err := strconv.Atoi(whole)
	if err != nil {
		return false, false
	}
	perYear := map[string]int{"a": 1, "mo": 12, "wk": 52, "d": 365, "h": 8760, "min": 525600}[unit]
	if perYear == 0 {
		return false, false
	}
	return n >= oldest*perYear, true
}
