package report

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// document is report.json without its long lists. The summary's keys come first, as `run --json` prints them.
type document struct {
	*ledger.Summary
	Migration  string           `json:"migration"`
	Generated  string           `json:"generated,omitempty"`
	Verdict    Verdict          `json:"verdict"`
	Unbalanced []string         `json:"unbalanced"` // sums of conservation that do not hold; empty is right
	Mappings   []mappingRow     `json:"mappings"`
	Normalised map[string]int64 `json:"normalised"` // equal only after a named rule
	Formulas   []formulaRow     `json:"formulas"`   // those that read something: reads = writes + empties
	Unmapped   []unmappedRow    `json:"unmapped"`
	// Translations into something that does not mean the same, by concept map and relationship.
	Translations []translationRow `json:"translations"`
	Validation   []ledger.Issue   `json:"validation"` // what mappings wrote and breaks a rule, by mapping and rule
	NotChecked   []string         `json:"notChecked"`
	Facts        []Fact           `json:"facts"`
}

type mappingRow struct {
	Mapping string `json:"mapping"`
	Table   string `json:"table"`
	ledger.TableRow
	Joined      int64 `json:"joined"`
	NeverJoined int64 `json:"neverJoined"`
}

type formulaRow struct {
	Mapping string `json:"mapping"`
	Path    string `json:"path"`
	Place   string `json:"place"`
	Reason  string `json:"reason"`
	Reads   int64  `json:"reads"`
	Writes  int64  `json:"writes"`
	Empties int64  `json:"empties"`
}

type unmappedRow struct {
	Map      string `json:"map"`
	Code     string `json:"code"`
	Value    string `json:"value,omitempty"`
	Count    int64  `json:"count"`
	Patients int64  `json:"patients"`
}

type translationRow struct {
	Map          string `json:"map"`
	Relationship string `json:"relationship"`
	Count        int64  `json:"count"`
}

// discrepancyRow adds the severity, which follows from the domain.
type discrepancyRow struct {
	ledger.Discrepancy
	Severity ledger.Severity `json:"severity"`
}

// JSON writes report.json: the keys of the summary, the lists `refusals` and `findings`, and the discrepancies one by
// one as `discrepancyList` (the key `discrepancies` holds the summary's counts). Every list is there, also when empty.
func JSON(w io.Writer, d Data) error {
	s := d.Summary
	doc := document{
		Summary: s, Migration: d.Migration, Generated: d.Generated, Verdict: Judge(s), Unbalanced: ledger.Balance(s),
		Mappings: []mappingRow{}, Normalised: s.Normalised, Formulas: []formulaRow{}, Unmapped: []unmappedRow{}, Translations: []translationRow{}, NotChecked: d.NotChecked, Facts: d.Facts,
	}
	for _, m := range s.Mappings {
		doc.Mappings = append(doc.Mappings, mappingRow{m.Mapping, m.Table, m.TableRow, m.Joined, m.NeverJoined})
	}
	for _, f := range s.Formulas {
		doc.Formulas = append(doc.Formulas, formulaRow(f))
	}
	broken, open := issues(s)
	doc.Validation, doc.NotChecked = append(doc.Validation, broken...), append(doc.NotChecked, open...)
	if doc.Validation == nil {
		doc.Validation = []ledger.Issue{}
	}
	for _, u := range s.Unmapped {
		doc.Unmapped = append(doc.Unmapped, unmappedRow(u))
	}
	for _, t := range s.Translations {
		doc.Translations = append(doc.Translations, translationRow(t))
	}
	for _, list := range []*[]string{&doc.Unbalanced, &doc.NotChecked} {
		if *list == nil {
			*list = []string{}
		}
	}
	if doc.Facts == nil {
		doc.Facts = []Fact{}
	}
	if doc.Normalised == nil {
		doc.Normalised = map[string]int64{}
	}
	head, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("write report.json: %w", err)
	}
	// The lists may be long, so they are written entry by entry after the head, whose last brace is left for the end.
	if _, err := w.Write(head[:len(head)-len("\n}")]); err != nil {
		return err
	}
	if err := writeList(w, "refusals", orEmpty(d.Refusals)); err != nil {
		return err
	}
	if err := writeList(w, "findings", orEmpty(d.Findings)); err != nil {
		return err
	}
	rows := func(yield func(discrepancyRow, error) bool) {
		for item, err := range orEmpty(d.Discrepancies) {
			if !yield(discrepancyRow{item, item.Severity()}, err) {
				return
			}
		}
	}
	if err := writeList(w, "discrepancyList", rows); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n}\n")
	return err
}

func writeList[T any](w io.Writer, name string, list iter.Seq2[T, error]) error {
	if _, err := fmt.Fprintf(w, ",\n  %q: [", name); err != nil {
		return err
	}
	before, after := "\n    ", ""
	for item, err := range list {
		if err != nil {
			return err
		}
		text, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("write report.json: %w", err)
		}
		if _, err := io.WriteString(w, before+string(text)); err != nil {
			return err
		}
		before, after = ",\n    ", "\n  "
	}
	_, err := io.WriteString(w, after+"]")
	return err
}
