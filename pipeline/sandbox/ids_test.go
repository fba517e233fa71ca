package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const nameless = `{"resourceType":"Patient","meta":{"tag":[{"system":"urn:key","code":"%[1]s"}]},"identifier":[{"system":"urn:mrn","value":"%[1]s"}]}`

// location is the resource that an answer says it is about: Type/id/_history/version.
func (c *client) location(r result) string {
	c.t.Helper()
	location, ok := strings.CutPrefix(r.header.Get("Location"), c.base+"/")
	if !ok {
		c.t.Fatalf("Location is %q", r.header.Get("Location"))
	}
	return location
}

func TestServerGivesIDs(t *testing.T) {
	c := start(t, Options{ServerIDs: true})
	r := c.want(405, "PUT", "Patient/mine", `{"resourceType":"Patient","id":"mine"}`)
	if r.node.ResourceType() != "OperationOutcome" || r.header.Get("ETag") != "" {
		t.Errorf("refused with %v %s", r.header, r.body)
	}
	c.want(405, "PUT", "Patient/mine", `{"resourceType":"Patient","id":"mine"}`, `If-Match: W/"1"`)
	if got := c.s.Writes(); got != 0 {
		t.Errorf("a refused update made %d versions", got)
	}
	r = c.want(201, "POST", "Patient", `{"resourceType":"Patient","id":"mine"}`)
	if got := c.location(r); got != "Patient/s-000001/_history/1" || r.header.Get("ETag") != `W/"1"` || r.node.ID() != "s-000001" {
		t.Errorf("created as %s, %v: %s", got, r.header, r.body)
	}
	if got := c.location(c.want(201, "POST", "Patient", `{"resourceType":"Patient"}`)); got != "Patient/s-000002/_history/1" {
		t.Errorf("the second patient is %s", got)
	}
	if got := c.location(c.want(201, "POST", "Observation", weight)); got != "Observation/s-000001/_history/1" {
		t.Errorf("the first observation is %s: ids are counted by type", got)
	}

	// Updates on condition: under an id of the server's if nothing matches, never under the client's.
	tagged := fmt.Sprintf(nameless, "k")
	if got := c.location(c.want(201, "PUT", "Patient?identifier=urn:mrn|k", tagged)); got != "Patient/s-000003/_history/1" {
		t.Errorf("a conditional update made %s", got)
	}
	if got := c.location(c.want(200, "PUT", "Patient?identifier=urn:mrn|k", tagged)); got != "Patient/s-000003/_history/2" {
		t.Errorf("a conditional update changed %s", got)
	}
	c.want(405, "PUT", "Patient?identifier=urn:mrn|l", strings.Replace(tagged, `"meta"`, `"id":"mine","meta"`, 1))

	r = c.want(200, "GET", "metadata", "")
	for _, resource := range r.node.Get("rest").Item(0).Get("resource").Items {
		if got := resource.Get("updateCreate"); got == nil || got.Text != "false" {
			t.Fatalf("%s: updateCreate is not false", resource.Get("type").Str())
		}
	}
	if got := start(t, Options{}).want(200, "GET", "metadata", "").node.Get("rest").Item(0).Get("resource").Item(0).Get("updateCreate"); got.Text != "true" {
		t.Errorf("clients may choose ids, and updateCreate is %s", got.Text)
	}
}

