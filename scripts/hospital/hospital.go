package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// patientCount is how many patients the hospital has, the planted ones not counted.
const patientCount = 60

// hospital holds the tables in the making and what was planted in them.
type hospital struct {
	dice dice

	departments, doctors, patients, visits, problems, allergies, prescriptions, results, immunizations *table

	serial                     map[string]int // last number given out, per kind
	refused, skipped, findings []planted
}

// newHospital makes everything, table by table, patient by patient.
func newHospital() *hospital {
	h := &hospital{
		dice:          20260301,
		serial:        map[string]int{},
		departments:   newTable("departments", "DEPT,NAME,PHONE,FLOOR"),
		doctors:       newTable("doctors", "DOCTOR,LAST_NAME,FIRST_NAME,TITLE,SEX,SPECIALTY,DEPT,PAYROLL_NO"),
		patients:      newTable("patients", "MRN,LAST_NAME,FIRST_NAME,SEX,DOB,DIED_ON,STREET,CITY,STATE,ZIP,PHONE,EMAIL,LANGUAGE,MARITAL,INSURANCE_NO,CLINIC,DOCTOR,CREATED_BY"),
		visits:        newTable("visits", "VISIT_NO,MRN,KIND,ADMITTED,DISCHARGED,DEPT,DOCTOR,REASON,ROOM"),
		problems:      newTable("problems", "PROBLEM_NO,MRN,VISIT_NO,CODE,LABEL,NOTED,RESOLVED,CERTAINTY"),
		allergies:     newTable("allergies", "ALLERGY_NO,MRN,CODE,SUBSTANCE,KIND,CATEGORY,SEVERITY,REACTION,NOTED,STATUS"),
		prescriptions: newTable("prescriptions", "RX_NO,MRN,VISIT_NO,DOCTOR,DRUG_CODE,DRUG,DOSE,DOSE_UNIT,PER_DAY,AS_NEEDED,STARTED,ENDED,STATUS"),
		results:       newTable("results", "RESULT_NO,MRN,VISIT_NO,TEST,TEST_NAME,VALUE,UNIT,LOW,HIGH,FLAG,TAKEN,REMARK"),
		immunizations: newTable("immunizations", "MRN,VACCINE,VACCINE_NAME,GIVEN,LOT,EXPIRES,DOCTOR,SITE"),
	}
	for _, d := range departments {
		h.departments.add(d[:]...)
	}
	for i := range 8 {
		h.doctor(i)
	}
	for i := range patientCount {
		p := h.patient()
		for range h.dice.between(2, 5) {
			h.visit(p)
		}
		h.clinical(p)
		h.plant(i, p)
	}
	return h
}

func (h *hospital) tables() []*table {
	return []*table{h.departments, h.doctors, h.patients, h.visits, h.problems, h.allergies, h.prescriptions, h.results, h.immunizations}
}

// number gives out the next number of a kind, such as V00017.
func (h *hospital) number(kind string, digits int) string {
	h.serial[kind]++
	return fmt.Sprintf("%s%0*d", kind, digits, h.serial[kind])
}

func day(t time.Time) string    { return t.Format("01/02/2006") }
func minute(t time.Time) string { return t.Format("01/02/2006 15:04") }

func (h *hospital) doctor(i int) {
	first, sex := pick(&h.dice, womensNames), "2"
	if i%2 == 0 {
		first, sex = pick(&h.dice, mensNames), "1"
	}
	h.doctors.add(h.number("D", 2), familyNames[(i*7+3)%len(familyNames)], first, "MD", sex, pick(&h.dice, specialties), departments[i%4][0], strconv.Itoa(70010+i*13))
}

func (h *hospital) anyDoctor() string { return fmt.Sprintf("D%02d", h.dice.between(1, 8)) }

// person is what the other tables need of a patient.
type person struct {
	mrn    string
	born   time.Time
	visits []visit
}

type visit struct {
	number string
	when   time.Time
}

func (h *hospital) patient() *person {
	d := &h.dice
	p := &person{mrn: h.number("R", 6), born: time.Date(d.between(1931, 2021), time.Month(d.between(1, 12)), d.between(1, 28), 0, 0, 0, 0, time.UTC)}
	first, sex := pick(d, womensNames), "2"
	if d.chance(48) {
		first, sex = pick(d, mensNames), "1"
	}
	if d.chance(3) {
		sex = "9"
	}
	died := ""
	if p.born.Year() < 1950 && d.chance(25) {
		died = day(time.Date(2026, time.Month(d.between(1, 2)), d.between(1, 28), 0, 0, 0, 0, time.UTC))
	}
	town := pick(d, towns)
	last, mail := pick(d, familyNames), ""
	if d.chance(60) {
		mail = strings.ToLower(p.mrn) + "@example.org"
	}
	marital := "S"
	if p.born.Year() < 2000 {
		marital = pick(d, []string{"M", "M", "S", "D", "W", ""})
	}
	h.patients.add(p.mrn, last, first, sex, day(p.born), died, fmt.Sprintf("%d %s", d.between(1, 399), pick(d, streets)), town[0], town[1], town[2],
		fmt.Sprintf("312-555-01%02d", d.upTo(100)), mail, pick(d, []string{"E", "E", "E", "E", "S", "P", ""}), marital,
		fmt.Sprintf("RHP-%07d", d.upTo(10_000_000)), pick(d, []string{"N", "S"}), pick(d, []string{h.anyDoctor(), h.anyDoctor(), "NULL"}), "import"+strconv.Itoa(d.between(1, 3)))
	return p
}

