package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// shelf is a server that keeps what is put, and answers the first requests with faults.
type shelf struct {
	mu     sync.Mutex
	held   map[string][]byte
	faults []int
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		status := s.faults[0]
		s.faults = s.faults[1:]
		w.WriteHeader(status)
		return
	}
	switch r.Method {
	case http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.held[r.URL.Path] = body
		w.WriteHeader(http.StatusCreated)
	case http.MethodGet:
		body, ok := s.held[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", fhir.ContentType)
		_, _ = w.Write(body)
	}
}

func markerStore(t *testing.T, s *shelf) *Store {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	keys, _ := newKeys(t)
	c := &clock{}
	target, err := New(Options{Kind: load.KindFHIR, URL: server.URL + "/fhir", Opener: keys, Migration: "test", Delivery: load.DeliveryIdentified, Now: c.now, Wait: c.wait})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestMarkerIsWrittenAndRead(t *testing.T) {
	s := &shelf{held: map[string][]byte{}, faults: []int{503, 500, 429}}
	store := markerStore(t, s)
	if _, marked, err := store.Marker(t.Context()); err != nil || marked {
		t.Fatalf("an empty target: marked %t, %v", marked, err)
	}
	want := load.Marker{Migration: "test", Ledger: strings.Repeat("ab", 16)}
	s.faults = []int{500, 503}
	if err := store.SetMarker(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, marked, err := store.Marker(t.Context()); err != nil || !marked || got != want {
		t.Errorf("got %+v, %t, %v", got, marked, err)
	}
	for path, body := range s.held {
		n, err := fhir.Parse(body)
		if err != nil || string(n.AppendCanonical(nil)) != string(body) || !strings.HasSuffix(path, "/Basic/"+n.ID()) || !fhir.ValidID(n.ID()) {
			t.Errorf("%s: %v: %s", path, err, body)
		}
		if n.At("meta", "tag") != nil {
			t.Error("the marker carries the migration's tag: it would be listed among what was made")
		}
	}
}

func TestMarkersOfTwoMigrationsLieApart(t *testing.T) {
	if load.MarkerID("riverside") == load.MarkerID("lakeside") {
		t.Error("one id for two")
	}
}

func TestWhatIsNoMarkerIsNotTakenForNone(t *testing.T) {
	path := "/fhir/Basic/" + load.MarkerID("test")
	for _, body := range []string{
		fmt.Sprintf(`{"resourceType":"Basic","id":%q}`, load.MarkerID("test")),
		fmt.Sprintf(`{"resourceType":"Patient","id":%q}`, load.MarkerID("test")),
		`<html>`,
	} {
		store := markerStore(t, &shelf{held: map[string][]byte{path: []byte(body)}})
		if _, marked, err := store.Marker(t.Context()); err == nil || marked {
			t.Errorf("%s: marked %t, %v", body, marked, err)
		}
	}
	store := markerStore(t, &shelf{held: map[string][]byte{}, faults: []int{405, 405}})
	if _, _, err := store.Marker(t.Context()); !errors.Is(err, load.ErrUnsupported) {
		t.Errorf("a target without Basic: %v", err)
	}
	for _, status := range []int{404, 405} { // HAPI says 404, R4 405
		store := markerStore(t, &shelf{held: map[string][]byte{}, faults: []int{status}})
		err := store.SetMarker(t.Context(), load.Marker{Migration: "test", Ledger: "x"})
		if !errors.Is(err, load.ErrUnsupported) || !strings.Contains(err.Error(), "ids: server") {
			t.Errorf("a target without Basic, or with ids of its own, which says %d: %v", status, err)
		}
	}
}
