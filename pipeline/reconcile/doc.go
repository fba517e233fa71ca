// Package reconcile proves that what was sent is what the target holds.
//
// [Compare] is the transport comparison: a resource as sent against the same resource as read back, element by
// element, with three verdicts: equal (also after a named rule), different, not compared. What was not compared never
// counts as a match. [Verify] does it for one batch. [Evaluate] holds the counts against the gates.
package reconcile
