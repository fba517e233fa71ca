package reconcile

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// Limit is a gate as the plan states it: at most Value, a count or, with Share, a percentage of the records read.
type Limit struct {
	Name  string
	Text  string // as written: "0.1%", "50"
	Value float64
	Share bool
}

// strict are the clinical domains in which nothing may be wrong: an error there harms someone before anybody notices.
// The order and the choice are those of clinicians; see the VA and Vanderbilt reports named in the manual.
var strict = []ledger.Domain{ledger.Allergies, ledger.Medications, ledger.Identity, ledger.Problems}

// Evaluate holds a run's account against the built-in gates and those of the plan. Built in are, for allergies,
// medications, identity and problems: missing, different, vanished, rejected, refused and in doubt are 0 (identity counts
// Patient, problems Condition), and not compared is 0 for everything. refusals counts the refused records by the type
// that they would have become. dry leaves out what only a target can tell. Every gate is answered, met or not, in a
// fixed order.
func Evaluate(s *ledger.Summary, refusals map[string]int64, limits []Limit, dry bool) []ledger.Gate {
	var gates []ledger.Gate
	zero := func(name string, value int64) {
		gates = append(gates, ledger.Gate{Name: name, Limit: "0", Value: strconv.FormatInt(value, 10), Met: value == 0})
	}
	refused := domainSum(refusals, func(n int64) int64 { return n })
	missing := domainSum(s.Verified, func(v ledger.VerifiedRow) int64 { return v.Missing })
	different := domainSum(s.Verified, func(v ledger.VerifiedRow) int64 { return v.Different })
	rejected := domainSum(s.Resources, func(r ledger.ResourceRow) int64 { return r.Rejected })
	vanished := domainSum(s.Resources, func(r ledger.ResourceRow) int64 { return r.Vanished })
	open := domainSum(s.Resources, func(r ledger.ResourceRow) int64 { return r.InDoubt + r.Held + r.Pending })
	for _, d := range strict {
		zero("refused "+d.String(), refused[d])
		if dry {
			continue
		}
		zero("missing "+d.String(), missing[d])
		zero("different "+d.String(), different[d])
		zero("vanished "+d.String(), vanished[d])
		zero("rejected "+d.String(), rejected[d])
		zero("in doubt, held or not sent "+d.String(), open[d])
	}
	if !dry {
		var notCompared int64
		for _, v := range s.Verified {
			notCompared += v.NotCompared
		}
		zero("not compared", notCompared)
	}
	for _, l := range limits {
		if value, ok := measure(l.Name, s, dry); ok {
			gates = append(gates, hold(l, value, s))
		}
	}
	return gates
}

func domainSum[V any](rows map[string]V, value func(V) int64) map[ledger.Domain]int64 {
	out := map[ledger.Domain]int64{}
	for typ, row := range rows {
		out[ledger.DomainOf(typ)] += value(row)
	}
	return out
}

// measure is the number that a gate of the plan speaks of; false if only a target could tell and the run is dry.
func measure(name string, s *ledger.Summary, dry bool) (int64, bool) {
	var n int64
	switch name {
	case "refused":
		for _, t := range s.Tables {
			n += t.RefusedSum()
		}
		return n, true
	case "unmapped-codes":
		return int64(len(s.Unmapped)), true
	case "findings":
		return s.Findings, true
	}
	for _, r := range s.Resources {
		switch name {
		case "rejected":
			n += r.Rejected
		case "vanished":
			n += r.Vanished
		case "in-doubt":
			n += r.InDoubt
		case "held":
			n += r.Held
		}
	}
	for _, v := range s.Verified {
		switch name {
		case "missing":
			n += v.Missing
		case "different":
			n += v.Different
		case "unexpected":
			n += v.Unexpected
		case "not-compared":
			n += v.NotCompared
		}
	}
	return n, !dry
}

// hold compares without rounding: a share is met if n/read <= limit/100, so the printed value never decides.
func hold(l Limit, n int64, s *ledger.Summary) ledger.Gate {
	g := ledger.Gate{Name: l.Name, Limit: l.Text, Value: strconv.FormatInt(n, 10), Met: float64(n) <= l.Value}
	if !l.Share {
		return g
	}
	var read int64
	for _, t := range s.Tables {
		read += t.Read
	}
	share := 0.0
	if read > 0 {
		share = 100 * float64(n) / float64(read)
	}
	g.Value = percent(share)
	g.Met = float64(n)*100 <= l.Value*float64(read)
	return g
}

// percent writes a share so that a value above zero never reads as zero.
func percent(share float64) string {
	if share == 0 {
		return "0%"
	}
	text := strconv.FormatFloat(share, 'f', 4, 64)
	if text == "0.0000" {
		return "under 0.0001%"
	}
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text + "%"
}

// Unmet names the gates that are not met.
func Unmet(gates []ledger.Gate) []string {
	var names []string
	for _, g := range gates {
		if !g.Met {
			names = append(names, fmt.Sprintf("%s: %s, limit %s", g.Name, g.Value, g.Limit))
		}
	}
	return slices.Clip(names)
}
