package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// newKeys are the keys of a test, and a sealer for them.
func newKeys(t testing.TB) (*phi.Keyring, *phi.Sealer) {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "kek")
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	ring, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	policy, err := phi.LoadPolicy("limited-data-set", os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	return ring, phi.NewSealer("test", ring, policy)
}

// secretName stands in every resource and every complaint of the server, and must never come out.
const secretName = "Zzyzxcanary"

func patient(i int) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":"p%03d","meta":{"tag":[{"system":"%s","code":"test"}]},"name":[{"family":"%s%d"}],"birthDate":"1970-01-02"}`, i, fhir.TagSystem, secretName, i)
}

// clock is a time that passes only while somebody waits.
type clock struct {
	lock sync.Mutex
	at   time.Time
}

func (c *clock) now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.at
}

func (c *clock) wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.at = c.at.Add(d)
	return nil
}

// entry is one entry of a batch as the made-up server sees it.
type entry struct {
	method, typ, id string
	match           string // the version of If-Match
	unless          string // the condition of a creation
	resource        *fhir.Node
}

// put tells whether a batch begins with a write.
func put(entries []entry) bool { return len(entries) > 0 && entries[0].method != http.MethodGet }

// made is a server by hand: it keeps what is put, and a test changes its answers.
type made struct {
	t  testing.TB
	mu sync.Mutex

	held     map[string]*fhir.Node
	puts     map[string]int // how often the store wrote each
	versions map[string]int // those of the server, by everybody's hand
	given    bool           // ids are the server's
	requests atomic.Int64
	made     atomic.Int64 // ids given

	// before may answer a whole request itself; true: it did. n counts requests from 1.
	before func(w http.ResponseWriter, r *http.Request, n int64, entries []entry) bool
	// each may answer an entry itself: "" for the usual way.
	each func(e entry) string
	// after may change a whole answer.
	after func(entries []entry, answers []string) []string
	// broken: the batch is done, then the connection breaks.
	broken func(n int64) bool
}

