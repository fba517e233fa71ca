package sandbox

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// exchange is one request and its answer.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	struck map[string]*fault
	status int // as answered; 0 if the connection was broken off
	bytes  int
}

// base is the server's URL as the client knows it.
func (x *exchange) base() string {
	scheme := "http"
	if x.r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + x.r.Host + BasePath
}

// prefers tells whether the request prefers something (http.html#ops): return=minimal, handling=lenient.
func (x *exchange) prefers(what string) bool {
	for _, header := range x.r.Header.Values("Prefer") {
		for part := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ',' || r == ';' }) {
			if strings.EqualFold(strings.TrimSpace(part), what) {
				return true
			}
		}
	}
	return false
}

func (x *exchange) serve() {
	path, ours := strings.CutPrefix(x.r.URL.Path, BasePath)
	if !ours || path != "" && path[0] != '/' {
		x.write(refuse(http.StatusNotFound, r4.IssueTypeNotFound, "the API begins at "+BasePath))
		return
	}
	path = strings.Trim(path, "/")
	if path == "metadata" && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) {
		x.metadata()
		return
	}
	body, refused := x.body()
	if x.struck = x.server.faults.request(x.r.Method); x.struck != nil && x.interrupted() {
		return
	}
	if refused != nil {
		x.write(refused)
		return
	}
	if path == "" {
		if x.r.Method != http.MethodPost {
			x.write(refuse(http.StatusMethodNotAllowed, r4.IssueTypeNotSupported, "only Bundles are posted to the base"))
			return
		}
		x.write(x.server.bundler.bundle(body, x.base(), x.prefers("return=representation"), x.prefers("handling=lenient"), x.struck))
		return
	}
	x.single(path, body)
}

// interrupted applies the faults that come before anything is done. True: the exchange is over.
func (x *exchange) interrupted() bool {
	if f := x.struck["slow"]; f != nil {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.r.Context().Done():
		case <-x.server.closed:
		}
	}
	switch {
	case x.struck["hang"] != nil:
		select {
		case <-x.r.Context().Done():
		case <-x.server.closed:
		}
		breakOff(x.w)
		return true
	case x.struck["drop-before"] != nil:
		breakOff(x.w)
		return true
	}
	f := x.struck["status"]
	if f == nil {
		return false
	}
	if f.retryAfter != "" {
		x.w.Header().Set("Retry-After", f.retryAfter)
	}
	x.write(struck(f))
	return true
}

// body reads the request's body.
func (x *exchange) body() ([]byte, *answer) {
	if x.r.Body == nil {
		return nil, nil
	}
	tooLarge := func() *answer {
		return refuse(http.StatusRequestEntityTooLarge, r4.IssueTypeTooCostly, "the body is larger than the sandbox takes")
	}
	if x.r.ContentLength > MaxBody {
		return nil, tooLarge()
	}
	var in io.Reader = x.r.Body
	switch x.r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(io.LimitReader(in, MaxBody))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the body is not gzip")
		}
		in = unpacked
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, r4.IssueTypeNotSupported, "the body's encoding is not known")
	}
	var body []byte
	if n := x.r.ContentLength; n > 0 {
		body = make([]byte, 0, n+1)
	}
	for limited := io.LimitReader(in, MaxBody+1); ; {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := limited.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, refuse(http.StatusBadRequest, r4.IssueTypeIncomplete, "the body breaks off")
		}
	}
	if len(body) > MaxBody {
		return nil, tooLarge()
	}
	return body, nil
}

// parse reads a JSON body.
func parse(body []byte) (*fhir.Node, *answer) {
	n, err := fhir.Parse(body)
	var syntax *fhir.SyntaxError
	if errors.As(err, &syntax) {
		return nil, refuse(http.StatusBadRequest, r4.IssueTypeStructure, "the body is not the JSON of FHIR: "+syntax.Error())
	} else if err != nil {
		return nil, refuse(http.StatusBadRequest, r4.IssueTypeStructure, "the body is not the JSON of FHIR")
	}
	return n, nil
}

// single does one operation that came as a request of its own.
func (x *exchange) single(path string, body []byte) {
	o, refused := parseOperation(x.r.Method, path, x.r.URL.RawQuery)
	if refused != nil {
		x.write(refused)
		return
	}
	o.base, o.lenient = x.base(), x.prefers("handling=lenient")
	var resource *fhir.Node
	switch {
	case o.interaction == search && x.r.Method == http.MethodPost:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			x.write(refuse(http.StatusBadRequest, r4.IssueTypeInvalid, "the form cannot be read"))
			return
		}
		for key, values := range form {
			o.query[key] = append(o.query[key], values...)
		}
	case o.interaction == create || o.interaction == update:
		if !isJSON(x.r.Header.Get("Content-Type")) {
			x.write(refuse(http.StatusUnsupportedMediaType, r4.IssueTypeNotSupported, "only JSON is taken"))
			return
		}
		if resource, refused = parse(body); refused != nil {
			x.write(refused)
			return
		}
	}
	h := x.r.Header
	o.conditions(h.Get("If-Match"), h.Get("If-None-Match"), h.Get("If-None-Exist"), resource)
	if refused := o.prepare(); refused != nil {
		x.write(refused)
		return
	}
	x.write(x.server.actor.alone(o))
}

// isJSON tells whether a content type is one of those for FHIR's JSON. None at all counts as one.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	typ, _, err := mime.ParseMediaType(contentType)
	return err == nil && (typ == fhir.ContentType || typ == "application/json" || typ == "text/json" || typ == "application/json+fhir")
}

// write sends the answer, or what the faults make of it.
func (x *exchange) write(a *answer) {
	if x.struck["drop-after-commit"] != nil && breakOff(x.w) {
		return
	}
	h := x.w.Header()
	body := a.body
	if len(a.issues) > 0 {
		body = a.outcome()
	}
	wrote := x.r.Method == http.MethodPost || x.r.Method == http.MethodPut
	if location := a.location(); location != "" && wrote && (a.status == http.StatusCreated || a.status == http.StatusOK) {
		h.Set("Location", x.base()+"/"+location)
		if x.prefers("return=minimal") {
			body = nil
		}
	} else if location != "" && a.body != nil {
		h.Set("Content-Location", x.base()+"/"+location) // RFC 9110 8.7: where this version can be had again
	}
	if a.version != nil {
		h.Set("ETag", a.version.etag())
		h.Set("Last-Modified", a.version.time().Format(http.TimeFormat))
	}
	if x.struck["html"] != nil {
		h.Set("Content-Type", "text/html; charset=utf-8")
		x.send(http.StatusOK, []byte("<!DOCTYPE html><title>Welcome</title><p>Please sign in to the network."))
		return
	}
	if len(body) > 0 {
		h.Set("Content-Type", fhir.ContentType+"; charset=utf-8")
	}
	if a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		body = nil
	}
	x.send(a.status, body)
}

// send writes status and body, packed if the client takes that.
func (x *exchange) send(status int, body []byte) {
	h := x.w.Header()
	if len(body) > 1<<10 && acceptsGzip(x.r) {
		h.Set("Content-Encoding", "gzip")
		body = pack(body)
	}
	h.Add("Vary", "Accept-Encoding")
	if len(body) > 0 || status != http.StatusNoContent && status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.status, x.bytes = status, len(body)
	if x.struck["half-answer"] != nil {
		body = body[:len(body)/2] // the server then closes the connection, since the length does not fit
	}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // a client that is gone needs no answer
	}
}
