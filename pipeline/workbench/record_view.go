package workbench

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/report"
)

// recordView turns explanations into what people may see of them: without show the form of a value, never its text.
type recordView struct{ show bool }

func (v recordView) cells(r *extract.Record) []report.Value {
	out := make([]report.Value, len(r.Cells))
	for i, c := range r.Cells {
		out[i] = v.texts(r.Table.Columns[i], "", []string{c})
	}
	return out
}

// texts is a cell, or a column of several rows.
func (v recordView) texts(column, of string, texts []string) report.Value {
	out := report.Value{Column: column, Of: of}
	switch {
	case len(texts) == 1:
		out.Form = form(texts[0])
	case len(texts) > 1:
		out.Form = fmt.Sprintf("%d rows", len(texts))
	case of != "":
		out.Form = "no rows"
	default:
		out.Form = "blank"
	}
	if v.show {
		out.Texts = texts
	}
	return out
}

func form(text string) string {
	switch n := utf8.RuneCountInString(text); {
	case strings.TrimSpace(text) == "":
		return "blank"
	case n == 1:
		return "1 character"
	default:
		return fmt.Sprintf("%d characters", n)
	}
}

func (v recordView) secrets(column, of string, secrets []phi.Secret) report.Value {
	var texts []string
	for _, s := range secrets {
		texts = append(texts, string(s.Reveal()))
	}
	return v.texts(column, of, texts)
}

func placeText(f mapping.Fault) string {
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

func (v recordView) mapping(e *mapping.Explanation, rows int) report.RecordMapping {
	out := report.RecordMapping{Mapping: e.Mapping.Name, Outcome: e.Result.Outcome.String(), Rule: e.Result.Rule, Element: e.Result.Element,
		Detail: e.Result.Detail, Rows: rows, Findings: []string{}, Rules: []report.RecordRule{}, Computed: []report.RecordFormula{}, Resources: []report.RecordResource{}}
	for _, f := range e.Result.Findings {
		text := f.Rule
		if f.Column != "" {
			text += " at " + f.Column
		}
		out.Findings = append(out.Findings, text)
	}
	for i := range e.Rules {
		r := &e.Rules[i]
		out.Rules = append(out.Rules, report.RecordRule{Name: r.Name, Kind: r.Kind, Acted: r.Acted, RecordFormula: v.formula(&r.Computed)})
	}
	for i := range e.Computed {
		out.Computed = append(out.Computed, v.formula(&e.Computed[i]))
	}
	for i := range e.Resources {
		out.Resources = append(out.Resources, v.resource(&e.Resources[i]))
	}
	return out
}

func (v recordView) formula(c *mapping.Computed) report.RecordFormula {
	out := report.RecordFormula{Element: c.Path, Text: c.Text, Place: placeText(c.Place), Status: string(c.Status), Reads: []report.Value{}, Maps: []report.RecordMap{}, Items: c.Items}
	for _, x := range c.Reads {
		read := v.secrets(x.Column, x.Of, x.Texts)
		if x.Looked {
			read.Form = "looked up"
		}
		out.Reads = append(out.Reads, read)
	}
	for _, x := range c.Lookups {
		m := report.RecordMap{Map: x.Map, Source: v.secrets("", "", []phi.Secret{x.Source}), Known: x.Known, Unknown: x.Unknown, Targets: []report.RecordCoded{}}
		for _, t := range x.Targets {
			coded := report.RecordCoded{Relationship: t.Relationship, System: t.System}
			if v.show {
				coded.Code = t.Code
			}
			m.Targets = append(m.Targets, coded)
		}
		out.Maps = append(out.Maps, m)
	}
	return out
}

func (v recordView) resource(e *mapping.Explained) report.RecordResource {
	out := report.RecordResource{Type: e.Type, ID: e.ID, Elements: []report.RecordElement{}, Empty: []report.RecordFormula{}}
	last := -1
	for i := range e.Elements {
		x := &e.Elements[i]
		value := report.RecordValue{Path: x.Path, Value: v.json(x.Value, x.Formula < 0), Method: x.Method.String(), Rule: x.Rule, Became: v.became(x)}
		switch {
		case x.Formula >= 0 && x.Formula == last:
			holder := &out.Elements[len(out.Elements)-1]
			holder.Values = append(holder.Values, value)
		case x.Formula >= 0:
			f := v.formula(&e.Computed[x.Formula])
			out.Elements = append(out.Elements, report.RecordElement{Element: f.Element, Formula: &f, Values: []report.RecordValue{value}})
		default:
			place := "chartlift"
			if x.Place.Line > 0 {
				place = placeText(x.Place)
			}
			out.Elements = append(out.Elements, report.RecordElement{Element: x.Path, Literal: place, Values: []report.RecordValue{value}})
		}
		last = x.Formula
	}
	for i := range e.Computed {
		if c := &e.Computed[i]; c.Status != mapping.Wrote || c.Items > 0 || len(e.Elements) == 0 {
			out.Empty = append(out.Empty, v.formula(c))
		}
	}
	return out
}

// json is a value of a resource. Literals are of the mapping file, and no secret.
func (v recordView) json(s phi.Secret, literal bool) report.Value {
	var text string
	raw := s.Reveal()
	out := report.Value{Form: "number"}
	switch {
	case json.Unmarshal(raw, &text) == nil:
		out.Form = form(text)
	case string(raw) == "true" || string(raw) == "false":
		out.Form, text = "boolean", string(raw)
	default:
		text = string(raw)
	}
	if v.show || literal {
		out.Texts = []string{text}
	}
	return out
}

// became says in words what stands in the place of a value.
func (v recordView) became(e *mapping.Element) string {
	stand := string(e.Became.Reveal())
	switch {
	case e.Method == phi.Keep:
		return "stays"
	case strings.Contains(stand, `"masked"`):
		return "masked"
	case stand == "":
		return "taken out"
	case v.show:
		return "became " + stand
	}
	return "became something else"
}
