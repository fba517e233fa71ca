package main

import (
	"fmt"
	"strings"
)

// moreColumns are the tables of Synthea's export about care and money beside those of plantHospital.
var moreColumns = map[string]string{
	"medications":         "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,PAYER_COVERAGE,DISPENSES,TOTALCOST,REASONCODE,REASONDESCRIPTION",
	"procedures":          "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION,BASE_COST,REASONCODE,REASONDESCRIPTION",
	"immunizations":       "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,BASE_COST",
	"careplans":           "Id,START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,REASONCODE,REASONDESCRIPTION",
	"imaging_studies":     "Id,DATE,PATIENT,ENCOUNTER,SERIES_UID,BODYSITE_CODE,BODYSITE_DESCRIPTION,MODALITY_CODE,MODALITY_DESCRIPTION,INSTANCE_UID,SOP_CODE,SOP_DESCRIPTION,PROCEDURE_CODE",
	"supplies":            "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,QUANTITY",
	"payers":              "Id,NAME,OWNERSHIP,ADDRESS,CITY,STATE_HEADQUARTERED,ZIP,PHONE,AMOUNT_COVERED,AMOUNT_UNCOVERED,REVENUE,COVERED_ENCOUNTERS,UNCOVERED_ENCOUNTERS,COVERED_MEDICATIONS,UNCOVERED_MEDICATIONS,COVERED_PROCEDURES,UNCOVERED_PROCEDURES,COVERED_IMMUNIZATIONS,UNCOVERED_IMMUNIZATIONS,UNIQUE_CUSTOMERS,QOLS_AVG,MEMBER_MONTHS",
	"payer_transitions":   "PATIENT,MEMBERID,START_DATE,END_DATE,PAYER,SECONDARY_PAYER,PLAN_OWNERSHIP,OWNER_NAME",
	"claims":              "Id,PATIENTID,PROVIDERID,PRIMARYPATIENTINSURANCEID,SECONDARYPATIENTINSURANCEID,DEPARTMENTID,PATIENTDEPARTMENTID,DIAGNOSIS1,DIAGNOSIS2,DIAGNOSIS3,DIAGNOSIS4,DIAGNOSIS5,DIAGNOSIS6,DIAGNOSIS7,DIAGNOSIS8,REFERRINGPROVIDERID,APPOINTMENTID,CURRENTILLNESSDATE,SERVICEDATE,SUPERVISINGPROVIDERID,STATUS1,STATUS2,STATUSP,OUTSTANDING1,OUTSTANDING2,OUTSTANDINGP,LASTBILLEDDATE1,LASTBILLEDDATE2,LASTBILLEDDATEP,HEALTHCARECLAIMTYPEID1,HEALTHCARECLAIMTYPEID2",
	"claims_transactions": "ID,CLAIMID,CHARGEID,PATIENTID,TYPE,AMOUNT,METHOD,FROMDATE,TODATE,PLACEOFSERVICE,PROCEDURECODE,MODIFIER1,MODIFIER2,DIAGNOSISREF1,DIAGNOSISREF2,DIAGNOSISREF3,DIAGNOSISREF4,UNITS,DEPARTMENTID,NOTES,UNITAMOUNT,TRANSFEROUTID,TRANSFERTYPE,PAYMENTS,ADJUSTMENTS,TRANSFERS,OUTSTANDING,APPOINTMENTID,LINENOTE,PATIENTINSURANCEID,FEESCHEDULEID,PROVIDERID,SUPERVISINGPROVIDERID",
}

// cells plants a row of one of these tables; columns that are not named are blank.
func (p *planting) cells(table string, values map[string]string) {
	var row []string
	for column := range strings.SplitSeq(moreColumns[table], ",") {
		row = append(row, values[column])
	}
	p.row(table, row...)
}

func (p *planting) moreTables() {
	for table, header := range moreColumns {
		p.table(table, header)
	}
	p.cells("payers", map[string]string{
		"Id": plantedKey("ins", 0), "NAME": markTown + " insurance", "OWNERSHIP": "PRIVATE", "ADDRESS": p.plant("Organization", markSealed+" Street 3"), "CITY": markTown + "ville",
		"STATE_HEADQUARTERED": "MA", "ZIP": "01420", "PHONE": p.plant("Organization", markNumber+"901"),
	})
}

