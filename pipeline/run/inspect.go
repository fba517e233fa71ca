package run

import (
	"context"
	"strings"

	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const quarantineSuffix = ".quarantine"

// inspect reads the quarantined rows of a run, which no other station reads: damage to them is to be found now, and not
// on the day when somebody wants to look at a refused record.
func inspect(ctx context.Context, place stage.Place, keys *phi.Keyring) error {
	names, err := place.List(ctx, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, quarantineSuffix)
		if !ok {
			continue
		}
		for _, err := range stage.ReadQuarantine(ctx, place, keys, id) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
