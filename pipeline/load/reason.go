package load

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// rpcCodes are the names of google.rpc.Code, in which Google's API reports errors of its own instead of an
// OperationOutcome. Any other text in their place is not repeated.
var rpcCodes = []string{
	"ABORTED", "ALREADY_EXISTS", "CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "INTERNAL",
	"INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED",
	"UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN",
}

// IssueReason is the one way by which a server's complaint enters Chartlift: the code and the path of the first issue that is
// an error (else of the first issue). Diagnostics, details and narrative quote patient data and are never kept.
func IssueReason(issues []fhir.Issue) (code, path string) {
	if len(issues) == 0 {
		return "", ""
	}
	chosen := issues[0]
	if i := slices.IndexFunc(issues, fhir.Issue.Fatal); i >= 0 {
		chosen = issues[i]
	}
	if len(chosen.Expression) > 0 {
		path = chosen.Expression[0]
	}
	return strings.Clone(chosen.Code), strings.Clone(path)
}

// Reason is [IssueReason] for the body of an answer, which may be an OperationOutcome, an error of Google's or anything.
func Reason(n *fhir.Node) (code, path string) {
	if issues := fhir.OutcomeIssues(n); len(issues) > 0 {
		return IssueReason(issues)
	}
	if status := n.At("error", "status").Str(); slices.Contains(rpcCodes, status) {
		return strings.ReplaceAll(strings.ToLower(status), "_", "-"), ""
	}
	return "", ""
}
