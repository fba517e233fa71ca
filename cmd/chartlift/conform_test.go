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

// conforms asks that validation found no error, neither of R4 nor of a profile, and no warnings but these, as `mapping:
// path: rule`. mappings/valid_test.go has the reasons of those.
func (h *hospital) conforms(warnings ...string) {
	h.t.Helper()
	out := filepath.Join(h.t.TempDir(), "report")
	h.mustRun(exitDone, exitReview, "report", "-o", out, "--format", "json")
	found := decode[struct {
		Refusals, Findings []struct{ Table, Rule, Mapping string }
		Validation         []struct {
			Mapping, Severity, Rule, Path, Profile string
			Count                                  int
		}
	}](h.t, readFile(h.t, filepath.Join(out, "report.json")))
	for _, r := range found.Refusals {
		if r.Rule == "invalid" {
			h.t.Errorf("a record of %s makes no valid %s", r.Table, r.Mapping)
		}
	}
	for _, f := range found.Findings {
		if f.Rule == "not-conforming" {
			h.t.Errorf("%s does not conform to its profile", f.Mapping)
		}
	}
	var got []string
	for _, v := range found.Validation {
		switch {
		case v.Severity != "warning":
			h.t.Errorf("%d times: %+v", v.Count, v)
		default:
			got = append(got, v.Mapping+": "+v.Path+": "+v.Rule)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(warnings, got); diff != "" {
		h.t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
