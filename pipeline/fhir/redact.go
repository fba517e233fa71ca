package fhir

import "fmt"

const redacted = "[redacted]"

// Format prints "[redacted]" under every verb: a node holds patient data. [Node.AppendCanonical] writes it.
func (n Node) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String is "[redacted]".
func (n Node) String() string { return redacted }

// MarshalJSON is "[redacted]", so that a node that strays into a log or a report shows nothing.
func (n Node) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
