package mappings_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/fixtures"
	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// layouts are the headers of Synthea's exports over the years, as table: columns.
var layouts = map[string]map[string]string{
	// 2022, in the form of exports with observations.
	"2022": {
		"patients":      "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE",
		"organizations": "Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,UTILIZATION",
		"providers":     "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,UTILIZATION",
		"encounters":    "Id,START,STOP,PATIENT,ORGANIZATION,PROVIDER,PAYER,ENCOUNTERCLASS,CODE,DESCRIPTION,BASE_ENCOUNTER_COST,TOTAL_CLAIM_COST,PAYER_COVERAGE,REASONCODE,REASONDESCRIPTION",
		"conditions":    "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION",
		"observations":  "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE",
		"medications":   "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,PAYER_COVERAGE,DISPENSES,TOTALCOST,REASONCODE,REASONDESCRIPTION",
		"procedures":    "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,REASONCODE,REASONDESCRIPTION",
		"immunizations": "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,BASE_COST",
		"allergies":     "START,STOP,PATIENT,ENCOUNTER,CODE,SYSTEM,DESCRIPTION,TYPE,CATEGORY,REACTION1,DESCRIPTION1,SEVERITY1,REACTION2,DESCRIPTION2,SEVERITY2",
		"careplans":     "Id,START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,REASONCODE,REASONDESCRIPTION",
		"devices":       "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,UDI",

		"imaging_studies":     "Id,DATE,PATIENT,ENCOUNTER,SERIES_UID,BODYSITE_CODE,BODYSITE_DESCRIPTION,MODALITY_CODE,MODALITY_DESCRIPTION,INSTANCE_UID,SOP_CODE,SOP_DESCRIPTION,PROCEDURE_CODE",
		"supplies":            "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,QUANTITY",
		"payers":              "Id,NAME,ADDRESS,CITY,STATE_HEADQUARTERED,ZIP,PHONE,AMOUNT_COVERED,AMOUNT_UNCOVERED,REVENUE,COVERED_ENCOUNTERS,UNCOVERED_ENCOUNTERS,COVERED_MEDICATIONS,UNCOVERED_MEDICATIONS,COVERED_PROCEDURES,UNCOVERED_PROCEDURES,COVERED_IMMUNIZATIONS,UNCOVERED_IMMUNIZATIONS,UNIQUE_CUSTOMERS,QOLS_AVG,MEMBER_MONTHS",
		"payer_transitions":   "PATIENT,MEMBERID,START_YEAR,END_YEAR,PAYER,SECONDARY_PAYER,OWNERSHIP,OWNERNAME",
		"claims":              "Id,PATIENTID,PROVIDERID,PRIMARYPATIENTINSURANCEID,SECONDARYPATIENTINSURANCEID,DEPARTMENTID,PATIENTDEPARTMENTID,DIAGNOSIS1,DIAGNOSIS2,DIAGNOSIS3,DIAGNOSIS4,DIAGNOSIS5,DIAGNOSIS6,DIAGNOSIS7,DIAGNOSIS8,REFERRINGPROVIDERID,APPOINTMENTID,CURRENTILLNESSDATE,SERVICEDATE,SUPERVISINGPROVIDERID,STATUS1,STATUS2,STATUSP,OUTSTANDING1,OUTSTANDING2,OUTSTANDINGP,LASTBILLEDDATE1,LASTBILLEDDATE2,LASTBILLEDDATEP,HEALTHCARECLAIMTYPEID1,HEALTHCARECLAIMTYPEID2",
		"claims_transactions": "ID,CLAIMID,CHARGEID,PATIENTID,TYPE,AMOUNT,METHOD,FROMDATE,TODATE,PLACEOFSERVICE,PROCEDURECODE,MODIFIER1,MODIFIER2,DIAGNOSISREF1,DIAGNOSISREF2,DIAGNOSISREF3,DIAGNOSISREF4,UNITS,DEPARTMENTID,NOTES,UNITAMOUNT,TRANSFEROUTID,TRANSFERTYPE,PAYMENTS,ADJUSTMENTS,TRANSFERS,OUTSTANDING,APPOINTMENTID,LINENOTE,PATIENTINSURANCEID,FEESCHEDULEID,PROVIDERID,SUPERVISINGPROVIDERID",
	},
	// 2022, where procedures have one date, allergies end after DESCRIPTION, coverage is by years, and observations and
	// claims are not there.
	"2022 short": {
		"observations":        "",
		"claims":              "",
		"claims_transactions": "",
		"payer_transitions":   "PATIENT,START_YEAR,END_YEAR,PAYER,OWNERSHIP",
		"procedures":          "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,REASONCODE,REASONDESCRIPTION",
		"allergies":           "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION",
	},
	"2024": {
		"patients": "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,FIPS,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE,INCOME",
	},
	"2025": {
		"patients":      "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,MIDDLE,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,FIPS,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE,INCOME",
		"organizations": "Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,ENCOUNTERS,PROCEDURES",
		"providers":     "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,ENCOUNTERS,PROCEDURES",
		"conditions":    "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION",
		"procedures":    "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION,BASE_COST,REASONCODE,REASONDESCRIPTION",

		"payers":            "Id,NAME,OWNERSHIP,ADDRESS,CITY,STATE_HEADQUARTERED,ZIP,PHONE,AMOUNT_COVERED,AMOUNT_UNCOVERED,REVENUE,COVERED_ENCOUNTERS,UNCOVERED_ENCOUNTERS,COVERED_MEDICATIONS,UNCOVERED_MEDICATIONS,COVERED_PROCEDURES,UNCOVERED_PROCEDURES,COVERED_IMMUNIZATIONS,UNCOVERED_IMMUNIZATIONS,UNIQUE_CUSTOMERS,QOLS_AVG,MEMBER_MONTHS",
		"payer_transitions": "PATIENT,MEMBERID,START_DATE,END_DATE,PAYER,SECONDARY_PAYER,PLAN_OWNERSHIP,OWNER_NAME",
	},
	// After 2025: National Provider Identifiers.
	"later": {
		"organizations": "Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,UTILIZATION,NPI",
		"providers":     "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,ENCOUNTERS,PROCEDURES,NPI",
	},
}

