// Package stage keeps sealed resources in files: batches with their indexes and outcomes, and what a run sets aside.
//
// # Files
//
// All of them are immutable: written to a temporary name, synced, renamed, and their folder synced (see [WriteFile]).
// Under its final name a file is whole or it is damaged; a half file never gets there. What a reader finds wrong it
// answers as a [*Damage], never with less data than was written.
//
//	ID.batch        sealed resources in order of Add, compressed and encrypted in chunks       [Writer], [Read]
//	ID.index        their ids, patients, digests, places and references, sorted by id          [Index], [IndexOf]
//	ID.out.0001 …   what became of them, in numbered segments                                  [AppendSegment], [Segments]
//	ID.quarantine   refused rows, encrypted                                                    [Quarantine], [ReadQuarantine]
//	NAME.excluded   resources that a check over all batches took out again                     [WriteExclusions]
//	*.tmp           unfinished: left behind by a process that died, and free to be deleted
//
// A batch holds nothing in the clear but its header ([Info]). Ids, digests and places in indexes are
// pseudonyms: an index without the keys tells how many resources there are and how they refer to each other.
// Everything encrypted uses keys that [phi.Keyring.BatchKey] derives from the name of the file, so one file cannot pass
// for another. A [Sorter] encrypts what it spills under a key that exists in memory alone.
//
// The ledger is the authority over which files count: a file without a row in it is garbage.
package stage
