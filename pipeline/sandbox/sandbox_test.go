package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// client talks to a sandbox over HTTP.
type client struct {
	t    *testing.T
	base string
	s    *Server
}

func start(t *testing.T, o Options) *client {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		_ = s.Close()
		server.Close()
	})
	return &client{t, server.URL + BasePath, s}
}

type result struct {
	status int
	header http.Header
	body   string
	node   *fhir.Node
	err    error
}

// do sends a request; headers come as "Name: value".
func (c *client) do(method, path, body string, headers ...string) result {
	c.t.Helper()
	target := c.base
	if strings.HasPrefix(path, "http") {
		target = path
	} else if path != "" {
		target += "/" + path
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", fhir.ContentType)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		r.Header.Set(key, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return result{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	n, _ := fhir.Parse(text)
	return result{response.StatusCode, response.Header, string(text), n, err}
}

func (c *client) want(status int, method, path, body string, headers ...string) result {
	c.t.Helper()
	r := c.do(method, path, body, headers...)
	if r.err != nil || r.status != status {
		c.t.Fatalf("%s %s: status %d (%v), want %d: %s", method, path, r.status, r.err, status, r.body)
	}
	return r
}

func (c *client) ids(path string) []string {
	c.t.Helper()
	var ids []string
	for path != "" {
		r := c.want(200, "GET", path, "")
		path = ""
		for _, e := range items(r.node.Get("entry")) {
			ids = append(ids, e.Get("resource").ID())
		}
		for _, l := range items(r.node.Get("link")) {
			if l.Get("relation").Str() == "next" {
				path = l.Get("url").Str()
			}
		}
		if len(ids) > 10000 {
			c.t.Fatal("the pages loop")
		}
	}
	return ids
}

const weight = `{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"weight"},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2020-05-04T10:00:00+02:00","valueQuantity":{"value":70.50,"unit":"kg"}}`

func TestMetadataNamesTheSandbox(t *testing.T) {
	c := start(t, Options{})
	r := c.want(200, "GET", "metadata", "")
	if got := r.node.At("software", "name").Str(); got != "Chartlift Sandbox" {
		t.Errorf("software.name is %q", got)
	}
	if problems := check(r.node, "CapabilityStatement"); len(problems) > 0 {
		t.Errorf("the statement is faulty: %v", problems)
	}
}

func TestLifeOfAResource(t *testing.T) {
	c := start(t, Options{})
	r := c.want(201, "PUT", "Observation/o1", weight)
	if r.header.Get("ETag") != `W/"1"` || !strings.HasSuffix(r.header.Get("Location"), "/Observation/o1/_history/1") || r.header.Get("Last-Modified") == "" {
		t.Errorf("headers %v", r.header)
	}
	r = c.want(200, "GET", "Observation/o1", "")
	if !strings.Contains(r.body, `"value":70.50`) {
		t.Errorf("the decimal changed: %s", r.body)
	}
	if strings.Index(r.body, `"status"`) > strings.Index(r.body, `"code"`) {
		t.Errorf("the order of members changed: %s", r.body)
	}
	if r.node.At("meta", "versionId").Str() != "1" || !fhir.ValidInstant(r.node.At("meta", "lastUpdated").Str()) {
		t.Errorf("meta is missing: %s", r.body)
	}
	c.want(200, "PUT", "Observation/o1", strings.Replace(weight, "70.50", "71", 1), `If-Match: W/"1"`)
	c.want(412, "PUT", "Observation/o1", weight, `If-Match: W/"1"`)
	c.want(412, "PUT", "Observation/o1", weight, `If-None-Match: *`)
	c.want(304, "GET", "Observation/o1", "", `If-None-Match: W/"2"`)
	if r := c.want(200, "GET", "Observation/o1/_history/1", ""); !strings.Contains(r.body, "70.50") {
		t.Errorf("version 1 is %s", r.body)
	}
	c.want(412, "DELETE", "Observation/o1", "", `If-Match: W/"1"`)
	c.want(204, "DELETE", "Observation/o1", "")
	c.want(204, "DELETE", "Observation/o1", "")
	c.want(410, "GET", "Observation/o1", "")
	c.want(410, "GET", "Observation/o1/_history/3", "")
	c.want(404, "GET", "Observation/o1/_history/4", "")
	c.want(404, "GET", "Observation/o2", "")
	if r := c.want(200, "GET", "Observation/o1/_history", ""); r.node.Get("total").Text != "3" || len(r.node.Get("entry").Items) != 3 {
		t.Errorf("history: %s", r.body)
	}
	c.want(201, "PUT", "Observation/o1", weight)
	r = c.want(201, "POST", "Patient", `{"resourceType":"Patient","id":"mine"}`)
	if strings.Contains(r.header.Get("Location"), "mine") {
		t.Error("a create keeps the client's id")
	}
	if r := c.want(200, "PUT", "Observation/o1", weight, "Prefer: return=minimal"); r.body != "" {
		t.Errorf("a minimal answer has a body: %s", r.body)
	}
	if got := c.s.Writes(); got != 6 {
		t.Errorf("%d versions were made, want 6", got)
	}
}

func TestFaultyBodiesAreRefused(t *testing.T) {
	c := start(t, Options{})
	for _, test := range []struct {
		name, body string
		status     int
		expression string
	}{
		{"no JSON", `{"resourceType":`, 400, ""},
		{"twice the same member", `{"resourceType":"Patient","id":"x","id":"x"}`, 400, ""},
		{"too deep", strings.Repeat("[", 300), 400, ""},
		{"another type", `{"resourceType":"Group","id":"x"}`, 400, "Patient"},
		{"another id", `{"resourceType":"Patient","id":"y"}`, 400, "Patient.id"},
		{"no id", `{"resourceType":"Patient"}`, 400, "Patient.id"},
		{"unknown element", `{"resourceType":"Patient","id":"x","colour":"red"}`, 422, "Patient.colour"},
		{"unknown element below", `{"resourceType":"Patient","id":"x","name":[{"family":"A"},{"surname":"B"}]}`, 422, "Patient.name[1].surname"},
		{"one for many", `{"resourceType":"Patient","id":"x","name":{"family":"A"}}`, 422, "Patient.name"},
		{"many for one", `{"resourceType":"Patient","id":"x","gender":["male"]}`, 422, "Patient.gender"},
		{"string for boolean", `{"resourceType":"Patient","id":"x","active":"true"}`, 422, "Patient.active"},
		{"no date", `{"resourceType":"Patient","id":"x","birthDate":"1970-02-30"}`, 422, "Patient.birthDate"},
		{"two choices", `{"resourceType":"Patient","id":"x","deceasedBoolean":true,"deceasedDateTime":"2020"}`, 422, "Patient.deceasedDateTime"},
		{"bare choice", `{"resourceType":"Patient","id":"x","deceased":true}`, 422, "Patient.deceased"},
		{"empty object", `{"resourceType":"Patient","id":"x","maritalStatus":{}}`, 422, "Patient.maritalStatus"},
		{"empty list", `{"resourceType":"Patient","id":"x","name":[]}`, 422, "Patient.name"},
		{"empty string", `{"resourceType":"Patient","id":"x","name":[{"family":""}]}`, 422, "Patient.name[0].family"},
		{"null", `{"resourceType":"Patient","id":"x","name":[{"given":["A",null]}]}`, 422, "Patient.name[0].given[1]"},
		{"required missing", `{"resourceType":"Patient","id":"x","link":[{"type":"refer"}]}`, 422, "Patient.link[0].other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &client{t, c.base, c.s}
			r := c.want(test.status, "PUT", "Patient/x", test.body)
			issue := r.node.Get("issue").Item(0)
			if r.node.ResourceType() != "OperationOutcome" || issue.Get("code").Str() == "" {
				t.Fatalf("no OperationOutcome: %s", r.body)
			}
			if got := issue.Get("expression").Item(0).Str(); got != test.expression {
				t.Errorf("expression %q, want %q", got, test.expression)
			}
		})
	}
	c.want(415, "PUT", "Patient/x", "<Patient/>", "Content-Type: application/fhir+xml")
	c.want(404, "GET", "Colour/x", "")
	c.want(400, "GET", "Patient/a_b", "")
	c.want(405, "PATCH", "Patient/x", "[]")
	c.want(404, "GET", strings.TrimSuffix(c.base, BasePath)+"/elsewhere", "")
	c.want(201, "PUT", "Patient/x", `{"resourceType":"Patient","id":"x","birthDate":"1970","_birthDate":{"extension":[{"url":"http://example.org/x","valueCode":"a"}]},"name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"http://example.org/x","valueCode":"b"}]}]}]}`)
}

