package sqldb

import "fmt"

const redacted = "[redacted]"

// DSN says where a database is and who asks: a secret, since it holds a password. It prints as [redacted] under every
// verb and in JSON. The zero value is empty.
type DSN struct {
	// A function: fmt prints the unexported fields of a foreign struct without asking their type, and shows of a
	// function only its address.
	reveal func() string
}

// NewDSN keeps a connection string.
func NewDSN(text string) DSN { return DSN{reveal: func() string { return text }} }

func (d DSN) text() string {
	if d.reveal == nil {
		return ""
	}
	return d.reveal()
}

// Format prints [redacted].
func (d DSN) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String is [redacted].
func (d DSN) String() string { return redacted }

// MarshalText is [redacted], and so is the JSON.
func (d DSN) MarshalText() ([]byte, error) { return []byte(redacted), nil }
