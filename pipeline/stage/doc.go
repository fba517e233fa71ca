// Package stage keeps sealed resources in files: batches with their indexes and outcomes, the state of a target, and
// what a run sets aside.
//
// # Files
//
// They lie in a [Place], by name: a folder of a disk today, a part of a bucket tomorrow. All of them are immutable: under
// its name a file is whole or it is damaged; a half file never gets there. What a reader finds wrong it returns as a
// [*Damage], never with less data than was written. What does not fit into memory for a while lies in a [Scratch].
//
//	ID.batch        sealed resources in order of Add, compressed and encrypted in chunks       [Writer], [Read]
//	ID.index        their ids, patients, digests, places and references, sorted by id          [Index], [IndexOf]
//	ID.out.0001 …   what became of them, in numbered segments                                  [AppendSegment], [Segments]
//	ID.quarantine   refused rows, encrypted, each under its patient's key too                  [Quarantine], [ReadQuarantine]
//	RUN.excluded    resources that a check over all batches took out again                     [WriteExclusions]
//	*.tmp           on a disk: left behind by a process that died, and free to be deleted
//
// A batch holds nothing in the clear but its header ([Info]). Ids, digests and places in indexes are pseudonyms: an index
// without the keys tells how many resources there are and how they refer to each other. Nobody without the keys can change
// either: batches and quarantines are encrypted and authenticated, the others carry a keyed tag on every block (package
// blockfile). All use keys that [phi.Keyring.BatchKey] derives from the name of the file, so one file cannot pass for
// another: a name must be of one run or target alone, also where the place already is. A [Sorter] encrypts what it spills
// under a key that exists in memory alone.
//
// The ledger is the authority over which files count: a file without a row in it is garbage.
package stage
