package fhir

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// Request says what is to be done with an entry of a batch or transaction (http.html#transaction).
type Request struct {
	Method string // GET, HEAD, POST, PUT, DELETE or PATCH
	URL    string // relative to the server's base: Patient/x

	IfMatch     string // W/"3": only if this is the current version
	IfNoneMatch string // * : only if there is none
	IfNoneExist string // a search: create only if it finds nothing

	FullURL string // urn:uuid:… or absolute: how other entries refer to this one; "" if they do not
}

// PutRequest writes the resource under its id, whether or not the server has it.
func PutRequest(typ, id string) Request { return Request{Method: "PUT", URL: typ + "/" + id} }

// PostRequest makes a new resource, whose id the server chooses.
func PostRequest(typ string) Request { return Request{Method: "POST", URL: typ} }

// GetRequest reads: a resource (Patient/x), a version of it, or a search.
func GetRequest(url string) Request { return Request{Method: "GET", URL: url} }

// DeleteRequest deletes the resource.
func DeleteRequest(typ, id string) Request { return Request{Method: "DELETE", URL: typ + "/" + id} }

// Response says what became of an entry of a batch or transaction.
type Response struct {
	Status       int     // HTTP status; 0 if the server's text does not begin with one
	Location     string  // Patient/x/_history/3
	ETag         string  // W/"3"
	LastModified string  // an instant
	Issues       []Issue // of the outcome, as [OutcomeIssues] returns them
}

// Target is what the location names: type, id and version, "" for what it does not.
func (r Response) Target() (typ, id, version string) { return SplitLocation(r.Location) }

// Version is the version that the ETag or else the location names; "" if neither does.
func (r Response) Version() string {
	if v := ETagVersion(r.ETag); v != "" {
		return v
	}
	_, _, version := r.Target()
	return version
}

// VersionETag is the ETag of a version, as If-Match has it: W/"3".
func VersionETag(version string) string { return `W/"` + version + `"` }

// ETagVersion is the version in an ETag of FHIR's: 3 in W/"3". "" for other forms.
func ETagVersion(etag string) string {
	v, ok := strings.CutPrefix(strings.TrimPrefix(etag, "W/"), `"`)
	if !ok {
		return ""
	}
	if v, ok = strings.CutSuffix(v, `"`); !ok || !ValidID(v) {
		return ""
	}
	return v
}

// SplitLocation takes apart a URL of a resource, absolute or relative: [base/]Patient/x[/_history/3]. What it does not
// have, or what is not a type of R4 or not an id, is "".
func SplitLocation(url string) (typ, id, version string) {
	parts := strings.Split(strings.TrimSuffix(url, "/"), "/")
	if n := len(parts); n >= 4 && parts[n-2] == "_history" {
		if version = parts[n-1]; !ValidID(version) {
			return "", "", ""
		}
		parts = parts[:n-2]
	}
	n := len(parts)
	if n < 2 || !ValidID(parts[n-1]) {
		return "", "", ""
	}
	if t := Lookup(parts[n-2]); t == nil || t.Kind != KindResource || t.Abstract {
		return "", "", ""
	}
	return parts[n-2], parts[n-1], version
}

// Link is a link of a Bundle: self, next.
type Link struct{ Relation, URL string }

// BundleHead is what a Bundle has besides its type and entries.
type BundleHead struct {
	ID        string
	Timestamp string // an instant, or ""
	Total     *int   // of a searchset or history: how many there are on all pages; nil: not said
	Links     []Link
}

// BundleWriter writes a Bundle, entry by entry, into memory. The resources are put in as they are and never decoded:
// they must be JSON. A fault is kept and comes out of [BundleWriter.Close]. Not for concurrent use.
type BundleWriter struct {
	buf     []byte
	entries int
	err     error
}

