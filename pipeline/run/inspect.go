package run

import (
	"context"
	"strings"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const quarantineSuffix = ".quarantine"

// inspect reads the quarantined rows of a run, which no other station reads: damage to them is to be found now, and not
// on the day when somebody wants to look at a refused record.
func inspect(ctx context.Context, at plan.Staged) error {
	names, err := at.Place.List(ctx, "")
	if err != nil {
		return err
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n, quarantineSuffix)
		if !ok {
			continue
		}
		for _, err := range stage.ReadQuarantine(ctx, at.Place, at.Keys, id) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
