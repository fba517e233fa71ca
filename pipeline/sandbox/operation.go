package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// interaction is what a request wants, in the words of http.html.
type interaction uint8

const (
	read interaction = iota
	vread
	history
	search
	create
	update
	remove
)

// operation is one interaction, on its own or an entry of a Bundle.
type operation struct {
	interaction interaction
	method      string
	name               // id "" for create, search and conditional update
	version     string // of vread
	query       url.Values
	body        *fhir.Node
	fullURL     string // of a transaction's entry
	among       bool   // of a transaction: what it refers to may come with a later entry
	drafted     *draft // body under the name, ready to be stored
	chosen      bool   // of an update: the server has chosen the id, because the condition matches nothing
	known       string // of a create: what the client knows the resource by; "" if it says nothing

	ifMatch, ifNoneMatch, ifNoneExist string

	base    string // URL of the server as the client knows it
	lenient bool
}

// writes tells whether the operation may change something.
func (o *operation) writes() bool {
	return o.interaction == create || o.interaction == update || o.interaction == remove
}

// answer is what became of an operation.
type answer struct {
	status  int
	name    name     // of the resource that the answer is about; zero if it is about none
	version *version // of that resource; nil if it has none
	body    []byte   // a resource or Bundle as JSON; nil if there is none
	issues  []problem
}

func refuse(status int, code r4.IssueType, text string, path ...string) *answer {
	p := problem{code: code, text: text}
	if len(path) > 0 {
		p.path = path[0]
	}
	return &answer{status: status, issues: []problem{p}}
}

// parseOperation understands a method and a URL relative to the base: Patient/x, Patient?name=… A nil operation comes
// with the answer that says why.
func parseOperation(method, path, rawQuery string) (*operation, *answer) {
	o := &operation{method: method}
	var err error
	if o.query, err = url.ParseQuery(rawQuery); err != nil {
		return nil, refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the query cannot be read")
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	o.typ = parts[0]
	if t := fhir.Lookup(o.typ); t == nil || t.Kind != fhir.KindResource || t.Abstract {
		return nil, refuse(http.StatusNotFound, r4.IssueTypeNotSupported, "no type of resource that R4 has")
	}
	if len(parts) > 1 && parts[1] != "_search" {
		if o.id = parts[1]; !fhir.ValidID(o.id) {
			return nil, refuse(http.StatusBadRequest, r4.IssueTypeValue, "not of the form of an id")
		}
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch shape := method + " " + strconv.Itoa(len(parts)); {
	case shape == "GET 1", len(parts) == 2 && parts[1] == "_search" && (method == http.MethodPost || method == http.MethodGet):
		o.interaction = search
	case shape == "POST 1":
		o.interaction = create
	case shape == "PUT 1" && rawQuery != "", shape == "PUT 2":
		o.interaction = update
	case shape == "DELETE 2":
		o.interaction = remove
	case shape == "GET 2":
		o.interaction = read
	case shape == "GET 3" && parts[2] == "_history":
		o.interaction = history
	case shape == "GET 4" && parts[2] == "_history":
		o.interaction, o.version = vread, parts[3]
	default:
		return nil, refuse(http.StatusMethodNotAllowed, r4.IssueTypeNotSupported, "the sandbox does not do this")
	}
	return o, nil
}

// conditions sets the conditions of the operation, as headers or a Bundle's entry state them, and its body.
func (o *operation) conditions(ifMatch, ifNoneMatch, ifNoneExist string, body *fhir.Node) {
	o.ifMatch, o.ifNoneMatch, o.ifNoneExist, o.body = ifMatch, ifNoneMatch, ifNoneExist, body
	if o.interaction != create || body == nil {
		return
	}
	if o.known = ifNoneExist; o.known == "" {
		forIdentifiers(body, func(system, value string) {
			if o.known == "" {
				o.known = system + "|" + value
			}
		})
	}
}

// fate is the name by which the faults of resources that are written remember a resource: its own, or, where each create
// gets another id, what the client knows it by.
func (o *operation) fate(called name) name {
	if o.known != "" {
		return name{called.typ, o.known}
	}
	return called
}

// prepare checks the body of a write, before anyone has to wait. Nil: it may go on.
func (o *operation) prepare() *answer {
	if o.interaction != create && o.interaction != update {
		return nil
	}
	if o.body == nil || o.body.Kind != fhir.Object {
		return refuse(http.StatusBadRequest, r4.IssueTypeStructure, "the body is not a resource")
	}
	if o.body.ResourceType() != o.typ {
		return refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the resource's type is not the one of the URL", o.typ)
	}
	if o.interaction == update && o.id != "" && o.body.ID() != o.id {
		return refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the resource's id is not the one of the URL", o.typ+".id")
	}
	if problems := check(o.body, o.typ); len(problems) > 0 {
		return &answer{status: http.StatusUnprocessableEntity, issues: problems}
	}
	if o.id != "" {
		o.drafted = newDraft(o.body, o.name)
	}
	return nil
}

// outcome is the answer's issues as an OperationOutcome; nil if there are none.
func (a *answer) outcome() []byte {
	if len(a.issues) == 0 {
		return nil
	}
	var o r4.OperationOutcome
	for _, p := range a.issues {
		issue := fhir.NewIssue(r4.IssueSeverityError, p.code, p.text)
		if p.path != "" {
			issue.Expression = []string{p.path}
		}
		o.Issue = append(o.Issue, issue)
	}
	text, err := fhir.AppendDocument(nil, o)
	if err != nil {
		return []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception"}]}`)
	}
	return text
}

// location is where the answer's resource can be found, relative to the base, with its version if it has one.
func (a *answer) location() string {
	if a.name.typ == "" {
		return ""
	}
	if a.version == nil {
		return a.name.String()
	}
	return a.name.String() + "/_history/" + strconv.FormatUint(uint64(a.version.number), 10)
}

// rewrite returns the value with its strings changed: f says what a string becomes, given the name of its element.
// Nothing is changed in place.
func rewrite(n *fhir.Node, f func(member, text string) string) *fhir.Node {
	return rewriteMember("", n, f)
}

func rewriteMember(member string, n *fhir.Node, f func(member, text string) string) *fhir.Node {
	switch n.Kind {
	case fhir.String:
		if text := f(member, n.Text); text != n.Text {
			return fhir.NewString(text)
		}
	case fhir.Array:
		for i, item := range n.Items {
			if changed := rewriteMember(member, item, f); changed != item {
				list := slices.Clone(n.Items[:i])
				list = append(list, changed)
				for _, rest := range n.Items[i+1:] {
					list = append(list, rewriteMember(member, rest, f))
				}
				return fhir.NewArray(list...)
			}
		}
	case fhir.Object:
		for i := range n.Members {
			m := n.Members[i]
			if changed := rewriteMember(m.Name, m.Value, f); changed != m.Value {
				members := slices.Clone(n.Members)
				members[i].Value = changed
				for j := i + 1; j < len(members); j++ {
					members[j].Value = rewriteMember(members[j].Name, members[j].Value, f)
				}
				return fhir.NewObject(members...)
			}
		}
	}
	return n
}
