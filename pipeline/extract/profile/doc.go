// Package profile finds out what is in a source before anyone writes a mapping: rows, blanks, distinct values, types,
// date forms, keys, references between tables and their orphans, damage to characters, sentinels, and which columns are
// likely to hold protected health information (PHI).
//
// # What a profile may say
//
// A profile is read by people who must not see patient data, so it is made of counts, names and places. Texts of cells
// come into it in one case only, see Column.Values: few distinct values in the column, seen for at least five patients,
// or rows where the table has no evident column of patients, and nothing about the column looks like PHI. Options.ShowValues
// lifts the last two conditions. There is no hash of a value either: that of a record number can be guessed. Names of
// tables and columns are not cells and are shown; texts that the plan declares blank and the sentinels of our own list
// are shown too.
//
// # How much memory it takes
//
// Rows are streamed, each shard by one goroutine. A column keeps its counters, at most 256 of its values, each of at
// most 64 bytes (a column with more keeps none), and a sample of the 64-bit hashes of its values. The sample holds all
// of them up to a limit; beyond it, it keeps those whose hash begins with one zero bit, then two, and so on, so that the
// samples of two columns always hold the same values. The limit is shared out: about four million hashes (some 100 MB)
// over all columns, at most 65,536 and at least 1,024 for each. Counts that come from a sample are marked as estimates;
// the standard error is stated beside them, and is at most 1/√(limit/2): 0.6 % where there are few columns. A worker
// holds the state of one shard beside that.
//
// # The same input, the same profile
//
// Everything that is kept adds up in any order: sums, least places, samples by hash. So the profile does not depend on
// the number of workers, and it holds no clock.
package profile
