package load

import (
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// enteredInError is the code by which R4 says that a resource should not have been.
const enteredInError = "entered-in-error"

// VanishedTag is the code, under [fhir.TagSystem], of the tag that says so where a type has no status for it.
const VanishedTag = "vanished"

// MarkVanished says in the resource itself, in place, that what it was made from is no longer in the source. Where the
// type has a status whose required value set has `entered-in-error`, it is set to that; where the status is a
// CodeableConcept (verificationStatus of AllergyIntolerance and Condition), it is one coding of that code, and what R4
// does not allow beside it is taken out; elsewhere the resource gets a tag, [VanishedTag]. changed is false if the mark was there already. ok is false for what is not a
// resource of R4.
func MarkVanished(resource *fhir.Node) (changed, ok bool) {
	typ := fhir.Lookup(resource.ResourceType())
	if typ == nil || typ.Kind != fhir.KindResource || typ.Abstract {
		return false, false
	}
	name, system, concept := vanishedStatus(typ)
	switch {
	case name == "":
		return addTag(resource, fhir.TagSystem, VanishedTag), true
	case !concept:
		if resource.Get(name).Str() == enteredInError {
			return false, true
		}
		resource.Set(name, fhir.NewString(enteredInError))
	default:
		coding := resource.At(name, "coding").Item(0)
		if coding.Get("code").Str() == enteredInError && coding.Get("system").Str() == system {
			return false, true
		}
		resource.Set(name, fhir.NewObject(fhir.Member{Name: "coding", Value: fhir.NewArray(fhir.NewObject(
			fhir.Member{Name: "system", Value: fhir.NewString(system)}, fhir.Member{Name: "code", Value: fhir.NewString(enteredInError)}))}))
	}
	resource.Set("_"+name, nil) // what stood beside the old value says nothing about the new one
	if name == "verificationStatus" {
		withoutClinicalStatus(resource)
	}
	return true, true
}

// withoutClinicalStatus takes out what R4 does not allow beside a verificationStatus of entered-in-error: a clinical
// status (ait-2, con-5), and without one an abatement (con-4).
func withoutClinicalStatus(resource *fhir.Node) {
	resource.Members = slices.DeleteFunc(resource.Members, func(m fhir.Member) bool {
		name := strings.TrimPrefix(m.Name, "_")
		return name == "clinicalStatus" || resource.ResourceType() == "Condition" && strings.HasPrefix(name, "abatement")
	})
}

// vanishedStatus is the element of a type that can say entered-in-error; "" if there is none. No type has both.
func vanishedStatus(typ *fhir.Type) (name, system string, concept bool) {
	for _, e := range typ.Elements {
		if e.Name != "status" && e.Name != "verificationStatus" || !e.Binding.Required() || e.Binding.Codes == nil {
			continue
		}
		if s, ok := e.Binding.Codes.System(enteredInError); ok {
			name, system, concept = e.Name, s, e.Types[0].Is("CodeableConcept")
		}
	}
	return name, system, concept
}
