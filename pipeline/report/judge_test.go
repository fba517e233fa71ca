package report

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// Each planted fault alone turns the verdict of a clean run.
func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		kind  ledger.RunKind
		plant func(*ledger.Summary)
		want  Decision
		why   string
	}{
		"clean":             {ledger.Real, func(*ledger.Summary) {}, Go, "matches"},
		"clean rehearsal":   {ledger.Dry, func(*ledger.Summary) {}, Go, "rehearsal"},
		"running":           {ledger.Real, func(s *ledger.Summary) { s.State = ledger.Running }, NoGo, "has not ended"},
		"interrupted":       {ledger.Real, func(s *ledger.Summary) { s.State, s.Reason = ledger.Interrupted, "signal" }, NoGo, "(signal)"},
		"partial":           {ledger.Real, func(s *ledger.Summary) { s.State = ledger.Partial }, NoGo, "stopped before its end"},
		"failed":            {ledger.Real, func(s *ledger.Summary) { s.State, s.Reason = ledger.Failed, "disk gone." }, NoGo, "(disk gone)."},
		"unbalanced":        {ledger.Real, func(s *ledger.Summary) { s.Tables["patients"] = ledger.TableRow{Read: 60, Mapped: 59} }, NoGo, "1 sum of the program's own accounts does not balance"},
		"gate":              {ledger.Real, func(s *ledger.Summary) { s.Gates[0] = ledger.Gate{Name: "refused", Limit: "0.1%", Value: "2%"} }, NoGo, "refused (limit 0.1%, found 2%)"},
		"gate of rehearsal": {ledger.Dry, func(s *ledger.Summary) { s.Gates[0].Met = false }, NoGo, "One gate"},
		"no gates":          {ledger.Real, func(s *ledger.Summary) { s.Gates = nil }, Review, "No gate"},
		"not compared":      {ledger.Real, func(s *ledger.Summary) { s.Verified["Patient"] = ledger.VerifiedRow{Matched: 58, NotCompared: 1} }, Review, "1 resource was loaded but not compared"},
		"discrepancy": {ledger.Real, func(s *ledger.Summary) {
			s.Discrepancies = map[ledger.Kind]map[ledger.Severity]int64{ledger.EditedSince: {ledger.Low: 2}}
		}, Review, "2 discrepancies"},
		"refusal":           {ledger.Real, func(s *ledger.Summary) { s.Refusals = 1 }, Review, "1 refused record."},
		"finding":           {ledger.Dry, func(s *ledger.Summary) { s.Findings = 3 }, Review, "3 findings."},
		"unmapped":          {ledger.Real, func(s *ledger.Summary) { s.Unmapped = make([]ledger.Unmapped, 2) }, Review, "2 unmapped codes."},
		"emptied":           {ledger.Real, func(s *ledger.Summary) { s.Formulas = []ledger.Formula{{Reads: 2, Empties: 2}} }, Review, "1 formula that read something and wrote nothing."},
		"allowed emptiness": {ledger.Real, func(s *ledger.Summary) { s.Formulas = []ledger.Formula{{Reads: 2, Empties: 2, Reason: "known"}} }, Go, ""},
		"notice":            {ledger.Real, func(s *ledger.Summary) { s.Notices = 3 }, Go, ""},
		"in doubt": {ledger.Real, func(s *ledger.Summary) {
			s.Resources["Device"] = ledger.ResourceRow{Made: 3, InDoubt: 1, Held: 1, Pending: 1}
		}, Review, "1 resource in doubt, 1 resource held back and 1 resource not sent yet."},
	} {
		t.Run(name, func(t *testing.T) {
			s := clean(test.kind).Summary
			test.plant(s)
			v := Judge(s)
			if v.Decision != test.want || !strings.Contains(v.Why, test.why) || v.Next == "" {
				t.Errorf("got %+v, want %s because of %q", v, test.want, test.why)
			}
		})
	}
}

