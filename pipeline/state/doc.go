// Package state knows what of ours is where: for each resource of this migration in each store of one target a
// [Placement], with the version that it has there, the version that it replaced, and the runs that made it, wrote it and
// last had a record for it. What a later run may overwrite, what vanished from the source, what a rollback has to put
// back and where the bytes lie that were sent: all of it is read here.
//
// # Files
//
// The state of a target is a place ([stage.Place]) with these files, none of which is ever changed:
//
//	state                    the manifest: which files are the state, of which generation
//	state.00000007           the placements, sorted by type, id and store
//	state.00000007.patients  the keys of the placements, sorted by patient, type, id and store
//
// A merge reads the placements once, writes the files of the next generation and then switches the manifest to them in
// one step; a merge that changes nobody's patient keeps the second file. All of them carry keyed tags (see package
// blockfile): without the keys nobody can change a placement, nor put the file of another target, or of another time, in
// its place, without being noticed. Files hold pseudonyms, places and versions, and no patient data.
//
// The ledger is the authority: [Home.Open] is told what the ledger knows, and a state that is missing or older is a
// [*Lost] error, never an empty state.
package state
