package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// Text writes a run's summary for a terminal: records by outcome, resources by type, what the target holds, refusals
// by reason, discrepancies, gates, time, and what to do next. Names from the data are stripped of control characters,
// so that none of them can steer the terminal.
func Text(w io.Writer, d Data) error {
	s := d.Summary
	var p printer
	p.line("%s  %s%s", s.Run, s.State, because(s.Reason))
	if s.Wave != "" {
		p.line("wave %s", s.Wave)
	}

	if len(s.Tables) > 0 {
		rows := [][]string{{"Records", "read", "mapped", "skipped", "refused", "other wave"}}
		var total ledger.TableRow
		var skipped, refused int64
		for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
			t := s.Tables[name]
			rows = append(rows, figures(name, t.Read, t.Mapped, t.SkippedSum(), t.RefusedSum(), t.OtherWave))
			total.Read, total.Mapped, total.OtherWave = total.Read+t.Read, total.Mapped+t.Mapped, total.OtherWave+t.OtherWave
			skipped, refused = skipped+t.SkippedSum(), refused+t.RefusedSum()
		}
		p.table(append(rows, figures("total", total.Read, total.Mapped, skipped, refused, total.OtherWave)))
	}
	if len(s.Resources) > 0 {
		p.resources(s)
	}
	if s.Kind != ledger.Dry && len(s.Verified) > 0 {
		rows := [][]string{{"In the target", "matched", "different", "missing", "edited since", "not compared", "unexpected"}}
		var t ledger.VerifiedRow
		for _, name := range slices.Sorted(maps.Keys(s.Verified)) {
			v := s.Verified[name]
			rows = append(rows, figures(name, v.Matched, v.Different, v.Missing, v.EditedSince, v.NotCompared, v.Unexpected))
			t = addVerified(t, v)
		}
		p.table(append(rows, figures("total", t.Matched, t.Different, t.Missing, t.EditedSince, t.NotCompared, t.Unexpected)))
	}
	p.reasons("Refused", s, func(t ledger.TableRow) map[string]int64 { return t.Refused })
	p.reasons("Skipped by rule", s, func(t ledger.TableRow) map[string]int64 { return t.Skipped })
	p.discrepancies(s)
	p.gates(s.Gates)

	p.line("")
	facts := [][]string{{"Duration", duration(s.Elapsed)}, {"Rate", number(int64(s.Rate)) + " records/s"}}
	if s.Resumes > 0 {
		facts = append(facts, []string{"Resumed", count(int64(s.Resumes), "time")})
	}
	if s.Batches > 0 {
		facts = append(facts, []string{"Staged", fmt.Sprintf("%s in %s", size(s.Bytes), count(s.Batches, "batch"))})
	}
	if s.Findings+s.Notices > 0 {
		facts = append(facts, []string{"Remarks", fmt.Sprintf("%s, %s", count(s.Findings, "finding"), count(s.Notices, "notice"))})
	}
	if len(s.Unmapped) > 0 {
		facts = append(facts, []string{"Unmapped", count(int64(len(s.Unmapped)), "code")})
	}
	if n := loose(s); n > 0 {
		facts = append(facts, []string{"Loose", count(n, "translation") + " into a code that does not mean the same"})
	}
	for _, f := range facts {
		p.line("%-9s %s", f[0], f[1])
	}
	for _, fault := range ledger.Balance(s) {
		p.line("DOES NOT BALANCE: %s", fault)
	}
	v := Judge(s)
	p.line("")
	p.line("%s: %s", v.Decision, v.Why)
	p.line("Next: %s", v.Next)
	for _, remedy := range v.Remedies {
		p.line("  - %s", remedy)
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

// loose counts the translations into a code that does not mean the same; where there was a choice, nothing was translated.
func loose(s *ledger.Summary) (n int64) {
	for _, t := range s.Translations {
		if t.Relationship != "choice" {
			n += t.Count
		}
	}
	return n
}

// printer gathers the lines of a text.
type printer struct{ text strings.Builder }

func (p *printer) line(format string, args ...any) {
	p.text.WriteString(strings.TrimRight(inert(fmt.Sprintf(format, args...)), " "))
	p.text.WriteByte('\n')
}

// table writes rows with the first column to the left and the others to the right, after a blank line.
func (p *printer) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = inert(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	p.line("")
	for n, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case i > 0:
				text.WriteString("  " + pad + cell)
			case n > 0:
				text.WriteString("  " + cell + pad)
			default:
				text.WriteString(cell + pad + "  ")
			}
		}
		p.line("%s", text.String())
	}
}