// What was found names the command, or the key of the plan, that helps; nothing else is advised.
func TestRemedies(t *testing.T) {
	for kind, want := range map[ledger.Kind]string{
		ledger.Missing:     "2 missing in the target: `chartlift run --repair` ",
		ledger.Different:   "2 differences: `chartlift run --repair=different` ",
		ledger.Unexpected:  "`chartlift reconcile`",
		ledger.Vanished:    "If it was deleted, say `vanished: mark` or `vanished: delete` in the plan, then `chartlift run`.",
		ledger.Rekeyed:     "2 vanished from the source",
		ledger.EditedSince: "Nothing overwrites an edit.",
		ledger.Rejected:    "`chartlift run --rejected`",
	} {
		for _, met := range []bool{false, true} {
			s := clean(ledger.Real).Summary
			s.Discrepancies = map[ledger.Kind]map[ledger.Severity]int64{kind: {ledger.High: 1, ledger.Low: 1}}
			s.Gates[0].Met = met
			if v := Judge(s); len(v.Remedies) != 1 || !strings.Contains(v.Remedies[0], want) {
				t.Errorf("%s, gate met: %t: got %q, want %q", kind, met, v.Remedies, want)
			}
		}
	}
	for kind, want := range map[ledger.RunKind]string{ledger.Real: "then `chartlift run`.", ledger.Dry: "then `chartlift dry-run`."} {
		s := clean(kind).Summary
		s.Refusals = 1
		if v := Judge(s); len(v.Remedies) != 1 || !strings.HasSuffix(v.Remedies[0], want) {
			t.Errorf("%s: got %q, want %q", kind, v.Remedies, want)
		}
		s.State = ledger.Interrupted
		if v := Judge(s); v.Remedies != nil {
			t.Errorf("advice before the end: %q", v.Remedies)
		}
	}
	if v := Judge(clean(ledger.Real).Summary); v.Remedies != nil {
		t.Errorf("advice where nothing was found: %q", v.Remedies)
	}
}

// Every code of the program has its sentences, and a rule's own name falls back to itself.
func TestExplain(t *testing.T) {
	codes := []string{
		extract.RuleRaggedRow, extract.RuleBareQuote, extract.RuleQuoteAfterBlank, extract.RuleTextAfterQuote, extract.RuleUnterminatedQuote,
		extract.RuleNULByte, extract.RuleInvalidEncoding, extract.RuleFieldTooLong, extract.RuleRecordTooLong, extract.RuleTooManyColumns,
		mapping.FindUnmapped, mapping.FindNarrower, mapping.FindSeveral, mapping.FindDoubtfulUnit, mapping.FindDroppedRef, mapping.FindWroteNothing, mapping.FindUnusedColumn, mapping.FindUnusedTable, mapping.FindMissingColumn,
	}
	for _, code := range mapping.Codes() {
		codes = append(codes, string(code))
	}
	for _, code := range codes {
		if !Explained(code) {
			t.Errorf("no words for %s", code)
		}
	}
	for _, list := range []map[string]Explanation{catalogue, noted} {
		for _, code := range slices.Sorted(maps.Keys(list)) {
			e := list[code]
			if e.Title == "" || !strings.HasSuffix(e.Meaning, ".") || e.Action != "" && !strings.HasSuffix(e.Action, ".") {
				t.Errorf("%s is explained as %+v", code, e)
			}
		}
	}
	for _, kind := range ledger.Kinds() {
		if e := ExplainKind(kind); e.Action == "" || e.Title == string(kind) {
			t.Errorf("%s is explained as %+v", kind, e)
		}
	}
	for _, domain := range ledger.Domains() {
		if domainTexts[domain].title == "" || domainTexts[domain].why == "" {
			t.Errorf("no words for %s", domain)
		}
	}
	if e := Explain("stop before start"); e.Title != "stop before start" || e.Meaning == "" {
		t.Errorf("got %+v", e)
	}
	if e := ExplainKind("other"); e.Title != "other" {
		t.Errorf("got %+v", e)
	}
}

func TestWords(t *testing.T) {
	got := []string{count(1, "discrepancy"), count(2, "discrepancy"), count(1234567, "batch"), count(0, "formula that read"), number(-1234), number(999), number(1000),
		share(0, 0), share(1, 1_000_000), share(999_999, 1_000_000), share(5, 5), share(1, 200), share(1, 3), size(999), size(1000), size(2_500_000), size(3_000_000_000),
		sentenceList([]string{"a"}), sentenceList([]string{"a", "b", "c"})}
	want := []string{"1 discrepancy", "2 discrepancies", "1,234,567 batches", "0 formulas that read", "-1,234", "999", "1,000",
		"0 %", "under 0.01 %", "over 99.99 %", "100 %", "0.50 %", "33.3 %", "999 B", "1.0 kB", "2.5 MB", "3.0 GB", "a", "a, b and c"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLines(t *testing.T) {
	var l lines
	for _, n := range []int64{3, 4, 5, 9, 11, 12, 12, 20, 22, 24, 26, 28, 30} {
		l.add(n)
	}
	if l.First() != "3–5, 9, 11–12, 20, 22, 24, 26, 28" || l.Rest() != "30" {
		t.Errorf("got %q and %q", l.First(), l.Rest())
	}
}

// A part that is there is seen, however small, and the bar is full.
func TestBar(t *testing.T) {
	list := bar(part{"good", 999_999}, part{"plain", 0}, part{"bad", 1})
	if len(list) != 2 || list[0].From != 0 || list[1].To < 99.999 || list[1].To > 100.001 || list[1].To-list[1].From < 1 {
		t.Errorf("got %+v", list)
	}
	if bar(part{"good", 0}) != nil {
		t.Error("a bar of nothing")
	}
}
