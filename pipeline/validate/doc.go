// Package validate checks a resource against FHIR R4 and the profiles that it claims: structure, cardinality, choices,
// the forms of primitives, bindings, targets of references, invariants, fixed values and patterns, slices, extensions,
// and what a Bundle asks of its entries.
//
// A [Validator] is built once over R4, FHIR packages and a store of codes, and is shared; a [Checker] is one goroutine's
// memory. What a resource is checked by is compiled on first use: one table per type of R4, one tree per profile. A
// profile's tree holds only what the profile asks beyond the type it constrains, since R4 itself is checked once,
// whatever profiles there are.
//
// # Three answers
//
// An [Issue] is an error or a warning. What cannot be checked, because the definition of a profile, an extension, a value
// set or a code system is not at hand, is neither: it is not checked, and [Validator.NotChecked] lists it once with how
// often it came up. Nothing that was not checked counts as passed.
//
// Errors are what R4 and the profiles say in the words SHALL, required and constraint. Codes that are outside of an
// extensible binding, displays that are not those of the code system, and constraints of severity warning are warnings.
// The recommendations that R4 marks as best practice (dom-6: a resource should have narrative) are left out.
//
// # No value is told
//
// Issues hold paths, names of elements, rules and profiles, and never a value of the resource.
package validate
