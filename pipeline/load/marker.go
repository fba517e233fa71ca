package load

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Marker says in the target itself to which migration and ledger it belongs, so that a second ledger, which knows
// nothing of what the first has loaded, is noticed.
//
// It is one Basic resource under an id that follows from the migration's name. It holds no patient data and does not
// carry the migration's tag: it is not among what was made, and [Lister.List] does not list it.
type Marker struct {
	Migration string
	Ledger    string // the ledger's id
}

// The systems of the marker's code and identifiers; the migration's name stands under [fhir.TagSystem].
const (
	markerSystem = "https://github.com/chartlift/chartlift/marker"
	ledgerSystem = "https://github.com/chartlift/chartlift/ledger"
	markerCode   = "migration"

	// MarkerType is the type of the resource that a marker is.
	MarkerType = "Basic"
)

// MarkerID is the id of a migration's marker: 42 characters that every target takes.
func MarkerID(migration string) string {
	sum := sha256.Sum256([]byte("chartlift marker " + migration))
	return "chartlift-" + hex.EncodeToString(sum[:16])
}

// Resource is the marker as FHIR, in canonical form. id is the one that it is to have, "" for none.
func (m Marker) Resource(id string) []byte {
	b := append([]byte(nil), `{"code":{"coding":[{"code":"`+markerCode+`","system":"`+markerSystem+`"}],"text":"Chartlift marks what it loads into"},`...)
	if id != "" {
		b = append(b, `"id":"`+id+`",`...)
	}
	b = append(b, `"identifier":[{"system":"`+fhir.TagSystem+`","value":`...)
	b = fhir.AppendString(b, m.Migration)
	b = append(b, `},{"system":"`+ledgerSystem+`","value":`...)
	b = fhir.AppendString(b, m.Ledger)
	return append(b, `}],"resourceType":"`+MarkerType+`"}`...)
}

// ReadMarker takes a marker apart; false if the resource is none.
func ReadMarker(n *fhir.Node) (m Marker, ok bool) {
	if n.ResourceType() != MarkerType || n.Get("identifier") == nil {
		return m, false
	}
	for _, identifier := range n.Get("identifier").Items {
		switch identifier.Get("system").Str() {
		case fhir.TagSystem:
			m.Migration = identifier.Get("value").Str()
		case ledgerSystem:
			m.Ledger = identifier.Get("value").Str()
		}
	}
	return m, m.Migration != "" && m.Ledger != ""
}
