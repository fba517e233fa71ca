package load

import (
	"net/http"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// key names one resource.
type key struct{ typ, id string }

// entryAnswer is what a batch's answer says about one entry.
type entryAnswer struct {
	status   int // 0: the entry says nothing that can be understood
	named    key // the resource that the entry speaks of, by location or content; zero if it names none
	version  string
	code     string
	path     string
	resource *fhir.Node
}

// readAnswers takes a batch's answer apart. Not ok: it is no batch answer, or does not have one entry per request.
func readAnswers(r *reply, want int) (answers []entryAnswer, ok bool) {
	b := r.bundle("batch-response", "transaction-response")
	if b == nil || len(b.Entries) != want {
		return nil, false
	}
	answers = make([]entryAnswer, want)
	for i := range b.Entries {
		answers[i] = readAnswer(&b.Entries[i])
	}
	return answers, true
}

// elsewhere stands for a location of which nothing is known but that it is not what was asked for.
var elsewhere = key{"?", "?"}

// readAnswer reads one entry. What outlives the answer is copied: a few characters must not keep the whole in memory.
func readAnswer(entry *fhir.Entry) (a entryAnswer) {
	if entry.Response == nil {
		return a
	}
	a.status, a.version = entry.Response.Status, strings.Clone(entry.Response.Version())
	a.code, a.path = reason(entry.Response.Issues)
	switch resource := entry.Resource; {
	case resource == nil:
	case resource.ResourceType() == "OperationOutcome":
		if a.code == "" {
			a.code, a.path = reason(fhir.OutcomeIssues(resource))
		}
	default:
		a.resource = resource
		a.named = key{resource.ResourceType(), resource.ID()}
		if version := resource.At("meta", "versionId").Str(); fhir.ValidID(version) {
			a.version = strings.Clone(version)
		}
	}
	if entry.Response.Location != "" {
		typ, id, _ := entry.Response.Target()
		named := key{typ, id}
		if typ == "" || a.named != (key{}) && a.named != named {
			named = elsewhere
		}
		a.named = named
	}
	return a
}

// verdict is what an entry's answer means for a resource that was sent.
type verdict uint8

const (
	settled verdict = iota // the outcome stands
	again                  // not processed: send again when the pace allows
	doubt                  // nobody knows: look, then perhaps send again
	refresh                // 401: once more with fresh credentials
)

// judge says what each entry's answer means. The answers must be one per entry.
//
// An answer that names another resource of the same bundle shows that the server mixed up the order; then the answers
// that name none may belong to any of them, and all of those are in doubt.
func judge(answers []entryAnswer, sent []*item) []verdict {
	mixed := false
	for i, a := range answers {
		if a.named != (key{}) && a.named != sent[i].key {
			mixed = mixed || slices.ContainsFunc(sent, func(it *item) bool { return it.key == a.named })
		}
	}
	verdicts := make([]verdict, len(answers))
	for i := range answers {
		verdicts[i] = judgeEntry(&answers[i], sent[i], mixed)
	}
	return verdicts
}

func judgeEntry(a *entryAnswer, it *item, mixed bool) verdict {
	o := &it.outcome
	o.Status, o.Code, o.Path = a.status, a.code, a.path
	it.definite = false
	switch {
	case a.named != (key{}) && a.named != it.key:
		o.Code = CodeMismatch
		it.elsewhere = !mixed
		return doubt
	case a.named == (key{}) && mixed, a.status == 0, a.status >= 300 && a.status < 400 && a.status != http.StatusNotModified:
		o.Code = CodeUnread
		return doubt
	case a.status < 200:
		o.Code = CodeUnread
		return doubt
	case a.status < 300, a.status == http.StatusNotModified:
		if a.named == (key{}) && a.status != http.StatusNotModified {
			o.Code = CodeUnread // it says yes, but not to what
			return doubt
		}
		o.Kind, o.Version, o.Code, o.Path = Updated, a.version, "", ""
		switch a.status {
		case http.StatusCreated:
			o.Kind = Created
		case http.StatusNotModified:
			o.Kind = Unchanged
		}
		return settled
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, a.code == "throttled":
		return again
	case a.status == http.StatusUnauthorized:
		return refresh
	case a.status == http.StatusConflict, a.status == http.StatusRequestTimeout, a.status >= 500:
		it.definite = true
		return doubt
	case a.status == http.StatusPreconditionFailed:
		o.Code = CodeDuplicate
	case a.status == http.StatusRequestEntityTooLarge:
		o.Code = CodeTooLarge
	}
	o.Kind = Rejected
	return settled
}
