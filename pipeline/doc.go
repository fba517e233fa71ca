// Package pipeline is the map of the system; it has no code.
//
// A plan names sources, mapping packs, a PHI policy, keys, targets, waves and gates. Package plan opens it as a
// plan.Session: tables found, mappings compiled, keys and ledger opened. A run (run.Run) then goes through these stations,
// each a type in a file of its own in package run that names the few things it needs:
//
//	reading.go    tables are cut into shards; records that share a key get their ordinal; who is in which wave
//	join.go       tables read beside others are sorted by their keys   (only for `with:` and lookup())
//	extract.go    shard → records → resources → sealed → batches  (concurrent, by shard; make.go)
//	group.go      records with one group key → one resource
//	crosscheck.go over all ids of the run: second records, references to nothing; what falls out is excluded by name
//	load.go       batches → target, level by level; outcomes
//	merge.go      outcomes → the state of the target
//	vanish.go     what is in the target and no record makes any more is named, and dealt with as the plan says
//	verify.go     everything loaded is read back and compared; what is there and not ours to expect is named
//	account.go    refusals become discrepancies, gates are held against the account
//
// Every station ends with a durable commit in the ledger, so that the same command again goes on where the last one
// stopped. A dry run is the same without loading and reading back. What is counted at each station must balance
// (ledger.Balance); a sum that does not is an error of this program and fails the run. What an analyst does between runs
// is package workbench.
//
// The packages hold the stations' parts, in the order of a record's journey; each imports only those before it:
//
//	fhir, ucum, fhirpath, extract, terminology, validate, phi, mapping, stage, state, load, ledger, reconcile, report,
//	review, sandbox, plan, run, workbench
package pipeline
