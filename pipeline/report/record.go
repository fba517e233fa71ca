package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// Record explains one record: what each mapping of its table makes of it, element by element. Unless Shown it holds no
// text of a cell, only how long each is; what the mapping files say is always there.
type Record struct {
	Migration string          `json:"migration"`
	Table     string          `json:"table"`
	Line      int64           `json:"line"`
	File      string          `json:"file,omitempty"`
	Shown     bool            `json:"valuesShown"`
	Cells     []Value         `json:"cells"` // of the record, in the table's order
	Mappings  []RecordMapping `json:"mappings"`
	Run       string          `json:"run,omitempty"` // the latest, if there is one
	Remarks   []RecordRemark  `json:"remarks"`       // that it made about the record
}

// Filled are the cells with something in them.
func (r *Record) Filled() (out []Value) {
	for _, c := range r.Cells {
		if c.Form != "blank" {
			out = append(out, c)
		}
	}
	return out
}

// Blank counts the others.
func (r *Record) Blank() int { return len(r.Cells) - len(r.Filled()) }

// RecordRemark is what a run said about the record.
type RecordRemark struct {
	Kind string `json:"kind"` // refused or finding
	ledger.Refusal
}

// RecordMapping is what one mapping makes of the record.
type RecordMapping struct {
	Mapping   string           `json:"mapping"`
	Outcome   string           `json:"outcome"` // mapped, skipped or refused
	Rule      string           `json:"rule,omitempty"`
	Element   string           `json:"element,omitempty"`
	Detail    string           `json:"detail,omitempty"`
	Rows      int              `json:"rows"` // of the group; 1 for a record by itself
	Findings  []string         `json:"findings"`
	Rules     []RecordRule     `json:"rules"`
	Computed  []RecordFormula  `json:"computed"` // outside of the resources: patient, forEach and its key
	Resources []RecordResource `json:"resources"`
}

// RecordRule is a rule of skip, refuse or find that was asked.
type RecordRule struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // skipped, refused or found: what follows if it says true
	Acted bool   `json:"acted"`
	RecordFormula
}

// RecordResource is one resource, or of a refused record as much as was tried.
type RecordResource struct {
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	Elements []RecordElement `json:"elements"`
	Empty    []RecordFormula `json:"empty"` // formulas that wrote nothing, and one that failed
}

// RecordElement is a part of the resource that one formula, or one literal, has written.
type RecordElement struct {
	Element string         `json:"element"`
	Formula *RecordFormula `json:"formula,omitempty"`
	Literal string         `json:"literal,omitempty"` // where it stands; `chartlift` for what every resource gets
	Values  []RecordValue  `json:"values"`
}

// byChartlift is the origin of what the program adds to every resource.
const byChartlift = "chartlift"

// RecordFormula is a formula that was evaluated.
type RecordFormula struct {
	Element string      `json:"element"`
	Text    string      `json:"text"`
	Place   string      `json:"place"`
	Status  string      `json:"status"` // wrote, empty or failed
	Reads   []Value     `json:"reads"`
	Maps    []RecordMap `json:"maps"`
	Items   int         `json:"items,omitempty"` // of a forEach
}

// RecordMap is a question to a concept map.
type RecordMap struct {
	Map     string        `json:"map"`
	Source  Value         `json:"source"`
	Known   bool          `json:"known"`
	Unknown string        `json:"unknown"` // what the map does about codes that it does not know
	Targets []RecordCoded `json:"targets"`
}

// RecordCoded is a target of a concept map.
type RecordCoded struct {
	Relationship string `json:"relationship"`
	System       string `json:"system"`
	Code         string `json:"code,omitempty"` // if values are shown
}

// RecordValue is one value of a resource, and what the policy makes of it.
type RecordValue struct {
	Path   string `json:"path"`
	Value  Value  `json:"value"`
	Method string `json:"method"`
	Rule   string `json:"rule"`
	Became string `json:"became"` // in words
}

// Value is a cell or value by its form; its text is there only if values are shown.
type Value struct {
	Column string   `json:"column,omitempty"`
	Of     string   `json:"of,omitempty"`    // the collection or table
	Form   string   `json:"form"`            // blank, `8 characters`, number, boolean, `3 rows`, `no rows`, `looked up`
	Texts  []string `json:"texts,omitempty"` // if values are shown
}

// String is the value as people read it.
func (v Value) String() string {
	name := v.Column
	if v.Of != "" {
		name = v.Of + "." + name
	}
	text := v.Form
	if len(v.Texts) > 0 && v.Form != "blank" {
		quoted := make([]string, 0, len(v.Texts))
		for i, t := range v.Texts {
			if i == mostShown {
				quoted = append(quoted, "…")
				break
			}
			quoted = append(quoted, strconv.Quote(t))
		}
		text = strings.Join(quoted, ", ")
	}
	return strings.TrimSpace(name + " " + text)
}

// mostShown is how many rows of a collection are shown on a screen; JSON has all.
const mostShown = 5

