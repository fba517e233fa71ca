package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// newCircle is the clinic of testdata/circle.txtar, whose mappings refer to each other in a circle, and a server that
// refuses references to what is not there.
func newCircle(t *testing.T, delivery string) *hospital {
	t.Helper()
	return newCircleWith(t, delivery, sandbox.Options{Integrity: true})
}

func newCircleWith(t *testing.T, delivery string, o sandbox.Options) *hospital {
	t.Helper()
	h := newHospitalWith(t, o)
	script, err := txtar.ParseFile(filepath.Join("testdata", "circle.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range []string{"export/doctors.csv", "export/patients.csv", "mappings/doctor.yaml", "mappings/patient.yaml", "mappings/maps/sex.csv"} {
		files[name] = readFile(t, filepath.Join("testdata", "clinic", filepath.FromSlash(name)))
	}
	for _, f := range script.Files {
		files[f.Name] = string(f.Data)
	}
	files["migration.yaml"] = strings.NewReplacer("${SANDBOX}", h.server.URL+"/fhir", "delivery: identified", "delivery: "+delivery).Replace(files["migration.yaml"])
	for name, text := range files {
		path := filepath.Join(h.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// A run over a circle that is killed on either side of any request that writes, or between its durable steps, ends as one
// that nobody killed.
func TestCircleIsKilled(t *testing.T) { circleKilled(t, sandbox.Options{Integrity: true}) }

// The server's own ids are known only when the first form is there; a process that was killed before it learnt them finds
// them again.
func TestCircleIsKilledWithServerIDs(t *testing.T) {
	circleKilled(t, sandbox.Options{Integrity: true, ServerIDs: true})
}

func circleKilled(t *testing.T, o sandbox.Options) {
	if testing.Short() {
		t.Skip("many processes")
	}
	u := runUnbroken(t, newCircleWith(t, deliverIdentified, o))
	points := []string{"run: batch recorded", "run: state merged"}
	for n := 1; n <= 9; n++ {
		points = append(points, fmt.Sprintf("target: before send bundle:%d", n), fmt.Sprintf("target: after send bundle:%d", n), fmt.Sprintf("run: segment written:%d", n))
	}
	killed := 0
	tried := sharedtest.Drawn(t, len(points), 4)
	for _, i := range tried {
		point := points[i]
		t.Run(point, func(t *testing.T) {
			h := newCircleWith(t, deliverIdentified, o)
			h.finishes("keys", "init")
			h.sameKeys(u.keys)
			if h.start(t.Context(), point, "run", "--json").killed {
				killed++
			}
			last := parseAccount(t, h.finishes("run", "--json"))
			u.compare(t, h, last)
		})
	}
	if len(tried) == len(points) && killed < len(points)/2 {
		t.Errorf("%d of %d points were reached", killed, len(points))
	}
}

const deliverIdentified = "identified"

// What is introduced has the form of the delivery.
func TestCircleSealed(t *testing.T) {
	h := newCircle(t, "sealed")
	h.finishes("keys", "init")
	a := parseAccount(t, h.finishes("run", "--json"))
	for typ, want := range map[string]int64{"Organization": 3, "Condition": 2, "Encounter": 2} {
		if got := a.Resources[typ]; got.Loaded != want || got.Rejected+got.Held+got.InDoubt+got.Pending != 0 {
			t.Errorf("%s: %+v, want %d loaded", typ, got, want)
		}
		if got := a.Verified[typ]; got.Matched != want {
			t.Errorf("%s: %+v, want %d matched", typ, got, want)
		}
	}
}
