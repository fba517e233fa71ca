package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

//go:embed page.gohtml
var pageText string

//go:embed page.css
var style string

// page is what the template sees.
type page struct {
	Data
	Style        template.CSS
	Policy       string // Content-Security-Policy: nothing but the one style sheet in the page itself
	Dry          bool
	Verdict      Verdict
	Unbalanced   []string
	Tiles        []tile
	Gates        []ledger.Gate // unmet ones first
	Met          int
	Tables       []tableRow
	TablesTotal  tableRow
	Reasons      []reasonRow
	Types        []typeRow
	TypesTotal   ledger.ResourceRow
	Since        []typeRow // types of which something changed, or went away, since an earlier run
	Target       []targetRow
	TargetTotal  ledger.VerifiedRow
	Domains      []*domainGroup
	DomainKinds  []kindColumn
	DomainRows   []domainRow
	Differences  int64
	Refused      []*ruleGroup
	RefusedCount int64
	Asks, Tells  []*ruleGroup
	Emptied      []ledger.Formula
	Issues       []ledger.Issue // of validation
	Normalised   []codeCount
	NotCompared  int64
	Words        []word
	Glossary     []codeWord
	Children     []ledger.MappingRow
}

type tile struct {
	Value, Label, Note string
	Alarm              bool
}

type tableRow struct {
	Name                                      string
	Read, Mapped, Skipped, Refused, OtherWave int64
	Balanced                                  bool
	Bar                                       []segment
}

// segment is a piece of a bar, in hundredths of its width.
type segment struct {
	Class    string
	From, To float64
}

// reasonRow is one reason for which records of a table were left out.
type reasonRow struct {
	Table, Outcome, Reason, Title string
	Count                         int64
}

type typeRow struct {
	Name string
	ledger.ResourceRow
	Balanced bool
	Bar      []segment
}

type targetRow struct {
	Name string
	ledger.VerifiedRow
	Expected int64
	Balanced bool
	Bar      []segment
}

type kindColumn struct {
	Kind  ledger.Kind
	Title string
}

type domainRow struct {
	Title    string
	Anchor   string
	Severity ledger.Severity
	Counts   []domainCount
	Total    int64
}

type domainCount struct {
	Title string
	Count int64
}

type codeCount struct {
	Code string
	Explanation
	Count int64
}

type codeWord struct {
	Code string
	Explanation
}

// pageTemplate is parsed once, when the first page is written.
var pageTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("page").Funcs(template.FuncMap{
		"number":   number,
		"prose":    prose,
		"count":    count,
		"size":     size,
		"duration": duration,
		"lower":    strings.ToLower,
		"int64":    func(n int) int64 { return int64(n) },
		"rate":     func(r float64) int64 { return int64(r) },
		"width":    func(s segment) string { return fmt.Sprintf("%.3f", s.To-s.From) },
		"left":     func(s segment) string { return fmt.Sprintf("%.3f", s.From) },
	}).Parse(pageText)
})

// HTML writes report.html: one file that needs nothing else, no script, and asks no server for anything.
func HTML(w io.Writer, d Data) error {
	p, err := newPage(d)
	if err != nil {
		return err
	}
	t, err := pageTemplate()
	if err != nil {
		return fmt.Errorf("write report.html: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write report.html: %w", err)
	}
	return nil
}

