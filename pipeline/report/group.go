package report

import (
	"cmp"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// The page shows so many places of a group, and so many of them without unfolding; report.json has them all. The
// limits keep the page readable, and its memory flat, whatever the number of refusals.
const (
	placesKept  = 200
	placesShown = 8
)

// ruleGroup gathers the refusals or findings of one rule.
type ruleGroup struct {
	Rule string
	Explanation
	Noun  string // what is counted: a refusal is a record, a finding may concern a column or a table
	Count int64
	Rows  []*ruleRow
}

// ruleRow is the part of a ruleGroup that lies in one column of one table.
type ruleRow struct {
	Table, Column, Mapping string
	Count                  int64
	Lines                  lines
}

// lines are the physical lines of records, in order, runs of neighbours as one range.
type lines struct {
	ranges [][2]int64
	kept   int64
}

func (l *lines) add(line int64) {
	if line == 0 || l.kept >= placesKept {
		return
	}
	l.kept++
	if n := len(l.ranges); n > 0 && line-l.ranges[n-1][1] <= 1 && line >= l.ranges[n-1][0] {
		l.ranges[n-1][1] = line
		return
	}
	l.ranges = append(l.ranges, [2]int64{line, line})
}

func (l lines) texts() []string {
	var list []string
	for _, r := range l.ranges {
		text := strconv.FormatInt(r[0], 10)
		if r[1] > r[0] {
			text += "–" + strconv.FormatInt(r[1], 10)
		}
		list = append(list, text)
	}
	return list
}

// First is what is shown at once.
func (l lines) First() string { return strings.Join(l.texts()[:min(placesShown, len(l.ranges))], ", ") }

// Rest is what is shown after unfolding.
func (l lines) Rest() string { return strings.Join(l.texts()[min(placesShown, len(l.ranges)):], ", ") }

// Left is the number of records whose place is only in report.json.
func (r *ruleRow) Left() int64 {
	if r.Lines.kept < placesKept {
		return 0
	}
	return r.Count - r.Lines.kept
}

// rules gathers remarks by rule, the most frequent first, and within by table, column and mapping.
type rules map[string]*ruleGroup

func (g rules) add(noun, rule, table, column, mapping string, line int64) {
	group := g[rule]
	if group == nil {
		group = &ruleGroup{Rule: rule, Explanation: Explain(rule), Noun: noun}
		g[rule] = group
	}
	group.Count++
	i := slices.IndexFunc(group.Rows, func(r *ruleRow) bool { return r.Table == table && r.Column == column && r.Mapping == mapping })
	if i < 0 {
		i = len(group.Rows)
		group.Rows = append(group.Rows, &ruleRow{Table: table, Column: column, Mapping: mapping})
	}
	group.Rows[i].Count++
	group.Rows[i].Lines.add(line)
}

func (g rules) sorted() []*ruleGroup {
	var list []*ruleGroup
	for _, group := range g {
		slices.SortFunc(group.Rows, func(a, b *ruleRow) int {
			return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Mapping, b.Mapping))
		})
		list = append(list, group)
	}
	slices.SortFunc(list, func(a, b *ruleGroup) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule)) })
	return list
}

func groupRefusals(list iter.Seq2[ledger.Refusal, error]) ([]*ruleGroup, error) {
	g := rules{}
	for r, err := range list {
		if err != nil {
			return nil, err
		}
		g.add("record", r.Rule, r.Table, r.Column, r.Mapping, r.Line)
	}
	return g.sorted(), nil
}

func groupFindings(list iter.Seq2[ledger.Finding, error]) (findings, notices []*ruleGroup, err error) {
	asks, tells := rules{}, rules{}
	for f, err := range list {
		if err != nil {
			return nil, nil, err
		}
		if f.Severity == ledger.NoticeSeverity {
			tells.add("place", f.Rule, f.Table, f.Column, f.Mapping, f.Line)
		} else {
			asks.add("place", f.Rule, f.Table, f.Column, f.Mapping, f.Line)
		}
	}
	return asks.sorted(), tells.sorted(), nil
}

