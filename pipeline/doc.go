// Package pipeline is the run: which task comes when. It is the map of the system.
//
// A plan ([ReadPlan]) names sources, mapping packs, a PHI policy, keys, targets, waves and gates. [Open] makes a
// [Session] of it: tables found, mappings compiled, keys and ledger opened. A run then goes through these stations, each
// in a file of its own:
//
//	join.go       tables read beside others are sorted by their keys   (only for `with:` and lookup())
//	number.go     records that share a key get their ordinal      (only for `duplicates: number`)
//	extract.go    shard → records → resources → sealed → batches  (concurrent, by shard)
//	group.go      records with one group key → one resource
//	crosscheck.go over all ids of the run: second records, references to nothing; what falls out is excluded by name
//	load.go       batches → target, level by level; outcomes; then the state of the target
//	verify.go     everything loaded is read back and compared; what is there and not ours to expect is named
//
// Every station ends with a durable commit in the ledger, so that the same command again goes on where the last one
// stopped. A dry run is the same without the last two. What is counted at each station must balance
// (ledger.Balance); a sum that does not is an error of this program and fails the run.
//
// The packages below hold the stations' parts, in the order of a record's journey; each imports only those before it:
//
//	fhir, ucum, fhirpath, extract, terminology, validate, phi, mapping, stage, load, ledger, reconcile, report,
//	review, sandbox
package pipeline
