package rest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/load/loadtest"
	"github.com/chartlift/chartlift/pipeline/sandbox"
)

// hand works in the server by plain requests.
type hand string

func (h hand) do(t testing.TB, method, id string, body []byte) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, string(h)+"/Patient/"+id, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", fhir.ContentType)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s: status %d, %v", method, answer.StatusCode, err)
	}
	return text
}

func (h hand) Edit(t testing.TB, id, birthDate string) {
	t.Helper()
	n, err := fhir.Parse(h.do(t, http.MethodGet, id, nil))
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, http.MethodPut, id, n.Set("birthDate", fhir.NewString(birthDate)).AppendCanonical(nil))
}

func (h hand) Remove(t testing.TB, id string) { t.Helper(); h.do(t, http.MethodDelete, id, nil) }

// TestContract runs the suites against the sandbox, with our ids and with its own.
func TestContract(t *testing.T) {
	for name, given := range map[string]bool{"our ids": false, "ids of the server": true} {
		t.Run(name, func(t *testing.T) {
			loadtest.Run(t, loadtest.Subject{Open: func(t testing.TB, opener load.Opener, resolve load.Resolve) (load.Store, loadtest.Hand) {
				s, err := sandbox.New(sandbox.Options{})
				if err != nil {
					t.Fatal(err)
				}
				server := httptest.NewServer(s)
				t.Cleanup(func() { server.Close(); _ = s.Close() })
				store, err := New(Options{Kind: load.KindSandbox, URL: server.URL + sandbox.BasePath, Opener: opener, Resolve: resolve,
					ServerIDs: given, Migration: loadtest.Migration, Delivery: load.DeliveryIdentified, Random: func() float64 { return 0 }})
				if err != nil {
					t.Fatal(err)
				}
				return store, hand(server.URL + sandbox.BasePath)
			}})
		})
	}
}