func TestSearch(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := start(t, Options{Now: func() time.Time { now = now.Add(time.Second); return now }})
	for i := range 5 {
		c.want(201, "PUT", fmt.Sprintf("Patient/p%d", i), fmt.Sprintf(`{"resourceType":"Patient","id":"p%d","meta":{"tag":[{"system":"urn:t","code":"%c"}]},"identifier":[{"system":"urn:mrn","value":"m%d"},{"value":"x"}]}`, i, 'a'+i%2, i))
	}
	observation := func(id, patient, when string) {
		c.want(201, "PUT", "Observation/"+id, fmt.Sprintf(`{"resourceType":"Observation","id":"%s","status":"final","code":{"text":"w"},"subject":{"reference":"%s"},"performer":[{"reference":"Patient/p4"}],%s}`, id, patient, when))
	}
	observation("a", "Patient/p1", `"effectiveDateTime":"2020-05-04T10:00:00+02:00"`)
	observation("b", "Patient/p1", `"effectiveDateTime":"2021"`)
	observation("c", c.base+"/Patient/p2", `"effectivePeriod":{"start":"2020-05-01","end":"2020-05-31"}`)
	observation("d", "Group/g", `"effectiveInstant":"2022-01-01T00:00:00Z"`)
	c.want(204, "DELETE", "Patient/p0", "")
	for _, test := range []struct{ query, want string }{
		{"Patient", "p1 p2 p3 p4"},
		{"Patient?_id=p3,p0,p1", "p3 p1"},
		{"Patient?identifier=urn:mrn|m2", "p2"},
		{"Patient?identifier=m2", "p2"},
		{"Patient?identifier=|x", "p1 p2 p3 p4"},
		{"Patient?identifier=urn:mrn|", "p1 p2 p3 p4"},
		{"Patient?identifier=urn:mrn|m2,urn:mrn|m1", "p1 p2"},
		{"Patient?identifier=urn:other|m2", ""},
		{"Patient?identifier=urn:mrn|m2&identifier=x", "p2"},
		{"Patient?_tag=urn:t|b", "p1 p3"},
		{"Patient?_tag=a", "p2 p4"},
		{"Patient?_lastUpdated=gt2026-01-02", ""},
		{"Patient?_lastUpdated=2026-01-02", "p1 p2 p3 p4"},
		{"Observation?patient=p1", "a b"},
		{"Observation?patient=Patient/p1", "a b"},
		{"Observation?patient=p4", ""},
		{"Observation?subject=Group/g", "d"},
		{"Observation?subject:Patient=p2", "c"},
		{"Observation?patient=p1&date=2020", "a"},
		{"Observation?date=ge2020-05-04", "a b c d"},
		{"Observation?date=lt2020-05-03", "c"},
		{"Observation?date=gt2020-05-04&date=lt2022", "b c"},
		{"Observation?date=sa2021-06-01", "d"},
		{"Observation?date=eb2020-05-05", "a"},
		{"Observation?date=ne2021", "a c d"},
		{"Observation?_count=1", "a b c d"},
		{"Observation?_count=3&patient=p1,p2", "a b c"},
	} {
		if got := strings.Join(c.ids(test.query), " "); got != test.want {
			t.Errorf("%s finds %q, want %q", test.query, got, test.want)
		}
	}
	if r := c.want(200, "GET", "Patient?_summary=count", ""); r.node.Get("total").Text != "4" || r.node.Get("entry") != nil {
		t.Errorf("count: %s", r.body)
	}
	c.want(400, "GET", "Patient?colour=red", "")
	c.want(400, "GET", "Condition?date=2020", "")
	c.want(200, "GET", "Patient?colour=red", "", "Prefer: handling=lenient")
	c.want(400, "GET", "Observation?date=yesterday", "")
	if r := c.want(200, "POST", "Patient/_search", "_id=p1", "Content-Type: application/x-www-form-urlencoded"); r.node.Get("total").Text != "1" {
		t.Errorf("search by POST: %s", r.body)
	}
	r := c.want(200, "GET", "Observation?_elements=id,effective&_id=a", "")
	found := r.node.Get("entry").Item(0).Get("resource")
	if found.Get("performer") != nil || found.Get("effectiveDateTime") == nil || found.Get("status") == nil {
		t.Errorf("_elements: %s", r.body)
	}
	if got := len(c.ids("Observation?_count=0")); got != 0 {
		t.Errorf("_count=0 finds %d", got)
	}
}