// NewBundle begins a Bundle behind what dst holds.
func NewBundle(dst []byte, typ r4.BundleType, head BundleHead) *BundleWriter {
	w := &BundleWriter{buf: append(dst, `{"resourceType":"Bundle"`...)}
	w.member("id", head.ID)
	w.member("type", typ.Code())
	w.member("timestamp", head.Timestamp)
	if head.Total != nil {
		w.buf = append(w.buf, `,"total":`...)
		w.buf = strconv.AppendInt(w.buf, int64(*head.Total), 10)
	}
	for i, link := range head.Links {
		w.buf = append(w.buf, separator(i, `,"link":[`)...)
		w.buf = append(w.buf, `{"relation":`...)
		w.buf = AppendString(w.buf, link.Relation)
		w.member("url", link.URL)
		w.buf = append(w.buf, '}')
	}
	if len(head.Links) > 0 {
		w.buf = append(w.buf, ']')
	}
	return w
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

// member writes `,"name":"text"` unless the text is empty.
func (w *BundleWriter) member(name, text string) {
	if text != "" {
		w.buf = append(w.buf, ',', '"')
		w.buf = append(w.buf, name...)
		w.buf = append(w.buf, '"', ':')
		w.buf = AppendString(w.buf, text)
	}
}

// Len is the number of bytes so far, with what dst held.
func (w *BundleWriter) Len() int { return len(w.buf) }

// Entries is the number of entries so far.
func (w *BundleWriter) Entries() int { return w.entries }

// begin writes `{` and the full URL and the resource of an entry, each if there is one, and returns the separator for
// what follows.
func (w *BundleWriter) begin(fullURL string, resource []byte) (next string) {
	w.buf = append(w.buf, separator(w.entries, `,"entry":[`)...)
	w.entries++
	w.buf = append(w.buf, '{')
	if fullURL != "" {
		w.buf = append(w.buf, `"fullUrl":`...)
		w.buf = AppendString(w.buf, fullURL)
		next = ","
	}
	if len(resource) > 0 {
		w.buf = append(w.buf, next...)
		w.buf = append(w.buf, `"resource":`...)
		w.buf = append(w.buf, resource...)
		next = ","
	}
	return next
}

// Request adds an entry of a batch or transaction. The resource is nil for GET and DELETE.
func (w *BundleWriter) Request(r Request, resource []byte) {
	switch r.Method {
	case "GET", "HEAD", "DELETE", "POST", "PUT", "PATCH":
	default:
		w.fault("entry %d: the request has no method of HTTP", w.entries)
	}
	if r.URL == "" {
		w.fault("entry %d: the request has no URL", w.entries)
	}
	next := w.begin(r.FullURL, resource)
	w.buf = append(w.buf, next...)
	w.buf = append(w.buf, `"request":{"method":`...)
	w.buf = AppendString(w.buf, r.Method)
	w.member("url", r.URL)
	w.member("ifNoneMatch", r.IfNoneMatch)
	w.member("ifMatch", r.IfMatch)
	w.member("ifNoneExist", r.IfNoneExist)
	w.buf = append(w.buf, '}', '}')
}

// Response adds an entry of a batch-response or transaction-response. The outcome is an OperationOutcome as JSON, or
// nil; r.Issues is not looked at.
func (w *BundleWriter) Response(r Response, fullURL string, resource, outcome []byte) {
	if r.Status < 100 || r.Status > 599 {
		w.fault("entry %d: the response has no status of HTTP", w.entries)
	}
	next := w.begin(fullURL, resource)
	w.buf = append(w.buf, next...)
	w.buf = append(w.buf, `"response":{"status":`...)
	w.buf = AppendString(w.buf, strconv.Itoa(r.Status))
	w.member("location", r.Location)
	w.member("etag", r.ETag)
	w.member("lastModified", r.LastModified)
	if len(outcome) > 0 {
		w.buf = append(w.buf, `,"outcome":`...)
		w.buf = append(w.buf, outcome...)
	}
	w.buf = append(w.buf, '}', '}')
}

// Found adds an entry of a searchset, which either matched or is there because another one was to include it.
func (w *BundleWriter) Found(fullURL string, resource []byte, mode r4.SearchEntryMode) {
	next := w.begin(fullURL, resource)
	w.buf = append(w.buf, next...)
	w.buf = append(w.buf, `"search":{"mode":`...)
	w.buf = AppendString(w.buf, mode.Code())
	w.buf = append(w.buf, '}', '}')
}

// Version adds an entry of a history: one version of a resource, what made it, and what the server said then. The
// resource is nil for a deletion.
func (w *BundleWriter) Version(fullURL string, resource []byte, q Request, r Response) {
	next := w.begin(fullURL, resource)
	w.buf = append(w.buf, next...)
	w.buf = append(w.buf, `"request":{"method":`...)
	w.buf = AppendString(w.buf, q.Method)
	w.member("url", q.URL)
	w.buf = append(w.buf, `},"response":{"status":`...)
	w.buf = AppendString(w.buf, strconv.Itoa(r.Status))
	w.member("etag", r.ETag)
	w.member("lastModified", r.LastModified)
	w.buf = append(w.buf, '}', '}')
}

func (w *BundleWriter) fault(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("write bundle: "+format, args...)
	}
}

