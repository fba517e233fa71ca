package fhir

// URLs that Chartlift itself puts into resources. They are names, not places: nothing is fetched from them.
const (
	// TagSystem is the system of the meta.tag that every migrated resource carries; the code is the migration's name.
	TagSystem = "https://github.com/chartlift/chartlift/migration"

	// IDTagSystem is the system of a second meta.tag, which a resource carries where the server gives it an id of its own:
	// the code is the id that we derived for it. By it we find again what we sent.
	IDTagSystem = "https://github.com/chartlift/chartlift/id"

	// SealedExtension is the extension that carries the encrypted part of a resource under delivery `sealed`.
	SealedExtension = "https://github.com/chartlift/chartlift/fhir/sealed"
)

// URLs and codes of the standard that more than one package writes.
const (
	// DataAbsentReason is the extension that says why a value is missing (extension-data-absent-reason.html).
	DataAbsentReason = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

	// ObservationValue is the system of REDACTED and its like, put into meta.security when something was taken out of a
	// resource (security-labels.html).
	ObservationValue = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"

	// ContentType is the media type of FHIR's JSON (http.html#mime-type).
	ContentType = "application/fhir+json"

	// Version is the version of the standard that the definitions are of.
	Version = "4.0.1"
)

// ValidID tells whether the text may be the id of a resource: 1 to 64 letters, digits, `-` and `.`
// (datatypes.html#id).
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := 0; i < len(id); i++ {
		if c := id[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
