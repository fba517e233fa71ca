package fhir

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// NewIssue makes an issue of an OperationOutcome. Diagnostics is a fixed text of the program and never carries a value
// of a patient; it may be "". Each expression is a FHIRPath of element names.
func NewIssue(severity r4.IssueSeverity, code r4.IssueType, diagnostics string, expression ...string) r4.OperationOutcomeIssue {
	issue := r4.OperationOutcomeIssue{Severity: severity, Code: code, Expression: expression}
	if diagnostics != "" {
		issue.Diagnostics = &diagnostics
	}
	return issue
}

// NewOutcome makes an OperationOutcome with one issue, as [NewIssue]. Further issues may be appended to it.
func NewOutcome(severity r4.IssueSeverity, code r4.IssueType, diagnostics string, expression ...string) r4.OperationOutcome {
	return r4.OperationOutcome{Issue: []r4.OperationOutcomeIssue{NewIssue(severity, code, diagnostics, expression...)}}
}

// AppendDocument appends a document of the R4 models (an OperationOutcome, a CapabilityStatement) as canonical JSON.
func AppendDocument(dst []byte, document any) ([]byte, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return dst, fmt.Errorf("write document: %w", err)
	}
	n, err := Parse(data)
	if err != nil {
		return dst, fmt.Errorf("write document: %w", err)
	}
	return n.AppendCanonical(dst), nil
}

// Issue is what is kept of an issue of a server's OperationOutcome: nothing that could hold a value of a patient.
// Diagnostics, details and narrative quote values and are dropped.
type Issue struct {
	Severity   string   // fatal, error, warning, information; "" if the server sent something else
	Code       string   // of the value set issue-type; "" if the server sent something else
	Expression []string // paths, as [SafePath] leaves them
}

// Fatal tells whether the issue says that the action failed.
func (i Issue) Fatal() bool { return i.Severity == "fatal" || i.Severity == "error" }

// OutcomeIssues returns the issues of an OperationOutcome, none for anything else. A body without resourceType is taken
// for one if it has issues, since servers have been seen to leave it out. It is read without the R4 models, which refuse
// a whole outcome for one unknown code.
func OutcomeIssues(n *Node) []Issue {
	if typ := n.ResourceType(); typ != "" && typ != "OperationOutcome" {
		return nil
	}
	list := n.Get("issue")
	if list == nil {
		return nil
	}
	var issues []Issue
	for _, item := range list.Items {
		issue := Issue{
			Severity: listed("http://hl7.org/fhir/ValueSet/issue-severity", item.Get("severity").Str()),
			Code:     listed("http://hl7.org/fhir/ValueSet/issue-type", item.Get("code").Str()),
		}
		paths := item.Get("expression")
		if paths == nil {
			paths = item.Get("location") // what servers wrote before R4; XPaths and line numbers leave nothing
		}
		if paths != nil {
			for _, path := range paths.Items {
				if safe := SafePath(path.Str()); safe != "" {
					issue.Expression = append(issue.Expression, safe)
				}
			}
		}
		issues = append(issues, issue)
	}
	return issues
}

// listed is the code if the value set has it, else "".
func listed(valueSet, code string) string {
	if ValueSet(valueSet).HasCode(code) {
		return code
	}
	return ""
}

// words are all names of types and elements that R4 has.
var words = sync.OnceValue(func() map[string]struct{} {
	t, _ := definitions()
	words := map[string]struct{}{}
	for name, typ := range t.types {
		if typ.Kind != KindBackbone {
			words[name] = struct{}{}
		}
		for element := range typ.index {
			words[element] = struct{}{}
		}
	}
	return words
})

// SafePath is the leading part of a FHIRPath that consists of nothing but names of R4 and indexes, as
// Patient.name[0].family. A path that a server wrote may quote a value (Patient.name.where(family = '…')); what is left
// here cannot.
func SafePath(path string) string {
	safe := 0
	for pos := 0; pos < len(path); pos++ {
		end := pos
		for end < len(path) && (isLetter(path[end]) || isDigit(path[end])) {
			end++
		}
		if _, known := words()[path[pos:end]]; !known {
			break
		}
		if pos = end; pos < len(path) && path[pos] == '(' {
			break // a function that is named like an element, as extension('…')
		}
		safe = pos
		if pos < len(path) && path[pos] == '[' {
			index, _, closed := strings.Cut(path[pos+1:], "]")
			if !closed || len(index) > 6 || !validUnsigned(index) {
				break
			}
			pos += len(index) + 2
			safe = pos
		}
		if pos >= len(path) || path[pos] != '.' {
			break
		}
	}
	return path[:safe]
}
