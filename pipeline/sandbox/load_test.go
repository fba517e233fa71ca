package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/load/rest"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// loader loads made-up patients into a sandbox.
type loader struct {
	ring   *phi.Keyring
	sealer *phi.Sealer

	mu sync.Mutex
	at time.Time
}

func newLoader(t testing.TB) *loader {
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
	return &loader{ring: ring, sealer: phi.NewSealer("test", ring, policy), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (l *loader) patients(t interface{ Fatal(...any) }, n int) []phi.Sealed {
	var all []phi.Sealed
	for i := range n {
		n, err := fhir.Parse(fmt.Appendf(nil, `{"resourceType":"Patient","id":"p%03d","meta":{"tag":[{"system":"%s","code":"test"}]},"name":[{"family":"Family %d"}],"birthDate":"1970-01-02","multipleBirthInteger":%d}`, i, fhir.TagSystem, i, 1+i%3))
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.sealer.SealNode(&phi.Resource{Type: "Patient", ID: n.ID(), Patient: n.ID()}, n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// unloaded are resources of which nothing is there yet.
func unloaded(batch []phi.Sealed) []load.Item {
	all := make([]load.Item, len(batch))
	for i, s := range batch {
		all[i].Sealed = s
	}
	return all
}

// target is a target for the sandbox whose waits take no time.
func (l *loader) target(t interface{ Fatal(...any) }, url string, change func(*rest.Options)) *rest.Store {
	o := rest.Options{Kind: load.KindSandbox, URL: url + BasePath, Opener: l.ring, Migration: "test", Delivery: load.DeliveryIdentified,
		BundleSize: 8, Parallel: 4, Patience: time.Hour, Timeout: 20 * time.Second,
		Now: func() time.Time { l.mu.Lock(); defer l.mu.Unlock(); return l.at },
		Wait: func(ctx context.Context, d time.Duration) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.at = l.at.Add(d)
			return ctx.Err()
		}}
	if change != nil {
		change(&o)
	}
	target, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// holds tells whether the sandbox holds exactly what was sealed.
func (l *loader) holds(t interface{ Fatal(...any) }, s *Server, sealed phi.Sealed) bool {
	r := s.store.find(name{sealed.Type(), sealed.ID()})
	if r == nil || !r.exists() {
		return false
	}
	whole, err := l.ring.Whole(sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := fhir.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.store.tree(&r.now)
	if err != nil {
		t.Fatal(err)
	}
	return load.SameAsSent(sent, got)
}

// TestAcknowledgedIsStored loads with faults of every kind at random. However the server misbehaves, every resource has
// one outcome, what was acknowledged is there exactly as sent, what was rejected is not, nothing else is there; and when
// the faults have passed, going on settles what was left open.
func TestAcknowledgedIsStored(t *testing.T) {
	l := newLoader(t)
	kinds := []string{"429", "503", "500", "502", "408", "drop-before", "drop-after-commit", "half-answer", "html", "entry-missing",
		"entry-added", "entry-reordered", "no-location", "entry=500", "entry=503", "entry=429", "entry=409", "poison", "reject=Patient", "slow=1ms"}
	rapid.Check(t, func(t *rapid.T) {
		spec := fmt.Sprintf("seed=%d", rapid.IntRange(1, 1<<30).Draw(t, "seed"))
		for range rapid.IntRange(1, 5).Draw(t, "faults") {
			spec += fmt.Sprintf(",%s:%.2f", rapid.SampledFrom(kinds).Draw(t, "fault"), rapid.Float64Range(0, 0.4).Draw(t, "probability"))
		}
		s, err := New(Options{Faults: spec})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(s)
		defer server.Close()
		defer s.Close()
		batch := l.patients(t, rapid.IntRange(1, 40).Draw(t, "patients"))
		target := l.target(t, server.URL, nil)

		judge := func(outcomes []load.Outcome) (open []phi.Sealed) {
			if len(outcomes) != len(batch) {
				t.Fatalf("%s: %d outcomes for %d resources", spec, len(outcomes), len(batch))
			}
			for i, o := range outcomes {
				if o.Type != batch[i].Type() || o.ID != batch[i].ID() {
					t.Fatalf("%s: outcome %d is about another resource", spec, i)
				}
				there := l.holds(t, s, batch[i])
				switch o.Kind {
				case load.Created, load.Updated:
					if !there {
						t.Fatalf("%s: %s is acknowledged and not there", spec, o.ID)
					}
				case load.Rejected:
					if there {
						t.Fatalf("%s: %s is rejected (%d %s) and there", spec, o.ID, o.Status, o.Code)
					}
				case load.InDoubt, load.Pending:
					open = append(open, batch[i])
				default:
					t.Fatalf("%s: %s has the outcome %s", spec, o.ID, o.Kind)
				}
			}
			for n := range s.store.all {
				if n.typ != "Patient" || !strings.HasPrefix(n.id, "p") {
					t.Fatalf("%s: %s was never sent", spec, n)
				}
			}
			return open
		}
		outcomes, err := target.Send(context.Background(), unloaded(batch))
		if err != nil && !errors.Is(err, load.ErrUnavailable) {
			t.Fatalf("%s: %v", spec, err)
		}
		batch = judge(outcomes)
		s.faults.list = nil
		if outcomes, err = target.Resume(context.Background(), unloaded(batch)); err != nil {
			t.Fatalf("%s: going on: %v", spec, err)
		}
		if open := judge(outcomes); len(open) > 0 {
			t.Fatalf("%s: without faults %d stay open", spec, len(open))
		}
	})
}

// TestReadBackFindsWhatTheServerHides: the server says 201 and loses the resource, cuts a value, gives another id (F11).
func TestReadBackFindsWhatTheServerHides(t *testing.T) {
	l := newLoader(t)
	s, err := New(Options{Faults: "lose:nth=2,cut-string:nth=4,wrong-id:nth=5"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	defer s.Close()
	batch := l.patients(t, 8)
	target := l.target(t, server.URL, func(o *rest.Options) { o.Parallel = 1 })
	outcomes, err := target.Send(t.Context(), unloaded(batch))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	wrong := 0
	for i, o := range outcomes {
		ids = append(ids, o.ID)
		if o.Kind == load.Rejected {
			wrong++
			if o.Code != load.CodeMismatch || l.holds(t, s, batch[i]) {
				t.Errorf("%+v", o)
			}
		}
	}
	if wrong != 1 {
		t.Errorf("%d with another id, want 1", wrong)
	}
	found, err := target.Read(t.Context(), "Patient", ids)
	if err != nil {
		t.Fatal(err)
	}
	missing, different := 0, 0
	for i, f := range found {
		whole, err := l.ring.Whole(batch[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := fhir.Parse(whole)
		switch got, _ := fhir.Parse(f.Body); {
		case f.Status == load.Missing:
			missing++
		case f.Status != load.Present || !load.SameAsSent(sent, got):
			different++
		}
	}
	if missing != 2 || different != 1 {
		t.Errorf("%d missing and %d different, want 2 and 1", missing, different)
	}
	listed := 0
	for _, err := range target.List(t.Context(), "Patient", "test") {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != 7 {
		t.Errorf("%d resources carry the tag, want 7: one was lost, one has another id", listed)
	}
}

func TestListAgainstFaults(t *testing.T) {
	l := newLoader(t)
	for _, test := range []struct {
		faults string
		fails  bool
	}{{"", false}, {"total-wrong", false}, {"total-absent", false}, {"page-loop", true}, {"page-repeat", true}, {"503:0.5", false}} {
		s, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(s)
		for i := range 2500 {
			putAll(t, s, strings.Replace(patientText(i), `"identifier"`, `"meta":{"tag":[{"system":"`+fhir.TagSystem+`","code":"test"}]},"identifier"`, 1))
		}
		putAll(t, s, patientText(9999))
		faults, err := parseFaults(test.faults)
		if err != nil {
			t.Fatal(err)
		}
		s.faults.list = faults.list
		ids := map[string]bool{}
		var failed error
		for listed, err := range l.target(t, server.URL, nil).List(t.Context(), "Patient", "test") {
			if err != nil {
				failed = err
				break
			}
			if ids[listed.ID] {
				t.Errorf("%s: %s came twice", test.faults, listed.ID)
			}
			ids[listed.ID] = true
		}
		if (failed != nil) != test.fails || !test.fails && len(ids) != 2500 {
			t.Errorf("%q: %d ids, %v", test.faults, len(ids), failed)
		}
		_ = s.Close()
		server.Close()
	}
}

func TestVersionsThroughATarget(t *testing.T) {
	l := newLoader(t)
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	target := l.target(t, server.URL, nil)
	c, err := target.Preflight(t.Context())
	if err != nil || len(c.Lacking("Patient")) != 0 || !c.Batch || !c.Resource("Patient").Can("vread") {
		t.Fatalf("%v, %v", c.Lacking("Patient"), err)
	}
	batch := l.patients(t, 1)
	for range 2 {
		if _, err := target.Send(t.Context(), unloaded(batch)); err != nil {
			t.Fatal(err)
		}
	}
	for version, want := range map[string]load.FoundStatus{"1": load.Present, "2": load.Present, "3": load.Missing} {
		if f, err := target.Version(t.Context(), "Patient", "p000", version); err != nil || f.Status != want {
			t.Errorf("version %s: %v, %v", version, f.Status, err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	l := newLoader(b)
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	target := l.target(b, server.URL, func(o *rest.Options) { o.BundleSize = 500; o.Now, o.Wait = nil, nil })
	batch := l.patients(b, 2000)
	for b.Loop() {
		if outcomes, err := target.Send(b.Context(), unloaded(batch)); err != nil || !outcomes[0].Kind.Stored() {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch)*b.N)/b.Elapsed().Seconds(), "resources/s")
}
