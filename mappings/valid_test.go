package mappings_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// Why a warning is right as it is.
const (
	inWords  = "the source has words and no code, and none is invented"
	typeV2   = "the type of v2-0203 that says what the number is; R4's value set has a choice of them"
	noStatus = "the source does not say whether it lasts; con-3 is meant for problem lists, but as R4 wrote it down asks it of every category"
)

// warnings are all that validation remarks on the resources of the packs' cases: by pack, then mapping, path and rule, each
// with the reason why it is right as it is.
var warnings = map[string]map[string]string{
	"omop": {
		"condition: Condition.code: binding":               inWords,
		"condition: Condition: con-3":                      noStatus,
		"measurement: Observation.interpretation: binding": "OMOP's concept for a result beside a number is kept in its own system",
		"observation: Observation.interpretation: binding": "OMOP's concept for a result beside a number is kept in its own system",
		"procedure: Procedure.code: binding":               inWords,
		"visit: Encounter.class: binding":                  "R4 asks for a class, and unknown is the only true one",
	},
	"openemr": {
		"allergy-intolerance: AllergyIntolerance.code: binding":                   inWords,
		"allergy-intolerance: AllergyIntolerance.reaction.manifestation: binding": inWords,
		"condition: Condition.code: binding":                                      inWords,
		"encounter: Encounter.identifier.type: binding":                           inWords,
		"encounter: Encounter.participant.type: binding":                          "beside the code, words say what it leaves out",
		"immunization: Immunization.vaccineCode: binding":                         inWords,
		"lab-report: DiagnosticReport.identifier.type: binding":                   inWords,
		"lab-result: Observation.code: binding":                                   "a test of the laboratory's own list",
		"medication-request: MedicationRequest.reasonCode: binding":               inWords,
		"patient: Patient.communication.language: binding":                        inWords,
		"patient: Patient.contact.relationship: binding":                          "mother and guardian say more than any code of the value set",
		"patient: Patient.identifier.type: binding":                               typeV2,
		"patient: Patient.maritalStatus: binding":                                 inWords,
		"practitioner: Practitioner.identifier.type: binding":                     typeV2,
		"procedure: Procedure.code: binding":                                      inWords,
		"vital-sign: Observation.interpretation: binding":                         inWords,
	},
	"riverside": {
		"allergy: AllergyIntolerance.reaction.manifestation: binding": inWords,
		"patient: Patient.identifier.type: binding":                   typeV2,
	},
	"synthea": {
		"blood-pressure: Observation.component.code: binding": "a second reading at one instant, for which the profile has no room",
		"coverage: Coverage.identifier.type: binding":         typeV2 + "; US Core fixes it",
		"coverage: Coverage.relationship: binding":            inWords,
		"patient: Patient.identifier.type: binding":           typeV2,
	},
}

// unfit are the cases whose resources do not conform to a profile that no mapping claims: R4 asks its profiles of the vital
// signs of every Observation with their codes. What the source does not say is not invented, and the record is a finding.
var unfit = map[string]string{
	"omop/measurement: a vital sign in a unit without a concept; 1 and 1.0 are one number": "no code of UCUM",
	"openemr/blood-pressure: one":                            "no date",
	"openemr/vital-sign: the others,meta=1, without a visit": "no date",
}

// Every resource of every case is valid R4, and conforms to the profiles of US Core that it claims.
func TestValid(t *testing.T) {
	t.Run("R4", func(t *testing.T) { valid(t, false, fhir.Core()) })
	t.Run("US Core", func(t *testing.T) {
		path := sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-6.1.0.tgz")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		core, err := fhir.ReadPackage(f, path)
		if err != nil {
			t.Fatal(err)
		}
		valid(t, true, core, fhir.Core())
	})
}

// valid judges the resources of all cases; that every warning listed comes up only with all the packages.
func valid(t *testing.T, all bool, packages ...*fhir.Package) {
	t.Helper()
	checker := validate.New(terminology.NewStore(packages...), packages...).Checker()
	seen := map[string]bool{}
	packs := map[string]*mapping.Pack{"riverside": riverside(t)}
	for _, name := range mappings.Names() {
		packs[name] = read(t, name)
	}
	for name, pack := range packs {
		report, err := mapping.RunCases([]*mapping.Pack{pack}, mapping.CaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		resources := 0
		for _, r := range report.Results {
			for _, made := range r.Made {
				resources++
				for _, x := range checker.Text(made) {
					switch of := name + "/" + r.Mapping + ": " + r.Case; {
					case x.Severity != validate.Error:
						found[warning(r.Mapping, &x)] = true
					case unfit[of] != "" && strings.HasPrefix(x.Profile, "http://hl7.org/fhir/StructureDefinition/"):
						seen[of] = true
					default:
						t.Errorf("%s: %s: %v", r.Place, r.Case, &x)
					}
				}
			}
		}
		if resources == 0 {
			t.Errorf("no case of %s makes a resource", name)
		}
		for w := range found {
			if warnings[name][w] == "" {
				t.Errorf("%s: a warning without a reason: %s", name, w)
			}
		}
		for w := range warnings[name] {
			if all && !found[w] {
				t.Errorf("%s: a reason without a warning: %s", name, w)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(unfit)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("cases that do not conform (-want +got):\n%s", diff)
	}
}

// warning is an issue without the place in lists, and without what is different from case to case.
func warning(mapping string, x *validate.Issue) string {
	path := x.Path
	for open := strings.IndexByte(path, '['); open >= 0; open = strings.IndexByte(path, '[') {
		path = path[:open] + path[open+strings.IndexByte(path[open:], ']')+1:]
	}
	return fmt.Sprintf("%s: %s: %s", mapping, path, x.Rule)
}
