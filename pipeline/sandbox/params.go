package sandbox

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// searchable is what resources of one type can be searched by, besides _id, _tag and _lastUpdated.
type searchable struct {
	identifier bool
	patient    [][]string // paths of the references that count for `patient`
	subject    [][]string // and for `subject`
	date       string     // JSON name of the element, with `[x]` for a choice; "" if there is none
}

// dates are the elements that R4's search parameter `date` looks at (searchparameter-registry.html: clinical-date and
// the like).
var dates = map[string]string{
	"AdverseEvent": "date", "AllergyIntolerance": "recordedDate", "Appointment": "start", "AuditEvent": "recorded",
	"CarePlan": "period", "CareTeam": "period", "ClinicalImpression": "date", "Composition": "date", "Consent": "dateTime",
	"DiagnosticReport": "effective[x]", "DocumentReference": "date", "Encounter": "period", "EpisodeOfCare": "period",
	"FamilyMemberHistory": "date", "Flag": "period", "Immunization": "occurrence[x]", "ImmunizationEvaluation": "date",
	"ImmunizationRecommendation": "date", "Invoice": "date", "List": "date", "MeasureReport": "date", "Observation": "effective[x]",
	"Procedure": "performed[x]", "ResearchSubject": "period", "RiskAssessment": "occurrence[x]", "SupplyRequest": "authoredOn",
}

// searchables finds out for every type what it can be searched by. The patient's paths are those of the patient
// compartment, of which `patient` looks at the one that says whose record it is, where there is such a one.
func searchables() map[string]*searchable {
	all := map[string]*searchable{}
	for _, typ := range fhir.Resources() {
		t := fhir.Lookup(typ)
		has := func(element string) bool { e, _ := t.Element(element); return e != nil }
		refers := func(element string) bool {
			e, of := t.Element(element)
			return of.Is("Reference") && (len(e.Targets) == 0 || slices.Contains(e.Targets, "Patient"))
		}
		s := &searchable{identifier: has("identifier"), date: dates[typ]}
		if of := lookup(t, "subject"); of.Is("Reference") {
			s.subject = [][]string{{"subject"}}
		}
		for _, element := range []string{"patient", "subject", "beneficiary"} {
			if typ != "Patient" && refers(element) {
				s.patient = [][]string{{element}}
				break
			}
		}
		if s.patient == nil && typ != "Patient" {
			for _, path := range fhir.Compartment(typ) {
				s.patient = append(s.patient, strings.Split(path, "."))
			}
		}
		all[typ] = s
	}
	return all
}

func lookup(t *fhir.Type, element string) *fhir.Type {
	_, of := t.Element(element)
	return of
}

// forReferences calls f for each reference under the path, as Type/id. Absolute URLs and versions are cut down to that,
// since the sandbox is the only server there is.
func forReferences(n *fhir.Node, path []string, f func(reference string)) {
	if n == nil {
		return
	}
	if n.Kind == fhir.Array {
		for _, item := range n.Items {
			forReferences(item, path, f)
		}
		return
	}
	if len(path) > 0 {
		forReferences(n.Get(path[0]), path[1:], f)
		return
	}
	if typ, id, _ := fhir.SplitLocation(n.Get("reference").Str()); typ != "" {
		f(typ + "/" + id)
	}
}
