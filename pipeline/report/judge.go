package report

import (
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// Decision is the word at the top of a report.
type Decision string

// The decisions.
const (
	Go     Decision = "GO"
	NoGo   Decision = "NO-GO"
	Review Decision = "REVIEW"
)

// Verdict is what a run comes to: the word, why in one sentence, and what to do next.
type Verdict struct {
	Decision Decision `json:"decision"`
	Why      string   `json:"why"`
	Next     string   `json:"next"`
	// Remedies say for each kind of thing that was found what helps; commands and keys of the plan stand in backquotes.
	Remedies []string `json:"remedies,omitempty"`
}

// Judge draws the verdict. In this order: sums that do not balance, a failed or unfinished run and a gate that is not
// met are NO-GO; anything left for a person to look at is REVIEW; else GO. A run without gates, or one that was not
// read back, is never GO.
func Judge(s *ledger.Summary) Verdict {
	var v Verdict
	v.Decision, v.Why, v.Next = judge(s)
	if s.State == ledger.Finished && len(s.Gates) > 0 && v.Decision != Go {
		v.Remedies = remedies(s)
	}
	return v
}

func judge(s *ledger.Summary) (decision Decision, why, next string) {
	dry := s.Kind == ledger.Dry
	if faults := ledger.Balance(s); faults != nil {
		return NoGo, fmt.Sprintf("%s of the program's own accounts %s not balance, so none of its figures can be relied on.", count(int64(len(faults)), "sum"), verb(len(faults), "does", "do")),
			"Do not go live. Keep the ledger and the stage as they are and report this as a fault of the program."
	}
	switch s.State {
	case ledger.Failed:
		return NoGo, "The run failed" + because(s.Reason) + ".", "Mend the cause, then `chartlift run`."
	case ledger.Running:
		return NoGo, "The run has not ended: these figures are a moment of it.", "Wait for it to end. If it was killed, the same command goes on where it stopped."
	case ledger.Interrupted, ledger.Partial:
		return NoGo, "The run stopped before its end" + because(s.Reason) + ".", "Start the same command again: it goes on where it stopped."
	}
	var unmet []string
	for _, g := range s.Gates {
		if !g.Met {
			unmet = append(unmet, fmt.Sprintf("%s (limit %s, found %s)", g.Name, g.Limit, g.Value))
		}
	}
	if len(unmet) > 0 {
		next := "Look at the discrepancies and refusals, the gravest first."
		if len(unmet) == 1 {
			return NoGo, "One gate is not met: " + unmet[0] + ".", next
		}
		const named = 3 // a sentence; the table of gates has them all
		list := strings.Join(unmet[:min(named, len(unmet))], "; ")
		if more := len(unmet) - named; more > 0 {
			list += fmt.Sprintf("; and %d more", more)
		}
		return NoGo, fmt.Sprintf("%d gates are not met: %s.", len(unmet), list), next
	}
	if len(s.Gates) == 0 {
		return Review, "No gate was checked, so nothing here says whether the run is good enough.", "`chartlift reconcile` checks the gates."
	}
	var notCompared int64
	for _, v := range s.Verified {
		notCompared += v.NotCompared
	}
	if notCompared > 0 && !dry {
		return Review, fmt.Sprintf("%s loaded but not compared with what was sent.", was(notCompared, "resource")), "`chartlift reconcile`: what was not compared is not known to be right."
	}
	if left := open(s); left != "" {
		why := "Every gate is met, and there is something to look at: " + left + "."
		if dry {
			return Review, why, "Nothing was sent: this was a rehearsal. Go through the lists of the report before the real run."
		}
		return Review, why, "Go through the lists of the report and decide about each group."
	}
	if dry {
		return Go, "Every gate is met and nothing is left to look at. Nothing was sent: this was a rehearsal.", "`chartlift run` does it for real."
	}
	return Go, "Every gate is met, everything that was loaded was read back and matches, and nothing is left to look at.", "Sign the domains; this wave can go live."
}

// remedies name what helps against what a finished run has found.
func remedies(s *ledger.Summary) []string {
	found := map[ledger.Kind]int64{}
	for kind, bySeverity := range s.Discrepancies {
		for _, n := range bySeverity {
			found[kind] += n
		}
	}
	var list []string
	add := func(n int64, what, helps string) {
		if n > 0 {
			list = append(list, what+": "+helps)
		}
	}
	of := func(kind ledger.Kind) string { return number(found[kind]) }
	add(found[ledger.Missing], of(ledger.Missing)+" missing in the target", "`chartlift run --repair` sends again what is missing, also what somebody has deleted there; `chartlift dry-run --repair` counts it first.")
	add(found[ledger.Different], count(found[ledger.Different], "difference"), "`chartlift run --repair=different` sends again what nobody has changed in the target. What is different again then is altered by the target.")
	add(found[ledger.Unexpected], of(ledger.Unexpected)+" unexpected", "ask who wrote it; delete in the target what does not belong there, then `chartlift reconcile`.")
	vanished := found[ledger.Vanished] + found[ledger.Rekeyed]
	add(vanished, number(vanished)+" vanished from the source", "find out whether it was deleted there, or the export lacks it. If it was deleted, say `vanished: mark` or `vanished: delete` in the plan, then `chartlift run`.")
	add(found[ledger.EditedSince], of(ledger.EditedSince)+" edited in the target", "look, and decide there. Nothing overwrites an edit.")
	add(found[ledger.Rejected], of(ledger.Rejected)+" rejected by the target", "mend the cause, then `chartlift run --rejected`.")
	again := "`chartlift run`."
	if s.Kind == ledger.Dry {
		again = "`chartlift dry-run`."
	}
	add(s.Refusals, count(s.Refusals, "refused record"), "mend the source or the mapping, then "+again)
	return list
}

// open names what is left for a person to look at; empty if nothing is.
func open(s *ledger.Summary) string {
	var discrepancies, inDoubt, held, pending int64
	for _, kind := range ledger.Kinds() {
		for _, n := range s.Discrepancies[kind] {
			discrepancies += n
		}
	}
	for _, r := range s.Resources {
		inDoubt += r.InDoubt
		held += r.Held
		if s.Kind != ledger.Dry {
			pending += r.Pending
		}
	}
	var parts []string
	for _, part := range []struct {
		n     int64
		thing string
	}{
		{discrepancies, "discrepancy"}, {s.Refusals, "refused record"}, {s.Findings, "finding"}, {int64(len(s.Unmapped)), "unmapped code"},
		{emptied(s), "formula that read something and wrote nothing"},
	} {
		if part.n > 0 {
			parts = append(parts, count(part.n, part.thing))
		}
	}
	for _, part := range []struct {
		n    int64
		what string
	}{{inDoubt, "in doubt"}, {held, "held back"}, {pending, "not sent yet"}} {
		if part.n > 0 {
			parts = append(parts, count(part.n, "resource")+" "+part.what)
		}
	}
	return sentenceList(parts)
}

// emptied counts the formulas that read something, wrote nothing, and have no `allow empty:` for it.
func emptied(s *ledger.Summary) int64 {
	var n int64
	for _, f := range s.Formulas {
		if f.Empties > 0 && f.Reason == "" {
			n++
		}
	}
	return n
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + strings.TrimRight(reason, ".") + ")"
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func was(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing + " was"
	}
	return count(n, thing) + " were"
}

// count writes a number with its noun, in the plural where it is not one.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	head, tail, more := strings.Cut(noun, " that ")
	switch {
	case strings.HasSuffix(head, "y"):
		head = strings.TrimSuffix(head, "y") + "ies"
	case strings.HasSuffix(head, "ch"):
		head += "es"
	default:
		head += "s"
	}
	if more {
		head += " that " + tail
	}
	return number(n) + " " + head
}

// sentenceList joins parts as a sentence does.
func sentenceList(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

// number writes a whole number with a comma between thousands.
func number(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
