package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("old\n")
	b := newBench(t, func(o *Options) { o.TokenFile = file })
	var seen []string
	b.before = func(w http.ResponseWriter, r *http.Request, _ int64, _ []entry) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
		if seen[len(seen)-1] == "Bearer new" {
			return false
		}
		write("new")
		return answer(w, 401, "")
	}
	outcomes, err := b.send(2)
	if err != nil || kinds(outcomes)["created"] != 2 {
		t.Fatalf("%v, %v", outcomes, err)
	}
	if diff := cmp.Diff([]string{"Bearer old", "Bearer new"}, seen); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	for name, status := range map[string]int{"refused twice": 401, "forbidden": 403} {
		b.requests.Store(0)
		b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, _ []entry) bool {
			return answer(w, status, issue("security", ""))
		}
		outcomes, err = b.send(2)
		if !errors.Is(err, load.ErrUnauthorized) || kinds(outcomes)["pending"] != 2 || b.requests.Load() > 2 {
			t.Fatalf("%s: %v, %v, %d requests", name, outcomes, err, b.requests.Load())
		}
		if text := err.Error(); strings.Contains(text, "new") || strings.Contains(text, secretName) {
			t.Errorf("the error tells too much: %s", text)
		}
	}
	// Forbidden entry by entry, all of them: the same.
	b.before = nil
	b.each = func(entry) string { return refusal(403, "forbidden", "") }
	if outcomes, err := b.send(2); !errors.Is(err, load.ErrUnauthorized) || kinds(outcomes)["pending"] != 2 {
		t.Errorf("every entry forbidden: %v, %v", outcomes, err)
	}
	if _, err := New(Options{Kind: load.KindFHIR, URL: "http://example.org/fhir", Opener: b.ring, Delivery: load.DeliveryIdentified, TokenFile: file}); err == nil {
		t.Error("a token is sent unencrypted")
	}
}

func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int64
	var credentials atomic.Value
	credentials.Store("")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		credentials.Store(r.Header.Get("Authorization"))
		answer(w, 200, patient(0))
	}))
	defer other.Close()
	t.Setenv("TEST_TOKEN", "secret")
	b := newBench(t, func(o *Options) { o.TokenEnv = "TEST_TOKEN" })
	b.before = func(w http.ResponseWriter, r *http.Request, _ int64, _ []entry) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	outcomes, err := b.send(1)
	if !errors.Is(err, load.ErrUnsupported) || elsewhere.Load() != 0 || outcomes[0].Kind != load.Pending {
		t.Errorf("a write was redirected: %v, %v, %d", outcomes, err, elsewhere.Load())
	}
	if _, err := b.target.Read(t.Context(), "Patient", []string{"p000"}); err != nil {
		t.Fatal(err)
	}
	if elsewhere.Load() != 1 || credentials.Load() != "" {
		t.Errorf("%d requests elsewhere, with credentials %q", elsewhere.Load(), credentials.Load())
	}
}