// Close ends the Bundle and returns the bytes, dst's first, or the first fault.
func (w *BundleWriter) Close() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.entries > 0 {
		w.buf = append(w.buf, ']')
	}
	return append(w.buf, '}'), nil
}

// Bundle is a Bundle as it was read.
type Bundle struct {
	Type    string
	Total   int // -1 if it does not say
	Links   []Link
	Entries []Entry
}

// Entry is an entry of a Bundle as it was read.
type Entry struct {
	FullURL  string
	Resource *Node     // nil if there is none
	Mode     string    // of a searchset: match, include, outcome; "" elsewhere
	Request  *Request  // nil if there is none
	Response *Response // nil if there is none
}

// Link is the URL of the link with the relation (self, next); "" if there is none.
func (b *Bundle) Link(relation string) string {
	for _, link := range b.Links {
		if link.Relation == relation {
			return link.URL
		}
	}
	return ""
}

var errNoBundle = errors.New("read bundle: the body is not a Bundle")

// ReadBundle reads a Bundle of any type. An error says that the body is none; it holds nothing of the body. Bundles are
// read without the R4 models, which refuse the whole for one unknown code and cannot keep the resources as they are.
func ReadBundle(body []byte) (*Bundle, error) {
	n, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if n.ResourceType() != "Bundle" {
		return nil, errNoBundle
	}
	b := &Bundle{Type: n.Get("type").Str(), Total: -1}
	if total := n.Get("total"); total != nil && total.Kind == Number {
		if b.Total, err = strconv.Atoi(total.Text); err != nil || b.Total < 0 {
			b.Total = -1
		}
	}
	if links := n.Get("link"); links != nil {
		for _, link := range links.Items {
			b.Links = append(b.Links, Link{Relation: link.Get("relation").Str(), URL: link.Get("url").Str()})
		}
	}
	entries := n.Get("entry")
	if entries == nil {
		return b, nil
	}
	if entries.Kind != Array {
		return nil, errNoBundle
	}
	b.Entries = make([]Entry, len(entries.Items))
	for i, item := range entries.Items {
		if item.Kind != Object {
			return nil, errNoBundle
		}
		b.Entries[i] = readEntry(item)
	}
	return b, nil
}

func readEntry(n *Node) Entry {
	e := Entry{FullURL: n.Get("fullUrl").Str(), Mode: n.At("search", "mode").Str()}
	if resource := n.Get("resource"); resource != nil && resource.Kind == Object {
		e.Resource = resource
	}
	if q := n.Get("request"); q != nil {
		e.Request = &Request{
			Method: q.Get("method").Str(), URL: q.Get("url").Str(), FullURL: e.FullURL,
			IfMatch: q.Get("ifMatch").Str(), IfNoneMatch: q.Get("ifNoneMatch").Str(), IfNoneExist: q.Get("ifNoneExist").Str(),
		}
	}
	if r := n.Get("response"); r != nil {
		e.Response = &Response{
			Status: leadingStatus(r.Get("status").Str()), Location: r.Get("location").Str(), ETag: r.Get("etag").Str(),
			LastModified: r.Get("lastModified").Str(), Issues: OutcomeIssues(r.Get("outcome")),
		}
	}
	return e
}

// leadingStatus reads the three digits with which the status of an entry begins: "201 Created".
func leadingStatus(s string) int {
	code, _, _ := strings.Cut(s, " ")
	status, err := strconv.Atoi(code)
	if err != nil || status < 100 || status > 599 {
		return 0
	}
	return status
}
