package run

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/load/rest"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// TestExamplesThroughTheSandbox sends each of HL7's examples by delivery sealed, under every policy that ships, reads it
// back, opens it with what came back alone, and joins: it must be the whole. The sandbox checks the structure of what it
// is sent, so the wire form is R4, too.
func TestExamplesThroughTheSandbox(t *testing.T) {
	examples := readExamples(t)
	for _, name := range phi.Shipped() {
		t.Run(name, func(t *testing.T) {
			server, err := sandbox.New(sandbox.Options{})
			if err != nil {
				t.Fatal(err)
			}
			web := httptest.NewServer(server)
			defer func() { web.Close(); _ = server.Close() }()
			uri := "file:" + filepath.Join(t.TempDir(), "kek")
			if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: "test"}); err != nil {
				t.Fatal(err)
			}
			keys, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: "test"})
			if err != nil {
				t.Fatal(err)
			}
			defer keys.Close()
			policy, err := phi.LoadPolicy(name, nil)
			if err == nil && policy.NeedsAsOf() {
				policy, err = policy.AsOf("2026-06-30")
			}
			if err != nil {
				t.Fatal(err)
			}
			target, err := rest.New(rest.Options{Kind: load.KindSandbox, URL: web.URL + sandbox.BasePath, Migration: "test", Delivery: load.DeliverySealed})
			if err != nil {
				t.Fatal(err)
			}
			sealer := phi.NewSealer("test", keys, policy)
			var batch []load.Item
			wholes := map[string]*fhir.Node{}
			unsent := 0
			for _, n := range examples {
				s, err := sealer.SealNode(&phi.Resource{Patient: "p"}, n)
				if err != nil {
					t.Fatal(err)
				}
				if key := s.Type() + "/" + s.ID(); !phi.Extensible(s.Type()) || wholes[key] != nil {
					unsent++
				} else {
					batch, wholes[key] = append(batch, load.Item{Sealed: s}), n
				}
			}
			outcomes, err := target.Send(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				if o.ID == "qs1" && o.Kind == load.Rejected {
					continue // the example itself lacks linkId, which R4 requires
				}
				if !o.Kind.Stored() {
					t.Errorf("%s/%s: %s %s %s", o.Type, o.ID, o.Kind, o.Code, o.Path)
					continue
				}
				found, err := target.Read(t.Context(), o.Type, []string{o.ID})
				if err != nil || found[0].Status != load.Present {
					t.Fatalf("%s/%s: %v", o.Type, o.ID, err)
				}
				got, err := fhir.Parse(found[0].Body)
				if err != nil {
					t.Fatal(err)
				}
				clinical, err := fhir.Parse(batch[i].Sealed.Clinical())
				if err != nil {
					t.Fatal(err)
				}
				r, err := keys.Receive(batch[i].Sealed, clinical, got, true)
				if err != nil || r.Fault != nil || r.Whole == nil {
					t.Errorf("%s/%s: %v, fault %v", o.Type, o.ID, err, r.Fault)
					continue
				}
				if !load.SameAsSent(wholes[o.Type+"/"+o.ID], r.Whole) {
					t.Errorf("%s/%s: what came back does not join to the whole", o.Type, o.ID)
				}
				if !r.Proven {
					t.Errorf("%s/%s: another digest", o.Type, o.ID)
				}
			}
			if len(batch) < 200 || len(batch)+unsent != 238 {
				t.Errorf("%d examples were sent, %d not", len(batch), unsent)
			}
		})
	}
}

func readExamples(t *testing.T) []*fhir.Node {
	t.Helper()
	file, err := os.Open(sharedtest.Path(t, "data", "fhir-r4-examples", "examples.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []*fhir.Node
	for r := tar.NewReader(unzip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := fhir.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		all = append(all, n)
	}
}

// TestAnotherFormIsNotUnchanged: what would be sent in another form than the one that is there is sent again, although
// its content is the same.
func TestAnotherFormIsNotUnchanged(t *testing.T) {
	digest := [16]byte{1, 2, 3}
	form := func(delivery, policy string) [16]byte {
		return formDigest(map[string]string{"delivery": delivery, "policy": policy}, digest)
	}
	if form(plan.DeliverIdentified, "a") != digest || form(plan.DeliverIdentified, "b") != digest {
		t.Error("whole resources have one form, whatever the policy")
	}
	all := [][16]byte{digest, form(plan.DeliverSealed, "a"), form(plan.DeliverSealed, "b"), form(plan.DeliverSplit, "a"), form(plan.DeliverSplit, "b")}
	for i, d := range all {
		if slices.Contains(all[i+1:], d) {
			t.Errorf("form %d is that of another", i)
		}
	}
}