func newPage(d Data) (*page, error) {
	s := d.Summary
	digest := sha256.Sum256([]byte(style))
	p := &page{
		Data: d, Style: template.CSS(style),
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'",
		Dry:    s.Kind == ledger.Dry, Verdict: Judge(s), Unbalanced: ledger.Balance(s), Words: words,
	}
	// Those that decide come first; otherwise the plan's order stands.
	p.Gates = slices.Clone(s.Gates)
	slices.SortStableFunc(p.Gates, func(a, b ledger.Gate) int {
		switch {
		case a.Met == b.Met:
			return 0
		case b.Met:
			return -1
		default:
			return 1
		}
	})
	for _, g := range s.Gates {
		if g.Met {
			p.Met++
		}
	}
	p.fillTables(s)
	p.fillTypes(s)
	var err error
	if p.Refused, err = groupRefusals(orEmpty(d.Refusals)); err != nil {
		return nil, err
	}
	if p.Asks, p.Tells, err = groupFindings(orEmpty(d.Findings)); err != nil {
		return nil, err
	}
	if p.Domains, err = groupDiscrepancies(orEmpty(d.Discrepancies)); err != nil {
		return nil, err
	}
	p.fillDomains()
	broken, open := issues(s)
	p.Issues, p.NotChecked = broken, append(p.NotChecked, open...)
	for _, f := range s.Formulas {
		if f.Empties > 0 && f.Reason == "" {
			p.Emptied = append(p.Emptied, f)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(s.Normalised)) {
		p.Normalised = append(p.Normalised, codeCount{rule, Explain(rule), s.Normalised[rule]})
	}
	for _, m := range s.Mappings {
		if m.NeverJoined > 0 {
			p.Children = append(p.Children, m)
		}
	}
	p.fillGlossary()
	p.fillTiles(s)
	return p, nil
}

func (p *page) fillTables(s *ledger.Summary) {
	for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
		t := s.Tables[name]
		row := tableRow{Name: name, Read: t.Read, Mapped: t.Mapped, Skipped: t.SkippedSum(), Refused: t.RefusedSum(), OtherWave: t.OtherWave, Balanced: t.Read == t.Accounted()}
		row.Bar = bar(part{"good", row.Mapped}, part{"plain", row.OtherWave}, part{"note", row.Skipped}, part{"bad", row.Refused})
		p.Tables = append(p.Tables, row)
		total := &p.TablesTotal
		total.Read, total.Mapped, total.Skipped, total.Refused, total.OtherWave = total.Read+row.Read, total.Mapped+row.Mapped, total.Skipped+row.Skipped, total.Refused+row.Refused, total.OtherWave+row.OtherWave
		for _, reason := range slices.Sorted(maps.Keys(t.Refused)) {
			p.Reasons = append(p.Reasons, reasonRow{name, "refused", reason, Explain(reason).Title, t.Refused[reason]})
		}
		for _, reason := range slices.Sorted(maps.Keys(t.Skipped)) {
			p.Reasons = append(p.Reasons, reasonRow{name, "skipped", reason, "", t.Skipped[reason]})
		}
	}
	total := &p.TablesTotal
	total.Balanced = total.Read == total.Mapped+total.Skipped+total.Refused+total.OtherWave
}