func TestPagesStandWhileOthersWrite(t *testing.T) {
	c := start(t, Options{})
	for i := range 10 {
		c.want(201, "PUT", fmt.Sprintf("Group/g%d", i), fmt.Sprintf(`{"resourceType":"Group","id":"g%d","type":"person","actual":true}`, i))
	}
	r := c.want(200, "GET", "Group?_count=4", "")
	c.want(204, "DELETE", "Group/g1", "")
	c.want(201, "PUT", "Group/a", `{"resourceType":"Group","id":"a","type":"person","actual":true}`)
	c.want(200, "PUT", "Group/g2", `{"resourceType":"Group","id":"g2","type":"animal","actual":true}`)
	if got := strings.Join(c.ids(items(r.node.Get("link"))[1].Get("url").Str()), " "); got != "g4 g5 g6 g7 g8 g9 a" {
		t.Errorf("the further pages hold %s", got)
	}
}

func TestConditions(t *testing.T) {
	c := start(t, Options{})
	patient := `{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"1"}]}`
	first := c.want(201, "POST", "Patient", patient, "If-None-Exist: identifier=urn:mrn|1")
	again := c.want(200, "POST", "Patient", patient, "If-None-Exist: identifier=urn:mrn|1")
	if first.node.ID() != again.node.ID() {
		t.Error("a conditional create made a second one")
	}
	c.want(200, "PUT", "Patient?identifier=urn:mrn|1", patient)
	c.want(400, "PUT", "Patient?identifier=urn:mrn|1", strings.Replace(patient, `"identifier"`, `"id":"z","identifier"`, 1))
	c.want(201, "PUT", "Patient?identifier=urn:mrn|2", strings.Replace(patient, `"value":"1"`, `"value":"2"`, 1))
	c.want(201, "POST", "Patient", patient)
	c.want(412, "PUT", "Patient?identifier=urn:mrn|1", patient)
	c.want(412, "POST", "Patient", patient, "If-None-Exist: identifier=urn:mrn|1")
	c.want(412, "POST", "Patient", patient, "If-None-Exist: _count=1")
	c.want(400, "POST", "Patient", patient, "If-None-Exist: colour=red")
}

