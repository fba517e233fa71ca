package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	if err := phi.InitKeys(uri, "test"); err != nil {
		t.Fatal(err)
	}
	ring, err := phi.OpenKeys(uri, "test")
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
	resource        *fhir.Node
}

// put tells whether a batch begins with a write.
func put(entries []entry) bool { return len(entries) > 0 && entries[0].method == http.MethodPut }

// made is a server by hand: it keeps what is put, and a test changes its answers.
type made struct {
	t  testing.TB
	mu sync.Mutex

	held     map[string]*fhir.Node
	puts     map[string]int // how often each was written
	requests atomic.Int64

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
			entries = append(entries, entry{e.Request.Method, typ, id, e.Resource})
		}
	}
	if m.before != nil && m.before(w, r, n, entries) {
		return
	}
	if r.Method == http.MethodGet {
		if path == "/metadata" {
			answer(w, 200, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"HAPI FHIR Server"},"rest":[{"mode":"server","interaction":[{"code":"batch"}],"resource":[{"type":"Patient","updateCreate":true,"interaction":[{"code":"read"},{"code":"update"},{"code":"search-type"}]}]}]}`)
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
	if n == nil {
		return 404, issue("not-found", "")
	}
	return 200, string(n.AppendCanonical(nil))
}

func (m *made) do(e entry) string {
	if m.each != nil {
		if text := m.each(e); text != "" {
			return text
		}
	}
	key := e.typ + "/" + e.id
	if e.method == http.MethodGet {
		status, text := m.get(key)
		if status != 200 {
			return refusal(status, "not-found", "")
		}
		return `{"resource":` + text + `,"response":{"status":"200"}}`
	}
	n := m.store(e)
	status := "201 Created"
	if n > 1 {
		status = "200 OK"
	}
	return accepted(status, key, n)
}

// store keeps what an entry brings and returns how often it came.
func (m *made) store(e entry) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := e.typ + "/" + e.id
	m.held[key] = e.resource
	m.puts[key]++
	return m.puts[key]
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
	b := &bench{made: &made{t: t, held: map[string]*fhir.Node{}, puts: map[string]int{}},
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