func TestServerGivesIDsInBundles(t *testing.T) {
	for _, typ := range []string{"batch", "transaction"} {
		c := start(t, Options{ServerIDs: true})
		bundle := `{"resourceType":"Bundle","type":"` + typ + `","entry":[
			{"resource":` + fmt.Sprintf(nameless, "1") + `,"request":{"method":"POST","url":"Patient","ifNoneExist":"_tag=urn:key|1"}},
			{"resource":` + fmt.Sprintf(nameless, "2") + `,"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=urn:mrn|2"}},
			{"resource":` + weight + `,"request":{"method":"POST","url":"Observation"}}]}`
		statuses := func(r result) string {
			var all []string
			for _, e := range r.node.Get("entry").Items {
				response := e.Get("response")
				all = append(all, response.Get("status").Str()[:3], response.Get("location").Str(), response.Get("etag").Str())
			}
			return strings.Join(all, " ")
		}
		got := statuses(c.want(200, "POST", "", bundle))
		if want := `201 Patient/s-000001/_history/1 W/"1" 201 Patient/s-000002/_history/1 W/"1" 201 Observation/s-000001/_history/1 W/"1"`; got != want {
			t.Errorf("%s: %s, want %s", typ, got, want)
		}
		// Sent again: what has a condition is there, what has none is made once more.
		got = statuses(c.want(200, "POST", "", bundle))
		if want := `200 Patient/s-000001/_history/1 W/"1" 200 Patient/s-000002/_history/1 W/"1" 201 Observation/s-000002/_history/1 W/"1"`; got != want {
			t.Errorf("%s again: %s, want %s", typ, got, want)
		}
		put := `{"resourceType":"Bundle","type":"` + typ + `","entry":[{"resource":{"resourceType":"Patient","id":"mine"},"request":{"method":"PUT","url":"Patient/mine"}}]}`
		if typ == "transaction" {
			c.want(405, "POST", "", put)
		} else if got := statuses(c.want(200, "POST", "", put)); got != "405  " {
			t.Errorf("a PUT to a new id in a batch: %s", got)
		}
		c.want(404, "GET", "Patient/mine", "")
	}
}

