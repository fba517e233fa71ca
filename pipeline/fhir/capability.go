package fhir

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// Capabilities is what a server says of itself in its CapabilityStatement, as far as Chartlift asks.
type Capabilities struct {
	FHIRVersion string // 4.0.1
	Software    string // the server's name for itself
	Version     string // the software's version
	Date        string // a dateTime
	Description string // of the installation, and URL its base
	URL         string

	Formats     []string // json, application/fhir+json
	Batch       bool     // the server takes batch Bundles
	Transaction bool
	History     bool // of the whole system
	Resources   []ResourceCapability
}

// ResourceCapability is what a server does with one type of resource.
type ResourceCapability struct {
	Type              string
	Interactions      []string // read, vread, update, patch, delete, history-instance, history-type, create, search-type
	Versioning        string   // no-version, versioned, versioned-update; "" if not said
	UpdateCreate      *bool    // PUT to a new id makes a resource; nil: not said, which HAPI never does
	ConditionalCreate bool
	ConditionalUpdate bool
	ReadHistory       bool
	Search            []SearchParameter
}

// SearchParameter is a parameter of search and its type: number, date, string, token, reference, composite, quantity,
// uri or special.
type SearchParameter struct{ Name, Type string }

// Can tells whether the type has the interaction. False for a nil capability.
func (r *ResourceCapability) Can(interaction string) bool {
	return r != nil && slices.Contains(r.Interactions, interaction)
}

// Resource is what the server does with a type; nil if it does not name it.
func (c *Capabilities) Resource(typ string) *ResourceCapability {
	for i := range c.Resources {
		if c.Resources[i].Type == typ {
			return &c.Resources[i]
		}
	}
	return nil
}

// ReadCapabilities reads a CapabilityStatement. Codes that R4 does not have are kept as they stand, since a server of a
// later version is to be named in a message, not misread; that is why the R4 models, which refuse the whole, are not
// asked.
func ReadCapabilities(body []byte) (*Capabilities, error) {
	n, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read capability statement: %w", err)
	}
	if n.ResourceType() != "CapabilityStatement" {
		return nil, errors.New("read capability statement: the body is none")
	}
	c := &Capabilities{
		FHIRVersion: n.Get("fhirVersion").Str(),
		Software:    n.At("software", "name").Str(),
		Version:     n.At("software", "version").Str(),
		Date:        n.Get("date").Str(),
		Description: n.At("implementation", "description").Str(),
		URL:         n.At("implementation", "url").Str(),
	}
	for _, format := range items(n.Get("format")) {
		c.Formats = append(c.Formats, format.Str())
	}
	for _, rest := range items(n.Get("rest")) {
		if rest.Get("mode").Str() != "server" {
			continue
		}
		for _, interaction := range items(rest.Get("interaction")) {
			switch interaction.Get("code").Str() {
			case "batch":
				c.Batch = true
			case "transaction":
				c.Transaction = true
			case "history-system":
				c.History = true
			}
		}
		for _, resource := range items(rest.Get("resource")) {
			c.Resources = append(c.Resources, readResourceCapability(resource))
		}
	}
	return c, nil
}

func readResourceCapability(n *Node) ResourceCapability {
	r := ResourceCapability{
		Type:              n.Get("type").Str(),
		Versioning:        n.Get("versioning").Str(),
		UpdateCreate:      said(n.Get("updateCreate")),
		ConditionalCreate: isTrue(n.Get("conditionalCreate")),
		ConditionalUpdate: isTrue(n.Get("conditionalUpdate")),
		ReadHistory:       isTrue(n.Get("readHistory")),
	}
	for _, interaction := range items(n.Get("interaction")) {
		r.Interactions = append(r.Interactions, interaction.Get("code").Str())
	}
	for _, p := range items(n.Get("searchParam")) {
		r.Search = append(r.Search, SearchParameter{Name: p.Get("name").Str(), Type: p.Get("type").Str()})
	}
	return r
}

