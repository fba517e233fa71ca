package sandbox

import (
	"fmt"
	"net/http"
	"time"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// capabilities is the CapabilityStatement. Its software.name is what tells a sandbox from a server that holds patients.
func capabilities(st *store, base string, since time.Time) ([]byte, error) {
	c := fhir.Capabilities{Software: load.SandboxName, Date: since.UTC().Format(instantForm),
		Description: "A FHIR server for rehearsals and tests. It protects nothing.", URL: base,
		Formats: []string{fhir.ContentType, "json"}, Batch: true, Transaction: true}
	chosen := !st.serverIDs
	for _, typ := range fhir.Resources() {
		r := fhir.ResourceCapability{Type: typ, Versioning: "versioned", UpdateCreate: &chosen, ConditionalCreate: true, ConditionalUpdate: true,
			ReadHistory:  true,
			Interactions: []string{"read", "vread", "update", "delete", "history-instance", "create", "search-type"},
			Search:       []fhir.SearchParameter{{Name: "_id", Type: "token"}, {Name: "_lastUpdated", Type: "date"}, {Name: "_tag", Type: "token"}}}
		params := st.params[typ]
		for _, p := range []struct {
			offered   bool
			name, typ string
		}{{params.identifier, "identifier", "token"}, {params.patient != nil, "patient", "reference"},
			{params.subject != nil, "subject", "reference"}, {params.date != "", "date", "date"}} {
			if p.offered {
				r.Search = append(r.Search, fhir.SearchParameter{Name: p.name, Type: p.typ})
			}
		}
		c.Resources = append(c.Resources, r)
	}
	statement, err := fhir.NewCapabilities(&c)
	if err != nil {
		return nil, fmt.Errorf("sandbox metadata: %w", err)
	}
	return fhir.AppendDocument(nil, statement)
}

func (x *exchange) metadata() {
	text, err := capabilities(x.server.store, x.base(), x.server.started)
	if err != nil {
		x.write(refuse(http.StatusInternalServerError, r4.IssueTypeException, "the sandbox cannot describe itself"))
		return
	}
	x.write(&answer{status: http.StatusOK, body: text})
}
