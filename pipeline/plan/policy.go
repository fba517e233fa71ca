package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Rules of the notices about policy and delivery.
const (
	findNoDay         = "no-as-of"        // a rule counts ages, and the plan names no day to count them at
	findDatesTakenOut = "dates-taken-out" // who works with the clinical target does not see when things happened
	findNothingSealed = "nothing-sealed"  // the delivery separates PHI, and the policy leaves all of it where it is
)

// openPolicy loads the plan's policy, for the day that the plan names.
func (s *Session) openPolicy() (*phi.Policy, document.Faults) {
	policy, err := loadPolicy(s.Plan.PHI.Policy)
	if err == nil && s.Plan.PHI.AsOf != "" {
		policy, err = policy.AsOf(s.Plan.PHI.AsOf)
	}
	var faults document.Faults
	switch {
	case errors.As(err, &faults):
		return nil, faults
	case err != nil:
		return nil, document.Faults{document.At(s.Plan.File, s.Plan.nodes["phi"], "phi.policy: %v", err)}
	}
	return policy, nil
}

// checkDelivery says what policy and delivery together mean for those who work with the target, and refuses what cannot
// be delivered.
func (s *Session) checkDelivery() document.Faults {
	var faults document.Faults
	delivery, at := s.Plan.PHI.Delivery, s.Plan.nodes["phi"]
	remark := func(rule, hint, format string, args ...any) {
		fault := document.At(filepath.Base(s.Plan.File), at, format, args...)
		fault.Hint = hint
		s.Notices = append(s.Notices, mapping.Notice{Severity: mapping.Remark, Rule: rule, Subject: "phi.policy", Fault: fault})
	}
	name := filepath.Base(s.Plan.PHI.Policy)
	if s.Policy.NeedsAsOf() && s.Plan.PHI.AsOf == "" {
		remark(findNoDay, "name the day under phi: {as-of: YYYY-MM-DD}", "policy %s cuts birth dates by age; without a day to count ages at it takes them out as a whole", name)
	}
	if !s.Plan.Separates() {
		return nil
	}
	if delivery == DeliverSealed {
		for _, m := range s.Program.Mappings {
			if !phi.Extensible(m.Type) {
				f := document.At(s.Plan.File, at, "mapping %s makes %s: R4 gives that type no extension, so delivery sealed cannot carry its encrypted part", m.Name, m.Type)
				f.Hint = "delivery split can"
				faults = append(faults, f)
			}
		}
	}
	patient := fhir.Lookup("Patient")
	if e, t := patient.Element("name"); e != nil {
		if d := s.Policy.Rules("Patient").Child(e, t); d.Tests == nil && d.Whole && d.Method == phi.Keep {
			remark(findNothingSealed, "limited-data-set takes out who the patient is", "policy %s keeps the names of patients: target clinical can read them, whatever the delivery", name)
		}
	}
	if dates := s.datesTakenOut(); len(dates) > 0 {
		rest := ""
		if more := len(dates) - 6; more > 0 {
			dates, rest = dates[:6], fmt.Sprintf(" and %d more", more)
		}
		remark(findDatesTakenOut, "limited-data-set keeps dates", "policy %s takes clinical dates out of what target clinical shows (%s%s): nobody can treat patients by it alone",
			name, strings.Join(dates, ", "), rest)
	}
	return faults
}

// datesTakenOut lists the elements of the types that are made for patients which say when something happened, and which
// the policy does not leave as they are.
func (s *Session) datesTakenOut() []string {
	var list []string
	done := map[string]bool{"Patient": true}
	for _, m := range s.Program.Mappings {
		if m.Shared || done[m.Type] {
			continue
		}
		done[m.Type] = true
		typ := fhir.Lookup(m.Type)
		rules := s.Policy.Rules(m.Type)
		for _, e := range typ.Elements {
			if e.Name == "meta" {
				continue
			}
			for _, t := range e.Types {
				if tellsTime(rules, e, t) && !slices.Contains(list, m.Type+"."+e.Name) {
					list = append(list, m.Type+"."+e.Name)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// tellsTime tells whether the element, of this type, says when something happened and is not kept.
func tellsTime(rules phi.Rules, e *fhir.Element, t *fhir.Type) bool {
	switch t.Name {
	case "date", "dateTime", "instant":
		d := rules.Child(e, t)
		return d.Tests == nil && d.Method != phi.Keep
	case "Period":
		d := rules.Child(e, t)
		if d.Tests != nil {
			return false
		}
		start, of := t.Element("start")
		return d.Method != phi.Keep && d.Whole || !d.Whole && tellsTime(d.Below, start, of)
	}
	return false
}
