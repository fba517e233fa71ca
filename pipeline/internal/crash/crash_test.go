package crash

import (
	"slices"
	"testing"
)

func TestNothingIsArmedByDefault(t *testing.T) {
	if armed != nil {
		t.Fatalf("armed by the environment of the tests: %q", armed.point)
	}
	for _, p := range Points() {
		At(p) // still here
	}
	File("run-1.visits.0.batch", Renamed)
	Commit("record", After)
	Request("read", Before)
}

func TestPointsAreNamedOnce(t *testing.T) {
	points := Points()
	if len(points) != len(slices.Compact(slices.Clone(points))) {
		t.Error("a point is listed twice")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text  string
		point Point
		left  int64
	}{
		{"segment: renamed", "segment: renamed", 1},
		{"segment: renamed:3", "segment: renamed", 3},
		{"segment: renamed:0", "segment: renamed:0", 1}, // no number of a time; Check refuses it
	} {
		p := parse(c.text)
		if p.point != c.point || p.left.Load() != c.left {
			t.Errorf("%s: %q after %d", c.text, p.point, p.left.Load())
		}
	}
	if parse("") != nil {
		t.Error("armed by nothing")
	}
}

func TestCheckFindsAMisspelledPoint(t *testing.T) {
	defer func() { armed = nil }()
	armed = parse("segment: renamd")
	if Check() == nil {
		t.Error("not found")
	}
	armed = parse("segment: renamed:2")
	if err := Check(); err != nil {
		t.Error(err)
	}
}

func TestKindsOfFiles(t *testing.T) {
	for path, want := range map[string]string{
		"a/run-1.visits.0.visit.main.0.batch": "batch", "a/run-1.visits.0.visit.main.0.index": "index",
		"a/run-1.visits.0.visit.main.0.out.0001": kindSegment, "a/exclusions.excluded": "exclusions",
		"a/run-1.visits.0.refused.quarantine": "quarantine", "a/state": kindManifest, "a/state.00000002": kindState, "a/b.txt": "",
	} {
		if got := kindOf(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