func TestReadWithoutBatches(t *testing.T) {
	b := newBench(t, nil)
	if _, err := b.send(4); err != nil {
		t.Fatal(err)
	}
	b.before = func(w http.ResponseWriter, r *http.Request, _ int64, _ []entry) bool {
		switch {
		case r.Method == http.MethodPost:
			return answer(w, 405, "")
		case strings.HasSuffix(r.URL.Path, "p001"):
			return answer(w, 410, "")
		case strings.HasSuffix(r.URL.Path, "p002"):
			return answer(w, 200, patient(3)) // somebody else
		}
		return false
	}
	found, err := b.target.Read(t.Context(), "Patient", []string{"p000", "p001", "p002", "p003", "p009"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Status.String())
	}
	if diff := cmp.Diff([]string{"present", "gone", "unknown", "present", "missing"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if found[2].Code != load.CodeMismatch || found[2].Body != nil {
		t.Errorf("somebody else: %q", found[2].Code)
	}
}

func TestPreflight(t *testing.T) {
	b := newBench(t, nil)
	c, err := b.target.Preflight(t.Context())
	if err != nil || !c.Batch || len(c.Lacking("Patient")) != 0 || len(c.Lacking("Group")) == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	sandbox := newBench(t, func(o *Options) { o.Kind = load.KindSandbox })
	if _, err := sandbox.target.Preflight(t.Context()); !errors.Is(err, load.ErrNotSandbox) {
		t.Errorf("a server that is no sandbox: %v", err)
	}
	outcomes, err := sandbox.send(1)
	if !errors.Is(err, load.ErrNotSandbox) || outcomes[0].Kind != load.Pending || len(sandbox.puts) != 0 {
		t.Errorf("something was sent to a server that is no sandbox: %v, %v", outcomes, err)
	}
	for name, body := range map[string]string{"HTML": "<html>", "R5": `{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}`, "other": `{"resourceType":"Patient"}`} {
		b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, _ []entry) bool { return answer(w, 200, body) }
		if _, err := b.target.Preflight(t.Context()); !errors.Is(err, load.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// page is one page of a search.
func page(next string, ids ...string) string {
	text := `{"resourceType":"Bundle","type":"searchset","total":99,"entry":[`
	for i, id := range ids {
		if i > 0 {
			text += ","
		}
		text += `{"resource":{"resourceType":"Patient","id":"` + id + `","meta":{"tag":[{"system":"` + fhir.TagSystem + `","code":"test"}]}},"search":{"mode":"match"}}`
	}
	text += `]`
	if next != "" {
		text += `,"link":[{"relation":"next","url":"` + next + `"}]`
	}
	return text + `}`
}

// TestList: pages that loop, repeat or vanish, and totals that are wrong (F12).
func TestList(t *testing.T) {
	for _, test := range []struct {
		name  string
		pages map[string]string // by the value of p
		want  []string
		fails bool
	}{
		{"one page", map[string]string{"": page("", "a", "b")}, []string{"a", "b"}, false},
		{"pages", map[string]string{"": page("?p=1", "a"), "1": page("?p=2", "b", "a"), "2": page("", "c")}, []string{"a", "b", "c"}, false},
		{"loop", map[string]string{"": page("?p=1", "a"), "1": page("?p=1", "b")}, []string{"a", "b"}, true},
		{"longer loop", map[string]string{"": page("?p=1", "a"), "1": page("?p=2", "b"), "2": page("?p=1", "c")}, []string{"a", "b", "c"}, true},
		{"new addresses for ever", map[string]string{"": page("?p=1", "a"), "1": page("?p=2", "a"), "2": page("?p=3", "a"), "3": page("?p=4", "a"), "4": page("?p=5", "a")}, []string{"a"}, true},
		{"elsewhere", map[string]string{"": page("http://example.org/fhir/Patient", "a")}, []string{"a"}, true},
		{"a page vanishes", map[string]string{"": page("?p=1", "a")}, []string{"a"}, true},
		{"the tag is ignored", map[string]string{"": `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Patient","id":"x"}}]}`}, nil, true},
		{"no searchset", map[string]string{"": `{"resourceType":"Bundle","type":"collection"}`}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.before = func(w http.ResponseWriter, r *http.Request, _ int64, _ []entry) bool {
				text, ok := test.pages[r.URL.Query().Get("p")]
				if !ok {
					return answer(w, 404, "")
				}
				return answer(w, 200, text)
			}
			var got []string
			var failed error
			for listed, err := range b.target.List(t.Context(), "Patient", "test") {
				if err != nil {
					failed = err
					break
				}
				got = append(got, listed.ID)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || (failed != nil) != test.fails {
				t.Errorf("error %v (-want +got):\n%s", failed, diff)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	ring, _ := newKeys(t)
	good := Options{Kind: load.KindFHIR, URL: "HTTP://Example.org:80/fhir/", Opener: ring, Delivery: load.DeliveryIdentified}
	target, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := target.Identity(); got != "http://example.org/fhir" {
		t.Errorf("identity %q", got)
	}
	for name, change := range map[string]func(*Options){
		"no kind":     func(o *Options) { o.Kind = "" },
		"a wrong one": func(o *Options) { o.Kind = "ftp" },
		"no URL":      func(o *Options) { o.URL = "" },
		"a password":  func(o *Options) { o.URL = "https://me:secret@example.org/fhir" },
		"a query":     func(o *Options) { o.URL = "https://example.org/fhir?key=secret" },
		"nonsense":    func(o *Options) { o.URL = "https://[secret" },
		"no delivery": func(o *Options) { o.Delivery = "" },
		"no opener":   func(o *Options) { o.Opener = nil },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
