package validate

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Severity of an [Issue].
type Severity uint8

// The severities. The zero value is none, so a forgotten one shows.
const (
	Error   Severity = iota + 1 // the resource breaks a rule
	Warning                     // it does what it should not
)

// String returns the code of FHIR's issue-severity.
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	}
	return "none"
}

// Issue is one thing that is wrong with a resource. It holds nothing of the resource but the place.
type Issue struct {
	Severity Severity
	Code     string // of FHIR's issue-type: structure, required, value, invariant, code-invalid, …
	Rule     string // which rule: one of the Rule constants, or the key of an invariant (obs-7)
	Path     string // FHIRPath of the place, with indexes: Observation.component[0].value.ofType(Quantity)
	Missing  string // of min, the element that Path lacks; of slice-min, the slice behind a colon
	Profile  string // URL of the profile that asks it; "" for R4 itself
	Message  string
	At       int // byte in the text the resource was parsed from, of the value the issue is about; see [fhir.PlaceOf]
}

// Rules that are not keys of invariants.
const (
	RuleNotJSON    = "json"            // the text is not JSON, or not what FHIR takes
	RuleType       = "resource-type"   // no resource, or one that R4 does not have
	RuleElement    = "unknown-element" // a property that the type does not have
	RuleMin        = "min"             // too few values
	RuleMax        = "max"             // too many values
	RuleShape      = "shape"           // an array, object or primitive where another of them belongs
	RuleEmpty      = "empty"           // an empty object, array or text
	RuleChoice     = "choice"          // several variants of one choice
	RuleForm       = "form"            // a primitive that has not the form of its type
	RuleBinding    = "binding"         // a code outside of the value set
	RuleCode       = "unknown-code"    // a code that its code system does not have
	RuleDisplay    = "display"         // a display that is not the code's
	RuleTarget     = "target"          // a reference to a type that is not allowed
	RuleReference  = "reference"       // a reference that points nowhere, or is not one
	RuleFixed      = "fixed"           // not the fixed value
	RulePattern    = "pattern"         // the pattern is not in it
	RuleTypeOf     = "value-type"      // a type that the profile does not allow
	RuleSliceMin   = "slice-min"       // a slice with too few values
	RuleSlice      = "slice"           // an entry that belongs to no slice of a closed list, or out of order
	RuleContext    = "context"         // an extension where it does not belong
	RuleModifier   = "modifier"        // a modifier extension where an extension belongs, or the other way round
	RuleLength     = "length"          // longer than the profile allows
	RuleRange      = "range"           // below the least or above the greatest value
	RuleFullURL    = "full-url"        // an entry's fullUrl that is not absolute or not that of its resource
	RuleLink       = "link"            // two links of one relation
	RuleSize       = "size"            // an attachment of another size or hash than it says
	RuleProfile    = "profile"         // a value that conforms to none of the profiles
	RuleDefinition = "definition"      // a definition that contradicts what it is about
	RuleID         = "id"              // an id that is there twice
	RuleDeep       = "too-deep"        // nested deeper than is checked
)

// Outcome makes an OperationOutcome of the issues; one without any says that all is well (information).
func Outcome(issues []Issue) r4.OperationOutcome {
	if len(issues) == 0 {
		return fhir.NewOutcome(r4.IssueSeverityInformation, r4.IssueTypeInformational, "no error was found")
	}
	var out r4.OperationOutcome
	for i := range issues {
		x := &issues[i]
		severity := r4.IssueSeverityError
		if x.Severity == Warning {
			severity = r4.IssueSeverityWarning
		}
		var paths []string
		if x.Path != "" {
			paths = []string{x.Path}
		}
		out.Issue = append(out.Issue, fhir.NewIssue(severity, issueType(x.Code), x.text(), paths...))
	}
	return out
}

// text is the message with the rule and the profile behind it.
func (x *Issue) text() string {
	var b strings.Builder
	b.WriteString(x.Message)
	b.WriteString(" (")
	b.WriteString(x.Rule)
	if x.Profile != "" {
		b.WriteString(", ")
		b.WriteString(x.Profile)
	}
	b.WriteString(")")
	return b.String()
}

// String is `severity: path: message (rule, profile)`.
func (x *Issue) String() string { return x.Severity.String() + ": " + x.Path + ": " + x.text() }

// issueType is the R4 model's code for a code of issue-type.
func issueType(code string) r4.IssueType {
	var t r4.IssueType
	if err := t.UnmarshalJSON([]byte(strconv.Quote(code))); err != nil {
		return r4.IssueTypeInvalid
	}
	return t
}

// HasError tells whether one of the issues is an error.
func HasError(issues []Issue) bool {
	return slices.ContainsFunc(issues, func(x Issue) bool { return x.Severity == Error })
}

// Unchecked is something that could not be checked for want of a definition.
type Unchecked struct {
	Kind  string // profile, extension, value set, code system, constraint, reference
	Name  string // URL, or URL#key of a constraint
	Why   string
	Count int64
}

// compareUnchecked orders by kind and name.
func compareUnchecked(a, b Unchecked) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
}
