package extract

import "fmt"

const redacted = "[redacted]"

// Format prints "[redacted]" under every verb: a record holds patient data. Its Place may be printed.
func (r Record) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String is "[redacted]".
func (r Record) String() string { return redacted }

// MarshalJSON is "[redacted]", so that a record that strays into a log or a report shows nothing.
func (r Record) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
