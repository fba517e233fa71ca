package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
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
	a.code, a.path = load.IssueReason(entry.Response.Issues)
	switch resource := entry.Resource; {
	case resource == nil:
	case resource.ResourceType() == "OperationOutcome":
		if a.code == "" {
			a.code, a.path = load.IssueReason(fhir.OutcomeIssues(resource))
		}
	default:
		a.resource = resource
		a.named = key{resource.ResourceType(), resource.ID()}
		if version := versionOf(resource); version != "" {
			a.version = version
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
	for i := range answers {
		a := &answers[i]
		if a.named != (key{}) && !sent[i].meant(a, len(sent)) {
			mixed = mixed || slices.ContainsFunc(sent, func(it *item) bool { return it.meant(a, len(sent)) })
		}
	}
	verdicts := make([]verdict, len(answers))
	for i := range answers {
		verdicts[i] = judgeEntry(&answers[i], sent[i], mixed, len(sent))
	}
	return verdicts
}

// meant tells whether an answer speaks of the item, one of so many of a bundle. Where the server gave the id, the id alone
// does not say: of several it is the tag in the resource that does.
func (it *item) meant(a *entryAnswer, many int) bool {
	if it.at.id != "" {
		return a.named == it.at
	}
	return a.named.typ == it.at.typ && (many == 1 && a.resource == nil || load.OurID(a.resource) == it.Sealed.ID())
}

func judgeEntry(a *entryAnswer, it *item, mixed bool, many int) verdict {
	o := &it.outcome
	o.Status, o.Code, o.Path = a.status, a.code, a.path
	it.definite = false
	switch {
	case a.named != (key{}) && !it.meant(a, many):
		o.Code = load.CodeMismatch
		if it.at.id == "" && a.resource == nil && a.named.typ == it.at.typ {
			o.Code = load.CodeUnread // it names something new, and nobody knows which of several it is
			return doubt
		}
		it.elsewhere = !mixed
		return doubt
	case a.named == (key{}) && mixed, a.status == 0, a.status >= 300 && a.status < 400 && a.status != http.StatusNotModified:
		o.Code = load.CodeUnread
		return doubt
	case a.status < 200:
		o.Code = load.CodeUnread
		return doubt
	case a.status < 300, a.status == http.StatusNotModified:
		if a.named == (key{}) && (a.status != http.StatusNotModified || it.at.id == "") || it.at.id == "" && a.status != http.StatusCreated {
			o.Code = load.CodeUnread // it says yes, but not to what; or that something else was there under our tag
			return doubt
		}
		if it.at.id == "" {
			it.found(a.named)
		}
		o.Kind, o.Version, o.Code, o.Path = load.Updated, a.version, "", ""
		switch a.status {
		case http.StatusCreated:
			o.Kind = load.Created
		case http.StatusNotModified:
			o.Kind = load.Unchanged
		default:
			if o.Replaced = it.base; it.base == "" {
				o.Replaced = versionBefore(a.version)
			}
		}
		return settled
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, a.code == "throttled":
		return again
	case a.status == http.StatusUnauthorized:
		return refresh
	case a.status == http.StatusConflict, a.status == http.StatusRequestTimeout, a.status >= 500:
		it.definite = true
		return doubt
	case it.base != "" && (a.status == http.StatusPreconditionFailed || a.status == http.StatusNotFound || a.status == http.StatusGone):
		// Somebody was there since our last write, or an earlier attempt of ours has arrived: a look will tell.
		it.definite = true
		return doubt
	case a.status == http.StatusPreconditionFailed:
		o.Code = load.CodeDuplicate
	case a.status == http.StatusRequestEntityTooLarge:
		o.Code = load.CodeTooLarge
	}
	o.Kind = load.Rejected
	return settled
}

// versionBefore is the version before one, where a server counts its versions; "" where that cannot be told.
func versionBefore(version string) string {
	n, err := strconv.ParseUint(version, 10, 31)
	if err != nil || n < 2 {
		return ""
	}
	return strconv.FormatUint(n-1, 10)
}
