package phi

// Method says what a policy does with the value of an element.
type Method uint8

// The methods. The zero value seals, so that what was forgotten is protected.
const (
	// Seal takes the value out of the clinical part.
	Seal Method = iota
	// Keep leaves the value where it is.
	Keep
	// Token puts a keyed HMAC in place of the value (only for identifiers that cannot be guessed).
	Token
	// Year leaves the year of a date.
	Year
	// Zip3 leaves the first three digits of a postal code, or 000 where fewer than 20,000 people live behind them.
	Zip3
	// Age90 leaves an age up to 89 as it is and makes one category of all above (as of the plan's `phi.as-of` date).
	Age90
	// Shift moves a date by a number of days that is the same for all of a patient's (only in delivery `deidentified`).
	Shift
	// Drop takes the value out and leaves nothing, not even data-absent-reason; it still travels in the PHI part, so that
	// nothing is lost.
	Drop
	// Soft marks what is worth keeping only beside something else that is kept, such as the url of an extension: it is
	// sealed when all its siblings are. Policies do not name it; it comes out of [Rules.Child].
	Soft
)

var methodNames = [...]string{Seal: "seal", Keep: "keep", Token: "token", Year: "year", Zip3: "zip3", Age90: "age90",
	Shift: "shift", Drop: "drop", Soft: "soft"}

// String is the word of the policy file.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return "unknown"
}

// transforms tells whether the method leaves a changed value in the place of the original.
func (m Method) transforms() bool { return m >= Token && m <= Shift }

// takesOut tells whether the method leaves nothing of the value.
func (m Method) takesOut() bool { return m == Seal || m == Drop }
