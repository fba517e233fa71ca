// Package reconcile proves that what was sent is what the target holds.
//
// A [Reader] reads resources back from every store that is to hold them and gives each a verdict, with its discrepancies.
// It rests on [Compare], the transport comparison: a resource as sent against the same resource as read back, element by
// element, equal (if need be after named rules, which are counted) or different. What could not be read is not compared,
// and never counts as a match. Of the values that differ only keyed digests leave the package. [Evaluate] holds the
// counts against the gates.
package reconcile
