package report

import (
	"fmt"
	"time"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

// id makes a pseudonym like those of real runs: 32 letters of base32.
func id(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	out := make([]byte, 32)
	x := uint32(n)*2654435761 + 12345
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = letters[x>>27]
	}
	return string(out)
}

// sample is a run with something of everything: every sum balances, and people have work to do.
func sample() Data {
	none := map[string]int64{}
	s := &ledger.Summary{
		Run: "run-4", State: ledger.Finished, Kind: ledger.Real, Seconds: 184.2, Rate: 1043, Elapsed: 184200 * time.Millisecond, Resumes: 1, Reconciled: true,
		Target: "https://fhir.riverside.example/r4",
		Tables: map[string]ledger.TableRow{
			"allergies":     {Read: 597, Mapped: 590, Skipped: map[string]int64{"entered in error": 4}, Refused: map[string]int64{"unmapped-code": 3}},
			"conditions":    {Read: 38094, Mapped: 38090, Skipped: none, Refused: map[string]int64{"bad-date": 3, "stop before start": 1}},
			"encounters":    {Read: 53346, Mapped: 50346, Skipped: none, Refused: none, OtherWave: 3000},
			"immunizations": {Read: 15478, Mapped: 15478, Skipped: none, Refused: none},
			"medications":   {Read: 42989, Mapped: 42980, Skipped: none, Refused: map[string]int64{"ragged-row": 9}},
			"observations":  {Read: 41500, Mapped: 41250, Skipped: map[string]int64{"billing noise": 22}, Refused: map[string]int64{"bad-number": 228}},
			"patients":      {Read: 1171, Mapped: 1169, Skipped: map[string]int64{"test patient": 1}, Refused: map[string]int64{"bad-date": 1}},
		},
		Resources: map[string]ledger.ResourceRow{
			"AllergyIntolerance": {Made: 590, Loaded: 590},
			"Condition":          {Made: 38090, Loaded: 38080, Merged: 8, Rejected: 2},
			"Encounter":          {Made: 50346, Loaded: 49000, Unchanged: 1346},
			"Immunization":       {Made: 15478, Loaded: 15478},
			"MedicationRequest":  {Made: 42980, Loaded: 42975, InDoubt: 2, Held: 3},
			"Observation":        {Made: 41250, Loaded: 41250},
			"Patient":            {Made: 1169, Loaded: 1169},
		},
		Verified: map[string]ledger.VerifiedRow{
			"AllergyIntolerance": {Matched: 587, Different: 1, Missing: 2},
			"Condition":          {Matched: 38079, EditedSince: 1},
			"Encounter":          {Matched: 50346, Unexpected: 1},
			"Immunization":       {Matched: 15477, Missing: 1},
			"MedicationRequest":  {Matched: 42974, Different: 1},
			"Observation":        {Matched: 41238, Different: 12},
			"Patient":            {Matched: 1168, Different: 1},
		},
		Gates: []ledger.Gate{
			{Name: "allergies missing", Limit: "0", Value: "2"}, {Name: "allergies different", Limit: "0", Value: "1"},
			{Name: "medications different", Limit: "0", Value: "1"}, {Name: "identity missing", Limit: "0", Value: "0", Met: true},
			{Name: "refused", Limit: "0.1%", Value: "0.13%"}, {Name: "unmapped codes", Limit: "50", Value: "2", Met: true}, {Name: "not compared", Limit: "0", Value: "0", Met: true},
		},
		Mappings: []ledger.MappingRow{{Mapping: "condition", Table: "condition_notes", TableRow: ledger.TableRow{Read: 40, Skipped: none, Refused: none}, Joined: 33, NeverJoined: 7}},
		Formulas: []ledger.Formula{
			{Mapping: "patient", Path: "telecom.value", Place: "patient.yaml:31:15", Reads: 1169, Writes: 1102, Empties: 67},
			{Mapping: "patient", Path: "deceasedDateTime", Place: "patient.yaml:40:23", Reason: "only of those who died", Reads: 200, Writes: 171, Empties: 29},
		},
		Unmapped:     []ledger.Unmapped{{Map: "allergies", Code: "k1", Value: "419474003", Count: 31, Patients: 12}, {Map: "allergies", Code: "k2", Count: 3, Patients: 2}},
		Translations: []ledger.Translation{{Map: "conditions", Relationship: "choice", Count: 12}, {Map: "conditions", Relationship: "wider", Count: 1204}},
		Issues: []ledger.Issue{
			{Mapping: "medication", Severity: "error", Rule: "us-core-21", Profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-medicationrequest", Table: "medications", Line: 2, Count: 1772},
			{Mapping: "visit", Severity: "error", Rule: "per-1", Path: "period", Table: "visits", Line: 311, Count: 3},
			{Mapping: "visit", Severity: "warning", Rule: "binding", Path: "class", Table: "visits", Line: 4, Count: 12},
			{Mapping: "value set", Severity: ledger.Unchecked, Rule: "not-checked", Path: "http://hl7.org/fhir/ValueSet/condition-code", Profile: "the codes of http://snomed.info/sct are not at hand", Count: 1534},
		},
		Normalised: map[string]int64{"time-zone": 53346, "decimal-form": 812},
		Bytes:      187654321, Batches: 49, Refusals: 245, Findings: 2, Notices: 1,
	}
	s.Tables["condition_notes"] = ledger.TableRow{Read: 40, Mapped: 33, Skipped: map[string]int64{"never joined": 7}, Refused: none}

	var discrepancies []ledger.Discrepancy
	add := func(kind ledger.Kind, typ, path, table string, line int64, code string, n int) {
		for i := range n {
			d := ledger.Discrepancy{Kind: kind, Domain: ledger.DomainOf(typ), Type: typ, Path: path, Table: table, Line: line + int64(3*i), Code: code}
			if kind != ledger.Refused {
				d.ID = id(len(discrepancies))
			}
			d.Key = fmt.Sprintf("%032x", len(discrepancies))
			discrepancies = append(discrepancies, d)
		}
	}
	add(ledger.Missing, "AllergyIntolerance", "", "allergies", 118, "missing", 2)
	add(ledger.Different, "AllergyIntolerance", "AllergyIntolerance.code.coding[0].code", "allergies", 402, "changed", 1)
	add(ledger.Refused, "AllergyIntolerance", "", "allergies", 77, "unmapped-code", 3)
	add(ledger.Different, "MedicationRequest", "MedicationRequest.dosageInstruction[0].doseAndRate[0].doseQuantity.value", "medications", 20017, "changed", 1)
	add(ledger.Different, "Patient", "Patient.birthDate", "patients", 733, "changed", 1)
	add(ledger.Refused, "Patient", "", "patients", 55, "bad-date", 1)
	add(ledger.Rejected, "Condition", "Condition.code", "conditions", 912, "code-invalid", 2)
	add(ledger.EditedSince, "Condition", "", "conditions", 3001, "other-version", 1)
	add(ledger.Missing, "Immunization", "", "immunizations", 9, "gone", 1)
	for i := range 12 {
		add(ledger.Different, "Observation", fmt.Sprintf("Observation.component[%d].valueQuantity.unit", i%3), "observations", int64(100+7*i), "lost", 1)
	}
	add(ledger.Unexpected, "Encounter", "", "", 0, "not-in-state", 1)

	refusals := []ledger.Refusal{
		{Table: "allergies", Line: 77, Column: "CODE", Rule: "unmapped-code", Mapping: "allergy"}, {Table: "allergies", Line: 80, Column: "CODE", Rule: "unmapped-code", Mapping: "allergy"},
		{Table: "allergies", Line: 83, Column: "CODE", Rule: "unmapped-code", Mapping: "allergy"},
		{Table: "conditions", Line: 14, Column: "START", Rule: "bad-date", Mapping: "condition"}, {Table: "conditions", Line: 15, Column: "START", Rule: "bad-date", Mapping: "condition"},
		{Table: "conditions", Line: 16, Column: "START", Rule: "bad-date", Mapping: "condition"}, {Table: "conditions", Line: 1200, Rule: "stop before start", Mapping: "condition"},
		{Table: "patients", Line: 55, Column: "BIRTHDATE", Rule: "bad-date", Mapping: "patient"},
	}
	for i := range 9 {
		refusals = append(refusals, ledger.Refusal{Table: "medications", Line: int64(5000 + i), Rule: "ragged-row"})
	}
	for i := range 228 {
		refusals = append(refusals, ledger.Refusal{Table: "observations", Line: int64(20 + 11*i), Column: "VALUE", Rule: "bad-number", Mapping: "observation"})
	}
	findings := []ledger.Finding{
		{Table: "conditions", Line: 31, Column: "START", Rule: "very old onset", Mapping: "condition", Severity: ledger.FindingNeedsEye},
		{Table: "patients", Column: "INCOME", Rule: "unused-column", Severity: ledger.FindingNeedsEye},
		{Table: "devices", Rule: "missing-column", Column: "UDI", Mapping: "device", Severity: ledger.NoticeSeverity},
	}
	s.Discrepancies, s.Domains = map[ledger.Kind]map[ledger.Severity]int64{}, map[ledger.Domain]map[ledger.Kind]int64{}
	for _, kind := range ledger.Kinds() {
		s.Discrepancies[kind] = map[ledger.Severity]int64{ledger.High: 0, ledger.Medium: 0, ledger.Low: 0}
	}
	for _, d := range discrepancies {
		s.Discrepancies[d.Kind][d.Severity()]++
		if s.Domains[d.Domain] == nil {
			s.Domains[d.Domain] = map[ledger.Kind]int64{}
		}
		s.Domains[d.Domain][d.Kind]++
	}
	return Data{
		Migration: "riverside-2026", Generated: "1 March 2026, 04:12 UTC", Summary: s,
		Refusals: List(refusals), Findings: List(findings), Discrepancies: List(discrepancies),
		NotChecked: []string{"http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"},
		Facts:      []Fact{{"Chartlift", "0.1.0"}, {"Policy", "limited-data-set"}, {"Plan", "sha256:3f9a0c2e5b7d41f8"}},
	}
}

// clean is a run that found nothing to say.
func clean(kind ledger.RunKind) Data {
	none := map[string]int64{}
	s := &ledger.Summary{
		Run: string(kind) + "-1", State: ledger.Finished, Kind: kind, Seconds: 0.4, Elapsed: 400 * time.Millisecond, Rate: 148, Reconciled: kind == ledger.Real,
		Tables:    map[string]ledger.TableRow{"patients": {Read: 59, Mapped: 59, Skipped: none, Refused: none}},
		Resources: map[string]ledger.ResourceRow{"Patient": {Made: 59, Loaded: 59}},
		Verified:  map[string]ledger.VerifiedRow{"Patient": {Matched: 59}},
		Gates:     []ledger.Gate{{Name: "refused", Limit: "0.1%", Value: "0%", Met: true}},
	}
	if kind == ledger.Dry {
		s.Resources["Patient"], s.Verified["Patient"] = ledger.ResourceRow{Made: 59, Pending: 59}, ledger.VerifiedRow{}
	}
	return Data{Migration: "riverside-2026", Summary: s}
}

// delta is a second run: an edit stays, records vanished, and one of them came back under another key.
func delta() Data {
	d := clean(ledger.Real)
	s := d.Summary
	s.Run = "run-2"
	s.Resources["Patient"] = ledger.ResourceRow{Made: 59, Loaded: 2, Unchanged: 57, NotApplied: 1}
	s.Verified["Patient"] = ledger.VerifiedRow{Matched: 58, EditedSince: 1}
	s.Resources["Encounter"] = ledger.ResourceRow{Made: 59, Loaded: 1, Unchanged: 58, Vanished: 3, Rekeyed: 1}
	s.Verified["Encounter"] = ledger.VerifiedRow{Matched: 58, Missing: 1}
	s.Discrepancies = map[ledger.Kind]map[ledger.Severity]int64{
		ledger.EditedSince: {ledger.High: 1}, ledger.Vanished: {ledger.Low: 2}, ledger.Rekeyed: {ledger.Low: 1}, ledger.Missing: {ledger.Low: 1}}
	d.Discrepancies = List([]ledger.Discrepancy{
		{Kind: ledger.EditedSince, Domain: ledger.Identity, Type: "Patient", ID: id(1), Table: "patients", Line: 7, Code: "not-applied"},
		{Kind: ledger.Missing, Domain: ledger.Rest, Type: "Encounter", ID: id(2), Table: "visits", Line: 21, Code: "gone"},
		{Kind: ledger.Vanished, Domain: ledger.Rest, Type: "Encounter", ID: id(3), Table: "visits", Line: 3, Code: "not-in-source"},
		{Kind: ledger.Vanished, Domain: ledger.Rest, Type: "Encounter", ID: id(4), Table: "visits", Line: 12, Code: "unsure"},
		{Kind: ledger.Rekeyed, Domain: ledger.Rest, Type: "Encounter", ID: id(5), Table: "visits", Line: 30, Code: "now " + id(6)},
	})
	return d
}
