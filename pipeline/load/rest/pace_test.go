package rest

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/load"
)

// TestRetryAfter: seconds, a date, absent, huge, negative (F07).
func TestRetryAfter(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	date := func(d time.Duration) []string { return []string{at.Add(d).Format(http.TimeFormat)} }
	for _, test := range []struct {
		header    http.Header
		low, high time.Duration
	}{
		{http.Header{"Retry-After": {"7"}}, 7 * time.Second, 9 * time.Second},
		{http.Header{"Retry-After": date(20 * time.Second)}, 20 * time.Second, 25 * time.Second},
		{http.Header{"Retry-After": date(time.Hour + 20*time.Second), "Date": date(time.Hour)}, 20 * time.Second, 25 * time.Second},
		{http.Header{}, 500 * time.Millisecond, 60 * time.Second},
		{http.Header{"Retry-After": {"-5"}}, 500 * time.Millisecond, 60 * time.Second},
		{http.Header{"Retry-After": {"soon"}}, 500 * time.Millisecond, 60 * time.Second},
		{http.Header{"Retry-After": date(-time.Hour)}, 500 * time.Millisecond, 60 * time.Second},
		{http.Header{"Retry-After": {"99999999999999999999"}}, 60 * time.Second, 75 * time.Second},
		{http.Header{"Retry-After": {"9223372036"}}, 60 * time.Second, 75 * time.Second},
		{http.Header{"X-Ms-Retry-After-Ms": {"1500"}}, 1500 * time.Millisecond, 2 * time.Second},
		{http.Header{"Retry-After": {"0"}}, 0, 0},
	} {
		b := newBench(t, nil)
		b.before = func(w http.ResponseWriter, _ *http.Request, n int64, _ []entry) bool {
			if n > 1 {
				return false
			}
			w.Header()["Date"] = nil // the server's own would be of today
			for name, values := range test.header {
				w.Header()[name] = values
			}
			return answer(w, 429, "")
		}
		outcomes, err := b.send(2)
		if err != nil || kinds(outcomes)["created"] != 2 {
			t.Fatalf("%v: %v, %v", test.header, outcomes, err)
		}
		if waited := b.now().Sub(at); waited < test.low || waited > test.high {
			t.Errorf("%v: waited %s, want %s to %s", test.header, waited, test.low, test.high)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCircuit: everything fails for minutes, then heals (F05, F08, F21).
func TestCircuit(t *testing.T) {
	for how, fail := range map[string]func(http.ResponseWriter) bool{
		"503":     func(w http.ResponseWriter) bool { return answer(w, 503, "") },
		"500":     func(w http.ResponseWriter) bool { return answer(w, 500, "") },
		"hang up": func(w http.ResponseWriter) bool { return hangUp(t, w) },
		"refused": nil,
	} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.BundleSize = 10; o.Patience = time.Hour })
			heals := b.now().Add(5 * time.Minute)
			failing := 0
			failed := func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				failing++
			}
			if fail == nil { // nobody listens where the requests go
				client := b.target.conn.http
				usual := client.Transport
				client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
					if b.now().Before(heals) {
						failed()
						r = r.Clone(r.Context())
						r.URL.Host = "127.0.0.1:1"
					}
					return usual.RoundTrip(r)
				})
			}
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, _ []entry) bool {
				if !b.now().Before(heals) {
					return false
				}
				failed()
				return fail(w)
			}
			outcomes, err := b.send(200)
			if err != nil || kinds(outcomes)["created"] != 200 {
				t.Fatalf("%v, %v", kinds(outcomes), err)
			}
			if failing > 80 {
				t.Errorf("a storm: %d requests while nothing worked", failing)
			}
			b.writtenOnce()
		})
	}
}

func TestLastingFailureStopsTheRun(t *testing.T) {
	b := newBench(t, func(o *Options) { o.BundleSize = 3; o.Parallel = 1 })
	b.before = func(w http.ResponseWriter, _ *http.Request, n int64, _ []entry) bool {
		return n > 2 && answer(w, 503, "")
	}
	outcomes, err := b.send(30)
	if !errors.Is(err, load.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	if got := kinds(outcomes); got["created"] != 6 || got["created"]+got["pending"]+got["in doubt"] != 30 {
		t.Errorf("%v", got)
	}
	// Later, the same target works again.
	b.before = nil
	outcomes, err = b.send(30)
	if err != nil || kinds(outcomes)["created"]+kinds(outcomes)["updated"] != 30 {
		t.Errorf("afterwards: %v, %v", kinds(outcomes), err)
	}
}

// TestNobodyAnswers: a peer that accepts and then says nothing (F05).
func TestNobodyAnswers(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Timeout = 100 * time.Millisecond; o.Patience = time.Minute; o.Parallel = 1 })
	b.before = func(_ http.ResponseWriter, r *http.Request, _ int64, _ []entry) bool {
		<-r.Context().Done()
		return true
	}
	outcomes, err := b.send(2)
	if !errors.Is(err, load.ErrUnavailable) || kinds(outcomes)["in doubt"] != 2 {
		t.Errorf("%v, %v", outcomes, err)
	}
	if n := b.requests.Load(); n > 100 { // each waits for its deadline
		t.Errorf("%d requests in a minute of patience", n)
	}
}
