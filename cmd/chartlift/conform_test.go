package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// guides is the line of a plan that names US Core.
func guides(t *testing.T) string {
	t.Helper()
	return "guides: ['" + sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-6.1.0.tgz") + "']\n"
}

// conforms asks that no record was refused as invalid and no resource fell short of a profile that it claims, and that
// warnings come from no other mappings than those named.
func (h *hospital) conforms(warned ...string) {
	h.t.Helper()
	out := filepath.Join(h.t.TempDir(), "report")
	h.mustRun(exitDone, exitReview, "report", "-o", out, "--format", "json")
	found := decode[struct {
		Refusals, Findings []struct{ Table, Rule, Mapping, Severity string }
	}](h.t, readFile(h.t, filepath.Join(out, "report.json")))
	for _, r := range found.Refusals {
		if r.Rule == "invalid" || r.Rule == "" {
			h.t.Errorf("a record of %s makes no valid resource: %+v", r.Table, r)
		}
	}
	var got []string
	for _, f := range found.Findings {
		switch {
		case f.Rule == "not-conforming":
			h.t.Errorf("%s does not conform to its profile", f.Mapping)
		case f.Rule == "validation-warning" && f.Mapping != "" && !slices.Contains(got, f.Mapping):
			got = append(got, f.Mapping)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(warned, got); diff != "" {
		h.t.Errorf("mappings with warnings (-want +got):\n%s", diff)
	}
}