func (m *made) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := m.requests.Add(1)
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/fhir")
	var entries []entry
	if r.Method == http.MethodPost {
		b, err := fhir.ReadBundle(body)
		if err != nil {
			m.t.Errorf("what was sent is no Bundle: %v", err)
			return
		}
		for _, e := range b.Entries {
			typ, id, _ := fhir.SplitLocation(e.Request.URL)
			if typ == "" { // a creation, or a search
				typ, id, _ = strings.Cut(e.Request.URL, "?")
			}
			entries = append(entries, entry{e.Request.Method, typ, id, fhir.ETagVersion(e.Request.IfMatch), e.Request.IfNoneExist, e.Resource})
		}
	}
	if m.before != nil && m.before(w, r, n, entries) {
		return
	}
	if r.Method == http.MethodGet {
		if path == "/metadata" {
			answer(w, 200, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"HAPI FHIR Server"},"rest":[{"mode":"server","interaction":[{"code":"batch"}],"resource":[{"type":"Patient","updateCreate":`+strconv.FormatBool(!m.given)+`,"conditionalCreate":true,"interaction":[{"code":"read"},{"code":"update"},{"code":"create"},{"code":"search-type"}]}]}]}`)
			return
		}
		typ, id, _ := fhir.SplitLocation(path)
		status, text := m.get(typ + "/" + id)
		answer(w, status, text)
		return
	}
	var answers []string
	for _, e := range entries {
		answers = append(answers, m.do(e))
	}
	if m.after != nil {
		answers = m.after(entries, answers)
	}
	if m.broken != nil && m.broken(n) {
		hangUp(m.t, w)
		return
	}
	answer(w, 200, `{"resourceType":"Bundle","type":"batch-response","entry":[`+strings.Join(answers, ",")+`]}`)
}

func hangUp(t testing.TB, w http.ResponseWriter) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return true
	}
	_ = conn.Close()
	return true
}

func (m *made) get(key string) (int, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.held[key]
	switch {
	case n != nil:
		return 200, string(m.versioned(n, m.versions[key]).AppendCanonical(nil))
	case m.versions[key] > 0:
		return 410, issue("deleted", "")
	}
	return 404, issue("not-found", "")
}

// versioned is a resource as the server shows it.
func (m *made) versioned(n *fhir.Node, version int) *fhir.Node {
	if version == 0 {
		return n
	}
	n = n.Clone()
	meta := n.Get("meta")
	if meta == nil {
		meta = fhir.NewObject()
		n.Set("meta", meta)
	}
	meta.Set("versionId", fhir.NewString(strconv.Itoa(version)))
	return n
}

// edit is somebody else's write, and remove somebody else's deletion.
func (m *made) edit(text string) {
	m.t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := n.ResourceType() + "/" + n.ID()
	m.held[key] = n
	m.versions[key]++
}

func (m *made) remove(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	m.versions[key]++
}

// tagged finds what carries the tag of a search.
func (m *made) tagged(typ, query string) (keys []string) {
	values, _ := url.ParseQuery(query)
	_, code, _ := strings.Cut(values.Get("_tag"), "|")
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, n := range m.held {
		if strings.HasPrefix(key, typ+"/") && load.OurID(n) == code {
			keys = append(keys, key)
		}
	}
	return keys
}

func (m *made) do(e entry) string {
	if m.each != nil {
		if text := m.each(e); text != "" {
			return text
		}
	}
	key := e.typ + "/" + e.id
	switch e.method {
	case http.MethodGet:
		if strings.HasPrefix(e.id, "_tag=") {
			var found []string
			for _, key := range m.tagged(e.typ, e.id) {
				_, text := m.get(key)
				found = append(found, `{"resource":`+text+`}`)
			}
			return `{"resource":{"resourceType":"Bundle","type":"searchset","entry":[` + strings.Join(found, ",") + `]},"response":{"status":"200"}}`
		}
		status, text := m.get(key)
		if status != 200 {
			return refusal(status, "not-found", "")
		}
		return `{"resource":` + text + `,"response":{"status":"200"}}`
	case http.MethodPost:
		if found := m.tagged(e.typ, e.unless); e.unless != "" && len(found) > 0 {
			return `{"response":{"status":"200","location":"` + found[0] + `/_history/1"}}`
		}
		e.id = fmt.Sprintf("s%d", m.made.Add(1))
		key = e.typ + "/" + e.id
		e.resource = e.resource.Clone().Set("id", fhir.NewString(e.id))
		n := m.store(e)
		_, text := m.get(key)
		return fmt.Sprintf(`{"resource":%s,"response":{"status":"201","location":"%s/_history/%d"}}`, text, key, n)
	}
	if e.match != "" {
		m.mu.Lock()
		stale := m.held[key] == nil || strconv.Itoa(m.versions[key]) != e.match
		m.mu.Unlock()
		if stale {
			return refusal(412, "conflict", "")
		}
	}
	if e.method == http.MethodDelete {
		m.remove(key)
		return `{"response":{"status":"204"}}`
	}
	if m.given && m.held[key] == nil {
		return refusal(405, "not-supported", "")
	}
	n := m.store(e)
	status := "201 Created"
	if n > 1 {
		status = "200 OK"
	}
	return accepted(status, key, n)
}

// store keeps what an entry brings and returns its version.
func (m *made) store(e entry) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := e.typ + "/" + e.id
	m.held[key] = e.resource
	m.puts[key]++
	m.versions[key]++
	return m.versions[key]
}

func accepted(status, key string, version int) string {
	return fmt.Sprintf(`{"response":{"status":"%s","location":"%s/_history/%d","etag":"W/\"%d\""}}`, status, key, version, version)
}

func issue(code, path string) string {
	expression := ""
	if path != "" {
		expression = `,"expression":["` + path + `"]`
	}
	return `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"` + code + `","diagnostics":"` + secretName + `"` + expression + `}]}`
}

func refusal(status int, code, path string) string {
	return fmt.Sprintf(`{"response":{"status":"%d","outcome":%s}}`, status, issue(code, path))
}

func answer(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return true
}

// bench is a made-up server, a target for it and a clock.
type bench struct {
	*made
	*clock
	target *Store
	ring   *phi.Keyring
	sealer *phi.Sealer
	logs   *observer.ObservedLogs
}

func newBench(t testing.TB, change func(*Options)) *bench {
	t.Helper()
	b := &bench{made: &made{t: t, held: map[string]*fhir.Node{}, puts: map[string]int{}, versions: map[string]int{}},
		clock: &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	b.ring, b.sealer = newKeys(t)
	server := httptest.NewServer(b.made)
	t.Cleanup(server.Close)
	core, logs := observer.New(zap.DebugLevel)
	b.logs = logs
	o := Options{Kind: load.KindFHIR, URL: server.URL + "/fhir", Opener: b.ring, Migration: "test", Delivery: load.DeliveryIdentified,
		Now: b.now, Wait: b.wait, Random: func() float64 { return 0 }, Logger: zap.New(core), Timeout: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	var err error
	if b.target, err = New(o); err != nil {
		t.Fatal(err)
	}
	return b
}

// sealed makes so many sealed patients.
func (b *bench) sealed(n int) []phi.Sealed {
	b.t.Helper()
	var all []phi.Sealed
	for i := range n {
		n, err := fhir.Parse([]byte(patient(i)))
		if err != nil {
			b.t.Fatal(err)
		}
		s, err := b.sealer.SealNode(&phi.Resource{Type: "Patient", ID: n.ID(), Patient: "p"}, n)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// fresh are resources of which nothing is known to be there.
func fresh(batch []phi.Sealed) []load.Item {
	items := make([]load.Item, len(batch))
	for i, s := range batch {
		items[i].Sealed = s
	}
	return items
}

// send sends so many patients.
func (b *bench) send(n int) ([]load.Outcome, error) {
	b.t.Helper()
	return b.target.Send(b.t.Context(), fresh(b.sealed(n)))
}

// writtenOnce fails if a resource was written more than once.
func (b *bench) writtenOnce() {
	b.t.Helper()
	for key, n := range b.puts {
		if n != 1 {
			b.t.Errorf("%s was written %d times", key, n)
		}
	}
}

// kinds counts the outcomes by kind.
func kinds(outcomes []load.Outcome) map[string]int {
	counts := map[string]int{}
	for _, o := range outcomes {
		counts[o.Kind.String()]++
	}
	return counts
}