func (p *page) fillTypes(s *ledger.Summary) {
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		r := s.Resources[name]
		p.Types = append(p.Types, typeRow{name, r, r.Made == r.Accounted(),
			bar(part{"good", r.Loaded + r.Unchanged}, part{"plain", r.Merged + r.Pending}, part{"note", r.Held + r.InDoubt}, part{"bad", r.Rejected})})
		p.TypesTotal = addResources(p.TypesTotal, r)
		if r.NotApplied+r.Vanished+r.Rekeyed > 0 {
			p.Since = append(p.Since, p.Types[len(p.Types)-1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Verified)) {
		v, r := s.Verified[name], s.Resources[name]
		p.Target = append(p.Target, targetRow{name, v, r.Loaded + r.Unchanged, r.Loaded+r.Unchanged == v.Accounted(),
			bar(part{"good", v.Matched}, part{"note", v.EditedSince}, part{"plain", v.NotCompared}, part{"bad", v.Different + v.Missing})})
		p.TargetTotal = addVerified(p.TargetTotal, v)
	}
	p.NotCompared = p.TargetTotal.NotCompared
}

type part struct {
	class string
	n     int64
}

// bar divides a width of 100 among the parts; a part that is there keeps a visible width, because one refusal among a
// million is what a reader looks for.
func bar(parts ...part) []segment {
	var total int64
	for _, p := range parts {
		total += max(0, p.n)
	}
	if total == 0 {
		return nil
	}
	const least = 1.5
	widths, sum := make([]float64, len(parts)), 0.0
	for i, p := range parts {
		if p.n > 0 {
			widths[i] = max(least, 100*float64(p.n)/float64(total))
			sum += widths[i]
		}
	}
	var list []segment
	at := 0.0
	for i, p := range parts {
		if p.n > 0 {
			to := at + widths[i]*100/sum
			list = append(list, segment{p.class, at, to})
			at = to
		}
	}
	return list
}

func (p *page) fillDomains() {
	present := map[ledger.Kind]bool{}
	for _, d := range p.Domains {
		p.Differences += d.Count
		for _, g := range d.Groups {
			present[g.Kind] = true
		}
	}
	for _, kind := range ledger.Kinds() {
		if present[kind] {
			p.DomainKinds = append(p.DomainKinds, kindColumn{kind, ExplainKind(kind).Title})
		}
	}
	for _, d := range p.Domains {
		row := domainRow{Title: d.Title, Anchor: d.Domain.String(), Severity: d.Severity, Total: d.Count}
		for _, column := range p.DomainKinds {
			var n int64
			for _, g := range d.Groups {
				if g.Kind == column.Kind {
					n += g.Count
				}
			}
			row.Counts = append(row.Counts, domainCount{column.Title, n})
		}
		p.DomainRows = append(p.DomainRows, row)
	}
}

// fillGlossary lists the codes that stand in this report and are in the catalogue.
func (p *page) fillGlossary() {
	seen := map[string]Explanation{}
	for _, list := range [][]*ruleGroup{p.Refused, p.Asks, p.Tells} {
		for _, g := range list {
			seen[g.Rule] = g.Explanation
		}
	}
	for _, r := range p.Reasons {
		seen[r.Reason] = Explain(r.Reason)
	}
	for _, d := range p.Domains {
		for _, g := range d.Groups {
			if g.Why != nil {
				seen[g.Code] = *g.Why
			}
		}
	}
	for _, code := range slices.Sorted(maps.Keys(seen)) {
		if e := seen[code]; e.Title != code {
			p.Glossary = append(p.Glossary, codeWord{code, e})
		}
	}
}

func (p *page) fillTiles(s *ledger.Summary) {
	refused := p.TablesTotal.Refused
	p.Tiles = []tile{
		{Value: number(p.TablesTotal.Read), Label: "records read", Note: "from " + count(int64(len(s.Tables)), "table")},
		{Value: number(refused), Label: "refused", Note: share(refused, p.TablesTotal.Read) + " of the records", Alarm: refused > 0},
		{Value: number(p.TypesTotal.Made), Label: "resources made", Note: "of " + count(int64(len(s.Resources)), "type")},
	}
	if p.Dry {
		p.Tiles = append(p.Tiles, tile{Value: number(p.TypesTotal.Pending), Label: "not sent", Note: "a rehearsal sends nothing"})
	} else {
		there := p.TypesTotal.Loaded + p.TypesTotal.Unchanged
		p.Tiles = append(p.Tiles,
			tile{Value: number(there), Label: "in the target", Note: number(p.TypesTotal.Loaded) + " loaded, " + number(p.TypesTotal.Unchanged) + " unchanged"},
			tile{Value: number(p.TargetTotal.Matched), Label: "matched", Note: share(p.TargetTotal.Matched, there) + " of those"})
	}
	p.Tiles = append(p.Tiles, tile{Value: number(p.Differences), Label: "discrepancies", Note: "in " + count(filled(p.Domains), "clinical domain"), Alarm: p.Differences > 0})
}

func filled(domains []*domainGroup) (n int64) {
	for _, d := range domains {
		if d.Count > 0 {
			n++
		}
	}
	return n
}

// share writes n of total in percent. It never rounds something to nothing nor almost all to all.
func share(n, total int64) string {
	switch {
	case total == 0 || n == 0:
		return "0 %"
	case n == total:
		return "100 %"
	}
	percent := 100 * float64(n) / float64(total)
	switch {
	case percent < 0.01:
		return "under 0.01 %"
	case percent > 99.99:
		return "over 99.99 %"
	case percent < 1 || percent > 99:
		return fmt.Sprintf("%.2f %%", percent)
	default:
		return fmt.Sprintf("%.1f %%", percent)
	}
}

// prose sets what stands between backquotes as code. All of it is escaped.
func prose(text string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		out.WriteString(part)
	}
	return template.HTML(out.String())
}
