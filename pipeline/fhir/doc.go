// Package fhir is what Chartlift knows about FHIR R4 (4.0.1) itself: the standard's own definitions, JSON as FHIR
// writes it, the forms of primitive values, and the few documents that Chartlift authors or reads at its edges.
//
//   - Definitions ([Lookup], [Type], [Element]): every datatype, resource and backbone element with cardinality,
//     choices, bindings, reference targets and invariants, and the patient compartment. They are compiled from HL7's
//     published bundles by scripts/definitions into one embedded table, which is decoded on first use.
//   - Packages ([ReadPackage], [Core]): profiles, extensions, value sets and code systems, of guides and of the standard
//     itself; the latter are embedded too, and each is unpacked when it is asked for.
//   - JSON ([Parse], [Node], [AppendString]): a strict reader that keeps every number as it was written, and the
//     canonical form, in which the same content is always the same bytes.
//   - Forms ([Type.Valid], [ValidID]): whether a text is a date, a decimal, a code.
//   - Documents ([NewOutcome], [OutcomeIssues], [BundleWriter], [ReadBundle], [NewCapabilities], [ReadCapabilities]):
//     typed access through the samply R4 models, made so that no required field can be forgotten. Resources of patients
//     never pass through those models, because the models lose content.
//
// Everything is immutable after it was built and may be used by many goroutines, except where a comment says otherwise.
package fhir
