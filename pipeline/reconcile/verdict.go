package reconcile

import "github.com/chartlift/chartlift/pipeline/ledger"

// Verdict is what reading a resource back has shown, from one store or from all that hold it. The greater outweighs the
// lesser: damage in one store is damage, and what was not compared in one is not a match.
type Verdict uint8

// The verdicts. The zero value is none: no store was asked.
const (
	Matched     Verdict = iota + 1 // equal, if need be after named rules
	EditedSince                    // somebody changed it in the target
	NotCompared                    // it could not be read
	Different
	Missing
)

// Count adds the verdict to the account of a type. No verdict counts as not compared.
func (v Verdict) Count(c *ledger.VerifiedCount) {
	switch v {
	case Matched:
		c.Matched++
	case EditedSince:
		c.EditedSince++
	case Different:
		c.Different++
	case Missing:
		c.Missing++
	default:
		c.NotCompared++
	}
}
