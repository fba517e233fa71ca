package main

import (
	"strings"
	"time"
)

func (h *hospital) refuse(t *table, line int, rule, what string) {
	h.refused = append(h.refused, planted{t.name, line, rule, what})
}

func (h *hospital) find(t *table, line int, rule, what string) {
	h.findings = append(h.findings, planted{t.name, line, rule, what})
}

func test(code string) labTest {
	for _, t := range labTests {
		if t.code == code {
			return t
		}
	}
	return labTest{}
}

// plant puts the faults in, each after a patient of its own, so that none hides another. Nothing refers to a record that
// is planted to be refused: each fault is found once, where it is. The rules are the codes of packages extract and mapping,
// and the names that stand in fixtures/riverside/mappings.
func (h *hospital) plant(i int, p *person) {
	v := p.visits[0]
	switch i {
	case 3:
		line := h.patients.add("R900001", "ZZTEST", "Donotuse", "9", "01/01/1900", "", "1 Test Street", "Testville", "IL", "60999", "", "", "", "", "", "N", "NULL", "import1")
		h.skipped = append(h.skipped, planted{h.patients.name, line, "test patient", "a patient that was made to try the system out"})
	case 6:
		line := h.patients.add("R900002", "Quill", "Edwin", "1", "04/05/1961", "03/04/1961", "7 Levee Street", "Otter Creek", "WI", "53900", "", "", "E", "S", "", "S", "NULL", "import2")
		h.refuse(h.patients, line, "died before birth", "a patient who died before birth")
	case 9:
		line := h.patients.add("R900003", "Hollis", "Flora", "2", "09/10/1988", "", "9 Willow Bend", "Port Sable", "IN", "46300", "", "", "E", "M", "", "N", "D77", "import2")
		h.find(h.patients, line, "dropped-reference", "a family doctor who is not in doctors.csv")
	case 12:
		line := h.visits.add(h.number("V", 5), "R999999", "O", "05/06/2024 09:00", "05/06/2024 09:20", "N", "D01", "Check-up", "")
		h.refuse(h.visits, line, "missing-reference", "a visit of a patient who does not exist")
	case 15:
		line := h.visits.add(v.number, p.mrn, "O", "05/07/2024 10:00", "05/07/2024 10:30", "S", "D02", "Wound check", "")
		h.refuse(h.visits, line, "duplicate-key", "a second visit with the number of another")
	case 18:
		line := h.visits.add(h.number("V", 5), p.mrn, "I", "08/09/2024 11:00", "08/08/2024 11:00", "W4", "D03", "Fall at home", "402")
		h.refuse(h.visits, line, "discharged before admitted", "a stay that ended the day before it began")
	case 21:
		line := h.problems.add(h.number("P", 5), p.mrn, v.number, "HTN", "High blood pressure", "02/30/2024", "", "C")
		h.refuse(h.problems, line, "bad-date", "a problem noted on the 30th of February")
	case 24:
		// "Réflux" as a system of the nineties writes it, in a file that is declared to be UTF-8.
		record := strings.Join([]string{h.number("P", 5), p.mrn, v.number, "GERD", "R\xe9flux", "03/04/2023", "", "C"}, ",")
		h.refuse(h.problems, h.problems.addRaw(record), "invalid-encoding", "a byte of another encoding")
	case 27:
		line := h.allergies.add(h.number("A", 5), p.mrn, "A77", "Blue dye", "A", "M", "2", "hives", day(v.when), "A")
		h.refuse(h.allergies, line, "unmapped-code", "an allergy whose code the concept map does not know")
	case 30:
		record := strings.Join([]string{h.number("X", 5), p.mrn, v.number, "D04", "LIS10", "Lisinopril, 10 mg tablet", "1", "tab", "1", "N", "01/02/2024", "", "A"}, ",")
		h.refuse(h.prescriptions, h.prescriptions.addRaw(record), "ragged-row", "a name with a comma that was not quoted, so the row has a cell too many")
	case 33:
		line := h.prescriptions.add(h.number("X", 5), p.mrn, v.number, "D05", "AMO500", "Amoxicillin 500 mg capsule", "1", "cap", "3", "N", "06/20/2024", "06/10/2024", "C")
		h.refuse(h.prescriptions, line, "ended before started", "a prescription that ended before it started")
	case 36:
		line := h.prescriptions.add(h.number("X", 5), p.mrn, v.number, "D06", "OLD17", "Digitalis drops (house recipe)", "3", "drop", "2", "N", "07/01/2024", "", "A")
		h.find(h.prescriptions, line, "unmapped-code", "a drug whose code the concept map does not know; it is kept as text")
	case 39:
		line := h.result(p, v, test("HGB"), "13,4")
		h.refuse(h.results, line, "bad-number", "a result with a decimal comma")
	case 42:
		line := h.resultAt(p, v, test("GLU"), "101", "mg%%", minute(v.when.Add(30*time.Minute)))
		h.refuse(h.results, line, "unreadable unit", "a result whose unit nobody can read")
	case 45:
		line := h.resultAt(p, v, test("NA"), "140", "mmol/l", "03/09/2025 02:30")
		h.refuse(h.results, line, "nonexistent-time", "a time in the hour that the change to daylight saving left out")
	case 48:
		line := h.resultAt(p, v, test("NA"), "141", "mmol/l", "11/03/2024 01:15")
		h.refuse(h.results, line, "ambiguous-time", "a time in the hour that the change back made happen twice")
	case 51:
		line := h.result(p, v, test("K"), "45")
		h.find(h.results, line, "implausible potassium", "a potassium that nobody survives: a lost decimal point")
	case 54:
		line := h.immunizations.add(p.mrn, "FLU", "Influenza shot", "", "L0001", "", "D07", "LA")
		h.refuse(h.immunizations, line, "required-empty", "a vaccination without a date")
	}
}
