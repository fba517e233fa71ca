package draft

import "github.com/chartlift/chartlift/pipeline/extract/profile"

// topics are the words by which tables of a type name what the record is about.
var topics = map[string][]string{
	"Condition":          {"diagnosis", "problem", "icd", "icd10", "icd9", "snomed", "condition", "dx"},
	"Observation":        {"test", "loinc", "analyte", "component", "item", "observation"},
	"MedicationRequest":  {"drug", "medication", "med", "rxnorm", "ndc", "medicine"},
	"AllergyIntolerance": {"substance", "allergen", "agent", "allergy"},
	"Immunization":       {"vaccine", "cvx", "immunization"},
	"Procedure":          {"procedure", "cpt", "operation"},
	"Encounter":          {"service"},
}

// resource drafts the template of the table's type, or says what it lacks.
func (m *mapping) resource() (lines []string, why string) {
	add := func(parts ...[]string) {
		for _, p := range parts {
			lines = append(lines, p...)
		}
	}
	subject := func() []string { return m.link("subject", "Patient") }
	add(m.identifier())
	switch m.kind {
	case "Patient":
		birth := m.when("birthDate", false, "dob", "birthdate", "birth date", "date of birth", "born", "birthday", "birth")
		death := m.when("deceasedDateTime", true, "deathdate", "death date", "dod", "died", "deceased", "death")
		add(m.person(), m.telecom(), m.gender(), birth, death, m.address())
		add(m.link("generalPractitioner", "Practitioner"), m.link("managingOrganization", "Organization"))
	case "Practitioner":
		add(m.person(), m.telecom(), m.gender(), m.address())
	case "Organization":
		add(element("name", m.take(notDate, "name", "title", "description")), m.telecom(), m.address())
	case "Encounter":
		class := m.take(func(c *profile.Column) bool { return c.Filled == m.Rows && notDate(c) }, "encounterclass", "class", "kind", "visit type", "type")
		add([]string{"status: unknown  # choose: finished, in-progress, …"})
		if class != nil {
			add(object("class", element("code", class)))
		} else {
			add([]string{"class: {display: not recorded}  # choose"})
		}
		add(object("type", m.concept()), subject())
		add(object("participant", m.link("participant.individual", "Practitioner")))
		add(object("period", m.when("start", true, "start", "admitted", "admission", "admit", "begin", "arrived", "date", "datetime", "visitdate"),
			m.when("end", true, "stop", "end", "discharged", "discharge", "left")))
		add(m.link("serviceProvider", "Organization"))
	case "Condition":
		add(object("code", m.concept()), subject(), m.link("encounter", "Encounter"))
		onset := m.when("onsetDateTime", true, "onset", "start", "started", "noted", "begin", "date", "diagnosed")
		abated, end := m.whenColumn("abatementDateTime", true, "stop", "end", "resolved", "abated", "ended")
		if end != nil { // R4 wants to hear that a condition with an end is over (con-4)
			add(clinicalStatus("condition-clinical", "resolved", end))
		}
		add(onset, abated, m.when("recordedDate", true, "recorded", "entered", "created"))
	case "Observation":
		code := m.concept()
		if code == nil {
			return nil, "no column says what was observed"
		}
		add([]string{"status: unknown  # choose: final, …"}, object("code", code), subject(), m.link("encounter", "Encounter"))
		add(m.when("effectiveDateTime", true, "taken", "collected", "observed", "effective", "date", "datetime", "time", "drawn", "start", "performed"))
		add(m.observed())
	case "MedicationRequest":
		code := m.concept()
		if code == nil {
			return nil, "no column says which medication"
		}
		add([]string{"status: unknown  # choose: active, completed, …", "intent: order  # guess"}, object("medicationCodeableConcept", code), subject(),
			m.link("encounter", "Encounter"))
		add(m.when("authoredOn", true, "authored", "ordered", "prescribed", "start", "started", "date", "begin"), m.link("requester", "Practitioner"))
	case "AllergyIntolerance":
		add(object("code", m.concept()), m.link("patient", "Patient"), m.link("encounter", "Encounter"))
		// R4 has no allergy without a status (ait-1).
		add(clinicalStatus("allergyintolerance-clinical", "inactive", m.take(func(c *profile.Column) bool { return !notDate(c) }, "stop", "end", "resolved", "ended", "inactivated")))
		add(m.when("onsetDateTime", true, "onset", "start", "begin"), m.when("recordedDate", true, "recorded", "noted", "entered", "date", "created"))
	case "Immunization":
		code := m.concept()
		if code == nil {
			return nil, "no column says which vaccine"
		}
		given := m.when("occurrenceDateTime", true, "given", "administered", "occurrence", "date", "datetime", "start", "vaccinated")
		if given == nil {
			given = []string{"occurrenceString: not recorded  # choose"}
		}
		add([]string{"status: completed  # guess"}, object("vaccineCode", code), m.link("patient", "Patient"), m.link("encounter", "Encounter"), given)
		add(element("lotNumber", m.take(notDate, "lot")), m.when("expirationDate", false, "expires", "expiration", "expiry"))
		add(object("performer", m.link("performer.actor", "Practitioner")))
	case "Procedure":
		add([]string{"status: unknown  # choose: completed, …"}, object("code", m.concept()), subject(), m.link("encounter", "Encounter"))
		start := m.when("start", true, "start", "started", "begin", "performed", "date", "datetime")
		add(object("performedPeriod", start, m.when("end", true, "stop", "end", "ended")))
	}
	if len(lines) == 0 {
		return nil, "no column was recognised"
	}
	return lines, ""
}

