package profile

// The identifiers of 45 CFR 164.514(b)(2)(i), by letter.
var categories = map[string]string{
	"A": "names", "B": "geographic subdivisions smaller than a state", "C": "dates and ages over 89", "D": "telephone numbers", "E": "fax numbers",
	"F": "e-mail addresses", "G": "social security numbers", "H": "medical record numbers", "I": "health plan beneficiary numbers", "J": "account numbers",
	"K": "certificate and licence numbers", "L": "vehicle identifiers", "M": "device identifiers", "N": "web addresses", "O": "IP addresses",
	"P": "biometric identifiers", "Q": "full-face photographs", "R": "any other unique identifier", "*": "free text, which may hold any of them",
}

// nameRule says that a column whose name has all the words of one of the lists, and none of the words of not, is likely
// to hold a category.
type nameRule struct {
	category string
	any      [][]string
	not      []string
	table    bool // nor may the table's name have one of those words
}

// things are what has a name that is not a person's.
var things = []string{"drug", "test", "vaccine", "medication", "procedure", "code", "file", "table", "product", "substance", "allergen", "lab", "study", "unit",
	"user", "system", "site", "facility", "hospital", "department", "dept", "organization", "clinic", "payer", "plan", "insurance", "company", "brand", "generic", "class", "type", "status"}

var nameRules = []nameRule{
	{category: "A", any: [][]string{{"last"}, {"first"}, {"middle"}, {"maiden"}, {"family"}, {"given", "name"}, {"surname"}, {"forename"}, {"firstname"}, {"lastname"}, {"fullname"}, {"nickname"}, {"alias"},
		{"lname"}, {"fname"}, {"mname"}, {"initials"}, {"patientname"}, {"patname"}}, not: []string{"date", "time", "visit", "dose", "updated", "modified", "history", "seen", "id", "no"}},
	{category: "A", any: [][]string{{"patient", "name"}, {"mother"}, {"father"}, {"spouse"}, {"guardian"}, {"guarantor"}, {"kin"}, {"nok"}, {"relative"}, {"employer"}, {"contact"}, {"husband"}, {"wife"},
		{"emergency"}}, not: []string{"date", "phone", "type", "status", "id", "class", "flag"}},
	{category: "A", any: [][]string{{"name"}}, not: things, table: true},
	{category: "B", any: [][]string{{"street"}, {"address"}, {"addr"}, {"address1"}, {"city"}, {"town"}, {"county"}, {"suburb"}, {"village"}, {"zip"}, {"zipcode"}, {"postal"}, {"postcode"}, {"plz"}, {"precinct"}, {"fips"},
		{"latitude"}, {"longitude"}, {"lat"}, {"lon"}, {"lng"}, {"geocode"}, {"birthplace"}, {"parish"}, {"district"}, {"apartment"}, {"house", "number"}, {"po", "box"}, {"census"}},
		not: []string{"email", "ip", "mac", "web"}},
	{category: "C", any: [][]string{{"dob"}, {"dod"}, {"birthdate"}, {"deathdate"}, {"birth", "date"}, {"death", "date"}, {"date", "of"}, {"birthday"}, {"age"}}},
	{category: "D", any: [][]string{{"phone"}, {"telephone"}, {"tel"}, {"mobile"}, {"cell"}, {"telefon"}, {"pager"}}, not: []string{"count"}},
	{category: "E", any: [][]string{{"fax"}}},
	{category: "F", any: [][]string{{"email"}, {"mail"}, {"e", "mail"}}, not: []string{"order"}},
	{category: "G", any: [][]string{{"ssn"}, {"social", "security"}, {"soc", "sec"}, {"ss", "number"}, {"socsec"}, {"sin"}, {"nhs"}}},
	{category: "H", any: [][]string{{"mrn"}, {"medical", "record"}, {"mr", "number"}, {"chart", "number"}, {"chart", "no"}, {"patient", "id"}, {"patientid"}, {"patient"}, {"pid"}, {"pat", "id"}, {"empi"}, {"patno"}},
		not: []string{"name", "type", "class", "status", "count", "age", "sex", "gender", "date"}},
	{category: "I", any: [][]string{{"insurance"}, {"member", "id"}, {"member", "number"}, {"beneficiary"}, {"subscriber"}, {"policy"}, {"medicare"}, {"medicaid"}, {"hicn"}, {"mbi"}, {"group", "number"}},
		not: []string{"type", "name", "company", "status", "flag"}},
	{category: "J", any: [][]string{{"account"}, {"acct"}, {"iban"}, {"card"}, {"credit"}, {"guarantor", "number"}, {"fin"}, {"routing"}}, not: []string{"type", "status"}},
	{category: "K", any: [][]string{{"license"}, {"licence"}, {"drivers"}, {"driver"}, {"passport"}, {"certificate"}, {"dea"}, {"npi"}, {"dl"}}, not: []string{"type", "status"}},
	{category: "L", any: [][]string{{"vin"}, {"vehicle"}, {"plate"}, {"license", "plate"}}, not: []string{"type"}},
	{category: "M", any: [][]string{{"device", "id"}, {"udi"}, {"serial"}, {"device", "serial"}, {"imei"}, {"implant", "number"}}, not: []string{"type"}},
	{category: "N", any: [][]string{{"url"}, {"uri"}, {"website"}, {"web"}, {"homepage"}}, not: []string{"type"}},
	{category: "O", any: [][]string{{"ip"}, {"ip", "address"}}},
	{category: "P", any: [][]string{{"fingerprint"}, {"voice"}, {"retina"}, {"biometric"}, {"iris"}}},
	{category: "Q", any: [][]string{{"photo"}, {"picture"}, {"image"}, {"portrait"}, {"photograph"}}, not: []string{"type", "study", "modality"}},
	{category: "*", any: [][]string{{"note"}, {"notes"}, {"comment"}, {"comments"}, {"remark"}, {"remarks"}, {"narrative"}, {"memo"}, {"freetext"}, {"free", "text"}, {"history"}, {"report"}, {"summary"},
		{"letter"}, {"message"}, {"reason"}, {"complaint"}, {"hpi"}, {"assessment"}, {"instructions"}, {"sig"}, {"observations"}}, not: []string{"code", "id", "type", "date", "count", "flag", "status", "no", "number"}},
}

// namedCategories lists the categories that the name of a column of that table speaks of.
func namedCategories(table, column string) []string {
	words := Words(column)
	var around []string
	for _, w := range Words(table) {
		around = append(around, Singular(w))
	}
	var out []string
	for _, rule := range nameRules {
		if hasAny(words, rule.not...) || rule.table && hasAny(around, rule.not...) {
			continue
		}
		for _, all := range rule.any {
			if !hasAll(words, all) {
				continue
			}
			if len(out) == 0 || out[len(out)-1] != rule.category {
				out = append(out, rule.category)
			}
			break
		}
	}
	return out
}

func hasAll(words, all []string) bool {
	for _, w := range all {
		if !hasAny(words, w) {
			return false
		}
	}
	return true
}
