package terminology

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ucum"
)

// UCUM is the URI of the Unified Code for Units of Measure.
const UCUM = "http://unitsofmeasure.org"

// unitFault says what is wrong with a line that translates a source's word for a unit into UCUM, "" if nothing is. Where
// the source's word reads as a unit of UCUM itself, the line is a fault if numbers would change their meaning by a factor;
// grave is false where the two measure such different things that the likeness may be an accident: K/uL are thousands, not
// kelvin. A word that differs from its target only in case is a way of writing it: MG means mg and not megagauss.
func unitFault(source, target string) (message, hint string, grave bool) {
	to, ok := ucum.Parse(target)
	if !ok {
		return fmt.Sprintf("the target code %q is not a unit of UCUM", target), "see ucum.org; units are case-sensitive, and what has none stands in braces, such as {tablet}", true
	}
	from, ok := ucum.Parse(source)
	if !ok || strings.EqualFold(source, target) {
		return "", "", false
	}
	hint = "correct it, or say in the column `comment` why the source means something else"
	if !ucum.Comparable(from, to) {
		return fmt.Sprintf("the source code is a unit of UCUM itself, and %q measures something else", target), hint, ucum.NeedMolarMass(from, to)
	}
	if ratio, ok := ucum.Ratio(from, to); !ok || ratio.Cmp(big.NewRat(1, 1)) != 0 {
		return fmt.Sprintf("the source code is a unit of UCUM itself, and %q has another magnitude: numbers would change their meaning", target), hint, true
	}
	return "", "", false
}