// TestUndoneIDsAreGivenAgain: a transaction that failed leaves no gap, so that ids depend on what is stored alone.
func TestUndoneIDsAreGivenAgain(t *testing.T) {
	c := start(t, Options{ServerIDs: true})
	for _, second := range []string{
		`{"resource":{"resourceType":"Patient","colour":"red"},"request":{"method":"POST","url":"Patient"}}`,
		`{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient","ifNoneExist":"colour=red"}}`,
	} {
		r := c.do("POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},`+second+`]}`)
		if r.status < 400 {
			t.Fatalf("status %d: %s", r.status, r.body)
		}
	}
	if got := c.location(c.want(201, "POST", "Patient", `{"resourceType":"Patient"}`)); got != "Patient/s-000001/_history/1" {
		t.Errorf("the first patient is %s", got)
	}
}

// TestAnUndoneCreateIsFoundOnce: what a transaction entered in the indexes before it failed is not a second match.
func TestAnUndoneCreateIsFoundOnce(t *testing.T) {
	c := start(t, Options{})
	observation := func(id string) string {
		return `{"resource":` + strings.Replace(weight, `"o1"`, `"`+id+`"`, 1) + `,"request":{"method":"PUT","url":"Observation/` + id + `"}}`
	}
	c.want(422, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[`+observation("a")+`,{"resource":{"resourceType":"Patient","id":"x","colour":"red"},"request":{"method":"PUT","url":"Patient/x"}}]}`)
	for _, id := range []string{"b", "a"} {
		c.want(201, "PUT", "Observation/"+id, strings.Replace(weight, `"o1"`, `"`+id+`"`, 1))
	}
	if got := strings.Join(c.ids("Observation?patient=p1"), " "); got != "a b" && got != "b a" {
		t.Errorf("the patient has the observations %s", got)
	}
}

// TestReferencesWithinATransaction: http.html#trules and bundle.html#references.
func TestReferencesWithinATransaction(t *testing.T) {
	for _, serverIDs := range []bool{false, true} {
		c := start(t, Options{ServerIDs: serverIDs})
		r := c.want(200, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[
			{"fullUrl":"http://old.example.org/Observation/9","resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},
				"identifier":[{"system":"urn:ietf:rfc:3986","value":"urn:uuid:2"}],
				"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"urn:uuid:2\">urn:uuid:2</a></div>"},
				"extension":[{"url":"http://example.org/x","valueUri":"urn:uuid:2"}],
				"subject":{"reference":"urn:uuid:2"},"device":{"reference":"Device/7"},"encounter":{"reference":"Encounter/gone"},
				"performer":[{"reference":"urn:uuid:elsewhere"}]},"request":{"method":"POST","url":"Observation"}},
			{"fullUrl":"http://old.example.org/Device/7","resource":{"resourceType":"Device"},"request":{"method":"POST","url":"Device"}},
			{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Patient","link":[{"type":"seealso","other":{"reference":"urn:uuid:2#a"}}]},"request":{"method":"POST","url":"Patient"}}]}`)
		location := func(i int) string {
			return strings.TrimSuffix(r.node.Get("entry").Item(i).At("response", "location").Str(), "/_history/1")
		}
		o := c.want(200, "GET", location(0), "").node
		for _, test := range []struct{ what, got, want string }{
			{"a URN", o.At("subject", "reference").Str(), location(2)},
			{"a URN as a uri", o.Get("extension").Item(0).Get("valueUri").Str(), location(2)},
			{"a relative reference beside a RESTful fullUrl", o.At("device", "reference").Str(), location(1)},
			{"a reference to nothing here", o.At("encounter", "reference").Str(), "Encounter/gone"},
			{"a URN of nothing here", o.Get("performer").Item(0).Get("reference").Str(), "urn:uuid:elsewhere"},
			{"an identifier", o.Get("identifier").Item(0).Get("value").Str(), "urn:uuid:2"},
			{"a narrative", o.At("text", "div").Str(), `<div xmlns="http://www.w3.org/1999/xhtml"><a href="` + location(2) + `">urn:uuid:2</a></div>`},
			{"a URN with a fragment", c.want(200, "GET", location(2), "").node.Get("link").Item(0).At("other", "reference").Str(), location(2) + "#a"},
		} {
			if test.got != test.want {
				t.Errorf("server gives ids: %t: %s became %q, want %q", serverIDs, test.what, test.got, test.want)
			}
		}
	}
	// Whether a reference points at something is asked when all is done: two may refer to each other.
	c := start(t, Options{ServerIDs: true, Integrity: true})
	c.want(422, "POST", "Observation", weight)
	pair := `{"resourceType":"Bundle","type":"transaction","entry":[
		{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","link":[{"type":"seealso","other":{"reference":"urn:uuid:2"}}]},"request":{"method":"POST","url":"Patient"}},
		{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Patient","link":[{"type":"seealso","other":{"reference":"urn:uuid:1"}}]},"request":{"method":"POST","url":"Patient"}}]}`
	r := c.want(422, "POST", "", strings.Replace(pair, `"reference":"urn:uuid:1"`, `"reference":"Patient/gone"`, 1))
	if got := r.node.Get("issue").Item(0).Get("expression").Item(0).Str(); got != "Bundle.entry[1].resource" {
		t.Errorf("the dangling reference is at %q", got)
	}
	if got := c.ids("Patient"); len(got) != 0 {
		t.Errorf("stored nevertheless: %v", got)
	}
	c.want(200, "POST", "", pair)
	if got := strings.Join(c.ids("Patient"), " "); got != "s-000001 s-000002" {
		t.Errorf("the pair is %s", got)
	}
	// What a conditional create brings and does not store is not looked at.
	c.want(200, "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","link":[{"type":"seealso",
		"other":{"reference":"Patient/gone"}}]},"request":{"method":"POST","url":"Patient","ifNoneExist":"_id=s-000001"}}]}`)
}

// TestIfMatch: a write with a version that is not the current one, or of a resource that was deleted, changes nothing,
// alone or in a Bundle; and versions count on over a deletion.
func TestIfMatch(t *testing.T) {
	for _, serverIDs := range []bool{false, true} {
		c := start(t, Options{ServerIDs: serverIDs})
		path := "Patient/s-000001"
		patient := `{"resourceType":"Patient","id":"s-000001"}`
		if serverIDs {
			c.want(201, "POST", "Patient", patient)
		} else {
			c.want(201, "PUT", path, patient)
		}
		entry := func(typ, method, etag string) result {
			return c.do("POST", "", `{"resourceType":"Bundle","type":"`+typ+`","entry":[{`+map[string]string{"PUT": `"resource":` + patient + `,`}[method]+
				`"request":{"method":"`+method+`","url":"`+path+`","ifMatch":"`+strings.ReplaceAll(etag, `"`, `\"`)+`"}}]}`)
		}
		refused := func(when, etag string) {
			t.Helper()
			was := c.s.Writes()
			for _, method := range []string{"PUT", "DELETE"} {
				c.want(412, method, path, map[string]string{"PUT": patient}[method], "If-Match: "+etag)
				if r := entry("batch", method, etag); r.node.Get("entry").Item(0).At("response", "status").Str()[:3] != "412" {
					t.Errorf("%s: %s in a batch: %s", when, method, r.body)
				}
				if r := entry("transaction", method, etag); r.status != 412 {
					t.Errorf("%s: %s in a transaction: %d %s", when, method, r.status, r.body)
				}
			}
			if c.s.Writes() != was {
				t.Errorf("%s: something was written", when)
			}
		}
		r := c.want(200, "PUT", path, patient, `If-Match: W/"1"`)
		if got := c.location(r); got != path+"/_history/2" || r.header.Get("ETag") != `W/"2"` {
			t.Errorf("updated to %s, %v", got, r.header)
		}
		refused("stale", `W/"1"`)
		refused("not an entity tag", `2`)
		if r := entry("batch", "PUT", `W/"2"`); r.node.Get("entry").Item(0).At("response", "etag").Str() != `W/"3"` {
			t.Errorf("a fitting version in a batch: %s", r.body)
		}
		r = c.want(204, "DELETE", path, "", `If-Match: W/"3"`)
		if r.header.Get("ETag") != `W/"4"` {
			t.Errorf("deleted with %v", r.header)
		}
		refused("deleted", `W/"3"`)
		refused("deleted, the deletion's own version", `W/"4"`)
		r = c.want(410, "GET", path, "")
		if r.header.Get("ETag") != `W/"4"` || r.node.ResourceType() != "OperationOutcome" {
			t.Errorf("gone with %v %s", r.header, r.body)
		}
		// A PUT without a condition brings a deleted resource back (http.html#delete), also where the server gives ids.
		if got := c.location(c.want(201, "PUT", path, patient)); got != path+"/_history/5" {
			t.Errorf("made again as %s", got)
		}
		r = c.want(200, "GET", path, "")
		if r.header.Get("ETag") != `W/"5"` || r.header.Get("Last-Modified") == "" || r.header.Get("Content-Location") != c.base+"/"+path+"/_history/5" {
			t.Errorf("read with %v", r.header)
		}
		var got []string
		for _, e := range c.want(200, "GET", path+"/_history", "").node.Get("entry").Items {
			request, response := e.Get("request"), e.Get("response")
			got = append(got, fmt.Sprint(request.Get("method").Str(), " ", request.Get("url").Str(), " ", response.Get("status").Str()[:3], " ",
				response.Get("etag").Str(), " ", e.Get("resource") != nil, " ", response.Get("lastModified").Str() != ""))
		}
		first := "PUT " + path
		if serverIDs {
			first = "POST Patient"
		}
		want := []string{"PUT " + path + ` 201 W/"5" true true`, "DELETE " + path + ` 204 W/"4" false true`,
			"PUT " + path + ` 200 W/"3" true true`, "PUT " + path + ` 200 W/"2" true true`, first + ` 201 W/"1" true true`}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("history:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestTags: a search by tag follows the current version alone.
func TestTags(t *testing.T) {
	c := start(t, Options{})
	tagged := func(id string, tags ...string) {
		var list []string
		for _, tag := range tags {
			system, code, _ := strings.Cut(tag, "|")
			list = append(list, `{"system":"`+system+`","code":"`+code+`"}`)
		}
		meta := ""
		if len(list) > 0 {
			meta = `"meta":{"tag":[` + strings.Join(list, ",") + `]},`
		}
		c.do("PUT", "Patient/"+id, `{"resourceType":"Patient",`+meta+`"id":"`+id+`"}`)
	}
	tagged("a", "urn:m|1")
	tagged("b", "urn:m|1", "urn:n|1")
	tagged("c", "urn:m|1")
	tagged("b", "urn:n|2")
	tagged("a", "urn:m|1", "urn:n|2")
	tagged("c")
	tagged("c", "urn:m|1")
	c.want(201, "PUT", "Group/g", `{"resourceType":"Group","id":"g","meta":{"tag":[{"system":"urn:m","code":"1"}]},"type":"person","actual":true}`)
	for _, test := range []struct{ query, want string }{
		{"_tag=urn:m|1", "a c"}, {"_tag=1", "a c"}, {"_tag=urn:n|1", ""}, {"_tag=urn:n|2", "b a"}, {"_tag=urn:n|", "a b"},
		{"_tag=urn:m|1,urn:n|2", "a b c"}, {"_tag=urn:m|1&_tag=urn:n|2", "a"}, {"_tag=urn:m|1&_count=1", "a c"},
	} {
		if got := strings.Join(c.ids("Patient?"+test.query), " "); got != test.want {
			t.Errorf("%s finds %q, want %q", test.query, got, test.want)
		}
	}
}

func TestStoreRemembersWhoGivesIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	c := start(t, Options{Store: path, ServerIDs: true})
	for i := range 3 {
		c.want(201, "POST", "Patient", fmt.Sprintf(nameless, fmt.Sprint(i)))
	}
	c.want(204, "DELETE", "Patient/s-000003", "")
	want := content(t, c.s)
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Store: path}); err == nil || !strings.Contains(err.Error(), "--ids server") {
		t.Errorf("opened under the other rule: %v", err)
	}
	c = start(t, Options{Store: path, ServerIDs: true})
	if got := content(t, c.s); got != want {
		t.Errorf("read again:\n%s\nwant:\n%s", got, want)
	}
	if got := c.location(c.want(201, "POST", "Patient", `{"resourceType":"Patient"}`)); got != "Patient/s-000004/_history/1" {
		t.Errorf("after opening again the next patient is %s: a deleted one's id was given again", got)
	}
	c.want(200, "POST", "Patient", fmt.Sprintf(nameless, "0"), "If-None-Exist: _tag=urn:key|0")

	path = filepath.Join(t.TempDir(), "store")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Store: path, ServerIDs: true}); err == nil || !strings.Contains(err.Error(), "--ids client") {
		t.Errorf("opened under the other rule: %v", err)
	}
}

// TestFatesOfCreates: where each create gets another id, a resource that is sent again meets the same fault.
func TestFatesOfCreates(t *testing.T) {
	c := start(t, Options{ServerIDs: true, Faults: "reject=Patient/2,lose:nth=2"})
	post := func(i int) int {
		return c.do("POST", "Patient", fmt.Sprintf(nameless, fmt.Sprint(i)), fmt.Sprintf("If-None-Exist: identifier=urn:mrn|%d", i)).status
	}
	var got []int
	for range 2 {
		for i := 1; i <= 3; i++ {
			got = append(got, post(i))
		}
	}
	if want := "[201 422 201 200 422 201]"; fmt.Sprint(got) != want {
		t.Errorf("statuses %v, want %s", got, want)
	}
	if got := c.ids("Patient"); len(got) != 1 {
		t.Errorf("stored: %v", got)
	}
}