func TestBatchEntriesStandAlone(t *testing.T) {
	c := start(t, Options{})
	r := c.want(200, "POST", "", `{"resourceType":"Bundle","type":"batch","entry":[
		{"resource":{"resourceType":"Patient","id":"a"},"request":{"method":"PUT","url":"Patient/a"}},
		{"resource":{"resourceType":"Patient","id":"b","colour":"red"},"request":{"method":"PUT","url":"Patient/b"}},
		{"request":{"method":"GET","url":"Patient/a"}},
		{"request":{"method":"GET","url":"Patient/b"}},
		{"request":{"method":"GET","url":"Patient?_id=a"}},
		{"request":{"method":"DELETE","url":"Patient/a"}},
		{"request":{"method":"GET","url":"`+c.base+`/Patient/a"}},
		{"resource":{"resourceType":"Patient"}}]}`)
	var got []string
	for _, e := range r.node.Get("entry").Items {
		got = append(got, e.At("response", "status").Str()[:3])
	}
	if want := "201 422 200 404 200 204 410 400"; strings.Join(got, " ") != want {
		t.Errorf("statuses %v, want %s", got, want)
	}
	e := r.node.Get("entry").Item(0)
	if e.At("response", "location").Str() != "Patient/a/_history/1" || e.At("response", "etag").Str() != `W/"1"` || e.Get("resource") != nil {
		t.Errorf("the first entry's answer: %s", r.body)
	}
	if r.node.Get("entry").Item(1).At("response", "outcome", "resourceType").Str() != "OperationOutcome" {
		t.Errorf("the refusal has no outcome: %s", r.body)
	}
	if problems := check(r.node, "Bundle"); len(problems) > 0 {
		t.Errorf("the answer is faulty: %v", problems)
	}
	c.want(400, "POST", "", `{"resourceType":"Bundle","type":"collection"}`)
	c.want(400, "POST", "", `{"resourceType":"Patient"}`)
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	c := start(t, Options{Store: filepath.Join(t.TempDir(), "s")})
	c.want(201, "PUT", "Patient/old", `{"resourceType":"Patient","id":"old","identifier":[{"system":"urn:mrn","value":"old"}]}`)
	r := c.want(422, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[
		{"resource":{"resourceType":"Patient","id":"a"},"request":{"method":"PUT","url":"Patient/a"}},
		{"request":{"method":"DELETE","url":"Patient/old"}},
		{"resource":{"resourceType":"Patient","id":"b","colour":"red"},"request":{"method":"PUT","url":"Patient/b"}}]}`)
	if got := r.node.Get("issue").Item(0).Get("expression").Item(0).Str(); got != "Bundle.entry[2].resource" {
		t.Errorf("the fault is at %q", got)
	}
	c.want(404, "GET", "Patient/a", "")
	c.want(200, "GET", "Patient/old", "")
	if got := c.ids("Patient"); len(got) != 1 {
		t.Errorf("after a failed transaction there is %v", got)
	}
	r = c.want(200, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[
		{"request":{"method":"GET","url":"Patient/old"}},
		{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"urn:uuid:2"},"performer":[{"reference":"Patient?identifier=urn:mrn|old"}]},"request":{"method":"POST","url":"Observation"}},
		{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"new"}]},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=urn:mrn|new"}}]}`)
	location := func(i int) string {
		return strings.TrimSuffix(r.node.Get("entry").Item(i).At("response", "location").Str(), "/_history/1")
	}
	o := c.want(200, "GET", location(1), "")
	if got := o.node.At("subject", "reference").Str(); got != location(2) || got == "" {
		t.Errorf("the observation's subject is %q, want %q", got, location(2))
	}
	if got := o.node.Get("performer").Item(0).Get("reference").Str(); got != "Patient/old" {
		t.Errorf("a reference by condition became %q", got)
	}
	c.want(400, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[
		{"resource":{"resourceType":"Patient","id":"d"},"request":{"method":"PUT","url":"Patient/d"}},
		{"resource":{"resourceType":"Patient","id":"d"},"request":{"method":"PUT","url":"Patient/d"}}]}`)
	c.want(404, "GET", "Patient/d", "")
}

func TestIntegrity(t *testing.T) {
	c := start(t, Options{Integrity: true})
	c.want(422, "PUT", "Observation/o1", weight)
	c.want(201, "PUT", "Patient/p1", `{"resourceType":"Patient","id":"p1"}`)
	c.want(201, "PUT", "Observation/o1", weight)
}

func TestOutcomesDoNotRepeatTheClientsText(t *testing.T) {
	c := start(t, Options{})
	r := c.want(422, "PUT", "Patient/x", `{"resourceType":"Patient","id":"x","Mary Smith":"1","birthDate":"Mary Smith"}`)
	if strings.Contains(r.body, "Mary") {
		t.Errorf("the outcome repeats a value: %s", r.body)
	}
}

func TestGzipBothWays(t *testing.T) {
	c := start(t, Options{})
	note := strings.Repeat("long ", 1000)
	c.want(201, "PUT", "Patient/x", string(pack([]byte(`{"resourceType":"Patient","id":"x","name":[{"text":"`+note+`"}]}`))), "Content-Encoding: gzip")
	r := c.want(200, "GET", "Patient/x", "", "Accept-Encoding: gzip")
	if r.header.Get("Content-Encoding") != "gzip" || len(r.body) > 1000 {
		t.Errorf("not packed: %v, %d bytes", r.header, len(r.body))
	}
	if r := c.want(200, "GET", "Patient/x", ""); !strings.Contains(r.body, strings.TrimSpace(note)) {
		t.Error("the text changed")
	}
}

func TestExamplesComeBackAsTheyWere(t *testing.T) {
	c := start(t, Options{})
	for _, text := range []string{
		weight,
		`{"resourceType":"Patient","id":"o1","meta":{"profile":["http://example.org/p"],"versionId":"9","lastUpdated":"2000-01-01T00:00:00Z"},"contained":[{"resourceType":"Organization","id":"c","name":"é\t\"ü"}],"name":[{"family":"A"}]}`,
		`{"resourceType":"RiskAssessment","id":"o1","status":"final","subject":{"reference":"Patient/x"},"prediction":[{"probabilityDecimal":1.0e-3},{"probabilityDecimal":0.10}]}`,
	} {
		sent, err := fhir.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r := c.want(201, "PUT", sent.ResourceType()+"/o1", text)
		_ = r
		got := c.want(200, "GET", sent.ResourceType()+"/o1", "").node
		want := sent.Clone()
		meta := got.Get("meta").Clone()
		if meta.Get("versionId").Str() != "1" {
			t.Error("the client's versionId was kept")
		}
		meta.Set("versionId", nil).Set("lastUpdated", nil)
		compare := fhir.NewObject(append([]fhir.Member(nil), got.Members...)...)
		if m := want.Get("meta"); m != nil {
			m.Set("versionId", nil).Set("lastUpdated", nil)
			compare.Set("meta", meta)
		} else {
			compare.Set("meta", nil)
		}
		if !want.Equal(compare) {
			t.Errorf("sent %s, got %s", want.AppendCanonical(nil), got.AppendCanonical(nil))
		}
	}
}

func TestFaultSpecifications(t *testing.T) {
	for _, bad := range []string{"429:2", "200", "slow", "slow=fast", "reject", "reject=Colour/1", "reject=Patient/0", "lose=3", "nonsense", "429:retry=1", "lose:type=Colour", "lose:method=FLY", "seed=x", "cut-string=a", "entry", "429:retry-after=1:0.5", "lose:nth=0"} {
		if _, err := parseFaults(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"", "429:0.05:retry-after=1,503:0.02,drop-after-commit:0.01,lose:0.001,cut-string,wrong-id,reject=Patient/3,slow=20ms", "seed=9,entry=503:0.5:type=Patient:method=PUT", "search-lag=10", "search-lag"} {
		if _, err := parseFaults(good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	f, err := parseFaults("lose:0.3,503:0.3")
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for i := range 2000 {
		if f.request("GET")["status"] != nil {
			hits++
		}
		n := name{"Patient", fmt.Sprint(i)}
		first, again := f.write("lose", n), f.write("lose", n)
		if (first == nil) != (again == nil) {
			t.Fatal("a resource's fate changed")
		}
	}
	if hits < 500 || hits > 700 {
		t.Errorf("a probability of 0.3 struck %d of 2000", hits)
	}
}

func TestFaultsOfResources(t *testing.T) {
	c := start(t, Options{Faults: "reject=Group/2,lose:type=Device,cut-string=5:type=Patient,drop-extension:type=Patient,wrong-id:type=Location"})
	group := func(id string) string {
		return `{"resourceType":"Group","id":"` + id + `","type":"person","actual":true}`
	}
	c.want(201, "PUT", "Group/a", group("a"))
	c.want(422, "PUT", "Group/b", group("b"))
	c.want(422, "PUT", "Group/b", group("b"))
	c.want(201, "PUT", "Group/c", group("c"))
	c.want(201, "PUT", "Device/a", `{"resourceType":"Device","id":"a"}`)
	c.want(404, "GET", "Device/a", "")
	c.want(201, "PUT", "Patient/a", `{"resourceType":"Patient","id":"a","extension":[{"url":"http://example.org","valueCode":"x"}],"name":[{"text":"123456789"}]}`)
	if r := c.want(200, "GET", "Patient/a", ""); !strings.Contains(r.body, `"12345"`) || strings.Contains(r.body, "extension") {
		t.Errorf("stored %s", r.body)
	}
	if r := c.want(201, "PUT", "Location/a", `{"resourceType":"Location","id":"a"}`); strings.Contains(r.header.Get("Location"), "/Location/a/") {
		t.Error("the id was kept")
	}
	c.want(404, "GET", "Location/a", "")
}

func TestFaultsOfRequests(t *testing.T) {
	c := start(t, Options{Faults: "429:nth=1:retry-after=7,drop-before:nth=2,drop-after-commit:nth=2,half-answer:nth=3,html:nth=4,hang:nth=6"})
	put := func() result { return c.do("PUT", "Observation/o1", weight) }
	if r := put(); r.status != 429 || r.header.Get("Retry-After") != "7" {
		t.Errorf("first: %d %v", r.status, r.header)
	}
	if r := put(); r.err == nil {
		t.Error("the second request was answered")
	}
	if r := put(); r.err == nil {
		t.Error("the third answer was whole")
	}
	if got := c.s.Writes(); got != 1 {
		t.Errorf("%d writes, want 1", got)
	}
	if r := put(); r.status != 200 || r.node != nil {
		t.Errorf("fourth: %d %s", r.status, r.body)
	}
	if r := put(); r.status != 200 || r.node == nil {
		t.Errorf("fifth: %d", r.status)
	}
	impatient := &http.Client{Timeout: 50 * time.Millisecond}
	if _, err := impatient.Get(c.base + "/Observation/o1"); err == nil {
		t.Error("the sixth request was answered")
	}
}

func TestCapabilityStatementIsJSON(t *testing.T) {
	c := start(t, Options{})
	var any map[string]any
	if err := json.Unmarshal([]byte(c.want(200, "GET", "metadata", "").body), &any); err != nil {
		t.Fatal(err)
	}
}