// RecordText writes the explanation for a terminal.
func RecordText(w io.Writer, r *Record) error {
	p := &recordPrinter{w: w}
	place := fmt.Sprintf("%s:%d", r.Table, r.Line)
	if r.File != "" {
		place += "  (" + r.File + ")"
	}
	p.line(0, "%s", place)
	p.list(2, "cells", r.Filled())
	if n := r.Blank(); n > 0 {
		p.line(2, "%-8s %s", "", count(int64(n), "blank cell"))
	}
	if r.Run != "" && len(r.Remarks) > 0 {
		for _, x := range r.Remarks {
			p.line(2, "%s  %s: %s by %s%s", r.Run, x.Kind, x.Rule, x.Mapping, at(x.Column))
		}
	}
	if len(r.Mappings) == 0 {
		p.line(2, "no mapping reads this table by itself")
	}
	for i := range r.Mappings {
		p.mapping(&r.Mappings[i])
	}
	return p.err
}

func at(column string) string {
	if column == "" {
		return ""
	}
	return " at " + column
}

type recordPrinter struct {
	w   io.Writer
	err error
}

func (p *recordPrinter) line(indent int, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, "%*s%s\n", indent, "", inert(fmt.Sprintf(format, args...)))
	}
}

// list prints values after a word, wrapped.
func (p *recordPrinter) list(indent int, word string, values []Value) {
	if len(values) == 0 {
		return
	}
	const width = 100
	line, lead := "", word
	for i, v := range values {
		text := v.String()
		if i < len(values)-1 {
			text += ","
		}
		if line != "" && len(line)+len(text) > width-indent-9 {
			p.line(indent, "%-8s %s", lead, line)
			line, lead = "", ""
		}
		line = strings.TrimLeft(line+" "+text, " ")
	}
	p.line(indent, "%-8s %s", lead, line)
}

func (p *recordPrinter) mapping(m *RecordMapping) {
	p.line(0, "")
	outcome := m.Outcome
	if m.Rule != "" {
		outcome += ": " + m.Rule
	}
	if m.Outcome == "refused" {
		outcome += at(m.Element)
	}
	if m.Detail != "" {
		outcome += " (" + m.Detail + ")"
	}
	if m.Rows > 1 {
		outcome += ", with " + count(int64(m.Rows-1), "other record") + " of its group"
	}
	p.line(0, "%s  %s", m.Mapping, outcome)
	for _, f := range m.Findings {
		p.line(2, "finding  %s", f)
	}
	for i := range m.Rules {
		x := &m.Rules[i]
		said := "did not act"
		switch {
		case x.Acted:
			said = "acted: " + x.Kind
		case x.Status == "failed":
			said = "failed"
		}
		p.line(2, "rule     %s: %s", x.Name, said)
		p.formula(11, "", &x.RecordFormula)
	}
	for i := range m.Computed {
		p.formula(2, m.Computed[i].Element, &m.Computed[i])
	}
	for i := range m.Resources {
		r := &m.Resources[i]
		p.line(0, "")
		p.line(2, "%s/%s", r.Type, r.ID)
		for j := range r.Elements {
			p.element(&r.Elements[j])
		}
		for j := range r.Empty {
			p.formula(4, r.Empty[j].Element, &r.Empty[j])
			if r.Empty[j].Items > 0 {
				continue
			}
			p.line(6, "%-8s %s", "came to", r.Empty[j].Status)
		}
	}
}

func (p *recordPrinter) formula(indent int, element string, f *RecordFormula) {
	p.line(indent, "%s  %s", strings.TrimLeft(element+"  = "+f.Text, " "), f.Place)
	p.list(indent+2, "reads", f.Reads)
	for _, m := range f.Maps {
		p.line(indent+2, "%-8s %s", "map", m.String())
	}
	if f.Items > 0 {
		p.line(indent+2, "%-8s %s", "items", number(int64(f.Items)))
	}
}

// String is the answer of the map.
func (m RecordMap) String() string {
	if !m.Known {
		return fmt.Sprintf("%s does not know %s, and says: %s", m.Map, m.Source, m.Unknown)
	}
	if len(m.Targets) == 0 {
		return fmt.Sprintf("%s: %s has no target, on purpose", m.Map, m.Source)
	}
	var targets []string
	for _, t := range m.Targets {
		text := t.System
		if t.Code != "" {
			text += "|" + t.Code
		}
		targets = append(targets, text+" ("+t.Relationship+")")
	}
	return fmt.Sprintf("%s: %s → %s", m.Map, m.Source, strings.Join(targets, ", "))
}

func (p *recordPrinter) element(e *RecordElement) {
	if e.Formula != nil {
		p.formula(4, e.Element, e.Formula)
	} else if e.Literal == byChartlift {
		p.line(4, "%s  written by Chartlift", e.Element)
	} else {
		p.line(4, "%s  literal  %s", e.Element, e.Literal)
	}
	wide := 0
	for _, v := range e.Values {
		wide = max(wide, len(v.Path))
	}
	word := "writes"
	for _, v := range e.Values {
		p.line(6, "%-8s %-*s  %-14s  %-5s %s", word, wide, v.Path, v.Value.String(), v.Method, v.Became+"  by "+v.Rule)
		word = ""
	}
}
