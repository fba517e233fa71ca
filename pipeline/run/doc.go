// Package run does a plan: [Run] opens what the stations need and lets one after the other work, [Reconcile] reads back
// what an earlier run has loaded. The stations are listed in package pipeline. Each is a type that names the few things
// it needs, of the ledger as a small interface, and knows no other station; what they hand on lies in the ledger and in
// the run's batches, so that another process can go on.
package run
