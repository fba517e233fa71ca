package main

import (
	"bytes"
	"encoding/json"
)

// expectation is expected.json: what was planted, by place, so that the demo can prove that it was found.
type expectation struct {
	Note     string          `json:"note"`
	Tables   map[string]int  `json:"tables"`   // records in each table, broken ones included
	Refused  []planted       `json:"refused"`  // records that must be refused
	Skipped  []planted       `json:"skipped"`  // records that a named rule must leave out
	Findings []planted       `json:"findings"` // remarks on records that are made nonetheless
	Target   []targetPlanted `json:"target"`   // what the demo does to the sandbox after loading, and reconciling must find
}

// planted is one fault in the source. Line is the physical line on which the record starts; the header is line 1.
type planted struct {
	Table string `json:"table"`
	Line  int    `json:"line"`
	Rule  string `json:"rule"` // the code or name of the rule under which it must be reported
	What  string `json:"what"` // for people
}

// targetPlanted is one defect of the target, made after loading. Its resource is the first of its type by id. Do is one of
// `set` (the element at Path, dots and indexes, becomes Value), `delete`, or `copy` (the resource is written a second time
// under ID, with our tag).
type targetPlanted struct {
	Verdict string          `json:"verdict"` // different, missing, unexpected
	Type    string          `json:"type"`
	Do      string          `json:"do"`
	Path    string          `json:"path,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
	ID      string          `json:"id,omitempty"`
	What    string          `json:"what"`
}

func (h *hospital) expected() ([]byte, error) {
	e := expectation{
		Note:     "Written by scripts/hospital. What was planted in export/*.csv, and what the demo does to its sandbox after loading.",
		Tables:   map[string]int{},
		Refused:  h.refused,
		Skipped:  h.skipped,
		Findings: h.findings,
		Target: []targetPlanted{
			{Verdict: "different", Type: "MedicationRequest", Do: "set", Path: "dosageInstruction[0].doseAndRate[0].doseQuantity.value", Value: json.RawMessage("10"),
				What: "a dose became ten times what it was"},
			{Verdict: "missing", Type: "Condition", Do: "delete", What: "a problem was lost"},
			{Verdict: "unexpected", Type: "AllergyIntolerance", Do: "copy", ID: "planted-by-the-demo", What: "an allergy that is in no record appeared under our mark"},
		},
	}
	for _, t := range h.tables() {
		e.Tables[t.name] = t.rows
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(e)
	return out.Bytes(), err
}
