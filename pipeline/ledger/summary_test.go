package ledger

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample is a run with one of everything, in which every sum balances.
func sample(t *testing.T, at place) (*Ledger, Run) {
	t.Helper()
	l := at.open(t)
	run := begin(t, l)
	must(t, l.Record(t.Context(), run.ID, Report{
		Batches: []Batch{batch("p", "Patient", 58), batch("c", "Condition", 100)},
		Tables: []RecordCount{
			{Table: "patients", Read: 60, Mapped: 58, Skipped: map[string]int64{"test patient": 1}, Refused: map[string]int64{"bad-date": 1}},
			{Table: "conditions", Read: 120, Mapped: 101, OtherWave: 19}, {Table: "empty"},
		},
		Mappings: []RecordCount{
			{Mapping: "patient", Table: "patients", Read: 60, Mapped: 58, Skipped: map[string]int64{"test patient": 1}, Refused: map[string]int64{"bad-date": 1}},
			{Mapping: "condition", Table: "conditions", Read: 120, Mapped: 101, OtherWave: 19},
			{Mapping: "patient", Table: "empty"}, {Mapping: "condition", Table: "patients", Read: 50, Joined: 30, NeverJoined: 20},
		},
		Resources: []ResourceCount{{Type: "Patient", Made: 58}, {Type: "Condition", Made: 101, Merged: 1, Vanished: 3, Rekeyed: 1}, {Type: "Procedure", Vanished: 1}},
		Refusals:  []Refusal{{Table: "patients", Line: 7, Column: "BIRTHDATE", Rule: "bad-date", Mapping: "patient"}},
		Formulas:  []Formula{{Mapping: "patient", Path: "name", Place: "patient.yaml:9:3", Reads: 58, Writes: 57, Empties: 1}},
	}))
	for id, o := range map[string]Outcomes{"p": {Loaded: 57, Rejected: 1}, "c": {Loaded: 90, Unchanged: 8, Held: 2, NotApplied: 1}} {
		must(t, l.StartBatch(t.Context(), id))
		must(t, l.Record(t.Context(), run.ID, Report{Outcomes: []BatchOutcome{{Batch: id, State: Loaded, Outcomes: o}}}))
	}
	must(t, l.SetState(t.Context(), run.ID, Finished, 1500*time.Millisecond, ""))
	return l, run
}

// verify reads everything back: one condition differs, one patient is gone, one was edited.
func verify(t *testing.T, l *Ledger, run Run) {
	t.Helper()
	must(t, l.Reopen(t.Context(), run.ID))
	must(t, l.Record(t.Context(), run.ID, Report{
		Verified: []VerifiedCount{{Type: "Patient", Matched: 55, Missing: 1, EditedSince: 1, Unexpected: 1}, {Type: "Condition", Matched: 96, Different: 1, NotCompared: 1}},
		Discrepancies: []Discrepancy{
			{Kind: Different, Type: "Condition", ID: "c1", Path: "code", Code: "changed", Table: "conditions", Line: 3},
			{Kind: Vanished, Type: "Procedure", ID: "v1"},
			{Kind: Missing, Type: "Patient", ID: "p1"}, {Kind: EditedSince, Type: "Patient", ID: "p2"}, {Kind: Unexpected, Type: "Patient", ID: "p3"},
			{Kind: Refused, Type: "Observation", Table: "observations", Line: 9, Code: "bad-number"},
		},
		Normalised: map[string]int64{"time-zone": 12},
	}))
	must(t, l.CloseVerification(t.Context(), run.ID, []Gate{{Name: "missing", Limit: "0", Value: "1"}, {Name: "refused", Limit: "5%", Value: "0.6%", Met: true}}))
}

// What is persisted or printed as JSON has a golden file.
func TestSummaryJSON(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l, run := sample(t, at)
		verify(t, l, run)
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if faults := Balance(s); faults != nil {
			t.Error(faults)
		}
		got, err := json.MarshalIndent(s, "", "  ")
		must(t, err)
		got = append(got, '\n')
		golden := filepath.Join("testdata", "summary.json")
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(golden, got, 0o644))
		}
		want, err := os.ReadFile(golden)
		must(t, err)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("summary (-want +got):\n%s", diff)
		}
	})
}

// Always all keys, also of a run of which nothing is known.
func TestSummaryOfNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		text, err := json.Marshal(s)
		must(t, err)
		var keys map[string]json.RawMessage
		must(t, json.Unmarshal(text, &keys))
		for _, key := range []string{"run", "state", "seconds", "rate", "tables", "resources", "verified", "discrepancies", "gates"} {
			if _, ok := keys[key]; !ok {
				t.Errorf("no key %s", key)
			}
			delete(keys, key)
		}
		if len(keys) > 0 || strings.Contains(string(text), "null") {
			t.Errorf("got %s", text)
		}
		if string(text) == "" || !strings.Contains(string(text), `"gates":[]`) || !strings.Contains(string(text), `"missing":{"high":0,"low":0,"medium":0}`) {
			t.Errorf("got %s", text)
		}
	})
}

func TestVerificationIsForgottenAndClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l, run := sample(t, at)
		read := func() *Summary {
			t.Helper()
			s, err := l.Summary(t.Context(), run.ID)
			must(t, err)
			return s
		}
		if got := read().Verified["Condition"]; got.NotCompared != 98 {
			t.Errorf("before reading back: %+v", got)
		}
		must(t, l.Record(t.Context(), run.ID, Report{Verified: []VerifiedCount{{Type: "Condition", Matched: 90}}}))
		if got := read().Verified["Condition"]; got.Matched != 90 || got.NotCompared != 8 {
			t.Errorf("while reading back: %+v", got)
		}
		verify(t, l, run)
		verify(t, l, run) // the second reading back replaces the first
		s := read()
		if !s.Reconciled || s.Verified["Condition"] != (VerifiedRow{Matched: 96, Different: 1, NotCompared: 1}) || s.Normalised["time-zone"] != 12 {
			t.Errorf("after reading back: %+v", s)
		}
		if s.Discrepancies[Missing][High] != 1 || s.Discrepancies[Refused][Medium] != 1 || s.Domains[Problems][Different] != 1 || s.Domains[Results][Refused] != 1 {
			t.Errorf("discrepancies: %+v, %+v", s.Discrepancies, s.Domains)
		}
		if diff := cmp.Diff([]Gate{{Name: "missing", Limit: "0", Value: "1"}, {Name: "refused", Limit: "5%", Value: "0.6%", Met: true}}, s.Gates); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDiscrepancyKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		d := Discrepancy{Kind: Different, Type: "Patient", ID: "p1", Path: "birthDate", Sent: "5e", Found: "aa"}
		other := d
		other.Found = "bb"
		split := d
		split.ID, split.Path = "p1b", "irthDate"
		place := Discrepancy{Kind: Refused, Type: "Patient", Table: "patients", Line: 7, Code: "bad-date"}
		place2 := place
		place2.Line = 8
		must(t, l.Record(t.Context(), run.ID, Report{Discrepancies: []Discrepancy{place, d, d, other, split, place2}}))
		var keys []string
		for d, err := range l.Discrepancies(t.Context(), run.ID) {
			must(t, err)
			if d.ID == "p1" && (d.Sent != "5e" || d.Found == "") {
				t.Errorf("the digests are not kept: %+v", d)
			}
			if d.Domain != Identity || d.Severity() != High {
				t.Errorf("got %+v", d)
			}
			keys = append(keys, d.Key)
		}
		if len(keys) != 5 {
			t.Errorf("%d discrepancies, want 5: the same twice is one, others are their own", len(keys))
		}
		if d.key() != (Discrepancy{Kind: Different, Type: "Patient", ID: "p1", Path: "birthDate", Sent: "5e", Found: "aa", Table: "patients", Line: 4}).key() {
			t.Error("the key of a resource hangs on the line it came from")
		}
		err := l.Record(t.Context(), run.ID, Report{Discrepancies: []Discrepancy{{Kind: Missing, Type: "Patient"}}})
		if err == nil {
			t.Error("a discrepancy of nothing was taken")
		}
	})
}