// domainGroup gathers the discrepancies of a clinical domain.
type domainGroup struct {
	Domain     ledger.Domain
	Title, Why string
	Severity   ledger.Severity
	Count      int64
	Groups     []*discrepancyGroup
}

// discrepancyGroup gathers discrepancies of one kind, code, type and element.
type discrepancyGroup struct {
	Kind        ledger.Kind
	Type, Path  string
	Code        string
	What        Explanation  // of the kind
	Why         *Explanation // of the code, if there is one
	Count       int64
	Items       []item
	Shown, More []item
	Left        int64 // how many are only in report.json
}

// item names one record by its pseudonym and place. Note is what became of it, where that is said one by one.
type item struct{ Resource, Place, Note string }

// index is a list index in an element's path.
var index = regexp.MustCompile(`\[\d+\]`)

// groupDiscrepancies gathers them by domain; every domain is there, also without one.
func groupDiscrepancies(list iter.Seq2[ledger.Discrepancy, error]) ([]*domainGroup, error) {
	byDomain := map[ledger.Domain]*domainGroup{}
	var domains []*domainGroup
	for _, d := range ledger.Domains() {
		text := domainTexts[d]
		group := &domainGroup{Domain: d, Title: text.title, Why: text.why, Severity: d.Severity()}
		byDomain[d] = group
		domains = append(domains, group)
	}
	type key struct {
		domain           ledger.Domain
		kind             ledger.Kind
		code, typ, paths string
	}
	groups := map[key]*discrepancyGroup{}
	for d, err := range list {
		if err != nil {
			return nil, err
		}
		domain := byDomain[d.Domain]
		if domain == nil { // no domain of ours: shown last, and not left out
			domain = byDomain[ledger.Rest]
		}
		path := index.ReplaceAllString(d.Path, "")
		code := d.Code
		if d.Kind == ledger.Rekeyed { // another in each, and shown beside it
			code = ""
		}
		k := key{domain.Domain, d.Kind, code, d.Type, path}
		group := groups[k]
		if group == nil {
			group = &discrepancyGroup{Kind: d.Kind, Type: d.Type, Path: path, Code: code, What: ExplainKind(d.Kind)}
			if code != "" {
				e := ExplainDiscrepancy(d.Kind, code)
				group.Why = &e
			}
			groups[k] = group
			domain.Groups = append(domain.Groups, group)
		}
		domain.Count++
		group.Count++
		if len(group.Items) < placesKept {
			group.Items = append(group.Items, itemOf(d))
		}
	}
	order := ledger.Kinds()
	for _, domain := range domains {
		slices.SortFunc(domain.Groups, func(a, b *discrepancyGroup) int {
			return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(b.Count, a.Count),
				cmp.Compare(a.Type, b.Type), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Code, b.Code))
		})
		for _, group := range domain.Groups {
			const shown = 4
			cut := min(shown, len(group.Items))
			if len(group.Items) == shown+1 { // a fold for a single line hides more than it saves
				cut++
			}
			group.Shown, group.More = group.Items[:cut], group.Items[cut:]
			group.Left = group.Count - int64(len(group.Items))
		}
	}
	return domains, nil
}

func itemOf(d ledger.Discrepancy) item {
	var it item
	if d.ID != "" {
		it.Resource = d.Type + "/" + d.ID
	}
	if d.Kind == ledger.Rekeyed {
		it.Note = d.Code
	}
	if d.Table != "" {
		it.Place = d.Table
		if d.Line > 0 {
			it.Place += ":" + strconv.FormatInt(d.Line, 10)
		}
	}
	return it
}

// issues parts what validation found in what it could not check: the former by severity and number, the latter in words.
func issues(s *ledger.Summary) (broken []ledger.Issue, open []string) {
	for _, x := range s.Issues {
		if x.Severity == ledger.Unchecked {
			open = append(open, fmt.Sprintf("%s %s (%d times: %s)", x.Mapping, x.Path, x.Count, x.Profile))
			continue
		}
		broken = append(broken, x)
	}
	return broken, open
}