// resources shows the account of what was made. What stands beside its sums has columns only where there is any: of most
// runs there is none.
func (p *printer) resources(s *ledger.Summary) {
	var total ledger.ResourceRow
	for _, r := range s.Resources {
		total = addResources(total, r)
	}
	head := []string{"Resources", "made", "loaded", "unchanged", "merged", "rejected", "in doubt", "held", "pending"}
	var beside []func(ledger.ResourceRow) int64
	for _, column := range besideSums {
		if column.count(total) > 0 {
			head, beside = append(head, column.title), append(beside, column.count)
		}
	}
	row := func(name string, r ledger.ResourceRow) []string {
		list := []int64{r.Made, r.Loaded, r.Unchanged, r.Merged, r.Rejected, r.InDoubt, r.Held, r.Pending}
		for _, count := range beside {
			list = append(list, count(r))
		}
		return figures(name, list...)
	}
	rows := [][]string{head}
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		rows = append(rows, row(name, s.Resources[name]))
	}
	p.table(append(rows, row("total", total)))
}

// besideSums are the counts of resources that stand beside the sum of what was made.
var besideSums = []struct {
	title string
	count func(ledger.ResourceRow) int64
}{
	{"not applied", func(r ledger.ResourceRow) int64 { return r.NotApplied }},
	{"vanished", func(r ledger.ResourceRow) int64 { return r.Vanished }},
	{"rekeyed", func(r ledger.ResourceRow) int64 { return r.Rekeyed }},
}

// reasons lists how many records each reason took, over all tables, the most frequent first.
func (p *printer) reasons(title string, s *ledger.Summary, of func(ledger.TableRow) map[string]int64) {
	sums := map[string]int64{}
	for _, t := range s.Tables {
		for reason, n := range of(t) {
			sums[reason] += n
		}
	}
	if len(sums) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(sums))
	slices.SortStableFunc(names, func(a, b string) int { return int(min(1, max(-1, sums[b]-sums[a]))) })
	rows := [][]string{{title, "records"}}
	for _, name := range names {
		label := name
		if Explained(name) {
			label = name + " (" + strings.ToLower(Explain(name).Title) + ")"
		}
		rows = append(rows, figures(label, sums[name]))
	}
	p.table(rows)
}

func (p *printer) discrepancies(s *ledger.Summary) {
	rows := [][]string{{"Discrepancies", "high", "medium", "low"}}
	for _, kind := range ledger.Kinds() {
		n := s.Discrepancies[kind]
		if n[ledger.High]+n[ledger.Medium]+n[ledger.Low] > 0 {
			rows = append(rows, figures(strings.ToLower(ExplainKind(kind).Title), n[ledger.High], n[ledger.Medium], n[ledger.Low]))
		}
	}
	if len(rows) > 1 {
		p.table(rows)
	}
}

func figures(name string, list ...int64) []string {
	row := []string{name}
	for _, n := range list {
		row = append(row, number(n))
	}
	return row
}

func addResources(a, b ledger.ResourceRow) ledger.ResourceRow {
	return ledger.ResourceRow{Made: a.Made + b.Made, Loaded: a.Loaded + b.Loaded, Unchanged: a.Unchanged + b.Unchanged, Merged: a.Merged + b.Merged,
		Rejected: a.Rejected + b.Rejected, InDoubt: a.InDoubt + b.InDoubt, Held: a.Held + b.Held, Pending: a.Pending + b.Pending,
		Vanished: a.Vanished + b.Vanished, Rekeyed: a.Rekeyed + b.Rekeyed, NotApplied: a.NotApplied + b.NotApplied}
}

func addVerified(a, b ledger.VerifiedRow) ledger.VerifiedRow {
	return ledger.VerifiedRow{Matched: a.Matched + b.Matched, Different: a.Different + b.Different, Missing: a.Missing + b.Missing,
		Unexpected: a.Unexpected + b.Unexpected, EditedSince: a.EditedSince + b.EditedSince, NotCompared: a.NotCompared + b.NotCompared}
}

// inert takes out what could steer a terminal: control and format characters, direction marks included.
func inert(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return '�'
		}
		return r
	}, s)
}

// duration writes a time span as people read it: "3.1 s", "12 min 5 s".
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// size writes a number of bytes in decimal units.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
}

// gates shows the gates that are not met one by one, and counts the others: what needs a person must not drown in what
// does not.
func (p *printer) gates(gates []ledger.Gate) {
	rows := [][]string{{"Gates", "limit", "found", ""}}
	for _, g := range gates {
		if !g.Met {
			rows = append(rows, []string{g.Name, g.Limit, g.Value, "NOT MET"})
		}
	}
	met := len(gates) - (len(rows) - 1)
	switch {
	case len(gates) == 0:
	case len(rows) == 1:
		p.line("")
		p.line("Gates     all %d met", met)
	default:
		if met > 0 {
			rows = append(rows, []string{count(int64(met), "other"), "", "", "met"})
		}
		p.table(rows)
	}
}