func (h *hospital) visit(p *person) {
	d := &h.dice
	when := time.Date(d.between(2022, 2025), time.Month(d.between(1, 12)), d.between(1, 28), d.between(7, 17), d.upTo(12)*5, 0, 0, time.UTC)
	if when.Before(p.born) {
		when = when.AddDate(5, 0, 0)
	}
	kind, dept, room, length := "O", pick(d, []string{"N", "S"}), "", time.Duration(d.between(2, 9))*5*time.Minute
	switch roll := d.upTo(100); {
	case roll < 8:
		kind, dept, room, length = "I", "W4", strconv.Itoa(d.between(401, 420)), time.Duration(d.between(1, 6))*24*time.Hour
	case roll < 18:
		kind, dept, length = "E", "ER", time.Duration(d.between(1, 5))*time.Hour
	case roll < 26:
		kind = "T"
	}
	end := minute(when.Add(length))
	if d.chance(2) {
		end = ""
	}
	reason := pick(d, reasons)
	if d.chance(4) {
		reason += "\nsee letter of the same day"
	}
	v := visit{h.number("V", 5), when}
	h.visits.add(v.number, p.mrn, kind, minute(when), end, dept, h.anyDoctor(), reason, room)
	p.visits = append(p.visits, v)
}

// clinical makes what was found, given and measured at the patient's visits.
func (h *hospital) clinical(p *person) {
	d := &h.dice
	first := p.visits[0]
	for range d.upTo(4) {
		code := pick(d, problemCodes)
		noted := first.when.AddDate(-d.upTo(2), -d.upTo(11), 0)
		if noted.Before(p.born) {
			noted = p.born
		}
		resolved := ""
		if d.chance(30) {
			resolved = day(first.when.AddDate(0, d.between(1, 20), 0))
		}
		h.problems.add(h.number("P", 5), p.mrn, first.number, code[0], code[1], day(noted), resolved, pick(d, []string{"C", "C", "C", "P", "R"}))
	}
	if d.chance(45) {
		for _, i := range [2]int{d.upTo(5), 5 + d.upTo(4)} {
			if i > 4 && d.chance(50) {
				continue
			}
			code := allergyCodes[i]
			h.allergies.add(h.number("A", 5), p.mrn, code[0], code[1], pick(d, []string{"A", "A", "I"}), code[2], pick(d, []string{"1", "2", "3", ""}),
				pick(d, reactionWords), day(first.when), pick(d, []string{"A", "A", "A", "I", "R"}))
		}
	}
	for range d.upTo(4) {
		v, drug := pick(d, p.visits), pick(d, drugCodes)
		ended, status := "", "A"
		if d.chance(55) {
			ended, status = day(v.when.AddDate(0, 0, d.between(5, 200))), pick(d, []string{"C", "S"})
		}
		h.prescriptions.add(h.number("X", 5), p.mrn, v.number, h.anyDoctor(), drug[0], drug[1], drug[2], drug[3], strconv.Itoa(d.between(1, 3)),
			pick(d, []string{"N", "N", "Y", ""}), day(v.when), ended, status)
	}
	for _, v := range p.visits {
		for range d.upTo(4) {
			h.result(p, v, pick(d, labTests), "")
		}
	}
	given := map[string]bool{}
	for range d.upTo(3) {
		v, vaccine := pick(d, p.visits), pick(d, vaccineCodes)
		if key := vaccine[0] + day(v.when); !given[key] {
			given[key] = true
			h.immunizations.add(p.mrn, vaccine[0], vaccine[1], day(v.when), fmt.Sprintf("L%04d", d.upTo(10000)), day(v.when.AddDate(1, 0, 0)), h.anyDoctor(), pick(d, []string{"LA", "RA", ""}))
		}
	}
}

// result adds a laboratory result and answers its line. A value that is given stands as it is; else one is made up.
func (h *hospital) result(p *person, v visit, t labTest, value string) int {
	return h.resultAt(p, v, t, value, t.unit, minute(v.when.Add(20*time.Minute)))
}

func (h *hospital) resultAt(p *person, v visit, t labTest, value, unit, taken string) int {
	d := &h.dice
	n := d.between(t.lowest, t.highest)
	made := strconv.Itoa(n)
	if t.decimals > 0 {
		made = fmt.Sprintf("%0*d", t.decimals+1, n)
		made = made[:len(made)-t.decimals] + "." + made[len(made)-t.decimals:]
	}
	if t.code == "TSH" && d.chance(15) {
		made = "<0.10"
	}
	remark := ""
	if d.chance(5) {
		remark = "sample slightly hemolysed"
	}
	if value == "" {
		value = made
	}
	return h.results.add(h.number("L", 6), p.mrn, v.number, t.code, t.name, value, unit, t.low, t.high, outside(value, t), taken, remark)
}

// outside is what the laboratory's machine prints beside a value outside its range.
func outside(value string, t labTest) string {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return ""
	}
	if low, err := strconv.ParseFloat(t.low, 64); err == nil && v < low {
		return "L"
	}
	if high, err := strconv.ParseFloat(t.high, 64); err == nil && v > high {
		return "H"
	}
	return "N"
}