// layout answers the tables of an export: what a year does not name is as in 2022.
func layout(name string) []*extract.Table {
	var tables []*extract.Table
	for table, columns := range layouts["2022"] {
		if own, ok := layouts[name][table]; ok {
			columns = own
		}
		if columns != "" {
			tables = append(tables, &extract.Table{Source: "synthea", Name: table, Columns: strings.Split(columns, ",")})
		}
	}
	slices.SortFunc(tables, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) })
	return tables
}

func read(t *testing.T, name string) *mapping.Pack {
	t.Helper()
	dir, ok := mappings.Pack(name)
	if !ok {
		t.Fatalf("there is no pack %q", name)
	}
	return readDir(t, dir, name)
}

func readDir(t *testing.T, dir fs.FS, name string) *mapping.Pack {
	t.Helper()
	pack, faults := mapping.Read(dir, name)
	for _, f := range faults {
		t.Error(f)
	}
	if len(faults) > 0 {
		t.FailNow()
	}
	return pack
}

func options(t testing.TB, zone *time.Location, blank []string, tables []*extract.Table) mapping.Options {
	t.Helper()
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		t.Fatal(err)
	}
	return mapping.Options{Migration: "test", IDKey: []byte("0123456789abcdef0123456789abcdef"), Policy: policy,
		Sources: []mapping.Source{{Name: tables[0].Source, Zone: zone, Blank: blank, Tables: tables}}}
}

// Every pack is read without a fault, and all its cases pass; each formula writes something in one of them, and each rule
// acts.
func TestCases(t *testing.T) {
	for _, name := range mappings.Names() {
		t.Run(name, func(t *testing.T) { runCases(t, read(t, name)) })
	}
	t.Run("riverside", func(t *testing.T) { runCases(t, riverside(t)) })
}

func runCases(t *testing.T, pack *mapping.Pack) {
	t.Helper()
	ran, err := mapping.RunCases([]*mapping.Pack{pack}, mapping.CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, r := range ran.Results {
		tested[r.Mapping] = true
		if r.Difference != "" {
			t.Errorf("%s: %s\n%s", r.Place, r.Case, r.Difference)
		}
	}
	for _, m := range pack.Mappings() {
		if !tested[m] {
			t.Errorf("mapping %s has no cases", m)
		}
	}
	for _, c := range ran.Coverage {
		for _, u := range c.Missing {
			t.Errorf("%s: no case exercises the %s %s", u.Place, u.Kind, u.Name)
		}
	}
}

// The pack synthea takes every layout there is; each column is used or listed with a reason.
func TestSyntheaLayouts(t *testing.T) {
	for name := range layouts {
		t.Run(name, func(t *testing.T) {
			tables := layout(name)
			program, notices, faults := mapping.Compile([]*mapping.Pack{read(t, "synthea")}, options(t, nil, nil, tables))
			for _, f := range faults {
				t.Error(f)
			}
			for _, n := range notices {
				if n.Severity == mapping.IsFinding {
					t.Errorf("%s: %v", n.Rule, n.Fault)
				}
			}
			if program == nil {
				return
			}
			for _, table := range tables {
				if len(program.ForTable(table.Name)) == 0 {
					t.Errorf("no mapping of table %s", table.Name)
				}
			}
		})
	}
}

// A column that nobody foresaw is a finding: the check of the columns can fail.
func TestUnforeseenColumn(t *testing.T) {
	tables := layout("2025")
	for _, table := range tables {
		if table.Name == "allergies" {
			table.Columns = append(table.Columns, "BRANDNEW")
		}
	}
	_, notices, _ := mapping.Compile([]*mapping.Pack{read(t, "synthea")}, options(t, nil, nil, tables))
	found := 0
	for _, n := range notices {
		if n.Severity == mapping.IsFinding {
			found++
			if n.Rule != mapping.FindUnusedColumn || !strings.Contains(n.Fault.String(), "BRANDNEW") {
				t.Errorf("another finding: %s: %v", n.Rule, n.Fault)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d findings, want 1", found)
	}
}

func riverside(t *testing.T) *mapping.Pack {
	t.Helper()
	dir, err := fs.Sub(fixtures.Riverside(), "mappings")
	if err != nil {
		t.Fatal(err)
	}
	return readDir(t, dir, "riverside")
}

func TestNames(t *testing.T) {
	if diff := cmp.Diff([]string{"omop", "openemr", "synthea"}, mappings.Names()); diff != "" {
		t.Errorf("packs (-want +got):\n%s", diff)
	}
	for _, name := range []string{"nosuch", "", ".", "..", "synthea/maps"} {
		if _, ok := mappings.Pack(name); ok {
			t.Errorf("there is a pack %q", name)
		}
	}
}