func TestDomains(t *testing.T) {
	var order []string
	for _, d := range Domains() {
		order = append(order, d.String()+" "+string(d.Severity()))
	}
	want := []string{"allergies high", "medications high", "identity high", "problems high", "immunizations medium", "results medium", "rest low"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
	for typ, want := range map[string]Domain{"AllergyIntolerance": Allergies, "MedicationRequest": Medications, "Patient": Identity, "Condition": Problems,
		"Immunization": Immunizations, "Observation": Results, "Device": Rest, "": Rest} {
		if got := DomainOf(typ); got != want {
			t.Errorf("%s is of %v", typ, got)
		}
	}
	if Domain(99).Severity() != High {
		t.Error("an unknown domain is not high")
	}
}

// Each planted fault is named, alone.
func TestBalanceFindsEachFault(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l, run := sample(t, at)
		verify(t, l, run)
		for name, test := range map[string]struct {
			plant func(*Summary)
			want  string
		}{
			"a record vanished":           {func(s *Summary) { r := s.Tables["patients"]; r.Read++; s.Tables["patients"] = r }, "table patients: read is 61"},
			"a refusal was not counted":   {func(s *Summary) { s.Tables["patients"].Refused["bad-date"]-- }, "table patients: "},
			"a skip was counted twice":    {func(s *Summary) { s.Tables["patients"].Skipped["test patient"]++ }, "table patients: "},
			"a mapping lost a record":     {func(s *Summary) { s.Mappings[0].Mapped-- }, "mapping condition of table conditions: read is 120"},
			"a child row was not counted": {func(s *Summary) { s.Mappings[1].Joined-- }, "mapping condition of table patients: read is 50"},
			"a mapping read too much":     {func(s *Summary) { s.Mappings[0].Read++; s.Mappings[0].Mapped++ }, "it read 121 records, the table has 120"},
			"a resource vanished": {func(s *Summary) {
				r := s.Resources["Patient"]
				r.Loaded--
				s.Resources["Patient"] = r
				v := s.Verified["Patient"]
				v.Matched--
				s.Verified["Patient"] = v
			}, "type Patient: made is 58"},
			"a merge was not counted":    {func(s *Summary) { r := s.Resources["Condition"]; r.Merged--; s.Resources["Condition"] = r }, "type Condition: made is 101"},
			"loaded and not read back":   {func(s *Summary) { v := s.Verified["Patient"]; v.Matched--; s.Verified["Patient"] = v }, "type Patient in the target: loaded + unchanged is 57"},
			"a type was not read back":   {func(s *Summary) { delete(s.Verified, "Condition") }, "type Condition in the target: loaded + unchanged is 98"},
			"read back and never loaded": {func(s *Summary) { s.Verified["Device"] = VerifiedRow{Matched: 1} }, "type Device in the target: loaded + unchanged is 0"},
			"more was left than stood":   {func(s *Summary) { r := s.Resources["Condition"]; r.NotApplied = 9; s.Resources["Condition"] = r }, "type Condition: not applied is 9"},
			"more rekeyed than vanished": {func(s *Summary) { r := s.Resources["Condition"]; r.Rekeyed = 4; s.Resources["Condition"] = r }, "type Condition: rekeyed is 4"},
			"a formula lost a value":     {func(s *Summary) { s.Formulas[0].Writes-- }, "formula of name in mapping patient: read is 58"},
		} {
			t.Run(name, func(t *testing.T) {
				s, err := l.Summary(t.Context(), run.ID)
				must(t, err)
				test.plant(s)
				faults := Balance(s)
				if len(faults) != 1 || !strings.Contains(faults[0], test.want) {
					t.Errorf("got %q, want %q", faults, test.want)
				}
			})
		}
	})
}

// The same, planted in what is recorded: a caller that counts wrongly is found.
func TestBalanceFindsMiscounts(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		must(t, l.Record(t.Context(), run.ID, Report{
			Batches:   []Batch{batch("b", "Patient", 9)},
			Resources: []ResourceCount{{Type: "Patient", Made: 10}}, // ten were made, nine are in a batch
			Tables:    []RecordCount{{Table: "patients", Read: 10, Mapped: 9}},
		}))
		s, err := l.Summary(t.Context(), run.ID)
		must(t, err)
		if faults := Balance(s); len(faults) != 2 {
			t.Errorf("got %q", faults)
		}
	})
}

// Whatever fates records have and in however many pieces they are recorded, the sums are those of one piece.
func TestCountsAddUp(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		runs := 0
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			run, err := l.BeginRun(t.Context(), RunSpec{Kind: Dry, Wave: fmt.Sprint(runs)})
			if err != nil {
				rt.Fatal(err)
			}
			want := TableRow{Skipped: map[string]int64{}, Refused: map[string]int64{}}
			for range rapid.IntRange(1, 4).Draw(rt, "pieces") {
				c := RecordCount{Table: "t", Skipped: map[string]int64{}, Refused: map[string]int64{}}
				for _, fate := range rapid.SliceOfN(rapid.SampledFrom([]string{"mapped", "skip", "refuse", "other"}), 0, 30).Draw(rt, "fates") {
					c.Read++
					reason := rapid.SampledFrom([]string{"r1", "r2"}).Draw(rt, "reason")
					switch fate {
					case "mapped":
						c.Mapped++
					case "skip":
						c.Skipped[reason]++
						want.Skipped[reason]++
					case "refuse":
						c.Refused[reason]++
						want.Refused[reason]++
					case "other":
						c.OtherWave++
					}
				}
				want.Read, want.Mapped, want.OtherWave = want.Read+c.Read, want.Mapped+c.Mapped, want.OtherWave+c.OtherWave
				if err := l.Record(t.Context(), run.ID, Report{Tables: []RecordCount{c}}); err != nil {
					rt.Fatal(err)
				}
			}
			// a record that was mapped and later turns out to be a duplicate moves to the refused
			if want.Mapped > 0 {
				want.Mapped--
				want.Refused["duplicate-key"]++
				if err := l.Record(t.Context(), run.ID, Report{Tables: []RecordCount{{Table: "t", Mapped: -1, Refused: map[string]int64{"duplicate-key": 1}}}}); err != nil {
					rt.Fatal(err)
				}
			}
			s, err := l.Summary(t.Context(), run.ID)
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, s.Tables["t"]); diff != "" {
				rt.Error(diff)
			}
			if faults := Balance(s); faults != nil {
				rt.Error(faults)
			}
		})
	})
}
