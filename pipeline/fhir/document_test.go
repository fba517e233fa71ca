package fhir

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
	"pgregory.net/rapid"
)

// known fails the test for what the definitions do not know.
func known(t *testing.T, data []byte) *Node {
	t.Helper()
	n, err := Parse(data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	w := walker{report: func(path, problem string) { t.Errorf("%s: %s", path, problem) }}
	w.resource(n, n.ResourceType())
	return n
}

func TestOutcomeRoundTrip(t *testing.T) {
	o := NewOutcome(r4.IssueSeverityError, r4.IssueTypeRequired, "an element is missing", "Patient.name[0].family", "Patient.gender")
	o.Issue = append(o.Issue, NewIssue(r4.IssueSeverityWarning, r4.IssueTypeBusinessRule, ""))
	data, err := AppendDocument(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	known(t, data)
	const want = `{"issue":[{"code":"required","diagnostics":"an element is missing","expression":["Patient.name[0].family","Patient.gender"],"severity":"error"},` +
		`{"code":"business-rule","severity":"warning"}],"resourceType":"OperationOutcome"}`
	if string(data) != want {
		t.Errorf("wrote %s", data)
	}
	if diff := cmp.Diff([]Issue{
		{Severity: "error", Code: "required", Expression: []string{"Patient.name[0].family", "Patient.gender"}},
		{Severity: "warning", Code: "business-rule"},
	}, issuesOf(data)); diff != "" {
		t.Errorf("read (-want +got)\n%s", diff)
	}
	if _, err := AppendDocument(nil, func() {}); err == nil {
		t.Errorf("something that is not a document was written")
	}
}

// issuesOf reads the issues of a body, none if it is not JSON.
func issuesOf(body []byte) []Issue {
	n, err := Parse(body)
	if err != nil {
		return nil
	}
	return OutcomeIssues(n)
}

func TestOutcomeIssues(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []Issue
	}{
		{"no JSON", `<html>`, nil},
		{"another resource", `{"resourceType":"Patient","issue":[{"severity":"error"}]}`, nil},
		{"Google's error", `{"error":{"code":429,"message":"Kowalczyk","status":"RESOURCE_EXHAUSTED"}}`, nil},
		{"no type", `{"issue":[{"severity":"error","code":"throttled"}]}`, []Issue{{Severity: "error", Code: "throttled"}}},
		{"values", `{"resourceType":"OperationOutcome","text":{"status":"generated","div":"Kowalczyk"},"issue":[{"severity":"Kowalczyk",` +
			`"code":"Kowalczyk","diagnostics":"Kowalczyk","details":{"text":"Kowalczyk"},"location":["/f:Kowalczyk"],` +
			`"expression":["Kowalczyk","Patient.name.where(family='Kowalczyk')","Patient.Kowalczyk.family","Patient.name[Kowalczyk]"]}]}`,
			[]Issue{{Expression: []string{"Patient.name", "Patient", "Patient.name"}}}},
		{"odd kinds", `{"resourceType":"OperationOutcome","issue":[1,null,{"severity":1,"expression":"x"},{"location":["Patient.name[2]","Line 3"]}]}`,
			[]Issue{{}, {}, {}, {Expression: []string{"Patient.name[2]"}}}},
		{"issue no list", `{"resourceType":"OperationOutcome","issue":"x"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, issuesOf([]byte(c.body))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if !(Issue{Severity: "fatal"}).Fatal() || (Issue{Severity: "warning"}).Fatal() {
		t.Errorf("fatal")
	}
}

func TestSafePath(t *testing.T) {
	for in, want := range map[string]string{
		"Patient.name[0].given[1]":            "Patient.name[0].given[1]",
		"Observation.valueQuantity.value":     "Observation.valueQuantity.value",
		"Bundle.entry[3].resource.birthDate":  "Bundle.entry[3].resource.birthDate",
		"Patient.extension('http://x').value": "Patient",
		"Patient.name[0123].given":            "Patient.name",
		"Patient.name[1234567].given":         "Patient.name",
		"Patient..name":                       "Patient",
		"Patient.":                            "Patient",
		"Patient.name[0]given":                "Patient.name[0]",
		"Smith":                               "",
		"":                                    "",
		"Patient.birthDate=1990":              "Patient.birthDate",
		"Patient.name[":                       "Patient.name",
	} {
		if got := SafePath(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.RuneFrom([]rune("Pname[]01.()'x"))).Draw(t, "s")
		if safe := SafePath(s); !strings.HasPrefix(s, safe) || SafePath(safe) != safe {
			t.Fatalf("%q: %q", s, safe)
		}
	})
}

func TestBundleRequests(t *testing.T) {
	patient := []byte(`{"id":"p","resourceType":"Patient"}`)
	w := NewBundle([]byte("x"), r4.BundleTypeTransaction, BundleHead{})
	put := PutRequest("Patient", "p")
	put.IfMatch = `W/"3"`
	w.Request(put, patient)
	post := PostRequest("Patient")
	post.IfNoneExist, post.FullURL = "identifier=a|b&c", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
	w.Request(post, patient)
	w.Request(GetRequest("Patient/p"), nil)
	w.Request(DeleteRequest("Patient", "q"), nil)
	if w.Entries() != 4 || w.Len() < 100 {
		t.Errorf("%d entries, %d bytes", w.Entries(), w.Len())
	}
	data, err := w.Close()
	if err != nil || data[0] != 'x' {
		t.Fatal(err)
	}
	data = data[1:]
	n := known(t, data)
	// The R4 models, as a second opinion.
	model, err := r4.UnmarshalBundle(data)
	if err != nil || model.Type != r4.BundleTypeTransaction || len(model.Entry) != 4 || model.Entry[0].Request.Method != r4.HTTPVerbPUT {
		t.Errorf("the R4 models read %+v (%v)", model, err)
	}
	b, err := ReadBundle(data)
	if err != nil {
		t.Fatal(err)
	}
	if b.Type != "transaction" || b.Total != -1 || !b.Entries[0].Resource.Equal(n.Get("entry").Item(0).Get("resource")) || b.Entries[2].Resource != nil {
		t.Errorf("bundle %+v", b)
	}
	want := []*Request{&put, &post, {Method: "GET", URL: "Patient/p"}, {Method: "DELETE", URL: "Patient/q"}}
	for i, e := range b.Entries {
		if diff := cmp.Diff(want[i], e.Request); diff != "" || e.Response != nil {
			t.Errorf("entry %d (-want +got)\n%s", i, diff)
		}
	}
}

func TestBundleFaults(t *testing.T) {
	for name, add := range map[string]func(*BundleWriter){
		"no method": func(w *BundleWriter) { w.Request(Request{URL: "Patient/p"}, nil) },
		"no URL":    func(w *BundleWriter) { w.Request(Request{Method: "GET"}, nil) },
		"no status": func(w *BundleWriter) { w.Response(Response{}, "", nil, nil) },
	} {
		w := NewBundle(nil, r4.BundleTypeBatch, BundleHead{})
		add(w)
		if data, err := w.Close(); err == nil || data != nil {
			t.Errorf("%s: no error", name)
		}
	}
	empty, err := NewBundle(nil, r4.BundleTypeBatch, BundleHead{}).Close()
	if err != nil || string(empty) != `{"resourceType":"Bundle","type":"batch"}` {
		t.Errorf("empty bundle %s (%v)", empty, err)
	}
}

func TestBundleResponses(t *testing.T) {
	outcome, err := AppendDocument(nil, NewOutcome(r4.IssueSeverityError, r4.IssueTypeConflict, ""))
	if err != nil {
		t.Fatal(err)
	}
	w := NewBundle(nil, r4.BundleTypeBatchResponse, BundleHead{ID: "b1"})
	w.Response(Response{Status: 201, Location: "Patient/p/_history/3", ETag: `W/"3"`, LastModified: "2026-01-01T00:00:00Z"}, "", nil, nil)
	w.Response(Response{Status: 409}, "", nil, outcome)
	data, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	known(t, data)
	b, err := ReadBundle(data)
	if err != nil || b.Type != "batch-response" || len(b.Entries) != 2 {
		t.Fatalf("%+v %v", b, err)
	}
	first, second := b.Entries[0].Response, b.Entries[1].Response
	if typ, id, version := first.Target(); first.Status != 201 || typ != "Patient" || id != "p" || version != "3" || first.Version() != "3" || first.Issues != nil {
		t.Errorf("first %+v", first)
	}
	if second.Status != 409 || second.Version() != "" || len(second.Issues) != 1 || second.Issues[0].Code != "conflict" {
		t.Errorf("second %+v", second)
	}
	for text, want := range map[string]int{"201 Created": 201, "200": 200, "": 0, "OK": 0, "99": 0, "2000": 0, "-201": 0} {
		if got := leadingStatus(text); got != want {
			t.Errorf("status %q: %d", text, got)
		}
	}
}

func TestBundleSearchsetAndHistory(t *testing.T) {
	total := 7
	w := NewBundle(nil, r4.BundleTypeSearchset, BundleHead{Total: &total, Timestamp: "2026-01-01T00:00:00Z", Links: []Link{
		{"self", "http://localhost/fhir/Patient?name=a\"b"}, {"next", "http://localhost/fhir?page=2"},
	}})
	w.Found("http://localhost/fhir/Patient/p", []byte(`{"resourceType":"Patient","id":"p"}`), r4.SearchEntryModeMatch)
	data, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	known(t, data)
	b, err := ReadBundle(data)
	if err != nil || b.Total != 7 || b.Link("next") != "http://localhost/fhir?page=2" || b.Link("previous") != "" || b.Entries[0].Mode != "match" || b.Entries[0].Resource.ID() != "p" {
		t.Errorf("%+v %v", b, err)
	}
	w = NewBundle(nil, r4.BundleTypeHistory, BundleHead{})
	w.Version("http://localhost/fhir/Patient/p", nil, DeleteRequest("Patient", "p"), Response{Status: 204, ETag: `W/"2"`})
	if data, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	known(t, data)
	if b, err = ReadBundle(data); err != nil || b.Entries[0].Request.Method != "DELETE" || b.Entries[0].Response.Version() != "2" {
		t.Errorf("%+v %v", b, err)
	}
}

func TestReadBundleRefuses(t *testing.T) {
	for _, body := range []string{``, `<html>`, `[]`, `{}`, `{"resourceType":"OperationOutcome"}`, `{"resourceType":"Bundle","entry":{}}`, `{"resourceType":"Bundle","entry":[1]}`} {
		if b, err := ReadBundle([]byte(body)); err == nil {
			t.Errorf("%s: read as %+v", body, b)
		}
	}
	b, err := ReadBundle([]byte(`{"resourceType":"Bundle","total":1e9,"entry":[{"resource":"x","request":1,"response":{"status":201}}]}`))
	if err != nil || b.Total != -1 || b.Entries[0].Resource != nil || b.Entries[0].Response.Status != 0 {
		t.Errorf("odd bundle: %+v %v", b, err)
	}
}

func TestLocations(t *testing.T) {
	for url, want := range map[string][3]string{
		"Patient/p":                             {"Patient", "p", ""},
		"http://h/fhir/Patient/p/_history/3":    {"Patient", "p", "3"},
		"/fhir/Patient/p/":                      {"Patient", "p", ""},
		"Nothing/p":                             {},
		"DomainResource/p":                      {},
		"Patient/a b":                           {},
		"Patient":                               {},
		"":                                      {},
		"http://h/fhir/Patient/p/_history/a b":  {},
		"http://h/fhir/Patient.contact/p":       {},
		"urn:uuid:c757873d-ec9a-4326-a141-556f": {},
	} {
		typ, id, version := SplitLocation(url)
		if got := [3]string{typ, id, version}; got != want {
			t.Errorf("%q: %q, want %q", url, got, want)
		}
	}
	for etag, want := range map[string]string{`W/"3"`: "3", `"3"`: "3", `3`: "", `W/"`: "", `W/""`: "", ``: "", `W/"a b"`: ""} {
		if got := ETagVersion(etag); got != want {
			t.Errorf("%q: %q, want %q", etag, got, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	yes, no := true, false
	in := &Capabilities{
		FHIRVersion: "4.0.1", Software: "a server", Version: "1.2", Date: "2026-01-02", Description: "for tests", URL: "http://localhost/fhir",
		Formats: []string{"application/fhir+json"}, Batch: true, History: true,
		Resources: []ResourceCapability{{
			Type: "Patient", Interactions: []string{"read", "update"}, Versioning: "versioned", UpdateCreate: &yes,
			Search: []SearchParameter{{"identifier", "token"}},
		}, {Type: "Account"}, {Type: "Group", UpdateCreate: &no}},
	}
	statement, err := NewCapabilities(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := AppendDocument(nil, statement)
	if err != nil {
		t.Fatal(err)
	}
	known(t, data)
	out, err := ReadCapabilities(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if r := out.Resource("Patient"); !r.Can("update") || r.Can("delete") {
		t.Errorf("Patient: %+v", r)
	}
	if r := out.Resource("Nothing"); r != nil || r.Can("read") {
		t.Errorf("a type that is not there")
	}
	for name, spoil := range map[string]func(c *Capabilities){
		"software": func(c *Capabilities) { c.Software = "" },
		"date":     func(c *Capabilities) { c.Date = "today" },
		"format":   func(c *Capabilities) { c.Formats = nil },
		"type":     func(c *Capabilities) { c.Resources = []ResourceCapability{{Type: ""}} },
		"interaction": func(c *Capabilities) {
			c.Resources = []ResourceCapability{{Type: "Patient", Interactions: []string{"x"}}}
		},
		"versioning": func(c *Capabilities) { c.Resources = []ResourceCapability{{Type: "Patient", Versioning: "x"}} },
		"search": func(c *Capabilities) {
			c.Resources = []ResourceCapability{{Type: "Patient", Search: []SearchParameter{{"a", ""}}}}
		},
	} {
		spoilt := *in
		spoil(&spoilt)
		if _, err := NewCapabilities(&spoilt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, body := range []string{``, `{}`, `{"resourceType":"Patient"}`, `[1]`} {
		if _, err := ReadCapabilities([]byte(body)); err == nil {
			t.Errorf("%s: read", body)
		}
	}
	later, err := ReadCapabilities([]byte(`{"resourceType":"CapabilityStatement","fhirVersion":"9.0.0","rest":[{"mode":"client","interaction":[{"code":"batch"}]},{"mode":"server","resource":[{"type":"New"}]}]}`))
	if err != nil || later.FHIRVersion != "9.0.0" || later.Batch || later.Resource("New") == nil {
		t.Errorf("a later version: %+v %v", later, err)
	}
}

// TestModelTrap shows why documents go through constructors: the zero of an enum is a real code.
func TestModelTrap(t *testing.T) {
	data, err := json.Marshal(r4.OperationOutcomeIssue{})
	if err != nil || !strings.Contains(string(data), `"severity":"fatal"`) {
		t.Errorf("the trap is gone: %s %v", data, err)
	}
	var severity r4.IssueSeverity
	if err := fromCode("", &severity); err == nil {
		t.Errorf("an empty code was taken")
	}
}
