package load

import "github.com/chartlift/chartlift/pipeline/fhir"

// Capabilities is what a server's CapabilityStatement says, as far as loading needs it. Servers differ, and so do their
// statements: what is not mentioned is not offered, but for update as create, of which many say nothing.
type Capabilities struct {
	fhir.Capabilities

	// Notices are remarks for the person who starts the run.
	Notices []string

	// IDs tells whether the server gives resources of the type ids of its own. Nil: never.
	IDs func(typ string) bool
}

// ServerIDs tells whether new resources of the type get ids of the server's own.
func (c *Capabilities) ServerIDs(typ string) bool { return c.IDs != nil && c.IDs(typ) }

// Lacking names what loading resources of the type and reading them back needs and the server does not offer. Empty:
// nothing.
func (c *Capabilities) Lacking(typ string) []string {
	r := c.Resource(typ)
	if r == nil {
		return []string{"the type"}
	}
	needs := [][2]string{{"update", "update"}, {"read", "read"}, {"search-type", "search"}}
	if c.ServerIDs(typ) {
		needs = append(needs, [2]string{"create", "create"})
	}
	var lacking []string
	for _, need := range needs {
		if !r.Can(need[0]) {
			lacking = append(lacking, need[1])
		}
	}
	if r.UpdateCreate != nil && !*r.UpdateCreate && !c.ServerIDs(typ) {
		lacking = append(lacking, "update as create, without which our ids cannot be kept")
	}
	return lacking
}
