package phi

import (
	"fmt"

	"go.uber.org/zap/zapcore"
)

// redacted is what every type prints that holds patient data or secrets.
const redacted = "[redacted]"

// marker gives a type that embeds it no way to show what it holds: not under any verb of fmt, not as JSON or text, not
// in a log of zap.
type marker struct{}

// Format prints [redacted] under every verb.
func (marker) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String is [redacted].
func (marker) String() string { return redacted }

// MarshalJSON is "[redacted]".
func (marker) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText is [redacted].
func (marker) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalLogObject writes [redacted].
func (marker) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("value", redacted)
	return nil
}

// Secret holds bytes that must not be seen: a key, a token, a password. It prints as [redacted] under every verb, in
// JSON and in zap, also as a field of another type. The zero value is empty.
type Secret struct {
	marker
	// A function: fmt prints the unexported fields of a foreign struct without asking their type, follows one pointer
	// under %s, and shows of a function only its address.
	reveal func() []byte
}

// NewSecret takes the bytes over; the caller must not use them again.
func NewSecret(b []byte) Secret { return Secret{reveal: func() []byte { return b }} }

// Reveal returns the bytes, which must not be changed. Each call is a place to look at in a review.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// Empty tells whether there is nothing in it.
func (s Secret) Empty() bool { return len(s.Reveal()) == 0 }

// Format prints [redacted]: a resource is patient data as a whole.
func (r Resource) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON is "[redacted]".
func (r Resource) MarshalJSON() ([]byte, error) { return marker{}.MarshalJSON() }

// MarshalLogObject writes [redacted].
func (r Resource) MarshalLogObject(e zapcore.ObjectEncoder) error {
	return marker{}.MarshalLogObject(e)
}

// Format prints the path and the method of the cut; what stands in its place is not shown.
func (c Cut) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%s: %s", c.Path, c.Method) }
