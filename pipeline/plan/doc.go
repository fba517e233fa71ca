// Package plan reads migration.yaml and opens what it names: sources and their tables, mapping packs, the PHI policy,
// guides and terminologies, keys, ledger and targets. [Read] reads the file alone; [Open] makes a [Session], which is
// what all commands work with. Nothing here maps, loads or compares: packages run and workbench do.
package plan