// morePatient plants a row of each of these tables for a patient of plantHospital.
func (p *planting) morePatient(i int) {
	const at = markVisit + "T08:44:57Z"
	text := func(typ, column string) string { return p.plant(typ, fmt.Sprintf("%s%s%d", markSealed, column, i)) }
	id := func(typ, kind string) string { return p.plant(typ, plantedKey(kind, i)) }
	uid := func(column, n int) string {
		return p.plant("ImagingStudy", fmt.Sprintf("%s.%d.%d.%d", markUID, column, i, n))
	}
	patient, visit, clinician := plantedKey("pat", i), plantedKey("enc", i), plantedKey("pro", 0)
	of := func(values map[string]string) map[string]string {
		values["PATIENT"], values["ENCOUNTER"] = patient, visit
		return values
	}
	p.cells("medications", of(map[string]string{
		"START": at, "STOP": p.plant("MedicationRequest", fmt.Sprintf("%s%dT08:00:00Z", markEnd, i)), "PAYER": plantedKey("ins", 0), "CODE": "997488",
		"DESCRIPTION": markKept + " tablet", "REASONDESCRIPTION": text("MedicationRequest", "indication"),
	}))
	p.cells("procedures", of(map[string]string{
		"START": at, "STOP": markVisit + "T09:44:57Z", "SYSTEM": "http://snomed.info/sct", "CODE": "710824005", "DESCRIPTION": markKept + " procedure",
		"REASONDESCRIPTION": text("Procedure", "why"),
	}))
	p.cells("immunizations", of(map[string]string{"DATE": at, "CODE": "140", "DESCRIPTION": p.plant("Immunization", fmt.Sprintf("%s vaccine %d", markKept, i))}))
	p.cells("careplans", of(map[string]string{
		"Id": id("CarePlan", "cpl"), "START": markVisit, "CODE": "384758001", "DESCRIPTION": markKept + " plan", "REASONDESCRIPTION": text("CarePlan", "because"),
	}))
	p.cells("imaging_studies", of(map[string]string{
		"Id": id("ImagingStudy", "img"), "DATE": at, "SERIES_UID": uid(1, 1), "BODYSITE_CODE": "40983000", "BODYSITE_DESCRIPTION": markKept + " arm", "MODALITY_CODE": "DX",
		"MODALITY_DESCRIPTION": "Digital Radiography", "INSTANCE_UID": uid(2, 1), "SOP_CODE": "1.2.840.10008.5.1.4.1.1.1.1", "SOP_DESCRIPTION": "image", "PROCEDURE_CODE": "1225002",
	}))
	p.cells("supplies", of(map[string]string{"DATE": markVisit, "CODE": "277183007", "DESCRIPTION": p.plant("SupplyDelivery", fmt.Sprintf("%s supply %d", markKept, i)), "QUANTITY": "3"}))
	p.cells("payer_transitions", map[string]string{
		"PATIENT": patient, "MEMBERID": text("Coverage", "member"), "START_DATE": at, "END_DATE": p.plant("Coverage", fmt.Sprintf("%s%dT09:00:00Z", markEnd, i)),
		"PAYER": plantedKey("ins", 0), "PLAN_OWNERSHIP": "Guardian", "OWNER_NAME": text("Coverage", "owner"),
	})
	p.cells("claims", map[string]string{
		"Id": id("Claim", "clm"), "PATIENTID": patient, "PROVIDERID": clinician, "PRIMARYPATIENTINSURANCEID": plantedKey("ins", 0), "SECONDARYPATIENTINSURANCEID": "0",
		"DIAGNOSIS1": "314529007", "APPOINTMENTID": visit, "CURRENTILLNESSDATE": at, "SERVICEDATE": at, "SUPERVISINGPROVIDERID": clinician, "LASTBILLEDDATE1": at,
		"HEALTHCARECLAIMTYPEID1": "1",
	})
	p.cells("claims_transactions", map[string]string{
		"ID": id("ChargeItem", "chg"), "CLAIMID": plantedKey("clm", i), "PATIENTID": patient, "TYPE": "CHARGE", "AMOUNT": "136.80", "FROMDATE": at, "TODATE": markVisit + "T09:44:57Z",
		"PLACEOFSERVICE": plantedKey("org", 0), "PROCEDURECODE": "162673000", "UNITS": "1", "NOTES": text("ChargeItem", "notes"), "APPOINTMENTID": visit,
		"LINENOTE": text("ChargeItem", "line"), "PATIENTINSURANCEID": fmt.Sprintf("%smember%d", markSealed, i), "PROVIDERID": clinician, "SUPERVISINGPROVIDERID": clinician,
	})
}
