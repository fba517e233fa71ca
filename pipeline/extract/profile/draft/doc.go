// Package draft writes a first plan and first mappings from a profile: something that checks without a fault, sends
// nothing anywhere, and marks every guess, for an analyst to go on with.
package draft