func items(n *Node) []*Node {
	if n == nil {
		return nil
	}
	return n.Items
}

func isTrue(n *Node) bool { return n != nil && n.Kind == Boolean && n.Text == "true" }

// said is a boolean that may be missing.
func said(n *Node) *bool {
	if n == nil || n.Kind != Boolean {
		return nil
	}
	yes := isTrue(n)
	return &yes
}

// NewCapabilities makes the CapabilityStatement of a server that is running (kind instance, status active) and speaks
// R4; c.FHIRVersion is not looked at. Software, Date, Description and at least one format are required. A type or code
// that R4 does not have is an error.
func NewCapabilities(c *Capabilities) (r4.CapabilityStatement, error) {
	fail := func(err error) (r4.CapabilityStatement, error) {
		return r4.CapabilityStatement{}, fmt.Errorf("make capability statement: %w", err)
	}
	if c.Software == "" || c.Description == "" || len(c.Formats) == 0 || !ValidDateTime(c.Date) {
		return fail(errors.New("software, date, description or format is missing"))
	}
	rest := r4.CapabilityStatementRest{Mode: r4.RestfulCapabilityModeServer}
	for i := range c.Resources {
		resource, err := newResourceCapability(&c.Resources[i])
		if err != nil {
			return fail(err)
		}
		rest.Resource = append(rest.Resource, resource)
	}
	for _, system := range []struct {
		offered bool
		code    r4.SystemRestfulInteraction
	}{
		{c.Transaction, r4.SystemRestfulInteractionTransaction},
		{c.Batch, r4.SystemRestfulInteractionBatch},
		{c.History, r4.SystemRestfulInteractionHistorySystem},
	} {
		if system.offered {
			rest.Interaction = append(rest.Interaction, r4.CapabilityStatementRestInteraction{Code: system.code})
		}
	}
	return r4.CapabilityStatement{
		Status:      r4.PublicationStatusActive,
		Date:        c.Date,
		Kind:        r4.CapabilityStatementKindInstance,
		FhirVersion: r4.FHIRVersion4_0_1,
		Format:      c.Formats,
		Software:    &r4.CapabilityStatementSoftware{Name: c.Software, Version: optional(c.Version)},
		Implementation: &r4.CapabilityStatementImplementation{
			Description: c.Description, Url: optional(c.URL),
		},
		Rest: []r4.CapabilityStatementRest{rest},
	}, nil
}

func newResourceCapability(r *ResourceCapability) (r4.CapabilityStatementRestResource, error) {
	out := r4.CapabilityStatementRestResource{
		UpdateCreate: r.UpdateCreate, ConditionalCreate: &r.ConditionalCreate,
		ConditionalUpdate: &r.ConditionalUpdate, ReadHistory: &r.ReadHistory,
	}
	if err := fromCode(r.Type, &out.Type); err != nil {
		return out, err
	}
	if r.Versioning != "" {
		out.Versioning = new(r4.ResourceVersionPolicy)
		if err := fromCode(r.Versioning, out.Versioning); err != nil {
			return out, err
		}
	}
	for _, code := range r.Interactions {
		var interaction r4.CapabilityStatementRestResourceInteraction
		if err := fromCode(code, &interaction.Code); err != nil {
			return out, err
		}
		out.Interaction = append(out.Interaction, interaction)
	}
	for _, p := range r.Search {
		param := r4.CapabilityStatementRestResourceSearchParam{Name: p.Name}
		if err := fromCode(p.Type, &param.Type); err != nil {
			return out, err
		}
		out.SearchParam = append(out.SearchParam, param)
	}
	return out, nil
}

// fromCode sets an enum of the R4 models from its code. An unknown code, "" included, is an error and never the zero of
// the enum, which is a real code.
func fromCode(code string, enum json.Unmarshaler) error {
	return enum.UnmarshalJSON([]byte(strconv.Quote(code)))
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