// clinicalStatus is the status by whether the record has an end: `over` or active. Without a column for it, it is for a
// person to choose.
func clinicalStatus(system, over string, end *profile.Column) []string {
	system = "http://terminology.hl7.org/CodeSystem/" + system
	if end == nil {
		return []string{"clinicalStatus: {coding: [{system: " + text(system) + ", code: active}]}  # choose; the table has no column for it"}
	}
	return value("clinicalStatus", "iif("+name(end.Name)+".exists(), '"+over+"', 'active').coding('"+system+"').concept()")
}

// identifier is the key, if it is one column. Its system is for a person to name.
func (m *mapping) identifier() []string {
	if len(m.key) != 1 {
		return nil
	}
	m.used[m.key[0]] = true
	return append([]string{"identifier:"}, "  - value: "+formula(name(m.key[0]))+"  # guess; name its system")
}

// concept is the coding and text of what the record is about. The system of its codes is for a person to name.
func (m *mapping) concept() []string {
	words := topics[m.kind]
	code := m.take(isCode, withWord(words, "code")...)
	if code == nil {
		code = m.take(isCode, append([]string{"code"}, words...)...)
	}
	label := m.take(notDate, append(append(withWord(words, "name"), "description", "label", "display", "name"), words...)...)
	var coding []string
	if code != nil {
		coding = object("coding", element("code", code))
		coding[len(coding)-1] += "; name its system"
	}
	return append(coding, element("text", label)...)
}

// withWord puts a word behind each.
func withWord(words []string, with string) []string {
	var out []string
	for _, w := range words {
		out = append(out, w+" "+with)
	}
	return out
}

// aNumber is the form of a result that is a quantity.
const aNumber = "$this.matches('^[<>]?=? ?-?[0-9]+([.][0-9]+)?$')"

// observed is the value of an observation: a quantity where it is a number, else text.
func (m *mapping) observed() []string {
	c := m.take(notDate, "value", "result", "reading", "measurement", "valuenum")
	if c == nil {
		return nil
	}
	numbers := c.Is(0.01, profile.TypeInteger, profile.TypeDecimal, profile.TypeComparator)
	if !numbers {
		return element("valueString", c)
	}
	unit := ""
	if u := m.take(notDate, "units", "unit", "uom"); u != nil {
		unit = name(u.Name)
	}
	if isNumber(c) {
		return value("valueQuantity", name(c.Name)+".quantity("+unit+")")
	}
	m.may = append(m.may, "valueQuantity: what is not a number goes to valueString", "valueString: numbers go to valueQuantity")
	return append(value("valueQuantity", name(c.Name)+".where("+aNumber+").quantity("+unit+")"), value("valueString", name(c.Name)+".where("+aNumber+".not())")...)
}

// person is the name of a patient or practitioner.
func (m *mapping) person() []string {
	family := element("family", m.take(notDate, "lastname", "last", "surname", "family", "lname"))
	given := m.take(notDate, "firstname", "first", "given", "forename", "fname")
	middle := m.take(notDate, "middle", "middlename", "mname")
	var givens []string
	switch {
	case given != nil && middle != nil:
		givens = []string{"given: [" + quoted("= "+name(given.Name)) + ", " + quoted("= "+name(middle.Name)) + "]  # guess"}
	case given != nil:
		givens = element("given", given)
	}
	prefix := element("prefix", m.take(notDate, "prefix"))
	suffix := element("suffix", m.take(notDate, "suffix"))
	var whole []string
	if family == nil && given == nil {
		whole = element("text", m.take(notDate, "name", "fullname", "patientname"))
	}
	return object("name", entry(family, givens, prefix, suffix, whole))
}

// telecom is telephone and e-mail.
func (m *mapping) telecom() []string {
	contact := func(system string, c *profile.Column) []string {
		if c == nil {
			return nil
		}
		return entry([]string{"system: " + system}, element("value", c))
	}
	return object("telecom", contact("phone", m.take(notDate, "phone", "telephone", "tel", "mobile", "cell")), contact("email", m.take(notDate, "email", "mail")),
		contact("fax", m.take(notDate, "fax")))
}

// address is a postal address.
func (m *mapping) address() []string {
	line := element("line", m.take(notDate, "street", "address", "addr", "address1"))
	city := element("city", m.take(notDate, "city", "town"))
	district := element("district", m.take(notDate, "county"))
	state := element("state", m.take(notDate, "state", "province"))
	zip := element("postalCode", m.take(notDate, "zip", "zipcode", "postal", "postcode", "plz"))
	country := element("country", m.take(notDate, "country"))
	return object("address", entry(line, city, district, state, zip, country))
}
