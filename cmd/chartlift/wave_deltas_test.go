package main

import (
	"encoding/csv"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWavesHaveSecondRuns loads a pilot and then the rest, and lets rows change and go and people edit in both: a run over
// one wave says nothing of the other's patients, and a run over all of them says it of each.
func TestWavesHaveSecondRuns(t *testing.T) {
	h := newRiverside(t)
	h.plan(readFile(t, filepath.Join(h.dir, "migration.yaml")) + `waves:
  - {name: pilot, patients: "= CLINIC = 'N'"}
  - {name: main}
`)
	h.mustRun(exitDone, exitDone, "keys", "init")
	for _, wave := range []string{"pilot", "main"} {
		for typ, w := range h.again("run", "--wave", wave).got() {
			if w.Vanished != 0 || w.Unexpected != 0 || w.Missing != 0 {
				t.Errorf("the first %s, %s: %+v", wave, typ, w)
			}
		}
	}
	before := h.sandbox.Writes()
	h.again("run")
	if n := h.sandbox.Writes() - before; n != 0 {
		t.Errorf("a run over both waves wrote %d versions", n)
	}
	s := &secondLife{hospital: h, ids: map[string]string{}, patients: map[string]string{},
		delta: &delta{changed: map[string]bool{}, removed: map[string]bool{}, edited: map[string]string{}, deleted: map[string]bool{}}}
	s.changeSource()
	s.listIDs()
	waves := s.waves()
	in := func(set map[string]bool, wave string) (list []string) {
		for name := range set {
			if wave == "" || waves[s.patients[name]] == wave {
				list = append(list, name)
			}
		}
		slices.Sort(list)
		return list
	}
	var edited []string
	for _, wave := range []string{"pilot", "main"} {
		changed, removed := in(s.delta.changed, wave), in(s.delta.removed, wave)
		if len(changed) < 4 || len(removed) < 2 {
			t.Fatalf("%s: %d changed, %d removed", wave, len(changed), len(removed))
		}
		edited = append(edited, changed[0], changed[3], removed[1])
	}
	s.byHand(s.delta, edited, nil, s.at)
	for _, wave := range []string{"pilot", "main", ""} {
		args := []string{"run"}
		if wave != "" {
			args = append(args, "--wave", wave)
		}
		before := h.sandbox.Writes()
		var got wanted
		for _, w := range h.again(args...).got() {
			got.Loaded += w.Loaded
			got.NotApplied += w.NotApplied
			got.Vanished += w.Vanished
			got.Missing += w.Missing
			got.Unexpected += w.Unexpected
			got.EditedSince += w.EditedSince
			got.Different += w.Different
		}
		want := wanted{Loaded: int64(len(in(s.delta.changed, wave))) - 2, NotApplied: 2, EditedSince: 2, Vanished: int64(len(in(s.delta.removed, wave)))}
		if wave == "" { // each wave has had its run
			want.Loaded, want.NotApplied, want.EditedSince = 0, 4, 4
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wave %q (-want +got):\n%s", wave, diff)
		}
		if n := h.sandbox.Writes() - before; n != want.Loaded {
			t.Errorf("wave %q: %d versions were written", wave, n)
		}
		var named []string
		for _, f := range h.discrepancies() {
			if f.Kind == "vanished" || f.Kind == "rekeyed" {
				named = append(named, f.Type+"/"+f.ID)
			}
		}
		slices.Sort(named)
		if diff := cmp.Diff(in(s.delta.removed, wave), named); diff != "" {
			t.Errorf("wave %q: what vanished (-want +named):\n%s", wave, diff)
		}
		s.untouched(s.delta, s.at)
	}
}

// waves is the wave of each patient, by number.
func (s *secondLife) waves() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(readFile(s.t, filepath.Join(s.dir, "export", "patients.csv"))) {
		row, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil || len(row) < 16 {
			continue
		}
		out[row[0]] = "main"
		if row[15] == "N" {
			out[row[0]] = "pilot"
		}
	}
	return out
}
